"""Records into rows: the same papers as resolving everything at once, in whatever order and batches they come."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select, text

from workingpapers.hub import shelf
from workingpapers.hub.ingest import Link, Record, Result, Signal, Version, iter_records, resolve
from workingpapers.hub.ingest.record import SOURCES
from workingpapers.hub.shelf import packing, rows
from workingpapers.hub.shelf.keys import short
from workingpapers.hub.tables import (
    CommentRow,
    DoubtRow,
    PaperAliasRow,
    PaperCategoryRow,
    PaperLinkRow,
    PaperRow,
    PaperSignalRow,
    PaperSourceRow,
    PaperVersionRow,
    RatingRow,
    ResultRow,
    SourceKeyRow,
    TagRow,
    TrendEventRow,
    UserRow,
    VoteRow,
)
from workingpapers.hub.tables.types import hash64
from workingpapers.hub.trending import recompute
from workingpapers.lab import Settings, Store
from workingpapers.lab.store import Base

DATA = Path(__file__).parents[1] / "ingest" / "data"
DAY = dt.date
ARXIV = Record("arxiv", "2603.00101v1", "Paper Lanterns", arxiv_id="2603.00101", abstract="The true abstract with $m \\times n$.",
               authors=("Ada Kowalska", "Jürgen Faltin"), author_count=2, published=DAY(2026, 3, 1), categories=("cs.LG",),
               payload=b"arxiv's own", payload_hash="a")  # fmt: skip
PAGE = Record("page", "p1", "paper lanterns", abstract="The page abstract with mtimes n.", author_count=2, published=DAY(2026, 3, 1),
              listed=DAY(2026, 3, 3), signals=(Signal("comments", 4),), payload_hash="b")  # fmt: skip

TITLES = ("On Sums", "on sums!", "On Sum", "Introduction", r"On $\ell_1$ sums", "Wholly Other")
NAMES = ("Ann One", "One, A.", "Bob Two", "Cy Three")
IDS = ("2603.00101", "2603.00102", "math/9410209")


@st.composite
def records(draw: st.DrawFn) -> Record:
    authors = tuple(draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True)))
    source = draw(st.sampled_from(SOURCES))
    day = draw(st.none() | st.sampled_from((DAY(2020, 1, 1), DAY(2022, 6, 1), DAY(2026, 3, 1))))
    return Record(
        source, "lanterns" if source == "toml" else draw(st.sampled_from(("k1", "k2", "k3", "k4"))), draw(st.sampled_from((*TITLES, ""))),
        arxiv_id=draw(st.none() | st.none() | st.sampled_from(IDS)), doi=draw(st.none() | st.sampled_from(("10.5555/a", "10.5555/b"))),
        alias="wp:lanterns" if source == "toml" else draw(st.none() | st.sampled_from(("pwc:a", "pwc:b"))),
        abstract=draw(st.sampled_from(("", "One.", "Two."))),
        slug="lanterns" if source == "toml" else None, authors=authors, author_count=draw(st.sampled_from((None, len(authors) or 1, 3))),
        published=day, listed=draw(st.none() | st.just(DAY(2026, 3, 3))),
        categories=draw(st.sampled_from(((), ("cs.LG",), ("cs.LG", "stat.ML")))),
        versions=draw(st.sampled_from(((), (Version(1, DAY(2026, 3, 1)),), (Version(1), Version(2, DAY(2026, 4, 1)))))),
        links=draw(st.sampled_from(((), (Link("code", "https://example.org/x"),)))),
        signals=draw(st.sampled_from(((), (Signal("upvotes", 70),)))),
        results=draw(st.sampled_from(((), (Result("t", "d", "m", "our model", "9.1"),)))),
        deleted=draw(st.sampled_from((False, False, False, True))), revised=draw(st.none() | st.just(DAY(2026, 5, 1))),
        payload_hash=draw(st.sampled_from(("h1", "h2"))))  # fmt: skip


def clear(store: Store) -> None:
    """Delete every row of every table: faster than a new file."""
    with store.writing() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(text(f"DELETE FROM {table.name}"))


def papers_of(store: Store) -> dict[str, dict[str, object]]:
    """What the sources decided, by public id, with the rows below each paper."""
    with store.reading() as session:
        found = {}
        for row in session.scalars(select(PaperRow)):
            facts = {name: getattr(row, name) for name in PAPER_COLUMNS}
            facts["rows"] = {
                "categories": sorted(session.scalars(select(PaperCategoryRow.category).where(PaperCategoryRow.paper_id == row.id))),
                "versions": sorted(map(repr, session.execute(select(PaperVersionRow.version, PaperVersionRow.date, PaperVersionRow.source)
                                                             .where(PaperVersionRow.paper_id == row.id)).tuples())),
                "links": sorted(map(repr, session.execute(select(PaperLinkRow.kind, PaperLinkRow.url, PaperLinkRow.official,
                                                                 PaperLinkRow.source).where(PaperLinkRow.paper_id == row.id)).tuples())),
                "signals": sorted(session.execute(select(PaperSignalRow.source, PaperSignalRow.name, PaperSignalRow.value)
                                                  .where(PaperSignalRow.paper_id == row.id)).tuples()),
                "results": sorted(session.execute(select(ResultRow.task, ResultRow.model, ResultRow.value)
                                                  .where(ResultRow.paper_id == row.id)).tuples()),
                "events": sorted(map(repr, session.execute(select(TrendEventRow.kind, TrendEventRow.weight, TrendEventRow.at)
                                                           .where(TrendEventRow.paper_id == row.id)).tuples())),
                "sources": sorted(session.execute(select(PaperSourceRow.source, PaperSourceRow.source_key)
                                                  .where(PaperSourceRow.paper_id == row.id)).tuples()),
            }
            facts["trend"] = None if row.trend_log is None else round(row.trend_log, 9)
            found[row.public_id] = facts
        return found


PAPER_COLUMNS = sorted(rows.paper_values(resolve([ARXIV]).papers[0]))


def resolved(records: list[Record]) -> dict[str, dict[str, object]]:
    """The same, from everything at once and without a database."""
    return {rows.public_id(p): {**rows.paper_values(p), "title_key": hash64(p.title_key)} for p in resolve(records).papers}


def doubts_of(store: Store) -> list[tuple[object, ...]]:
    with store.reading() as session:
        return sorted((d.kind, d.title, str(d.body["record"]), tuple(d.body["papers"])) for d in session.scalars(select(DoubtRow)))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Store:
    settings = Settings(home=tmp_path_factory.mktemp("shared"))
    shutil.copy(empty_store, settings.home)
    return Store(settings)


@pytest.mark.slow
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(records(), max_size=9), st.randoms(use_true_random=False), st.integers(1, 4))
def test_any_order_and_any_batches_give_the_rows_of_all_at_once(
        shared: Store, found: list[Record], shuffle: random.Random, size: int) -> None:
    clear(shared)
    shelf.take_in(shared, found, batch=max(1, len(found)))
    at_once = papers_of(shared)
    expected = resolve(found)
    assert {k: {n: v[n] for n in PAPER_COLUMNS} for k, v in at_once.items()} == resolved(found)
    assert doubts_of(shared) == sorted((d.kind, d.title, str(list(d.record) if d.record else None), d.papers) for d in expected.doubts)
    shuffled = [*found, *found[:2]]
    shuffle.shuffle(shuffled)
    clear(shared)
    shelf.take_in(shared, shuffled, batch=size)
    assert papers_of(shared) == at_once
    assert doubts_of(shared) == sorted((d.kind, d.title, str(list(d.record) if d.record else None), d.papers) for d in expected.doubts)
    again = shelf.take_in(shared, found, batch=3)
    assert (again.new, again.changed, again.merged, again.new_records, again.changed_records) == (0, 0, 0, 0, 0)


@pytest.mark.slow
def test_real_files_of_every_source_in_any_order(store: Store) -> None:
    every = [r for kind, name in (("jsonl", "arxiv-cc0.jsonl"), ("atom", "atom.xml"), ("oai", "oai-arxiv.xml"), ("oai", "oai-dc.xml"),
                                  ("kaggle", "kaggle.jsonl"), ("jsonl", "plain.jsonl"), ("hf", "hf.json"), ("bibtex", "refs.bib"),
                                  ("pwc", "pwc-papers.json"), ("pwc", "pwc-links.json"), ("pwc", "pwc-tables.json"), ("page", "page.txt"))
             for r in iter_records(kind, DATA / name)]  # type: ignore[arg-type]
    assert len(every) > 30
    expected = resolved(every)
    for seed in range(3):
        clear(store)
        random.Random(seed).shuffle(every)
        shelf.take_in(store, every, batch=(1, 5, 1000)[seed])
        assert {k: {n: v[n] for n in PAPER_COLUMNS} for k, v in papers_of(store).items()} == expected


def test_page_and_arxiv_become_one_and_the_old_address_leads_on(store: Store) -> None:
    shelf.take_in(store, [PAGE])
    with store.reading() as session:
        (old,) = session.scalars(select(PaperRow)).all()
        assert old.public_id.startswith("wp:paper-lanterns")
        assert old.abstract_source == "page"
    counts = shelf.take_in(store, [ARXIV])
    assert (counts.new, counts.changed, counts.merged) == (0, 1, 0), "the row stays, with all that hangs on it"
    with store.reading() as session:
        row = shelf.find(session, old.public_id)
        assert row is not None
        assert row.id == old.id
        assert (row.public_id, row.abstract, row.abstract_source) == ("2603.00101", ARXIV.abstract, "arxiv")
        assert (row.listed_on, row.search_rev) == (DAY(2026, 3, 3), 2)
        assert shelf.address(row) == "/papers/2603.00101"
        for name in ("2603.00101", "arXiv:2603.00101v3", "https://arxiv.org/abs/2603.00101"):
            assert shelf.find(session, name).id == row.id  # type: ignore[union-attr]
        packed = session.scalar(select(PaperSourceRow.packed).where(PaperSourceRow.source == "arxiv"))
        assert packing.payload_of(packed) == b"arxiv's own"  # type: ignore[arg-type]


def test_two_papers_that_turn_out_to_be_one_keep_what_people_said(store: Store) -> None:
    """A BibTeX entry and a dump's row meet when a third record knows both names."""
    bib = Record("bibtex", "b", "Paper Lanterns", doi="10.5555/lantern", authors=("Ada Kowalska",), author_count=1)
    code = Record("pwc", "code:l:1", "Lanterns, extended", alias="pwc:lanterns")
    shelf.take_in(store, [bib, code])
    with store.writing() as session:
        first, second = session.scalars(select(PaperRow).order_by(PaperRow.public_id)).all()
        users = [UserRow(handle=f"u{i}") for i in range(3)]
        session.add_all(users)
        session.flush()
        session.add_all([VoteRow(user_id=users[0].id, paper_id=first.id), VoteRow(user_id=users[0].id, paper_id=second.id),
                         VoteRow(user_id=users[1].id, paper_id=second.id), RatingRow(user_id=users[2].id, paper_id=second.id, value=-1),
                         TagRow(user_id=users[0].id, paper_id=first.id, name="saved"),
                         TagRow(user_id=users[0].id, paper_id=second.id, name="saved"),
                         TagRow(user_id=users[0].id, paper_id=second.id, name="later"),
                         CommentRow(user_id=users[0].id, paper_id=first.id, markdown="a", html="a"),
                         CommentRow(user_id=users[1].id, paper_id=second.id, markdown="b", html="b"),
                         PaperLinkRow(paper_id=second.id, kind="video", url="https://example.org/talk", added_by=users[0].id)])
        ids = [first.public_id, second.public_id]
    knows_both = Record("pwc", "paper:lanterns", "Paper Lanterns", doi="10.5555/lantern", alias="pwc:lanterns")
    counts = shelf.take_in(store, [knows_both])
    assert counts.merged == 1
    with store.reading() as session:
        (row,) = session.scalars(select(PaperRow)).all()
        assert {shelf.find(session, name).id for name in ids} == {row.id}  # type: ignore[union-attr]
        assert (row.votes, row.comments) == (2, 2)
        assert session.scalar(select(func.count()).select_from(VoteRow)) == 2
        assert sorted(session.scalars(select(TagRow.name))) == ["later", "saved"]
        assert session.scalar(select(RatingRow.value)) == -1
        assert session.scalar(select(PaperLinkRow.url).where(PaperLinkRow.added_by.is_not(None))) == "https://example.org/talk"


def test_a_paper_that_falls_into_doubt_hides_what_people_said_until_it_is_settled(store: Store) -> None:
    shelf.take_in(store, [PAGE])
    with store.writing() as session:
        user = UserRow(handle="u")
        session.add(user)
        session.flush()
        page_row = session.scalars(select(PaperRow)).one()
        session.add(CommentRow(user_id=user.id, paper_id=page_row.id, markdown="a", html="a"))
    other = dataclasses.replace(ARXIV, source_key="2603.00102v1", arxiv_id="2603.00102")
    shelf.take_in(store, [ARXIV, other])
    with store.reading() as session:
        assert sorted(session.scalars(select(PaperRow.public_id).where(PaperRow.hidden.is_(False)))) == ["2603.00101", "2603.00102"]
        assert shelf.find(session, page_row.public_id) is None
        assert [d.kind for d in session.scalars(select(DoubtRow))] == ["several"]
        assert session.scalar(select(func.count()).select_from(CommentRow)) == 1
    shelf.take_in(store, [dataclasses.replace(other, authors=("Zoe Else",) * 3, author_count=3, revised=DAY(2026, 9, 9))])
    with store.reading() as session:  # the second paper has three authors after all: the page speaks of the first
        rows_ = session.scalars(select(PaperRow)).all()
        assert sorted(r.public_id for r in rows_) == ["2603.00101", "2603.00102"]
        assert session.scalars(select(DoubtRow)).all() == []
        assert {r.public_id: r.comments for r in rows_}["2603.00101"] == 1
        assert shelf.find(session, page_row.public_id).public_id == "2603.00101"  # type: ignore[union-attr]


def test_what_an_editor_hid_or_settled_stays_so(store: Store) -> None:
    alike = Record("bibtex", "b", "Paper Lantern", authors=("A. Kowalska",), author_count=1, around=DAY(2026, 1, 1))
    shelf.take_in(store, [ARXIV, alike])
    with store.writing() as session:
        session.scalars(select(DoubtRow)).one().state = "two"
        session.scalars(select(PaperRow).where(PaperRow.public_id == "2603.00101")).one().hidden = True
    shelf.take_in(store, [dataclasses.replace(ARXIV, abstract="Better.", revised=DAY(2026, 6, 1))])
    with store.reading() as session:
        assert [d.state for d in session.scalars(select(DoubtRow))] == ["two"]
        row = session.scalars(select(PaperRow).where(PaperRow.public_id == "2603.00101")).one()
        assert (row.hidden, row.abstract) == (True, "Better.")
        assert shelf.find(session, "2603.00101") is None
        assert shelf.find(session, "2603.00101", hidden=True) is not None


def test_counts_from_elsewhere_are_no_change_of_the_paper_and_no_votes(store: Store) -> None:
    hf = Record("hf", "2603.00101", "Paper Lanterns", arxiv_id="2603.00101", listed=DAY(2026, 3, 3), signals=(Signal("upvotes", 7),),
                fetched=dt.datetime(2026, 3, 3, tzinfo=dt.UTC))  # fmt: skip
    shelf.take_in(store, [hf])
    later = dataclasses.replace(hf, signals=(Signal("upvotes", 900),), fetched=dt.datetime(2026, 3, 9, tzinfo=dt.UTC))
    counts = shelf.take_in(store, [later])
    assert (counts.changed_records, counts.changed) == (1, 0)
    with store.writing() as session:
        row = session.scalars(select(PaperRow)).one()
        assert (row.votes, row.search_rev) == (0, 1)
        assert session.scalar(select(PaperSignalRow.value)) == 900
        weights = dict(session.execute(select(TrendEventRow.kind, TrendEventRow.weight)).tuples().all())
        assert weights == {"listed": 1.0, "external": 5.0}
        log = row.trend_log
        assert recompute(session, row.id) == log


def test_texts_beyond_what_an_index_holds(store: Store) -> None:
    long = "д" * 1_900
    found = [Record("bibtex", f"doi:{long}", f"{long} one", doi=f"10.5555/{'x' * 480}", authors=("é" * 200,), author_count=1),
             Record("page", "p", f"{long} two", links=(Link("code", "https://example.org/" + "ü" * 1_900),))]
    shelf.take_in(store, found)
    again = shelf.take_in(store, found)
    assert (again.new, again.same) == (0, 2)
    with store.reading() as session:
        for row in session.scalars(select(PaperRow)):
            assert max(len(str(v).encode()) for v in (row.public_id, row.first_author_key, row.doi)) <= 2_600
            assert len(row.public_id) <= 200
            assert len(row.first_author_key) <= 200
        assert session.scalar(select(PaperRow.public_id).where(PaperRow.doi.is_not(None))) == short(f"doi:10.5555/{'x' * 480}")
        assert shelf.find(session, f"doi:10.5555/{'x' * 480}") is not None


@pytest.mark.sqlite
def test_every_question_of_an_intake_uses_an_index(store: Store) -> None:
    """Nothing may grow with the number of papers. PostgreSQL scans tables as small as these whatever the index."""
    if not store.is_sqlite:
        pytest.skip("SQLite's plans are read here")
    shelf.take_in(store, [ARXIV, PAGE])
    asked: list[tuple[str, object]] = []
    event.listen(store.engine, "before_cursor_execute", lambda c, cur, s, p, ctx, many: asked.append((s, p[0] if many else p)))
    shelf.take_in(store, [dataclasses.replace(PAGE, abstract="New.", fetched=dt.datetime.now(dt.UTC)),
                          dataclasses.replace(ARXIV, source="hf", title="Lanterns")])
    scans = []
    with store.engine.connect() as connection:
        for statement, parameters in asked:
            if statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE")):
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
                    if str(row[3]).startswith("SCAN") and not str(row[3]).startswith("SCAN json_each"):  # the list that was handed over
                        scans.append((row[3], statement))
    assert len(asked) > 20
    assert not scans


def test_a_broken_batch_leaves_nothing(store: Store) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        shelf.take_in(store, [ARXIV, PAGE], after_batch=fail)
    with store.reading() as session:
        for table in (PaperRow, PaperSourceRow, SourceKeyRow, PaperAliasRow):
            assert session.scalar(select(func.count()).select_from(table)) == 0
