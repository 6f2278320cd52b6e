"""Kahan's compensated sum, in single precision."""

from collections.abc import Iterable

import numpy as np


def kahan_sum(x: Iterable[float]) -> float:
    """The sum of `x` in float32, with the lost low digits carried along."""
    total, lost = np.float32(0), np.float32(0)
    for value in x:
        step = np.float32(value) - lost
        raised = total + step
        lost = (raised - total) - step
        total = raised
    return float(total)
