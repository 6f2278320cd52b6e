"""Ways to order 33,000 papers for a question, from the same evidence: what `hub_search.py` holds side by side."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from workingpapers.hub.search import Searcher, parse, ranking
from workingpapers.hub.search.conditions import EVERYTHING
from workingpapers.hub.search.grammar import Text
from workingpapers.hub.search.reasons import FUNCTION_WORDS

DEEP = 400
"""Papers that each side gives a fusion."""

Order = NDArray[np.int64]
Scores = NDArray[np.float64]
Columns = tuple[float, float, float]
"""Weights of title, abstract and authors in BM25."""


def quoted(question: str) -> str:
    """A title as a reader pastes it; none of the sample's reads as a question with conditions unless it holds quotes."""
    return question.replace('"', " ")


class Evidence:
    """What the rankers go by for one question; each part is asked for once."""

    def __init__(self, session: Session, find: Searcher, question: str) -> None:
        self.session, self.find, self.query = session, find, parse(quoted(question))
        self._bm25: dict[tuple[Columns, bool], tuple[Order, Scores]] = {}

    def bm25(self, columns: Columns = (10, 1, 5), joining: bool = True) -> tuple[Order, Scores]:
        """Papers that hold some word, by BM25 (k1 1.2, b 0.75, words stemmed by porter), over every word of the question.

        Args:
            joining: whether words such as "how" and "the" count too.
        """
        if (columns, joining) not in self._bm25:
            words = [w for w in self.query.words if joining or w.lower() not in FUNCTION_WORDS] or list(self.query.words)
            match = self.find.index.any_of([Text((w,)) for w in words])
            title, abstract, authors = columns
            asked = text("SELECT rowid, -bm25(papers_fts, :title, :abstract, :authors, 1) AS score FROM papers_fts "
                         f"WHERE papers_fts MATCH :match ORDER BY score DESC, rowid LIMIT {DEEP}")
            rows = self.session.execute(asked, {"title": title, "abstract": abstract, "authors": authors, "match": match}).all()
            self._bm25[columns, joining] = (np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.float64))
        return self._bm25[columns, joining]

    @functools.cached_property
    def vector(self) -> NDArray[np.float32]:
        """The question in the space of the papers."""
        vector = self.find.model.question(self.query.prose)
        assert vector is not None
        return vector

    @functools.cached_property
    def cosine(self) -> tuple[Order, Scores]:
        """Meaning alone."""
        ids, scores = self.find.vectors.nearest(self.session, self.vector, DEEP)
        return ids, scores.astype(np.float64)

    @functools.cached_property
    def candidates(self) -> tuple[Order, Scores, Scores]:
        """Candidates of the site's fusion with their cosine and cov."""
        return ranking.candidates(self.session, self.find.index, self.find.vectors, self.vector, self.query, EVERYTHING)

    def words(self) -> Order:
        """The site without a model: all words, then any of them, in bounded time."""
        return ranking.by_words(self.session, self.find.index, self.query, EVERYTHING).ids

    def reciprocal(self, columns: Columns, joining: bool, k: float, weight: float) -> Order:
        """Reciprocal rank fusion: weight / (k + place) of the vectors and 1 / (k + place) of BM25, added."""
        score: dict[int, float] = {}
        for ids, w in ((self.cosine[0], weight), (self.bm25(columns, joining)[0], 1.0)):
            for place, i in enumerate(ids.tolist(), 1):
                score[i] = score.get(i, 0.0) + w / (k + place)
        return np.array(sorted(score, key=lambda i: (-score[i], i)), np.int64)

    def convex(self, columns: Columns, joining: bool, share: float) -> Order:
        """(1 - share) cosine + share BM25, each scaled to 0..1 over its own list; absent from a list counts 0."""
        score: dict[int, float] = {}
        for (ids, raw), w in ((self.cosine, 1 - share), (self.bm25(columns, joining), share)):
            if len(raw):
                low, high = float(raw.min()), float(raw.max())
                for i, s in zip(ids.tolist(), raw.tolist()):
                    score[i] = score.get(i, 0.0) + w * (s - low) / max(high - low, 1e-9)
        return np.array(sorted(score, key=lambda i: (-score[i], i)), np.int64)

    def fused(self, weight: float) -> Order:
        """cosine + weight * cov^2."""
        ids, cosine, cover = self.candidates
        return ids[np.lexsort((ids, -(cosine + weight * cover**2)))]

    def site(self) -> Order:
        """The answer as the site gives it: exact titles first, then the fusion."""
        return np.array([hit.paper.id for hit in self.find.find(self.query, DEEP).hits], np.int64)


def place_of(order: Order, wanted: int, among: set[int] | None) -> float:
    """Place of the right paper, from 1; infinite where it is not there.

    Args:
        among: papers that count, where not all have vectors yet.
    """
    kept = [i for i in order.tolist() if among is None or i in among]
    return kept.index(wanted) + 1.0 if wanted in kept else np.inf


def figures(place: Scores) -> dict[str, float]:
    """Share found first, in the top 3, in the top 10, and the mean reciprocal rank of the top 10."""
    return {f"top {n}": float(np.mean(place <= n)) for n in (1, 3, 10)} | {"MRR@10": float(np.mean(np.where(place <= 10, 1 / place, 0)))}


def interval(place: Scores, figure: str, resamples: int = 10_000) -> tuple[float, float]:
    """95 % of a figure by bootstrap over the questions."""
    drawn = _draws(len(place), resamples)
    value = np.where(place <= 10, 1 / place, 0) if figure == "MRR@10" else (place <= int(figure.removeprefix("top "))).astype(float)
    low, high = np.percentile(value[drawn].mean(1), (2.5, 97.5))
    return float(low), float(high)


def ratio(ours: Scores, theirs: Scores, resamples: int = 10_000) -> tuple[float, float, float]:
    """How many times the top-10 hits of another ranker ours has, with 95 % by bootstrap over the questions, pairs kept together."""
    mine, other = ours <= 10, theirs <= 10
    drawn = _draws(len(ours), resamples)
    low, high = np.percentile(mine[drawn].sum(1) / np.maximum(other[drawn].sum(1), 1), (2.5, 97.5))
    return float(mine.sum() / max(other.sum(), 1)), float(low), float(high)


def crossed(places: Sequence[Scores], folds: int = 10) -> Scores:
    """Places of a family of rankers whose constant is chosen without the questions it is judged on, fold by fold."""
    table = np.stack(places)
    fold = np.random.default_rng(0).permutation(table.shape[1]) % folds
    out = np.empty(table.shape[1])
    for f in range(folds):
        out[fold == f] = table[best(list(table[:, fold != f]))][fold == f]
    return out


def best(places: Sequence[Scores]) -> int:
    """The ranker with most in the top 10; of equals, the highest mean reciprocal rank."""
    return max(range(len(places)), key=lambda n: (figures(places[n])["top 10"], figures(places[n])["MRR@10"]))


def _draws(count: int, resamples: int) -> Order:
    return np.random.default_rng(0).integers(0, count, (resamples, count))
