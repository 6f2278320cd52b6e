"""What CUR search is compared with: cheap first stages whose best B items are scored by the cross-encoder.

Each first stage is `fit(task)` on what the index may see (item texts, anchor queries and their scores) and then ranks all items
for the test queries. Each chooses its own settings on the anchor queries, as CUR search does, at no further call.
"""

from __future__ import annotations

import functools
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workingpapers.papers.anncur.recall import recall_at_k
from workingpapers.papers.anncur.search import top
from workingpapers.papers.anncur.senses import Task

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def plain(query: str) -> str:
    """The query without its marks."""
    return re.sub(r"\s+", " ", query.replace("«", "").replace("»", "")).strip()


def reranked(task: Task, ranking: Floats, budget: int, k: int) -> NDArray[np.int64]:
    """The k best by exact score of the `budget` items ranked first: (q, k) indices, best first."""
    found = top(ranking, budget)
    exact = np.take_along_axis(task.test_rows, found, 1)
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(found, order, 1)


def covered(rows: Floats, ranking: Floats, budget: int, k: int = 10) -> float:
    """Mean share of the top k of `rows` among the `budget` items ranked first: what reranking will find."""
    found = top(ranking, budget)
    exact = np.take_along_axis(rows, found, 1)
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    return float(recall_at_k(rows, np.take_along_axis(found, order, 1), k).mean())


class FirstStage(ABC):
    """A way to rank items without the cross-encoder; the best of its `settings` on the anchor queries is taken."""

    @abstractmethod
    def settings(self) -> Sequence[Any]:
        """What is tried."""

    @abstractmethod
    def scores(self, task: Task, rows: NDArray[np.int64], setting: Any, seen: NDArray[np.int64]) -> Floats:
        """Scores (len(rows), N) of the queries in `rows`; of the score matrix only the rows `seen` may be looked at."""

    def rank(self, task: Task, budget: int, k: int = 10) -> Floats:
        """Scores (q, N) for the test queries, by the setting that covers most of the anchor queries' top k."""
        options = list(self.settings())
        if len(options) == 1:
            return self.scores(task, task.test, options[0], task.index)
        tried = [covered(task.anchor_rows, self.held_out(task, setting), budget, k) for setting in options]
        return self.scores(task, task.test, options[int(np.argmax(tried))], task.index)

    def held_out(self, task: Task, setting: Any) -> Floats:
        """Scores of the anchor queries as if they were new. For first stages that learn nothing from scores: simply their scores."""
        return self.scores(task, task.index, setting, task.index)


class RandomItems(FirstStage):
    """Control: `budget` items at random."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def settings(self) -> Sequence[Any]:
        return [None]

    def scores(self, task: Task, rows: NDArray[np.int64], setting: Any, seen: NDArray[np.int64]) -> Floats:
        return np.random.default_rng([self.seed, 5]).random((len(rows), len(task.items)), dtype=np.float32)


class TfIdf(FirstStage):
    """Cosine of TF-IDF vectors by scikit-learn, over words or character n-grams."""

    def settings(self) -> Sequence[Any]:
        return [("word", (1, 1)), ("word", (1, 2)), ("char_wb", (3, 5))]

    def scores(self, task: Task, rows: NDArray[np.int64], setting: Any, seen: NDArray[np.int64]) -> Floats:
        from sklearn.feature_extraction.text import TfidfVectorizer

        analyzer, n = setting
        vectorizer = TfidfVectorizer(analyzer=analyzer, ngram_range=n, sublinear_tf=True)
        items = vectorizer.fit_transform(task.items)
        queries = vectorizer.transform([plain(task.queries[q]) for q in rows])
        return np.asarray((queries @ items.T).todense(), dtype=np.float32)


class Bm25(FirstStage):
    """BM25 by bm25s."""

    def settings(self) -> Sequence[Any]:
        return [(k1, b) for k1 in (0.5, 1.2, 2.0) for b in (0.25, 0.75)]

    def scores(self, task: Task, rows: NDArray[np.int64], setting: Any, seen: NDArray[np.int64]) -> Floats:
        import bm25s

        index = bm25s.BM25(k1=setting[0], b=setting[1])
        words = [re.findall(r"[a-z']+", text.lower()) for text in task.items]
        index.index(words, show_progress=False)
        asked = [re.findall(r"[a-z']+", plain(task.queries[q]).lower()) for q in rows]
        known = set().union(*words)
        return np.stack([np.asarray(index.get_scores([w for w in q if w in known] or [words[0][0]]), np.float32) for q in asked])


class DualEncoder(FirstStage):
    """MiniLM sentence vectors and their cosine, the query with or without its marks."""

    def settings(self) -> Sequence[Any]:
        return ["marked", "plain"]

    def scores(self, task: Task, rows: NDArray[np.int64], setting: Any, seen: NDArray[np.int64]) -> Floats:
        queries, items = vectors(task, rows, setting)
        return queries @ items.T


@dataclass(frozen=True)
class _Fold:
    """What distilling needs of one set of seen queries and one of asked ones, whatever the setting."""

    items: Doubles  # (N, d)
    target: Doubles  # (s, N) scores of the seen queries less their means
    cosine_seen: Doubles  # (s, N) cosines of the seen queries in the scale of the target
    cosine_asked: Doubles  # (a, N)
    values: Doubles  # Q Q^T = V diag(values) V^T for the seen queries' vectors Q
    vectors: Doubles
    rotated: Doubles  # (a, s) = q Q^T V

    @classmethod
    def of(cls, task: Task, rows: NDArray[np.int64], seen: NDArray[np.int64]) -> _Fold:
        Q, E = (v.astype(np.float64) for v in vectors(task, seen, "marked"))
        asked = vectors(task, rows, "marked")[0].astype(np.float64)
        R = task.scores[seen].astype(np.float64)
        R -= R.mean(1, keepdims=True)
        cosine = Q @ E.T
        scale = R.std() / max(cosine.std(), 1e-12)
        values, V = np.linalg.eigh(Q @ Q.T)
        return cls(E, R, scale * cosine, scale * (asked @ E.T), values.clip(min=0), V, asked @ Q.T @ V)


class LinearDistilled(FirstStage):
    """A linear head on frozen MiniLM vectors, distilled from the anchor queries' cross-encoder scores in closed form.

    s = q W E^T, the ridge solution of Q W E^T = R for item vectors E; or s = q V with free item vectors V, the ridge solution of
    Q V = R; either alone or added to the plain cosine. All chosen by leaving anchor queries out in five folds.
    """

    def __init__(self) -> None:
        self._forget(None)

    def _forget(self, task: Task | None) -> None:
        self._task = task
        self._folds: dict[bytes, _Fold] = {}
        self._maps: dict[float, Doubles] = {}

    def settings(self) -> Sequence[Any]:
        return [(form, ridge, cosine) for form in ("bilinear", "free") for ridge in (0.03, 0.3, 3.0) for cosine in (0.0, 1.0)]

    def held_out(self, task: Task, setting: Any) -> Floats:
        out = np.empty_like(task.anchor_rows)
        fold = np.arange(len(task.index)) % 5
        for f in range(5):
            out[fold == f] = self.scores(task, task.index[fold == f], setting, task.index[fold != f])
        return out

    def scores(self, task: Task, rows: NDArray[np.int64], setting: Any, seen: NDArray[np.int64]) -> Floats:
        form, ridge, cosine = setting
        if task is not self._task:
            self._forget(task)
        key = rows.tobytes() + seen.tobytes()
        fold = self._folds[key] = self._folds.get(key) or _Fold.of(task, rows, seen)
        # dual form: (q Q^T) (Q Q^T + ridge)^-1 (R less the cosines)
        weights = (fold.rotated / (fold.values + ridge)) @ fold.vectors.T
        free = weights @ (fold.target - cosine * fold.cosine_seen)
        if form == "bilinear":
            free = (free @ fold.items) @ self._map(fold.items, ridge)
        return np.asarray(free + cosine * fold.cosine_asked, dtype=np.float32)

    def _map(self, E: Doubles, ridge: float) -> Doubles:
        """(E^T E + ridge)^-1 E^T, (d, N)."""
        if ridge not in self._maps:
            self._maps[ridge] = np.asarray(np.linalg.solve(E.T @ E + ridge * np.eye(E.shape[1]), E.T), dtype=np.float64)
        return self._maps[ridge]


class EncoderDistilled(FirstStage):
    """The whole dual encoder, distilled from the same scores (see `distill`)."""

    def __init__(self, seed: int = 0, **options: Any) -> None:
        self.seed, self.options = seed, options

    def settings(self) -> Sequence[Any]:
        return [None]

    def scores(self, task: Task, rows: NDArray[np.int64], setting: Any, seen: NDArray[np.int64]) -> Floats:
        from workingpapers.papers.anncur.distill import distill

        encoder = distill([task.queries[q] for q in seen], task.items, task.scores[seen], seed=self.seed, **self.options)
        return encoder.encode([task.queries[q] for q in rows]) @ encoder.encode(list(task.items)).T


def vectors(task: Task, rows: NDArray[np.int64], form: str) -> tuple[Floats, Floats]:
    """MiniLM vectors of queries (in `form`) and items, kept on disk."""
    table = _vectors(task.queries if form == "marked" else tuple(map(plain, task.queries)), task.items)
    return table[rows], table[len(task.queries) :]


@functools.lru_cache(maxsize=4)
def _vectors(queries: tuple[str, ...], items: tuple[str, ...]) -> Floats:
    from workingpapers.parts.language import load_embedder
    from workingpapers.workloads.archives import cache_folder

    return load_embedder("auto", cache=cache_folder() / "vectors-minilm.db").encode([*queries, *items])
