"""Planning: randomised least-squares value iteration for finite observations, and value iteration for a drawn model. Compiled."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from ._linalg import normals, rank_one_update, solve_many_transposed, solve_transposed, solve_upper

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Transitions(NamedTuple):
    """What was seen of the transitions, for each step (or for all steps together where the first axis has length 1).

    The last of S + 1 next states is "the episode ended", whose value is 0.
    """

    counts: Array  # (H or 1, S, A, S + 1) for tabular features; (0, 0, 0, 0) else
    factor: Array  # (H or 1, d, d), R'R = lam I + sum phi phi'; (0, 0, 0) for tabular features, where Sigma is diagonal
    onward: Array  # (H or 1, d, S + 1), sum of phi over transitions into each next state: sum phi V = onward @ V


class Truncation(NamedTuple):
    """Where the estimate of what follows is trusted: up to `lower`; the bound `ceiling` a step stands beyond `upper`."""

    lower: float
    upper: float
    ceiling: float


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def onward_value(estimate: float, u: float, default: float, lower: float, upper: float) -> float:
    """omega(s, a): the estimate where u <= alpha_L, the default bound where u > alpha_U, linear between."""
    if u <= lower:
        return estimate
    if u > upper:
        return default
    trust = (upper - u) / (upper - lower)
    return trust * estimate + (1.0 - trust) * default


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def plan(phi: Array, seen: Transitions, theta: Array, horizon: int, lam: float, sigma_p: float, trust: Truncation,
         rng: np.random.Generator) -> Ints:
    """Greedy actions, shape (H, S), of one randomised backward pass with reward `phi . theta`.

    Args:
        phi: features, shape (S, A, d).
        seen: transitions so far.
        theta: a reward vector, shape (d,).
        horizon: H. After the last step nothing follows, and nothing is estimated.
        lam: ridge.
        sigma_p: spread of the draws; 0 draws nothing from `rng`.
        trust: see `Truncation`.
        rng: generator of the draws.

    Cost: O(H S^2 A) for tabular features, O(H (d^2 S A)) else.
    """
    S, A, d = phi.shape
    V, Q = np.zeros(S + 1), np.zeros((S, A))
    actions = np.zeros((horizon, S), np.int64)
    is_tabular = seen.counts.shape[0] > 0
    columns = np.zeros((0, 0)) if is_tabular else np.ascontiguousarray(phi.reshape(S * A, d).T)
    for h in range(horizon - 1, -1, -1):
        remaining = trust.ceiling * (horizon - 1 - h)
        if h == horizon - 1:
            Q[:] = 0.0
        elif is_tabular:
            _onward_tabular(seen.counts[h if len(seen.counts) > 1 else 0], V, lam, sigma_p, remaining, trust, rng, Q)
        else:
            i = h if len(seen.factor) > 1 else 0
            _onward_linear(columns, seen.factor[i], seen.onward[i], V, sigma_p, remaining, trust, rng, Q)
        for s in range(S):
            best = 0
            for a in range(A):
                if is_tabular:
                    Q[s, a] += theta[s * A + a]
                else:
                    for j in range(d):
                        Q[s, a] += phi[s, a, j] * theta[j]
                if Q[s, a] > Q[s, best]:
                    best = a
            actions[h, s], V[s] = best, Q[s, best]
    return actions


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _onward_tabular(counts: Array, V: Array, lam: float, sigma_p: float, remaining: float, trust: Truncation,
                    rng: np.random.Generator, Q: Array) -> None:
    S, A = Q.shape
    for s in range(S):
        for a in range(A):
            n, total = 0.0, 0.0
            for t in range(S + 1):
                n += counts[s, a, t]
                total += counts[s, a, t] * V[t]
            u = 1.0 / math.sqrt(lam + n)
            estimate = total / (lam + n)
            if sigma_p > 0.0:
                estimate += sigma_p * u * rng.standard_normal()
            Q[s, a] = onward_value(estimate, u, remaining, trust.lower, trust.upper)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _onward_linear(columns: Array, R: Array, onward: Array, V: Array, sigma_p: float, remaining: float, trust: Truncation,
                   rng: np.random.Generator, Q: Array) -> None:
    S, A = Q.shape
    target = np.zeros(len(R))
    for j in range(len(R)):
        for t in range(S + 1):
            target[j] += onward[j, t] * V[t]
    white = solve_transposed(R, target)
    if sigma_p > 0.0:
        white += sigma_p * normals(rng, len(R))
    weights = solve_upper(R, white)  # theta_hat + sigma R^{-1} z in one solve
    Y = solve_many_transposed(R, columns)
    for s in range(S):
        for a in range(A):
            u, estimate = 0.0, 0.0
            for j in range(len(R)):
                u += Y[j, s * A + a] ** 2
                estimate += columns[j, s * A + a] * weights[j]
            Q[s, a] = onward_value(estimate, math.sqrt(u), remaining, trust.lower, trust.upper)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def observe(seen: Transitions, phi: Array, states: Ints, actions: Ints, has_ended: bool) -> None:
    """Take in one trajectory: states (n + 1,), actions (n,); `has_ended` when it ended in a terminal state."""
    S = phi.shape[0]
    n = len(actions)
    for h in range(n):
        s, a = states[h], actions[h]
        t = S if has_ended and h == n - 1 else states[h + 1]
        if seen.counts.shape[0] > 0:
            seen.counts[h if len(seen.counts) > 1 else 0, s, a, t] += 1.0
        else:
            i = h if len(seen.factor) > 1 else 0
            rank_one_update(seen.factor[i], phi[s, a])
            for j in range(phi.shape[2]):
                seen.onward[i, j, t] += phi[s, a, j]


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def draw_model(counts: Array, prior: Array, rng: np.random.Generator) -> Array:
    """Transition probabilities from the Dirichlet posterior, shape (S, A, S + 1); counts (S, A, S + 1), prior (S + 1,)."""
    S, A, n = counts.shape
    P = np.zeros((S, A, n))
    for s in range(S):
        for a in range(A):
            total = 0.0
            for t in range(n):
                weight = prior[t] + counts[s, a, t]
                if weight > 0.0:
                    P[s, a, t] = rng.standard_gamma(weight)
                    total += P[s, a, t]
            if total > 0.0:
                P[s, a] /= total
            else:
                P[s, a, 0] = 1.0  # tiny weights can all underflow; any corner of the simplex is as good a draw
    return P


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def value_iteration(P: Array, r: Array, horizon: int) -> Ints:
    """Optimal actions, shape (H, S), for P of shape (S, A, S + 1) and r of shape (S, A)."""
    S, A, n = P.shape
    V, ahead = np.zeros(n), np.zeros(n)
    actions = np.zeros((horizon, S), np.int64)
    for h in range(horizon - 1, -1, -1):
        for s in range(S):
            best, top = 0, -np.inf
            for a in range(A):
                q = r[s, a]
                for t in range(n):
                    q += P[s, a, t] * V[t]
                if q > top:
                    best, top = a, q
            actions[h, s], ahead[s] = best, top
        V, ahead = ahead, V
    return actions
