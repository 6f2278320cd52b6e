"""Who may ask for what: hosts, origins, tokens, sizes, headers."""

from __future__ import annotations

import re
import stat

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import func, select
from starlette.testclient import TestClient

from workingpapers.hub import create_app
from workingpapers.hub.tokens import form_token, load_key, new_visitor
from workingpapers.lab.store import RunRow

from .conftest import form_token_of

RUN = {"slug": "coin", "claim": "more-is-better", "scale": "smoke"}


def runs_in(lab):
    with lab.store.reading() as session:
        return session.scalar(select(func.count()).select_from(RunRow))


def routes(app):
    """Every route with its methods, through routers inside routers."""
    waiting, out = list(app.routes), []
    while waiting:
        route = waiting.pop()
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        if isinstance(route, APIRoute):
            out.append((route.path, route.methods))
        elif inner:
            waiting += inner
    return out


def test_every_unsafe_route_refuses_another_site(app, client, token, lab, add_run):
    add_run("slow", None, state="queued", ended_at=None)
    before = runs_in(lab)
    unsafe = [(path, m) for path, methods in routes(app) for m in methods if m not in ("GET", "HEAD", "OPTIONS")]
    assert {p for p, _ in unsafe} >= {"/runs", "/runs/{run_id}/cancel", "/theme", "/api/v1/runs", "/api/v1/runs/{run_id}/cancel"}
    for path, method in unsafe:
        if path == "/u/{token}":  # ends a digest by the secret in its address, from wherever a mail program asks (RFC 8058)
            continue
        address = re.sub(r"{\w+(:\w+)?}", "1", path.replace("{run_id}", "r000001"))
        for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
                        {"sec-fetch-site": "same-site"}, {"origin": "http://localhost", "sec-fetch-site": "cross-site"}):
            answer = client.request(method, address, headers=headers, data={**RUN, "theme": "dark", "token": token})
            assert answer.status_code == 403, (path, headers)
    assert runs_in(lab) == before


def test_every_form_needs_the_token_of_its_visitor(app, client, token, lab):
    key = app.state.site.key
    for path in ("/runs", "/runs/r000001/cancel", "/theme"):
        for wrong in ("", "0" * 64, form_token(key, new_visitor())):
            answer = client.post(path, data={**RUN, "theme": "dark", "token": wrong})
            assert answer.status_code == 403
            assert "reload the page" in answer.text
    with TestClient(app, base_url="http://localhost") as stranger:  # a right token, but without the cookie it was made for
        assert stranger.post("/runs", data={**RUN, "token": token}).status_code == 403
    assert runs_in(lab) == 0


def test_a_page_of_ours_may(client, token, lab):
    headers = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    answer = client.post("/runs", data={**RUN, "token": token}, headers=headers, follow_redirects=False)
    assert answer.status_code == 303
    assert runs_in(lab) == 1
    assert client.get(answer.headers["location"]).status_code == 200


def test_the_api_takes_json_only(client, lab):
    """A form of another site can send text, never JSON: the browser would ask first."""
    body = '{"paper": "coin", "claim": "more-is-better"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert client.post("/api/v1/runs", content=body, headers={"content-type": kind}).status_code in (415, 422)
    assert runs_in(lab) == 0
    assert client.post("/api/v1/runs", content=body, headers={"content-type": "application/json"}).status_code == 202


@pytest.mark.slow
def test_reading_changes_nothing(app, client, add_run, lab):
    run_id = add_run()

    def rows():
        with lab.store.reading() as session:
            return [[(r.state, r.priority, r.cancel_requested) for r in session.query(RunRow)]]

    before = rows()
    for path, methods in routes(app):
        address = path.replace("{run_id}", run_id).replace("{slug}", "coin").replace("{claim_id}", "slow").replace("{day}", "2025-12-26")
        for method in methods & {"GET", "HEAD"}:
            client.request(method, address, params=RUN)
    assert rows() == before


@pytest.mark.parametrize(("host", "status"), [("localhost", 200), ("127.0.0.1:8400", 200), ("[::1]:9", 200), ("evil.example", 400),
                                              ("localhost.evil.example", 400), ("", 400), ("127.0.0.1.nip.io", 400)])
def test_host_allow_list(client, host, status):
    assert client.get("/", headers={"host": host}).status_code == status
    assert client.get("/api/v1/papers", headers={"host": host}).status_code == status


def test_more_hosts_by_setting(lab, monkeypatch):
    monkeypatch.setenv("WORKINGPAPERS_HOSTS", "papers.example, 10.0.0.7")
    with TestClient(create_app(lab=lab), base_url="http://papers.example") as client:
        assert client.get("/").status_code == 200
        assert client.get("/", headers={"host": "other.example"}).status_code == 400


def test_bodies_are_limited(client, token, lab):
    big = "x" * (1 << 20)
    said = client.post("/runs", data={**RUN, "token": token, "more": big})
    assert said.status_code == 413

    def unsaid():
        yield b'{"paper": "'
        for _ in range(3):
            yield big.encode()

    assert client.post("/api/v1/runs", content=unsaid(), headers={"content-type": "application/json"}).status_code == 413
    assert client.post("/runs", content=b"x", headers={"content-length": "nonsense"}).status_code in (400, 413)
    assert runs_in(lab) == 0


@pytest.mark.parametrize("address", ["/", "/nowhere", "/static/look.css", "/api/v1/papers", "/api/v1/nowhere", "/openapi.json"])
def test_security_headers_are_on_every_answer(client, address):
    headers = client.get(address).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


def test_theme_goes_back_to_this_site_only(client, token):
    for back, goes in (("/papers/coin?x=1", "/papers/coin?x=1"), ("https://evil.example/", "/"), ("//evil.example", "/"), ("/\\evil", "/")):
        answer = client.post("/theme", data={"theme": "dark", "back": back, "token": token}, follow_redirects=False)
        assert answer.headers["location"] == goes
    assert 'data-theme="dark"' in client.get("/").text
    client.post("/theme", data={"theme": "auto", "token": token})
    assert "data-theme" not in client.get("/").text
    assert client.post("/theme", data={"theme": "pink", "token": token}).status_code == 422


def test_cookies_cannot_be_read_by_scripts(client):
    cookie = client.get("/").headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_the_key_is_for_its_owner_alone_and_stays(tmp_path):
    key = load_key(tmp_path / "new")
    assert load_key(tmp_path / "new") == key
    assert len(key) == 32
    assert stat.S_IMODE((tmp_path / "new" / "hub.key").stat().st_mode) == 0o600
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["hub.key"]
    (tmp_path / "new" / "hub.key").write_bytes(b"short")
    with pytest.raises(ValueError, match="delete it"):
        load_key(tmp_path / "new")


def test_a_form_of_a_page_from_before_a_restart_still_works(app, lab, client):
    token = form_token_of(client)
    with TestClient(create_app(lab=lab, local=True), base_url="http://localhost", cookies=dict(client.cookies)) as again:
        assert again.post("/runs", data={**RUN, "token": token}, follow_redirects=False).status_code == 303
