"""How sure a row is: Gaussian posteriors of its factor (and bias), the other factor held.

With noise of variance s^2 and a ridge, which is a normal prior of variance `s^2 / ridge`, the unknowns of row i are normal around their
ridge solution with covariance `s^2 (A' W A + ridge I)^-1`: Bayesian linear regression (Bishop, Pattern Recognition and Machine Learning,
equations 3.53 and 3.54). The uncertainty of the other factor is left out, so intervals are too narrow where columns have few entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ._observed import Index, Matrix, Side, Vector

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Posterior:
    """Covariances of the d unknowns of r rows, by their principal axes.

    Attributes:
        variances: `(r, d)`, infinite along an axis of which a row says nothing.
        axes: `(r, d, d)`, an axis a column.
    """

    variances: Array
    axes: Array

    def covariances(self, k: int) -> Array:
        """Covariance of the first k unknowns of each row, `(r, k, k)`; infinite on the diagonal where one is not known at all."""
        known = np.isfinite(self.variances)
        E = self.axes[:, :k]
        C: Array = (E * np.where(known, self.variances, 0.0)[:, None]) @ E.transpose(0, 2, 1)
        lost = (E**2 @ (~known[:, :, None]).astype(np.float64))[..., 0] > 1e-12
        rows, unknowns = np.nonzero(lost)
        C[rows, unknowns, unknowns] = np.inf
        return C

    def along(self, row: int, D: Matrix) -> Array:
        """Variances of `D x`, `(q,)`, for the unknowns x of one row; D `(q, d)`. Infinite where D needs what is not known."""
        known = np.isfinite(self.variances[row])
        P = D @ self.axes[row]
        out = np.asarray((P[:, known] ** 2) @ self.variances[row, known])
        needs = (P[:, ~known] ** 2).sum(axis=1) > 1e-12 * np.maximum((P**2).sum(axis=1), 1e-300)
        return np.where(needs, np.inf, out)


def posterior(side: Side, U: Matrix, ridge: Vector, noise: float, which: Index) -> Posterior:
    """Posteriors of the regressions `which`, given noise of standard deviation `noise`. O(m_j d^2 + d^3) each.

    Args:
        side: entries by regression, weights included.
        U: the factor held, `(m, d)`.
        ridge: of each of `which`.
    """
    d = U.shape[1]
    U = U.astype(np.float64)
    precision = np.empty((len(which), d, d))
    for at, j in enumerate(which.tolist()):
        own = slice(side.indptr[j], side.indptr[j + 1])
        A = U[side.indices[own]]
        precision[at] = (A.T * side.weights[own]) @ A if len(side.weights) else A.T @ A
    precision[:, np.arange(d), np.arange(d)] += np.asarray(ridge, dtype=np.float64)[:, None]
    values, axes = np.linalg.eigh(precision)
    told = (values > values[:, -1:] * 1e-14) & (values > 0)
    with np.errstate(over="ignore"):
        return Posterior(np.where(told, noise**2 / np.where(told, values, 1.0), np.inf), axes)


def standard_deviations(side: Side, U: Matrix, ridge: Any, noise: float, rows: Index, columns: Index) -> Array:
    """Of new observations at (rows, columns), `(q,)`: the row's posterior and the noise. Each row's posterior is found once.

    Args:
        ridge: function from masses `(r,)` to ridges `(r,)`.
    """
    asked, place = np.unique(rows, return_inverse=True)
    order = np.argsort(place, kind="stable")
    ends = np.append(np.searchsorted(place[order], np.arange(len(asked))), len(order))
    mass, out = side.mass, np.empty(len(rows))
    step = max(1, (1 << 21) // U.shape[1] ** 2)
    for first in range(0, len(asked), step):
        some = asked[first : first + step]
        found = posterior(side, U, ridge(mass[some]), noise, some)
        for at in range(len(some)):
            mine = order[ends[first + at] : ends[first + at + 1]]
            out[mine] = found.along(at, U[columns[mine]].astype(np.float64))
    return np.sqrt(noise**2 + out)


__all__ = ["Posterior", "posterior", "standard_deviations"]
