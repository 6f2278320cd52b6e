"""Orders and cycles of adjacency matrices `(d, d)`; `W[i, j] != 0` means i -> j."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Order = npt.NDArray[np.int64]


def square(W: Any, name: str = "W") -> Matrix:
    """`W` as a finite square matrix of floats.

    Raises:
        ValueError: not two equal sides, or a value that is not finite.
    """
    found = np.asarray(W, dtype=np.float64)
    if found.ndim != 2 or found.shape[0] != found.shape[1]:
        raise ValueError(f"{name} has shape {found.shape}: a square matrix (d, d) is needed")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} holds NaN or infinite values")
    return found


def find_cycle(W: Any) -> list[int]:
    """Nodes of one directed cycle, its first not repeated; empty where there is none.

    >>> find_cycle([[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    []
    >>> sorted(find_cycle([[0, 1, 0], [0, 0, 1], [1, 0, 0]]))
    [0, 1, 2]
    """
    linked = square(W) != 0
    left = np.ones(len(linked), dtype=bool)
    while True:  # what has no parent, or no child, among those left lies on no cycle
        inside = linked & left[:, None] & left[None, :]
        keep = left & inside.any(axis=0) & inside.any(axis=1)
        if (keep == left).all():
            break
        left = keep
    if not left.any():
        return []
    path: list[int] = []
    seen: dict[int, int] = {}
    node = int(np.flatnonzero(left)[0])
    while node not in seen:
        seen[node] = len(path)
        path.append(node)
        node = int(np.flatnonzero(inside[node])[0])
    return path[seen[node]:]


def is_dag(W: Any) -> bool:
    """Whether no directed cycle is there; a loop at a node is one."""
    return not find_cycle(W)


def topological_order(W: Any) -> Order:
    """Parents before children, `(d,)`; among nodes that may come next, the lowest index first. O(d^2).

    >>> topological_order([[0, 0, 0], [1, 0, 0], [1, 1, 0]]).tolist()
    [2, 1, 0]

    Raises:
        ValueError: there is a cycle; the text lists one.
    """
    linked = square(W) != 0
    waiting = linked.sum(axis=0)
    done = np.zeros(len(linked), dtype=bool)
    order = np.empty(len(linked), dtype=np.int64)
    for k in range(len(linked)):
        free = np.flatnonzero((waiting == 0) & ~done)
        if not len(free):
            cycle = find_cycle(linked)
            raise ValueError(f"W has a cycle: {' -> '.join(map(str, [*cycle, cycle[0]]))}. Remove an edge, or use first_dag(W)")
        order[k] = free[0]
        done[free[0]] = True
        waiting -= linked[free[0]]
    return order


def first_dag(W: Any) -> Matrix:
    """W with its weakest edges removed, weakest first, just until no cycle is left; the diagonal is removed too.

    For the answers of continuous solvers, which come with small weights that close cycles. O(d^2 log d) searches at most.

    >>> first_dag([[0, 1.5, 0], [0.01, 0, 2], [0, 0, 0]])
    array([[0. , 1.5, 0. ],
           [0. , 0. , 2. ],
           [0. , 0. , 0. ]])
    """
    kept = square(W).copy()
    np.fill_diagonal(kept, 0.0)
    strengths = np.unique(np.abs(kept[kept != 0]))
    low, high = -1, len(strengths) - 1  # removing all up to strengths[high] leaves nothing, which has no cycle
    if is_dag(kept):
        return kept
    while high - low > 1:
        middle = (low + high) // 2
        if is_dag(np.where(np.abs(kept) > strengths[middle], kept, 0.0)):
            high = middle
        else:
            low = middle
    return np.where(np.abs(kept) > strengths[high], kept, 0.0)
