"""Which records make one paper: the rules one by one, then any order of any records."""

from __future__ import annotations

import datetime as dt
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workingpapers.hub.ingest import (
    Link,
    Record,
    Signal,
    Version,
    alike,
    blocks,
    iter_records,
    merge,
    newest_rows,
    record_keys,
    resolve,
    same,
)
from workingpapers.hub.ingest.matching import CROWD
from workingpapers.hub.ingest.record import SOURCES

DATA = Path(__file__).parent / "data"
DAY = dt.date
ARXIV = Record("arxiv", "2603.00101v1", "Paper Lanterns", arxiv_id="2603.00101", abstract="The true abstract with $m \\times n$.",
               authors=("Ada Kowalska", "Jürgen Faltin"), author_count=2, published=DAY(2026, 3, 1), payload_hash="a")  # fmt: skip
PAGE = Record("page", "p1", "paper lanterns", abstract="The page abstract with mtimes n.", author_count=2, published=DAY(2026, 3, 1),
              listed=DAY(2026, 3, 3), signals=(Signal("comments", 4),), payload_hash="b")  # fmt: skip


def variant(record: Record, **changes) -> Record:
    import dataclasses

    return dataclasses.replace(record, **changes)


def ids(*records: Record) -> list[str]:
    return [p.public_id for p in resolve(records).papers]


def test_page_and_arxiv_become_one_with_arxivs_abstract():
    (paper,) = resolve([PAGE, ARXIV]).papers
    assert (paper.public_id, paper.abstract, paper.abstract_source) == ("2603.00101", ARXIV.abstract, "arxiv")
    assert (paper.authors, paper.author_count) == (ARXIV.authors, 2)
    assert (paper.listed_on, paper.signals) == (DAY(2026, 3, 3), (("page", "comments", 4),))
    assert len(paper.sources) == 2


def test_two_arxiv_ids_are_two_papers_whatever_else_agrees():
    other = variant(ARXIV, source_key="2603.00102v1", arxiv_id="2603.00102", doi="10.5555/x", alias="pwc:x")
    first = variant(ARXIV, doi="10.5555/x", alias="pwc:x")
    result = resolve([first, other])
    assert [p.public_id for p in result.papers] == ["2603.00101", "2603.00102"]
    assert result.doubts == (), "arXiv has settled that they are two"
    assert same(first, other) is False


def test_a_record_that_fits_both_joins_neither_and_is_asked_about():
    other = variant(ARXIV, source_key="2603.00102v1", arxiv_id="2603.00102")
    result = resolve([ARXIV, other, PAGE])
    assert [len(p.sources) for p in result.papers] == [1, 1]
    (doubt,) = result.doubts
    assert (doubt.kind, doubt.record, doubt.papers) == ("several", ("page", "p1"), ("2603.00101", "2603.00102"))


def test_a_record_that_fits_one_of_two_joins_it():
    other = variant(ARXIV, source_key="2603.00102v1", arxiv_id="2603.00102", authors=("Someone Else",) * 3, author_count=3)
    result = resolve([other, PAGE, ARXIV])
    assert [len(p.sources) for p in result.papers] == [2, 1]
    assert result.doubts == ()


@pytest.mark.parametrize(
    ("changes", "one"),
    [
        ({}, True),
        ({"title": "Paper  LANTERNS!"}, True),
        ({"title": "Paper Lamps"}, False),
        ({"author_count": 3}, False),
        ({"author_count": None}, True),
        ({"authors": ("Faltin, J.",), "author_count": 1}, True),
        ({"authors": ("Somebody Else", "X Y"), "author_count": 2}, False),
        ({"published": DAY(2024, 12, 31)}, True),
        ({"published": DAY(2023, 12, 31)}, False),
        ({"published": None}, True),
        ({"title": "Wholly Other", "doi": "10.5555/lantern"}, True),
        ({"title": "Wholly Other", "alias": "pwc:lantern"}, True),
    ],
)
def test_the_rule_for_two(changes, one):
    arxiv = variant(ARXIV, doi="10.5555/lantern", alias="pwc:lantern")
    record = variant(PAGE, **changes)
    assert (same(arxiv, record) is True) == one
    assert len(ids(arxiv, record)) == (1 if one else 2)


def test_an_id_leads_through_others():
    """A DOI leads to the paper although only a third record knows both names."""
    bib = Record("bibtex", "b", "Lanterns", doi="10.5555/lantern", alias="pwc:lantern")
    code = Record("pwc", "code:lantern:1", "Lanterns, published", alias="pwc:lantern", links=(Link("code", "https://example.org/x"),))
    arxiv = variant(ARXIV, doi="10.5555/lantern")
    (paper,) = resolve([code, bib, arxiv]).papers
    assert paper.public_id == "2603.00101"
    assert paper.links == (("pwc", Link("code", "https://example.org/x")),)


def test_a_doi_of_two_arxiv_papers_decides_nothing():
    other = variant(ARXIV, source_key="o", arxiv_id="2603.00102", doi="10.5555/lantern")
    bib = Record("bibtex", "b", "Paper Lanterns", doi="10.5555/lantern", authors=("A Kowalska",))
    result = resolve([variant(ARXIV, doi="10.5555/lantern"), other, bib])
    assert [len(p.sources) for p in result.papers] == [1, 1]
    assert [d.record for d in result.doubts] == [("bibtex", "b")]


def test_one_title_by_different_people_stays_two_and_a_bare_title_is_asked_about():
    a = Record("bibtex", "a", "Introduction", authors=("Ann One",), author_count=1, around=DAY(2020, 1, 1))
    b = Record("bibtex", "b", "Introduction", authors=("Bob Two",), author_count=1, around=DAY(2020, 1, 1))
    bare = Record("page", "c", "Introduction")
    result = resolve([bare, a, b])
    assert len(result.papers) == 2
    assert len({p.public_id for p in result.papers}) == 2
    assert [d.record for d in result.doubts] == [("page", "c")]


def test_nearly_one_title_by_one_author_is_asked_about():
    other = Record("bibtex", "b", "Paper Lantern", authors=("A. Kowalska",), author_count=1, around=DAY(2026, 1, 1))
    result = resolve([ARXIV, other])
    assert len(result.papers) == 2
    assert [(d.kind, d.papers) for d in result.doubts] == [("alike", ("2603.00101", result.papers[1].public_id))]
    assert alike(result.papers[1:], known=result.papers[:1]) == list(result.doubts)
    assert alike(result.papers[:1]) == []
    assert resolve([ARXIV, variant(other, authors=("B. Kowalska",))]).doubts == (), "another first author"


def test_precedence_of_every_field():
    records = [
        Record(source, "x", f"Title {source}", arxiv_id="2603.00101", abstract="" if source == "toml" else f"From {source}.",
               comment=f"By {source}", published=DAY(2000 + i, 1, 1), signals=(Signal("upvotes", i),))
        for i, source in enumerate(SOURCES)
    ]  # fmt: skip
    for last in range(1, len(records) + 1):
        chosen = records[-last:]
        random.Random(last).shuffle(chosen)
        (paper,) = resolve(chosen).papers
        best = SOURCES[-last]
        assert (paper.title, paper.comment) == (f"Title {best}", f"By {best}")
        assert paper.abstract_source == ("arxiv" if best == "toml" else best)
        assert len(paper.signals) == last, "counts of every source are kept apart"


def test_an_author_list_is_never_replaced_by_a_count_or_a_cut_list():
    toml = Record("toml", "lanterns", "Paper Lanterns", arxiv_id="2603.00101", author_count=4, slug="lanterns")
    cut = variant(ARXIV, source="arxiv", authors=("Ada Kowalska",), author_count=None)
    whole = variant(ARXIV, source="bibtex", source_key="b")
    paper = merge([toml, cut, whole])
    assert (paper.authors, paper.author_count) == (ARXIV.authors, 4)
    paper = merge([toml, cut])
    assert (paper.authors, paper.author_count) == (("Ada Kowalska",), 4)


def test_versions_links_and_official():
    v1 = variant(ARXIV, versions=(Version(1, DAY(2026, 3, 1), "Old", "Old."),))
    v3 = variant(
        ARXIV, source_key="2603.00101v3", title="New Lanterns", updated=DAY(2026, 5, 2), versions=(Version(1, DAY(2026, 3, 1)), Version(3))
    )
    kaggle = variant(
        ARXIV, source="kaggle", source_key="k", versions=(Version(1), Version(2, DAY(2026, 4, 1)), Version(3, DAY(2026, 5, 2)))
    )
    links = (Link("code", "https://example.org/x"),)
    paper = merge([v1, kaggle, v3, variant(ARXIV, source="hf", source_key="h", links=links),
                   variant(ARXIV, source="pwc", source_key="p", links=(Link("code", links[0].url, official=True),))])  # fmt: skip
    assert paper.title == "New Lanterns", "the newest state of a source speaks for it"
    assert [(v.number, v.date, v.title) for _, v in paper.versions] == [
        (1, DAY(2026, 3, 1), "Old"), (2, DAY(2026, 4, 1), ""), (3, DAY(2026, 5, 2), "")]  # fmt: skip
    assert paper.links == (("pwc", Link("code", "https://example.org/x", official=True)),)


def test_newer_counts_win_and_deletion_shows():
    early = variant(
        ARXIV,
        source="hf",
        source_key="h",
        signals=(Signal("upvotes", 9),),
        fetched=dt.datetime(2026, 3, 3, tzinfo=dt.UTC),
        payload_hash="z",
    )
    late = variant(early, signals=(Signal("upvotes", 7),), fetched=dt.datetime(2026, 3, 9, tzinfo=dt.UTC), payload_hash="y")
    assert merge([late, early, late]).signals == (("hf", "upvotes", 7),)
    gone = Record("oai", "2603.00101", arxiv_id="2603.00101", deleted=True, revised=DAY(2026, 6, 1))
    back = Record("oai", "2603.00101", "Paper Lanterns", arxiv_id="2603.00101", revised=DAY(2026, 7, 1))
    assert merge([ARXIV, gone]).deleted
    assert not merge([ARXIV, gone, back]).deleted
    assert resolve([gone]).untitled == (("oai", "2603.00101"),)
    assert merge([gone]) is None


def test_a_made_id_stays_when_more_becomes_known():
    (before,) = ids(Record("page", "c", "A Paper without any Id"))
    (after,) = ids(
        Record("page", "c", "A Paper without any Id"), Record("bibtex", "d", "A Paper Without Any Id", authors=("X Y",), author_count=1)
    )
    assert before == after
    assert before.startswith("wp:a-paper-without-any-id-")


def test_a_crowd_of_one_title_is_no_square():
    crowd = [
        Record("bibtex", f"b{i}", "Editorial", authors=(f"Name{i}",), author_count=1, around=DAY(2020, 1, 1)) for i in range(CROWD + 100)
    ]
    bare = [Record("page", f"p{i}", "Editorial") for i in range(300)]
    result = resolve([*crowd, *bare])
    assert len(result.papers) == CROWD + 100
    assert len({p.public_id for p in result.papers}) == CROWD + 100
    assert [d.papers for d in result.doubts if d.kind == "several"] == [()] * 300


# A small world in which everything collides: few titles, names, ids and years.
titles = st.sampled_from(["Lanterns", "lanterns!", r"On $\ell_1$ Folds", "On ell_1 Folds", "On Lanterns", "?"])
names = st.lists(st.sampled_from(["Ada Kowalska", "Faltin, J.", "Ole Sten", "Q Rock"]), max_size=3, unique=True).map(tuple)
years = st.none() | st.integers(2018, 2026).map(lambda y: DAY(y, 6, 1))


@st.composite
def records(draw) -> Record:
    authors = draw(names)
    source = draw(st.sampled_from(SOURCES))
    return Record(
        source,
        draw(st.sampled_from("abcdef")),
        draw(titles) if draw(st.integers(0, 9)) else "",
        arxiv_id=draw(st.sampled_from([None, None, "2603.00101", "2603.00102", "2603.00103"])),
        doi=draw(st.sampled_from([None, None, None, "10.5555/a", "10.5555/b"])),
        alias=draw(st.sampled_from([None, None, None, "pwc:a", "pwc:b"])),
        slug=draw(st.sampled_from([None, "lanterns", "folds"])) if source == "toml" else None,
        abstract=draw(st.sampled_from(["", "One.", "Two."])),
        authors=authors,
        author_count=draw(st.sampled_from([None, len(authors) or None, 2])) if authors else draw(st.sampled_from([None, 1, 2])),
        published=draw(years),
        updated=draw(years),
        versions=draw(st.sampled_from([(), (Version(1),), (Version(1), Version(2, DAY(2020, 1, 1)))])),
        signals=draw(st.sampled_from([(), (Signal("upvotes", 1),), (Signal("upvotes", 2),)])),
        links=draw(
            st.sampled_from([(), (Link("code", "https://example.org/x"),), (Link("code", "https://example.org/x", official=True),)])
        ),
        payload_hash=draw(st.sampled_from(["", "1", "2"])),
    )


@pytest.mark.slow
@given(st.lists(records(), max_size=9), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_any_order_gives_equal_papers(found, shuffler):
    result = resolve(found)
    shuffled = [*found, *shuffler.sample(found, len(found) // 2)]
    shuffler.shuffle(shuffled)
    assert resolve(shuffled) == result
    assert resolve(newest_rows(shuffled)) == result, "what a store keeps is enough"


@given(st.lists(records(), max_size=9), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_arriving_one_by_one_gives_the_same(found, shuffler):
    """As a store works: each new record is resolved with all kept ones that it shares a key with, transitively."""
    shuffler.shuffle(found)
    kept: list[Record] = []
    papers, doubts = {}, {}
    for record in found:
        kept = newest_rows([*kept, record])
        for block in blocks(kept):
            if any(r.key == record.key for r in block):
                part = resolve(block)
                members = frozenset(r.key for r in block)
                for old in [key for key in papers if key & members]:
                    del papers[old], doubts[old]
                papers[members], doubts[members] = part.papers, [d for d in part.doubts if d.kind == "several"]
    whole = resolve(found)
    live = [frozenset(r.key for r in block) for block in blocks(kept)]
    assert sorted((p.public_id, p) for key in live for p in papers.get(key) or resolve([r for r in kept if r.key in key]).papers) == sorted(
        (p.public_id, p) for p in whole.papers
    )


@pytest.mark.slow
@given(st.lists(records(), max_size=12))
@settings(max_examples=120, deadline=None)
def test_what_always_holds(found):
    result = resolve(found)
    rows = {r.key: r for r in newest_rows(found)}
    placed = [(source, key) for paper in result.papers for source, key, _ in paper.sources]
    asked = [d.record for d in result.doubts if d.kind == "several"]
    assert sorted([*placed, *asked, *result.untitled]) == sorted(rows), "every row is in one paper, or asked about, or says nothing"
    assert len({p.public_id for p in result.papers}) == len(result.papers)
    for paper in result.papers:
        members = [rows[source, key] for source, key, _ in paper.sources]
        assert len({r.arxiv_id for r in members if r.arxiv_id}) <= 1, "never two arXiv ids in one paper"
        assert merge(members) == paper or paper.public_id.startswith("wp:")
        assert paper.author_count is None or paper.author_count >= len(paper.authors)
    for name in {r.arxiv_id for r in rows.values() if r.arxiv_id}:
        homes = [p for p in result.papers if any(rows[s, k].arxiv_id == name for s, k, _ in p.sources)]
        assert len(homes) <= 1, "one arXiv id, one paper"
    for doubt in result.doubts:
        if doubt.record:
            assert rows[doubt.record].arxiv_id is None, "an id is never in doubt"


@given(records(), records())
def test_the_rule_for_two_agrees_with_resolving_two(a, b):
    if a.key == b.key or not a.title or not b.title:
        return
    assert same(a, b) == same(b, a)
    assert (len(resolve([a, b]).papers) == 1) == (same(a, b) is True)


@given(records(), records())
def test_records_that_match_share_a_key(a, b):
    if same(a, b) and a.key != b.key:
        assert set(record_keys(a)) & set(record_keys(b))


def test_real_metadata_and_its_saved_pages():
    """Real records; each again without id and names and with its mathematics spoilt finds its paper, but for the twins."""
    real = list(iter_records("jsonl", DATA / "arxiv-cc0.jsonl"))
    assert len(real) == len({r.arxiv_id for r in real}) == 36
    pages = [
        Record("page", r.source_key, re.sub(r"[\\{}]", "", r.title), abstract="Spoilt.", author_count=r.author_count, published=r.published)
        for r in real
    ]
    result = resolve([*pages, *real])
    homes = {key: p.arxiv_id for p in result.papers for source, key, _ in p.sources if source == "page"}
    twins = {"1409.6580", "1409.6582"}
    assert homes == {r.source_key: r.arxiv_id for r in real if r.arxiv_id not in twins}
    assert {d.record for d in result.doubts} == {("page", name) for name in twins}
    assert {d.papers for d in result.doubts} == {tuple(sorted(twins))}
    assert all(p.abstract_source in ("arxiv", "oai") for p in result.papers)
