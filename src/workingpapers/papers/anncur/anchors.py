"""Which items to score first: other choices than the paper's uniform draw (ours; at no model call, from the index alone)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

CHOICES = ("random", "leverage", "pivoted-qr")


def order(S: NDArray[Any], n: int, choice: str, keys: NDArray[np.float64]) -> NDArray[np.int64]:
    """Items in the order in which they become anchors, the first n of which are chosen by `choice`.

    Args:
        S: (N, n_q) scores, items first.
        keys: (N,) uniform random keys; they make the draw.

    "leverage": without replacement, with probability by the item's leverage in the top min(n, n_q) singular directions
    (Gumbel keys). "pivoted-qr": greedily the item farthest from the span of those before it; for n above n_q the rest follow `keys`.
    Both O(N n_q^2).
    """
    if choice == "random":
        return np.argsort(keys, kind="stable")
    centred = S.astype(np.float64) - S.mean(0, dtype=np.float64)
    if choice == "leverage":
        left, sigma, _ = np.linalg.svd(centred, full_matrices=False)
        rank = min(n, int((sigma > 1e-10 * sigma[0]).sum()) if sigma[0] > 0 else 1)
        leverage = np.square(left[:, :rank]).sum(1) + 1e-12
        return np.argsort(-(np.log(leverage) - np.log(-np.log(keys.clip(1e-300, 1 - 1e-16)))), kind="stable")
    if choice == "pivoted-qr":
        pivots = linalg.qr(centred.T, mode="r", pivoting=True, check_finite=False)[1]
        lead = np.asarray(pivots[: min(n, *S.shape)], dtype=np.int64)
        rest = np.setdiff1d(np.argsort(keys, kind="stable"), lead, assume_unique=True)
        rest = rest[np.argsort(keys[rest], kind="stable")]
        return np.concatenate([lead, rest])
    raise ValueError(f"anchor_choice: {choice!r} is none of {', '.join(map(repr, CHOICES))}")
