"""Losses that have no closed form over an order: every variable is regressed on those before it, and remembered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.special import expit

from ._orders import Matrix, Order, moved
from ._penalised import lasso, log_lasso
from ._problem import State

REMEMBERED = 50_000


@dataclass(frozen=True)
class NodeFit:
    """One variable regressed on its predecessors: its share of the loss, strength of each predecessor, whatever else it needs."""

    loss: float
    strength: Matrix
    kept: Any = None


class NodeLoss(Protocol):
    """The regression of one variable. `warm` is its fit on other predecessors, where there is one."""

    def fit_node(self, j: int, before: Order, warm: NodeFit | None) -> NodeFit:
        """Variable j on those before it (sorted), strengths in the order of `before`."""
        ...

    def gradient(self, W: Matrix) -> Matrix:
        """Gradient of the smooth part of the loss by W, `(d, d)`."""
        ...


class Nodewise:
    """A loss that is a sum over variables, each regressed on its predecessors.

    A move refits the variables from the earlier to the later position only. A regression is remembered by variable and set of
    predecessors, so that a move that is taken is not fitted again.
    """

    def __init__(self, d: int, loss: NodeLoss, *, tolerance: float, takes_first: bool = False,
                 total: Callable[[Matrix], float] | None = None) -> None:
        self.d, self.loss, self.tolerance, self.takes_first, self.total = d, loss, tolerance, takes_first, total
        self._known: OrderedDict[tuple[int, bytes], NodeFit] = OrderedDict()

    def _node(self, j: int, before: Order, warm: NodeFit | None) -> NodeFit:
        before = np.sort(before)
        key = (j, before.tobytes())
        if key not in self._known:
            self._known[key] = self.loss.fit_node(j, before, warm)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return self._known[key]

    def _refit(self, order: Order, fits: dict[int, NodeFit], first: int, last: int) -> dict[int, NodeFit]:
        return fits | {int(order[k]): self._node(int(order[k]), order[:k], fits.get(int(order[k]))) for k in range(first, last + 1)}

    def _state(self, order: Order, fits: dict[int, NodeFit]) -> State:
        W = np.zeros((self.d, self.d))
        for k, j in enumerate(order):
            W[np.sort(order[:k]), j] = fits[int(j)].strength
        score = sum(fits[j].loss for j in range(self.d)) if self.total is None else self.total(W)
        return State(order, float(score), W, fits)

    def fit(self, order: Order, warm: State | None = None) -> State:
        """A regression of every variable, those that are remembered excepted."""
        return self._state(order, self._refit(order, {} if warm is None else warm.fits, 0, self.d - 1))

    def changes(self, state: State, a: Order, b: Order, kinds: Sequence[str]) -> tuple[Matrix, int]:
        """Each by refitting the variables between; up to the first that improves where `takes_first`."""
        out, n = np.full((len(kinds), len(a)), np.nan), 0
        enough = -self.tolerance * max(1.0, abs(state.score))
        for k in range(len(a)):
            for r, kind in enumerate(kinds):
                order = moved(state.order, kind, int(a[k]), int(b[k]))
                fits = self._refit(order, state.fits, int(a[k]), int(b[k]))
                if self.total is None:
                    out[r, k] = sum(fits[int(j)].loss - state.fits[int(j)].loss for j in order[a[k] : b[k] + 1])
                else:
                    out[r, k] = self._state(order, fits).score - state.score
                n += 1
                if self.takes_first and out[r, k] < enough:
                    return out, n
        return out, n

    def gradient(self, state: State) -> Matrix:
        """As the loss gives it."""
        return self.loss.gradient(state.W)

    def model(self, state: State) -> Any:
        """What the loss kept of each variable, by variable."""
        return [state.fits[j].kept for j in range(self.d)]


class Lasso:
    """`||X - XW||^2 / (2n) + ridge ||W||^2 / 2 + lambda1 ||W||_1`, from the Gram matrix."""

    def __init__(self, S: Matrix, lambda1: float, ridge: float = 0.0) -> None:
        self.S, self.lambda1, self.raised = S, lambda1, S + ridge * np.eye(len(S))

    def fit_node(self, j: int, before: Order, warm: NodeFit | None) -> NodeFit:
        """Coordinate descent."""
        A, c = np.ascontiguousarray(self.raised[np.ix_(before, before)]), np.ascontiguousarray(self.S[before, j])
        w = lasso(A, c, self.lambda1)
        return NodeFit(0.5 * float(self.S[j, j] - 2 * c @ w + w @ A @ w) + self.lambda1 * float(np.abs(w).sum()), w)

    def gradient(self, W: Matrix) -> Matrix:
        """Of the squared error."""
        return np.asarray(self.S @ W - self.S)


class LogLikelihood:
    """`sum_j log(||r_j||^2 / n) / 2 + lambda1 ||W||_1`: Gaussian noise whose variances differ (the NV form of GOLEM, order by order).

    Without a penalty every order has the same score, log det(S) / 2: the penalty alone decides.
    """

    def __init__(self, S: Matrix, lambda1: float, ridge: float = 0.0) -> None:
        self.S, self.lambda1, self.raised = S, lambda1, S + ridge * np.eye(len(S))

    def fit_node(self, j: int, before: Order, warm: NodeFit | None) -> NodeFit:
        """Alternates the noise variance, in closed form, and a lasso at that variance; neither step can raise the loss."""
        A, c = np.ascontiguousarray(self.raised[np.ix_(before, before)]), np.ascontiguousarray(self.S[before, j])
        w, variance = log_lasso(A, c, float(self.S[j, j]), self.lambda1)
        return NodeFit(0.5 * float(np.log(variance)) + self.lambda1 * float(np.abs(w).sum()), w)

    def gradient(self, W: Matrix) -> Matrix:
        """Of the log-likelihood."""
        residual = np.einsum("ij,ij->j", np.eye(len(W)) - W, self.S - self.S @ W)
        return np.asarray((self.S @ W - self.S) / residual)


class Logistic:
    """`sum(log(1 + exp(XW)) - X * XW) / n + lambda1 ||W||_1` of 0/1 data, without intercept, by liblinear."""

    def __init__(self, X: Matrix, lambda1: float) -> None:
        self.X, self.lambda1 = X, lambda1

    def fit_node(self, j: int, before: Order, warm: NodeFit | None) -> NodeFit:
        """L1 logistic regression with C = 1 / (n lambda1)."""
        from sklearn.linear_model import LogisticRegression

        n, y = len(self.X), self.X[:, j]
        if not len(before):
            return NodeFit(float(np.log(2.0)), np.zeros(0))
        C = 1.0 / (n * self.lambda1) if self.lambda1 > 0 else 1e9
        found = LogisticRegression(C=C, l1_ratio=1.0, solver="liblinear", fit_intercept=False, tol=1e-6, max_iter=2_000, random_state=0)
        w = found.fit(self.X[:, before], y).coef_[0]
        margin = self.X[:, before] @ w
        return NodeFit(float(np.mean(np.logaddexp(0, margin) - y * margin)) + self.lambda1 * float(np.abs(w).sum()), w)

    def gradient(self, W: Matrix) -> Matrix:
        """Of the log-likelihood."""
        return np.asarray(self.X.T @ (expit(self.X @ W) - self.X) / len(self.X))


class Custom:
    """A pair of the user's: `regress(X_before, y) -> weights` and `score(X, W) -> loss` or `(loss, gradient)`."""

    def __init__(self, X: Matrix, regress: Callable[..., Any], score: Callable[..., Any]) -> None:
        self.X, self.regress, self.score = X, regress, score

    def fit_node(self, j: int, before: Order, warm: NodeFit | None) -> NodeFit:
        """As `regress` says; the loss is that of `score`, over the whole graph."""
        if not len(before):
            return NodeFit(0.0, np.zeros(0))
        w = np.asarray(self.regress(self.X[:, before], self.X[:, j]), dtype=np.float64).reshape(-1)
        if w.shape != (len(before),) or not np.isfinite(w).all():
            raise ValueError(f"loss: regress gave weights of shape {w.shape}; {len(before)} finite numbers are needed, one a column")
        return NodeFit(0.0, w)

    def total(self, W: Matrix) -> float:
        """The loss of a graph."""
        found = self.score(self.X, W)
        loss = float(found[0] if isinstance(found, tuple) else found)
        if not np.isfinite(loss):
            raise ValueError(f"loss: score gave {loss}; a finite number is needed")
        return loss

    def gradient(self, W: Matrix) -> Matrix:
        """The second thing that `score` gives."""
        found = self.score(self.X, W)
        if not isinstance(found, tuple) or np.shape(found[1]) != W.shape:
            raise ValueError("grad_loss_tol > 0 needs a score that returns (loss, gradient), the gradient of shape (d, d)")
        return np.asarray(found[1], dtype=np.float64)
