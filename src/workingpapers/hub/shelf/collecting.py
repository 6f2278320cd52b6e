"""Python's collector of cycles, put off while many records pass through."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator

FULL = 25  # batches


@contextlib.contextmanager
def collecting_between() -> Iterator[Callable[[], None]]:
    """Cycles are looked for when the given function is called, and not every 700 objects: a sixth of the time of an intake.

    A batch makes some hundred thousand objects that all live until its end, and the collector goes through them over and over in
    vain. What it is for, few objects that refer to each other, waits for the end of the batch; the oldest for that of the 25th.
    Where the collector is off already, it stays so and is never called.

    >>> with collecting_between() as collect:
    ...     collect()
    """
    if not gc.isenabled():
        yield lambda: None
        return
    done = 0

    def collect() -> None:
        nonlocal done
        done += 1
        gc.collect(2 if done % FULL == 0 else 1)

    gc.disable()
    try:
        yield collect
    finally:
        gc.enable()
