"""Intervals against scipy, closed forms and their own promise: how often they cover the truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from workingpapers.claims import Results, bca_interval, difference, log_log_slope, ratio, t_interval
from workingpapers.claims import _rules as rules

EXPERIMENTS = 2_000
numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(numbers, min_size=3, max_size=40))
def test_t_interval_is_scipys(values: list[float]) -> None:
    found = t_interval(values)
    spread = float(np.std(values, ddof=1))
    assert found.estimate == pytest.approx(float(np.mean(values)), abs=1e-9)
    if spread < 1e-9 * (1 + abs(found.estimate)):
        return
    lo, hi = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (found.lo, found.hi) == pytest.approx((lo, hi), rel=1e-9, abs=1e-9)


def test_t_interval_closed_form() -> None:
    # 1, 2, 3: mean 2, standard error 1/sqrt(3), Student's quantile with 2 degrees of freedom sqrt(2) * 0.95 / sqrt(1 - 0.95**2)
    quantile = math.sqrt(2) * 0.95 / math.sqrt(1 - 0.95**2)
    found = t_interval([1.0, 2.0, 3.0])
    assert found == pytest.approx((2.0, 2 - quantile / math.sqrt(3), 2 + quantile / math.sqrt(3)), rel=1e-12)
    assert t_interval([1.0, 2.0, 3.0], level=0.5).hi < found.hi


@given(st.floats(-1e12, 1e12, allow_nan=False), st.integers(3, 60))
def test_values_without_spread_give_no_width_and_the_very_number(x: float, n: int) -> None:
    assert t_interval([x] * n) == (x, x, x)
    assert bca_interval([x] * n) == (x, x, x)


@given(st.lists(numbers, min_size=3, max_size=12), st.integers(-20, 20))
def test_t_interval_moves_and_stretches_with_its_values(values: list[float], power: int) -> None:
    scale = 2.0**power
    found, stretched = t_interval(values), t_interval([-scale * v for v in values])
    assert stretched == pytest.approx((-scale * found.estimate, -scale * found.hi, -scale * found.lo), rel=1e-9, abs=1e-9 * scale)


@pytest.mark.parametrize("wrong", [
    [], [1.0], [1.0, 2.0], [1.0, math.nan, 2.0], [1.0, math.inf, 2.0], [[1.0, 2.0, 3.0]], [1e308, -1e308, 1e308]])
def test_intervals_refuse_what_has_none(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="values"):
        t_interval(wrong)


def test_bca_is_scipys_and_repeats() -> None:
    values = np.random.default_rng(3).exponential(size=40)
    found = bca_interval(values.tolist(), resamples=999, seed=7)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(7)).confidence_interval
    assert (found.lo, found.hi) == (theirs.low, theirs.high)
    assert bca_interval(values.tolist(), resamples=999, seed=7) == found


@given(st.floats(-3, 3), st.floats(0.01, 100), st.lists(st.floats(0.01, 1e4), min_size=2, max_size=20, unique=True))
def test_slope_finds_the_exponent(exponent: float, factor: float, x: list[float]) -> None:
    if max(x) / min(x) < 1.01:
        return
    assert log_log_slope(x, [factor * v**exponent for v in x]) == pytest.approx(exponent, abs=1e-6)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 100)), min_size=3, max_size=20, unique_by=lambda p: p[0]))
def test_slope_is_scipys(points: list[tuple[float, float]]) -> None:
    x, y = zip(*points)
    if max(x) / min(x) < 1.01:
        return
    theirs = stats.linregress(np.log(x), np.log(y)).slope
    assert log_log_slope(x, y) == pytest.approx(theirs, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("x", "y", "said"), [
    ([1, 2], [1, 0], "y must be positive"), ([-1, 2], [1, 1], "x must be positive"), ([1, 1], [1, 2], "two different values"),
    ([1, 2, 3], [1, 2], "must pair"), ([1, math.nan], [1, 1], "x must be positive")])
def test_slope_names_what_is_wrong(x: list[float], y: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        log_log_slope(x, y)


# ------------------------------------------------------------ the promise: 95 of 100 intervals hold the truth


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10, 30])
def test_coverage_of_normal_differences_through_the_rule(n: int, table: Callable[..., Results], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_bootstrapped", lambda *_: {})  # shown beside the interval, no part of it, and slow
    rng, truth, hits = np.random.default_rng(n), -0.7, 0
    leaf = difference("m", "a", "b") < 0
    for _ in range(EXPERIMENTS):
        luck = rng.normal(scale=5, size=n)  # of the seed, shared by both arms
        a, b = luck + truth + rng.normal(size=n), luck + rng.normal(scale=2, size=n)
        _, [check] = leaf.check(table({"p": {"a": a, "b": b}}))
        assert check.interval is not None
        hits += check.interval[0] <= truth <= check.interval[1]
    assert 0.93 <= hits / EXPERIMENTS <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5, 10, 30])
def test_coverage_of_lognormal_ratios_through_the_rule(n: int, table: Callable[..., Results], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_bootstrapped", lambda *_: {})
    rng, truth, hits = np.random.default_rng(100 + n), 0.8, 0
    leaf = ratio("m", "a", "b") < 1
    for _ in range(EXPERIMENTS):
        luck = rng.normal(scale=2, size=n)
        a, b = truth * np.exp(luck + rng.normal(scale=0.5, size=n)), np.exp(luck + rng.normal(size=n))
        _, [check] = leaf.check(table({"p": {"a": a, "b": b}}))
        assert check.interval is not None
        hits += check.interval[0] <= truth <= check.interval[1]
    assert 0.93 <= hits / EXPERIMENTS <= 0.97


@pytest.mark.parametrize("n", [5, 10])
def test_points_are_averaged_within_a_seed_first(n: int, table: Callable[..., Results]) -> None:
    """Three points that share a seed's luck are one number a seed: taken for three, the interval would be too narrow."""
    rng, hits, naive = np.random.default_rng(n), 0, 0
    leaf = difference("m", "a", "b") < 0
    for _ in range(500):
        luck = rng.normal(size=n)
        columns = {p: {"a": luck + rng.normal(scale=0.1, size=n), "b": np.zeros(n)} for p in ("p", "q", "r")}
        _, [check] = leaf.check(table(columns))
        assert check.interval is not None
        hits += check.interval[0] <= 0 <= check.interval[1]
        flat = t_interval(np.concatenate([c["a"] for c in columns.values()]).tolist())
        naive += flat.lo <= 0 <= flat.hi
    assert 0.92 <= hits / 500 <= 0.98
    assert naive / 500 < 0.9
