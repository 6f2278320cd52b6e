"""How fast the excess risk falls: exponents with intervals, the additive law, and the bound they are held against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._checks import Array, generator, positive, whole
from ._problems import ContrastiveProblem, FactorProblem, MixtureProblem, Problem


@dataclass(frozen=True)
class RateFit:
    """A power law `y = c x^slope` with the 95 % bootstrap interval of its slope."""

    slope: float
    lo: float
    hi: float
    constant: float

    def against(self, bound: float = -0.5) -> str:
        """What this says of an upper bound that falls as `x^bound`: a faster fall does not contradict it.

        >>> RateFit(-1.0, -1.1, -0.9, 1.0).against()
        'faster than the upper bound: slope -1.00 [-1.10, -0.90] against -0.5'
        """
        if self.hi < bound:
            word = "faster than the upper bound"
        elif self.lo > bound:
            word = "slower than the upper bound allows"
        else:
            word = "in line with the upper bound"
        return f"{word}: slope {self.slope:.2f} [{self.lo:.2f}, {self.hi:.2f}] against {bound:g}"


def rate_fit(x: Any, y: Any, bootstrap: int = 1000, *, seed: int = 0) -> RateFit:
    """Log-log slope of y on x.

    Args:
        x: amounts, `(k,)`, above 0, two different ones at least.
        y: excess risks, `(k,)` or `(seeds, k)`, above 0. With seeds the curve is their mean, and the bootstrap draws seeds; without,
            it draws residuals (which is bold for few points).
        bootstrap: resamples.

    >>> fit = rate_fit([10, 100, 1000], [1.0, 0.1, 0.01])
    >>> round(fit.slope, 6), round(fit.lo, 6), round(fit.hi, 6)
    (-1.0, -1.0, -1.0)
    """
    amounts, values = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if amounts.ndim != 1 or len(np.unique(amounts)) < 2:
        raise ValueError("x: at least two different amounts in one dimension are needed for a slope")
    if values.ndim not in (1, 2) or values.shape[-1] != len(amounts):
        raise ValueError(f"y has shape {values.shape}: ({len(amounts)},) or (seeds, {len(amounts)}) is needed")
    for name, given in (("x", amounts), ("y", values)):
        if not (np.isfinite(given).all() and (given > 0).all()):
            raise ValueError(f"{name} must be finite and above 0 for a logarithm")
    whole("bootstrap", bootstrap)
    rng = generator(seed)
    u = np.log(amounts) - np.log(amounts).mean()

    def slopes(logs: Array) -> Array:
        return np.asarray((logs - logs.mean(axis=-1, keepdims=True)) @ u / (u @ u))

    if values.ndim == 2 and len(values) > 1:
        middle = np.log(values.mean(axis=0))
        drawn = np.log(values[rng.integers(len(values), size=(bootstrap, len(values)))].mean(axis=1))
    else:
        middle = np.log(values.reshape(-1, len(amounts)).mean(axis=0))
        line = middle.mean() + u * slopes(middle)
        residuals = (middle - line) * math.sqrt(len(u) / max(1, len(u) - 2))
        drawn = line + residuals[rng.integers(len(u), size=(bootstrap, len(u)))]
    slope = float(slopes(middle))
    lo, hi = np.quantile(slopes(drawn), [0.025, 0.975])
    return RateFit(slope, float(min(lo, slope)), float(max(hi, slope)), float(np.exp(middle.mean() - slope * np.log(amounts).mean())))


@dataclass(frozen=True)
class AdditiveFit:
    """`risk = a m^p + b n^q`; `misfit` is the largest factor between fit and measurement (1 = exact)."""

    a: float
    p: float
    b: float
    q: float
    misfit: float

    def terms(self, m: Any, n: Any) -> tuple[Array, Array]:
        """The two terms."""
        return np.asarray(self.a * np.asarray(m, dtype=float) ** self.p), np.asarray(self.b * np.asarray(n, dtype=float) ** self.q)

    def window(self, m: Any, n: float, share: float = 0.9) -> Array:
        """Which amounts m show the m-term: where it makes up `share` of the risk at n labels. Slopes elsewhere are biased."""
        first, second = self.terms(m, n)
        return np.asarray(first >= share * (first + second))


def additive_fit(m: Any, n: Any, risk: Any) -> AdditiveFit:
    """Fit `a m^p + b n^q` to risks `(len(m), len(n))` by least squares of logarithms.

    >>> m, n = np.array([100, 1000, 10000.0]), np.array([10, 100, 1000.0])
    >>> fit = additive_fit(m, n, 5 / m[:, None] + 2 / np.sqrt(n))
    >>> round(fit.p, 3), round(fit.q, 3), round(fit.misfit, 3)
    (-1.0, -0.5, 1.0)
    """
    from scipy.optimize import least_squares

    rows, columns, values = np.asarray(m, dtype=float), np.asarray(n, dtype=float), np.asarray(risk, dtype=float)
    if values.shape != (len(rows), len(columns)) or min(values.shape) < 3:
        raise ValueError(f"risk has shape {values.shape}: (len(m), len(n)) with three amounts each at least is needed")
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError("risk must be finite and above 0 for a logarithm")
    logs, u, v = np.log(values), np.log(rows / rows.max()), np.log(columns / columns.max())

    def off(w: Array) -> Array:
        return np.asarray((np.logaddexp((w[0] + w[1] * u)[:, None], (w[2] + w[3] * v)[None, :]) - logs).ravel())

    floor = float(logs.min()) - math.log(2)
    tried = [
        least_squares(off, [floor + da, p, floor + db, q])
        for p in (-0.5, -1.0)
        for q in (-0.5, -1.0)
        for da, db in ((0, 0), (-2, 0), (0, -2))
    ]
    w = min(tried, key=lambda found: found.cost).x
    return AdditiveFit(
        float(np.exp(w[0]) * rows.max() ** -w[1]),
        float(w[1]),
        float(np.exp(w[2]) * columns.max() ** -w[3]),
        float(w[3]),
        float(np.exp(np.abs(off(w)).max())),
    )


@dataclass(frozen=True)
class Bound:
    """The two terms of the upper bound and the one of learning from labels alone, without constants and logarithms."""

    m_term: float
    n_term: float
    supervised: float

    @property
    def pretrained(self) -> float:
        """`kappa L sqrt(C_Phi / m) + L sqrt(C_Psi / n)`."""
        return self.m_term + self.n_term


def complexities(problem: Problem) -> tuple[int, int, int]:
    """C_Phi of the model, C_Psi of the head, and that of both together: (dr, r, d), (Kd, K, Kd), (dr, r, d) for the three instances."""
    match problem:
        case FactorProblem(d=d, r=r) | ContrastiveProblem(d=d, r=r):
            return d * r, r, d
        case MixtureProblem(d=d, n_components=k):
            return k * d, k, k * d
    raise TypeError(f"problem is a {type(problem).__name__}: a FactorProblem, MixtureProblem or ContrastiveProblem is needed")


def bound(problem: Problem, m: int, n: int, *, kappa: float = 1.0, loss_bound: float = 1.0) -> Bound:
    """The paper's upper bound on the excess risk, up to constants and logarithms (abstract; *sourced*).

    It says how fast the risk falls at the least and what it depends on, not how large it is.

    >>> b = bound(FactorProblem(d=100, r=4), m=40_000, n=100)
    >>> round(b.m_term, 3), round(b.n_term, 3), round(b.supervised, 3)
    (0.1, 0.2, 1.0)
    """
    model, head, both = complexities(problem)
    whole("m", m)
    whole("n", n)
    positive("kappa", kappa)
    scale = positive("loss_bound", loss_bound)
    return Bound(kappa * scale * math.sqrt(model / m), scale * math.sqrt(head / n), scale * math.sqrt(both / n))
