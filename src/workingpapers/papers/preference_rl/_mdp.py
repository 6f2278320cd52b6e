"""Finite decision problems with a fixed horizon, their exact values, and families of them to try things on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FiniteMDP:
    """A decision problem with S states, A actions and H steps.

    Attributes:
        transitions: `P(s' | s, a)`, shape (S, A, S); rows sum to 1.
        rewards: mean reward, shape (S, A); hidden from every agent.
        start: distribution of the first state, shape (S,).
        horizon: H, steps of an episode.
        features: `phi(s, a)`, shape (S, A, d), where the problem is linear in fewer than S A features; else None.

    Raises:
        ValueError: shapes that do not fit, or rows that are no distributions.
    """

    transitions: Array
    rewards: Array
    start: Array
    horizon: int
    features: Array | None = None
    cumulative: Array = field(init=False, repr=False)
    start_cumulative: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        P, r, start = (np.ascontiguousarray(x, dtype=np.float64) for x in (self.transitions, self.rewards, self.start))
        if P.ndim != 3 or P.shape[0] != P.shape[2] or 0 in P.shape:
            raise ValueError(f"transitions has shape {P.shape}: (S, A, S) is needed")
        if r.shape != P.shape[:2] or start.shape != P.shape[:1]:
            raise ValueError(f"rewards {r.shape} and start {start.shape} do not fit transitions {P.shape}: (S, A) and (S,) are needed")
        for name, rows in (("transitions", P), ("start", start)):
            if not (np.isfinite(rows).all() and (rows >= 0).all() and np.allclose(rows.sum(axis=-1), 1, atol=1e-9)):
                raise ValueError(f"{name} must hold probabilities that sum to 1 along the last axis")
        if not np.isfinite(r).all():
            raise ValueError("rewards holds NaN or infinity")
        if self.horizon < 1:
            raise ValueError(f"horizon is {self.horizon}: 1 at least")
        for name, value in (("transitions", P), ("rewards", r), ("start", start)):
            object.__setattr__(self, name, value)
        # The last entry stands above any uniform draw, so that rounding can never lead out of the states.
        for name, rows in (("cumulative", P), ("start_cumulative", start)):
            total = np.cumsum(rows, axis=-1)
            last = rows.shape[-1] - 1 - np.argmax(rows[..., ::-1] > 0, axis=-1)
            total[np.arange(rows.shape[-1]) >= np.expand_dims(last, -1)] = 2.0
            object.__setattr__(self, name, np.ascontiguousarray(total))

    @property
    def n_states(self) -> int:
        """S."""
        return int(self.transitions.shape[0])

    @property
    def n_actions(self) -> int:
        """A."""
        return int(self.transitions.shape[1])

    def optimal(self) -> tuple[float, Ints]:
        """Value of the best policy, and its actions, shape (H, S); O(H S^2 A)."""
        V, actions = np.zeros(self.n_states), np.zeros((self.horizon, self.n_states), np.int64)
        for h in range(self.horizon - 1, -1, -1):
            Q = self.rewards + self.transitions @ V
            actions[h], V = Q.argmax(axis=1), Q.max(axis=1)
        return float(self.start @ V), actions

    def random_value(self) -> float:
        """Value of acting uniformly at random."""
        V = np.zeros(self.n_states)
        for _ in range(self.horizon):
            V = (self.rewards + self.transitions @ V).mean(axis=1)
        return float(self.start @ V)


def exact_value(mdp: FiniteMDP, policy: Any) -> float:
    """Expected return of a policy, exactly, by backward evaluation; O(H S^2).

    Args:
        mdp: the problem.
        policy: actions of shape (H, S) (or (S,), the same at each step), or a function `policy(obs, h) -> action`.

    >>> chain = FiniteMDP(np.ones((1, 2, 1)), np.array([[0.0, 1.0]]), np.ones(1), horizon=3)
    >>> exact_value(chain, np.array([1])), exact_value(chain, lambda obs, h: h % 2)
    (3.0, 1.0)
    """
    if callable(policy):
        table = np.array([[int(policy(s, h)) for s in range(mdp.n_states)] for h in range(mdp.horizon)], dtype=np.int64)
    else:
        table = np.asarray(policy)
        if table.dtype.kind not in "iu" or table.shape not in ((mdp.horizon, mdp.n_states), (mdp.n_states,)):
            raise ValueError(f"policy has shape {table.shape} of {table.dtype}: whole numbers of shape (H, S) or (S,) are needed")
        table = np.broadcast_to(table, (mdp.horizon, mdp.n_states)).astype(np.int64)
    if table.min() < 0 or table.max() >= mdp.n_actions:
        raise ValueError(f"policy names the action {table.max() if table.max() >= mdp.n_actions else table.min()}, "
                         f"there are {mdp.n_actions}")
    return float(policy_value(mdp.transitions, mdp.rewards, mdp.start, np.ascontiguousarray(table)))


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def policy_value(P: Array, r: Array, start: Array, actions: Ints) -> float:
    """Expected return of the deterministic policy `actions`, shape (H, S)."""
    S = len(start)
    V, ahead = np.zeros(S), np.zeros(S)
    for h in range(len(actions) - 1, -1, -1):
        for s in range(S):
            a = actions[h, s]
            total = r[s, a]
            for t in range(S):
                total += P[s, a, t] * V[t]
            ahead[s] = total
        V, ahead = ahead, V
    value = 0.0
    for s in range(S):
        value += start[s] * V[s]
    return value


# ---------------------------------------------------------------- families


def random_mdp(rng: np.random.Generator, n_states: int = 6, n_actions: int = 3, horizon: int = 5) -> FiniteMDP:
    """Transitions from the flat Dirichlet distribution, rewards uniform in [0, 1], a first state drawn uniformly."""
    P = rng.dirichlet(np.ones(n_states), size=(n_states, n_actions))
    return FiniteMDP(P, rng.random((n_states, n_actions)), np.full(n_states, 1 / n_states), horizon)


def rare_states_mdp(rng: np.random.Generator, n_states: int = 10, n_actions: int = 4, horizon: int = 8, n_rare: int = 5,
                    rarity: float = 0.02) -> FiniteMDP:
    """A random problem half of whose states are seldom reached by chance: each of them has one action of one common state that leads to it.

    There questions differ in value: most pairs of runs say nothing of the rare states, whose rewards are twice as wide.
    """
    common = n_states - n_rare
    weight = np.concatenate([np.ones(common), np.full(n_rare, rarity * common / n_rare)])
    P = rng.dirichlet(np.ones(n_states), size=(n_states, n_actions)) * weight
    P /= P.sum(axis=2, keepdims=True)
    doors = rng.choice(common * n_actions, size=n_rare, replace=False)
    for rare, door in zip(range(common, n_states), doors):
        s, a = divmod(int(door), n_actions)
        P[s, a] *= 0.3
        P[s, a, rare] += 0.7
    rewards = rng.random((n_states, n_actions))
    rewards[:common] *= 0.5
    start = np.concatenate([np.full(common, 1 / common), np.zeros(n_rare)])
    return FiniteMDP(P, rewards, start, horizon)


def random_linear_mdp(rng: np.random.Generator, dim: int = 12, n_states: int = 30, n_actions: int = 4, horizon: int = 5) -> FiniteMDP:
    """A linear decision problem: features in the simplex mix d distributions over next states; rewards are linear in them too.

    `phi(s, a)` is drawn from Dirichlet(0.3), so that some features are nearly pure; `theta*` uniform in [0, 1]^d; each of the
    d distributions from the flat Dirichlet. Lengths of features are at most 1, rewards lie in [0, 1].
    """
    phi = rng.dirichlet(np.full(dim, 0.3), size=(n_states, n_actions))
    mixture = rng.dirichlet(np.ones(n_states), size=dim)
    P = phi @ mixture
    return FiniteMDP(P / P.sum(axis=2, keepdims=True), phi @ rng.random(dim), np.full(n_states, 1 / n_states), horizon, features=phi)


def river_swim(n_states: int = 6, horizon: int = 20) -> FiniteMDP:
    """RiverSwim (Strehl and Littman, 2008; probabilities of Osband et al., 2013): left is safe and pays little, right is far and pays 1.

    Reward 0.005 for going left at the left end, 1 for going right at the right end.
    """
    if n_states < 2:
        raise ValueError(f"n_states is {n_states}: 2 at least")
    P, r = np.zeros((n_states, 2, n_states)), np.zeros((n_states, 2))
    for s in range(n_states):
        P[s, 0, max(s - 1, 0)] = 1.0
        if s == 0:
            P[s, 1, 0], P[s, 1, 1] = 0.4, 0.6
        elif s == n_states - 1:
            P[s, 1, s - 1], P[s, 1, s] = 0.4, 0.6
        else:
            P[s, 1, s - 1], P[s, 1, s], P[s, 1, s + 1] = 0.05, 0.6, 0.35
    r[0, 0], r[-1, 1] = 0.005, 1.0
    return FiniteMDP(P, r, np.eye(n_states)[0], horizon)


def deep_sea(depth: int = 6, rng: np.random.Generator | None = None) -> FiniteMDP:
    """DeepSea (Osband et al., 2019): the one reward of 1 needs `depth` right moves in a row, each of which costs 0.01 / depth.

    States are the columns of the current row (steps of the episode are the rows). Which action is right is drawn for each
    column from `rng`; without one it is always action 1. Chance alone finds the treasure in one episode of 2^depth.
    """
    if depth < 2:
        raise ValueError(f"depth is {depth}: 2 at least")
    right = rng.integers(2, size=depth) if rng is not None else np.ones(depth, int)
    P, r = np.zeros((depth, 2, depth)), np.zeros((depth, 2))
    for column in range(depth):
        a = int(right[column])
        P[column, a, min(column + 1, depth - 1)] = 1.0
        P[column, 1 - a, max(column - 1, 0)] = 1.0
        r[column, a] = -0.01 / depth
    r[depth - 1, int(right[-1])] = 1.0
    return FiniteMDP(P, r, np.eye(depth)[0], depth)


def grid_world(size: int = 4, horizon: int = 10, slip: float = 0.1, rng: np.random.Generator | None = None) -> FiniteMDP:
    """A square grid with a taste for each cell: rewards uniform in [0, 1] (0.5 everywhere without `rng`), start in a corner.

    Actions: up, right, down, left; with probability `slip` another one happens.
    """
    if size < 2 or not 0 <= slip < 1:
        raise ValueError(f"size is {size} and slip {slip}: size from 2 up and slip in [0, 1) are needed")
    n = size * size
    P = np.zeros((n, 4, n))
    for cell in range(n):
        y, x = divmod(cell, size)
        ends = [max(y - 1, 0) * size + x, y * size + min(x + 1, size - 1), min(y + 1, size - 1) * size + x, y * size + max(x - 1, 0)]
        for a in range(4):
            for b in range(4):
                P[cell, a, ends[b]] += 1 - slip if a == b else slip / 3
    taste = rng.random(n) if rng is not None else np.full(n, 0.5)
    return FiniteMDP(P, np.repeat(taste[:, None], 4, axis=1), np.eye(n)[0], horizon)
