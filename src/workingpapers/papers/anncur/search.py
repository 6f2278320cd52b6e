"""The two searches: anchors at once (ANNCUR), and anchors chosen over rounds (its follow-up, ADACUR).

Both spend a fixed number of scores a query, and return everything that was scored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workingpapers.papers.anncur.solver import Basis, Floats, Ints, complete

ScoreItems = Callable[[Ints], NDArray[np.float32]]
"""Exact scores (q, b) of items (q, b), row by row for the queries of the batch."""


@dataclass(frozen=True)
class Scored:
    """All that was scored for a batch of queries.

    Attributes:
        items, scores: (q, B).
        guess: (q, B') what the approximation said of the last B' of them before they were scored.
        approx: (q, N) the last approximation, without the offset of already scored items.
    """

    items: Ints
    scores: NDArray[np.float32]
    guess: NDArray[np.float32]
    approx: NDArray[np.float32]


def top(scores: NDArray[np.float32], n: int) -> Ints:
    """Indices (q, n) of the n largest of each row, in no particular order; exact.

    A sample of each long row gives a threshold that about 2 n items pass; only those are partitioned, which is some
    ten times faster than partitioning 100,000 items.
    """
    q, size = scores.shape
    n = min(n, size)
    out = np.empty((q, n), np.int64)
    if n == 0:
        return out
    stride = 16
    want = int(2 * n / stride + 4 * (2 * n / stride) ** 0.5 + 8)
    for row in range(q):
        s = scores[row]
        if size > 16 * stride and want < size // stride // 2:
            sample = s[::stride]
            threshold = np.partition(sample, len(sample) - want)[len(sample) - want]
            passed = np.flatnonzero(s >= threshold)
            if n <= len(passed) < size // 2:
                out[row] = passed[np.argpartition(s[passed], len(passed) - n)[len(passed) - n :]]
                continue
        out[row] = np.argpartition(s, size - n)[size - n :]
    return out


def one_shot(score: ScoreItems, q: int, anchors: Ints, E: Floats, reranked: int) -> Scored:
    """Score the anchors, rebuild the row (s = c E), score the `reranked` best of it. E is (k_i, N)."""
    asked = np.broadcast_to(anchors, (q, len(anchors)))
    c = score(asked)
    E = E.astype(np.float32, copy=False)
    approx = np.asarray((E.T @ c[0])[None] if q == 1 else c @ E, dtype=np.float32)
    hidden = approx[:, anchors]
    approx[:, anchors] = -np.inf
    best = top(approx, min(reranked, approx.shape[1] - len(anchors)))
    guess = np.take_along_axis(approx, best, 1)
    approx[:, anchors] = hidden
    exact = score(best) if best.shape[1] else np.empty((q, 0), np.float32)
    return Scored(np.hstack([asked, best]), np.hstack([c, exact]), guess, approx)


def in_rounds(
    score: ScoreItems, basis: Basis, first: Ints, sizes: list[int], ridge: float, leave_out: Ints | None = None
) -> Scored:
    """Score `first` (q, b), then in each round the best `sizes[t]` of the row rebuilt from everything scored so far.

    Round t costs one product (N, n_q) x (n_q, q) and the solution of m equations, m the items scored so far (reconstructed
    from the abstract of the follow-up: s = (M_q[A] pinv(R[:, A])) R, add the best unscored items).
    """
    items, scores = first, score(first)
    guess = np.empty((len(first), 0), np.float32)
    approx = np.zeros((len(first), len(basis.S)), np.float32)
    for size in sizes:
        approx = complete(basis, items, scores, ridge, leave_out)
        known = np.take_along_axis(approx, items, 1)
        np.put_along_axis(approx, items, np.float32(-np.inf), 1)
        best = top(approx, size)
        np.put_along_axis(approx, items, known, 1)
        guess = np.take_along_axis(approx, best, 1)
        items = np.hstack([items, best])
        scores = np.hstack([scores, score(best)])
    return Scored(items, scores, guess, approx)


def best_of(scored: Scored, k: int) -> tuple[Ints, NDArray[np.float32]]:
    """The k best scored items of each query, best first, ties by lower index: (q, k) indices and scores."""
    order = np.lexsort((scored.items, -scored.scores), axis=1)[:, :k]
    return np.take_along_axis(scored.items, order, 1), np.take_along_axis(scored.scores, order, 1)


def parts(total: int, n: int) -> list[int]:
    """`total` in n whole parts as equal as can be, the larger ones first.

    >>> parts(10, 4)
    [3, 3, 2, 2]
    """
    return [total // n + (i < total % n) for i in range(n)]
