"""Finite sums `F = (1/n) sum_i F_i` of operators: the protocol, its base class, a user's own functions, and an independent counter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ._kernels import Terms

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@runtime_checkable
class FiniteSumOperator(Protocol):
    """What `solve` needs. The unit of cost is one F_i at one point; `full` costs n, `batch` len(idx), `batch_diff` twice that."""

    n: int
    dim: int

    def full(self, u: Array) -> Array:
        """`F(u) = (1/n) sum_i F_i(u)`, shape (dim,)."""

    def batch(self, idx: Ints, u: Array) -> Array:
        """Sum over idx (not the mean) of `F_i(u)`, shape (dim,)."""


class FiniteSum:
    """Base of the operators here, and of a user's own: give `n`, `dim` and `batch`; the rest has defaults.

    Attributes:
        is_cocoercive: whether `E |F_i(u) - F_i(v)|^2 <= L <F(u) - F(v), u - v>`; False: only monotone and Lipschitz; None: not declared.
        sampling_weights: probabilities q, shape (n,), with which terms are drawn; None: evenly.
    """

    n: int
    dim: int
    is_cocoercive: bool | None = None
    sampling_weights: Array | None = None

    def batch(self, idx: Ints, u: Array) -> Array:
        """Sum over idx of `F_i(u)`, shape (dim,)."""
        raise NotImplementedError  # abstract

    def batch_diff(self, idx: Ints, u: Array, v: Array) -> Array:
        """Sum over idx of `F_i(u) - F_i(v)`, shape (dim,)."""
        return self.batch(idx, u) - self.batch(idx, v)

    def full(self, u: Array) -> Array:
        """The mean of all terms at u, shape (dim,)."""
        return self.batch(np.arange(self.n), u) / self.n

    def lipschitz(self) -> float | None:
        """Lipschitz constant of F; None where it is not known (`solve` then estimates it)."""
        return None

    def avg_lipschitz(self, q: Array | None = None) -> float | None:
        """L with `E_{i~q} |(F_i(u) - F_i(v)) / (n q_i)|^2 <= L^2 |u - v|^2` (cocoercive: `<= L <F(u) - F(v), u - v>`); None: not known."""
        return None

    def terms(self) -> Terms | None:
        """The terms as arrays for compiled loops; None: loops run in Python."""
        return None


class FunctionOperator(FiniteSum):
    """An operator of one's own, given as a Python function.

    Args:
        function: `function(idx, u)`: the **sum** over the integer array idx of `F_i(u)`, shape (dim,); u is read-only.
        n, dim: number of terms and of coordinates.
        lipschitz, avg_lipschitz: constants where known; else `solve` estimates them near the start and backs off if it diverges.
        is_cocoercive: see `FiniteSum`.

    >>> A = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> F = FunctionOperator(lambda idx, u: A[idx].T @ (A[idx] @ u - 1.0), n=3, dim=2, is_cocoercive=True)
    >>> F.full(np.zeros(2))
    array([-1.        , -0.66666667])
    """

    def __init__(self, function: Callable[[Ints, Array], npt.ArrayLike], n: int, dim: int, *, lipschitz: float | None = None,
                 avg_lipschitz: float | None = None, is_cocoercive: bool | None = None) -> None:
        if not callable(function):
            raise TypeError(f"function is {function!r}: something callable as function(idx, u) is needed")
        self.n, self.dim = count("n", n), count("dim", dim)
        self.is_cocoercive = is_cocoercive
        self._function, self._lipschitz, self._average = function, lipschitz, avg_lipschitz

    @classmethod
    def min_max(cls, grad_x: Callable[[Ints, Array, Array], npt.ArrayLike], grad_y: Callable[[Ints, Array, Array], npt.ArrayLike],
                n: int, dim_x: int, dim_y: int, **more: Any) -> FunctionOperator:
        """`min_x max_y (1/n) sum_i f_i(x, y)` from sums of gradients: `grad_x(idx, x, y)`, shape (dim_x,), and `grad_y(idx, x, y)`.

        The point is `u = (x, y)`, and F = (grad_x, -grad_y): the sign of the maximising player is turned here.

        >>> F = FunctionOperator.min_max(lambda i, x, y: len(i) * y, lambda i, x, y: len(i) * x, n=4, dim_x=1, dim_y=1)
        >>> F.full(np.array([1.0, 2.0]))
        array([ 2., -1.])
        """
        cut = count("dim_x", dim_x)
        for name, given in (("grad_x", grad_x), ("grad_y", grad_y)):
            if not callable(given):
                raise TypeError(f"{name} is {given!r}: something callable as {name}(idx, x, y) is needed")

        def joined(idx: Ints, u: Array) -> Array:
            x, y = u[:cut], u[cut:]
            gx, gy = np.asarray(grad_x(idx, x, y), float), np.asarray(grad_y(idx, x, y), float)
            if gx.shape != x.shape or gy.shape != y.shape:
                raise ValueError(f"grad_x and grad_y gave shapes {gx.shape} and {gy.shape}; {x.shape} and {y.shape} are needed")
            return np.concatenate([gx, -gy])

        return cls(joined, n, cut + count("dim_y", dim_y), **more)

    def batch(self, idx: Ints, u: Array) -> Array:
        point = u.view()
        point.flags.writeable = False  # a function that writes into its point would spoil the run
        found = np.asarray(self._function(idx, point), float)
        if found.shape != (self.dim,):
            raise ValueError(f"function(idx, u) gave shape {found.shape}; the sum over idx, of shape ({self.dim},), is needed")
        return found

    def lipschitz(self) -> float | None:
        return self._lipschitz

    def avg_lipschitz(self, q: Array | None = None) -> float | None:
        return self._average


class CountingOperator:
    """Wraps any operator and counts evaluations of single terms by itself, whatever `solve` says.

    Attributes:
        n_oracle: evaluations so far.
        n_full: how many of the calls were for all terms at once.
    """

    def __init__(self, F: FiniteSumOperator) -> None:
        self._F, self.n, self.dim = F, F.n, F.dim
        self.n_oracle = self.n_full = 0

    def full(self, u: Array) -> Array:
        """F(u); counted as n."""
        self.n_oracle += self.n
        self.n_full += 1
        return self._F.full(u)

    def batch(self, idx: Ints, u: Array) -> Array:
        """Sum over idx of `F_i(u)`; counted as len(idx)."""
        self.n_oracle += len(idx)
        return self._F.batch(idx, u)

    def batch_diff(self, idx: Ints, u: Array, v: Array) -> Array:
        """Sum over idx of `F_i(u) - F_i(v)`; counted as 2 len(idx)."""
        self.n_oracle += 2 * len(idx)
        return difference(self._F, idx, u, v)

    def terms(self) -> None:
        """None: compiled loops would pass the counter by."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._F, name)


def difference(F: FiniteSumOperator, idx: Ints, u: Array, v: Array) -> Array:
    """Sum over idx of `F_i(u) - F_i(v)`, by the operator's own way where it has one."""
    own = getattr(F, "batch_diff", None)
    return np.asarray(own(idx, u, v)) if own is not None else F.batch(idx, u) - F.batch(idx, v)


def count(name: str, number: Any, least: int = 1) -> int:
    """A whole number from `least` up."""
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least:
        raise ValueError(f"{name} is {number!r}: a whole number from {least} up is needed")
    return int(number)


def numbers(name: str, given: Any) -> Array:
    """A float64 copy, C-ordered.

    Raises:
        TypeError: not an array of real numbers.
    """
    try:
        found = np.array(given)
        if found.dtype.kind == "c":
            raise TypeError("it is complex")
        return np.array(found, float, order="C")
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array of real numbers, with rows of one length: {error}") from None


def matrix(name: str, given: Any) -> Any:
    """A finite float64 matrix: C-ordered array, or CSR where it is sparse. Never the caller's own memory."""
    from scipy import sparse

    if sparse.issparse(given):
        if given.dtype.kind == "c":
            raise TypeError(f"{name} is complex: real numbers are needed")
        found = sparse.csr_array(given, dtype=float, copy=True)
        found.sum_duplicates()
        values = found.data
    else:
        found = values = numbers(name, given)
    if found.ndim != 2 or 0 in found.shape:
        raise ValueError(f"{name} has shape {found.shape}: a matrix with at least one row and one column is needed")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return found


def vector(name: str, given: Any, size: int) -> Array:
    """A finite float64 copy of shape (size,)."""
    found = numbers(name, given)
    if found.shape != (size,):
        raise ValueError(f"{name} has shape {found.shape}: ({size},) is needed")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return found


def spectral_norm(M: Any) -> float:
    """Largest singular value of a dense or sparse matrix; by Lanczos where it is large."""
    from scipy.sparse import issparse
    from scipy.sparse.linalg import svds

    if min(M.shape) <= 256 or (not issparse(M) and min(M.shape) <= 1_000):
        dense = M.toarray() if issparse(M) else M
        gram = dense @ dense.T if dense.shape[0] <= dense.shape[1] else dense.T @ dense
        return float(np.sqrt(max(np.linalg.eigvalsh(gram)[-1], 0.0)))
    start = np.random.default_rng(0).standard_normal(min(M.shape))  # any start with a part along the answer: fixed, to repeat
    return float(svds(M, k=1, v0=start, return_singular_vectors=False)[0])


def uneven(squares: Array, sampling: str) -> Array | None:
    """Probabilities proportional to `squares`, where drawing so lowers the average constant by a tenth or more; else None (evenly)."""
    if sampling not in ("auto", "importance", "uniform"):
        raise ValueError(f"sampling is {sampling!r}: 'auto', 'importance' or 'uniform' is needed")
    total = float(squares.sum())
    if sampling == "uniform" or not total > 0:
        return None
    if sampling == "auto" and total > 0.81 * len(squares) * float(squares.max()):
        return None
    # A floor keeps terms that look like zero in play, at the price of a hundredth of the rest.
    q = 0.99 * squares / total + 0.01 / len(squares)
    return np.asarray(q / q.sum())
