"""Ready or not, counts for this machine alone, and pages that travel compressed without giving a secret away."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text
from starlette.testclient import TestClient

from workingpapers.hub.tokens import form_token, is_valid, new_visitor
from workingpapers.lab import Lab


def test_ready_follows_the_schema(client: TestClient, lab: Lab) -> None:
    assert client.get("/readyz").json() == {"status": "ready", "schema": lab.store.newest_schema()}
    with lab.store.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert client.get("/readyz").status_code == 503
    with lab.store.writing() as session:
        session.execute(text("DROP TABLE alembic_version"))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


def test_counts_are_told_to_this_machine_only(client: TestClient, add_run: Callable[..., str]) -> None:
    add_run()
    told = client.get("/metrics")
    assert 'workingpapers_runs{state="done"} 1\n' in told.text
    assert told.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 403
    with TestClient(client.app, base_url="http://localhost", client=("203.0.113.7", 1)) as stranger:
        assert stranger.get("/metrics").status_code == 403


def test_pages_are_compressed_where_the_browser_takes_it(client: TestClient) -> None:
    assert client.get("/", headers={"Accept-Encoding": "gzip"}).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in client.get("/", headers={"Accept-Encoding": "identity"}).headers


def test_a_form_token_is_another_on_every_page_and_all_are_good() -> None:
    key, visitor = b"k" * 32, new_visitor()
    tokens = {form_token(key, visitor) for _ in range(50)}
    assert len(tokens) == 50
    assert all(is_valid(key, visitor, t) for t in tokens)
    one = tokens.pop()
    assert not is_valid(key, new_visitor(), one)
    assert not any(is_valid(key, visitor, one[:i] + ("0" if one[i] != "0" else "1") + one[i + 1 :]) for i in range(len(one)))
    assert not is_valid(key, visitor, one[:16])
