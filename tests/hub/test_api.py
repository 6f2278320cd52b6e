"""The API: documents, cursors, problems, and a description that lists every answer."""

from __future__ import annotations

import datetime as dt
import math

import jsonschema
import pytest

from workingpapers.lab import Lab, Settings, Store
from workingpapers.lab.exchange import import_runs

from .conftest import check
from .people.conftest import new_paper


@pytest.fixture
def openapi(client):
    return client.get("/openapi.json").json()


def resolved(document, schema):
    return {**schema, "components": document["components"]}


def checked(client, openapi, method, address, path, **more):
    """Ask, and hold the answer against the description."""
    answer = client.request(method, address, **more)
    described = openapi["paths"][path][method.lower()]["responses"]
    assert str(answer.status_code) in described, (address, answer.status_code)
    content = described[str(answer.status_code)].get("content", {})
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if content:
        assert kind in content, (address, kind)
        if "json" in kind:
            jsonschema.validate(answer.json(), resolved(openapi, content[kind]["schema"]))
    return answer


def test_every_answer_is_as_described(client, openapi, add_run):
    run_id = add_run()
    add_run("always-counted", "fails", checks=[check(kind="bound", counts=[2, 3], interval=None, threshold=0.0)])
    add_run("slow", "inconclusive", checks=[check(estimate=None, interval=None, threshold=[-math.inf, 2.0], better="inside")])
    v1 = "/api/v1"
    asked = [
        ("GET", "/healthz", "/healthz"), ("GET", f"{v1}/papers", f"{v1}/papers"), ("GET", f"{v1}/papers?limit=0", f"{v1}/papers"),
        ("GET", f"{v1}/papers/coin", f"{v1}/papers/{{name}}"), ("GET", f"{v1}/papers/nobody", f"{v1}/papers/{{name}}"),
        ("GET", f"{v1}/claims", f"{v1}/claims"), ("GET", f"{v1}/claims?state=fails", f"{v1}/claims"),
        ("GET", f"{v1}/claims/coin/slow", f"{v1}/claims/{{slug}}/{{claim_id}}"),
        ("GET", f"{v1}/claims/coin/nothing", f"{v1}/claims/{{slug}}/{{claim_id}}"),
        ("GET", f"{v1}/runs", f"{v1}/runs"), ("GET", f"{v1}/runs?verdict=maybe", f"{v1}/runs"),
        ("GET", f"{v1}/runs/{run_id}", f"{v1}/runs/{{run_id}}"), ("GET", f"{v1}/runs/nothing", f"{v1}/runs/{{run_id}}"),
        ("GET", f"{v1}/runs/{run_id}/export", f"{v1}/runs/{{run_id}}/export"),
        ("GET", f"{v1}/runs/nothing/events", f"{v1}/runs/{{run_id}}/events"),
    ]
    for method, address, path in asked:
        checked(client, openapi, method, address, path)
    body = {"paper": "coin", "claim": "slow"}
    for over in ({}, {"paper": "nobody"}, {"paper": "dice"}, {"scale": "huge"}):
        checked(client, openapi, "POST", f"{v1}/runs", f"{v1}/runs", json=body | over)
    checked(client, openapi, "POST", f"{v1}/runs", f"{v1}/runs", content=b"{")
    checked(client, openapi, "POST", f"{v1}/runs", f"{v1}/runs", json=body, headers={"origin": "https://evil.example"})


def test_every_error_is_a_problem_document(client, openapi):
    for address in ("/api/v1/nowhere", "/api/v1/papers/nobody", "/api/v1/papers?limit=x"):
        answer = client.get(address)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        assert answer.json()["instance"] == address.partition("?")[0]
    assert client.delete("/api/v1/papers").status_code == 405
    for path in openapi["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert set(response["content"]) == {"application/problem+json"}


def test_claims_say_what_was_measured(client, add_run):
    add_run()
    claim = client.get("/api/v1/claims/coin/more-is-better").json()
    assert claim["state"] == "holds"
    assert claim["here"]["checks"][0]["interval"] == [0.1, 0.4]
    assert claim["here"]["checks"][0]["unit"] == "×"
    assert claim["reported"]["value"] == 0.1
    assert claim["reference"] is None
    paper = client.get("/api/v1/papers/coin").json()
    assert paper["verdicts"] == {"holds": 1, "untried": 2}
    assert paper["status"] == "runs"
    assert "guess" in paper["example"]
    assert client.get("/api/v1/claims?state=holds").json()["items"][0]["id"] == "more-is-better"


def test_cursors_visit_each_once(client, add_run):
    made = [add_run() for _ in range(7)]
    seen, cursor = [], None
    while True:
        answer = client.get("/api/v1/runs", params={"limit": 3} | ({"before": cursor} if cursor else {})).json()
        seen += [r["run_id"] for r in answer["items"]]
        if (cursor := answer["next"]) is None:
            break
    assert seen == made[::-1]
    first = client.get("/api/v1/papers?limit=1").json()
    second = client.get(f"/api/v1/papers?limit=1&after={first['next']}").json()
    assert [first["items"][0]["slug"], second["items"][0]["slug"], second["next"]] == ["dice", "coin", None]


def walk(client, **asked):
    """Ids of every paper, page by page of three."""
    seen, cursor = [], ""
    while True:
        answer = client.get("/api/v1/papers", params={"limit": 3, "after": cursor, **asked})
        assert answer.status_code == 200, answer.text
        seen += [p["id"] for p in answer.json()["items"]]
        if not (cursor := answer.json()["next"]):
            return seen


def test_every_paper_is_among_them_and_each_once(client, lab):
    days = {f"2512.{i:05}": dt.date(2025, 12, 20 + i % 4) for i in range(10)}
    for i, (name, day) in enumerate(days.items()):
        new_paper(lab, name, listed_on=day if i != 7 else None, published_on=dt.date(2025, 11, 1 + i) if i % 5 else None,
                  published_key=f"2025-11-{1 + i:02}" if i % 5 else "", trend_log=float(i) if i < 4 else None)
    new_paper(lab, "math/9410209", listed_on=dt.date(1994, 10, 31), published_on=dt.date(1994, 10, 31), published_key="1994-10-31")
    hidden = new_paper(lab, "2512.99999", listed_on=dt.date(2025, 12, 20), hidden=True).public_id
    every = {*days, "math/9410209", "2403.00001", "2405.00001"}
    for sort, wanted in (("listed", every - {"2512.00007"}), ("published", every), ("trending", every - {"2512.00007"})):
        seen = walk(client, sort=sort)
        assert len(seen) == len(set(seen)), sort
        assert set(seen) == wanted, sort
        assert hidden not in seen
    by_day = walk(client, day="2025-12-21")
    assert set(by_day) == {n for n, day in days.items() if day == dt.date(2025, 12, 21)}
    assert set(walk(client, since="2025-12-22", until="2025-12-23")) == {
        n for n, day in days.items() if day >= dt.date(2025, 12, 22) and n != "2512.00007"}
    dated = [p for p in walk(client, sort="published") if p not in ("2512.00000", "2512.00005")]
    assert walk(client, sort="published")[-2:] == ["2512.00005", "2512.00000"], "those of unknown day come last"
    assert dated == sorted(dated, key=lambda n: "1994" if "/" in n else n, reverse=True)
    assert walk(client, task="tossing coins") == walk(client, q="coins hostile") == ["2403.00001"]


def test_a_paper_without_claims_has_its_facts(client, lab):
    new_paper(lab, "math/9410209", authors=["Ada", "Bob"], author_count=5, categories=["math.CO"])
    found = client.get("/api/v1/papers/math/9410209").json()
    assert (found["id"], found["url"], found["slug"], found["status"]) == ("math/9410209", "/papers/math/9410209", None, "no claims")
    assert (found["authors"], found["author_names"], found["claims"]) == (5, ["Ada", "Bob"], [])
    by_slug, by_id = (client.get(f"/api/v1/papers/{name}").json() for name in ("coin", "2403.00001"))
    assert by_slug == by_id


@pytest.mark.parametrize("asked", [{"after": "nonsense"}, {"after": "~~~"}, {"after": "2025-13-01~~x"},
                                   {"sort": "trending", "after": "x~y~z"},
                                   {"sort": "published", "after": "x~~y"}, {"sort": "trending", "day": "2025-12-21"}])
def test_a_cursor_of_another_list_is_said(client, asked):
    answer = client.get("/api/v1/papers", params=asked)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_number_that_json_lacks_does_not_break_a_page(client, add_run):
    run_id = add_run(checks=[check(estimate=math.nan, interval=None, threshold=math.inf)])
    assert client.get(f"/api/v1/runs/{run_id}").status_code == 200
    assert client.get(f"/runs/{run_id}").status_code == 200
    assert client.get("/").status_code == 200


def test_export_can_be_taken_in_elsewhere(client, add_run, tmp_path, lab):
    run_id = add_run()
    answer = client.get(f"/api/v1/runs/{run_id}/export")
    assert "attachment" in answer.headers["content-disposition"]
    elsewhere = Lab(Store(Settings(home=tmp_path / "elsewhere", database="")), lab.catalogue)
    assert import_runs(elsewhere, answer.content) == [run_id]
    assert elsewhere.run_document(run_id)["arms"] == lab.run_document(run_id)["arms"]
