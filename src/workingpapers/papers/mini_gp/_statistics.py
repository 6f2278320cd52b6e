"""What of many observations is kept: count, average and spread of each distinct point; and checks of what comes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
GRID_LIMIT = 2.0**62


@dataclass(frozen=True)
class Groups:
    """Statistics of g points: `x` (g, d), `count`, `average` and `squares` (sum of squared deviations), each (g,)."""

    x: Array
    count: Array
    average: Array
    squares: Array

    def take(self, which: npt.NDArray[Any]) -> Groups:
        """The groups picked by a mask or by indices."""
        return Groups(self.x[which], self.count[which], self.average[which], self.squares[which])


def check_points(x: npt.ArrayLike, dim: int | None, name: str) -> Array:
    """`x` as a finite array `(n, d)` with d = `dim` columns where that is known; ValueError naming it otherwise."""
    points = np.asarray(x, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(f"{name} must have the shape (n, d), not {points.shape}")
    if dim is not None and points.shape[1] != dim:
        raise ValueError(f"{name} has {points.shape[1]} columns, where earlier points have {dim}")
    if points.shape[1] == 0:
        raise ValueError(f"{name} has no columns")
    if not np.all(np.isfinite(points)):
        raise ValueError(f"{name} holds NaN or infinity")
    return points


def check_observations(y: npt.ArrayLike) -> Array:
    """`y` as a finite array `(b,)`, b >= 1; ValueError otherwise."""
    try:
        values = np.atleast_1d(np.asarray(y, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ValueError(f"y must be a number or a list of numbers, not {y!r}") from error
    if values.ndim != 1 or not len(values):
        raise ValueError(f"y must be one number or a list of at least one, not of shape {values.shape}")
    if not np.all(np.isfinite(values)):
        raise ValueError("y holds NaN or infinity: leave failed evaluations out, or give them a finite value")
    return values


def row_key(x: Array, resolution: float) -> bytes:
    """A point's name on the grid of step `resolution`: equal for inputs that differ only by rounding."""
    return _on_grid(x, resolution).tobytes()


def group_rows(x: Array, y: Array, resolution: float) -> Groups:
    """Collapse rows `x` (T, d) with observations `y` (T,) to their distinct points, in order of first appearance."""
    first, label = _distinct(_on_grid(x, resolution))
    count = np.bincount(label).astype(np.float64)
    average = np.bincount(label, weights=y) / count
    squares = np.bincount(label, weights=np.square(y - average[label])).astype(np.float64)
    return Groups(x[first], count, average, squares)


def _on_grid(x: Array, resolution: float) -> npt.NDArray[np.int64]:
    with np.errstate(over="ignore"):
        steps = np.rint(x / resolution)
    if steps.size and np.abs(steps).max() > GRID_LIMIT:
        raise ValueError(f"x reaches {np.abs(x).max():g}, too large for a resolution of {resolution:g}: rescale x or raise resolution")
    return steps.astype(np.int64)


def _distinct(grid: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First row of each distinct row, in order of appearance, and for each row the number of its group.

    Rows are sorted by a 64-bit mix of their coordinates, which is an order faster than sorting rows; should two
    different rows share a mix, rows themselves are sorted.
    """
    mix = np.zeros(len(grid), dtype=np.uint64)
    for column in grid.T:
        mix = (mix ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mix ^= mix >> np.uint64(29)
    _, first, label = np.unique(mix, return_index=True, return_inverse=True)
    if not np.array_equal(grid[first[label]], grid):
        _, first, label = np.unique(grid, axis=0, return_index=True, return_inverse=True)
        label = label.reshape(-1)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[label]
