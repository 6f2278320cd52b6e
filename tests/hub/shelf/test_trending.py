"""The trend as one number a paper, against the direct sum over all events."""

from __future__ import annotations

import datetime as dt
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from workingpapers.hub import shelf, trending
from workingpapers.hub.ingest import Record
from workingpapers.hub.shelf import lists
from workingpapers.hub.tables import PaperRow, TrendEventRow
from workingpapers.lab import Store

T0 = trending.origin()
H = 72 * 3600.0


def direct(events: list[tuple[float, dt.datetime]], at: dt.datetime) -> float:
    """S(t) of the published formula, term by term."""
    return math.fsum(w * 2.0 ** (-(at - t).total_seconds() / H) for w, t in events)


def papers(store: Store, n: int) -> list[int]:
    shelf.take_in(store, [Record("arxiv", f"2603.{i:05}v1", f"Paper {i} of the trend", arxiv_id=f"2603.{i:05}",
                                 authors=(f"Ann A{i}",), author_count=1) for i in range(n)])
    with store.reading() as session:
        return list(session.scalars(select(PaperRow.id).order_by(PaperRow.id)))


@pytest.mark.slow
def test_ten_thousand_events_give_the_order_and_value_of_the_direct_sum(store: Store) -> None:
    ids, draw = papers(store, 40), random.Random(7)
    events: dict[int, dict[str, tuple[float, dt.datetime]]] = {i: {} for i in ids}
    end = T0 + dt.timedelta(days=400)
    with store.writing() as session:
        for n in range(10_000):
            paper = draw.choice(ids)
            if events[paper] and draw.random() < 0.2:  # somebody takes something back
                key = draw.choice(list(events[paper]))
                del events[paper][key]
                assert trending.withdraw(session, paper, "vote", key)
                assert not trending.withdraw(session, paper, "vote", key)
            else:
                weight = draw.choice((1.0, 0.5, 2.0, 0.25, 0.1))
                at = T0 + dt.timedelta(seconds=draw.uniform(-1e6, (end - T0).total_seconds()))
                events[paper][str(n)] = (weight, at)
                assert trending.record(session, paper, "vote", str(n), weight, at)
                assert not trending.record(session, paper, "vote", str(n), 5.0, at), "the same event counts once"
    with store.reading() as session:
        logs = dict(session.execute(select(PaperRow.id, PaperRow.trend_log)).tuples().all())
        order = [row.id for row in lists.trending(session, limit=40).papers]
    truth = {i: direct(list(found.values()), end) for i, found in events.items()}
    for i in ids:
        assert trending.score(logs[i], end) == pytest.approx(truth[i], rel=1e-9)
    assert order == sorted(ids, key=lambda i: -truth[i])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 10), st.floats(-2e4, 2e5)), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_adding_one_by_one_is_summing(events: list[tuple[float, float]], shuffle: random.Random) -> None:
    """Days from -20,000 to 200,000: beyond what doubles of the plain sum could hold."""
    terms = [math.log2(w) + days / 3 for w, days in events]
    expected = trending.total(terms)
    shuffle.shuffle(terms)
    log = None
    for x in terms:
        log = trending.added(log, x)
    assert log == pytest.approx(expected, abs=1e-9)


def test_what_is_taken_back_leaves_no_trace(store: Store) -> None:
    (paper,) = papers(store, 1)
    quiet = T0 + dt.timedelta(days=1)
    with store.writing() as session:
        assert session.get_one(PaperRow, paper).trend_log is None
        trending.record(session, paper, "comment", "a", 0.5, quiet)
        before = session.scalar(select(PaperRow.trend_log))
        for n in range(300):  # each 2^100 times all that is left
            trending.record(session, paper, "vote", str(n), 1.0, quiet + dt.timedelta(days=300))
        for n in range(300):
            trending.withdraw(session, paper, "vote", str(n))
        assert session.scalar(select(PaperRow.trend_log)) == before
        trending.withdraw(session, paper, "comment", "a")
        assert session.scalar(select(PaperRow.trend_log)) is None
        assert session.scalars(select(TrendEventRow)).all() == []


def test_young_accounts_count_half_and_wrong_input_is_named(store: Store) -> None:
    moment = T0 + dt.timedelta(days=9)
    assert trending.weight_of("vote", moment - dt.timedelta(hours=23), moment) == 0.5
    assert trending.weight_of("run", moment - dt.timedelta(hours=25), moment) == 2.0
    with store.writing() as session:
        with pytest.raises(ValueError, match="weight"):
            trending.record(session, 1, "vote", "x", 0.0, moment)
        with pytest.raises(ValueError, match="paper_id"):
            trending.record(session, 999, "vote", "x", 1.0, moment)


def test_papers_without_events_follow_by_day_and_pages_meet(store: Store) -> None:
    ids = papers(store, 9)
    with store.writing() as session:
        for n, row in enumerate(session.scalars(select(PaperRow).order_by(PaperRow.id))):
            row.listed_on = dt.date(2026, 1, 1 + n)
        trending.record(session, ids[2], "vote", "x", 1.0, T0)
        trending.record(session, ids[4], "vote", "x", 1.0, T0)
        trending.record(session, ids[0], "vote", "x", 2.0, T0)
    for size in (1, 2, 3, 4, 9, 20):
        seen, after = [], ""
        with store.reading() as session:
            for _ in range(20):
                page = lists.trending(session, after=after, limit=size)
                seen += [row.id for row in page.papers]
                if page.after is None:
                    break
                after = page.after
        assert seen == [ids[0], ids[4], ids[2], *(ids[i] for i in (8, 7, 6, 5, 3, 1))]
