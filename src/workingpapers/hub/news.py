"""What wakes live pages: PostgreSQL's notifications, one listener a web process; on SQLite, which has none, they ask at intervals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator

from workingpapers.lab import Store

log = logging.getLogger("workingpapers.hub.news")

CHANNEL = "workingpapers_runs"  # as the triggers of migration 0004 name it
POLL = 0.5
SAFETY = 10.0
LONGEST_PAUSE = 5.0
KEEPALIVES = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}


class News:
    """Rings the bells of the streams that a notification concerns.

        with news.about(run_pk) as bell:
            bell.clear()    # before looking: what comes while one looks is not missed
            look()
            await bell      # or `news.pause` seconds

    A connection that breaks is made again, after pauses that grow up to five seconds; meanwhile, and on SQLite always,
    `pause` tells to ask every half second. While it stands `pause` is ten seconds, for safety alone.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._bells: dict[int, set[asyncio.Event]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.is_listening = False

    @property
    def pause(self) -> float:
        """Seconds after which a stream asks by itself."""
        return SAFETY if self.is_listening else POLL

    def start(self) -> None:
        """Listen, where the database can notify. Called in the event loop of the streams."""
        if not self._store.is_sqlite:
            self._loop = asyncio.get_running_loop()
            self._stop.clear()
            self._thread = threading.Thread(target=self._listen, name="news", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the listener; takes half a second at most."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2)

    @contextlib.contextmanager
    def about(self, run_pk: int) -> Iterator[asyncio.Event]:
        """A bell that rings whenever something happened to this run, or to the queue."""
        bell = asyncio.Event()
        self._bells.setdefault(run_pk, set()).add(bell)
        try:
            yield bell
        finally:
            self._bells[run_pk].discard(bell)
            if not self._bells[run_pk]:
                del self._bells[run_pk]

    def _ring(self, payload: str) -> None:
        concerned = [self._bells.get(int(payload), set())] if payload.isdecimal() else list(self._bells.values())
        for bells in concerned:
            for bell in bells:
                bell.set()

    def _tell(self, payload: str) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            self._loop.call_soon_threadsafe(self._ring, payload)

    def _listen(self) -> None:
        import psycopg

        engine = self._store.engine
        args, options = engine.dialect.create_connect_args(engine.url)
        pause = 0.1
        while not self._stop.is_set():
            try:
                with psycopg.connect(*args, autocommit=True, **{**KEEPALIVES, **options}) as connection:
                    connection.execute(f"SET application_name = '{CHANNEL}'")
                    connection.execute(f"LISTEN {CHANNEL}")
                    self.is_listening, pause = True, 0.1
                    self._tell("*")  # whatever came while nobody listened
                    while not self._stop.is_set():
                        for notice in connection.notifies(timeout=0.5):
                            self._tell(notice.payload)
            except psycopg.Error as error:
                log.warning("news of runs are asked for meanwhile: %s", error)
            finally:
                self.is_listening = False
                self._tell("*")
            self._stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
