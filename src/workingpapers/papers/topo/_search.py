"""The search over orders (Algorithm 1 of the paper, with the rounds of its released code)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ._orders import KINDS, Acyclicity, Matrix, Move, Order, moved, ranked
from ._problem import Problem, State


class Round(NamedTuple):
    """One round of a fit.

    Attributes:
        round: 0 is the start.
        loss: after the round.
        moves: (kind, variable that was earlier, variable that was later), in the order in which they were applied.
        n_scored: orders scored in this round.
    """

    round: int
    loss: float
    moves: list[tuple[str, int, int]]
    n_scored: int


@dataclass(frozen=True)
class Plan:
    """How a search goes: see `TOPO` for the meaning of each."""

    size_small: int
    size_large: int
    no_large_search: int
    move: Move = "swap"
    acyclicity: Acyclicity = "logdet"
    grad_loss_tol: float = 0.0


@dataclass(frozen=True)
class Found:
    """Where a search ended.

    Attributes:
        n_scored: orders scored by the whole search, the first one and those of the last look included.
        is_local_min: True when every move was scored at the end and none improves, else None (not known).
    """

    state: State
    history: list[Round]
    n_scored: int
    is_local_min: bool | None


def search(problem: Problem, order: Order, plan: Plan, tell: Callable[[Round], None] = lambda r: None) -> Found:
    """Move pairs of variables while that lowers the score; every round ends strictly lower than the one before it.

    A round scores the small list of candidates; where none improves, those that the large list has beyond it, which may succeed
    `no_large_search` times in a fit. Moves that improve are applied from the best on, each that shares no position with one before it:
    their changes add up, for a move changes no predecessors outside its positions.
    """
    state, total = problem.fit(order), 1
    history = [Round(0, state.score, [], 0)]
    tell(history[0])
    kinds, rescued, n_pairs = KINDS[plan.move], 0, problem.d * (problem.d - 1) // 2
    while True:
        gradient = problem.gradient(state) if plan.grad_loss_tol > 0 else None
        sizes = [plan.size_small, plan.size_large]
        a, b, (small, large) = ranked(state.W, state.order, sizes, plan.acyclicity, gradient, plan.grad_loss_tol)
        n_scored, better = 0, None
        for chosen in (small, large & ~small):
            if chosen is not small and rescued >= plan.no_large_search:
                return Found(state, history, total + n_scored, None)
            changes, looked_at = problem.changes(state, a[chosen], b[chosen], kinds)
            n_scored += looked_at
            better = _step(problem, state, changes, a[chosen], b[chosen], kinds)
            if better is not None:
                rescued += chosen is not small
                break
        total += n_scored
        if better is None:
            return Found(state, history, total, True if len(a) == n_pairs and bool((small | large).all()) else None)
        state, done = better
        history.append(Round(len(history), state.score, done, n_scored))
        tell(history[-1])


def _step(problem: Problem, state: State, changes: Matrix, a: Order, b: Order,
          kinds: tuple[str, ...]) -> tuple[State, list[tuple[str, int, int]]] | None:
    """The state after the best moves, or after the best one; None where none improves."""
    if not changes.size or np.isnan(changes).all():
        return None
    kind, change = np.nanargmin(np.where(np.isnan(changes), np.inf, changes), axis=0), np.nanmin(
        np.where(np.isnan(changes), np.inf, changes), axis=0)
    enough = -problem.tolerance * max(1.0, abs(state.score))
    improving = [int(k) for k in np.argsort(change, kind="stable") if change[k] < enough]
    for several in (improving, improving[:1]):
        order, free, done = state.order, np.ones(problem.d, dtype=bool), []
        for k in several:
            if free[a[k] : b[k] + 1].all():
                free[a[k] : b[k] + 1] = False
                order = moved(order, kinds[kind[k]], int(a[k]), int(b[k]))
                done.append((kinds[kind[k]], int(state.order[a[k]]), int(state.order[b[k]])))
        if done:
            after = problem.fit(order, state)
            if after.score < state.score:  # rounding could promise an improvement that is none
                return after, done
    return None


def improves(problem: Problem, state: State, move: Move = "swap") -> bool:
    """Whether any single move of any pair improves the state."""
    a, b = np.triu_indices(problem.d, 1)
    changes, _ = problem.changes(state, a, b, KINDS[move])
    return bool(np.nanmin(changes) < -problem.tolerance * max(1.0, abs(state.score)))
