"""Links: how likely a person is to call the first of two trajectories the better one, given the difference of their returns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

LOGISTIC, PROBIT, DETERMINISTIC = 0, 1, 2
CODES = {"logistic": LOGISTIC, "probit": PROBIT, "deterministic": DETERMINISTIC}
_FAR = -25.0


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def log_likelihood(z: float, code: int) -> tuple[float, float, float]:
    """`log Phi(z)`, its slope, and minus its curvature (all finite for every finite z)."""
    if code == 0:
        e = math.exp(-abs(z))
        wrong = e / (1.0 + e) if z > 0 else 1.0 / (1.0 + e)  # 1 - Phi(z), without cancellation
        return (-math.log1p(e) if z > 0 else z - math.log1p(e)), wrong, wrong * (1.0 - wrong)
    if z < _FAR:  # where erfc nears the end of its range: the expansion of Mills' ratio
        mills = 1.0 - 1.0 / z**2 + 3.0 / z**4 - 15.0 / z**6
        slope = -z / mills
        return -0.5 * z * z - math.log(-z * math.sqrt(2 * math.pi)) + math.log(mills), slope, slope * (z + slope)
    cdf = 0.5 * math.erfc(-z / math.sqrt(2.0))
    slope = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) / cdf
    log = math.log(cdf) if z < 0 else math.log1p(-0.5 * math.erfc(z / math.sqrt(2.0)))
    return log, slope, slope * (z + slope)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def slopes(z: float, code: int) -> tuple[float, float]:
    """Slopes of `log Phi` at z and at -z: for the logistic link one exponential, and no logarithm."""
    if code == 0:
        e = math.exp(-abs(z))
        far, near = e / (1.0 + e), 1.0 / (1.0 + e)
        return (far, near) if z > 0 else (near, far)
    return log_likelihood(z, code)[1], log_likelihood(-z, code)[1]


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def probability(z: float, code: int) -> float:
    """`Phi(z)`; a step with one half at 0 for the deterministic link."""
    if code == 0:
        e = math.exp(-abs(z))
        return 1.0 / (1.0 + e) if z > 0 else e / (1.0 + e)
    if code == 1:
        return 0.5 * math.erfc(-z / math.sqrt(2.0))
    return 1.0 if z > 0 else 0.0 if z < 0 else 0.5


@dataclass(frozen=True)
class Link:
    """`P(first preferred) = Phi(gain * difference of returns)`.

    Attributes:
        name: `logistic`, `probit`, or (for oracles only) `deterministic`.
        gain: how sharply a person tells returns apart. What is learned is then in the unit of the returns.

    >>> Link("logistic", gain=4.0).probability(0.5)
    0.880797077977882...
    """

    name: str = "logistic"
    gain: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in CODES:
            raise ValueError(f"link is {self.name!r}: there are {', '.join(CODES)}")
        if not (math.isfinite(self.gain) and self.gain > 0):
            raise ValueError(f"gain is {self.gain!r}: a finite number above 0 is needed")

    @property
    def code(self) -> int:
        """The number by which compiled code knows the link."""
        return CODES[self.name]

    def probability(self, difference: float) -> float:
        """Probability that the first is preferred when its return is larger by `difference`."""
        return float(probability(self.gain * float(difference), self.code))

    def entropy(self, difference: float | npt.ArrayLike) -> Any:
        """Entropy of the answer in bits: 1 where it is a coin's toss, 0 where it tells nothing but the sign."""
        p = np.vectorize(self.probability, otypes=[float])(difference)
        with np.errstate(divide="ignore", invalid="ignore"):
            bits = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
        return np.nan_to_num(bits, nan=0.0)[()]

    @classmethod
    def of(cls, link: str | Link) -> Link:
        """The link itself, or the one of this name with gain 1."""
        if isinstance(link, Link):
            return link
        if not isinstance(link, str):
            raise TypeError(f"link is {link!r}: a name or a Link is needed")
        return cls(link)
