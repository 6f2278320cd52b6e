"""Oracles: the cheapest of many combined choices, for a cost of each part. What an oracle gives back is an indicator of the parts chosen.

    chosen = oracle(costs)      costs (n,) or, for the path on a DAG, (K, n); chosen has the same shape, 0.0 or 1.0

Any function of this shape serves `FollowThePerturbedLeader`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Oracle(Protocol):
    """Cheapest choice for costs `(n,)`: an indicator `(n,)`."""

    def __call__(self, costs: Array) -> Array:
        """The choice."""


def _edges(edges: Iterable[tuple[int, int]]) -> tuple[Integers, int]:
    array = np.asarray(list(edges))
    if array.ndim != 2 or array.shape[1] != 2 or len(array) == 0 or not np.issubdtype(array.dtype, np.integer) or array.min() < 0:
        raise ValueError("edges must be pairs of node numbers, 0 or more, one pair an edge")
    return array.astype(np.int64), int(array.max()) + 1


def _costs(costs: npt.ArrayLike, n: int) -> Array:
    array = np.asarray(costs, dtype=np.float64)
    if array.shape[-1:] != (n,) or array.ndim > 2 or not np.isfinite(array).all():
        raise ValueError(f"costs have the shape {array.shape}: {n} finite numbers, one for each part, are needed")
    return array


# ---------------------------------------------------------------- paths


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _cheapest_paths(costs: Array, tail: Integers, head: Integers, order: Integers, source: int, target: int, nodes: int,
                    chosen: Array) -> None:
    """One pass over the edges in topological order for each row of costs, then back from the target."""
    distance, by = np.empty(nodes), np.empty(nodes, dtype=np.int64)
    for k in range(len(costs)):
        distance[:] = np.inf
        distance[source] = 0.0
        for i in range(len(order)):
            e = order[i]
            through = distance[tail[e]] + costs[k, e]
            if through < distance[head[e]]:
                distance[head[e]] = through
                by[head[e]] = e
        node = target
        while node != source:
            chosen[k, by[node]] = 1.0
            node = tail[by[node]]


class DagShortestPath:
    """Shortest path in a directed graph without cycles: one pass over the edges, O(E), for any costs, negative ones too.

    Args:
        edges: pairs (tail, head).
        source, target: nodes.

    Raises:
        ValueError: a cycle; no path.

    >>> oracle = DagShortestPath([(0, 1), (1, 3), (0, 2), (2, 3)], 0, 3)
    >>> oracle([1.0, 1.0, 5.0, -4.0]).tolist()
    [0.0, 0.0, 1.0, 1.0]
    """

    def __init__(self, edges: Iterable[tuple[int, int]], source: int, target: int) -> None:
        self.edges, self.nodes = _edges(edges)
        self.n, self.source, self.target = len(self.edges), source, target
        rank = _topological_rank(self.edges, self.nodes)
        self._tail, self._head = np.ascontiguousarray(self.edges[:, 0]), np.ascontiguousarray(self.edges[:, 1])
        self._order = np.argsort(rank[self._tail], kind="stable").astype(np.int64)
        reached = {source}
        for e in self._order.tolist():
            if self._tail[e] in reached:
                reached.add(int(self._head[e]))
        if target not in reached or source == target:
            raise ValueError(f"no path leads from source {source} to target {target}")

    def __call__(self, costs: npt.ArrayLike) -> Array:
        """Indicator of the edges of a shortest path; one path a row for costs `(K, E)`."""
        array = _costs(costs, self.n)
        chosen = np.zeros_like(np.atleast_2d(array))
        _cheapest_paths(np.atleast_2d(array), self._tail, self._head, self._order, self.source, self.target, self.nodes, chosen)
        return chosen.reshape(array.shape)


def _topological_rank(edges: Integers, nodes: int) -> Integers:
    incoming = np.bincount(edges[:, 1], minlength=nodes)
    heads: list[list[int]] = [[] for _ in range(nodes)]
    for a, b in edges.tolist():
        heads[a].append(b)
    ready, rank = [v for v in range(nodes) if incoming[v] == 0], np.full(nodes, -1, dtype=np.int64)
    for place, v in enumerate(ready):
        rank[v] = place
        for w in heads[v]:
            incoming[w] -= 1
            if incoming[w] == 0:
                ready.append(w)
    if len(ready) < nodes:
        raise ValueError("edges form a cycle: use DijkstraPath")
    return rank


class DijkstraPath:
    """Shortest path in any directed graph by Dijkstra's algorithm (scipy); costs must not be negative.

    With `FollowThePerturbedLeader` use `noise="uniform"`, which is never negative.

    >>> DijkstraPath([(0, 1), (1, 0), (1, 2), (0, 2)], 0, 2)([1.0, 1.0, 1.0, 3.0]).tolist()
    [1.0, 0.0, 1.0, 0.0]
    """

    def __init__(self, edges: Iterable[tuple[int, int]], source: int, target: int) -> None:
        self.edges, self.nodes = _edges(edges)
        self.n, self.source, self.target = len(self.edges), source, target
        if source == target or not self._path(np.ones(self.n)):
            raise ValueError(f"no path leads from source {source} to target {target}")

    def __call__(self, costs: npt.ArrayLike) -> Array:
        """Indicator of the edges of a shortest path."""
        array = _costs(costs, self.n)
        if array.ndim != 1 or array.min() < 0:
            raise ValueError("costs must be one row of numbers that are not negative: with perturbed leaders use noise='uniform', "
                             "or DagShortestPath where the graph has no cycle")
        chosen = np.zeros(self.n)
        chosen[self._path(array)] = 1.0
        return chosen

    def _path(self, costs: Array) -> list[int]:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import dijkstra

        # scipy takes an explicit 0 for an edge, but adds parallel edges up: keep the cheapest of each pair.
        cheapest: dict[tuple[int, int], int] = {}
        for e in np.argsort(costs, kind="stable").tolist():
            cheapest.setdefault((int(self.edges[e, 0]), int(self.edges[e, 1])), e)
        tails, heads = np.array(list(cheapest)).T
        graph = csr_array((costs[list(cheapest.values())], (tails, heads)), shape=(self.nodes, self.nodes))
        _, before = dijkstra(graph, indices=self.source, return_predecessors=True)
        path, node = [], self.target
        while node != self.source:
            if before[node] < 0:
                return []
            path.append(cheapest[int(before[node]), node])
            node = int(before[node])
        return path


# ---------------------------------------------------------------- trees and assignments


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _kruskal(order: Integers, a: Integers, b: Integers, nodes: int, chosen: Array) -> int:
    parent, size = np.arange(nodes), 0
    for i in range(len(order)):
        e = order[i]
        u, v = a[e], b[e]
        while parent[u] != u:
            parent[u] = parent[parent[u]]
            u = parent[u]
        while parent[v] != v:
            parent[v] = parent[parent[v]]
            v = parent[v]
        if u != v:
            parent[u] = v
            chosen[e] = 1.0
            size += 1
    return size


class SpanningTree:
    """Cheapest spanning tree of an undirected graph (Kruskal), for any costs.

    >>> SpanningTree([(0, 1), (1, 2), (0, 2)])([3.0, 1.0, 2.0]).tolist()
    [0.0, 1.0, 1.0]
    """

    def __init__(self, edges: Iterable[tuple[int, int]]) -> None:
        self.edges, self.nodes = _edges(edges)
        self.n = len(self.edges)
        self._a, self._b = np.ascontiguousarray(self.edges[:, 0]), np.ascontiguousarray(self.edges[:, 1])
        if _kruskal(np.arange(self.n), self._a, self._b, self.nodes, np.zeros(self.n)) < self.nodes - 1:
            raise ValueError("edges do not connect all nodes")

    def __call__(self, costs: npt.ArrayLike) -> Array:
        """Indicator of the edges of the tree."""
        array, chosen = _costs(costs, self.n), np.zeros(self.n)
        _kruskal(np.argsort(array, kind="stable"), self._a, self._b, self.nodes, chosen)
        return chosen


class Assignment:
    """Cheapest assignment of `workers` to as many jobs (scipy); costs are the matrix row after row, `(workers^2,)`.

    >>> Assignment(2)([1.0, 5.0, 5.0, 9.0]).reshape(2, 2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}: 1 at least")
        self.workers, self.n = workers, workers**2

    def __call__(self, costs: npt.ArrayLike) -> Array:
        """Indicator of the pairs chosen, row after row."""
        from scipy.optimize import linear_sum_assignment

        chosen = np.zeros((self.workers, self.workers))
        chosen[linear_sum_assignment(_costs(costs, self.n).reshape(chosen.shape))] = 1.0
        return chosen.reshape(-1)


def path_nodes(edges: Sequence[Sequence[int]] | Integers, chosen: npt.ArrayLike) -> list[int]:
    """The nodes of a path in order, from the indicator of its edges.

    >>> path_nodes([(0, 1), (1, 3), (0, 2), (2, 3)], [0, 0, 1, 1])
    [0, 2, 3]
    """
    pairs = np.asarray(edges)[np.flatnonzero(np.asarray(chosen))].tolist()
    after = {int(a): int(b) for a, b in pairs}
    start = set(after) - set(after.values())
    if len(start) != 1:
        raise ValueError("chosen is not one path")
    nodes = [start.pop()]
    while nodes[-1] in after:
        nodes.append(after[nodes[-1]])
    return nodes


__all__ = ["Assignment", "DagShortestPath", "DijkstraPath", "Oracle", "SpanningTree", "path_nodes"]
