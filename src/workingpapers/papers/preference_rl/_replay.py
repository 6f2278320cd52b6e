"""Randomised least-squares value iteration where observations are not finite: transitions are kept and looked at again each round."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ._entries import many_transposed_solutions, transposed_solution, upper_solution
from ._features import Features
from ._linalg import rank_one_update
from ._plan import Truncation
from ._state import Arrays, DamagedState, take
from ._trajectory import Trajectory

Array = npt.NDArray[np.float64]


class WeightPolicy:
    """Greedy in `Q_h(s, a) = phi . theta_r + omega_h(s, a)`.

    Attributes:
        theta: reward vector, shape (d,).
        onward: weights of what follows, shape (H, d); zero at the last step.
        factors: factors of Sigma at the time of planning, shape (H or 1, A, m, m).
    """

    def __init__(self, features: Features, theta: Array, onward: Array, factors: Array, trust: Truncation) -> None:
        self.features, self.theta, self.onward, self.factors, self.trust = features, theta, onward, factors, trust

    def __call__(self, obs: Any, h: int) -> int:
        base = self.features.encode(np.asarray(obs)[None])
        return int(self.values(base, h)[0].argmax())

    def values(self, base: Array, h: int) -> Array:
        """Q at step h for encoded observations (n, m): shape (n, A)."""
        A, H = self.features.n_actions, len(self.onward)
        reward = base @ self.theta.reshape(A, -1).T
        if h == H - 1:
            return np.asarray(reward)
        estimate = base @ self.onward[h].reshape(A, -1).T
        if math.isinf(self.trust.lower):
            return np.asarray(reward + estimate)
        w = trust_in(lengths(base, self.factors[h if len(self.factors) > 1 else 0]), self.trust)
        return np.asarray(reward + w * estimate + (1 - w) * self.trust.ceiling * (H - 1 - h))


def lengths(base: Array, factors: Array) -> Array:
    """`||phi(s, a)||_{Sigma^{-1}}` for encoded observations (n, m) and factors (A, m, m): shape (n, A)."""
    columns = np.ascontiguousarray(base.T)
    return np.stack([np.sqrt((many_transposed_solutions(R, columns) ** 2).sum(axis=0)) for R in factors], axis=1)


def trust_in(u: Array, trust: Truncation) -> Array:
    """The weight of the estimate against the default bound."""
    return np.asarray(np.clip((trust.upper - u) / (trust.upper - trust.lower), 0.0, 1.0))


class Replay:
    """Transitions by step (or pooled over steps): `Sigma = lam I + sum phi phi'` in blocks, one an action.

    A round costs O(H n m) for the sums over n kept transitions, and O(n A m^2) for their lengths.
    """

    def __init__(self, features: Features, horizon: int, lam: float, pool_steps: bool) -> None:
        self.features, self.horizon, self.lam = features, horizon, lam
        self.groups = 1 if pool_steps else horizon
        self.m = features.dim // features.n_actions
        self.factors = np.tile(math.sqrt(lam) * np.eye(self.m), (self.groups, features.n_actions, 1, 1))
        self._base: list[Array] = [np.zeros((0, self.m)) for _ in range(self.groups)]
        self._next: list[Array] = [np.zeros((0, self.m)) for _ in range(self.groups)]
        self._action: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64) for _ in range(self.groups)]
        self._goes_on: list[Array] = [np.zeros(0) for _ in range(self.groups)]

    def observe(self, trajectory: Trajectory) -> None:
        """Take in one trajectory; O(steps m^2)."""
        base = self.features.encode(trajectory.obs)
        actions = trajectory.actions.astype(np.int64)
        n = len(actions)
        goes_on = np.ones(n)
        goes_on[-1] = 0.0 if trajectory.ended else 1.0
        groups = np.zeros(n, int) if self.groups == 1 else np.arange(n)
        for h in range(n):
            rank_one_update(self.factors[groups[h], actions[h]], base[h])
        for g in np.unique(groups):
            here = groups == g
            self._base[g] = np.concatenate([self._base[g], base[:-1][here]])
            self._next[g] = np.concatenate([self._next[g], base[1:][here]])
            self._action[g] = np.concatenate([self._action[g], actions[here]])
            self._goes_on[g] = np.concatenate([self._goes_on[g], goes_on[here]])

    def plan(self, theta: Array, sigma_p: float, trust: Truncation, rng: np.random.Generator) -> WeightPolicy:
        """One backward pass; see `_plan.plan`."""
        A, H = self.features.n_actions, self.horizon
        policy = WeightPolicy(self.features, theta.copy(), np.zeros((H, self.features.dim)), self.factors.copy(), trust)
        masks = [[np.flatnonzero(actions == a) for a in range(A)] for actions in self._action]
        pooled = self._next_trust(0, policy, trust) if self.groups == 1 else None
        for h in range(H - 2, -1, -1):
            g = h if self.groups > 1 else 0
            V = self._next_value(g, h + 1, policy, pooled) * self._goes_on[g]
            for a in range(A):
                rows = masks[g][a]
                white = transposed_solution(self.factors[g, a], np.ascontiguousarray(self._base[g][rows].T @ V[rows]))
                if sigma_p > 0:
                    white = white + sigma_p * rng.standard_normal(self.m)
                policy.onward[h, a * self.m : (a + 1) * self.m] = upper_solution(self.factors[g, a], white)
        return policy

    def _next_trust(self, g: int, policy: WeightPolicy, trust: Truncation) -> Array | None:
        if math.isinf(trust.lower) or not len(self._next[g]):
            return None
        return trust_in(lengths(self._next[g], policy.factors[0]), trust)

    def _next_value(self, g: int, h: int, policy: WeightPolicy, pooled: Array | None) -> Array:
        """max_a Q_h at the next observations of group g; with pooled steps their trust is the same at each step."""
        if pooled is None or h == self.horizon - 1:
            return np.asarray(policy.values(self._next[g], h).max(axis=1)) if len(self._next[g]) else np.zeros(0)
        A = self.features.n_actions
        weights = np.concatenate([policy.theta.reshape(A, -1), policy.onward[h].reshape(A, -1)])
        both = self._next[g] @ weights.T
        default = policy.trust.ceiling * (self.horizon - 1 - h)
        return np.asarray((both[:, :A] + pooled * both[:, A:] + (1 - pooled) * default).max(axis=1))

    def state(self) -> Arrays:
        sizes = np.array([len(x) for x in self._base], np.int64)
        return {"replay_sizes": sizes, "replay_factors": self.factors, "replay_base": np.concatenate(self._base),
                "replay_next": np.concatenate(self._next), "replay_action": np.concatenate(self._action),
                "replay_goes_on": np.concatenate(self._goes_on)}

    def restore(self, arrays: Arrays) -> None:
        sizes = take(arrays, "replay_sizes", self.groups)
        n = int(sizes.sum())
        action = take(arrays, "replay_action", n)
        if sizes.min() < 0 or action.dtype.kind not in "iu" or (n and not (action.min() >= 0 and action.max() < self.features.n_actions)):
            raise DamagedState("replay_sizes or replay_action are not what an agent saves")
        factors = take(arrays, "replay_factors", *self.factors.shape)
        if not (np.diagonal(factors, axis1=2, axis2=3) > 0).all():
            raise DamagedState("replay_factors have a diagonal that is not positive")
        self.factors = np.ascontiguousarray(factors)
        cuts = np.cumsum(sizes)[:-1]
        self._base = np.split(take(arrays, "replay_base", n, self.m), cuts)
        self._next = np.split(take(arrays, "replay_next", n, self.m), cuts)
        self._action = np.split(action.astype(np.int64), cuts)
        self._goes_on = np.split(take(arrays, "replay_goes_on", n), cuts)
