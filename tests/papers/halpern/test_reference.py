"""Compiled methods against the paper's recursions written out with explicit terms, one step and one coin at a time.

The reference shares the order of the draws with the package (coins or the length of an epoch first, then the terms), and nothing else.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    pytest.importorskip("numba", reason="needs the extra optimisation")
from workingpapers.papers.halpern import LeastSquares, MatrixGame, Resolvent, RobustRegression, solve

Point = Any
N = 11


class Written:
    """A problem written out: terms as functions, the resolvent as a function, a count of every look at a term."""

    def __init__(self, terms: list[Callable[[Point], Point]], J: Callable[[Point, float], Point], q: Point = None) -> None:
        self.terms, self.J, self.count = terms, J, 0
        self.q = np.full(len(terms), 1 / len(terms)) if q is None else q

    def at(self, i: int, u: Point) -> Point:
        self.count += 1
        return self.terms[i](u)

    def full(self, u: Point) -> Point:
        return np.mean([self.at(i, u) for i in range(len(self.terms))], axis=0)

    def drawn(self, rng: np.random.Generator, b: int) -> list[int]:
        if np.ptp(self.q) == 0:
            return [int(i) for i in rng.integers(len(self.terms), size=b)]
        return [int(np.sum(np.cumsum(self.q) <= x)) for x in rng.random(b)]

    def change(self, batch: list[int], u: Point, v: Point) -> Point:
        """An unbiased estimate of F(u) - F(v)."""
        n = len(self.terms)
        return sum((self.at(i, u) - self.at(i, v)) / (n * self.q[i]) for i in batch) / len(batch)

    def residual(self, u: Point) -> float:
        at = np.mean([f(u) for f in self.terms], axis=0)
        return float(np.linalg.norm(u - self.J(u - at, 1.0)))


def simplex(x: Point) -> Point:
    lo, hi = x.min() - 1.0, x.max()
    for _ in range(70):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if np.maximum(x - mid, 0).sum() > 1 else (lo, mid)
    return np.maximum(x - hi, 0)


def a_game(uneven: bool) -> tuple[Any, Resolvent, Point, Written]:
    A = np.random.default_rng(1).standard_normal((N, 8))
    A[2] *= 6 if uneven else 1
    F = MatrixGame(A, sampling="importance" if uneven else "uniform")

    def term(i: int) -> Callable[[Point], Point]:
        return lambda u: N * np.r_[A[i] * u[8 + i], -A[:, i] * u[i] if i < 8 else np.zeros(N)]

    split = lambda x, step: np.r_[simplex(x[:8]), simplex(x[8:])]  # noqa: E731
    return F, F.simplices(), F.centre(), Written([term(i) for i in range(N)], split, F.sampling_weights)


def a_regression(uneven: bool) -> tuple[Any, Resolvent, Point, Written]:
    rng = np.random.default_rng(2)
    A, b = rng.standard_normal((N, 3)), rng.standard_normal(N)
    A[2] *= 4 if uneven else 1
    F = LeastSquares(A, b, sampling="importance" if uneven else "uniform")

    def term(i: int) -> Callable[[Point], Point]:
        return lambda u: A[i] * (A[i] @ u - b[i])

    soft = lambda x, step: np.sign(x) * np.maximum(np.abs(x) - 0.1 * step, 0)  # noqa: E731
    return F, Resolvent.l1(0.1), np.ones(3), Written([term(i) for i in range(N)], soft, F.sampling_weights)


def a_robust_fit(uneven: bool) -> tuple[Any, Resolvent, Point, Written]:
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((N, 3)), rng.standard_normal(N)
    X[2] *= 6 if uneven else 1
    F = RobustRegression(X, y, huber=0.2, sampling="importance" if uneven else "uniform")

    def term(i: int) -> Callable[[Point], Point]:
        return lambda u: np.r_[u[3 + i] * X[i], np.eye(N)[i] * (y[i] - X[i] @ u[:3] + 0.2 * u[3 + i])]

    clip = lambda x, step: np.r_[x[:3], np.minimum(np.maximum(x[3:], -1), 1)]  # noqa: E731
    return F, F.constraint(), np.zeros(3 + N), Written([term(i) for i in range(N)], clip, F.sampling_weights)


PROBLEMS = {"game": a_game, "regression": a_regression, "robust fit": a_robust_fit}


def algorithm_1(P: Written, u0: Point, eta: float, b: int, most: int, seed: int) -> tuple[list[float], list[int]]:
    """Residuals and counts at every full evaluation of Algorithm 1."""
    rng, n = np.random.default_rng(seed), len(P.terms)
    u, k = u0, 0
    v = P.full(u)
    residuals, counts = [P.residual(u)], [P.count]
    while P.count + n <= most:
        stretch = 0  # the steps before the next full evaluation, a coin each
        while P.count + 2 * b * (stretch + 1) + n <= most:
            j = k + stretch + 1
            p = 1.0 if j <= 1 else 4 / (j + 4) if j - 1 <= math.sqrt(n) else 4 / (math.sqrt(n) + 5)
            if rng.random() < p:
                break
            stretch += 1
        batches = [P.drawn(rng, b) for _ in range(stretch)]
        for batch in batches:
            new = P.J(2 / (k + 4) * u0 + (1 - 2 / (k + 4)) * u - eta * v, eta)
            v = v + P.change(batch, new, u)
            u, k = new, k + 1
        u = P.J(2 / (k + 4) * u0 + (1 - 2 / (k + 4)) * u - eta * v, eta)
        v, k = P.full(u), k + 1
        residuals.append(P.residual(u))
        counts.append(P.count)
    return residuals, counts


def algorithm_2(P: Written, u0: Point, c: float, gamma: float, most: int, seed: int, inner: int) -> tuple[list[float], list[int]]:
    """Residuals and counts at every full evaluation of Algorithm 2; `Fb(v) = c F(v) + v - u_k`, refreshed with probability 1 / n."""
    rng, n = np.random.default_rng(seed), len(P.terms)
    p, u, k = 1 / n, u0, 0
    residuals: list[float] = []
    counts: list[int] = []

    def seen(at: Point) -> Point:
        value = P.full(at)
        residuals.append(P.residual(at))
        counts.append(P.count)
        return value

    inner_residual = lambda w, at_w: np.linalg.norm(w - P.J(w - at_w, c))  # noqa: E731
    while True:
        if P.count + n > most:
            return residuals, counts
        w, w_before, v, left = u, u, u, inner
        at_w = c * seen(u)
        wanted = inner_residual(u, at_w) / (k + 2) ** 2
        while left:
            if P.count + 2 > most:
                return residuals, counts
            steps = min(int(rng.geometric(p)), left, (most - P.count) // 2)
            for batch in [P.drawn(rng, 1) for _ in range(steps)]:
                estimate = at_w + c * P.change(batch, v, w_before) + (v - w_before)
                v = P.J((1 - p) * v + p * w - gamma * estimate, gamma * c)
                w_before = w
            left -= steps
            if left:
                if P.count + n > most:
                    return residuals, counts
                w_before, w = w, v
                at_w = c * seen(w) + w - u
                if inner_residual(w, at_w) <= wanted:
                    break
        u = u0 / (k + 2) + (1 - 1 / (k + 2)) * v
        k += 1


def loopless_extragradient(P: Written, u0: Point, tau: float, most: int, seed: int) -> tuple[list[float], list[int]]:
    """Residuals and counts at every snapshot of Algorithm 1 of Alacaoglu and Malitsky 2022."""
    rng, n = np.random.default_rng(seed), len(P.terms)
    p, z, w = 1 / n, u0, u0
    residuals: list[float] = []
    counts: list[int] = []
    while P.count + n <= most:
        at_w = P.full(w)
        residuals.append(P.residual(w))
        counts.append(P.count)
        if P.count + 2 + n > most:
            break
        steps = min(int(rng.geometric(p)), (most - P.count - n) // 2)
        for batch in [P.drawn(rng, 1) for _ in range(steps)]:
            centre = (1 - p) * z + p * w
            half = P.J(centre - tau * at_w, tau)
            z = P.J(centre - tau * (at_w + P.change(batch, half, w)), tau)
        w = z
    return residuals, counts


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("batch", [3, 5])
def test_algorithm_1_is_its_recursion(problem: str, uneven: bool, batch: int) -> None:
    F, G, u0, P = PROBLEMS[problem](uneven)
    eta = 0.25 / F.avg_lipschitz()
    residuals, counts = algorithm_1(P, u0, eta, batch, 1_500, seed=7)
    with pytest.warns(UserWarning, match="vr_halpern_pp") if not F.is_cocoercive else _quiet():
        found = solve(F, u0, G, "vr_halpern", tol=1e-300, max_oracle=1_500, batch=batch, seed=7)
    assert found.history.oracle.tolist() == counts
    np.testing.assert_allclose(found.history.residual, residuals, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_algorithm_2_is_its_recursion(problem: str, uneven: bool) -> None:
    F, G, u0, P = PROBLEMS[problem](uneven)
    L = F.avg_lipschitz()
    c, n = math.sqrt(N) / L, N
    gamma = 0.5 * math.sqrt((1 - 1 / n) / n) / (math.sqrt(n) + 1)
    residuals, counts = algorithm_2(P, u0, c, gamma, 3_000, 7, inner=3 * n)
    found = solve(F, u0, G, "vr_halpern_pp", tol=1e-300, max_oracle=3_000, seed=7, eta=gamma, c=c, inner=3 * n)
    assert found.history.oracle.tolist() == counts
    np.testing.assert_allclose(found.history.residual, residuals, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_loopless_extragradient_is_its_recursion(problem: str, uneven: bool) -> None:
    F, G, u0, P = PROBLEMS[problem](uneven)
    tau = 0.9 / math.sqrt(N) / F.avg_lipschitz()
    residuals, counts = loopless_extragradient(P, u0, tau, 3_000, seed=7)
    found = solve(F, u0, G, "vr_eg", tol=1e-300, max_oracle=3_000, seed=7, eta=tau)
    assert found.history.oracle.tolist() == counts
    np.testing.assert_allclose(found.history.residual, residuals, rtol=1e-8, atol=1e-11)


def _quiet() -> Any:
    import contextlib

    return contextlib.nullcontext()


def test_page_estimate_is_unbiased_along_a_whole_run() -> None:
    """E[v_k] = E[F(u_k)] at a step of the schedule, over many runs of one stretch without full evaluations."""
    from workingpapers.papers.halpern._steps import CompiledSteps, Draws, steps_for

    F, _, u0, P = a_regression(uneven=True)
    G = Resolvent.none(3)
    steps = steps_for(F, G)
    assert isinstance(steps, CompiledSteps)
    draws = Draws(N, 3, F.sampling_weights, np.random.default_rng(0))
    errors = []
    for _ in range(1_500):
        u, v = u0.copy(), P.full(u0)
        idx, weights = draws.take(4)
        steps.page(u0, u, v, 0, 0.02, 2.0, idx, weights)
        # The kernel ends with one step more than estimates: undo it to see the point that v estimates F at.
        lam = 2 / 8
        before = (u - lam * u0 + 0.02 * v) / (1 - lam)
        errors.append(v - np.mean([f(before) for f in P.terms], axis=0))
    z = np.mean(errors, axis=0) / (np.std(errors, axis=0) / math.sqrt(len(errors)))
    assert np.abs(z).max() < 4.5
    assert np.std(errors, axis=0).min() > 1e-4
