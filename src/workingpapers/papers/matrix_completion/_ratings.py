"""Ratings as tables have them: one row a rating, with the ids of who and what."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from ._completer import RobustALSCompleter

Values = npt.NDArray[Any]


class RatingsRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """Predicts a rating from the pair of ids it belongs to, so that scikit-learn's tools split, search and score single ratings.

    Biases and factors by `RobustALSCompleter`. Ids may be numbers or texts; one that was never seen gets the mean and the other's bias.

    Args:
        rank, reg, solver, tol, max_iter, loss, n_jobs, random_state: as for `RobustALSCompleter`; the ridge is times the number of
            ratings when `scale_reg`.
        clip: predictions stay within the lowest and the highest rating seen.

    Attributes:
        completer_: the model.
        users_, items_: ids of its rows and columns, sorted.

    Example:
        >>> import numpy as np
        >>> from sklearn.model_selection import GridSearchCV
        >>> rng = np.random.default_rng(0)
        >>> pairs = np.unique(rng.integers(60, size=(4_000, 2)), axis=0)
        >>> U, V = rng.normal(size=(2, 60, 2))
        >>> y = 3 + (U[pairs[:, 0]] * V[pairs[:, 1]]).sum(axis=1) + 0.1 * rng.normal(size=len(pairs))
        >>> search = GridSearchCV(RatingsRegressor(reg=0.02), {"rank": [1, 2, 5]}, scoring="neg_root_mean_squared_error", cv=3)
        >>> search.fit(pairs, y).best_params_
        {'rank': 2}
    """

    users_: Values
    items_: Values
    completer_: RobustALSCompleter
    range_: tuple[float, float]

    def __init__(self, rank: int = 10, *, reg: float = 0.1, scale_reg: bool = True, solver: Any = "auto", tol: float = 1e-3,
                 max_iter: int = 30, loss: Any = "squared", clip: bool = True, n_jobs: int | None = 1, random_state: Any = 0) -> None:
        self.rank = rank
        self.reg = reg
        self.scale_reg = scale_reg
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.loss = loss
        self.clip = clip
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit ratings y, `(N,)`, of pairs X, `(N, 2)`: an array or a data frame with user and item ids.

        Raises:
            ValueError: other shapes, missing ids, ratings that are not finite, a pair rated twice.
            TypeError: ids that are neither all numbers nor all texts.
        """
        import warnings

        from sklearn.exceptions import ConvergenceWarning

        users, items = self._pairs(X)
        y = np.asarray(y, dtype=np.float64)
        if y.shape != users.shape:
            raise ValueError(f"y has shape {y.shape}, X has {len(users)} pairs: one rating each is needed")
        if not np.isfinite(y).all():
            raise ValueError("y must be finite: leave out pairs whose rating is not known")
        self.users_, rows = np.unique(users, return_inverse=True)
        self.items_, columns = np.unique(items, return_inverse=True)
        shape = (len(self.users_), len(self.items_))
        self.completer_ = RobustALSCompleter(self.rank, solver=self.solver, tol=self.tol, max_iter=self.max_iter, reg=self.reg,
                                             scale_reg=self.scale_reg, fit_bias=True, loss=self.loss, n_jobs=self.n_jobs,
                                             random_state=self.random_state)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of sweeps is usual for ratings
            self.completer_.fit((rows, columns, y, shape), sample_weight=sample_weight)
        self.range_ = float(y.min()), float(y.max())
        self.n_features_in_ = 2
        return self

    def predict(self, X: Any) -> Values:
        """Ratings of pairs, `(q,)`.

        Raises:
            TypeError: texts where ids were numbers, or the other way.
        """
        check_is_fitted(self, "completer_")
        users, items = self._pairs(X)
        (rows, has_user), (columns, has_item) = _find("user", self.users_, users), _find("item", self.items_, items)
        model, both = self.completer_, has_user & has_item
        out = model.mean_ + np.where(has_user, model.row_bias_[rows], 0) + np.where(has_item, model.column_bias_[columns], 0)
        out[both] = model.predict(rows[both], columns[both])
        return np.clip(out, *self.range_) if self.clip else out

    @staticmethod
    def _pairs(X: Any) -> tuple[Values, Values]:
        if hasattr(X, "iloc"):
            if X.shape[1] != 2:
                raise ValueError(f"X has {X.shape[1]} columns: two are needed, ids of users and of items")
            if X.isna().to_numpy().any():
                raise ValueError("X has missing ids: drop their rows")
            return _ids("user", X.iloc[:, 0]), _ids("item", X.iloc[:, 1])
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != 2 or len(X) == 0:
            raise ValueError(f"X has shape {X.shape}: pairs (N, 2) of user and item ids are needed")
        return _ids("user", X[:, 0]), _ids("item", X[:, 1])


def _ids(name: str, given: Any) -> Values:
    """Ids as numbers or as texts."""
    ids = np.asarray(given)
    if ids.dtype.kind == "O":
        if all(isinstance(x, str) for x in ids):
            return ids.astype(str)
        try:
            ids = np.array(ids.tolist())
        except ValueError:
            ids = np.empty(0, object)
    if ids.dtype.kind not in "iufUS" or (ids.dtype.kind in "US" and np.asarray(given).dtype.kind == "O"):
        raise TypeError(f"{name} ids must be all numbers or all texts")
    if ids.dtype.kind == "f" and not np.isfinite(ids).all():
        raise ValueError(f"X has {name} ids that are NaN or infinite: drop their rows")
    return ids


def _find(name: str, known: Values, wanted: Values) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    if (known.dtype.kind in "US") != (wanted.dtype.kind in "US"):
        raise TypeError(f"{name} ids are {wanted.dtype}, but were {known.dtype} in the ratings fitted")
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return at, known[at] == wanted


__all__ = ["RatingsRegressor"]
