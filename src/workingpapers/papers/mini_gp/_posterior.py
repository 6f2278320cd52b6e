"""The collapsed Gaussian-process posterior: exact for every observation, at the cost of the distinct points."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize

from ._kernels import Array, as_covariance
from ._statistics import Groups, check_observations, check_points, group_rows, row_key

Mean = Literal["zero", "constant"]


class UniqueGP:
    """Gaussian-process regression that folds repeated inputs into their averages, without loss.

    With unique points X `(q, d)`, counts n_i, averages ybar_i, W = diag(n) and noise variance lambda,

        mean(x) = m + k_x' (K + lambda W^-1)^-1 (ybar - m),   var(x) = k(x, x) - k_x' (K + lambda W^-1)^-1 k_x

    equals the posterior of all T observations (standard algebra; Section 3 of the paper). An append or a repeat
    costs O(q^2), a posterior at m points O(m q^2), memory O(q^2 + m q); T matters only while rows are read.

    Args:
        kernel: scikit-learn kernel, GPyTorch kernel, or a function `k(X, Y) -> (n, m)`.
        noise: variance of one observation, in squared units of y.
        mean: `"zero"`, or `"constant"`: the generalised-least-squares level (plugged in: var has no term for it).
        dtype: float64, or float32 for half the memory and about six digits.
        resolution: two inputs are the same point when they agree on a grid of this step in every coordinate.

    Raises:
        ValueError: noise not positive, non-finite or wrongly shaped data, each named.

    >>> import numpy as np
    >>> from sklearn.gaussian_process.kernels import RBF
    >>> gp = UniqueGP(RBF(0.5), noise=0.1)
    >>> gp.add([0.0], [1.0, 1.2, 0.8]).add([1.0], 0.0)
    UniqueGP(4 observations of 2 points)
    >>> mean, var = gp.posterior([[0.0], [0.5]])
    >>> mean.round(3), var.round(3)
    (array([0.967, 0.523]), array([0.032, 0.387]))
    """

    def __init__(self, kernel: Any, noise: float, mean: Mean = "zero", dtype: npt.DTypeLike = np.float64,
                 resolution: float = 1e-9) -> None:
        if not (np.isfinite(noise) and noise > 0):
            raise ValueError(f"noise is {noise}: give the variance of one observation, a positive number")
        if mean not in ("zero", "constant"):
            raise ValueError(f"mean is {mean!r}: choose 'zero' or 'constant'")
        if np.dtype(dtype) not in (np.dtype(np.float64), np.dtype(np.float32)):
            raise ValueError(f"dtype is {np.dtype(dtype)}: choose float64 or float32")
        if not (np.isfinite(resolution) and resolution > 0):
            raise ValueError(f"resolution is {resolution}: give a positive number")
        self.kernel = as_covariance(kernel)
        self.noise, self.mean, self.resolution = float(noise), mean, float(resolution)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.n_unique = 0
        self._rows: dict[bytes, int] = {}
        self._x: Array = np.empty((0, 0))
        self._count: Array = np.empty(0)
        self._average: Array = np.empty(0)
        self._squares: Array = np.empty(0)
        self._factor: npt.NDArray[Any] = np.empty((0, 0), dtype=self.dtype)
        self._lowered = 0
        self._solved: tuple[float, npt.NDArray[Any]] | None = None

    def __repr__(self) -> str:
        return f"UniqueGP({self.n_obs} observations of {self.n_unique} points)"

    # ------------------------------------------------------------ what was seen

    @property
    def n_obs(self) -> int:
        """Observations T, repeats counted."""
        return int(self._count[: self.n_unique].sum())

    @property
    def unique_points(self) -> Array:
        """The distinct points, `(q, d)`, in order of first appearance."""
        return self._x[: self.n_unique].copy()

    @property
    def counts(self) -> Array:
        """Observations of each distinct point, `(q,)`."""
        return self._count[: self.n_unique].copy()

    @property
    def averages(self) -> Array:
        """Average observation of each distinct point, `(q,)`."""
        return self._average[: self.n_unique].copy()

    @property
    def within_squares(self) -> float:
        """Sum over points of the squared deviations of observations from their average."""
        return float(self._squares[: self.n_unique].sum())

    def add(self, x: npt.ArrayLike, y: npt.ArrayLike) -> UniqueGP:
        """Add one observation `y`, or several `(b,)`, of the point `x` `(d,)`; O(q^2), and O(b) to average."""
        point = check_points(np.atleast_1d(np.asarray(x, dtype=np.float64))[None, :], self._dim, "x")
        values = check_observations(y)
        average = float(values.mean())
        return self._fold(Groups(point, np.array([float(len(values))]), np.array([average]),
                                 np.array([float(np.square(values - average).sum())])))

    def add_many(self, x: npt.ArrayLike, y: npt.ArrayLike) -> UniqueGP:
        """Add rows `x` `(T, d)` with observations `y` `(T,)`; repeats among them are found in O(T log T)."""
        points = check_points(x, self._dim, "x")
        values = check_observations(y)
        if len(points) != len(values):
            raise ValueError(f"x has {len(points)} rows and y {len(values)} numbers")
        return self._fold(group_rows(points, values, self.resolution))

    def add_stats(self, x: npt.ArrayLike, n: npt.ArrayLike, mean: npt.ArrayLike, ss: npt.ArrayLike = 0.0) -> UniqueGP:
        """Add averages that were taken elsewhere.

        Args:
            x: points `(g, d)`, or one point `(d,)`.
            n: observations behind each average, `(g,)` or one number.
            mean: averages, `(g,)` or one number.
            ss: sums of squared deviations from the average; needed for the likelihood, not for the posterior.
        """
        raw = np.asarray(x, dtype=np.float64)
        points = check_points(raw[None, :] if raw.ndim == 1 else raw, self._dim, "x")
        g = len(points)
        count, average, squares = (np.broadcast_to(np.asarray(v, dtype=np.float64), (g,)) for v in (n, mean, ss))
        if not (np.all(np.isfinite(count)) and np.all(count >= 1) and np.all(count == np.floor(count))):
            raise ValueError("n must hold whole numbers from 1 up")
        if not np.all(np.isfinite(average)):
            raise ValueError("mean must be finite")
        if not (np.all(np.isfinite(squares)) and np.all(squares >= 0)):
            raise ValueError("ss must be finite and not negative")
        return self._fold(Groups(points, count.copy(), average.copy(), squares.copy()))

    def estimate_noise(self) -> tuple[float, int]:
        """Noise variance from repeats alone (pooled within-point variance) and its degrees of freedom T - q.

        Raises:
            ValueError: when no point was observed twice.
        """
        freedom = self.n_obs - self.n_unique
        if freedom < 1:
            raise ValueError("noise cannot be told from repeats: no point was observed twice")
        return self.within_squares / freedom, freedom

    # ------------------------------------------------------------ what is believed

    def posterior(self, x: npt.ArrayLike) -> tuple[Array, Array]:
        """Mean and variance of the function (without noise) at `x` `(m, d)`: two arrays `(m,)`; O(m q^2)."""
        points = check_points(x, self._dim, "x")
        prior = self.kernel.diag(points)
        if not self.n_unique:
            return np.zeros(len(points)), prior
        level, alpha = self._solve()
        cross = self.kernel.matrix(self._x[: self.n_unique], points).astype(self.dtype, copy=False)
        mean = level + cross.T @ alpha
        half = solve_triangular(self._lower(), cross, lower=True, check_finite=False, overwrite_b=True)
        var = prior - np.einsum("qm,qm->m", half, half)
        return mean.astype(np.float64), np.maximum(var, 0.0).astype(np.float64)

    def joint_posterior(self, x: npt.ArrayLike) -> tuple[Array, Array]:
        """Mean `(m,)` and covariance `(m, m)` of the function at `x` `(m, d)`; O(m q^2 + m^2 q)."""
        points = check_points(x, self._dim, "x")
        prior = self.kernel.matrix(points)
        if not self.n_unique:
            return np.zeros(len(points)), prior
        level, alpha = self._solve()
        cross = self.kernel.matrix(self._x[: self.n_unique], points).astype(self.dtype, copy=False)
        half = solve_triangular(self._lower(), cross, lower=True, check_finite=False)
        return (level + cross.T @ alpha).astype(np.float64), (prior - half.T @ half).astype(np.float64)

    def sample(self, x: npt.ArrayLike, s: int = 1, random_state: int | np.random.Generator | None = None) -> Array:
        """`s` draws of the function at `x` `(m, d)` from the posterior: `(s, m)`; O(m^3)."""
        if s < 1:
            raise ValueError(f"s is {s}: draw at least one sample")
        mean, covariance = self.joint_posterior(x)
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        z = np.random.default_rng(random_state).standard_normal((s, len(mean)))
        return np.asarray(mean + z @ root.T)

    def logdet(self) -> float:
        """`logdet(I_T + K_T / lambda) = logdet(I_q + W^1/2 K W^1/2 / lambda)`: twice the information gained, in nats."""
        if not self.n_unique:
            return 0.0
        diagonal = np.diagonal(self._lower()).astype(np.float64)
        return float(2.0 * np.log(diagonal).sum() + np.log(self._count[: self.n_unique] / self.noise).sum())

    def log_marginal_likelihood(self, *, gradient: bool = False) -> Any:
        """Log marginal likelihood of all T observations; with `gradient`, also its gradient.

        The collapsed likelihood of the averages, plus the within-point term that it lacks (reconstructed):
        `-1/2 [(T - q) log(2 pi lambda) + sum log n_i + sum SS_i / lambda]`. With `mean="constant"` it is the
        profile likelihood at the fitted level.

        Returns:
            a float, or `(float, (p + 1,))`: derivatives in `kernel.theta`, then in log(noise).
        """
        q, t, lam = self.n_unique, self.n_obs, self.noise
        if not q:
            raise ValueError("there is no observation yet: add some first")
        _, alpha = self._solve()
        lower, count = self._lower(), self._count[:q]
        residual = self._average[:q] - self._level()
        collapsed = -0.5 * (residual @ alpha + q * math.log(2 * math.pi)) - np.log(np.diagonal(lower)).sum()
        within = -0.5 * ((t - q) * math.log(2 * math.pi * lam) + np.log(count).sum() + self.within_squares / lam)
        value = float(collapsed + within)
        if not gradient:
            return value
        inverse = solve_triangular(lower, np.eye(q, dtype=self.dtype), lower=True, check_finite=False)
        weights = (0.5 * (np.outer(alpha, alpha) - inverse.T @ inverse)).astype(np.float64)
        by_theta = self.kernel.pullback(self._x[:q], weights)
        by_noise = float(np.diagonal(weights) @ (lam / count)) - 0.5 * ((t - q) - self.within_squares / lam)
        return value, np.append(by_theta, by_noise)

    def fit_hyper(self, noise_bounds: tuple[float, float] = (1e-6, 1e2), *, restarts: int = 0,
                  random_state: int | np.random.Generator | None = None) -> UniqueGP:
        """Maximise the log marginal likelihood over kernel hyper-parameters and noise, in place; O(q^3) a step.

        Args:
            noise_bounds: search range of the noise variance; equal bounds hold it fixed.
            restarts: further starts, drawn uniformly within the bounds.
            random_state: for the restarts.
        """
        low, high = noise_bounds
        if not 0 < low <= high < math.inf:
            raise ValueError(f"noise_bounds is {noise_bounds}: give two positive numbers, low before high")
        box = np.vstack([self.kernel.bounds, np.log([[low, high]])])
        start = np.clip(np.append(self.kernel.theta, math.log(self.noise)), box[:, 0], box[:, 1])
        rng = np.random.default_rng(random_state)

        def loss(theta: Array) -> tuple[float, Array]:
            try:
                value, slope = self._with(theta).log_marginal_likelihood(gradient=True)
            except np.linalg.LinAlgError:
                return 1e25, np.zeros_like(theta)
            return -value, -slope

        found = [minimize(loss, s, jac=True, method="L-BFGS-B", bounds=box)
                 for s in [start, *rng.uniform(box[:, 0], box[:, 1], (restarts, len(box)))]]
        best = min(found, key=lambda r: float(r.fun))
        twin = self._with(best.x)
        self.kernel, self.noise = twin.kernel, twin.noise
        self._factor, self._solved = twin._factor, None
        return self

    # ------------------------------------------------------------ inside

    @property
    def _dim(self) -> int | None:
        return self._x.shape[1] if self.n_unique else None

    def _lower(self) -> npt.NDArray[Any]:
        return self._factor[: self.n_unique, : self.n_unique]

    def _with(self, theta: Array) -> UniqueGP:
        """The same data under other hyper-parameters (kernel theta, then log noise)."""
        twin = UniqueGP(self.kernel.with_theta(theta[:-1]), float(np.exp(theta[-1])), self.mean, self.dtype, self.resolution)
        q = self.n_unique
        return twin._fold(Groups(self._x[:q], self._count[:q], self._average[:q], self._squares[:q]))

    def _fold(self, groups: Groups) -> UniqueGP:
        """Merge groups of distinct points into the statistics and the factor."""
        keys = [row_key(x, self.resolution) for x in groups.x]
        old = np.array([self._rows.get(k, -1) for k in keys])
        self._solved = None
        self._repeat(old[old >= 0], groups.take(old >= 0))
        fresh = groups.take(old < 0)
        if len(fresh.x):
            self._append(fresh, [k for k, o in zip(keys, old) if o < 0])
        return self

    def _repeat(self, rows: npt.NDArray[np.int64], groups: Groups) -> None:
        """Chan's merge of averages; every diagonal entry lambda / n_i shrinks, and the factor follows."""
        if not len(rows):
            return
        before = self._count[rows]
        total = before + groups.count
        gap = groups.average - self._average[rows]
        self._squares[rows] += groups.squares + gap**2 * before * groups.count / total
        self._average[rows] += gap * groups.count / total
        self._count[rows] = total
        self._lowered += len(rows)
        q = self.n_unique
        # A fresh factorisation costs about q/3 repeats, and one now and then keeps rounding from piling up.
        if 3 * len(rows) > q + 8 or self._lowered > 2 * q + 64:
            self._refactor()
            return
        from ._cholesky import lower_diagonal  # compiled: the first repeat imports numba, and nothing else does

        work = np.empty(q, dtype=self.dtype)
        for row, drop in zip(rows, self.noise / before - self.noise / total):
            if not lower_diagonal(self._factor, q, int(row), float(drop), work):
                self._refactor()
                return

    def _append(self, groups: Groups, keys: list[bytes]) -> None:
        q, g = self.n_unique, len(groups.x)
        self._reserve(q + g, groups.x.shape[1])
        new = slice(q, q + g)
        self._x[new], self._count[new], self._average[new], self._squares[new] = groups.x, groups.count, groups.average, groups.squares
        corner = self.kernel.matrix(groups.x) + np.diag(self.noise / groups.count)
        if q:
            cross = self.kernel.matrix(self._x[:q], groups.x).astype(self.dtype, copy=False)
            half = solve_triangular(self._lower(), cross, lower=True, check_finite=False)
            corner = corner - half.T @ half
            self._factor[new, :q] = half.T
        self._factor[new, new] = _factorise(corner.astype(self.dtype, copy=False))
        self._rows.update((k, q + i) for i, k in enumerate(keys))
        self.n_unique = q + g

    def _refactor(self) -> None:
        q = self.n_unique
        full = self.kernel.matrix(self._x[:q]) + np.diag(self.noise / self._count[:q])
        self._factor[:q, :q] = _factorise(full.astype(self.dtype, copy=False))
        self._lowered = 0

    def _reserve(self, q: int, d: int) -> None:
        """Room for q points: buffers double, so that appends are O(q^2) on average."""
        room = len(self._count)
        if q <= room:
            return
        size, old = max(q, 2 * room, 16), self.n_unique
        x, factor = np.zeros((size, d)), np.zeros((size, size), dtype=self.dtype, order="F")
        if old:
            x[:old], factor[:old, :old] = self._x[:old], self._lower()
        self._x, self._factor = x, factor
        self._count, self._average, self._squares = (np.append(v, np.zeros(size - room))
                                                     for v in (self._count, self._average, self._squares))

    def _solve(self) -> tuple[float, npt.NDArray[Any]]:
        """The level m and alpha = (K + lambda W^-1)^-1 (ybar - m), kept until data arrive; O(q^2)."""
        if self._solved is None:
            lower, average = self._lower(), self._average[: self.n_unique].astype(self.dtype)
            half = solve_triangular(lower, average, lower=True, check_finite=False)
            level = 0.0
            if self.mean == "constant":
                ones = solve_triangular(lower, np.ones_like(average), lower=True, check_finite=False)
                level = float((ones @ half) / (ones @ ones))
                half = half - self.dtype.type(level) * ones
            self._solved = level, solve_triangular(lower, half, lower=True, trans="T", check_finite=False)
        return self._solved

    def _level(self) -> float:
        return self._solve()[0]


def _factorise(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    try:
        return np.asarray(cholesky(matrix, lower=True, check_finite=False))
    except np.linalg.LinAlgError as error:
        raise np.linalg.LinAlgError(
            "the covariance of the points plus noise is not positive definite in this arithmetic: "
            "raise noise, shorten the length scale or use float64") from error
