"""Pages and buttons of digests: ask, confirm, leave. A GET changes nothing, so that mail scanners start and end nothing."""

from __future__ import annotations

import logging
from typing import Annotated
from zoneinfo import available_timezones

from fastapi import APIRouter, BackgroundTasks, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from workingpapers.lab import Store
from workingpapers.lab.store import now

from .. import words
from ..forms import has_token
from ..people.limits import SUBSCRIPTIONS, spend
from ..people.viewer import ViewerOf
from ..problems import Problem
from ..rendering import page
from ..site import SiteOf
from . import subscriptions
from .calendar import length
from .edition import KINDS, make_edition
from .outbox import MailError, send
from .rendering import as_text
from .subscriptions import Wish

log = logging.getLogger("workingpapers.hub.mail")

READ = ["GET", "HEAD"]
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
Word = Annotated[str, Form(max_length=300)]
Token = Annotated[str, "a secret of 43 characters"]


@router.api_route("/subscribe", methods=READ)
def form(request: Request, kind: Annotated[str, Query(max_length=20)] = "trending", q: Annotated[str, Query(max_length=300)] = "",
         category: Annotated[str, Query(max_length=60)] = "", slug: Annotated[str, Query(max_length=80)] = "") -> Response:
    """The form that asks for a digest."""
    filled = {"kind": kind if kind in KINDS else "trending", "q": q, "category": category, "tag": "", "slug": slug, "email": "",
              "period": "daily", "send_at": "07:00", "tz": "UTC"}
    return page(request, "subscribe.html", filled=filled, problem="", zones=_zones())


@router.post("/subscribe", dependencies=[Depends(has_token)])
def ask(request: Request, site: SiteOf, viewer: ViewerOf, later: BackgroundTasks, email: Word, kind: Word = "trending",
        q: Word = "", tag: Word = "", category: Word = "", slug: Word = "", period: Word = "daily", send_at: Word = "07:00",
        tz: Word = "UTC") -> Response:
    """Take a wish down and send the mail that confirms it. The answer is the same for every address."""
    filled = {"email": email, "kind": kind, "q": q, "tag": tag, "category": category, "slug": slug, "period": period,
              "send_at": send_at, "tz": tz}
    try:
        wish = Wish(email, kind, {"q": q, "tag": tag, "category": category, "slug": slug}, period, send_at, tz)  # type: ignore[arg-type]
    except ValueError as error:
        return page(request, "subscribe.html", 422, filled=filled, problem=str(error), zones=_zones())
    with site.lab.store.writing() as session:
        spend(session, SUBSCRIPTIONS, viewer)
    # Written and sent after the answer, so that its time tells nothing about the address either.
    later.add_task(_ask, site.lab.store, wish, viewer.user.id if viewer.user else None)
    return page(request, "told.html", title="Look into your mail",
                text=f"If {wish.email} can be written to, a mail with a link is on its way. The digest starts when you press the button "
                     "on the page that it leads to; the link works for three days.")


def _ask(store: Store, wish: Wish, user_id: int | None) -> None:
    from ..settings import HubSettings

    hub = HubSettings()
    with store.writing() as session:
        message = subscriptions.ask(session, wish, hub, hub.address, user_id=user_id)
    if message is not None:
        try:
            send(store.settings, message, hub)
        except MailError as error:
            log.warning("a confirmation could not be sent: %s", error)


@router.api_route("/subscribe/preview", methods=READ)
def preview(request: Request, site: SiteOf) -> Response:
    """The trending digest as plain text, as it would go out at this moment for the last week."""
    from ..settings import HubSettings

    moment = now()
    edition = make_edition(site.lab.store, site.lab.catalogue, "trending", {}, moment - length("weekly"), moment)
    return PlainTextResponse(as_text(edition, HubSettings().address), headers={"Cache-Control": "private, no-cache"})


@router.api_route("/subscribe/{secret}", methods=READ)
def confirm(request: Request, site: SiteOf, secret: Token) -> Response:
    """The page that the confirming mail leads to: a button, and nothing else happens."""
    with site.lab.store.reading() as session:
        found = subscriptions.pending(session, secret)
        if found is None:
            raise _stale()
        link, row = found
        return page(request, "subscription.html", about=subscriptions.summary(row), action=f"/subscribe/{secret}", token_needed=True,
                    done=link.used_at is not None and row.state == "active", button="Start this digest", title="Start this digest?")


@router.post("/subscribe/{secret}", dependencies=[Depends(has_token)])
def start(request: Request, site: SiteOf, secret: Token) -> Response:
    """Start the digest."""
    with site.lab.store.writing() as session:
        row = subscriptions.activate(session, secret)
        if row is None:
            raise _stale()
        told = subscriptions.summary(row)
    when = words.moment(told["next"]) if told["next"] else ""
    return page(request, "told.html", title="Your digest is on",
                text=f"{told['what'].capitalize()}, {told['period']}. The first one is due {when}; when nothing is new, none is sent. "
                     "Every mail has a link that ends it.")


@router.api_route("/u/{token}", methods=READ)
def leave_page(request: Request, site: SiteOf, token: Token) -> Response:
    """The page behind the unsubscribe link: a button."""
    with site.lab.store.reading() as session:
        row = subscriptions.of_token(session, token)
        if row is None:
            raise _unknown()
        return page(request, "subscription.html", about=subscriptions.summary(row), action=f"/u/{token}", token_needed=False,
                    done=row.state == "ended", button="End this digest", title="End this digest?")


@router.post("/u/{token}")
def leave(request: Request, site: SiteOf, token: Token) -> Response:
    """End a digest at once (RFC 8058): mail programs post here without cookie or form token. Twice is fine."""
    with site.lab.store.writing() as session:
        row = subscriptions.end(session, token)
        if row is None:
            raise _unknown()
        what = subscriptions.summary(row)["what"]
    return page(request, "told.html", title="Your digest has ended", text=f"No more mail about {what} will come to this address.")


def _stale() -> Problem:
    return Problem(404, "This link no longer works", "It may be older than three days, or the digest was ended since. Ask again on the "
                   "page “Get the digest”.")


def _unknown() -> Problem:
    return Problem(404, "No such digest", "The address of this page is not that of a digest. Copy the whole link from the mail.")


def _zones() -> list[str]:
    return sorted(z for z in available_timezones() if "/" in z and not z.startswith(("Etc/", "SystemV/", "US/", "posix/", "right/")))
