"""The interface of scikit-learn's neighbour searches, for any expensive distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workingpapers.papers.anncur.index import CURIndex
from workingpapers.papers.anncur.scorers import from_callable


class CrossEncoderRetriever:
    """Nearest neighbours under a costly distance, by a fixed number of its evaluations a query.

    As in scikit-learn: the constructor stores parameters, `fit` takes the items, `kneighbors` returns distances and indices.

    Args:
        metric: (a, b) -> distance, lower is nearer; a query first, an item second. Need be neither symmetric nor a metric.
        n_neighbors: default k.
        budget: evaluations of `metric` a query.
        rounds: 1 for fixed anchors, more for anchors chosen over rounds (see `CURIndex.search`).
        n_anchor_queries: rows of X (or of `queries`) scored against all items at `fit`.
        ridge: see `CURIndex`.
        random_state: seed.

    Attributes:
        index_: the fitted `CURIndex`. n_calls_: evaluations of `metric` so far, fit and searches.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> near = CrossEncoderRetriever(lambda a, b: float(np.square(a - b).sum()), n_anchor_queries=30, budget=40)
        >>> distances, indices = near.fit(X).kneighbors(X[:5], n_neighbors=1)
        >>> indices.ravel()
        array([0, 1, 2, 3, 4])
    """

    def __init__(
        self,
        metric: Callable[[Any, Any], float],
        *,
        n_neighbors: int = 5,
        budget: int = 200,
        rounds: int = 5,
        n_anchor_queries: int = 100,
        ridge: Any = "loo",
        random_state: int = 0,
    ) -> None:
        self.metric = metric
        self.n_neighbors = n_neighbors
        self.budget = budget
        self.rounds = rounds
        self.n_anchor_queries = n_anchor_queries
        self.ridge = ridge
        self.random_state = random_state

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name, as scikit-learn's `clone` asks for them."""
        names = ("metric", "n_neighbors", "budget", "rounds", "n_anchor_queries", "ridge", "random_state")
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> CrossEncoderRetriever:
        """Set parameters by name; an unknown one is a ValueError."""
        unknown = set(params) - set(self.get_params())
        if unknown:
            raise ValueError(f"{min(unknown)}: no such parameter")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def fit(self, X: Sequence[Any], y: None = None, *, queries: Sequence[Any] | None = None) -> CrossEncoderRetriever:
        """Index the items X; anchor queries are drawn from `queries`, or from X itself.

        Cost: n_anchor_queries x len(X) evaluations of `metric`.
        """
        if not callable(self.metric):
            raise TypeError(f"metric: {type(self.metric).__name__} is not callable")
        if len(X) < 2:
            raise ValueError(f"X: {len(X)} items, at least 2 are needed")
        pool = X if queries is None else queries
        self.n_calls_ = 0
        self._items, self._queries = X, list(pool)
        scorer = from_callable(self._negated, name="metric")
        self.index_ = CURIndex(
            scorer, n_anchor_queries=min(self.n_anchor_queries, len(pool)), ridge=self.ridge, seed=self.random_state
        ).fit(range(len(X)), range(len(self._queries)))
        return self

    def _negated(self, pairs: Sequence[tuple[int, int]]) -> list[float]:
        self.n_calls_ += len(pairs)
        return [-float(self.metric(self._queries[q], self._items[i])) for q, i in pairs]

    def kneighbors(
        self, X: Sequence[Any], n_neighbors: int | None = None, return_distance: bool = True
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]] | NDArray[np.int64]:
        """Distances (q, k), nearest first, and indices (q, k) of the items; indices alone with `return_distance=False`."""
        if not hasattr(self, "index_"):
            raise RuntimeError("this CrossEncoderRetriever is not fitted: call fit(X) first")
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        start = len(self._queries)
        self._queries = self._queries + list(X)
        try:
            found = self.index_.search(range(start, len(self._queries)), k=k, budget=self.budget, rounds=self.rounds)
        finally:
            self._queries = self._queries[:start]
        assert found.scores is not None
        return (-found.scores, found.indices) if return_distance else found.indices
