"""The search as it is asked for over HTTP: page, API, command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from workingpapers.hub.people import limits
from workingpapers.hub.search import Model, Searcher
from workingpapers.hub.search import find as module
from workingpapers.hub.tables import PaperRow
from workingpapers.lab import Lab


@pytest.fixture(autouse=True)
def _no_model(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words alone, and no limit on how often a test may ask."""
    module._SEARCHERS[lab.store] = Searcher(lab.store, Model("off"))
    monkeypatch.setattr(limits, "allow_search", lambda *_: None)
    monkeypatch.setattr("workingpapers.hub.search.api.allow_search", lambda *_: None)
    monkeypatch.setattr("workingpapers.hub.search.pages.allow_search", lambda *_: None)


@pytest.fixture
def papers(lab: Lab) -> None:
    with lab.store.writing() as session:
        session.add_all([PaperRow(public_id=f"2501.{i:05d}", arxiv_id=f"2501.{i:05d}", title=f"Trees <b>{i}</b> & $O(n^2)$",
                                  title_key=f"trees{i}", abstract="<script>alert(1)</script> of random trees",
                                  authors=["A. <i>B</i>"]) for i in range(45)])


@pytest.mark.usefixtures("papers")
def test_the_page_says_what_it_did_and_leads_on(client: TestClient) -> None:
    text = client.get("/search", params={"q": "random trees"}).text
    assert "By words only." in text
    assert "switched off" in text
    assert text.count("<article") == 20
    assert "<script>alert" not in text
    assert "<b>" not in text
    seen = set(re.findall(r'href="(/papers/2501[^"#]+)"', text))
    while (more := re.search(r'rel="next" href="(/search\?[^"]+after=[^"]+)"', text)) is not None:
        text = client.get(more[1].replace("&amp;", "&")).text
        fresh = set(re.findall(r'href="(/papers/2501[^"#]+)"', text))
        assert fresh
        assert not fresh & seen
        seen |= fresh
    assert len(seen) == 45


def test_papers_of_the_catalogue_stand_with_their_claims(client: TestClient, add_run: Callable[..., str]) -> None:
    add_run(verdict="fails")
    text = client.get("/search", params={"q": "tossing coins"}).text
    assert "More tosses, smaller error" in text
    assert 'class="verdict fails"' in text
    assert client.get("/api/v1/search", params={"q": "verdict:fails"}).json()["papers"][0]["slug"] == "coin"
    assert client.get("/api/v1/search", params={"q": "verdict:holds"}).json()["papers"] == []


def test_wrong_questions_are_400_with_words(client: TestClient) -> None:
    page = client.get("/search", params={"q": "after:soon"})
    assert page.status_code == 400
    assert "a day is written as" in page.text
    answer = client.get("/api/v1/search", params={"q": "x" * 10_000})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert client.get("/search").status_code == 200
    assert client.get("/api/v1/search", params={"q": "x", "after": "zzz"}).status_code == 400
    assert client.get("/api/v1/search", params={"q": "x", "limit": 101}).status_code == 422


@pytest.mark.usefixtures("papers")
def test_the_api_gives_pages(client: TestClient) -> None:
    first = client.get("/api/v1/search", params={"q": "random trees", "limit": 30}).json()
    second = client.get("/api/v1/search", params={"q": "random trees", "limit": 30, "after": first["next"]}).json()
    assert (first["how"], len(first["papers"]), len(second["papers"]), second["next"]) == ("words", 30, 15, None)
    assert first["papers"][0]["url"].startswith("/papers/2501.")
    named = client.get("/api/v1/search", params={"q": "arxiv.org/abs/2501.00007v2"}).json()["papers"]
    assert [(p["id"], p["exact"]) for p in named] == [("2501.00007", True)]


@pytest.mark.slow
@pytest.mark.usefixtures("papers")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60) | st.lists(st.sampled_from(["trees", '"', "-", "OR", "NOT", "(", "title:", "cat:", "2501.00001", "\x00", "é",
                                                         "*"]), max_size=12).map(" ".join))
def test_any_string_is_200_or_400(client: TestClient, question: str) -> None:
    question = question.encode("utf-8", "replace").decode()
    assert client.get("/api/v1/search", params={"q": question}).status_code in (200, 400)
    assert client.get("/search", params={"q": question}).status_code in (200, 400)


@pytest.mark.usefixtures("papers")
def test_a_question_is_a_feed(client: TestClient) -> None:
    for ending, kind in (("atom", "application/atom+xml"), ("rss", "application/rss+xml"), ("json", "application/feed+json")):
        answer = client.get(f"/search.{ending}", params={"q": "random trees"})
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, kind)
        again = client.get(f"/search.{ending}", params={"q": "random trees"}, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
    assert len(client.get("/search.json", params={"q": "random trees"}).json()["items"]) == 45
    assert client.get("/search.atom", params={"q": "after:soon"}).status_code == 400


def test_recommendations_ask_for_an_account(client: TestClient) -> None:
    assert "sign in" in client.get("/for-you").text
    assert client.get("/for-you?span=year").status_code == 400


def test_how_often_a_visitor_may_ask(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("workingpapers.hub.search.api.allow_search", lambda viewer: asked.append(viewer))
    client.get("/api/v1/search", params={"q": "x"})
    assert len(asked) == 1


@pytest.mark.slow
def test_on_the_command_line() -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "workingpapers.cli", *words], capture_output=True, text=True, check=False)

    done = run("search", "--json", "--words-only", "slug:mini_gp")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["papers"][0]["slug"] == "mini_gp"
    wrong = run("search", "after:soon")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("workingpapers: after: a day")
