"""Writers of one SQLite file, one after another in the order they came."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 60.0


class StoreBusy(TimeoutError):
    """The database was being written to by others of this process for too long."""


class WriteQueue:
    """A lock whose holders follow in the order of asking.

    SQLite has one writer at a time and lets those who wait sleep ever longer, so that under load the newest comer wins and the
    oldest may wait until its time is up. Within a process nobody has to sleep: whoever has finished wakes the next one.

    >>> queue = WriteQueue()
    >>> with queue.turn():
    ...     queue.waiting
    0
    """

    def __init__(self) -> None:
        self._start()
        _EVERY.add(self)

    def _start(self) -> None:
        self._mutex = threading.Lock()
        self._gates: deque[threading.Lock] = deque()
        self._holder: int | None = None

    @property
    def waiting(self) -> int:
        """How many stand behind the one who writes."""
        return len(self._gates)

    @contextmanager
    def turn(self, longest: float = LONGEST) -> Iterator[None]:
        """Wait for one's turn, and give it on at the end of the block.

        Raises:
            RuntimeError: this thread has the turn already, so that it would wait for itself.
            StoreBusy: it was not reached within `longest` seconds.
        """
        self._take(longest)
        try:
            yield
        finally:
            self._give()

    def _take(self, longest: float) -> None:
        me = threading.get_ident()
        with self._mutex:
            if self._holder == me:
                raise RuntimeError("a write transaction within a write transaction: use the session that is open already")
            if self._holder is None:
                self._holder = me
                return
            gate = threading.Lock()
            gate.acquire()
            self._gates.append(gate)
        if gate.acquire(timeout=longest):
            self._holder = me
            return
        with self._mutex:
            if gate in self._gates:
                self._gates.remove(gate)
                raise StoreBusy(f"the database was busy for {longest:g} s: an import or another long write goes on; try again later")
            self._holder = me  # it was handed over in the last moment

    def _give(self) -> None:
        with self._mutex:
            if self._gates:
                self._holder = _HANDED_OVER
                self._gates.popleft().release()
            else:
                self._holder = None


_HANDED_OVER = -1
_EVERY: weakref.WeakSet[WriteQueue] = weakref.WeakSet()
_BY_FILE: weakref.WeakValueDictionary[str, WriteQueue] = weakref.WeakValueDictionary()
_MAKING = threading.Lock()


def queue_of(file: str | None) -> WriteQueue:
    """The queue of a database file: one for all stores of this process that are open on it. One in memory has one of its own."""
    if not file:
        return WriteQueue()
    with _MAKING:
        path = os.path.abspath(file)
        found = _BY_FILE.get(path)
        if found is None:
            found = _BY_FILE[path] = WriteQueue()
        return found


def _forked() -> None:
    """A child has none of its parent's threads: nobody writes there yet."""
    global _MAKING
    _MAKING = threading.Lock()
    for queue in list(_EVERY):
        queue._start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
