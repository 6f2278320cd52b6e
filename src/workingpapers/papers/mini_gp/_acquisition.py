"""Acquisition functions, the widths of confidence bounds, and the repeat rule. Plain functions of mean and deviation."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Array = npt.NDArray[np.float64]


def upper_confidence_bound(mean: Array, std: Array, width: float) -> Array:
    """`mean + width * std`, elementwise; `std = sqrt(var)`, not divided by the noise."""
    return mean + width * std


def expected_improvement(mean: Array, std: Array, incumbent: float, nu: float = 1.0) -> Array:
    """`s (z Phi(z) + phi(z))` with `s = nu * std` and `z = (mean - incumbent) / s`; its limit where s = 0.

    >>> expected_improvement(np.array([0.0, 1.0]), np.array([1.0, 0.0]), 0.0).round(4)
    array([0.3989, 1.    ])
    """
    gap = mean - incumbent
    s = nu * std
    with np.errstate(divide="ignore", invalid="ignore"):
        z = gap / s
        improvement = s * (z * ndtr(z) + np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi))
    return np.where(s > 0, improvement, np.maximum(gap, 0.0))


def rkhs_width(logdet: float, fnorm: float, delta: float, stale: float = 1.0) -> float:
    """Width for a function of RKHS norm `fnorm` in a multiple of sqrt(var), with lambda = xi^2.

    `stale * (fnorm + sqrt(logdet + 2 + 2 ln(1/delta)))`: the Chowdhury-Gopalan form divided by sqrt(lambda), with the
    collapsed logdet of the last switch (reconstructed); `stale` is C where variances are used that lag behind the data.
    """
    return stale * (fnorm + math.sqrt(logdet + 2.0 + 2.0 * math.log(1.0 / delta)))


def bayesian_width(n_arms: int, decision: int, delta: float) -> float:
    """Width for a draw from the prior on finitely many arms: `sqrt(2 ln(|A| pi^2 h^2 / (6 delta)))` at decision h = 1, 2, ..."""
    return math.sqrt(2.0 * math.log(n_arms * math.pi**2 * decision**2 / (6.0 * delta)))


def repeats(sigma2: float, c2: float) -> float:
    """How often to evaluate a point: `B = max(1, floor((C^2 - 1) / sigma^2))` with `sigma2 = var / lambda`; maybe infinite.

    After B evaluations of the point alone sigma^2 has become sigma^2 / (1 + B sigma^2), so that the ratio of old to
    new deviation stays below C (rule reconstructed from the ratio rule of batched GP optimisation).

    >>> repeats(0.01, 1.2), repeats(5.0, 1.2)
    (20.0, 1.0)
    """
    if sigma2 <= 0:
        return math.inf
    quotient = (c2 - 1.0) / sigma2
    # One ulp of slack: (1.2 - 1) / 0.01 is 19.999999999999996 in floating point.
    return max(1.0, float(math.floor(quotient * (1.0 + 4e-16)))) if math.isfinite(quotient) else math.inf


def block_gain(c2: float) -> float:
    """Information that every full block adds to logdet at least: `ln((C^2 + 1) / 2)`."""
    return math.log((c2 + 1.0) / 2.0)
