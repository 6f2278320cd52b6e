"""What can be chosen from: a finite set of arms, or a box of real, whole and categorical dimensions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ._statistics import Array, check_points, row_key

ENUMERATE_UP_TO = 5_000
GRID = 1e-9


@dataclass(frozen=True)
class Real:
    """A real dimension from `low` to `high`; on a log scale when `log`."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"space: the bounds ({self.low}, {self.high}) need two finite numbers, low before high")
        if self.log and self.low <= 0:
            raise ValueError(f"space: a log scale from {self.low} is not possible: low must be positive")

    width = 1

    def encode(self, value: Any) -> list[float]:
        number = _number(value, "space")
        slack = 1e-9 * (self.high - self.low)
        if not self.low - slack <= number <= self.high + slack:
            raise ValueError(f"x: {number} lies outside [{self.low}, {self.high}]")
        low, high, at = (math.log(v) for v in (self.low, self.high, number)) if self.log else (self.low, self.high, number)
        return [min(1.0, max(0.0, (at - low) / (high - low)))]

    def decode(self, unit: Sequence[float] | Array) -> Any:
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return min(self.high, max(self.low, math.exp(low + unit[0] * (high - low))))
        return self.low + unit[0] * (self.high - self.low)

    def snap(self, unit: Array) -> Array:
        return np.clip(unit, 0.0, 1.0)


@dataclass(frozen=True)
class Integer:
    """A dimension of whole numbers from `low` to `high`, both included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"space: the whole numbers from {self.low} to {self.high} need low before high")

    width = 1

    def encode(self, value: Any) -> list[float]:
        number = _number(value, "space")
        if number != round(number) or not self.low <= number <= self.high:
            raise ValueError(f"x: {value!r} is not a whole number from {self.low} to {self.high}")
        return [(number - self.low) / (self.high - self.low)]

    def decode(self, unit: Sequence[float] | Array) -> Any:
        return round(self.low + unit[0] * (self.high - self.low))

    def snap(self, unit: Array) -> Array:
        span = self.high - self.low
        return np.rint(np.clip(unit, 0.0, 1.0) * span) / span

    @property
    def values(self) -> list[Any]:
        return list(range(self.low, self.high + 1))


@dataclass(frozen=True)
class Categorical:
    """A choice among unordered `categories`, one-hot inside: there a squared-exponential kernel counts mismatches."""

    categories: tuple[Any, ...]

    def __init__(self, categories: Iterable[Any]) -> None:
        object.__setattr__(self, "categories", tuple(categories))
        if not self.categories or len(set(self.categories)) < len(self.categories):
            raise ValueError(f"space: the categories {self.categories} must be there and differ")

    @property
    def width(self) -> int:
        return len(self.categories)

    def encode(self, value: Any) -> list[float]:
        if value not in self.categories:
            raise ValueError(f"x: {value!r} is not among the categories {self.categories}")
        return [float(c == value) / math.sqrt(2) for c in self.categories]

    def decode(self, unit: Sequence[float] | Array) -> Any:
        return self.categories[int(np.argmax(unit))]

    def snap(self, unit: Array) -> Array:
        one = np.zeros_like(unit)
        np.put_along_axis(one, np.argmax(unit, axis=-1)[..., None], 1 / math.sqrt(2), axis=-1)
        return one

    @property
    def values(self) -> list[Any]:
        return list(self.categories)


Dimension = Real | Integer | Categorical


class FiniteSpace:
    """`A` arms, each a vector of d numbers. A candidate is its row number."""

    def __init__(self, arms: npt.ArrayLike, labels: list[list[Any]] | None = None) -> None:
        self.arms = check_points(arms, None, "space")
        if not len(self.arms):
            raise ValueError("space: the set of candidates is empty")
        self.labels = labels
        self._index = {row_key(x, GRID): i for i, x in reversed(list(enumerate(self.arms)))}

    def find(self, x: Any, dimensions: BoxSpace | None = None) -> tuple[int | None, Array]:
        """Row number of a candidate given by number or by coordinates (None when it is not in the set), and its vector."""
        if isinstance(x, int | np.integer) and not isinstance(x, bool):
            if not 0 <= x < len(self.arms):
                raise ValueError(f"x is arm {x}: there are {len(self.arms)} arms, numbered from 0")
            return int(x), self.arms[x]
        vector = _vector(x, self.arms.shape[1])
        return self._index.get(row_key(vector, GRID)), vector


class BoxSpace:
    """A product of dimensions, encoded in `[0, 1]^d` (categories one-hot)."""

    def __init__(self, dimensions: Sequence[Dimension]) -> None:
        if not dimensions:
            raise ValueError("space: the list of dimensions is empty")
        self.dimensions = tuple(dimensions)
        self.width = sum(d.width for d in self.dimensions)
        self.is_real = all(isinstance(d, Real) for d in self.dimensions)
        self.is_numeric = not any(isinstance(d, Categorical) for d in self.dimensions)
        self.free = np.concatenate([np.full(d.width, isinstance(d, Real)) for d in self.dimensions])

    def encode(self, x: Any) -> Array:
        """A point `(d,)` in the user's units as a vector of the unit cube."""
        if np.ndim(x) != 1 or len(x) != len(self.dimensions):
            raise ValueError(f"x must have {len(self.dimensions)} coordinates, not {np.size(x)}")
        parts = [np.asarray(d.encode(v)) for d, v in zip(self.dimensions, x)]
        return np.round(np.concatenate(parts), 9)

    def decode(self, unit: Array) -> Any:
        """The user's units: an array `(d,)` where all dimensions are numbers, else a list."""
        out, start = [], 0
        for d in self.dimensions:
            out.append(d.decode(unit[start : start + d.width]))
            start += d.width
        return np.array(out, dtype=np.float64) if self.is_numeric else out

    def snap(self, units: Array) -> Array:
        """The nearest points that the dimensions allow, `(m, width)`."""
        out, start = [], 0
        for d in self.dimensions:
            out.append(d.snap(units[:, start : start + d.width]))
            start += d.width
        return np.asarray(np.round(np.concatenate(out, axis=1), 9))

    def enumerate(self) -> FiniteSpace | None:
        """All points as a finite set, where there are few and no dimension is real."""
        if any(isinstance(d, Real) for d in self.dimensions):
            return None
        choices = [d.values for d in self.dimensions if not isinstance(d, Real)]
        if math.prod(len(c) for c in choices) > ENUMERATE_UP_TO:
            return None
        labels = [list(point) for point in itertools.product(*choices)]
        return FiniteSpace(np.array([self.encode(point) for point in labels]), labels)


def as_space(space: Any) -> FiniteSpace | BoxSpace:
    """Read a space: an array `(A, d)` of arms, a list of bounds or dimensions, or a scikit-optimize `Space`.

    A pair of numbers in a list is a real interval, whole numbers included; `Integer`, `Categorical` and `Real(log=True)` say otherwise.

    Raises:
        ValueError: an empty set, bounds that are not two finite numbers in order, an array that is not `(A, d)`.
    """
    if isinstance(space, FiniteSpace | BoxSpace):
        return space
    if isinstance(space, np.ndarray):
        return FiniteSpace(space)
    if hasattr(space, "dimensions"):
        return BoxSpace([from_skopt(d) for d in space.dimensions])
    if not isinstance(space, Sequence) or isinstance(space, str):
        raise ValueError(f"space must be an array (A, d), a list of bounds or a scikit-optimize Space, not {type(space).__name__}")
    return BoxSpace([_dimension(d) for d in space])


def from_skopt(dimension: Any) -> Dimension:
    """A dimension in the way scikit-optimize writes it.

    Two whole numbers are an `Integer`, two numbers a `Real`, three items with a prior name its scale, other lists are
    categories; objects are read by their attributes.
    """
    if isinstance(dimension, Real | Integer | Categorical):
        return dimension
    if hasattr(dimension, "categories"):
        return Categorical(dimension.categories)
    if hasattr(dimension, "low") and hasattr(dimension, "high"):
        if isinstance(dimension.low, int | np.integer) and "Integer" in type(dimension).__name__:
            return Integer(int(dimension.low), int(dimension.high))
        return Real(float(dimension.low), float(dimension.high), getattr(dimension, "prior", "uniform") == "log-uniform")
    items = list(dimension)
    if len(items) == 3 and items[2] in ("uniform", "log-uniform") and _is_number(items[0]):
        return Real(float(items[0]), float(items[1]), items[2] == "log-uniform")
    if len(items) == 2 and all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in items):
        return Integer(int(items[0]), int(items[1]))
    if len(items) == 2 and all(_is_number(v) for v in items):
        return Real(float(items[0]), float(items[1]))
    return Categorical(items)


def _dimension(dimension: Any) -> Dimension:
    if isinstance(dimension, Real | Integer | Categorical):
        return dimension
    if isinstance(dimension, Sequence | np.ndarray) and len(dimension) == 2 and all(_is_number(v) for v in dimension):
        return Real(float(dimension[0]), float(dimension[1]))
    if hasattr(dimension, "low") or hasattr(dimension, "categories"):
        return from_skopt(dimension)
    raise ValueError(f"space: {dimension!r} is neither a pair of bounds nor a dimension (Real, Integer, Categorical)")


def _vector(x: Any, dim: int) -> Array:
    try:
        vector = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"x must be {dim} numbers, not {x!r}") from error
    if vector.shape != (dim,):
        raise ValueError(f"x must have the shape ({dim},), not {vector.shape}")
    if not np.all(np.isfinite(vector)):
        raise ValueError("x holds NaN or infinity")
    return vector


def _number(value: Any, name: str) -> float:
    if not _is_number(value) or not np.isfinite(value):
        raise ValueError(f"x: {value!r} is not a finite number")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
