"""Cycles and orders, against networkx."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workingpapers.parts.causal import find_cycle, first_dag, is_dag, topological_order

digraphs = (
    st.integers(2, 7)
    .flatmap(lambda d: st.lists(st.lists(st.booleans(), min_size=d, max_size=d), min_size=d, max_size=d))
    .map(lambda rows: np.array(rows, dtype=float))
)


@settings(deadline=None, max_examples=60)
@given(digraphs)
def test_a_cycle_is_found_exactly_where_networkx_sees_one(B: np.ndarray) -> None:
    cycle = find_cycle(B)
    assert is_dag(B) == nx.is_directed_acyclic_graph(nx.DiGraph(B)) == (not cycle)
    for i, j in zip(cycle, cycle[1:] + cycle[:1]):
        assert B[i, j]


@settings(deadline=None, max_examples=60)
@given(digraphs)
def test_the_first_dag_has_no_cycle_and_keeps_what_is_strong(B: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    W = B * rng.uniform(0.1, 2.0, B.shape)
    kept = first_dag(W)
    assert is_dag(kept)
    off = W * (1 - np.eye(len(W)))
    removed = off[(off != 0) & (kept == 0)]
    if removed.size:  # one edge more would close a cycle, and all that is left is stronger
        assert kept[kept != 0].size == 0 or kept[kept != 0].min() > removed.max()
        assert not is_dag(np.where(off >= removed.max(), off, 0.0))
    order = topological_order(kept)
    place = np.argsort(order)
    assert all(place[i] < place[j] for i, j in np.argwhere(kept))


def test_a_cycle_is_named() -> None:
    with pytest.raises(ValueError, match=r"cycle: (0 -> 1 -> 0|1 -> 0 -> 1)"):
        topological_order([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="square"):
        find_cycle(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="NaN"):
        find_cycle([[0, np.nan], [0, 0]])
