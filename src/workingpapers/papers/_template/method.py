"""The method: replace it by the paper's."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def median_of_means(x: ArrayLike, groups: int = 10) -> float:
    """Deal `x` into consecutive groups, average each, and take the median of the averages. Cost O(n).

    Args:
        x: numbers, (n,).
        groups: how many, from 1 (the mean) to n (the median).

    Returns:
        The estimate, in the unit of `x`.

    Raises:
        ValueError: `x` is empty, not one-dimensional or not finite, or `groups` is outside 1..n.

    >>> median_of_means([1.0, 3.0, 5.0, 7.0], groups=2)
    4.0
    """
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError("x must be a non-empty one-dimensional array of finite numbers")
    if not 1 <= groups <= values.size:
        raise ValueError(f"groups must lie in 1..{values.size}, not {groups}")
    return float(np.median([part.mean() for part in np.array_split(values, groups)]))
