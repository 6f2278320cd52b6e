"""The best linear model of each group in hindsight, at growing prefixes of its rounds, without refitting from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

ROWS_AT_ONCE = 2_000

# Columns that depend on each other leave singular values of rounding errors, which a model must not fit.
NOT_ZERO = 1e-10


@dataclass(frozen=True, eq=False)
class Hindsight:
    """Least sums of squared errors.

    Attributes:
        at: for each group, lengths of the prefixes of its rounds.
        sse: for each group, the sum of squared errors of the best model on each prefix.
    """

    at: tuple[Integers, ...]
    sse: tuple[Array, ...]


def best_in_hindsight(X: npt.ArrayLike, y: npt.ArrayLike, A: npt.ArrayLike, l2: float = 0.0, points: int = 100) -> Hindsight:
    """The error of the best linear model of each group, at growing prefixes of the group's rounds.

    Args:
        X: features `(T, d)`.
        y: labels `(T,)`.
        A: memberships `(T, G)`, 0 or 1.
        l2: weight of a ridge penalty on the model; its error is counted without the penalty.
        points: how many prefixes a group; the last is all of its rounds.

    Returns:
        prefixes and errors by group; empty for a group without rounds.

    A triangular factor of the rows so far takes in the next rows by QR, so that all prefixes together cost O(T d^2 + points d^3) a group
    and no condition number is squared. Columns that depend on each other (one-hot features) are no trouble.

    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.standard_normal((50, 3)), rng.standard_normal(50)
    >>> found = best_in_hindsight(X, y, np.ones((50, 1)), points=5)
    >>> found.at[0].tolist()
    [10, 20, 30, 40, 50]
    >>> bool(np.isclose(found.sse[0][-1], np.linalg.lstsq(X, y, rcond=None)[1][0]))
    True
    """
    rows, labels, member = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64), np.asarray(A)
    if rows.ndim != 2 or labels.shape != (len(rows),) or member.ndim != 2 or len(member) != len(rows):
        raise ValueError(f"X has the shape {rows.shape}, y {labels.shape}, A {member.shape}: (T, d), (T,) and (T, G) are needed")
    if not (np.isfinite(rows).all() and np.isfinite(labels).all()):
        raise ValueError("X and y must be finite: impute or drop rows first")
    if not l2 >= 0:
        raise ValueError(f"l2 is {l2}: 0 or more")
    if points < 1:
        raise ValueError(f"points is {points}: 1 at least")
    at, sse = [], []
    for g in range(member.shape[1]):
        mine = member[:, g].astype(bool)
        ends = prefixes(int(mine.sum()), points)
        at.append(ends)
        sse.append(prefix_errors(rows[mine], labels[mine], ends.tolist(), l2))
    return Hindsight(tuple(at), tuple(sse))


def prefixes(length: int, points: int) -> Integers:
    """At most `points` evenly spaced prefix lengths that end with the whole."""
    if length == 0:
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.linspace(length / min(points, length), length, min(points, length)).round().astype(np.int64))


def prefix_errors(X: Array, y: Array, ends: Sequence[int], l2: float = 0.0) -> Array:
    """Sum of squared errors of the best linear model on the first `n` rows, for each `n` of the growing `ends`."""
    d = X.shape[1]
    R, out, start = np.zeros((0, d + 1)), np.empty(len(ends)), 0
    for i, end in enumerate(ends):
        for low in range(start, end, ROWS_AT_ONCE):
            high = min(low + ROWS_AT_ONCE, end)
            R = np.asarray(np.linalg.qr(np.vstack([R, np.column_stack([X[low:high], y[low:high]])]), mode="r"))
        start = end
        out[i] = _least_squares(R, d, l2)
    return out


def _least_squares(R: Array, d: int, l2: float) -> float:
    """Residual sum of squares of the model that minimises `|R theta - r|^2 + l2 |theta|^2`."""
    if len(R) == 0:
        return 0.0
    left, right = R[:, :d], R[:, d]
    if l2 > 0:
        system, target = np.vstack([left, np.sqrt(l2) * np.eye(d)]), np.append(right, np.zeros(d))
    else:
        system, target = left, right
    theta = scipy.linalg.lstsq(system, target, cond=NOT_ZERO, lapack_driver="gelsy", check_finite=False)[0]
    return float(np.square(left @ theta - right).sum())


__all__ = ["Hindsight", "best_in_hindsight", "prefix_errors", "prefixes"]
