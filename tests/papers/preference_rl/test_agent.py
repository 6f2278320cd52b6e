"""Rounds, ask and tell, state files, and what a newcomer does first."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from workingpapers.papers.preference_rl import (
    PRLSVI,
    DamagedState,
    DirichletDynamics,
    EnsembleDynamics,
    EnsembleReward,
    FourierFeatures,
    LaplaceReward,
    LinearMDPFeatures,
    Link,
    PolicySearch,
    PolyaGammaReward,
    PreferenceOracle,
    PreferenceTS,
    PreferenceWrapper,
    RBFFeatures,
    Selection,
    TabularFeatures,
    Trajectory,
    ValueIteration,
    exact_value,
    make,
    monte_carlo_value,
)
from workingpapers.papers.preference_rl._mdp import random_mdp

LOW, HIGH = [-2.4, -2.5, -0.21, -2.5], [2.4, 2.5, 0.21, 2.5]


def lsvi(features: Any = None, **options: Any) -> PRLSVI:
    return PRLSVI(features or TabularFeatures(6, 3), 5, **{"link": Link("logistic", 4.0), "seed": 3, **options})


def thompson(reward: Any = LaplaceReward, **options: Any) -> PreferenceTS:
    return PreferenceTS(reward(TabularFeatures(6, 3)), DirichletDynamics(6, 3), ValueIteration(5), **{"eps": 0.5, "seed": 3, **options})


def same(a: Any, b: Any) -> None:
    """Two histories agree in every number."""
    for name in ("regret", "queries", "values", "returns"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert [(p.round, p.first.digest(), p.second.digest(), p.preference) for p in a.asked_pairs] == [
        (p.round, p.first.digest(), p.second.digest(), p.preference) for p in b.asked_pairs]


# ---------------------------------------------------------------- the compiled rounds are the loop


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"pool_steps": True}, {"pairing": "same"}, {"norm_bound": 0.5}, {"link": "probit"},
                                     *({"selection": Selection(k, budget=30, episodes=200)}  # type: ignore[arg-type]
                                       for k in ("first", "random", "disagreement", "entropy", "never"))], ids=str)
def test_compiled_rounds_equal_the_loop_over_the_environment(options: dict[str, Any]) -> None:
    histories = []
    for compiled in (True, False):
        agent = lsvi(**options)
        if not compiled:
            agent._mind = lambda: None  # type: ignore[method-assign]
        histories.append(agent.learn(make("RandomMDP-v0", seed=1), PreferenceOracle(beta=4.0, flip=0.1, seed=5), 200))
    same(*histories)
    if "selection" in options and options["selection"].kind != "never":
        assert histories[0].n_queries == 30


def test_compiled_rounds_equal_the_loop_with_linear_features_and_for_thompson_sampling() -> None:
    env = make("RandomLinearMDP-v0", seed=1)
    assert env.mdp.features is not None
    for build, world in ((lambda: lsvi(LinearMDPFeatures(env.mdp.features)), "RandomLinearMDP-v0"), (thompson, "RandomMDP-v0")):
        histories = []
        for compiled in (True, False):
            agent = build()
            if not compiled:
                agent._mind = lambda: None
            histories.append(agent.learn(make(world, seed=1), PreferenceOracle(seed=5), 150))
        same(*histories)


def test_learning_in_two_goes_or_with_a_checkpoint_equals_one(tmp_path: Path) -> None:
    runs = []
    for cuts, options in (((300,), {}), ((120, 180), {}), ((300,), {"checkpoint": tmp_path / "state.npz", "checkpoint_every": 70})):
        agent, env, oracle = lsvi(), make("RandomMDP-v0", seed=1), PreferenceOracle(beta=4.0, seed=5)
        for n in cuts:
            history = agent.learn(env, oracle, n, **options)  # type: ignore[arg-type]
        runs.append(history)
    same(runs[0], runs[1])
    same(runs[0], runs[2])
    same(runs[0], PRLSVI.load(tmp_path / "state.npz").history_)


def test_learns_where_always_and_never_asking_bracket_it() -> None:
    def total(**options: Any) -> float:
        gaps = []
        for seed in range(6):
            env = make("RandomMDP-v0", seed=seed)
            agent = lsvi(seed=seed, **options)
            agent.learn(env, PreferenceOracle(beta=4.0, seed=seed), 1_500)
            gaps.append(env.mdp.optimal()[0] - exact_value(env.mdp, agent.policy_))
        return float(np.mean(gaps))

    never, ours, told = total(selection=Selection("never")), total(), total(eps=0.0)
    assert ours < 0.25 * never
    assert told < 0.25 * never


def test_every_run_keeps_the_bound_on_questions_and_eps_0_asks_whenever_it_can_teach() -> None:
    for eps in (0.05, 0.1, 0.3, 1.0):
        agent = lsvi(eps=eps)
        history = agent.learn(make("RandomMDP-v0", seed=2), PreferenceOracle(beta=4.0, seed=0), 500)
        assert history.n_queries <= agent.query_bound_
        assert (history.queries == (history.values > eps)).all()
    history = lsvi(eps=0.0).learn(make("RandomMDP-v0", seed=2), PreferenceOracle(seed=0), 200)
    assert (history.queries == (history.values > 0)).all()


# ---------------------------------------------------------------- nothing leaks


def test_the_wrapper_shows_no_reward() -> None:
    env = gym.wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1"))
    hidden = PreferenceWrapper(env)
    hidden.reset(seed=0)
    for _ in range(500):
        _, reward, terminated, truncated, info = hidden.step(hidden.action_space.sample())
        assert reward == 0.0
        assert "episode" not in info
        if terminated or truncated:
            break
    trajectory = hidden.trajectory
    assert trajectory is not None
    assert hidden.hidden_return(trajectory) == len(trajectory)
    loud = PreferenceWrapper(gym.make("CartPole-v1"), debug=True)
    loud.reset(seed=0)
    assert loud.step(0)[4]["hidden_reward"] == 1.0


def test_an_agent_given_other_rewards_but_the_same_answers_does_the_same() -> None:
    """The world's rewards change, the person's do not: if anything leaked, the run would change."""
    mdp = random_mdp(np.random.default_rng(0))
    runs = []
    for rewards in (mdp.rewards, 100 * mdp.rewards[::-1]):
        env = make("RandomMDP-v0")
        object.__setattr__(env, "mdp", type(mdp)(mdp.transitions, rewards, mdp.start, mdp.horizon))
        oracle = PreferenceOracle(lambda t: float(mdp.rewards[t.obs[:-1], t.actions].sum()), beta=4.0, seed=0)
        runs.append(lsvi().learn(env, oracle, 150))
    np.testing.assert_array_equal(runs[0].values, runs[1].values)
    np.testing.assert_array_equal(runs[0].queries, runs[1].queries)


@pytest.mark.parametrize("name", ["RiverSwim-v0", "RandomLinearMDP-v0", "DeepSea-v0", "GridPref-v0", "RandomMDP-v0", "RareStates-v0"])
def test_shipped_environments_pass_the_checker(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check_env(make(name), skip_render_check=True)


# ---------------------------------------------------------------- ask and tell


@pytest.mark.slow
@pytest.mark.parametrize("build", [lsvi, thompson, lambda: thompson(PolyaGammaReward)], ids=["PRLSVI", "PreferenceTS", "Polya-Gamma"])
def test_saved_in_the_middle_of_a_question_and_resumed_gives_the_same_history(build: Any, tmp_path: Path) -> None:
    def answer(pair: Any) -> float:
        return float(np.sign(pair[0].actions.sum() - pair[1].actions.sum()) / 2 + 0.5)

    whole = build()
    env = make("RandomMDP-v0", seed=1)
    for _ in range(60):
        pair = whole.ask(env)
        if pair is not None:
            whole.tell(answer(pair))
    first = build()
    env = make("RandomMDP-v0", seed=1)
    while len(first.history_) < 25 or first._pending is None:
        pair = first.ask(env)
        if pair is not None and len(first.history_) < 25:
            first.tell(answer(pair))
    first.save(tmp_path / "state.npz")
    parts = (LaplaceReward if build is thompson else PolyaGammaReward)(TabularFeatures(6, 3)), DirichletDynamics(6, 3), ValueIteration(5)
    second = PRLSVI.load(tmp_path / "state.npz") if build is lsvi else PreferenceTS.load(tmp_path / "state.npz", *parts)
    env = make("RandomMDP-v0", seed=1)
    while len(second.history_) < 60 or second._pending is not None:
        pair = second.ask(env)
        if pair is not None:
            second.tell(answer(pair))
    same(whole.history_, second.history_)


def test_an_open_question_comes_back_and_can_be_skipped() -> None:
    agent, env = lsvi(), make("RandomMDP-v0", seed=1)
    with pytest.raises(ValueError, match="tell"):
        agent.tell(1.0)
    with pytest.raises(ValueError, match="env"):
        agent.ask()
    while (pair := agent.ask(env)) is None:
        pass
    assert agent.ask() == pair
    with pytest.raises(ValueError, match="preference"):
        agent.tell(0.7)
    agent.tell(None)
    assert agent.history_.n_queries == 0
    assert agent.should_query(*pair)[0]


def test_learning_puts_the_open_question_first() -> None:
    agent, env = lsvi(), make("RandomMDP-v0", seed=1)
    while (pair := agent.ask(env)) is None:
        pass
    rounds = len(agent.history_)
    agent.learn(env, PreferenceOracle(seed=0), 3)
    assert len(agent.history_) == rounds + 2
    first = agent.history_.asked_pairs[0]
    assert (first.first, first.second, first.round) == (*pair, rounds - 1)


SECOND = """
import sys, numpy as np
from workingpapers.papers.preference_rl import PRLSVI, make
agent, env = PRLSVI.load(sys.argv[1]), make("RandomMDP-v0", seed=1)
while len(agent.history_) < 40 or agent._pending is not None:
    pair = agent.ask(env)
    if pair is not None:
        agent.tell(float(np.sign(pair[0].actions.sum() - pair[1].actions.sum()) / 2 + 0.5))
agent.save(sys.argv[1])
"""


@pytest.mark.slow
def test_a_second_process_takes_the_run_up(tmp_path: Path) -> None:
    agent, env = lsvi(), make("RandomMDP-v0", seed=1)
    for _ in range(20):
        if agent.ask(env) is not None:
            agent.tell(1.0)
    agent.save(tmp_path / "state.npz")
    subprocess.run([sys.executable, "-c", SECOND, tmp_path / "state.npz"], check=True)
    resumed = PRLSVI.load(tmp_path / "state.npz")
    assert len(resumed.history_) == 40
    np.testing.assert_array_equal(resumed.history_.values[:20], agent.history_.values)


# ---------------------------------------------------------------- damaged and hostile files


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    agent = lsvi()
    agent.learn(make("RandomMDP-v0", seed=1), PreferenceOracle(beta=4.0, seed=5), 30)
    agent.save(tmp_path / "state.npz")
    return tmp_path / "state.npz"


def changed(path: Path, **arrays: Any) -> Path:
    with np.load(path) as file:
        kept = {k: file[k] for k in file.files}
    meta = json.loads(kept.pop("meta").tobytes())
    for name, change in arrays.items():
        if name == "meta":
            meta |= change
        elif change is None:
            del kept[name]
        else:
            kept[name] = change(kept[name])
    with path.open("wb") as out:
        np.savez(out, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **kept)
    return path


def _change_name(change: dict[str, object]) -> str:
    """A name that every process of a test run finds alike: functions print their address."""
    return ", ".join(f"{k}={v.__name__ if callable(v) else v}" for k, v in change.items())


@pytest.mark.parametrize("change", [
    {"reward_mean": lambda x: x[:-1]}, {"reward_mean": lambda x: x * np.nan}, {"reward_factor": lambda x: -x}, {"wins": None},
    {"seen_counts": lambda x: x - 5}, {"before_actions": lambda x: x + 7}, {"asked_round": lambda x: x + 100}, {"pairs": lambda x: x * 0},
    {"trajectory_length": lambda x: x + 1}, {"log_value": lambda x: x[:3]}, {"reward_hessian": lambda x: np.full_like(x, np.inf)},
    {"meta": {"kind": "PreferenceTS"}}, {"meta": {"format": 99}}, {"meta": {"rng": {"bit_generator": "PCG64"}}},
    {"meta": {"horizon": -1}}, {"meta": {"features": {"kind": "os.system"}}},
    {"meta": {"features": {"kind": "tabular", "n_states": 10**9, "n_actions": 10**9}}},
    {"meta": {"selection": ["rule", -1.0, 0, 0]}}, {"meta": {"link": ["logistic", "x"]}}, {"meta": {"pending": True}}], ids=_change_name)
def test_a_changed_file_is_refused_in_words(saved: Path, change: dict[str, Any]) -> None:
    with pytest.raises((DamagedState, ValueError)):
        PRLSVI.load(changed(saved, **change))


def test_pickles_bombs_and_noise_are_refused(saved: Path, tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.npz"

    class Payload:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    np.savez(hostile, meta=np.array([Payload()], dtype=object))
    with pytest.raises(DamagedState, match="plain numbers"):
        PRLSVI.load(hostile)
    assert not (tmp_path / "ran").exists()
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**7, 10**7)})
    with zipfile.ZipFile(hostile, "w") as archive:
        archive.writestr("meta.npy", header.getvalue())
    with pytest.raises(DamagedState, match="GB"):
        PRLSVI.load(hostile)
    for noise in (b"", b"not a zip", saved.read_bytes()[:200]):
        hostile.write_bytes(noise)
        with pytest.raises(DamagedState):
            PRLSVI.load(hostile)
    with pytest.raises(FileNotFoundError):
        PRLSVI.load(tmp_path / "nowhere.npz")


def test_a_failed_save_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space"):
        lsvi().save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


# ---------------------------------------------------------------- wrong use


def test_wrong_arguments_are_named() -> None:
    phi = TabularFeatures(6, 3)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"eps": -0.1}, "eps"), ({"sigma_p": -1}, "sigma_p"), ({"alpha": (0.9, 0.5)}, "alpha"), ({"lam": 0}, "lam"),
        ({"refresh": 0}, "refresh"), ({"pairing": "best"}, "pairing"), ({"true_reward": [1.0]}, "true_reward"),
        ({"sigma_r": np.nan}, "sigma")]
    for options, word in wrong:
        with pytest.raises(ValueError, match=word):
            PRLSVI(phi, 5, **options)
    with pytest.raises(ValueError, match="horizon"):
        PRLSVI(phi, 0)
    with pytest.raises(TypeError, match="features"):
        PRLSVI("tabular", 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="horizon is 4"):
        PRLSVI(phi, 4).ask(make("RandomMDP-v0"))
    with pytest.raises(TypeError, match="action_space"):
        lsvi().ask(gym.make("Pendulum-v1"))
    with pytest.raises(TypeError, match="observation_space"):
        PRLSVI(TabularFeatures(6, 2), 5).ask(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="cut an episode off after 20"):
        PRLSVI(RBFFeatures([-1.2, -0.07], [0.6, 0.07], 3, n=4), 50, seed=0).learn(
            gym.make("MountainCar-v0", max_episode_steps=20), PreferenceOracle(seed=0), 1)
    with pytest.raises(TypeError, match="reward_posterior"):
        PreferenceTS(None, None, None)
    with pytest.warns(UserWarning, match="no question will ever be asked"):
        PRLSVI(phi, 5, eps=50.0)
    with pytest.warns(UserWarning, match="rescaled"):
        LinearMDPFeatures(np.full((2, 2, 4), 3.0))
    with pytest.raises(ValueError, match="link"):
        PreferenceOracle(link="cauchy")


def test_features_are_at_most_1_long_and_blocks_are_where_they_belong() -> None:
    obs = np.random.default_rng(0).normal(size=(50, 4))
    for phi in (RBFFeatures(LOW, HIGH, 3, n=9), FourierFeatures(LOW, HIGH, 3, n=5)):
        values = phi(obs, np.full(50, 2))
        assert values.shape == (50, phi.dim)
        assert np.linalg.norm(values, axis=1).max() <= 1 + 1e-12
        assert not values[:, : 2 * phi.dim // 3].any()
        np.testing.assert_array_equal(values[:, 2 * phi.dim // 3 :], phi.encode(obs))


# ---------------------------------------------------------------- as a newcomer


def test_frozen_lake() -> None:
    """Reach the goal: a person who sees only that one run got there and the other did not (ties are called equal)."""
    env = gym.make("FrozenLake-v1", is_slippery=False, max_episode_steps=20)
    agent = PRLSVI(TabularFeatures(16, 4), 20, pool_steps=True, seed=0)
    agent.learn(env, PreferenceOracle(link="deterministic", seed=0), 300)
    assert monte_carlo_value(gym.make("FrozenLake-v1", is_slippery=False), agent.policy_, 20, episodes=5, seed=0).estimate == 1.0
    assert agent.history_.n_queries < 300


@pytest.mark.slow
def test_cart_pole_with_few_answers(tmp_path: Path) -> None:
    env = gym.make("CartPole-v1")
    agent = PRLSVI(RBFFeatures(LOW, HIGH, 2, n=64), 100, pool_steps=True, link=Link("logistic", 0.1), eps=1.0, seed=0)
    oracle = PreferenceOracle(beta=0.1, seed=0)
    agent.learn(env, oracle, 10)
    agent.save(tmp_path / "pole.npz")
    agent = PRLSVI.load(tmp_path / "pole.npz")
    history = agent.learn(env, oracle, 10)
    assert history.n_queries <= 20
    assert np.isnan(history.regret).all()
    assert monte_carlo_value(gym.make("CartPole-v1"), agent.policy_, 100, episodes=20, seed=1).estimate > 80


def test_features_of_ones_own_are_handed_to_load_again(tmp_path: Path) -> None:
    class Mine(FourierFeatures):
        def config(self) -> dict[str, Any]:
            return {"kind": "Mine"}

    env = gym.make("CartPole-v1")
    agent = PRLSVI(Mine(LOW, HIGH, 2, n=3), 20, pool_steps=True, seed=0)
    agent.learn(env, PreferenceOracle(seed=0), 5)
    agent.save(tmp_path / "mine.npz")
    with pytest.raises(DamagedState, match="hand the same features"):
        PRLSVI.load(tmp_path / "mine.npz")
    same(PRLSVI.load(tmp_path / "mine.npz", Mine(LOW, HIGH, 2, n=3)).history_, agent.history_)


def test_networks_are_saved_and_resumed_to_the_bit(tmp_path: Path) -> None:
    def parts() -> Any:
        low, high = [-1.0, -1.0, -8.0], [1.0, 1.0, 8.0]
        return (EnsembleReward(low, high, 1, continuous=True, hidden=8), PolicySearch(15, policies=8, elites=3, iterations=2),
                EnsembleDynamics(low, high, 1, continuous=True, can_end=False, hidden=8, steps=3))

    reward, search, dynamics = parts()
    agent = PreferenceTS(reward, dynamics, search, eps=1.0, seed=0)
    agent.learn(gym.make("Pendulum-v1"), PreferenceOracle(beta=0.05, seed=0), 4)
    agent.save(tmp_path / "swing.npz")
    reward, search, dynamics = parts()
    again = PreferenceTS.load(tmp_path / "swing.npz", reward, dynamics, search)
    for each in (agent, again):
        each.learn(gym.make("Pendulum-v1") if each is again else each._world, PreferenceOracle(beta=0.05, seed=1), 3)
    same(agent.history_, again.history_)
    with pytest.raises(DamagedState, match="dynamics_posterior"):
        PreferenceTS.load(tmp_path / "swing.npz", reward, DirichletDynamics(2, 2), search)


def test_history_as_frame_and_plot() -> None:
    history = lsvi().learn(make("RandomMDP-v0", seed=1), PreferenceOracle(beta=4.0, seed=5), 60)
    frame = history.to_frame()
    assert len(frame) == 60
    assert frame["asked"].sum() == history.n_queries
    assert "cumulative regret" in json.dumps(history.plot().to_dict())
    assert history.regret_interval().estimate == pytest.approx(history.cumulative_regret[-1])


def test_unknown_regret_is_estimated_from_the_episodes_played() -> None:
    env = make("RandomMDP-v0", seed=1)
    exact = lsvi().learn(env, PreferenceOracle(beta=4.0, seed=5), 400)
    best = env.mdp.optimal()[0]

    class Plain(gym.Wrapper):  # type: ignore[type-arg]
        @property
        def unwrapped(self) -> Any:
            return self  # hides that the problem is a finite one

        @property
        def np_random(self) -> Any:
            return self.env.unwrapped.np_random

    estimated = lsvi().learn(Plain(make("RandomMDP-v0", seed=1)), PreferenceOracle(beta=4.0, seed=5), 400, optimal_value=best)
    found = estimated.regret_interval()
    assert not estimated.is_exact
    assert found.lo <= exact.regret.sum() <= found.hi


def test_segments_and_refresh_variants() -> None:
    t = Trajectory(np.arange(6), np.zeros(5, int), ended=True)
    assert t.segment(2, 5).ended
    assert not t.segment(0, 3).ended
    for refresh in (5, "doubling"):
        agent = lsvi(refresh=refresh)
        agent.learn(make("RandomMDP-v0", seed=1), PreferenceOracle(beta=4.0, seed=5), 300)
        assert agent.history_.regret[-50:].mean() < agent.history_.regret[:50].mean()
