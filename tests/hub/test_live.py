"""Server-sent events: nothing lost, nothing twice, an end."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from workingpapers.hub import live
from workingpapers.lab.store import RunRow


def parse(text):
    """Events of a stream as (id, kind, data); comments and the retry line apart."""
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if "event" in fields:
            events.append((int(fields["id"]) if "id" in fields else None, fields["event"], json.loads(fields["data"])))
    return events


@pytest.fixture
def finished(add_run, add_event):
    run_id = add_run()
    for seq, (kind, payload) in enumerate([("state", {"state": "running"}), ("progress", {"done": 1, "total": 2}),
                                           ("verdict", {"verdict": "holds"}), ("done", {"state": "done"})], 1):
        add_event(run_id, seq, kind, payload)
    return run_id


def test_whole_stream_then_end(client, finished):
    answer = client.get(f"/api/v1/runs/{finished}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.text.startswith("retry: ")
    assert [(i, k) for i, k, _ in parse(answer.text)] == [(1, "state"), (2, "progress"), (3, "verdict"), (4, "done")]


@pytest.mark.parametrize("last", range(1, 4))
def test_last_event_id_resumes(client, finished, last):
    for found in (client.get(f"/api/v1/runs/{finished}/events", headers={"last-event-id": str(last)}),
                  client.get(f"/api/v1/runs/{finished}/events?after={last}")):
        assert [i for i, _, _ in parse(found.text)] == list(range(last + 1, 5))


def test_nothing_more_tells_the_browser_to_stay_away(client, finished):
    assert client.get(f"/api/v1/runs/{finished}/events", headers={"last-event-id": "4"}).status_code == 204


@pytest.mark.parametrize("last", ["nonsense", "-1", "9" * 40, "²"])
def test_a_senseless_last_event_id_starts_over(client, finished, last):
    answer = client.get(f"/api/v1/runs/{finished}/events", headers={"last-event-id": last.encode()})
    assert len(parse(answer.text)) == 4


def test_unknown_run(client):
    assert client.get("/api/v1/runs/nothing/events").status_code == 404


def test_a_run_without_events_ends_too(client, add_run, monkeypatch):
    monkeypatch.setattr(live, "POLL", 0.01)
    assert parse(client.get(f"/api/v1/runs/{add_run(origin='imported')}/events").text) == [(None, "done", {"state": "done"})]


def test_dropped_thrice_nothing_lost_nothing_twice(served, lab, add_run, add_event):
    """A client that loses its connection over and over sees each event once, while they are being written."""
    run_id = add_run("slow", None, state="running", ended_at=None)
    seen: list[int] = []
    written = 0
    for drop in range(4):
        for _ in range(3):
            written += 1
            add_event(run_id, written, "progress", {"done": written, "total": 12})
        if drop == 3:
            add_event(run_id, written + 1, "done", {"state": "done"})
            with lab.store.writing() as session:
                session.query(RunRow).filter_by(run_id=run_id).update({"state": "done", "verdict": "holds"})
        headers = {"last-event-id": str(seen[-1])} if seen else {}
        with httpx.stream("GET", f"{served}/api/v1/runs/{run_id}/events", headers=headers, timeout=10) as stream:
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    seen.append(int(line[4:]))
                    if drop < 3 and seen[-1] == written:
                        break  # the line goes dead
    assert seen == list(range(1, 14))


def test_silence_is_filled_with_comments_and_the_queue_is_told(app, add_run):
    run_id = add_run("slow", None, state="queued", ended_at=None)
    add_run("slow", None, state="running", ended_at=None)

    async def listen():
        found = []
        async for text in live.stream(app.state.site, run_id, 0, poll=0.01, keepalive=0.05):
            found.append(text)
            if text.startswith(":"):
                return found

    found = asyncio.run(asyncio.wait_for(listen(), 10))
    assert found[1] == 'event: queue\ndata: {"ahead": 1}\n\n'
    assert found[-1].startswith(":")


def test_streams_end_when_the_server_does(app, add_run):
    run_id = add_run("slow", None, state="running", ended_at=None)

    async def listen():
        site = app.state.site
        stream = live.stream(site, run_id, 0, poll=30)
        await anext(stream)
        asyncio.get_running_loop().call_later(0.1, site.stopping.set)
        return [text async for text in stream]

    assert asyncio.run(asyncio.wait_for(listen(), 10)) == []


def test_an_old_end_does_not_end_a_run_that_goes_on(app, add_run, add_event):
    """A run that was cancelled and resumed has an earlier `done` among its events."""
    run_id = add_run("slow", None, state="running", ended_at=None)
    for seq, kind in enumerate(["state", "done", "state", "progress"], 1):
        add_event(run_id, seq, kind, {})

    async def listen():
        found = []
        async for text in live.stream(app.state.site, run_id, 0, poll=0.01, keepalive=0.05):
            found.append(text)
            if text.startswith(":"):
                return found

    kinds = [k for _, k, _ in parse("".join(asyncio.run(asyncio.wait_for(listen(), 10))))]
    assert kinds == ["state", "state", "progress"]
