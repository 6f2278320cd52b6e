"""A shelf of small papers that really run, a lab on it, the site over it, and rows for what has happened before."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from workingpapers.hub import create_app
from workingpapers.lab import Lab, Settings, Store
from workingpapers.lab.store import CheckRow, EventRow, FileRow, MeasurementRow, RunRow, TrialRow, now
from workingpapers.papers import load_catalogue

SHELF = "hub_shelf"

COIN = '''
title = "Tossing <b>coins</b> & counting: a paper with \\"hostile\\" words"
published = 2024-03-01
listed = 2025-12-26
author_count = 3
arxiv = "2403.00001"
code = { url = "https://example.org/coin", licence = "none" }
task = "tossing coins"
tags = ["chance"]
summary = "For people who toss coins. Counting more tosses gives a better guess."
not_verified = ["Coins made of gold."]

[[claims]]
id = "more-is-better"
short = "More tosses, smaller error"
statement = "The error of a guess from 400 tosses is less than half of that from 3."
reported = { figure = "ten times smaller", where = "table 1", value = 0.1 }
metric = "error"
baseline = "3 tosses"
rule = "The ratio of errors lies below 0.5."
scales = { smoke = "400 tosses", small = "4,000 tosses" }
seconds = { small = 90 }
ours = ["The threshold 0.5."]

[[claims]]
id = "always-counted"
short = "Every toss is counted"
statement = "No toss is lost."
metric = "lost"
baseline = "nothing"
rule = "No trial loses a toss."
scales = { smoke = "30 tosses" }

[[claims]]
id = "slow"
short = "Slow coins"
statement = "Slow coins land too."
metric = "landed"
unit = "%"
better = "higher"
baseline = "quick coins"
rule = "Not worse by more than 1 point."
scales = { smoke = "slow coins" }
'''

CLAIMS = '''
from dataclasses import dataclass
import time
import numpy as np
from workingpapers.claims import Workload, at, baseline, bound, claim, headline, method, not_worse, ratio, all_of

@dataclass(frozen=True)
class Coin(Workload):
    n: int
    def load(self, rng):
        return rng.integers(0, 2, self.n)

def guess(tosses, n):
    return float(tosses[:n].mean())

@claim("more-is-better", arms={"many": method(guess, n=400), "few": baseline(guess, n=3)}, points=at(smoke=[Coin(400)], small=[Coin(4000)]),
       seeds=30, rule=all_of(headline(ratio("error", "many", "few") < 0.5)))
def more_is_better(trial):
    return {"error": abs(trial.arm.build(trial.point.load(trial.rng)) - 0.5) + 1e-3}

@claim("always-counted", arms={"count": method(len)}, points=[Coin(30)], seeds=3, rule=bound("lost", "count") <= 0)
def always_counted(trial):
    return {"lost": 30 - trial.arm.build(trial.point.load(trial.rng))}

@claim("slow", arms={"slow": method(len), "quick": baseline(len)}, points=[Coin(10)], seeds=4,
       rule=not_worse("landed", "slow", "quick", by=1.0, better="higher"))
def slow(trial):
    time.sleep(0.3)
    return {"landed": 10.0 * trial.arm.build(trial.point.load(trial.rng)) + trial.rng.normal()}
'''

LISTED = COIN.replace("Tossing <b>coins</b> & counting: a paper with \\\"hostile\\\" words", "Dice, listed only").replace(
    "tossing coins", "rolling dice").replace("2024-03-01", "2024-05-01").replace("2403.00001", "2405.00001")

_numbers = itertools.count(1)


def check(**over: Any) -> dict[str, Any]:
    """The body of a check as the lab stores it."""
    return {"name": "error of many / few < 0.5", "rule": "error of many / few < 0.5", "kind": "compare", "verdict": "holds",
            "estimate": 0.2, "interval": [0.1, 0.4], "threshold": 0.5, "better": "lower", "scale": "log", "n_seeds": 12, "counts": None,
            "headline": True, "group": [], "reason": "", "metric": "error", "point": None, "also": {}} | over


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of papers on the path: `coin` runs, `dice` is listed."""
    root = tmp_path / "shelf"
    for slug, facts in (("coin", COIN), ("dice", LISTED)):
        folder = root / SHELF / slug
        folder.mkdir(parents=True)
        (folder / "paper.toml").write_text(facts, encoding="utf-8")
    (root / SHELF / "__init__.py").write_text("")
    (root / SHELF / "coin" / "__init__.py").write_text(
        '"""Coins.\n\n>>> guess([0, 1], 2)\n0.5\n"""\nfrom .claims import guess\n__all__ = ["guess"]\n')
    (root / SHELF / "coin" / "claims.py").write_text(CLAIMS)
    monkeypatch.syspath_prepend(str(root))
    yield root / SHELF
    for name in [n for n in sys.modules if n.partition(".")[0] == SHELF]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy: migrating anew takes longer than most tests."""
    settings = Settings(home=tmp_path_factory.mktemp("empty"), database="")
    Store(settings).close()
    return settings.home / "workingpapers.sqlite3"


@pytest.fixture
def lab(shelf: Path, tmp_path: Path, empty_store: Path) -> Iterator[Lab]:
    settings = Settings(home=tmp_path / "home", workers=2)
    settings.home.mkdir()
    if not settings.database:
        shutil.copy(empty_store, settings.home)
    store = Store(settings)
    yield Lab(store, load_catalogue(shelf, SHELF))
    store.close()


@pytest.fixture
def app(lab: Lab) -> FastAPI:
    return create_app(lab=lab, local=True)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://localhost") as client:
        yield client


@pytest.fixture
def token(client: TestClient) -> str:
    """The form token of this client's cookie."""
    return form_token_of(client)


def form_token_of(client: TestClient) -> str:
    text = client.get("/papers/coin").text
    return text.partition('name="token" value="')[2].partition('"')[0]


@pytest.fixture
def add_run(lab: Lab) -> Callable[..., str]:
    """Writes a finished (or other) run as the lab would have, with two trials a seed."""

    def add(claim_id: str = "more-is-better", verdict: str | None = "holds", *, checks: list[dict[str, Any]] | None = None,
            slug: str = "coin", trials: int = 3, files: list[FileRow] | None = None, **over: Any) -> str:
        run_id = f"r{next(_numbers):06d}"
        moment = now()
        values = {"run_id": run_id, "batch_id": f"b{run_id}", "slug": slug, "claim_id": claim_id, "scale": "smoke", "state": "done",
                  "verdict": verdict, "started_at": moment, "ended_at": moment, "seconds": 3.2, "requested_by": "hub",
                  "plan": {"arms": {"many": "method", "few": "baseline"}},
                  "environment": {"cpu": "a processor", "cores": 2, "packages": {"numpy": "2.0"}}} | over
        with lab.store.writing() as session:
            row = RunRow(**values)
            row.checks = [CheckRow(position=i, is_headline=i == 0, name=b["name"], verdict=b["verdict"], body=b)
                          for i, b in enumerate([check(verdict=verdict)] if checks is None and verdict else checks or [])]
            row.trials = [TrialRow(part="more_is_better", arm=arm, seed=seed, point="Coin(400)", state="done", seconds=0.1, ended_at=moment,
                                   measurements=[MeasurementRow(arm=arm, metric="error", value=0.1 + 0.01 * seed)])
                          for seed in range(trials) for arm in ("many", "few")]
            row.files = files or []
            session.add(row)
        return run_id

    return add


@pytest.fixture
def add_event(lab: Lab) -> Callable[[str, int, str, dict[str, Any]], None]:
    def add(run_id: str, seq: int, kind: str, payload: dict[str, Any]) -> None:
        with lab.store.writing() as session:
            pk = session.query(RunRow.id).filter_by(run_id=run_id).scalar()
            session.add(EventRow(run_pk=pk, seq=seq, kind=kind, payload=payload))

    return add


@pytest.fixture
def working(lab: Lab) -> Iterator[None]:
    """A worker of the queue in a thread of this process."""
    stop = threading.Event()
    thread = threading.Thread(target=lab.work, args=(stop, 0.05), daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join(30)


@pytest.fixture
def served(app: FastAPI) -> Iterator[str]:
    """The site behind a real port of this machine; gives its address."""
    with serving(app) as address:
        yield address


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    app.state.site.stopping.set()
    server.should_exit = True
    thread.join(10)


def wait_for(what: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Ask again until the answer is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s in vain")
