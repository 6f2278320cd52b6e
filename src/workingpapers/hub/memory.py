"""Memory given back to the system: glibc keeps what threads have freed, up to several times of what is in use."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import sys
import threading
from collections.abc import Callable

log = logging.getLogger("workingpapers.hub")

ARENAS = 2
LARGE = 256 << 10  # bytes from which an array is mapped by itself, and gone once it is freed
KEPT = 1 << 20
EVERY = 10.0
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_little() -> None:
    """Let threads share few heaps, and large arrays go back at once; before threads start. Does nothing without glibc.

    Loading the encoder of questions alone leaves 60 MB less behind so.
    """
    libc = _glibc()
    if libc is not None:
        for name, value in ((_M_ARENA_MAX, ARENAS), (_M_MMAP_THRESHOLD, LARGE), (_M_TRIM_THRESHOLD, KEPT)):
            libc.mallopt(name, value)


def settle() -> None:
    """Have Python's collector of cycles leave alone what is there from the start: it took 0.1 s each time to go through that."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Hand what is free to the system."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def give_back_now_and_then(shrink: Callable[[], None] = lambda: None) -> threading.Event:
    """`shrink`, then `give_back`, every ten seconds, in a thread of its own, until the event is set."""
    stop = threading.Event()

    def again() -> None:
        while not stop.wait(EVERY):
            try:
                shrink()
            except Exception:  # a database that is away now may be back later
                log.debug("nothing was let go of", exc_info=True)
            give_back()

    threading.Thread(target=again, name="memory", daemon=True).start()
    return stop


def _glibc() -> ctypes.CDLL | None:
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):
            found = ctypes.CDLL("libc.so.6")
            if hasattr(found, "malloc_trim"):
                return found
    return None
