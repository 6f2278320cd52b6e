"""An editor's answer to a doubt: it merges or keeps apart for good, whatever comes later in whatever order, and can be taken back."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace

import pytest
from sqlalchemy import select

from workingpapers.hub.ingest import Record
from workingpapers.hub.people.accounts import create_user
from workingpapers.hub.people.votes import set_vote
from workingpapers.hub.shelf import find, settling
from workingpapers.hub.shelf.intake import take_in
from workingpapers.hub.tables import AnswerRow, DoubtRow, PaperRow, PaperSourceRow
from workingpapers.lab import Store

DAY = dt.date(2025, 3, 1)
ONE = Record("bibtex", "one", "Counting coins quickly and well", authors=("Ada Lovelace",), published=DAY, abstract="We count.")
TWO = Record("hf", "2503.00001", "Counting coin quickly and well", authors=("Ada Lovelace",), arxiv_id="2503.00001", published=DAY,
             abstract="We count coins.")
NAMESAKES = [Record("kaggle", f"2503.0000{n}", "On sums", arxiv_id=f"2503.0000{n}", authors=("Ada Lovelace", f"Author {n}"), published=DAY)
             for n in (3, 4)]
UNCLEAR = Record("page", "sums", "On Sums", authors=("Ada Lovelace",), published=DAY, abstract="Of sums.")


def papers(store: Store) -> list[tuple[str, str, tuple[str, ...]]]:
    """Every paper that is to be seen: id, title, and the sources of its records."""
    with store.reading() as session:
        rows = session.scalars(select(PaperRow).where(PaperRow.hidden.is_(False)).order_by(PaperRow.public_id)).all()
        return [(r.public_id, r.title, tuple(sorted(session.scalars(
            select(PaperSourceRow.source).where(PaperSourceRow.paper_id == r.id))))) for r in rows]


def doubt(store: Store) -> int:
    with store.reading() as session:
        return session.scalars(select(DoubtRow.id).where(DoubtRow.state == "open")).one()


def open_doubts(store: Store) -> int:
    with store.reading() as session:
        return len(session.scalars(select(DoubtRow.id).where(DoubtRow.state == "open")).all())


def settle(store: Store, doubt_id: int, answer: str, paper: str = "") -> None:
    with store.writing() as session:
        settling.settle(session, session.get_one(DoubtRow, doubt_id), answer, paper, by=None)


def reopen(store: Store, doubt_id: int) -> None:
    with store.writing() as session:
        settling.reopen(session, session.get_one(DoubtRow, doubt_id))


def test_same_paper_merges_and_moves_what_people_said(store: Store) -> None:
    take_in(store, [ONE, TWO])
    assert len(papers(store)) == 2
    with store.writing() as session:
        user = create_user(session, handle="ada", created_by="test")
        old = next(p for p in session.scalars(select(PaperRow)) if p.arxiv_id is None)
        name = old.public_id
        set_vote(session, user, old, True)
    settle(store, doubt(store), "same")
    assert papers(store) == [("2503.00001", TWO.title, ("bibtex", "hf"))]
    with store.reading() as session:
        merged = find(session, name)
        assert merged is not None, "the old address leads on"
        assert (merged.public_id, merged.votes) == ("2503.00001", 1)


@pytest.mark.parametrize("again", itertools.permutations([
    replace(ONE, abstract="We count more.", revised=DAY), replace(TWO, title="Counting coins", revised=DAY), UNCLEAR]), ids=str)
def test_the_answer_holds_for_later_records_in_any_order(store: Store, again: tuple[Record, ...]) -> None:
    take_in(store, [ONE, TWO])
    settle(store, doubt(store), "same")
    counts = take_in(store, [ONE, TWO])
    assert (counts.new, counts.changed) == (0, 0), "nothing new was said"
    for record in again:
        take_in(store, [record])
    found = papers(store)
    assert found[0] == ("2503.00001", "Counting coins", ("bibtex", "hf"))
    assert [sources for _, _, sources in found] == [("bibtex", "hf"), ("page",)]
    assert open_doubts(store) == 0


def test_two_papers_without_ids_are_tied_too(store: Store) -> None:
    other = replace(TWO, source="page", source_key="other", arxiv_id=None)
    take_in(store, [ONE, other])
    settle(store, doubt(store), "same")
    assert [sources for _, _, sources in papers(store)] == [("bibtex", "page")]
    take_in(store, [replace(TWO, title=other.title)])  # the id becomes known later: all three are one
    assert [(name, sources) for name, _, sources in papers(store)] == [("2503.00001", ("bibtex", "hf", "page"))]


def test_different_papers_are_never_asked_about_again(store: Store) -> None:
    take_in(store, [ONE, TWO])
    settle(store, doubt(store), "different")
    for record in (ONE, TWO, replace(ONE, abstract="More.", revised=DAY), replace(TWO, abstract="More.", revised=DAY)):
        take_in(store, [record])
    assert len(papers(store)) == 2
    assert open_doubts(store) == 0


def test_different_holds_when_an_address_changes(store: Store) -> None:
    take_in(store, [ONE, TWO])
    settle(store, doubt(store), "different")
    before = [name for name, _, _ in papers(store)]
    take_in(store, [replace(ONE, doi="10.1000/coins", revised=DAY)])
    assert [name for name, _, _ in papers(store)] != before
    assert open_doubts(store) == 0


@pytest.mark.parametrize("choice", ["2503.00003", "2503.00004"])
def test_a_record_goes_where_the_editor_says(store: Store, choice: str) -> None:
    take_in(store, [*NAMESAKES, UNCLEAR])
    assert [sources for _, _, sources in papers(store)] == [("kaggle",), ("kaggle",)]
    settle(store, doubt(store), "same", choice)
    expected = [("kaggle", "page") if name == choice else ("kaggle",) for name in ("2503.00003", "2503.00004")]
    assert [sources for _, _, sources in papers(store)] == expected
    for record in (replace(UNCLEAR, abstract="Of large sums.", revised=DAY), *NAMESAKES[::-1]):
        take_in(store, [record])
    assert [sources for _, _, sources in papers(store)] == expected
    with store.reading() as session:
        assert session.scalars(select(PaperRow.abstract).where(PaperRow.public_id == choice)).one() == "Of large sums."


def test_a_record_becomes_a_paper_of_its_own(store: Store) -> None:
    take_in(store, [*NAMESAKES, UNCLEAR])
    settle(store, doubt(store), "different")
    assert [sources for _, _, sources in papers(store)] == [("kaggle",), ("kaggle",), ("page",)]
    take_in(store, [replace(UNCLEAR, abstract="Of large sums.", revised=DAY)])
    assert [sources for _, _, sources in papers(store)] == [("kaggle",), ("kaggle",), ("page",)]


@pytest.mark.parametrize(("records", "answer", "paper"), [
    ([ONE, TWO], "same", ""), ([ONE, TWO], "different", ""), ([*NAMESAKES, UNCLEAR], "same", "2503.00003"),
    ([*NAMESAKES, UNCLEAR], "different", ""),
], ids=["pair-same", "pair-different", "record-same", "record-own"])
def test_an_answer_can_be_taken_back(store: Store, records: list[Record], answer: str, paper: str) -> None:
    take_in(store, records)
    before, asked = papers(store), doubt(store)
    settle(store, asked, answer, paper)
    reopen(store, asked)
    assert papers(store) == before
    assert open_doubts(store) == 1
    with store.reading() as session:
        assert session.scalars(select(AnswerRow)).all() == []


def test_what_cannot_be_settled_changes_nothing(store: Store) -> None:
    take_in(store, [*NAMESAKES, UNCLEAR])
    before, asked = papers(store), doubt(store)
    for answer, paper, why in (("same", "", "Choose one"), ("same", "2503.99999", "Choose one"), ("perhaps", "", "Answer same")):
        with pytest.raises(settling.CannotSettle, match=why):
            settle(store, asked, answer, paper)
    with pytest.raises(settling.CannotSettle, match="open already"):
        reopen(store, asked)
    settle(store, asked, "different")
    with pytest.raises(settling.CannotSettle, match="settled meanwhile"):
        settle(store, asked, "different")
    assert papers(store)[:2] == before


def test_two_arxiv_ids_are_never_merged(store: Store) -> None:
    take_in(store, [ONE, TWO])
    asked = doubt(store)
    with store.writing() as session:  # as when the second got an id between the page and the button
        session.scalars(select(PaperRow).where(PaperRow.arxiv_id.is_(None))).one().arxiv_id = "2503.00009"
    with pytest.raises(settling.CannotSettle, match="arXiv id of their own"):
        settle(store, asked, "same")
