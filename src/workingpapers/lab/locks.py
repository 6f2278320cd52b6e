"""One lock a machine: timed trials wait until no other trial runs, whichever process started it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

EVERY = 0.05


@contextmanager
def machine(*, alone: bool, while_waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the machine for trials: shared with other untimed trials, or alone.

    Whoever wants it passes a gate first, and who wants it alone keeps the gate shut while waiting: those who share it, and come
    one after the other, cannot keep it from the one who waits.

    `while_waiting` is called some twenty times a second until the lock is had; it may raise to give up.
    On systems without `flock` nothing is held.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return

    def take(file: IO[str], kind: int) -> None:
        while True:
            try:
                return fcntl.flock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                while_waiting()
                time.sleep(EVERY)

    folder = Path(tempfile.gettempdir())
    with (folder / f"workingpapers-{os.getuid()}.lock").open("a") as file:
        with (folder / f"workingpapers-{os.getuid()}.gate").open("a") as gate:
            take(gate, fcntl.LOCK_EX)
            take(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
