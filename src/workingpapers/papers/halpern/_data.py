"""Operators with one term a row of data: least squares, robust regression, and a game over the weights of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._operators import Array, FiniteSum, Ints, matrix, spectral_norm, uneven, vector
from ._resolvents import Resolvent


class _Rows(FiniteSum):
    """One term a row of X, shape (n, d)."""

    def _keep(self, name: str, X: Any) -> None:
        self.X = matrix(name, X)
        self.n, self._d = self.X.shape
        self._Xt = self.X.T if isinstance(self.X, np.ndarray) else self.X.T.tocsr()
        power = self.X**2 if isinstance(self.X, np.ndarray) else self.X.multiply(self.X)
        self._squares = np.asarray(power.sum(axis=1), float).ravel()

    def _stored(self) -> dict[str, Any]:
        return {"rows": self.X} if isinstance(self.X, np.ndarray) else {"csr": self.X}

    def _times(self, idx: Ints, weights: Array) -> Array:
        """`X[idx]' weights`, shape (d,)."""
        return np.asarray(self.X[idx].T @ weights)


class LeastSquares(_Rows):
    """`F(u) = A'(Au - b)/n`, the gradient of `|Au - b|^2 / 2n`; `F_i(u) = a_i (a_i'u - b_i)`. Cocoercive.

    Args:
        A: shape (n, dim), dense or scipy.sparse; b: shape (n,).
        sampling: 'uniform' (L = max |a_i|^2), 'importance' (L = mean |a_i|^2), or 'auto': the latter where it pays.

    >>> LeastSquares(np.eye(2), [1.0, 3.0]).full(np.zeros(2))
    array([-0.5, -1.5])
    """

    is_cocoercive: bool | None = True

    def __init__(self, A: Any, b: npt.ArrayLike, *, sampling: str = "auto") -> None:
        self._keep("A", A)
        self.dim = self._d
        self.b = vector("b", b, self.n)
        self.sampling_weights = uneven(self._squares, sampling)

    def full(self, u: Array) -> Array:
        return np.asarray(self._Xt @ (self.X @ u - self.b)) / self.n

    def batch(self, idx: Ints, u: Array) -> Array:
        return self._times(idx, self.X[idx] @ u - self.b[idx])

    def batch_diff(self, idx: Ints, u: Array, v: Array) -> Array:
        return self._times(idx, self.X[idx] @ (u - v))

    def lipschitz(self) -> float:
        return spectral_norm(self.X) ** 2 / self.n

    def avg_lipschitz(self, q: Array | None = None) -> float:
        """`max_i |a_i|^2 / (n q_i)`, the cocoercive constant."""
        q = self.sampling_weights if q is None else q
        return float((self._squares / (1.0 if q is None else self.n * q)).max())

    def terms(self) -> Any:
        from ._kernels import SQUARES, terms

        return terms(SQUARES, self.n, vec=self.b, **self._stored())


class RobustRegression(_Rows):
    """Least absolute deviations, or Huber's loss, as a game: `min_w max_{|p_i| <= 1} (1/n) sum_i p_i (x_i'w - y_i) - huber p_i^2 / 2`.

    `u = (w, p)`, `F_i = (p_i x_i, e_i (y_i - x_i'w + huber p_i))`; solve it with `G=F.constraint()`. One outlier moves w no further
    than any other row does. Each p_i belongs to one term, so that here `L = sqrt(n) L_F`: variance reduction saves little.

    Args:
        X: shape (n, d), dense or scipy.sparse; y: shape (n,).
        huber: residuals below it count quadratically; 0: absolute deviations.

    >>> F = RobustRegression(np.ones((3, 1)), [1.0, 2.0, 90.0])
    >>> F.full(np.array([2.0, -1.0, 0.0, 1.0]))
    array([ 0.        , -0.33333333,  0.        , 29.33333333])
    """

    is_cocoercive: bool | None = False

    def __init__(self, X: Any, y: npt.ArrayLike, huber: float = 0.0, *, sampling: str = "auto") -> None:
        self._keep("X", X)
        self.dim = self._d + self.n
        self.y = vector("y", y, self.n)
        if not (np.isfinite(huber) and huber >= 0):
            raise ValueError(f"huber is {huber!r}: a finite number from 0 up is needed")
        self.huber = float(huber)
        self.sampling_weights = uneven(self._squares, sampling)

    def constraint(self, l1: float = 0.0) -> Resolvent:
        """`|p_i| <= 1`, and `l1 |w|_1` on the coefficients where l1 > 0."""
        return Resolvent.product(Resolvent.l1(l1, self._d) if l1 else Resolvent.none(self._d), Resolvent.box(-1.0, 1.0, size=self.n))

    def split(self, u: Array) -> tuple[Array, Array]:
        """Coefficients w, shape (d,), and signs p, shape (n,)."""
        return u[: self._d], u[self._d :]

    def loss(self, w: Array) -> float:
        """The mean loss that w has: absolute, or Huber's."""
        r = np.abs(self.X @ w - self.y)
        return float(np.where(r <= self.huber, r**2 / (2 * self.huber) if self.huber else r, r - self.huber / 2).mean())

    def full(self, u: Array) -> Array:
        w, p = self.split(u)
        return np.concatenate([self._Xt @ p, self.y - self.X @ w + self.huber * p]) / self.n

    def batch(self, idx: Ints, u: Array) -> Array:
        return self._scattered(idx, u, self.y[idx])

    def batch_diff(self, idx: Ints, u: Array, v: Array) -> Array:
        return self._scattered(idx, u - v, np.zeros(len(idx)))

    def _scattered(self, idx: Ints, u: Array, constant: Array) -> Array:
        w, p = self.split(u)
        out = np.zeros(self.dim)
        out[: self._d] = self._times(idx, p[idx])
        np.add.at(out, self._d + idx, constant - self.X[idx] @ w + self.huber * p[idx])
        return out

    def lipschitz(self) -> float:
        return (spectral_norm(self.X) + self.huber) / self.n

    def avg_lipschitz(self, q: Array | None = None) -> float:
        q = self.sampling_weights if q is None else q
        scale = 1 / self.n if q is None else 1 / (self.n**2 * q)
        scaled = np.broadcast_to(np.sqrt(scale), self.n)
        weighted = self.X * scaled[:, None] if isinstance(self.X, np.ndarray) else self.X.multiply(scaled[:, None]).tocsr()
        squares = max(float((self._squares * scaled**2).max()), spectral_norm(weighted) ** 2)
        return float(np.sqrt(squares) + self.huber * scaled.max())

    def terms(self) -> Any:
        from ._kernels import ROBUST, terms

        return terms(ROBUST, self.n, vec=self.y, scale=self.huber, **self._stored())


class LogisticGame(_Rows):
    """Logistic regression against an adversary who weights the rows: `min_w max_p sum_i p_i log(1 + exp(-y_i x_i'w))`, p on the simplex.

    Plus `ridge |w|^2 / 2` and minus `spread |n p - 1|^2 / 2n`, which holds the weights together. `u = (w, p)`; solve it with
    `G=F.constraint()`. Not affine. Term i is row i: its gradient in w and its loss.

    Args:
        X: shape (n, d), dense or scipy.sparse; y: labels -1 and 1, shape (n,).
        ridge, spread: from 0 up.

    >>> F = LogisticGame(np.array([[1.0], [2.0]]), [1, -1])
    >>> F.full(np.array([0.0, 0.5, 0.5])).round(3)
    array([ 0.25 , -0.693, -0.693])
    """

    is_cocoercive: bool | None = False

    def __init__(self, X: Any, y: npt.ArrayLike, ridge: float = 0.0, spread: float = 0.0) -> None:
        matrix("X", X)
        signs = vector("y", y, np.shape(X)[0])
        if not np.isin(signs, (-1.0, 1.0)).all():
            raise ValueError("y must hold -1 and 1 only")
        self._keep("X", X * signs[:, None] if isinstance(X, np.ndarray | list) else X.multiply(signs[:, None]))
        for name, number in (("ridge", ridge), ("spread", spread)):
            if not (np.isfinite(number) and number >= 0):
                raise ValueError(f"{name} is {number!r}: a finite number from 0 up is needed")
        self.dim, self.ridge, self.spread = self._d + self.n, float(ridge), float(spread)

    def constraint(self) -> Resolvent:
        """p on the simplex, w free."""
        return Resolvent.product(Resolvent.none(self._d), Resolvent.simplex(self.n))

    def split(self, u: Array) -> tuple[Array, Array]:
        """Coefficients w, shape (d,), and weights p, shape (n,)."""
        return u[: self._d], u[self._d :]

    def full(self, u: Array) -> Array:
        w, p = self.split(u)
        loss, slope = _logistic(self.X @ w)
        return np.concatenate([self._Xt @ (p * slope) + self.ridge * w, -loss + self.spread * (self.n * p - 1)])

    def batch(self, idx: Ints, u: Array) -> Array:
        w, p = self.split(u)
        loss, slope = _logistic(self.X[idx] @ w)
        out = np.zeros(self.dim)
        out[: self._d] = self.n * self._times(idx, p[idx] * slope) + len(idx) * self.ridge * w
        out[self._d :] = len(idx) * self.spread * (self.n * p - 1)
        np.add.at(out, self._d + idx, -self.n * loss)
        return out

    def lipschitz(self) -> float:
        """A bound on the simplex: `max(max |x_i|^2 / 4 + ridge, n spread) + |X|`."""
        return max(float(self._squares.max()) / 4 + self.ridge, self.n * self.spread) + spectral_norm(self.X)

    def avg_lipschitz(self, q: Array | None = None) -> float:
        """A bound on the simplex, for even draws."""
        r = self._squares
        rows = max(float((r**2).max()) / 8 + float(r.sum()), 2 * float(r.max()))
        return float(np.sqrt(self.n * rows)) + max(self.ridge, self.n * self.spread)

    def terms(self) -> Any:
        from ._kernels import LOGISTIC, terms

        return terms(LOGISTIC, self.n, scale=self.ridge, extra=self.n * self.spread, vec=np.full(1, self.spread), **self._stored())


def _logistic(z: Array) -> tuple[Array, Array]:
    """`log(1 + exp(-z))` and its derivative, without overflow."""
    return np.logaddexp(0.0, -z), -0.5 * (1.0 - np.tanh(z / 2))
