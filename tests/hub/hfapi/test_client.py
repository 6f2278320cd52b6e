"""Hugging Face's own client and command line, pointed at this site over a real port."""

from __future__ import annotations

import datetime as dt
import http.client
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from workingpapers.hub import shelf
from workingpapers.hub.ingest import Link, Record, Signal
from workingpapers.hub.people.keys import TOKEN_PREFIX, digest, new_secret
from workingpapers.hub.tables import ApiTokenRow, CommentRow, PaperRow, UserRow

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    pytest.importorskip("huggingface_hub")
hub = importlib.import_module("huggingface_hub")
DAY = dt.date(2025, 12, 26)
HOSTILE = "Lanterns <script>alert(1)</script> & “α”: $O(n^2)$ 😀"
RECORDS = [
    Record("arxiv", "2512.00001v1", HOSTILE, arxiv_id="2512.00001", abstract="We light $n$ lanterns; costs 5% & more <b>.",
           authors=("Ada Kowalska", "Jürgen Faltin"), author_count=2, published=dt.date(2025, 12, 20), listed=DAY,
           links=(Link("code", "https://github.com/x/lanterns", official=True), Link("model", "https://huggingface.co/x/lantern-7b"),
                  Link("dataset", "https://huggingface.co/datasets/x/lights"), Link("demo", "https://huggingface.co/spaces/x/show"),
                  Link("project", "https://example.org/lanterns"))),
    Record("hf", "2512.00002", "Quiet rivers", arxiv_id="2512.00002", abstract="Rivers are quiet.", authors=("Bo Li",), author_count=1,
           listed=DAY, signals=(Signal("upvotes", 300),)),
    Record("oai", "math/9410209", "An old theorem", arxiv_id="math/9410209", abstract="It is old.", authors=("E. Old",), author_count=1,
           published=dt.date(1994, 10, 1)),
    Record("arxiv", "2601.00003v1", "Later lanterns", arxiv_id="2601.00003", abstract="Later.", authors=("Cy Late",), author_count=1,
           published=dt.date(2026, 1, 2), listed=dt.date(2026, 1, 3)),
]  # fmt: skip


@pytest.fixture
def endpoint(lab: Any, served: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    shelf.take_in(lab.store, RECORDS)
    return served


@pytest.fixture
def api(endpoint: str) -> Any:
    return hub.HfApi(endpoint=endpoint, token=False)


@pytest.fixture
def bearer(lab: Any) -> Callable[..., str]:
    """Makes an API token of a new account."""

    def make(*scopes: str) -> str:
        secret = new_secret()
        with lab.store.writing() as session:
            user = UserRow(handle=f"ada{secret[:6].lower()}", display_name="Ada")
            session.add(user)
            session.flush()
            session.add(ApiTokenRow(user_id=user.id, prefix="wp_", token_hash=digest(TOKEN_PREFIX + secret), scopes=list(scopes)))
        return TOKEN_PREFIX + secret

    return make


def test_a_day_of_papers(api: Any) -> None:
    papers = {p.id: p for p in api.list_daily_papers(date="2025-12-26")}
    assert list(papers) == ["2512.00001", "2405.00001", "2403.00001", "2512.00002"], "newest publication first"
    lanterns = papers["2512.00001"]
    assert lanterns.title == "Lanterns <script>alert(1)</script> & “α”: O(n²) 😀"
    assert lanterns.summary.startswith("We light n lanterns; costs 5% & more <b>.")
    assert [a.name for a in lanterns.authors] == ["Ada Kowalska", "Jürgen Faltin"]
    assert (lanterns.submitted_at.date(), lanterns.published_at.date()) == (DAY, dt.date(2025, 12, 20))
    assert (lanterns.github_repo, lanterns.project_page) == ("https://github.com/x/lanterns", "https://example.org/lanterns")
    assert (lanterns.upvotes, lanterns.comments) == (0, 0), "0 arrives as 0, not as None"
    assert papers["2512.00002"].upvotes == 0, "up-votes of another site are none of ours"
    assert papers["2512.00002"].published_at.date() == DAY
    assert lanterns.submitted_by.fullname == "Working Papers"
    for zone in (-12, 14):
        assert lanterns.submitted_at.astimezone(dt.timezone(dt.timedelta(hours=zone - (zone > 11) * 3))).date() == DAY


def test_weeks_months_sorting_and_pages(api: Any, lab: Any) -> None:
    week = [p.id for p in api.list_daily_papers(week="2025-W52")]
    assert len(week) == 4
    assert [p.id for p in api.list_daily_papers(month="2026-01")] == ["2601.00003"]
    assert next(p.id for p in api.list_daily_papers()) == "2601.00003"
    pages = [[p.id for p in api.list_daily_papers(week="2025-W52", p=n, limit=3)] for n in range(3)]
    assert [*pages[0], *pages[1]] == week
    assert pages[2] == [], "a page past the end"
    with lab.store.writing() as session:
        row = session.scalars(select(PaperRow).where(PaperRow.public_id == "2512.00001")).one()
        row.trend_log = 1e6
    assert next(p.id for p in api.list_daily_papers(date="2025-12-26", sort="trending")) == "2512.00001"
    assert list(api.list_daily_papers(submitter="nobody")) == []


@pytest.mark.parametrize("wrong", [{"date": "2025-13-40"}, {"date": "2025-02-30"}, {"week": "2025-W60"}, {"month": "2025-00"},
                                   {"date": "2999-01-01"}, {"limit": 0}, {"limit": 101}, {"sort": "random"}, {"p": -1}])
def test_what_cannot_be_is_400_in_words(api: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(hub.errors.HfHubHTTPError) as caught:
        list(api.list_daily_papers(**wrong))
    assert caught.value.response.status_code == 400
    assert list(caught.value.response.json()) == ["error"]
    assert next(iter(wrong)) in str(caught.value)


def test_one_paper(api: Any) -> None:
    paper = api.paper_info("2512.00001")
    assert (paper.id, paper.upvotes, paper.title) == ("2512.00001", 0, "Lanterns <script>alert(1)</script> & “α”: O(n²) 😀")
    assert [m.id for m in paper.linked_models] == ["x/lantern-7b"]
    assert [d.id for d in paper.linked_datasets] == ["x/lights"]
    assert [s.id for s in paper.linked_spaces] == ["x/show"]
    assert (paper.num_total_models, paper.num_total_datasets) == (1, 1)
    assert paper.published_at.date() == dt.date(2025, 12, 20)
    assert paper.submitted_at.date() == DAY
    assert api.paper_info("math/9410209").title == "An old theorem"
    assert api.paper_info("2403.00001").title.startswith("Tossing")
    with pytest.raises(hub.errors.HfHubHTTPError) as caught:
        api.paper_info("9999.99999")
    assert caught.value.response.status_code == 404
    assert caught.value.response.json() == {"error": "Paper not found: 9999.99999"}


def test_a_paper_as_text(api: Any, add_run: Any) -> None:
    add_run()
    text = api.read_paper("2403.00001")
    assert text.startswith("# Tossing \\<b>coins\\</b> & counting")
    assert "Verdict here: **holds**: 0.2× [0.1, 0.4]" in text
    assert "- The paper reports: ten times smaller" in text
    old = api.read_paper("math/9410209")
    assert "## Abstract\n\nIt is old." in old
    with pytest.raises(hub.errors.HfHubHTTPError) as caught:
        api.read_paper("9999.99999")
    assert caught.value.response.status_code == 404


def test_search(api: Any) -> None:
    assert next(iter(api.list_papers(query="quiet rivers"))).id == "2512.00002"
    assert {p.id for p in api.list_papers(query="lanterns", limit=2)} == {"2512.00001", "2601.00003"}
    assert len(list(api.list_papers(limit=3))) == 3
    for odd in ('"', "AND NOT (", "\x00", "😀" * 50, "a" * 3_000):
        list(api.list_papers(query=odd))


def test_tokens_of_any_shape_may_read(endpoint: str) -> None:
    for token in ("hf_" + "x" * 34, "wp_nonsense", "Bearer Bearer"):
        assert list(hub.HfApi(endpoint=endpoint, token=token).list_daily_papers(date="2025-12-26"))
    for header in ("Bearer é", "Bearer ", "Basic x", "x" * 5_000):  # what that client would not send
        connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=30)
        connection.request("GET", "/api/papers/2512.00001", headers={"Authorization": header.encode("latin-1")})  # type: ignore[dict-item]
        assert connection.getresponse().status == 200
        connection.close()


def test_comments_need_a_token_of_ours(endpoint: str, bearer: Callable[..., str], lab: Any) -> None:
    """The client has no call for it; its own session and headers are used."""
    from huggingface_hub.utils import build_hf_headers, get_session

    def say(token: str | None, body: Any = None, name: str = "2512.00001") -> Any:
        headers = build_hf_headers(token=token or False)
        return get_session().post(f"{endpoint}/api/papers/{name}/comment", headers=headers, json={"comment": "Fine **work**"}
                                  if body is None else body)

    answer = say(bearer("read", "comment"))
    assert answer.status_code == 201
    assert answer.json()["data"]["latest"]["raw"] == "Fine **work**"
    with lab.store.reading() as session:
        row = session.scalars(select(CommentRow)).one()
        assert "<strong>work</strong>" in row.html
        assert session.scalar(select(PaperRow.comments).where(PaperRow.public_id == "2512.00001")) == 1
    assert say(None).status_code == 401
    assert say("hf_" + "x" * 34).status_code == 401
    assert say(bearer("read")).status_code == 403
    token = bearer("comment")
    assert say(token, name="9999.99999").status_code == 404
    assert say(token, name="math/9410209").status_code == 201
    assert say(token, body={"words": "x"}).status_code == 400
    assert say(token, body=["x"]).status_code == 400
    assert all("error" in say(t).json() for t in (None, "x"))
    assert next(iter(hub.HfApi(endpoint=endpoint, token=False).list_papers(query="Lanterns script"))).comments == 1


def test_the_client_learns_quickly_that_there_are_no_harnesses(endpoint: str) -> None:
    from huggingface_hub.utils import get_session

    answer = get_session().get(f"{endpoint}/api/agent-harnesses")
    assert answer.status_code == 404
    assert "error" in answer.json()


def hf(endpoint: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("hf")), "papers", *words]
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "NO_COLOR": "1", "COLUMNS": "200", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_the_command_line(endpoint: str) -> None:
    listed = hf(endpoint, "ls", "--date", "2025-12-26", "--format", "json")
    assert listed.returncode == 0, listed.stderr
    rows = {row["id"]: row for row in json.loads(listed.stdout)}
    assert rows["2512.00001"]["upvotes"] == 0
    assert rows["2512.00001"]["title"].startswith("Lanterns")
    found = hf(endpoint, "search", "quiet rivers", "--limit", "1", "--format", "json")
    assert [row["id"] for row in json.loads(found.stdout)] == ["2512.00002"]
    assert json.loads(hf(endpoint, "info", "2512.00002", "--format", "json").stdout)["title"] == "Quiet rivers"
    assert "Rivers are quiet." in hf(endpoint, "read", "2512.00002").stdout
    missing = hf(endpoint, "info", "9999.99999")
    assert missing.returncode != 0
    assert "not found" in missing.stderr
    wrong = hf(endpoint, "ls", "--date", "2025-13-40")
    assert wrong.returncode != 0
    assert "2025-13-40" in wrong.stderr
