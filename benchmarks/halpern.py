"""halpern beside its peers: ratios of time and memory, measured in turn in one run on one thread.

    python -m benchmarks.halpern            about half a minute

PDLP (ortools) is measured where it is installed: `pip install ortools`.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from scipy.optimize import linprog
from threadpoolctl import threadpool_limits

from workingpapers.papers.halpern import CountingOperator, LeastSquares, MatrixGame, Resolvent, project_simplex, solve
from workingpapers.papers.halpern import _kernels as kernels
from workingpapers.papers.halpern._problems import PolicemanBurglar
from workingpapers.papers.halpern._tune import Told

FIRST = 12_000


def row(what: str, ours: str, theirs: str, ratio: str, wanted: str = "") -> None:
    print(f"{what:<70} {ours:>12} {theirs:>12} {ratio:>10}  {wanted}", flush=True)


def seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def in_turn(*calls: Callable[[], Any], rounds: int = 25) -> list[float]:
    """Least processor time of each call, taken in turn: a machine that others share takes nothing from it."""
    for call in calls:
        call()
    taken = [[seconds(call) for call in calls] for _ in range(rounds)]
    return [min(t[i] for t in taken) for i in range(len(calls))]


# ---------------------------------------------------------------- the compiled steps


@numba.njit(fastmath=True)  # type: ignore[untyped-decorator,unused-ignore]
def gather(rows: Any, idx: Any) -> float:
    """Every number of the drawn rows read once: the least that any method that looks at them must do."""
    s = 0.0
    for j in range(idx.shape[0]):
        for k in range(rows.shape[1]):
            s += rows[idx[j], k]
    return s


def against_blas() -> None:
    """Differences of all terms in random order, beside the two BLAS products over the same rows in place, in order, without a copy."""
    rng = np.random.default_rng(0)
    for n, d in ((FIRST, 300), (500, 300), (2_000, 100), (500, 1_000)):
        X = rng.standard_normal((n, d))
        F, u, v, out = LeastSquares(X, np.zeros(n)), rng.standard_normal(d), rng.standard_normal(d), np.zeros(d)
        terms, idx, weights = F.terms(), rng.permutation(n), np.full(n, 1 / n)
        ours, blas, read = in_turn(lambda: kernels.differences(terms, idx, weights, u, v, out), lambda: X.T @ (X @ (u - v)),  # noqa: B023
                                   lambda: gather(X, idx))  # noqa: B023
        row(f"{n:,} differences of {d} numbers, drawn / BLAS products of the same rows", f"{ours * 1e3:.3f} ms", f"{blas * 1e3:.3f} ms",
            f"{ours / blas:.2f}", "wanted: at most 1.3")
        row("  the drawn rows only read", f"{read * 1e3:.3f} ms", "", f"{read / blas:.2f}")
    n = 400
    game = MatrixGame(rng.standard_normal((n, n)), sampling="uniform")
    terms, idx, weights, out = game.terms(), rng.permutation(n), np.full(n, 1 / n), np.zeros(2 * n)
    u, v = rng.standard_normal((2, 2 * n))

    def products() -> None:
        step = u - v
        np.concatenate([game.A.T @ step[n:], -(game.A @ step[:n])])

    ours, blas = in_turn(lambda: kernels.differences(terms, idx, weights, u, v, out), products)
    row(f"a {n} x {n} game's differences, drawn / BLAS products of all of it", f"{ours * 1e3:.3f} ms", f"{blas * 1e3:.3f} ms",
        f"{ours / blas:.2f}", "wanted: at most 1.3")


def whole_runs() -> None:
    """`solve` by Algorithm 1 with all that it does, beside the BLAS products that its full evaluations and its batches need."""
    rng = np.random.default_rng(0)
    for n, d in ((FIRST, 300), (500, 300)):
        X = rng.standard_normal((n, d))
        F = LeastSquares(X, rng.standard_normal(n), sampling="uniform")
        b, u, eta = int(np.sqrt(n)), rng.standard_normal(d), 0.25 / F.avg_lipschitz()
        options: dict[str, Any] = {"tol": 1e-12, "max_oracle": 40 * n, "seed": 0, "eta": eta}
        found = solve(F, np.zeros(d), **options)
        batches = (found.n_oracle - found.n_full * n) // (2 * b)

        def products() -> None:
            for _ in range(found.n_full):  # noqa: B023
                X.T @ (X @ u)  # noqa: B023
            for t in range(batches):  # noqa: B023
                part = X[(t * b) % (n - b) :][:b]  # noqa: B023
                part.T @ (part @ u)  # noqa: B023

        ours, blas = in_turn(lambda: solve(F, np.zeros(d), **options), products, rounds=9)  # noqa: B023
        row(f"Algorithm 1, {found.n_iter} steps, {found.n_full} of them full, {n:,} x {d} / its BLAS products", f"{ours * 1e3:.2f} ms",
            f"{blas * 1e3:.2f} ms", f"{ours / blas:.2f}", "wanted: at most 1.3")


def a_step() -> None:
    """The loop itself: steps on two coordinates and one term each."""
    F = LeastSquares(np.eye(2), [1.0, 2.0], sampling="uniform")
    steps = 200_000
    idx, weights = np.random.default_rng(0).integers(2, size=(steps, 1)), np.full((steps, 1), 1.0)
    u0, v, J, T = np.ones(2), np.zeros(2), Resolvent.none(2).data(), F.terms()
    took = min(seconds(lambda: kernels.page_chunk(T, J, u0, u0.copy(), v.copy(), 5, 0.01, 2.0, idx, weights)) for _ in range(5))
    row("one step of Algorithm 1, two coordinates, one term", f"{took / steps * 1e9:.0f} ns", "", "", "wanted: under 1,000 ns")


def against_python() -> None:
    game = PolicemanBurglar(200).load(np.random.default_rng(0))
    options: dict[str, Any] = {"method": "vr_eg", "tol": 1e-12, "max_oracle": 20_000, "seed": 0}
    a, b = in_turn(lambda: solve(game.F, game.u0, game.G, **options), lambda: solve(CountingOperator(game.F), game.u0, game.G, **options),
                   rounds=3)
    row("VR-EG, 100 passes of a 200 x 200 game / the same loop in Python", f"{a * 1e3:.0f} ms", f"{b * 1e3:.0f} ms", f"{a / b:.3f}")


def simplex() -> None:
    x = np.random.default_rng(0).standard_normal(500)
    J, z = Resolvent.simplex(500).data(), x.copy()

    def compiled() -> None:
        z[:] = x
        kernels._resolve(J, z, 1.0)

    a, b = (t / 200 for t in in_turn(lambda: [compiled() for _ in range(200)], lambda: [project_simplex(x) for _ in range(200)], rounds=5))
    row("projection on the simplex of 500 / by sorting in numpy", f"{a * 1e6:.1f} us", f"{b * 1e6:.1f} us", f"{a / b:.2f}")


def memory() -> None:
    rng = np.random.default_rng(0)
    for n in (1_000, 16_000):
        F = LeastSquares(rng.standard_normal((n, 50)), rng.standard_normal(n))
        solve(F, np.zeros(50), max_oracle=10 * n, seed=0)
        tracemalloc.start()
        solve(F, np.zeros(50), max_oracle=200 * n, tol=1e-12, seed=0)
        peak = tracemalloc.get_traced_memory()[1] / 8
        tracemalloc.stop()
        row(f"peak memory beyond the data, n = {n:,}, dim 50", f"{peak / (n + 50):.1f} (n+d)", "", "", "wanted: O(n + dim)")


# ---------------------------------------------------------------- a game as a linear programme


def highs(game: MatrixGame) -> float:
    m, k = game.shape
    found = linprog(np.r_[np.zeros(k), 1.0], A_ub=np.c_[game.A, -np.ones(m)], b_ub=np.zeros(m), A_eq=np.r_[np.ones(k), 0.0][None],
                    b_eq=[1.0], bounds=[(0, None)] * k + [(None, None)], method="highs")
    return float(found.fun)


def pdlp(game: MatrixGame) -> float:
    from ortools.linear_solver import pywraplp

    solver = pywraplp.Solver.CreateSolver("PDLP")
    x = [solver.NumVar(0.0, 1.0, "") for _ in range(game.shape[1])]
    t = solver.NumVar(-solver.infinity(), solver.infinity(), "")
    solver.Add(sum(x) == 1)
    for payoff in game.A:
        solver.Add(sum(float(a) * xi for a, xi in zip(payoff, x)) <= t)
    solver.Minimize(t)
    solver.Solve()
    return float(solver.Objective().Value())


def against_linear_programming() -> None:
    problem = PolicemanBurglar(150).load(np.random.default_rng(3))
    value = highs(problem.F)
    theirs = min(seconds(lambda: highs(problem.F)) for _ in range(3))
    budget = 2_000 * problem.F.n
    for method, options in (("vr_halpern_pp", {"restart": True}), ("vr_eg", {}), ("eg", {})):
        ours, found = np.inf, None
        for factor in (4.0, 8.0, 16.0, 32.0, 64.0):
            start = time.process_time()
            made = solve(Told(problem.F, factor), problem.u0, problem.G, method, tol=1e-4, max_oracle=budget, seed=0, **options)
            if made.converged and time.process_time() - start < ours:
                ours, found = time.process_time() - start, made
        if found is None:
            row(f"150 x 150 game by {method}, tuned over five steps / HiGHS", "not reached", f"{theirs:.3f} s", "")
            continue
        off = abs(problem.F.value(found.u) - value)
        row(f"150 x 150 game by {method} to 1e-4, value off by {off:.0e} / HiGHS, exact", f"{ours:.3f} s", f"{theirs:.3f} s",
            f"{ours / theirs:.2f}")
    try:
        import ortools  # noqa: F401
    except ImportError:
        row("  beside PDLP", "", "not here", "", "pip install ortools")
        return
    took = seconds(lambda: pdlp(problem.F))
    row("  beside PDLP (ortools), with building its model", "", f"{took:.3f} s", "")


def main() -> None:
    row("what", "ours", "theirs", "ratio")
    with threadpool_limits(limits=1):
        against_blas()
        whole_runs()
        a_step()
        against_python()
        simplex()
        memory()
        against_linear_programming()


if __name__ == "__main__":
    main()
