"""Lines that go dead and workers that are killed: a page sees every event once, a run is lost, tried once more, and no more."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from workingpapers.lab import Lab
from workingpapers.lab.store import RunRow

from .conftest import SHELF, wait_for
from .test_browser import PATIENCE, chromium  # noqa: F401 - a fixture
from .test_live import parse

pytestmark = pytest.mark.slow

WORKER = """
import sys, threading
from pathlib import Path
from workingpapers.lab import Lab, Store
from workingpapers.papers import load_catalogue
Lab(Store(), load_catalogue(Path(sys.argv[1]), sys.argv[2])).work(threading.Event(), 0.05)
"""
RECORD = """window.seen = []; window.opened = 0;
window.EventSource = class extends EventSource {
  constructor(address) {
    super(address);
    super.addEventListener("open", () => { window.opened += 1; });
    this.addEventListener("verdict", () => {});  // the page does not listen to it
  }
  addEventListener(kind, act) {
    super.addEventListener(kind, (event) => { if (event.lastEventId) window.seen.push(Number(event.lastEventId)); act(event); });
  }
};"""


class Proxy:
    """A way to the site that can be cut: every open connection at once."""

    def __init__(self, address: str) -> None:
        self._target = (urlsplit(address).hostname, urlsplit(address).port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._open |= {near, far}
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(a, b), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()


@pytest.fixture
def proxy(served: str) -> Iterator[Proxy]:
    made = Proxy(served)
    yield made
    made.close()


@pytest.fixture
def worker(shelf: Path, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts workers of the queue as processes of their own."""
    started = []

    def start() -> subprocess.Popen[bytes]:
        paths = os.pathsep.join([str(shelf.parent), *sys.path])
        environment = {**os.environ, "PYTHONPATH": paths, "WORKINGPAPERS_WORKERS": "1"}
        started.append(subprocess.Popen([sys.executable, "-c", WORKER, str(shelf), SHELF], env=environment, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(lab: Lab, seeds: int) -> str:
    return lab.enqueue("coin", ["slow"], seeds=seeds, requested_by="hub")[0].run_id


def row_of(lab: Lab, run_id: str) -> RunRow:
    with lab.store.reading() as session:
        return session.query(RunRow).filter_by(run_id=run_id).one()


class Follower:
    """Follows a run in a thread over lines that are cut: comes back each time with the number it saw last, as browsers do."""

    def __init__(self, address: str, run_id: str) -> None:
        self.events: list[tuple[int, str, Any]] = []
        self.lines = 0
        self._url = f"{address}/api/v1/runs/{run_id}/events?after=0"
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while True:
            headers = {"last-event-id": str(self.events[-1][0])} if self.events else {}
            with contextlib.suppress(httpx.HTTPError), httpx.stream("GET", self._url, headers=headers, timeout=60) as stream:
                if stream.status_code == 204:
                    return
                self.lines += 1
                block = ""
                for line in stream.iter_lines():
                    block += line + "\n"
                    if not line:
                        self.events += [(i, kind, data) for i, kind, data in parse(block) if i is not None]
                        block = ""

    @property
    def ids(self) -> list[int]:
        return [i for i, _, _ in self.events]

    def trials(self) -> int:
        return sum(1 for _, kind, _ in self.events if kind == "trial")

    def is_over(self) -> bool:
        return not self._thread.is_alive()


def test_a_worker_that_is_killed_is_told_of_and_its_run_tried_once_more(lab: Lab, proxy: Proxy, worker: Any, client: Any) -> None:
    """Through lines that are cut three times besides: the events come each once, in order, up to the verdict."""
    run_id = ask(lab, seeds=6)
    follower = Follower(proxy.address, run_id)
    first = worker()
    wait_for(lambda: follower.trials() >= 2)
    proxy.cut()
    first.kill()
    first.wait()
    assert row_of(lab, run_id).state == "running"
    assert "trying now" in client.get(f"/runs/{run_id}").text
    worker()
    for n in (4, 7):
        wait_for(lambda n=n: follower.trials() >= n)
        proxy.cut()
    wait_for(follower.is_over)
    row = row_of(lab, run_id)
    assert (row.state, row.attempts) == ("done", 2)
    assert row.verdict is not None
    assert follower.lines >= 4
    assert follower.ids == list(range(1, len(follower.ids) + 1)), "none lost, none twice"
    assert [d["state"] for _, kind, d in follower.events if kind == "state"] == ["running", "lost", "running"]
    assert [kind for _, kind, _ in follower.events][-1] == "done"
    trials = [(d["arm"], d["seed"]) for _, kind, d in follower.events if kind == "trial"]
    assert len(trials) == len(set(trials)) == 12, "what was finished before is not run again"


def test_a_run_whose_second_worker_dies_too_stays_lost_and_says_so(lab: Lab, served: str, worker: Any, client: Any) -> None:
    run_id = ask(lab, seeds=20)
    follower = Follower(served, run_id)
    for n in (1, 2):
        with lab.store.reading() as session:  # what the follower was told so far may lag behind
            before = sum(e.kind == "trial" for e in session.query(RunRow).filter_by(run_id=run_id).one().events)
        process = worker()
        wait_for(lambda before=before: follower.trials() > before)
        assert row_of(lab, run_id).attempts == n
        process.kill()
        process.wait()
    worker()
    wait_for(follower.is_over)
    assert [d["state"] for _, kind, d in follower.events if kind in ("state", "done")] == ["running", "lost", "running", "lost", "lost"]
    text = client.get(f"/runs/{run_id}").text
    assert "No verdict" in text
    assert "its process ended without a word" in text
    assert "was lost before a verdict" in " ".join(client.get("/papers/coin").text.split())
    assert row_of(lab, run_id).state == "lost", "once more, not for ever"


@pytest.mark.needs("chromium", "playwright")
def test_a_browser_whose_line_is_cut_thrice_misses_nothing(lab: Lab, proxy: Proxy, working: None, chromium: Any) -> None:  # noqa: F811
    run_id = ask(lab, seeds=12)
    page = chromium.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    page.add_init_script(RECORD)
    page.goto(f"{proxy.address}/runs/{run_id}")
    page.evaluate("window.stayed = true")
    for n in range(1, 4):
        page.wait_for_function("n => window.opened >= n && new Set(window.seen).size >= 4 * n", arg=n, timeout=PATIENCE)
        proxy.cut()
    page.locator(".outcome .word .verdict").wait_for(timeout=PATIENCE)
    assert page.evaluate("window.stayed")
    with lab.store.reading() as session:
        last = max(e.seq for e in session.query(RunRow).filter_by(run_id=run_id).one().events)
    seen = page.evaluate("window.seen")
    assert seen == sorted(set(seen)), "none twice"
    assert seen == list(range(seen[0], last + 1)), "none lost"
    page.context.close()


@pytest.mark.needs("chromium", "playwright")
def test_a_page_whose_last_request_fails_asks_again(lab: Lab, served: str, working: None, chromium: Any) -> None:  # noqa: F811
    """The line dies between the last event and the verdict that it announces; then the server answers nonsense once."""
    run_id = ask(lab, seeds=4)
    page = chromium.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    faults = ["abort", "503"]

    def fail(route: Any) -> None:
        is_over = row_of(lab, run_id).verdict is not None
        if "hx-request" not in route.request.headers or not is_over or not faults:
            route.continue_()
        elif faults.pop(0) == "abort":
            route.abort()
        else:
            route.fulfill(status=503, body="starting")

    page.route(f"**/runs/{run_id}", fail)
    page.goto(f"{served}/runs/{run_id}")
    page.evaluate("window.stayed = true")
    page.locator(".outcome .word .verdict").wait_for(timeout=PATIENCE)
    assert page.evaluate("window.stayed")
    assert not faults
    page.context.close()
