"""Asking for runs: what is queued, what is given back, when the queue is full, and what the first start does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from workingpapers.hub import create_app
from workingpapers.hub.problems import Problem
from workingpapers.hub.site import MAX_QUEUED, WARMUP, WARMUP_PRIORITY
from workingpapers.lab.store import RunRow

ASK = {"paper": "coin", "claim": "more-is-better", "scale": "smoke"}


def rows(lab, **wanted):
    with lab.store.reading() as session:
        return session.query(RunRow).filter_by(**wanted).order_by(RunRow.id).all()


def ask(client, **over):
    return client.post("/api/v1/runs", json={**ASK, **over})


def test_an_equal_request_gets_the_same_run(client, lab):
    first, second = ask(client), ask(client)
    assert first.status_code == second.status_code == 202
    assert first.headers["location"] == second.headers["location"] == f"/api/v1/runs/{first.json()['run_id']}"
    assert ask(client, seeds=5).json()["run_id"] != first.json()["run_id"]
    other, is_new = client.app.state.site.ask("coin", "more-is-better", "small")
    assert is_new
    assert other.run_id != first.json()["run_id"]
    assert len(rows(lab)) == 3


def test_a_finished_run_does_not_stand_for_a_new_one(client, add_run):
    assert ask(client).json()["run_id"] != add_run()


def test_five_may_wait(client, lab, token):
    for n in range(MAX_QUEUED):
        assert ask(client, seeds=3 + n).status_code == 202
    full = ask(client, seeds=50)
    assert full.status_code == 429
    assert full.headers["retry-after"]
    assert full.headers["content-type"] == "application/problem+json"
    assert "Wait until one has finished, or cancel one." in full.json()["detail"]
    assert ask(client, seeds=3).status_code == 202  # an equal one is no new one
    form = {"slug": "coin", "claim": "slow", "scale": "smoke", "token": token}
    page = client.post("/runs", data=form)
    assert page.status_code == 429
    assert "Too many runs are waiting" in page.text
    assert "<main" in page.text
    part = client.post("/runs", data=form, headers={"hx-request": "true"})
    assert part.status_code == 429
    assert part.headers["hx-retarget"] == "#notice"
    assert "<main" not in part.text
    lab.cancel(rows(lab)[0].run_id)
    assert ask(client, seeds=50).status_code == 202
    assert len(rows(lab, state="queued")) == MAX_QUEUED


def test_the_limit_holds_when_all_ask_at_once(client, lab):
    with ThreadPoolExecutor(12) as pool:
        codes = list(pool.map(lambda n: ask(client, seeds=3 + n).status_code, range(12)))
    assert codes.count(202) == MAX_QUEUED
    assert codes.count(429) == 12 - MAX_QUEUED
    assert len(rows(lab, state="queued")) == MAX_QUEUED


@pytest.mark.parametrize(("over", "status"), [({"paper": "nobody"}, 404), ({"claim": "nothing"}, 404), ({"paper": "dice"}, 409),
                                              ({"scale": "huge"}, 422), ({"seeds": 0}, 422),
                                              ({"seeds": 10**9}, 422),
                                              ({"points": ["os:system"]}, 422), ({"executor": "ray"}, 422), ({"paper": "../coin"}, 404)])
def test_only_registered_claims_and_scales(client, lab, over, status):
    answer = ask(client, **over)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert rows(lab) == []


def test_a_scale_that_the_claim_lacks(client, lab):
    with pytest.raises(Problem, match="can be tried at: smoke, small"):
        client.app.state.site.ask("coin", "more-is-better", "full")
    assert rows(lab) == []


def test_cancel(client, lab, token):
    run_id = ask(client).json()["run_id"]
    assert client.post(f"/runs/{run_id}/cancel", data={"token": token}).url.path == f"/runs/{run_id}"
    assert rows(lab)[0].state == "cancelled"
    other = ask(client).json()["run_id"]
    assert client.post(f"/api/v1/runs/{other}/cancel").json()["state"] == "cancelled"
    assert client.post("/api/v1/runs/nothing/cancel").status_code == 404
    assert "No verdict" in client.get(f"/runs/{run_id}").text


def test_first_start_queues_what_was_never_tried_and_asks_it_behind_everyone(lab, add_run):
    add_run("slow", "fails")
    with TestClient(create_app(lab=lab, warmup=True, local=True), base_url="http://localhost") as client:
        queued = rows(lab, state="queued")
        assert [(r.slug, r.claim_id, r.scale, r.priority, r.requested_by) for r in queued] == [
            ("coin", c, "smoke", WARMUP_PRIORITY, WARMUP) for c in ("more-is-better", "always-counted")]
        assert "2 runs in line" in client.get("/").text
        for n in range(MAX_QUEUED):  # the warm-up takes nobody's place
            assert ask(client, seeds=3 + n).status_code == 202
        assert ask(client).json()["run_id"] == queued[0].run_id
        assert rows(lab, run_id=queued[0].run_id)[0].priority == 0  # asked for by a person: to the front
    with TestClient(create_app(lab=lab, warmup=True, local=True)):
        assert len(rows(lab, requested_by=WARMUP)) == 2  # a second start adds nothing
    with TestClient(create_app(lab=lab)):
        assert len(rows(lab, requested_by=WARMUP)) == 2


def test_the_panel_of_a_claim_comes_back_for_htmx(client, token):
    part = client.post("/runs", data={"slug": "coin", "claim": "slow", "scale": "smoke", "token": token}, headers={"hx-request": "true"})
    assert part.status_code == 200
    assert "<main" not in part.text
    assert 'id="panel-claim-coin-slow"' in part.text
    assert "in line" in part.text
    assert "data-live" in part.text
