"""Orders: their scores, the changes that moves bring, and the pairs that are worth moving (Algorithm 2 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.linalg import expm, lapack

from workingpapers.parts.causal.graphs import square

from . import _kernel as kernel

Matrix = npt.NDArray[np.float64]
Order = npt.NDArray[np.int64]
Acyclicity = Literal["logdet", "poly", "exp", "exp_square"]
Move = Literal["swap", "insert", "both"]
KINDS: dict[str, tuple[str, ...]] = {"swap": ("swap",), "insert": ("down", "up"), "both": ("swap", "down", "up")}


def as_order(order: Any, d: int, name: str = "order") -> Order:
    """`order` as integers `(d,)`.

    Raises:
        ValueError: not a permutation of 0 ... d - 1.
    """
    found = np.asarray(order)
    if found.shape != (d,) or not np.issubdtype(found.dtype, np.integer) or not np.array_equal(np.sort(found), np.arange(d)):
        raise ValueError(f"{name} must hold each of 0 ... {d - 1} once, sources first")
    return found.astype(np.int64)


def factor(S: Matrix, order: Order) -> Matrix:
    """Lower Cholesky factor of the Gram matrix in this order, `(d, d)`. O(d^3 / 3).

    Raises:
        ValueError: a variable is a linear combination of those before it.
    """
    L, info = lapack.dpotrf(S[np.ix_(order, order)], lower=1, clean=1)
    if info > 0 or (np.square(np.diag(L)) <= 1e-13 * np.diag(S)[order]).any():
        k = info - 1 if info > 0 else int(np.argmax(np.square(np.diag(L)) <= 1e-13 * np.diag(S)[order]))
        raise ValueError(f"X: column {order[k]} is a linear combination of others: drop one of them, or give ridge > 0")
    return np.asarray(L)


def order_score(S: Any, order: Any, ridge: float = 0.0) -> float:
    """The least-squares score of an order: the least of `||X - XW||^2 / (2n) + ridge ||W||^2 / 2` over W that the order allows.

    Equal to a regression of every variable on those before it, from the Gram matrix alone. O(d^3 / 3), whatever n.

    Args:
        S: `X'X / n` of centred X, `(d, d)`.
        order: sources first, `(d,)`.
        ridge: weight of the ridge penalty.

    >>> order_score([[1.0, 0.5], [0.5, 1.0]], [0, 1])         # (1 + (1 - 0.5^2)) / 2
    0.875

    Raises:
        ValueError: S not square, not finite, singular (give ridge); order not a permutation.
    """
    S = square(S, "S")
    order = as_order(order, len(S))
    L = factor(S + ridge * np.eye(len(S)), order)
    return 0.5 * float(np.square(np.diag(L)).sum() - ridge * len(S))


def swap_deltas(S: Any, order: Any, pairs: Any, ridge: float = 0.0) -> Matrix:
    """Change of `order_score` when the two variables of each pair exchange their places, `(k,)`; negative improves.

    All pairs together cost O(d^3), as much as one factorisation.

    Args:
        S, order, ridge: as for `order_score`.
        pairs: variables, `(k, 2)`, in either direction.

    >>> S = [[1.0, 0.5], [0.5, 4.0]]
    >>> swap_deltas(S, [1, 0], [(0, 1)]).round(3).tolist()
    [-0.094]

    Raises:
        ValueError: as `order_score`; a pair that is not two different variables.
    """
    S = square(S, "S")
    d = len(S)
    order, pairs = as_order(order, d), np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
        raise ValueError(f"pairs has shape {pairs.shape}: integers (k, 2) are needed")
    if ((pairs < 0) | (pairs >= d)).any() or (pairs[:, 0] == pairs[:, 1]).any():
        raise ValueError(f"pairs: each must be two different variables of 0 ... {d - 1}")
    places = np.argsort(order)[pairs]
    a, b = places.min(axis=1), places.max(axis=1)
    changes = move_changes(factor(S + ridge * np.eye(d), order), a, b, ("swap",))
    return np.asarray(0.5 * changes[0])


def move_changes(L: Matrix, a: Order, b: Order, kinds: Sequence[str]) -> Matrix:
    """Change of twice the score for each kind of move (rows) and each pair of positions a < b (columns)."""
    d = len(L)
    last = np.full(d, -1, dtype=np.int64)
    np.maximum.at(last, a, b)
    tables = {kind: np.zeros((d, d)) for kind in ("swap", "up", "down")}
    kernel.moves(np.ascontiguousarray(L.T), last, tables["swap"], tables["up"], tables["down"])
    return np.stack([tables[kind][a, b] for kind in kinds])


def moved(order: Order, kind: str, a: int, b: int) -> Order:
    """The order after a move between positions a < b: `swap` exchanges, `up` puts b before a, `down` puts a after b."""
    new = order.copy()
    if kind == "swap":
        new[a], new[b] = order[b], order[a]
    elif kind == "up":
        new[a], new[a + 1 : b + 1] = order[b], order[a:b]
    else:
        new[b], new[a:b] = order[a], order[a + 1 : b + 1]
    return new


def weights_of(L: Matrix, order: Order) -> Matrix:
    """Least-squares weights `(d, d)` from the factor: W[i, j] of i -> j."""
    inverse, _ = lapack.dtrtri(L, lower=1)
    B = -inverse * np.diag(L)[:, None]
    np.fill_diagonal(B, 0.0)
    W = np.zeros_like(B)
    W[np.ix_(order, order)] = np.tril(B, -1).T
    return np.asarray(W)


def cycle_signal(W: Matrix, order: Order, acyclicity: Acyclicity = "logdet") -> Matrix:
    """Gradient of the acyclicity penalty at each forbidden edge, `(d, d)` in positions: row a, column b > a is the edge from order[b]
    to order[a]. Near 0 where that edge would close no cycle, or a weak one.

    `logdet` (the paper's): -log det(I - |W|), whose gradient (I - |W|)^-T sums the weights of all walks; `poly`: Tr((I + |W|/d)^d);
    `exp`: Tr(exp |W|); `exp_square`: Tr(exp(W o W)), the gradient to W o W. No subtraction of like numbers occurs in the first, so it is
    accurate however large the walks; what overflows counts as the largest float.
    """
    A = np.triu(np.abs(W[np.ix_(order, order)]), 1)
    with np.errstate(over="ignore", invalid="ignore"):
        if acyclicity == "logdet":
            G, _ = lapack.dtrtri(np.eye(len(A)) - A, lower=0, unitdiag=1)
        elif acyclicity == "poly":
            G = np.linalg.matrix_power(np.eye(len(A)) + A / len(A), len(A) - 1)
        else:
            G = expm(A if acyclicity == "exp" else A * A)
    return np.asarray(np.nan_to_num(G, nan=np.finfo(float).max, posinf=np.finfo(float).max))


def ranked(W: Matrix, order: Order, sizes: Sequence[int], acyclicity: Acyclicity = "logdet", gradient: Matrix | None = None,
           grad_loss_tol: float = 0.0) -> tuple[Order, Order, list[npt.NDArray[np.bool_]]]:
    """Positions a and b of all pairs that may be moved, and for each size which of them are in the list."""
    a, b = np.triu_indices(len(order), 1)
    if gradient is not None and grad_loss_tol > 0:
        keep = np.abs(gradient[order[b], order[a]]) > grad_loss_tol
        a, b = a[keep], b[keep]
    signal = cycle_signal(W, order, acyclicity)[a, b]
    lists = [signal <= np.partition(signal, size - 1)[size - 1] if 0 < size < len(signal) else np.ones(len(signal), dtype=bool)
             for size in sizes]
    return a, b, lists


def candidates(W: Any, order: Any, size: int, acyclicity: Acyclicity = "logdet", *, gradient: Any = None,
               grad_loss_tol: float = 0.0) -> Order:
    """The pairs whose exchange is worth scoring: the forbidden edges i -> j with the lowest gradient of the penalty, `(k, 2)`.

    Ties at the threshold are kept, so that k may exceed `size`. O(d^3).

    Args:
        W: weights that the order allows, `(d, d)`.
        order: sources first, `(d,)`.
        size: pairs wanted, 1 to d(d - 1)/2.
        acyclicity: the penalty, see `cycle_signal`.
        gradient: of the loss by W, `(d, d)`; with `grad_loss_tol` > 0 pairs whose entry is at most that are left out (in the paper,
            not in its released code).

    >>> W = np.array([[0, 2.0, 0], [0, 0, 2.0], [0, 0, 0]])
    >>> candidates(W, [0, 1, 2], 1).tolist()              # walks 0 -> 1 and 1 -> 2 weigh 2, 0 -> 2 weighs 4: the first two tie
    [[1, 0], [2, 1]]

    Raises:
        ValueError: shapes that do not fit, a size out of range, an unknown penalty, an edge of W against the order.
    """
    W = square(W)
    d = len(W)
    order = as_order(order, d)
    check_choice("acyclicity", acyclicity, get_args(Acyclicity))
    if not 1 <= size <= d * (d - 1) // 2:
        raise ValueError(f"size is {size}: it must be 1 to {d * (d - 1) // 2}, the pairs of {d} variables")
    if np.tril(W[np.ix_(order, order)]).any():
        raise ValueError("W has an edge that the order forbids")
    if grad_loss_tol > 0 and gradient is None:
        raise ValueError("grad_loss_tol > 0 needs gradient")
    a, b, (chosen,) = ranked(W, order, [size], acyclicity, None if gradient is None else square(gradient, "gradient"), grad_loss_tol)
    return np.column_stack([order[b[chosen]], order[a[chosen]]])


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """ValueError where a named option is none of those there are."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}: it must be one of {', '.join(allowed)}")
