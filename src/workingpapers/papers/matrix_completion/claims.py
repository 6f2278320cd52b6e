"""How the claims of paper.toml are tried.

The paper's updates are the arm "sketch of each"; "shared basis" is what takes its place by default above the rank where exact updates are
as fast: one orthonormal basis for all regressions of a half-sweep, and plain conjugate gradients in it.

A user's own point for `real-data` is a `Workload` whose `load(rng)` gives ratings (`workloads.ratings.Ratings`), a sparse matrix, triplets
or an array with NaN.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from workingpapers.claims import (
    Check,
    Results,
    TimedTrial,
    Trial,
    Workload,
    all_of,
    aside,
    at,
    baseline,
    bound,
    claim,
    control,
    difference,
    each_of,
    each_point,
    headline,
    method,
    not_worse,
    peer,
    ratio,
    slope,
    value,
)
from workingpapers.workloads.archives import Progress
from workingpapers.workloads.ratings import MovieLens, Ratings

from . import LowRank, simulate, simulate_ratings
from ._alternate import Plan, alternate, spectral_start
from ._arms import Split, als, by_means, cmfrec, iterative, neighbours, split_entries, surprise
from ._observed import Side, from_triplets, observe
from ._simulate import Triplets
from ._sweep import How, Pool, half_sweep

SKETCH, SHARED, EXACT, AUTO = "sketch of each", "shared basis", "exact", "chosen by size"
START, MEANS = "start without updates", "row and column means"
SINGLE = Pool(1)


def named(found: Sequence[Check], words: str) -> float | None:
    """Estimate of the check whose rule contains the words."""
    return next((c.estimate for c in found if words in c.rule), None)


class Compiled(Workload):
    """A workload before whose first trial the solvers are compiled, once, so that trials side by side need not each do it."""

    def solvers(self) -> tuple[str, ...]:
        """What its trials solve with."""
        return ("cholesky", "cg_orth", "sketch")

    def prepare(self, progress: Progress) -> None:
        observed = observe(([0, 0, 1, 1], [0, 1, 0, 1], [1.0, 2.0, 3.0, 5.0], (2, 2)))
        solvers = self.solvers()
        for i, solver in enumerate(solvers):
            progress(i / len(solvers), f"compiling {solver}")
            half_sweep(observed.columns, np.eye(2)[:, :1].copy(), np.zeros((2, 1)), np.ones(2), How(solver), 0.1, SINGLE)


def in_turn(calls: Mapping[str, Callable[[], Any]], rounds: int = 3) -> dict[str, float]:
    """Least processor seconds of each call, taken in turn, A B C and back, on one thread: a machine that others share takes little from it.

    Calls under 10 ms are made several times a turn. One call of each before the first turn does not count.
    """
    def seconds(call: Callable[[], Any], n: int) -> float:
        start = time.process_time()
        for _ in range(n):
            call()
        return (time.process_time() - start) / n

    with threadpool_limits(limits=1):
        for call in calls.values():
            call()
        least = {name: seconds(call, 1) for name, call in calls.items()}
        repeats = {name: max(1, round(0.01 / max(t, 1e-5))) for name, t in least.items()}
        for turn in range(1, rounds):
            for name in list(calls)[:: 1 if turn % 2 == 0 else -1]:
                least[name] = min(least[name], seconds(calls[name], repeats[name]))
    return least


# ---------------------------------------------------------------- same-recovery


@dataclass(frozen=True)
class Sampled(Compiled):
    """A random n x n matrix of rank k, seen at `times` its degrees of freedom."""

    n: int
    k: int
    times: float
    injected: float = 0.0

    @property
    def label(self) -> str:
        injected = f", errors of {self.injected:g}" if self.injected else ""
        return f"{self.n} x {self.n}, rank {self.k}, {self.times:g} x{injected}"

    def solvers(self) -> tuple[str, ...]:
        return ("cholesky", "sketch") if self.injected else super().solvers()

    def load(self, rng: np.random.Generator) -> LowRank:
        return simulate(self.n, self.n, self.k, round(self.times * self.k * (2 * self.n - self.k)), rng=rng)


def run(made: LowRank, k: int, how: How, seed: int, **plan: Any) -> tuple[float, int]:
    """Relative error over all entries and sweeps, from the spectral start. No sweeps: the start, its column factor by least squares."""
    observed, rng = observe(made.triplets), np.random.default_rng(seed)
    U = spectral_start(observed, k, 0.0, rng)
    if plan.get("max_iter") == 0:
        V = np.zeros((observed.shape[1], k))
        half_sweep(observed.columns, U, V, np.zeros(len(V)), How("cholesky"), 1e-12, SINGLE, warm=False)
        return made.error(U, V), 0
    found = alternate(observed, U, Plan(how, **plan), SINGLE, rng=rng)
    return made.error(found.U, found.V), len(found.history)


@claim("same-recovery",
       arms={SKETCH: method(How, solver="sketch"), SHARED: method(How, solver="cg_orth"), EXACT: baseline(How, solver="cholesky"),
             START: control(How, solver="cholesky")},
       points=at(smoke=[Sampled(200, 5, 2), Sampled(200, 5, 4)], small=[Sampled(2_000, 10, t) for t in (1.5, 2.5, 5, 10)],
                 full=[Sampled(10_000, 10, t) for t in (1.5, 2.5, 5, 10)]),
       seeds=at(smoke=4, small=8, full=5),
       rule=all_of(headline(not_worse("recovered", SKETCH, EXACT, by=0.05, better="higher")), ratio("iterations", SKETCH, EXACT) <= 1.2,
                   not_worse("recovered", SHARED, EXACT, by=0.05, better="higher"), ratio("iterations", SHARED, EXACT) <= 1.2,
                   difference("recovered", SKETCH, START, name="the control loses") > 0,
                   aside(ratio("final_error", SKETCH, EXACT) <= 10, ratio("final_error", SHARED, EXACT) <= 10, title="how near they end")))
def same_recovery(trial: Trial) -> dict[str, float]:
    """Whether the relative error falls below 1e-4, within 400 sweeps that end once predictions move by 1e-7 of their size."""
    made, is_start = trial.point.load(trial.rng), trial.arm.role == "control"
    error, sweeps = run(made, trial.point.k, trial.arm.build(seed=trial.seed), trial.seed, tol=1e-7, max_iter=0 if is_start else 400)
    return {"recovered": float(error < 1e-4), "final_error": max(error, 1e-15), "iterations": sweeps} if not is_start else {
        "recovered": float(error < 1e-4), "final_error": error}


# ---------------------------------------------------------------- linear-in-rank


@dataclass(frozen=True)
class Regressions(Compiled):
    """`columns` regressions with k unknowns, each with `entries` rows of a random (m, k) factor.

    `clusters`: rows fall into so many groups, each with small coordinates of its own, and each regression sees rows of one group.
    """

    k: int
    entries: int
    columns: int
    m: int
    clusters: int = 0

    @property
    def label(self) -> str:
        return f"rank {self.k}, {self.entries:,} entries each{', in clusters' if self.clusters else ''}"

    def load(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.float64], Side, npt.NDArray[np.float64]]:
        """The factor (m, k), its entries, and solutions that are off by a hundredth, as after some sweeps."""
        U = rng.standard_normal((self.m, self.k))
        group = np.arange(self.m) % max(1, self.clusters)
        if self.clusters:
            U *= 10.0 ** -rng.uniform(0, 3, (self.clusters, self.k))[group]
        U = np.ascontiguousarray(np.linalg.qr(U)[0] * np.sqrt(self.m))
        truth = rng.standard_normal((self.columns, self.k))
        rows = np.concatenate([rng.choice(np.flatnonzero(group == j % max(1, self.clusters)), self.entries, replace=False)
                               for j in range(self.columns)])
        columns = np.repeat(np.arange(self.columns), self.entries)
        side = from_triplets(rows, columns, np.einsum("ij,ij->i", U[rows], truth[columns]), (self.m, self.columns)).columns
        return U, side, truth + 0.01 * rng.standard_normal(truth.shape)


def updated(problem: Any, how: How, tol: float = 1e-3) -> float:
    """Operations of one half-sweep from solutions that are off by a hundredth until a tenth of that is left (or `tol` of the gradient)."""
    U, side, X = problem
    return half_sweep(side, U, X.copy(), np.zeros(len(X)), how, tol, SINGLE, is_orthonormal=True, reduction=tol / 0.01).flops


def ranks(values: Sequence[int], entries: int, columns: int, m: int, clusters: int = 0) -> list[Regressions]:
    return [Regressions(k, entries, columns, m, clusters) for k in values]


@claim("linear-in-rank",
       arms={SKETCH: method(How, solver="sketch"), SHARED: method(How, solver="cg_orth"), AUTO: method(How, solver="auto"),
             EXACT: baseline(How, solver="cholesky")},
       points=at(smoke=ranks((5, 40), 240, 100, 1_000), small=ranks((10, 20, 50, 100, 200), 1_200, 100, 5_000),
                 full=ranks((10, 20, 50, 100, 200, 500), 3_000, 200, 20_000)),
       seeds=at(smoke=3, small=5, full=5),
       rule=all_of(each_of(headline(slope("flops", SKETCH, "k") <= 1.4), slope("flops", SHARED, "k") <= 1.4, over="ways to be approximate"),
                   slope("flops", EXACT, "k") >= 1.8,
                   aside(slope("flops_long", SKETCH, "k") <= 1.4, slope("flops_long", EXACT, "k") >= 1.8,
                         title="regressions with 20,000 entries"),
                   aside(ratio("flops_clustered", SKETCH, SHARED, name="sketches of each need less than a shared basis") < 1,
                         ratio("flops_clustered", SKETCH, EXACT) < 1, title="entries in clusters, to 1e-6"),
                   aside(slope("seconds", SKETCH, "k") <= 1.4, slope("seconds", SHARED, "k") <= 1.4, slope("seconds", EXACT, "k") >= 1.8,
                         value("seconds_over_best", AUTO, name="chosen by size, over the best of the others") <= 1.1, title="time")))
def linear_in_rank(trial: Trial) -> dict[str, float]:
    """Operations of the updates of one factor, at a fixed number of entries."""
    return {"flops": updated(trial.point.load(trial.rng), trial.arm.build(seed=trial.seed))}


@linear_in_rank.also(arms=[SKETCH, EXACT],  # type: ignore[untyped-decorator,unused-ignore]
                     points=at(smoke=ranks((5, 40), 20_000, 4, 20_000), small=ranks((10, 20, 50, 100), 20_000, 4, 20_000),
                               full=ranks((10, 20, 50, 100), 20_000, 20, 20_000)), seeds=3)
def long(trial: Trial) -> dict[str, float]:
    """The same where every regression has far more entries than unknowns, as the theory asks for."""
    return {"flops_long": updated(trial.point.load(trial.rng), trial.arm.build(seed=trial.seed))}


@linear_in_rank.also(arms=[SKETCH, SHARED, EXACT],  # type: ignore[untyped-decorator,unused-ignore]
                     points=at(smoke=ranks((20,), 1_000, 10, 20_000, clusters=10), small=ranks((50, 100), 4_000, 10, 80_000, clusters=10),
                               full=ranks((50, 100, 200), 8_000, 20, 160_000, clusters=10)), seeds=3)
def clustered(trial: Trial) -> dict[str, float]:
    """The same where the rows that a regression sees differ from the factor's: the case for a sketch of each."""
    return {"flops_clustered": updated(trial.point.load(trial.rng), replace(trial.arm.build(seed=trial.seed), max_passes=5_000), tol=1e-6)}


@linear_in_rank.timed(seeds=3)  # type: ignore[untyped-decorator]
def seconds(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Processor seconds of the same updates, and how near the choice by size comes to the best."""
    problem = trial.point.load(trial.rng)
    took = in_turn({name: partial(updated, problem, arm.build(seed=trial.seed)) for name, arm in trial.arms.items()})
    out = {name: {"seconds": t} for name, t in took.items()}
    out[AUTO]["seconds_over_best"] = took[AUTO] / min(took[name] for name in (SKETCH, SHARED, EXACT))
    return out


def crossing(table: dict[int, dict[str, float]]) -> float | None:
    """Rank above which the shared basis is sooner than exact updates, by straight lines between logarithms."""
    ks = sorted(table)
    for low, high in pairwise(ks):
        a, b = (np.log(table[k][SHARED] / table[k][EXACT]) for k in (low, high))
        if a > 0 >= b:
            return float(np.exp(np.log(low) + a / (a - b) * np.log(high / low)))
    return None


def means(results: Results, metric: str) -> dict[int, dict[str, float]]:
    """Geometric mean over seeds by rank and arm."""
    out: dict[int, dict[str, list[float]]] = {}
    for m in results.measurements:
        if m.metric == metric:
            out.setdefault(int(results.attributes[m.point]["k"]), {}).setdefault(m.arm, []).append(m.value)
    return {k: {arm: float(np.exp(np.mean(np.log(v)))) for arm, v in arms.items()} for k, arms in out.items()}


@linear_in_rank.plot("time by rank")
def time_by_rank(results: Results) -> Any:
    """Seconds over rank by arm, with the rank where lines cross."""
    import altair as alt

    found = means(results, "seconds")
    rows = [{"rank": k, "arm": arm, "seconds": v} for k, arms in found.items() for arm, v in arms.items()]
    lines = alt.Chart(alt.Data(values=rows)).mark_line(point=True).encode(  # type: ignore[no-untyped-call]
        x=alt.X("rank:Q", scale=alt.Scale(type="log")), y=alt.Y("seconds:Q", scale=alt.Scale(type="log")), color="arm:N")
    at_ = crossing(found)
    if at_ is None:
        return lines
    rule = alt.Chart(alt.Data(values=[{"rank": at_, "words": f"cross at {at_:.0f}"}]))  # type: ignore[no-untyped-call]
    return lines + rule.mark_rule(strokeDash=[4, 4]).encode(x="rank:Q") + rule.mark_text(dy=-6, align="left").encode(
        x="rank:Q", y=alt.value(10), text="words:N")


@linear_in_rank.note
def in_operations_or_in_time(checks: Sequence[Check]) -> str:
    """What holds in operations, and what in time."""
    sketch, shared = named(checks, f"flops of {SKETCH} over"), named(checks, f"flops of {SHARED} over")
    long_, times = named(checks, f"flops_long of {SKETCH} over"), named(checks, f"seconds of {SHARED} over")
    if sketch is None or shared is None or long_ is None or times is None:
        return ""
    return (f"At a fixed number of entries operations grew like rank^{sketch:.2f} with a sketch of each regression, whose factorisation "
            f"costs 8 k^3, and like rank^{shared:.2f} with one basis for all; with 20,000 entries each the sketch's like rank^{long_:.2f}. "
            f"Time with one basis grew like rank^{times:.2f}; where it crosses exact updates stands in the plot.")


# ---------------------------------------------------------------- error-tolerance

DISTURBED, STOPPED = "disturbed", "stopped early"
LEVELS = at(smoke=[1e-1, 1e-3], small=[10.0**-e for e in range(1, 7)], full=[10.0**-e for e in range(1, 7)])


@claim("error-tolerance",
       arms={DISTURBED: method(How, solver="sketch"), STOPPED: method(How, solver="sketch"), EXACT: baseline(How, solver="cholesky"),
             START: control(How, solver="cholesky")},
       points=at(smoke=[Sampled(200, 5, 4, e) for e in LEVELS["smoke"]], small=[Sampled(2_000, 10, 4, e) for e in LEVELS["small"]],
                 full=[Sampled(10_000, 10, 4, e) for e in LEVELS["full"]]),
       seeds=at(smoke=4, small=5, full=5),
       rule=all_of(headline(bound("amplification", DISTURBED, name="final error over the injected one") <= 5),
                   slope("relative_error", DISTURBED, "injected", name="final error falls with the injected one") >= 0.8,
                   ratio("relative_error", DISTURBED, START, name="the control loses") < 1,
                   aside(bound("amplification", STOPPED, name="gradients left instead of errors") <= 5,
                         bound("relative_error", EXACT, name="exact updates recover") <= 1e-4)))
def error_tolerance(trial: Trial) -> dict[str, float]:
    """Relative error after 60 sweeps whose every update is moved by the injected error, relative to each row, in a random direction."""
    made, level = trial.point.load(trial.rng), trial.point.injected
    draw, how = trial.rng_for("errors"), trial.arm.build(seed=trial.seed)
    more: dict[str, Any] = {"tol": 0.0, "max_iter": 60}
    if trial.arm.name == DISTURBED:
        def disturb(X: npt.NDArray[np.float64]) -> None:
            E = draw.standard_normal(X.shape)
            X += level * E * (np.linalg.norm(X, axis=1) / np.linalg.norm(E, axis=1))[:, None]

        more["after"] = disturb
    elif trial.arm.name == STOPPED:
        more["inner_tol"] = level
    elif trial.arm.role == "control":
        more["max_iter"] = 0
    error = max(run(made, trial.point.k, how, trial.seed, **more)[0], 1e-16)
    return {"relative_error": error, "amplification": error / level}


# ---------------------------------------------------------------- real-data

NEAREST, CHAINED = "KNNImputer", "IterativeImputer"
LARGEST_TABLE = 1_600_000
"""Places of a table up to which scikit-learn's imputers, which make it dense, take part; MovieLens 100K has 1,586,126."""


@dataclass(frozen=True)
class MadeRatings(Compiled):
    """Made ratings with biases, tastes of rank 5, noise and popular items."""

    users: int
    items: int
    n: int

    @property
    def label(self) -> str:
        return f"{self.n:,} made ratings"

    def load(self, rng: np.random.Generator) -> Triplets:
        return simulate_ratings(self.users, self.items, self.n, rng=rng)


@dataclass(frozen=True)
class Pixels(Workload):
    """Grey values of scikit-learn's digits (1,797 x 64) or of its photograph of a temple (427 x 640), from 1 to 5; half are hidden."""

    name: str
    held_out = 0.5

    @property
    def label(self) -> str:
        return f"{self.name}, half hidden"

    def load(self, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        from sklearn.datasets import load_digits, load_sample_image

        X = load_digits().data if self.name == "digits" else load_sample_image("china.jpg").mean(axis=2)
        return np.asarray(1 + 4 * X / X.max(), dtype=np.float64)

    def data_hash(self) -> str:
        from hashlib import sha256

        return sha256(self.load(np.random.default_rng(0)).tobytes()).hexdigest()


def split(trial: Trial | TimedTrial) -> Split:
    """The point's entries in two parts: a tenth, or as much as the point asks for, is predicted."""
    given = trial.point.load(trial.rng)
    entries = given.triplets if isinstance(given, Ratings) else given
    return split_entries(entries, trial.rng_for("split"), getattr(trial.point, "held_out", 0.1))


MANY, MILLION = MadeRatings(2_000, 1_000, 100_000), MovieLens("1m")


def is_table(label: str) -> bool:
    """Whether imputers of tables take part at a point."""
    return label not in (MANY.label, MILLION.label)


@claim("real-data",
       arms={SKETCH: method(als, solver="sketch"), AUTO: method(als, solver="auto"), EXACT: baseline(als, solver="cholesky"),
             "cmfrec": peer(cmfrec), "surprise": peer(surprise), NEAREST: peer(neighbours), CHAINED: peer(iterative),
             MEANS: control(by_means)},
       points=at(smoke=[MadeRatings(180, 140, 5_500)], small=[MANY, Pixels("digits"), Pixels("photograph")],
                 full=[MovieLens("100k"), MILLION]),
       seeds=at(smoke=3, small=5, full=5),
       rule=all_of(headline(difference("rmse", SKETCH, EXACT) <= 0.005), difference("rmse", SKETCH, EXACT) >= -0.005,
                   difference("rmse", AUTO, EXACT) <= 0.005, difference("rmse", AUTO, EXACT) >= -0.005,
                   each_of(ratio("seconds", SKETCH, EXACT) < 1, ratio("seconds", AUTO, EXACT) < 1, over="ways to be approximate, in time"),
                   difference("rmse", AUTO, MEANS, name="the control loses") < 0,
                   aside(difference("rmse", AUTO, "cmfrec") <= 0.005, ratio("seconds", AUTO, "cmfrec") < 1,
                         difference("rmse", AUTO, "surprise") <= 0.005, title="beside the implementations that people use"),
                   aside(each_point(difference("rmse", AUTO, NEAREST) <= 0.005, only=is_table),
                         each_point(difference("rmse", AUTO, CHAINED) <= 0.005, only=is_table), title="beside imputers of tables")))
def real_data(trial: Trial) -> dict[str, float]:
    """RMSE on entries set aside, all arms by least squares with the same rank, ridge and number of sweeps."""
    data = split(trial)
    if trial.arm.name in (NEAREST, CHAINED) and data.train[3][0] * data.train[3][1] > LARGEST_TABLE:
        return {}
    predicted = trial.arm.build(data, trial.seed)
    return {} if predicted is None else {"rmse": data.rmse(predicted)}


@real_data.timed(arms=[SKETCH, AUTO, EXACT, "cmfrec"], seeds=3)  # type: ignore[untyped-decorator]
def fit_seconds(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Processor seconds from triplets to predictions on one thread."""
    data = split(trial)
    calls = {name: partial(arm.build, data, trial.seed) for name, arm in trial.arms.items()}
    if find_spec("cmfrec") is None:
        calls.pop("cmfrec")
    return {name: {"seconds": t} for name, t in in_turn(calls).items()}


@real_data.note
def in_time_or_not(checks: Sequence[Check]) -> str:
    """Which part of the claim time decides."""
    sketch, auto = named(checks, f"seconds of {SKETCH} / {EXACT}"), named(checks, f"seconds of {AUTO} / {EXACT}")
    if sketch is None or auto is None:
        return ""
    worse = "fails in time: " if sketch >= 1 else ""
    return (f"A sketch of each regression {worse}{sketch:.2f} times that of exact updates; chosen by size, {auto:.2f} times. "
            "cmfrec and scikit-surprise take part where they are installed: pip install 'workingpapers[ratings]'.")


__all__ = ["error_tolerance", "linear_in_rank", "real_data", "same_recovery"]
