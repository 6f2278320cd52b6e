"""BBKB against the authors' code and exact algebra; GP-BUCB's batches; random arms."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import RBF

from workingpapers.claims import t_interval
from workingpapers.papers.mini_gp import BBKB, GPBUCB, GPUCB, RandomArms, UniqueGP
from workingpapers.papers.mini_gp._bbkb import SketchedArms
from workingpapers.papers.mini_gp._kernels import as_covariance
from workingpapers.papers.mini_gp._space import FiniteSpace
from workingpapers.workloads.arms import Arms

REFERENCE = json.loads((Path(__file__).parent / "bbkb_reference.json").read_text())


def linear(a: Any, b: Any) -> Any:
    return a @ b.T


def regret_on_the_linear_example(seed: int, threshold: float) -> float:
    """The authors' example: the problem as they draw it, 2,000 evaluations after the two initial ones."""
    draw = np.random.RandomState(seed)
    truth = draw.randn(3)
    arms = draw.randn(1_000, 3)
    rewards = arms @ truth
    noise = math.sqrt(0.01 * (rewards.max() - rewards.min()))
    rng = np.random.default_rng(seed + 1_000)
    optimizer = BBKB(arms, ratio_threshold=threshold, kernel=linear, noise=noise**2, random_state=seed)
    while optimizer.ledger_.evaluations < 2_002:
        s = optimizer.ask()
        optimizer.tell(s, rewards[s.index] + noise * rng.standard_normal())
    return float(optimizer.regret(rewards).cumulative - 2 * rewards.max() + rewards[0] + rewards[1])


@pytest.mark.slow
@pytest.mark.parametrize(("threshold", "most"), [(1, 5), (2, 10)])
def test_regret_of_the_authors_code_on_their_example(threshold: int, most: int) -> None:
    reference = {int(k): v for k, v in REFERENCE["regret"][str(threshold)].items()}
    seeds = list(reference)[:most]
    ours = [regret_on_the_linear_example(seed, float(threshold)) for seed in seeds]
    theirs = t_interval(list(reference.values()))
    assert theirs.lo <= t_interval(ours).hi
    assert t_interval(ours).lo <= theirs.hi
    ratio = t_interval([math.log(a / reference[s]) for a, s in zip(ours, seeds)])
    assert ratio.lo <= 0 <= ratio.hi
    assert abs(ratio.estimate) < math.log(1.5)


def test_with_every_seen_arm_in_the_dictionary_the_sketch_is_exact() -> None:
    rng = np.random.default_rng(0)
    arms = rng.random((40, 2))
    sketch, exact = SketchedArms(FiniteSpace(arms), as_covariance(RBF(0.4)), 0.1), UniqueGP(RBF(0.4), 0.1)
    for arm in rng.integers(12, size=50):
        y = float(rng.normal())
        sketch.observe(int(arm), 1, y, 0.0)
        exact.add(arms[arm], y)
    sketch.rebuild(range(12))
    mean, var = exact.posterior(arms)
    np.testing.assert_allclose(sketch.mean, mean, atol=1e-6)
    np.testing.assert_allclose(sketch.sigma2 * 0.1, var, atol=1e-6)
    assert sketch.logdet == pytest.approx(exact.logdet(), abs=1e-4)
    sketch.hallucinate(5)
    exact.add(arms[5], 0.0)
    np.testing.assert_allclose(sketch.sigma2_of(np.arange(40)) * 0.1, exact.posterior(arms)[1], atol=1e-6)


def test_lazily_refreshed_bounds_choose_as_full_recomputation_would() -> None:
    problem = Arms(80, 0).load(np.random.default_rng(0))
    optimizer = BBKB(problem.arms, ratio_threshold=3.0, kernel=problem.kernel(), noise=0.09, random_state=0)
    rng = np.random.default_rng(1)
    for _ in range(300):
        if optimizer._to_start or optimizer._is_full() or not optimizer._batch:
            s = optimizer.ask()
        else:
            sketch = optimizer._sketch
            everything = sketch.mean + optimizer.width() * math.sqrt(0.09) * np.sqrt(sketch.sigma2_of(np.arange(80)))
            s = optimizer.ask()
            assert everything[s.index] == pytest.approx(everything.max(), abs=1e-9)
        optimizer.tell(s, problem.evaluate(s.index, 1, rng))


def test_gp_bucb_holds_the_mean_within_a_batch_and_is_exact_at_its_end() -> None:
    problem = Arms(50, 0).load(np.random.default_rng(0))
    optimizer = GPBUCB(problem.arms, C2=3.0, kernel=problem.kernel(), noise=0.09)
    exact, rng, lengths, length = UniqueGP(problem.kernel(), 0.09), np.random.default_rng(1), [], 0
    for _ in range(200):
        before = optimizer._surrogate.posterior.average_.copy()
        s = optimizer.ask()
        if len(optimizer._batch) == 1:
            lengths.append(length)
            length = 0
            if exact.n_obs:
                np.testing.assert_allclose(optimizer._surrogate.posterior.average_, exact.posterior(problem.arms)[0], atol=1e-7)
        else:
            np.testing.assert_array_equal(optimizer._surrogate.posterior.average_, before)
        length += 1
        y = problem.evaluate(s.index, 1, rng)
        optimizer.tell(s, y)
        exact.add(problem.arms[s.index], y)
        np.testing.assert_allclose(optimizer._surrogate.posterior.var, exact.posterior(problem.arms)[1], atol=1e-8)
    assert max(lengths) > 3


def test_random_arms_are_uniform_and_learn_the_same_posterior() -> None:
    problem = Arms(10, 0).load(np.random.default_rng(0))
    optimizer = RandomArms(problem.arms, kernel=problem.kernel(), noise=0.09, random_state=0)
    rng = np.random.default_rng(1)
    for _ in range(2_000):
        s = optimizer.ask()
        optimizer.tell(s, problem.evaluate(s.index, 1, rng))
    assert optimizer.n_unique == 10
    counts = np.bincount([c for c, n, *_ in optimizer._surrogate.statistics() for _ in range(n)])
    assert counts.min() > 140
    assert counts.max() < 260
    assert optimizer.best().index == int(np.argmax(problem.rewards))


def test_all_methods_share_one_posterior() -> None:
    problem = Arms(30, 0).load(np.random.default_rng(0))
    optimizers = [m(problem.arms, kernel=problem.kernel(), noise=0.09) for m in (GPUCB, RandomArms)]
    for optimizer in optimizers:
        for arm in (3, 7, 3):
            optimizer.tell(arm, float(arm))
        assert optimizer.n_unique == 2
    np.testing.assert_allclose(*[o._surrogate.posterior.average_ for o in optimizers], atol=1e-12)
