"""A posterior together with the search for the best candidate: over arms exactly, in a box by several climbs."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController

from ._arms import ArmPosterior
from ._kernels import Covariance
from ._posterior import Mean, UniqueGP
from ._space import BoxSpace, FiniteSpace
from ._statistics import Array

Score = Callable[[Array, Array], Array]
Candidate = int | tuple[float, ...]

RAW_POINTS = 512
DRAW_POINTS = 128
CLIMBS = 4
STEP = 1e-5
THREADS_FROM = 1_000


class Surrogate(Protocol):
    """What an optimiser asks of a model. A candidate is a row number, or the coordinates of a point in the unit cube."""

    def maximise(self, score: Score, rng: np.random.Generator) -> Candidate: ...

    def maximise_draw(self, rng: np.random.Generator) -> Candidate: ...

    def uniform(self, rng: np.random.Generator) -> Candidate: ...

    def observe(self, candidate: Candidate, n: int, average: float, squares: float) -> None: ...

    def moments(self, candidate: Candidate) -> tuple[float, float]: ...

    def incumbent(self) -> float: ...

    def statistics(self) -> list[tuple[Candidate, int, float, float]]: ...

    def find(self, x: Any) -> Candidate: ...

    def decode(self, candidate: Candidate) -> Any: ...

    def twin(self) -> Surrogate: ...

    @property
    def logdet(self) -> float: ...

    @property
    def n_unique(self) -> int: ...

    @property
    def n_arms(self) -> int | None: ...


class ArmSurrogate:
    """Arms with their posterior kept up to date: every question is answered by one pass over A numbers."""

    def __init__(self, space: FiniteSpace, covariance: Covariance, noise: float, mean: Mean) -> None:
        self.space = space
        self.posterior = ArmPosterior(covariance, space.arms, noise, mean)

    @property
    def logdet(self) -> float:
        return self.posterior.logdet

    @property
    def n_unique(self) -> int:
        return self.posterior.q

    @property
    def n_arms(self) -> int | None:
        return len(self.space.arms)

    def maximise(self, score: Score, rng: np.random.Generator) -> Candidate:
        p, a = self.posterior, len(self.space.arms)
        return int(np.argmax(score(p.average_[:a], np.sqrt(p.var[:a]))))

    def maximise_draw(self, rng: np.random.Generator) -> Candidate:
        return int(np.argmax(self.posterior.sample(rng)[: len(self.space.arms)]))

    def uniform(self, rng: np.random.Generator) -> Candidate:
        return int(rng.integers(len(self.space.arms)))

    def observe(self, candidate: Candidate, n: int, average: float, squares: float) -> None:
        self.posterior.observe(_arm(candidate), n, average, squares)

    def moments(self, candidate: Candidate) -> tuple[float, float]:
        return float(self.posterior.average_[_arm(candidate)]), float(self.posterior.var[_arm(candidate)])

    def incumbent(self) -> float:
        p = self.posterior
        return float(p.average_[p.order].max()) if p.q else 0.0

    def statistics(self) -> list[tuple[Candidate, int, float, float]]:
        p = self.posterior
        return [(arm, int(p.count[i]), float(p.average[i]), float(p.squares[i])) for i, arm in enumerate(p.order)]

    def find(self, x: Any) -> Candidate:
        if self.space.labels is not None and not isinstance(x, int | np.integer) and list(x) in self.space.labels:
            return self.space.labels.index(list(x))
        index, vector = self.space.find(x)
        if index is not None:
            return index
        outside = self.posterior.arms[len(self.space.arms):]
        same = np.flatnonzero((np.abs(outside - vector) < 1e-9).all(axis=1))
        return len(self.space.arms) + int(same[0]) if len(same) else self.posterior.append_arm(vector)

    def decode(self, candidate: Candidate) -> Any:
        arm = _arm(candidate)
        if self.space.labels is not None and arm < len(self.space.labels):
            return list(self.space.labels[arm])
        return self.posterior.arms[arm].copy()

    def twin(self) -> ArmSurrogate:
        return copy.deepcopy(self)


class BoxSurrogate:
    """A box with `UniqueGP` on the unit cube. The acquisition is climbed by L-BFGS from the best of Sobol and known points."""

    def __init__(self, space: BoxSpace, covariance: Covariance, noise: float, mean: Mean) -> None:
        self.space = space
        self.gp = UniqueGP(covariance, noise, mean)

    @property
    def logdet(self) -> float:
        return self.gp.logdet()

    @property
    def n_unique(self) -> int:
        return self.gp.n_unique

    @property
    def n_arms(self) -> int | None:
        return None

    def maximise(self, score: Score, rng: np.random.Generator) -> Candidate:
        # A climb is hundreds of products of a few numbers each: waking BLAS threads for them costs ten times the work.
        with _blas().limit(limits=1 if self.gp.n_unique < THREADS_FROM else None, user_api="blas"):
            return self._maximise(score, rng)

    def _maximise(self, score: Score, rng: np.random.Generator) -> Candidate:
        def at(points: Array) -> Array:
            mean, var = self.gp.posterior(points)
            return score(mean, np.sqrt(var))

        raw = self._raw(rng)
        values = at(raw)
        tops = raw[np.argsort(values)[::-1][:CLIMBS]]
        if self.space.free.any():
            climbed = self.space.snap(np.array([self._climb(at, start) for start in tops]))
            raw, values = np.vstack([raw, climbed]), np.append(values, at(climbed))
        return _point(raw[int(np.argmax(values))])

    def maximise_draw(self, rng: np.random.Generator) -> Candidate:
        raw = self._raw(rng, DRAW_POINTS)
        return _point(raw[int(np.argmax(self.gp.sample(raw, 1, rng)[0]))])

    def uniform(self, rng: np.random.Generator) -> Candidate:
        return _point(self.space.snap(rng.random((1, self.space.width)))[0])

    def observe(self, candidate: Candidate, n: int, average: float, squares: float) -> None:
        self.gp.add_stats(np.array(candidate), n, average, squares)

    def moments(self, candidate: Candidate) -> tuple[float, float]:
        mean, var = self.gp.posterior(np.array([candidate]))
        return float(mean[0]), float(var[0])

    def incumbent(self) -> float:
        return float(self.gp.posterior(self.gp.unique_points)[0].max()) if self.gp.n_unique else 0.0

    def statistics(self) -> list[tuple[Candidate, int, float, float]]:
        gp = self.gp
        return [(_point(x), int(n), float(a), float(s))
                for x, n, a, s in zip(gp.unique_points, gp.counts, gp.averages, gp._squares)]

    def find(self, x: Any) -> Candidate:
        return _point(self.space.encode(x))

    def decode(self, candidate: Candidate) -> Any:
        return self.space.decode(np.array(candidate))

    def twin(self) -> BoxSurrogate:
        return copy.deepcopy(self)

    def _raw(self, rng: np.random.Generator, size: int = RAW_POINTS) -> Array:
        """Sobol points, the points already known, and steps around the best of them; `(m, width)`."""
        from scipy.stats import qmc  # a third of a second that nothing else here needs

        # A generator of its own: Sobol spawns from the one it is given, which a saved state does not record.
        cube = qmc.Sobol(self.space.width, rng=np.random.default_rng(int(rng.integers(2**63)))).random(size)
        if not self.gp.n_unique:
            return self.space.snap(cube)
        known = self.gp.unique_points
        best = known[int(np.argmax(self.gp.posterior(known)[0]))]
        near = best + rng.normal(scale=0.05, size=(32, self.space.width))
        return np.vstack([known, self.space.snap(cube), self.space.snap(near)])

    def _climb(self, at: Callable[[Array], Array], start: Array) -> Array:
        """L-BFGS-B in the real dimensions; the gradient is a central difference, all its points in one call."""
        free = np.flatnonzero(self.space.free)
        steps = np.zeros((len(free), len(start)))
        steps[np.arange(len(free)), free] = STEP

        def loss(u: Array) -> tuple[float, Array]:
            x = start.copy()
            x[free] = u
            values = at(np.vstack([x, x + steps, x - steps]))
            return -float(values[0]), -(values[1 : 1 + len(free)] - values[1 + len(free) :]) / (2 * STEP)

        found = minimize(loss, start[free], jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * len(free), options={"maxiter": 50})
        end = start.copy()
        end[free] = found.x
        return end


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _arm(candidate: Candidate) -> int:
    assert isinstance(candidate, int)
    return candidate


def _point(x: Array) -> Candidate:
    return tuple(float(v) for v in np.round(x, 9))
