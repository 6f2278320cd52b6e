"""Score matrices of known rank, and a scorer that counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


class Counting:
    """Replays a matrix and counts, a query each, the different pairs that it was asked for."""

    fingerprint = "counting"

    def __init__(self, M: NDArray[np.floating]) -> None:
        self.M, self.calls, self.asked = M, 0, {}

    def __call__(self, pairs: Sequence[tuple[Any, Any]]) -> NDArray[np.float32]:
        self.calls += len(pairs)
        for q, i in pairs:
            self.asked.setdefault(q, []).append(i)
        return np.array([self.M[q, i] for q, i in pairs], dtype=np.float32)


def low_rank(queries: int, items: int, rank: int, seed: int = 0, noise: float = 0.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    M = rng.normal(size=(queries, rank)) @ rng.normal(size=(rank, items)) / rank**0.5
    return M + noise * rng.normal(size=M.shape)


@pytest.fixture
def noisy() -> NDArray[np.float64]:
    """80 queries, 400 items, rank 8, some noise, and a large offset in each row as [CLS] scores have."""
    return low_rank(80, 400, 8, noise=0.1) + 20 * np.random.default_rng(9).normal(size=(80, 1))
