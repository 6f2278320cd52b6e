"""From probabilities to integers: the tables that the codec computes with.

The sources are float32 numbers, which are whole multiples of a power of two. They are scaled, cut and shared out in 64-bit integers,
so that the same probabilities give the same tables on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

EDGE_BITS = 16
LEAF_BITS = 16
WIDE_LEAF_BITS = 20
WIDE_FROM = 257
"""Variables with so many values get leaf tables of 20 bits; else the smallest share, one unit, would weigh too much."""

_FINE = 30


def leaf_bits(largest_size: int) -> int:
    """Bits of the leaf tables of a model whose largest variable has this many values."""
    return LEAF_BITS if largest_size < WIDE_FROM else WIDE_LEAF_BITS


def to_units(probabilities: Array, bits: int) -> npt.NDArray[np.int64]:
    """Integer rows that sum to 2^bits, each entry at least 1, in proportion to the rows of `probabilities`.

    Args:
        probabilities: (..., K) float32, not negative, each row with a positive sum; K <= 2^bits.

    Every entry gets one unit; the others are shared out rounding down, what is left goes to the largest entry (the first of
    equals). Integer arithmetic only.

    Raises:
        ValueError: negative or non-finite entries, a row of zeros, more entries than units.

    Example:
        >>> to_units(np.float32([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]), 4).tolist()
        [[8, 4, 4], [14, 1, 1]]
    """
    p = np.asarray(probabilities, dtype=np.float32)
    k = p.shape[-1]
    if k > 1 << bits:
        raise ValueError(f"probabilities has {k} entries a row: {1 << bits} at most at {bits} bits")
    if not (np.isfinite(p).all() and (p >= 0).all()):
        raise ValueError("probabilities must be finite and not negative")
    largest = p.max(axis=-1, keepdims=True)
    if not (largest > 0).all():
        raise ValueError("probabilities has a row without any mass")
    # A row is first scaled by a power of two so that its largest entry lies in [0.5, 1): exact, and free of any sum of floats.
    exponent = np.frexp(largest)[1]
    fine = np.ldexp(p.astype(np.float64), _FINE - exponent).astype(np.int64)
    total = fine.sum(axis=-1, keepdims=True)
    free = (1 << bits) - k
    units = 1 + fine * free // total
    rest = (1 << bits) - units.sum(axis=-1)
    flat, winner = units.reshape(-1, k), fine.reshape(-1, k).argmax(axis=-1)
    flat[np.arange(len(flat)), winner] += rest.reshape(-1)
    return np.asarray(units)
