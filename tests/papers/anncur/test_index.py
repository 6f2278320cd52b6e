"""CURIndex as a user meets it: budgets kept, results those of a refit, errors that name the argument."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workingpapers.papers.anncur import CURIndex, from_matrix, recall_at_k

from .conftest import Counting, low_rank


def fitted(M: NDArray[np.floating], n_q: int = 50, items: int | None = None, **options: Any) -> CURIndex:
    n = items or M.shape[1]
    return CURIndex(from_matrix(M), n_anchor_queries=None, **options).fit(range(n), range(n_q))


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_everything_is_found_on_a_matrix_of_low_rank(rounds: int) -> None:
    M = low_rank(80, 500, 6) + 30 * np.random.default_rng(1).normal(size=(80, 1))
    found = fitted(M).search(range(50, 80), k=10, budget=40, rounds=rounds)
    np.testing.assert_array_equal(found.indices, np.argsort(-M[50:], axis=1)[:, :10])
    np.testing.assert_allclose(found.scores, -np.sort(-M[50:], axis=1)[:, :10], rtol=1e-6)


@given(budget=st.integers(1, 90), k=st.integers(1, 20), rounds=st.integers(1, 6), split=st.floats(0.05, 1.0))
@settings(max_examples=60, deadline=None)
def test_calls_never_exceed_the_budget_and_no_pair_is_paid_twice(budget: int, k: int, rounds: int, split: float) -> None:
    if budget < max(k, rounds):
        return
    M = low_rank(30, 80, 5, noise=0.2)
    index = CURIndex(Counting(M), n_anchor_queries=None, ridge=1e-3).fit(range(80), range(20), scores=M[:20])
    counter = index.scorer
    assert isinstance(counter, Counting)
    found = index.search(range(20, 30), k=k, budget=budget, rounds=rounds, split=split)
    for row, q in enumerate(range(20, 30)):
        assert len(counter.asked[q]) == len(set(counter.asked[q])) == found.n_calls[row] <= budget
        assert set(found.indices[row]) <= set(counter.asked[q])
        best = np.sort(M[q, counter.asked[q]].astype(np.float32))[::-1][:k]
        assert found.scores is not None
        np.testing.assert_allclose(found.scores[row], best, rtol=1e-6)


def test_leave_one_out_and_automatic_split_cost_no_call(noisy: NDArray[np.float64]) -> None:
    index = CURIndex(Counting(noisy), n_anchor_queries=None).fit(range(400), range(60), scores=noisy[:60])
    for options in ({"split": "auto"}, {"rounds": 5}):
        counter = index.scorer
        assert isinstance(counter, Counting)
        before = counter.calls
        found = index.search(range(60, 80), k=10, budget=60, **options)  # type: ignore[arg-type]
        assert counter.calls - before == found.n_calls.sum() == 20 * 60
        assert recall_at_k(noisy[60:], found.indices, 10).mean() > 0.9
    index.diagnostics(budgets=(40, 80), ks=(1, 10))
    assert counter.calls == before + 20 * 60


def test_a_budget_of_all_items_is_exact_search(noisy: NDArray[np.float64]) -> None:
    found = fitted(noisy).search([70, 71], k=5, budget=1000)
    np.testing.assert_array_equal(found.indices, np.argsort(-noisy[70:72], axis=1)[:, :5])
    assert found.n_calls.tolist() == [400, 400]


def test_the_batch_a_query_is_in_does_not_matter(noisy: NDArray[np.float64]) -> None:
    index = fitted(noisy)
    for rounds in (1, 4):
        together = index.search(range(50, 80), k=10, budget=60, rounds=rounds)
        alone = np.vstack([index.search([q], k=10, budget=60, rounds=rounds).indices for q in range(50, 80)])
        np.testing.assert_array_equal(together.indices, alone)
        np.testing.assert_array_equal(index.search(range(50, 80), k=10, budget=60, rounds=rounds, batch=7).indices, together.indices)


def test_reconstruct_is_what_search_ranks_by(noisy: NDArray[np.float64]) -> None:
    index = fitted(noisy, anchor_items=30, ridge=1e-3)
    chosen = index.anchors()
    approx = index.search([60, 61], k=5, budget=50, return_approx=True).approx_scores
    assert approx is not None
    np.testing.assert_allclose(index.reconstruct(noisy[60:62][:, chosen]), approx, atol=1e-3)
    assert np.corrcoef(approx.ravel(), noisy[60:62].ravel())[0, 1] > 0.95


def test_the_residual_points_at_queries_that_do_not_fit() -> None:
    M = low_rank(70, 300, 5, noise=0.02)
    M[65:] = np.random.default_rng(5).normal(size=(5, 300))  # queries that no anchor query resembles
    residual = fitted(M).search(range(50, 70), k=10, budget=60).residual
    assert residual[15:].min() > 3 * residual[:15].max()


@pytest.mark.parametrize("choice", ["random", "leverage", "pivoted-qr"])
def test_adding_items_equals_fitting_on_all(noisy: NDArray[np.float64], choice: Any) -> None:
    counter = Counting(noisy)
    grown = CURIndex(counter, n_anchor_queries=None, anchor_choice=choice).fit(range(300), range(50))
    assert counter.calls == grown.n_fit_calls_ == 300 * 50
    grown.partial_fit_items(range(300, 400))
    assert counter.calls == grown.n_fit_calls_ == 400 * 50
    whole = fitted(noisy, anchor_choice=choice)
    for rounds in (1, 3):
        a, b = (i.search(range(50, 80), k=10, budget=60, rounds=rounds) for i in (grown, whole))
        np.testing.assert_array_equal(a.indices, b.indices)
        np.testing.assert_array_equal(a.scores, b.scores)


def test_adding_queries_equals_fitting_on_all(noisy: NDArray[np.float64]) -> None:
    grown = fitted(noisy, n_q=30).add_queries(range(30, 50))
    a, b = (i.search(range(50, 80), k=10, budget=60) for i in (grown, fitted(noisy)))
    np.testing.assert_array_equal(a.indices, b.indices)


def test_removed_items_are_gone_and_the_rest_is_as_without_them(noisy: NDArray[np.float64]) -> None:
    index = fitted(noisy)
    best = index.search([60], k=1, budget=100).indices[0, 0]
    index.remove_items([best])
    assert best not in index.items_
    found = index.search([60], k=5, budget=399)
    kept = np.delete(np.arange(400), best)
    np.testing.assert_array_equal(found.indices[0], np.argsort(-noisy[60, kept])[:5])


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_saved_index_gives_identical_results(noisy: NDArray[np.float64], tmp_path: Path, mmap: bool, dtype: Any) -> None:
    index = fitted(noisy, dtype=dtype, anchor_choice="leverage", seed=3)
    index.save(tmp_path / "index")
    again = CURIndex.load(tmp_path / "index", from_matrix(noisy), mmap=mmap)
    for rounds in (1, 5):
        a, b = (i.search(range(50, 80), k=10, budget=60, rounds=rounds) for i in (index, again))
        np.testing.assert_array_equal(a.indices, b.indices)
        np.testing.assert_array_equal(a.scores, b.scores)
    again.partial_fit_items([1000], scores=np.zeros((50, 1)))
    assert len(again.items_) == 401


def test_another_scorer_is_refused_unless_forced(noisy: NDArray[np.float64], tmp_path: Path) -> None:
    fitted(noisy).save(tmp_path)
    with pytest.raises(ValueError, match="force=True"):
        CURIndex.load(tmp_path, from_matrix(noisy + 1))
    assert CURIndex.load(tmp_path, from_matrix(noisy + 1), force=True).S_.shape == (400, 50)


def test_a_broken_save_is_not_loaded(noisy: NDArray[np.float64], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"index\.json"):
        CURIndex.load(tmp_path, from_matrix(noisy))
    fitted(noisy).save(tmp_path)
    np.save(tmp_path / "scores.npy", np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match="damaged"):
        CURIndex.load(tmp_path, from_matrix(noisy))
    index = CURIndex(lambda pairs: [0.0] * len(pairs), n_anchor_queries=None).fit([(1, 2), (3, 4)], range(3))
    with pytest.raises(TypeError, match="strings or integers"):
        index.save(tmp_path)


class _Slow(Counting):
    """Takes its time, so that a kill hits it at work; appends a line a call."""

    def __init__(self, M: NDArray[np.floating], log: Path) -> None:
        super().__init__(M)
        self.log = log

    def __call__(self, pairs: Any) -> NDArray[np.float32]:
        time.sleep(0.05)
        scores = super().__call__(pairs)
        with self.log.open("a") as file:
            file.write(f"{len(pairs)}\n")
        return scores


def _fit_slowly(M: NDArray[np.floating], log: Path, checkpoint: Path) -> None:
    CURIndex(_Slow(M, log), n_anchor_queries=None).fit(range(3000), range(100), checkpoint=checkpoint)


@pytest.mark.slow
def test_a_killed_fit_goes_on_where_it_stopped(tmp_path: Path) -> None:
    M = low_rank(110, 3000, 4, noise=0.1)
    log, checkpoint = tmp_path / "calls", tmp_path / "fit"
    process = multiprocessing.get_context("fork").Process(target=_fit_slowly, args=(M, log, checkpoint))
    process.start()
    deadline = time.monotonic() + 30
    done = checkpoint / "done.log"
    while time.monotonic() < deadline and (not done.exists() or len(done.read_text().split()) < 4):
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (checkpoint / "done.log").open("a").write("1")  # a torn line, as a kill within a write leaves it
    before = len((checkpoint / "done.log").read_text().split()) - 1
    paid = sum(map(int, log.read_text().split()))
    resumed = _Slow(M, log)
    index = CURIndex(resumed, n_anchor_queries=None).fit(range(3000), range(100), checkpoint=checkpoint)
    block = 16384 // 100
    assert 4 <= before < 3000 // block
    assert resumed.calls == 300_000 - before * block * 100
    assert paid + resumed.calls <= 300_000 + block * 100  # one block at most was paid twice
    np.testing.assert_array_equal(index.S_, M[:100].T.astype(np.float32))
    assert CURIndex(Counting(M), n_anchor_queries=None).fit(range(3000), range(100)).S_.tobytes() == index.S_.tobytes()


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    M = low_rank(10, 30, 3)
    CURIndex(Counting(M), n_anchor_queries=None).fit(range(30), range(5), checkpoint=tmp_path)
    with pytest.raises(ValueError, match="checkpoint"):
        CURIndex(Counting(M), n_anchor_queries=None).fit(range(29), range(5), checkpoint=tmp_path)
    again = Counting(M)
    CURIndex(again, n_anchor_queries=None).fit(range(30), range(5), checkpoint=tmp_path)
    assert again.calls == 0


def test_a_retriever_may_choose_the_first_round(noisy: NDArray[np.float64]) -> None:
    rough = noisy + np.random.default_rng(0).normal(size=noisy.shape)

    def retriever(queries: Any, n: int) -> NDArray[np.int64]:
        return np.argsort(-rough[list(queries)], axis=1)[:, :n]

    index = fitted(noisy)
    found = index.search(range(50, 80), k=1, budget=20, rounds=4, init="retriever", retriever=retriever)
    assert recall_at_k(noisy[50:], found.indices, 1).mean() > 0.95
    with pytest.raises(ValueError, match="retriever"):
        index.search([50], k=1, budget=20, rounds=4, init="retriever", retriever=lambda q, n: np.zeros((1, n), int))


def test_embeddings_as_basis_need_no_index_scores() -> None:
    rng = np.random.default_rng(0)
    E = rng.normal(size=(300, 10))
    M = rng.normal(size=(20, 10)) @ E.T + 0.05 * rng.normal(size=(20, 300))
    counter = Counting(M)
    index = CURIndex(counter, basis="embeddings").fit(range(300), embeddings=E)
    assert counter.calls == 0
    found = index.search(range(20), k=10, budget=60, rounds=4)
    assert recall_at_k(M, found.indices, 10).mean() > 0.95


def test_diagnostics_forecast_what_a_search_then_finds(noisy: NDArray[np.float64]) -> None:
    index = fitted(noisy)
    told = index.diagnostics(budgets=(30, 60), ks=(10, 50))
    assert told.rank99 <= 50
    np.testing.assert_allclose(told.spectrum, np.linalg.svd((noisy[:50] - noisy[:50].mean(1, keepdims=True)), compute_uv=False), rtol=1e-3)
    assert np.isnan(told.recall[50][0])
    assert 0 < told.suggested_split < 1
    for b, budget in enumerate((30, 60)):
        found = index.search(range(50, 80), k=10, budget=budget, split="auto")
        assert recall_at_k(noisy[50:], found.indices, 10).mean() == pytest.approx(told.recall[10][b], abs=0.1)


M0 = low_rank(12, 40, 3)
WRONG_SEARCHES: list[tuple[dict[str, Any], str]] = [
    ({"k": 20, "budget": 10}, "budget: 10 .* k=20"),
    ({"k": 0}, "k: 0"),
    ({"k": 50, "budget": 60}, "k: 50"),
    ({"rounds": 0}, "rounds"),
    ({"rounds": 300}, "rounds"),
    ({"init": "retriever", "rounds": 3}, "retriever"),
    ({"init": "retriever", "retriever": lambda q, n: None}, "init"),
    ({"init": "best"}, "init"),
    ({"split": 0.0}, "split"),
    ({"split": "half"}, "split"),
]


@pytest.mark.parametrize(("options", "message"), WRONG_SEARCHES)
def test_wrong_searches_name_the_argument(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(M0, n_q=10).search([11], **options)


WRONG_INDEXES: list[tuple[dict[str, Any], str]] = [
    ({"n_anchor_queries": 500}, "n_anchor_queries: 500"),
    ({"n_anchor_queries": 1}, "n_anchor_queries"),
    ({"ridge": -1.0}, "ridge"),
    ({"ridge": "auto"}, "ridge"),
    ({"rank": 0}, "rank"),
    ({"dtype": "int8"}, "dtype"),
    ({"basis": "words"}, "basis"),
    ({"anchor_choice": "best"}, "anchor_choice"),
    ({"anchor_items": [0, 0]}, "anchor_items"),
    ({"anchor_items": [99]}, "anchor_items"),
    ({"anchor_items": 99}, "anchor items asked"),
]


@pytest.mark.parametrize(("options", "message"), WRONG_INDEXES)
def test_wrong_parameters_name_the_argument(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CURIndex(from_matrix(M0), **{"n_anchor_queries": None, **options}).fit(range(40), range(10))


def test_wrong_data_name_the_argument() -> None:
    index = CURIndex(from_matrix(M0), n_anchor_queries=None)
    with pytest.raises(RuntimeError, match="fit"):
        index.search([0])
    with pytest.raises(ValueError, match="items: empty"):
        index.fit([], range(10))
    with pytest.raises(ValueError, match="items: 1 stands there twice"):
        index.fit([1, 1], range(10))
    with pytest.raises(TypeError, match="items: one string"):
        index.fit("items", range(10))
    with pytest.raises(ValueError, match=r"scores: shape \(3, 3\)"):
        index.fit(range(40), range(10), scores=np.zeros((3, 3)))
    broken = M0.copy()
    broken[4, 7] = np.nan
    with pytest.raises(ValueError, match=r"scores: nan for the pair \(4, 7\)"):
        index.fit(range(40), range(10), scores=broken[:10])
    with pytest.raises(ValueError, match=r"nan for the pair \(4, 7\)"):
        CURIndex(from_matrix(broken), n_anchor_queries=None).fit(range(40), range(10))
    broken[4, 7] = 1e6
    with pytest.raises(ValueError, match="float16"):
        CURIndex(from_matrix(broken), n_anchor_queries=None, dtype="float16").fit(range(40), range(10))
    with pytest.raises(ValueError, match="shape"):
        CURIndex(lambda pairs: [1.0], n_anchor_queries=None).fit(range(40), range(10))


def test_given_arrays_are_not_changed(noisy: NDArray[np.float64]) -> None:
    R = noisy[:50].astype(np.float32)
    before = R.copy()
    index = CURIndex(from_matrix(noisy), n_anchor_queries=None).fit(range(400), range(50), scores=R)
    index.partial_fit_items([500], scores=np.zeros((50, 1)))
    np.testing.assert_array_equal(R, before)


def test_items_that_all_score_alike_are_survived() -> None:
    index = CURIndex(lambda pairs: [1.0] * len(pairs), n_anchor_queries=None).fit(range(50), range(10))
    for rounds in (1, 3):
        assert index.search([20], k=3, budget=12, rounds=rounds).scores.tolist() == [[1.0, 1.0, 1.0]]  # type: ignore[union-attr]
