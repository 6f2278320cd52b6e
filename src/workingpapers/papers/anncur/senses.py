"""The workload: WordNet senses under a small trained cross-encoder, with the score matrices shipped beside this file.

Queries and items are verbs of WordNet 3.0 (licence in `data/WORDNET-LICENCE.txt`), scores those of `SenseCrossEncoder`,
700 queries x 2,000 items, both heads. `scripts/anncur` drew, trained and scored. No query, nor its sense, was seen in training.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workingpapers.claims import Workload, untested

Progress = Callable[[float, str], None]

Head = Literal["cls", "emb"]


def data() -> Traversable:
    """The folder of shipped artefacts."""
    return resources.files("workingpapers.papers.anncur") / "data"


@dataclass(frozen=True)
class Task:
    """A score matrix with its texts, its queries split into those of the index and those of the test.

    Attributes:
        scores: (Q, N) float32.
        queries, items: texts, lengths Q and N.
        index, test: rows of `scores`; they share none.
    """

    scores: NDArray[np.float32]
    queries: tuple[str, ...]
    items: tuple[str, ...]
    index: NDArray[np.int64]
    test: NDArray[np.int64]

    @property
    def anchor_rows(self) -> NDArray[np.float32]:
        """R, (n_q, N)."""
        return self.scores[self.index]

    @property
    def test_rows(self) -> NDArray[np.float32]:
        """(q, N), what the search must find the top of."""
        return self.scores[self.test]


@functools.lru_cache(maxsize=1)
def texts() -> tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]:
    """Queries (700), items (2,000), and the item that is each query's sense."""
    content = json.loads((data() / "senses.json").read_text(encoding="utf-8"))
    return tuple(content["queries"]), tuple(content["items"]), tuple(content["gold"])


@functools.lru_cache(maxsize=2)
def matrix(head: Head) -> NDArray[np.float32]:
    """The stored scores (700, 2000) of one head."""
    with (data() / "scores.npz").open("rb") as file:
        scores: NDArray[np.float32] = np.load(file, allow_pickle=False)[head].astype(np.float32)
    return scores


@dataclass(frozen=True)
class Senses(Workload):
    """Sense linking with stored scores.

    Args:
        queries, items: the first so many of the 700 and 2,000 (the first 150 x 400 form a whole task of their own).
        test: how many queries the test takes; the rest are the index's. A seed redraws which.
        head: which variant's scores.
    """

    queries: int = 150
    items: int = 400
    test: int = 50
    head: Head = "cls"

    @property
    def label(self) -> str:
        return f"{self.queries} queries x {self.items:,} senses" + ("" if self.head == "cls" else f" [{self.head.upper()}]")

    def load(self, rng: np.random.Generator) -> Task:
        queries, items, _ = texts()
        order = rng.permutation(self.queries)
        scores = np.ascontiguousarray(matrix(self.head)[: self.queries, : self.items])
        index, test = np.sort(order[self.test :]), np.sort(order[: self.test])
        return Task(scores, queries[: self.queries], items[: self.items], index, test)

    def data_hash(self) -> str:
        block = np.ascontiguousarray(matrix(self.head)[: self.queries, : self.items])
        return hashlib.sha256(block.tobytes() + "\n".join((*texts()[0], *texts()[1])).encode()).hexdigest()


@dataclass(frozen=True)
class Zeshel(Workload):
    """A ZeShEL world under the published cross-encoder, from the user's own copy.

    `WORKINGPAPERS_ZESHEL` names a folder with `<world>/<head>.npz`, holding `scores` (mentions x entities) and the texts
    `queries`, `items` as arrays of strings: what `eval/run_cross_encoder_for_ment_ent_matrix_zeshel.py` of the official code computes
    (float16 halves the size), converted. It takes a GPU and the checkpoints nishantyadav/emb_crossenc_zeshel.
    """

    world: str
    test: int = 1000
    head: Head = "emb"

    @property
    def label(self) -> str:
        return f"ZeShEL {self.world} [{self.head.upper()}]"

    def _file(self) -> Path:
        named = os.environ.get("WORKINGPAPERS_ZESHEL")
        if not named:
            untested("ZeShEL's score matrices are not here: make them with the official code and name their folder by WORKINGPAPERS_ZESHEL")
        path = Path(named) / self.world / f"{self.head}.npz"
        if not path.is_file():
            untested(f"no {self.world}/{self.head}.npz in the folder of WORKINGPAPERS_ZESHEL")
        return path

    def prepare(self, progress: Progress) -> None:
        self._file()

    def load(self, rng: np.random.Generator) -> Task:
        with np.load(self._file(), allow_pickle=False) as content:
            scores = content["scores"].astype(np.float32)
            queries, items = tuple(content["queries"].tolist()), tuple(content["items"].tolist())
        order = rng.permutation(len(scores))
        return Task(scores, queries, items, np.sort(order[self.test :][:500]), np.sort(order[: self.test]))

    def data_hash(self) -> str:
        with self._file().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
