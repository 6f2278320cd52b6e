"""How the claims of paper.toml are tried.

The three claims on data share one trial: a contender predicts a shuffled stream, its squared losses are added up on each group's rows,
and the error of the best linear model of that group is taken off. Both sides of a comparison are held against the same model, so a
difference of regrets is a difference of losses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from workingpapers.claims import (
    Check,
    Results,
    Rule,
    TimedTrial,
    Trial,
    Verdict,
    Workload,
    all_of,
    aside,
    at,
    baseline,
    claim,
    control,
    difference,
    each_of,
    headline,
    method,
    not_worse,
    peer,
    ratio,
    slope,
    t_interval,
)
from workingpapers.workloads import adult, medical_cost, roads
from workingpapers.workloads.adult import Adult
from workingpapers.workloads.grouped import ALWAYS_ON, GroupedStream
from workingpapers.workloads.medical_cost import MedicalCosts
from workingpapers.workloads.roads import RoadNetwork, Travels
from workingpapers.workloads.synthetic_groups import NAMES, SyntheticGroups

from ._blum_lykouris import BlumLykouris, HedgeOverModels, grid_hypotheses
from ._contenders import StreamLosses, group_regrets, groupwise, river_by_rule, river_single, single_ridge, sklearn_sgd
from ._ftpl import FollowThePerturbedLeader
from ._learners import OnlineRidge
from ._online import GroupwiseOnline
from ._oracles import DagShortestPath
from ._regressor import GroupwiseRegressor
from ._trace import GroupTrace

Array = npt.NDArray[np.float64]

GROUPWISE, SINGLE, UNIFORM = "groupwise", "single ridge", "uniform weights"

# ---------------------------------------------------------------- medical, adult, synthetic


def improves(groups: Sequence[str], point: str | None = None) -> list[Any]:
    """One leaf a group: less regret than the single learner. Everybody's is the metric `regret` itself."""
    return [difference(metric_of(g), GROUPWISE, SINGLE, point=point, name=g) < 0 for g in groups]


def metric_of(group: str, prefix: str = "regret") -> str:
    return prefix if group == ALWAYS_ON else f"{prefix}: {group}"


def beside(groups: Sequence[str], point: str | None = None) -> Rule:
    """What the verdict does not hang on: the control over everybody, and the mean prediction in place of the expected loss."""
    means = [difference(metric_of(g, "mean regret"), GROUPWISE, SINGLE, point=point, name=f"{g}, mean prediction") < 0 for g in groups]
    return aside(difference("regret", GROUPWISE, UNIFORM, point=point, name="everybody, beside uniform weights") < 0, *means,
                 title="the control, and the mean prediction")


def measured(stream: GroupedStream, losses: StreamLosses) -> dict[str, float]:
    """Regret of every group: by the expected loss, as in the paper's tables, and by the loss of the mean prediction."""
    expected, mean = group_regrets(stream, losses.expected, losses.mean)
    return {metric_of(g): v for g, v in expected.items()} | {metric_of(g, "mean regret"): v for g, v in mean.items()}


def who_improves(checks: Sequence[Check]) -> str:
    """How many groups improve, and the names of those that get worse or cannot be told."""
    deciding = [c for c in checks if c.decides]
    by = {verdict: [c.name for c in deciding if c.verdict is verdict] for verdict in Verdict}
    words = f"{len(by[Verdict.HOLDS])} of {len(deciding)} groups improve"
    if by[Verdict.FAILS]:
        words += f"; worse off: {', '.join(by[Verdict.FAILS])}"
    if by[Verdict.INCONCLUSIVE]:
        words += f"; cannot be told: {', '.join(by[Verdict.INCONCLUSIVE])}"
    return words + "."


def regret_chart(groups: Sequence[str]) -> Callable[[Results], Any]:
    """Regret by group and arm, with 95 % intervals over seeds: every group by itself, none averaged away."""

    def chart(results: Results) -> Any:
        import altair as alt

        table = pd.DataFrame(results.rows([metric_of(g) for g in groups]))
        records = []
        for (arm, point, metric), part in table.groupby(["arm", "point", "metric"], sort=False):
            values = part["value"].tolist()
            interval = t_interval(values) if len(values) >= 3 else None
            mean = float(np.mean(values))
            group = ALWAYS_ON if metric == "regret" else str(metric).removeprefix("regret: ")
            records.append({"group": group, "arm": arm, "point": point, "regret": mean, "low": interval.lo if interval else mean,
                            "high": interval.hi if interval else mean})
        base = alt.Chart(alt.InlineData(values=records)).encode(
            y=alt.Y("group:N", sort=list(groups), title=None), yOffset="arm:N", color=alt.Color("arm:N", title=None))
        marks = base.mark_point(filled=True).encode(x=alt.X("regret:Q", title="regret (squared loss; below 0: better than one model)"))
        return (marks + base.mark_rule().encode(x="low:Q", x2="high:Q")).properties(width=420, height=22 * len(groups)).facet(
            facet=alt.Facet("point:N", title=None), columns=2)

    return chart


MEDICAL = (*medical_cost.GROUPS, ALWAYS_ON)
PEERS = {"river Bayesian regression": peer(river_single), "river, a model a group": peer(river_by_rule),
         "scikit-learn SGD": peer(sklearn_sgd)}
PEERS_UP_TO = {"smoke": 0, "small": 3, "full": 10}
ARMS = {GROUPWISE: method(groupwise), SINGLE: baseline(single_ridge), UNIFORM: control(groupwise, meta="uniform")}


@claim("medical", arms=ARMS | PEERS, points=[MedicalCosts()], seeds=at(smoke=10, small=20, full=20),
       rule=each_of(headline(improves([ALWAYS_ON])[0]), *improves(MEDICAL[:-1]), beside(MEDICAL),
                    aside(difference("regret by age", GROUPWISE, SINGLE, name="everybody, the young first") < 0,
                          title="rows in order of age, not shuffled"), over="the 12 groups"))
def medical(trial: Trial) -> dict[str, float]:
    """Regret of every group at the end of one shuffle."""
    if trial.arm.role == "peer" and trial.seed >= PEERS_UP_TO[trial.scale]:
        return {}  # seconds a run, row by row: shown beside the others, not held against them
    stream = trial.point.load(trial.rng).shuffled(trial.seed)
    return measured(stream, trial.arm.build(stream))


@medical.also(arms=[GROUPWISE, SINGLE], points=[MedicalCosts(by="age")], seeds=3)  # type: ignore[untyped-decorator,unused-ignore]
def medical_by_age(trial: Trial) -> dict[str, float]:
    """The same with the young first and the old last, as rows that drift; a seed draws the order within a year of age."""
    stream = trial.point.load(trial.rng).shuffled(trial.seed)
    stream = stream.take(np.argsort(stream.X[:, stream.features.index("age")], kind="stable"))
    (found,) = group_regrets(stream, trial.arm.build(stream).expected)
    return {metric_of(g, "regret by age"): v for g, v in found.items()}


medical.note(who_improves)
medical.plot("regret by group")(regret_chart(MEDICAL))

ADULT = (*adult.GROUPS, ALWAYS_ON)


@claim("adult", arms=ARMS, points=at(smoke=[Adult(rows=5_000)], small=[Adult()], full=[Adult("income")]),
       seeds=at(smoke=5, small=10, full=10),
       rule=each_of(headline(improves([ALWAYS_ON])[0]), *improves(ADULT[:-1]), beside(ADULT), over="the 13 groups"))
def census(trial: Trial) -> dict[str, float]:
    """Regret of every group at the end of one shuffle, or of its first rows."""
    stream = trial.point.load(trial.rng).shuffled(trial.seed)
    stream = stream.take(np.arange(len(stream))[: trial.point.rows])
    return measured(stream, trial.arm.build(stream))


census.note(who_improves)
census.plot("regret by group")(regret_chart(ADULT))

SYNTHETIC = (*NAMES, ALWAYS_ON)
RULES: tuple[Any, ...] = ("permutation", "mean", "min", "max")


def made(samples: int) -> list[Workload]:
    return [SyntheticGroups(rule, samples=samples) for rule in RULES]


@claim("synthetic", arms=ARMS, points=at(smoke=made(5_000), small=made(100_000), full=made(100_000)), seeds=at(smoke=8, small=10, full=10),
       rule=each_of(headline(improves([ALWAYS_ON], "permutation rule")[0]), *improves(NAMES, "permutation rule"),
                    *[leaf for rule in RULES[1:] for leaf in improves(SYNTHETIC, f"{rule} rule")],
                    *[beside(SYNTHETIC, f"{rule} rule") for rule in RULES], over="the groups under each rule"))
def synthetic(trial: Trial) -> dict[str, float]:
    """Regret of every group at the end of a stream that the seed draws anew, weights and all."""
    stream = trial.point.load(trial.rng)
    return measured(stream, trial.arm.build(stream))


synthetic.note(who_improves)
synthetic.plot("regret by group")(regret_chart(SYNTHETIC))


# ---------------------------------------------------------------- linear


@dataclass(frozen=True)
class RandomGroups(Workload):
    """People with features uniform in [-1, 1], each in each of `groups` groups with probability 1/2; the label is the mean of the linear
    models of their groups, with noise, cut to [-1, 1]. `per_axis` says how fine the grid of models is cut where one is needed."""

    groups: int
    dim: int = 20
    rows: int = 2_000
    per_axis: int = 0

    @property
    def label(self) -> str:
        grid = f", {self.hypotheses:,} models on a grid" if self.per_axis else ""
        return f"{self.groups} groups, {self.dim} features{grid}"

    @property
    def hypotheses(self) -> int:
        """Models on the grid."""
        return self.per_axis**self.dim if self.per_axis else 0

    def load(self, rng: np.random.Generator) -> GroupedStream:
        X = rng.uniform(-1, 1, (self.rows, self.dim))
        A = (rng.random((self.rows, self.groups)) < 0.5).astype(float)
        models = rng.uniform(-1, 1, (self.groups, self.dim)) / np.sqrt(self.dim)
        y = np.einsum("tg,gd,td->t", A / np.maximum(A.sum(axis=1, keepdims=True), 1), models, X) + 0.1 * rng.standard_normal(self.rows)
        groups, features = tuple(f"g{i}" for i in range(self.groups)), tuple(f"x{i}" for i in range(self.dim))
        return GroupedStream(X, np.clip(y, -1, 1), A, groups, features, self.label)


def over_groups(stream: GroupedStream, per_axis: int = 0, meta: str = "adanormalhedge") -> GroupTrace:
    """The method with a ridge learner a group: no list of models is needed."""
    model = GroupwiseRegressor(OnlineRidge(1.0), list(stream.groups), meta=meta, always_on=False, y_range=(-1.0, 1.0), track=False)
    return model.run(stream.X, stream.y, stream.A)


def over_groups_on_grid(stream: GroupedStream, per_axis: int) -> GroupTrace:
    """The method with exponential weights over the grid as each group's learner."""
    grid = grid_hypotheses(stream.X.shape[1], per_axis)
    model = GroupwiseRegressor(partial(HedgeOverModels, grid), list(stream.groups), always_on=False, y_range=(-1.0, 1.0), track=False)
    return model.run(stream.X, stream.y, stream.A)


def over_pairs(stream: GroupedStream, per_axis: int) -> GroupTrace:
    """Sleeping experts over every pair of grid model and group."""
    grid = grid_hypotheses(stream.X.shape[1], per_axis)
    return BlumLykouris(grid, list(stream.groups), always_on=False, y_range=(-1.0, 1.0)).run(stream.X, stream.y, stream.A)


PAIRS, ON_GRID = "Blum-Lykouris", "groupwise on the same grid"
GRID = RandomGroups(8, dim=2, rows=2_000, per_axis=15)


@claim("linear",
       arms={GROUPWISE: method(over_groups), ON_GRID: method(over_groups_on_grid), PAIRS: baseline(over_pairs),
             UNIFORM: control(over_groups, meta="uniform")},
       points=at(smoke=[GRID],
                 small=[GRID, RandomGroups(32, dim=2, rows=4_000, per_axis=15), RandomGroups(8, dim=3, rows=4_000, per_axis=9)],
                 full=[RandomGroups(g, dim=3, rows=10_000, per_axis=9) for g in (8, 32, 128)]),
       seeds=at(smoke=5, small=10, full=10),
       rule=all_of(headline(slope("seconds", GROUPWISE, x="groups", name="growth with groups, not slower") >= 0.8),
                   slope("seconds", GROUPWISE, x="groups", name="growth with groups, not faster") <= 1.2,
                   slope("class seconds", PAIRS, x="hypotheses", name="growth of the baseline with models") >= 0.8,
                   not_worse("regret", GROUPWISE, PAIRS, by=0.001, name="regret beside every pair"),
                   aside(not_worse("regret", ON_GRID, PAIRS, by=0.001, name="regret on the same grid"),
                         difference("regret", GROUPWISE, UNIFORM, name="beside uniform weights") < 0,
                         ratio("class seconds", GROUPWISE, PAIRS, name="time beside every pair") < 1)))
def linear(trial: Trial) -> dict[str, float]:
    """Regret a case to each group's best model on the grid, mean over groups."""
    stream = trial.point.load(trial.rng)
    trace = trial.arm.build(stream, per_axis=trial.point.per_axis)
    grid = grid_hypotheses(trial.point.dim, trial.point.per_axis)
    errors = np.square(stream.X @ grid.T - stream.y[:, None]) / trace.span**2  # (T, H)
    own = [(trace.expected_loss[rows].sum() - errors[rows].sum(axis=0).min()) / len(rows) for rows in map(trace.rows, trace.groups)]
    return {"regret": float(np.mean(own))}


def timed(trial: TimedTrial, metric: str) -> dict[str, dict[str, float]]:
    """Processor seconds a case of whole streams, side by side."""
    stream = trial.point.load(trial.rng)
    calls = {name: partial(arm.build, stream, per_axis=trial.point.per_axis) for name, arm in trial.arms.items()}
    return {name: {metric: seconds / len(stream)} for name, seconds in processor_seconds(calls, repeats=15).items()}


def processor_seconds(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Least processor seconds of each call, which take turns.

    Not seconds of the clock: where other programs want the processor, long calls are interrupted and short ones are not, so that time
    seems to grow faster than it does.
    """
    least = dict.fromkeys(calls, np.inf)
    for turn in range(repeats + 1):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            start = time.process_time()
            calls[name]()
            if turn:  # the first turn compiles and fills caches
                least[name] = min(least[name], time.process_time() - start)
    return least


@linear.timed(arms=[GROUPWISE], seeds=at(smoke=5, small=10, full=10),  # type: ignore[untyped-decorator,unused-ignore]
              points=at(smoke=[RandomGroups(g, rows=1_000) for g in (8, 32, 128)],
                        small=[RandomGroups(g, rows=2_000) for g in (8, 16, 32, 64, 128)],
                        full=[RandomGroups(g, rows=2_000) for g in (8, 16, 32, 64, 128, 256, 512)]))
def growth_with_groups(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Processor seconds a case against the number of groups, half of them awake."""
    return timed(trial, "seconds")


@linear.timed(arms=[GROUPWISE, PAIRS], seeds=at(smoke=3, small=5, full=5),  # type: ignore[untyped-decorator,unused-ignore]
              points=at(smoke=[RandomGroups(8, dim=2, rows=100, per_axis=k) for k in (10, 20, 40)],
                        small=[RandomGroups(8, dim=2, rows=100, per_axis=k) for k in (10, 20, 40, 80)],
                        full=[RandomGroups(8, dim=2, rows=100, per_axis=k) for k in (10, 20, 40, 80, 160)]))
def growth_with_models(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Processor seconds a case against the number of models on the grid."""
    return timed(trial, "class seconds")


@linear.note
def why_no_grid(checks: Sequence[Check]) -> str:
    """What the slope of the baseline means for a real number of features."""
    return ("With 20 features a grid of 3 values an axis already has 3.5 billion models: the method over every pair cannot run there, "
            "while a ridge learner a group needs no list of models.")


# ---------------------------------------------------------------- paths


@dataclass(frozen=True, eq=False)
class Played:
    """What a contender paid: expected loss of each day, `(T,)`."""

    expected: Array


NOISE = 0.5


def routes(travels: Travels, seed: int, by_group: bool) -> Played:
    """Perturbed leaders: one a group, or one for all."""
    network = DagShortestPath(travels.edges, travels.source, travels.target)
    groups, A = (list(travels.groups[:-1]), travels.A) if by_group else ([], travels.A[:, :0])
    leader = FollowThePerturbedLeader(network, NOISE)
    model = GroupwiseOnline(leader, groups, loss_fn=np.dot, loss_range=(0.0, float(travels.longest)), seed=seed)
    days = list(travels.costs)
    return Played(model.run([None] * len(days), days, A).expected_loss)


def random_paths(travels: Travels, seed: int) -> Played:
    """The control: the shortest path for random costs, drawn anew each day."""
    network = DagShortestPath(travels.edges, travels.source, travels.target)
    draws = np.random.default_rng(seed).random(travels.costs.shape)
    return Played((network(draws) * travels.costs).sum(axis=1))


ONE, RANDOM = "one leader for all", "random path"


@claim("paths",
       arms={GROUPWISE: method(routes, by_group=True), ONE: baseline(routes, by_group=False), RANDOM: control(random_paths)},
       points=at(smoke=[RoadNetwork(2, 5, days) for days in (250, 500, 1_000)],
                 small=[RoadNetwork(4, 13, days) for days in (500, 1_000, 2_000, 4_000)],
                 full=[RoadNetwork(14, 11, days) for days in (2_000, 4_000, 8_000, 16_000, 32_000)]),
       seeds=at(smoke=10, small=10, full=10),
       rule=all_of(headline(slope("regret", GROUPWISE, x="days", name="fall of the worst group's regret a day") <= -0.4),
                   *[difference(f"regret: {v}", GROUPWISE, ONE, name=f"{v}, beside one leader for all") < 0 for v in roads.VEHICLES],
                   difference("regret", GROUPWISE, RANDOM, name="the control loses") < 0,
                   aside(*[difference(f"regret: {g}", GROUPWISE, ONE, name=f"{g}, beside one leader for all") < 0
                           for g in (*roads.TIMES, ALWAYS_ON)], title="groups whose costs hardly differ")))
def paths(trial: Trial) -> dict[str, float]:
    """Regret a day to the best fixed path of each group's days; `regret` is that of the worst group."""
    # One network a seed for all numbers of days: otherwise the fall would be drowned by the luck of the network.
    travels = trial.point.load(np.random.default_rng(trial.seed))
    played = trial.arm.build(travels, seed=trial.seed)
    network = DagShortestPath(travels.edges, travels.source, travels.target)
    own = {}
    for g, name in enumerate(travels.groups):
        rows = np.flatnonzero(travels.A[:, g])
        total = travels.costs[rows].sum(axis=0)
        own[f"regret: {name}"] = float((played.expected[rows].sum() - total @ network(total)) / len(rows))
    return own | {"regret": max(own.values())}


__all__ = ["census", "linear", "medical", "paths", "synthetic"]
