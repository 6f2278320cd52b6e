"""How the claims of paper.toml are tried.

All arms of a trial see the same split of the queries, the same scores and the same budget of scorer calls a query. Whatever has settings
chooses them on the anchor queries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.feature_extraction.text  # noqa: F401
import torch  # noqa: F401
from numpy.typing import NDArray

# scikit-learn and torch are used further down; imported here, they are read once a run and not once a trial.
from workingpapers.claims import (
    Check,
    TimedTrial,
    Trial,
    Workload,
    all_of,
    at,
    baseline,
    bound,
    claim,
    control,
    difference,
    each_point,
    headline,
    majority_of_points,
    method,
    not_worse,
    ratio,
    untested,
)

from .baselines import Bm25, DualEncoder, EncoderDistilled, LinearDistilled, RandomItems, TfIdf, reranked, vectors
from .diagnostics import rank_for_energy
from .index import CURIndex
from .recall import recall_at_k
from .scorers import from_matrix
from .senses import Head, Senses, Task, Zeshel, data

WORLDS = ("yugioh", "star_trek", "military")
Found = Callable[[int], NDArray[np.int64]]


@dataclass(frozen=True)
class Budgeted(Workload):
    """A task at one budget of scorer calls a query."""

    task: Senses | Zeshel
    budget: int

    @property
    def label(self) -> str:
        return f"{self.budget} calls"

    def prepare(self, progress: Any) -> None:
        self.task.prepare(progress)
        if isinstance(self.task, Senses):
            embed_all(self.task, progress)

    def load(self, rng: np.random.Generator) -> Task:
        return self.task.load(rng)

    def data_hash(self) -> str:
        return self.task.data_hash()


def embed_all(point: Senses, progress: Any) -> None:
    """Fill the vector cache, so that no trial waits for it."""
    from workingpapers.parts.language import ModelMissing

    task = point.load(np.random.default_rng(0))
    try:
        for step, form in enumerate(("marked", "plain")):
            progress(step / 2, "MiniLM vectors")
            vectors(task, task.index, form)
    except ModelMissing as error:
        untested(str(error))


SMOKE, SMALL = Senses(150, 400, 50), Senses(700, 2000, 200)


def budgets(smoke: Sequence[int], small: Sequence[int], full: Sequence[int]) -> Any:
    """The points of a claim: one a budget (and world, at full scale)."""
    return at(
        smoke=[Budgeted(SMOKE, b) for b in smoke],
        small=[Budgeted(SMALL, b) for b in small],
        full=[Budgeted(Zeshel(WORLDS[0]), b) for b in full],
    )


# ---------------------------------------------------------------- the arms


class CUR:
    """CUR search with the settings of an arm; `search(k)` gives the k best found for each test query."""

    def __init__(self, task: Task, budget: int, seed: int, *, rounds: int = 1, **options: Any) -> None:
        self.task, self.budget, self.rounds = task, budget, rounds
        index_options = {name: options.pop(name) for name in ("ridge", "center", "anchor_items") if name in options}
        self.options = options or {"split": "auto"}
        scorer = from_matrix(task.scores)
        self.index = CURIndex(scorer, n_anchor_queries=None, seed=seed, **index_options)
        self.index.fit(range(len(task.items)), task.index.tolist(), scores=task.anchor_rows)

    def search(self, k: int) -> NDArray[np.int64]:
        found = self.index.search(self.task.test.tolist(), k=k, budget=self.budget, rounds=self.rounds, **self.options)
        if found.n_calls.max() > self.budget:
            raise AssertionError(f"{found.n_calls.max()} calls at a budget of {self.budget}")
        return found.indices


class Rerank:
    """A first stage, and the cross-encoder on its best `budget` items."""

    def __init__(self, task: Task, budget: int, seed: int, *, stage: Callable[..., Any], seeded: bool = False, **options: Any) -> None:
        self.task, self.budget = task, budget
        first = stage(seed=seed, **options) if seeded else stage(**options)
        self.ranking = first.rank(task, budget)

    def search(self, k: int) -> NDArray[np.int64]:
        return reranked(self.task, self.ranking, self.budget, k)


RANDOM = control(Rerank, stage=RandomItems, seeded=True)
DE = baseline(Rerank, stage=DualEncoder)


def recalls(arm: Any, task: Task, ks: Sequence[int]) -> dict[str, float]:
    return {f"recall@{k}": float(recall_at_k(task.test_rows, arm.search(k), k).mean()) for k in ks}


def ks_within(budget: int, n_items: int) -> list[int]:
    """k of 1, 10, 50, 100 in the cells that count: 2k <= budget <= N/2."""
    return [k for k in (1, 10, 50, 100) if 2 * k <= budget <= n_items / 2]


# ---------------------------------------------------------------- recall-at-equal-cost


@claim("recall-at-equal-cost",
       arms={"CUR": method(CUR), "CUR, 5 rounds": method(CUR, rounds=5), "DE": DE, "TF-IDF": baseline(Rerank, stage=TfIdf),
             "BM25": baseline(Rerank, stage=Bm25), "DE, linear head distilled": baseline(Rerank, stage=LinearDistilled),
             "DE, distilled whole": baseline(Rerank, stage=EncoderDistilled, seeded=True), "random items": RANDOM},
       points=budgets([50, 100, 200], [50, 100, 200, 500], [50, 100, 200, 500]),
       seeds=at(smoke=5, small=10, full=10),
       time_limit=1200,
       rule=all_of(majority_of_points(headline(difference("recall", "CUR", "DE") > 0)),
                   majority_of_points(difference("recall", "CUR", "TF-IDF") > 0),
                   bound("difference from live scores", "CUR") < 0.05))
def recall_at_equal_cost(trial: Trial) -> dict[str, float]:
    """Recall of the true top k; `recall` is its mean over k = 50 and 100, where both fit the budget."""
    task, budget = trial.point.load(trial.rng), trial.point.budget
    if trial.arm.name == "DE, distilled whole" and (trial.scale == "smoke" or trial.seed >= 3 or budget not in (100, 200)):
        return {}  # a minute of training a trial: three seeds at two budgets
    ks = ks_within(budget, len(task.items))
    found = recalls(trial.arm.build(task, budget, trial.seed), task, ks)
    long = [found[f"recall@{k}"] for k in ks if k >= 50]
    return found | ({"recall": float(np.mean(long))} if long else {}) | {"calls": budget}


@dataclass(frozen=True)
class LiveCells(Workload):
    """Cells of the stored matrices, scored anew by the shipped model."""

    cells: int = 96

    @property
    def label(self) -> str:
        return f"{self.cells} cells scored live"

    def load(self, rng: np.random.Generator) -> Any:
        from workingpapers.parts.language import ModelMissing

        from .sense_encoder import live_difference

        try:
            return live_difference(Path(str(data())), rng, self.cells)
        except ModelMissing as error:
            untested(str(error))


@recall_at_equal_cost.also(arms=["CUR"], points=[LiveCells()], seeds=3)  # type: ignore[untyped-decorator]
def stored_scores_are_the_models(trial: Trial) -> dict[str, float]:
    """Root mean square difference between stored and live scores of both heads, in standard deviations of the scores."""
    return {"difference from live scores": trial.point.load(trial.rng)}


@recall_at_equal_cost.note
def note_on_short_lists(checks: Sequence[Check]) -> str:
    """The weakness at k = 1, in plain words."""
    return ("For the single best match (k = 1) at small budgets one-shot CUR search is the wrong tool: half its calls go to "
            "anchors. Compare recall@1 of the arms; anchors over five rounds mend much of it.")


@recall_at_equal_cost.plot("recall by budget")
def recall_curves(results: Any) -> Any:
    return curve_plot(results, ("recall@1", "recall@10", "recall@50", "recall@100"))


def curve_plot(results: Any, metrics: Sequence[str]) -> Any:
    """Recall against budget, one panel a metric, one line an arm, with 95 % bands over seeds."""
    import altair as alt

    from workingpapers.claims import t_interval

    groups: dict[tuple[str, str, int], list[float]] = {}
    for m in results.measurements:
        if m.metric in metrics and m.point.endswith(" calls"):
            groups.setdefault((m.metric, m.arm, int(m.point.split()[0])), []).append(m.value)
    rows = []
    for (metric, arm, budget), values in groups.items():
        known = t_interval(values) if len(values) >= 3 else None
        mean = float(np.mean(values))
        rows.append({"k": metric, "arm": arm, "calls a query": budget, "recall": mean,
                     "low": max(0.0, known.lo) if known else mean, "high": min(1.0, known.hi) if known else mean})
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=alt.X("calls a query:Q", scale=alt.Scale(type="log")), color="arm:N")
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", title="recall"), y2="high:Q")
    line = base.mark_line(point=True).encode(y="recall:Q")
    return (band + line).properties(width=220, height=180).facet(facet=alt.Facet("k:N", sort=list(metrics)), columns=2)


# ---------------------------------------------------------------- cheaper-index


@dataclass(frozen=True)
class IndexCost(Workload):
    """Indexes built from growing numbers of anchor queries, until one is as good as the other kind at its best."""

    task: Senses | Zeshel
    anchors: tuple[int, ...]
    budget: int
    whole: bool

    @property
    def label(self) -> str:
        return f"{self.task.label}, {self.budget} calls"

    def prepare(self, progress: Any) -> None:
        Budgeted(self.task, self.budget).prepare(progress)

    def load(self, rng: np.random.Generator) -> Task:
        return self.task.load(rng)

    def data_hash(self) -> str:
        return self.task.data_hash()


def cheapest(costs: Sequence[float], recall: Sequence[float], target: float) -> float:
    """Least cost of an index whose recall reaches `target`, linear between neighbouring sizes."""
    if recall[0] >= target:
        return costs[0]
    for (c0, r0), (c1, r1) in zip(zip(costs, recall), zip(costs[1:], recall[1:])):
        if r1 >= target > r0:
            return c0 + (c1 - c0) * (target - r0) / (r1 - r0)
    return costs[int(np.argmax(recall))]


@claim("cheaper-index",
       arms={"CUR": method(CUR), "distilled DE": baseline(Rerank, stage=LinearDistilled), "random items": RANDOM},
       points=at(smoke=[IndexCost(SMOKE, (20, 40, 60, 80, 100), 100, False)], small=[IndexCost(SMALL, (100, 250, 500), 200, True)],
                 full=[IndexCost(Zeshel(WORLDS[0]), (100, 200, 500), 500, True)]),
       seeds=at(smoke=5, small=3, full=3),
       is_timed=True,
       time_limit=1800,
       rule=all_of(headline(ratio("seconds", "CUR", "distilled DE") < 1), ratio("calls", "CUR", "distilled DE") < 1))
def cheaper_index(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Calls and seconds to an index of equal Recall@50: as good as the weaker of the two at its best.

    Seconds are the calls at the pace of the shipped model, measured here and now, plus the time of building or distilling.
    """
    from .sense_encoder import seconds_per_pair

    task, point = trial.point.load(trial.rng), trial.point
    pace = seconds_per_pair(Path(str(data())), trial.rng_for("pace"))
    curves: dict[str, list[tuple[float, float, float]]] = {"CUR": [], "distilled DE": []}
    for done, n in enumerate(point.anchors):
        part = Task(task.scores, task.queries, task.items, np.sort(trial.rng_for("order").permutation(task.index)[:n]), task.test)
        for name, curve in curves.items():
            begin = time.perf_counter()
            if name == "distilled DE" and point.whole:
                arm: Any = Rerank(part, point.budget, trial.seed, stage=EncoderDistilled, seeded=True, steps=60)
            else:
                arm = trial.arms[name].build(part, point.budget, trial.seed)
            found = arm.search(50)
            built = time.perf_counter() - begin
            calls = float(n * len(task.items))
            curve.append((calls, calls * pace + built, float(recall_at_k(task.test_rows, found, 50).mean())))
        trial.progress(done + 1, len(point.anchors))
    target = min(max(r for *_, r in curve) for curve in curves.values())
    out: dict[str, dict[str, float]] = {}
    for name, curve in curves.items():
        calls_, seconds, recall = zip(*curve)
        out[name] = {"calls": cheapest(calls_, recall, target), "seconds": cheapest(seconds, recall, target), "recall@50": max(recall)}
    chance = trial.arms["random items"].build(task, point.budget, trial.seed).search(50)
    out["random items"] = {"recall@50": float(recall_at_k(task.test_rows, chance, 50).mean())}
    return out


# ---------------------------------------------------------------- emb-low-rank


@dataclass(frozen=True)
class BothHeads(Workload):
    """The same queries and items under both heads."""

    task: Senses | Zeshel
    budget: int

    @property
    def label(self) -> str:
        return f"both heads, {self.budget} calls"

    def prepare(self, progress: Any) -> None:
        self.of("cls").prepare(progress)
        self.of("emb").prepare(progress)

    def of(self, head: Head) -> Senses | Zeshel:
        return replace(self.task, head=head)

    def data_hash(self) -> str:
        return self.of("cls").data_hash() + self.of("emb").data_hash()


class HeadScores:
    """Scores of one head, searched by CUR; what differs between arms is the head alone."""

    def __init__(self, point: BothHeads, rng: np.random.Generator, seed: int, *, head: Head, random: bool = False) -> None:
        self.task = point.of(head).load(rng)
        arm = Rerank(self.task, point.budget, seed, stage=RandomItems, seeded=True) if random else CUR(self.task, point.budget, seed)
        self.search = arm.search


@claim("emb-low-rank",
       arms={"[EMB]": method(HeadScores, head="emb"), "[CLS]": baseline(HeadScores, head="cls"),
             "random items": control(HeadScores, head="emb", random=True)},
       points=at(smoke=[BothHeads(SMOKE, 100)], small=[BothHeads(SMALL, 100), BothHeads(SMALL, 200)],
                 full=[BothHeads(Zeshel(WORLDS[0]), 200)]),
       seeds=at(smoke=10, small=10, full=10),
       rule=all_of(headline(difference("recall@10", "[EMB]", "[CLS]") > 0), ratio("rank99", "[EMB]", "[CLS]") < 1))
def emb_low_rank(trial: Trial) -> dict[str, float]:
    """Components that hold 99 % of the energy of the anchor queries' scores, each row less its mean; recall at the same budget."""
    searched = trial.arm.build(trial.point, trial.rng, trial.seed)
    found = {"recall@10": float(recall_at_k(searched.task.test_rows, searched.search(10), 10).mean())}
    if trial.arm.role == "control":
        return found
    R = searched.task.anchor_rows.astype(np.float64)
    return found | {"rank99": rank_for_energy(np.linalg.svd(R - R.mean(1, keepdims=True), compute_uv=False))}


# ---------------------------------------------------------------- multi-round-anchors


@claim("multi-round-anchors",
       arms={"5 rounds": method(CUR, rounds=5), "1 round": baseline(CUR), "DE": DE, "random items": RANDOM},
       points=budgets([50, 100], [50, 100, 200, 500], [50, 100, 200, 500]),
       seeds=at(smoke=20, small=20, full=10),
       rule=all_of(headline(ratio("error@1", "5 rounds", "1 round") < 1)))
def multi_round_anchors(trial: Trial) -> dict[str, float]:
    """Share of queries whose best item was missed, (missed + 1/2) / (queries + 1), so that a ratio of two clean runs exists."""
    task, budget = trial.point.load(trial.rng), trial.point.budget
    arm = trial.arm.build(task, budget, trial.seed)
    hits = recall_at_k(task.test_rows, arm.search(1), 1)
    return {"error@1": float(((1 - hits).sum() + 0.5) / (len(hits) + 1))}


@multi_round_anchors.note
def note_on_the_dual_encoder(checks: Sequence[Check]) -> str:
    """What the rule does not ask, but a user would."""
    return ("The dual encoder's error at 1 stands beside it: rounds are compared with one shot, "
            "not with reranking what a dual encoder finds.")


# ---------------------------------------------------------------- regularised-solver


@dataclass(frozen=True)
class AnchorRatio(Workload):
    """As many anchor items as `share` times the anchor queries, and a fixed number of reranked items."""

    task: Senses | Zeshel
    share: float
    queries: int
    reranked: int

    @property
    def label(self) -> str:
        return f"k_i / n_q = {self.share:g}"

    @property
    def budget(self) -> int:
        return self.anchors + self.reranked

    @property
    def anchors(self) -> int:
        return round(self.share * self.queries)

    def prepare(self, progress: Any) -> None:
        self.task.prepare(progress)

    def load(self, rng: np.random.Generator) -> Task:
        t = self.task.load(rng)
        return Task(t.scores, t.queries, t.items, np.sort(rng.permutation(t.index)[: self.queries]), t.test)

    def data_hash(self) -> str:
        return self.task.data_hash()


LOO, BARE = "ridge by leave-one-out", "bare pseudo-inverse"


@claim("regularised-solver",
       arms={LOO: method(CUR, ridge="loo", split=0.5), BARE: baseline(CUR, ridge=0.0, center=False, split=0.5), "random items": RANDOM},
       points=at(smoke=[AnchorRatio(SMOKE, s, 100, 50) for s in (0.5, 1.0, 1.5)],
                 small=[AnchorRatio(SMALL, s, 400, 100) for s in (0.2, 0.5, 0.8, 1.0, 1.2, 2.0)],
                 full=[AnchorRatio(Zeshel(WORLDS[0]), s, 500, 100) for s in (0.2, 0.5, 0.8, 1.0, 1.2, 2.0)]),
       seeds=at(smoke=20, small=10, full=10),
       rule=all_of(each_point(not_worse("recall@10", LOO, BARE, by=0.01)),
                   headline(difference("recall@10", LOO, BARE, point="k_i / n_q = 1") > 0)))
def regularised_solver(trial: Trial) -> dict[str, float]:
    """Recall@10 with the same random anchor items; only the solver differs."""
    task, point = trial.point.load(trial.rng), trial.point
    if trial.arm.role != "control":
        arm = trial.arm.build(task, point.budget, trial.seed, anchor_items=point.anchors)
    else:
        arm = trial.arm.build(task, point.budget, trial.seed)
    return recalls(arm, task, [10])


@regularised_solver.plot("recall by ratio")
def ratio_plot(results: Any) -> Any:
    import altair as alt

    rows = [{"k_i / n_q": float(m.point.rsplit("= ", 1)[1]), "solver": m.arm, "Recall@10": m.value}
            for m in results.measurements if m.metric == "recall@10"]
    base = alt.Chart(alt.InlineData(values=rows)).encode(x="k_i / n_q:Q", color="solver:N")
    return (base.mark_line(point=True).encode(y="mean(Recall@10):Q") + base.mark_errorband(extent="ci").encode(y="Recall@10:Q")).properties(
        width=420, height=240)
