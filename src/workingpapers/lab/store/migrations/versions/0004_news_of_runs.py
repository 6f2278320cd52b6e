"""News of runs on PostgreSQL: a trigger notifies whoever listens, whatever wrote the event or moved the run

SQLite has nothing like it; pages ask there.

Revision: 0004, after 0003
"""

from alembic import op

revision = '0004'
down_revision = '0003'

# The payload is the key of the run that an event belongs to, or `*` when a run changed its state, which moves the queue.
FUNCTION = """
CREATE FUNCTION tell_of_runs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_TABLE_NAME = 'run_events' THEN
    PERFORM pg_notify('workingpapers_runs', NEW.run_pk::text);
  ELSE
    PERFORM pg_notify('workingpapers_runs', '*');
  END IF;
  RETURN NULL;
END $$
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == 'postgresql':
        op.execute(FUNCTION)
        op.execute('CREATE TRIGGER run_events_tell AFTER INSERT ON run_events FOR EACH ROW EXECUTE FUNCTION tell_of_runs()')
        op.execute('CREATE TRIGGER runs_tell AFTER INSERT OR UPDATE OF state ON runs FOR EACH ROW EXECUTE FUNCTION tell_of_runs()')


def downgrade() -> None:
    if op.get_bind().dialect.name == 'postgresql':
        op.execute('DROP TRIGGER runs_tell ON runs')
        op.execute('DROP TRIGGER run_events_tell ON run_events')
        op.execute('DROP FUNCTION tell_of_runs()')
