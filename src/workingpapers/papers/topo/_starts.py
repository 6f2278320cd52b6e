"""Starts as users have them: matrices, data frames, orders of names, graphs of networkx and causal-learn."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from workingpapers.parts.causal.graphs import square

from ._orders import Matrix, Order


def as_start(given: Any, names: Sequence[Hashable]) -> Matrix | Order:
    """Weights `(d, d)` or an order `(d,)` in the columns' order.

    Args:
        given: a matrix; a data frame with variables as rows and columns; an order of positions or of names; a `networkx.DiGraph`; a
            graph of causal-learn whose edges are all directed.
        names: of the columns of X.

    Raises:
        ValueError: variables that are not those of X, undirected edges, a matrix that is not square or not finite.
    """
    place = {name: k for k, name in enumerate(names)}
    if hasattr(given, "is_directed") and hasattr(given, "adj"):
        return _from_networkx(given, place)
    if hasattr(given, "get_nodes") and hasattr(given, "graph"):
        return _from_causal_learn(np.asarray(given.graph), len(names))
    if hasattr(given, "columns") and hasattr(given, "index") and set(given.columns) == set(names):
        _same(given.index, place)
        return square(given.loc[list(names), list(names)], "W_or_order")
    found = np.asarray(given)
    if found.ndim == 2:
        return square(found, "W_or_order")
    if found.ndim == 1 and not np.issubdtype(found.dtype, np.number):
        _same(found.tolist(), place)
        return np.array([place[name] for name in found.tolist()], dtype=np.int64)
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer):
        raise ValueError(f"W_or_order is {type(given).__name__} of shape {found.shape}: weights (d, d), an order (d,), a networkx.DiGraph "
                         "or a causal-learn graph is needed")
    return found.astype(np.int64)


def _same(nodes: Any, place: dict[Hashable, int]) -> None:
    if len(list(nodes)) != len(place) or set(nodes) != set(place):
        odd = next((str(x) for x in [*nodes, *place] if x not in place or x not in set(nodes)), "a name that stands twice")
        raise ValueError(f"W_or_order must be over the {len(place)} columns of X, each once; {odd} is at fault")


def _from_networkx(graph: Any, place: dict[Hashable, int]) -> Matrix:
    if not graph.is_directed():
        raise ValueError("W_or_order is an undirected graph: give a networkx.DiGraph")
    _same(graph.nodes, place)
    W = np.zeros((len(place), len(place)))
    for i, j, weight in graph.edges(data="weight", default=1.0):
        W[place[i], place[j]] = weight
    return square(W, "W_or_order")


def _from_causal_learn(ends: Any, d: int) -> Matrix:
    """[i, j] = -1 and [j, i] = 1 is i -> j there."""
    if ends.shape != (d, d):
        raise ValueError(f"W_or_order is over {len(ends)} variables, X has {d}")
    directed = (ends == -1) & (ends.T == 1)
    if ((ends != 0) & ~directed & ~directed.T).any():
        raise ValueError("W_or_order has edges without a direction: direct them first, for instance with "
                         "causallearn.utils.PDAG2DAG.pdag2dag")
    return np.asarray(directed, dtype=np.float64)
