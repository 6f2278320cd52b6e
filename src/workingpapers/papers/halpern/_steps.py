"""Which terms are drawn, and the stochastic steps between two full evaluations: compiled where the operator allows, else in Python."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ._operators import FiniteSumOperator, difference
from ._resolvents import Resolvent

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Draws:
    """Draws batches of `size` terms, with replacement, and the weights that make their sum an estimate of F.

    At size = n, evenly, each term comes exactly once and the estimate is exact.
    """

    def __init__(self, n: int, size: int, q: Array | None, rng: np.random.Generator) -> None:
        self.n, self.size, self.q, self.rng = n, size, q, rng
        self._even = np.empty((0, size))
        if q is not None:
            if q.shape != (n,) or not np.isfinite(q).all() or not (q > 0).all():
                raise ValueError(f"sampling_weights must be positive and of shape ({n},)")
            q = q / q.sum()
            self._ends, self._weights = np.cumsum(q), 1.0 / (size * n * q)

    def take(self, steps: int) -> tuple[Ints, Array]:
        """Terms and weights of `steps` batches, shape (steps, size) each."""
        shape = (steps, self.size)
        if self.q is None:
            if len(self._even) < steps:
                self._even = np.full(shape, 1.0 / self.size)
            if self.size == self.n:
                return np.tile(np.arange(self.n), (steps, 1)), self._even[:steps]
            return self.rng.integers(self.n, size=shape), self._even[:steps]
        idx = np.minimum(np.searchsorted(self._ends, self.rng.random(shape), side="right"), self.n - 1)
        return idx, self._weights[idx]


class Steps(Protocol):
    """Chunks of stochastic steps; arrays named in the summary of the compiled twin are changed in place. `resolve` is `J_{step G}(x)`."""

    def resolve(self, x: Array, step: float) -> Array: ...
    def page(self, u0: Array, u: Array, v: Array, k: int, eta: float, anchor: float, idx: Ints, weights: Array) -> None: ...
    def svrg(self, u0: Array, u: Array, w: Array, at_w: Array, k: int, eta: float, anchor: float, idx: Ints, weights: Array) -> None: ...
    def plain(self, u0: Array, u: Array, k: int, eta: float, anchor: float, idx: Ints, weights: Array) -> None: ...
    def forb(self, w: Array, w_before: Array, at_w: Array, v: Array, c: float, gamma: float, alpha: float, idx: Ints,
             weights: Array) -> None: ...
    def eg(self, w: Array, at_w: Array, z: Array, total: Array, tau: float, alpha: float, idx: Ints, weights: Array) -> None: ...


class PythonSteps:
    """The steps in Python, for any operator and resolvent."""

    def __init__(self, F: FiniteSumOperator, G: Resolvent) -> None:
        self.F, self.G = F, G

    def resolve(self, x: Array, step: float) -> Array:
        return self.G(x, step)

    def _difference(self, idx: Ints, weights: Array, u: Array, v: Array) -> Array:
        if (weights == weights[0]).all():
            return np.asarray(weights[0] * difference(self.F, idx, u, v))
        return np.asarray(sum(w * difference(self.F, idx[j : j + 1], u, v) for j, w in enumerate(weights)))

    def _value(self, idx: Ints, weights: Array, u: Array) -> Array:
        if (weights == weights[0]).all():
            return np.asarray(weights[0] * self.F.batch(idx, u))
        return np.asarray(sum(w * self.F.batch(idx[j : j + 1], u) for j, w in enumerate(weights)))

    def page(self, u0: Array, u: Array, v: Array, k: int, eta: float, anchor: float, idx: Ints, weights: Array) -> None:
        for t in range(len(idx) + 1):
            lam = anchor / (k + t + 2 * anchor)
            new = self.G(lam * u0 + (1 - lam) * u - eta * v, eta)
            if t < len(idx):
                v += self._difference(idx[t], weights[t], new, u)
            u[:] = new

    def svrg(self, u0: Array, u: Array, w: Array, at_w: Array, k: int, eta: float, anchor: float, idx: Ints, weights: Array) -> None:
        for t in range(len(idx)):
            lam = anchor / (k + t + 2 * anchor)
            v = at_w + self._difference(idx[t], weights[t], u, w)
            u[:] = self.G(lam * u0 + (1 - lam) * u - eta * v, eta)

    def plain(self, u0: Array, u: Array, k: int, eta: float, anchor: float, idx: Ints, weights: Array) -> None:
        for t in range(len(idx)):
            lam = anchor / (k + t + 2 * anchor)
            u[:] = self.G(lam * u0 + (1 - lam) * u - eta * self._value(idx[t], weights[t], u), eta)

    def forb(self, w: Array, w_before: Array, at_w: Array, v: Array, c: float, gamma: float, alpha: float, idx: Ints,
             weights: Array) -> None:
        for t in range(len(idx)):
            ref = w_before if t == 0 else w
            estimate = at_w + c * self._difference(idx[t], weights[t], v, ref) + v - ref
            v[:] = self.G(alpha * v + (1 - alpha) * w - gamma * estimate, gamma * c)

    def eg(self, w: Array, at_w: Array, z: Array, total: Array, tau: float, alpha: float, idx: Ints, weights: Array) -> None:
        for t in range(len(idx)):
            centre = alpha * z + (1 - alpha) * w - tau * at_w
            half = self.G(centre, tau)
            z[:] = self.G(centre - tau * self._difference(idx[t], weights[t], half, w), tau)
            total += z


class CompiledSteps:
    """The same steps by numba, for operators and resolvents that are arrays."""

    def __init__(self, terms: Any, data: Any) -> None:
        from . import _kernels

        self._kernels, self.terms, self.data = _kernels, terms, data

    def resolve(self, x: Array, step: float) -> Array:
        out = x.copy()
        self._kernels.resolve(self.data, out, step)
        return out

    def page(self, *rest: Any) -> None:
        self._kernels.page_chunk(self.terms, self.data, *rest)

    def svrg(self, *rest: Any) -> None:
        self._kernels.svrg_chunk(self.terms, self.data, *rest)

    def plain(self, *rest: Any) -> None:
        self._kernels.plain_chunk(self.terms, self.data, *rest)

    def forb(self, *rest: Any) -> None:
        self._kernels.forb_chunk(self.terms, self.data, *rest)

    def eg(self, *rest: Any) -> None:
        self._kernels.eg_chunk(self.terms, self.data, *rest)


def steps_for(F: FiniteSumOperator, G: Resolvent) -> Steps:
    """Compiled steps where operator and resolvent are arrays, else those in Python."""
    made, data = getattr(F, "terms", None), G.data()
    terms = made() if made is not None and data is not None else None
    return PythonSteps(F, G) if terms is None else CompiledSteps(terms, data)
