"""How the claims of paper.toml are tried.

Every arm gets the same problem, the same unlabelled rows and the same labelled rows within a seed. Excess risks are exact: closed forms
for the two regressions, and the same test rows with the label integrated out for the groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from sklearn.base import clone

from workingpapers.claims import (
    Check,
    Results,
    Trial,
    Workload,
    all_of,
    at,
    baseline,
    claim,
    control,
    each_point,
    headline,
    log_log_slope,
    method,
    peer,
    ratio,
    slope,
    value,
)

from . import _arms as arms
from ._informative import kappa_curve
from ._problems import ContrastiveProblem, FactorProblem, MixtureProblem, Problem
from ._rates import additive_fit

METHOD, RIDGE, PLAIN, SPARSE = "pretrained", "tuned linear model", "least squares or LDA", "lasso or diagonal QDA"
SAME, PCA, CONTROL = "same model, labels only", "PCA and tuned head", "random directions and tuned head"

TRUNCATED_AT = 4.0


@dataclass(frozen=True)
class Setting(Workload):
    """One problem, an amount of unlabelled rows and amounts of labels.

    `instance`: `factors`, `groups` or `pairs`; `r`: causes or groups; `share`: of the label that bypasses the causes.
    """

    name: str
    instance: str
    d: int
    r: int
    m: int
    labels: tuple[int, ...]
    strength: float | tuple[float, ...] = 1.0
    sigma: float = 1.0
    separation: float = 4.0
    flip: float = 0.1
    share: float = 0.0

    @property
    def label(self) -> str:
        return self.name

    @property
    def n(self) -> int:
        """Labels, where it is one amount."""
        (only,) = self.labels
        return only

    def load(self, rng: np.random.Generator) -> Problem:
        seed = int(rng.integers(2**31))
        match self.instance:
            case "factors":
                return FactorProblem(self.d, self.r, self.strength, self.sigma, seed, self.share)
            case "groups":
                return MixtureProblem(self.d, self.r, self.separation, flip=self.flip, seed=seed)
            case "pairs":
                return ContrastiveProblem(self.d, self.r, self.strength, self.sigma, seed)
        raise ValueError(f"instance is {self.instance!r}: factors, groups or pairs is needed")


def risks(trial: Trial, repeats: int = 1) -> dict[int, dict[str, float]]:
    """Excess risks of the trial's arm by number of labels; empty where the arm has no estimator for this instance.

    Phase 1 is fitted once; labels are drawn `repeats` times and the risks averaged.
    """
    problem = trial.point.load(trial.rng)
    model = trial.arm.build(problem, lambda: problem.unlabelled(trial.point.m, trial.rng_for("rows")), trial.seed)
    if model is None:
        return {}
    draws = trial.rng_for("labels")
    samples = {n: [problem.labelled(n, draws) for _ in range(repeats)] for n in trial.point.labels}
    # Peers decide nothing, and one of them takes longer than all others: one set of labels will do.
    kept = 1 if trial.arm.role == "peer" else repeats
    return {n: risk_of(model, problem, given[:kept]) for n, given in samples.items()}


def risk_of(model: Any, problem: Problem, samples: list[tuple[Any, Any]]) -> dict[str, float]:
    """Mean excess risk of a model over several sets of labels; for regressions also with the loss truncated."""
    fitted = [clone(model).fit(x, y) for x, y in samples]
    if isinstance(problem, MixtureProblem):
        return {"excess_risk": float(np.mean(problem.excess_risks(fitted, draws=10_000)))}
    return {
        "excess_risk": float(np.mean([problem.excess_risk(f) for f in fitted])),
        "truncated_risk": float(np.mean([problem.excess_risk(f, loss="truncated", bound=TRUNCATED_AT) for f in fitted])),
    }


# ---------------------------------------------------------------- advantage


FACTORS, GROUPS, PAIRS = "factors", "groups", "pairs"
LABELS = (20, 40, 80)


def three_instances(d: int, r: int, k: int, m: int, labels: tuple[int, ...]) -> list[Setting]:
    """The three instances at one size."""
    return [
        Setting(FACTORS, "factors", d, r, m, labels),
        Setting(GROUPS, "groups", d, k, m, labels),
        Setting(PAIRS, "pairs", d, r, m, labels),
    ]


@claim(
    "advantage",
    arms={
        METHOD: method(arms.pretrained),
        RIDGE: baseline(arms.tuned_linear),
        PLAIN: baseline(arms.plain_linear),
        SPARSE: baseline(arms.sparse_or_diagonal),
        SAME: baseline(arms.same_model_from_labels),
        PCA: peer(arms.pca),
        "FactorAnalysis or label spreading": peer(arms.factor_analysis_or_spreading),
        CONTROL: control(arms.random_directions),
    },
    points=at(
        smoke=three_instances(50, 3, 8, 5_000, LABELS),
        small=three_instances(50, 3, 8, 5_000, LABELS),
        full=three_instances(500, 10, 16, 50_000, LABELS),
    ),
    seeds=at(smoke=5, small=30, full=500),
    rule=all_of(
        each_point(headline(ratio("excess_risk", METHOD, RIDGE) < 1)),
        each_point(ratio("excess_risk", METHOD, PLAIN) < 1),
        each_point(ratio("excess_risk", METHOD, SPARSE) < 1),
        each_point(ratio("excess_risk", METHOD, SAME) < 1),
        each_point(ratio("excess_risk", METHOD, CONTROL) < 1),
    ),
)
def advantage(trial: Trial) -> dict[str, float]:
    """Excess risk, averaged over the numbers of labels; and at each of them."""
    found = risks(trial, repeats=3 if trial.point.instance == "groups" else 2)
    if not found:
        return {}
    out = {name: float(np.mean([at_n[name] for at_n in found.values()])) for name in next(iter(found.values()))}
    return out | {f"excess_risk_{n}": at_n["excess_risk"] for n, at_n in found.items()}


@advantage.note
def where(checks: Sequence[Check]) -> str:
    """Names the instances in which an interval does not lie below 1."""
    wrong = sorted({f"{c.point} against {c.rule.split(' / ')[1].split(' at ')[0]}" for c in checks if c.verdict != "holds" and c.point})
    found = {c.point: c.estimate for c in checks if c.rule.startswith(f"excess_risk of {METHOD} / {RIDGE}") and c.estimate is not None}
    words = ", ".join(f"{point} {estimate:.2f}" for point, estimate in found.items())
    return f"Excess risk over that of the tuned linear model: {words}." + (f" Not below 1: {'; '.join(wrong)}." if wrong else "")


@advantage.plot("Excess risk by number of labels")
def by_labels(results: Results) -> Any:
    """Mean excess risk against labels, one panel an instance."""
    import altair as alt

    rows = [
        {**row, "labels": int(row["metric"].rsplit("_", 1)[1])}
        for row in results.rows()
        if row["metric"].startswith("excess_risk_") and row["arm"] in (METHOD, RIDGE, PLAIN, SAME, PCA, CONTROL)
    ]
    return (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("labels:Q", scale=alt.Scale(type="log")),
            color="arm:N",
            y=alt.Y("mean(value):Q", scale=alt.Scale(type="log"), title="excess risk"),
        )
        .properties(width=150, height=200)
        .facet(column="point:N")
    )


# ---------------------------------------------------------------- rate


PLENTY = {"smoke": 100_000, "small": 400_000, "full": 2_000_000}
COUNTS = {"smoke": 5, "small": 6, "full": 8}
WEAK = (2.0, 0.5)  # strong causes are found at once, and the number of rows would not show
MANY_LABELS = 50_000


@dataclass(frozen=True)
class Growing(Workload):
    """Factors or pairs on 30 inputs with 3 weak causes, with several amounts of rows and labels; fewer rows are part of more."""

    name: str
    instance: str
    rows: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def label(self) -> str:
        return self.name

    def load(self, rng: np.random.Generator) -> Problem:
        return Setting("", self.instance, 30, 3, max(self.rows), self.labels, WEAK).load(rng)


def over_labels(instance: str) -> Any:
    """20 to 320 labels, so many rows that they do not matter."""
    return at(
        **{
            scale: [
                Growing(
                    f"{instance}, growing labels",
                    instance,
                    (PLENTY[scale] // (1 if instance == "factors" else 2),),
                    _spread(20, 320, count),
                )
            ]
            for scale, count in COUNTS.items()
        }
    )


def over_rows(instance: str) -> Any:
    """A factor of 32 in rows, so many labels that they do not matter."""
    low = 200 if instance == "factors" else 500
    return at(
        **{
            scale: [Growing(f"{instance}, growing rows", instance, _spread(low, 32 * low, count), (MANY_LABELS,))]
            for scale, count in COUNTS.items()
        }
    )


def _spread(low: int, high: int, count: int) -> tuple[int, ...]:
    return tuple(round(float(x)) for x in np.geomspace(low, high, count))


def table_of(trial: Trial, repeats: int, name: str = "excess_risk") -> Any:
    """Excess risks `(rows, labels)`; phase 1 is fitted once an amount of rows. Also of the truncated loss, `(2, rows, labels)`."""
    problem, point = trial.point.load(trial.rng), trial.point
    draws, rows = trial.rng_for("labels"), cache(lambda: problem.unlabelled(max(point.rows), trial.rng_for("rows")))
    samples = {n: [problem.labelled(n, draws) for _ in range(1 if n > 5_000 else repeats)] for n in point.labels}
    out = np.empty((2, len(point.rows), len(point.labels)))
    for i, m in enumerate(point.rows):
        model = trial.arm.build(problem, partial(first, m, rows), trial.seed)
        for j, n in enumerate(point.labels):
            found = risk_of(model, problem, samples[n])
            out[:, i, j] = found["excess_risk"], found["truncated_risk"]
        trial.progress(i + 1, len(point.rows))
    return out


def first(m: int, rows: Callable[[], Any]) -> Any:
    """The first m rows, or pairs."""
    drawn = rows()
    return tuple(half[:m] for half in drawn) if isinstance(drawn, tuple) else drawn[:m]


RATE_SEEDS = at(smoke=8, small=40, full=100)


@claim(
    "rate",
    arms={METHOD: method(arms.pretrained), RIDGE: baseline(arms.tuned_linear), CONTROL: control(arms.random_directions)},
    points=over_labels("factors"),
    seeds=RATE_SEEDS,
    rule=all_of(
        headline(value("slope_over_labels", METHOD, name="slope over labels, factors") <= -0.45),
        value("slope_over_rows", METHOD, name="slope over rows, factors") <= -0.45,
        value("pairs_slope_over_labels", METHOD, name="slope over labels, pairs") <= -0.45,
        value("pairs_slope_over_rows", METHOD, name="slope over rows, pairs") <= -0.45,
        value("truncated_slope_over_labels", METHOD, name="slope over labels, loss truncated") <= -0.45,
        value("truncated_slope_over_rows", METHOD, name="slope over rows, loss truncated") <= -0.45,
        value("over_sum", METHOD, name="risk at few rows and labels over the sum of both terms") <= 1.25,
    ),
)
def rate(trial: Trial) -> dict[str, float]:
    """Log-log slope of the excess risk over labels, one a seed; factors."""
    squared, truncated = table_of(trial, repeats=8)[:, 0]
    labels = trial.point.labels
    return {
        "slope_over_labels": log_log_slope(labels, squared),
        "truncated_slope_over_labels": log_log_slope(labels, truncated),
        **{f"risk_at_{n}_labels": float(v) for n, v in zip(labels, squared)},
    }


@rate.also(arms=[METHOD, CONTROL], points=over_rows("factors"), seeds=RATE_SEEDS)  # type: ignore[untyped-decorator,unused-ignore]
def rate_over_rows(trial: Trial) -> dict[str, float]:
    """The same over unlabelled rows."""
    squared, truncated = table_of(trial, repeats=1)[:, :, 0]
    rows = trial.point.rows
    return {
        "slope_over_rows": log_log_slope(rows, squared),
        "truncated_slope_over_rows": log_log_slope(rows, truncated),
        **{f"risk_at_{m}_rows": float(v) for m, v in zip(rows, squared)},
    }


@rate.also(arms=[METHOD], points=over_labels("pairs"), seeds=RATE_SEEDS)  # type: ignore[untyped-decorator,unused-ignore]
def rate_pairs_over_labels(trial: Trial) -> dict[str, float]:
    """The same over labels; pairs."""
    squared = table_of(trial, repeats=8)[0, 0]
    return {
        "pairs_slope_over_labels": log_log_slope(trial.point.labels, squared),
        **{f"risk_at_{n}_labels": float(v) for n, v in zip(trial.point.labels, squared)},
    }


@rate.also(arms=[METHOD], points=over_rows("pairs"), seeds=RATE_SEEDS)  # type: ignore[untyped-decorator,unused-ignore]
def rate_pairs_over_rows(trial: Trial) -> dict[str, float]:
    """The same over pairs."""
    squared = table_of(trial, repeats=1)[0, :, 0]
    return {
        "pairs_slope_over_rows": log_log_slope(trial.point.rows, squared),
        **{f"risk_at_{m}_rows": float(v) for m, v in zip(trial.point.rows, squared)},
    }


GRID = Growing("factors, rows by labels", "factors", (200, 800, 3_200, 51_200), (20, 80, 320, 20_480))


@rate.also(arms=[METHOD], points=[GRID], seeds=RATE_SEEDS)  # type: ignore[untyped-decorator,unused-ignore]
def rate_additive(trial: Trial) -> dict[str, float]:
    """Risk where rows and labels are few over the sum of the risks where only one is; and the exponents of the fit in both."""
    table = table_of(trial, repeats=8)[0]
    fit = additive_fit(GRID.rows, GRID.labels, table)
    return {"over_sum": float(table[0, 0] / (table[0, -1] + table[-1, 0])), "exponent_of_rows": fit.p, "exponent_of_labels": fit.q}


@rate.note
def upper_bound(checks: Sequence[Check]) -> str:
    """Says that the paper's rate is an upper bound, and how fast the risk fell here."""
    slopes = {c.name: (c.estimate, *c.interval) for c in checks if c.name.startswith("slope") and c.interval and c.estimate is not None}
    if not slopes:
        return ""
    words = ", ".join(f"{name.removeprefix('slope ')} {middle:.2f} [{lo:.2f}, {hi:.2f}]" for name, (middle, lo, hi) in slopes.items())
    faster = " Faster than claimed throughout, which does not contradict it." if all(hi < -0.5 for *_, hi in slopes.values()) else ""
    return f"The paper's exponent -1/2 is an upper bound. Slopes here: {words}.{faster}"


@rate.plot("Excess risk against labels and rows")
def both_directions(results: Results) -> Any:
    """Mean excess risk in both directions, on logarithmic axes."""
    import altair as alt

    rows = []
    for row in results.rows():
        _, _, amount, over = (row["metric"].split("_") + [""] * 4)[:4] if row["metric"].startswith("risk_at_") else ("", "", "", "")
        if over:
            rows.append(
                {"arm": row["arm"], "instance": row["point"].split(",")[0], "over": over, "amount": int(amount), "value": row["value"]}
            )
    return (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("amount:Q", scale=alt.Scale(type="log"), title="amount"),
            color="arm:N",
            strokeDash="instance:N",
            y=alt.Y("mean(value):Q", scale=alt.Scale(type="log"), title="excess risk"),
        )
        .properties(width=220, height=200)
        .facet(column="over:N")
        .resolve_scale(x="independent")
    )


# ---------------------------------------------------------------- complexity


def widths(*ds: int) -> list[Setting]:
    """Growing numbers of inputs at one number of labels: twice the largest, so that labels alone can still learn; rows grow with inputs."""
    return [Setting(f"{d} inputs", "factors", d, 3, 100 * d, (2 * max(ds),), 1.0, 1.0) for d in ds]


@claim(
    "complexity",
    arms={
        METHOD: method(arms.pretrained),
        RIDGE: baseline(arms.tuned_linear),
        "least squares": baseline(arms.plain_linear),
        PCA: peer(arms.pca),
        CONTROL: control(arms.random_directions),
    },
    points=at(smoke=widths(20, 40, 80, 160), small=widths(20, 40, 80, 160, 320, 640), full=widths(20, 50, 100, 200, 500, 1_000, 2_000)),
    seeds=at(smoke=8, small=10, full=20),
    rule=all_of(
        headline(slope("excess_risk", METHOD, "d", name="slope over inputs, pretrained") <= 0.2),
        slope("excess_risk", RIDGE, "d", name="slope over inputs, labels alone") >= 0.5,
        ratio("excess_risk", METHOD, CONTROL, name="the control loses") < 1,
    ),
)
def complexity(trial: Trial) -> dict[str, float]:
    """Excess risk as inputs grow."""
    return risks(trial, repeats=8)[trial.point.n]


@complexity.plot("Excess risk by number of inputs")
def by_inputs(results: Results) -> Any:
    """Mean excess risk of each arm against inputs."""
    import altair as alt

    rows = [{**row, "inputs": results.attributes[row["point"]]["d"]} for row in results.rows(["excess_risk"])]
    return (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("inputs:Q", scale=alt.Scale(type="log")),
            color="arm:N",
            y=alt.Y("mean(value):Q", scale=alt.Scale(type="log"), title="excess risk"),
        )
        .properties(width=420, height=240)
    )


# ---------------------------------------------------------------- informative


ALONE = "labels alone"
ALL_Z, NO_Z, APART, BLURRED = "labels through the causes", "labels past the causes", "groups 5 apart", "groups 0.5 apart"


def leaving(r: int) -> list[Setting]:
    """r + 1 settings: k of r shares of the label come from what the causes leave over (the negative control)."""
    names = [ALL_Z, *(f"{k} of {r} shares past the causes" for k in range(1, r)), NO_Z]
    return [Setting(name, "factors", 50, r, 5_000, (80,), share=k / r) for k, name in enumerate(names)]


def blurring(*separations: float) -> list[Setting]:
    """Four groups that come closer, two a label, so that no label is more frequent."""
    return [Setting(f"groups {s:g} apart", "groups", 50, 4, 3_000, (80,), separation=s, flip=0.0) for s in separations]


INFORMATIVE_SEEDS = at(smoke=6, small=30, full=500)


@claim(
    "informative",
    arms={METHOD: method(arms.pretrained), ALONE: baseline(arms.labels_alone), CONTROL: control(arms.random_directions)},
    points=at(smoke=leaving(3), small=leaving(3), full=leaving(5)),
    seeds=INFORMATIVE_SEEDS,
    rule=all_of(
        ratio("excess_risk", METHOD, ALONE, point=ALL_Z, name="advantage while labels pass through the causes") < 1,
        headline(ratio("excess_risk", METHOD, ALONE, point=NO_Z, name="none when they pass by (negative control)") > 1),
        ratio("excess_risk", METHOD, ALONE, point=APART, name="advantage while groups are apart") < 1,
        ratio("excess_risk", METHOD, ALONE, point=BLURRED, name="none when they blur") > 1,
        slope("kappa", METHOD, "separation", name="growth of kappa with separation") < 0,
    ),
)
def informative(trial: Trial) -> dict[str, float]:
    """Excess risk as the label leaves the causes."""
    return {"excess_risk": risks(trial, repeats=3)[trial.point.n]["excess_risk"]}


BLURRING = at(smoke=blurring(5, 0.5), small=blurring(5, 2, 1, 0.5), full=blurring(5, 3, 2, 1.5, 1, 0.5))


@informative.also(points=BLURRING, seeds=INFORMATIVE_SEEDS)  # type: ignore[untyped-decorator,unused-ignore]
def informative_groups(trial: Trial) -> dict[str, float]:
    """Excess risk as groups blur, and the largest ratio of joint to observed distance found (a lower estimate of kappa)."""
    out = {"excess_risk": risks(trial, repeats=3)[trial.point.n]["excess_risk"]}
    if trial.arm.role == "method":
        out["kappa"] = kappa_curve(trial.point.load(trial.rng), [0.5], tries=8, draws=4_000, seed=trial.seed).kappa
    return out


@informative.note
def negative_control(checks: Sequence[Check]) -> str:
    """Says what the negative control shows."""
    gone = next((c for c in checks if c.point == NO_Z), None)
    if gone is None or gone.estimate is None:
        return ""
    word = {"holds": "no advantage", "fails": "an advantage, which it should not"}.get(gone.verdict, "nothing that can be told")
    return (
        f"Negative control (labels that bypass the causes) shows {word}: the pretrained risk is {gone.estimate:.2f} of that of the "
        "labels alone. Kappa is a lower estimate: the largest ratio among 8 perturbations."
    )


@informative.plot("Advantage along both paths")
def along_paths(results: Results) -> Any:
    """Risk of the pretrained estimator over that of labels alone, by setting."""
    import altair as alt

    mine, theirs = results.values("excess_risk", METHOD), results.values("excess_risk", ALONE)
    rows = [{"setting": key[1], "ratio": mine[key] / theirs[key]} for key in mine if theirs.get(key, 0) > 0 and mine[key] > 0]
    ratio_axis = alt.X("ratio:Q", scale=alt.Scale(type="log"), title="pretrained / labels alone")
    return (
        alt.Chart(alt.InlineData(values=rows))
        .mark_boxplot()
        .encode(y=alt.Y("setting:N", sort=None, title=None), x=ratio_axis)
        .properties(width=380)
    )


__all__ = ["advantage", "complexity", "informative", "rate"]
