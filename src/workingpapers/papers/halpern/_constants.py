"""Lipschitz constants: the operator's own where it knows them, else estimates near the start; and the steps that follow from them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ._operators import FiniteSumOperator, difference

Array = npt.NDArray[np.float64]


class Constants(NamedTuple):
    """`full`: Lipschitz constant of F; `average`: of the terms on average; `cost`: evaluations spent to estimate them (0: known)."""

    full: float
    average: float
    cost: int = 0


def constants(F: FiniteSumOperator, u0: Array, q: Array | None, rng: np.random.Generator) -> Constants:
    """Constants of F, told or estimated.

    Raises:
        ValueError: a constant that the operator tells is not a finite number above 0.
    """
    told_full, told_average = (getattr(F, name, lambda: None)() for name in ("lipschitz", "avg_lipschitz"))
    for name, told in (("lipschitz()", told_full), ("avg_lipschitz()", told_average)):
        if told is not None and not (math.isfinite(told) and told >= 0):
            raise ValueError(f"{name} of F is {told!r}: a finite number from 0 up is needed")
    cost = 0
    if told_full is None:
        told_full, spent = _largest_stretch(F, u0, rng)
        cost += spent
    if told_average is None:
        told_average, spent = _average_stretch(F, u0, q, rng)
        cost += spent
    tiny = float(np.finfo(float).tiny)
    return Constants(max(float(told_full), tiny), max(float(told_average), float(told_full), tiny), cost)


ROUNDS = 6


def _largest_stretch(F: FiniteSumOperator, u0: Array, rng: np.random.Generator) -> tuple[float, int]:
    """How far F stretches a small step from u0, the step turned towards the worst direction `ROUNDS` times (power iteration)."""
    width = 1e-4 * (1 + float(np.linalg.norm(u0)))
    at = F.full(u0)
    step, most = rng.standard_normal(F.dim), 0.0
    for _ in range(ROUNDS):
        step *= width / np.linalg.norm(step)
        change = np.asarray(F.full(u0 + step)) - at
        stretch = float(np.linalg.norm(change)) / width
        most = max(most, stretch)
        if not stretch > 0 or not math.isfinite(stretch):
            break
        step = change
    return most, (ROUNDS + 1) * F.n


def _average_stretch(F: FiniteSumOperator, u0: Array, q: Array | None, rng: np.random.Generator) -> tuple[float, int]:
    """Root mean square stretch of up to 64 single terms, doubled, for a sample of directions may miss the worst."""
    width = 1e-4 * (1 + float(np.linalg.norm(u0)))
    chosen = rng.permutation(F.n)[:64]
    most = 0.0
    for _ in range(2):
        step = rng.standard_normal(F.dim)
        step *= width / np.linalg.norm(step)
        squares = [float(np.linalg.norm(difference(F, np.array([i]), u0 + step, u0)) / width) ** 2 / (1.0 if q is None else F.n * q[i])
                   for i in chosen]
        most = max(most, math.sqrt(np.mean(squares)))
    return 2 * most, 4 * len(chosen)


def default_step(method: str, L: Constants, n: int, batch: int, c: float = 1.0, full_prob: float | None = None) -> float:
    """The step that theory allows, or just below it, for each method; `c` is Algorithm 2's resolvent parameter.

    Algorithm 1, SVRG-Halpern: `1 / 4L`. Algorithm 2's inner loop: `sqrt(p (1 - p)) / (c L + 1)`, p = batch / n. VR-EG:
    `sqrt(p) / L`. With L_F: Halpern 1, extragradient 0.7, anchored 0.5, optimistic 0.45 over L_F.
    """
    p = min(batch / n, 0.5) if full_prob is None else min(full_prob, 0.5)
    match method:
        case "vr_halpern" | "svrg_halpern" | "stochastic_halpern":
            return 0.25 / L.average
        case "vr_halpern_pp":
            return 0.99 * math.sqrt(p * (1 - p)) / (c * L.average + 1)
        case "vr_eg" | "svrg_eg":
            return 0.99 * math.sqrt(p) / L.average
    return {"halpern": 1.0, "eg": 0.7, "eag": 0.5, "og": 0.45}[method] / L.full
