"""preference_rl beside its peers: ratios of time, measured in turn in one run on one thread.

    python -m benchmarks.preference_rl        about two minutes
    PEER_DPS=FOLDER ...                       also beside github.com/ernovoseller/DuelingPosteriorSampling at 0b34db6

The peer's code is of the days of `gym` and NumPy 1: it is given Gymnasium under that name, and `np.infty`; nothing else is changed.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks._measure import seconds
from workingpapers.claims import side_by_side
from workingpapers.papers.preference_rl import (
    PRLSVI,
    DirichletDynamics,
    FiniteEnv,
    LaplaceReward,
    LinearMDPFeatures,
    Link,
    PreferenceOracle,
    PreferenceTS,
    RewardPosterior,
    TabularFeatures,
    ValueIteration,
    make,
)
from workingpapers.papers.preference_rl._mdp import river_swim

RECORDED = "recorded 2026-11-25 at 0b34db6, on a busy machine: 89 x DPS linear, 1,369 x DPS logistic (always asking)"
HORIZON, ROUNDS = 50, 200  # as in the peer's own RiverSwim script


def row(what: str, ours: str, theirs: str = "", ratio: str = "", wanted: str = "") -> None:
    print(f"{what:<74} {ours:>12} {theirs:>12} {ratio:>10}  {wanted}", flush=True)


# ---------------------------------------------------------------- Dueling Posterior Sampling


def peer(folder: str) -> tuple[Any, Any, Any]:
    """The peer's environment and two of its learners."""
    import gymnasium
    from gymnasium.utils import seeding

    vars(np)["infty"] = np.inf
    gym = types.ModuleType("gym")
    gym.Env, gym.spaces = gymnasium.Env, gymnasium.spaces  # type: ignore[attr-defined]
    utils = types.ModuleType("gym.utils")
    utils.seeding = seeding  # type: ignore[attr-defined]
    sys.modules |= {"gym": gym, "gym.spaces": gymnasium.spaces, "gym.utils": utils}
    sys.path.insert(0, str(Path(folder).expanduser()))
    from Envs.RiverSwim import RiverSwimPreferenceEnv
    from Learning_algorithms.DPS_linear import DPS_lin_reg
    from Learning_algorithms.DPS_logistic import DPS_log_reg

    return RiverSwimPreferenceEnv, DPS_lin_reg, DPS_log_reg


def lsvi(eps: float, seed: int = 0) -> Any:
    agent = PRLSVI(TabularFeatures(6, 2), HORIZON, eps=eps, pool_steps=True, seed=seed)
    return agent.learn(FiniteEnv(river_swim(6, HORIZON)), PreferenceOracle(seed=seed), ROUNDS)


def thompson(eps: float, seed: int = 0) -> Any:
    agent = PreferenceTS(LaplaceReward(TabularFeatures(6, 2)), DirichletDynamics(6, 2), ValueIteration(HORIZON), eps=eps, seed=seed)
    return agent.learn(FiniteEnv(river_swim(6, HORIZON)), PreferenceOracle(seed=seed), ROUNDS)


def river() -> None:
    folder = os.environ.get("PEER_DPS")
    if not folder:
        row(f"RiverSwim, {ROUNDS} rounds of 2 x {HORIZON} steps, beside Dueling Posterior Sampling", "", "not here", "", RECORDED)
        return
    world, linear, logistic = peer(folder)

    def quiet(learner: Any, options: list[float], seed: int = 0) -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            return learner(HORIZON, options, world([1, 1]), ROUNDS, seed=seed)

    contenders: dict[str, Callable[[], object]] = {
        "PR-LSVI, always asking": lambda: lsvi(0.0), "PR-LSVI, eps = 0.1": lambda: lsvi(0.1), "PbTS, always asking": lambda: thompson(0.0),
        "DPS linear": lambda: quiet(linear, [0.5, 0.1]), "DPS logistic": lambda: quiet(logistic, [1, 1])}
    timings = side_by_side(contenders, repeats=3)
    for mine in ("PR-LSVI, always asking", "PR-LSVI, eps = 0.1", "PbTS, always asking"):
        for theirs in ("DPS linear", "DPS logistic"):
            a, b = (timings[n].median / (2 * ROUNDS) for n in (mine, theirs))
            row(f"RiverSwim, an episode of {HORIZON} steps: {mine} / {theirs}", f"{a * 1e6:.1f} us", f"{b * 1e6:.0f} us", f"{b / a:.0f} x",
                "wanted: 20 x")
    row("  mean return of an episode over the run (5 seeds): PR-LSVI always asking, PR-LSVI, PbTS", *(
        f"{np.mean([run(eps, s).returns.mean() for s in range(5)]):.2f}" for run, eps in ((lsvi, 0.0), (lsvi, 0.1), (thompson, 0.0))))
    row("  the same of DPS linear, DPS logistic", *(
        f"{np.mean([quiet(f, o, s).sum() / (2 * ROUNDS) for s in range(5)]):.2f}" for f, o in ((linear, [0.5, 0.1]), (logistic, [1, 1]))))


# ---------------------------------------------------------------- long runs and answers


def long_runs() -> None:
    env = make("RandomMDP-v0", seed=0)

    def run(eps: float, rounds: int) -> Any:
        agent = PRLSVI(TabularFeatures(6, 3), 5, link=Link("logistic", 4.0), eps=eps, seed=0)
        return agent.learn(env, PreferenceOracle(beta=4.0, seed=0), rounds)

    run(0.1, 10)
    row("100,000 rounds of 2 episodes, 18 tabular features, H = 5, eps = 0.1", f"{seconds(lambda: run(0.1, 100_000)):.2f} s",
        wanted="wanted: 60 s")
    row("  10,000 rounds, always asking", f"{seconds(lambda: run(0.0, 10_000)):.2f} s")
    linear = make("RandomLinearMDP-v0", seed=0)
    agent = PRLSVI(LinearMDPFeatures(linear.mdp.features), 5, link=Link("logistic", 4.0), seed=0)
    row("  10,000 rounds, 12 linear features, 30 states, 4 actions",
        f"{seconds(lambda: agent.learn(linear, PreferenceOracle(beta=4.0, seed=0), 10_000)):.2f} s")


def answers() -> None:
    """Refit after each of 1,000 answers, 40 features, beside scikit-learn's solver started where it ended."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, size=(1_000, 40)).astype(float)
    y = (rng.random(1_000) < 1 / (1 + np.exp(-x @ rng.normal(size=40) * 0.3))).astype(float)

    def ours() -> None:
        posterior = RewardPosterior(40)
        for a, b in zip(x, y):
            posterior.add(a, b)

    def theirs() -> None:
        model = LogisticRegression(C=1.0, fit_intercept=False, warm_start=True, tol=1e-7, max_iter=1_000)
        for n in range(10, 1_001, 10):  # every tenth answer only
            if 0 < y[:n].sum() < n:
                model.fit(x[:n], y[:n])

    timings = side_by_side({"ours": ours, "theirs": theirs}, repeats=3)
    a, b = timings["ours"].median / 1_000, timings["theirs"].median / 100
    row("an answer taken in, up to 1,000 of them, 40 features: scikit-learn refitted", f"{a * 1e6:.0f} us", f"{b * 1e6:.0f} us",
        f"{b / a:.0f} x")


def main() -> None:
    row("what", "ours", "theirs", "ratio")
    with threadpool_limits(limits=1):
        river()
        long_runs()
        answers()


if __name__ == "__main__":
    main()
