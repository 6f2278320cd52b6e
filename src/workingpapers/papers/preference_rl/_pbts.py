"""PbTS: preference-based Thompson sampling, for rewards and transitions that need not be linear."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ._agent import Pairing, Policy, PreferenceAgent, TablePolicy, check_discrete
from ._plan import Transitions, Truncation
from ._planners import LinearPolicy, PolicySearch, ValueIteration
from ._posteriors import DirichletDynamics, LaplaceReward
from ._selection import Selection
from ._simulate import Mind, Settings
from ._state import Arrays, DamagedState, read_state, take
from ._trajectory import Trajectory

STARTS = 200  # first observations that planning starts from


class PreferenceTS(PreferenceAgent):
    """Model-based Thompson sampling from preferences (PbTS).

    Each round: draw a reward and a model of the transitions from their posteriors; plan for them; play the new policy and the one of
    the round before; ask only if two draws of the reward disagree about the pair by more than `eps` on average,
    `E |r(tau0) - r(tau1) - (r'(tau0) - r'(tau1))| > eps`; learn. The scheme is the paper's (Wu and Sun, 2024); which posteriors and
    planners stand for its oracles is reconstructed.

    Args:
        reward_posterior: `LaplaceReward`, `PolyaGammaReward` or `EnsembleReward`.
        dynamics_posterior: `DirichletDynamics` (finite) or `EnsembleDynamics`.
        planner: `ValueIteration` (finite) or `PolicySearch` (Box observations; discrete or continuous actions). It has the horizon.
        eps: threshold of asking, in the unit of returns; 0 asks always.
        seed: of all draws, and once of the environment.
        pairing, selection: as in `PRLSVI`.

    Attributes:
        policy_, history_: as in `PRLSVI`.

    >>> from workingpapers.papers.preference_rl import PreferenceOracle, TabularFeatures, exact_value, make
    >>> env = make("RandomMDP-v0", seed=2)
    >>> agent = PreferenceTS(LaplaceReward(TabularFeatures(6, 3), link="logistic"), DirichletDynamics(6, 3), ValueIteration(5), seed=0)
    >>> history = agent.learn(env, PreferenceOracle(seed=0), episodes=1_000)
    >>> exact_value(env.mdp, agent.policy_) > 0.9 * env.mdp.optimal()[0]
    True
    """

    kind = "PreferenceTS"

    def __init__(self, reward_posterior: Any, dynamics_posterior: Any, planner: Any, eps: float = 0.1,
                 seed: int | np.random.Generator | None = None, *, pairing: Pairing = "previous",
                 selection: Selection | None = None) -> None:
        for name, part, methods in (("reward_posterior", reward_posterior, ("sample", "mean", "judge", "add", "state", "restore")),
                                    ("dynamics_posterior", dynamics_posterior, ("sample", "mean", "observe", "state", "restore")),
                                    ("planner", planner, ("plan", "check", "horizon"))):
            lacking = [m for m in methods if not hasattr(part, m)]
            if lacking:
                raise TypeError(f"{name} is {part!r}: it has no {lacking[0]}")
        super().__init__(planner.horizon, selection or Selection("rule", eps=eps), pairing, seed)
        self.reward_posterior, self.dynamics_posterior, self.planner, self.eps = reward_posterior, dynamics_posterior, planner, float(eps)
        self._starts: list[npt.NDArray[Any]] = []

    # ------------------------------------------------------------ one round

    def reward_(self, obs: npt.ArrayLike, action: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Mean reward of (obs, action), up to what differences of trajectories leave open."""
        return np.asarray(self.reward_posterior.mean()(obs, action))

    def _choose(self) -> Policy:
        reward = self.reward_posterior.sample(self.rng)
        model = self.dynamics_posterior.sample(self.rng)
        return self.planner.plan(model, reward, self._starts, self.rng)  # type: ignore[no-any-return]

    def _greedy(self) -> Policy:
        planned = self.planner.plan(self.dynamics_posterior.mean(), self.reward_posterior.mean(), self._starts, np.random.default_rng(0))
        return planned  # type: ignore[no-any-return]

    def _judge(self, first: Trajectory, second: Trajectory) -> tuple[float, float, bool]:
        return self.reward_posterior.judge(first, second, self.rng)  # type: ignore[no-any-return]

    def _observe(self, trajectory: Trajectory) -> None:
        if len(self._starts) < STARTS:
            self._starts.append(trajectory.obs[0])
        self.dynamics_posterior.observe(trajectory, self.rng)

    def _learn(self, first: Trajectory, second: Trajectory, preference: float) -> None:
        self.reward_posterior.add(first, second, preference, self.rng)

    def _check_spaces(self, env: Any) -> None:
        self.planner.check(env)
        features = getattr(self.reward_posterior, "features", None)
        if features is not None and isinstance(env.action_space, spaces.Discrete):
            check_discrete("action_space", env.action_space, features.n_actions)
            if features.table is not None:
                check_discrete("observation_space", env.observation_space, len(features.table))

    # ------------------------------------------------------------ compiled rounds

    def _mind(self) -> tuple[Mind, Settings, Truncation] | None:
        reward, dynamics = self.reward_posterior, self.dynamics_posterior
        if type(reward) is not LaplaceReward or type(dynamics) is not DirichletDynamics or type(self.planner) is not ValueIteration:
            return None
        table, p, s = reward.features.table, reward.posterior, self.selection
        if table is None:
            return None
        seen = Transitions(dynamics.counts, np.zeros((0, 0, 0)), np.zeros((0, 0, 0)))
        before = self._before.actions.copy() if isinstance(self._before, TablePolicy) else np.zeros((self.horizon, len(table)), np.int64)
        mind = Mind(table, seen, p.answers, p.cloud, before, np.zeros(0), dynamics.prior, self._pace, self._window, self._schedule)
        settings = Settings(self.horizon, 1.0, 0.0, p.lam, p.link.gain, p.link.code, math.inf, s.code, s.kind == "entropy", s.eps,
                            s.budget, s.episodes, True, self.pairing == "same")
        return mind, settings, Truncation(0.5, 0.9, 1.0)

    def _reserve(self, n: int) -> None:
        self.reward_posterior.posterior.reserve(n)

    # ------------------------------------------------------------ state files

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        meta = {"horizon": self.horizon, "pairing": self.pairing, "has_before": self._before is not None,
                "selection": [self.selection.kind, self.selection.eps, self.selection.budget, self.selection.episodes],
                "reward": self.reward_posterior.config(), "dynamics": self.dynamics_posterior.config()}
        arrays: Arrays = {**self.reward_posterior.state(), **self.dynamics_posterior.state()}
        if self._starts:
            arrays["starts"] = np.stack(self._starts)
        if isinstance(self._before, TablePolicy):
            arrays["before_actions"] = self._before.actions
        elif isinstance(self._before, LinearPolicy):
            arrays["before_weights"] = self._before.weights
        return meta, arrays

    @classmethod
    def load(cls, path: str | Path, reward_posterior: Any, dynamics_posterior: Any, planner: Any) -> Self:
        """The agent that `save` wrote.

        Args:
            path: the file. Nothing in it is run, and all of it is checked.
            reward_posterior, dynamics_posterior, planner: made anew with the options that the saved agent had; they are filled.

        Raises:
            DamagedState (a ValueError): what is wrong, in words.
        """
        meta = read_state(path, cls.kind)[0]
        for name, part in (("reward", reward_posterior), ("dynamics", dynamics_posterior)):
            if meta.get(name) != part.config():
                raise DamagedState(f"{path}: {name}_posterior was {meta.get(name)}, and is now {part.config()}")
        try:
            kind, eps, budget, episodes = meta["selection"]
            agent = cls(reward_posterior, dynamics_posterior, planner, eps, pairing=meta["pairing"],
                        selection=Selection(kind, eps, budget, episodes))
            if meta["horizon"] != agent.horizon:
                raise ValueError(f"the horizon was {meta['horizon']}, and the planner's is {agent.horizon}")
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedState(f"{path}: the file describes no agent: {type(error).__name__}: {error}") from error
        return agent._load_from(path)

    def _restore(self, meta: dict[str, Any], arrays: Arrays) -> None:
        self.reward_posterior.restore(arrays)
        self.dynamics_posterior.restore(arrays)
        self._starts = list(arrays["starts"]) if "starts" in arrays else []
        self._saved_before = None
        if not meta["has_before"]:
            return
        if isinstance(self.planner, ValueIteration):
            dynamics = self.dynamics_posterior
            actions = take(arrays, "before_actions", self.horizon, dynamics.n_states)
            if actions.dtype.kind not in "iu" or actions.min() < 0 or actions.max() >= dynamics.n_actions:
                raise DamagedState("before_actions names actions that there are not")
            self._before = TablePolicy(actions.astype(np.int64))
        elif isinstance(self.planner, PolicySearch):
            self._saved_before = take(arrays, "before_weights", -1, -1)

    def bind(self, env: Any) -> Any:
        """As in the base; a policy that was loaded before its environment was known gets its action space here."""
        world = super().bind(env)
        saved = getattr(self, "_saved_before", None)
        if saved is not None:
            self._before, self._saved_before = self.planner.policy(saved), None
        return world
