"""A point common to many sets: `F_i(u) = u - P_i(u)`, where P_i projects on set i."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._operators import Array, FiniteSum, Ints, count

Projection = Callable[[Array], npt.ArrayLike]


class Subspace(NamedTuple):
    """`offset + span(basis)`; basis (dim, r) with orthonormal columns, offset (dim,) or None for a subspace through 0."""

    basis: Any
    offset: Any = None


class Halfspace(NamedTuple):
    """`{u: normal'u <= level}`."""

    normal: Any
    level: float

    def __call__(self, u: Array) -> Array:
        a = np.asarray(self.normal, float)
        return np.asarray(u - max(0.0, float(a @ u) - self.level) / float(a @ a) * a)


class Ball(NamedTuple):
    """`{u: |u - centre|_2 <= radius}`."""

    centre: Any
    radius: float

    def __call__(self, u: Array) -> Array:
        step = u - np.asarray(self.centre, float)
        length = float(np.linalg.norm(step))
        return u if length <= self.radius else np.asarray(self.centre + step * (self.radius / length))


class ProjectionSum(FiniteSum):
    """`F(u) = (1/n) sum_i (u - P_i(u))`: zero where u lies in all sets, or nearest to all where they have no common point.

    Each term is firmly nonexpansive, so L = 1 and F is cocoercive. Terms are much alike where sets are many: the saving is then
    about sqrt(n). Sets that are all subspaces run compiled, and their mean is kept as one (dim, dim) matrix, which makes `full`
    cheap in time; its cost still counts as n.

    Args:
        sets: `Subspace`, `Halfspace`, `Ball`, or any function u -> its projection; or one array (n, dim, r) of orthonormal bases.
        dim: coordinates; needed only where no set tells them.

    >>> F = ProjectionSum([Halfspace([1.0, 0.0], 0.0), Ball([0.0, 2.0], 1.0)], dim=2)
    >>> F.full(np.array([2.0, 2.0]))
    array([1.5, 0. ])
    """

    is_cocoercive: bool | None = True

    def __init__(self, sets: Sequence[Subspace | Projection] | Array, dim: int | None = None) -> None:
        given = [Subspace(B) for B in sets] if isinstance(sets, np.ndarray) and sets.ndim == 3 else list(sets)
        if not given:
            raise ValueError("sets is empty: at least one set is needed")
        for i, s in enumerate(given):
            if isinstance(s, Halfspace) and not (np.isfinite(s.normal).all() and np.any(s.normal) and math.isfinite(s.level)):
                raise ValueError(f"sets[{i}]: a halfspace needs a finite normal that is not 0, and a finite level")
            if isinstance(s, Ball) and not (np.isfinite(s.centre).all() and s.radius >= 0):
                raise ValueError(f"sets[{i}]: a ball needs a finite centre and a radius from 0 up")
            if not callable(s) and not isinstance(s, Subspace):
                raise TypeError(f"sets[{i}] is {type(s).__name__}: a Subspace, Halfspace, Ball or a function u -> projection is needed")
        self.n = len(given)
        self.dim = _dimension(given, dim)
        self._bases: Array | None = None
        if all(isinstance(s, Subspace) for s in given):
            self._stack(given)
        self._sets = [_subspace(s, self.dim, i) if isinstance(s, Subspace) else s for i, s in enumerate(given)]

    def _stack(self, sets: list[Any]) -> None:
        """All subspaces as one array, rows of `B_i'` one after another; narrower ones are filled up with zeros."""
        d, width = self.dim, max(np.shape(s.basis)[1] for s in sets)
        self._bases = np.zeros((self.n, width, d))
        self._constants = np.zeros((self.n, d))
        for i, s in enumerate(sets):
            B, o = _checked(s, d, i)
            self._bases[i, : B.shape[1]] = B.T
            self._constants[i] = -(o - B @ (B.T @ o))
        flat = self._bases.reshape(-1, d)
        self._mean = np.eye(d) - flat.T @ flat / self.n
        self._constant = self._constants.mean(axis=0)

    def full(self, u: Array) -> Array:
        if self._bases is not None:
            return np.asarray(self._mean @ u + self._constant)
        return self.batch(np.arange(self.n), u) / self.n

    def batch(self, idx: Ints, u: Array) -> Array:
        if self._bases is not None:
            return np.asarray(self.batch_diff(idx, u, np.zeros(self.dim)) + self._constants[idx].sum(axis=0))
        out: Array = np.array(len(idx) * u)
        for i in idx:
            found = np.asarray(self._sets[i](u), float)
            if found.shape != (self.dim,):
                raise ValueError(f"the projection on sets[{i}] has shape {found.shape}, not ({self.dim},)")
            out -= found
        return out

    def batch_diff(self, idx: Ints, u: Array, v: Array) -> Array:
        if self._bases is None:
            return self.batch(idx, u) - self.batch(idx, v)
        step = u - v
        rows = self._bases[idx].reshape(-1, self.dim)
        return np.asarray(len(idx) * step - rows.T @ (rows @ step))

    def lipschitz(self) -> float:
        return 1.0 if self._bases is None else max(float(np.linalg.eigvalsh(self._mean)[-1]), 1e-300)

    def avg_lipschitz(self, q: Array | None = None) -> float:
        return 1.0 if q is None else float((1 / (self.n * q)).max())

    def terms(self) -> Any:
        if self._bases is None:
            return None
        from ._kernels import SUBSPACES, terms

        return terms(SUBSPACES, self.n, rows=self._bases.reshape(-1, self.dim), other=self._constants)


def _dimension(sets: list[Any], dim: int | None) -> int:
    told = {len(s.basis) if isinstance(s, Subspace) else len(s[0]) for s in sets if isinstance(s, Subspace | Halfspace | Ball)}
    told |= {count("dim", dim)} if dim is not None else set()
    if len(told) != 1:
        raise ValueError(f"the sets tell {sorted(told)} coordinates: they must agree" if told else "dim is needed: no set tells it")
    return int(told.pop())


def _checked(s: Subspace, dim: int, i: int) -> tuple[Array, Array]:
    B, o = np.asarray(s.basis, float), np.zeros(dim) if s.offset is None else np.asarray(s.offset, float)
    if B.ndim != 2 or B.shape[0] != dim or o.shape != (dim,) or not (np.isfinite(B).all() and np.isfinite(o).all()):
        raise ValueError(f"sets[{i}]: a finite basis of shape ({dim}, r) and an offset of shape ({dim},) are needed")
    if np.abs(B.T @ B - np.eye(B.shape[1])).max(initial=0.0) > 1e-8:
        raise ValueError(f"sets[{i}]: the columns of its basis are not orthonormal: take numpy.linalg.qr(basis).Q")
    return B, o


def _subspace(s: Subspace, dim: int, i: int) -> Projection:
    B, o = _checked(s, dim, i)
    return lambda u: o + B @ (B.T @ (u - o))
