"""How the claims of paper.toml are tried.

Every method is given the kernel, the noise and the widths of its opponent, and the same incremental posterior: what differs
is only when it switches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gpytorch
import numpy as np
import numpy.typing as npt
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from workingpapers.claims import (
    Check,
    SideBySide,
    TimedTrial,
    Trial,
    Workload,
    all_of,
    at,
    baseline,
    bound,
    claim,
    control,
    headline,
    method,
    not_worse,
    peer,
    ratio,
    side_by_side,
    slope,
)
from workingpapers.workloads.arms import Abalone, ArmProblem, Arms, CaliforniaHousing, DiabetesArms, DigitsArms, NasBench101

from . import BBKB, GPBUCB, GPEI, GPUCB, TS, MiniGPOptimizer, RandomArms, RefitGPUCB, UniqueGP
from ._acquisition import block_gain

Array = npt.NDArray[np.float64]
Moments = tuple[Array, Array]

MINI_UCB, MINI_EI = "mini-GP-UCB", "mini-GP-EI"


# ---------------------------------------------------------------- collapsed-posterior


@dataclass(frozen=True)
class Rows:
    """Observations `y` (T,) at rows `x` (T, d) that repeat few points, and the queries (m, d) to be predicted."""

    x: Array
    y: Array
    queries: Array
    noise: float
    length_scale: float


@dataclass(frozen=True)
class Repeats(Workload):
    """`rows` observations of `points` distinct points, drawn uniformly in the unit cube, and 50 queries."""

    rows: int
    points: int
    queries: int = 50

    @property
    def label(self) -> str:
        return f"{self.rows:,} rows of {self.points} points"

    def load(self, rng: np.random.Generator) -> Rows:
        x = rng.random((self.points, 3))
        which = np.concatenate([np.arange(self.points), rng.integers(self.points, size=self.rows - self.points)])
        y = np.sin(6 * x).sum(axis=1)[which] + 0.3 * rng.standard_normal(self.rows)
        return Rows(x[which], y, rng.random((self.queries, 3)), 0.09, 0.3)


def collapsed(rows: Rows) -> Moments:
    """The method: repeats folded into averages."""
    return UniqueGP(RBF(rows.length_scale), rows.noise).add_many(rows.x, rows.y).posterior(rows.queries)


def sklearn_on_rows(rows: Rows) -> Moments:
    """scikit-learn's Gaussian process on every row."""
    model = GaussianProcessRegressor(RBF(rows.length_scale), alpha=rows.noise, optimizer=None).fit(rows.x, rows.y)
    mean, std = model.predict(rows.queries, return_std=True)
    return mean, np.square(std)


class _Exact(gpytorch.models.ExactGP):  # type: ignore[misc]
    def __init__(self, rows: Rows) -> None:
        likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
        likelihood.noise = rows.noise
        super().__init__(torch.from_numpy(rows.x), torch.from_numpy(rows.y), likelihood)
        self.mean_module = gpytorch.means.ZeroMean()
        self.covar_module = gpytorch.kernels.RBFKernel().double()
        self.covar_module.lengthscale = rows.length_scale

    def forward(self, x: Any) -> Any:
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def gpytorch_on_rows(rows: Rows) -> Moments:
    """GPyTorch's exact Gaussian process on every row, by Cholesky (its conjugate gradients would not be exact)."""
    model = _Exact(rows).eval()
    with torch.no_grad(), gpytorch.settings.max_cholesky_size(100_000), gpytorch.settings.fast_pred_var(False):
        found = model(torch.from_numpy(rows.queries))
        return found.mean.numpy(), found.variance.numpy()


def row_by_row(rows: Rows) -> Moments:
    """The posterior of every row by Bayes' rule, one row at a time: an oracle that folds nothing, for more rows than fit a matrix."""
    from ._conditioning import condition  # numba, which no other trial needs

    points, which = np.unique(rows.x, axis=0, return_inverse=True)
    everything = np.vstack([points, rows.queries])
    covariance, mean = RBF(rows.length_scale)(everything), np.zeros(len(everything))
    condition(mean, covariance, which.reshape(-1), rows.y, rows.noise)
    return mean[len(points) :], np.diagonal(covariance)[len(points) :].copy()


FULL_MATRIX_UP_TO = 8_000


@claim("collapsed-posterior",
       arms={"collapsed": method(collapsed), "scikit-learn": peer(sklearn_on_rows), "GPyTorch": peer(gpytorch_on_rows)},
       points=at(smoke=[Repeats(400, 20)], small=[Repeats(4_000, 100)], full=[Repeats(8_000, 300)]),
       seeds=at(smoke=5, small=5, full=3),
       is_timed=True,
       rule=all_of(headline(bound("difference", "collapsed") <= 1e-8),
                   slope("growth_seconds", "collapsed", x="rows", name="growth of time with rows") < 1.1,
                   ratio("seconds", "collapsed", "scikit-learn") < 1, ratio("seconds", "collapsed", "GPyTorch") < 1))
def collapsed_posterior(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Seconds to take in all rows and predict 50 queries."""
    rows = trial.point.load(trial.rng)
    timings = side_by_side({name: partial(arm.build, rows) for name, arm in trial.arms.items()}, repeats=3)
    return {name: {"seconds": timing.median} for name, timing in timings.items()}


@collapsed_posterior.also(arms=["collapsed"], seeds=at(smoke=20, small=20, full=5),  # type: ignore[untyped-decorator,unused-ignore]
                          points=at(smoke=[Repeats(400, 20)], small=[Repeats(1_000, 100), Repeats(4_000, 100)],
                                    full=[Repeats(8_000, 300), Repeats(1_000_000, 300)]))
def difference_from_full(trial: Trial) -> dict[str, float]:
    """Largest difference of mean or variance from the posterior of every row."""
    rows = trial.point.load(trial.rng)
    mean, var = trial.arm.build(rows)
    wanted_mean, wanted_var = row_by_row(rows) if len(rows.y) > FULL_MATRIX_UP_TO else sklearn_on_rows(rows)
    return {"difference": float(max(np.abs(mean - wanted_mean).max(), np.abs(var - wanted_var).max()))}


@collapsed_posterior.timed(arms=["collapsed"], seeds=at(smoke=3, small=5, full=5),  # type: ignore[untyped-decorator,unused-ignore]
                           points=at(smoke=[Repeats(n, 20) for n in (1_000, 10_000, 100_000)],
                                     small=[Repeats(n, 100) for n in (1_000, 10_000, 100_000, 1_000_000)],
                                     full=[Repeats(n, 300) for n in (1_000, 10_000, 100_000, 1_000_000)]))
def growth(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Seconds against rows while the number of distinct points stays fixed."""
    rows = trial.point.load(trial.rng)
    timings = side_by_side({name: partial(arm.build, rows) for name, arm in trial.arms.items()}, repeats=3)
    return {name: {"growth_seconds": timing.median} for name, timing in timings.items()}


# ---------------------------------------------------------------- regret-preserved


def play(optimizer: Any, problem: ArmProblem, budget: int, rng: np.random.Generator) -> Any:
    """Ask, evaluate and tell until the budget is spent."""
    while (left := budget - optimizer.ledger_.evaluations) > 0:
        suggestion = optimizer.ask(left)
        optimizer.tell(suggestion, problem.evaluate(suggestion.index, suggestion.repeats, rng))
    return optimizer


def build(arm: Any, problem: ArmProblem, seed: int, **more: Any) -> Any:
    """An optimiser on a problem: kernel and noise are the problem's own for every arm."""
    return arm.build(problem.arms, kernel=problem.kernel(), noise=problem.noise**2, random_state=seed, **more)


def whole_runs(trial: TimedTrial) -> SideBySide:
    """All arms of a timed trial, each playing its whole budget on the same problem.

    The least time of each counts: a whole run lasts long enough to be disturbed by whatever else the machine does.
    """
    problem = trial.point.load(trial.rng)

    def run(arm: Any) -> Any:
        return play(build(arm, problem, trial.seed), problem, trial.point.budget, trial.rng_for("noise"))

    return side_by_side({name: partial(run, arm) for name, arm in trial.arms.items()}, repeats=4 if trial.scale == "smoke" else 3)


REFIT_UP_TO = 300
REFIT_SEEDS = 3


@claim("regret-preserved",
       arms={MINI_UCB: method(MiniGPOptimizer, beta="bayes"), "GP-UCB": baseline(GPUCB, beta="bayes"),
             MINI_EI: method(MiniGPOptimizer, acquisition="ei", nu="theory"), "GP-EI": baseline(GPEI, nu="theory"),
             "mini-GP-UCB, RKHS width": method(MiniGPOptimizer), "GP-UCB, RKHS width": baseline(GPUCB),
             "mini-GP-EI, nu = 1": method(MiniGPOptimizer, acquisition="ei"), "GP-EI, nu = 1": baseline(GPEI),
             "BBKB": baseline(BBKB, beta="bayes"), "GP-BUCB": baseline(GPBUCB, beta="bayes"), "TS": baseline(TS),
             "GP-UCB refitted": peer(RefitGPUCB, beta="bayes"), "random arms": control(RandomArms)},
       points=at(smoke=[Arms(200, 300)], small=[Arms(600, 2_000), DiabetesArms(2_000)],
                 full=[DigitsArms(10_000), Abalone(10_000), CaliforniaHousing(10_000), NasBench101(10_000)]),
       seeds=at(smoke=6, small=20, full=10),
       rule=all_of(headline(not_worse("regret", MINI_UCB, "GP-UCB", margin=1.1)),
                   not_worse("regret", "mini-GP-UCB, RKHS width", "GP-UCB, RKHS width", margin=1.1),
                   not_worse("regret", MINI_EI, "GP-EI", margin=1.1),
                   ratio("switches", MINI_UCB, "GP-UCB") < 1, ratio("switches", MINI_EI, "GP-EI") < 1,
                   ratio("seconds", MINI_UCB, "GP-UCB") < 1, ratio("seconds", MINI_EI, "GP-EI") < 1,
                   ratio("regret", MINI_UCB, "random arms", name="the control loses") < 1))
def regret_preserved(trial: Trial) -> dict[str, float]:
    """Average regret of the evaluations, and how often the candidate changed."""
    problem = trial.point.load(trial.rng)
    if trial.arm.target is RefitGPUCB and (trial.point.budget > REFIT_UP_TO or trial.seed >= REFIT_SEEDS):
        return {}  # cubic at every step: hours at the larger budgets; benchmarks/mini_gp.py integrates its time instead
    if trial.arm.target is TS and len(problem.arms) > 5_000:
        return {}  # needs the joint covariance of all arms
    optimizer = play(build(trial.arm, problem, trial.seed), problem, trial.point.budget, trial.rng_for("noise"))
    return {"regret": optimizer.regret(problem.rewards).average, "switches": optimizer.ledger_.switches, "unique": optimizer.n_unique}


@regret_preserved.timed(arms=[MINI_UCB, "GP-UCB", MINI_EI, "GP-EI"], seeds=at(smoke=8, small=5, full=3))  # type: ignore[untyped-decorator,unused-ignore]
def regret_preserved_time(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Seconds for the whole run on the same incremental posterior."""
    timings = whole_runs(trial)
    return {name: {"seconds": timing.best} for name, timing in timings.items()}


@regret_preserved.timed(arms=[MINI_UCB, "GP-UCB refitted"], seeds=3,  # type: ignore[untyped-decorator,unused-ignore]
                        points=at(smoke=[Arms(200, 60)], small=[Arms(200, REFIT_UP_TO)], full=[Arms(200, REFIT_UP_TO)]))
def refit_time(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Seconds beside a library that is refitted on all rows at every step."""
    timings = whole_runs(trial)
    return {name: {"refit_seconds": timing.best} for name, timing in timings.items()}


@regret_preserved.note
def what_is_saved(checks: Sequence[Check]) -> str:
    """The saving in words: the margins differ a lot between switches and time."""
    found = {c.rule: c.estimate for c in checks if c.estimate is not None}
    switches = found.get(f"switches of {MINI_UCB} / GP-UCB < 1")
    seconds = found.get(f"seconds of {MINI_UCB} / GP-UCB < 1")
    if switches is None or seconds is None:
        return ""
    return f"mini-GP-UCB made {switches:.2f} of the switches of GP-UCB and took {seconds:.2f} of its time, on the same posterior."


# ---------------------------------------------------------------- switch-bound


ONE_BY_ONE_UP_TO = {"smoke": 1_000, "small": 10_000, "full": 10_000}


@claim("switch-bound",
       arms={MINI_UCB: method(MiniGPOptimizer, beta="bayes"), "mini-GP-UCB, C² = 2": method(MiniGPOptimizer, beta="bayes", C2=2.0),
             MINI_EI: method(MiniGPOptimizer, acquisition="ei", nu="theory"), "GP-UCB": baseline(GPUCB, beta="bayes"),
             "random arms": control(RandomArms)},
       points=at(smoke=[Arms(200, n) for n in (1_000, 10_000)], small=[Arms(600, n) for n in (1_000, 10_000, 100_000)],
                 full=[Arms(600, n) for n in (1_000, 10_000, 100_000, 1_000_000)]),
       seeds=at(smoke=8, small=20, full=20),
       rule=all_of(headline(bound("switches_over_bound", MINI_UCB) <= 1), bound("switches_over_bound", "mini-GP-UCB, C² = 2") <= 1,
                   bound("switches_over_bound", MINI_EI) <= 1,
                   slope("switches", MINI_UCB, x="budget", name="growth of switches with the budget") < 0.5))
def switch_bound(trial: Trial) -> dict[str, float]:
    """Switches against `1 + logdet / ln((C² + 1) / 2)`; arms without a C are held against that of C² = 1.2."""
    budget = trial.point.budget
    if trial.arm.role != "method" and budget > ONE_BY_ONE_UP_TO[trial.scale]:
        return {}  # one decision an evaluation: shown beside the method at the smaller budgets only
    # One problem a seed for all budgets: otherwise the growth of switches would be drowned by the luck of the draw.
    problem = trial.point.load(np.random.default_rng(trial.seed))
    optimizer = play(build(trial.arm, problem, trial.seed), problem, budget, trial.rng_for("noise"))
    ledger = optimizer.ledger_
    if trial.arm.role == "method":
        certificate = optimizer.certificate_
        most, blocks = certificate.bound, certificate.blocks
    else:
        most, blocks = 1.0 + optimizer.to_gp().logdet() / block_gain(1.2), ledger.blocks
    return {"switches_over_bound": ledger.switches / most, "blocks_over_bound": blocks / most, "switches": ledger.switches,
            "bound": most}


# ---------------------------------------------------------------- switch-cost


@dataclass(frozen=True)
class Priced(Workload):
    """A problem on which a change of candidate costs `switch_cost` evaluations.

    The target is an average regret of `target` times that of an arm drawn at random.
    """

    problem: Workload
    switch_cost: float
    target: float = 0.1

    @property
    def label(self) -> str:
        return f"{self.problem.label}, a switch costs {self.switch_cost:g}"

    @property
    def budget(self) -> int:
        """Evaluations after which a run ends unsuccessfully."""
        return int(self.problem.budget)  # type: ignore[attr-defined]

    def prepare(self, progress: Any) -> None:
        self.problem.prepare(progress)

    def load(self, rng: np.random.Generator) -> Any:
        return self.problem.load(rng)

    def data_hash(self) -> str:
        return self.problem.data_hash()


@claim("switch-cost",
       arms={MINI_UCB: method(MiniGPOptimizer, beta="bayes"),
             "mini-GP-UCB, C from the price": method(MiniGPOptimizer, beta="bayes", C="auto"),
             "GP-UCB": baseline(GPUCB, beta="bayes"), "GP-BUCB": baseline(GPBUCB, beta="bayes"), "random arms": control(RandomArms)},
       points=at(smoke=[Priced(Arms(200, 3_000), 5)], small=[Priced(Arms(600, 5_000), 5), Priced(Arms(600, 5_000), 50)],
                 full=[Priced(CaliforniaHousing(20_000), 50)]),
       seeds=at(smoke=10, small=20, full=10),
       rule=all_of(headline(ratio("cost", MINI_UCB, "GP-UCB") < 1), ratio("cost", MINI_UCB, "GP-BUCB") < 1,
                   bound("missed", MINI_UCB, name="the target is reached") <= 0,
                   ratio("cost", MINI_UCB, "random arms", name="the control loses") < 1))
def switch_cost(trial: Trial) -> dict[str, float]:
    """Evaluations plus priced switches until the average regret has come down to the target; the whole cost where it has not."""
    point = trial.point
    problem = point.load(trial.rng)
    wanted = point.target * float(problem.optimum - problem.rewards.mean())
    optimizer = build(trial.arm, problem, trial.seed, switch_cost=point.switch_cost)
    rng, total, is_reached = trial.rng_for("noise"), 0.0, False
    while not is_reached and optimizer.ledger_.evaluations < point.budget:
        suggestion = optimizer.ask(point.budget - optimizer.ledger_.evaluations)
        optimizer.tell(suggestion, problem.evaluate(suggestion.index, suggestion.repeats, rng))
        total += suggestion.repeats * float(problem.optimum - problem.rewards[suggestion.index])
        is_reached = total <= wanted * optimizer.ledger_.evaluations
    ledger = optimizer.ledger_
    return {"cost": ledger.cost, "evaluations": ledger.evaluations, "switches": ledger.switches, "missed": float(not is_reached)}


__all__ = ["collapsed_posterior", "regret_preserved", "switch_bound", "switch_cost"]
