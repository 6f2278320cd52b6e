"""The neural form: each variable is a perceptron with one hidden layer of those before it."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from ._nodewise import NodeFit
from ._orders import Matrix, Order


class Perceptrons:
    """`||x_j - f_j||^2 / (2n)` (or `log(||x_j - f_j||^2 / n) / 2`) `+ lambda1 |A_j|_1 + lambda2 (|A_j|^2 + |b_j|^2) / 2` for each j, with
    `f_j = sigmoid(X A_j) b_j + c_j`, A_j `(d, hidden)` without bias, zero in the rows of those that are not before j.

    The strength of i -> j is the 2-norm of row i of A_j. Trained by L-BFGS-B on the positive and negative parts of A_j, which makes the
    L1 norm smooth and its zeros exact (the released code leaves it to the subgradient). Without a bias in the first layer, as published,
    each f_j is an odd function and a constant: an even relation such as y = x^2 around a centred x cannot be seen.
    """

    def __init__(self, X: Matrix, hidden: int, lambda1: float, lambda2: float, *, equal_variance: bool, rng: np.random.Generator,
                 max_iter: int = 200) -> None:
        d = X.shape[1]
        self.X, self.hidden, self.lambda1, self.lambda2, self.log, self.max_iter = X, hidden, lambda1, lambda2, not equal_variance, max_iter
        # Where weights start. Small ones would make every unit a line.
        self.first = rng.uniform(-1.0, 1.0, (d, d, hidden))
        self.second = rng.uniform(-1.0, 1.0, (d, hidden)) / np.sqrt(hidden)

    def fit_node(self, j: int, before: Order, warm: NodeFit | None) -> NodeFit:
        """Trains one perceptron, from the weights of `warm` where those are given; what is new before j starts as drawn."""
        y, X, m = self.X[:, j], self.X[:, before], self.hidden
        n, p = X.shape
        A, b, c = self.first[j, before], self.second[j], float(y.mean())
        if warm is not None:
            full, b, c, known = warm.kept
            A = np.where(np.isin(before, known)[:, None], full[before], A)
        at = np.concatenate([np.maximum(A, 0).ravel(), np.maximum(-A, 0).ravel(), b, [c]])

        def objective(v: Matrix) -> tuple[float, Matrix]:
            plus, minus, b, c = v[: p * m], v[p * m : 2 * p * m], v[2 * p * m : -1], v[-1]
            A = (plus - minus).reshape(p, m)
            H = expit(X @ A) if p else np.full((n, m), 0.5)
            r = H @ b + c - y
            fit, scale = 0.5 * float(r @ r) / n, 1.0
            if self.log:
                fit, scale = 0.5 * float(np.log(2 * fit)), 0.5 / fit
            value = fit + self.lambda1 * float(plus.sum() + minus.sum()) + 0.5 * self.lambda2 * float((A * A).sum() + b @ b)
            by_r = scale / n * r
            by_A = (X.T @ (np.outer(by_r, b) * (H - H * H)) + self.lambda2 * A).ravel()
            return value, np.concatenate([by_A + self.lambda1, self.lambda1 - by_A, H.T @ by_r + self.lambda2 * b, [by_r.sum()]])

        bounds = [(0, None)] * (2 * p * m) + [(None, None)] * (m + 1)
        found = minimize(objective, at, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": self.max_iter, "ftol": 1e-8})
        v = found.x
        A = (v[: p * m] - v[p * m : 2 * p * m]).reshape(p, m)
        full = np.zeros((self.X.shape[1], m))
        full[before] = A
        return NodeFit(float(found.fun), np.linalg.norm(A, axis=1), (full, v[2 * p * m : -1], float(v[-1]), before))

    def gradient(self, W: Matrix) -> Matrix:
        """There is none by W, which holds norms."""
        raise ValueError("grad_loss_tol > 0 is not there for loss='mlp', whose W holds norms: leave it at 0")


def predict(X: Matrix, model: list[tuple[Matrix, Matrix, float, Order]]) -> Matrix:
    """Predictions of all variables, `(n, d)`."""
    return np.column_stack([expit(X @ A) @ b + c for A, b, c, _ in model])
