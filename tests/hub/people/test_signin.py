"""Sign-in by mail link: once, within 15 minutes, in the browser that asked; what logs and the database hold of it."""

from __future__ import annotations

import datetime as dt
import logging
import re
import threading

import pytest
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from workingpapers.hub import create_app
from workingpapers.hub.people import keys, signin
from workingpapers.hub.people.signin import first_link
from workingpapers.hub.tables import ApiTokenRow, MailLinkRow, SigninRow, UserRow
from workingpapers.hub.tokens import SESSION_COOKIE, VISITOR_COOKIE

from .conftest import LINK, form_token_of


def rows(lab, table):
    with lab.store.reading() as session:
        return session.scalar(select(func.count()).select_from(table))


def asked(person, mails, address="ada@example.org", **more):
    assert person.post("/signin", email=address, **more).status_code == 200
    return LINK.findall(mails()[-1])[-1]


def without_tokens(text):
    """A page without its form tokens, which are others on every page."""
    return re.sub(r'name="token" value="\w+"', "", text)


def test_the_whole_way(person, mails, lab):
    ada = person()
    assert ada.get("/me").headers["location"] == "/signin?next=/me"
    link = asked(ada, mails, "Ada@Example.org", next="/papers/coin")
    assert rows(lab, UserRow) == 0
    shown = ada.get(link)
    assert shown.status_code == 200
    assert shown.headers["cache-control"] == "no-store"
    assert "<button>Make the account</button>" in shown.text
    assert (rows(lab, UserRow), rows(lab, SigninRow)) == (0, 0)  # looking spends nothing
    visitor = ada.client.cookies[VISITOR_COOKIE]
    done = ada.post(link, handle="ada")
    assert (done.status_code, done.headers["location"]) == (303, "/papers/coin")
    assert ada.client.cookies[VISITOR_COOKIE] != visitor  # forms of before are stale
    cookies = done.headers.get_list("set-cookie")
    assert all("httponly" in c.lower() and "samesite=lax" in c.lower() and "path=/" in c.lower() for c in cookies)
    page = ada.get("/me").text
    assert "ada@example.org" in page
    assert "reader" in page
    assert ada.post("/signout").status_code == 403  # the old form token


@pytest.mark.parametrize("way", ["again", "old", "other browser", "wrong", "no browser"])
def test_a_link_is_refused(person, mails, lab, way):
    ada, eve = person(), person()
    link = asked(ada, mails)
    if way == "again":
        assert ada.post(link).status_code == 303
        ada.form_token = form_token_of(ada.client)
    if way == "old":
        with lab.store.writing() as session:
            session.execute(update(MailLinkRow).values(expires_at=signin.now() - dt.timedelta(minutes=1)))
    if way == "wrong":
        link = link[:-1] + ("A" if link[-1] != "A" else "B")
    before = rows(lab, SigninRow)
    who = eve if way == "other browser" else ada
    if way == "no browser":
        who.client.cookies.delete(VISITOR_COOKIE)
    answers = [who.get(link), who.post(link)]
    assert [a.status_code for a in answers] == [403, 403]
    if way != "no browser":
        assert all("This link does not work" in a.text for a in answers)
    assert rows(lab, SigninRow) == before
    if way == "other browser":  # and the right browser still can
        assert ada.post(link).status_code == 303


def test_sixteen_minutes_are_too_long(person, mails, monkeypatch):
    ada = person()
    link = asked(ada, mails)
    late = signin.now() + dt.timedelta(minutes=14, seconds=59)
    monkeypatch.setattr(signin, "now", lambda: late)
    assert ada.get(link).status_code == 200
    monkeypatch.setattr(signin, "now", lambda: late + dt.timedelta(minutes=1, seconds=1))
    assert ada.get(link).status_code == 403
    assert ada.post(link).status_code == 403


def test_of_many_that_spend_a_link_at_once_one_gets_in(shut, person, mails, lab):
    ada = person()
    link = asked(ada, mails)
    codes = []

    def spend():
        with TestClient(shut, base_url="http://localhost", cookies=dict(ada.client.cookies)) as client:
            codes.append(client.post(link, data={"token": ada.form_token}, follow_redirects=False).status_code)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert sorted(codes) == [303] + [403] * 7
    assert (rows(lab, UserRow), rows(lab, SigninRow)) == (1, 1)


def test_the_answer_says_nothing_about_the_address(person, mails, lab):
    known, unknown = person("reader"), person()
    first = unknown.post("/signin", email=known.user.email)
    second = unknown.post("/signin", email="nobody@example.org")
    assert without_tokens(first.text) == without_tokens(second.text)
    assert first.status_code == second.status_code == 200
    assert len(mails()) == 2


def test_nobody_new_where_sign_up_is_off(person, mails, lab, monkeypatch):
    monkeypatch.setenv("WORKINGPAPERS_SIGNUP", "false")
    app = create_app(lab=lab)
    known, stranger = person("reader"), person(app=app)
    same = [without_tokens(stranger.post("/signin", email=a).text) for a in (known.user.email, "nobody@example.org")]
    assert same[0] == same[1]
    assert len(mails()) == 1


def test_only_hashes_are_stored(person, mails, lab, token_of):
    ada = person()
    link = asked(ada, mails)
    ada.post(link)
    bearer = token_of(person("runner"), "run")["authorization"].removeprefix("Bearer ")
    secrets = [link.rpartition("/")[2], ada.client.cookies[SESSION_COOKIE], bearer]
    with lab.store.reading() as session:
        dump = str([tuple(r) for t in (MailLinkRow, SigninRow, ApiTokenRow, UserRow) for r in session.execute(select(t.__table__))])
    assert all(len(s) >= 43 for s in secrets)
    assert not [s for s in secrets if s in dump]
    assert all(keys.digest(s) in dump for s in secrets)
    assert dump.count(bearer[:10]) == 1


def test_logs_hold_no_secret(person, mails, lab, token_of, caplog, monkeypatch):
    """Not even when the page of a link breaks, nor in an access log."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "httpx")  # the client of this test
    ada = person()
    link = asked(ada, mails)
    secret = link.rpartition("/")[2]
    monkeypatch.setattr("workingpapers.hub.people.pages.look_at", lambda *_: 1 / 0)
    assert ada.get(link).status_code == 500
    monkeypatch.undo()
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "192.0.2.1:5", "GET", link, "1.1", 200)
    ada.post(link)
    headers = token_of(person("runner"), "run")
    ada.client.get("/api/v1/runs", headers=headers)
    text = "\n".join([caplog.text, *(str(r.args) for r in caplog.records)])
    assert "[secret]" in text
    for hidden in (secret, ada.client.cookies[SESSION_COOKIE], headers["authorization"].removeprefix("Bearer ")):
        assert hidden not in text


@pytest.mark.slow
def test_signing_in_again_ends_the_sign_in_before(person, mails, lab):
    ada = person()
    ada.post(asked(ada, mails))
    first = ada.client.cookies[SESSION_COOKIE]
    ada.form_token = form_token_of(ada.client)
    ada.client.cookies.delete(SESSION_COOKIE)
    ada.form_token = form_token_of(ada.client)
    link = asked(ada, mails)
    ada.client.cookies.set(SESSION_COOKIE, first)
    ada.post(link)
    assert rows(lab, SigninRow) == 1
    with TestClient(ada.client.app, base_url="http://localhost", cookies={SESSION_COOKIE: first}) as old:
        assert old.get("/me", follow_redirects=False).status_code == 303


def test_sign_ins_are_listed_and_ended(person, lab):
    ada = person("reader")
    with lab.store.writing() as session:
        theirs = signin.begin_signin(session, ada.user, "an old telephone")
    assert "an old telephone" in ada.get("/me").text
    with lab.store.reading() as session:
        ids = {r.agent: r.id for r in session.scalars(select(SigninRow))}
    eve = person("reader")
    eve.post(f"/me/signins/{ids['an old telephone']}/end")  # nobody ends another's
    assert rows(lab, SigninRow) == 3
    ada.post(f"/me/signins/{ids['an old telephone']}/end")
    with TestClient(ada.client.app, base_url="http://localhost", cookies={SESSION_COOKIE: theirs}) as old:
        assert old.get("/me", follow_redirects=False).status_code == 303
    ended = ada.post(f"/me/signins/{ids['a browser']}/end")
    assert SESSION_COOKIE in ended.headers["set-cookie"]
    assert ended.headers["location"] == "/"
    assert ada.get("/me").status_code == 303


def test_a_sign_in_ends_after_thirty_days(person, monkeypatch):
    ada = person("reader")
    from workingpapers.hub.people import viewer

    moment = viewer.now()
    monkeypatch.setattr(viewer, "now", lambda: moment + dt.timedelta(days=29))
    assert ada.get("/me").status_code == 200
    monkeypatch.setattr(viewer, "now", lambda: moment + dt.timedelta(days=31))
    assert ada.get("/me").status_code == 303


def test_over_https_cookies_are_bound_to_the_host(person, mails, lab):
    app = create_app(lab=lab)
    with TestClient(app, base_url="https://localhost") as client:
        token = form_token_of(client)
        client.post("/signin", data={"token": token, "email": "ada@example.org"})
        link = re.search(r"https://localhost(/signin/\S+)", mails()[-1])[1]
        cookies = client.post(link, data={"token": token}, follow_redirects=False).headers.get_list("set-cookie")
        assert {c.partition("=")[0] for c in cookies} == {"__Host-wp_session", "__Host-wp_visitor"}
        assert all("; Secure" in c and "Domain" not in c for c in cookies)


def test_the_first_link_makes_the_admin_once(person, lab, shut):
    address = first_link(lab.store, "http://localhost")
    path = LINK.findall(address)[0]
    newer = LINK.findall(first_link(lab.store, "http://localhost"))[0]
    me, late = person(), person()
    assert me.get(path).status_code == 403  # a later start ends the links of earlier ones
    assert "Make the first account" in me.get(newer).text
    taken = me.post(newer, handle="admin")  # a name that cannot be had spends nothing
    assert taken.status_code == 422
    assert "A name has" in taken.text
    assert me.post(newer, handle="olga").status_code == 303
    assert "olga, admin" in me.get("/me").text
    assert late.get(newer).status_code == 403
    assert late.post(newer).status_code == 403
    assert first_link(lab.store, "http://localhost") is None


def test_a_local_site_is_open_until_the_first_account(lab, person):
    """For smoke runs: larger ones need the role runner here as everywhere."""
    run = {"slug": "coin", "claim": "more-is-better", "scale": "smoke"}
    app = create_app(lab=lab, local=True)
    visitor = person(app=app)
    assert visitor.post("/runs", **run).status_code == 303
    assert visitor.post("/runs", **run | {"scale": "small"}).status_code == 401
    assert visitor.client.post("/api/v1/runs", json={"paper": "coin", "claim": "more-is-better", "scale": "small"}).status_code == 401
    shown = visitor.get("/papers/coin").text
    assert 'value="smoke"' in shown
    assert 'value="small"' not in shown
    assert "Larger scales need an account" in shown
    for headers in ({"x-forwarded-for": "192.0.2.1"}, {"forwarded": "for=192.0.2.1"}):  # a proxy stands in front: it is not local
        assert visitor.client.post("/runs", data={"token": visitor.form_token, **run}, headers=headers).status_code == 401
    assert visitor.post("/votes", paper="x").status_code == 401
    person("reader")
    assert visitor.post("/runs", **run).status_code == 401
    assert "Sign in" in visitor.get("/papers/coin").text
    shut = person(app=create_app(lab=lab))
    assert shut.post("/runs", **run).status_code == 401


@pytest.mark.parametrize("address", ["", "nobody", "a@b\r\nBcc: c@d.org", "a" * 300 + "@example.org", "<a@example.org>"])
def test_what_is_no_address(person, mails, address):
    assert person().post("/signin", email=address).status_code == 422
    assert mails() == []
