"""The tree behind a circuit: mutual information, maximum spanning tree, root at the centre, order of visit."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Binning = Literal["width", "top"]

INDEPENDENT = 1e-9


def mutual_information(x: npt.NDArray[np.integer], n_categories: Ints, bins: int = 4, binning: Binning = "width") -> Floats:
    """Mutual information of every pair of columns, in nats, after binning: shape (D, D), zero diagonal.

    Args:
        x: (N, D) values from 0 to n_categories - 1; negative values are missing and count as bin 0.
        n_categories: (D,) number of values of each column.
        bins: columns with more values are put into this many bins.
        binning: `width` bins of equal width (grey values); `top` keeps the values 0 .. bins - 2 and joins the rest
            (codes sorted by how often they occur).

    Cost: one product of a (D * bins, N) matrix with itself.
    """
    n, d = x.shape
    kinds = np.minimum(n_categories, bins)
    labels = np.empty((n, d), dtype=np.int64)
    for v in range(d):
        column = np.maximum(x[:, v], 0).astype(np.int64)
        if n_categories[v] <= bins:
            labels[:, v] = column
        elif binning == "width":
            labels[:, v] = column * bins // n_categories[v]
        else:
            labels[:, v] = np.minimum(column, bins - 1)
    first = np.concatenate([[0], np.cumsum(kinds)])
    indicator = np.zeros((n, int(first[-1])), dtype=np.float32)
    np.put_along_axis(indicator, labels + first[:-1], 1.0, axis=1)
    joint = (indicator.T @ indicator).astype(np.float64) / n
    marginal = np.diagonal(joint).copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = joint * np.log(joint / np.outer(marginal, marginal))
    terms[joint <= 0] = 0.0
    rows = np.add.reduceat(terms, first[:-1], axis=0)
    found = np.add.reduceat(rows, first[:-1], axis=1)
    np.fill_diagonal(found, 0.0)
    return np.maximum((found + found.T) / 2, 0.0)


def chow_liu_tree(information: Floats) -> Ints:
    """Parents (D,) of the maximum spanning tree, rooted at its centre; -1 for a root.

    A column that tells nothing about any other (a constant pixel) stands alone, as a root without children.
    """
    d = len(information)
    parents = np.full(d, -1, dtype=np.int64)
    linked = np.flatnonzero(information.max(axis=1) > INDEPENDENT) if d > 1 else np.zeros(0, dtype=np.int64)
    if len(linked) < 2:
        return parents
    inside = information[np.ix_(linked, linked)]
    cost = inside.max() + 1.0 - inside  # SciPy reads zeros as missing edges: every cost stays above 1
    np.fill_diagonal(cost, 0.0)
    tree = minimum_spanning_tree(cost)
    tree = tree + tree.T
    far = breadth_first_order(tree, 0, directed=False)[0][-1]
    order, before = breadth_first_order(tree, far, directed=False)
    path = [int(order[-1])]
    while (above := before[path[-1]]) >= 0:
        path.append(int(above))
    centre = path[len(path) // 2]
    _, before = breadth_first_order(tree, centre, directed=False)
    parents[linked] = np.where(before >= 0, linked[np.maximum(before, 0)], -1)
    return parents


def random_tree(d: int, rng: np.random.Generator) -> Ints:
    """Parents of a random recursive tree on a random order of the columns: the control for `chow_liu_tree`."""
    order = rng.permutation(d)
    parents = np.full(d, -1, dtype=np.int64)
    for i in range(1, d):
        parents[order[i]] = order[rng.integers(i)]
    return parents


def preorder(parents: Ints) -> Ints:
    """Order of visit (D,): each node before its subtree, a subtree without interruption, the heaviest child first.

    Raises:
        ValueError: parents that are not those of a forest.
    """
    d = len(parents)
    parents = np.asarray(parents, dtype=np.int64)
    if ((parents < -1) | (parents >= d)).any():
        raise ValueError("parents must lie between -1 and D - 1")
    children: list[list[int]] = [[] for _ in range(d)]
    roots: list[int] = []
    for v, p in enumerate(parents):
        (children[p] if p >= 0 else roots).append(v)
    reached, at = list(roots), 0
    while at < len(reached):
        reached.extend(children[reached[at]])
        at += 1
    if len(reached) != d:
        raise ValueError("parents hold a cycle: they must be those of a forest")
    weight = np.ones(d, dtype=np.int64)
    for v in reversed(reached):
        if parents[v] >= 0:
            weight[parents[v]] += weight[v]
    out, stack = [], sorted(roots, key=lambda v: (weight[v], -v))
    while stack:
        v = stack.pop()
        out.append(v)
        stack.extend(sorted(children[v], key=lambda u: (weight[u], -u)))
    return np.array(out, dtype=np.int64)
