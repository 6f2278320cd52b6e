"""Gymnasium environments: finite problems to try things on, and the wrapper that hides the reward of any other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from . import _mdp
from ._mdp import FiniteMDP
from ._trajectory import Trajectory

LEDGER_LENGTH = 10_000  # trajectories whose return the wrapper keeps for a scripted oracle


class FiniteEnv(gym.Env[Any, Any]):
    """A `FiniteMDP` as a Gymnasium environment: observations 0..S-1, actions 0..A-1, truncated after H steps.

    It pays its mean rewards; wrap it in `PreferenceWrapper` to hide them (`learn` does so by itself).
    """

    metadata = {"render_modes": []}

    def __init__(self, mdp: FiniteMDP, name: str = "finite") -> None:
        self.mdp, self.name = mdp, name
        self.observation_space = spaces.Discrete(mdp.n_states)
        self.action_space = spaces.Discrete(mdp.n_actions)
        self._state, self._step = 0, mdp.horizon

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self._state, self._step = _place(self.mdp.start_cumulative, self.np_random.random()), 0
        return self._state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        if self._step >= self.mdp.horizon:
            raise ValueError("the episode is over: call reset()")
        if not self.action_space.contains(action):
            raise ValueError(f"action is {action!r}: a whole number from 0 to {self.mdp.n_actions - 1} is needed")
        reward = float(self.mdp.rewards[self._state, action])
        self._state = _place(self.mdp.cumulative[self._state, action], self.np_random.random())
        self._step += 1
        return self._state, reward, False, self._step == self.mdp.horizon, {}


def _place(cumulative: Any, u: float) -> int:
    return int(np.searchsorted(cumulative, u, side="right"))


FAMILIES: dict[str, Callable[..., FiniteMDP]] = {
    "RiverSwim-v0": lambda rng, **o: _mdp.river_swim(**o),
    "RandomLinearMDP-v0": lambda rng, **o: _mdp.random_linear_mdp(rng, **o),
    "RandomMDP-v0": lambda rng, **o: _mdp.random_mdp(rng, **o),
    "RareStates-v0": lambda rng, **o: _mdp.rare_states_mdp(rng, **o),
    "DeepSea-v0": lambda rng, **o: _mdp.deep_sea(rng=rng, **o),
    "GridPref-v0": lambda rng, **o: _mdp.grid_world(rng=rng, **o),
}


def make(name: str, seed: int = 0, **options: Any) -> FiniteEnv:
    """One of the shipped problems as a Gymnasium environment; `seed` draws the problem itself.

    Args:
        name: RiverSwim-v0 (n_states, horizon), RandomLinearMDP-v0 (dim, n_states, n_actions, horizon), DeepSea-v0 (depth),
            GridPref-v0 (size, horizon, slip), RandomMDP-v0 and RareStates-v0 (n_states, n_actions, horizon).
        seed: of the problem; the episodes' luck comes from `reset(seed=...)`.
        options: see the functions of the same names.

    >>> env = make("RiverSwim-v0", horizon=10)
    >>> env.observation_space, env.mdp.horizon
    (Discrete(6), 10)
    """
    if name not in FAMILIES:
        raise ValueError(f"name is {name!r}: there are {', '.join(FAMILIES)}")
    return FiniteEnv(FAMILIES[name](np.random.default_rng(seed), **options), name)


class PreferenceWrapper(gym.Wrapper[Any, Any, Any, Any]):
    """Hides the reward of an environment: `step` gives 0.0. Records the trajectory of each episode.

    What was really earned goes to a ledger that only a scripted oracle and the evaluation outside the agent read
    (`hidden_return`). Episode statistics that other wrappers put under `info` are taken out too, as they would tell.

    Args:
        env: any environment.
        debug: put the hidden reward under `info["hidden_reward"]`; never train with it.

    Attributes:
        trajectory: the episode so far (None before the first step).

    >>> env = PreferenceWrapper(make("RiverSwim-v0", horizon=2))
    >>> obs, info = env.reset(seed=0)
    >>> env.step(0)[1], env.step(0)[1]
    (0.0, 0.0)
    >>> len(env.trajectory), env.hidden_return(env.trajectory)
    (2, 0.01)
    """

    def __init__(self, env: gym.Env[Any, Any], debug: bool = False) -> None:
        super().__init__(env)
        self.debug = debug
        self._obs: list[Any] = []
        self._actions: list[Any] = []
        self._ended, self._key, self._earned = False, -1, 0.0
        self._ledger: OrderedDict[int, float] = OrderedDict()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        self._obs, self._actions, self._ended, self._earned = [np.array(obs)], [], False, 0.0
        self._key += 1
        return obs, _without_rewards(info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._obs.append(np.array(obs))
        self._actions.append(np.array(action))
        self._ended = bool(terminated)
        self._earned += float(reward)
        self._ledger[self._key] = self._earned
        while len(self._ledger) > LEDGER_LENGTH:
            self._ledger.popitem(last=False)
        info = _without_rewards(info)
        if self.debug:
            info["hidden_reward"] = float(reward)
        return obs, 0.0, terminated, truncated, info

    @property
    def trajectory(self) -> Trajectory | None:
        """The episode so far."""
        if not self._actions:
            return None
        return Trajectory(np.stack(self._obs), np.stack(self._actions), self._ended, self._key)

    def hidden_return(self, trajectory: Trajectory) -> float:
        """What a recorded trajectory really earned.

        Raises:
            ValueError: this wrapper did not record it, or has forgotten it.
        """
        if trajectory.key is None or trajectory.key not in self._ledger:
            raise ValueError("trajectory is not in this wrapper's ledger: give the oracle a reward function of trajectories instead of "
                             "reward='env'")
        return self._ledger[trajectory.key]


def _without_rewards(info: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in info.items() if k not in ("episode", "reward", "rewards", "hidden_reward", "final_info")}
