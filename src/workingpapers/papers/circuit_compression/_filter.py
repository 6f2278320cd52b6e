"""The filter of `_kernels` in floats: what the integers stand for. For tests and for reading; plain numpy, one record at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._tree import HiddenTree

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


def filtered(tree: HiddenTree, X: Array) -> tuple[Floats, Floats]:
    """P(X_v < x_v | before) and P(X_v = x_v | before) of each variable in the tree's order of visit: two (N, D) arrays by variable.

    A node's belief about its latent state comes down from its parent, is multiplied by the leaf's word on the value seen, and each
    finished subtree multiplies its message in. Every edge is crossed twice: O(|p|) for all D conditionals together (reconstructed:
    the paper's algorithm is stated for general circuits and costs a factor log D more).
    """
    rows, m = tree.rows, tree.n_latents
    lower, point = np.empty(X.shape), np.empty(X.shape)
    for i, x in enumerate(X):
        belief = np.empty((len(x), m))
        up = np.ones((len(x), m))
        open_: list[int] = []

        def close(v: int, belief: Floats = belief, up: Floats = up) -> None:
            p = tree.parents[v]
            if p >= 0:
                message = tree.transition[v] @ up[v]
                up[p] *= message
                up[p] /= up[p].max()
                belief[p] *= message
                belief[p] /= belief[p].sum()

        for v in tree.order:
            p = tree.parents[v]
            while open_ and open_[-1] != p:
                close(open_.pop())
            prior = tree.transition[v, 0] if p < 0 else belief[p] @ tree.transition[v]
            leaf = tree.leaf[rows[v] : rows[v] + tree.sizes[v]]
            chances = leaf @ prior
            point[i, v] = chances[x[v]] / chances.sum()
            lower[i, v] = chances[: x[v]].sum() / chances.sum()
            belief[v] = prior * leaf[x[v]]
            belief[v] /= belief[v].sum()
            up[v] = leaf[x[v]] / leaf[x[v]].max()
            open_.append(int(v))
    return lower, point
