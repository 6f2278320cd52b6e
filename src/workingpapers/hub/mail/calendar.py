"""When a digest is due: once a local day or week, also on days of 23 and 25 hours."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Period = Literal["daily", "weekly"]
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True, order=True)
class Issue:
    """One appearance of a digest: when it is due (UTC), and the key of its period, such as `2026-03-29` or `2026-W13`."""

    due: dt.datetime
    key: str


def zone(name: str) -> ZoneInfo:
    """The time zone of this name.

    Raises:
        ValueError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"tz is {name[:60]!r}: a name such as Europe/Berlin is needed") from error


def clock(text: str) -> dt.time:
    """A time of day from `HH:MM`.

    Raises:
        ValueError: it is none.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"send_at is {text[:20]!r}: a time such as 07:00 is needed")
    return dt.time(int(match[1]), int(match[2]))


def issue_of(day: dt.date, period: Period, send_at: str, tz: str) -> Issue | None:
    """The issue of a local day; None for a day that has none: not the first of its week, or left out of the local calendar.

    A time that the clocks skip counts as if they had not been changed yet; of a time that comes twice the first counts.

    >>> issue_of(dt.date(2026, 3, 29), "daily", "02:30", "Europe/Berlin")
    Issue(due=datetime.datetime(2026, 3, 29, 1, 30, tzinfo=datetime.timezone.utc), key='2026-03-29')
    """
    if period == "weekly" and day.weekday() != 0:
        return None
    local = dt.datetime.combine(day, clock(send_at), zone(tz))
    due = local.astimezone(dt.UTC)
    if due.astimezone(zone(tz)).date() != day:
        return None
    year, week, _ = day.isocalendar()
    return Issue(due, day.isoformat() if period == "daily" else f"{year}-W{week:02d}")


def newest_issue(moment: dt.datetime, period: Period, send_at: str, tz: str) -> Issue:
    """The last issue that is due at this moment or before it."""
    today = moment.astimezone(zone(tz)).date()
    found = (issue_of(today - dt.timedelta(days=back), period, send_at, tz) for back in range(-1, 16))
    return max(issue for issue in found if issue is not None and issue.due <= moment)


def next_issue(after: dt.datetime, period: Period, send_at: str, tz: str) -> Issue:
    """The first issue that is due after this moment."""
    today = after.astimezone(zone(tz)).date()
    found = (issue_of(today + dt.timedelta(days=ahead), period, send_at, tz) for ahead in range(-1, 16))
    return min(issue for issue in found if issue is not None and issue.due > after)


def length(period: Period) -> dt.timedelta:
    """How far back the first issue looks."""
    return dt.timedelta(days=1 if period == "daily" else 7)
