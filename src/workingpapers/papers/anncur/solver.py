"""The linear algebra: from a query's scores on a few items to its whole row of scores.

Everything here works on S, the scores of n_q anchor queries on N items, kept **items first**: S is (N, n_q), one row an item,
because index scores arrive item block by item block and are gathered item by item. With A the scored items, c the scores
of a new query on them, F_A = S[A] - mu the rows of S less each anchor query's mean, and lambda >= 0,

    w = argmin ||F_A w + b - c||^2 + lambda ||w||^2,      s = (S - mu) w + b,

which for lambda -> 0 and no offset b is the CUR reconstruction c pinv(R[:, A]) R of the paper (R = S^T). The offset is
what [CLS] scores need: their rows differ by large constants that no combination of few rows can follow. It enters as one
more column of F with a weight so large that it is hardly penalised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

OFFICIAL_CUTOFF = 1e-15
"""Singular values below this share of the largest are dropped by `numpy.linalg.pinv` as the official code calls it."""

RIDGES = (1e-9, *np.logspace(-6, 0, 13).tolist())
"""Ridges tried by leave-one-out, as shares of the anchor block's total energy."""

_OFFSET_WEIGHT = 1e4  # of the column of ones, relative to the mean energy of an item's row


@dataclass(frozen=True)
class Basis:
    """Scores of the anchor queries with their offsets set apart.

    Attributes:
        S: (N, n_q) float32 or float16.
        mu: (n_q,) float64, each anchor query's mean score; zeros when rows are not centred.
        ones: square of the weight of the column of ones; 0 when rows are not centred.
    """

    S: Floats
    mu: NDArray[np.float64]
    ones: float

    @classmethod
    def of(cls, S: Floats, center: bool) -> Basis:
        if not center:
            return cls(S, np.zeros(S.shape[1]), 0.0)
        mu = np.zeros(S.shape[1])
        square = np.zeros(S.shape[1])
        for block in _blocks(S):
            mu += block.sum(0, dtype=np.float64)
            square += np.einsum("ij,ij->j", block, block, dtype=np.float64)
        mu /= len(S)
        energy = float((square / len(S) - mu**2).sum())
        return cls(S, mu, _OFFSET_WEIGHT * max(energy, 1e-12))

    def rows(self, items: Ints) -> NDArray[np.float64]:
        """F at `items` (any shape `...`): (..., n_q) float64, without the column of ones."""
        return self.S[items].astype(np.float64) - self.mu


def _blocks(S: Floats, size: int = 16384) -> list[NDArray[np.float32]]:
    return [S[i : i + size].astype(np.float32, copy=False) for i in range(0, len(S), size)]


def times(S: Floats, w: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows w S^T, (q, n_q) x (n_q, N) -> (q, N) in float32; float16 scores are widened block by block."""
    if S.dtype != np.float32:
        return np.concatenate([w @ block.T for block in _blocks(S)], axis=1)
    return np.asarray((S @ w[0])[None] if len(w) == 1 else w @ S.T)


def energy(F_A: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared Frobenius norm of each (m, n_q) block: the unit in which ridges are given."""
    return np.asarray(np.einsum("...ij,...ij->...", F_A, F_A))


def item_embeddings(basis: Basis, anchors: Ints, ridge: float, rank: int | None = None, block: int = 16384) -> NDArray[np.float32]:
    """E = U R of the paper, (k_i, N): a new query's row is `c @ E` (equation s = c E).

    One SVD of the (k_i, n_q) anchor block, O(n_q k_i min(n_q, k_i)), then O(n_q k_i N) for the product.

    Args:
        ridge: share of the anchor block's energy; 0 is the pseudo-inverse with the official cut-off.
        rank: keep this many singular values at most.
    """
    F_A = basis.rows(anchors)  # (k_i, n_q)
    unit = float(energy(F_A))
    if basis.ones:
        F_A = np.hstack([F_A, np.full((len(anchors), 1), basis.ones**0.5)])
    Q, sigma, Pt = np.linalg.svd(F_A, full_matrices=False)  # F_A = Q diag(sigma) Pt
    if rank is not None:
        Q, sigma, Pt = Q[:, :rank], sigma[:rank], Pt[:rank]
    U = (Q * _inverse(sigma, ridge * unit)) @ Pt  # (k_i, n_q [+ 1]); Tikhonov-filtered pinv(R[:, A])
    U_q = U[:, : basis.S.shape[1]].astype(np.float32)
    offset = -(U_q @ basis.mu)
    if basis.ones:
        offset = offset + U[:, -1] * basis.ones**0.5
    E = np.empty((len(anchors), len(basis.S)), np.float32)
    for i in range(0, len(basis.S), block):
        E[:, i : i + block] = U_q @ basis.S[i : i + block].astype(np.float32, copy=False).T
    E += offset.astype(np.float32)[:, None]
    return E


def _inverse(sigma: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    if penalty > 0:
        return np.asarray(sigma / (sigma**2 + penalty))
    kept = sigma > OFFICIAL_CUTOFF * sigma.max(initial=0.0)
    return np.divide(1.0, sigma, out=np.zeros_like(sigma), where=kept)


def complete(
    basis: Basis, scored: Ints, c: Floats, ridge: float | Floats, leave_out: Ints | None = None
) -> NDArray[np.float32]:
    """Whole score rows of a batch of queries, each known on items of its own.

    Solved for m coefficients, one a scored item (K alpha = c with K = F_A F_A^T + lambda), or for the n_q weights themselves where
    those are fewer ((F_A^T F_A + lambda) w = F_A^T c, the same w), so that a batch costs O(q m n_q min(m, n_q)) plus one product
    (N, n_q) x (n_q, q).

    Args:
        scored: (q, m) items scored for each query.
        c: (q, m) their scores.
        ridge: share of each anchor block's energy, a number or (q,).
        leave_out: (q,) an anchor query that each row must not use; for leave-one-out.

    Returns:
        (q, N) float32.
    """
    F_A = basis.rows(scored)  # (q, m, n_q)
    if leave_out is not None:
        F_A[np.arange(len(scored)), :, leave_out] = 0.0
    unit = energy(F_A)
    m, n_q = F_A.shape[1:]
    tiny = 1e-13 * (unit + m * basis.ones) + 1e-150  # keeps the system definite when ridge is 0 or all scores are alike
    penalty = (np.broadcast_to(ridge, unit.shape) * unit + tiny)[:, None]
    y = c.astype(np.float64)[..., None]
    if m <= n_q:
        K = F_A @ F_A.swapaxes(1, 2)
        K += basis.ones
        K[:, range(m), range(m)] += penalty
        alpha = np.linalg.solve(K, y)  # (q, m, 1)
        w = (F_A.swapaxes(1, 2) @ alpha)[..., 0]
        constant = basis.ones * alpha.sum((1, 2))
    else:
        F_A = np.concatenate([F_A, np.full((len(F_A), m, 1), basis.ones**0.5)], axis=2)
        G = F_A.swapaxes(1, 2) @ F_A
        G[:, range(n_q + 1), range(n_q + 1)] += penalty
        solved = np.linalg.solve(G, F_A.swapaxes(1, 2) @ y)[..., 0]  # (q, n_q + 1)
        w, constant = solved[:, :n_q], solved[:, n_q] * basis.ones**0.5
    offset = constant - w @ basis.mu
    rows = times(basis.S, w.astype(np.float32))
    rows += offset[:, None].astype(np.float32)
    return rows


@dataclass(frozen=True)
class LeaveOneOut:
    """How well each ridge rebuilds anchor queries that it did not see.

    Attributes:
        ridges: (L,) shares of the anchor block's energy.
        recall: (L,) mean recall@k of the held-out anchor queries.
        error: (L,) root mean squared error of their rows.
    """

    ridges: tuple[float, ...]
    recall: NDArray[np.float64]
    error: NDArray[np.float64]

    @property
    def best(self) -> float:
        """The ridge of highest recall; among equals the one of least error."""
        order = np.lexsort((self.error, -np.round(self.recall, 4)))
        return self.ridges[int(order[0])]


def leave_one_out(
    basis: Basis, anchors: Ints, k: int, reranked: int, held: Ints | None = None, ridges: tuple[float, ...] = RIDGES
) -> LeaveOneOut:
    """Try each ridge on the index alone: rebuild each held anchor query from the others, search it, count. No model call.

    With P = (F_A^T F_A + lambda)^-1 over anchor queries, the weights that rebuild query j from the others are
    -P_lj / P_jj, so one eigendecomposition serves all queries and ridges: O(n_q^3 + L N n_q |held|).

    Args:
        anchors: (k_i,) anchor items.
        k, reranked: recall@k after exactly scoring `reranked` further items is what counts.
        held: anchor queries to leave out in turn; all when None.
    """
    n_q = basis.S.shape[1]
    held = np.arange(n_q) if held is None else held
    F_A = basis.rows(anchors)
    unit = float(energy(F_A))
    if basis.ones:
        F_A = np.hstack([F_A, np.full((len(anchors), 1), basis.ones**0.5)])
    values, V = np.linalg.eigh(F_A.T @ F_A)
    values = values.clip(min=0)
    exact = np.ascontiguousarray(basis.S[:, held].T, dtype=np.float32)  # (h, N)
    n = exact.shape[1]
    k = min(k, n)
    top = np.argpartition(exact, n - k, axis=1)[:, n - k :]  # (h, k)
    known = np.zeros(n, bool)
    known[anchors] = True
    mu = basis.mu.astype(np.float32)
    recall, error = [], []
    for ridge in ridges:
        P = (V / (values + ridge * unit + 1e-14 * max(values[-1], 1e-30))) @ V[held].T  # (n_q [+ 1], h)
        Z = -P / P[held, np.arange(len(held))]
        Z[held, np.arange(len(held))] += 1.0  # weights on the others; its own weight is 1 - 1 = 0
        w = Z[:n_q].T.astype(np.float32)  # (h, n_q)
        offset = mu[held] - w @ mu
        if basis.ones:
            offset = offset + (Z[-1] * basis.ones**0.5).astype(np.float32)
        approx = times(basis.S, w)  # (h, N)
        approx += offset[:, None]
        error.append(float(np.sqrt(np.mean((approx - exact) ** 2))))
        approx[:, known] = -np.inf
        recall.append(float(np.mean(_found(approx, top, reranked) | known[top])))
    return LeaveOneOut(tuple(ridges), np.array(recall), np.array(error))


def _found(approx: NDArray[np.float32], top: Ints, reranked: int) -> NDArray[np.bool_]:
    """Which of the `top` (h, k) items lie among the `reranked` best of each row of `approx` (h, N)."""
    if reranked <= 0:
        return np.zeros(top.shape, bool)
    place = approx.shape[1] - min(reranked, approx.shape[1])
    least = np.partition(approx, place, axis=1)[:, place]
    return np.asarray(np.take_along_axis(approx, top, 1) >= least[:, None])
