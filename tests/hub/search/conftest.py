"""Papers in a store of either database, and an embedder small enough to reason about."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workingpapers.hub import tables  # noqa: F401 - on the store's base
from workingpapers.hub.ingest import identity
from workingpapers.hub.search import Model, Searcher
from workingpapers.hub.tables import PaperCategoryRow, PaperRow
from workingpapers.lab import Settings, Store

# Words of one meaning share a direction, so that what is near is known by hand.
EMBEDDER = '''
import hashlib
import re
import numpy as np

MEANINGS = {"cat": "pet", "kitten": "pet", "dog": "pet", "hound": "pet", "stock": "money", "price": "money", "market": "money"}

class Meanings:
    model_id = "meanings"
    dimension = 16
    calls = 0

    def encode(self, texts):
        out = np.zeros((len(texts), 16), np.float32)
        for row, text in zip(out, texts):
            type(self).calls += 1
            for word in re.findall("[a-z]+", text.lower()):
                seed = int.from_bytes(hashlib.sha256(MEANINGS.get(word, word).encode()).digest()[:4], "big")
                row += np.random.default_rng(seed).normal(size=16) * (3 if word in MEANINGS else 1)
            row /= max(1e-9, np.linalg.norm(row))
        return out

def make():
    return Meanings()
'''


@pytest.fixture(scope="session")
def meanings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Name of the small embedder, as the setting takes it."""
    folder = tmp_path_factory.mktemp("embedder")
    (folder / "small_embedder.py").write_text(EMBEDDER)
    sys.path.insert(0, str(folder))
    yield "small_embedder:make"
    sys.path.remove(str(folder))


@pytest.fixture
def store(either: str, tmp_path: Path, empty_store: Path) -> Iterator[Store]:
    """A store on SQLite, then on PostgreSQL."""
    store = Store(Settings(home=tmp_path / "home"))
    yield store
    store.close()


@pytest.fixture
def add(store: Store) -> Callable[..., int]:
    """Writes a paper, as an import would; gives its row's id."""

    def add(title: str, abstract: str = "", *, authors: tuple[str, ...] = (), categories: tuple[str, ...] = (), **more: Any) -> int:
        public_id = more.pop("public_id", None) or "wp:" + hashlib.sha256(f"{title} {abstract}".encode()).hexdigest()[:12]
        with store.writing() as session:
            row = PaperRow(public_id=public_id, title=title, title_key=identity.title_key(title), abstract=abstract, authors=list(authors),
                           categories=list(categories), **more)
            session.add(row)
            session.flush()
            session.add_all([PaperCategoryRow(paper_id=row.id, category=c) for c in categories])
            return row.id

    return add


@pytest.fixture
def find(store: Store, meanings: str) -> Searcher:
    """A searcher with the small embedder."""
    return Searcher(store, Model(meanings))


@pytest.fixture
def words_only(store: Store) -> Searcher:
    """A searcher where no model is installed."""
    return Searcher(store, Model("off"))


def unit(*numbers: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    vector = np.array(numbers, np.float32)
    return vector / np.linalg.norm(vector)
