"""How the claims of paper.toml are tried.

Every arm ends with an order; each order is refitted by least squares, so that no penalty and no threshold decides the score.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from workingpapers.claims import (
    Check,
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
    headline,
    method,
    peer,
    ratio,
    untested,
    value,
)
from workingpapers.parts.causal.simulate import GraphName, SemName

from . import (
    TOPO,
    Simulated,
    best_order,
    dagma,
    first_dag,
    golem,
    notears,
    order_score,
    polish,
    random_orders,
    shd,
    simulate,
    sort_n_regress,
    topological_order,
)
from ._orders import Matrix, Order, cycle_signal, factor, move_changes, moved, weights_of
from ._preload import preload
from ._rule import most_of_points

METHOD, PUBLISHED, LOG = "TOPO", "TOPO, published sizes", "TOPO, log-likelihood"


@dataclass(frozen=True)
class Graph(Workload):
    """A random graph of d variables and k edges a variable, and n samples of it."""

    d: int
    k: int
    graph: GraphName = "ER"
    sem: SemName = "gauss"
    n: int = 1_000

    @property
    def label(self) -> str:
        return f"{self.graph}{self.k}, {self.d} variables, {self.sem}"

    def load(self, rng: np.random.Generator) -> Simulated:
        edges = min(self.k * self.d, self.d * (self.d - 1) // 2) if self.graph == "ER" else self.k * self.d
        return simulate(self.d, edges, self.graph, self.sem, self.n, rng=rng)


@dataclass(frozen=True)
class Answer:
    """An order `(d,)`, and the graph that the method itself gives `(d, d)`."""

    order: Order
    W: Matrix


def gram(X: Matrix) -> Matrix:
    """X'X/n of centred X."""
    X = X - X.mean(axis=0)
    return np.asarray(X.T @ X / len(X))


def over_true(made: Simulated, order: Order) -> float:
    """Score of an order over that of the true graph's, which no method knows."""
    S = gram(made.X)
    return order_score(S, order) / order_score(S, topological_order(made.B))


def refitted(X: Matrix, order: Order) -> Matrix:
    """Least squares in this order, weights under 0.3 cut."""
    W = weights_of(factor(gram(X), order), order)
    return np.where(np.abs(W) >= 0.3, W, 0.0)


# ---------------------------------------------------------------- arms


def topo(made: Simulated, seed: int, **options: Any) -> Answer:
    """The method."""
    found = TOPO(random_state=seed, **options).fit(made.X)
    return Answer(found.order_, found.adjacency_)


def solver(made: Simulated, seed: int, solve: Callable[..., Matrix], penalties: tuple[float, ...]) -> Answer:
    """A continuous solver at its published penalty and at none, with the order of its raw and of its cut weights: the best by the score."""
    raws = [solve(made.X, lambda1=lambda1, w_threshold=0.0) for lambda1 in penalties]
    cuts = [first_dag(np.where(np.abs(raw) >= 0.3, raw, 0.0)) for raw in raws]
    return Answer(min(map(topological_order, raws + cuts), key=partial(order_score, gram(made.X))), cuts[0])


def boss(made: Simulated, seed: int) -> Answer:
    """Best order score search with BIC, by causal-learn; what it leaves undirected is directed without new colliders."""
    try:
        from causallearn.search.PermutationBased.BOSS import boss as search
        from causallearn.utils.PDAG2DAG import pdag2dag
    except ImportError:
        untested("needs the package causal-learn: pip install 'workingpapers[causal]'")
    random.seed(seed)  # it draws from the global generator
    found = pdag2dag(search(made.X, "local_score_BIC_from_cov", verbose=False)).graph
    W = ((found == -1) & (found.T == 1)).astype(np.float64)  # [i, j] = -1 and [j, i] = 1: i -> j
    return Answer(topological_order(W), refitted_support(made.X, W))


def refitted_support(X: Matrix, W: Matrix) -> Matrix:
    """Least squares on the parents that a graph has."""
    X, out = X - X.mean(axis=0), np.zeros_like(W)
    for j in range(len(W)):
        parents = np.flatnonzero(W[:, j])
        out[parents, j] = np.linalg.lstsq(X[:, parents], X[:, j], rcond=None)[0]
    return out


def by_variance(made: Simulated, seed: int) -> Answer:
    """Sort by variance and regress."""
    W = sort_n_regress(made.X)
    return Answer(topological_order(W), np.where(np.abs(W) >= 0.3, W, 0.0))


def random_restarts(made: Simulated, seed: int) -> Answer:
    """The best of as many random orders as the method scored."""
    n = TOPO(random_state=seed).fit(made.X).n_scored_
    W = random_orders(made.X, n, np.random.default_rng(seed))
    return Answer(topological_order(W), np.where(np.abs(W) >= 0.3, W, 0.0))


# ---------------------------------------------------------------- lower-score


SOLVERS = {"NOTEARS": partial(solver, solve=notears, penalties=(0.1, 0.0)), "DAGMA": partial(solver, solve=dagma, penalties=(0.03, 0.0)),
           "GOLEM": partial(solver, solve=golem, penalties=(0.02, 0.0))}
KINDS: tuple[tuple[GraphName, int], ...] = (("ER", 1), ("ER", 2), ("ER", 4), ("SF", 4))
NOISES: tuple[SemName, ...] = ("gauss", "exp", "gumbel")
ON_STANDARDISED = (METHOD, LOG, "BOSS", "sorted by variance")
FULL = [Graph(d, k, graph, sem) for d in (20, 50, 100) for graph, k in KINDS for sem in NOISES]


@claim("lower-score",
       arms={METHOD: method(topo), PUBLISHED: method(topo, preset="paper"),
             LOG: method(topo, equal_variance=False, lambda1=0.1, w_threshold=0.1), **{name: baseline(f) for name, f in SOLVERS.items()},
             "BOSS": peer(boss), "sorted by variance": control(by_variance), "random orders": control(random_restarts)},
       points=at(smoke=[Graph(10, 4)], small=[Graph(20, 1), Graph(20, 4)], full=FULL),
       seeds=at(smoke=3, small=5, full=10),
       rule=all_of(most_of_points(headline(ratio("score", METHOD, "NOTEARS") < 1), ratio("score", METHOD, "DAGMA") < 1,
                                  ratio("score", METHOD, "GOLEM") < 1, share=0.8),
                   ratio("score", METHOD, "random orders", name="the control loses") < 1,
                   aside(ratio("score", METHOD, "BOSS") < 1, ratio("score", METHOD, "sorted by variance") < 1,
                         difference("shd", METHOD, "DAGMA") < 0, difference("shd", METHOD, "BOSS") < 0,
                         difference("shd", METHOD, "sorted by variance") < 0),
                   aside(value("over_true", METHOD) < 1.001, value("over_true", PUBLISHED) < 1.001,
                         title="many variables, over the true order"),
                   aside(difference("shd_standardised", LOG, "sorted by variance") < 0,
                         difference("shd_standardised", METHOD, "sorted by variance") < 0,
                         difference("shd_standardised", LOG, "BOSS") < 0, title="standardised data")))
def lower_score(trial: Trial) -> dict[str, float]:
    """Least-squares score of the order that an arm ends with; distance of its own graph from the truth, and of the refitted one."""
    made = trial.point.load(trial.rng)
    out: dict[str, float] = {}
    if trial.arm.name in ON_STANDARDISED:
        scaled = replace(made, X=(made.X - made.X.mean(axis=0)) / made.X.std(axis=0))
        out["shd_standardised"] = shd(made.B, trial.arm.build(scaled, trial.seed).W)
    if trial.arm.name == LOG:
        return out  # what it is for
    answer = trial.arm.build(made, trial.seed)
    return {**out, "score": order_score(gram(made.X), answer.order), "over_true": over_true(made, answer.order),
            "shd": shd(made.B, refitted(made.X, answer.order)), "shd_own": shd(made.B, answer.W)}


@lower_score.also(arms=[METHOD, PUBLISHED], seeds=at(smoke=3, small=5, full=10),  # type: ignore[untyped-decorator,unused-ignore]
                  points=at(smoke=[Graph(50, 4)], small=[Graph(50, 4), Graph(100, 4)], full=[Graph(100, 4)]))
def more_variables(trial: Trial) -> dict[str, float]:
    """Score beside that of the true order, where the published list sizes fall behind."""
    made = trial.point.load(trial.rng)
    return {"over_true": over_true(made, trial.arm.build(made, trial.seed).order)}


def found_in(checks: Sequence[Check], start: str) -> float | None:
    """Estimate of the check whose rule begins so."""
    return next((c.estimate for c in checks if c.rule.startswith(start) and c.estimate is not None), None)


@lower_score.note
def how_it_ends(checks: Sequence[Check]) -> str:
    """Where the score stands beside that of the true order, and what sorting by variance would have given."""
    true, by_scale = found_in(checks, f"over_true of {METHOD}"), found_in(checks, f"score of {METHOD} / sorted by variance")
    if true is None or by_scale is None:
        return ""
    return f"Its score was {true:.4f} of the true order's, and {by_scale:.3f} of that of sorting raw data by variance."


# ---------------------------------------------------------------- post-processing


def variance_start(X: Matrix) -> Matrix:
    """Sorted by variance, in the shape of a solver."""
    return sort_n_regress(X)


def boss_start(X: Matrix) -> Matrix:
    """BOSS, in the shape of a solver."""
    return boss(Simulated(X, np.eye(0), np.eye(0)), 0).W


def random_pairs(W: Matrix, X: Matrix, n_scored: int, rng: np.random.Generator) -> Order:
    """The control: from the same start, as many exchanges of random pairs scored, each kept where it improves."""
    S, order = gram(X), topological_order(W)
    score = order_score(S, order)
    for _ in range(n_scored):
        a, b = np.sort(rng.choice(len(order), size=2, replace=False))
        new = moved(order, "swap", int(a), int(b))
        found = order_score(S, new)
        if found < score:
            order, score = new, found
    return order


@claim("post-processing",
       arms={"NOTEARS": method(notears), "DAGMA": method(dagma), "GOLEM": method(golem), "BOSS": method(boss_start),
             "sorted by variance": method(variance_start), "variance, random pairs": control(variance_start)},
       points=at(smoke=[Graph(10, 4)], small=[Graph(20, 1), Graph(20, 4)], full=FULL),
       seeds=at(smoke=4, small=6, full=10),
       rule=all_of(*(bound("drop", name, name=f"{name} never becomes worse") >= 0
                     for name in ("NOTEARS", "DAGMA", "GOLEM", "BOSS", "sorted by variance")),
                   headline(value("drop", "DAGMA") > 0),
                   *(value("drop", name) > 0 for name in ("NOTEARS", "GOLEM", "BOSS", "sorted by variance")),
                   bound("drop_logistic", "NOTEARS", name="logistic loss: never worse") >= 0,
                   bound("drop_mlp", "NOTEARS", name="MLP loss: never worse") >= 0,
                   aside(value("drop_logistic", "NOTEARS") > 0, value("drop_mlp", "NOTEARS") > 0, title="other losses"),
                   aside(difference("drop", "sorted by variance", "variance, random pairs") > 0, title="beside random pairs"),
                   aside(*(value("shd_change", name) < 0 for name in ("NOTEARS", "DAGMA", "GOLEM", "BOSS")),
                         title="nearer to the true graph")))
def post_processing(trial: Trial) -> dict[str, float]:
    """Score of the start, refitted, and of what the polish makes of it; `drop` in per cent of the start's."""
    made = trial.point.load(trial.rng)
    start = trial.arm.build(made.X)
    found = polish(start, made.X, random_state=trial.seed)
    before, order = found.history_[0].loss, found.order_
    if trial.arm.role == "control":
        order = random_pairs(start, made.X, found.n_scored_, trial.rng_for("pairs"))
    score = order_score(gram(made.X), order)
    return {"score": score, "before": before, "drop": 100 * (1 - score / before),
            "shd_change": shd(made.B, refitted(made.X, order)) - shd(made.B, refitted(made.X, topological_order(start)))}


@post_processing.also(arms=["NOTEARS"], seeds=at(smoke=3, small=10, full=10),  # type: ignore[untyped-decorator,unused-ignore]
                      points=at(smoke=[Graph(6, 2, sem="logistic", n=500)], small=[Graph(10, 2, sem="logistic")],
                                full=[Graph(20, 4, sem="logistic", n=10_000)]))
def logistic(trial: Trial) -> dict[str, float]:
    """The same with 0/1 data: NOTEARS with the logistic loss, polished by it."""
    made = trial.point.load(trial.rng)
    found = polish(trial.arm.build(made.X, loss="logistic", lambda1=0.01), made.X, loss="logistic", random_state=trial.seed)
    return {"drop_logistic": 100 * (1 - found.score_ / found.history_[0].loss)}


@post_processing.also(arms=["NOTEARS"], seeds=at(smoke=3, small=6, full=10),  # type: ignore[untyped-decorator,unused-ignore]
                      points=at(smoke=[Graph(5, 1, sem="mlp", n=200)], small=[Graph(8, 1, sem="mlp", n=500)],
                                full=[Graph(10, 1, sem="mlp")]))
def mlp(trial: Trial) -> dict[str, float]:
    """The same with curved relations: linear NOTEARS, polished by the perceptrons' loss."""
    made = trial.point.load(trial.rng)
    hidden = at(smoke=8, small=20, full=40)[trial.scale]
    found = polish(trial.arm.build(made.X), made.X, loss="mlp", hidden=hidden, random_state=trial.seed)
    return {"drop_mlp": 100 * (1 - found.score_ / found.history_[0].loss)}


# ---------------------------------------------------------------- gradient-candidates


Ranking = Callable[[Matrix, Matrix, Order, np.random.Generator], Order]


def by_gradient(S: Matrix, W: Matrix, order: Order, rng: np.random.Generator) -> Order:
    """All pairs of positions, the lowest gradient of the penalty first."""
    return np.argsort(cycle_signal(W, order)[np.triu_indices(len(order), 1)], kind="stable")


def by_gradients(S: Matrix, W: Matrix, order: Order, rng: np.random.Generator) -> Order:
    """The same with the paper's filter: pairs whose loss gradient is at most 0.1 come last (three standard errors at 1,000 samples)."""
    a, b = np.triu_indices(len(order), 1)
    flat = np.abs((S @ W - S)[order[b], order[a]]) <= 0.1
    return np.lexsort((cycle_signal(W, order)[a, b], flat))


def by_chance(S: Matrix, W: Matrix, order: Order, rng: np.random.Generator) -> Order:
    """All pairs of positions, shuffled anew in every round."""
    return rng.permutation(len(order) * (len(order) - 1) // 2)


def descent(S: Matrix, order: Order, rank: Ranking, size: int, budget: int, rng: np.random.Generator) -> tuple[Matrix, float]:
    """Loss after each scored order, `(budget,)`, and the share of improving pairs in the first list. Rounds as in the method, `size`
    pairs of the ranking at a time until some improve."""
    losses, score, (a, b) = np.empty(budget), order_score(S, order), np.triu_indices(len(order), 1)
    spent, ranking, at_, hits = 0, np.empty(0, dtype=np.int64), 0, -1.0
    while spent < budget:
        L = factor(S, order)
        if at_ == 0:
            ranking = rank(S, weights_of(L, order), order, rng)
        chosen = ranking[at_ : at_ + size]
        if not len(chosen):
            losses[spent:] = score  # every pair was tried: a local minimum
            break
        losses[spent : spent + len(chosen)] = score
        spent += len(chosen)
        change, free, new = 0.5 * move_changes(L, a[chosen], b[chosen], ("swap",))[0], np.ones(len(order), dtype=bool), order
        hits = float(np.mean(change < 0)) if hits < 0 else hits
        for k in np.argsort(change, kind="stable"):
            first, last = int(a[chosen[k]]), int(b[chosen[k]])
            if change[k] < -1e-12 * score and free[first : last + 1].all():
                free[first : last + 1] = False
                new = moved(new, "swap", first, last)
        at_ = at_ + size if new is order else 0
        order, score = new, order_score(S, new)
    return losses, hits


@claim("gradient-candidates",
       arms={"gradient": method(by_gradient),
             "both gradients": method(by_gradients), "random pairs": control(by_chance)},
       points=at(smoke=[Graph(20, 1), Graph(20, 4)], small=[Graph(50, 1), Graph(50, 4)],
                 full=[Graph(100, 1), Graph(100, 2), Graph(100, 4)]),
       seeds=at(smoke=10, small=40, full=40),
       rule=all_of(headline(ratio("area", "gradient", "random pairs", name="as in the released code") < 1),
                   aside(ratio("area", "both gradients", "random pairs") < 1, title="with the paper's filter on the loss gradient"),
                   aside(difference("hits", "gradient", "random pairs") > 0, title="improving pairs in the first list"),
                   aside(ratio("orders_to_1_percent", "gradient", "random pairs") < 1, title="orders to 1 % above the best")))
def gradient_candidates(trial: Trial) -> dict[str, float]:
    """Area between the loss and the best score known, over scored orders: lists of a tenth of all pairs, ten times all pairs in total."""
    made = trial.point.load(trial.rng)
    S, d = gram(made.X), trial.point.d
    pairs, rng = d * (d - 1) // 2, trial.rng_for("start")
    losses, hits = descent(S, rng.permutation(d), trial.arm.target, max(1, pairs // 10), 10 * pairs, trial.rng_for("pairs"))
    best = min(TOPO(n_restarts=5, move="both", random_state=trial.seed).fit(made.X).score_, order_score(S, topological_order(made.B)))
    near = np.flatnonzero(losses <= 1.01 * best)
    return {"area": float(np.mean(losses - best)), "hits": hits, "orders_to_1_percent": float(near[0] + 1 if len(near) else len(losses))}


@gradient_candidates.note
def sooner_or_not(checks: Sequence[Check]) -> str:
    """What the gradient is good at, and what it is not."""
    hits, orders = found_in(checks, "hits of gradient"), found_in(checks, "orders_to_1_percent of gradient")
    if hits is None or orders is None:
        return ""
    return (f"In the first list the share of pairs that improve differed by {100 * hits:+.0f} points (gradient minus random); it took "
            f"{orders:.2f} of the orders that random pairs took to come within 1 % of the best.")


# ---------------------------------------------------------------- local-minimum


@claim("local-minimum",
       arms={METHOD: method(TOPO), PUBLISHED: method(TOPO, preset="paper"), "TOPO, list of a quarter": method(TOPO),
             "TOPO, 20 restarts": method(TOPO, n_restarts=20), "random orders": control(TOPO)},
       points=at(smoke=[Graph(8, 2)], small=[Graph(8, 2), Graph(12, 4), Graph(16, 4)], full=[Graph(8, 2), Graph(12, 4), Graph(18, 4)]),
       seeds=at(smoke=10, small=30, full=100),
       rule=all_of(headline(bound("share", METHOD, name="all pairs listed: every end is a local minimum") >= 1),
                   difference("share", METHOD, "random orders", name="the control loses") > 0,
                   aside(value("share", PUBLISHED) > 0.9, value("share", "TOPO, list of a quarter") > 0.9, title="shorter lists"),
                   aside(bound("gap", "TOPO, 20 restarts", name="20 restarts reach the best of all orders") <= 1e-9,
                         difference("gap", METHOD, "random orders") < 0, title="distance to the best of all orders")))
def local_minimum(trial: Trial) -> dict[str, float]:
    """Whether any exchange improves the end, each scored by a factorisation of its own; per cent above the best order's score."""
    made = trial.point.load(trial.rng)
    S, d = gram(made.X), trial.point.d
    if trial.arm.role == "control":
        order = np.random.default_rng(trial.seed).permutation(d)
    else:
        quarter = {"size_small": d * (d - 1) // 8, "size_large": d * (d - 1) // 8} if trial.arm.name.endswith("quarter") else {}
        order = trial.arm.build(random_state=trial.seed, **quarter).fit(made.X).order_
    score = order_score(S, order)
    exchanged = [order_score(S, moved(order, "swap", i, j)) for i in range(d) for j in range(i + 1, d)]
    return {"share": float(min(exchanged) >= score * (1 - 1e-11)), "gap": 100 * (score / best_order(S)[1] - 1)}


__all__ = ["gradient_candidates", "local_minimum", "lower_score", "post_processing"]

preload()  # before trials fork: each would load, or compile, the loops by itself
