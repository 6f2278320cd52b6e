"""How the claims of paper.toml are tried.

Every arm of a seed meets the same problem with the same luck of world and person, the same learner and the same settings, which are
the defaults of `PRLSVI` and were fixed before any comparison: arms differ only in which pairs they ask about. Arms that ask "as many"
first run the rule on the same seed to learn how many that is, which takes a few hundredths of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import altair as alt
import gymnasium
import numpy as np
import numpy.typing as npt

from workingpapers.claims import (
    Check,
    Results,
    TimedTrial,
    Trial,
    Verdict,
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
    side_by_side,
    slope,
    t_interval,
    value,
)

from . import (
    PRLSVI,
    DirichletDynamics,
    EnsembleDynamics,
    EnsembleReward,
    FiniteEnv,
    FiniteMDP,
    History,
    LaplaceReward,
    LinearMDPFeatures,
    Link,
    PolicySearch,
    PreferenceOracle,
    PreferenceTS,
    Selection,
    TabularFeatures,
    ValueIteration,
)
from ._mdp import random_linear_mdp, random_mdp, rare_states_mdp, river_swim
from ._preload import preload

Array = npt.NDArray[np.float64]

GAIN = 4.0  # of the scripted person, who tells returns apart by a logistic curve; the learner is told it
EPS = 0.1


@dataclass(frozen=True)
class Problem(Workload):
    """Finite problems of one family, `episodes` rounds long; each seed draws its own."""

    family: str
    episodes: int
    eps: float = EPS
    is_shown_only: bool = False

    FAMILIES = {"random": random_mdp, "rare states": rare_states_mdp, "random linear": random_linear_mdp,
                "RiverSwim": lambda rng: river_swim()}

    @property
    def label(self) -> str:
        more = f", eps {self.eps:.3g}" if self.eps != EPS else ", every way of asking" if self.is_shown_only else ""
        return f"{self.family} problems{more}"

    @property
    def inverse_eps(self) -> float:
        """1 / eps."""
        return 1 / self.eps

    def load(self, rng: np.random.Generator) -> FiniteMDP:
        return self.FAMILIES[self.family](rng)  # type: ignore[operator,no-any-return]


def PRLSVI_on(mdp: FiniteMDP, episodes: int, selection: Selection, rng: np.random.Generator, world: int, person: np.random.Generator,
              **options: Any) -> tuple[History, PRLSVI]:
    """One run on a finite problem."""
    features = TabularFeatures(mdp.n_states, mdp.n_actions) if mdp.features is None else LinearMDPFeatures(mdp.features)
    agent = PRLSVI(features, mdp.horizon, link=Link("logistic", GAIN), eps=selection.eps, selection=selection, seed=rng, **options)
    env = FiniteEnv(mdp)
    env.reset(seed=world)
    return agent.learn(env, PreferenceOracle(beta=GAIN, seed=person), episodes), agent


def luck(trial: Any) -> tuple[np.random.Generator, int, np.random.Generator]:
    """Streams for the learner, the world and the person: equal for all arms of a seed."""
    return trial.rng_for("learner"), int(trial.rng_for("world").integers(2**31)), trial.rng_for("person")


def ask(trial: Trial, kind: str = "rule", eps: float = EPS, pairing: str = "previous", is_told: bool = False) -> tuple[History, PRLSVI]:
    """Run an arm: `kind` of selection, at the number of questions that the rule with `eps` asks on this seed where it has a budget."""
    point, mdp = trial.point, trial.point.load(trial.rng)
    selection = Selection("rule", eps=eps)
    options: dict[str, Any] = {"pairing": pairing}
    if kind in ("first", "random", "disagreement", "entropy"):
        asked = PRLSVI_on(mdp, point.episodes, selection, *luck(trial))[0].n_queries
        selection = Selection(kind, budget=asked, episodes=point.episodes)  # type: ignore[arg-type]
    elif kind == "never":
        selection = Selection("never")
    if is_told:
        options["true_reward"] = mdp.rewards.ravel() if mdp.features is None else np.linalg.lstsq(
            mdp.features.reshape(-1, mdp.features.shape[2]), mdp.rewards.ravel(), rcond=None)[0]
    return PRLSVI_on(mdp, point.episodes, selection, *luck(trial), **options)


def measured(history: History) -> dict[str, float]:
    """Total regret, and questions (at least one, so that ratios are defined)."""
    return {"regret": float(history.regret.sum()), "queries": max(1, history.n_queries)}


def named(row: dict[str, Any]) -> str:
    """An arm with the threshold it was tried at, where there are several."""
    return str(row["arm"]) + str(row["metric"]).removeprefix("regret").removeprefix("queries")


def spread_plot(results: Results) -> Any:
    """Mean with its interval, median, 90 % quantile and worst of each arm: regret has heavy tails."""
    cells: dict[tuple[str, str], list[float]] = {}
    for row in results.rows():
        if row["metric"].startswith("regret"):
            cells.setdefault((row["point"], named(row)), []).append(row["value"])
    rows = []
    for (point, arm), values in cells.items():
        found = t_interval(values) if len(values) >= 3 else None
        rows.append({"point": point, "arm": arm, "mean": float(np.mean(values)), "median": float(np.median(values)),
                     "90 %": float(np.quantile(values, 0.9)), "worst": max(values),
                     "lo": max(found.lo, 1e-3) if found else None, "hi": found.hi if found else None})
    base = alt.Chart(alt.InlineData(values=rows)).encode(y=alt.Y("arm:N", sort=None, title=None))
    scale = alt.Scale(type="log")
    title = "total regret: mean with its interval, median |, 90 % and worst o"
    layers = [base.mark_rule(strokeWidth=3).encode(x=alt.X("lo:Q", scale=scale, title=title), x2="hi:Q"),
              base.mark_point(filled=True, size=60).encode(x=alt.X("mean:Q", scale=scale)),
              base.mark_tick(thickness=2).encode(x=alt.X("median:Q", scale=scale)),
              *(base.mark_point(size=25).encode(x=alt.X(f"{tail}:Q", scale=scale)) for tail in ("90 %", "worst"))]
    return alt.layer(*layers).properties(width=420).facet(row=alt.Row("point:N", title=None))


# ---------------------------------------------------------------- sublinear

LSVI, RULE, ALWAYS, NEVER = "PR-LSVI", "the rule", "asks always", "never asks"
FIRST, RANDOM = "first, as many", "random, as many"
DISAGREEMENT, ENTROPY, ONE_POLICY = "disagreement, as many", "entropy, as many", "two episodes of one policy"


def root_rule(trial: Trial) -> History:
    """The rule with eps = 1 / sqrt(T), at which the analysis gives regret of order sqrt(T)."""
    return ask(trial, eps=trial.point.eps)[0]


def random_policy(trial: Trial) -> History:
    """Actions drawn uniformly in both episodes of each round; nothing asked."""
    mdp, T = trial.point.load(trial.rng), trial.point.episodes
    gap = 2 * (mdp.optimal()[0] - mdp.random_value())
    none = np.full((T, 2), np.nan)
    return History(np.full(T, gap), np.zeros(T, bool), np.zeros(T), none, (), True)


def at_root(family: str, episodes: int) -> Problem:
    return Problem(family, episodes, eps=episodes**-0.5)


@claim("sublinear",
       arms={LSVI: method(root_rule), ALWAYS: baseline(lambda trial: ask(trial, eps=0.0)[0]),
             "told the rewards": peer(lambda trial: ask(trial, "never", is_told=True)[0]),
             NEVER: control(lambda trial: ask(trial, "never")[0]), "random policy": control(random_policy)},
       points=at(smoke=[at_root("random linear", 500)],
                 small=[at_root("RiverSwim", 5_000), at_root("random", 5_000), at_root("random linear", 5_000)],
                 full=[at_root("RiverSwim", 100_000), at_root("random", 100_000), at_root("random linear", 100_000)]),
       seeds=at(smoke=20, small=20, full=100),
       rule=all_of(each_point(headline(value("growth", LSVI) <= 0.7)), value("growth", NEVER, name="the control does not learn") > 0.7,
                   ratio("regret", LSVI, "random policy", name="the control loses") < 1))
def sublinear(trial: Trial) -> dict[str, float]:
    """Log-log slope of cumulative regret over the last tenfold of rounds; total regret; questions."""
    history = trial.arm.build(trial)
    return {"growth": history.slope(), **measured(history)}


@sublinear.note
def how_fast(checks: Sequence[Check]) -> str:
    """Slower than claimed, but slower than time too."""
    found = [c for c in checks if c.metric == "growth" and LSVI in c.rule and c.interval is not None]
    between = [c for c in found if c.interval is not None and 0.7 < c.interval[1] < 0.9]
    return "Sublinear, but slower than the square root." if between and len(between) == len(found) else ""


# ---------------------------------------------------------------- queries-saved and queries-chosen

def by(kind: str, eps: float = EPS, **options: Any) -> Any:
    """An arm's target: its questions are chosen by this kind of selection."""

    def target(trial: Trial, eps: float = eps) -> History:
        return ask(trial, kind, eps, **options)[0]

    return target


SWEEP = (0.2, 0.4)  # further thresholds, shown beside the one that decides


def decides(label: str) -> bool:
    """Points that the rule looks at; the others, with fewer seeds, are there for the arms beside it."""
    return "every way" not in label


@claim("queries-saved",
       arms={RULE: method(by("rule")), ALWAYS: baseline(by("rule", 0.0)), RANDOM: control(by("random")), NEVER: control(by("never"))},
       points=at(smoke=[Problem("random", 1_000, is_shown_only=True)], small=[Problem("random", 5_000, is_shown_only=True)],
                 full=[Problem("random", 100_000, is_shown_only=True)]), seeds=at(smoke=5, small=10, full=20),
       rule=all_of(each_point(headline(ratio("queries", RULE, ALWAYS) <= 0.2), only=decides),
                   each_point(not_worse("regret", RULE, ALWAYS, margin=2), only=decides),
                   ratio("regret", RULE, NEVER, name="the control loses") < 1,
                   aside(each_point(difference("regret", RULE, ALWAYS) <= 0, only=decides),
                         each_point(ratio("regret", RULE, RANDOM) < 1, only=decides), title="plain means, and as many at random")))
def queries_saved(trial: Trial) -> dict[str, float]:
    """Questions and total regret; for the rule and for random questions, at further thresholds too."""
    found = measured(trial.arm.build(trial))
    if trial.arm.name in (RULE, RANDOM):
        for eps in SWEEP:
            again = measured(trial.arm.build(trial, eps=eps))
            found |= {f"regret, eps {eps}": again["regret"], f"queries, eps {eps}": again["queries"]}
    return found


@queries_saved.also(arms=[RULE, ALWAYS, RANDOM], seeds=at(smoke=50, small=60, full=100),  # type: ignore[untyped-decorator,unused-ignore]
                    points=at(smoke=[Problem("random", 1_000)], small=[Problem("random", 5_000), Problem("rare states", 3_000)],
                              full=[Problem("random", 100_000), Problem("rare states", 100_000)]))
def saved_decided(trial: Trial) -> dict[str, float]:
    """The same with the seeds that decide."""
    return queries_saved.parts[0].function(trial)  # type: ignore[no-any-return]


@queries_saved.plot("regret by threshold: mean, median and tail")
def saved_spread(results: Results) -> Any:
    """Regret has heavy tails: mean, median, 90 % and worst beside each other."""
    return spread_plot(results)


@queries_saved.plot("regret against questions")
def saved_sweep(results: Results) -> Any:
    """The sweep of thresholds, with random questions at the same counts."""
    return sweep_plot(results)


def sweep_plot(results: Results) -> Any:
    """Mean regret, with its interval, against mean questions, for each arm and point."""
    cells: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in results.rows():
        metric = row["metric"].split(",")[0]
        if metric in ("regret", "queries"):
            cells.setdefault((row["point"], named(row)), {}).setdefault(metric, []).append(row["value"])
    rows = []
    for (point, arm), found in cells.items():
        if len(found.get("regret", [])) >= 3 and "queries" in found:
            interval = t_interval(found["regret"])
            rows.append({"problem": point.split(",")[0], "arm": arm, "queries": float(np.mean(found["queries"])),
                         "regret": interval.estimate, "lo": interval.lo, "hi": interval.hi})
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=alt.X("queries:Q", scale=alt.Scale(type="log")),
                                                         color=alt.Color("arm:N", sort=None))
    layers = base.mark_rule().encode(y=alt.Y("lo:Q", title="total regret"), y2="hi:Q"), base.mark_point(filled=True).encode(y="regret:Q")
    return alt.layer(*layers).properties(width=320).facet(column=alt.Column("problem:N", title=None))


@claim("queries-chosen",
       arms={RULE: method(by("rule")), FIRST: baseline(by("first")), DISAGREEMENT: baseline(by("disagreement")),
             ENTROPY: baseline(by("entropy")), ONE_POLICY: baseline(by("rule", pairing="same")),
             RANDOM: control(by("random")), "told the rewards": peer(by("never", is_told=True))},
       points=at(smoke=[Problem("random", 1_000, is_shown_only=True)],
                 small=[Problem(family, 5_000, is_shown_only=True) for family in ("random", "rare states")],
                 full=[Problem(family, 100_000, is_shown_only=True) for family in ("random", "rare states")]),
       seeds=at(smoke=5, small=20, full=50),
       rule=all_of(each_point(headline(ratio("regret", RULE, RANDOM) < 1), only=decides),
                   each_point(ratio("regret", RULE, FIRST) < 1, only=decides),
                   aside(each_point(difference("regret", RULE, RANDOM) < 0, only=decides),
                         each_point(difference("regret", RULE, FIRST) < 0, only=decides), title="plain means"),
                   aside(*(ratio("regret", RULE, other) < 1 for other in (DISAGREEMENT, ENTROPY, ONE_POLICY)),
                         title="other ways of choosing")))
def queries_chosen(trial: Trial) -> dict[str, float]:
    """Total regret at the rule's number of questions, and that number."""
    return measured(trial.arm.build(trial))


@queries_chosen.also(arms=[RULE, FIRST, RANDOM], seeds=at(smoke=50, small=100, full=200),  # type: ignore[untyped-decorator,unused-ignore]
                     points=at(smoke=[Problem("random", 1_000)], small=[Problem("random", 5_000), Problem("rare states", 5_000)],
                               full=[Problem("random", 100_000), Problem("rare states", 100_000)]))
def chosen_decided(trial: Trial) -> dict[str, float]:
    """The same with the seeds that decide."""
    return measured(trial.arm.build(trial))


@queries_chosen.note
def when_or_what(checks: Sequence[Check]) -> str:
    """Whether it is the time of asking or the choice of questions that helps."""
    spread, early = ([c.verdict for c in checks if c.rule.startswith(f"regret of {RULE} / {arm} at")] for arm in (RANDOM, FIRST))
    if not spread or not early or set(spread) != {Verdict.HOLDS}:
        return ""
    if set(early) == {Verdict.HOLDS}:
        return "The choice of questions helps."
    return "It beats as many questions spread at random, but not as many asked at the start: when it asks helps; what it asks, not visibly."


@queries_chosen.plot("regret at equal questions: mean, median and tail")
def chosen_spread(results: Results) -> Any:
    """Regret has heavy tails: mean, median, 90 % and worst beside each other."""
    return spread_plot(results)


# ---------------------------------------------------------------- tradeoff


@claim("tradeoff",
       arms={RULE: method(lambda trial: ask(trial, eps=trial.point.eps)),
             RANDOM: control(lambda trial: ask(trial, "random", eps=trial.point.eps))},
       points=at(smoke=[Problem("random", 2_000, e) for e in (0.05, 0.1, 0.2, 0.4)],
                 small=[Problem("random", 5_000, e) for e in (0.025, 0.05, 0.1, 0.2, 0.4, 0.8)],
                 full=[Problem("random", 100_000, e) for e in (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4)]),
       seeds=at(smoke=20, small=50, full=50),
       rule=all_of(headline(slope("queries", RULE, x="inverse_eps") <= 2.1), bound("queries_over_bound", RULE) <= 1,
                   slope("regret", RULE, x="eps", name="growth of regret with the threshold") <= 1.1))
def tradeoff(trial: Trial) -> dict[str, float]:
    """Questions, regret, and questions over the bound that holds on every run."""
    history, agent = trial.arm.build(trial)
    found = measured(history)
    return found | {"queries_over_bound": found["queries"] / agent._reward.bound_on_queries(trial.point.eps)}


@tradeoff.plot("regret against questions")
def tradeoff_sweep(results: Results) -> Any:
    """One point a threshold, with random questions at the same counts."""
    return sweep_plot(results)


# ---------------------------------------------------------------- compute


@dataclass(frozen=True)
class Sized(Workload):
    """A random linear problem with `d` features, 20 states and 4 actions, H = 5: seconds of `n_rounds` rounds."""

    d: int
    n_rounds: int

    @property
    def label(self) -> str:
        return f"{self.d} features"

    def load(self, rng: np.random.Generator) -> FiniteMDP:
        return random_linear_mdp(rng, dim=self.d, n_states=20)


@dataclass(frozen=True)
class Tiny(Workload):
    """Two states and two actions over `horizon` steps: small enough to list all its policies."""

    horizon: int

    @property
    def label(self) -> str:
        return f"{self.policies} policies"

    @property
    def policies(self) -> int:
        """Deterministic policies that there are."""
        return int(2 ** (2 * self.horizon))

    def load(self, rng: np.random.Generator) -> FiniteMDP:
        return random_mdp(rng, 2, 2, self.horizon)


def seconds_of_rounds(mdp: FiniteMDP, n: int, seed: int) -> Any:
    """A function that runs n rounds from the start."""
    return lambda: PRLSVI_on(mdp, n, Selection(), np.random.default_rng(seed), seed, np.random.default_rng(seed))


def optimistic_search(mdp: FiniteMDP, n: int, seed: int) -> Any:
    """A function that looks, n times, through all policies for the one whose value is highest when uncertainty counts in its favour."""
    S, H = mdp.n_states, mdp.horizon
    codes = np.arange(2 ** (S * H))
    actions = ((codes[:, None] >> np.arange(S * H)) & 1).reshape(-1, H, S)
    counts = np.random.default_rng(seed).integers(1, 30, size=(S, mdp.n_actions))
    hopeful = mdp.rewards + 1 / np.sqrt(counts)

    def search() -> int:
        best = 0
        for _ in range(n):
            V = np.zeros((len(actions), S))
            for h in range(H - 1, -1, -1):
                s, a = np.arange(S), actions[:, h]
                V = hopeful[s, a] + np.einsum("pst,pt->ps", mdp.transitions[s, a], V)
            best = int((V @ mdp.start).argmax())
        return best

    return search


@claim("compute",
       arms={LSVI: method(seconds_of_rounds), "optimistic search": baseline(optimistic_search)},
       points=at(smoke=[Sized(d, 40) for d in (10, 25, 50)], small=[Sized(d, 60) for d in (10, 25, 50, 100, 200)],
                 full=[Sized(d, 60) for d in (10, 25, 50, 100, 200, 400)]),
       seeds=at(smoke=5, small=5, full=5), is_timed=True,
       rule=all_of(headline(slope("seconds", LSVI, x="d") <= 3.2),
                   slope("tiny_seconds", LSVI, x="policies", name="growth of time with the number of policies") < 0.5,
                   slope("tiny_seconds", "optimistic search", x="policies", name="the search through all policies grows with them") > 0.5))
def compute(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Seconds a round as features grow."""
    mdp, n = trial.point.load(trial.rng), trial.point.n_rounds
    timings = side_by_side({LSVI: trial.arms[LSVI].build(mdp, n, trial.seed)}, repeats=3)
    return {LSVI: {"seconds": timings[LSVI].best / n}}


@compute.timed(points=at(smoke=[Tiny(h) for h in (3, 5, 7)], small=[Tiny(h) for h in (3, 5, 7, 8)],  # type: ignore[untyped-decorator,unused-ignore]
                         full=[Tiny(h) for h in (3, 5, 7, 8, 9)]), seeds=at(smoke=5, small=5, full=5))
def by_policies(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Seconds a round as policies grow, beside a search through all of them."""
    mdp = trial.point.load(trial.rng)
    n = {LSVI: 200, "optimistic search": 3}
    timings = side_by_side({name: arm.build(mdp, n[name], trial.seed) for name, arm in trial.arms.items()}, repeats=3)
    return {name: {"tiny_seconds": timing.best / n[name]} for name, timing in timings.items()}


# ---------------------------------------------------------------- pbts


@dataclass(frozen=True)
class Prior(Workload):
    """Finite problems drawn from the learner's own prior: flat Dirichlet transitions, normal rewards; `episodes` rounds."""

    n_states: int
    n_actions: int
    horizon: int
    episodes: int

    @property
    def label(self) -> str:
        return f"{self.n_states} states, {self.n_actions} actions"

    def load(self, rng: np.random.Generator) -> FiniteMDP:
        mdp = random_mdp(rng, self.n_states, self.n_actions, self.horizon)
        return FiniteMDP(mdp.transitions, rng.standard_normal((self.n_states, self.n_actions)), mdp.start, self.horizon)


@dataclass(frozen=True)
class Balance(Workload):
    """CartPole with a taste that is not linear: each step earns a product of bells around the upright pole and the middle."""

    steps: int
    episodes: int

    @property
    def label(self) -> str:
        return f"CartPole, {self.steps} steps"

    def load(self, rng: np.random.Generator) -> None:
        return None


LOW, HIGH = (-2.4, -2.5, -0.21, -2.5), (2.4, 2.5, 0.21, 2.5)


class Tasted(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Pays 1 for a step from the very middle with the pole upright, less away from it: `exp(-(x / 0.8)^2 - (angle / 0.1)^2)`."""

    def reset(self, **options: Any) -> Any:
        self._obs, info = self.env.reset(**options)
        return self._obs, info

    def step(self, action: Any) -> Any:
        earned = float(np.exp(-((self._obs[0] / 0.8) ** 2) - (self._obs[2] / 0.1) ** 2))
        self._obs, _, terminated, truncated, info = self.env.step(action)
        return self._obs, earned, terminated, truncated, info


TS_EPS = 1.0  # about a quarter of what two draws from the prior disagree on average about a pair


def sample(trial: Trial, kind: str = "rule", eps: float = TS_EPS) -> dict[str, float]:
    """Run an arm of the sampling form; `kind` as in `ask`."""
    run = _sampled_balance if isinstance(trial.point, Balance) else _sampled_prior
    selection = Selection("rule", eps=eps)
    if kind in ("first", "random", "disagreement"):
        asked = run(trial, selection).n_queries
        selection = Selection(kind, budget=asked, episodes=trial.point.episodes)  # type: ignore[arg-type]
    return measured(run(trial, selection))


def _sampled_prior(trial: Trial, selection: Selection) -> History:
    point, mdp = trial.point, trial.point.load(trial.rng)
    learner, world, person = luck(trial)
    agent = PreferenceTS(LaplaceReward(TabularFeatures(mdp.n_states, mdp.n_actions)), DirichletDynamics(mdp.n_states, mdp.n_actions),
                         ValueIteration(mdp.horizon), selection=selection, seed=learner)
    env = FiniteEnv(mdp)
    env.reset(seed=world)
    return agent.learn(env, PreferenceOracle(seed=person), point.episodes)


def _sampled_balance(trial: Trial, selection: Selection) -> History:
    learner, world, person = luck(trial)
    seed = int(learner.integers(2**31))
    # Lighter than the defaults, so that a round takes a twentieth of a second.
    reward = EnsembleReward(LOW, HIGH, 2, members=4, hidden=24, steps=6, batch=24, seed=seed)
    dynamics = EnsembleDynamics(LOW, HIGH, 2, members=4, hidden=24, steps=4, batch=64, seed=seed)
    search = PolicySearch(trial.point.steps, policies=32, elites=6, iterations=4, starts=2)
    agent = PreferenceTS(reward, dynamics, search, selection=selection, seed=learner)
    env = Tasted(gymnasium.make("CartPole-v1"))
    env.reset(seed=world)
    # Regret against 1 a step, which nothing can exceed: equal for all arms, and never below 0.
    return agent.learn(env, PreferenceOracle(seed=person), trial.point.episodes, optimal_value=trial.point.steps)


def sampled_by(kind: str, eps: float = TS_EPS) -> Any:
    """An arm's target."""
    return partial(sample, kind=kind, eps=eps)


@claim("pbts",
       arms={RULE: method(sampled_by("rule")), ALWAYS: baseline(sampled_by("rule", 0.0)), FIRST: baseline(sampled_by("first")),
             DISAGREEMENT: baseline(sampled_by("disagreement")), RANDOM: control(sampled_by("random"))},
       points=at(smoke=[Prior(5, 3, 5, 500)], small=[Prior(6, 3, 5, 2_000)], full=[Prior(10, 4, 8, 20_000)]),
       seeds=at(smoke=20, small=60, full=100),
       rule=each_of(all_of(each_point(headline(ratio("queries", RULE, ALWAYS) <= 0.2)),
                           each_point(not_worse("regret", RULE, ALWAYS, margin=2))),
                    all_of(each_point(ratio("regret", RULE, RANDOM) < 1), each_point(ratio("regret", RULE, FIRST) < 1)),
                    over="saved, chosen"))
def pbts(trial: Trial) -> dict[str, float]:
    """Questions and total regret."""
    return trial.arm.build(trial)  # type: ignore[no-any-return]


@pbts.also(points=at(smoke=[Prior(8, 2, 8, 500)], small=[Balance(30, 100)], full=[Balance(200, 500)]),  # type: ignore[untyped-decorator,unused-ignore]
           seeds=at(smoke=10, small=5, full=20))
def pbts_elsewhere(trial: Trial) -> dict[str, float]:
    """The same on problems of another kind; at larger scales with networks for rewards and transitions."""
    if isinstance(trial.point, Balance) and trial.arm.name == DISAGREEMENT:
        return {}  # there the rule itself is the disagreement of an ensemble
    return trial.arm.build(trial)  # type: ignore[no-any-return]


@pbts.plot("regret: mean, median and tail")
def pbts_spread(results: Results) -> Any:
    """Regret has heavy tails: mean, median, 90 % and worst beside each other."""
    return spread_plot(results)


preload()  # before trials fork: each would load the compiled code by itself

__all__ = ["compute", "pbts", "queries_chosen", "queries_saved", "sublinear", "tradeoff"]
