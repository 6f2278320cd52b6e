"""From the button to the verdict, with the real lab."""

from __future__ import annotations

import json

import pytest

from .conftest import wait_for


@pytest.mark.slow
def test_button_progress_verdict_plot(client, token, working):
    page = client.post("/runs", data={"slug": "coin", "claim": "more-is-better", "scale": "smoke", "token": token})
    run_id = page.url.path.rpartition("/")[2]
    kinds = [line[7:] for line in client.get(f"/api/v1/runs/{run_id}/events").text.splitlines() if line.startswith("event: ")]
    assert kinds[-1] == "done"
    assert kinds.count("trial") == 60
    assert "verdict" in kinds
    found = client.get(f"/api/v1/runs/{run_id}").json()
    assert found["verdict"] == "holds"
    assert found["interval"][1] < 0.5
    text = client.get(f"/runs/{run_id}").text
    assert "holds here" in text
    assert f"/runs/{run_id}/plots/verdict.light.svg" in text
    assert "Numbers of this plot" in text
    picture = client.get(f"/runs/{run_id}/plots/verdict.dark.svg")
    assert picture.status_code == 200
    assert b"<svg" in picture.content
    assert client.get(f"/runs/{run_id}/plots/verdict.light.png").content.startswith(b"\x89PNG")
    assert json.loads(client.get(f"/api/v1/runs/{run_id}/export").text)["runs"][0]["trial_rows"]
    assert 'class="verdict holds"' in client.get("/").text
    assert "made with an earlier version" not in client.get("/papers/coin").text


def test_cancel_while_it_runs(client, token, working):
    run_id = client.post("/api/v1/runs", json={"paper": "coin", "claim": "slow", "seeds": 30}).json()["run_id"]
    wait_for(lambda: client.get(f"/api/v1/runs/{run_id}").json()["state"] == "running")
    assert "Cancel this run" in client.get(f"/runs/{run_id}").text
    client.post(f"/runs/{run_id}/cancel", data={"token": token})
    wait_for(lambda: client.get(f"/api/v1/runs/{run_id}").json()["state"] == "cancelled")
    text = client.get(f"/runs/{run_id}").text
    assert "No verdict" in text
    assert f"workingpapers resume {run_id}" in text
