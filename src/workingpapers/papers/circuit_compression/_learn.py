"""Expectation maximisation on circuit flows: in batches with kept statistics, then on all rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from ._structure import Binning, chow_liu_tree, mutual_information, random_tree
from ._tree import HiddenTree

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Values = npt.NDArray[np.int32]

STRUCTURE_ROWS = 4_000
NOISE = 3.0
GREY: dict[str, Any] = {"smoothing": 0.01, "near_values": 60.0}
"""Settings for images, chosen on held-out MNIST training images."""


@dataclass(frozen=True)
class Steps:
    """How much of the kept statistics each batch replaces: from `first` down to `last` over all batches of `epochs`."""

    epochs: int
    batch_size: int
    first: float
    last: float

    def size(self, at: float) -> float:
        """The step at a share `at` (0 to 1) of the way."""
        return self.first + (self.last - self.first) * at


@dataclass
class Learner:
    """Trees under training.

    Attributes:
        trees, weights: the current mixture.
        prior: (R,) pseudo-counts of each value in each leaf state.
        edge_prior: pseudo-count of each entry of an edge row.
    """

    trees: list[HiddenTree]
    weights: Floats
    prior: Floats
    edge_prior: float
    n_jobs: int = 1
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    seen: int = 0
    kept: list[tuple[Array, Array, float]] | None = None

    @staticmethod
    def begin(x: Values, sizes: Ints, *, n_latents: int, n_trees: int, mi_bins: int, binning: Binning,
              structure: Literal["chow-liu", "random"] | Array, smoothing: float, n_jobs: int, rng: np.random.Generator) -> Learner:
        """Structure from the rows, leaves from smoothed histograms with noise, random edges."""
        d, m = x.shape[1], n_latents
        histogram = counted(x, sizes)
        clusters = [np.arange(len(x))] if n_trees == 1 else _clusters(x, n_trees, rng)
        trees = []
        for rows in clusters:
            parents = _parents(x[rows], sizes, mi_bins, binning, structure, rng)
            own = histogram if n_trees == 1 else counted(x[rows], sizes)
            leaf = (blended(own, sizes))[:, None] * np.exp(NOISE * rng.standard_normal((len(histogram), m)))
            leaf = _per_variable(leaf, sizes)
            edge = rng.gamma(1.0, size=(d, m, m))
            edge[parents < 0] = edge[parents < 0][:, :1]
            edge /= edge.sum(axis=2, keepdims=True)
            trees.append(HiddenTree.make(parents, sizes, edge.astype(np.float32), leaf.astype(np.float32)))
        weights = np.array([len(rows) for rows in clusters], dtype=np.float64)
        prior = smoothing * np.repeat(sizes, sizes) * blended(histogram, sizes)
        return Learner(trees, weights / weights.sum(), prior, smoothing / m, n_jobs, rng)

    @staticmethod
    def resume(trees: list[HiddenTree], weights: Floats, *, smoothing: float) -> Learner:
        """Go on from tables that were read from a file; the prior is taken from their own marginals."""
        sizes = trees[0].sizes
        mass = sum(w * t.leaf.mean(axis=1) for w, t in zip(weights, trees))
        prior = smoothing * np.repeat(sizes, sizes) * blended(np.asarray(mass, dtype=np.float64), sizes)
        return Learner(trees, weights, prior, smoothing / trees[0].n_latents)

    def log_likelihood(self, x: Values) -> Floats:
        """ln P of each row under the mixture."""
        each = np.stack([t.log_likelihood(x, self.n_jobs) for t in self.trees]) + np.log(self.weights)[:, None]
        return np.asarray(np.logaddexp.reduce(each, axis=0))

    def statistics(self, x: Values) -> tuple[list[tuple[Array, Array, float]], float]:
        """Expected counts of each tree (edges, leaves, rows), and the mean ln P of a row."""
        if len(self.trees) == 1:
            counts = self.trees[0].expected_counts(x, n_jobs=self.n_jobs)
            return [(counts.edge, counts.leaf, float(len(x)))], float(counts.loglik.mean())
        each = np.stack([t.log_likelihood(x, self.n_jobs) for t in self.trees]) + np.log(self.weights)[:, None]
        total = np.logaddexp.reduce(each, axis=0)
        found = []
        for tree, row in zip(self.trees, each):
            share = np.exp(row - total)
            counts = tree.expected_counts(x, share, self.n_jobs)
            found.append((counts.edge, counts.leaf, float(share.sum())))
        return found, float(total.mean())

    def maximise(self, statistics: list[tuple[Array, Array, float]]) -> None:
        """Tables that make the counts, plus the prior, likeliest."""
        rows = np.array([n for _, _, n in statistics])
        self.weights = np.maximum(rows / rows.sum(), 1e-9)
        self.weights = self.weights / self.weights.sum()
        self.trees = [self._tables(tree, edge, leaf) for tree, (edge, leaf, _) in zip(self.trees, statistics)]

    def _tables(self, tree: HiddenTree, edge: Array, leaf: Array) -> HiddenTree:
        kind = tree.leaf.dtype
        edge = edge + kind.type(self.edge_prior + 1e-30)
        is_root = tree.parents < 0
        edge[is_root] = edge[is_root][:, :1]
        edge /= edge.sum(axis=2, keepdims=True)
        filled = leaf + (self.prior[:, None] + 1e-30).astype(kind)
        return tree.with_tables(edge.astype(kind), _per_variable(filled, tree.sizes).astype(kind))

    def batch(self, x: Values, step: float) -> float:
        """Replace a share of the kept statistics by those of a batch, and maximise. Mean ln P before the step."""
        found, loglik = self.statistics(x)
        self.seen = max(self.seen, len(x))
        scale = self.seen / len(x)
        if self.kept is None:
            self.kept = [(edge * edge.dtype.type(scale), leaf * leaf.dtype.type(scale), n * scale) for edge, leaf, n in found]
        else:
            for i, ((edge, leaf, n), (new_edge, new_leaf, new_n)) in enumerate(zip(self.kept, found)):
                keep, take = edge.dtype.type(1 - step), edge.dtype.type(step * scale)
                edge *= keep
                edge += take * new_edge
                leaf *= keep
                leaf += take * new_leaf
                self.kept[i] = edge, leaf, n * (1 - step) + new_n * step * scale
        self.maximise(self.kept)
        return loglik

    def batch_epoch(self, x: Values, steps: Steps, epoch: int) -> float:
        """One pass in batches of a fresh order; mean ln P of a row, each before its step."""
        order = self.rng.permutation(len(x))
        parts = np.array_split(order, max(1, round(len(x) / steps.batch_size)))
        self.seen = len(x)
        total = 0.0
        for i, part in enumerate(parts):
            done = epoch * len(parts) + i
            step = max(steps.size(done / max(1, steps.epochs * len(parts))), 1 / (done + 1))
            total += self.batch(x[part], step) * len(part)
        return total / len(x)

    def full_epoch(self, x: Values) -> float:
        """One step of EM on all rows; mean ln P of a row before it. Never lowers likelihood times prior."""
        found, loglik = self.statistics(x)
        self.kept, self.seen = found, len(x)
        self.maximise(found)
        return loglik

    def blend_near_values(self, weight: float) -> None:
        """Blend each leaf state with itself smoothed over near values, as if `weight` rows of it had been seen beside the others."""
        for k, tree in enumerate(self.trees):
            seen = self.seen * self.weights[k] * tree.marginals()
            self.trees[k] = tree.with_tables(tree.transition, _near_blended(tree, weight / (seen + weight)))

    def state(self) -> tuple[list[HiddenTree], Floats]:
        return self.trees, self.weights

    def restore(self, state: tuple[list[HiddenTree], Floats]) -> None:
        self.trees, self.weights = state
        self.kept = None


def counted(x: Values, sizes: Ints) -> Floats:
    """How often each value of each variable occurs (R,); missing values are left out."""
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    at = (x + first)[x >= 0]
    return np.bincount(at, minlength=int(sizes.sum())).astype(np.float64)


def blended(histogram: Floats, sizes: Ints) -> Floats:
    """Prior share of each value (R,): the variable's own histogram, that of all where all have as many values, and a uniform tenth."""
    own = _per_variable(histogram[:, None] + 1e-3 * max(histogram.mean(), 1e-12), sizes)[:, 0]
    uniform = np.repeat(1.0 / sizes, sizes)
    if len(sizes) > 1 and (sizes == sizes[0]).all():
        overall = histogram.reshape(len(sizes), -1).sum(axis=0)
        shared = np.tile(overall / max(overall.sum(), 1e-300), len(sizes))
        return np.asarray(0.45 * own + 0.45 * shared + 0.1 * uniform)
    return np.asarray(0.9 * own + 0.1 * uniform)


def _per_variable(table: Array, sizes: Ints) -> Array:
    """Make each column of table (R, M) sum to 1 over the rows of each variable."""
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return np.asarray(table / np.repeat(np.add.reduceat(table, first, axis=0), sizes, axis=0))


def _near_blended(tree: HiddenTree, share: Floats) -> Array:
    """Leaves of which a share (D, M) is smoothed by a Gaussian of a twentieth of the values; the likeliest value keeps its mass."""
    out = tree.leaf.copy()
    for k in np.unique(tree.sizes):
        variables = np.flatnonzero(tree.sizes == k)
        if k < 3:
            continue
        for some in np.array_split(variables, max(1, len(variables) // 64)):  # 64 variables at a time, for memory
            at = tree.rows[some][:, None] + np.arange(k)
            own = tree.leaf[at].astype(np.float64)
            rest = own.copy()
            np.put_along_axis(rest, own.argmax(axis=1)[:, None], 0.0, axis=1)
            near = gaussian_filter1d(rest, k / 20, axis=1, mode="nearest")
            near *= rest.sum(axis=1, keepdims=True) / np.maximum(near.sum(axis=1, keepdims=True), 1e-300)
            near += own - rest
            s = share[some][:, None]
            out[at] = (1 - s) * own + s * near
    return out


def _parents(x: Values, sizes: Ints, bins: int, binning: Binning, structure: Any, rng: np.random.Generator) -> Ints:
    d = x.shape[1]
    if isinstance(structure, str):
        if structure == "random":
            return random_tree(d, rng)
        if structure != "chow-liu":
            raise ValueError(f"structure must be 'chow-liu', 'random' or parents (D,), got {structure!r}")
        rows = x if len(x) <= STRUCTURE_ROWS else x[rng.choice(len(x), STRUCTURE_ROWS, replace=False)]
        return chow_liu_tree(mutual_information(rows, sizes, bins, binning))
    parents = np.asarray(structure)
    if parents.shape != (d,) or parents.dtype.kind not in "iu":
        raise ValueError(f"structure must have one parent for each of {d} variables, got {parents.dtype} {parents.shape}")
    return parents.astype(np.int64)


def _clusters(x: Values, k: int, rng: np.random.Generator) -> list[Ints]:
    """Rows by k-means; a cluster that is too small gets rows at random."""
    from scipy.cluster.vq import kmeans2

    _, label = kmeans2(np.maximum(x, 0).astype(np.float32), k, minit="++", rng=rng)
    out = []
    for i in range(k):
        rows = np.flatnonzero(label == i)
        out.append(rows if len(rows) >= 2 else rng.choice(len(x), min(len(x), 32), replace=False))
    return out
