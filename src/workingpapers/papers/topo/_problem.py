"""What an order search needs from a loss, and the least-squares loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ._orders import Matrix, Order, factor, move_changes, weights_of


@dataclass(frozen=True)
class State:
    """An order with its best weights.

    Attributes:
        order: sources first, `(d,)`.
        score: the loss, penalties included.
        W: weights or strengths of edges, `(d, d)`.
        fits: what the loss keeps beside them.
    """

    order: Order
    score: float
    W: Matrix
    fits: Any = None


class Problem(Protocol):
    """A loss on given data.

    Attributes:
        d: number of variables.
        tolerance: relative improvement below which a move counts as none.
        takes_first: whether the first move that improves is taken, because scoring one is dear.
    """

    d: int
    tolerance: float
    takes_first: bool

    def fit(self, order: Order, warm: State | None = None) -> State:
        """Best weights in this order; `warm` is a state to start from."""
        ...

    def changes(self, state: State, a: Order, b: Order, kinds: Sequence[str]) -> tuple[Matrix, int]:
        """Change of the score for each kind (rows) and each pair of positions (columns), NaN where it was not looked at; and how many
        were."""
        ...

    def gradient(self, state: State) -> Matrix:
        """Gradient of the loss by W, `(d, d)`."""
        ...

    def model(self, state: State) -> Any:
        """What is needed to score new data."""
        ...


class LeastSquares:
    """`||X - XW||^2 / (2n) + ridge ||W||^2 / 2`, from the Gram matrix S = X'X/n."""

    tolerance = 1e-12
    takes_first = False

    def __init__(self, S: Matrix, ridge: float = 0.0) -> None:
        self.d, self.S, self.ridge = len(S), S, ridge
        self._raised = S + ridge * np.eye(len(S))

    def fit(self, order: Order, warm: State | None = None) -> State:
        """One Cholesky factorisation and one triangular inverse."""
        L = factor(self._raised, order)
        score = 0.5 * float(np.square(np.diag(L)).sum() - self.ridge * self.d)
        return State(order, score, weights_of(L, order), L)

    def changes(self, state: State, a: Order, b: Order, kinds: Sequence[str]) -> tuple[Matrix, int]:
        """All of them in O(d^3)."""
        return 0.5 * move_changes(state.fits, a, b, kinds), len(a) * len(kinds)

    def gradient(self, state: State) -> Matrix:
        """-X'(X - XW)/n."""
        return np.asarray(self.S @ state.W - self.S)

    def model(self, state: State) -> Any:
        """Nothing: W says it all."""
        return None
