"""A person's pass: find a paper, run a claim, read the verdict, subscribe, unsubscribe. By keyboard alone, with scripts off, on a
narrow screen, in the dark. Every step waits for what it brings; every page on the way is checked by axe and for sideways scroll.

With `WORKINGPAPERS_SHOTS=FOLDER` each page of the way is kept there as a picture, to be looked at.
"""

from __future__ import annotations

import datetime as dt
import email
import email.policy
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from sqlalchemy import select

from workingpapers.hub import create_app
from workingpapers.hub.mail.sending import deliver, plan
from workingpapers.hub.people.accounts import create_user
from workingpapers.hub.people.signin import CONSOLE, begin_signin, new_link, new_token
from workingpapers.hub.settings import HubSettings
from workingpapers.hub.tables import (
    AuditRow,
    AuthorshipRow,
    CommentRow,
    DoubtRow,
    JobRow,
    PaperRow,
    ResultRow,
    SubscriptionRow,
    TagRow,
    UserRow,
)
from workingpapers.hub.tokens import SESSION_COOKIE
from workingpapers.lab import Lab

from .conftest import check, serving, wait_for
from .people.conftest import new_paper
from .people.test_access import routes
from .test_browser import PATIENCE, WIDE, axe, chromium, open_page  # noqa: F401 - fixtures

pytestmark = [pytest.mark.needs("chromium", "playwright"), pytest.mark.slow]

COLOUR_RULES = ("color-contrast", "link-in-text-block")
INK = {"light": "rgb(251, 250, 246)", "dark": "rgb(22, 22, 20)"}
DESCRIBE = """() => { const e = document.activeElement; const box = e.getBoundingClientRect(); const style = getComputedStyle(e);
    const label = e.labels && e.labels.length ? e.labels[0].innerText : '';
    const inside = []; for (let n = e; n; n = n.parentElement) if (n.id) inside.push(n.id);
    return {tag: e.tagName, id: e.id, words: (e.getAttribute('aria-label') || label || e.innerText || e.value || '').trim(), inside,
            outline: style.outlineStyle, seen: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth}; }"""


class Hands:
    """How this person works the site: `press` follows a link or button, `write` fills a field; `by` is keyboard or mouse."""

    def __init__(self, page: Any, by: str, look: Callable[[Any], None]) -> None:
        self.page, self.by, self.look = page, by, look

    def open(self, address: str) -> None:
        """Type an address, or follow a link of a mail."""
        self.page.goto(address)
        self.look(self.page)

    def follow(self, words: str, inside: str = "") -> None:
        """Press what brings another page, and look at it."""
        with self.page.expect_navigation():
            self.press(words, inside)
        self.look(self.page)

    def press(self, words: str, inside: str = "") -> None:
        if self.by == "keyboard":
            self._tab_to(words, inside)
            self.page.keyboard.press("Enter")
        else:
            within = self.page.locator(f"#{inside}") if inside else self.page
            link, button = within.get_by_role("link", name=words), within.get_by_role("button", name=words)
            link.or_(button).first.click()

    def write(self, field: str, text: str) -> None:
        if self.by == "keyboard":
            self._tab_to(field)
            self.page.keyboard.press("Control+a")
            self.page.keyboard.type(text)
        else:
            self.page.get_by_label(field, exact=True).first.fill(text)

    def send(self) -> None:
        """Enter, in the field that was written last."""
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")
        self.look(self.page)

    def _tab_to(self, words: str, inside: str = "") -> None:
        """Tab until the focus is there; on the way it is always to be seen."""
        passed = []
        for _ in range(250):
            self.page.keyboard.press("Tab")
            here = self.page.evaluate(DESCRIBE)
            if here["tag"] == "BODY":
                continue  # the window itself, between the last thing and the first
            assert here["outline"] != "none", f"no focus to be seen on {here}"
            assert here["seen"], f"the focus is out of sight on {here}"
            passed.append(here["words"][:40])
            if words.casefold() in here["words"].casefold() and (not inside or inside in here["inside"]):
                return
        raise AssertionError(f"{words!r} is not reached by Tab on {self.page.url}: {passed}")


@pytest.fixture
def look(axe: Path) -> Callable[..., Callable[[Any], None]]:  # noqa: F811
    """Makes what looks at each page of a way: theme, width, axe; and keeps a picture where that is wanted."""

    def make(name: str, width: int, scheme: str, scripts: bool) -> Callable[[Any], None]:
        def looked(page: Any) -> None:
            assert page.evaluate(WIDE) <= width, (page.url, "scrolls sideways")
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == INK[scheme], page.url
            if (folder := os.environ.get("WORKINGPAPERS_SHOTS")) is not None:
                Path(folder).mkdir(parents=True, exist_ok=True)
                place = re.sub(r"[^a-z0-9]+", "-", page.url.split("/", 3)[3].lower())[:40] or "feed"
                number = len(list(Path(folder).glob(f"{name}-*.png")))
                page.screenshot(path=Path(folder) / f"{name}-{number:02}-{place}.png", full_page=True)
            if scripts:
                assert violations(page, axe) == [], page.url

        return looked

    return make


def violations(page: Any, axe: Path, rules: Sequence[str] = ()) -> list[Any]:  # noqa: F811
    """What axe has against a page, in short. Through the debugger, since the site's policy lets no other script in."""
    if page.evaluate("window.axe === undefined"):
        page.evaluate(axe.read_text(encoding="utf-8"))
    found = page.evaluate("rules => axe.run(document, rules.length ? {runOnly: rules} : {})", list(rules))["violations"]
    return [{v["id"]: [n["html"][:200] for n in v["nodes"][:3]]} for v in found]


def mails(lab: Lab, n: int) -> list[str]:
    """The texts of the mails sent so far, once there are `n`."""
    folder = lab.store.settings.home / "outbox"
    files = wait_for(lambda: len(found := sorted(folder.glob("*.eml"), key=lambda p: p.stat().st_mtime_ns)) >= n and found, 30)
    read = [email.message_from_bytes(p.read_bytes(), policy=email.policy.default) for p in files]
    return [m.get_body(("plain",)).get_content() for m in read]


def send_digest(lab: Lab) -> None:
    """What the worker does when the hour has come."""
    with lab.store.reading() as session:
        due = session.scalars(select(SubscriptionRow.next_due)).one()
    plan(lab.store, due)
    deliver(lab.store, lab.catalogue, HubSettings(), moment=due)


@pytest.mark.parametrize(("by", "width", "scheme", "scripts"), [
    pytest.param("keyboard", 1280, "light", True, id="keyboard"), pytest.param("mouse", 1280, "light", False, id="no-scripts"),
    pytest.param("mouse", 320, "light", True, id="narrow"), pytest.param("mouse", 1280, "dark", True, id="dark"),
    pytest.param("keyboard", 320, "dark", False, id="all-at-once"),
])
def test_the_whole_way(by, width, scheme, scripts, open_page, served, lab, working, look, monkeypatch, request):  # noqa: F811
    monkeypatch.setenv("WORKINGPAPERS_EMBEDDER", "off")
    monkeypatch.setenv("WORKINGPAPERS_BASE_URL", served)
    looked = look(request.node.callspec.id, width, scheme, scripts)
    page = open_page("/", width=width, scheme=scheme, scripts=scripts)
    looked(page)
    hands = Hands(page, by, looked)

    hands.write("Search by meaning", "counting coins")
    hands.send()
    assert "/search?q=counting+coins" in page.url
    hands.follow("Tossing <b>coins</b> & counting")
    assert page.url == f"{served}/papers/coin"

    panel = "panel-claim-coin-always-counted"
    if scripts:
        page.evaluate("window.stayed = true")
        hands.press("Run here", panel)
        page.locator(f"#{panel} .finding.here .verdict").wait_for(timeout=PATIENCE)
        assert page.evaluate("window.stayed")
        if by == "keyboard":  # the part of the page that held the focus was changed twice: one goes on from there, not from the top
            page.keyboard.press("Tab")
            assert "main" in page.evaluate(DESCRIBE)["inside"]
        hands.follow("the run", panel)
    else:
        hands.follow("Run here", panel)
    page.locator(".outcome .word .verdict").wait_for(timeout=PATIENCE)  # with scripts off the page comes again by itself
    assert page.locator(".outcome .word").inner_text().strip() == "holds here"
    assert "3 of 3" in page.locator(".outcome").inner_text()
    looked(page)

    hands.follow("Get the digest")
    hands.write("Mail address", "ada@example.org")
    hands.follow("Send me a confirmation")
    assert page.locator("h1").inner_text() == "Look into your mail"
    hands.open(re.search(r"http://\S+/subscribe/[\w-]{43}", mails(lab, 1)[0])[0])
    hands.follow("Start this digest")
    assert page.locator("h1").inner_text() == "Your digest is on"
    send_digest(lab)
    hands.open(re.search(r"http://\S+/u/[\w-]+", mails(lab, 2)[1])[0])
    hands.follow("End this digest")
    assert page.locator("h1").inner_text() == "Your digest has ended"
    with lab.store.reading() as session:
        assert session.scalars(select(SubscriptionRow.state)).all() == ["ended"]


# ------------------------------------------------------------ every page


# Every GET route: addresses of its pages, or why it has none. A new route fails the first test below until it is here.
PAGES = {
    "/": ["/", "/?after=2025-12-26~2024-03-01~2403.00001"], "/papers": ["/papers?q=coins", "/papers?task=nothing&q=nothing"],
    "/papers/trending": ["/papers/trending"],
    "/papers/{kind}/{name}": ["/papers/date/2025-12-26", "/papers/week/2025-W52", "/papers/month/2025-12", "/papers/date/1999-01-01"],
    "/papers/{name:path}": ["/papers/coin", "/papers/dice", "/papers/2403.01000", "/papers/nothing-of-that-name"],
    "/claims": ["/claims", "/claims?verdict=fails", "/claims?verdict=nonsense"],
    "/claims/{slug}/{claim_id}": ["/claims/coin/more-is-better"],
    "/runs": ["/runs", "/runs?state=lost"],
    "/runs/{run_id}": ["/runs/{done}", "/runs/{failed}", "/runs/{waiting}", "/runs/nothing"],
    "/tasks": ["/tasks"], "/leaderboards": ["/leaderboards"],
    "/leaderboards/{task:path}": ["/leaderboards/tossing coins", "/leaderboards/x"],
    "/search": ["/search", "/search?q=coins", "/search?q=before:nonsense", "/search?q=zzzz"], "/for-you": ["/for-you"],
    "/subscribe": ["/subscribe"], "/subscribe/{secret}": ["/subscribe/{pending}", "/subscribe/" + "x" * 43],
    "/u/{token}": ["/u/{leaving}"], "/signin": ["/signin"], "/signin/{secret}": ["/signin/{link}", "/signin/" + "x" * 43],
    "/me": ["/me"], "/admin": ["/admin"],
}
NO_PAGES = {
    "part of a page": "/now /claims/{slug}/{claim_id}/panel",
    "read by programs": "/healthz /readyz /metrics /openapi.json /leaderboards.json /me/export.json /feed.{ending} /papers.{ending} "
                        "/papers/trending.{ending} /search.{ending} /subscribe/preview /runs/{run_id}/plots/{name}.{ending}",
}
SIGNED_IN_ALONE = ("/me", "/admin")
# Pages that hold more for somebody with an account: the others are one document for all but the name in the masthead.
MORE_WITH_ACCOUNT = ("/", "/papers/trending", "/papers/{name:path}", "/claims/{slug}/{claim_id}", "/runs/{run_id}", "/for-you", "/search")


@pytest.fixture
def full(lab: Lab, add_run: Callable[..., str], add_event: Callable[..., None]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """A site where every page has something to show: its address, an admin's cookie, and the names in addresses."""
    from workingpapers.hub.mail import subscriptions
    from workingpapers.hub.mail.subscriptions import Wish

    papers = [new_paper(lab, f"2403.0{n}000", title=f"Paper {n} on $O(n^{n})$", abstract=r"We show $\sum_i x_i^2 \leq n$. " * 30,
                        authors=[f"Ada {n} Lovelace"] * 20, listed_on=dt.date(2025, 12, 20 + n), published_on=dt.date(2024, 3, n),
                        categories=["cs.LG", "stat.ML"]) for n in range(1, 4)]
    names = {"done": add_run(), "failed": add_run("slow", None, state="failed", reason="No memory was left."),
             "waiting": add_run("slow", None, state="running", ended_at=None, requested_by="hub")}
    add_event(names["waiting"], 1, "progress", {"done": 1, "total": 4, "share": 0.25, "seconds_left": 9})
    add_run("always-counted", "fails", checks=[check(kind="bound", counts=[2, 3], estimate=1.0, interval=None, threshold=0.0,
                                                     scale="linear", verdict="fails", name="lost of count <= 0 " + "x" * 80)])
    add_run("more-is-better", "inconclusive", scale="small", checks=[check(verdict="inconclusive", interval=[0.3, 0.8])])
    hub = HubSettings()
    with lab.store.writing() as session:
        admin = create_user(session, handle="ada", email="ada@example.org", role="admin", created_by="test")
        other = create_user(session, handle="bob", created_by="test")
        for i in range(2):
            session.add(TagRow(user_id=admin.id, paper_id=papers[i].id, name=("saved", "sorting")[i]))
        session.add_all([
            CommentRow(user_id=other.id, paper_id=papers[0].id, markdown="So it is.", html="<p>So it is.</p>"),
            AuthorshipRow(user_id=other.id, paper_id=papers[0].id),
            DoubtRow(kind="alike", key="k", title="Two alike", first="2403.01000", second="2403.02000",
                     body={"record": None, "papers": ["2403.01000", "2403.02000"]}),
            DoubtRow(kind="several", key="k2", title="One of two", body={"record": ["page", "x"], "papers": ["2403.01000", "2403.02000"]}),
            DoubtRow(kind="alike", key="k3", title="Settled", state="different", settled_by=admin.id, body={"record": None, "papers": []}),
            JobRow(kind="import", state="failed", error="Traceback\nValueError: no such file", payload={}),
            AuditRow(actor=f"user:{admin.id}", action="role", subject=f"user:{other.id}", body={"role": "reader"}),
            ResultRow(paper_id=papers[0].id, task="tossing coins", dataset="Coins", metric="error", model="Many", value="0.1",
                      source="pwc")])
        session.get(PaperRow, papers[2].id).hidden = True
        new_token(session, admin, "for a script", ["read", "vote"], 30)
        cookie = begin_signin(session, admin, "this very browser " + "x" * 150)
        names["link"] = new_link(session, CONSOLE, user_id=other.id)
        for i, name in enumerate(("pending", "leaving")):
            mail = subscriptions.ask(session, Wish(f"reader{i}@example.org", "trending", {}), hub, "http://x")
            names[name] = re.search(r"/subscribe/([\w-]{43})", mail.get_body(("plain",)).get_content())[1]
        row = subscriptions.activate(session, names["leaving"])
        names["leaving"] = row.token
        assert session.scalar(select(UserRow.id).limit(1))
    with serving(create_app(lab=lab)) as address:
        yield address, cookie, names


def test_every_route_is_looked_at_or_is_no_page(app):
    there = {path for method, path in routes(app) if method == "GET" and not path.startswith("/api/")}
    assert there - set(PAGES) - set(" ".join(NO_PAGES.values()).split()) == set(), "a new route: give its page an address in PAGES"
    assert (set(PAGES) | set(" ".join(NO_PAGES.values()).split())) - there == set(), "no such route any more"


@pytest.mark.parametrize("who", ["visitor", "admin"])
def test_every_page_is_accessible_fits_and_follows_the_theme(who, full, chromium, axe, monkeypatch):  # noqa: F811
    """axe finds nothing on any page in either theme; none scrolls sideways at 320 px, everything opened.

    The second theme is asked only what colours decide: both have one document.
    """
    monkeypatch.setenv("WORKINGPAPERS_EMBEDDER", "off")
    address, cookie, names = full
    found, pages = [], 0
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    if who == "admin":
        context.add_cookies([{"name": SESSION_COOKIE, "value": cookie, "url": address}])
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    for route, paths in PAGES.items():
        is_shown = route in (*MORE_WITH_ACCOUNT, *SIGNED_IN_ALONE) if who == "admin" else route not in SIGNED_IN_ALONE
        for path in paths if is_shown else ():
            wanted = path.format(**names)
            page.goto(address + wanted)
            assert unquote(urlsplit(page.url).path) == wanted.split("?")[0], "another page than was asked for"
            page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
            for scheme, rules in (("light", ()), ("dark", COLOUR_RULES)):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                assert page.evaluate("getComputedStyle(document.body).backgroundColor") == INK[scheme]
                found += [(path, scheme, v) for v in violations(page, axe, rules)]
            page.set_viewport_size({"width": 320, "height": 900})
            if (width := page.evaluate(WIDE)) > 320:
                found.append((path, "320 px", width))
            page.set_viewport_size({"width": 1280, "height": 900})
            pages += 1
    context.close()
    assert not found, json.dumps(found, indent=1)
    assert pages >= (15 if who == "admin" else 35)
