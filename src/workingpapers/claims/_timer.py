"""Side-by-side timing: contenders take turns in one process, so that drift of the machine hits all alike."""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ._statistics import MIN_SEEDS, Interval, t_interval

SHORTEST_SAMPLE = 2e-3
NOISY_HALF_WIDTH = 0.10


@dataclass(frozen=True)
class Timing:
    """Seconds a call, one number a round."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median seconds a call."""
        return statistics.median(self.samples)

    @property
    def best(self) -> float:
        """Least seconds a call: what the code can do when nothing disturbs it."""
        return min(self.samples)


@dataclass(frozen=True)
class SideBySide(Mapping[str, Timing]):
    """Timings of contenders that took turns, by name.

    Attributes:
        noisy: the machine was too restless for a difference of 10 % to be told.
        why: what was seen.
    """

    timings: Mapping[str, Timing]
    noisy: bool = False
    why: str = ""

    def __getitem__(self, name: str) -> Timing:
        return self.timings[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.timings)

    def __len__(self) -> int:
        return len(self.timings)

    def ratio(self, a: str, b: str) -> Interval:
        """Time of `a` over time of `b`: mean of the rounds' log-ratios, with Student's t interval."""
        logs = [math.log(x / y) for x, y in zip(self[a].samples, self[b].samples)]
        return Interval(*(math.exp(v) for v in t_interval(logs)))


def side_by_side(contenders: Mapping[str, Callable[[], object]], *, repeats: int = 7, warmup: int = 1,
                 threads: int | None = 1) -> SideBySide:
    """Time contenders in turn: A B C, C B A, ... with the garbage collector held and threads pinned.

    Args:
        contenders: name -> function without arguments. Calls shorter than 2 ms are repeated within a sample.
        repeats: rounds that count, 3 at least.
        warmup: calls of each before that, which do not; one is made even at 0, to see how long a call takes.
        threads: processor threads for numpy, torch and numba; None leaves them as they are.

    Returns:
        samples by name, in seconds a call; whether the machine was too noisy.

    >>> t = side_by_side({"short": lambda: sum(range(2_000)), "long": lambda: sum(range(40_000))}, repeats=3)
    >>> t.ratio("long", "short").estimate > 2
    True
    """
    if repeats < MIN_SEEDS:
        raise ValueError(f"repeats is {repeats}: {MIN_SEEDS} at least")
    if warmup < 0:
        raise ValueError(f"warmup is {warmup}: 0 at least")
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}: 1 at least, or None")
    if not contenders:
        raise ValueError("contenders is empty")
    names = list(contenders)
    samples: dict[str, list[float]] = {name: [] for name in names}
    with _pinned(threads), _collector_held():
        inner = {name: _calls_a_sample(contenders[name], warmup) for name in names}
        for turn in range(repeats):
            for name in names if turn % 2 == 0 else reversed(names):
                samples[name].append(_sample(contenders[name], inner[name]))
            gc.collect(0)
    for name, s in samples.items():
        if not min(s) > 0:
            raise ValueError(f"{name} took no measurable time")
    noisy, why = _restless(samples)
    return SideBySide({name: Timing(tuple(s)) for name, s in samples.items()}, noisy, why)


def _sample(call: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def _calls_a_sample(call: Callable[[], object], warmup: int) -> int:
    took = [_sample(call, 1) for _ in range(max(1, warmup))]
    once = min(took[1:] or took)
    return 1 if once >= SHORTEST_SAMPLE else min(10_000, math.ceil(SHORTEST_SAMPLE / max(once, 1e-7)))


def _restless(samples: Mapping[str, list[float]]) -> tuple[bool, str]:
    for name, s in samples.items():
        found = t_interval([math.log(x) for x in s])
        half = (found.hi - found.lo) / 2
        if half > NOISY_HALF_WIDTH:
            return True, f"{name}: the interval of its time is +-{100 * half:.0f} % wide over {len(s)} rounds"
    return False, ""


@contextmanager
def _collector_held() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def _pinned(threads: int | None) -> Iterator[None]:
    if threads is None:
        yield
        return
    from threadpoolctl import threadpool_limits

    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(limits=threads))
        torch, numba = sys.modules.get("torch"), sys.modules.get("numba")
        if torch is not None:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        if numba is not None:
            stack.callback(numba.set_num_threads, numba.get_num_threads())
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        yield
