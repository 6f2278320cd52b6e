"""Whether anything was committed to the database since one last looked, by whichever process."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Hashable


class FileVersion:
    """The version of a SQLite file, asked over a connection that never writes.

    `PRAGMA data_version` tells a connection that another one, in any process, has committed; it costs some microseconds. The
    number belongs to its connection, so one is kept for all askers, and a new one made when another file has taken the place.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._opened = 0

    def now(self) -> Hashable:
        """A value that differs from all before once somebody has committed."""
        with self._lock:
            stat = os.stat(self._path)
            if self._connection is None or self._file != (stat.st_dev, stat.st_ino):
                self._close()
                self._connection = sqlite3.connect(self._path, timeout=15, isolation_level=None, check_same_thread=False)
                self._file, self._opened = (stat.st_dev, stat.st_ino), self._opened + 1
            return self._opened, self._connection.execute("PRAGMA data_version").fetchone()[0]

    def close(self) -> None:
        """Give the connection back; the next question opens another."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
