"""matrix_completion beside its peers: ratios of processor time, on one thread, taken in turn; growth laws as slopes with intervals.

    python -m benchmarks.matrix_completion              a quarter of an hour
    python -m benchmarks.matrix_completion fits digits  some sections only, see SECTIONS
    MOVIELENS=ml-100k.zip python -m benchmarks...       with the ratings of an archive in place of made ones

cmfrec, implicit and scikit-surprise are measured where they are installed: `pip install 'workingpapers[ratings]' implicit`.
implicit solves another problem (every missing entry counts as a zero): its time is shown for its way of working only.
"""

from __future__ import annotations

import os
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dposv
from threadpoolctl import threadpool_limits

from workingpapers.claims import log_log_slope, t_interval
from workingpapers.papers.matrix_completion import RobustALSCompleter, simulate, simulate_ratings, sketched_lstsq
from workingpapers.papers.matrix_completion._sweep import How, Pool, half_sweep
from workingpapers.papers.matrix_completion.claims import Regressions
from workingpapers.workloads.ratings import read_movielens

from . import _completion_tables

SINGLE = Pool(1)
RECORDED = "recorded 2026-11-25, MovieLens 100K, ranks 10, 40, 100: 0.29, 0.40, 0.49 of cmfrec 3.5.1 with CG"
warnings.simplefilter("ignore")


def row(what: str, ours: str, theirs: str, ratio: str, wanted: str = "") -> None:
    print(f"{what:<76} {ours:>11} {theirs:>11} {ratio:>9}  {wanted}", flush=True)


def seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def in_turn(*calls: Callable[[], Any], rounds: int = 5) -> list[float]:
    """Least processor time of each call, taken in turn: a machine that others share takes nothing from it. Short ones are
    called several times a turn."""
    repeats = []
    for call in calls:
        call()
        repeats.append(max(1, round(0.02 / max(seconds(call), 1e-5))))
    taken = [[seconds(lambda c=call, n=n: [c() for _ in range(n)]) / n for call, n in zip(calls, repeats)] for _ in range(rounds)]
    return [min(t[i] for t in taken) for i in range(len(calls))]


def updates(problem: Any, solver: str, tol: float = 1e-3) -> Callable[[], Any]:
    U, side, X = problem
    return lambda: half_sweep(side, U, X.copy(), np.zeros(len(X)), How(solver), tol, SINGLE, is_orthonormal=True, reduction=tol / 0.01)


# ---------------------------------------------------------------- one half-sweep


def against_blas(problem: Any) -> Callable[[], Any]:
    """The rows gathered, then a symmetric product and a factorisation with solve of BLAS and LAPACK for each regression: no more."""
    U, side, _ = problem
    bounds = list(zip(side.indptr[:-1], side.indptr[1:]))

    def call() -> None:
        for start, stop in bounds:
            A = U[side.indices[start:stop]]
            dposv(dsyrk(1.0, A.T, lower=1), A.T @ side.values[start:stop], lower=1)

    return call


def half_sweeps() -> None:
    for k, entries, columns, m in ((10, 193, 300, 2_000), (50, 460, 200, 3_000), (200, 1_318, 60, 8_000)):
        problem = Regressions(k, entries, columns, m).load(np.random.default_rng(0))
        names = ("auto", "cholesky", "cg_orth", "sketch")
        *ours, blas = in_turn(*(updates(problem, name) for name in names), against_blas(problem), rounds=7)
        found = dict(zip(names, ours))
        what = f"k = {k}, {entries} entries each: "
        row(what + "exact / BLAS and LAPACK called for each", f"{found['cholesky'] * 1e3:.1f} ms", f"{blas * 1e3:.1f} ms",
            f"{found['cholesky'] / blas:.2f}", "wanted: at most 1.3")
        best = min(found[n] for n in names[1:])
        row("  auto / the best solver", f"{found['auto'] * 1e3:.1f} ms", f"{best * 1e3:.1f} ms", f"{found['auto'] / best:.2f}",
            "wanted: at most 1.1")
        row("  one basis / exact", f"{found['cg_orth'] * 1e3:.1f} ms", f"{found['cholesky'] * 1e3:.1f} ms",
            f"{found['cg_orth'] / found['cholesky']:.2f}")
        row("  sketch of each / exact", f"{found['sketch'] * 1e3:.1f} ms", f"{found['cholesky'] * 1e3:.1f} ms",
            f"{found['sketch'] / found['cholesky']:.2f}")


def conditioning() -> None:
    for condition in (1, 100, 1_000):
        rng = np.random.default_rng(0)
        U, side, X = Regressions(50, 460, 40, 3_000).load(rng)
        side = replace(side, values=side.values + rng.standard_normal(len(side.values)))  # without noise a sketch alone would solve them
        W = np.ascontiguousarray(U * np.geomspace(1, 1 / condition, 50) @ np.linalg.qr(rng.standard_normal((50, 50)))[0])
        passes = {}
        for solver in ("cg", "cg_orth", "sketch"):
            how = How(solver, max_passes=5_000)
            passes[solver] = half_sweep(side, W, np.zeros_like(X), np.zeros(len(X)), how, 1e-6, SINGLE, warm=False).passes
        row(f"passes to 1e-6, k = 50, factor's condition {condition:,}: plain / one basis", f"{passes['cg_orth']:.1f}",
            f"{passes['cg']:.1f}", f"{passes['cg'] / passes['cg_orth']:.1f} x", f"sketch of each: {passes['sketch']:.1f}")


def long_regression() -> None:
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((200_000, 60)) * np.geomspace(1, 1e5, 60), rng.standard_normal(200_000)
    ours, theirs = in_turn(lambda: sketched_lstsq(A, b, random_state=0), lambda: np.linalg.lstsq(A, b, rcond=None), rounds=3)
    row("least squares, 200,000 x 60, condition 1e5: ours / numpy's", f"{ours:.2f} s", f"{theirs:.2f} s", f"{theirs / ours:.1f} x")


# ---------------------------------------------------------------- whole fits


def completer(rank: int, **more: Any) -> RobustALSCompleter:
    """Ours with the settings that cmfrec has too."""
    return RobustALSCompleter(rank, reg=0.1, scale_reg=True, tol=0, max_iter=10, init="random", n_jobs=1, random_state=0, **more)


def ratings() -> tuple[str, Any]:
    if path := os.environ.get("MOVIELENS"):
        return os.path.basename(path), read_movielens(path).triplets
    return "made ratings", simulate_ratings(2_000, 1_500, 100_000, rng=0)


def fits() -> None:
    name, (r, c, v, shape) = ratings()
    test = np.random.default_rng(0).random(len(v)) < 0.1
    train = (r[~test], c[~test], v[~test], shape)
    test &= np.isin(r, r[~test]) & np.isin(c, c[~test])  # cmfrec's values elsewhere have no bound
    single = (*train[:2], train[2].astype(np.float32), shape)
    for k in (10, 40, 100):
        errors: dict[str, float] = {}

        def ours(data: Any, solver: str, label: str, k: int = k, errors: dict[str, float] = errors) -> None:
            model = completer(k, solver=solver, fit_bias=True).fit(data)
            errors[label] = float(np.sqrt(np.mean((model.predict(r[test], c[test]) - v[test]) ** 2)))

        def theirs(data: Any, use_cg: bool, label: str, k: int = k, errors: dict[str, float] = errors) -> None:
            from cmfrec import CMF

            model = CMF(k=k, lambda_=0.1, scale_lam=True, niter=10, use_cg=use_cg, finalize_chol=use_cg, nthreads=1, verbose=False,
                        use_float=data[2].dtype == np.float32, precompute_for_predictions=False, random_state=1)
            model.fit(sp.coo_matrix((data[2], (data[0], data[1])), shape=shape))
            errors[label] = float(np.sqrt(np.mean((model.predict(r[test], c[test]) - v[test]) ** 2)))

        print(f"{name}: {len(train[2]):,} of {shape[0]:,} x {shape[1]:,}, rank {k}, 10 sweeps", flush=True)
        if find_spec("cmfrec") is None:
            row("  auto / cmfrec", "", "not here", "", RECORDED)
            continue
        for kind, data in (("double", train), ("single", single)):
            a, e, t, g = in_turn(lambda data=data: ours(data, "auto", "auto"), lambda data=data: ours(data, "cholesky", "exact"),
                                 lambda data=data: theirs(data, False, "cmfrec exact"), lambda data=data: theirs(data, True, "cmfrec CG"),
                                 rounds=3)
            row(f"  {kind} precision: auto / cmfrec's CG; RMSE {errors['auto']:.4f}, {errors['cmfrec CG']:.4f}", f"{a:.2f} s", f"{g:.2f} s",
                f"{a / g:.2f}", "wanted: at most 1.0")
            row(f"  exact / cmfrec's exact; RMSE {errors['exact']:.4f}, {errors['cmfrec exact']:.4f}", f"{e:.2f} s", f"{t:.2f} s",
                f"{e / t:.2f}", "wanted: at most 1.0")
    if find_spec("surprise") is not None:
        surprise(train, (r[test], c[test], v[test]))
    if find_spec("implicit") is not None:
        implicit(train)


def surprise(train: Any, test: Any) -> None:
    import pandas as pd
    from surprise import SVD, Dataset, Reader

    frame = pd.DataFrame({"u": train[0], "i": train[1], "r": train[2]})
    table = Dataset.load_from_df(frame, Reader(rating_scale=(1, 5))).build_full_trainset()
    model, ours = SVD(n_factors=40, random_state=0), completer(40, fit_bias=True)
    a, b = in_turn(lambda: ours.fit(train), lambda: model.fit(table), rounds=3)
    error = [float(np.sqrt(np.mean((p - test[2]) ** 2))) for p in
             (ours.predict(*test[:2]), np.array([model.predict(u, i).est for u, i in zip(test[0].tolist(), test[1].tolist())]))]
    row(f"  auto / surprise's SVD, rank 40; RMSE {error[0]:.4f}, {error[1]:.4f}", f"{a:.2f} s", f"{b:.2f} s", f"{a / b:.2f}")


def implicit(train: Any) -> None:
    from implicit.cpu.als import AlternatingLeastSquares

    X = sp.csr_matrix((train[2].astype(np.float32), (train[0], train[1])), shape=train[3])
    ours = completer(40)
    single = (*train[:2], train[2].astype(np.float32), train[3])
    a, b = in_turn(lambda: ours.fit(single), lambda: AlternatingLeastSquares(40, iterations=10, num_threads=1).fit(X, show_progress=False),
                   rounds=3)
    row("  auto / implicit's ALS (another objective), rank 40, single precision", f"{a:.2f} s", f"{b:.2f} s", f"{a / b:.2f}")


# ---------------------------------------------------------------- growth


def growth(what: str, sizes: list[int], cost: Callable[[int, int], float], wanted: str) -> None:
    """Slope of log cost over log size, with Student's interval over seeds."""
    slopes = [log_log_slope([float(s) for s in sizes], [cost(size, seed) for size in sizes]) for seed in range(3)]
    found = t_interval(slopes)
    row(f"growth of {what}, {sizes[0]:,} to {sizes[-1]:,}", f"{found.estimate:.2f}", f"[{found.lo:.2f}, {found.hi:.2f}]", "", wanted)


def grown(n_entries: int, seed: int) -> float:
    """Processor seconds of a sweep at rank 20 over so many entries of a matrix with 100 entries a row."""
    made = simulate(n_entries // 100, n_entries // 200, 20, n_entries, rng=seed)
    model = RobustALSCompleter(20, tol=0, max_iter=3, init="random", n_jobs=1, random_state=0)
    return min(seconds(lambda: model.fit(made.triplets)) for _ in range(2))


def laws() -> None:
    growth("time over entries at rank 20", [50_000, 200_000, 800_000], grown, "wanted: 1")
    for solver, wanted in (("cholesky", "about 2"), ("cg_orth", "about 1"), ("sketch", "1 where entries are many, 2 to 3 here")):
        def cost(k: int, seed: int, solver: str = solver) -> float:
            call = updates(Regressions(k, 600, 60, 3_000).load(np.random.default_rng(seed)), solver)
            call()
            return min(seconds(call) for _ in range(3))

        growth(f"time over rank, 600 entries each, {solver}", [12, 25, 50, 100], cost, wanted)


def memory() -> None:
    made = simulate(20_000, 10_000, 10, 1_000_000, rng=0)
    tracemalloc.start()
    RobustALSCompleter(10, tol=0, max_iter=2, init="random", n_jobs=1, random_state=0).fit(made.triplets)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    row("peak memory, 1,000,000 entries of 20,000 x 10,000, rank 10 / that of the triplets", f"{peak / 1e6:.0f} MB", "24 MB",
        f"{peak / 24e6:.1f}")


SECTIONS: dict[str, Callable[[], None]] = {
    "half-sweeps": half_sweeps, "conditioning": conditioning, "long": long_regression, "fits": fits, "laws": laws, "memory": memory,
    "digits": lambda: _completion_tables.digits(row), "ratings": lambda: _completion_tables.ratings(row)}


def main(names: list[str]) -> None:
    if unknown := [n for n in names if n not in SECTIONS]:
        sys.exit(f"no section {unknown[0]!r}; there are: {', '.join(SECTIONS)}")
    row("what", "ours", "theirs", "ratio")
    with threadpool_limits(limits=1):
        for name in names or SECTIONS:
            SECTIONS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
