"""Seconds and memory of one call."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable


def seconds(call: Callable[[], object]) -> float:
    """Seconds by the clock of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def processor_seconds(call: Callable[[], object]) -> float:
    """Seconds that this process computed during one call, whatever else the machine did meanwhile."""
    start = time.process_time()
    call()
    return time.process_time() - start


def peak_megabytes(call: Callable[[], object]) -> float:
    """Most memory that Python objects and arrays held during one call, above what was held before, in units of 10^6 bytes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
