"""What moves people now: a sum of events that halves every three days, kept as one number a paper.

    S(t) = sum over events of w * 2^(-(t - t_e) / H),   H = 72 h

All terms shrink alike, so the order of papers does not change while time passes. Stored is the logarithm of the sum as
seen from a fixed moment T0, `trend_log = log2(sum w * 2^((t_e - T0) / H))`: an event costs O(1), nothing is ever rescored in
bulk, and an index gives the list. A double holds the exponent for some 10^300 half-lives, and its order to 1e-12 of one.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
from collections.abc import Iterable, Mapping
from typing import Literal

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from .settings import HubSettings
from .tables import PaperRow, TrendEventRow

HALF_LIFE = dt.timedelta(hours=72)
WINDOW = dt.timedelta(days=3)
YOUNG = dt.timedelta(hours=24)

Kind = Literal["vote", "comment", "tag", "run", "listed", "external"]
WEIGHTS: dict[Kind, float] = {"vote": 1.0, "comment": 0.5, "tag": 0.5, "run": 2.0, "listed": 1.0, "external": 0.1}
EXTERNAL_CAP = 5.0
FROM_SOURCES: tuple[Kind, ...] = ("listed", "external")
FORMULA = "S(t) = Σ w · 2^(−(t − tₑ) / 72 h)"


@functools.cache
def origin() -> dt.datetime:
    """T0 of the formula, from the settings."""
    start = HubSettings().trend_start
    return start if start.tzinfo else start.replace(tzinfo=dt.UTC)


def term(weight: float, at: dt.datetime) -> float:
    """log2 of one event's part of the sum, as seen from T0.

    >>> term(1.0, origin()), term(2.0, origin() + HALF_LIFE)
    (0.0, 2.0)
    """
    if not weight > 0 or not math.isfinite(weight):
        raise ValueError(f"weight: a positive number, not {weight}")
    return math.log2(weight) + (at - origin()) / HALF_LIFE


def added(log: float | None, x: float) -> float:
    """log2(2^log + 2^x), whatever their sizes; None is an empty sum.

    >>> added(None, 3.0), added(3.0, 3.0), added(2000.0, 1.0)
    (3.0, 4.0, 2000.0)
    """
    if log is None:
        return x
    high, low = max(log, x), min(log, x)
    return high + math.log1p(2.0 ** (low - high)) / math.log(2)


def total(terms: Iterable[float]) -> float | None:
    """log2 of a sum of 2^term, the same for any order; None for no terms.

    >>> total([1.0, 1.0, 2.0]), total([])
    (3.0, None)
    """
    listed = list(terms)
    if not listed:
        return None
    high = max(listed)
    return high + math.log2(math.fsum(2.0 ** (x - high) for x in listed))


def weight_of(kind: Kind, account_made: dt.datetime | None = None, at: dt.datetime | None = None) -> float:
    """The weight of an event; half while the account behind it is younger than a day."""
    young = account_made is not None and at is not None and at - account_made < YOUNG
    return WEIGHTS[kind] * (0.5 if young else 1.0)


def record(session: Session, paper_id: int, kind: Kind, key: str, weight: float, at: dt.datetime) -> bool:
    """Add an event to a paper's trend, in this transaction. O(1).

    Args:
        key: names the event within its kind, such as the user's id for a vote: a second one with the same key is not counted.
        weight: see `weight_of`.
        at: when it happened.

    Returns:
        Whether it is new.
    """
    x = term(weight, at)
    log = _locked(session, paper_id)
    same = select(TrendEventRow.id).where(TrendEventRow.paper_id == paper_id, TrendEventRow.kind == kind, TrendEventRow.key == key)
    if session.scalar(same) is not None:
        return False
    session.add(TrendEventRow(paper_id=paper_id, kind=kind, key=key, weight=weight, at=at))
    _store(session, paper_id, added(log, x))
    session.flush()
    return True


def withdraw(session: Session, paper_id: int, kind: Kind, key: str) -> bool:
    """Take an event back, as if it had never been; False when there is none.

    Its exact term is subtracted. Where that would cancel digits, because the term is most of the sum, what remains is summed
    anew from the paper's own events.
    """
    log = _locked(session, paper_id)
    row = session.scalar(select(TrendEventRow).where(TrendEventRow.paper_id == paper_id, TrendEventRow.kind == kind,
                                                     TrendEventRow.key == key))
    if row is None:
        return False
    x = term(row.weight, row.at)
    session.delete(row)
    session.flush()
    if log is not None and x - log < -1.0:
        _store(session, paper_id, log + math.log1p(-(2.0 ** (x - log))) / math.log(2))
    else:
        recompute(session, paper_id)
    return True


def recompute(session: Session, paper_id: int) -> float | None:
    """Sum a paper's trend anew from its events, and store it."""
    events = session.execute(select(TrendEventRow.weight, TrendEventRow.at).where(TrendEventRow.paper_id == paper_id)).tuples()
    log = total(term(weight, at) for weight, at in events)
    _store(session, paper_id, log)
    return log


def forget(session: Session, paper_id: int, kind: Kind) -> None:
    """Take back all events of a kind."""
    session.execute(delete(TrendEventRow).where(TrendEventRow.paper_id == paper_id, TrendEventRow.kind == kind))
    recompute(session, paper_id)


def score(log: float | None, at: dt.datetime) -> float:
    """S(t) of the formula.

    >>> score(0.0, origin() + HALF_LIFE), score(None, origin())
    (0.5, 0.0)
    """
    return 0.0 if log is None else 2.0 ** (log - (at - origin()) / HALF_LIFE)


def reasons(session: Session, paper_ids: Iterable[int], at: dt.datetime) -> dict[int, dict[str, int]]:
    """How many events of each kind the papers had in the last three days, by paper."""
    query = (select(TrendEventRow.paper_id, TrendEventRow.kind, func.count())
             .where(TrendEventRow.paper_id.in_(list(paper_ids)), TrendEventRow.at > at - WINDOW, TrendEventRow.at <= at)
             .group_by(TrendEventRow.paper_id, TrendEventRow.kind))
    found: dict[int, dict[str, int]] = {}
    for paper_id, kind, n in session.execute(query).tuples():
        found.setdefault(paper_id, {})[kind] = n
    return found


_NOUNS = {"vote": ("vote", "votes"), "comment": ("comment", "comments"), "tag": ("reader saved it", "readers saved it"),
          "run": ("run", "runs")}


def words_of(events: Mapping[str, int]) -> str:
    """Why a paper stands in the list.

    >>> words_of({"vote": 3, "run": 2}), words_of({"listed": 1}), words_of({})
    ('3 votes, 2 runs in the last 3 days', 'listed in the last 3 days', '')
    """
    parts = [f"{events[kind]} {one if events[kind] == 1 else many}" for kind, (one, many) in _NOUNS.items() if events.get(kind)]
    parts += ["up-voted on another site"] if events.get("external") else []
    parts = parts or (["listed"] if events.get("listed") else [])
    return f"{', '.join(parts)} in the last 3 days" if parts else ""


def _locked(session: Session, paper_id: int) -> float | None:
    """The stored sum; its row is ours until the transaction ends."""
    session.flush()
    row = session.execute(select(PaperRow.id, PaperRow.trend_log).where(PaperRow.id == paper_id).with_for_update()).one_or_none()
    if row is None:
        raise ValueError(f"paper_id: there is no paper {paper_id}")
    log: float | None = row.trend_log
    return log


def _store(session: Session, paper_id: int, log: float | None) -> None:
    session.execute(update(PaperRow).where(PaperRow.id == paper_id).values(trend_log=log),
                    execution_options={"synchronize_session": "fetch"})
