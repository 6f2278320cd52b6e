"""The estimator."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import MissingIndicator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ._alternate import Factors, Plan, alternate, incoherence, random_start, spectral_start
from ._observed import Index, Matrix, Observed, Side, Vector, is_triplets, observe
from ._posterior import Posterior, posterior, standard_deviations
from ._robust import huber_noise, huber_regressions
from ._settings import check_settings
from ._sweep import How, Sketch, Solver, half_sweep, pool
from ._watch import Bar, Best

LARGEST_DENSE = 1 << 30
TIGHT = 1e-12
"""Gradient left when new rows or columns are folded in, relative to that at 0."""


class RobustALSCompleter(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """Fills in a matrix of low rank from some of its entries, by alternating minimisation with approximate updates.

    An imputer for tables, a completer for sparse ratings: `M ~ U V'` (+ biases), U and V solved for in turn, each row or column a small
    least-squares problem that need only be solved roughly. One sweep over N entries costs O(N k) operations times the passes (about 3
    to 6) with approximate updates, O(N k^2) with exact ones; memory is O(N + (m + n) k).

    Args:
        rank: k, at most the smaller side.
        solver: how the small problems are solved.
            "cholesky": exactly, by normal equations.
            "cg": conjugate gradients from the last solution, never forming a Gram matrix.
            "cg_orth": the same in a basis where the factor held fixed is orthonormal, one QR a half-sweep: the preconditioner is shared
            by all problems (reconstructed: the theory orthonormalises its subspaces too).
            "sketch": the paper's: every problem is sketched, factorised, and iterated with that factor as preconditioner.
            "lsqr": LSQR from the last solution.
            "auto": for each problem "cholesky" or "cg_orth", whichever is expected to be sooner from its size, the rank, the accuracy
            asked for and the passes that earlier sweeps needed.
        tol: sweeps end when predictions of the observed entries move by less than this share of their size.
        max_iter: sweeps at most.
        inner_tol: accuracy of approximate updates, as the gradient left over that at 0. "adaptive": a tenth of the change that the
            predictions are expected to make next, at most 0.1 (reconstructed; the theory wants 1 / poly(k, condition number)).
        sketch_size: rows of a sketch, times the rank.
        sketch: "countsketch", "srht" (subsampled randomised Hadamard transform) or "gaussian".
        reg: ridge on both factors and biases; times the number (weight) of entries of each row or column with `scale_reg`.
        init: "svd": top singular vectors of the observed entries; "random".
        clip_mu: rows of the start longer than `2 clip_mu sqrt(k / m)` are set to 0, as in the theory; None leaves them.
        sample_split: each half-sweep sees a part of its own of the entries, as in the theory; worse in practice.
        fit_bias: a mean and a bias for each row and column beside the factors.
        n_jobs: threads; -1 all, None one.
        random_state: seed of start, sketches and splits.
        scale_reg: see `reg`.
        loss: "squared", or "huber": large residuals count linearly, by weights renewed after every sweep; new rows and columns are
            folded in under the same loss.
        huber_delta: where a residual is large; "auto": 1.345 robust standard deviations of the residuals, estimated anew each sweep.
        validation_fraction: share of the entries set aside, whose error stands in `history_`.
        early_stopping: end when that error has not fallen for 3 sweeps, and keep the factors of the sweep with the lowest.
        add_indicator: `transform` also gives columns that mark what was missing, as scikit-learn's imputers do.
        score_rows: what `score` takes the rows of a matrix for: "known", the rows fitted, or "new", as under cross-validation over rows.
        strict: a row or column without any entry is an error, not a warning.
        verbose: 1 shows a progress bar.

    Attributes:
        U_, V_: factors, `(m, k)` and `(n, k)`.
        mean_, row_bias_, column_bias_: 0 unless `fit_bias`.
        n_iter_: sweeps.
        converged_: whether `tol` was met.
        history_: a `Sweep` a sweep: rmse on entries fitted, held_out, change, seconds, flops, inner_iterations, exactly.
        incoherence_: mu of U and of V; 1 when rows are alike, k rows of n standing alone give n / k.
        subspace_change_: sine of the largest angle that U's column space moved by in the last sweep.
        noise_: standard deviation of the residuals of the entries fitted, corrected for the parameters; with Huber's loss the root of
            its asymptotic variance, into which what lies far out hardly goes.
        huber_delta_: the last one used; NaN with squared loss.
        n_features_in_: n.

    References:
        Gu, Song, Yin, Zhang. Low Rank Matrix Completion via Robust Alternating Minimization in Nearly Linear Time. ICLR 2024.
        Jain, Netrapalli, Sanghavi. Low-rank matrix completion using alternating minimization. STOC 2013: the scheme and its start.
        Kelner, Li, Liu, Sidford, Tian. Matrix completion in almost-verification time. FOCS 2023: from fewer entries in the same time.

    Example:
        >>> import numpy as np
        >>> from workingpapers.papers.matrix_completion import RobustALSCompleter
        >>> rng = np.random.default_rng(0)
        >>> M = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 40))
        >>> X = np.where(rng.random(M.shape) < 0.5, M, np.nan)
        >>> model = RobustALSCompleter(rank=3, tol=1e-12, max_iter=200, random_state=0).fit(X)
        >>> bool(np.abs(model.transform(X) - M).max() < 1e-8)
        True
        >>> bool(abs(model.predict([0], [1])[0] - M[0, 1]) < 1e-8)
        True
    """

    U_: Matrix
    V_: Matrix

    def __init__(self, rank: int = 10, *, solver: Solver = "auto", tol: float = 1e-4, max_iter: int = 50,
                 inner_tol: float | Literal["adaptive"] = "adaptive", sketch_size: float = 4, sketch: Sketch = "countsketch",
                 reg: float = 0.0, init: Literal["svd", "random"] = "svd", clip_mu: float | None = None, sample_split: bool = False,
                 fit_bias: bool = False, n_jobs: int | None = -1, random_state: Any = None, scale_reg: bool = False,
                 loss: Literal["squared", "huber"] = "squared", huber_delta: float | Literal["auto"] = "auto",
                 validation_fraction: float = 0.0, early_stopping: bool = False, add_indicator: bool = False,
                 score_rows: Literal["known", "new"] = "known", strict: bool = False, verbose: int = 0) -> None:
        self.rank = rank
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.inner_tol = inner_tol
        self.sketch_size = sketch_size
        self.sketch = sketch
        self.reg = reg
        self.init = init
        self.clip_mu = clip_mu
        self.sample_split = sample_split
        self.fit_bias = fit_bias
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.scale_reg = scale_reg
        self.loss = loss
        self.huber_delta = huber_delta
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.add_indicator = add_indicator
        self.score_rows = score_rows
        self.strict = strict
        self.verbose = verbose

    # ------------------------------------------------------------ fitting

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the factors.

        Args:
            X: `(m, n)`: an array with NaN where nothing is known, a masked array, a sparse matrix (what it stores is observed, zeros
                too), or `(rows, cols, vals, shape)`.
            y: ignored.
            sample_weight: see `observe`: one weight an entry or a row.

        Raises:
            ValueError: a setting or X out of range, named; with `strict`, rows or columns without entries.
        """
        check_settings(self)
        observed = observe(self._validated(X, reset=True), sample_weight)
        m, n = observed.shape
        if self.rank > min(m, n):
            raise ValueError(f"rank is {self.rank}, more than the smaller side of X, which has {m} sample(s) and {n} feature(s)")
        if self.add_indicator and m * n > LARGEST_DENSE:
            raise ValueError(f"add_indicator makes X dense, and {m} x {n} entries are too many for that")
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        everything = observed
        observed, held_out = self._held_out(observed, rng)
        self._warn_of_gaps(observed)
        w = observed.rows.weights
        mean = float(np.average(observed.rows.values, weights=w if len(w) else None)) if self.fit_bias else 0.0
        start = (spectral_start(observed, self.rank, mean, rng, self.clip_mu) if self.init == "svd"
                 else random_start(observed, self.rank, rng))
        plan, best = self._plan(rng), Best(self.early_stopping)
        with pool(self.n_jobs) as threads, Bar("sweeps", self.max_iter, bool(self.verbose)) as show:
            plan.report = lambda s, factors: (show(f"rmse {s.rmse:.4g}, moved by {s.change:.1e}"), best.seen(s, factors))[1]
            found = alternate(observed, start, plan, threads, held_out=held_out, rng=rng, mean=mean)
        if best.kept is not None:
            found.U, found.V, found.row_bias, found.column_bias = best.kept
        if not found.converged and not best.stopped:
            warnings.warn(f"predictions still moved by {found.history[-1].change:.1e} of their size after max_iter={self.max_iter} sweeps, "
                          f"tol is {self.tol:.1e}: raise max_iter or tol", ConvergenceWarning, stacklevel=2)
        self._keep(found, observed)
        if self.add_indicator:
            self.indicator_ = MissingIndicator(error_on_new=False).fit(_dense(X, everything))
        return self

    def _plan(self, rng: np.random.Generator) -> Plan:
        how = How(self.solver, self.sketch, self.sketch_size, seed=int(rng.integers(2**31)))
        return Plan(how, self.tol, self.max_iter, None if self.inner_tol == "adaptive" else float(self.inner_tol), self.reg,
                    self.scale_reg, self.fit_bias, self.sample_split, self.huber_delta if self.loss == "huber" else None)

    def _keep(self, found: Factors, observed: Observed) -> None:
        rows, columns = observed.rows.counts == 0, observed.columns.counts == 0
        for empty, factor, bias in ((rows, found.U, found.row_bias), (columns, found.V, found.column_bias)):
            if empty.any():  # the mean row or column, as far as the others tell
                factor[empty] = 0 if self.fit_bias else factor[~empty].mean(axis=0)
                bias[empty] = 0
        self.U_, self.V_, self.mean_ = found.U, found.V, found.mean
        self.row_bias_, self.column_bias_ = found.row_bias, found.column_bias
        self.history_, self.n_iter_, self.converged_ = found.history, len(found.history), found.converged
        self.incoherence_ = (incoherence(found.U), incoherence(found.V))
        self.subspace_change_, self.huber_delta_ = found.subspace_change, found.huber_delta
        m, n = observed.shape
        parameters, (r, c, v) = self.rank * (m + n - self.rank) + (m + n if self.fit_bias else 0), observed.triplets
        left = (v - found.at(r, c)).astype(np.float64)
        self._rows = observed.rows
        if self.loss == "huber":
            self.noise_, telling = huber_noise(left, found.huber_delta, observed.rows.weights, parameters)
            self._rows = replace(observed.rows, weights=telling)
        else:
            w = observed.rows.weights if len(observed.rows.weights) else None
            self.noise_ = float(np.sqrt(np.average(left**2, weights=w) * len(observed) / max(1, len(observed) - parameters)))

    def _held_out(self, observed: Observed, rng: np.random.Generator) -> tuple[Observed, tuple[Index, Index, Vector] | None]:
        if not self.validation_fraction:
            return observed, None
        aside = rng.random(len(observed)) < self.validation_fraction
        if aside.all() or not aside.any():
            raise ValueError(f"validation_fraction={self.validation_fraction} of {len(observed)} entries leaves one part empty")
        r, c, v = observed.triplets
        return observed.part(~aside), (r[aside], c[aside], v[aside])

    def _warn_of_gaps(self, observed: Observed) -> None:
        for name, side in (("row", observed.rows), ("column", observed.columns)):
            empty, short = int((side.counts == 0).sum()), int(((side.counts > 0) & (side.counts < self.rank)).sum())
            if empty:
                words = f"{empty} {name}{'s have' if empty > 1 else ' has'} no observed entry"
                if self.strict:
                    raise ValueError(f"{words}: drop them, or set strict=False to fill them with what the others have in the mean")
                warnings.warn(f"{words}: filled with what the others have in the mean", UserWarning, stacklevel=4)
            if short and self.reg == 0:
                warnings.warn(f"{short} {name}{'s have' if short > 1 else ' has'} fewer entries than rank={self.rank}: they get the "
                              "solution of least norm; reg > 0 predicts better there", UserWarning, stacklevel=4)

    # ------------------------------------------------------------ using

    def predict(self, X: Any, cols: npt.ArrayLike | None = None, *, return_std: bool = False) -> Any:
        """Values of entries, or of whole rows.

        Args:
            X: with `cols`, rows of the entries `(q,)`; alone, a matrix whose rows are folded in: gives the model's values `(r, n)`.
            cols: columns of the entries, `(q,)`.
            return_std: also standard deviations of new observations of them: noise, and the posterior of each row with V held.

        Raises:
            ValueError: rows or columns that were not fitted.
        """
        check_is_fitted(self, "U_")
        if cols is None:
            values, observed, _ = self._reconstruct(X)
            if not return_std:
                return values
            sure, design = self._posterior_of(observed.rows, np.arange(len(values))), self._design().astype(np.float64)
            return values, np.sqrt(self.noise_**2 + np.array([sure.along(i, design) for i in range(len(values))]))
        rows, columns = np.atleast_1d(np.asarray(X)), np.atleast_1d(np.asarray(cols))
        for name, places, size in (("rows", rows, len(self.U_)), ("cols", columns, len(self.V_))):
            if places.ndim != 1 or places.dtype.kind not in "iu":
                raise ValueError(f"{name} must be whole numbers, `(q,)`, got {places.dtype} of shape {places.shape}")
            if len(places) and (places.min() < 0 or places.max() >= size):
                raise ValueError(f"{name} runs from {places.min()} to {places.max()}; 0 to {size - 1} were fitted. New rows: transform")
        if len(rows) != len(columns):
            raise ValueError(f"there are {len(rows)} rows and {len(columns)} cols: as many are needed")
        values = self._factors().at(rows, columns)
        if not return_std:
            return values
        return values, standard_deviations(self._rows, self._design(), self._ridge_of, self.noise_, rows, columns)

    def row_posterior(self, row: int) -> tuple[Vector, Matrix]:
        """Mean `(k,)` and covariance `(k, k)` of a fitted row's factor, given V and noise of `noise_`: `noise^2 (A'A + reg I)^-1`.

        A is V at the row's entries, weights included, with a column of ones for the row's bias when there is one, over which the
        covariance is marginal. Infinite along directions of which the row says nothing and `reg` is 0.

        Raises:
            ValueError: no such row.

        References:
            Bishop. Pattern Recognition and Machine Learning, 2006, equations 3.53 and 3.54.
        """
        check_is_fitted(self, "U_")
        if isinstance(row, bool) or not isinstance(row, int | np.integer) or not 0 <= row < len(self.U_):
            raise ValueError(f"row is {row!r}: 0 to {len(self.U_) - 1} were fitted")
        covariance = self._posterior_of(self._rows, np.array([row])).covariances(self.U_.shape[1])[0]
        return self.U_[row].astype(np.float64), covariance

    def transform(self, X: Any) -> Matrix:
        """X with its gaps filled, dense; what is observed is kept. Rows may be new: each is folded in from its own entries.

        Raises:
            ValueError: another number of columns, or more than 2^30 entries to make dense (`predict` gives single ones).
        """
        filled, observed, X = self._reconstruct(X)
        r, c, v = observed.triplets
        filled[r, c] = v
        return np.hstack([filled, self.indicator_.transform(_dense(X, observed))]) if self.add_indicator else filled

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Matrix:
        """`fit`, then `transform` of the same."""
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def partial_rows(self, X_new: Any, sample_weight: Any = None, *, return_cov: bool = False) -> Any:
        """Factors `(r, k)` of new rows, V held: their regressions under the model's loss and ridge, exact. Nothing of the model changes.

        A row without entries gets the mean of the rows fitted.

        Args:
            X_new: `(r, n)`, in any form that `fit` takes.
            sample_weight: as for `fit`.
            return_cov: also their covariances `(r, k, k)`, as `row_posterior` gives them.
        """
        check_is_fitted(self, "U_")
        observed = observe(self._validated(X_new, reset=False), sample_weight)
        U = self._fold_rows(observed)[0]
        if not return_cov:
            return U
        return U, self._posterior_of(observed.rows, np.arange(len(U))).covariances(U.shape[1])

    def partial_columns(self, X_new: Any, sample_weight: Any = None) -> Self:
        """Append new columns, `(m, q)`, with U held: V grows by their regressions' solutions, as columns stream in.

        Rows fitted keep their factors and posteriors: to learn from new columns too, fit again.

        Raises:
            ValueError: another number of rows than fitted.
        """
        check_is_fitted(self, "U_")
        if is_triplets(X_new) or sp.issparse(X_new) or isinstance(X_new, np.ma.MaskedArray):
            observed = observe(X_new, sample_weight)
        else:
            observed = observe(np.asarray(X_new, dtype=self.U_.dtype), sample_weight)
        m, q = observed.shape
        if m != len(self.U_):
            raise ValueError(f"X_new has {m} rows, the model has {len(self.U_)}: new columns need one value or gap for each row")
        V, bias = self._fold(observed.columns, self.U_, self.row_bias_, self.V_, q)
        self.V_, self.column_bias_ = np.vstack([self.V_, V]), np.concatenate([self.column_bias_, bias])
        self.n_features_in_ = len(self.V_)
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_  # new columns bring no names
        return self

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the RMSE on the entries of X.

        Triplets, and matrices with `score_rows="known"`: entries of the rows fitted. With `score_rows="new"` rows are unknown: of each
        row's entries one half is predicted from the other, and the other from it.

        Raises:
            ValueError: with "known", another shape than was fitted.
        """
        check_is_fitted(self, "U_")
        observed = observe(self._validated(X, reset=False))
        r, c, v = observed.triplets
        if is_triplets(X) or self.score_rows == "known":
            if observed.shape != (len(self.U_), len(self.V_)):
                raise ValueError(f"X has shape {observed.shape}, ({len(self.U_)}, {len(self.V_)}) was fitted: set score_rows='new' to "
                                 "score rows that were not fitted, or use RatingsRegressor to score single entries")
            return -float(np.sqrt(np.mean((self._factors().at(r, c) - v) ** 2)))
        half = (np.arange(len(v)) - observed.rows.indptr[r]) % 2 == 0
        total = 0.0
        for known in (half, ~half):
            if known.any() and not known.all():
                U, bias = self._fold_rows(observed.part(known))
                seen = Factors(U, self.V_, self.mean_, bias, self.column_bias_)
                total += float(((seen.at(r[~known], c[~known]) - v[~known]) ** 2).sum())
        return -float(np.sqrt(total / len(v)))

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the columns that `transform` gives."""
        names = super().get_feature_names_out(input_features)
        if not self.add_indicator:
            return names
        return np.concatenate([names, self.indicator_.get_feature_names_out(input_features)])

    # ------------------------------------------------------------ inside

    def _factors(self) -> Factors:
        return Factors(self.U_, self.V_, self.mean_, self.row_bias_, self.column_bias_)

    def _reconstruct(self, X: Any) -> tuple[Matrix, Observed, Any]:
        check_is_fitted(self, "U_")
        X = self._validated(X, reset=False)
        shape = X[3] if is_triplets(X) else X.shape
        if shape[0] * shape[1] > LARGEST_DENSE:
            raise ValueError(f"{shape[0]} x {shape[1]} entries are too many to make dense: predict(rows, cols) gives single ones")
        observed = observe(X) if _has_entries(X) else Observed(shape, *_nothing(shape, self.U_.dtype))
        U, bias = self._fold_rows(observed)
        return U @ self.V_.T + bias[:, None] + self.column_bias_ + np.asarray(self.mean_, U.dtype), observed, X

    def _fold_rows(self, observed: Observed) -> tuple[Matrix, Vector]:
        if observed.shape[1] != len(self.V_):
            raise ValueError(f"X has {observed.shape[1]} features, but {type(self).__name__} is expecting {len(self.V_)} features as input")
        return self._fold(observed.rows, self.V_, self.column_bias_, self.U_, observed.shape[0])

    def _fold(self, side: Side, fixed: Matrix, bias: Vector, others: Matrix, n: int) -> tuple[Matrix, Vector]:
        """Solutions and biases of n regressions with a factor held; those without entries get the mean of `others`."""
        kind = self.U_.dtype
        values = (side.values - self.mean_ - bias[side.indices]).astype(kind)
        design = self._with_ones(fixed)
        found = np.zeros((n, design.shape[1]), kind)
        targets = replace(side, values=values, weights=side.weights.astype(kind))
        with pool(self.n_jobs) as threads:
            if self.loss == "huber":
                huber_regressions(targets, design, found, self._ridge_of(side.mass), self.huber_delta_, threads)
            else:
                half_sweep(targets, design, found, self._ridge_of(side.mass), How("cholesky"), TIGHT, threads, warm=False)
        if self.fit_bias:
            return np.ascontiguousarray(found[:, :-1]), found[:, -1].copy()
        found[side.counts == 0] = others.mean(axis=0)
        return found, np.zeros(n, kind)

    def _with_ones(self, factor: Matrix) -> Matrix:
        return np.ascontiguousarray(np.concatenate([factor, np.ones((len(factor), 1), factor.dtype)], axis=1) if self.fit_bias else factor)

    def _design(self) -> Matrix:
        """What a row's unknowns multiply: V, and a column of ones when rows have biases."""
        return self._with_ones(self.V_)

    def _posterior_of(self, side: Side, rows: Index) -> Posterior:
        return posterior(side, self._design(), self._ridge_of(side.mass)[rows], self.noise_, rows)

    def _ridge_of(self, mass: Vector) -> Vector:
        return np.full(len(mass), float(self.reg)) * (mass if self.scale_reg else 1.0)

    def _validated(self, X: Any, *, reset: bool) -> Any:
        if is_triplets(X):
            if reset:
                self.n_features_in_ = int(X[3][1])
                if hasattr(self, "feature_names_in_"):
                    del self.feature_names_in_
            return X
        if isinstance(X, np.ma.MaskedArray):
            X = np.ma.filled(X.astype(np.float32 if X.dtype == np.float32 else np.float64), np.nan)
        if np.isinf(X.data if sp.issparse(X) else X).any() if _is_float(X) else False:
            raise ValueError("X contains infinity: make it NaN where an entry is not known (no infinite value is taken)")
        return validate_data(self, X, reset=reset, accept_sparse=["csr", "csc", "coo"], dtype=[np.float64, np.float32],
                             ensure_all_finite="allow-nan")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _is_float(X: Any) -> bool:
    return getattr(getattr(X, "dtype", None), "kind", "") == "f" and (sp.issparse(X) or isinstance(X, np.ndarray))


def _has_entries(X: Any) -> bool:
    if is_triplets(X):
        return len(X[2]) > 0
    return bool(X.nnz) if sp.issparse(X) else bool((~np.isnan(X)).any())


def _nothing(shape: tuple[int, int], kind: Any) -> tuple[Side, Side, Index]:
    def side(n: int) -> Side:
        return Side(np.zeros(n + 1, np.int64), np.empty(0, np.int32), np.empty(0, kind), np.empty(0, kind))

    return side(shape[0]), side(shape[1]), np.empty(0, np.int64)


def _dense(X: Any, observed: Observed) -> Matrix:
    if isinstance(X, np.ndarray) and not isinstance(X, np.ma.MaskedArray):
        return X
    out = np.full(observed.shape, np.nan, observed.rows.values.dtype)
    r, c, v = observed.triplets
    out[r, c] = v
    return out


__all__ = ["RobustALSCompleter"]
