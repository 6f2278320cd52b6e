"""The pieces of a search, recall and its curves, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workingpapers.papers.anncur import CrossEncoderRetriever, recall_at_k, recall_vs_budget, replay
from workingpapers.papers.anncur.anchors import order
from workingpapers.papers.anncur.search import parts, top

from .conftest import low_rank


@given(
    seed=st.integers(0, 1000),
    size=st.sampled_from([5, 100, 3000, 9000]),
    n=st.integers(0, 400),
    shape=st.sampled_from(["normal", "ties", "sorted", "inf"]),
)
@settings(max_examples=80, deadline=None)
def test_top_is_the_largest(seed: int, size: int, n: int, shape: str) -> None:
    rng = np.random.default_rng(seed)
    s = rng.normal(size=(3, size)).astype(np.float32)
    if shape == "ties":
        s = np.round(s)
    elif shape == "sorted":
        s = np.sort(s, axis=1)
    elif shape == "inf":
        s[:, :: 2] = -np.inf
    found = top(s, n)
    assert found.shape == (3, min(n, size))
    for row, got in zip(s, found):
        assert len(set(got.tolist())) == len(got)
        np.testing.assert_array_equal(np.sort(row[got]), np.sort(row)[size - len(got) :])


@given(total=st.integers(1, 1000), n=st.integers(1, 50))
def test_parts_are_whole_and_equal_up_to_one(total: int, n: int) -> None:
    pieces = parts(total, n)
    assert sum(pieces) == total
    assert len(pieces) == n
    assert max(pieces) - min(pieces) <= 1


@given(seed=st.integers(0, 500), k=st.integers(1, 8))
def test_recall_without_ties_is_the_overlap_of_two_sets(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.permutation(30)[None].astype(float)
    found = rng.permutation(30)[None, :10]
    wanted = len(set(np.argsort(-scores[0])[:k]) & set(found[0, :k])) / k
    assert recall_at_k(scores, found, k)[0] == pytest.approx(wanted)


def test_ties_count_as_found_and_nothing_found_does_not() -> None:
    scores = [[5.0, 3.0, 3.0, 3.0, 1.0]]
    assert recall_at_k(scores, [[0, 3]], 2)[0] == 1.0
    assert recall_at_k(scores, [[0, -1]], 2)[0] == 0.5
    assert recall_at_k(scores, [[-1, -1]], 2)[0] == 0.0


@pytest.mark.parametrize(
    ("found", "k", "message"),
    [([[0, 0]], 2, "twice"), ([[0, 9]], 2, "index 9"), ([[0]], 2, "shape"), ([[0, 1]], 0, "k: 0"), ([[0, 1]], 4, "k: 4")],
)
def test_wrong_lists_are_named(found: list[list[int]], k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recall_at_k([[1.0, 2.0, 3.0]], found, k)


def test_curves_have_gaps_where_the_budget_is_too_small() -> None:
    scores = low_rank(4, 50, 3)
    curves = recall_vs_budget(lambda b: np.argsort(-scores, axis=1)[:, :b], scores, [5, 20], ks=(1, 10))
    assert curves[1].tolist() == [[1.0] * 4] * 2
    assert np.isnan(curves[10][0]).all()
    assert curves[10][1].tolist() == [1.0] * 4


def test_pivoted_anchors_span_a_matrix_of_low_rank_where_random_ones_may_not() -> None:
    S = np.zeros((200, 30), np.float32)
    S[:190] = np.random.default_rng(0).normal(size=30)  # 190 items alike, 10 of their own kind
    S[190:] = np.random.default_rng(1).normal(size=(10, 30))
    keys = np.random.default_rng(2).random(200)
    assert len(set(order(S, 11, "pivoted-qr", keys)[:11]) & set(range(190, 200))) >= 9
    inside = [len(set(order(S, 11, c, keys)[:11]) & set(range(190, 200))) for c in ("leverage", "pivoted-qr")]
    assert min(inside) > len(set(np.argsort(keys)[:11]) & set(range(190, 200)))
    for choice in ("leverage", "pivoted-qr"):
        assert sorted(order(S, 50, choice, keys)) == list(range(200))


def test_the_retriever_finds_neighbours_as_scikit_learn_does() -> None:
    from sklearn.base import clone
    from sklearn.neighbors import NearestNeighbors

    X = np.random.default_rng(0).normal(size=(400, 4))
    calls: list[int] = []

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        calls.append(1)
        return float(np.square(a - b).sum())

    near = clone(CrossEncoderRetriever(distance, n_anchor_queries=40, budget=80)).fit(X)
    assert len(calls) == near.n_calls_ == 40 * 400
    distances, indices = near.kneighbors(X[:50], n_neighbors=5)
    assert near.n_calls_ == len(calls) == 40 * 400 + 50 * 80
    wanted, exact = NearestNeighbors(n_neighbors=5).fit(X).kneighbors(X[:50])
    np.testing.assert_array_equal(indices, exact)
    np.testing.assert_allclose(distances, wanted**2, atol=1e-5)
    with pytest.raises(ValueError, match="colour"):
        near.set_params(colour=1)
    with pytest.raises(RuntimeError, match="fit"):
        CrossEncoderRetriever(distance).kneighbors(X)
    with pytest.raises(TypeError, match="metric"):
        CrossEncoderRetriever("cosine").fit(X)  # type: ignore[arg-type]


def test_replay_is_retrieving_and_reranking_cell_by_cell() -> None:
    exact = low_rank(6, 300, 5)
    approx = exact + np.random.default_rng(0).normal(size=exact.shape)
    grid = replay(exact, approx, ks=(1, 10, 50), reranked=(1, 20, 100))
    for r, reranked in enumerate((1, 20, 100)):
        retrieved = np.argsort(-approx, axis=1)[:, :reranked]
        ordered = np.take_along_axis(retrieved, np.argsort(-np.take_along_axis(exact, retrieved, 1), axis=1), 1)
        for c, k in enumerate((1, 10, 50)):
            if k > reranked:
                assert np.isnan(grid[r, c])
            else:
                assert grid[r, c] == pytest.approx(recall_at_k(exact, ordered, k).mean())
    with pytest.raises(ValueError, match="approx"):
        replay(exact, approx[:, 1:], [1], [1])
    with pytest.raises(ValueError, match="ks"):
        replay(exact, approx, [0], [1])
