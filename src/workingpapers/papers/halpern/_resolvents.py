"""Resolvents `J_{eta G} = (I + eta G)^{-1}`: projections on simple sets, proximal maps, and products of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NONE, BOX, SIMPLEX, BALL, L1, CUSTOM = range(6)
NAMES = ("none", "box", "simplex", "l2_ball", "l1", "custom")


class ResolventData(NamedTuple):
    """A resolvent as arrays, for compiled loops: one entry a block, and bounds a coordinate."""

    kinds: Ints
    starts: Ints
    stops: Ints
    radii: Array
    lower: Array
    upper: Array


@dataclass(frozen=True)
class _Block:
    kind: int
    size: int | None = None
    radius: float = 1.0
    lower: float | Array = -math.inf
    upper: float | Array = math.inf
    function: Callable[[Array, float], Array] | None = None


@dataclass(frozen=True)
class Resolvent:
    """The resolvent of a constraint or regulariser G; called as `J(x, step)` it gives `J_{step G}(x)`, shape as x.

    Made by `none`, `simplex`, `box`, `l2_ball`, `l1`, `custom` and `product`. A size may be left out where the problem tells it:
    alone always, in a product for at most one factor.

    >>> J = Resolvent.product(Resolvent.simplex(2), Resolvent.box(-1, 1, size=2))
    >>> J(np.array([1.0, 3.0, -5.0, 0.5]), 1.0)
    array([ 0. ,  1. , -1. ,  0.5])
    >>> Resolvent.l1(0.5)(np.array([2.0, -0.3]), 1.0)
    array([1.5, 0. ])
    """

    blocks: tuple[_Block, ...] = field(repr=False)

    # ------------------------------------------------------------ making

    @staticmethod
    def none(size: int | None = None) -> Resolvent:
        """G = 0: the identity."""
        return Resolvent((_Block(NONE, _size(size)),))

    @staticmethod
    def simplex(size: int | None = None, radius: float = 1.0) -> Resolvent:
        """Projection on `{x >= 0, sum x = radius}`; O(n log n), exact."""
        return Resolvent((_Block(SIMPLEX, _size(size), _positive("radius", radius)),))

    @staticmethod
    def box(lower: float | npt.ArrayLike = 0.0, upper: float | npt.ArrayLike = 1.0, size: int | None = None) -> Resolvent:
        """Projection on `[lower, upper]`, numbers or one a coordinate; infinite bounds are allowed."""
        try:
            lo, hi = np.asarray(lower, float), np.asarray(upper, float)
        except (TypeError, ValueError) as error:
            raise TypeError(f"lower and upper must be numbers, or arrays of them: {error}") from None
        if np.isnan(lo).any() or np.isnan(hi).any():
            raise ValueError("lower and upper must not hold NaN: use -inf and inf for no bound")
        if lo.ndim > 1 or hi.ndim > 1:
            raise ValueError("lower and upper must be numbers or have shape (size,)")
        shapes = {b.size for b in (lo, hi) if b.ndim} | ({_size(size)} if size is not None else set())
        if len(shapes) > 1:
            raise ValueError(f"lower, upper and size disagree on the number of coordinates: {sorted(s for s in shapes if s is not None)}")
        if (lo > hi).any():
            raise ValueError("lower is above upper in a coordinate: the box is empty")
        return Resolvent((_Block(BOX, shapes.pop() if shapes else None, 1.0, lo.copy(), hi.copy()),))

    @staticmethod
    def l2_ball(radius: float = 1.0, size: int | None = None) -> Resolvent:
        """Projection on `{|x|_2 <= radius}`."""
        return Resolvent((_Block(BALL, _size(size), _positive("radius", radius)),))

    @staticmethod
    def l1(lam: float, size: int | None = None) -> Resolvent:
        """G = subdifferential of `lam |x|_1`: soft thresholding at `step * lam`."""
        return Resolvent((_Block(L1, _size(size), _positive("lam", lam)),))

    @staticmethod
    def custom(function: Callable[[Array, float], Array], size: int | None = None) -> Resolvent:
        """A resolvent of one's own, `function(x, step)`; loops with it run in Python, not compiled."""
        if not callable(function):
            raise TypeError(f"function is {function!r}: something callable as function(x, step) is needed")
        return Resolvent((_Block(CUSTOM, _size(size), function=function),))

    @staticmethod
    def product(*factors: Resolvent) -> Resolvent:
        """Each factor on its own consecutive coordinates, in order."""
        if not factors:
            raise ValueError("product needs at least one factor")
        wrong = [f for f in factors if not isinstance(f, Resolvent)]
        if wrong:
            raise TypeError(f"product takes resolvents, not {wrong[0]!r}")
        blocks = tuple(b for f in factors for b in f.blocks)
        if sum(b.size is None for b in blocks) > 1:
            raise ValueError("product: at most one factor may leave out its size, e.g. simplex(5)")
        return Resolvent(blocks)

    # ------------------------------------------------------------ using

    def bind(self, dim: int) -> Resolvent:
        """The same with every size filled in.

        Raises:
            ValueError: the sizes do not add up to `dim`.
        """
        known = sum(b.size or 0 for b in self.blocks)
        open_ = [b for b in self.blocks if b.size is None]
        if known > dim or (not open_ and known != dim) or (open_ and known == dim):
            raise ValueError(f"G covers {known}{' and more' if open_ else ''} coordinates, the operator has {dim}: give sizes that add up")
        return Resolvent(tuple(replace(b, size=dim - known) if b.size is None else b for b in self.blocks))

    def __call__(self, x: Array, step: float = 1.0) -> Array:
        bound = self if all(b.size is not None for b in self.blocks) and self.dim == len(x) else self.bind(len(x))
        out, at = np.array(x, float), 0
        for b in bound.blocks:
            assert b.size is not None
            out[at : at + b.size] = _apply(b, out[at : at + b.size], step)
            at += b.size
        return out

    @property
    def dim(self) -> int:
        """Coordinates that sizes are known of."""
        return sum(b.size or 0 for b in self.blocks)

    @property
    def is_identity(self) -> bool:
        """Whether G = 0, so that the residual is the operator's norm."""
        return all(b.kind == NONE for b in self.blocks)

    def data(self) -> ResolventData | None:
        """Arrays for the compiled loops; None where a factor is the user's own."""
        if any(b.kind == CUSTOM or b.size is None for b in self.blocks):
            return None
        sizes = [b.size or 0 for b in self.blocks]
        stops = np.cumsum(sizes).astype(np.int64)
        full = [np.broadcast_to(np.asarray(v, float), s) for b, s in zip(self.blocks, sizes) for v in (b.lower, b.upper)]
        return ResolventData(np.array([b.kind for b in self.blocks], np.int64), stops - np.array(sizes, np.int64), stops,
                             np.array([b.radius for b in self.blocks]), np.concatenate(full[::2]), np.concatenate(full[1::2]))

    def __repr__(self) -> str:
        return "Resolvent(" + " x ".join(f"{NAMES[b.kind]}({'' if b.size is None else b.size})" for b in self.blocks) + ")"


def project_simplex(x: Array, radius: float = 1.0) -> Array:
    """Euclidean projection on `{z >= 0, sum z = radius}`, shape as x; by sorting, O(n log n), exact.

    >>> project_simplex(np.array([0.5, 1.5]))
    array([0., 1.])
    """
    if not np.isfinite(x).all():
        return np.full(x.shape, math.nan)
    ordered = np.sort(x)[::-1]
    top = ordered[0]
    ordered = ordered - top  # the radius must not be lost beside large entries
    thresholds = (np.cumsum(ordered) - radius) / np.arange(1, len(x) + 1)
    tau = thresholds[np.flatnonzero(ordered > thresholds)[-1]]
    return np.asarray(np.maximum(x - top - tau, 0.0))


def _apply(b: _Block, x: Array, step: float) -> Array:
    match b.kind:
        case 1:
            return np.clip(x, b.lower, b.upper)
        case 2:
            return project_simplex(x, b.radius)
        case 3:
            length = float(np.linalg.norm(x))
            return x if length <= b.radius else x * (b.radius / length)
        case 4:
            return np.asarray(x - np.clip(x, -step * b.radius, step * b.radius))
        case 5:
            assert b.function is not None
            found = np.asarray(b.function(x.copy(), step), float)
            if found.shape != x.shape:
                raise ValueError(f"the custom resolvent gave shape {found.shape}, not {x.shape}")
            return found
    return x


def _size(size: int | None) -> int | None:
    if size is not None and (isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1):
        raise ValueError(f"size is {size!r}: a number of coordinates from 1 up is needed")
    return None if size is None else int(size)


def _positive(name: str, number: float) -> float:
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} is {number!r}: a finite number above 0 is needed")
    return float(number)
