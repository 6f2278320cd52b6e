"""The index of words on both databases: found at commit, by every form of condition, ranked, weighed."""

from __future__ import annotations

import datetime as dt
import importlib
import math
from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import select, text

from workingpapers.hub.search import QueryError, Searcher
from workingpapers.hub.search.conditions import allowed, condition, ids_of
from workingpapers.hub.search.grammar import Part, parse
from workingpapers.hub.search.words import fold
from workingpapers.hub.tables import PaperAliasRow, PaperLinkRow, PaperRow
from workingpapers.lab import Store

Add = Callable[..., int]


def titles(find: Searcher, question: str, limit: int = 50) -> list[str]:
    return [hit.paper.title for hit in find.find(question, limit).hits]


@pytest.fixture
def library(add: Add, store: Store) -> None:
    add("Coarsening of graphs", "Smaller networks that keep spectral properties.", authors=("Ernst Mücke",),
        categories=("cs.DS", "math.CO"), published_on=dt.date(2024, 5, 1), public_id="2405.00001", arxiv_id="2405.00001")
    add("Spectral clustering at scale", "Graph partitions by eigenvectors, and/or cuts. GPT-4 helps.", authors=("An Will",),
        categories=("cs.LG",), published_on=dt.date(2025, 6, 2), public_id="2506.00002", arxiv_id="2506.00002")
    add("Images of cats", "Pictures, clustering of spectral bands.", categories=("cs.CV",), listed_on=dt.date(2026, 1, 5),
        public_id="doi:10.1000/cats", doi="10.1000/cats")
    add("Hidden graphs", "Nobody sees this graph.", hidden=True)
    add("A paper of the catalogue", slug="coin", plain_summary="Tossing coins again and again.")
    with store.writing() as session:
        row = session.query(PaperRow).filter_by(public_id="2405.00001").one()
        session.add(PaperLinkRow(paper_id=row.id, kind="code", url="https://example.org/x"))
        session.add(PaperAliasRow(public_id="wp:old-name", paper_id=row.id))


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(("question", "expected"), [
    ("graph", {"Coarsening of graphs", "Spectral clustering at scale"}),  # stemmed; what is hidden stays so
    ('"spectral clustering"', {"Spectral clustering at scale"}),
    ("title:spectral", {"Spectral clustering at scale"}),
    ("abstract:spectral", {"Coarsening of graphs", "Images of cats"}),
    ("author:mucke", {"Coarsening of graphs"}), ("author:Mücke", {"Coarsening of graphs"}),
    ("author:an", {"Spectral clustering at scale"}),  # no word is too common to be asked for
    ("cat:cs.ds", {"Coarsening of graphs"}), ("cat:cs", {"Coarsening of graphs", "Spectral clustering at scale", "Images of cats"}),
    ("cat:math", {"Coarsening of graphs"}), ("cat:math.C", set()),
    ("after:2025", {"Spectral clustering at scale", "Images of cats"}), ("before:2025", {"Coarsening of graphs"}),
    ("after:2024-05-01 before:2024-05-02", {"Coarsening of graphs"}),
    ("has:code", {"Coarsening of graphs"}), ("has:claim", {"A paper of the catalogue"}), ("slug:coin", {"A paper of the catalogue"}),
    ("verdict:fails", set()), ("id:2405.00001v3", {"Coarsening of graphs"}), ("id:wp:old-name", {"Coarsening of graphs"}),
    ("id:doi:10.1000/CATS", {"Images of cats"}),
    ("cat:cs -spectral", set()), ("cat:cs -title:spectral", {"Coarsening of graphs", "Images of cats"}),
    ("-cat:cs", {"A paper of the catalogue"}), ("cat:cs.CV OR has:code", {"Images of cats", "Coarsening of graphs"}),
    ('"tossing coins"', {"A paper of the catalogue"}), ('"and/or cuts"', {"Spectral clustering at scale"}),
    ('"gpt 4"', {"Spectral clustering at scale"}),
    ("🙂", set()), ('""', set()),
])
def test_conditions(words_only: Searcher, question: str, expected: set[str]) -> None:
    assert set(titles(words_only, question)) == expected


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("question", ["2405.00001", "arXiv:2405.00001v2", "https://arxiv.org/abs/2405.00001", "https://papers.example/papers/2405.00001",
                                      "wp:old-name", "coarsening OF  graphs!"])
def test_names_and_titles_lead_to_the_paper(words_only: Searcher, question: str) -> None:
    found = words_only.find(question).hits
    assert found[0].paper.public_id == "2405.00001"
    assert found[0].exact


def test_what_is_written_is_found_at_once_and_no_longer_when_gone(add: Add, store: Store, words_only: Searcher) -> None:
    paper = add("Zeppelins over oceans", "Airships.")
    assert titles(words_only, "zeppelin airship") == ["Zeppelins over oceans"]
    with store.writing() as session:
        session.get_one(PaperRow, paper).abstract = "Balloons."
        session.get_one(PaperRow, paper).votes = 3
    assert titles(words_only, "abstract:airships") == []
    assert titles(words_only, "abstract:balloon") == ["Zeppelins over oceans"]
    with store.writing() as session:
        session.delete(session.get_one(PaperRow, paper))
    assert titles(words_only, "zeppelins") == []
    if store.is_sqlite:
        with store.writing() as session:
            session.execute(text("INSERT INTO papers_fts (papers_fts, rank) VALUES ('integrity-check', 1)"))


def test_papers_with_all_words_stand_before_those_with_some(add: Add, words_only: Searcher) -> None:
    for i in range(30):
        add(f"Number {i} on forests", "random trees")
    add("Other matters", "forests by gradient boosting, random and otherwise")
    found = titles(words_only, "random forests boosting", 100)
    assert found[0] == "Other matters"
    assert len(found) == 31
    assert titles(words_only, "number 7 forests")[0] == "Number 7 on forests"


def test_weights_and_cover_are_the_formula(add: Add, store: Store, words_only: Searcher) -> None:
    ids = np.array([add(f"paper {i}", " ".join(w for n, w in ((2, "even"), (3, "third"), (5, "fifth")) if i % n == 0)) for i in range(60)])
    index = words_only.index
    with store.reading() as session:
        weights = index.weights(session, ["even", "third", "fifth", "absent"])
        assert set(weights) == {"fifth", "absent"}  # 30 and 20 of 60 stand in over a quarter
        assert weights["fifth"] == pytest.approx(math.log(1 + (60 - 12 + 0.5) / 12.5))
        every = {w: math.log(1 + (60 - n + 0.5) / (n + 0.5)) for w, n in (("even", 30), ("third", 20), ("fifth", 12))}
        shuffled = np.random.default_rng(0).permutation(ids)
        cover = index.coverage(session, every, shuffled)
    for paper, got in zip(shuffled, cover):
        i = int(np.flatnonzero(ids == paper)[0])
        held = sum(every[w] for n, w in ((2, "even"), (3, "third"), (5, "fifth")) if i % n == 0)
        assert got == pytest.approx(held / sum(every.values()))


def test_pages_follow_each_other_without_gaps_or_repeats(add: Add, words_only: Searcher, find: Searcher) -> None:
    for i in range(47):
        add(f"Trees of kind {i % 5}", f"abstract {i} on trees", categories=("cs.DS",), listed_on=dt.date(2026, 1, 1 + i % 3))
    for question in ("trees kind", '"of kind"', "cat:cs.DS"):
        whole = [h.paper.id for h in words_only.find(question, 1_000).hits]
        paged: list[int] = []
        after = None
        while True:
            answer = words_only.find(question, 10, after)
            paged += [h.paper.id for h in answer.hits]
            after = answer.after
            if after is None:
                break
        assert paged == whole
        assert len(set(paged)) == 47
    newest = [h.paper.listed_on for h in words_only.find("cat:cs.DS", 100).hits]
    assert newest == sorted(newest, reverse=True)  # type: ignore[type-var]


@pytest.mark.parametrize("after", ["x", "!!!!", "W10", "WzEsMl0x", "e30", "WyJhIiwxXQ", "WzFlOTk5LCAxXQ", "\x00", "é"])
def test_a_wrong_cursor_is_refused(words_only: Searcher, after: str) -> None:
    with pytest.raises(QueryError, match="after"):
        words_only.find("trees", 5, after)


def test_a_condition_from_elsewhere_applies_before_ranking(add: Add, store: Store, words_only: Searcher) -> None:
    from workingpapers.hub.search import find_papers

    for i in range(30):
        add(f"Trees {i}", listed_on=dt.date(2026, 1, 1))
    late = add("One late paper", "with trees in its abstract only", listed_on=dt.date(2026, 2, 1))
    assert [row.id for row in find_papers(store, "trees", 5, among=PaperRow.listed_on > dt.date(2026, 1, 15))] == [late]


def test_folding_is_that_of_the_migration() -> None:
    module = importlib.import_module("workingpapers.lab.store.migrations.versions.0003_words_of_papers")
    taken, given = module.folding()
    letters = [(a, b) for a, b in zip(taken, given) if a.isalpha()]
    assert len(letters) > 200
    assert all(fold(a) == b for a, b in letters)
    assert len(taken) == len(given)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("question", [
    "after:2024 after:2025 before:2027 before:2026-01-06 cat:cs", "clustering after:2025 after:2024 before:2026",
    "cat:cs cat:cs cat:cs -cat:cs.CV",
    "spectral cat:cs after:2024 OR has:code -images", "graph -cat:cs.LG -clustering", "spectral OR coins after:2020 before:2026 -tossing",
    "after:2030 graph cat:cs", "-graph clustering -after:2026", '"spectral clustering" after:2024 title:scale'])
def test_conditions_together_are_each_by_itself(words_only: Searcher, store: Store, question: str) -> None:
    """Every part is asked for alone; sets are put together here."""
    query = parse(question)
    with store.reading() as session:
        everything = set(session.scalars(select(PaperRow.id).where(PaperRow.hidden.is_(False))))

        def met(part: Part) -> set[int]:
            return set(session.scalars(ids_of(session, words_only.index, part)))

        wanted = everything.copy()
        for group in query.must:
            wanted &= set().union(*map(met, group))
        for part in query.never:
            wanted -= met(part)
        among = allowed(session, words_only.index, query)
        kept = np.array(sorted(everything))
        assert set(kept[among.keep(kept)].tolist()) == wanted
        assert set(session.scalars(select(PaperRow.id).where(condition(session, words_only.index, query)))) == wanted
