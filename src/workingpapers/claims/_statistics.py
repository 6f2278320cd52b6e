"""Intervals at 95 % and log-log slopes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MIN_SEEDS = 3
BOOTSTRAP_FROM = 30


class Interval(NamedTuple):
    """An estimate with its interval."""

    estimate: float
    lo: float
    hi: float


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean of independent values with Student's t interval.

    Args:
        values: one number a seed, shape (n,), n >= 3, finite.
        level: coverage wanted.

    Values without spread give an interval of no width.

    >>> t_interval([1.0, 2.0, 3.0])
    Interval(estimate=2.0, lo=-0.484..., hi=4.484...)
    """
    from scipy.special import stdtrit

    x = _checked(values, MIN_SEEDS)
    middle = mean(x.tolist())
    if _is_constant(x):
        return Interval(middle, middle, middle)
    with np.errstate(over="ignore", invalid="ignore"):
        half = float(stdtrit(len(x) - 1, 0.5 + level / 2)) * float(x.std(ddof=1)) / math.sqrt(len(x))
    if not (math.isfinite(middle - half) and math.isfinite(middle + half)):
        raise ValueError("values are too large for an interval")
    return Interval(middle, middle - half, middle + half)


def mean(values: Sequence[float]) -> float:
    """Mean of finite numbers or NaN; the number itself where all are equal, which a sum and a division may miss by a bit."""
    if min(values) == max(values):
        return float(values[0])
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.mean(values))


def _is_constant(x: np.ndarray) -> bool:
    """No spread beyond the last bits of the numbers themselves."""
    with np.errstate(over="ignore"):
        return bool(np.ptp(x) <= 1e-14 * np.abs(x).max())


def bca_interval(values: Sequence[float], level: float = 0.95, resamples: int = 4999, seed: int = 0) -> Interval:
    """Mean with the bias-corrected accelerated bootstrap interval; worth reading from about 30 values up."""
    from scipy import stats

    x = _checked(values, MIN_SEEDS)
    middle = mean(x.tolist())
    if _is_constant(x):
        return Interval(middle, middle, middle)
    rng = np.random.default_rng(seed)
    found = stats.bootstrap((x,), np.mean, confidence_level=level, n_resamples=resamples, method="BCa", rng=rng)
    return Interval(middle, float(found.confidence_interval.low), float(found.confidence_interval.high))


def log_log_slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Least-squares slope of ln y on ln x: the exponent of a growth law.

    >>> round(log_log_slope([1, 10, 100], [2, 200, 20000]), 12)
    2.0
    """
    u, v = np.log(_positive("x", x)), np.log(_positive("y", y))
    if len(u) != len(v):
        raise ValueError(f"x has {len(u)} values, y has {len(v)}: they must pair")
    if len(set(u.tolist())) < 2:
        raise ValueError("x holds fewer than two different values: a slope needs two")
    u = u - u.mean()
    return float(u @ (v - v.mean()) / (u @ u))


def _checked(values: Sequence[float], least: int) -> np.ndarray:
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or len(x) < least:
        raise ValueError(f"values has shape {x.shape}: at least {least} numbers in one dimension are needed")
    if not np.isfinite(x).all():
        raise ValueError("values holds NaN or infinity")
    return x


def _positive(name: str, values: Sequence[float]) -> np.ndarray:
    x = np.asarray(values, dtype=float)
    if not (np.isfinite(x).all() and (x > 0).all()):
        raise ValueError(f"{name} must be positive and finite for a logarithm")
    return x
