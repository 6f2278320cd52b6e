"""Compiled updates of a lower Cholesky factor: what keeps an append or a repeat at O(q^2)."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Factor = npt.NDArray[np.floating[Any]]


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def lower_diagonal(factor: Factor, q: int, i: int, drop: float, work: Factor) -> bool:
    """Turn the factor of S into that of `S - drop e_i e_i'`, in place; O((q - i)^2).

    Hyperbolic rotations of the rows below i, in the mixed form that is backward stable. `work` holds q numbers.
    Returns False when S - drop e_i e_i' is not positive definite in this arithmetic; the factor is spoilt then.
    """
    for row in range(i, q):
        work[row] = 0.0
    work[i] = np.sqrt(drop)
    for k in range(i, q):
        pivot = factor[k, k]
        x = work[k]
        left = (pivot - x) * (pivot + x)
        if not left > 0.0:
            return False
        new = np.sqrt(left)
        c = new / pivot
        s = x / pivot
        factor[k, k] = new
        for row in range(k + 1, q):
            factor[row, k] = (factor[row, k] - s * work[row]) / c
            work[row] = c * work[row] - s * factor[row, k]
    return True
