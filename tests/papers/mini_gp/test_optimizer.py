"""The repeat rule, the bound on switches, ask/tell, resume, and what is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.gaussian_process.kernels import RBF, Matern

from workingpapers.papers.mini_gp import (
    BBKB,
    BKB,
    GPBUCB,
    GPEI,
    GPUCB,
    TS,
    Categorical,
    Integer,
    MiniGPOptimizer,
    RandomArms,
    Real,
    RefitGPUCB,
    UniqueGP,
)
from workingpapers.papers.mini_gp._acquisition import expected_improvement, repeats
from workingpapers.workloads.arms import ArmProblem, Arms


def play(optimizer: Any, problem: ArmProblem, budget: int, rng: np.random.Generator, trace: list[Any] | None = None) -> Any:
    while (left := budget - optimizer.ledger_.evaluations) > 0:
        s = optimizer.ask(left)
        if trace is not None:
            trace.append((s.index, s.repeats))
        optimizer.tell(s, problem.evaluate(s.index, s.repeats, rng))
    return optimizer


def problem(seed: int, n: int = 60) -> ArmProblem:
    return Arms(n, 0).load(np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(100))
def test_the_switch_bound_holds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    acquisition = ("ucb", "ei", "ts")[seed % 3]
    p = problem(seed, int(rng.integers(5, 60)))
    c2, noise = float(rng.uniform(1.01, 5)), float(rng.uniform(0.05, 1))
    kernel = [RBF(float(rng.uniform(0.05, 1))), Matern(0.4, nu=1.5)][seed % 2]
    optimizer = MiniGPOptimizer(p.arms, acquisition, C2=c2, kernel=kernel, noise=noise**2, random_state=seed)
    for budget in (1, 50, int(rng.integers(100, 5_000))):
        play(optimizer, p, budget, rng)
        certificate, ledger = optimizer.certificate_, optimizer.ledger_
        gp = optimizer.to_gp()
        assert optimizer.n_unique <= ledger.switches <= ledger.blocks == certificate.blocks
        assert certificate.holds
        assert certificate.guaranteed
        assert certificate.bound == pytest.approx(1 + gp.logdet() / math.log((c2 + 1) / 2), rel=1e-8)
        assert ledger.evaluations == gp.n_obs == max(budget, ledger.evaluations)


@pytest.mark.parametrize(("acquisition", "baseline"), [("ucb", GPUCB), ("ei", GPEI), ("ts", TS)])
@pytest.mark.parametrize("seed", range(3))
def test_towards_c_1_it_is_the_sequential_method_step_for_step(acquisition: Any, baseline: Any, seed: int) -> None:
    p = problem(seed)
    mini, plain = [], []
    play(
        MiniGPOptimizer(p.arms, acquisition, C2=1 + 1e-12, kernel=p.kernel(), noise=0.09, random_state=0),
        p,
        300,
        np.random.default_rng(1),
        mini,
    )
    play(baseline(p.arms, kernel=p.kernel(), noise=0.09, random_state=0), p, 300, np.random.default_rng(1), plain)
    assert mini == plain


def test_gp_ucb_takes_the_decisions_of_a_library_refitted_at_every_step() -> None:
    p = problem(0)
    ours, theirs = [], []
    for made, trace in ((GPUCB, ours), (RefitGPUCB, theirs)):
        play(made(p.arms, beta="bayes", kernel=p.kernel(), noise=0.09), p, 150, np.random.default_rng(1), trace)
    assert ours == theirs


@given(st.floats(1e-12, 1e3), st.floats(1.001, 10))
def test_a_block_uses_up_the_ratio_and_not_more(sigma2: float, c2: float) -> None:
    b = repeats(sigma2, c2)
    shrunk = sigma2 / (1 + b * sigma2)
    assert b == 1 or sigma2 / shrunk <= c2 * (1 + 1e-12)
    assert math.log1p(b * sigma2) >= math.log((c2 + 1) / 2) * (1 - 1e-9)


def test_expected_improvement_is_that_of_a_normal_variable() -> None:
    mean, std = np.array([0.3, -2.0, 1.0]), np.array([0.5, 1.0, 2.0])
    numeric = [norm(m, s).expect(lambda v: v - 0.4, lb=0.4) for m, s in zip(mean, std)]
    np.testing.assert_allclose(expected_improvement(mean, std, 0.4), numeric, atol=1e-7)
    assert expected_improvement(np.array([1.0]), np.array([0.0]), 2.0)[0] == 0.0


MAKERS = {
    "ucb": lambda x, **k: MiniGPOptimizer(x, C2=1.5, **k),
    "ei": lambda x, **k: MiniGPOptimizer(x, "ei", nu="theory", **k),
    "ts": lambda x, **k: MiniGPOptimizer(x, "ts", mean="constant", **k),
    "GPUCB": lambda x, **k: GPUCB(x, beta="bayes", **k),
    "GPBUCB": lambda x, **k: GPBUCB(x, C2=2.0, **k),
    "BBKB": BBKB,
    "BKB": BKB,
    "random": RandomArms,
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("stop", [7, 61])
def test_a_run_resumed_from_json_goes_on_identically(name: str, stop: int) -> None:
    p = problem(3)

    def run(interrupted: bool) -> tuple[list[Any], Any]:
        optimizer = MAKERS[name](p.arms, kernel=p.kernel(), noise=0.09, random_state=4)
        rng, trace = np.random.default_rng(5), []
        while optimizer.ledger_.evaluations < 150:
            s = optimizer.ask(3)
            trace.append((s.index, s.repeats, s.is_switch))
            optimizer.tell(s, p.evaluate(s.index, s.repeats, rng))
            if interrupted and len(trace) == stop:
                state = json.loads(json.dumps(optimizer.state_dict()))
                optimizer = MAKERS[name](p.arms, kernel=p.kernel(), noise=0.09, random_state=99)
                optimizer.load_state_dict(state)
        return trace, optimizer

    whole, a = run(False)
    resumed, b = run(True)
    assert resumed == whole
    assert a.ledger_ == b.ledger_
    assert a.best().mean == b.best().mean


def test_a_run_in_a_box_resumes_identically_and_after_a_refit() -> None:
    def run(interrupted: bool) -> list[Any]:
        made = lambda: MiniGPOptimizer([(0.0, 2.0), (-1.0, 1.0)], beta=2.0, noise=0.01, random_state=0)  # noqa: E731
        optimizer, rng, trace = made(), np.random.default_rng(5), []
        for step in range(30):
            s = optimizer.ask(5)
            trace.append(s.x.tolist())
            optimizer.tell(s, -np.square(s.x - 0.3).sum() + 0.1 * rng.standard_normal(s.repeats))
            if step == 10:
                optimizer.fit_hyper()
            if interrupted and step == 20:
                state = json.loads(json.dumps(optimizer.state_dict()))
                optimizer = made()
                optimizer.load_state_dict(state)
        return trace

    assert run(True) == run(False)


def test_asking_twice_gives_the_same_and_parts_of_a_block_go_on() -> None:
    p = problem(1)
    optimizer = MiniGPOptimizer(p.arms, C2=50.0, kernel=p.kernel(), noise=0.09)
    s = optimizer.ask()
    assert (s.repeats, s.is_switch) == (4, True)  # floor(49 / (1 / 0.09))
    again = optimizer.ask()
    assert (again.index, again.repeats, again.reason) == (s.index, s.repeats, s.reason)
    assert optimizer.ask(2).repeats == 2
    optimizer.tell(s, [0.1, 0.2])
    rest = optimizer.ask()
    assert (rest.index, rest.repeats, rest.is_switch) == (s.index, s.repeats - 2, False)


def test_told_points_that_were_not_asked_for_add_data_and_are_said_to_lift_the_guarantee() -> None:
    p = problem(2)
    optimizer = MiniGPOptimizer(p.arms, kernel=p.kernel(), noise=0.09)
    optimizer.tell(5, [1.0, 2.0])
    optimizer.tell(p.arms[7], 0.5)
    optimizer.tell(np.array([0.5, 0.5, 0.51234]), 3.0)
    assert optimizer.certificate_.guaranteed
    expected = UniqueGP(p.kernel(), 0.09).add(p.arms[5], [1.0, 2.0]).add(p.arms[7], 0.5).add([0.5, 0.5, 0.51234], 3.0)
    np.testing.assert_allclose(optimizer.predict(p.arms), expected.posterior(p.arms), atol=1e-9)
    np.testing.assert_allclose(optimizer._surrogate.posterior.average_[:-1], expected.posterior(p.arms)[0], atol=1e-9)
    s = optimizer.ask()
    other = 0 if s.index != 0 else 1
    optimizer.tell(other, 1.0)
    assert not optimizer.certificate_.guaranteed
    state = json.loads(json.dumps(optimizer.state_dict()))
    twin = MiniGPOptimizer(p.arms, kernel=p.kernel(), noise=0.09)
    twin.load_state_dict(state)
    assert twin.ask().index == optimizer.ask().index


def test_regret_counts_every_evaluation() -> None:
    p = problem(4)
    optimizer = MiniGPOptimizer(p.arms, kernel=p.kernel(), noise=0.09, switch_cost=5)
    total, switches, last, rng = 0.0, 0, None, np.random.default_rng(0)
    while optimizer.ledger_.evaluations < 500:
        s = optimizer.ask(500 - optimizer.ledger_.evaluations)
        assert s.is_switch == (s.index != last)
        switches += s.index != last
        last = s.index
        total += s.repeats * (p.optimum - p.rewards[s.index])
        optimizer.tell(s, p.evaluate(s.index, s.repeats, rng))
    assert optimizer.regret(p.rewards).cumulative == pytest.approx(total)
    assert optimizer.regret(lambda x: p.rewards[np.argmin(np.abs(p.arms - x).sum(axis=1))]).average == pytest.approx(total / 500)
    assert (optimizer.ledger_.switches, optimizer.ledger_.cost) == (switches, 500 + 5 * switches)


def test_a_batch_across_candidates_keeps_to_the_global_rule() -> None:
    p = problem(5)
    optimizer = play(MiniGPOptimizer(p.arms, C2=3.0, kernel=p.kernel(), noise=0.09), p, 200, np.random.default_rng(0))
    while optimizer._block is not None:
        s = optimizer.ask()
        optimizer.tell(s, p.evaluate(s.index, s.repeats, np.random.default_rng(1)))
    var = optimizer.predict(p.arms)[1]
    batch = optimizer.ask_batch()
    used = [var[s.index] / 0.09 for s in batch for _ in range(s.repeats)]
    assert len(batch) > 1
    assert 1 + sum(used) > 3.0 >= 1 + sum(used) - max(used)
    assert sum(s.repeats for s in optimizer.ask_batch(4)) <= 4
    for s in batch:
        optimizer.tell(s, p.evaluate(s.index, s.repeats, np.random.default_rng(2)))
    assert not optimizer.certificate_.guaranteed


def test_early_stop_leaves_a_block_that_is_ruled_out() -> None:
    arms = np.array([[0.0], [1.0]])
    optimizer = MiniGPOptimizer(arms, C2=50.0, beta=3.0, kernel=RBF(0.1), noise=0.5, early_stop=True)
    optimizer.tell(1, 1.0 + np.tile([0.5, -0.5], 100))
    s = optimizer.ask()
    assert (s.index, s.repeats) == (0, 24)
    optimizer.tell(s, [1.1, 0.9])
    assert optimizer.ask().index == 0
    optimizer.tell(s, [-9.0, -8.0, -9.5])
    assert optimizer.ask().index == 1
    assert not optimizer.certificate_.guaranteed


def test_cost_decides_c_and_fewer_switches_follow() -> None:
    p = problem(6)
    switches = [
        play(
            MiniGPOptimizer(p.arms, C="auto", switch_cost=s, kernel=p.kernel(), noise=0.09), p, 2_000, np.random.default_rng(0)
        ).ledger_.switches
        for s in (0.0, 100.0)
    ]
    assert switches[1] < switches[0]


def test_equal_repeats_are_warned_about() -> None:
    optimizer = MiniGPOptimizer(np.zeros((1, 1)), noise=1.0)
    with pytest.warns(UserWarning, match="without noise"):
        optimizer.tell(0, [1.0, 1.0, 1.0])


def test_fitting_learns_the_noise_of_repeats() -> None:
    p = problem(7)
    optimizer = play(MiniGPOptimizer(p.arms, kernel=RBF(0.3), noise=1.0), p, 1_000, np.random.default_rng(0))
    optimizer.fit_hyper()
    assert optimizer.noise == pytest.approx(0.09, rel=0.2)
    assert optimizer.ledger_.evaluations == 1_000
    play(optimizer, p, 1_100, np.random.default_rng(1))


@pytest.mark.parametrize("c", [1.0, 0.5, -2.0, float("nan"), float("inf")])
def test_c_must_be_above_one(c: float) -> None:
    with pytest.raises(ValueError, match="C must be above 1"):
        MiniGPOptimizer(np.zeros((2, 1)), C=c)
    with pytest.raises(ValueError, match="C must be above 1"):
        MiniGPOptimizer(np.zeros((2, 1)), C2=c)


ARMS = np.eye(3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MiniGPOptimizer(ARMS, C=2, C2=4), "both"),
        (lambda: MiniGPOptimizer(ARMS, noise=0), "noise"),
        (lambda: MiniGPOptimizer(ARMS, noise=-1), "noise"),
        (lambda: MiniGPOptimizer(ARMS, acquisition="pi"), "acquisition"),
        (lambda: MiniGPOptimizer(ARMS, beta=-1), "beta"),
        (lambda: MiniGPOptimizer(ARMS, beta="wide"), "beta"),
        (lambda: MiniGPOptimizer(ARMS, delta=0), "delta"),
        (lambda: MiniGPOptimizer(ARMS, fnorm=0), "fnorm"),
        (lambda: MiniGPOptimizer(ARMS, nu=0), "nu"),
        (lambda: MiniGPOptimizer(ARMS, switch_cost=-1), "switch_cost"),
        (lambda: MiniGPOptimizer(ARMS, mean="x"), "mean"),
        (lambda: MiniGPOptimizer(np.empty((0, 2))), "empty"),
        (lambda: MiniGPOptimizer([]), "empty"),
        (lambda: MiniGPOptimizer(np.zeros(3)), "space"),
        (lambda: MiniGPOptimizer([(1, 0)]), "low before high"),
        (lambda: MiniGPOptimizer([(0, np.inf)]), "finite"),
        (lambda: MiniGPOptimizer("box"), "space"),
        (lambda: MiniGPOptimizer(np.array([[np.nan]])), "NaN"),
        (lambda: MiniGPOptimizer([("a", "b")]), "neither a pair"),
        (lambda: MiniGPOptimizer([(0, 1)], beta="bayes"), "finitely many"),
        (lambda: MiniGPOptimizer(ARMS).ask(0), "n is 0"),
        (lambda: MiniGPOptimizer(ARMS).tell(0, np.nan), "y holds"),
        (lambda: MiniGPOptimizer(ARMS).tell(0, []), "y must"),
        (lambda: MiniGPOptimizer(ARMS).tell(3, 1.0), "3 arms"),
        (lambda: MiniGPOptimizer(ARMS).tell([0.0, 1.0], 1.0), "shape"),
        (lambda: MiniGPOptimizer([(0, 1)]).tell([0.5, 0.5], 1.0), "1 coordinates"),
        (lambda: MiniGPOptimizer([(0, 1)]).tell([1.5], 1.0), "outside"),
        (lambda: MiniGPOptimizer(ARMS).regret(np.zeros(3)), "nothing was evaluated"),
        (lambda: MiniGPOptimizer(ARMS).load_state_dict({}), "state"),
        (lambda: MiniGPOptimizer(ARMS).ask_batch(0), "limit"),
        (lambda: GPBUCB([(0, 1)]), "finite set"),
        (lambda: BBKB([(0, 1)]), "finite set"),
        (lambda: BBKB(ARMS, ratio_threshold=0), "ratio_threshold"),
        (lambda: BBKB(ARMS, init=[5]), "init"),
        (lambda: RefitGPUCB(ARMS), "beta"),
        (lambda: RefitGPUCB([(0, 1)], beta=1.0), "finite set"),
    ],
)
def test_wrong_input_is_named(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_regret_in_a_box_needs_the_optimum() -> None:
    optimizer = MiniGPOptimizer([(0.0, 1.0)], noise=0.1)
    optimizer.tell([0.5], 1.0)
    with pytest.raises(ValueError, match="optimum"):
        optimizer.regret(lambda x: float(x[0]))
    assert optimizer.regret(lambda x: float(x[0]), optimum=1.0).average == pytest.approx(0.5)


def test_sequential_methods_refuse_what_they_do_not_have() -> None:
    with pytest.raises(TypeError, match="C2"):
        GPUCB(ARMS, C2=2.0)


@pytest.mark.slow
@pytest.mark.parametrize("acquisition", ["ucb", "ei", "ts"])
def test_it_finds_the_top_of_a_box(acquisition: Any) -> None:
    rng = np.random.default_rng(0)
    optimizer = MiniGPOptimizer([(-2.0, 2.0), (0.0, 10.0)], acquisition, beta=2.0, noise=0.01, mean="constant", random_state=0)
    f = lambda x: -((x[0] - 0.7) ** 2) - ((x[1] - 3.0) / 5) ** 2  # noqa: E731
    while (left := 400 - optimizer.ledger_.evaluations) > 0:
        s = optimizer.ask(left)
        optimizer.tell(s, f(s.x) + 0.1 * rng.standard_normal(s.repeats))
    assert f(optimizer.best().x) > -0.05
    assert optimizer.certificate_.holds
    assert optimizer.ledger_.switches < 200


def test_mixed_and_enumerable_spaces() -> None:
    rng = np.random.default_rng(0)
    mixed = MiniGPOptimizer([Real(1e-4, 1.0, log=True), Integer(1, 5), Categorical(["a", "b", "c"])], beta=2.0, noise=0.04, random_state=0)
    grid = MiniGPOptimizer([Integer(1, 5), Categorical(["a", "b", "c"])], beta=2.0, noise=0.04, random_state=0)

    def f(k: int, c: str) -> float:
        return -abs(k - 4) / 2 + {"a": 0.0, "b": 0.5, "c": -0.5}[c]

    for optimizer in (mixed, grid):
        while (left := 600 - optimizer.ledger_.evaluations) > 0:
            s = optimizer.ask(left)
            extra = -abs(math.log10(s.x[0]) + 2) / 2 if optimizer is mixed else 0.0
            optimizer.tell(s, f(*s.x[-2:]) + extra + 0.2 * rng.standard_normal(s.repeats))
    assert mixed.best().x[1:] == [4, "b"]
    assert grid.best().x == [4, "b"]
    assert grid.n_unique <= 15


@settings(max_examples=50)
@given(st.floats(1e-4, 1.0), st.integers(-3, 9), st.sampled_from("abc"))
def test_points_survive_the_way_into_the_cube_and_back(real: float, whole: int, letter: str) -> None:
    from workingpapers.papers.mini_gp._space import BoxSpace

    space = BoxSpace([Real(1e-4, 1.0, log=True), Integer(-3, 9), Categorical("abc")])
    back = space.decode(space.encode([real, whole, letter]))
    assert back[1:] == [whole, letter]
    assert back[0] == pytest.approx(real, rel=1e-7)
    np.testing.assert_array_equal(space.encode(back), space.encode([real, whole, letter]))
