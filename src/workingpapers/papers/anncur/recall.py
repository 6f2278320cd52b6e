"""Recall of an approximate top k, and its curve over budgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workingpapers.papers.anncur.search import top


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


def replay(exact: ArrayLike, approx: ArrayLike, ks: Sequence[int], reranked: Sequence[int]) -> NDArray[np.float64]:
    """Recall@k of retrieving by `approx` and reranking by `exact`, for every k and every number of reranked items at once.

    A true top item is found when its rank by `approx` is below the number of reranked items, so one sort a query
    answers the whole grid, which the official evaluation fills cell by cell.

    Args:
        exact, approx: (q, N) scores. Ties in `approx` count against the item; of ties in `exact` any will do.
        ks: lengths of the wanted list.
        reranked: numbers of items scored exactly.

    Returns:
        (len(reranked), len(ks)) mean recall, NaN where fewer items are reranked than wanted. O(q N log N).

    Example:
        >>> replay([[3.0, 2.0, 1.0]], [[0.2, 0.1, 0.9]], ks=[1], reranked=[1, 2])
        array([[0.],
               [1.]])
    """
    scores, guess = np.atleast_2d(np.asarray(exact)), np.atleast_2d(np.asarray(approx))
    if scores.shape != guess.shape:
        raise ValueError(f"approx: shape {guess.shape}, but exact has {scores.shape}")
    n, most = scores.shape[1], max(ks)
    if not 1 <= min(ks) <= most <= n:
        raise ValueError(f"ks: {list(ks)} are not all between 1 and the number of items, {n}")
    limits = np.asarray(reranked)
    out = np.zeros((len(limits), len(ks)))
    for row, other, best in zip(scores, guess, top(scores, most)):
        best = best[np.argsort(-row[best], kind="stable")]
        rank = n - np.searchsorted(np.sort(other), other[best], side="left")  # items at or above it, itself included
        found = rank <= limits[:, None]  # (limits, most)
        share = np.cumsum(found, axis=1) / np.arange(1, most + 1)
        out += share[:, np.asarray(ks) - 1]
    out /= len(scores)
    out[limits[:, None] < np.asarray(ks)] = np.nan
    return out
