"""Made matrices of low rank, and made ratings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Triplets = tuple[Index, Index, Matrix, tuple[int, int]]


@dataclass(frozen=True)
class LowRank:
    """A matrix U V' and the places where it is seen.

    Attributes:
        U, V: `(m, k)`, `(n, k)`.
        rows, cols, vals: entries seen, noise included, `(N,)`.
    """

    U: Matrix
    V: Matrix
    rows: Index
    cols: Index
    vals: Matrix

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.U), len(self.V)

    @property
    def triplets(self) -> Triplets:
        """As `RobustALSCompleter.fit` takes them."""
        return self.rows, self.cols, self.vals, self.shape

    def error(self, U: Matrix, V: Matrix) -> float:
        """Relative error of U V' in the Frobenius norm over all entries, by k x k products: O((m + n) k^2).

        Where it falls under 1e-6 the difference is formed itself, block by block: the products would cancel.
        """
        def inner(A: Matrix, B: Matrix, C: Matrix, D: Matrix) -> float:
            return float(((A.T @ C) * (B.T @ D)).sum())

        size = inner(self.U, self.V, self.U, self.V)
        off = inner(U, V, U, V) - 2 * inner(U, V, self.U, self.V) + size
        if off > 1e-12 * size:
            return float(np.sqrt(off / size))
        total = 0.0
        for a in range(0, len(self.U), 512):
            total += float(np.sum((U[a : a + 512] @ V.T - self.U[a : a + 512] @ self.V.T) ** 2))
        return float(np.sqrt(total / size))


def simulate(m: int, n: int, k: int, n_entries: int, *, condition: float = 1.0, noise: float = 0.0,
             rng: np.random.Generator | int = 0) -> LowRank:
    """A random (m, n) matrix of rank k, and `n_entries` places of it drawn evenly without repeats.

    Singular directions are random; singular values fall geometrically from 1 to `1 / condition`, times the root of m n, so that entries
    are of order 1 / root k. `noise`: standard deviation added to the entries seen.

    Raises:
        ValueError: more entries than places, or a rank above the smaller side.

    >>> simulate(30, 20, 2, 200).vals.shape
    (200,)
    """
    if not 0 < k <= min(m, n) or not 0 < n_entries <= m * n:
        raise ValueError(f"k={k} and n_entries={n_entries} do not fit a {m} x {n} matrix")
    rng = np.random.default_rng(rng)
    U, V = (np.linalg.qr(rng.standard_normal((size, k)))[0] * np.sqrt(size) for size in (m, n))
    V = V * np.geomspace(1, 1 / condition, k) / np.sqrt(k)
    places = rng.choice(m * n, n_entries, replace=False, shuffle=False)
    rows, cols = np.divmod(np.sort(places), n)
    vals = np.einsum("ij,ij->i", U[rows], V[cols])
    return LowRank(U, V, rows, cols, vals + noise * rng.standard_normal(n_entries) if noise else vals)


def simulate_ratings(users: int, items: int, n_ratings: int, k: int = 5, *, noise: float = 0.7,
                     rng: np.random.Generator | int = 0) -> Triplets:
    """Ratings from 1 to 5 in half steps with biases of users and items, tastes of rank k, noise, and popular items rated more often.

    Popularity falls like a power of the item's place in the order, as in real ratings; users' activity is log-normal.

    Raises:
        ValueError: more ratings than half of all places.
    """
    if not 0 < n_ratings <= users * items // 2:
        raise ValueError(f"n_ratings is {n_ratings}: at most half of the {users * items} places can be rated")
    rng = np.random.default_rng(rng)
    popularity, activity = 1 / (10 + np.arange(items)) ** 0.8, rng.lognormal(0, 0.8, users)
    popularity, activity = rng.permutation(popularity) / popularity.sum(), activity / activity.sum()
    places: Index = np.empty(0, np.int64)
    while len(places) < n_ratings:
        more = rng.choice(users, 2 * n_ratings, p=activity) * items + rng.choice(items, 2 * n_ratings, p=popularity)
        places = np.unique(np.concatenate([places, more]))
    rows, cols = np.divmod(np.sort(rng.permutation(places)[:n_ratings]), items)
    U, V = (rng.standard_normal((size, k)) / k**0.25 * 0.75 for size in (users, items))
    truth = 3.5 + 0.4 * rng.standard_normal(users)[rows] + 0.5 * rng.standard_normal(items)[cols] + np.einsum("ij,ij->i", U[rows], V[cols])
    vals = np.clip(np.round(2 * (truth + noise * rng.standard_normal(n_ratings))) / 2, 1, 5)
    return rows, cols, vals, (users, items)


__all__ = ["LowRank", "simulate", "simulate_ratings"]
