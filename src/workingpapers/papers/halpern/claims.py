"""How the claims of variance-reduced Halpern iteration are tried.

A user's own point for the command's `--point` is a `Workload` whose `load(rng)` gives a `Problem(F, G, u0)`.

Every arm is tuned alike: it is told its Lipschitz constants divided by each factor of one grid, and counts at its best factor, with
draws other than those it was tuned with. An arm that misses the target within the budget counts with the whole budget.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workingpapers.claims import (
    Check,
    Results,
    Trial,
    Workload,
    all_of,
    aside,
    at,
    baseline,
    bound,
    claim,
    control,
    each_of,
    headline,
    method,
    ratio,
    slope,
    value,
)

from . import _kernels  # noqa: F401  (numba is read once, by the process that trials are forked from)
from ._affine import MatrixGame
from ._problems import DiabetesRows, GaussianRows, OuyangXu, PolicemanBurglar, Problem, Subspaces
from ._solve import solve
from ._tune import Tuning, tune

PAGE, DOUBLE, RESTARTED = "Algorithm 1", "Algorithm 2", "Algorithm 2 with restarts"
HALPERN, EG, EAG, VR_EG, PLAIN = "deterministic Halpern", "EG", "EAG", "VR-EG", "no variance reduction"
EAG_RESTARTED = "EAG with restarts"


def named(name: str, **options: Any) -> dict[str, Any]:
    """What an arm solves with."""
    return {"method": name, **options}


def tuned(trial: Trial, problem: Problem, factors: tuple[float, ...], tol: float, budget: int, **options: Any) -> Tuning:
    """The trial's arm at its best factor."""
    chosen = {**options, **trial.arm.build()}
    if gain := chosen.pop("gain", 0.0):  # the published experiments' inner step; the factors reach it through c
        p = 1 / problem.F.n
        chosen["eta"] = gain * np.sqrt(p * (1 - p)) / (np.sqrt(problem.F.n) + 1)
    with warnings.catch_warnings():  # that a method is outside its theory is told by the arm's name and the page
        warnings.simplefilter("ignore")
        return tune(problem.F, problem.u0, problem.G, chosen.pop("method"), factors, tol, budget, seed=trial.seed, prune=True, **chosen)


def calls(found: Tuning, budget: int) -> dict[str, float]:
    """Evaluations spent, the whole budget where the target was missed."""
    r = found.result
    reached = r is not None and r.converged
    return {"calls": r.n_oracle if r is not None and reached else budget, "missed": float(not reached), "factor": found.factor}


# ---------------------------------------------------------------- sqrt-n-saving

STEPS = (3.0, 2.0, 1.0, 0.5)


def at_best_step(trial: Trial, problem: Problem, arm: dict[str, Any], L: float, tol: float = 1e-3, passes: int = 4_000) -> dict[str, float]:
    """Fewest evaluations over steps `STEPS / L`, the same numbers for every method, and over both anchors; a run ends once it has spent
    what the best before it needed."""
    budget = passes * problem.F.n
    best, least = (STEPS[0], 1.0), budget

    def run(step: float, anchor: float, number: int, most: int) -> int:
        seed = np.random.default_rng([trial.seed, number])
        r = quiet_solve(problem, arm, eta=step / L, anchor=anchor, tol=tol, max_oracle=most, seed=seed)
        return most if r is None or not r.converged else int(r.n_oracle)

    anchors = (1.0, 2.0) if "halpern" in arm["method"] else (1.0,)
    for step in STEPS:
        for anchor in anchors:
            if (spent := run(step, anchor, 0, least)) < least:
                best, least = (step, anchor), spent
    final = run(*best, 1, budget) if arm["method"] not in ("halpern", "eg") else least
    return {"calls": float(final), "missed": float(final >= budget)}


def quiet_solve(problem: Problem, arm: dict[str, Any], **more: Any) -> Any:
    """`solve`, None where it diverges."""
    from ._run import DivergenceError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return solve(problem.F, problem.u0, problem.G, **{**arm, **more})
        except DivergenceError:
            return None


@claim("sqrt-n-saving",
       arms={PAGE: method(named, name="vr_halpern"), HALPERN: baseline(named, name="halpern"), EG: baseline(named, name="eg"),
             PLAIN: control(named, name="stochastic_halpern")},
       points=at(smoke=[Subspaces(64), Subspaces(256)], small=[Subspaces(n) for n in (64, 256, 1_024, 4_096)],
                 full=[Subspaces(n) for n in (64, 256, 1_024, 4_096, 16_384)]),
       seeds=at(smoke=3, small=20, full=10),
       rule=all_of(headline(slope("saving", PAGE, x="n", name="growth of the saving with n, lower end") >= 0.35),
                   slope("saving", PAGE, x="n", name="growth of the saving with n, upper end") <= 0.65,
                   value("saving_at_most_terms", PAGE, name="saving at the largest n") > 1,
                   aside(slope("finer_saving", PAGE, x="n", name="growth of the saving to a residual of 1e-4") >= 0.35,
                         ratio("shifted_calls", PAGE, PLAIN, name="the control loses where sets share no point") < 1,
                         value("isotropic_saving", PAGE, name="no saving on normal rows") < 1, title="beside the verdict")))
def sqrt_n_saving(trial: Trial) -> dict[str, float]:
    """Evaluations to a residual of 1e-3, and how many times fewer than the deterministic method's, tuned over the same grid."""
    problem, arm = trial.point.load(trial.rng), trial.arm.build()
    if arm["method"] == "stochastic_halpern" and problem.F.n > 1_024:
        return {}  # many evaluations, all compiled one by one: shown at the smaller n
    L = problem.F.avg_lipschitz()
    out = at_best_step(trial, problem, arm, L)
    if arm["method"] == "vr_halpern":
        out["saving"] = at_best_step(trial, problem, {"method": "halpern"}, L)["calls"] / out["calls"]
        if problem.F.n >= max(p.n for p in sqrt_n_saving.part("sqrt_n_saving").points[trial.scale]):
            out["saving_at_most_terms"] = out["saving"]
    return out


@sqrt_n_saving.also(arms=[PAGE], seeds=at(smoke=3, small=10, full=10),  # type: ignore[untyped-decorator,unused-ignore]
                    points=at(smoke=[Subspaces(64), Subspaces(256)], small=[Subspaces(n) for n in (64, 512, 4_096)],
                              full=[Subspaces(n) for n in (64, 1_024, 16_384)]))
def to_a_finer_residual(trial: Trial) -> dict[str, float]:
    """The saving to 1e-4, where the bound's own n weighs less."""
    problem = trial.point.load(trial.rng)
    L = problem.F.avg_lipschitz()
    ours, theirs = (at_best_step(trial, problem, arm, L, 1e-4, 40_000)["calls"] for arm in (trial.arm.build(), {"method": "halpern"}))
    return {"finer_saving": theirs / ours}


@sqrt_n_saving.also(arms=[PAGE, PLAIN], seeds=3,  # type: ignore[untyped-decorator,unused-ignore]
                    points=at(smoke=[Subspaces(64, shift=1.0)], small=[Subspaces(256, shift=1.0)], full=[Subspaces(4_096, shift=1.0)]))
def without_a_common_point(trial: Trial) -> dict[str, float]:
    """Evaluations to 1e-2 on sets that share no point, where the noise of single terms does not vanish at the solution."""
    return {"shifted_calls": at_best_step(trial, trial.point.load(trial.rng), trial.arm.build(), 1.0, 1e-2, 1_000)["calls"]}


@sqrt_n_saving.also(arms=[PAGE], seeds=at(smoke=3, small=10, full=10),  # type: ignore[untyped-decorator,unused-ignore]
                    points=at(smoke=[GaussianRows(256)], small=[GaussianRows(1_024)], full=[GaussianRows(4_096), DiabetesRows()]))
def least_squares(trial: Trial) -> dict[str, float]:
    """The saving to 1e-2 on least squares, steps in units of one over the average constant for Algorithm 1, of F's own for the other."""
    problem = trial.point.load(trial.rng)
    ours = at_best_step(trial, problem, trial.arm.build(), problem.F.avg_lipschitz(), 1e-2)["calls"]
    theirs = at_best_step(trial, problem, {"method": "halpern"}, problem.F.lipschitz(), 1e-2)["calls"]
    return {"table_saving" if isinstance(trial.point, DiabetesRows) else "isotropic_saving": theirs / ours}


@sqrt_n_saving.note
def beside_extragradient(checks: Sequence[Check]) -> str:
    """What the saving does not mean."""
    found = next((c.estimate for c in checks if c.name == "saving at the largest n"), None)
    said = "" if found is None else f"At the largest n Algorithm 1 needed {found:.1f} times fewer evaluations than deterministic Halpern. "
    return (said + "By its schedule a step costs p n + 2 (1 - p) sqrt(n) evaluations with p = 4 / (sqrt(n) + 5): 2.1 times less than n at "
            "64 terms and 11.4 times at 4,096, a growth of 0.41, of which the full evaluations of the first steps take some. These "
            "projections are strongly monotone, where extragradient converges linearly; and as the subspaces share a point, even plain "
            "batches get there: both are shown.")


# ---------------------------------------------------------------- matrix-game

GAME_TOL = {"smoke": 5e-3, "small": 1e-3, "full": 1e-3}
FINE = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)  # extragradient is at its best near 64 on the larger games
GAME_FACTORS = {"smoke": (1.0, 4.0, 16.0, 64.0), "small": FINE, "full": FINE}
GAME_PASSES = {"smoke": 1_000, "small": 6_000, "full": 12_000}
GAMES = at(smoke=[PolicemanBurglar(60)], small=[PolicemanBurglar(200)], full=[PolicemanBurglar(500)])


@claim("matrix-game",
       arms={DOUBLE: method(named, name="vr_halpern_pp", gain=5.0), EG: baseline(named, name="eg"), EAG: baseline(named, name="eag"),
             VR_EG: baseline(named, name="vr_eg"), RESTARTED: method(named, name="vr_halpern_pp", gain=5.0, restart=True),
             EAG_RESTARTED: baseline(named, name="eag", restart=True), PLAIN: control(named, name="stochastic_halpern")},
       points=GAMES, seeds=at(smoke=3, small=10, full=10),
       rule=all_of(each_of(headline(ratio("calls", DOUBLE, EG) < 1), ratio("calls", DOUBLE, EAG) < 1, ratio("calls", DOUBLE, VR_EG) < 1,
                           over="baselines"),
                   ratio("residual", DOUBLE, PLAIN, name="the control loses") < 1,
                   aside(*(ratio("residual", DOUBLE, other, name=f"residual at a tenth of the budget, against {other}") < 1
                           for other in (EG, EAG, VR_EG)),
                         *(ratio("untuned_residual", DOUBLE, other, name=f"residual when told the true constants, against {other}") < 1
                           for other in (EG, EAG, VR_EG)),
                         *(ratio("calls", RESTARTED, other) < 1 for other in (EG, EAG_RESTARTED, VR_EG)),
                         *(ratio("published_residual", DOUBLE, other, name=f"the published game and steps, against {other}") < 1
                           for other in (EG, EAG, VR_EG)), title="beside the verdict")))
def matrix_game(trial: Trial) -> dict[str, float]:
    """Evaluations to the residual wanted, and the residual at a tenth of the budget."""
    return race(trial, GAME_FACTORS[trial.scale], GAME_TOL[trial.scale], GAME_PASSES[trial.scale])


def race(trial: Trial, factors: tuple[float, ...], tol: float, passes: int) -> dict[str, float]:
    """One arm on the problem, tuned: calls to `tol`; the last residual known within a tenth of the budget, at that step; and the
    residual at the end when the method is told the true constants."""
    problem = trial.point.load(trial.rng)
    budget = passes * problem.F.n
    found = tuned(trial, problem, factors, tol, budget)
    out = calls(found, budget)
    untuned = next(row.residual for row in found.table if row.factor == 1.0)
    if np.isfinite(untuned):
        out["untuned_residual"] = untuned
    if found.result is None:
        return out
    within = found.result.history.oracle <= budget // 10
    return {**out, "residual": float(found.result.history.residual[within][-1])}


PUBLISHED_PASSES = {"smoke": 500, "small": 2_500, "full": 5_000}


@matrix_game.also(arms=[DOUBLE, EG, EAG, VR_EG], seeds=at(smoke=3, small=10, full=10),  # type: ignore[untyped-decorator,unused-ignore]
                  points=at(smoke=[PolicemanBurglar(60, "minimiser")], small=[PolicemanBurglar(200, "minimiser")],
                            full=[PolicemanBurglar(500, "minimiser")]))
def as_published(trial: Trial) -> dict[str, float]:
    """Residual after the published budget, on the game, with the even draws and at the fixed steps of the published experiments."""
    if not isinstance(trial.point, PolicemanBurglar):
        return {}  # a user's own point has no published steps
    problem, arm = trial.point.load(trial.rng), trial.arm.build()
    F = MatrixGame(problem.F.A, sampling="uniform")
    norm, frobenius, p = F.lipschitz(), float(np.linalg.norm(F.A)), 1 / F.n
    steps: dict[str, dict[str, float]] = {
        "eg": {"eta": 5 / norm}, "eag": {"eta": 5 / norm}, "vr_eg": {"eta": 3 * np.sqrt(p) / frobenius},
        "vr_halpern_pp": {"eta": arm.pop("gain", 1.0) * np.sqrt(p * (1 - p)) / (np.sqrt(F.n) + 1), "c": np.sqrt(F.n) / frobenius}}
    found = quiet_solve(Problem(F, problem.G, problem.u0), arm, **steps[arm["method"]], tol=1e-12, seed=trial.seed,
                        max_oracle=PUBLISHED_PASSES[trial.scale] * F.n)
    return {} if found is None else {"published_residual": max(found.residual, 1e-12)}


@matrix_game.note
def linear_in_the_end(checks: Sequence[Check]) -> str:
    """Why extragradient can win."""
    return ("Matrix games are sharp: extragradient methods turn linear near the solution, at steps many times what theory allows; the "
            "anchored ones only where they are restarted, which the paper does not do (it is shown beside). Told the true constants, "
            "the order of the methods can be another: see beside the verdict.")


# ---------------------------------------------------------------- constrained-qp

QP_TOL = 1e-2
QP_FACTORS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
QP_PASSES = {"smoke": 6_000, "small": 20_000, "full": 300_000}
QPS = at(smoke=[OuyangXu(20)], small=[OuyangXu(50)], full=[OuyangXu(200)])
OUTSIDE = "Algorithm 1 (not in the theory)"


@claim("constrained-qp",
       arms={DOUBLE: method(named, name="vr_halpern_pp"), OUTSIDE: method(named, name="vr_halpern"), EG: baseline(named, name="eg"),
             EAG: baseline(named, name="eag"), VR_EG: baseline(named, name="vr_eg"), PLAIN: control(named, name="stochastic_halpern")},
       points=QPS, seeds=at(smoke=3, small=3, full=3),
       rule=all_of(each_of(headline(ratio("calls", DOUBLE, EG) < 1), ratio("calls", DOUBLE, EAG) < 1, ratio("calls", DOUBLE, VR_EG) < 1,
                           over="baselines"),
                   ratio("calls", DOUBLE, PLAIN, name="the control loses") < 1,
                   aside(*(ratio("calls", OUTSIDE, other) < 1 for other in (EG, EAG, VR_EG)), title="beside the verdict")))
def constrained_qp(trial: Trial) -> dict[str, float]:
    """Evaluations to a residual of 1e-2 (it is 1 at the start); the problem is fixed, seeds draw the terms."""
    return race(trial, QP_FACTORS, QP_TOL, QP_PASSES[trial.scale])


# ---------------------------------------------------------------- residual-certificate


@dataclass(frozen=True)
class Certified(Workload):
    """A problem to be solved to a residual of `1 / inverse_tol`."""

    problem: Workload
    inverse_tol: float

    @property
    def label(self) -> str:
        return f"{self.problem.label}, to 1/{self.inverse_tol:g}"

    def load(self, rng: np.random.Generator) -> Any:
        return self.problem.load(rng)


def certified(games: int, qp: int, terms: int, most: Sequence[float]) -> list[Any]:
    """One game, one quadratic, and one set of subspaces at several tolerances."""
    return [Certified(PolicemanBurglar(games), 50.0), Certified(OuyangXu(qp), 10.0), *(Certified(Subspaces(terms), t) for t in most)]


@claim("residual-certificate",
       arms={"the method": method(named), "deterministic Halpern": baseline(named, name="halpern")},
       points=at(smoke=certified(60, 20, 256, (100.0, 1_000.0)), small=certified(200, 50, 1_024, (100.0, 300.0, 1_000.0, 3_000.0)),
                 full=certified(500, 200, 4_096, (100.0, 300.0, 1_000.0, 3_000.0, 10_000.0))),
       seeds=at(smoke=3, small=10, full=10),
       rule=all_of(headline(bound("difference", "the method") <= 1e-12),
                   slope("calls", "the method", x="inverse_tol", name="growth of the work with 1 / residual, lower end") >= 0.8,
                   slope("calls", "the method", x="inverse_tol", name="growth of the work with 1 / residual, upper end") <= 1.2))
def residual_certificate(trial: Trial) -> dict[str, float]:
    """Reported residual against a recomputation term by term; evaluations on the subspaces, at the steps that theory gives."""
    point = trial.point
    # One draw a seed for all tolerances: the slope is that of one problem.
    problem = point.load(np.random.default_rng(trial.seed))
    smooth = isinstance(point.problem, Subspaces)
    if not smooth and trial.arm.role == "baseline":
        return {}  # deterministic Halpern is for cocoercive operators
    name = "halpern" if trial.arm.role == "baseline" else "vr_halpern" if smooth else "vr_halpern_pp"
    # The schedule of Algorithm 1 for both, so that the slopes differ by the estimate only.
    r = solve(problem.F, problem.u0, problem.G, name, tol=1 / point.inverse_tol, max_oracle=100_000 * problem.F.n, seed=trial.seed,
              anchor=2.0 if smooth else None)
    out = {"difference": abs(r.residual - recomputed(problem, r.u))}
    return {**out, "calls": r.n_oracle} if smooth and r.converged else out


def recomputed(problem: Problem, u: Any) -> float:
    """The residual from the definition: terms one by one, a game's projections on simplices by bisection."""
    F = problem.F
    mean = np.sum([F.batch(np.array([i]), u) for i in range(F.n)], axis=0) / F.n
    if problem.G is None:
        return float(np.sqrt(np.sum(mean**2)))
    moved = u - mean
    if not isinstance(F, MatrixGame):
        return float(np.sqrt(np.sum((u - problem.G(moved)) ** 2)))
    cut = F.shape[1]
    return float(np.sqrt(np.sum((u - np.concatenate([by_bisection(moved[:cut]), by_bisection(moved[cut:])])) ** 2)))


def by_bisection(x: Any) -> Any:
    """Projection on the simplex: the threshold at which what is left sums to 1."""
    lo, hi = float(x.min()) - 1.0, float(x.max())
    for _ in range(100):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if np.maximum(x - mid, 0.0).sum() > 1.0 else (lo, mid)
    return np.maximum(x - hi, 0.0)


# ---------------------------------------------------------------- plots


def spent_by_terms(results: Results) -> Any:
    """Evaluations over the number of terms, both on logarithmic axes."""
    import altair as alt

    rows = [{**row, "n": results.attributes[row["point"]]["n"]} for row in results.rows(["calls"]) if row["part"] == "sqrt_n_saving"]
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call,unused-ignore]
    return alt.Chart(data).mark_line(point=True).encode(
        x=alt.X("n:Q", scale=alt.Scale(type="log"), title="terms n"), color=alt.Color("arm:N", title=None),
        y=alt.Y("mean(value):Q", scale=alt.Scale(type="log"), title="evaluations to a residual of 1e-3"))


sqrt_n_saving.plot("evaluations over n")(spent_by_terms)

__all__ = ["constrained_qp", "matrix_game", "residual_certificate", "sqrt_n_saving"]
