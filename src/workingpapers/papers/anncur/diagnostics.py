"""What an index can tell about itself by leaving its own anchor queries out: no model call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workingpapers.papers.anncur.solver import Basis, Ints, leave_one_out

SPLITS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_FEW_RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class Diagnostics:
    """Leave-one-out forecast of an index.

    Attributes:
        spectrum: singular values of the (centred) anchor scores, largest first.
        rank99: how many of them hold 99 % of the energy.
        budgets: budgets tried.
        recall: for each k, the recall@k forecast at each budget at the best split (NaN where the budget is below k).
        split: for each k, the share of the budget to spend on anchors at each budget.
    """

    spectrum: NDArray[np.float64]
    rank99: int
    budgets: tuple[int, ...]
    recall: dict[int, NDArray[np.float64]]
    split: dict[int, NDArray[np.float64]]

    @property
    def suggested_split(self) -> float:
        """Median over all that was tried."""
        tried = np.concatenate(list(self.split.values())) if self.split else np.array([0.5])
        return float(np.nanmedian(tried)) if np.isfinite(tried).any() else 0.5


def rank_for_energy(spectrum: NDArray[np.floating], share: float = 0.99) -> int:
    """How many singular values hold `share` of the sum of squares.

    >>> rank_for_energy(np.array([3.0, 1.0, 0.1]))
    2
    """
    squares = np.cumsum(np.square(np.asarray(spectrum, dtype=float)))
    return int(np.searchsorted(squares, share * squares[-1] * (1 - 1e-12)) + 1) if squares[-1] > 0 else 0


def suggest_split(basis: Basis, order: Callable[[int], Ints], held: Ints, k: int, budget: int) -> tuple[float, float]:
    """The share of the budget on anchors with the best leave-one-out recall@k, and that recall."""
    tried = []
    for split in SPLITS:
        k_i = min(max(1, round(split * budget)), budget)
        loo = leave_one_out(basis, np.sort(order(k_i)[:k_i]), k, budget - k_i, held, _FEW_RIDGES)
        tried.append(float(loo.recall.max()))
    best = int(np.argmax(tried))
    return SPLITS[best], tried[best]


def diagnose(basis: Basis, order: Callable[[int], Ints], held: Ints, budgets: Sequence[int], ks: Sequence[int]) -> Diagnostics:
    """See `CURIndex.diagnostics`. O(n_q^3 + N n_q |held|) for each budget, k and split tried."""
    centred = basis.S.astype(np.float64) - basis.mu
    gram = centred.T @ centred if len(centred) > centred.shape[1] else centred @ centred.T
    spectrum = np.sqrt(np.linalg.eigvalsh(gram)[::-1].clip(min=0))
    n = len(basis.S)
    recall: dict[int, NDArray[np.float64]] = {}
    split: dict[int, NDArray[np.float64]] = {}
    for k in (k for k in ks if k <= n):
        found = [suggest_split(basis, order, held, k, b) if k <= b < n else (np.nan, 1.0 if b >= n else np.nan) for b in budgets]
        split[k], recall[k] = (np.array(column) for column in zip(*found))
    return Diagnostics(spectrum, rank_for_energy(spectrum), tuple(budgets), recall, split)
