"""The ruler puts a measured interval on the right side of its threshold, whatever the metric's direction."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workingpapers.hub.ruler import draw, needs_words

values = st.floats(-1e6, 1e6, allow_nan=False).filter(lambda v: v == 0 or abs(v) > 1e-6)
ratios = st.floats(1e-4, 1e4)


def intervals(of: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(of, min_size=3, max_size=3, unique=True).map(sorted)


@given(intervals(values), values, st.sampled_from(["lower", "higher"]), st.none() | values)
def test_better_is_to_the_right_on_a_linear_scale(triple, threshold, better, reported):
    check_sides(triple, threshold, better, reported, log=False)


@given(intervals(ratios), ratios, st.sampled_from(["lower", "higher"]), st.none() | ratios)
def test_better_is_to_the_right_on_a_log_scale(triple, threshold, better, reported):
    check_sides(triple, threshold, better, reported, log=True)


def check_sides(triple, threshold, better, reported, log):
    lo, mid, hi = triple
    r = draw(verdict="holds", estimate=mid, interval=(lo, hi), threshold=threshold, better=better, log=log, reported=reported)
    assert r is not None
    assert r.thresholds == (50.0,)
    places = [*r.interval, r.point] + ([r.reported] if reported is not None else [])
    assert all(0 <= x <= 100 for x in places)
    assert r.interval[0] <= r.point <= r.interval[1]
    assert (r.reported is None) == (reported is None)
    beats = (lambda v: v < threshold) if better == "lower" else (lambda v: v > threshold)
    for value, x in ((mid, r.point), (lo, r.interval[better == "lower"]), (hi, r.interval[better == "higher"])):
        if abs(x - 50) > 0.01:
            assert (x > 50) == beats(value)
    assert all(6 <= t.x <= 94 for t in r.ticks)
    assert [t.x for t in r.ticks] == sorted(t.x for t in r.ticks)


@given(st.floats(1.01, 1000.0))
def test_twice_and_half_are_equally_far_on_a_log_scale(factor):
    up, down = (draw(verdict="holds", estimate=e, interval=None, threshold=1.0, better="higher", log=True) for e in (factor, 1 / factor))
    assert up.point - 50 == pytest.approx(50 - down.point, abs=0.02)


def test_ticks_stand_where_their_labels_say():
    r = draw(verdict="holds", estimate=0.5, interval=(0.4, 0.7), threshold=1.0, better="lower", log=True)
    known = {f"{v:g}×": v for v in (0.4, 0.5, 0.7, 1, 1.5, 2)}
    scale = (r.point - 50) / math.log(1 / 0.5)
    for tick in r.ticks:
        if tick.label in known:
            assert tick.x == pytest.approx(50 - scale * math.log(known[tick.label]), abs=0.05)
    assert len(r.ticks) >= 2


def test_a_small_ratio_does_not_fill_the_ruler():
    near = draw(verdict="holds", estimate=0.99, interval=(0.985, 0.995), threshold=1.0, better="lower", log=True)
    far = draw(verdict="holds", estimate=0.1, interval=(0.09, 0.11), threshold=1.0, better="lower", log=True)
    assert near.point < 55 < 85 < far.point


def test_a_band_has_two_thresholds_and_its_middle_in_the_middle():
    r = draw(verdict="fails", estimate=1.5, interval=(1.4, 1.6), threshold=(0.9, 1.1), better="inside")
    assert r.thresholds[0] < 50 < r.thresholds[1] < r.point
    assert sum(r.thresholds) == pytest.approx(100)
    assert (r.left, r.right) == ("too low", "too high")


@pytest.mark.parametrize("over", [{"estimate": None}, {"estimate": math.nan}, {"threshold": None}, {"threshold": math.inf}])
def test_nothing_is_drawn_without_numbers(over):
    given = {"verdict": "inconclusive", "estimate": 1.0, "interval": None, "threshold": 1.0} | over
    assert draw(**given) is None


def test_everything_equal_still_draws():
    r = draw(verdict="inconclusive", estimate=0.0, interval=(0.0, 0.0), threshold=0.0)
    assert r.point == 50.0


def test_an_open_band_is_said_in_words():
    assert needs_words((-math.inf, 2.0), "inside") == "2 or less"
    assert needs_words((2.0, math.inf), "inside", "s") == "2 s or more"
