"""AdaNormalHedge weights over the awake experts (Luo and Schapire, 2015), in log space.

`w(R, C) = (Phi(R + 1, C + 1) - Phi(R - 1, C + 1)) / 2` with `Phi(R, C) = exp(max(R, 0)^2 / (3 C))`. Phi leaves the range of doubles at
R of a few thousand, and its two values agree to many digits where R is small beside C. With `a > b` the two exponents,
`log w = a + log(1 - exp(b - a)) - log 2`, where `a - b = 4 R / (3 (C + 1))` exactly once both squares count.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LOG_2 = math.log(2.0)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def log_weight(R: float, C: float) -> float:
    """`log w(R, C)`; minus infinity where R <= -1."""
    if R <= -1.0:
        return -np.inf
    scale = 3.0 * (C + 1.0)
    a = (R + 1.0) * (R + 1.0) / scale
    gap = 4.0 * R / scale if R >= 1.0 else a
    return a + math.log(-math.expm1(-gap)) - LOG_2


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def mix(R: Array, C: Array, awake: npt.NDArray[np.uint8], log_prior: Array, uniform: bool, p: Array) -> None:
    """Write the probability of each expert into `p` (G,): 0 for the sleeping; uniform over all where none is awake."""
    G = len(R)
    top, n_awake = -np.inf, 0
    for g in range(G):
        p[g] = -np.inf
        if awake[g]:
            n_awake += 1
            if not uniform:
                p[g] = log_prior[g] + log_weight(R[g], C[g])
                top = max(top, p[g])
    if n_awake == 0 or top == -np.inf:  # nobody is awake, all awake weights are 0, or weights are not wanted
        for g in range(G):
            p[g] = 1.0 / G if n_awake == 0 else (1.0 / n_awake if awake[g] else 0.0)
        return
    total = 0.0
    for g in range(G):
        p[g] = math.exp(p[g] - top)
        total += p[g]
    for g in range(G):
        p[g] /= total


def adanormalhedge_weights(R: npt.ArrayLike, C: npt.ArrayLike, awake: npt.ArrayLike | None = None,
                           prior: npt.ArrayLike | None = None) -> Array:
    """Probability of each expert by AdaNormalHedge.

    Args:
        R: cumulative instantaneous regret to each expert, `(G,)`.
        C: sum of its absolute values, `(G,)`, not negative.
        awake: which experts may be followed in this round, `(G,)`; None means all.
        prior: positive weights q, `(G,)`; None means equal ones.

    Returns:
        p `(G,)`, `p_g` proportional to `q_g w(R_g, C_g)` over the awake experts, 0 for the others. Where all awake weights are 0:
        uniform over the awake. Where none is awake: uniform over all. Cost O(G); finite for any finite R and C.

    Raises:
        ValueError: shapes that differ, a negative C, a prior that is not positive, no expert.

    >>> adanormalhedge_weights([0.0, 0.0, 5.0], [0.0, 0.0, 9.0], awake=[1, 0, 1]).round(4).tolist()
    [0.1967, 0.0, 0.8033]
    >>> adanormalhedge_weights([40_000.0, -3.0], [50_000.0, 4.0]).tolist()
    [1.0, 0.0]
    """
    regret, absolute = np.asarray(R, dtype=np.float64), np.asarray(C, dtype=np.float64)
    G = regret.shape[0] if regret.ndim == 1 else 0
    if G == 0 or absolute.shape != (G,):
        raise ValueError(f"R has the shape {regret.shape}, C {absolute.shape}: one number an expert is needed in both")
    if not (np.isfinite(regret).all() and np.isfinite(absolute).all() and (absolute >= 0).all()):
        raise ValueError("R and C must be finite, C not negative")
    up = np.ones(G, dtype=np.uint8) if awake is None else np.asarray(awake).astype(bool).astype(np.uint8)
    q = np.ones(G) if prior is None else np.asarray(prior, dtype=np.float64)
    if up.shape != (G,) or q.shape != (G,):
        raise ValueError(f"awake has the shape {up.shape}, prior {q.shape}: {(G,)} is needed")
    if not (np.isfinite(q).all() and (q > 0).all()):
        raise ValueError("prior must be positive and finite")
    p = np.empty(G)
    mix(regret, absolute, up, np.log(q), False, p)
    return p


__all__ = ["adanormalhedge_weights", "log_weight", "mix"]
