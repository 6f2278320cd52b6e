"""Oracles against brute force and networkx; perturbed leaders; the mixture for actions of any kind."""

from __future__ import annotations

import importlib
import itertools
import os
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workingpapers.papers.groupwise_regret import (
    Assignment,
    DagShortestPath,
    DijkstraPath,
    FollowThePerturbedLeader,
    FTPLSmallSeparator,
    GroupwiseOnline,
    Hedge,
    SpanningTree,
    path_nodes,
)

numbers = st.integers(0, 2**32 - 1)


def random_dag(rng: np.random.Generator) -> list[tuple[int, int]]:
    nodes = int(rng.integers(3, 8))
    label = rng.permutation(nodes)  # so that numbers do not give the order away
    edges = [(a, b) for a, b in itertools.combinations(range(nodes), 2) if rng.random() < 0.6 or b == a + 1]
    edges += [edges[0]] * int(rng.integers(0, 2))  # a parallel edge now and then
    return [(int(label[a]), int(label[b])) for a, b in edges], int(label[0]), int(label[-1])  # type: ignore[return-value]


@given(numbers)
@settings(max_examples=60, deadline=None)
def test_dag_path_is_the_cheapest_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges, source, target = random_dag(rng)  # type: ignore[misc]
    oracle = DagShortestPath(edges, source, target)
    costs = rng.normal(size=(4, len(edges)))

    def paths(node: int) -> list[list[int]]:
        if node == target:
            return [[]]
        return [[e, *rest] for e, (a, b) in enumerate(edges) if a == node for rest in paths(b)]

    everything = paths(source)
    for row, chosen in zip(costs, oracle(costs)):
        assert row @ chosen == pytest.approx(min(row[p].sum() for p in everything))
        assert sorted(np.flatnonzero(chosen)) in [sorted(p) for p in everything]
        np.testing.assert_array_equal(chosen, oracle(row))
        assert path_nodes(edges, chosen)[0] == source


@given(numbers)
@settings(max_examples=60, deadline=None)
def test_dijkstra_and_trees_agree_with_networkx(seed: int) -> None:
    if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
        pytest.importorskip("networkx")
    networkx = importlib.import_module("networkx")
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 8))
    edges = [(a, b) for a in range(n) for b in range(n) if a != b and (rng.random() < 0.5 or b == (a + 1) % n)]
    costs = np.round(rng.random(len(edges)), 1)  # zeros and ties among them
    graph = networkx.DiGraph()
    for (a, b), c in zip(edges, costs):
        graph.add_edge(a, b, weight=c)
    chosen = DijkstraPath(edges, 0, n - 1)(costs)
    assert costs @ chosen == pytest.approx(networkx.shortest_path_length(graph, 0, n - 1, weight="weight"))
    assert path_nodes(edges, chosen)[-1] == n - 1
    signed = costs - 0.5
    multi = networkx.MultiGraph()
    for (a, b), c in zip(edges, signed):
        multi.add_edge(a, b, weight=c)
    tree = SpanningTree(edges)(signed)
    assert tree.sum() == n - 1
    assert signed @ tree == pytest.approx(networkx.minimum_spanning_tree(multi).size(weight="weight"))


def test_assignment_is_the_cheapest_of_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        costs = rng.normal(size=(4, 4))
        chosen = Assignment(4)(costs.reshape(-1)).reshape(4, 4)
        totals = [sum(costs[i, j] for i, j in enumerate(p)) for p in itertools.permutations(range(4))]
        assert (costs * chosen).sum() == pytest.approx(min(totals))
        assert chosen.sum(axis=0).tolist() == chosen.sum(axis=1).tolist() == [1.0] * 4


@pytest.mark.parametrize(("call", "words"), [
    (lambda: DagShortestPath([(0, 1), (1, 0)], 0, 1), "cycle"), (lambda: DagShortestPath([(0, 1), (2, 3)], 0, 3), "no path"),
    (lambda: DagShortestPath([], 0, 1), "edges"), (lambda: DagShortestPath([(0.5, 1)], 0, 1), "edges"),  # type: ignore[list-item]
    (lambda: DagShortestPath([(0, 1)], 0, 1)([1.0, 2.0]), "1 finite numbers"), (lambda: DijkstraPath([(0, 1), (2, 1)], 0, 2), "no path"),
    (lambda: DijkstraPath([(0, 1)], 0, 1)([-1.0]), "noise='uniform'"), (lambda: SpanningTree([(0, 1), (2, 3)]), "connect"),
    (lambda: Assignment(0), "workers"), (lambda: Assignment(2)([1.0]), "4 finite numbers"),
    (lambda: path_nodes([(0, 1), (2, 3)], [1, 1]), "one path"),
    (lambda: FollowThePerturbedLeader(Assignment(2), -1.0), "scale is -1"),
    (lambda: FollowThePerturbedLeader(lambda c: c, 1.0), "n is not known"),
    (lambda: FollowThePerturbedLeader(Assignment(2), 1.0, "normal"), "noise is 'normal'"),  # type: ignore[arg-type]
    (lambda: FollowThePerturbedLeader(Assignment(2), 1.0, growth="log"), "growth is 'log'"),  # type: ignore[arg-type]
    (lambda: FollowThePerturbedLeader(Assignment(2), 1.0, forget=0.0), "forget is 0"),
    (lambda: FollowThePerturbedLeader(Assignment(2), 1.0).learn(None, [1.0]), "4 finite numbers"),
    (lambda: FollowThePerturbedLeader(lambda c: [1.0], 1.0, n=3).propose(), "the oracle gave"),
    (lambda: FTPLSmallSeparator([[0.0]], lambda c, v: lambda x: 0, actions=1), "actions is 1"),
    (lambda: FTPLSmallSeparator([0.0], lambda c, v: lambda x: 0, actions=2), "separator"),
    (lambda: FTPLSmallSeparator([[0.0]], lambda c, v: lambda x: 0, actions=2).learn([0.0], [1.0]), "the losses"),
])
def test_bad_arguments_are_named(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_perturbed_leader_follows_the_oracle_on_costs_and_noise() -> None:
    leader = FollowThePerturbedLeader(DagShortestPath([(0, 1), (0, 1), (0, 1)], 0, 1), 0.0)
    leader.learn(None, [0.5, 0.2, 0.3])
    assert leader.propose().tolist() == [0.0, 1.0, 0.0]
    leader.learn(None, [0.0, 0.9, 0.1])
    assert leader.propose().tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("noise", ["exponential", "uniform"])
def test_perturbed_leader_has_low_regret_where_the_leader_alone_has_not(noise: Any) -> None:
    """Costs that always fall on the leader: following it pays 1 a round; perturbed, about 1/2."""
    T, regrets = 3_000, {}
    for scale in (0.0, 1.0):
        leader = FollowThePerturbedLeader(DagShortestPath([(0, 1), (0, 1)], 0, 1), scale, noise, seed=0)
        paid, total = 0.0, np.zeros(2)
        for t in range(T):
            costs = np.array([0.5, 0.0]) if t == 0 else np.array([float(t % 2 == 0), float(t % 2)])
            paid += costs @ leader.propose()
            total += costs
            leader.learn(None, costs)
        regrets[scale] = (paid - total.min()) / T
    assert regrets[0.0] > 0.45
    assert regrets[1.0] < 0.05


def test_noise_is_fresh_in_each_round_and_kept_within() -> None:
    leader = FollowThePerturbedLeader(Assignment(3), 5.0, seed=1)
    choices = set()
    for _ in range(40):
        first = leader.propose()
        np.testing.assert_array_equal(first, leader.propose())
        choices.add(first.tobytes())
        leader.learn(None, np.zeros(9))
    assert len(choices) > 3


def test_small_separator_without_noise_is_the_oracle_on_the_past() -> None:
    asked: list[tuple[Any, Any]] = []

    def oracle(contexts: Any, losses: Any) -> Any:
        asked.append((contexts.copy(), losses.copy()))
        return lambda x: int(x[0] > 1)

    learner = FTPLSmallSeparator([[0.0], [2.0]], oracle, actions=2, scale=0.0)
    learner.learn([1.5], [1.0, 0.0])
    assert [learner.propose([0.5]), learner.propose([1.5])] == [0, 1]
    assert len(asked) == 1  # one call a round, however many contexts are asked about
    np.testing.assert_array_equal(asked[0][0], [[0.0], [2.0], [1.5]])
    np.testing.assert_array_equal(asked[0][1], [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])


def hedge_problem(T: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    who = ["car" if v else "bicycle" for v in rng.random(T) < 0.4]
    means = {"car": np.array([0.2, 0.8, 0.5]), "bicycle": np.array([0.8, 0.2, 0.5])}
    losses = (rng.random((T, 3)) < np.array([means[w] for w in who])).astype(float)
    return who, losses, np.array([[w == "car", w == "bicycle"] for w in who], dtype=float)


def pick(action: int, losses: Any) -> float:
    return float(losses[action])


GROUPS = {"car": lambda c: c == "car", "bicycle": lambda c: c == "bicycle"}


def test_every_group_finds_its_own_best_action() -> None:
    who, losses, A = hedge_problem(3_000)
    model = GroupwiseOnline(Hedge(3), GROUPS, pick, seed=0)
    trace = model.run(who, losses)
    np.testing.assert_array_equal(trace.awake, np.column_stack([A, np.ones(3_000)]))

    def best(rounds: Any) -> float:
        return float(losses[rounds].sum(axis=0).min())

    for group in ("car", "bicycle"):
        assert trace.regret(group, best) < 0.05 * len(trace.rows(group))
    assert trace.regret("always_on", best) < -0.2 * 3_000  # no single action suits all
    assert np.isnan(trace.mean_loss).all()
    with pytest.raises(ValueError, match="cannot be averaged"):
        trace.group_loss("car", "mean")
    assert abs((trace.prediction - trace.expected_loss).mean()) < 0.03
    uniform = GroupwiseOnline(Hedge(3), GROUPS, pick, meta="uniform", seed=0).run(who, losses)
    assert trace.expected_loss.sum() < 0.9 * uniform.expected_loss.sum()


def test_acting_and_observing_is_run() -> None:
    who, losses, A = hedge_problem(200)
    whole, pieces = GroupwiseOnline(Hedge(3), GROUPS, pick, seed=3), GroupwiseOnline(Hedge(3), list(GROUPS), pick, seed=3)
    trace = whole.run(who, losses)
    paid = []
    for context, costs in zip(who, losses):
        paid.append(costs[pieces.act(context, groups=[context])])
        assert pieces.observe(costs) is pieces
    np.testing.assert_array_equal(trace.prediction, paid)
    np.testing.assert_array_equal(whole.regret_state_, pieces.regret_state_)
    by_array = GroupwiseOnline(Hedge(3), list(GROUPS), pick, seed=3).run(who, losses, A)
    np.testing.assert_array_equal(trace.expected_loss, by_array.expected_loss)


def test_losses_are_scaled_inside_only() -> None:
    who, losses, _ = hedge_problem(200)
    plain = GroupwiseOnline(Hedge(3, rate=0.1), GROUPS, pick, seed=1).run(who, losses)
    scaled = GroupwiseOnline(Hedge(3, rate=0.1), GROUPS, lambda a, v: 5 + 10 * pick(a, v), loss_range=(5, 15), seed=1).run(who, losses)
    np.testing.assert_allclose(5 + 10 * plain.expected_loss, scaled.expected_loss)
    np.testing.assert_allclose(plain.weights, scaled.weights)  # type: ignore[arg-type]


def test_sleeping_learners_of_any_kind_do_not_move() -> None:
    who, losses, _ = hedge_problem(100)
    model = GroupwiseOnline(Hedge(3), GROUPS, pick, seed=0)
    model.run(who, losses)
    before = pickle.dumps(model._bank.learners[0])
    state = [a[0].tobytes() for a in model.regret_state_]
    model.run(["bicycle"] * 50, losses[:50])
    assert pickle.dumps(model._bank.learners[0]) == before
    assert [a[0].tobytes() for a in model.regret_state_] == state


def test_copies_of_one_learner_draw_apart() -> None:
    model = GroupwiseOnline(FollowThePerturbedLeader(Assignment(3), 1.0, seed=0), ["a", "b"], lambda z, c: 0.0, seed=0)
    noises = [learner._noise for learner in model._bank.learners]
    assert not np.array_equal(noises[0], noises[1])


def test_order_of_calls_and_bad_losses() -> None:
    model = GroupwiseOnline(Hedge(3), GROUPS, pick, seed=0)
    with pytest.raises(RuntimeError, match="act"):
        model.observe([0.0, 0.0, 0.0])
    model.act("car")
    with pytest.raises(ValueError, match="NaN"):
        model.observe([np.nan] * 3)
    with pytest.warns(UserWarning, match="loss_range"):
        model.observe([9.0, 9.0, 9.0])
    with pytest.raises(RuntimeError, match="act"):
        model.observe([0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="loss_range"):
        GroupwiseOnline(Hedge(3), GROUPS, pick, loss_range=(1, 0))
    with pytest.raises(TypeError, match="loss_fn"):
        GroupwiseOnline(Hedge(3), GROUPS, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="as many"):
        model.run(["car"], [])


def test_a_group_added_mid_stream_finds_its_own_best_action() -> None:
    """Scooters come late and want the third action; what the others know stays byte for byte."""
    who, losses, _ = hedge_problem(1_000)
    model = GroupwiseOnline(Hedge(3), GROUPS, pick, seed=0)
    model.run(who, losses)
    known = pickle.dumps((model._bank.learners, model.regret_state_))
    with pytest.raises(ValueError, match="already"):
        model.add_group("car")
    with pytest.raises(ValueError, match="prior is -1"):
        model.add_group("scooter", prior=-1.0)
    model.add_group("scooter", lambda c: c == "scooter")
    assert model.group_names_ == ["car", "bicycle", "always_on", "scooter"]
    assert pickle.dumps((model._bank.learners[:3], tuple(a[:3] for a in model.regret_state_))) == known
    rng = np.random.default_rng(1)
    late = (rng.random((800, 3)) < [0.9, 0.9, 0.1]).astype(float)
    trace = model.run(["scooter"] * 800, late)
    assert model.n_seen_.tolist()[3] == 800
    assert trace.regret("scooter", lambda rounds: float(late[rounds].sum(axis=0).min())) < 0.08 * 800
    assert model.weights_("scooter")["scooter"] > 0.9
    assert model.weights_("car")["scooter"] == 0.0
    model.act("car")
    with pytest.raises(RuntimeError, match="between act and observe"):
        model.add_group("tram")


def test_an_added_perturbed_leader_draws_apart_and_the_same_again() -> None:
    made = []
    for _ in range(2):
        model = GroupwiseOnline(FollowThePerturbedLeader(Assignment(3), 1.0), ["a"], lambda z, c: 0.0, seed=4).add_group("b").add_group("c")
        made.append([learner._noise for learner in model._bank.learners])
    np.testing.assert_array_equal(made[0], made[1])
    assert len({noise.tobytes() for noise in made[0]}) == 4


def test_a_leader_that_forgets_follows_costs_that_turn() -> None:
    """The cheap road turns dear for good after 500 of 1,000 rounds. Without forgetting the past outweighs the present until the end."""
    paid = {}
    for forget in (1.0, 0.95):
        leader = FollowThePerturbedLeader(DagShortestPath([(0, 1), (0, 1)], 0, 1), 0.5, forget=forget, seed=0)
        paid[forget] = 0.0
        for t in range(1_000):
            costs = np.array([0.1, 0.9]) if t < 500 else np.array([0.9, 0.1])
            paid[forget] += costs @ leader.propose()
            leader.learn(None, costs)
    assert paid[0.95] < 1_000 * 0.1 + 80
    assert paid[1.0] > 1_000 * 0.1 + 300
    fading = [0.95 ** (999 - t) * np.array([0.1, 0.9] if t < 500 else [0.9, 0.1]) for t in range(1_000)]
    np.testing.assert_allclose(leader._costs, sum(fading))


def test_contextual_policies_a_group() -> None:
    """Two groups want opposite policies; a small separator tells the two thresholds and their opposites apart."""
    policies = [lambda x: int(x[0] > 0.5), lambda x: int(x[0] <= 0.5)]

    def oracle(contexts: Any, losses: Any) -> Any:
        return min(policies, key=lambda f: sum(v[f(c)] for c, v in zip(contexts, losses)))

    rng = np.random.default_rng(0)
    contexts = [np.array([v]) for v in rng.random(300)]
    group = rng.random(300) < 0.5
    outcomes = [[float((c[0] > 0.5) == g), float((c[0] > 0.5) != g)] for c, g in zip(contexts, group)]
    model = GroupwiseOnline(FTPLSmallSeparator([[0.0], [1.0]], oracle, actions=2), ["yes", "no"], pick, seed=0)
    trace = model.run(contexts, outcomes, np.column_stack([group, ~group]))
    assert trace.expected_loss[-100:].mean() < 0.02
