"""Search: how often the right paper is found, and how long it takes.

    python benchmarks/hub_search.py HOME [--speed]

HOME is a data directory whose store holds the 33,000 records that `benchmarks/data/search_questions.json` speaks of, with
vectors (`workingpapers ingest jsonl FILE`, then `workingpapers embed`). Constants are fitted on one half of the questions and
told of the other. No question is asked twice before it is timed: nothing is answered from a cache.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from workingpapers.hub.search import Searcher, parse, ranking
from workingpapers.hub.search.grammar import Query, Text
from workingpapers.hub.tables import PaperRow, PaperVectorRow
from workingpapers.lab import Settings, Store

QUESTIONS = Path(__file__).parent / "data" / "search_questions.json"
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)

Order = NDArray[np.int64]
Ranker = Callable[[Session, Searcher, Query], Order]


def all_words(session: Session, find: Searcher, query: Query) -> Order:
    """Only papers that hold every word, by BM25."""
    return find.index.ranked(session, find.index.all_of([Text((w,)) for w in query.words]), None, 400)[0]


def any_word(session: Session, find: Searcher, query: Query) -> Order:
    """Papers that hold some word, by BM25 over all words."""
    return find.index.ranked(session, find.index.any_of([Text((w,)) for w in query.words]), None, 400)[0]


def rare_words(session: Session, find: Searcher, query: Query) -> Order:
    """The same as the search does it in bounded time: the rarest words choose, the others add their weight."""
    return find.index.best(session, find.index.weights(session, query.words), None, 400)[0]


def words_alone(session: Session, find: Searcher, query: Query) -> Order:
    """What the site does without a model."""
    return ranking.by_words(session, find.index, query, None).ids


def cosine(session: Session, find: Searcher, query: Query) -> Order:
    """Meaning alone."""
    vector = find.model.question(query.prose)
    assert vector is not None
    return find.vectors.nearest(session, vector, 400)[0]


def reciprocal(weight: float) -> Ranker:
    """Reciprocal rank fusion with k = 60, vectors weighted `weight` to 1."""

    def rank(session: Session, find: Searcher, query: Query) -> Order:
        score: dict[int, float] = {}
        for ids, w in ((cosine(session, find, query), weight), (any_word(session, find, query), 1.0)):
            for place, i in enumerate(ids.tolist()):
                score[i] = score.get(i, 0.0) + w / (60 + place + 1)
        return np.array(sorted(score, key=lambda i: (-score[i], i)), np.int64)

    return rank


def fused(weight: float) -> Ranker:
    """cosine + weight * cov^2."""

    def rank(session: Session, find: Searcher, query: Query) -> Order:
        vector = find.model.question(query.prose)
        assert vector is not None
        return ranking.by_meaning_and_words(session, find.index, find.vectors, vector, query, None, weight).ids

    return rank


def whole(session: Session, find: Searcher, query: Query) -> Order:
    """The search as the site answers: exact titles first, then the fusion."""
    return np.array([hit.paper.id for hit in find.find(query, 100).hits], np.int64)


RANKERS: dict[str, Ranker] = {
    "all words must match": all_words, "any word, BM25 (10, 1, 5)": any_word, "any word, in bounded time": rare_words,
    "without a model (all words, then any)": words_alone, "MiniLM cosine": cosine, "reciprocal ranks, k = 60": reciprocal(1.0),
    "reciprocal ranks, vectors 3 : 1": reciprocal(3.0), "cosine + 0.3 cov^2": fused(0.3), "the site's answer": whole,
}


def places(session: Session, find: Searcher, rank: Ranker, questions: Sequence[tuple[str, int]],
           among: set[int] | None) -> NDArray[np.float64]:
    """Place of the right paper for each question, from 1; infinite where it is not among the first 400."""
    out = []
    for text, wanted in questions:
        order = rank(session, find, parse(quoted(text)))
        if among is not None:
            order = np.array([i for i in order.tolist() if i in among], np.int64)
        found = np.flatnonzero(order == wanted)
        out.append(found[0] + 1.0 if len(found) else np.inf)
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
        sets = {
            (kind, half): [(r.get("query", titles[r["paper"]]), ids[r["paper"]]) for r in drawn[kind] if r["half"] == half]
            for kind in ("paraphrases", "titles") for half in ("fit", "report")
        }
        print("\nfitting half: mean reciprocal rank by weight of cov^2")
        print("weight      " + "".join(f"{w:>8}" for w in WEIGHTS))
        for kind in ("paraphrases", "titles"):
            row = [np.mean(1 / places(session, find, fused(w), sets[kind, "fit"], among)) for w in WEIGHTS]
            print(f"{kind:<12}" + "".join(f"{x:>8.3f}" for x in row))
        for half in ("report", "fit"):
            for kind in ("titles", "paraphrases"):
                questions = sets[kind, half]
                print(f"\n{kind}, {'reported' if half == 'report' else 'fitting'} half, {len(questions)} questions")
                print(f"{'ranker':<40}{'MRR':>7}{'first':>8}{'top 3':>8}{'top 10':>8}{'n≤3':>7}{'n≤10':>7}")
                for name, rank in RANKERS.items():
                    print(f"{name:<40}{tell(places(session, find, rank, questions, among))}", flush=True)


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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--database", default="", help="SQLAlchemy URL in place of SQLite in HOME")
    parser.add_argument("--speed", action="store_true", help="speed alone")
    args = parser.parse_args()
    store = Store(Settings(home=args.home, database=args.database))
    find = Searcher(store)
    if not args.speed:
        quality(store, find)
    speed(store, find)


if __name__ == "__main__":
    main()
