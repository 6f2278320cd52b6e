"""Posteriors over rewards and over transitions for `PreferenceTS`, where both have a closed or nearly closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ._entries import drawn_model, hessian_at, standard_normals, upper_factor, upper_solution
from ._features import Features
from ._fit import query_value
from ._links import Link
from ._reward import RewardPosterior
from ._state import Arrays, DamagedState, take
from ._trajectory import Trajectory

Array = npt.NDArray[np.float64]


class LinearReward:
    """A drawn reward `phi(obs, action) . theta`; `table` holds all of it, shape (S, A), where observations are finite."""

    def __init__(self, features: Features, theta: Array) -> None:
        self.features, self.theta = features, theta
        self.table: Array | None = None
        if features.table is not None:
            self.table = np.ascontiguousarray(features.table @ theta)

    def __call__(self, obs: npt.ArrayLike, action: npt.ArrayLike) -> Array:
        return np.asarray(self.features(obs, action) @ self.theta)


class LaplaceReward:
    """Logistic (or probit) regression on features with the prior N(0, I / lam), as a Gaussian around the mode.

    With tabular features any reward of (obs, action) can be represented. The covariance is the inverse Hessian at the mode, so
    that `E |Delta r - Delta r'|` of two draws is `(2 / sqrt(pi)) ||x||_{Hessian^{-1}}`. An answer costs O(pairs d^2 + d^3).

    Args:
        features: of (obs, action).
        lam: prior precision.
        link: as in `PRLSVI`.
    """

    kind = "laplace"

    def __init__(self, features: Features, lam: float = 1.0, link: str | Link = "logistic") -> None:
        self.features = features
        self.posterior = RewardPosterior(features.dim, sigma=1.0, lam=lam, link=link)

    def difference(self, first: Trajectory, second: Trajectory) -> Array:
        """x = phi(first) - phi(second), shape (d,)."""
        return self.features.total(first.obs, first.actions) - self.features.total(second.obs, second.actions)

    def sample(self, rng: np.random.Generator) -> LinearReward:
        """One reward from the posterior."""
        cloud = self.posterior.cloud
        return LinearReward(self.features, cloud.mean + upper_solution(cloud.hessian, standard_normals(rng, self.features.dim)))

    def mean(self) -> LinearReward:
        """The reward at the mode."""
        return LinearReward(self.features, self.posterior.cloud.mean.copy())

    def judge(self, first: Trajectory, second: Trajectory, rng: np.random.Generator) -> tuple[float, float, bool]:
        """Disagreement of two draws about the pair; minus the distance of predicted returns; whether features differ at all."""
        x = self.difference(first, second)
        cloud = self.posterior.cloud
        return float(query_value(cloud.hessian, x, 1.0)), -abs(float(x @ cloud.mean)), bool(x.any())

    def add(self, first: Trajectory, second: Trajectory, preference: float, rng: np.random.Generator) -> None:
        """Take in one answer."""
        p = self.posterior
        p.add(self.difference(first, second), preference)
        p.cloud.hessian[:] = hessian_at(p.answers, p.cloud.mean, p.lam, p.link.gain, p.link.code)

    def config(self) -> list[Any]:
        """What a state file must agree with."""
        return [self.kind, self.features.config(), self.posterior.lam, self.posterior.link.name, self.posterior.link.gain]

    def state(self) -> Arrays:
        """Arrays that hold everything learned."""
        return self.posterior.state()

    def restore(self, arrays: Arrays) -> None:
        """The reverse of `state`."""
        self.posterior.restore(arrays)


class PolyaGammaReward(LaplaceReward):
    """The same regression without the Gaussian approximation: draws by Gibbs sampling with Polya-Gamma variables (logistic only).

    `w_i ~ PG(n_i, gain x_i . theta)`, then `theta ~ N(m, V)`, `V^{-1} = lam I + gain^2 sum w_i x_i x_i'` (Polson, Scott and
    Windle, 2013). A draw costs `sweeps` times O(pairs d^2 + d^3). Disagreement is averaged over `draws` kept ones.

    Args:
        features, lam, link: as in `LaplaceReward`.
        sweeps: of the chain between two draws.
        draws: kept for judging pairs; renewed after each answer.
    """

    kind = "polya-gamma"

    def __init__(self, features: Features, lam: float = 1.0, link: str | Link = "logistic", sweeps: int = 5, draws: int = 40) -> None:
        super().__init__(features, lam, link)
        if self.posterior.link.name != "logistic":
            raise ValueError(f"link is {self.posterior.link.name!r}: Polya-Gamma variables belong to the logistic link")
        if sweeps < 1 or draws < 2:
            raise ValueError(f"sweeps is {sweeps} and draws {draws}: 1 and 2 at least")
        self.sweeps, self.draws = int(sweeps), int(draws)
        self._theta = np.zeros(features.dim)
        self._kept: Array | None = None

    def sample(self, rng: np.random.Generator) -> LinearReward:
        from polyagamma import random_polyagamma

        p, gain = self.posterior, self.posterior.link.gain
        n = p.n_distinct
        x, wins, losses = p.answers.x[:n], p.answers.wins[:n], p.answers.losses[:n]
        pull = gain * x.T @ (0.5 * (wins - losses))
        for _ in range(self.sweeps):
            precision = p.lam * np.eye(self.features.dim)
            if n:
                w = random_polyagamma(wins + losses, gain * x @ self._theta, random_state=rng)
                precision += gain**2 * (x.T * w) @ x
            R = upper_factor(precision)
            self._theta = upper_solution(R, np.linalg.solve(R.T, pull) + standard_normals(rng, self.features.dim))
        return LinearReward(self.features, self._theta.copy())

    def judge(self, first: Trajectory, second: Trajectory, rng: np.random.Generator) -> tuple[float, float, bool]:
        x = self.difference(first, second)
        if self._kept is None:
            self._kept = np.stack([self.sample(rng).theta for _ in range(self.draws)])
        seen = self._kept @ x
        return mean_distance(seen), -abs(float(seen.mean())), bool(x.any())

    def add(self, first: Trajectory, second: Trajectory, preference: float, rng: np.random.Generator) -> None:
        super().add(first, second, preference, rng)
        self._kept = None

    def state(self) -> Arrays:
        kept = self._kept if self._kept is not None else np.zeros((0, self.features.dim))
        return {**super().state(), "gibbs_theta": self._theta, "gibbs_kept": kept}

    def restore(self, arrays: Arrays) -> None:
        super().restore(arrays)
        self._theta = take(arrays, "gibbs_theta", self.features.dim)
        kept = take(arrays, "gibbs_kept", -1, self.features.dim)
        self._kept = kept if len(kept) else None


def mean_distance(values: npt.ArrayLike) -> float:
    """`E |v - v'|` over pairs of different entries of values (n,), n >= 2; O(n log n).

    >>> mean_distance([0.0, 1.0, 3.0])
    2.0
    """
    v = np.sort(np.asarray(values, dtype=float))
    n = len(v)
    return float(2 * (v @ (2 * np.arange(n) - n + 1)) / (n * (n - 1)))


class DirichletDynamics:
    """Transitions of a finite problem that do not change with time: a Dirichlet distribution for each (obs, action).

    Args:
        n_states, n_actions: S and A.
        prior: weight of each next state before anything is seen.
        can_end: whether episodes may end early; then ending is one more outcome with the same weight.
    """

    kind = "dirichlet"

    def __init__(self, n_states: int, n_actions: int, prior: float = 1.0, can_end: bool = False) -> None:
        if n_states < 1 or n_actions < 1:
            raise ValueError(f"n_states is {n_states} and n_actions {n_actions}: 1 at least")
        if not (math.isfinite(prior) and prior > 0):
            raise ValueError(f"prior is {prior}: a finite number above 0 is needed")
        self.n_states, self.n_actions, self.can_end = int(n_states), int(n_actions), bool(can_end)
        self.prior = np.full(self.n_states + 1, float(prior))
        self.prior[-1] *= self.can_end
        self.counts = np.zeros((1, self.n_states, self.n_actions, self.n_states + 1))

    def sample(self, rng: np.random.Generator) -> Array:
        """Probabilities, shape (S, A, S + 1); the last next state is the end."""
        return np.asarray(drawn_model(self.counts[0], self.prior, rng))

    def mean(self) -> Array:
        """Posterior mean of the same."""
        weights = self.counts[0] + self.prior
        return np.asarray(weights / weights.sum(axis=-1, keepdims=True))

    def observe(self, trajectory: Trajectory, rng: np.random.Generator) -> None:
        """Count the transitions of one trajectory."""
        if trajectory.ended and not self.can_end:
            raise ValueError("an episode ended early: make DirichletDynamics with can_end=True")
        onward = trajectory.obs[1:].astype(np.int64)
        if trajectory.ended:
            onward = np.append(onward[:-1], self.n_states)
        np.add.at(self.counts[0], (trajectory.obs[:-1].astype(np.int64), trajectory.actions.astype(np.int64), onward), 1.0)

    def config(self) -> list[Any]:
        """What a state file must agree with."""
        return [self.kind, self.n_states, self.n_actions, float(self.prior[0]), self.can_end]

    def state(self) -> Arrays:
        """Arrays that hold everything learned."""
        return {"dynamics_counts": self.counts}

    def restore(self, arrays: Arrays) -> None:
        """The reverse of `state`."""
        counts = take(arrays, "dynamics_counts", *self.counts.shape)
        if (counts < 0).any():
            raise DamagedState("dynamics_counts are negative")
        self.counts[:] = counts
