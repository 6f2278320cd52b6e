"""Postings in memory against FTS5 itself: the same papers, never behind the index, never beyond their bound."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text, update

from workingpapers.hub.search import Model, Searcher, words
from workingpapers.hub.search.conditions import EVERYTHING, Allowed
from workingpapers.hub.search.grammar import Text
from workingpapers.hub.search.postings import Posting, Postings, varints
from workingpapers.hub.search.terms import Terms
from workingpapers.hub.tables import PaperRow
from workingpapers.lab import Settings, Store

SYLLABLES = ["graph", "prune", "sparse", "atlas", "light", "ocean", "proof", "cause", "spin", "tree", "nerve", "stone"]


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Iterator[Store]:
    """On SQLite alone: PostgreSQL keeps no postings here."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(empty_store, home)
    store = Store(Settings(home=home, database=""))
    yield store
    store.close()


@pytest.fixture
def library(add: Callable[..., int], store: Store) -> list[int]:
    """300 papers of few words, so that ranks tie and words come in every frequency."""
    rng = np.random.default_rng(3)
    share = np.linspace(0.02, 0.9, len(SYLLABLES))
    with store.writing() as session:
        rows = []
        for n in range(300):
            def some(scale: float) -> str:
                return " ".join(w for w, s in zip(SYLLABLES, share) for _ in range(rng.binomial(3, s * scale / 2)))
            rows.append(PaperRow(public_id=f"wp:{n}", title=f"{some(0.2)} number", title_key=str(n), abstract=some(1.0) + " of the",
                                 authors=[some(0.1)], categories=[]))
        session.add_all(rows)
        session.flush()
        return [row.id for row in rows]


@given(st.lists(st.integers(0, 1 << 40), max_size=60), st.lists(st.integers(0, 1 << 40), max_size=30))
def test_a_posting_holds_its_papers_however_far_apart(held: list[int], asked: list[int]) -> None:
    ids = np.array(sorted(set(held)), np.int64)
    times = ids % 300 + 1
    kept, wanted = Posting.of(ids, times), np.array(sorted({*asked, *held[::2]}), np.int64)
    assert kept.papers.tolist() == ids.tolist()
    assert kept.among(wanted).tolist() == [i in set(held) for i in wanted.tolist()]
    for some in (wanted, np.array(sorted({*held, *asked}), np.int64)):
        if len(some):
            at, found = kept.held(some)
            assert dict(zip(some[at].tolist(), found.tolist())) == {i: i % 300 + 1 for i in some.tolist() if i in set(held)}


@given(st.sets(st.integers(0, 4_000), min_size=1))
def test_a_posting_of_many_papers_holds_them_as_bits(held: set[int]) -> None:
    kept = Posting.of(np.array(sorted(held), np.int64))
    everything = np.arange(5_000)
    assert kept.nbytes <= 501
    assert np.flatnonzero(kept.among(everything)).tolist() == kept.papers.tolist() == sorted(held)


@given(st.lists(st.integers(0, 1 << 50)))
def test_numbers_of_sqlite_are_read(numbers: list[int]) -> None:
    written = bytearray()
    for number in numbers:
        groups = [number >> shift & 127 for shift in range(49, -1, -7)]
        while len(groups) > 1 and not groups[0]:
            groups.pop(0)
        written += bytes([*(g | 128 for g in groups[:-1]), groups[-1]])
    assert varints(bytes(written)).tolist() == [n & (1 << 56) - 1 for n in numbers]


def by_fts(session: Any, match: str, limit: int) -> list[tuple[int, float]]:
    query = "SELECT rowid, bm25(papers_fts, 10.0, 1.0, 5.0, 1.0) FROM papers_fts WHERE papers_fts MATCH :m ORDER BY 2, 1 LIMIT :n"
    return [(i, -r) for i, r in session.execute(text(query), {"m": match, "n": limit})]


@pytest.mark.parametrize("seed", range(6))
def test_papers_that_hold_words_are_those_of_fts5(library: list[int], store: Store, seed: int) -> None:
    rng = np.random.default_rng(seed)
    index = Searcher(store, Model("off")).index
    asked = [*(str(w) for w in rng.choice(SYLLABLES, rng.integers(1, 6), replace=False)), "absent"]
    with store.reading() as session:
        for _ in range(2):  # asked for, then kept
            got = index.holds(session, asked, np.array(library[::-1]))
            for n, word in enumerate(asked):
                held = {i for i, _ in by_fts(session, index.expression(Text((word,))), 1_000)}
                assert got[:, n].tolist() == [i in held for i in library[::-1]]
                assert index.count(session, word) == len(held)


@pytest.mark.parametrize("barred", [False, True])
def test_all_words_rank_as_with_the_commonest_among_them(library: list[int], store: Store, barred: bool) -> None:
    """Words of more than half of the papers only filter: their part of a rank is under 1e-5."""
    index = Searcher(store, Model("off")).index
    among = Allowed(only=np.array(library[::2]), never=np.array(library[:20])) if barred else EVERYTHING
    for asked in (["graph", "of", "the"], ["of", "the"], ["stone", "tree"], ["stone", "atlas", "of"], ["absent", "of"]):
        with store.reading() as session:
            ids, ranks = index.all_ranked(session, asked, among, 25)
            whole = [(i, r) for i, r in by_fts(session, index.all_of([Text((w,)) for w in asked]), 1_000)
                     if among.keep(np.array([i]))[0]][:25]
        np.testing.assert_allclose(ranks, [r for _, r in whole], atol=1e-5)
        close = {i for i, r in whole if r <= whole[-1][1] + 1e-5} if whole else set()
        assert {i for i, _ in whole} - close <= set(ids.tolist())


def test_common_words_are_read_into_memory_when_asked_for_again(library: list[int], store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "MANY_TO_READ", 20)
    index = Searcher(store, Model("off")).index
    with store.reading() as session:
        def times(word: str) -> bool:
            found = index.postings.at(session).known(word)
            return found is not None and found.times is not None

        asked = ["proof", "ocean"]  # 100 and 80 papers of 300
        whole = by_fts(session, index.all_of([Text((w,)) for w in asked]), 25)
        for reads in (False, True, True):
            ids, ranks = index.all_ranked(session, asked, EVERYTHING, 25)
            assert list(zip(ids.tolist(), ranks.tolist())) == whole
            assert times("proof") == times("ocean") == reads


def test_words_read_at_the_start_change_no_answer(library: list[int], store: Store) -> None:
    warm, cold = (Searcher(store, Model("off")) for _ in range(2))
    warm.warm()
    with store.reading() as session:
        kept = warm.index.postings.at(session)
        assert kept.known("the") is not None
        assert kept.known("number") is not None
        assert kept.known("graph") is None  # 12 papers
        assert cold.index.postings.at(session).known("the") is None
    for question in ("graph the number", "stone of", "the", "tree number of"):
        first, second = ([(h.paper.id, h.score) for h in find.find(question, 300).hits] for find in (warm, cold))
        assert first == second


def test_a_commit_of_words_by_anybody_is_seen_and_others_are_not_felt(library: list[int], store: Store, add: Callable[..., int]) -> None:
    find, other = Searcher(store, Model("off")), Store(store.settings)

    def found(question: str) -> set[int]:
        with store.reading() as session:
            find.index.holds(session, question.split(), np.array([1, new]))
        return {hit.paper.id for hit in find.find(question, 1_000).hits}

    def kept() -> bool:
        with store.reading() as session:
            return find.index.postings.at(session).known("graph") is not None

    new = 0
    before = found("graph atlas")
    assert kept()
    with other.writing() as session:
        session.execute(update(PaperRow).where(PaperRow.id == library[0]).values(votes=3, trend_log=1.0))
    assert kept()  # votes are no words
    new = add("graph atlas")
    assert found("graph atlas") == before | {new}
    with other.writing() as session:  # as many words as before
        session.execute(update(PaperRow).where(PaperRow.id == new).values(title="slate chart", title_key="x"))
    assert not kept()
    assert found("graph atlas") == before
    assert found("slate chart") == {new}
    with other.writing() as session:
        session.execute(text("DELETE FROM papers WHERE id = :id"), {"id": new})
    assert found("slate chart") == set()
    other.close()


def test_counts_are_asked_anew_only_once_the_index_has_changed(library: list[int], store: Store, add: Callable[..., int],
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_KEPT_SECONDS", -1.0)  # as if minutes passed between any two questions
    index, asked = Searcher(store, Model("off")).index, list[str]()

    def counts() -> tuple[int, int, int]:
        asked.clear()
        with store.reading() as session:
            driver = session.connection().connection.driver_connection
            assert driver is not None
            driver.set_trace_callback(asked.append)
            found = index.size(session), index.count(session, "stone")
            driver.set_trace_callback(None)
        return *found, sum("count(" in statement for statement in asked)

    size, held, questions = counts()
    assert (size, questions) == (300, 2)
    assert counts() == (size, held, 0)
    with store.writing() as session:
        session.execute(update(PaperRow).values(votes=1))
    assert counts() == (size, held, 0)
    add("stone")
    assert counts() == (size + 1, held + 1, 2)


def test_one_who_reads_an_older_state_gets_that_state(library: list[int], store: Store, add: Callable[..., int]) -> None:
    index = Searcher(store, Model("off")).index

    def held(session: Any) -> int:
        return index.postings.at(session).holding(session, "slate", '"slate"').count

    with store.reading() as early:
        assert held(early) == 0
        add("slate")
        with store.reading() as late:
            assert held(late) == 1
            assert held(early) == 0
            assert held(late) == 1


def test_the_room_is_bounded(library: list[int], store: Store) -> None:
    postings = Postings(most=700)
    with store.reading() as session:
        snapshot = postings.at(session)
        for word in SYLLABLES * 2:
            found = snapshot.places(session, str(Terms().of([word])[0]), f'"{word}"')
            assert found.papers.tolist() == sorted(i for i, _ in by_fts(session, f'"{word}"', 1_000))
            assert snapshot.size == sum(p.nbytes for p in snapshot._kept.values()) <= 700
        assert 1 <= len(snapshot._kept) < len(SYLLABLES)
