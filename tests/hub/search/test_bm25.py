"""Ranks from postings in memory against FTS5's own `bm25`, bit by bit, and against the formula written out."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, text

from workingpapers.hub.search import Model, Searcher, bm25, terms, words
from workingpapers.hub.search.conditions import EVERYTHING, Allowed
from workingpapers.hub.search.grammar import Text
from workingpapers.hub.tables import PaperRow
from workingpapers.lab import Settings, Store

VOCABULARY = ["graph", "graphs", "prune", "ocean", "Müller", "proof", "tree", "x1"]
prose = st.lists(st.sampled_from(VOCABULARY), max_size=12).map(" ".join)
papers = st.lists(st.tuples(prose, prose, st.lists(st.sampled_from(VOCABULARY), max_size=3), st.none() | prose), min_size=1, max_size=25)


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Store]:
    home = tmp_path_factory.mktemp("bm25")
    shutil.copy(empty_store, home)
    store = Store(Settings(home=home, database=""))
    yield store
    store.close()


def fill(store: Store, library: list[tuple[str, str, list[str], str | None]]) -> list[int]:
    with store.writing() as session:
        session.execute(delete(PaperRow))
        rows = [PaperRow(public_id=f"wp:{n}", title=title, title_key=str(n), abstract=abstract, authors=authors, plain_summary=plain,
                         categories=[]) for n, (title, abstract, authors, plain) in enumerate(library)]
        session.add_all(rows)
        session.flush()
        return [row.id for row in rows]


def by_fts(session: Any, match: str) -> list[tuple[int, float]]:
    query = "SELECT rowid, bm25(papers_fts, 10.0, 1.0, 5.0, 1.0) FROM papers_fts WHERE papers_fts MATCH :m ORDER BY 2, 1"
    return [(i, -r) for i, r in session.execute(text(query), {"m": match})]


def pairs(found: tuple[Any, Any]) -> list[tuple[int, float]]:
    return list(zip(found[0].tolist(), found[1].tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(papers, st.lists(st.sampled_from([*VOCABULARY, "absent"]), min_size=1, max_size=5), st.integers(1, 30), st.data())
def test_ranks_are_those_of_fts5(sqlite: Store, library: list[Any], asked: list[str], limit: int, data: st.DataObject) -> None:
    ids = fill(sqlite, library)
    index = Searcher(sqlite, Model("off")).index
    some = data.draw(st.lists(st.sampled_from(ids), unique=True))
    parts = [Text((w,)) for w in asked]
    with sqlite.reading() as session:
        for among in (EVERYTHING, Allowed(only=np.array(sorted(some), np.int64)), Allowed(never=np.array(sorted(some), np.int64))):
            def may(found: list[tuple[int, float]], among: Allowed = among) -> list[tuple[int, float]]:
                return [(i, r) for i, r in found if among.keep(np.array([i]))[0]][:limit]

            assert pairs(index.any_ranked(session, parts, among, limit)) == may(by_fts(session, index.any_of(parts)))
            half = len(ids) / 2
            telling = [p for p in parts if index.count(session, p.words[0]) < half] or parts
            held = {i for i, _ in by_fts(session, index.all_of(parts))}
            wanted = may([(i, r) for i, r in by_fts(session, index.all_of(telling)) if i in held])
            for _ in range(2):
                assert pairs(index.all_ranked(session, asked, among, limit)) == wanted


@settings(max_examples=30, deadline=None)
@given(papers, st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=4, unique=True))
def test_ranks_are_the_formula_counted_in_the_texts(sqlite: Store, library: list[Any], asked: list[str]) -> None:
    """Every text is split and counted here, without any index."""
    def stems(value: str) -> list[str]:
        plain = value.lower().replace("ü", "u").replace("graphs", "graph").replace("prune", "prune")
        return re.findall("[a-z0-9]+", plain)

    ids = fill(sqlite, library)
    columns = [[stems(t), stems(a), stems(json.dumps(n, ensure_ascii=False)), stems(p or "")] for t, a, n, p in library]
    lengths = [sum(map(len, c)) for c in columns]
    mean = sum(lengths) / len(lengths)
    expected = np.zeros(len(ids))
    for word in asked:
        stem = stems(word)[0]
        times = [sum(w * c.count(stem) for w, c in zip((10, 1, 5, 1), row)) for row in columns]
        holding = sum(t > 0 for t in times)
        idf = max(math.log((len(ids) - holding + 0.5) / (holding + 0.5)), 0) or 1e-6
        expected += [idf * 2.2 * f / (f + 1.2 * (0.25 + 0.75 * n / mean)) if f else 0.0 for f, n in zip(times, lengths)]
    with sqlite.reading() as session:
        index = Searcher(sqlite, Model("off")).index
        found = dict(pairs(index.any_ranked(session, [Text((w,)) for w in asked], EVERYTHING, len(ids))))
    assert found == pytest.approx({i: r for i, r in zip(ids, expected) if r}, rel=1e-12)


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 45))
def test_the_best_are_those_of_a_full_sort(ranks: list[int], limit: int) -> None:
    ids = np.arange(3, 3 + 2 * len(ranks), 2)
    found = bm25.top(ids, np.array(ranks, float), limit)
    assert pairs(found) == sorted(zip(ids.tolist(), map(float, ranks)), key=lambda pair: (-pair[1], pair[0]))[:limit]


def test_lengths_are_the_same_asked_one_by_one_or_all_at_once(sqlite: Store) -> None:
    long = "tree " * 40_000  # a length of three bytes
    ids = np.array(fill(sqlite, [("graph " * n, "ocean " * (n * n), [], long if n == 7 else None) for n in range(40)]))
    index = Searcher(sqlite, Model("off")).index
    expected = [n + n * n + (40_000 if n == 7 else 0) for n in range(40)]
    with sqlite.reading() as session:
        snapshot = index.postings.at(session)
        assert snapshot.lengths(session, ids[::13]).tolist() == expected[::13]
        assert snapshot._lengths is None
        assert snapshot.lengths(session, ids).tolist() == expected
        assert snapshot._lengths is not None
        assert (snapshot.texts, snapshot.mean) == (40, sum(expected) / 40)
        (most, papers), = [(p.times, p.papers) for p in [snapshot.places(session, "tree", '"tree"')]]
        assert most is not None
        assert (most.tolist(), papers.tolist()) == ([40_000], [ids[7]])


def test_terms_are_those_of_the_index(sqlite: Store) -> None:
    odd = ["Networks", "naïve", "x\u0300y", "ﬁt", "漢字", "İstanbul", "½", "𝒳y", "running", "NASA", "ß", "ⅷ", "a" * 500]
    ids = fill(sqlite, [(word, "", [], None) for word in odd])
    with sqlite.reading() as session:
        made = session.execute(text("SELECT sql FROM sqlite_master WHERE name = 'papers_fts'")).scalar()
        assert f"tokenize='{terms.TOKENIZER}'" in made
        there = dict(session.execute(text("SELECT doc, group_concat(term, ' ') FROM papers_places GROUP BY doc")).tuples().all())
    assert terms.Terms().of(odd) == [there[i] for i in ids]
    assert terms.Terms().of(["a·b", "·", "a", "a·b"]) == [None, None, "a", None]


def test_a_word_that_the_index_splits_is_ranked_by_it(sqlite: Store) -> None:
    fill(sqlite, [("a·b tree", "", [], None), ("b a tree", "", [], None), ("tree", "a", [], None)])
    index = Searcher(sqlite, Model("off")).index
    with sqlite.reading() as session:
        assert words.Terms().of(["a·b"]) == [None]
        assert len(index.any_ranked(session, [Text(("a·b",))], EVERYTHING, 9)[0]) == 1
        assert len(index.all_ranked(session, ["a·b", "tree"], EVERYTHING, 9)[0]) == 1
        assert index.count(session, "a·b") == 1
