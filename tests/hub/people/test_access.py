"""Every route by every role; every unsafe route from another site; every safe route changes nothing.

A route that is not in the table fails the first test: add it with the lowest role that may use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest
from annotated_types import Le
from fastapi.routing import APIRoute
from sqlalchemy import select

from workingpapers.hub.people.accounts import create_user
from workingpapers.hub.people.comments import add_comment
from workingpapers.hub.people.roles import ROLES, SCOPES
from workingpapers.hub.people.viewer import Viewer
from workingpapers.hub.row_ids import MOST_ID
from workingpapers.hub.tables import AuthorshipRow, DoubtRow
from workingpapers.hub.tokens import FORM_HEADER
from workingpapers.lab.store import Base

from .conftest import Person

ANYONE, READER, RUNNER, EDITOR, ADMIN = "anyone", *ROLES
LADDER = (ANYONE, *ROLES)

# Method and path -> the lowest role that may. "anyone" needs no account.
READS = {
    ANYONE: """/ /claims /claims/{slug}/{claim_id} /claims/{slug}/{claim_id}/panel /healthz /readyz /metrics /now /openapi.json
        /papers /papers/trending /papers/{kind}/{name} /papers/{name:path} /feed.{ending}
        /papers.{ending} /papers/trending.{ending} /runs /runs/{run_id} /runs/{run_id}/plots/{name}.{ending} /signin /signin/{secret} /tasks
        /subscribe /subscribe/preview /subscribe/{secret} /u/{token} /search
        /api/v1/claims /api/v1/claims/{slug}/{claim_id} /api/v1/comments /api/v1/papers /api/v1/papers/{name:path} /api/v1/runs
        /api/v1/runs/{run_id} /api/v1/runs/{run_id}/events /api/v1/runs/{run_id}/export /api/v1/search /for-you /search.{ending}
        /leaderboards /leaderboards.json /leaderboards/{task:path}
        /api/agent-harnesses /api/daily_papers /api/papers/search /api/papers/{name:path}""",
    READER: "/me /me/export.json /api/v1/me /api/v1/me/export /api/v1/acts/{paper:path}",
    EDITOR: "/admin",
}
WRITES = {
    ANYONE: """POST /signin
        POST /signin/{secret}
        POST /signout
        POST /theme
        POST /keys
        POST /subscribe
        POST /subscribe/{secret}
        POST /u/{token}""",
    READER: """POST /runs
        POST /api/v1/runs
        POST /votes
        POST /tags
        POST /ratings
        POST /authorships
        POST /comments
        POST /comments/{comment_id}
        POST /comments/{comment_id}/delete
        POST /me/delete
        POST /me/profile
        POST /me/signins/{signin_id}/end
        POST /me/tokens
        POST /me/tokens/{token_id}/revoke
        POST /api/papers/{name:path}/comment
        POST /api/v1/comments
        PATCH /api/v1/comments/{comment_id}
        DELETE /api/v1/comments/{comment_id}
        PUT /api/v1/votes/{paper:path}
        DELETE /api/v1/votes/{paper:path}
        PUT /api/v1/tags/{name}/{paper:path}
        DELETE /api/v1/tags/{name}/{paper:path}
        PUT /api/v1/ratings/{paper:path}""",
    RUNNER: """POST /runs/{run_id}/cancel
        POST /api/v1/runs/{run_id}/cancel""",
    EDITOR: """POST /admin/papers/hide
        POST /admin/doubts/{doubt_id}
        POST /admin/doubts/{doubt_id}/reopen""",
    ADMIN: """POST /admin/users/{user_id}/role
        POST /admin/users/{user_id}/signout
        POST /admin/authorships/{claim_id}""",
}
TABLE = {f"GET {path}": least for least, paths in READS.items() for path in paths.split()}
TABLE |= {f"HEAD {path}": least for least, paths in READS.items() for path in paths.split() if not path.startswith(("/api/", "/openapi"))}
TABLE |= {line.strip(): least for least, lines in WRITES.items() for line in lines.splitlines()}

FORM = {"slug": "coin", "claim": "more-is-better", "scale": "smoke", "paper": "2403.09999", "markdown": "hello", "on": "true",
        "value": "1", "theme": "dark", "keys": "off", "handle": "new-name", "display_name": "New Name", "tz": "UTC", "role": "runner",
        "answer": "approved", "email": "someone@example.org",
        "kind": "trending", "confirm": "nobody", "hidden": "true", "List-Unsubscribe": "One-Click"}
JSON = {"/api/v1/runs": {"paper": "coin", "claim": "more-is-better"}, "/api/v1/comments": {"paper": "2403.09999", "markdown": "hello"},
        "/api/v1/comments/{comment_id}": {"markdown": "changed"}, "/api/papers/{name:path}/comment": {"comment": "hello"},
         "/api/v1/ratings/{paper:path}": {"value": 1}}
BY_TOKEN_ALONE = ("/api/papers/{name:path}/comment",)
NO_ACCESS = (401, 403)


def api_routes(app: Any) -> Iterator[APIRoute]:
    """Every route, through routers inside routers."""
    waiting = list(app.routes)
    while waiting:
        route = waiting.pop()
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        if isinstance(route, APIRoute):
            yield route
        elif inner:
            waiting += inner


def routes(app: Any) -> list[tuple[str, str]]:
    """Every method and path."""
    return sorted((method, route.path) for route in api_routes(app) for method in route.methods)


UNSAFE = sorted(tuple(key.split(" ", 1)) for key in TABLE if not key.startswith(("GET ", "HEAD ")))


@pytest.fixture
def world(lab, paper, add_run, person):
    """Somebody else's things, to be changed by those who may."""
    other = person("reader", handle="other").user
    with lab.store.writing() as session:
        user = create_user(session, handle="second-admin", role="admin", created_by="test")
        comment = add_comment(session, Viewer(other, frozenset({"comment"}), "cookie"), paper, "theirs")
        claim = AuthorshipRow(user_id=other.id, paper_id=paper.id)
        doubt = DoubtRow(kind="alike", key="k", title="Two alike", first="a", second="b", body={"record": None, "papers": ["a", "b"]})
        session.add_all([claim, doubt])
        session.flush()
        ids = {"user_id": other.id, "comment_id": comment.id, "claim_id": claim.id, "doubt_id": doubt.id,
               "signin_id": 10**6, "token_id": 10**6}
    ids |= {"slug": "coin", "kind": "date", "name": "saved", "ending": "json", "secret": "x" * 43, "token": "x" * 43,
            "paper": "2403.09999", "task": "tossing coins",
            "run_id": add_run("slow", None, state="queued", ended_at=None, requested_by=f"user:{user.id}")}
    return ids


def filled(path, world):
    # `claim_id` is a claim's name below /claims and a number below /admin
    world = world if path.startswith("/admin") else {**world, "claim_id": "more-is-better"}
    by_name = path.startswith(("/papers/{", "/api/papers/{", "/api/v1/papers/{"))
    world = world if not by_name else {**world, "name": "2025-12-26" if "kind" in path else "coin"}
    return re.sub(r"{(\w+)(:\w+)?}", lambda m: str(world[m[1]]), path)


def asked(person, method, path, world, **headers):
    address = filled(path, world)
    if path.startswith("/api/"):
        body = JSON.get(path) if method != "DELETE" else None
        return person.client.request(method, address, json=body, headers=headers, follow_redirects=False, params=api_params(path))
    data = None if method in ("GET", "HEAD") else {**FORM, "token": person.form_token}
    return person.client.request(method, address, data=data, headers=headers, follow_redirects=False)


def api_params(path):
    return {"paper": "2403.09999"} if path == "/api/v1/comments" else None


def own_comment(lab, person, paper, world):
    """Whoever may comment may change their own; somebody else's is tested apart."""
    if person.user is None:
        return world
    with lab.store.writing() as session:
        row = add_comment(session, Viewer(person.user, frozenset({"comment"}), "cookie"), paper, "mine")
        return {**world, "comment_id": row.id}


def test_every_route_is_in_the_table(shut):
    there = {f"{m} {p}" for m, p in routes(shut)}
    assert there - set(TABLE) == set(), "add the new route to the table, with the lowest role that may use it"
    assert {k for k in set(TABLE) - there if not k.startswith("HEAD ")} == set(), "no such route any more"


@pytest.mark.slow
@pytest.mark.parametrize("role", LADDER)
def test_every_unsafe_route_by_role(role, person, world, lab, paper, token_of):
    for method, path in UNSAFE:
        who = person(None if role == ANYONE else role)
        mine = own_comment(lab, who, paper, world)
        headers = {FORM_HEADER: who.form_token} if path.startswith("/api/") else {}
        answer = asked(who, method, path, mine, **headers)
        least = TABLE[f"{method} {path}"]
        if LADDER.index(role) < LADDER.index(least):
            assert answer.status_code == (401 if role == ANYONE else 403), (method, path, answer.status_code)
            if role == ANYONE and not path.startswith("/api/"):
                assert "/signin?next=" in answer.text
        elif path in BY_TOKEN_ALONE:
            assert answer.status_code == 401
        elif path != "/signin/{secret}":  # a wrong link is refused to everyone
            assert answer.status_code not in NO_ACCESS, (method, path, answer.status_code, answer.text[-600:])
            assert answer.status_code < 500
        if path.startswith("/api/") and role != ANYONE:
            bearer = token_of(person(role), *SCOPES)
            who.client.cookies.clear()
            by_token = asked(who, method, path, mine, **bearer)
            if path.startswith("/api/v1/comments/"):
                continue  # it is somebody else's now
            assert (by_token.status_code in NO_ACCESS) == (LADDER.index(role) < LADDER.index(least)), (method, path, by_token.text)


@pytest.mark.slow
@pytest.mark.parametrize("role", LADDER)
def test_every_safe_route_by_role(role, person, world):
    who = person(None if role == ANYONE else role)
    for key, least in TABLE.items():
        method, path = key.split(" ", 1)
        if method not in ("GET", "HEAD") or path.endswith("/events"):
            continue
        answer = asked(who, method, path, world)
        if LADDER.index(role) >= LADDER.index(least):
            assert answer.status_code not in NO_ACCESS or path in ("/signin/{secret}", "/metrics"), (key, answer.text[-300:])
        elif role == ANYONE and not path.startswith("/api/") and path != "/me/export.json":
            assert answer.headers["location"].startswith("/signin?next="), key
        else:
            assert answer.status_code in NO_ACCESS, key


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "least"), [("smoke", READER), ("small", RUNNER)])
@pytest.mark.parametrize("role", LADDER)
def test_runs_by_role_and_scale(role, scale, least, person, token_of):
    who = person(None if role == ANYONE else role)
    may = LADDER.index(role) >= LADDER.index(least)
    body = {"claim": "more-is-better", "scale": scale}

    def by_api(headers):
        return who.client.post("/api/v1/runs", json={"paper": "coin", **body}, headers=headers)

    answers = [who.post("/runs", slug="coin", **body), by_api({FORM_HEADER: who.form_token})]
    if who.user:
        answers.append(by_api(token_of(who, "run")))
        assert by_api(token_of(who, "read", "vote")).status_code == 403
    assert [a.status_code < 400 for a in answers] == [may] * len(answers)
    shown = who.get("/papers/coin").text
    assert ('name="scale" value="smoke"' in shown) == (role != ANYONE)
    assert ('name="scale" value="small"' in shown) == (LADDER.index(role) >= LADDER.index(RUNNER))


def test_a_runner_cancels_any_run_a_reader_only_their_own(person, world, lab):
    ada, bob, rita = person("reader"), person("reader"), person("runner")
    address = ada.post("/runs", slug="coin", claim="more-is-better", scale="smoke").headers["location"]
    assert bob.post(f"{address}/cancel").status_code == 403
    assert ada.post(f"{address}/cancel").status_code == 303
    assert rita.post(f"/runs/{world['run_id']}/cancel").status_code == 303


def test_nobody_changes_what_is_somebody_elses(person, world, lab):
    ada, erik = person("admin"), person("reader")
    for who in (erik, ada):
        assert who.post(f"/comments/{world['comment_id']}", markdown="forged").status_code == 403
    assert erik.post(f"/comments/{world['comment_id']}/delete").status_code == 403
    assert person("editor").post(f"/comments/{world['comment_id']}/delete").status_code == 303


def snapshot(lab):
    """Every row of every table."""
    with lab.store.reading() as session:
        return {t.name: [tuple(r) for r in session.execute(select(t))] for t in Base.metadata.sorted_tables}


FOREIGN = [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
           {"origin": "http://localhost", "sec-fetch-site": "cross-site"}, {"origin": "http://localhost.evil.example"}]


@pytest.mark.slow
def test_no_unsafe_route_listens_to_another_site(shut, person, world, lab):
    """Even with an admin's cookie and the right token; nothing changes."""
    admin = person("admin")
    before = snapshot(lab)
    tried = 0
    for method, path in routes(shut):
        if method in ("GET", "HEAD", "OPTIONS") or path == "/u/{token}":  # a one-click unsubscribe comes from anywhere (RFC 8058)
            continue
        for headers in FOREIGN:
            answer = asked(admin, method, path, world, **headers, **{FORM_HEADER: admin.form_token})
            assert answer.status_code == 403, (method, path, headers)
            tried += 1
    assert snapshot(lab) == before
    assert tried >= 30 * len(FOREIGN)


@pytest.mark.slow
def test_no_form_works_without_its_token(shut, person, world, lab):
    """A form of another site that an old browser sends without saying where it came from."""
    admin, other = person("admin"), person("admin")
    before = snapshot(lab)
    for method, path in routes(shut):
        if method in ("GET", "HEAD", "OPTIONS") or path == "/u/{token}":
            continue
        for wrong in ("", "0" * 64, other.form_token):
            answer = asked(Person(admin.client, admin.user, wrong), method, path, world, **{FORM_HEADER: wrong})
            # To the API a cookie without the token is nobody.
            assert answer.status_code == (401 if path.startswith("/api/") else 403), (method, path, answer.status_code)
    assert snapshot(lab) == before


@pytest.mark.slow
@pytest.mark.parametrize("role", [ANYONE, ADMIN])
def test_reading_changes_no_row(role, shut, person, world, lab):
    who = person(None if role == ANYONE else role)
    before = snapshot(lab)
    for method, path in routes(shut):
        if method in ("GET", "HEAD") and not path.endswith("/events"):
            asked(who, method, path, world)
            who.client.request(method, filled(path, world), params=FORM)
    assert snapshot(lab) == before


@pytest.mark.parametrize("header", [
    "Bearer x", "Bearer", "Bearer ", "Bearer wp_" + "x" * 43, "bearer hf_abc", "Basic eDp5", "Bearer \x80", "Bearer " + "y" * 5000,
])
def test_a_token_of_any_shape_still_reads(person, header, world):
    visitor = person()
    assert visitor.client.get("/api/v1/papers", headers={"authorization": header.encode("latin-1")}).status_code == 200
    assert visitor.client.get("/papers/coin", headers={"authorization": header.encode("latin-1")}).status_code == 200
    changed = visitor.client.put("/api/v1/votes/2403.09999", headers={"authorization": header.encode("latin-1")})
    assert changed.status_code == 401
    assert changed.headers["www-authenticate"] == "Bearer"


def test_a_cookie_lends_a_token_nothing(person, token_of, lab):
    """A bad token beside an admin's cookie is nobody; a token may no more than its scopes."""
    admin = person("admin")
    assert admin.client.put("/api/v1/votes/x", headers={"authorization": "Bearer wrong", FORM_HEADER: admin.form_token}).status_code == 401
    for scopes, code in (((), 403), (("read",), 403), (("comment", "run", "admin"), 403), (("vote",), 404)):
        assert admin.client.put("/api/v1/votes/x", headers=token_of(admin, *scopes)).status_code == code


def test_a_token_ends(person, token_of, monkeypatch, lab):
    import datetime as dt

    from workingpapers.hub.people import viewer

    ada = person("reader")
    headers = token_of(ada, "read", days=1)
    assert ada.client.get("/api/v1/me", headers=headers).json()["name"] == ada.user.handle
    late = viewer.now() + dt.timedelta(days=1, seconds=1)
    monkeypatch.setattr(viewer, "now", lambda: late)
    assert ada.client.get("/api/v1/me", headers=headers).status_code == 401


def test_a_role_that_is_taken_away_is_gone_at_once(person, lab):
    admin, rita = person("admin"), person("runner")
    assert rita.post("/runs", slug="coin", claim="more-is-better", scale="small").status_code == 303
    assert admin.post(f"/admin/users/{rita.user.id}/role", role="reader").status_code == 303
    assert rita.post("/runs", slug="coin", claim="more-is-better", scale="small").status_code == 403
    assert admin.post(f"/admin/users/{rita.user.id}/signout").status_code == 303
    assert rita.get("/me").status_code == 303


def test_the_last_admin_stays(person, lab):
    admin = person("admin")
    answer = admin.post(f"/admin/users/{admin.user.id}/role", role="reader")
    assert answer.status_code == 422
    assert "only admin" in answer.text



def test_no_route_takes_numbers_that_a_database_cannot_hold(app: Any) -> None:
    """PostgreSQL's integers end at 2^31, SQLite's at 2^63: beyond, the database would fail and not the request."""
    numbers = [(route.path, field) for route in api_routes(app)
               for part in ("path_params", "query_params", "body_params") for field in getattr(route.dependant, part)
               if int in {field.field_info.annotation, *get_args(field.field_info.annotation)}]
    assert len(numbers) > 10
    loose = [f"{path} {field.name}" for path, field in numbers
             if min((m.le for m in field.field_info.metadata if isinstance(m, Le)), default=np.inf) > MOST_ID]
    assert loose == []


@pytest.mark.parametrize("number", [2**31, 2**63, 10**30])
def test_numbers_that_no_row_has_are_refused(client: Any, number: int) -> None:
    for address in (f"/runs?before={number}", f"/api/v1/runs?before={number}", f"/api/v1/runs/none/events?after={number}"):
        assert client.get(address).status_code in (404, 422), address
