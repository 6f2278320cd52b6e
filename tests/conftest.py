"""Shared test helpers: what may be absent from a machine, and where a test's data lives."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

STRICT = os.environ.get("WORKINGPAPERS_REQUIRE_ALL") == "1"


def absent(reason: str) -> None:
    """Skip the calling test for want of something; a failure where everything is required."""
    if STRICT:
        pytest.fail(f"required here, but {reason}")
    pytest.skip(reason)


def require(what: str, reason: str | None = None) -> None:
    """Ask for a program on the path (`chromium`), a module (`timm`) or a file (`/usr/share/...`)."""
    if what.startswith("/"):
        found = Path(what).exists()
    else:
        found = shutil.which(what) is not None or importlib.util.find_spec(what) is not None
    if not found:
        absent(reason or f"{what} is not installed")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a data directory of its own; caches of fetched archives are shared."""
    monkeypatch.setenv("WORKINGPAPERS_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest) -> None:
    for marker in request.node.iter_markers("needs"):
        for what in marker.args:
            require(what)
