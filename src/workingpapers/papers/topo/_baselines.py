"""NOTEARS, DAGMA and GOLEM, whose objectives TOPO optimises, and two controls. Each gives raw weights `(d, d)`.

Written from the papers and the settings of their released code; least squares from the Gram matrix, so that no step depends on n.
"""

from __future__ import annotations

from typing import Any, Literal

import numba as nb
import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from workingpapers.parts.causal.graphs import first_dag

from . import _kernel as kernel
from ._orders import Matrix, Order, check_choice, factor, weights_of


@nb.njit(nogil=True, inline="always")  # type: ignore[untyped-decorator,unused-ignore]
def _expm(A: Matrix) -> Matrix:
    # Scaling and squaring of a Taylor series: the entries are not negative, so nothing cancels.
    size, n_squares = A.sum(axis=0).max(), 0
    while size > 0.5:
        size *= 0.5
        n_squares += 1
    A = A / 2.0**n_squares
    E, term = np.eye(len(A)) + A, A.copy()
    for k in range(2, 11):
        term = term @ A / k
        E = E + term
    for _ in range(n_squares):
        E = E @ E
    return E


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _lagrangian(v: Matrix, value: float, G: Matrix, S: Matrix, rho: float, alpha: float, lambda1: float) -> tuple[float, float, Matrix]:
    """h, augmented Lagrangian and gradient by the doubled variables v; loss and gradient G given, or from S where G is empty."""
    d = len(S)
    W = (v[: d * d] - v[d * d :]).reshape(d, d)
    if len(G) == 0:
        G = S @ W - S
        value = 0.5 * (np.trace(S) + np.sum((G - S) * W))
    E = _expm(W * W)
    h = np.trace(E) - d
    G = G + (rho * h + alpha) * 2 * W * E.T
    out = np.empty(2 * d * d)
    out[: d * d] = G.ravel() + lambda1
    out[d * d :] = lambda1 - G.ravel()
    return h, value + 0.5 * rho * h * h + alpha * h + lambda1 * v.sum(), out


def _centred(X: Any) -> Matrix:
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] < 2 or not np.isfinite(X).all():
        raise ValueError("X: finite samples (n, d) of at least 2 variables are needed")
    return np.asarray(X - X.mean(axis=0))


def notears(X: Any, lambda1: float = 0.1, loss: Literal["l2", "logistic"] = "l2", *, max_iter: int = 100, h_tol: float = 1e-8,
            rho_max: float = 1e16, w_threshold: float = 0.3) -> Matrix:
    """NOTEARS (Zheng et al. 2018): augmented Lagrangian of `loss + lambda1 |W|_1` with h(W) = Tr(exp(W o W)) - d = 0, by L-BFGS-B.

    Weights under `w_threshold` are cut, and then the weakest that are left until no cycle is.
    """
    check_choice("loss", loss, ("l2", "logistic"))
    X = _centred(X) if loss == "l2" else np.asarray(X, dtype=np.float64)
    n, d = X.shape
    S = X.T @ X / n

    def parts(v: Matrix, rho: float, alpha: float) -> tuple[float, float, Matrix]:
        if loss == "l2":
            return _lagrangian(v, 0.0, np.empty((0, 0)), S, rho, alpha, lambda1)  # type: ignore[no-any-return,unused-ignore]
        M = X @ (v[: d * d] - v[d * d :]).reshape(d, d)
        value, G = float((np.logaddexp(0, M) - X * M).sum() / n), X.T @ (expit(M) - X) / n
        return _lagrangian(v, value, G, S, rho, alpha, lambda1)  # type: ignore[no-any-return,unused-ignore]

    bounds = [(0, 0) if k % (d + 1) == 0 else (0, None) for k in range(d * d)] * 2
    v, rho, alpha, h = np.zeros(2 * d * d), 1.0, 0.0, np.inf
    for _ in range(max_iter):
        new, h_new = v, h
        while rho < rho_max:
            new = minimize(lambda v, rho=rho, alpha=alpha: parts(v, rho, alpha)[1:], v, jac=True, method="L-BFGS-B", bounds=bounds).x
            h_new = float(parts(new, rho, alpha)[0])
            if h_new <= 0.25 * h:
                break
            rho *= 10
        v, h = new, h_new
        alpha += rho * h
        if h <= h_tol or rho >= rho_max:
            break
    W = (v[: d * d] - v[d * d :]).reshape(d, d)
    return first_dag(np.where(np.abs(W) >= w_threshold, W, 0.0))


def dagma(X: Any, lambda1: float = 0.03, *, warm_iter: int = 30_000, max_iter: int = 60_000, w_threshold: float = 0.3) -> Matrix:
    """DAGMA (Bello et al. 2022), linear: five stages of `mu (loss + lambda1 |W|_1) - log det(sI - W o W)` with mu = 1, 0.1, ..., 1e-4 and
    s = 1, 0.9, ..., 0.6, each by Adam (learning rate 3e-4) until the objective stands still over 1,000 steps."""
    X = _centred(X)
    S = X.T @ X / len(X)
    W, mu = np.zeros_like(S), 1.0
    for stage, s in enumerate((1.0, 0.9, 0.8, 0.7, 0.6)):
        lr = 3e-4
        while True:
            new, is_inside = _dagma_stage(S, W.copy(), mu, s, lr, lambda1, max_iter if stage == 4 else warm_iter)
            if is_inside:
                break
            lr, s = 0.5 * lr, s + 0.1
        W, mu = new, 0.1 * mu
    return first_dag(np.where(np.abs(W) >= w_threshold, W, 0.0))


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _dagma_stage(S: Matrix, W: Matrix, mu: float, s: float, lr: float, lambda1: float, steps: int) -> tuple[Matrix, bool]:
    d = len(S)
    eye, m, v, step = np.eye(d), np.zeros((d, d)), np.zeros((d, d)), np.zeros((d, d))
    before = 1e16
    for t in range(1, steps + 1):
        M = np.linalg.inv(s * eye - W * W) + 1e-16
        while (M < 0).any():
            if t == 1 or s <= 0.9:
                return W, False
            W += lr * step
            lr *= 0.5
            if lr <= 1e-16:
                return W, True
            W -= lr * step
            M = np.linalg.inv(s * eye - W * W) + 1e-16
        G = mu * (S @ W - S) + mu * lambda1 * np.sign(W) + 2 * W * M.T
        m = 0.99 * m + 0.01 * G
        v = 0.999 * v + 0.001 * G * G
        step = m / (1 - 0.99**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        W -= lr * step
        if t % 1000 == 0:
            D = eye - W
            value = mu * (0.5 * np.sum(D * (S @ D)) + lambda1 * np.abs(W).sum()) - np.linalg.slogdet(s * eye - W * W)[1] + d * np.log(s)
            if abs((before - value) / before) <= 1e-6:
                break
            before = value
    return W, True


def golem(X: Any, lambda1: float = 0.02, lambda2: float = 5.0, *, equal_variance: bool = True, steps: int = 100_000,
          w_threshold: float = 0.3) -> Matrix:
    """GOLEM (Ng et al. 2020): `d/2 log ||X - XW||^2 - log|det(I - W)| + lambda1 |W|_1 + lambda2 h(W)` by Adam (learning rate 1e-3).

    `equal_variance=False` takes the sum of logarithms, `sum_j log ||r_j||^2 / 2`. Stops before `steps` once the objective moved by less
    than 1e-6 of itself over 1,000 steps (the released code goes on).
    """
    X = _centred(X)
    W = _golem_steps(X.T @ X / len(X), lambda1, lambda2, equal_variance, steps)
    return first_dag(np.where(np.abs(W) >= w_threshold, W, 0.0))


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _golem_steps(S: Matrix, lambda1: float, lambda2: float, equal_variance: bool, steps: int) -> Matrix:
    d = len(S)
    eye, W, m, v = np.eye(d), np.zeros((d, d)), np.zeros((d, d)), np.zeros((d, d))
    before = 1e16
    for t in range(1, steps + 1):
        D = eye - W
        SD = S @ D
        squares = np.empty(d)
        for j in range(d):
            squares[j] = np.dot(np.ascontiguousarray(D[:, j]), np.ascontiguousarray(SD[:, j]))
        E = _expm(W * W)
        G = lambda2 * 2 * W * E.T + lambda1 * np.sign(W) + np.linalg.inv(D).T
        for j in range(d):
            scale = d / squares.sum() if equal_variance else 1.0 / squares[j]
            G[:, j] -= scale * SD[:, j]
            G[j, j] = 0.0
        m = 0.9 * m + 0.1 * G
        v = 0.999 * v + 0.001 * G * G
        W -= 1e-3 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        if t % 1000 == 0:
            fit = 0.5 * d * np.log(squares.sum()) if equal_variance else 0.5 * np.log(squares).sum()
            value = fit - np.linalg.slogdet(D)[1] + lambda1 * np.abs(W).sum() + lambda2 * (np.trace(E) - d)
            if abs(before - value) <= 1e-6 * abs(value):
                break
            before = value
    return W


def sort_n_regress(X: Any) -> Matrix:
    """Sort by variance and regress (Reisach et al. 2021): what the scale of raw data gives away by itself."""
    X = _centred(X)
    return _full(X, np.argsort(X.var(axis=0), kind="stable"))


def random_orders(X: Any, n_orders: int, rng: np.random.Generator) -> Matrix:
    """The best of `n_orders` random orders by least squares, with its weights."""
    X = _centred(X)
    S = X.T @ X / len(X)
    best, least = np.arange(len(S)), np.inf
    for first in range(0, n_orders, 4_096):
        orders = rng.permuted(np.tile(np.arange(len(S)), (min(4_096, n_orders - first), 1)), axis=1)
        found = kernel.scores(S, orders)
        if found.min() < least:
            best, least = orders[int(np.argmin(found))], float(found.min())
    return _full(X, best)


def _full(X: Matrix, order: Order) -> Matrix:
    S = X.T @ X / len(X)
    return weights_of(factor(S, order), order)
