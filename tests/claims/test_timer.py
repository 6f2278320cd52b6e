"""The side-by-side timer: who is called when, what is held and restored, when it says that it cannot tell."""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from workingpapers.claims import SideBySide, Timing, side_by_side
from workingpapers.claims import _timer as timer


class Clock:
    """A clock that only the contenders move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(timer.time, "perf_counter", lambda: self.now)

    def contender(self, name: str, seconds: Callable[[], float], calls: list[str]) -> Callable[[], None]:
        def call() -> None:
            calls.append(name)
            self.now += seconds()

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.slow
def test_contenders_take_turns_and_the_order_alternates(clock: Clock) -> None:
    calls: list[str] = []
    names = ["a", "b", "c"]
    side_by_side({n: clock.contender(n, lambda: 1.0, calls) for n in names}, repeats=4, warmup=2)
    assert calls[:6] == ["a", "a", "b", "b", "c", "c"]  # warm-up, not counted
    assert calls[6:] == ["a", "b", "c", "c", "b", "a", "a", "b", "c", "c", "b", "a"]


def test_times_and_ratio_with_interval(clock: Clock) -> None:
    rng = np.random.default_rng(0)
    calls: list[str] = []
    found = side_by_side({"slow": clock.contender("slow", lambda: 3.0 * math.exp(rng.normal(scale=0.02)), calls),
                          "fast": clock.contender("fast", lambda: 1.0 * math.exp(rng.normal(scale=0.02)), calls)}, repeats=25)
    ratio = found.ratio("slow", "fast")
    assert ratio.lo < 3 < ratio.hi
    assert 1 / ratio.estimate == pytest.approx(found.ratio("fast", "slow").estimate)
    assert not found.noisy
    assert set(found) == {"slow", "fast"}
    assert len(found["slow"].samples) == 25
    assert found["slow"].best <= found["slow"].median == statistics.median(found["slow"].samples)


def test_drift_hits_all_alike(clock: Clock) -> None:
    """The machine slows down by a fifth in every call: the ratio still comes out within its interval."""
    calls: list[str] = []
    speed = [1.0]

    def drifting(base: float) -> Callable[[], float]:
        def seconds() -> float:
            speed[0] *= 1.02
            return base * speed[0]

        return seconds

    found = side_by_side({"a": clock.contender("a", drifting(2.0), calls), "b": clock.contender("b", drifting(1.0), calls)}, repeats=20)
    ratio = found.ratio("a", "b")
    assert ratio.estimate == pytest.approx(2.0, rel=1e-3)  # A B, B A, ...: the drift of one round undoes that of the next
    assert ratio.lo < 2 < ratio.hi


@pytest.mark.slow
@pytest.mark.parametrize(("jitter", "noisy"), [(0.0, False), (0.02, False), (0.6, True)])
def test_it_says_when_the_machine_is_too_restless(clock: Clock, jitter: float, noisy: bool) -> None:
    rng = np.random.default_rng(1)
    calls: list[str] = []
    found = side_by_side({"calm": clock.contender("calm", lambda: 1.0, calls),
                          "shaken": clock.contender("shaken", lambda: math.exp(rng.normal(scale=jitter)), calls)}, repeats=7)
    assert found.noisy is noisy
    assert ("shaken" in found.why) is noisy


def test_short_calls_are_repeated_within_a_sample(clock: Clock) -> None:
    calls: list[str] = []
    found = side_by_side({"short": clock.contender("short", lambda: 1e-5, calls),
                          "long": clock.contender("long", lambda: 1.0, calls)}, repeats=3)
    assert calls.count("long") == 1 + 3
    assert calls.count("short") == 1 + 3 * 200  # 2 ms a sample
    assert found["short"].median == pytest.approx(1e-5)


def test_a_call_that_costs_nothing_measurable_is_no_crash(clock: Clock) -> None:
    clock.now = 1.0
    with pytest.raises(ValueError, match="idle took no measurable time"):
        side_by_side({"idle": lambda: None}, repeats=3)


@pytest.mark.slow
def test_the_collector_is_held_while_timing_and_restored_after() -> None:
    seen: list[bool] = []
    assert gc.isenabled()
    side_by_side({"a": lambda: seen.append(gc.isenabled())}, repeats=3)
    assert seen
    assert not any(seen)
    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="in the middle"):
        side_by_side({"a": failing(5)}, repeats=3)
    assert gc.isenabled()
    gc.disable()
    try:
        side_by_side({"a": lambda: sum(range(100))}, repeats=3)
        assert not gc.isenabled(), "it was off before"
    finally:
        gc.enable()


def failing(after: int) -> Callable[[], None]:
    left = [after]

    def call() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError("in the middle")

    return call


def pools() -> dict[str, Any]:
    import torch
    from threadpoolctl import threadpool_info

    return {"torch": torch.get_num_threads(), **{p["filepath"]: p["num_threads"] for p in threadpool_info()}}


@pytest.mark.slow
@pytest.mark.parametrize("breaks", [False, True])
def test_threads_are_pinned_while_timing_and_restored_after(breaks: bool) -> None:
    import torch

    was = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        before, seen = pools(), list[dict[str, Any]]()

        def look() -> None:
            seen.append(pools())
            if breaks and len(seen) == 2:
                raise RuntimeError("in the middle")

        if breaks:
            with pytest.raises(RuntimeError, match="in the middle"):
                side_by_side({"a": look}, repeats=3)
        else:
            side_by_side({"a": look}, repeats=3)
        assert all(n == 1 for pool in seen for n in pool.values())
        assert pools() == before
        untouched: list[int] = []
        side_by_side({"a": lambda: untouched.append(torch.get_num_threads())}, repeats=3, threads=None)
        assert set(untouched) == {2}
    finally:
        torch.set_num_threads(was)


@pytest.mark.parametrize(("options", "said"), [
    ({"repeats": 2}, "repeats is 2"), ({"warmup": -1}, "warmup is -1"), ({"threads": 0}, "threads is 0")])
def test_wrong_options_are_named(options: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        side_by_side({"a": lambda: None}, **options)


def test_no_contenders() -> None:
    with pytest.raises(ValueError, match="contenders is empty"):
        side_by_side({})


def test_ratio_asks_for_contenders_that_took_part() -> None:
    found = SideBySide({"a": Timing((1.0, 1.0, 1.0))})
    with pytest.raises(KeyError, match="b"):
        found.ratio("a", "b")
