"""Opening the store: SQLite in WAL mode by default, PostgreSQL by URL; migrated to the newest schema on opening."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Hashable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, inspect, text
from sqlalchemy.orm import Session, sessionmaker

from ..settings import Settings
from ._queue import queue_of
from ._version import FileVersion

MIGRATIONS = Path(__file__).parent / "migrations"


class Store:
    """The database of runs and, in the hub, of everything else.

    Args:
        settings: where it lies; by default from the environment.
        migrate: bring the schema up to date. Off only for tools that do it themselves.
    """

    def __init__(self, settings: Settings | None = None, *, migrate: bool = True) -> None:
        self.settings = settings or Settings()
        self.engine = _engine(self.settings)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._queue = queue_of(self.engine.url.database) if self.is_sqlite else None
        self._file = FileVersion(file) if self.is_sqlite and (file := self.engine.url.database) and file != ":memory:" else None
        if migrate:
            self.migrate()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session whose changes are thrown away."""
        with self._sessions() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that is committed at the end, or rolled back when the block raises.

        On SQLite those of one process write in the order they came (`WriteQueue`); between processes the busy timeout holds.

        Raises:
            RuntimeError: on SQLite, a block within such a block of the same thread.
        """
        turn = self._queue.turn() if self._queue is not None else nullcontext()
        with turn, self._sessions() as session, session.begin():
            if self.is_sqlite:
                # A deferred transaction that first reads and then writes may fail with "database is locked" at
                # once, whatever the busy timeout; an immediate one waits its turn.
                session.connection(execution_options={"workingpapers_immediate": True})
            yield session

    def version(self) -> Hashable:
        """A value that stays equal as long as nothing is committed to the database, by any process, and is never equal again after that.

        Ask before the session begins whose answers are to be kept under it: what is then read may be newer, never older. Costs some
        microseconds on SQLite, a question on PostgreSQL: there it is the snapshot, which names the transactions that are visible.
        """
        if self._file is not None:
            return self._file.now()
        if self.is_sqlite:  # in memory, where nobody else can ask
            return object()
        with self.engine.connect() as connection:
            return str(connection.exec_driver_sql("SELECT pg_current_snapshot()").scalar())

    @property
    def is_sqlite(self) -> bool:
        """Whether the store is the embedded default."""
        return self.engine.dialect.name == "sqlite"

    @staticmethod
    def newest_schema() -> str:
        """The version of the schema that this release works on."""
        return max(path.name.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))

    def migrate(self) -> None:
        """Bring the schema to the newest version. Costs one query when it is there already."""
        versions = [path.name.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")]
        with self.engine.connect() as connection:
            current = _version(connection)
        if current == max(versions):
            return
        if current is not None and current not in versions:
            raise NewerStore(f"the database is at version {current}, this release knows {max(versions)}: upgrade workingpapers")
        from alembic import command

        with self.engine.connect().execution_options(workingpapers_immediate=True) as connection, connection.begin():
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(7262435)"))
            # Another process may have done it while this one waited for its turn: then this does nothing.
            command.upgrade(alembic_config(connection), "head")

    def shrink(self) -> None:
        """Let go of what idle connections keep of SQLite's file, and have them keep half from now on; the system has those pages too."""
        pool = self.engine.pool
        if not isinstance(pool, QueuePool) or not self.is_sqlite:
            return
        with ExitStack() as taken:
            for _ in range(pool.checkedin()):
                connection = self.engine.raw_connection()
                taken.callback(connection.close)
                cursor = connection.cursor()
                cursor.execute("PRAGMA cache_size=-1000")  # of 2 MB
                cursor.execute("PRAGMA shrink_memory")
                cursor.close()

    def close(self) -> None:
        """Give back all connections."""
        if self._file is not None:
            self._file.close()
        self.engine.dispose()


class NewerStore(RuntimeError):
    """The database was made by a later release."""


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def alembic_config(connection: Connection) -> Any:
    """Alembic's configuration for an open connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _to_wal(cursor: Any) -> None:
    """Switch a new file to write-ahead logging. The busy timeout does not cover the switch, so it is tried again here."""
    for last in (*[False] * 100, True):
        try:
            if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if last:
                raise
            time.sleep(0.05)


_NOT_FINITE = "$float"
_scan: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _to_json(value: Any) -> str:
    """JSON as the columns hold it.

    Letters stay as they are, since the index of words reads the names of authors there. NaN and infinities, which JSON
    lacks and PostgreSQL refuses, become small objects that `_from_json` turns back.
    """
    try:
        if type(value) is list and all(type(item) is str for item in value):  # names, categories: what papers have most
            return f"[{', '.join(map(encode_basestring, value))}]"
        return _encode(value)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {_NOT_FINITE: repr(value)}
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _from_json(text: str | bytes) -> Any:
    text = text if isinstance(text, str) else text.decode()  # psycopg hands over bytes

    def number(found: dict[str, Any]) -> Any:
        return float(found[_NOT_FINITE]) if len(found) == 1 and isinstance(found.get(_NOT_FINITE), str) else found

    if text == "[]":  # most lists of most papers
        return []
    if _NOT_FINITE in text:
        return json.loads(text, object_hook=number)
    try:  # what `json.loads` ends in, without what it looks for around a value: `_to_json` writes nothing there
        value, end = _scan(text, 0)
    except StopIteration:
        return json.loads(text)
    return value if end == len(text) else json.loads(text)


_PRAGMAS = (
    "page_size=8192",  # of a new file: rows with an abstract fill such pages to nine tenths, smaller ones to eight
    "busy_timeout=15000", "synchronous=NORMAL", "foreign_keys=ON", "journal_size_limit=8388608",
)


def _engine(settings: Settings) -> Engine:
    url = settings.database_url
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, max_overflow=25, pool_timeout=60, json_serializer=_to_json,
                             json_deserializer=_from_json)
    settings.home.mkdir(parents=True, exist_ok=True)
    # A web worker has 40 threads: on SQLite none waits for a connection. A server of PostgreSQL takes 100 by default, from all workers.
    engine = create_engine(url, connect_args={"timeout": 15}, max_overflow=45, pool_timeout=60, json_serializer=_to_json,
                           json_deserializer=_from_json)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun by the listener below
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        _to_wal(cursor)
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("workingpapers_immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine
