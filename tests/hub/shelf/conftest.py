"""A store for papers alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from workingpapers.lab import Settings, Store


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Iterator[Store]:
    settings = Settings(home=tmp_path / "papers")
    settings.home.mkdir()
    shutil.copy(empty_store, settings.home)
    store = Store(settings)
    yield store
    store.close()
