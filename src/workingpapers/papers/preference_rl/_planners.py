"""Planners for `PreferenceTS`: the best policy for one drawn reward and one drawn model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ._agent import Policy, TablePolicy
from ._entries import best_actions

Array = npt.NDArray[np.float64]


class ValueIteration:
    """Exact planning for finite observations: O(H S^2 A).

    Args:
        horizon: H.
    """

    def __init__(self, horizon: int) -> None:
        if horizon < 1:
            raise ValueError(f"horizon is {horizon}: 1 at least")
        self.horizon = int(horizon)

    def plan(self, model: Array, reward: Any, starts: Any, rng: np.random.Generator) -> TablePolicy:
        """The optimal policy for transitions (S, A, S + 1) and a reward that has a `table` (S, A)."""
        return TablePolicy(best_actions(model, reward.table, self.horizon))

    def check(self, env: Any) -> None:
        """TypeError where the spaces are not finite."""
        for name in ("observation_space", "action_space"):
            if not isinstance(getattr(env, name), spaces.Discrete):
                raise TypeError(f"{name} is {getattr(env, name)}: value iteration needs a Discrete space")


class LinearPolicy:
    """Actions from `W . (obs, 1)`: the largest entry for discrete actions, squashed into the box for continuous ones.

    Attributes:
        weights: shape (A or k, observations + 1).
    """

    def __init__(self, weights: Array, low: Array | None = None, high: Array | None = None) -> None:
        self.weights, self.low, self.high = weights, low, high

    def __call__(self, obs: Any, h: int) -> Any:
        return self.batch(np.asarray(obs, dtype=float)[None], self.weights[None])[0, 0]

    def batch(self, obs: Array, weights: Array) -> npt.NDArray[Any]:
        """Actions of P policies at n observations each: obs (P n, o) or (n, o) for one, weights (P, A, o + 1); shape (P, n[, k])."""
        P = len(weights)
        x = np.concatenate([obs.reshape(P, -1, obs.shape[-1]), np.ones((P, len(obs) // P, 1))], axis=2)
        scores = x @ weights.transpose(0, 2, 1)
        if self.low is None or self.high is None:
            return np.asarray(scores.argmax(axis=2))
        return np.asarray(self.low + (self.high - self.low) * (np.tanh(scores) + 1) / 2)


class PolicySearch:
    """Planning by the cross-entropy method over linear policies, simulated in the drawn model from first observations seen so far.

    For Box observations (one axis), with discrete or Box actions. It looks for one closed-loop policy for the whole episode, so
    that playing it costs nothing and the round after can play it again.

    Args:
        horizon: H.
        policies: candidates an iteration.
        elites: how many of them shape the next iteration.
        iterations: of the search.
        starts: first observations that each candidate is tried from.
        scale: deviation of the weights in the first iteration.
    """

    def __init__(self, horizon: int, policies: int = 48, elites: int = 8, iterations: int = 6, starts: int = 3, scale: float = 1.0) -> None:
        if horizon < 1 or iterations < 1 or starts < 1 or not 2 <= elites <= policies:
            raise ValueError(f"horizon {horizon}, iterations {iterations}, starts {starts} from 1 up and "
                             f"2 <= elites ({elites}) <= policies ({policies}) are needed")
        self.horizon, self.policies, self.elites = int(horizon), int(policies), int(elites)
        self.iterations, self.starts, self.scale = int(iterations), int(starts), float(scale)
        self._space: Any = None

    def check(self, env: Any) -> None:
        """TypeError where the spaces do not fit; remembers the action space."""
        space, actions = env.observation_space, env.action_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise TypeError(f"observation_space is {space}: a Box with one axis is needed")
        is_box = isinstance(actions, spaces.Box) and len(actions.shape) == 1 and bool(np.isfinite([actions.low, actions.high]).all())
        if not isinstance(actions, spaces.Discrete) and not is_box:
            raise TypeError(f"action_space is {actions}: Discrete, or a bounded Box with one axis, is needed")
        self._space = env

    def policy(self, weights: Array) -> LinearPolicy:
        """A policy of these weights for the environment's actions."""
        actions = self._space.action_space
        if isinstance(actions, spaces.Discrete):
            return LinearPolicy(weights)
        return LinearPolicy(weights, actions.low.astype(float), actions.high.astype(float))

    def plan(self, model: Any, reward: Any, starts: Any, rng: np.random.Generator) -> Policy:
        """The best policy found for `model(obs, actions) -> (next obs, chance of ending)` and `reward(obs, actions)`."""
        actions = self._space.action_space
        outputs = int(actions.n) if isinstance(actions, spaces.Discrete) else int(actions.shape[0])
        inputs = int(self._space.observation_space.shape[0]) + 1
        mean, deviation = np.zeros((outputs, inputs)), np.full((outputs, inputs), self.scale)
        act = self.policy(mean)
        if not len(starts):
            return self.policy(rng.normal(size=mean.shape) * self.scale)  # nothing seen yet: any policy is as good
        best, top = mean, -np.inf
        for _ in range(self.iterations):
            weights = mean + deviation * rng.standard_normal((self.policies, outputs, inputs))
            weights[0] = best
            first = np.asarray(starts)[rng.integers(len(starts), size=self.starts)]
            totals = self._simulate(model, reward, act, weights, np.tile(first, (self.policies, 1)))
            order = np.argsort(-totals)
            if totals[order[0]] > top:
                best, top = weights[order[0]], totals[order[0]]
            elite = weights[order[: self.elites]]
            mean, deviation = elite.mean(axis=0), elite.std(axis=0) + 0.02 * self.scale
        return self.policy(best.copy())

    def _simulate(self, model: Any, reward: Any, act: LinearPolicy, weights: Array, obs: Array) -> Array:
        """Mean return of each policy in the model, weighted by the chance of still running: shape (P,)."""
        alive, total = np.ones(len(obs)), np.zeros(len(obs))
        for _ in range(self.horizon):
            chosen = act.batch(obs, weights)
            actions = chosen.reshape(-1, *chosen.shape[2:])
            total += alive * reward(obs, actions)
            obs, ending = model(obs, actions)
            alive = alive * (1 - ending)
        return np.asarray(total.reshape(len(weights), -1).mean(axis=1))
