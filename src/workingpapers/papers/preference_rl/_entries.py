"""Where Python enters compiled code that returns arrays.

Numba's disk cache mixes up the environments of a function that is both called from Python, returning an array, and compiled into
another cached function: it fails with "descr is NULL" when the other one is loaded first. So compiled code calls no function of this
file, and Python calls no other compiled function for an array.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from ._fit import Answers, Cloud, draw, hessian_factor
from ._linalg import factorise, normals, solve_many_transposed, solve_transposed, solve_upper
from ._plan import Transitions, Truncation, draw_model, plan, value_iteration

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def transposed_solution(R: Array, b: Array) -> Array:
    """`R'^{-1} b`, shape (d,)."""
    return solve_transposed(R, b)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def upper_solution(R: Array, b: Array) -> Array:
    """`R^{-1} b`, shape (d,)."""
    return solve_upper(R, b)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def many_transposed_solutions(R: Array, B: Array) -> Array:
    """`R'^{-1} B`, shape (d, n)."""
    return solve_many_transposed(R, B)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def upper_factor(A: Array) -> Array:
    """R with `R'R = A`, shape (d, d)."""
    return factorise(A)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def standard_normals(rng: np.random.Generator, n: int) -> Array:
    """n draws, one after another."""
    return normals(rng, n)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def drawn_reward(cloud: Cloud, sigma: float, rng: np.random.Generator) -> Array:
    """One reward vector from the cloud, shape (d,)."""
    return draw(cloud, sigma, rng)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def hessian_at(answers: Answers, theta: Array, ridge: float, gain: float, code: int) -> Array:
    """Upper factor of the Hessian at theta, shape (d, d)."""
    return hessian_factor(answers, theta, ridge, gain, code)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def planned(phi: Array, seen: Transitions, theta: Array, horizon: int, lam: float, sigma_p: float, trust: Truncation,
            rng: np.random.Generator) -> Ints:
    """Greedy actions of one randomised backward pass, shape (H, S)."""
    return plan(phi, seen, theta, horizon, lam, sigma_p, trust, rng)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def drawn_model(counts: Array, prior: Array, rng: np.random.Generator) -> Array:
    """Transitions from the Dirichlet posterior, shape (S, A, S + 1)."""
    return draw_model(counts, prior, rng)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def best_actions(P: Array, r: Array, horizon: int) -> Ints:
    """Optimal actions, shape (H, S)."""
    return value_iteration(P, r, horizon)
