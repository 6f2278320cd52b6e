"""Votes, tags, ratings, comments, authorship, deletion: counters and trend follow, whoever acts at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from workingpapers.hub.people.accounts import create_user
from workingpapers.hub.people.signin import new_token
from workingpapers.hub.tables import (
    AuditRow,
    CommentRow,
    PaperRow,
    RateCounterRow,
    SubscriptionRow,
    TagRow,
    TrendEventRow,
    UserRow,
    VoteRow,
)

from .conftest import new_paper


def paper_row(lab, public_id="2403.09999"):
    with lab.store.reading() as session:
        return session.scalar(select(PaperRow).where(PaperRow.public_id == public_id))


def count(lab, table, *where):
    with lab.store.reading() as session:
        return session.scalar(select(func.count()).select_from(table).where(*where))


def test_a_vote_counts_once_and_leaves_no_trace(person, paper, lab):
    ada, bob = person("reader"), person("reader")
    before = paper_row(lab).trend_log
    for _ in range(3):
        answer = ada.post("/votes", paper="2403.09999", on="true", back="/papers/date/2024-01-01")
        assert answer.headers["location"] == "/papers/date/2024-01-01"
    bob.post("/votes", paper="arXiv:2403.09999v2", on="true")  # by any of its names
    assert (paper_row(lab).votes, count(lab, VoteRow), count(lab, TrendEventRow, TrendEventRow.kind == "vote")) == (2, 2, 2)
    assert paper_row(lab).trend_log is not None
    for who in (ada, bob, ada):
        who.post("/votes", paper="2403.09999", on="false")
    assert (paper_row(lab).votes, count(lab, VoteRow), count(lab, TrendEventRow, TrendEventRow.kind == "vote")) == (0, 0, 0)
    assert paper_row(lab).trend_log == before


def test_parts_of_pages(person, paper):
    ada = person("reader")
    hx = {"hx-request": "true", "hx-current-url": "http://localhost/papers?task=x"}
    data = {"token": ada.form_token, "paper": "2403.09999"}
    voted = ada.client.post("/votes", data={**data, "on": "true"}, headers=hx).text
    assert 'aria-pressed="true"' in voted
    assert "<html" not in voted
    assert "Saved" in ada.client.post("/tags", data={**data, "on": "true"}, headers=hx).text
    assert ">to read</a>" in ada.client.post("/tags", data={**data, "name": " To  READ", "on": "true"}, headers=hx).text
    assert ada.client.post("/ratings", data={**data, "value": "-1"}, headers=hx).text.count('aria-pressed="true"') == 1
    said = ada.client.post("/comments", data={**data, "markdown": "**hello** $x$"}, headers=hx).text
    assert '<strong>hello</strong> <code class="math">x</code>' in said
    refused = ada.client.post("/votes", data={**data, "paper": "nothing"}, headers=hx)
    assert (refused.status_code, refused.headers["hx-retarget"]) == (404, "#notice")


@pytest.mark.slow
def test_tags_count_once_in_the_trend(person, paper, lab):
    ada = person("reader")
    for name in ("saved", "a", "b", "A "):
        ada.post("/tags", paper="2403.09999", name=name, on="true")
    assert count(lab, TagRow) == 3
    assert count(lab, TrendEventRow, TrendEventRow.kind == "tag") == 1
    for name in ("saved", "a"):
        ada.post("/tags", paper="2403.09999", name=name, on="false")
    assert count(lab, TrendEventRow, TrendEventRow.kind == "tag") == 1
    ada.post("/tags", paper="2403.09999", name="b", on="false")
    assert count(lab, TrendEventRow, TrendEventRow.kind == "tag") == 0
    for wrong in (" ", "x" * 61, "\x00"):
        assert ada.post("/tags", paper="2403.09999", name=wrong, on="true").status_code == 422


def test_comments_in_threads(person, paper, lab):
    ada, bob, erik = person("reader"), person("reader"), person("editor")
    first = ada.post("/comments", paper="2403.09999", markdown="first").headers["location"]
    assert first.startswith("/papers/2403.09999#comment-")
    one = int(first.rpartition("-")[2])
    two = int(bob.post("/comments", paper="2403.09999", markdown="second", parent=one).headers["location"].rpartition("-")[2])
    ada.post("/comments", paper="2403.09999", markdown="third")
    ada.post("/comments", paper="2403.09999", markdown="under the second", parent=two)
    shown = ada.client.get("/api/v1/comments", params={"paper": "2403.09999"}).json()["items"]
    assert [(c["markdown"], c["depth"]) for c in shown] == [("first", 0), ("second", 1), ("under the second", 2), ("third", 0)]
    assert paper_row(lab).comments == 4
    assert count(lab, TrendEventRow, TrendEventRow.kind == "comment") == 2  # the first of each person
    ada.post(f"/comments/{one}", markdown="first, *changed*")
    ada.post(f"/comments/{one}/delete")
    shown = ada.client.get("/api/v1/comments", params={"paper": "2403.09999"}).json()["items"]
    assert [(c["deleted"], c["author"] is None, c["markdown"]) for c in shown][:2] == [(True, True, ""), (False, False, "second")]
    assert paper_row(lab).comments == 3
    assert count(lab, TrendEventRow, TrendEventRow.kind == "comment") == 2  # ada still speaks here
    assert bob.post("/comments", paper="2403.09999", markdown="to a deleted one", parent=one).status_code == 422
    new_paper(lab, "2403.08888")
    assert bob.post("/comments", paper="2403.08888", markdown="to another paper's", parent=two).status_code == 422
    assert ada.post(f"/comments/{one}", markdown="back again").status_code == 404
    assert erik.post(f"/comments/{two}/delete").status_code == 303
    assert count(lab, TrendEventRow, TrendEventRow.kind == "comment") == 1
    assert count(lab, AuditRow, AuditRow.action == "delete comment") == 1
    for wrong in ("", "  \n ", "x" * 10_001):
        assert ada.post("/comments", paper="2403.09999", markdown=wrong).status_code == 422
    with lab.store.reading() as session:
        assert not [r for r in session.scalars(select(CommentRow).where(CommentRow.deleted_at.is_not(None))) if r.markdown or r.html]


def test_authorship_is_shown_once_approved(person, paper, lab):
    ada, admin = person("reader", handle="ada"), person("admin")
    for _ in range(2):
        assert ada.post("/authorships", paper="2403.09999").status_code == 303
    ada.post("/comments", paper="2403.09999", markdown="I wrote it")

    def is_author():
        return ada.client.get("/api/v1/comments", params={"paper": "2403.09999"}).json()["items"][0]["is_author_of_paper"]

    page = admin.get("/admin").text
    assert "Ada Lovelace" in page
    number = page.partition('action="/admin/authorships/')[2].partition('"')[0]
    assert not is_author()
    admin.post(f"/admin/authorships/{number}", answer="approved")
    assert is_author()
    assert admin.post(f"/admin/authorships/{number}", answer="maybe").status_code == 422
    assert "authorship approved" in admin.get("/admin").text


def test_hidden_papers_are_gone_for_all_but_editors(person, paper, lab):
    ada, erik = person("reader"), person("editor")
    assert erik.post("/admin/papers/hide", paper="2403.09999").status_code == 303
    assert ada.post("/votes", paper="2403.09999").status_code == 404
    assert "2403.09999" in erik.get("/admin").text
    erik.post("/admin/papers/hide", paper="2403.09999", hidden="false")
    assert ada.post("/votes", paper="2403.09999").status_code == 303
    assert count(lab, AuditRow) == 3  # the editor's role, hidden, shown


def test_a_deleted_account_leaves_no_name(person, paper, lab):
    ada, bob = person("runner", handle="ada"), person("reader")
    address = ada.user.email
    for who in (ada, bob):
        who.post("/votes", paper="2403.09999")
        who.post("/tags", paper="2403.09999")
        who.post("/comments", paper="2403.09999", markdown=f"by {who.user.handle}")
    ada.post("/runs", slug="coin", claim="more-is-better", scale="smoke")
    with lab.store.writing() as session:
        session.add(SubscriptionRow(email=address, kind="trending", token="x", token_hash="y", state="active"))
        trend = {r.kind: r.weight for r in session.scalars(select(TrendEventRow).where(TrendEventRow.key == f"user:{bob.user.id}"))}
    exported = ada.get("/me/export.json")
    assert exported.headers["content-disposition"].startswith("attachment")
    document = exported.json()
    assert document["account"]["email"] == address
    assert [v["paper"] for v in document["votes"]] == ["2403.09999"]
    assert [c["markdown"] for c in document["comments"]] == ["by ada"]
    assert {e["kind"] for e in document["trend_events"]} == {"vote", "tag", "comment"}
    assert ada.post("/me/delete", confirm="bob").status_code == 422
    assert ada.post("/me/delete", confirm="@Ada").status_code == 303
    row = paper_row(lab)
    assert (row.votes, row.comments, count(lab, TagRow), count(lab, UserRow, UserRow.handle == "ada")) == (1, 1, 1, 0)
    with lab.store.reading() as session:
        left = {r.kind: (r.key, r.weight) for r in session.scalars(select(TrendEventRow).where(TrendEventRow.paper_id == row.id))}
        assert left == {k: (f"user:{bob.user.id}", w) for k, w in trend.items()}
        assert session.scalar(select(SubscriptionRow.state)) == "ended"
        everything = str([tuple(r) for t in (CommentRow, AuditRow, VoteRow, TagRow, UserRow) for r in session.execute(select(t.__table__))])
    assert address not in everything
    assert "by ada" not in everything
    assert [c["deleted"] for c in bob.client.get("/api/v1/comments", params={"paper": "2403.09999"}).json()["items"]] == [True, False]
    assert ada.get("/me").status_code == 303


def test_the_only_admin_of_others_cannot_go(person, lab):
    admin = person("admin")
    person("reader")
    assert admin.post("/me/delete", confirm=admin.user.handle).status_code == 409
    assert count(lab, UserRow) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "path", "data"), [
    (60, "/votes", {"paper": "2403.09999"}), (10, "/comments", {"paper": "2403.09999", "markdown": "hello"})])
def test_limits_by_account(limit, path, data, person, paper, lab, monkeypatch):
    import datetime as dt

    from workingpapers.hub.people import limits

    moment = limits.now()
    monkeypatch.setattr(limits, "now", lambda: moment)
    ada, bob = person("reader"), person("reader")
    assert [ada.post(path, **data).status_code for _ in range(limit)] == [303] * limit
    refused = ada.post(path, **data)
    assert refused.status_code == 429
    wait = int(refused.headers["retry-after"])
    assert 0 < wait <= (60 if path == "/votes" else 600) + 1
    assert bob.post(path, **data).status_code == 303  # nobody else has to wait
    later = moment + dt.timedelta(seconds=wait)
    monkeypatch.setattr(limits, "now", lambda: later)
    assert ada.post(path, **data).status_code == 303


def test_limits_of_mails(person, mails, monkeypatch, lab):
    """Five an hour for an address of mail, whoever asks; five for an address of the network, whomever they ask for."""
    monkeypatch.setattr("workingpapers.hub.people.signin.send_link", lambda *_: None)
    asking = [person().post("/signin", email="ada@example.org").status_code for _ in range(6)]
    assert asking == [200] * 5 + [429]
    one = person()
    assert [one.post("/signin", email=f"p{i}@example.org").status_code for i in range(6)] == [200] * 5 + [429]
    assert one.post("/signin", email="not an address").status_code == 422
    with lab.store.reading() as session:  # counters name no mail address
        assert not [r for r in session.scalars(select(RateCounterRow)) if "@" in r.key]


@pytest.mark.slow
def test_limits_are_shared_by_processes(lab, paper, person):
    """Two applications on one store stand for two workers."""
    from workingpapers.hub import create_app

    ada = person("reader")
    with lab.store.writing() as session:
        headers = {"authorization": f"Bearer {new_token(session, ada.user, '', ['comment'])}"}
    codes = []
    for _ in range(6):
        for app in (ada.client.app, create_app(lab=lab)):
            with TestClient(app, base_url="http://localhost") as client:
                codes.append(client.post("/api/v1/comments", json={"paper": "2403.09999", "markdown": "x"}, headers=headers).status_code)
    assert codes == [201] * 10 + [429] * 2


def test_searches_of_visitors_are_limited_without_a_row(lab):
    from workingpapers.hub.people.limits import allow_search
    from workingpapers.hub.people.viewer import Viewer
    from workingpapers.hub.problems import Problem

    visitor = Viewer(None, frozenset(), address="198.51.100.77")
    for _ in range(60):
        allow_search(visitor)
    with pytest.raises(Problem) as refused:
        allow_search(visitor)
    assert refused.value.status == 429
    assert 0 < int(refused.value.headers["Retry-After"]) <= 61
    allow_search(Viewer(None, frozenset(), address="198.51.100.78"))


@pytest.mark.slow
def test_forwarded_addresses_are_believed_from_our_proxies_alone(lab, paper, person, monkeypatch):
    from workingpapers.hub import create_app

    monkeypatch.setattr("workingpapers.hub.people.signin.send_link", lambda *_: None)

    def asked(app, peer, forwarded):
        with TestClient(app, base_url="http://localhost", client=(peer, 1)) as client:
            token = client.get("/signin").text.partition('name="token" value="')[2].partition('"')[0]
            client.post("/signin", data={"token": token, "email": f"a{asked.n}@example.org"}, headers={"x-forwarded-for": forwarded})
            asked.n += 1
        with lab.store.reading() as session:
            last = select(RateCounterRow.key).where(RateCounterRow.key.like("mail:address:%")).order_by(RateCounterRow.id.desc())
            return session.scalar(last.limit(1)).removeprefix("mail:address:")

    asked.n = 0
    assert asked(create_app(lab=lab), "192.0.2.1", "203.0.113.9") == "192.0.2.1"  # nobody is believed by default
    monkeypatch.setenv("WORKINGPAPERS_PROXIES", "10.0.0.0/8, 192.0.2.2")
    app = create_app(lab=lab)
    assert asked(app, "192.0.2.3", "203.0.113.9") == "192.0.2.3"
    assert asked(app, "10.1.2.3", "203.0.113.9") == "203.0.113.9"
    assert asked(app, "192.0.2.2", "6.6.6.6, 203.0.113.10, 10.9.9.9") == "203.0.113.10"  # what stands further left is anybody's word
    assert asked(app, "10.1.2.4", "nonsense") == "10.1.2.4"
    assert asked(app, "10.1.2.5", "2001:db8:1:2:3::4") == "2001:db8:1:2::/64"


@pytest.mark.slow
def test_fifty_vote_at_once(served_shut, lab, paper):
    """Over real sockets, 50 people, each on and off and on again: no vote is lost, nobody hears of a locked database."""
    import httpx

    address, people = served_shut, []
    with lab.store.writing() as session:
        for i in range(50):
            user = create_user(session, handle=f"voter-{i}", created_by="test")
            people.append(new_token(session, user, "", ["vote"]))
    gate = threading.Barrier(50)

    def votes(token):
        with httpx.Client(base_url=address, headers={"authorization": f"Bearer {token}"}, timeout=60) as client:
            gate.wait()
            return [client.request(m, "/api/v1/votes/2403.09999").status_code for m in ("PUT", "DELETE", "PUT", "PUT")]

    with ThreadPoolExecutor(50) as pool:
        codes = list(pool.map(votes, people))
    assert codes == [[200] * 4] * 50
    row = paper_row(lab)
    assert (row.votes, count(lab, VoteRow), count(lab, TrendEventRow, TrendEventRow.paper_id == row.id)) == (50, 50, 50)
