"""First and second moments that can be taken in chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._checks import Array

CHUNK_NUMBERS = 1 << 22


@dataclass(frozen=True)
class Moments:
    """Count, mean `(d,)` and scatter `(d, d)` of rows: the sum of outer products of deviations from the mean."""

    count: int
    mean: Array
    scatter: Array

    @classmethod
    def of(cls, x: Array) -> Moments:
        """Moments of rows `x` `(m, d)`; O(m d^2) time, O(d^2) memory beside the rows and one chunk of them."""
        step = max(1, CHUNK_NUMBERS // x.shape[1])
        found = cls._one(x[:step])
        for start in range(step, len(x), step):
            found = found.merge(cls._one(x[start : start + step]))
        return found

    @classmethod
    def _one(cls, x: Array) -> Moments:
        mean = x.mean(axis=0)
        centred = x - mean
        return cls(len(x), mean, centred.T @ centred)

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of rows (Chan, Golub and LeVeque's update)."""
        total = self.count + other.count
        gap = other.mean - self.mean
        return Moments(
            total,
            self.mean + gap * (other.count / total),
            self.scatter + other.scatter + np.outer(gap, gap) * (self.count * other.count / total),
        )

    def second(self, *, centre: bool) -> Array:
        """Covariance (divided by the count), or the second moment about zero, `(d, d)`."""
        about_mean = self.scatter / self.count
        return about_mean if centre else about_mean + np.outer(self.mean, self.mean)
