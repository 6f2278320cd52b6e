"""Files taken in by the command: resumed after a kill, years of saved pages, the same rows whatever came first."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from workingpapers.hub import shelf
from workingpapers.hub.shelf.importing import import_file
from workingpapers.hub.tables import ImportRow, PaperRow, PaperSignalRow
from workingpapers.lab import Store

DATA = Path(__file__).parents[1] / "ingest" / "data"


def many(path: Path, n: int) -> Path:
    """A list of n papers, packed."""
    rows = ({"id": f"26{i % 12 + 1:02}.{i:05}", "title": f"Lantern {i} of the long row", "abstract": f"Light {i}. " * 30,
             "authors": [f"Ann A{i}"], "date": "2026-03-03",
             "date_kind": "listed", "categories": ["cs.LG"], "source": "arxiv-api"} for i in range(n))
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def cli(home: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "workingpapers.cli", "ingest", *words]


@pytest.mark.slow
@pytest.mark.sqlite
def test_a_killed_import_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path, home = many(tmp_path / "long.jsonl.gz", 12_000), tmp_path / "home"
    environment = {**os.environ, "WORKINGPAPERS_HOME": str(home)}
    process = subprocess.Popen(cli(home, "jsonl", str(path), "--json"), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    database = home / "workingpapers.sqlite3"
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if database.exists() and _offset(home):
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = _offset(home)
    assert kept > 0
    with _store(home).reading() as session:
        half = session.scalar(select(func.count()).select_from(PaperRow)) or 0
    assert 0 < half < 12_000
    done = subprocess.run(cli(home, "jsonl", str(path), "--json"), env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["resumed_at"] == kept
    assert (report["records"], report["new"]) == (12_000 - half, 12_000 - half)
    again = json.loads(subprocess.run(cli(home, "jsonl", str(path), "--json"), env=environment, capture_output=True, text=True,
                                      timeout=120).stdout)
    assert (again["resumed_at"], again["new"], again["changed"], again["same"]) == (0, 0, 0, 12_000)


def _store(home: Path) -> Store:
    from workingpapers.lab import Settings

    return Store(Settings(home=home))


def _offset(home: Path) -> int:
    try:
        with _store(home).reading() as session:
            return session.scalar(select(ImportRow.offset).where(ImportRow.is_done.is_(False))) or 0
    except Exception:  # the file is being made
        return 0


def test_a_changed_file_of_the_same_name_starts_anew(store: Store, tmp_path: Path) -> None:
    path = many(tmp_path / "x.jsonl.gz", 30)
    assert import_file(store, "jsonl", path, batch=7).counts.new == 30
    many(path, 40)
    assert import_file(store, "jsonl", path).counts.new == 10
    with store.reading() as session:
        assert session.scalar(select(func.count()).select_from(ImportRow)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("saved_on", ["", "2026-03-05"])
def test_a_saved_page_with_and_without_its_day(cli_run: Any, saved_on: str) -> None:
    report = cli_run("page", str(DATA / "page.txt"), *(["--saved-on", saved_on] if saved_on else []))
    assert report["records"] >= 3
    assert (report["warnings"] > 0) or saved_on
    with _store(cli_run.home).reading() as session:
        rows = session.scalars(select(PaperRow)).all()
        assert any(row.author_count is None for row in rows), "an entry without a footer"
        assert all(row.abstract_source == "page" for row in rows if row.abstract)
        assert session.scalar(select(func.count()).select_from(PaperSignalRow).where(PaperSignalRow.name == "comments"))
        assert {row.listed_on.year for row in rows if row.listed_on} == {2026 if saved_on else 2020}, "2019 is the newest year it names"
        assert {row.published_on.year for row in rows if row.published_on} == {2019, 2026 if saved_on else 2020}


class _Cli:
    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *words: str) -> Any:
        done = subprocess.run(cli(self.home, *words, "--json"), env={**os.environ, "WORKINGPAPERS_HOME": str(self.home)},
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def cli_run(tmp_path: Path) -> _Cli:
    return _Cli(tmp_path / "home")


@pytest.mark.slow
@pytest.mark.parametrize("words", [["nonsense", "x"], ["jsonl", "/no/such/file"], ["page", str(DATA / "page.txt"), "--saved-on", "3 March"],
                                   ["hf", "yesterday"], ["bibtex", str(DATA / "page.txt"), "--saved-on", "2026-03-05"]])
def test_wrong_usage_is_one_line_and_code_2(tmp_path: Path, words: list[str]) -> None:
    done = subprocess.run(cli(tmp_path, *words), env={**os.environ, "WORKINGPAPERS_HOME": str(tmp_path)}, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("workingpapers: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_bundled_papers_are_synced_once(store: Store) -> None:
    from workingpapers.papers import load_catalogue

    catalogue = load_catalogue()
    first = shelf.sync_catalogue(store, catalogue)
    assert first.new == len(catalogue.papers) >= 32
    assert shelf.sync_catalogue(store, catalogue).records == 0
    with store.reading() as session:
        assert all(shelf.find(session, paper.slug) is not None for paper in catalogue)
