"""Distances between graphs, against counts by hand and against gadjid."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workingpapers.parts.causal import fdr, random_dag, shd, sid, simulate, tpr, varsortability


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return random_dag(6, 7, "ER", rng), random_dag(6, 8, "ER", rng)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 200))
def test_shd_is_the_number_of_pairs_whose_edge_differs(seed: int) -> None:
    A, B = pair(seed)
    assert shd(A, B) == sum((A[i, j], A[j, i]) != (B[i, j], B[j, i]) for i, j in itertools.combinations(range(6), 2)) == shd(B, A)
    assert shd(A, A) == 0
    hits = sum(A[i, j] == B[i, j] == 1 for i in range(6) for j in range(6))
    assert tpr(A, B) == hits / 7
    assert fdr(A, B) == 1 - hits / 8


@pytest.mark.needs("gadjid")
def test_sid_counts_effects_that_would_be_wrong() -> None:
    chain, reverse = np.array([[0, 1], [0, 0]]), np.array([[0, 0], [1, 0]])
    assert (sid(chain, chain), sid(chain, reverse)) == (0, 2)
    assert sid(np.zeros((2, 2)), chain) == 0  # adjusting for nothing is right where there is nothing


def test_sid_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gadjid", None)
    with pytest.raises(ImportError, match="pip install gadjid"):
        sid(np.zeros((2, 2)), np.zeros((2, 2)))


def test_varsortability_sees_growing_variances_and_none_after_scaling() -> None:
    made = simulate(20, 60, rng=0)
    assert varsortability(made.X, made.B) > 0.9
    scaled = made.X / made.X.std(axis=0)
    assert varsortability(scaled, made.B) == pytest.approx(0.5, abs=0.35)
    with pytest.raises(ValueError, match="columns"):
        varsortability(made.X[:, 1:], made.B)


def test_graphs_over_other_nodes_are_refused() -> None:
    with pytest.raises(ValueError, match="same nodes"):
        shd(np.zeros((2, 2)), np.zeros((3, 3)))
