"""Leaves: when each of them holds, fails and stays open, and what it says of why."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workingpapers.claims import (
    Check,
    Results,
    Rule,
    RuleError,
    all_of,
    aside,
    bound,
    difference,
    each_of,
    each_point,
    exact,
    headline,
    majority,
    majority_of_points,
    not_worse,
    ratio,
    slope,
    t_interval,
    value,
    within,
)

Table = Callable[..., Results]


def one(rule: Rule, results: Results) -> Check:
    verdict, [check] = rule.check(results)
    assert check.verdict == verdict
    return check


# ------------------------------------------------------------ compare: value, difference, ratio


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=12), st.floats(-100, 100), st.sampled_from(["<", "<=", ">", ">="]))
def test_value_follows_its_interval(table: Table, values: list[float], threshold: float, side: str) -> None:
    leaf = value("m", "a")
    leaf = {"<": leaf < threshold, "<=": leaf <= threshold, ">": leaf > threshold, ">=": leaf >= threshold}[side]
    check = one(leaf, table({"p": {"a": values}}))
    lo, hi = t_interval(values)[1:]
    beyond = {"<": hi < threshold, "<=": hi <= threshold, ">": lo > threshold, ">=": lo >= threshold}[side]
    other = {"<": lo >= threshold, "<=": lo > threshold, ">": hi <= threshold, ">=": hi < threshold}[side]
    assert check.verdict == ("holds" if beyond else "fails" if other else "inconclusive")
    assert check.interval == (lo, hi)
    assert check.n_seeds == len(values)
    assert check.better == ("lower" if side.startswith("<") else "higher")


def test_difference_is_paired_by_seed(table: Table) -> None:
    luck = np.array([0.0, 100.0, -100.0, 50.0])
    results = table({"p": {"a": np.add(luck, [1.0, 1.1, 0.9, 1.0]), "b": luck}})
    check = one(difference("m", "a", "b") > 0.5, results)
    assert check.verdict == "holds"
    assert check.estimate == pytest.approx(1.0)
    assert one(difference("m", "b", "a") > 0.5, results).verdict == "fails"
    assert one(difference("m", "a", "b") > 1.05, results).verdict == "inconclusive"


def test_ratio_is_the_mean_of_log_ratios(table: Table) -> None:
    a, b = [2.0, 8.0, 4.0], [1.0, 2.0, 1.0]
    check = one(ratio("m", "a", "b") > 1, table({"p": {"a": a, "b": b}}))
    lo, hi = (math.exp(v) for v in t_interval(np.log(np.array(a) / np.array(b)).tolist())[1:])
    assert check.estimate == pytest.approx((2 * 4 * 4) ** (1 / 3))
    assert check.interval == pytest.approx((lo, hi))
    assert check.scale == "log"


@pytest.mark.parametrize(("a", "b", "threshold"), [
    (2.0, 1.0, 2.0), (3.0, 10.0, 0.3), (7.0, 10.0, 0.7), (1e-200, 1e200, 1.0), (6.0, 3.0, 2.0)])
def test_a_deterministic_ratio_at_its_threshold_is_held_exactly(table: Table, a: float, b: float, threshold: float) -> None:
    results = table({"p": {"a": [a] * 7, "b": [b] * 7}, "q": {"a": [a] * 7, "b": [b] * 7}, "r": {"a": [a] * 7, "b": [b] * 7}})
    if a / b == threshold:
        assert one(ratio("m", "a", "b") <= threshold, results).verdict == "holds"
        assert one(ratio("m", "a", "b") >= threshold, results).verdict == "holds"
        assert one(ratio("m", "a", "b") < threshold, results).verdict == "fails"
    else:
        assert one(ratio("m", "a", "b") < threshold, results).verdict == "holds"


@given(st.floats(-1e3, 1e3), st.integers(3, 30), st.integers(1, 7))
def test_a_deterministic_value_at_its_threshold_is_held_exactly(table: Table, x: float, seeds: int, points: int) -> None:
    results = table({f"p{i}": {"a": [x] * seeds} for i in range(points)})
    assert one(value("m", "a") <= x, results).verdict == "holds"
    assert one(value("m", "a") >= x, results).verdict == "holds"
    assert one(value("m", "a") < x, results).verdict == "fails"
    assert one(value("m", "a") > x, results).verdict == "fails"
    assert one(within("m", "a", x, x), results).verdict == "holds"


def test_thresholds_that_no_ratio_reaches(table: Table) -> None:
    results = table({"p": {"a": [1.0, 2.0, 3.0], "b": [1.0, 1.0, 1.0]}})
    assert one(ratio("m", "a", "b") > 0, results).verdict == "holds"
    assert one(ratio("m", "a", "b") < -1, results).verdict == "fails"


def test_an_interval_beyond_the_largest_number_is_no_crash(table: Table) -> None:
    results = table({"p": {"a": [1e300, 1.0, 1e-300], "b": [1e-300, 1.0, 1e300]}})
    check = one(ratio("m", "a", "b") < 1, results)
    assert check.verdict == "inconclusive"
    assert check.interval is not None
    assert all(map(math.isfinite, check.interval))


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_a_ratio_names_what_is_not_positive(table: Table, bad: float) -> None:
    check = one(ratio("m", "a", "b") < 1, table({"here": {"a": [1.0, 2.0, 3.0], "b": [1.0, bad, 1.0]}}))
    assert check.verdict == "inconclusive"
    assert "m of b is" in check.reason
    assert "seed 1, here" in check.reason


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("leaf", [ratio("m", "a", "b") < 1, difference("m", "a", "b") < 9, value("m", "a") < 9, within("m", "a", 0, 9),
                                  not_worse("m", "a", "b", margin=2.0, better="lower"), not_worse("m", "a", "b", by=2.0, better="higher")])
def test_what_is_no_number_leaves_a_leaf_open(table: Table, leaf: Rule, bad: float) -> None:
    check = one(leaf, table({"p": {"a": [1.0, bad, 1.0, 1.0], "b": [5.0, 5.0, 5.0, 5.0]}}))
    assert check.verdict == "inconclusive"
    assert "m of a" in check.reason


@pytest.mark.parametrize("leaf", [ratio("m", "a", "b") < 2, difference("m", "a", "b") < 9, value("m", "a") < 9, within("m", "a", 0, 9),
                                  exact("m", "a", 1.0), bound("m", "a") <= 1, not_worse("m", "a", "b", by=2.0, better="lower")])
def test_a_missing_trial_leaves_a_leaf_open_and_says_so(table: Table, leaf: Rule) -> None:
    whole = table({"p": {"a": [1.0] * 5, "b": [1.0] * 5}})
    assert one(leaf, whole).verdict == "holds"
    check = one(leaf, table({"p": {"a": [1.0, 1.0, 1.0, 1.0, None], "b": [1.0] * 5}}))
    assert check.verdict == "inconclusive"
    assert check.reason == "1 of 5 trials of a did not give m"
    assert check.n_seeds == 4


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("leaf", [ratio("m", "a", "b") < 2, difference("m", "a", "b") < 9, value("m", "a") < 9, within("m", "a", 0, 9),
                                  exact("m", "a", 1.0), bound("m", "a") <= 1])
def test_fewer_than_three_seeds_leave_every_leaf_open(table: Table, leaf: Rule, n: int) -> None:
    check = one(leaf, table({"p": {"a": [1.0] * n, "b": [1.0] * n}}))
    assert check.verdict == "inconclusive"
    assert check.reason == f"{n} seeds: at least 3 are needed"
    assert check.interval is None
    assert check.estimate is not None


def test_nothing_measured_at_all(table: Table) -> None:
    results = table({"p": {"a": [None] * 3, "b": [None] * 3}})
    for leaf in (ratio("m", "a", "b") < 1, within("m", "a", 0, 1), exact("m", "a", 1.0), bound("m", "a") <= 1, value("other", "a") < 1):
        check = one(leaf, results)
        assert check.verdict == "inconclusive"
        assert check.estimate is None
        assert check.reason
    nowhere = one(value("m", "a", point="elsewhere") < 1, results)
    assert (nowhere.verdict, nowhere.reason) == ("inconclusive", "no trial of a measures m at elsewhere")


def test_a_metric_of_some_points_only(table: Table) -> None:
    """A point at which no arm gives the metric does not carry it; a trial that should have given it is missed."""
    carried = table({"p": {"a": [1.0] * 3, "b": [2.0] * 3}})
    silent = table({"q": {"a": [9.0] * 3, "b": [9.0] * 3}}, metric="other")
    both = Results([*carried, *silent], [*carried.planned, *silent.planned])
    assert one(ratio("m", "a", "b") < 1, both).verdict == "holds"
    verdict, checks = each_point(ratio("m", "a", "b") < 1).check(both)
    assert (verdict, [c.point for c in checks]) == ("holds", ["p"])


def test_an_arm_that_crashed_at_a_point_is_missed_there(table: Table) -> None:
    """Only the method gives `m`. At q every trial of it failed while the baseline's finished: that may not pass for silence."""
    good = table({"p": {"a": [1.0] * 3}, "q": {"a": [None] * 3}})
    other = table({"p": {"b": [1.0] * 3}, "q": {"b": [1.0] * 3}}, metric="other")
    both = Results([*good, *other], [*good.planned, *other.planned])
    check = one(bound("m", "a") <= 1, both)
    assert (check.verdict, check.reason) == ("inconclusive", "3 of 6 trials of a did not give m")


def test_two_trial_functions_may_not_give_one_metric_twice(table: Table) -> None:
    first, second = table({"p": {"a": [1.0] * 3}}), table({"p": {"a": [2.0] * 3}}, part="timing")
    with pytest.raises(ValueError, match="m of a was measured twice at seed 0, p"):
        Results([*first, *second], [*first.planned, *second.planned])


def test_bca_stands_beside_the_interval_from_thirty_seeds(table: Table) -> None:
    rng = np.random.default_rng(0)
    for n, shown in ((29, False), (30, True)):
        results = table({"p": {"a": rng.lognormal(size=n), "b": np.ones(n)}})
        for leaf in (value("m", "a") > 0, ratio("m", "a", "b") > 0.1, within("m", "a", 0, 99)):
            check = one(leaf, results)
            assert ("bca" in check.also) is shown
            if shown:
                assert check.interval is not None
                lo, hi = check.also["bca"]
                assert lo < check.estimate < hi
                assert lo == pytest.approx(check.interval[0], rel=0.5)


# ------------------------------------------------------------ not worse


@pytest.mark.parametrize(("better", "factor", "wanted"), [
    ("lower", 1.05, "holds"), ("lower", 0.2, "holds"), ("lower", 1.2, "fails"),
    ("higher", 0.95, "holds"), ("higher", 5.0, "holds"), ("higher", 0.8, "fails")])
def test_not_worse_by_a_factor(table: Table, better: str, factor: float, wanted: str) -> None:
    results = table({"p": {"a": [factor * b for b in (1.0, 20.0, 3.0)], "b": [1.0, 20.0, 3.0]}}, better={"m": better})
    check = one(not_worse("m", "a", "b", margin=1.1), results)
    assert check.verdict == wanted
    assert check.threshold == pytest.approx(1.1 if better == "lower" else 1 / 1.1)
    assert check.better == better
    assert check.kind == "not-worse"


@pytest.mark.parametrize(("better", "gap", "wanted"), [
    ("lower", 0.4, "holds"), ("lower", -9.0, "holds"), ("lower", 0.6, "fails"),
    ("higher", -0.4, "holds"), ("higher", 9.0, "holds"), ("higher", -0.6, "fails")])
def test_not_worse_by_a_difference(table: Table, better: str, gap: float, wanted: str) -> None:
    results = table({"p": {"a": [10 + gap, -3 + gap, gap], "b": [10.0, -3.0, 0.0]}}, better={"m": better})
    check = one(not_worse("m", "a", "b", by=0.5), results)
    assert check.verdict == wanted
    assert check.threshold == (0.5 if better == "lower" else -0.5)


def test_not_worse_of_equal_outputs_holds_whatever_the_direction(table: Table) -> None:
    results = table({"p": {"a": [0.1, 0.2, 0.7], "b": [0.1, 0.2, 0.7]}})
    for better in ("lower", "higher"):
        assert one(not_worse("m", "a", "b", margin=1.001, better=better), results).verdict == "holds"
        assert one(not_worse("m", "a", "b", by=0, better=better), results).verdict == "holds"


def test_not_worse_straddling_its_margin_is_open(table: Table) -> None:
    results = table({"p": {"a": [1.0, 1.3, 1.0, 1.2], "b": [1.0, 1.0, 1.0, 1.0]}}, better={"m": "lower"})
    assert one(not_worse("m", "a", "b", margin=1.1), results).verdict == "inconclusive"


def test_not_worse_needs_a_direction(table: Table) -> None:
    results = table({"p": {"a": [1.0] * 3, "b": [1.0] * 3}}, better={"m": "equal"})
    with pytest.raises(RuleError, match="not_worse on m: say better='lower' or 'higher'"):
        not_worse("m", "a", "b", margin=1.1).check(results)
    assert [x.needs_direction for x in all_of(not_worse("m", "a", "b", by=1), value("m", "a") < 1).leaves()] == [True, False]


# ------------------------------------------------------------ within, slope, exact, bound


@pytest.mark.parametrize(("lo", "hi", "wanted"), [
    (0, 10, "holds"), (6, 9, "fails"), (-9, 0.5, "fails"), (2, 10, "inconclusive"), (2.9, 3.1, "inconclusive")])
def test_within(table: Table, lo: float, hi: float, wanted: str) -> None:
    check = one(within("m", "a", lo, hi), table({"p": {"a": [2.0, 3.0, 4.0]}}))  # interval 3 +- 2.48
    assert (check.verdict, check.threshold, check.better) == (wanted, (lo, hi), "inside")


def sized_points(exponent: float, sizes: tuple[int, ...], noise: float = 0.0) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(1)
    columns = {f"n={n}": {"a": [3 * n**exponent * math.exp(noise * rng.normal()) for _ in range(5)]} for n in sizes}
    return columns, {f"n={n}": {"tokens": n} for n in sizes}


def test_slope(table: Table) -> None:
    columns, attributes = sized_points(1.1, (10, 100, 1000), noise=0.02)
    check = one(slope("m", "a", x="tokens") < 1.25, table(columns, attributes=attributes))
    assert (check.verdict, check.n_seeds, check.kind) == ("holds", 5, "slope")
    assert check.estimate == pytest.approx(1.1, abs=0.05)
    assert one(slope("m", "a", x="tokens") < 1.0, table(columns, attributes=attributes)).verdict == "fails"


def test_slope_looks_at_its_range_of_x_only(table: Table) -> None:
    columns, attributes = sized_points(1.0, (10, 100, 1000))
    bend, more = sized_points(3.0, (1, 100_000))
    both = table({**columns, **bend}, attributes={**attributes, **more})
    leaf = slope("m", "a", x="tokens", at_least=10, at_most=1000)
    assert one(leaf <= 1.01, both).estimate == pytest.approx(1.0)
    bend["n=1"]["a"][2] = None  # a trial outside the range is none of this leaf's business
    assert one(leaf <= 1.01, table({**columns, **bend}, attributes={**attributes, **more})).verdict == "holds"
    columns["n=100"]["a"][2] = None
    check = one(leaf <= 1.01, table({**columns, **bend}, attributes={**attributes, **more}))
    assert (check.verdict, check.reason) == ("inconclusive", "1 of 15 trials of a did not give m")


def test_slope_names_what_is_wrong(table: Table) -> None:
    columns, attributes = sized_points(1.0, (10, 100))
    leaf = slope("m", "a", x="tokens") < 2
    assert "the point n=10 has no number of that name" in one(leaf, table(columns)).reason
    columns["n=10"]["a"][1] = 0.0
    assert "m of a is 0 at seed 1, n=10" in one(leaf, table(columns, attributes=attributes)).reason
    single, attribute = sized_points(1.0, (10,))
    assert "slope of m of a over tokens" in one(leaf, table(single, attributes=attribute)).reason
    zero = {k: {"tokens": 0} for k in attributes}
    assert "tokens is 0" in one(leaf, table(columns, attributes=zero)).reason


def test_exact(table: Table) -> None:
    results = table({"p": {"a": [3.0, 3.0, 3.0]}, "q": {"a": [4.0, 4.0, 4.0]}})
    assert one(exact("m", "a", {"p": 3, "q": 4}), results).verdict == "holds"
    assert one(exact("m", "a", 3, point="p"), results).verdict == "holds"
    assert one(exact("m", "a", {"p": 3, "q": 4}, point="q"), results).threshold == 4
    wrong = one(exact("m", "a", 3), results)
    assert (wrong.verdict, wrong.counts, wrong.reason) == ("fails", (3, 6), "q: 4 where 3 is expected")
    assert one(exact("m", "a", 3.5, tolerance=0.5), results).verdict == "holds"
    assert one(exact("m", "a", 3.5, tolerance=0.4), results).verdict == "fails"
    assert one(exact("m", "a", 3.0), table({"p": {"a": [3.0, 3.0, math.nan]}})).verdict == "fails"


def test_exact_without_a_figure_for_a_point_is_open(table: Table) -> None:
    """A user's own workload has no figure in the paper: that leaves the check open, and stops nothing."""
    check = one(exact("m", "a", {"p": 3}), table({"p": {"a": [3.0] * 3}, "mine": {"a": [5.0] * 3}}))
    assert (check.verdict, check.reason) == ("inconclusive", "no figure is given for the point mine")
    assert one(exact("m", "a", {"p": 3}), table({"p": {"a": [2.0] * 3}, "mine": {"a": [5.0] * 3}})).verdict == "fails"


def test_bound(table: Table) -> None:
    results = table({"p": {"a": [0.2, 1.0, 0.9]}, "q": {"a": [0.3, 0.1, 0.5]}})
    check = one(bound("m", "a") <= 1, results)
    assert (check.verdict, check.estimate, check.counts, check.interval) == ("holds", 1.0, (6, 6), None)
    broken = one(bound("m", "a") < 1, results)
    assert (broken.verdict, broken.counts, broken.reason) == ("fails", (5, 6), "m of a is 1 at seed 1, p")
    assert one(bound("m", "a") >= 0.1, results).estimate == 0.1
    assert one(bound("m", "a") > 0.1, results).verdict == "fails"
    assert one(bound("m", "a", point="q") < 1, results).verdict == "holds"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_certificate_that_is_no_number_is_broken(table: Table, bad: float) -> None:
    assert one(bound("m", "a") <= 1, table({"p": {"a": [0.0, bad, 0.0]}})).verdict == "fails"


def test_a_broken_bound_fails_even_where_trials_are_missing(table: Table) -> None:
    assert one(bound("m", "a") <= 1, table({"p": {"a": [2.0, None]}})).verdict == "fails"
    assert one(exact("m", "a", 1.0), table({"p": {"a": [2.0, None]}})).verdict == "fails"


# ------------------------------------------------------------ over points


def test_each_point_and_majority_of_points(table: Table) -> None:
    columns = {p: {"a": [v] * 3} for p, v in {"p": 1.0, "q": 2.0, "r": 9.0}.items()}
    leaf = value("m", "a") < 5
    verdict, checks = each_point(leaf).check(table(columns))
    assert (verdict, [c.verdict for c in checks], [c.point for c in checks]) == ("partly", ["holds", "holds", "fails"], ["p", "q", "r"])
    assert majority_of_points(leaf).check(table(columns))[0] == "holds"
    assert each_point(leaf, only=lambda p: p != "r").check(table(columns))[0] == "holds"
    verdict, [check] = each_point(leaf, only=lambda p: p == "none").check(table(columns))
    assert (verdict, check.reason) == ("inconclusive", "no workload point here is one that this check speaks of")


def test_each_point_marks_one_headline_and_keeps_names_apart(table: Table) -> None:
    _, checks = each_point(headline(value("m", "a", name="error") < 5)).check(table({p: {"a": [1.0] * 3} for p in "pq"}))
    assert [c.headline for c in checks] == [True, False]
    assert [c.name for c in checks] == ["error at p", "error at q"]
    assert [c.rule for c in checks] == ["m of a at p < 5", "m of a at q < 5"]


# ------------------------------------------------------------ mistakes in writing


@pytest.mark.parametrize(("write", "said"), [
    (lambda: 0 < ratio("m", "a", "b") < 1, "two leaves in all_of"),
    (lambda: 0 <= bound("m", "a") <= 1, "two leaves in all_of"),
    (lambda: (value("m", "a") < 1) and (value("m", "b") < 1), "truth value"),
    (lambda: all_of(value("m", "a") < 1) and all_of(value("m", "b") < 1), "truth value"),
    (lambda: (value("m", "a") < 1) > 0, "compared already"),
    (lambda: (bound("m", "a") < 1) > 0, "compared already"),
    (lambda: not_worse("m", "a", "b", margin=1.1) < 2, "carries its own margin"),
    (lambda: value("m", "a") < math.nan, "the threshold of `m of a` is nan"),
    (lambda: value("m", "a") < "1", "the threshold of `m of a` is '1'"),
    (lambda: bound("m", "a") <= math.inf, "the threshold of `bound on m of a` is inf"),
    (lambda: not_worse("m", "a", "b"), "give either margin"),
    (lambda: not_worse("m", "a", "b", margin=1.1, by=1), "give either margin"),
    (lambda: not_worse("m", "a", "b", margin=1.0), "above 1"),
    (lambda: not_worse("m", "a", "b", margin=math.nan), "finite number"),
    (lambda: not_worse("m", "a", "b", by=-1), "not be negative"),
    (lambda: not_worse("m", "a", "b", by=math.nan), "finite number"),
    (lambda: not_worse("m", "a", "b", by=1, better="more"), "better is 'more'"),
    (lambda: within("m", "a", 2, 1), r"the band \[2, 1\] is empty"),
    (lambda: within("m", "a", math.nan, 1), "empty"),
    (lambda: exact("m", "a", math.nan), "finite number"),
    (lambda: exact("m", "a", {}), "expected is empty"),
    (lambda: exact("m", "a", 1, tolerance=-1), "tolerance is -1"),
    (lambda: slope("m", "a", x="n", at_least=5, at_most=5), "no range of n"),
    (lambda: headline(all_of(value("m", "a") < 1)), "headline takes one leaf"),
    (lambda: aside(), "aside needs at least one rule"),
    (lambda: aside(True), "aside takes rules, not True"),
    (lambda: aside(value("m", "a") < 1, title=" "), "title is ' '"),
    (lambda: aside(headline(value("m", "a") < 1)), "a headline stands for the claim"),
    (lambda: all_of(aside(value("m", "a") < 1)), "all_of holds asides only"),
    (lambda: majority(aside(value("m", "a") < 1), aside(value("m", "b") < 1)), "majority holds asides only"),
    (lambda: all_of(), "all_of needs at least one rule"),
    (lambda: each_of(value("m", "a") < 1, False), "each_of takes rules, not False"),
    (lambda: all_of(ratio("m", "a", "b") == 1), "all_of takes rules, not False"),
    (lambda: each_point(all_of(value("m", "a") < 1)), "each_point takes one leaf"),
    (lambda: each_point(slope("m", "a", x="n") < 1), "a slope runs over the points"),
    (lambda: majority_of_points(value("m", "a", point="p") < 1), "about the point p already"),
])
def test_mistakes_are_named_where_they_are_written(write: Callable[[], Any], said: str) -> None:
    with pytest.raises(RuleError, match=said):
        write()


@pytest.mark.parametrize("leaf", [
    ratio("m", "a", "b"), value("m", "a"), difference("m", "a", "b"), slope("m", "a", x="n"), bound("m", "a")])
def test_a_leaf_without_a_threshold_cannot_be_checked(table: Table, leaf: Rule) -> None:
    with pytest.raises(RuleError, match="compare it with"):
        leaf.check(table({"p": {"a": [1.0] * 3, "b": [1.0] * 3}}))
    assert repr(leaf)
    assert leaf.words()
