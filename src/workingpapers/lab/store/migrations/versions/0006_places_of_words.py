"""Where the words of papers stand, for ranks that are made in memory (SQLite; PostgreSQL makes its own)

A view of the index `papers_fts` that takes no room.

Revision: 0006, after 0005
"""

from alembic import op

revision = '0006'
down_revision = '0005'


def upgrade() -> None:
    if op.get_bind().dialect.name == 'sqlite':
        op.execute("CREATE VIRTUAL TABLE papers_places USING fts5vocab('papers_fts', 'instance')")


def downgrade() -> None:
    if op.get_bind().dialect.name == 'sqlite':
        op.execute('DROP TABLE papers_places')
