"""A joint Gaussian conditioned on one row after another, compiled: the oracle for more rows than fit a matrix."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def condition(mean: Array, covariance: Array, which: npt.NDArray[np.int64], y: Array, noise: float) -> None:
    """Condition a joint Gaussian on one row after another, in place; O(size^2) a row."""
    size = len(mean)
    column = np.empty(size)
    for t in range(len(y)):
        i = which[t]
        column[:] = covariance[:, i]
        scale = 1.0 / (noise + column[i])
        gain = scale * (y[t] - mean[i])
        for a in range(size):
            mean[a] += gain * column[a]
            f = scale * column[a]
            for b in range(size):
                covariance[a, b] -= f * column[b]
