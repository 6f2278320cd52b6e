"""The estimator: where it ends, what it refuses, and what users of scikit-learn expect."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator

from workingpapers.papers.topo import TOPO, best_order, first_dag, notears, order_score, polish, shd, simulate, topological_order
from workingpapers.parts.causal import is_dag


def gram(X: np.ndarray) -> np.ndarray:
    X = X - X.mean(axis=0)
    return X.T @ X / len(X)


def falls(found: TOPO) -> bool:
    return bool((np.diff([r.loss for r in found.history_]) < 0).all())


@pytest.mark.parametrize("d", [3, 5, 6, 8])
def test_twenty_restarts_reach_the_best_of_all_orders(d: int) -> None:
    for seed in range(6):
        X = simulate(d, d * (d - 1) // 3, n=300, rng=seed).X
        found = TOPO(n_restarts=20, random_state=seed).fit(X)
        assert found.score_ == pytest.approx(best_order(gram(X))[1], rel=1e-10)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(2, 15),
    st.integers(0, 10_000),
    st.sampled_from(["swap", "insert", "both"]),
    st.sampled_from(["random", "variance"]),
    st.sampled_from(["logdet", "poly", "exp", "exp_square"]),
)
def test_the_loss_falls_and_the_graph_has_no_cycle(d: int, seed: int, move: str, init: str, acyclicity: str) -> None:
    X = simulate(d, d * (d - 1) // 3, n=100, rng=seed).X
    found = TOPO(move=move, init=init, acyclicity=acyclicity, random_state=seed).fit(X)
    assert falls(found)
    assert is_dag(found.weights_raw_)
    assert is_dag(found.adjacency_)
    assert not np.diag(found.adjacency_).any()
    assert found.score_ == pytest.approx(order_score(gram(X), found.order_), rel=1e-10)
    assert found.score_ == found.history_[-1].loss
    Xc = X - X.mean(axis=0)
    assert np.square(Xc - Xc @ found.weights_raw_).sum() / 200 == pytest.approx(found.score_, rel=1e-9)
    assert found.score(X) == pytest.approx(-found.score_, rel=1e-9)
    if found.is_local_min_:
        assert found.check_local_min(X)


def test_the_certificate_says_what_brute_force_says() -> None:
    """With short lists a fit may stop where a swap still improves; `check_local_min` tells, and all pairs never do."""
    said, true = [], []
    for seed in range(40):
        X = simulate(10, 30, rng=seed).X
        short = TOPO(size_small=3, size_large=5, random_state=seed).fit(X)
        assert short.is_local_min_ is None
        said.append(short.check_local_min(X))
        S = gram(X)
        swapped = []
        for i in range(10):
            for j in range(i + 1, 10):
                order = short.order_.copy()
                order[[i, j]] = order[[j, i]]
                swapped.append(order_score(S, order))
        true.append(min(swapped) > short.score_ - 1e-10)
        assert TOPO(random_state=seed).fit(X).is_local_min_ is True
    assert said == true
    assert 0 < sum(said) < 40


def test_moves_of_a_round_lead_from_one_loss_to_the_next() -> None:
    X = simulate(12, 30, rng=5).X
    found, S = TOPO(move="both", random_state=1).fit(X), gram(X)
    order = np.random.default_rng(1).permutation(12)
    for step in found.history_:
        for kind, earlier, later in step.moves:
            a, b = np.flatnonzero(order == earlier)[0], np.flatnonzero(order == later)[0]
            assert a < b
            block = order[a : b + 1].tolist()
            order[a : b + 1] = {
                "swap": [block[-1], *block[1:-1], block[0]],
                "up": [block[-1], *block[:-1]],
                "down": [*block[1:], block[0]],
            }[kind]
        assert order_score(S, order) == pytest.approx(step.loss, rel=1e-10)
    assert found.n_scored_ == 1 + sum(r.n_scored for r in found.history_) + 3 * 66  # and the last round, which found nothing


def test_large_problems_reach_the_true_order() -> None:
    for seed in range(3):
        made = simulate(60, 240, rng=seed)
        assert TOPO(random_state=seed).fit(made.X).score_ <= 1.001 * order_score(gram(made.X), topological_order(made.B))


def test_published_sizes_stop_early_on_large_graphs() -> None:
    made = simulate(100, 400, rng=500)
    assert TOPO(preset="paper", random_state=0).fit(made.X).score_ > 1.2 * TOPO(random_state=0).fit(made.X).score_


@pytest.mark.slow
def test_polish_never_raises_the_loss_and_starts_where_it_is_told() -> None:
    for seed in range(5):
        made = simulate(8, 16, n=300, rng=seed)
        W = notears(made.X)
        found = polish(W, made.X)
        start = order_score(gram(made.X), topological_order(W))
        assert found.history_[0].loss == pytest.approx(start, rel=1e-12)
        assert found.score_ <= start
        from_order = polish(topological_order(W), made.X)
        np.testing.assert_array_equal(from_order.order_, found.order_)
    assert polish(found.order_, made.X).n_iter_ == 0


def test_polish_names_a_cycle_and_first_dag_is_the_remedy() -> None:
    X = simulate(4, 3, rng=0).X
    W = np.zeros((4, 4))
    W[0, 1] = W[1, 2] = 1.0
    W[2, 0] = 0.1
    with pytest.raises(ValueError, match=r"cycle: .*0 -> 1 -> 2|cycle: .*1 -> 2 -> 0|cycle: .*2 -> 0 -> 1"):
        polish(W, X)
    assert polish(first_dag(W), X).is_local_min_
    with pytest.raises(ValueError, match="init"):
        polish(W, X, init="random")


def test_polish_takes_graphs_as_other_libraries_give_them() -> None:
    made = simulate(5, 6, n=400, rng=8)
    frame = pd.DataFrame(made.X, columns=list("edcba"))
    wanted = polish(made.W, frame).order_
    mixed = list("badce")
    as_frame = pd.DataFrame(made.W, index=frame.columns, columns=frame.columns).loc[mixed, mixed]
    graph = nx.DiGraph()
    graph.add_nodes_from(mixed)
    graph.add_edges_from(("edcba"[i], "edcba"[j]) for i, j in np.argwhere(made.W))
    ends = made.B.T - made.B  # as causal-learn: [i, j] = -1 and [j, i] = 1 is i -> j
    learned = SimpleNamespace(graph=ends, get_nodes=list)
    names = [frame.columns[k] for k in topological_order(made.W)]
    for start in (as_frame, graph, learned, names):
        np.testing.assert_array_equal(polish(start, frame).order_, wanted)
    again = polish(polish(made.W, frame).to_networkx(), frame)
    assert again.is_local_min_


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (nx.Graph([(0, 1), (1, 2)]), "undirected"),
        (nx.DiGraph([(0, 1), (1, 7)]), "columns of X.*7 is at fault"),
        (["a", "b", "c"], "columns of X"),
        (SimpleNamespace(graph=np.array([[0, -1, 0], [-1, 0, 0], [0, 0, 0]]), get_nodes=list), "without a direction.*pdag2dag"),
        (SimpleNamespace(graph=np.zeros((2, 2)), get_nodes=list), "2 variables, X has 3"),
        (np.zeros((3, 2)), "W_or_order has shape"),
        (3.5, "networkx.DiGraph"),
        ([0, 1, 1], "each of 0 ... 2 once"),
    ],
)
def test_starts_that_cannot_be_are_named(start, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        polish(start, simulate(3, 2, rng=0).X)


def test_same_seed_same_answer_and_data_are_left_alone() -> None:
    X = simulate(10, 20, rng=0).X
    before = X.copy()
    a, b = (TOPO(n_restarts=4, n_jobs=k, random_state=7).fit(X) for k in (1, 2))
    np.testing.assert_array_equal(a.order_, b.order_)
    assert a.n_scored_ == b.n_scored_
    np.testing.assert_array_equal(X, before)
    assert TOPO(n_restarts=4, random_state=7).fit(X).score_ <= TOPO(random_state=7).fit(X).score_


def test_data_frames_keep_their_names() -> None:
    made = simulate(4, 4, rng=2)
    found = TOPO(random_state=0).fit(pd.DataFrame(made.X, columns=list("wxyz")))
    assert list(found.feature_names_in_) == list("wxyz")
    graph = found.to_networkx()
    assert list(graph) == list("wxyz")
    assert graph.number_of_edges() == np.count_nonzero(found.adjacency_)
    assert all(found.adjacency_["wxyz".index(i), "wxyz".index(j)] == w for i, j, w in graph.edges(data="weight"))


def test_clone_and_pickle() -> None:
    X = simulate(6, 6, rng=2).X
    found = TOPO(move="insert", random_state=3).fit(X)
    again = clone(found).fit(X)
    np.testing.assert_array_equal(again.order_, found.order_)
    back = pickle.loads(pickle.dumps(found))
    assert back.score(X) == found.score(X)


NOT_FOR_IT = {
    "check_fit2d_1feature": "one variable has no graph: an error that says so",
    "check_fit2d_1sample": "one sample has no regression: an error that says so",
    "check_array_api_input": "runs only where SCIPY_ARRAY_API is set before scipy is imported; arrays of numpy are what it takes",
}


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pytest.param(estimator, check, id=check.func.__name__)
        for estimator, check in estimator_checks_generator(TOPO(ridge=1e-3, random_state=0))
        if check.func.__name__ not in NOT_FOR_IT
    ],
)
def test_scikit_learn_conventions(estimator: TOPO, check) -> None:
    check(estimator)


X = simulate(5, 5, n=60, rng=0).X
BAD = X.copy()
BAD[3, 2] = np.nan
FLAT = X.copy()
FLAT[:, 3] = 7.0
COPY = X.copy()
COPY[:, 4] = COPY[:, 0] - 2 * COPY[:, 1]
CYCLE = np.zeros((5, 5))
CYCLE[0, 1] = CYCLE[1, 0] = 1.0


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (BAD, {}, "NaN"),
        (X[:, 0], {}, "1D array"),
        (X[:, :1], {}, "minimum of 2"),
        (X[:4], {}, "ridge"),
        (X[:5], {}, "ridge"),
        (FLAT, {}, "column 3 is constant"),
        (pd.DataFrame(FLAT, columns=list("abcde")), {}, "column d is constant"),
        (COPY, {}, "column [014] is a linear combination"),
        (COPY, {"lambda1": 0.1}, "linear combination"),
        (X, {"loss": "logistic"}, "column 0 has values other than 0 and 1"),
        (X, {"loss": "hinge"}, "one of l2, logistic, mlp"),
        (X, {"loss": (len,)}, "pair"),
        (X, {"init": "sorted"}, "one of random, variance"),
        (X, {"init": [0, 1, 2, 3, 3]}, "each of 0 ... 4 once"),
        (X, {"init": np.arange(4)}, "each of 0 ... 4 once"),
        (X, {"init": CYCLE}, "cycle"),
        (X, {"init": np.zeros((3, 3))}, "3 variables, X has 5"),
        (X, {"size_small": 0}, "size_small"),
        (X, {"size_small": 4, "size_large": 3}, "size_small"),
        (X, {"size_large": 11}, "10 is needed"),
        (X, {"size_small": 2.5}, "size_small"),
        (X, {"no_large_search": -1}, "no_large_search"),
        (X, {"n_restarts": 0}, "n_restarts"),
        (X, {"preset": "mine"}, "preset"),
        (X, {"move": "shift"}, "move"),
        (X, {"acyclicity": "trace"}, "acyclicity"),
        (X, {"lambda1": -1}, "lambda1"),
        (X, {"ridge": np.inf}, "ridge"),
        (X, {"w_threshold": np.nan}, "w_threshold"),
        (X, {"equal_variance": False}, "lambda1 > 0"),
        (X, {"loss": "mlp", "ridge": 1.0}, "ridge"),
        (X, {"loss": "mlp", "hidden": 0}, "hidden"),
    ],
)
def test_errors_name_what_is_wrong(data, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TOPO(random_state=0, **options).fit(data)


def test_ridge_is_the_remedy_for_few_samples() -> None:
    made = simulate(30, 30, n=20, rng=0)
    found = TOPO(ridge=0.1, random_state=0).fit(made.X)
    assert found.is_local_min_
    assert falls(found)


def test_sparse_graphs_are_found_whatever_the_noise() -> None:
    for sem in ("gauss", "exp", "gumbel"):
        made = simulate(15, 15, sem=sem, rng=4)  # type: ignore[arg-type]
        assert shd(made.B, TOPO(random_state=0).fit(made.X).adjacency_) <= 1


def test_a_round_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    TOPO(verbose=True, random_state=0).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("start 0, round 0: loss ")
    assert len(lines) > 1
