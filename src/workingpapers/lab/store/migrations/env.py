"""Alembic's entry: migrations run on the connection that the store hands over."""

from alembic import context

from workingpapers.lab.store.models import Base

if hasattr(context, "config"):  # it is there while Alembic runs this file, not when it is merely imported
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True, transaction_per_migration=False)
    context.run_migrations()
