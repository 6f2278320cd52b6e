"""One lock a machine: timed trials wait until no other trial runs, whichever process started it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def machine(*, alone: bool, while_waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the machine for trials: shared with other untimed trials, or alone.

    `while_waiting` is called about twice a second until the lock is had; it may raise to give up.
    On systems without `flock` nothing is held.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    path = Path(tempfile.gettempdir()) / f"workingpapers-{os.getuid()}.lock"
    with path.open("a") as file:
        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        while True:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                while_waiting()
                time.sleep(0.5)
        yield
