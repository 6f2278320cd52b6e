"""One hidden tree with its tables: what an HCLT is a mixture of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _em
from ._structure import preorder

Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Counts:
    """Expected counts of one pass: edges (D, M, M), leaves (R, M), and ln P of each row (N,)."""

    edge: Array
    leaf: Array
    loglik: Array


@dataclass(frozen=True)
class HiddenTree:
    """P(x) = sum over z of prod P(z_v | z_parent(v)) P(x_v | z_v).

    Attributes:
        parents: (D,) of the tree over variables; -1 for roots.
        sizes: (D,) number of values of each variable.
        transition: (D, M, M), P(z_v = b | z_parent = a); of a root the row a = 0 is its prior.
        leaf: (R, M), R = sum of sizes: P(x_v = k | z_v = m) in row `rows[v] + k`.
        order: (D,) order of visit.
    """

    parents: Ints
    sizes: Ints
    transition: Array
    leaf: Array
    order: Ints

    @staticmethod
    def make(parents: Ints, sizes: Ints, transition: Array, leaf: Array) -> HiddenTree:
        return HiddenTree(parents, sizes, transition, leaf, preorder(parents))

    @property
    def rows(self) -> Ints:
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)

    @property
    def n_latents(self) -> int:
        return int(self.leaf.shape[1])

    def with_tables(self, transition: Array, leaf: Array) -> HiddenTree:
        return replace(self, transition=transition, leaf=leaf)

    def marginals(self) -> npt.NDArray[np.float64]:
        """P(z_v) of each latent variable (D, M)."""
        out = np.empty((len(self.parents), self.n_latents))
        for v in self.order:
            p = self.parents[v]
            out[v] = self.transition[v, 0] if p < 0 else out[p] @ self.transition[v]
        return out

    def log_likelihood(self, x: npt.NDArray[np.int32], n_jobs: int = 1) -> npt.NDArray[np.float64]:
        """ln P of each row (N,); negative values are missing. O(N D M^2)."""
        out = np.empty(len(x))

        def run(part: slice) -> None:
            _em.log_likelihood(x[part], self.order, self.parents, self.rows, self.transition, self.leaf, out[part])

        _in_parts(run, len(x), n_jobs)
        return out

    def expected_counts(self, x: npt.NDArray[np.int32], weight: Array | None = None, n_jobs: int = 1) -> Counts:
        """Expected counts under the posterior of each row, which may be weighted. O(N D M^2)."""
        weights = np.ones(len(x), dtype=self.leaf.dtype) if weight is None else weight.astype(self.leaf.dtype)
        out = np.empty(len(x))
        found: dict[int, tuple[Array, Array]] = {}

        def run(part: slice) -> None:
            edge, leaf = np.zeros_like(self.transition), np.zeros_like(self.leaf)
            _em.expected_counts(x[part], weights[part], self.order, self.parents, self.rows, self.transition, self.leaf, edge, leaf,
                                out[part])
            found[part.start] = edge, leaf

        _in_parts(run, len(x), n_jobs)
        parts = [found[start] for start in sorted(found)]
        edge, leaf = parts[0]
        for more_edge, more_leaf in parts[1:]:
            edge += more_edge
            leaf += more_leaf
        return Counts(edge, leaf, out)

    def posteriors(self, x: npt.NDArray[np.int32]) -> Array:
        """P(z_v | the values that are there), shape (N, D, M)."""
        out = np.empty((len(x), len(self.parents), self.n_latents), dtype=self.leaf.dtype)
        _em.posteriors(x, self.order, self.parents, self.rows, self.transition, self.leaf, out)
        return out

    def sample(self, n: int, rng: np.random.Generator) -> Ints:
        """Independent rows (n, D)."""
        out = np.empty((n, len(self.parents)), dtype=np.int64)
        for start in range(0, n, 256):
            part = out[start : start + 256]
            uniforms = rng.random((*part.shape, 2))
            _em.draw(uniforms, self.order, self.parents, self.rows, self.sizes, self.transition, self.leaf, part)
        return out


def _in_parts(run: Any, n: int, n_jobs: int) -> None:
    """Call `run` on slices of range(n), in threads; slices begin at multiples of the block."""
    step = -(-n // max(1, n_jobs))
    step = max(_em.BLOCK, -(-step // _em.BLOCK) * _em.BLOCK)
    parts = [slice(start, min(start + step, n)) for start in range(0, n, step)] or [slice(0, 0)]
    if len(parts) == 1:
        run(parts[0])
        return
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(run, parts))
