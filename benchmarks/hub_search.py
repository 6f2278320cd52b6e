"""Search: how often the right paper is found, and how long it takes.

    python benchmarks/hub_search.py HOME [--speed]

HOME is a data directory whose store holds the 33,000 records that `benchmarks/data/search_questions.json` speaks of, with
vectors (`workingpapers ingest jsonl FILE`, then `workingpapers embed`). Constants are fitted on one half of the questions and
told of the other. No question is asked twice before it is timed: nothing is answered from a cache.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from workingpapers.hub.search import Model, Searcher, embed, parse, ranking
from workingpapers.hub.search.conditions import EVERYTHING
from workingpapers.hub.search.embedding import BATCH
from workingpapers.hub.search.encoding import text_of
from workingpapers.hub.search.grammar import Text
from workingpapers.hub.tables import PaperRow, PaperVectorRow
from workingpapers.lab import Settings, Store

QUESTIONS = Path(__file__).parent / "data" / "search_questions.json"
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)

Order = NDArray[np.int64]


class Evidence:
    """What the rankers go by for one question; each part is asked for once."""

    def __init__(self, session: Session, find: Searcher, text: str) -> None:
        self.session, self.find, self.query = session, find, parse(quoted(text))

    @functools.cached_property
    def any_word(self) -> Order:
        """Papers that hold some word, by BM25 over all words."""
        return self.find.index.ranked(self.session, self.find.index.any_of([Text((w,)) for w in self.query.words]), EVERYTHING, 400)[0]

    @functools.cached_property
    def near(self) -> tuple[Order, NDArray[np.float64], NDArray[np.float64]]:
        """Candidates of the fusion with their cosine and cov."""
        vector = self.find.model.question(self.query.prose)
        assert vector is not None
        return ranking.candidates(self.session, self.find.index, self.find.vectors, vector, self.query, EVERYTHING)

    @functools.cached_property
    def cosine(self) -> Order:
        """Meaning alone."""
        vector = self.find.model.question(self.query.prose)
        assert vector is not None
        return self.find.vectors.nearest(self.session, vector, 400)[0]

    def all_words(self) -> Order:
        """Only papers that hold every word, by BM25."""
        return self.find.index.ranked(self.session, self.find.index.all_of([Text((w,)) for w in self.query.words]), EVERYTHING, 400)[0]

    def bounded(self) -> Order:
        """Any word as the search does it in bounded time: the rarest words choose, the others add their weight."""
        return self.find.index.best(self.session, self.find.index.weights(self.session, self.query.words), EVERYTHING, 400)[0]

    def without_a_model(self) -> Order:
        """What the site does then."""
        return ranking.by_words(self.session, self.find.index, self.query, EVERYTHING).ids

    def reciprocal(self, weight: float) -> Order:
        """Reciprocal rank fusion with k = 60, vectors weighted `weight` to 1."""
        score: dict[int, float] = {}
        for ids, w in ((self.cosine, weight), (self.any_word, 1.0)):
            for place, i in enumerate(ids.tolist()):
                score[i] = score.get(i, 0.0) + w / (60 + place + 1)
        return np.array(sorted(score, key=lambda i: (-score[i], i)), np.int64)

    def fused(self, weight: float) -> Order:
        """cosine + weight * cov^2."""
        ids, cosine, cover = self.near
        return ids[np.lexsort((ids, -(cosine + weight * cover**2)))]

    def whole(self) -> Order:
        """The search as the site answers: exact titles first, then the fusion."""
        return np.array([hit.paper.id for hit in self.find.find(self.query, 400).hits], np.int64)


Ranker = Callable[[Evidence], Order]
RANKERS: dict[str, Ranker] = {
    "all words must match": Evidence.all_words, "any word, BM25 (10, 1, 5)": lambda e: e.any_word,
    "any word, in bounded time": Evidence.bounded, "without a model (all words, then any)": Evidence.without_a_model,
    "MiniLM cosine": lambda e: e.cosine, "reciprocal ranks, k = 60": lambda e: e.reciprocal(1.0),
    "reciprocal ranks, vectors 3 : 1": lambda e: e.reciprocal(3.0), "cosine + 0.3 cov^2": lambda e: e.fused(0.3),
    "the site's answer": Evidence.whole,
}


def places(rank: Ranker, evidence: Sequence[Evidence], wanted: Sequence[int], among: set[int] | None) -> NDArray[np.float64]:
    """Place of the right paper for each question, from 1; infinite where it is not among the first 400."""
    out = []
    for one, right in zip(evidence, wanted):
        order = [i for i in rank(one).tolist() if among is None or i in among]
        out.append(order.index(right) + 1.0 if right in order else np.inf)
    return np.array(out)


def quoted(text: str) -> str:
    """A title as a reader pastes it; none of the sample's reads as a question with conditions unless it holds quotes."""
    return text.replace('"', " ")


def tell(place: NDArray[np.float64]) -> str:
    """The figures of one ranker."""
    shares = [float(np.mean(place <= n)) for n in (1, 3, 10)]
    counts = "".join(f"{int(np.sum(place <= n)):>7}" for n in (3, 10))
    return f"{np.mean(1 / place):>7.3f}" + "".join(f"{s:>8.3f}" for s in shares) + counts


def quality(store: Store, find: Searcher) -> None:
    """The table of rankers, and the one constant fitted on half of the questions."""
    drawn = json.loads(QUESTIONS.read_text(encoding="utf-8"))
    with store.reading() as session:
        ids = {row[0]: row[1] for row in session.execute(select(PaperRow.arxiv_id, PaperRow.id))}
        titles = {row[0]: row[1] for row in session.execute(select(PaperRow.arxiv_id, PaperRow.title))}
        vectors = set(session.scalars(select(PaperVectorRow.paper_id)))
        papers = session.scalar(select(func.count()).select_from(PaperRow)) or 0
        among = None if len(vectors) == papers else vectors
        print(f"{papers:,} papers, {len(vectors):,} with vectors" + ("" if among is None else ": rankings are of these alone"))
        for kind in ("titles", "paraphrases"):
            for half in ("fit", "report"):
                rows = [r for r in drawn[kind] if r["half"] == half]
                evidence = [Evidence(session, find, r.get("query", titles[r["paper"]])) for r in rows]
                wanted = [ids[r["paper"]] for r in rows]
                print(f"\n{kind}, {'fitting' if half == 'fit' else 'reported'} half, {len(rows)} questions")
                if half == "fit":
                    print("weight of cov^2    " + "".join(f"{w:>8}" for w in WEIGHTS))
                    ranks = [np.mean(1 / places(lambda e, w=w: e.fused(w), evidence, wanted, among)) for w in WEIGHTS]
                    print("mean reciprocal    " + "".join(f"{x:>8.3f}" for x in ranks), flush=True)
                print(f"{'ranker':<40}{'MRR':>7}{'first':>8}{'top 3':>8}{'top 10':>8}{'n≤3':>7}{'n≤10':>7}")
                for name, rank in RANKERS.items():
                    print(f"{name:<40}{tell(places(rank, evidence, wanted, among))}", flush=True)


def speed(store: Store, find: Searcher) -> None:
    """Milliseconds in this process, each question once, in a random order."""
    drawn = json.loads(QUESTIONS.read_text(encoding="utf-8"))
    rng = random.Random(1)
    with store.reading() as session:
        titles = session.scalars(select(PaperRow.title).where(PaperRow.id % 331 == 7)).all()
        papers = session.scalar(select(func.count()).select_from(PaperRow)) or 0
    questions = [r["query"] for r in drawn["paraphrases"]] + [" ".join(quoted(t).split()[:3]) for t in titles] + [quoted(t) for t in titles]
    rng.shuffle(questions)
    find.find("warm up")
    print(f"\n{papers:,} papers, {len(questions)} different questions: milliseconds in process")
    print(f"{'what':<34}{'p50':>8}{'p95':>8}{'p99':>8}{'most':>8}")
    for name, ask in (
        ("text, top 200", lambda q: find.find(q, 200, words_only=True)),
        ("meaning and words, a page of 20", lambda q: find.find(q, 20)),
    ):
        took = []
        for text in questions:
            start = time.perf_counter()
            ask(text)
            took.append(1e3 * (time.perf_counter() - start))
        print(f"{name:<34}" + "".join(f"{np.percentile(took, p):>8.1f}" for p in (50, 95, 99, 100)))


def embedding(store: Store, count: int) -> None:
    """The job that makes vectors against the bare model on the same texts and batches; CPU seconds, alternating."""
    with store.reading() as session:
        rows = session.execute(select(PaperRow.title, PaperRow.abstract).where(PaperRow.abstract != "").limit(count)).all()
    texts = [text_of(row[0], row[1]) for row in rows]
    model = Model()
    took: dict[str, list[float]] = {"bare model": [], "job": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(3):
            mine = Store(Settings(home=Path(folder) / str(turn), database=""))
            with mine.writing() as session:
                session.add_all([PaperRow(public_id=f"wp:{i}", title=row[0], title_key=f"{i}", abstract=row[1])
                                 for i, row in enumerate(rows)])
            embedder = model.bulk()
            start = time.process_time()
            for i in range(0, len(texts), BATCH):
                embedder.encode(texts[i : i + BATCH])
            took["bare model"].append(time.process_time() - start)
            start = time.process_time()
            embed(mine, model)
            took["job"].append(time.process_time() - start)
            mine.close()
    ratio = np.array(took["job"]) / np.array(took["bare model"])
    print(f"\n{len(texts)} papers embedded, {type(embedder).__name__}: bare model {np.median(took['bare model']):.1f} CPU-s, "
          f"job {np.median(took['job']):.1f} CPU-s (loading the model included), ratio {np.median(ratio):.3f} "
          f"({', '.join(f'{r:.3f}' for r in ratio)})")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--database", default="", help="SQLAlchemy URL in place of SQLite in HOME")
    parser.add_argument("--speed", action="store_true", help="speed alone")
    parser.add_argument("--embedding", type=int, default=0, help="in place of the rest: the job that makes vectors, on so many papers")
    args = parser.parse_args()
    store = Store(Settings(home=args.home, database=args.database))
    if args.embedding:
        embedding(store, args.embedding)
        return
    find = Searcher(store)
    if not args.speed:
        quality(store, find)
    speed(store, find)


if __name__ == "__main__":
    main()
