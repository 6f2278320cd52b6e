"""From the form to the mail and out again: nothing by GET, every issue once, and no reader hurt by another's bad address."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest
from lxml import html as lxml_html
from sqlalchemy import select
from starlette.testclient import TestClient

from workingpapers.hub.mail import sending, subscriptions
from workingpapers.hub.mail.edition import make_edition
from workingpapers.hub.mail.rendering import MOST_BYTES, as_html, as_mail, as_text
from workingpapers.hub.mail.sending import deliver, plan
from workingpapers.hub.mail.subscriptions import Wish
from workingpapers.hub.settings import HubSettings
from workingpapers.hub.tables import DigestRow, PaperRow, SubscriptionRow, SuppressedEmailRow
from workingpapers.lab import Lab
from workingpapers.lab.store import now

from .conftest import Sink

DAY = dt.timedelta(days=1)


def add_papers(lab: Lab, n: int = 3, **over: Any) -> None:
    with lab.store.writing() as session:
        have = len(session.scalars(select(PaperRow.id)).all())
        for i in range(have, have + n):
            facts = {"public_id": f"2501.{i:05d}", "arxiv_id": f"2501.{i:05d}", "title": f"Paper {i} on $O(n^{{2}})$ sorting",
                     "title_key": f"paper{i}", "abstract": "We sort \\emph{fast}. " * 30, "authors": ["Ada Lovelace", "Émile Borel"],
                     "author_count": 2, "published_on": dt.date(2025, 1, 1), "listed_on": dt.date(2025, 1, 2),
                     "categories": ["cs.DS"], "primary_category": "cs.DS"}
            session.add(PaperRow(**(facts | over)))


def subscribe(lab: Lab, email: str, kind: str = "trending", **params: str) -> str:
    """An active subscription; gives its token."""
    hub = HubSettings()
    with lab.store.writing() as session:
        mail = subscriptions.ask(session, Wish(email, kind, params), hub, "https://papers.example.org")
        assert mail is not None
        row = subscriptions.activate(session, secret_of(mail))
        assert row is not None
        return row.token


def secret_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    found = re.search(r"/subscribe/([\w-]{43})", body.get_content())
    assert found is not None
    return found[1]


def states(lab: Lab) -> list[str]:
    with lab.store.reading() as session:
        return list(session.scalars(select(DigestRow.state).order_by(DigestRow.id)))


@pytest.fixture
def by_smtp(monkeypatch: pytest.MonkeyPatch, smtp: HubSettings) -> None:
    for name in ("smtp_host", "smtp_port", "mail_from", "base_url"):
        monkeypatch.setenv(f"WORKINGPAPERS_{name.upper()}", str(getattr(smtp, name)))


@pytest.mark.usefixtures("by_smtp")
def test_the_whole_way(client: TestClient, token: str, lab: Lab, sink: Sink, smtp: HubSettings, add_run: Callable[..., str]) -> None:
    add_papers(lab)
    add_run()
    asked = client.post("/subscribe", data={"token": token, "email": "Ada@Example.org", "send_at": "06:30", "tz": "Europe/Berlin"})
    assert asked.status_code == 200
    (to, confirm), = sink.mails
    assert to == "Ada@example.org"
    secret = secret_of(confirm)

    for _ in range(2):  # a mail scanner follows links
        assert client.get(f"/subscribe/{secret}").status_code == 200
    with lab.store.reading() as session:
        assert [r.state for r in session.scalars(select(SubscriptionRow))] == ["pending"]
    assert plan(lab.store, now() + 2 * DAY) == 0

    assert client.post(f"/subscribe/{secret}", data={}).status_code == 403
    started = client.post(f"/subscribe/{secret}", data={"token": token})
    assert "Your digest is on" in started.text
    with lab.store.reading() as session:
        row = session.scalars(select(SubscriptionRow)).one()
        assert (row.state, row.send_at, row.tz) == ("active", "06:30", "Europe/Berlin")
        assert row.next_due is not None
        due = row.next_due

    assert plan(lab.store, due - dt.timedelta(seconds=1)) == 0
    for _ in range(2):
        plan(lab.store, due)
        deliver(lab.store, lab.catalogue, smtp, moment=due)
    assert len(sink.mails) == 2
    mail = sink.mails[1][1]
    by_mail = f"<mailto:papers@example.org?subject=unsubscribe%20{row.token}>"
    assert mail["List-Unsubscribe"] == f"<https://papers.example.org/u/{row.token}>, {by_mail}"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["List-Id"] == "Working Papers digest <digest.example.org>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime == due.replace(microsecond=0)
    assert mail["Message-ID"].endswith("@example.org>")
    text, shown = mail.get_body(("plain",)).get_content(), mail.get_body(("html",)).get_content()  # type: ignore[union-attr]
    assert len(shown.encode()) < MOST_BYTES
    for part in (text, shown):
        assert "Paper 2 on O(n^2) sorting" in part
        assert "More tosses, smaller error" in part
        assert "0.2× [0.1, 0.4]" in part
        assert "━" in part
    assert not re.search(r"<(img|script|link|iframe|object|form)", shown)

    left = f"/u/{row.token}"
    assert client.get(left).status_code == 200
    with lab.store.reading() as session:
        assert session.scalars(select(SubscriptionRow.state)).one() == "active"
    fresh = TestClient(client.app, base_url="http://localhost")  # no cookie, no form token, another origin
    for _ in range(2):
        elsewhere = {"Origin": "https://mail.example", "Sec-Fetch-Site": "cross-site"}
        gone = fresh.post(left, data={"List-Unsubscribe": "One-Click"}, headers=elsewhere)
        assert gone.status_code == 200
    plan(lab.store, due + DAY)
    deliver(lab.store, lab.catalogue, smtp, moment=due + DAY)
    assert len(sink.mails) == 2


@pytest.mark.usefixtures("by_smtp")
def test_the_answer_does_not_depend_on_the_address_and_mails_are_few(client: TestClient, token: str, lab: Lab, sink: Sink) -> None:
    def ask(email: str) -> str:
        shown = client.post("/subscribe", data={"token": token, "email": email}).text
        return re.sub(r'name="token" value="\w+"', "", shown).replace(email, "")  # a form token is another on every page

    with lab.store.writing() as session:
        session.add(SuppressedEmailRow(email="never@example.org"))
    answers = {ask(e) for e in ("new@example.org", *["often@example.org"] * 6, "never@example.org")}
    assert len(answers) == 1
    assert [to for to, _ in sink.mails] == ["new@example.org", *["often@example.org"] * subscriptions.MAILS_A_DAY]


@pytest.mark.parametrize("over", [
    {"email": "nobody"}, {"email": "a@b.org\r\nBcc: x@y.org"}, {"kind": "query", "q": " "}, {"kind": "query", "q": "after:yesterday"},
    {"kind": "all"}, {"period": "hourly"}, {"send_at": "25:00"}, {"tz": "Mars/Olympus"},
])
def test_a_wrong_wish_is_named_beside_the_form_and_nothing_is_lost(client: TestClient, token: str, over: dict[str, str]) -> None:
    answer = client.post("/subscribe", data={"token": token, "email": "ada@example.org", "q": "my words"} | over)
    assert answer.status_code == 422
    page = lxml_html.fromstring(answer.text)
    assert page.xpath("//*[@role='alert' and @id='problem']")
    assert "".join(page.xpath("//input[@name='email']/@value")).startswith(over.get("email", "ada@example.org")[:6])


@pytest.mark.parametrize("path", ["/subscribe/" + "x" * 43, "/u/" + "x" * 43, "/u/%00", "/subscribe/%F0%9F%98%80"])
def test_unknown_secrets_are_404_for_both_methods(client: TestClient, token: str, path: str) -> None:
    assert client.get(path).status_code == 404
    assert client.post(path, data={"token": token}).status_code == 404


def test_bad_addresses_stop_nobody_and_are_left_alone(lab: Lab, sink: Sink, smtp: HubSettings) -> None:
    add_papers(lab)
    for name in ("a", "gone", "busy", "z"):
        subscribe(lab, f"{name}@example.org")
    sink.refuse = {"gone@example.org": "550 5.1.1 unknown", "busy@example.org": "451 4.2.1 try later"}
    plan(lab.store, now() + DAY)
    tally = deliver(lab.store, lab.catalogue, smtp)
    assert (tally.sent, tally.failed, tally.later) == (2, 1, 1)
    assert {to for to, _ in sink.mails} == {"a@example.org", "z@example.org"}
    with lab.store.reading() as session:
        assert session.scalars(select(SuppressedEmailRow.email)).all() == ["gone@example.org"]
        assert session.scalar(select(SubscriptionRow.state).where(SubscriptionRow.email == "gone@example.org")) == "ended"
    sink.refuse = {}
    assert deliver(lab.store, lab.catalogue, smtp).sent == 0
    assert deliver(lab.store, lab.catalogue, smtp, moment=now() + dt.timedelta(minutes=6)).sent == 1
    assert sorted(states(lab)) == ["failed", "sent", "sent", "sent"]


def test_a_server_that_is_away_costs_no_try(lab: Lab, sink: Sink, smtp: HubSettings) -> None:
    add_papers(lab)
    subscribe(lab, "a@example.org")
    plan(lab.store, now() + DAY)
    away = smtp.model_copy(update={"smtp_port": 1})
    for _ in range(3):
        assert "cannot be reached" in deliver(lab.store, lab.catalogue, away).halted
    with lab.store.reading() as session:
        assert session.scalars(select(DigestRow.attempts)).all() == [0]
    assert deliver(lab.store, lab.catalogue, smtp).sent == 1


KILLED = """
import sys, os
from workingpapers.hub.mail import outbox, sending
from workingpapers.hub.settings import HubSettings
from workingpapers.lab import Store
from workingpapers.papers import load_catalogue
real, left = outbox.Outbox.send, [int(sys.argv[1])]
def send(self, message):
    found = real(self, message)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), 9)   # between the server's 250 and our commit: the worst moment
    return found
outbox.Outbox.send = send
sending.deliver(Store(), load_catalogue(), HubSettings())
"""


@pytest.mark.slow
@pytest.mark.usefixtures("by_smtp")
def test_a_sender_killed_mid_batch_loses_nobody(lab: Lab, sink: Sink, smtp: HubSettings) -> None:
    add_papers(lab)
    for n in range(100):
        subscribe(lab, f"reader{n}@example.org")
    plan(lab.store, now() + DAY)
    environment = {**os.environ, "WORKINGPAPERS_HOME": str(lab.store.settings.home), "PYTHONPATH": os.pathsep.join(sys.path)}
    died = subprocess.run([sys.executable, "-c", KILLED, "37"], env=environment, check=False)
    assert died.returncode == -9
    assert len(sink.mails) == 37
    deliver(lab.store, lab.catalogue, smtp)
    seen: dict[str, list[str]] = {}
    for to, mail in sink.mails:
        seen.setdefault(to, []).append(mail["Message-ID"])
    assert len(seen) == 100
    twice = {to: ids for to, ids in seen.items() if len(ids) > 1}
    assert len(twice) <= 1
    assert all(len(set(ids)) == 1 for ids in twice.values())
    assert states(lab) == ["sent"] * 100


def test_nothing_new_sends_nothing_and_the_next_issue_goes_on_from_there(lab: Lab, sink: Sink, smtp: HubSettings) -> None:
    subscribe(lab, "a@example.org")
    plan(lab.store, now() + DAY)
    assert deliver(lab.store, lab.catalogue, smtp).empty == 1
    assert sink.mails == []
    add_papers(lab, created_at=now() + DAY)
    later = now() + 2 * DAY
    plan(lab.store, later)
    assert deliver(lab.store, lab.catalogue, smtp, moment=later).sent == 1
    assert states(lab) == ["empty", "sent"]


def test_after_days_without_a_worker_one_mail_covers_them(lab: Lab, sink: Sink, smtp: HubSettings) -> None:
    add_papers(lab)
    subscribe(lab, "a@example.org")
    plan(lab.store, now() + DAY)
    plan(lab.store, now() + 6 * DAY)
    with lab.store.reading() as session:
        first, second = session.scalars(select(DigestRow).order_by(DigestRow.id)).all()
    assert second.window_start == first.window_end
    assert second.window_end - second.window_start == 5 * DAY


def test_same_data_same_mail(lab: Lab, smtp: HubSettings, add_run: Callable[..., str]) -> None:
    add_papers(lab, 15)
    add_run()
    subscribe(lab, "a@example.org")
    until = now()
    with lab.store.reading() as session:
        row = session.scalars(select(SubscriptionRow)).one()

    def made() -> bytes:
        edition = make_edition(lab.store, lab.catalogue, "trending", {}, until - DAY, until)
        raw = as_mail(edition, row, "2026-01-01", until, smtp, smtp.address).as_bytes()
        return re.sub(rb"={15}\d+==", b"BOUNDARY", raw)

    assert made() == made()


def test_hostile_papers_stay_text_and_long_ones_stay_short(lab: Lab, smtp: HubSettings) -> None:
    evil = '<script>alert(1)</script><img src=x onerror=alert(1)> "\'&'
    add_papers(lab, 40, title=evil + "\r\nBcc: x@y.org " + "t" * 20_000, abstract=evil * 2_000, authors=[evil] * 300,
               primary_category=evil[:40])
    subscribe(lab, "a@example.org")
    until = now()
    edition = make_edition(lab.store, lab.catalogue, "trending", {}, until - DAY, until)
    with lab.store.reading() as session:
        row = session.scalars(select(SubscriptionRow)).one()
    mail = as_mail(edition, row, "k", until, smtp, smtp.address)
    shown = mail.get_body(("html",)).get_content()  # type: ignore[union-attr]
    assert len(shown.encode()) < MOST_BYTES
    page = lxml_html.fromstring(shown)
    assert not page.xpath("//script | //img | //@onerror")
    assert "Bcc" not in mail
    assert as_text(edition, "x")


def test_kinds_show_what_they_are_about(lab: Lab, add_run: Callable[..., str]) -> None:
    add_papers(lab, 2)
    add_papers(lab, 1, title="Tagged", tags=["Pruning"])
    run = add_run(verdict="fails")
    since, until = now() - DAY, now() + DAY

    def titles(kind: str, **params: str) -> list[str]:
        return [e.title for e in make_edition(lab.store, lab.catalogue, kind, params, since, until).entries]

    assert titles("tag", tag="pruning") == ["Tagged"]
    assert titles("category", category="nothing") == []
    assert titles("query", q="Tagged")[0] == "Tagged"
    assert titles("query", q="title:Tagged") == ["Tagged"]
    assert titles("query", q="title:unheardof") == []
    assert len(titles("trending")) == 3
    verdicts = make_edition(lab.store, lab.catalogue, "verdicts", {}, since, until).verdicts
    assert [(v.verdict, v.claim) for v in verdicts] == [("fails", "More tosses, smaller error")]
    assert run
    assert make_edition(lab.store, lab.catalogue, "verdicts", {"slug": "dice"}, since, until).is_empty
    assert make_edition(lab.store, lab.catalogue, "trending", {}, until, until + DAY).is_empty


@pytest.mark.slow
def test_hundreds_of_subscribers_are_planned_once_and_all_served(lab: Lab, sink: Sink, smtp: HubSettings) -> None:
    add_papers(lab, 12)
    with lab.store.writing() as session:
        for n in range(300):
            session.add(SubscriptionRow(email=f"r{n}@example.org", kind="trending", token=f"t{n}", token_hash=f"h{n}", state="active",
                                        next_due=now()))
    assert plan(lab.store, now() + DAY) == 300
    assert plan(lab.store, now() + DAY) == 0
    assert deliver(lab.store, lab.catalogue, smtp).sent == 300
    assert len({to for to, _ in sink.mails}) == 300


def test_the_html_part_reads_on_its_own(lab: Lab) -> None:
    add_papers(lab)
    edition = make_edition(lab.store, lab.catalogue, "trending", {}, now() - DAY, now())
    page = lxml_html.fromstring(as_html(edition, "https://papers.example.org", "https://papers.example.org/u/t"))
    assert all(href.startswith("https://papers.example.org/") for href in page.xpath("//@href"))
    assert page.xpath("//html/@lang") == ["en"]


def test_the_job_is_registered() -> None:
    from workingpapers.hub import handlers, jobs

    handlers.load()
    assert jobs.HANDLERS["digests"] is sending.digests
    assert jobs.RECURRING["digests"] == sending.EVERY
