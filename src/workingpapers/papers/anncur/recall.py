"""Recall of an approximate top k, and its curve over budgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def recall_at_k(exact: ArrayLike, approx: ArrayLike, k: int) -> NDArray[np.float64]:
    """Share of the true top k that was found, a query each, by exact scores so that ties count as found.

    Args:
        exact: (q, N) exact scores of all items.
        approx: (q, m >= k) indices found, best first; the first k count. A negative index stands for nothing found.
        k: length of the wanted list.

    Returns:
        (q,) in [0, 1]: how many of the first k found items score at least the k-th best exact score, over k.

    Raises:
        ValueError: for k outside 1..N, too few found items, NaN scores, or indices that are no items.

    Example:
        >>> recall_at_k([[3.0, 2.0, 2.0, 1.0]], [[0, 2]], k=2)  # items 1 and 2 tie for the second place
        array([1.])
    """
    scores, found = np.atleast_2d(np.asarray(exact, dtype=float)), np.atleast_2d(np.asarray(approx))
    n = scores.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"k: {k} is not between 1 and the number of items, {n}")
    if found.shape[0] != scores.shape[0] or found.shape[1] < k:
        raise ValueError(f"approx: shape {found.shape} does not give {k} items for each of {scores.shape[0]} queries")
    if np.isnan(scores).any():
        raise ValueError("exact: NaN among the scores")
    found = found[:, :k]
    if found.max(initial=0) >= n:
        raise ValueError(f"approx: index {found.max()} is not among {n} items")
    ordered = np.sort(found, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise ValueError("approx: an item stands twice in one list")
    least = np.partition(scores, n - k, axis=1)[:, n - k]
    reached = np.take_along_axis(scores, found.clip(min=0), 1) >= least[:, None]
    return np.asarray((reached & (found >= 0)).sum(1) / k)


def recall_vs_budget(
    search: Callable[[int], ArrayLike], exact: ArrayLike, budgets: Sequence[int], ks: Sequence[int] = (1, 10, 50, 100)
) -> dict[int, NDArray[np.float64]]:
    """Recall@k over budgets: for each k an array (len(budgets), q), NaN where the budget is below k.

    Args:
        search: budget -> (q, >= max k <= budget) indices found, best first.
        exact: (q, N) exact scores.

    Example:
        >>> scores = np.array([[0.1, 0.9, 0.5]])
        >>> curve = recall_vs_budget(lambda budget: np.array([[0, 1, 2]])[:, :budget], scores, budgets=[1, 2], ks=[1, 2])
        >>> curve[1].ravel().tolist(), curve[2].ravel().tolist()
        ([0.0, 0.0], [nan, 0.5])
    """
    scores = np.atleast_2d(np.asarray(exact, dtype=float))
    curves = {k: np.full((len(budgets), len(scores)), np.nan) for k in ks}
    for row, budget in enumerate(budgets):
        found = np.asarray(search(budget))
        for k in ks:
            if k <= min(budget, found.shape[1]):
                curves[k][row] = recall_at_k(scores, found, k)
    return curves
