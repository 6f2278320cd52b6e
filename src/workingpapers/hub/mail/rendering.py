"""An edition as a mail: text beside HTML, no remote picture, no tracking, under 90 kB."""

from __future__ import annotations

import datetime as dt
import functools
from email.message import EmailMessage
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import words
from ..settings import HubSettings
from ..tables import SubscriptionRow
from .edition import SIGNS, Edition
from .writing import address_of, new_message, one_line

TEMPLATES = Path(__file__).parents[1] / "templates" / "mail"
COLOURS = {"holds": "#1d7a46", "partly": "#8a6500", "fails": "#b3261e", "inconclusive": "#5f5a55", "untested": "#5f5a55"}
MOST_BYTES = 90_000
ROOM = 500
LEAVE = "https://leave.invalid/"


@functools.cache
def _environment(*, escaped: bool) -> Environment:
    env = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=escaped, undefined=StrictUndefined, trim_blocks=True,
                      lstrip_blocks=True, auto_reload=False)
    env.globals |= {"count": words.count, "colours": COLOURS, "signs": SIGNS}
    return env


def as_text(edition: Edition, address: str, leave: str = "") -> str:
    """The edition in plain text; `leave` is the address that ends the subscription."""
    return _environment(escaped=False).get_template("digest.txt").render(e=edition, address=address, leave=leave).strip() + "\n"


def as_html(edition: Edition, address: str, leave: str = "") -> str:
    """The edition in HTML that mail readers take: styles inline, a table for width, nothing fetched."""
    return _environment(escaped=True).get_template("digest.html").render(e=edition, address=address, leave=leave)


def as_mail(edition: Edition, row: SubscriptionRow, key: str, date: dt.datetime, hub: HubSettings, address: str) -> EmailMessage:
    """The mail of one issue. Same subscription, period and data: same bytes, Message-ID included, but for MIME boundaries.

    The HTML part stays below 90 kB, above which some readers cut a mail: the last papers are left out for it.
    """
    sender = address_of(hub)[1]
    domain = sender.rpartition("@")[2]
    leave = f"{address}/u/{row.token}"
    text, html = (body.replace(LEAVE, leave) for body in _bodies(edition, address))
    headers = {
        "List-Unsubscribe": f"<{leave}>, <mailto:{sender}?subject=unsubscribe%20{row.token}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "List-Id": f"Working Papers digest <digest.{domain}>",
    }
    return new_message(hub, row.email, edition.subject, text, html, date=date, headers=headers,
                       message_id=message_id(row, key, domain))


@functools.lru_cache(maxsize=64)
def _bodies(edition: Edition, address: str) -> tuple[str, str]:
    """Text and HTML, made once for all who get this edition; `LEAVE` stands where their own link goes."""
    html = as_html(edition, address, LEAVE)
    while len(html.encode()) > MOST_BYTES - ROOM and edition.entries:
        edition = Edition(edition.subject, edition.intro, edition.entries[:-1], edition.verdicts)
        html = as_html(edition, address, LEAVE)
    return as_text(edition, address, LEAVE), html


def message_id(row: SubscriptionRow, key: str, domain: str) -> str:
    """The same for every try to send one issue of one subscription."""
    return one_line(f"digest.{row.id}.{key}.{row.token_hash[:16]}@{domain}")
