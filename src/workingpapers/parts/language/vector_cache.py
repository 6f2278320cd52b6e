"""Vectors on disk by the hash of their text: one SQLite file that several processes may share."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 500


class VectorCache:
    """Float32 vectors of one model, keyed by SHA-256 of model and text.

    Args:
        path: the file; created with its folder when missing.
        model_id: vectors of different models never meet.
        dimension: length of a vector; a stored vector of another length counts as absent.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = VectorCache(Path(folder) / "vectors.db", "model", 2)
        ...     cache.put({"a text": np.array([0.6, 0.8], np.float32)})
        ...     cache.get(["a text", "another"])
        {'a text': array([0.6, 0.8], dtype=float32)}
    """

    def __init__(self, path: Path, model_id: str, dimension: int) -> None:
        self._path, self._model, self._dimension = path, model_id, dimension
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as database:
            database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")

    def get(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors that are there, by text."""
        by_key = {self._key(text): text for text in texts}
        keys = list(by_key)
        found: dict[str, NDArray[np.float32]] = {}
        with self._open() as database:
            for i in range(0, len(keys), _AT_ONCE):
                some = keys[i : i + _AT_ONCE]
                marks = ",".join("?" * len(some))
                for key, value in database.execute(f"SELECT key, value FROM vectors WHERE key IN ({marks})", some):
                    if len(value) == 4 * self._dimension:
                        found[by_key[key]] = np.frombuffer(value, "<f4").copy()
        return found

    def put(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep vectors; one transaction, so a kill leaves all or none of them."""
        rows = [(self._key(text), np.ascontiguousarray(v, "<f4").tobytes()) for text, v in vectors.items()]
        with self._open() as database:
            database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self._model}\0{text}".encode(errors="surrogatepass")).digest()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        # opened anew each time: a connection must not cross a fork
        with closing(sqlite3.connect(self._path, timeout=30)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            with database:
                yield database
