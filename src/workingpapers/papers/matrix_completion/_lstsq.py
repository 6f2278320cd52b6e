"""One tall least-squares problem, sketched: the paper's high-accuracy regression on its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sp

from ._sketched import KINDS
from ._sweep import Sketch

Matrix = npt.NDArray[np.float64]


class LstsqResult(NamedTuple):
    """What `sketched_lstsq` found.

    Attributes:
        x: `(k,)`.
        n_iter: passes over A.
        forward_error_bound: bound on `|x - x*|`, right whenever singular values of A R^-1 are at least 1/2.
    """

    x: Matrix
    n_iter: int
    forward_error_bound: float


def sketched_lstsq(A: Any, b: npt.ArrayLike, sketch_size: float | None = None, tol: float = 1e-10, *, sketch: Sketch = "countsketch",
                   max_iter: int = 200, random_state: int | np.random.Generator | None = None) -> LstsqResult:
    """Least squares `min |A x - b|` of a tall matrix by sketch, QR and preconditioned conjugate gradients.

    S A = Q R with a sketch S of `sketch_size` rows makes R a preconditioner under which A is nearly orthonormal, so that the number of
    passes does not depend on A's condition number. Cost: the sketch (nnz(A) for "countsketch"), `2 sketch_size k^2` for QR, then
    `4 nnz(A) + 2 k^2` a pass. For matrices with many more rows than `8 k`; for others ordinary QR is as good.

    Args:
        A: `(N, k)`, N >= k, full column rank; dense or sparse.
        b: `(N,)`.
        sketch_size: rows of the sketch; `8 k` unless given. With N or more A itself is factorised.
        tol: ends when `|R^-T A'(b - A x)| <= tol |R^-T A'b|`.
        sketch: "countsketch", "srht" (dense A only) or "gaussian".

    Raises:
        ValueError: shapes, values that are not finite, fewer rows than columns, or columns that depend on each other.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> A, x = rng.normal(size=(2_000, 10)) * 10.0 ** np.arange(10), np.ones(10)
    >>> found = sketched_lstsq(A, A @ x, random_state=0)
    >>> bool(np.allclose(found.x, x)), found.n_iter < 30
    (True, True)
    """
    A = A.tocsr() if sp.issparse(A) else np.asarray(A, dtype=np.float64)
    b = np.asarray(b, dtype=np.float64)
    if A.ndim != 2 or b.shape != A.shape[:1]:
        raise ValueError(f"A has shape {A.shape} and b {b.shape}: (N, k) and (N,) are needed")
    N, k = A.shape
    if k > N or k == 0:
        raise ValueError(f"A has shape {A.shape}: at least as many rows as columns are needed, and one column")
    if not (np.isfinite(A.data if sp.issparse(A) else A).all() and np.isfinite(b).all()):
        raise ValueError("A and b must be finite")
    if sketch not in KINDS:
        raise ValueError(f"sketch is {sketch!r}: one of {', '.join(map(repr, KINDS))} is needed")
    if not 0 < tol < 1:
        raise ValueError(f"tol is {tol!r}: a number between 0 and 1 is needed")
    size = int(8 * k if sketch_size is None else sketch_size)
    if size < k:
        raise ValueError(f"sketch_size is {sketch_size}: at least k={k} rows are needed, 4 to 8 times as many are usual")
    SA = dense(A) if size >= N else sketch_of(A, size, sketch, np.random.default_rng(random_state))
    Q, R = np.linalg.qr(SA) if size >= N else (None, np.linalg.qr(SA, mode="r"))
    scale = np.linalg.norm(R, axis=0)
    smallest = np.linalg.svd(R / np.where(scale > 0, scale, 1), compute_uv=False)[-1]
    if not smallest > 1e-13:
        raise ValueError("columns of A depend on each other (to rounding): drop some, or add a ridge by rows of sqrt(reg) I under A")

    def up(x: Matrix) -> Matrix:
        return np.asarray(scipy.linalg.solve_triangular(R, x))

    def across(x: Matrix) -> Matrix:
        return np.asarray(scipy.linalg.solve_triangular(R, x, trans="T"))

    target = tol * float(np.linalg.norm(across(A.T @ b)))
    x = up(Q.T @ b) if Q is not None else np.zeros(k)
    passes, restart, before, p, fresh = 1, True, 1.0, np.zeros(k), np.inf
    g = across(A.T @ (b - A @ x))
    while (now := float(g @ g)) > target**2 and passes < max_iter:
        if restart:
            if now > 0.25 * fresh:
                break  # rounding holds it here
            fresh = now
        p = g if restart else g + now / before * p
        z = up(p)
        q = A @ z
        step = now / float(q @ q)
        x, before, passes = x + step * z, now, passes + 1
        restart = passes % 15 == 0  # a fresh gradient: the recurrence drifts
        g = across(A.T @ (b - A @ x)) if restart else g - step * across(A.T @ q)
        if float(g @ g) <= target**2 and not restart:
            g, restart, passes = across(A.T @ (b - A @ x)), True, passes + 1
    inverse = np.linalg.norm(scipy.linalg.solve_triangular(R, np.eye(k)), 2)
    return LstsqResult(x, passes, float(4 * inverse * np.linalg.norm(across(A.T @ (b - A @ x)))))


def sketch_of(A: Any, size: int, kind: Sketch, rng: np.random.Generator) -> Matrix:
    """S A, `(size, k)`, with E S'S = I."""
    N = A.shape[0]
    if kind == "countsketch":
        S = sp.csr_array((rng.choice([-1.0, 1.0], N), (rng.integers(size, size=N), np.arange(N))), shape=(size, N))
        return dense(S @ A)
    if kind == "gaussian":
        out, step = np.zeros((size, A.shape[1])), max(1, (1 << 22) // size)
        for a in range(0, N, step):
            out += rng.standard_normal((size, min(step, N - a))) @ A[a : a + step] / np.sqrt(size)
        return out
    padded = 1 << (N - 1).bit_length()
    long = np.zeros((padded, A.shape[1]))
    long[:N] = dense(A) * rng.choice([-1.0, 1.0], N)[:, None]
    half = 1
    while half < padded:
        pairs = long.reshape(padded // (2 * half), 2, half, -1)
        long = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).reshape(padded, -1)
        half *= 2
    return np.asarray(long[rng.integers(padded, size=size)] / np.sqrt(size))


def dense(A: Any) -> Matrix:
    """As an ordinary array."""
    return np.asarray(A.toarray() if sp.issparse(A) else A, dtype=np.float64)


__all__ = ["LstsqResult", "sketch_of", "sketched_lstsq"]
