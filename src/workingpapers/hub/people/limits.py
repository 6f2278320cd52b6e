"""How often something may be done. What guards mail, comments and votes is counted in the database, shared by all processes;
searches are counted in memory, since reading changes no row.

    with store.writing() as session:
        spend(session, VOTES, viewer)
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from workingpapers.lab.store import now

from ..problems import Problem
from ..tables import RateCounterRow
from .viewer import Viewer

PARTS = 10  # a window moves in tenths of itself


@dataclass(frozen=True)
class Limit:
    """At most `count` in any `seconds`. An address may do `by_address` times as much as an account: offices share one."""

    name: str
    count: int
    seconds: int
    words: str
    by_address: int = 10


MAILS = Limit("mail", 5, 3600, "sign-in mails", by_address=1)
SUBSCRIPTIONS = Limit("subscribe", 20, 3600, "digests", by_address=1)
COMMENTS = Limit("comment", 10, 600, "comments")
VOTES = Limit("vote", 60, 60, "votes and tags")
SEARCHES = Limit("search", 60, 60, "searches", by_address=1)


def address_key(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 of an IPv6 address, which one subscriber has whole.

    >>> address_key("192.0.2.7"), address_key("2001:db8::1") == address_key("2001:db8::2"), address_key("testclient")
    ('192.0.2.7', True, 'testclient')
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped) if found.ipv4_mapped else str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def spend(session: Session, limit: Limit, viewer: Viewer, *more: str) -> None:
    """Count one more for the account and for its address, and for other names that stand in `more`.

    Raises:
        Problem: 429 with `Retry-After`; the transaction is rolled back, so what was refused is not counted.
    """
    if viewer.user is not None:
        count(session, limit, f"user:{viewer.user.id}")
    count(session, replace(limit, count=limit.count * limit.by_address), f"address:{address_key(viewer.address)}")
    for name in more:
        count(session, limit, name)


def count(session: Session, limit: Limit, who: str) -> None:
    """Count one more for `who`. See `spend`."""
    moment, key = now(), f"{limit.name}:{who}"[:200]
    part = limit.seconds / PARTS
    start = dt.datetime.fromtimestamp(moment.timestamp() // part * part, dt.UTC)
    insert = (sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert)(RateCounterRow)
    session.execute(insert.values(key=key, window_start=start, count=1).on_conflict_do_update(
        index_elements=["key", "window_start"], set_={"count": RateCounterRow.count + 1}))
    done, first = session.execute(select(func.sum(RateCounterRow.count), func.min(RateCounterRow.window_start)).where(
        RateCounterRow.key == key, RateCounterRow.window_start > moment - dt.timedelta(seconds=limit.seconds))).tuples().one()
    if done > limit.count:
        raise too_many(limit, max(1, int((first - moment).total_seconds()) + limit.seconds + 1))


def too_many(limit: Limit, seconds: int) -> Problem:
    """The answer to one who has to wait."""
    wait = f"{seconds} s" if seconds < 90 else f"{-(-seconds // 60)} minutes"
    return Problem(429, "Too much at once", f"At most {limit.count} {limit.words} in {_window(limit.seconds)}. Try again in {wait}.",
                   {"Retry-After": str(seconds)})


def _window(seconds: int) -> str:
    return {60: "a minute", 3600: "an hour"}.get(seconds, f"{seconds // 60} minutes")


_memory = MovingWindowRateLimiter(MemoryStorage())


def allow_search(viewer: Viewer, limit: Limit = SEARCHES, names: Iterable[str] = ()) -> None:
    """Count a search of a visitor, in this process alone; accounts are not counted.

    Raises:
        Problem: 429 with `Retry-After`.
    """
    if viewer.user is not None:
        return
    item = RateLimitItemPerSecond(limit.count, limit.seconds)
    key = (limit.name, address_key(viewer.address), *names)
    if not _memory.hit(item, *key):
        reset = _memory.get_window_stats(item, *key).reset_time
        raise too_many(limit, max(1, int(reset - now().timestamp()) + 1))
