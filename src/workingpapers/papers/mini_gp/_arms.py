"""The same collapsed posterior kept up to date on a finite set of arms: O(A q) a change, for every method alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.blas import dger

from ._kernels import Covariance
from ._posterior import Mean
from ._statistics import Array

REFRESH = 1024
THOMPSON_LIMIT = 5_000


class ArmPosterior:
    """Posterior mean and variance of every arm, updated as observations arrive.

    With unique arms X (q of them), their covariance with all arms is held as `K(X, .) = M V`, where M is `(q, q)`,
    V is `(q, A)` and `M M' = K + lambda W^-1`. Then `var = k(.,.) - sum V^2` and the posterior covariance with an
    arm i is `c = k(i, .) - V' V_i`. B observations of arm i change it by `c c' B / (lambda + B c_i)`: a new arm adds one row
    to V; a repeat multiplies V by `(I + a a')^1/2`, a rank-one change that needs no triangular form (derived here).

    Args:
        covariance: the kernel.
        arms: `(A, d)`.
        noise: variance of one observation.
        mean: `"zero"` or `"constant"` (generalised least squares, plugged in).

    Attributes:
        average_: posterior mean `(A,)`.
        var: posterior variance `(A,)`.
        logdet: `logdet(I_T + K_T / lambda)`.
        order: arms in order of their first observation.
        count, average, squares: statistics of each arm in that order.

    Cost: O(A q + q^2) a change; memory O(A q).
    """

    def __init__(self, covariance: Covariance, arms: Array, noise: float, mean: Mean = "zero") -> None:
        self.covariance, self.arms, self.noise, self.mean = covariance, arms, noise, mean
        self.prior = covariance.diag(arms)
        self.var = self.prior.copy()
        self.order: list[int] = []
        self.row = np.full(len(arms), -1, dtype=np.int64)
        self.count, self.average, self.squares = np.zeros(16), np.zeros(16), np.zeros(16)
        self._m = np.zeros((16, 16))
        self._v = np.zeros((16, len(arms)))
        self._mean = np.zeros(len(arms))
        self._ones = np.zeros(len(arms)) if mean == "constant" else None
        self._ones_ones = self._ones_y = 0.0
        self._changes = 0
        self.logdet = 0.0
        self._root: Array | None = None

    @property
    def q(self) -> int:
        """Unique arms."""
        return len(self.order)

    @property
    def level(self) -> float:
        """The constant mean; 0 where it is not estimated or nothing is seen."""
        return self._ones_y / self._ones_ones if self._ones_ones > 0 else 0.0

    @property
    def average_(self) -> Array:
        """Posterior mean of every arm, `(A,)`."""
        return self._mean if self._ones is None else self._mean + self.level * (1.0 - self._ones)

    def observe(self, arm: int, n: int, average: float, squares: float = 0.0) -> None:
        """Take in `n` observations of an arm: their average and sum of squared deviations."""
        c, step = self._reduce(arm, n)
        gain = step * (average - self._mean[arm])
        self._mean += gain * c
        if self._ones is not None:
            innovation = 1.0 - self._ones[arm]
            self._ones_ones += innovation * innovation * step
            self._ones_y += innovation * gain
            self._ones += innovation * step * c
        self._merge(arm, n, average, squares)
        self._settle()

    def hallucinate(self, arm: int) -> None:
        """Shrink the variance as one observation of the arm will, before it is known; the mean stays."""
        self._reduce(arm, 1)
        i = self.row[arm]
        guess = float(self.average_[arm])
        self.average[i] = (self.average[i] * self.count[i] + guess) / (self.count[i] + 1)
        self.count[i] += 1

    def fulfil(self, arms: list[int], guesses: list[float], values: list[float]) -> None:
        """Put observed values in the place of guesses and bring the mean up to date; O(A q)."""
        for arm, guess, value in zip(arms, guesses, values):
            i = self.row[arm]
            self.average[i] += (value - guess) / self.count[i]
        if self._ones is not None or self._changes > REFRESH:
            self._refresh()
            return
        self._mean = self._weights_to_mean(self.average[: self.q])

    def sample(self, rng: np.random.Generator) -> Array:
        """One draw of the whole function from the posterior, `(A,)`, by Matheron's rule; O(A^2), once O(A^3)."""
        size = len(self.arms)
        if self._root is None:
            if size > THOMPSON_LIMIT:
                raise ValueError(f"Thompson sampling draws all {size} arms jointly and is limited to {THOMPSON_LIMIT}: "
                                 "give fewer arms, or use acquisition='ucb' or 'ei'")
            values, vectors = np.linalg.eigh(self.covariance.matrix(self.arms))
            self._root = vectors * np.sqrt(np.maximum(values, 0.0))
        prior = self._root @ rng.standard_normal(size)
        if not self.q:
            return np.asarray(prior)
        noisy = prior[self.order] + rng.standard_normal(self.q) * np.sqrt(self.noise / self.count[: self.q])
        level = self.level
        return np.asarray(prior + level + self._weights_to_mean(self.average[: self.q] - level - noisy))

    def append_arm(self, x: Array) -> int:
        """Give a point outside the set a column of its own, so that data there count; O(q^3 + A)."""
        new = len(self.arms)
        cross = self.covariance.matrix(self.arms[self.order], x[None, :]) if self.q else np.empty((0, 1))
        column = np.zeros((len(self._v), 1))
        prior = float(self.covariance.diag(x[None, :])[0])
        average = ones = 0.0
        if self.q:
            v = np.linalg.solve(self._m[: self.q, : self.q], cross[:, 0])
            column[: self.q, 0] = v
            weights = np.linalg.solve(self._m[: self.q, : self.q].T, v)
            average = float(weights @ self.average[: self.q])
            ones = float(weights.sum())
        self._v = np.ascontiguousarray(np.hstack([self._v, column]))
        self.arms = np.vstack([self.arms, x])
        self.prior = np.append(self.prior, prior)
        self.var = np.append(self.var, max(0.0, prior - float(column[:, 0] @ column[:, 0])))
        self._mean = np.append(self._mean, average)
        self._ones = None if self._ones is None else np.append(self._ones, ones)
        self.row = np.append(self.row, -1)
        self._root = None
        return new

    # ------------------------------------------------------------ inside

    def _reduce(self, arm: int, n: int) -> tuple[Array, float]:
        """The variance half of an observation. Returns the covariance with the arm before it, and n / (lambda + n c_arm)."""
        q, i = self.q, int(self.row[arm])
        known = self._v[:q, arm].copy()
        if i < 0:
            row = self.covariance.matrix(self.arms[arm : arm + 1], self.arms)[0]
            c = row - known @ self._v[:q] if q else row
        else:
            direction = self._m[i, :q] - known
            c = direction @ self._v[:q]
        at_arm = max(float(self.var[arm]), 0.0)
        step = n / (self.noise + n * at_arm)
        if i < 0:
            self._add_row(arm, known, c, n, at_arm)
        else:
            self._scale_rows(np.sqrt(step) * direction, np.sqrt(step) * c)
        self.var -= step * np.square(c)
        np.maximum(self.var, 0.0, out=self.var)
        self.var[arm] = at_arm * self.noise / (self.noise + n * at_arm)
        self.logdet += float(np.log1p(n * at_arm / self.noise))
        self._changes += 1
        return c, step

    def _add_row(self, arm: int, known: Array, c: Array, n: int, at_arm: float) -> None:
        q = self.q
        if q == len(self._v):
            self._m = np.pad(self._m, (0, q))
            self._v = np.concatenate([self._v, np.zeros_like(self._v)])
            self.count, self.average, self.squares = (np.pad(s, (0, q)) for s in (self.count, self.average, self.squares))
        pivot = np.sqrt(at_arm + self.noise / n)
        self._v[q] = c / pivot
        self._m[q, :q], self._m[q, q] = known, pivot
        self.row[arm] = q
        self.order.append(arm)

    def _scale_rows(self, a: Array, w: Array) -> None:
        """V <- (I + a a')^1/2 V and M <- M (I + a a')^-1/2, where w = a' V; in place."""
        q = self.q
        length = float(a @ a)
        g = 1.0 / (1.0 + np.sqrt(1.0 + length))
        dger(g, w, a, a=self._v[:q].T, overwrite_x=0, overwrite_y=0, overwrite_a=1)
        m = self._m[:q, :q]
        m -= (g / (1.0 + g * length)) * np.outer(m @ a, a)

    def _merge(self, arm: int, n: int, average: float, squares: float) -> None:
        i = self.row[arm]
        before, gap = self.count[i], average - self.average[i]
        total = before + n
        self.squares[i] += squares + gap * gap * before * n / total
        self.average[i] += gap * n / total
        self.count[i] = total

    def _settle(self) -> None:
        if self._changes >= REFRESH:
            self._refresh()

    def _weights_to_mean(self, residual: Array) -> Array:
        """`K(., X) (K + lambda W^-1)^-1 r = V' (M' - V_X) W r / lambda`, without solving anything."""
        q = self.q
        scaled = residual * self.count[:q] / self.noise
        inner = self._m[:q, :q].T @ scaled - self._v[:q, self.order] @ scaled
        return np.asarray(inner @ self._v[:q])

    def _refresh(self) -> None:
        """Recompute all from the statistics, so that rounding cannot pile up; O(q^3 + A q^2) every 1,024 changes."""
        q = self.q
        x = self.arms[self.order]
        lower = cholesky(self.covariance.matrix(x) + np.diag(self.noise / self.count[:q]), lower=True)
        v = solve_triangular(lower, self.covariance.matrix(x, self.arms), lower=True)
        self._m[:q, :q], self._v[:q] = lower, v
        self.var = np.maximum(self.prior - np.einsum("qa,qa->a", v, v), 0.0)
        half = solve_triangular(lower, self.average[:q], lower=True)
        self._mean = half @ v
        if self._ones is not None:
            one = solve_triangular(lower, np.ones(q), lower=True)
            self._ones, self._ones_ones, self._ones_y = one @ v, float(one @ one), float(one @ half)
        self.logdet = float(2 * np.log(np.diagonal(lower)).sum() + np.log(self.count[:q] / self.noise).sum())
        self._changes = 0


def stats_of(y: npt.NDArray[Any]) -> tuple[int, float, float]:
    """Count, average and sum of squared deviations of observations."""
    average = float(y.mean())
    return len(y), average, float(np.square(y - average).sum())
