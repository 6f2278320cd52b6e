"""mini_gp beside its peers: ratios of time and memory, measured in turn in one run on one thread.

    python -m benchmarks.mini_gp            about three minutes
    PEER_BATCH_BKB=FOLDER ...               also beside github.com/luigicarratino/batch-bkb at 3c23928

Refitting a library on every row at each of 2,000 steps takes minutes to an hour, so its time is integrated from 12 of the steps.
"""

from __future__ import annotations

import math
import os
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks._measure import peak_megabytes, seconds
from workingpapers.claims import side_by_side
from workingpapers.papers.mini_gp import BBKB, GPUCB, MiniGPOptimizer, UniqueGP
from workingpapers.workloads.arms import ArmProblem, Arms

RECORDED = {"batch-bkb": "recorded 2026-11-23 at 3c23928: 2.2 x at threshold 1, 1.9 x at threshold 2"}
STEPS = 2_000


def play(optimizer: Any, problem: ArmProblem, budget: int) -> Any:
    rng = np.random.default_rng(1)
    while (left := budget - optimizer.ledger_.evaluations) > 0:
        s = optimizer.ask(left)
        optimizer.tell(s, problem.evaluate(s.index, s.repeats, rng))
    return optimizer


def row(what: str, ours: str, theirs: str, ratio: str, wanted: str = "") -> None:
    print(f"{what:<58} {ours:>12} {theirs:>14} {ratio:>12}  {wanted}")


# ---------------------------------------------------------------- peers on every row


def sklearn_step(x: Any, y: Any, problem: ArmProblem) -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor

    model = GaussianProcessRegressor(problem.kernel(), alpha=problem.noise**2, optimizer=None).fit(x, y)
    model.predict(problem.arms, return_std=True)


def botorch_step(x: Any, y: Any, problem: ArmProblem) -> None:
    import gpytorch
    import torch
    from botorch.models import SingleTaskGP
    from gpytorch.kernels import RBFKernel
    from gpytorch.means import ZeroMean

    torch.set_num_threads(1)
    kernel = RBFKernel().double()
    kernel.lengthscale = problem.length_scale
    model = SingleTaskGP(
        torch.from_numpy(x),
        torch.from_numpy(y)[:, None],
        train_Yvar=torch.full((len(x), 1), problem.noise**2).double(),
        covar_module=kernel,
        mean_module=ZeroMean(),
        outcome_transform=None,
    )
    with torch.no_grad(), gpytorch.settings.max_cholesky_size(10_000):
        found = model.posterior(torch.from_numpy(problem.arms))
        found.mean, found.variance  # noqa: B018  lazily computed


def integrated(step: Callable[[Any, Any, ArmProblem], None], problem: ArmProblem) -> float:
    """Seconds of `STEPS` refits with 1, 2, ... rows, by the trapezoid rule over 12 of them."""
    rng = np.random.default_rng(0)
    which = rng.integers(len(problem.arms), size=STEPS)
    at = np.unique(np.linspace(2, STEPS, 12).astype(int))
    step(problem.arms[which[:10]], problem.rewards[which[:10]], problem)
    took = []
    for n in at:
        x, y = problem.arms[which[:n]], problem.rewards[which[:n]] + problem.noise * rng.standard_normal(n)
        took.append(min(seconds(lambda x=x, y=y: step(x, y, problem)) for _ in range(2)))
    return float(np.trapezoid(took, at))


def refit_per_step() -> None:
    problem = Arms(600, STEPS).load(np.random.default_rng(0))
    options: dict[str, Any] = {"kernel": problem.kernel(), "noise": problem.noise**2, "beta": "bayes"}
    timings = side_by_side(
        {
            "mini": lambda: play(MiniGPOptimizer(problem.arms, **options), problem, STEPS),
            "gp": lambda: play(GPUCB(problem.arms, **options), problem, STEPS),
        },
        repeats=5,
    )
    mini, gp = timings["mini"].median, timings["gp"].median
    row("run, 600 arms, T = 2,000: mini-GP-UCB / GP-UCB, same posterior", f"{mini:.3f} s", f"{gp:.3f} s", f"{gp / mini:.1f} x")
    for name, step in (("scikit-learn", sklearn_step), ("BoTorch", botorch_step)):
        theirs = integrated(step, problem)
        row(
            f"  beside {name} refitted on all rows at each step",
            f"{mini:.3f} s",
            f"{theirs:.1f} s",
            f"{theirs / mini:.0f} x",
            "wanted: 20 x",
        )
        row("    GP-UCB on our posterior beside it", f"{gp:.3f} s", f"{theirs:.1f} s", f"{theirs / gp:.0f} x", "wanted: 20 x")


# ---------------------------------------------------------------- the posterior by itself


def posterior() -> None:
    rng = np.random.default_rng(0)
    from sklearn.gaussian_process.kernels import RBF

    points, queries = rng.random((300, 3)), rng.random((1_000, 3))
    which = rng.integers(300, size=1_000_000)
    x, y = points[which], rng.normal(size=1_000_000)
    gp = UniqueGP(RBF(0.3), 0.09)
    took = seconds(lambda: gp.add_many(x, y))
    row("take in 1,000,000 rows of 300 points", f"{took:.3f} s", "", "")
    cold = seconds(lambda: gp.posterior(queries))
    warm = side_by_side({"posterior": lambda: gp.posterior(queries)}, repeats=7)["posterior"].median
    row("posterior on 1,000 points after that, first call", f"{cold * 1e3:.1f} ms", "", "", "wanted: under 100 ms")
    row("posterior on 1,000 points, again", f"{warm * 1e3:.1f} ms", "", "")
    row(
        "  peak memory of it",
        f"{peak_megabytes(lambda: gp.posterior(queries)):.1f} MB",
        f"{8 * 4000**2 / 1e6:.0f} MB",
        "",
        "beside: the matrix of 4,000 rows alone",
    )
    for q in (100, 200, 400, 800):
        append, again = one_more(q, rng)
        row(f"one more point / one more repeat at q = {q}", f"{append * 1e6:.0f} us", f"{again * 1e6:.0f} us", "")


def one_more(q: int, rng: np.random.Generator) -> tuple[float, float]:
    """Median seconds of a new point and of a repeat, with q points there."""
    from sklearn.gaussian_process.kernels import RBF

    gp = UniqueGP(RBF(0.3), 0.09).add_many(rng.random((q, 3)), rng.normal(size=q))
    middle = gp.unique_points[q // 2]
    append = [seconds(lambda x=x: gp.add(x, 0.0)) for x in rng.random((30, 3))]
    again = [seconds(lambda: gp.add(middle, 0.0)) for _ in range(30)]
    return float(np.median(append)), float(np.median(again))


def million() -> None:
    problem = Arms(600, 1_000_000).load(np.random.default_rng(0))

    def run() -> Any:
        return play(
            MiniGPOptimizer(problem.arms, kernel=problem.kernel(), noise=problem.noise**2, beta="bayes", C2=2.0), problem, 1_000_000
        )

    took = seconds(run)
    done = run()
    row("1,000,000 evaluations on 600 arms, C^2 = 2", f"{took:.2f} s", "", "", "wanted: under 5 s")
    row(
        f"  {done.ledger_.switches} switches, {done.n_unique} points, average regret {done.regret(problem.rewards).average:.5f}", "", "", ""
    )
    row("  peak memory of it", f"{peak_megabytes(run):.0f} MB", "", "")


# ---------------------------------------------------------------- the authors' BBKB


def batch_bkb() -> None:
    folder = os.environ.get("PEER_BATCH_BKB")
    if not folder:
        row("BBKB beside the authors' batch-bkb", "", "not here", "", RECORDED["batch-bkb"])
        return
    sys.path.insert(0, str(Path(folder).expanduser()))
    import bkb_lib

    # Newer SciPy refuses the scalar that a dictionary of one arm squeezes to.
    update = bkb_lib.qr_update
    bkb_lib.qr_update = lambda q, r, u, v: update(q, r, np.atleast_1d(u), np.atleast_1d(v))
    assert isinstance(bkb_lib, types.ModuleType)

    def linear(a: Any, b: Any = None) -> Any:
        return float(a @ a) if a.ndim == 1 else a @ (a if b is None else b).T

    draw = np.random.RandomState(42)
    truth, arms = draw.randn(3), draw.randn(1_000, 3)
    rewards = arms @ truth
    noise = math.sqrt(0.01 * (rewards.max() - rewards.min()))
    problem = ArmProblem(arms, rewards, noise, 1.0)

    def theirs(threshold: float) -> None:
        state = np.random.RandomState(0)
        made = bkb_lib.Batch_BKB(lam=noise**2, dot=linear, noise_variance=noise**2, fnorm=1.0, delta=0.5, qbar=1, ratio_threshold=threshold)
        made.initialize(arms, [0, 1], rewards[:2] + noise * state.randn(2))
        t = 0
        while t < STEPS:
            chosen = made.predict()[0][: STEPS - t]
            made.update(chosen, rewards[chosen] + noise * state.randn(len(chosen)), state)
            t += len(chosen)

    def ours(threshold: float) -> None:
        play(BBKB(arms, ratio_threshold=threshold, kernel=lambda x, y: x @ y.T, noise=noise**2, random_state=0), problem, STEPS)

    for threshold in (1.0, 2.0):
        timings = side_by_side({"ours": partial(ours, threshold), "theirs": partial(theirs, threshold)}, repeats=3)
        mine, peers = timings["ours"].median, timings["theirs"].median
        row(f"BBKB on the authors' linear example, threshold {threshold:g}", f"{mine:.2f} s", f"{peers:.2f} s", f"{peers / mine:.1f} x")


def main() -> None:
    row("what", "ours", "theirs", "ratio")
    with threadpool_limits(limits=1):
        refit_per_step()
        posterior()
        million()
        batch_bkb()


if __name__ == "__main__":
    main()
