"""Values and plans against brute force over all policies, and against textbook formulas in plain numpy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workingpapers.papers.preference_rl import (
    PRLSVI,
    DirichletDynamics,
    FiniteMDP,
    FourierFeatures,
    LinearMDPFeatures,
    PreferenceOracle,
    RBFFeatures,
    TabularFeatures,
    Trajectory,
    exact_value,
    make,
)
from workingpapers.papers.preference_rl._entries import best_actions, planned
from workingpapers.papers.preference_rl._mdp import deep_sea, random_linear_mdp, random_mdp, rare_states_mdp, river_swim
from workingpapers.papers.preference_rl._plan import Truncation, observe, onward_value
from workingpapers.papers.preference_rl._prlsvi import NO_TRUNCATION, _nothing_seen
from workingpapers.papers.preference_rl._replay import Replay


def brute_value(mdp: FiniteMDP, actions: Any) -> float:
    """Sum over all paths of probability times return."""
    total = 0.0
    for path in itertools.product(range(mdp.n_states), repeat=mdp.horizon):
        p, gained = mdp.start[path[0]], 0.0
        for h, s in enumerate(path):
            gained += mdp.rewards[s, actions[h, s]]
            if h + 1 < mdp.horizon:
                p *= mdp.transitions[s, actions[h, s], path[h + 1]]
        total += p * gained
    return float(total)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_exact_value_is_the_sum_over_all_paths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, 3, 2, 4)
    actions = rng.integers(2, size=(4, 3))
    assert exact_value(mdp, actions) == pytest.approx(brute_value(mdp, actions), rel=1e-12)
    assert exact_value(mdp, lambda obs, h: actions[h, obs]) == exact_value(mdp, actions)


def test_the_optimal_value_is_the_best_of_all_policies() -> None:
    mdp = random_mdp(np.random.default_rng(0), 2, 2, 3)
    values = [exact_value(mdp, np.array(codes).reshape(3, 2)) for codes in itertools.product(range(2), repeat=6)]
    best, actions = mdp.optimal()
    assert best == pytest.approx(max(values), rel=1e-12)
    assert exact_value(mdp, actions) == pytest.approx(best, rel=1e-12)
    assert best_actions(np.concatenate([mdp.transitions, np.zeros((2, 2, 1))], axis=2), mdp.rewards, 3).tolist() == actions.tolist()


def textbook(table: Any, seen: list[Trajectory], theta: Any, H: int, lam: float, trust: Truncation) -> Any:
    """Least-squares value iteration with dense matrices, without draws."""
    S, d = len(table), table.shape[2]
    V, actions = np.zeros(S), np.zeros((H, S), int)
    for h in range(H - 1, -1, -1):
        Q = table @ theta
        if h < H - 1:
            sigma, target = lam * np.eye(d), np.zeros(d)
            for t in seen:
                if h < len(t):
                    phi = table[t.obs[h], t.actions[h]]
                    sigma += np.outer(phi, phi)
                    target += phi * (0.0 if t.ended and h == len(t) - 1 else V[t.obs[h + 1]])
            inverse = np.linalg.inv(sigma)
            u = np.sqrt(np.einsum("sad,de,sae->sa", table, inverse, table))
            estimate = table @ inverse @ target
            w = np.clip((trust.upper - u) / (trust.upper - trust.lower), 0, 1)
            Q = Q + w * estimate + (1 - w) * trust.ceiling * (H - 1 - h)
        actions[h], V = Q.argmax(axis=1), Q.max(axis=1)
    return actions, V


@pytest.mark.parametrize("kind", ["tabular", "linear"])
@pytest.mark.parametrize("seed", range(4))
def test_plan_is_textbook_least_squares_value_iteration(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    H, trust = 4, Truncation(0.4, 0.8, 1.0)
    features = TabularFeatures(5, 3) if kind == "tabular" else LinearMDPFeatures(rng.dirichlet(np.ones(4), size=(5, 3)))
    seen = _nothing_seen(features, H, 0.8)
    trajectories = []
    for _ in range(30):
        n = int(rng.integers(2, H + 1))
        trajectories.append(Trajectory(rng.integers(5, size=n + 1), rng.integers(3, size=n), ended=n < H))
        observe(seen, features.table, trajectories[-1].obs, trajectories[-1].actions, trajectories[-1].ended)
    theta = rng.normal(size=features.dim)
    found = planned(features.table, seen, theta, H, 0.8, 0.0, trust, rng)
    assert found.tolist() == textbook(features.table, trajectories, theta, H, 0.8, trust)[0].tolist()


def test_the_replay_planner_equals_textbook_on_the_same_features() -> None:
    """Four points of a line as "continuous" observations: the block features, listed in a table, go through the textbook."""
    rng = np.random.default_rng(0)
    H, trust, points = 5, Truncation(0.4, 0.8, 1.0), np.linspace(0.1, 0.9, 4)[:, None]
    for features in (RBFFeatures([0.0], [1.0], 2, n=3), FourierFeatures([0.0], [1.0], 2, n=2)):
        table = features(points[:, None], np.arange(2))
        replay, trajectories = Replay(features, H, 0.8, pool_steps=False), []
        for _ in range(25):
            n = int(rng.integers(2, H + 1))
            s, a = rng.integers(4, size=n + 1), rng.integers(2, size=n)
            trajectories.append(Trajectory(s, a, ended=n < H))
            replay.observe(Trajectory(points[s], a, ended=n < H))
        theta = rng.normal(size=features.dim)
        policy = replay.plan(theta, 0.0, trust, rng)
        wanted, V = textbook(table, trajectories, theta, H, 0.8, trust)
        assert [[policy(points[s], h) for s in range(4)] for h in range(H)] == wanted.tolist()
        np.testing.assert_allclose(policy.values(features.encode(points), 0).max(axis=1), V, rtol=1e-9)


def test_draws_of_the_planner_have_the_stated_spread() -> None:
    """With one unvisited state-action of value 0 and u = 1 / sqrt(lam + n) the drawn onward value is N(estimate, sigma^2 u^2)."""
    features = TabularFeatures(1, 1)
    seen = _nothing_seen(features, 2, 1.0)
    for _ in range(8):
        observe(seen, features.table, np.zeros(3, int), np.zeros(2, int), False)
    rng, gaps = np.random.default_rng(0), []
    two = TabularFeatures(1, 2)
    seen = _nothing_seen(two, 2, 1.0)
    for _ in range(8):
        observe(seen, two.table, np.zeros(3, int), np.zeros(2, int), False)
        observe(seen, two.table, np.zeros(3, int), np.ones(2, int), False)
    # action 1 has a head start of one deviation of the difference of two draws: it must win with probability Phi(1)
    sigma = 0.5
    head = sigma * np.sqrt(2 / 9)
    for _ in range(20_000):
        gaps.append(planned(two.table, seen, np.array([0.0, head]), 2, 1.0, sigma, NO_TRUNCATION, rng)[0, 0])
    assert np.mean(gaps) == pytest.approx(0.841, abs=0.01)


def test_truncation_is_linear_between_its_ends() -> None:
    assert onward_value(2.0, 0.5, 10.0, 0.5, 0.9) == 2.0
    assert onward_value(2.0, 0.91, 10.0, 0.5, 0.9) == 10.0
    assert onward_value(2.0, 0.7, 10.0, 0.5, 0.9) == pytest.approx(6.0)


def test_dirichlet_draws_have_the_moments_of_the_distribution() -> None:
    ours, rng = DirichletDynamics(3, 1, prior=0.5, can_end=True), np.random.default_rng(0)
    for _ in range(6):
        ours.observe(Trajectory(np.array([0, 1]), np.zeros(1, int), ended=True), rng)
    ours.observe(Trajectory(np.array([0, 1]), np.zeros(1, int)), rng)
    draws = np.array([ours.sample(rng)[0, 0] for _ in range(20_000)])
    weights = np.array([0.5, 1.5, 0.5, 6.5])
    np.testing.assert_allclose(draws.mean(axis=0), weights / 9, atol=0.005)
    np.testing.assert_allclose(draws.var(axis=0), weights * (9 - weights) / (81 * 10), atol=0.002)
    np.testing.assert_allclose(ours.mean()[0, 0], weights / 9)


# ---------------------------------------------------------------- families


@pytest.mark.parametrize("mdp", [river_swim(), deep_sea(5), deep_sea(5, np.random.default_rng(1)),
                                 rare_states_mdp(np.random.default_rng(0)), random_linear_mdp(np.random.default_rng(0))])
def test_families_are_proper_and_learnable(mdp: FiniteMDP) -> None:
    assert mdp.optimal()[0] > mdp.random_value()
    assert (mdp.cumulative[..., -1] == 2.0).all()


def test_random_linear_problems_are_linear_in_their_features() -> None:
    mdp = random_linear_mdp(np.random.default_rng(3), dim=6, n_states=15)
    assert mdp.features is not None
    phi = mdp.features.reshape(-1, 6)
    assert np.linalg.norm(phi, axis=1).max() <= 1
    for target in (mdp.rewards.reshape(-1, 1), mdp.transitions.reshape(len(phi), -1)):
        residual = target - phi @ np.linalg.lstsq(phi, target, rcond=None)[0]
        assert np.abs(residual).max() < 1e-10


def test_deep_sea_pays_only_for_the_one_path() -> None:
    mdp = deep_sea(6)
    assert exact_value(mdp, np.ones((6, 6), int)) == pytest.approx(0.99 + 0.01 / 6, abs=0.01)
    assert exact_value(mdp, np.zeros((6, 6), int)) == 0.0


@pytest.mark.parametrize("name", ["RiverSwim-v0", "RandomLinearMDP-v0", "DeepSea-v0", "GridPref-v0", "RandomMDP-v0", "RareStates-v0"])
def test_episodes_follow_the_stated_probabilities_and_regret_is_never_negative(name: str) -> None:
    env = make(name, seed=1)
    mdp = env.mdp
    features = TabularFeatures(mdp.n_states, mdp.n_actions) if mdp.features is None else LinearMDPFeatures(mdp.features)
    agent = PRLSVI(features, mdp.horizon, seed=0)
    history = agent.learn(env, PreferenceOracle(seed=0), 400)
    assert (history.regret >= -1e-9).all()
    assert history.n_queries <= agent.query_bound_
    # returns of both episodes are unbiased for the values that the exact regret is made of
    gap = 2 * mdp.optimal()[0] - history.returns.sum(axis=1) - history.regret
    assert abs(gap.mean()) <= 4 * gap.std() / np.sqrt(len(gap)) + 1e-9


@pytest.mark.parametrize("change", [{"transitions": np.ones((2, 1, 2))}, {"rewards": np.zeros((2, 2))}, {"start": np.array([0.5, 0.6])},
                                    {"horizon": 0}, {"rewards": np.full((2, 1), np.nan)}])
def test_improper_problems_are_refused(change: dict[str, Any]) -> None:
    good: dict[str, Any] = {"transitions": np.full((2, 1, 2), 0.5), "rewards": np.zeros((2, 1)), "start": np.full(2, 0.5), "horizon": 3}
    FiniteMDP(**good)
    with pytest.raises(ValueError, match=next(iter(change))):
        FiniteMDP(**{**good, **change})
    with pytest.raises(ValueError, match="policy"):
        exact_value(FiniteMDP(**good), np.ones((3, 2), int))
