"""How the site writes numbers, times and days."""

from __future__ import annotations

import datetime as dt
import math

MINUS = "−"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 3) -> str:
    """A number for people: three significant digits, whole numbers whole, a real minus sign.

    >>> number(0.83412), number(-1.7), number(40000), number(123456.7), number(3.2e-9), number(None)
    ('0.834', '−1.7', '40,000', '123,457', '3.2×10⁻⁹', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    size = abs(value)
    if size >= 1e7 or 0 < size < 1e-3:
        mantissa, _, exponent = f"{size:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        text = f"{mantissa}×10{str(int(exponent)).translate(SUPERSCRIPT)}"
    elif size >= 10 ** (digits - 1) or size == int(size):
        text = f"{size:,.0f}"
    else:
        decimals = digits - 1 - math.floor(math.log10(size))
        text = f"{size:.{decimals}f}".rstrip("0").rstrip(".")
    return f"{MINUS}{text}" if value < 0 and text != "0" else text


def quantity(value: float | None, unit: str = "") -> str:
    """A number with its unit; `×` and `%` stand close to the number.

    >>> quantity(0.5, "×"), quantity(12.25, "s"), quantity(3, "")
    ('0.5×', '12.2 s', '3')
    """
    if not unit:
        return number(value)
    return f"{number(value)}{'' if unit == '×' else ' '}{unit}"


def duration(seconds: float | None) -> str:
    """How long something takes, to the precision people care for.

    >>> duration(0.04), duration(12.3), duration(102), duration(7500), duration(None)
    ('under 1 s', '12 s', '1 min 42 s', '2 h 5 min', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 1:
        return "under 1 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def day(date: dt.date) -> str:
    """A date.

    >>> day(dt.date(2023, 5, 26))
    '26 May 2023'
    """
    return f"{date.day} {date:%b %Y}"


def weekday(date: dt.date) -> str:
    """The heading of a day.

    >>> weekday(dt.date(2025, 12, 26))
    'Friday, 26 December 2025'
    """
    return f"{date:%A}, {date.day} {date:%B %Y}"


def moment(when: dt.datetime | str | None) -> str:
    """A moment in UTC.

    >>> moment(dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)), moment("2026-01-02T03:04:05+00:00"), moment(None)
    ('2 Jan 2026, 03:04 UTC', '2 Jan 2026, 03:04 UTC', '–')
    """
    if when is None:
        return "–"
    try:
        found = dt.datetime.fromisoformat(when) if isinstance(when, str) else when
    except ValueError:
        return str(when)
    found = found.astimezone(dt.UTC) if found.tzinfo else found
    return f"{found.day} {found:%b %Y, %H:%M} UTC"


def count(n: int, one: str, many: str | None = None) -> str:
    """A count with its noun.

    >>> count(1, "paper"), count(32, "paper"), count(0, "entry", "entries")
    ('1 paper', '32 papers', '0 entries')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"
