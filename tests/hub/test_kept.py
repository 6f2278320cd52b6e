"""What is kept between requests: never stale, whoever writes from wherever, never another person's, never more than its bound."""

from __future__ import annotations

import datetime as dt
import json
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from workingpapers.hub import card_html as cards_module
from workingpapers.hub.card_html import CardHtml
from workingpapers.hub.kept import Kept
from workingpapers.hub.people.acts import Acts
from workingpapers.hub.rendering import environment
from workingpapers.hub.shelf.cards import Card
from workingpapers.hub.tables import PaperLinkRow, PaperRow
from workingpapers.lab import Lab
from workingpapers.lab.store import now

DAY = dt.date(2026, 3, 3)


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Cards of other tests do not count here."""
    cards_module.card_html._kept.clear()
    cards_module.card_html.characters = 0


@pytest.fixture
def lantern(lab: Lab) -> int:
    with lab.store.writing() as session:
        row = PaperRow(public_id="2603.00101", arxiv_id="2603.00101", title="Lanterns at sea", title_key="lanterns", abstract="Old light.",
                       authors=["Ada Lovelace"], listed_on=DAY, published_on=DAY, published_key="2026-03-03", categories=["cs.LG"])
        session.add(row)
        session.flush()
        return row.id


def change(lab: Lab, paper: int, **values: Any) -> None:
    with lab.store.writing() as session:
        session.execute(update(PaperRow).where(PaperRow.id == paper).values(**values))


PAGES = ["/", "/papers", "/papers/date/2026-03-03", "/papers/week/2026-W10", "/papers/month/2026-03", "/papers/trending", "/search?q=sea"]


@pytest.mark.parametrize("page", PAGES)
def test_every_list_shows_a_change_of_a_paper_at_once(client: TestClient, lab: Lab, lantern: int, page: str) -> None:
    first = client.get(page).text
    assert client.get(page).text.count("Lanterns at sea") == first.count("Lanterns at sea") > 0
    for values, told in (({"title": "Lamps at sea"}, "Lamps at sea"), ({"abstract": "New light."}, "New light."),
                         ({"votes": 41}, '<span class="num">41</span>'), ({"comments": 7}, "7 comments"),
                         ({"withdrawn": True}, "withdrawn"), ({"authors": ["Grace Hopper"]}, "Grace Hopper")):
        assert told not in client.get(page).text
        change(lab, lantern, **values)
        assert told in client.get(page).text
    with lab.store.writing() as session:
        session.add(PaperLinkRow(paper_id=lantern, kind="code", url="https://example.org/lamps"))
    assert "https://example.org/lamps" in client.get(page).text
    change(lab, lantern, hidden=True)
    assert "Lamps" not in client.get(page).text


def test_a_change_by_another_program_is_seen(client: TestClient, lab: Lab, lantern: int) -> None:
    if not lab.store.is_sqlite:
        pytest.skip("writes to the file itself")
    assert "Lanterns at sea" in client.get("/").text
    other = sqlite3.connect(lab.store.engine.url.database or "")
    other.execute("UPDATE papers SET title = 'Lamps' WHERE id = ?", (lantern,))
    assert "Lanterns at sea" in client.get("/").text  # not committed
    other.commit()
    assert "Lanterns at sea" not in client.get("/").text
    other.close()


@pytest.mark.slow
@pytest.mark.parametrize("page", ["/", "/papers?task=tossing+coins", "/claims", "/tasks", "/leaderboards"])
def test_verdicts_and_runs_are_seen_at_once(client: TestClient, add_run: Callable[..., str], lab: Lab, page: str) -> None:
    seen = {without_token(client.get(page).text)}
    for run in ({"verdict": "holds"}, {"verdict": "fails"}, {"verdict": None, "state": "queued", "claim_id": "slow"},
                {"verdict": "partly", "claim_id": "always-counted"}):
        add_run(**run)
        text = without_token(client.get(page).text)
        seen.add(text)
        assert text == without_token(made_anew(client, page))
    assert len(seen) >= 4  # some lists do not tell of runs that wait


def test_a_run_whose_process_died_is_not_under_way_any_more(client: TestClient, add_run: Callable[..., str], lab: Lab) -> None:
    """A process that dies commits nothing."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = f"{socket.gethostname()}:{process.pid}:{int(psutil.Process(process.pid).create_time())}"
    add_run(verdict=None, state="running", lease_owner=owner, lease_until=now() + dt.timedelta(minutes=5), ended_at=None)
    assert "trying now" in client.get("/").text
    process.kill()
    process.wait()
    assert "trying now" not in client.get("/").text


def test_a_new_reference_run_is_seen(client: TestClient, shelf: Any) -> None:
    assert "reference machine" not in client.get("/").text
    check = {"name": "error", "rule": "", "kind": "compare", "verdict": "holds", "estimate": 0.2, "interval": [0.1, 0.4], "threshold": 0.5,
             "better": "lower", "scale": "log", "n_seeds": 12, "headline": True}
    (shelf / "coin" / "reference.json").write_text(json.dumps({"format": 1, "runs": [
        {"claim": "more-is-better", "verdict": "holds", "scale": "small", "checks": [check]}]}))
    assert "reference machine" in client.get("/").text


def test_kept_values_are_bounded_and_made_anew(lab: Lab) -> None:
    kept, made = Kept(lab.store, most=3), []

    def make(key: int) -> int:
        return kept.get(key, lambda _: made.append(key) or key)

    assert [make(k) for k in (1, 1, 2, 3, 1)] == [1, 1, 2, 3, 1]
    assert made == [1, 2, 3]
    make(4)  # 2 was used longest ago
    assert len(kept) == 3
    make(1)
    make(2)
    assert made == [1, 2, 3, 4, 2]
    change(lab, 1, votes=5)
    make(2)
    assert made[-1] == 2
    kept.get(2, lambda _: made.append(0) or 0, still=lambda value: value == 99)
    assert made[-1] == 0
    with pytest.raises(ValueError, match="no such"):
        kept.get(9, lambda _: (_ for _ in ()).throw(ValueError("no such")))
    assert kept.get(9, lambda _: 9) == 9


def test_a_commit_while_a_value_is_made_is_not_missed(lab: Lab, lantern: int) -> None:
    """The worst moment: after the version was asked for, before and after the session reads."""
    kept = Kept(lab.store)

    def title(session: Any) -> str:
        return str(session.scalar(select(PaperRow.title).where(PaperRow.id == lantern)))

    def before(session: Any) -> str:
        change(lab, lantern, title="second")
        return title(session)

    def after(session: Any) -> str:
        found = title(session)
        change(lab, lantern, title="third")
        return found

    assert kept.get("title", before) == "second"
    assert kept.get("title", title) == "second"
    change(lab, lantern, votes=1)
    assert kept.get("title", after) == "second"
    assert kept.get("title", title) == "third"


def made_anew(client: TestClient, page: str) -> str:
    """The page of a site that has kept nothing."""
    site, names = client.app.state.site, environment().globals  # type: ignore[attr-defined]
    before = site.kept, names["card"]
    site.kept, names["card"] = Kept(site.lab.store), CardHtml()
    try:
        return client.get(page).text
    finally:
        site.kept, names["card"] = before


def without_token(text: str) -> str:
    """A page without what differs each time."""
    text = re.sub(r'name="token" value="[0-9a-f]*"', "", text)
    return re.sub(r"since=[^&\"]*", "", text)


VIEWERS = {can: SimpleNamespace(can=lambda action, can=can: can, user=None) for can in (False, True)}


def card(**over: Any) -> Card:
    facts = {"public_id": "2603.00101", "slug": None, "arxiv_id": None, "doi": None, "title": "Lanterns", "abstract": "Light.",
             "authors": ["Ada"], "author_count": 1, "published_on": None, "listed_on": None, "categories": [], "withdrawn": False,
             "votes": 0, "comments": 0, "hidden": False}
    return Card(PaperRow(id=5, **facts | over))


CHANGED: dict[str, Any] = {"public_id": "doi:10.1/x", "slug": "lanterns", "arxiv_id": "2603.00102", "doi": "10.1/y", "title": "Lamps",
                           "abstract": "Dark.", "authors": ["Grace"], "author_count": 30, "published_on": DAY, "listed_on": DAY,
                           "categories": ["cs.LG"], "withdrawn": True, "votes": 3, "comments": 3}


OTHERS: dict[type, Any] = {int: 77, bool: True, float: 7.5, dt.date: DAY, dt.datetime: now(), list: ["other"]}


def test_whatever_column_the_template_shows_is_part_of_the_key() -> None:
    """Each column of the table is changed: where a card made anew differs, the kept one must follow."""
    shared, differing = CardHtml(), set()
    first = shared(card(), VIEWERS[False])  # type: ignore[arg-type]
    for name, kind in ((c.name, c.type.python_type) for c in PaperRow.__table__.columns if c.name != "id"):
        value = CHANGED[name] if name in CHANGED else OTHERS.get(kind, "something else")
        other = card(**{name: value})
        anew = CardHtml()(other, VIEWERS[False])  # type: ignore[arg-type]
        differing |= {name} if anew != first else set()
        assert shared(other, VIEWERS[False]) == anew, name  # type: ignore[arg-type]
    assert differing == set(CHANGED)
    links = Card(card().row, links=[PaperLinkRow(kind="code", url="https://example.org/1")])
    for other in (links, Card(card().row, why="Because."), Card(card().row, acts=Acts(voted=True)),
                  Card(card().row, acts=Acts(tags=["saved"]))):
        for may in (False, True):
            assert shared(other, VIEWERS[may]) == CardHtml()(other, VIEWERS[may])  # type: ignore[arg-type]


def test_kept_cards_are_bounded() -> None:
    html = CardHtml(most=20_000)
    for n in range(60):
        html(card(abstract=f"{n} " * 200), VIEWERS[False])  # type: ignore[arg-type]
        assert html.characters <= 20_000
    assert 1 < len(html) < 30
    assert html.characters == sum(k.size for k in html._kept.values())
    html(card(abstract="x" * 30_000), VIEWERS[False])  # type: ignore[arg-type]
    assert html.characters <= 20_000
