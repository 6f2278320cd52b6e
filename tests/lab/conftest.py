"""Toy papers in a temporary folder, as a plug-in would bring them, and a lab that knows them."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from workingpapers.lab import Lab, Settings, Store, plots
from workingpapers.papers.catalogue import Catalogue, load_catalogue

_numbers = itertools.count()

HEAD = '''
import os, signal, subprocess, sys, time
from dataclasses import dataclass
from pathlib import Path
from workingpapers.claims import *

@dataclass(frozen=True)
class N(Workload):
    n: int = 50

    @property
    def label(self):
        return f"n={self.n}"

    def load(self, rng):
        return rng.normal(size=self.n)

def count(trial):
    """One line for each attempt at a trial: what really ran, whatever the store says."""
    arm = getattr(trial, "arm", None)
    with open(os.environ["TOY_LOG"], "a") as log:
        log.write(f"{arm.name if arm else '*'}|{trial.seed}|{trial.point.label}\\n")
'''

TOML = '''
title = "A toy"
published = 2025-01-01
listed = 2025-12-26
author_count = 1
task = "toy"
summary = "A toy."
extras = ["vision"]
'''

CLAIM = '''
[[claims]]
id = "{id}"
short = "{id}"
statement = "It is so."
reported = {{figure = "0.1", value = 0.1}}
metric = "error"
metrics = [{{name = "score", better = "higher"}}]
baseline = "old"
rule = "as in claims.py"
scales = {{smoke = "little", small = "more"}}
'''

METHOD = '''
"""The method."""

def estimate(x):
    """Mean of many."""
    return abs(x.mean()) + 1e-9
'''

PLAIN = '''
from .method import estimate

def first(x):
    return abs(x[0]) + 1e-9

@claim("beats", arms={"new": method(estimate), "old": control(first)}, points=at(smoke=[N(100), N(400)], small=[N(200)]), seeds=6,
       rule=all_of(headline(ratio("error", "new", "old") < 1), value("error", "new") < 1))
def beats(trial):
    count(trial)
    time.sleep(float(os.environ.get("TOY_SLEEP", "0")))
    return {"error": trial.arm.build(trial.point.load(trial.rng))}
'''


class Toy:
    """A plug-in package with one paper, `toy`, in a folder of its own."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root, self.log = root, log
        self.package = f"toypapers{os.getpid()}x{next(_numbers)}"
        self.folder = root / self.package / "toy"
        self.module = f"{self.package}.toy.claims"

    def write(self, claims: str = PLAIN, method: str = METHOD, ids: tuple[str, ...] = ("beats",)) -> Toy:
        """Write or overwrite the paper."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.put("../__init__.py", "")
        self.put("__init__.py", "")
        self.put("paper.toml", TOML + "".join(CLAIM.format(id=i) for i in ids))
        self.put("method.py", method)
        self.put("claims.py", HEAD + textwrap.dedent(claims))
        info = self.root / f"{self.package}-1.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {self.package}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[workingpapers.papers]\ntoy = {self.package}.toy\n")
        return self

    def put(self, name: str, text: str) -> None:
        """Write a file so that no byte code of an earlier one passes for it."""
        path = self.folder / name
        later = path.stat().st_mtime + 2 if path.exists() else None
        path.write_text(text)
        if later is not None:
            os.utime(path, (later, later))

    def catalogue(self) -> Catalogue:
        return load_catalogue(self.root / self.package, self.package)

    def lab(self, home: Path | None = None) -> Lab:
        return Lab(Store(Settings(home=home) if home else Settings()), self.catalogue())

    def attempts(self) -> list[str]:
        """What ran, one `arm|seed|point` for each attempt."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def environment(self, **more: str) -> dict[str, str]:
        """For a process of its own that finds the paper as an installed plug-in."""
        path = os.pathsep.join([str(self.root), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {**os.environ, "PYTHONPATH": path, **more}

    def python(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        # A test run in the background of a script inherits an ignored SIGINT, and would hand it on.
        return subprocess.Popen([sys.executable, *arguments], env=self.environment(**more), text=True,
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)

    def cli(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "workingpapers.cli", *arguments], env=self.environment(**more), text=True,
                              capture_output=True, timeout=120)


@pytest.fixture
def toy(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A toy paper; its trials do not wait for those of other labs on this machine. Pictures cost a second: drawn where marked only."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(plots, "render", lambda spec, theme: {"svg": b"<svg/>"})
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    log = tmp_path / "attempts.log"
    monkeypatch.setenv("TOY_LOG", str(log))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    root = tmp_path / "plugins"
    root.mkdir()
    monkeypatch.syspath_prepend(str(root))
    return Toy(root, log).write()


@pytest.fixture
def drawn() -> None:
    """Ask for pictures to be drawn in earnest."""


def eventually(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until `what()` is true; its last value."""
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def wait_for() -> Callable[..., Any]:
    return eventually


@pytest.fixture
def gone() -> Callable[[int], bool]:
    return is_gone
