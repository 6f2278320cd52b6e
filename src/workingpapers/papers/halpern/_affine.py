"""Affine operators whose terms are blocks of columns: matrix games, constrained quadratics, affine variational inequalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._operators import Array, FiniteSum, Ints, matrix, spectral_norm, uneven, vector
from ._resolvents import Resolvent


class AffineOperator(FiniteSum):
    """`F(u) = M u + q` as the sum of blocks of columns: `F_i(u) = n M[:, B_i] u[B_i] + q`.

    Monotone where `M + M'` is positive semidefinite (checked for dim <= 1,000; beyond that `solve` watches it on the way).

    Args:
        M: shape (dim, dim), dense or scipy.sparse (compiled loops read its columns either way).
        q: shape (dim,); None: zero.
        blocks: index arrays that split range(dim); None: each coordinate by itself.
        sampling: 'uniform', 'importance' (proportional to squared norms of the blocks) or 'auto': the latter where it pays.

    >>> F = AffineOperator(np.array([[0.0, 1.0], [-1.0, 0.0]]), q=[1.0, 0.0])
    >>> F.full(np.array([2.0, 3.0])), F.batch(np.array([0]), np.array([2.0, 3.0]))
    (array([ 4., -2.]), array([ 1., -4.]))
    """

    is_cocoercive: bool | None = False

    def __init__(self, M: Any, q: npt.ArrayLike | None = None, blocks: Sequence[npt.ArrayLike] | None = None, *,
                 sampling: str = "auto") -> None:
        M = matrix("M", M)
        if M.shape[0] != M.shape[1]:
            raise ValueError(f"M has shape {M.shape}: a square matrix is needed")
        self.dim = M.shape[0]
        self.q = vector("q", np.zeros(self.dim) if q is None else q, self.dim)
        self._cuts, self._members = _blocks(blocks, self.dim)
        self.n = len(self._cuts) - 1
        self._M, self._columns = M, M.T.tocsr() if _is_sparse(M) else np.ascontiguousarray(M.T)
        if self.dim <= 1_000:
            dense = M.toarray() if _is_sparse(M) else M
            least = float(np.linalg.eigvalsh((dense + dense.T) / 2)[0])
            if least < -1e-9 * max(1.0, float(np.abs(dense).max())):
                raise ValueError(f"M is not monotone: the smallest eigenvalue of (M + M')/2 is {least:.3g}, below 0")
        self._squares = np.array([spectral_norm(self._columns[self._block(i)]) ** 2 for i in range(self.n)])
        self.sampling_weights = uneven(self._squares, sampling)

    def _block(self, i: int) -> Ints:
        return self._members[self._cuts[i] : self._cuts[i + 1]]

    def full(self, u: Array) -> Array:
        return np.asarray(self._M @ u + self.q)

    def _linear(self, idx: Ints, u: Array) -> Array:
        members = np.concatenate([self._block(i) for i in idx]) if len(idx) else self._members[:0]
        return np.asarray(self._columns[members].T @ (self.n * u[members]))

    def batch(self, idx: Ints, u: Array) -> Array:
        return self._linear(idx, u) + len(idx) * self.q

    def batch_diff(self, idx: Ints, u: Array, v: Array) -> Array:
        return self._linear(idx, u - v)

    def lipschitz(self) -> float:
        return spectral_norm(self._M)

    def avg_lipschitz(self, q: Array | None = None) -> float:
        """`L^2 = max_i |M[:, B_i]|^2 / q_i`: exact for blocks of columns."""
        q = self.sampling_weights if q is None else q
        return float(np.sqrt((self._squares / (1 / self.n if q is None else q)).max()))

    def terms(self) -> Any:
        from ._kernels import COLUMNS, terms

        rows, csr = (None, self._columns) if _is_sparse(self._columns) else (self._columns, None)
        return terms(COLUMNS, self.n, rows=rows, csr=csr, cuts=self._cuts, members=self._members, vec=self.q)


class MatrixGame(FiniteSum):
    """The zero-sum game `min_x max_y y'Ax`, `u = (x, y)`, `F(u) = (A'y, -Ax)`; solve it with `G=F.simplices()`.

    Term i is row i and column i together: `F_i(u) = n (A[i] y_i, -A[:, i] x_i)`, n = max(A.shape).

    Args:
        A: payoffs to the maximising row player, shape (m, k), dense or scipy.sparse.
        sampling: as for `AffineOperator`; by importance L is at most `sqrt(2) |A|_F`.

    >>> F = MatrixGame(np.array([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]]))
    >>> F.full(np.array([1.0, 0, 0, 0, 1.0, 0]))
    array([-1.,  0.,  1., -0.,  1., -1.])
    """

    is_cocoercive: bool | None = False

    def __init__(self, A: Any, *, sampling: str = "auto") -> None:
        self.A = matrix("A", A)
        self.shape = self.A.shape
        m, k = self.shape
        self.n, self.dim = max(m, k), m + k
        self._At = self.A.T.tocsr() if _is_sparse(self.A) else np.ascontiguousarray(self.A.T)
        power = self.A.multiply(self.A) if _is_sparse(self.A) else self.A**2
        self._squares = np.zeros(self.n)
        self._squares[:m] = np.asarray(power.sum(axis=1)).ravel()
        self._squares[:k] = np.maximum(self._squares[:k], np.asarray(power.sum(axis=0)).ravel())
        self.sampling_weights = uneven(self._squares, sampling)

    def simplices(self) -> Resolvent:
        """Both players mix: x and y on simplices."""
        return Resolvent.product(Resolvent.simplex(self.shape[1]), Resolvent.simplex(self.shape[0]))

    def centre(self) -> Array:
        """Both players mix evenly, shape (dim,)."""
        m, k = self.shape
        return np.concatenate([np.full(k, 1 / k), np.full(m, 1 / m)])

    def split(self, u: Array) -> tuple[Array, Array]:
        """x (column player, minimising) and y (row player, maximising)."""
        return u[: self.shape[1]], u[self.shape[1] :]

    def gap(self, u: Array) -> float:
        """Duality gap `max_i (Ax)_i - min_j (A'y)_j`: how far both players together are from the value of the game."""
        x, y = self.split(u)
        return float((self.A @ x).max() - (self._At @ y).min())

    def value(self, u: Array) -> float:
        """Payoff `y'Ax`."""
        x, y = self.split(u)
        return float(y @ (self.A @ x))

    def full(self, u: Array) -> Array:
        x, y = self.split(u)
        return np.concatenate([self._At @ y, -(self.A @ x)])

    def batch(self, idx: Ints, u: Array) -> Array:
        (m, k), (x, y) = self.shape, self.split(u)
        rows, columns = idx[idx < m], idx[idx < k]
        return self.n * np.concatenate([self.A[rows].T @ y[rows], -(self._At[columns].T @ x[columns])])

    def batch_diff(self, idx: Ints, u: Array, v: Array) -> Array:
        return self.batch(idx, u - v)

    def lipschitz(self) -> float:
        return spectral_norm(self.A)

    def avg_lipschitz(self, q: Array | None = None) -> float:
        """`L^2 = max_i max(|A[i]|^2, |A[:, i]|^2) / q_i`."""
        q = self.sampling_weights if q is None else q
        return float(np.sqrt((self._squares / (1 / self.n if q is None else q)).max()))

    def terms(self) -> Any:
        from ._kernels import COLUMNS, GAME, terms

        if not _is_sparse(self.A):
            return terms(GAME, self.n, rows=self.A, other=self._At, vec=np.zeros(self.dim))
        from scipy import sparse

        m, k = self.shape
        columns = sparse.csr_array(sparse.block_array([[None, -self._At], [self.A, None]]))  # row j: column j of M
        pairs = [[j for j in (i if i < k else -1, k + i if i < m else -1) if j >= 0] for i in range(self.n)]
        cuts, members = _blocks(pairs, self.dim)
        return terms(COLUMNS, self.n, csr=columns, cuts=cuts, members=members, vec=np.zeros(self.dim))


class QuadraticSaddle(AffineOperator):
    """`min_x max_y x'Hx/2 - h'x - y'(Ax - b)`: the Lagrangian of `min x'Hx/2 - h'x` subject to `Ax = b`; G = 0.

    `u = (x, y)`, `F(u) = (Hx - h - A'y, Ax - b)`. Term i is column i of H and A with row i of A.

    Args:
        H: shape (n, n), symmetric positive semidefinite; A: (m, n); b: (m,); h: (n,).

    >>> F = QuadraticSaddle(np.eye(2), np.array([[1.0, 1.0]]), b=[2.0], h=[0.0, 0.0])
    >>> F.full(np.array([1.0, 1.0, 1.0]))
    array([0., 0., 0.])
    """

    def __init__(self, H: Any, A: Any, b: npt.ArrayLike, h: npt.ArrayLike, *, sampling: str = "auto") -> None:
        from scipy import sparse

        H, A = matrix("H", H), matrix("A", A)
        m, n = A.shape
        if H.shape != (n, n):
            raise ValueError(f"H has shape {H.shape}: ({n}, {n}) is needed, A has {n} columns")
        if abs(H - H.T).max() > 1e-12 * max(1.0, abs(H).max()):
            raise ValueError("H is not symmetric: give (H + H') / 2")
        if _is_sparse(H) or _is_sparse(A):
            M = sparse.csr_array(sparse.block_array([[H, -A.T], [A, None]]))
        else:
            M = np.block([[H, -A.T], [A, np.zeros((m, m))]])
        pairs = [[j for j in (i if i < n else -1, n + i if i < m else -1) if j >= 0] for i in range(max(m, n))]
        super().__init__(M, -np.concatenate([vector("h", h, n), vector("b", b, m)]), pairs, sampling=sampling)


def _is_sparse(M: Any) -> bool:
    return not isinstance(M, np.ndarray)


def _blocks(blocks: Sequence[npt.ArrayLike] | None, dim: int) -> tuple[Ints, Ints]:
    """Cuts, shape (n + 1,), and members, shape (dim,), of a split of range(dim)."""
    if blocks is None:
        return np.arange(dim + 1, dtype=np.int64), np.arange(dim, dtype=np.int64)
    parts = [np.atleast_1d(np.asarray(b)) for b in blocks]
    if not parts or any(p.ndim != 1 or not len(p) or p.dtype.kind not in "iu" for p in parts):
        raise ValueError("blocks must be index arrays, none of them empty")
    members = np.concatenate(parts).astype(np.int64)
    if not np.array_equal(np.sort(members), np.arange(dim)):
        raise ValueError(f"blocks must hold each of the {dim} coordinates exactly once")
    return np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64), members
