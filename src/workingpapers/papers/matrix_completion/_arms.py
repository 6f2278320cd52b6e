"""What the claim on real data compares: ours, the implementations and imputers that people use, and means.

Each takes entries to learn from and a seed, and gives values of the entries asked for.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import config_context
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  (before the line below)
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.linear_model import Ridge

from ._completer import RobustALSCompleter
from ._observed import observe
from ._simulate import Triplets

Values = npt.NDArray[Any]

RANK, SWEEPS, RIDGE = 40, 10, 0.1
"""cmfrec's default rank; the ridge is times the number of entries of each row and column, the same for every arm that takes one."""

NEIGHBOURS, SHRINKAGE, ROUNDS = 20, 100.0, 3
"""Settings of scikit-learn's imputers, of 5, 20, 80, of 1, 10, 100, 1000 and of 3, 5, 10: chosen on entries set aside to choose by."""


@dataclass(frozen=True)
class Split:
    """Entries to learn from and entries to predict."""

    train: Triplets
    rows: Values
    cols: Values
    vals: npt.NDArray[np.float64]

    def rmse(self, predicted: Values) -> float:
        return float(np.sqrt(np.mean((predicted - self.vals) ** 2)))

    @property
    def table(self) -> npt.NDArray[np.float64]:
        """The entries to learn from as a table, NaN elsewhere."""
        r, c, v, shape = self.train
        X = np.full(shape, np.nan)
        X[r, c] = v
        return X


def split_entries(X: Any, rng: np.random.Generator, held_out: float = 0.1) -> Split:
    """Entries of X, in any form that `RobustALSCompleter.fit` takes, in two parts.

    Predicted are those of the share `held_out` whose row and column have others to learn from.
    """
    observed = observe(X)
    r, c, v = observed.triplets
    aside = rng.random(len(v)) < held_out
    asked = aside & np.isin(r, r[~aside]) & np.isin(c, c[~aside])
    return Split((r[~aside], c[~aside], v[~aside], observed.shape), r[asked], c[asked], v[asked])


def rank_for(shape: tuple[int, int]) -> int:
    """40, or half of the smaller side."""
    return min(RANK, min(shape) // 2)


def als(data: Split, seed: int, solver: Any) -> Values:
    """Ours by one of its solvers, from a random start as cmfrec's."""
    model = RobustALSCompleter(rank_for(data.train[3]), solver=solver, reg=RIDGE, scale_reg=True, fit_bias=True, tol=0, max_iter=SWEEPS,
                               init="random", n_jobs=1, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fixed number of sweeps
        model.fit(data.train)
    return np.asarray(model.predict(data.rows, data.cols))


def cmfrec(data: Split, seed: int) -> Values | None:
    """cmfrec's, with its conjugate gradients, in double precision; None where it is not installed."""
    try:
        from cmfrec import CMF
    except ImportError:
        return None
    import scipy.sparse as sp

    r, c, v, shape = data.train
    model = CMF(k=rank_for(shape), lambda_=RIDGE, scale_lam=True, niter=SWEEPS, use_cg=True, use_float=False, nthreads=1,
                precompute_for_predictions=False, verbose=False, random_state=seed + 1)
    model.fit(sp.coo_matrix((v, (r, c)), shape=shape))
    return np.asarray(model.predict(data.rows, data.cols))


def surprise(data: Split, seed: int) -> Values | None:
    """scikit-surprise's SVD by stochastic gradients, with its own defaults; None where it is not installed."""
    try:
        from surprise import SVD, Dataset, Reader
    except ImportError:
        return None
    r, c, v, shape = data.train
    reader = Reader(rating_scale=(float(v.min()), float(v.max())))
    table = Dataset(reader).construct_trainset([(i, j, x, None) for i, j, x in zip(r.tolist(), c.tolist(), v.tolist())])
    model = SVD(n_factors=rank_for(shape), random_state=seed).fit(table)
    return np.array([model.predict(i, j).est for i, j in zip(data.rows.tolist(), data.cols.tolist())])


def neighbours(data: Split, seed: int, n_neighbors: int = NEIGHBOURS) -> Values:
    """scikit-learn's KNNImputer, neighbours weighted by nearness. It makes the table dense: O(m^2 n) operations."""
    filled = KNNImputer(n_neighbors=n_neighbors, weights="distance", keep_empty_features=True).fit_transform(data.table)
    return np.asarray(filled[data.rows, data.cols])


def iterative(data: Split, seed: int, alpha: float = SHRINKAGE, rounds: int = ROUNDS) -> Values:
    """scikit-learn's IterativeImputer: each column by ridge regression on all others, in rounds; values stay in the range seen.

    It makes the table dense. Ridge of a fixed strength in place of the default BayesianRidge, which overfits where columns outnumber rows
    seen; its rounds end before they settle, as the number of sweeps of the other arms is fixed.
    """
    v = data.train[2]
    model = IterativeImputer(Ridge(alpha=alpha), max_iter=rounds, min_value=float(v.min()), max_value=float(v.max()),
                             keep_empty_features=True, random_state=seed)
    with warnings.catch_warnings(), config_context(assume_finite=True, skip_parameter_validation=True):
        warnings.simplefilter("ignore")  # a fixed number of rounds
        filled = model.fit_transform(data.table)
    return np.asarray(filled[data.rows, data.cols])


def by_means(data: Split, seed: int) -> Values:
    """Mean, and what rows and columns differ from it by in the mean."""
    r, c, v, (m, n) = data.train
    mean = v.mean()
    row = np.bincount(r, v - mean, m) / np.maximum(np.bincount(r, minlength=m), 1)
    column = np.bincount(c, v - mean - row[r], n) / np.maximum(np.bincount(c, minlength=n), 1)
    return np.asarray(mean + row[data.rows] + column[data.cols])


__all__ = ["NEIGHBOURS", "RANK", "RIDGE", "ROUNDS", "SHRINKAGE", "SWEEPS", "Split", "als", "by_means", "cmfrec", "iterative", "neighbours",
           "rank_for", "split_entries", "surprise"]
