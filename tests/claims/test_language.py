"""Declaring and trying claims: what is declared wrongly is named, pairs of arms share their luck."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workingpapers.claims import (
    Claim,
    ClaimError,
    Measurement,
    TimedTrial,
    Trial,
    Untested,
    Workload,
    all_of,
    aside,
    at,
    baseline,
    claim,
    control,
    difference,
    exact,
    headline,
    method,
    peer,
    ratio,
    untested,
    value,
)
from workingpapers.claims._language import attributes

OK: dict[str, Any] = {"id": "a-claim", "arms": {"new": method(abs), "old": baseline(abs)}, "seeds": 3, "rule": ratio("m", "new", "old") < 1}


@dataclass(frozen=True)
class Numbers(Workload):
    n: int

    def load(self, rng: np.random.Generator) -> Any:
        return rng.normal(size=self.n)


def declared(function: Any = None, **changed: Any) -> Claim:
    def trial(trial: Trial) -> dict[str, float]:
        return {"m": float(np.abs(trial.point.load(trial.rng)).sum())}

    options = {**OK, "points": [Numbers(4)], **changed}
    return claim(options.pop("id"), **options)(function or trial)


# ------------------------------------------------------------ declaring


class NoLoad:
    pass


@pytest.mark.parametrize(("changed", "said"), [
    ({"arms": {"old": baseline(abs), "new": control(abs)}}, "no arm is a method"),
    ({"arms": {"new": abs, "old": baseline(abs)}}, "the arm 'new' is <built-in function abs>: write method"),
    ({"arms": {"*": method(abs), "new": method(abs), "old": peer(abs)}}, "may not be named '\\*'"),
    ({"arms": {"": method(abs), "new": method(abs), "old": peer(abs)}}, "an arm is named ''"),
    ({"rule": ratio("m", "new", "other") < 1}, "the rule names the arm 'other'; there are new, old"),
    ({"rule": all_of(value("m", "new") < 1, difference("m", "old", "typo") < 1)}, "the rule names the arm 'typo'"),
    ({"rule": ratio("m", "new", "old")}, "`m of new / old` has no threshold"),
    ({"rule": True}, "rule is not a rule: True"),
    ({"rule": aside(value("m", "new") < 1)}, "the rule is an aside: join it by all_of"),
    ({"rule": all_of(value("m", "new") < 1, aside(value("m", "typo") < 1))}, "the rule names the arm 'typo'"),
    ({"rule": all_of(headline(value("m", "new") < 1), headline(value("m", "old") < 1))},
     "two leaves of the rule are marked as the headline"),
    ({"points": []}, "no workload point at smoke scale"),
    ({"points": Numbers(4)}, "a list of workload points is needed"),
    ({"points": [Numbers(4), Numbers(4)]}, "share a label"),
    ({"points": [NoLoad()]}, r"has no load\(rng\)"),
    ({"points": at(smoke=[Numbers(4)], small=[])}, "no workload point at small scale"),
    ({"seeds": 2}, "2 seeds at smoke scale; 3 at least"),
    ({"seeds": at(smoke=5, full=1)}, "1 seeds at full scale"),
    ({"seeds": 3.5}, "3.5 seeds"),
    ({"seeds": True}, "True seeds"),
    ({"threads": 0}, "threads is 0"),
    ({"time_limit": 0}, "time_limit is 0"),
    ({"memory_gb": -1.0}, "memory_gb is -1.0"),
])
def test_a_wrong_declaration_names_the_claim_and_what_is_wrong(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ClaimError, match=f"a-claim: .*{said}"):
        declared(**changed)


def test_a_label_longer_than_the_store_takes() -> None:
    @dataclass(frozen=True)
    class Long(Numbers):
        text: str = "x" * 400

    with pytest.raises(ClaimError, match="at most 300"):
        declared(points=[Long(4)])


@pytest.mark.parametrize("wrong", [{}, {"tiny": 3}])
def test_at_names_unknown_scales(wrong: dict[str, int]) -> None:
    with pytest.raises(ClaimError, match="smoke, small and full"):
        at(**wrong)


def test_parts_name_what_is_wrong() -> None:
    made = declared()
    with pytest.raises(ClaimError, match="timing names the arm 'typo'; there are new, old"):
        @made.timed(arms=["typo"])
        def timing(trial: TimedTrial) -> None: ...
    with pytest.raises(ClaimError, match="two trial functions are named trial"):
        @made.also
        def trial(trial: Trial) -> None: ...
    with pytest.raises(ClaimError, match="2 seeds"):
        @made.also(seeds=2)
        def more(trial: Trial) -> None: ...
    with pytest.raises(KeyError, match="a-claim has no trial function 'none'"):
        made.part("none")


def test_scales_are_those_that_every_part_has() -> None:
    made = declared(points=at(smoke=[Numbers(4)], full=[Numbers(9)]), seeds=at(smoke=3, small=5, full=7))
    assert made.scales == ("smoke", "full")
    with pytest.raises(ClaimError, match="no small scale here: there is smoke, full"):
        made.points("small")

    @made.also(points=at(full=[Numbers(8)]))
    def more(trial: Trial) -> dict[str, float]:
        return {"other": 1.0}

    assert made.scales == ("full",)
    assert [p.n for p in made.points("full")] == [9, 8]


def test_the_plan_is_arms_times_seeds_times_points() -> None:
    made = declared(points=[Numbers(4), Numbers(5)], seeds=at(smoke=3, small=4, full=5))

    @made.timed(arms=["new"], seeds=6)
    def timing(trial: TimedTrial) -> dict[str, dict[str, float]]:
        return {"new": {"seconds": 1.0}}

    plan = [(part.name, arm, seed, point.n) for part, arm, seed, point in made.planned("small")]
    assert len(plan) == len(set(plan)) == 2 * 4 * 2 + 6 * 2
    assert {arm for part, arm, *_ in plan if part == "timing"} == {"*"}
    assert len(made.planned("smoke", seeds=1)) == 2 * 1 * 2 + 1 * 2
    assert {p.n for *_, p in made.planned("smoke", points=[Numbers(9)])} == {9}


# ------------------------------------------------------------ luck


def stream(made: Claim, arm: str, seed: int, point: Any) -> list[float]:
    seen: list[float] = []

    def look(trial: Trial) -> dict[str, float]:
        seen.extend(trial.rng.normal(size=3))
        assert list(trial.rng.normal(size=3)) == seen, "a fresh stream at every access"
        assert list(trial.rng_for("other").normal(size=3)) != seen
        return {"m": 1.0}

    other = declared(look, id=made.id, arms=dict.fromkeys(made.arms, method(abs)), rule=value("m", arm) < 9)
    list(other.attempt(other.parts[0], arm, seed, point, "smoke"))
    return seen


@given(st.integers(0, 10_000), st.integers(1, 50))
def test_luck_depends_on_claim_point_and_seed_and_never_on_the_arm(seed: int, n: int) -> None:
    made, other = declared(), declared(id="another-claim")
    here = stream(made, "new", seed, Numbers(n))
    assert stream(made, "old", seed, Numbers(n)) == here
    assert stream(made, "new", seed + 1, Numbers(n)) != here
    assert stream(made, "new", seed, Numbers(n + 1)) != here
    assert stream(other, "new", seed, Numbers(n)) != here


def test_luck_is_the_same_on_every_machine_and_day() -> None:
    trial = Trial(claim="c", seed=3, point=Numbers(2), scale="smoke", arm=declared().arms["new"])
    assert trial.rng.integers(0, 1000, 4).tolist() == [int(x) for x in trial.rng_for("").integers(0, 1000, 4)]
    same = Trial(claim="c", seed=3, point=Numbers(2), scale="full", arm=declared().arms["old"])
    assert same.rng.normal() == trial.rng.normal()


# ------------------------------------------------------------ trying


def attempts(function: Any, **changed: Any) -> list[Measurement]:
    made = declared(function, **changed)
    return list(made.attempt(made.parts[0], "new", 0, Numbers(4), "smoke"))


@pytest.mark.parametrize(("given", "said"), [
    (None, "must return metric names with numbers, not NoneType"), (3.0, "not float"), ([("m", 1.0)], "not list"),
    ({"m": "1.5"}, "gave m = '1.5', which is not a number"), ({"m": None}, "gave m = 'None'"), ({"m": [1.0, 2.0]}, "which is not a number"),
    ({1: 1.0}, "a metric named '1'"), ({"": 1.0}, "a metric named ''"), ({"m" * 161: 1.0}, "1 to 160 characters"),
    ({"m": np.zeros(3)}, "which is not a number"), ({"m": 10**400}, "which is not a number"), ({"m": 1j}, "which is not a number")])
def test_a_trial_that_gives_no_numbers_is_named(given: Any, said: str) -> None:
    with pytest.raises(ClaimError, match=f"a-claim: trial .*{said}"):
        attempts(lambda_named("trial", given))


def lambda_named(name: str, given: Any) -> Any:
    def function(trial: Trial) -> Any:
        return given

    function.__name__ = name
    return function


def test_what_counts_as_a_number() -> None:
    import torch

    found = attempts(lambda_named("trial", {
        "a": np.float32(1.5), "b": np.array([2.0]).sum(), "c": torch.tensor(3.0), "d": True, "e": math.nan}))
    assert [m.value for m in found[:4]] == [1.5, 2.0, 3.0, 1.0]
    assert math.isnan(found[4].value)


def test_a_generator_gives_its_measurements_piece_by_piece() -> None:
    told: list[str] = []

    def pieces(trial: Trial) -> Iterator[dict[str, float]]:
        told.append("first")
        yield {"m": 1.0}
        told.append("second")
        yield {"n": 2.0, "k": 3.0}
        raise RuntimeError("late")

    made = declared(pieces)
    given = made.attempt(made.parts[0], "new", 0, Numbers(4), "smoke")
    assert (next(given).metric, told) == ("m", ["first"])
    assert (next(given).metric, next(given).metric, told) == ("n", "k", ["first", "second"])
    with pytest.raises(RuntimeError, match="late"):
        next(given)


def test_a_metric_may_not_come_twice_from_one_trial() -> None:
    def pieces(trial: Trial) -> Iterator[dict[str, float]]:
        yield {"m": 1.0}
        yield {"m": 2.0}

    with pytest.raises(ClaimError, match="pieces gave m of new twice in one trial"):
        attempts(pieces)


def test_timed_trials_hold_all_arms_of_a_seed() -> None:
    made = declared()

    @made.timed(arms=["old", "new"], seeds=3)
    def timing(trial: TimedTrial) -> Iterator[dict[str, dict[str, float]]]:
        assert list(trial.arms) == ["old", "new"]
        yield {"old": {"seconds": 2.0}}
        yield {"new": {"seconds": 1.0 + trial.seed}}

    found = list(made.attempt(made.part("timing"), "*", 2, Numbers(4), "smoke"))
    assert [(m.part, m.arm, m.seed, m.value) for m in found] == [("timing", "old", 2, 2.0), ("timing", "new", 2, 3.0)]


@pytest.mark.parametrize(("given", "said"), [
    ({"typo": {"s": 1.0}}, "returned the arm 'typo'"), ({"new": 1.0}, "not float"), (None, "it must return arm names")])
def test_timed_trials_name_what_is_wrong(given: Any, said: str) -> None:
    made = declared(lambda_named("timing", given), is_timed=True)
    with pytest.raises(ClaimError, match=said):
        list(made.attempt(made.parts[0], "*", 0, Numbers(4), "smoke"))


def test_arms_build_with_their_own_options_and_more() -> None:
    made = declared(arms={"new": method(dict, a=1, b=2), "old": baseline(dict)})
    assert made.arms["new"].build(b=3, c=4) == {"a": 1, "b": 3, "c": 4}
    assert [a.role for a in made.arms.values()] == ["method", "baseline"]


def test_a_method_that_returns_the_baselines_output_changes_the_verdict() -> None:
    def trial(trial: Trial) -> dict[str, float]:
        return {"m": float(trial.arm.build(trial.point.load(trial.rng)))}

    def error(x: np.ndarray) -> float:
        return abs(x.mean()) + 1e-12

    def first(x: np.ndarray) -> float:
        return abs(x[0]) + 1e-12

    options: dict[str, Any] = {"points": [Numbers(400)], "seeds": 20}
    honest = declared(trial, arms={"new": method(error), "old": baseline(first)}, **options)
    broken = declared(trial, arms={"new": method(first), "old": baseline(first)}, **options)
    assert honest.decide(honest.try_all()).verdict == "holds"
    assert broken.decide(broken.try_all()).verdict == "fails"


def test_a_decision_says_why_it_is_open() -> None:
    made = declared(rule=all_of(value("m", "new") >= 0, exact("other", "new", 1)))
    decision = made.decide(made.try_all())
    assert (decision.verdict, decision.reason) == ("inconclusive", "3 of 3 trials of new did not give other")


def test_untested_carries_its_reason() -> None:
    with pytest.raises(Untested, match="needs a GPU"):
        untested("needs a GPU")


# ------------------------------------------------------------ points


def test_the_numbers_that_points_carry() -> None:
    @dataclass(frozen=True, slots=True)
    class Slotted:
        tokens: int
        name: str = "x"
        flag: bool = True
        ratio: Any = 0.5
        count: Any = 7

        @property
        def double(self) -> int:
            return 2 * self.tokens

        @property
        def costly(self) -> int:
            raise RuntimeError("not on this machine")

        @property
        def label(self) -> str:
            return f"t{self.tokens}"

    slotted = Slotted(3, ratio=np.float64(0.5), count=np.int64(7))
    assert attributes([slotted]) == {"t3": {"tokens": 3.0, "ratio": 0.5, "count": 7.0, "double": 6.0}}
    assert attributes([Numbers(5)]) == {repr(Numbers(5)): {"n": 5.0}}


def test_a_bare_workload_has_a_key_and_no_hash() -> None:
    assert Numbers(3).label == repr(Numbers(3))
    assert Numbers(3).data_hash() == ""
    assert Workload().load(np.random.default_rng(0)) is not None
