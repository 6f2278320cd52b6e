"""One issue a local day or week, whatever the clocks do."""

from __future__ import annotations

import datetime as dt
import itertools
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workingpapers.hub.mail.calendar import issue_of, newest_issue, next_issue

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu", "Pacific/Apia", "America/St_Johns"]


def walk(start: dt.datetime, end: dt.datetime, period: str, send_at: str, tz: str) -> list:
    issues, moment = [], start
    while (issue := next_issue(moment, period, send_at, tz)).due < end:  # type: ignore[arg-type]
        issues.append(issue)
        moment = issue.due
    return issues


@pytest.mark.parametrize("tz", ZONES)
@pytest.mark.parametrize("send_at", ["00:00", "01:30", "02:00", "02:15", "02:30", "03:00", "23:59"])
def test_each_local_day_of_a_year_has_exactly_one(tz: str, send_at: str) -> None:
    zone = ZoneInfo(tz)
    start, end = dt.datetime(2026, 1, 1, tzinfo=zone), dt.datetime(2027, 1, 1, tzinfo=zone)
    issues = walk(start.astimezone(dt.UTC) - dt.timedelta(microseconds=1), end.astimezone(dt.UTC), "daily", send_at, tz)
    days = [(dt.date(2026, 1, 1) + dt.timedelta(days=n)).isoformat() for n in range(365)]
    assert [i.key for i in issues] == days
    assert [i.due.astimezone(zone).date().isoformat() for i in issues] == days
    gaps = {b.due - a.due for a, b in itertools.pairwise(issues)}
    assert all(dt.timedelta(hours=22) < g < dt.timedelta(hours=26) for g in gaps)


def test_short_and_long_days_move_by_an_hour() -> None:
    """Clocks in Berlin skip 02:00 to 03:00 on 29 March 2026, and live 02:00 to 03:00 twice on 25 October."""
    spring = issue_of(dt.date(2026, 3, 29), "daily", "02:30", "Europe/Berlin")
    autumn = issue_of(dt.date(2026, 10, 25), "daily", "02:30", "Europe/Berlin")
    assert spring is not None
    assert autumn is not None
    assert spring.due == dt.datetime(2026, 3, 29, 1, 30, tzinfo=dt.UTC)
    assert autumn.due == dt.datetime(2026, 10, 25, 0, 30, tzinfo=dt.UTC)


def test_a_day_that_a_place_left_out_has_none() -> None:
    assert issue_of(dt.date(2011, 12, 30), "daily", "07:00", "Pacific/Apia") is None


def test_weeks_are_those_of_iso() -> None:
    issues = walk(dt.datetime(2025, 12, 20, tzinfo=dt.UTC), dt.datetime(2026, 1, 20, tzinfo=dt.UTC), "weekly", "07:00", "UTC")
    assert [i.key for i in issues] == ["2025-W52", "2026-W01", "2026-W02", "2026-W03", "2026-W04"]


@given(st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2035, 1, 1)), st.sampled_from(ZONES), st.sampled_from(["daily", "weekly"]),
       st.times())
def test_newest_and_next_lie_around_a_moment(moment: dt.datetime, tz: str, period: str, at: dt.time) -> None:
    when, send_at = moment.replace(tzinfo=dt.UTC), f"{at.hour:02d}:{at.minute:02d}"
    newest, following = newest_issue(when, period, send_at, tz), next_issue(when, period, send_at, tz)  # type: ignore[arg-type]
    assert newest.due <= when < following.due
    assert newest.key < following.key
    assert next_issue(newest.due, period, send_at, tz) == following  # type: ignore[arg-type]


@pytest.mark.parametrize(("send_at", "tz"), [
    ("24:00", "UTC"), ("7:00", "UTC"), ("", "UTC"), ("07:00", "Nowhere"), ("07:00", "../../etc/passwd"), ("07:00", ""), ("07:00", "\x00"),
])
def test_what_is_no_time_or_zone_is_named(send_at: str, tz: str) -> None:
    with pytest.raises(ValueError, match=r"send_at is|tz is"):
        issue_of(dt.date(2026, 1, 1), "daily", send_at, tz)
