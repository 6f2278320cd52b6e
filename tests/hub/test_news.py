"""Live events on PostgreSQL come by notification: one listener a web process, made again when its connection breaks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from workingpapers.hub import create_app, news
from workingpapers.lab import Lab, Settings, Store
from workingpapers.papers import load_catalogue

from .conftest import SHELF, serving, wait_for

LISTENERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'workingpapers_runs' AND datname = current_database()"


@pytest.fixture
def lab(shelf: Any, tmp_path: Any, postgres_url: str) -> Any:
    """On PostgreSQL, whatever the other tests run on."""
    store = Store(Settings(home=tmp_path / "home", database=postgres_url))
    yield Lab(store, load_catalogue(shelf, SHELF))
    store.close()


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listening site does not ask by itself within any test."""
    monkeypatch.setattr(news, "SAFETY", 600.0)


def listeners(lab: Lab) -> list[int]:
    with lab.store.reading() as session:
        return list(session.scalars(text(LISTENERS)))


class Follower:
    """Reads a stream in a thread; `ids` are the numbers of the events so far."""

    def __init__(self, address: str, run_id: str) -> None:
        self.ids: list[int] = []
        self.kinds: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(f"{address}/api/v1/runs/{run_id}/events",), daemon=True)
        self._thread.start()

    def _read(self, url: str) -> None:
        with httpx.stream("GET", url, timeout=60) as stream:
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    self.ids.append(int(line[4:]))
                elif line.startswith("event: "):
                    self.kinds.append(line[7:])

    def is_over(self) -> bool:
        return not self._thread.is_alive()


@pytest.mark.slow
def test_events_arrive_by_notification(lab: Lab, add_run: Callable[..., str], add_event: Any, seldom: None) -> None:
    app = create_app(lab=lab)
    with serving(app) as address:
        wait_for(lambda: app.state.site.news.is_listening, 20)
        first, other = (add_run("slow", None, state="running", ended_at=None) for _ in range(2))
        followers = [Follower(address, run) for run in (first, first, other)]
        for seq in range(1, 4):
            add_event(first, seq, "progress", {"done": seq, "total": 4})
            wait_for(lambda seq=seq: [f.ids for f in followers[:2]] == [list(range(1, seq + 1))] * 2, 20)
        assert followers[2].ids == []
        assert len(listeners(lab)) == 1, "one connection, however many streams"
        with lab.store.writing() as session:
            session.execute(text("UPDATE runs SET state = 'done' WHERE run_id = :run"), {"run": first})
        add_event(first, 4, "done", {"state": "done"})
        wait_for(lambda: followers[0].is_over() and followers[1].is_over(), 20)
        assert followers[0].ids == [1, 2, 3, 4]
    wait_for(lambda: listeners(lab) == [], 20)


def test_the_place_in_the_queue_is_told_when_another_run_moves(lab: Lab, add_run: Callable[..., str], seldom: None) -> None:
    app = create_app(lab=lab)
    with serving(app) as address:
        wait_for(lambda: app.state.site.news.is_listening, 20)
        before = add_run("slow", None, state="running", ended_at=None)
        follower = Follower(address, add_run("slow", None, state="queued", ended_at=None))
        wait_for(lambda: follower.kinds == ["queue"], 20)
        with lab.store.writing() as session:
            session.execute(text("UPDATE runs SET state = 'done' WHERE run_id = :run"), {"run": before})
        wait_for(lambda: follower.kinds == ["queue", "queue"], 20)


@pytest.mark.slow
def test_a_broken_connection_is_made_again_and_nothing_is_lost(lab: Lab, add_run: Callable[..., str], add_event: Any, seldom: None) -> None:
    app = create_app(lab=lab)
    with serving(app) as address:
        wait_for(lambda: app.state.site.news.is_listening, 20)
        run = add_run("slow", None, state="running", ended_at=None)
        follower = Follower(address, run)
        for seq in range(1, 4):
            [pid] = listeners(lab)
            with lab.store.writing() as session:
                session.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            add_event(run, 2 * seq - 1, "progress", {"done": seq, "total": 9})  # while nobody listens
            wait_for(lambda pid=pid: [p for p in listeners(lab) if p != pid] and app.state.site.news.is_listening, 20)
            add_event(run, 2 * seq, "progress", {"done": seq, "total": 9})
            wait_for(lambda seq=seq: follower.ids == list(range(1, 2 * seq + 1)), 20)


@pytest.mark.sqlite
def test_without_notifications_streams_ask_every_half_second(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKINGPAPERS_DATABASE", "")
    store = Store(Settings(home=tmp_path / "home", database=""))

    async def started() -> float:
        bells = news.News(store)
        bells.start()
        pause = bells.pause
        bells.stop()
        return pause

    assert asyncio.run(started()) == news.POLL == 0.5
    store.close()
