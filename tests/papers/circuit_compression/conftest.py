"""Oracles: everything by enumeration, in plain numpy, on models small enough for it. Tests take them as the fixture `oracles`."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from workingpapers.papers.circuit_compression._tree import HiddenTree


def random_tree_model(rng: np.random.Generator, d: int, m: int, sizes: list[int], n_roots: int = 1, dtype: Any = np.float64) -> HiddenTree:
    """A hidden tree with random tables; node i hangs below a random earlier one."""
    parents = np.array([-1 if i < n_roots else int(rng.integers(i)) for i in range(d)])
    relabel = rng.permutation(d)
    shuffled = np.full(d, -1)
    for i, p in enumerate(parents):
        shuffled[relabel[i]] = relabel[p] if p >= 0 else -1
    edge = rng.dirichlet(np.ones(m), size=(d, m))
    edge[shuffled < 0] = edge[shuffled < 0][:, :1]
    leaf = np.concatenate([rng.dirichlet(np.full(k, 0.7), size=m).T for k in sizes])
    return HiddenTree.make(shuffled, np.array(sizes), edge.astype(dtype), leaf.astype(dtype))


def all_rows(sizes: Any) -> np.ndarray:
    return np.array(list(itertools.product(*[range(int(k)) for k in sizes])))


def enumerated(tree: HiddenTree, rows: np.ndarray) -> np.ndarray:
    """P of each row: the sum over every joint state of the latent variables."""
    d, m = len(tree.parents), tree.n_latents
    total = np.zeros(len(rows))
    for z in itertools.product(range(m), repeat=d):
        p = np.ones(len(rows))
        for v in range(d):
            above = z[tree.parents[v]] if tree.parents[v] >= 0 else 0
            p *= tree.transition[v, above, z[v]] * tree.leaf[tree.rows[v] + rows[:, v], z[v]]
        total += p
    return total


def ordered(rows: np.ndarray, p: np.ndarray, x: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P(X_v < x_v | before) and P(X_v = x_v | before) by v, from the whole table of probabilities."""
    lower, point = np.zeros(len(x)), np.zeros(len(x))
    seen = np.ones(len(rows), dtype=bool)
    for v in order:
        total = p[seen].sum()
        lower[v] = p[seen & (rows[:, v] < x[v])].sum() / total
        point[v] = p[seen & (rows[:, v] == x[v])].sum() / total
        seen &= rows[:, v] == x[v]
    return lower, point


@pytest.fixture
def oracles() -> SimpleNamespace:
    return SimpleNamespace(random_tree_model=random_tree_model, all_rows=all_rows, enumerated=enumerated, ordered=ordered)
