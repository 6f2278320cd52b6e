"""The claims: their trials measure what they say, and a method that stops being one changes the verdict."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from workingpapers.claims import Claim, Trial, Verdict
from workingpapers.papers.catalogue import load_catalogue
from workingpapers.papers.preference_rl import exact_value

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    pytest.importorskip("workingpapers.papers.preference_rl.claims", reason="needs the extra rl")
claims = importlib.import_module("workingpapers.papers.preference_rl.claims")

POINT = claims.Problem("random", 400)


def tried(claim: Claim, arm: str, seed: int = 0, point: Any = POINT) -> Trial:
    return Trial(claim=claim.id, seed=seed, point=point, scale="smoke", arm=claim.arms[arm])


def measured(claim: Claim, arm: str, seed: int = 0, point: Any = POINT) -> dict[str, float]:
    return dict(claim.parts[0].function(tried(claim, arm, seed, point)))


def better(claim: Claim) -> dict[str, str]:
    facts = load_catalogue().find("preference_rl").facts.claim(claim.id)
    return {facts.metric: facts.better} | {m.name: m.better for m in facts.metrics}


def test_every_claim_of_the_toml_is_there() -> None:
    ids = [c.id for c in load_catalogue().find("preference_rl").facts.claims]
    made = [v for v in vars(claims).values() if isinstance(v, Claim)]
    assert sorted(c.id for c in made) == sorted(ids)
    for claim in made:
        assert set(claim.scales) == {"smoke", "small", "full"}


@pytest.mark.parametrize("name", ["queries_saved", "queries_chosen"])
def test_the_two_separate_verdicts_rest_on_50_seeds_or_more_and_equal_counts(name: str) -> None:
    claim = getattr(claims, name)
    deciding = claim.parts[1]
    for scale in ("smoke", "small", "full"):
        assert deciding.seeds[scale] >= 50
        assert all(claims.decides(p.label) for p in deciding.points[scale])
        assert not any(claims.decides(p.label) for p in claim.parts[0].points[scale])


def test_as_many_means_as_many_on_each_seed_and_in_the_first_rounds_where_it_says_so() -> None:
    for seed in range(3):
        asked = measured(claims.queries_chosen, claims.RULE, seed)["queries"]
        for arm in (claims.FIRST, claims.RANDOM):
            assert measured(claims.queries_chosen, arm, seed)["queries"] == asked, arm
        for arm in ("disagreement, as many", "entropy, as many"):  # one may be left over where the last pairs have equal features
            assert asked - 2 <= measured(claims.queries_chosen, arm, seed)["queries"] <= asked, arm
        first = claims.queries_chosen.arms[claims.FIRST].build(tried(claims.queries_chosen, claims.FIRST, seed)).queries
        spread = claims.queries_chosen.arms[claims.RANDOM].build(tried(claims.queries_chosen, claims.RANDOM, seed)).queries
        assert np.flatnonzero(first)[-1] < asked + 40  # a few early pairs have equal features
        assert np.flatnonzero(spread)[-1] > 300


def test_arms_of_a_seed_share_problem_and_luck() -> None:
    claim = claims.queries_chosen
    a, b = (claim.arms[name].build(tried(claim, name)) for name in (claims.RULE, claims.FIRST))
    same = int(np.argmax(a.queries != b.queries))  # until the first question that only one of them asks
    assert same > 5
    np.testing.assert_array_equal(a.values[:same], b.values[:same])
    np.testing.assert_array_equal(a.regret[:same], b.regret[:same])


def test_always_asking_asks_and_never_asking_does_not() -> None:
    claim = claims.queries_saved
    assert measured(claim, claims.ALWAYS)["queries"] > 350
    assert claim.arms[claims.NEVER].build(tried(claim, claims.NEVER)).n_queries == 0
    assert {"regret, eps 0.2", "queries, eps 0.4"} <= set(measured(claim, claims.RULE))


def verdicts(claim: Claim, replaced: dict[str, Any], part: int, seeds: int = 12, episodes: int = 400) -> dict[str, Verdict]:
    broken = replace(claim, arms={**claim.arms, **replaced}, parts=[replace(claim.parts[part], points=replace(
        claim.parts[part].points, values={"smoke": [claims.Problem("random", episodes)]}))])
    return {c.rule: c.verdict for c in broken.decide(broken.try_all("smoke", seeds=seeds, better=better(claim))).checks}


@pytest.mark.slow
def test_asking_always_in_place_of_the_rule_saves_nothing() -> None:
    claim = claims.queries_saved
    found = verdicts(claim, {}, 1, seeds=5, episodes=1_000)
    rule = next(iter(found))
    assert found[rule] is Verdict.HOLDS
    always = replace(claim.arms[claims.ALWAYS], name=claims.RULE, role="method")
    assert verdicts(claim, {claims.RULE: always}, 1, seeds=3)[rule] is Verdict.FAILS


def test_random_questions_in_place_of_the_rule_are_not_better_than_random_ones() -> None:
    claim = claims.queries_chosen
    fake = replace(claim.arms[claims.RANDOM], name=claims.RULE, role="method")
    found = verdicts(claim, {claims.RULE: fake}, 1)
    assert all(v is not Verdict.HOLDS for v in found.values())


def test_a_rule_that_asks_too_much_breaks_the_bound() -> None:
    claim = claims.tradeoff

    def greedy(trial: Trial) -> Any:
        history, agent = claims.ask(trial, "random", eps=trial.point.eps)
        return replace(history, queries=np.ones_like(history.queries)), agent

    point = claims.Problem("random", 3_000, 0.4)
    arms = {**claim.arms, claims.RULE: replace(claim.arms[claims.RULE], target=greedy)}
    given = claim.parts[0].function(Trial(claim=claim.id, seed=0, point=point, scale="smoke", arm=arms[claims.RULE]))
    assert given["queries_over_bound"] > 1
    assert measured(claim, claims.RULE, point=point)["queries_over_bound"] < 1


def test_the_random_policy_has_slope_1_and_the_told_learner_less() -> None:
    point = claims.at_root("random", 1_000)
    assert measured(claims.sublinear, "random policy", point=point)["growth"] == pytest.approx(1.0, abs=1e-6)
    assert measured(claims.sublinear, "told the rewards", point=point)["growth"] < 0.9


def test_the_search_through_all_policies_finds_the_best_one() -> None:
    mdp = claims.Tiny(3).load(np.random.default_rng(0))
    S, H = mdp.n_states, mdp.horizon
    counts = np.random.default_rng(5).integers(1, 30, size=(S, mdp.n_actions))
    hopeful = replace_rewards(mdp, mdp.rewards + 1 / np.sqrt(counts))
    code = claims.optimistic_search(mdp, 1, 5)()
    actions = ((code >> np.arange(S * H)) & 1).reshape(H, S)
    assert exact_value(hopeful, actions) == pytest.approx(hopeful.optimal()[0], rel=1e-12)


def replace_rewards(mdp: Any, rewards: Any) -> Any:
    return type(mdp)(mdp.transitions, rewards, mdp.start, mdp.horizon)


def test_the_taste_on_cart_pole_pays_at_most_1_a_step() -> None:
    import gymnasium

    env = claims.Tasted(gymnasium.make("CartPole-v1"))
    obs, _ = env.reset(seed=0)
    for _ in range(30):
        wanted = np.exp(-((obs[0] / 0.8) ** 2) - (obs[2] / 0.1) ** 2)
        obs, reward, terminated, _, _ = env.step(env.action_space.sample())
        assert reward == pytest.approx(wanted)
        assert 0 <= reward <= 1
        if terminated:
            break


@pytest.mark.parametrize("name", ["queries_saved", "queries_chosen", "tradeoff", "pbts"])
def test_plots_are_drawn_from_a_few_trials(name: str) -> None:
    claim = getattr(claims, name)
    point = claims.Prior(4, 2, 4, 60) if name == "pbts" else claims.Problem("random", 60)
    results = replace(claim, parts=[claim.parts[0]]).try_all("smoke", seeds=3, points=[point], better=better(claim))
    for plot in claim.plots.values():
        assert plot(results).to_dict()
