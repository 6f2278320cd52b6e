"""Simulated problems are what they say."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from workingpapers.parts.causal import is_dag, random_dag, simulate
from workingpapers.parts.causal.simulate import SemName


@pytest.mark.parametrize("graph", ["ER", "SF", "BP"])
def test_graphs_are_acyclic_and_of_their_size(graph: str) -> None:
    for seed in range(5):
        B = random_dag(20, 40, graph, np.random.default_rng(seed))
        assert is_dag(B)
        assert B.sum() == (40 - 3 if graph == "SF" else 40)  # the first node has no parent, the second one
        if graph == "BP":
            assert not (B.sum(axis=0) * B.sum(axis=1)).any()


def test_scale_free_graphs_have_hubs() -> None:
    def hub(graph: str) -> float:
        return float(np.mean([random_dag(60, 120, graph, np.random.default_rng(s)).sum(axis=1).max() for s in range(20)]))

    assert hub("SF") > 1.5 * hub("ER")


def test_linear_samples_obey_their_equations() -> None:
    made = simulate(6, 9, sem="exp", n=200_000, rng=1)
    noise = made.X - made.X @ made.W
    np.testing.assert_allclose(np.cov(noise.T), np.eye(6), atol=0.03)
    assert (noise > -1e-9).all()
    weights = np.abs(made.W[made.B != 0])
    assert weights.min() >= 0.5
    assert weights.max() <= 2.0


@pytest.mark.parametrize("sem", get_args(SemName))
def test_every_mechanism_makes_dependent_children(sem: SemName) -> None:
    made = simulate(4, 5, sem=sem, n=300, rng=2)
    assert made.X.shape == (300, 4)
    assert np.isfinite(made.X).all()
    again = simulate(4, 5, sem=sem, n=300, rng=2)
    np.testing.assert_array_equal(made.X, again.X)
    assert (set(np.unique(made.X)) == {0.0, 1.0}) == (sem == "logistic")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"d": 1}, "d is 1"),
        ({"n_edges": 100}, "room for 0 to 10"),
        ({"graph": "WS"}, "one of ER"),
        ({"sem": "poisson"}, "one of gauss"),
        ({"n": 0}, "at least one sample"),
        ({"graph": "SF", "n_edges": 1}, "SF on 5 nodes"),
    ],
)
def test_what_cannot_be_is_refused(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        simulate(**({"d": 5, "n_edges": 5, "rng": 0} | options))
