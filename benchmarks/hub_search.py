"""Search: how often the right paper is found, and how long it takes.

    python -m benchmarks.hub_search HOME            what the fitting half says: grids of constants, cross-validated
    python -m benchmarks.hub_search HOME --report   the other half too, with the constants that the fitting half gives
    python -m benchmarks.hub_search HOME --titles   exact titles
    python -m benchmarks.hub_search HOME --speed    times alone

HOME is a data directory whose store (SQLite) holds the 33,000 records that `benchmarks/data/search_questions.json` speaks of, with
vectors (`workingpapers ingest jsonl FILE`, then `workingpapers embed`). Every family of rankers has its constants fitted by one rule on
one half of the questions, baselines included. No question is asked twice before it is timed: nothing is answered from a cache.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from benchmarks._hub_rankers import Columns, Evidence, Scores, best, crossed, figures, interval, place_of, quoted, ratio
from workingpapers.hub.search import Model, Searcher, embed
from workingpapers.hub.search.embedding import BATCH
from workingpapers.hub.search.encoding import text_of
from workingpapers.hub.search.ranking import COVER_WEIGHT
from workingpapers.hub.tables import PaperRow, PaperVectorRow
from workingpapers.lab import Settings, Store

QUESTIONS = Path(__file__).parent / "data" / "search_questions.json"
FIRST_SET = 83
"""So many paraphrases were written at first; the rest was added later, by the same rules."""

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
COLUMNS: tuple[Columns, ...] = ((10, 1, 5), (5, 1, 2), (2, 1, 1))

Ranker = Callable[[Evidence], Any]
Family = Mapping[str, Ranker]
"""Rankers that differ by constants; the fitting half chooses one."""


def families() -> dict[str, Family]:
    """Every way to rank, with the constants that are tried. The constants of BM25 within a fusion are those of the site."""
    def bm25(columns: Columns, joining: bool) -> Ranker:
        return lambda e: e.bm25(columns, joining)[0]

    def reciprocal(k: float, weight: float) -> Ranker:
        return lambda e: e.reciprocal((10, 1, 5), True, k, weight)

    def convex(share: float) -> Ranker:
        return lambda e: e.convex((10, 1, 5), True, share)

    def fused(weight: float) -> Ranker:
        return lambda e: e.fused(weight)

    return {
        "BM25 (10, 1, 5), every word": {"": bm25((10, 1, 5), True)},
        "BM25, fitted": {f"{c}{'' if joining else ', joining words left out'}": bm25(c, joining)
                         for c in COLUMNS for joining in (True, False)},
        "the site without a model": {"": Evidence.words},
        "MiniLM cosine": {"": lambda e: e.cosine[0]},
        "reciprocal ranks, k = 60": {"": reciprocal(60, 1)},
        "reciprocal ranks, fitted": {f"k {k}, vectors {w} : 1": reciprocal(k, w) for k in (5, 20, 60) for w in (1, 3, 10)},
        "scaled scores, fitted": {f"share of BM25 {s}": convex(s) for s in (0.05, 0.1, 0.2, 0.3, 0.5)},
        "cosine + w cov^2": {f"w {w}": fused(w) for w in WEIGHTS},
    }


class Measured:
    """Places of the right papers, question by question, kept in a file: a run that was broken off goes on where it was."""

    def __init__(self, session: Session, find: Searcher, kept: Path) -> None:
        vectors = set(session.scalars(select(PaperVectorRow.paper_id)))
        papers = session.scalar(select(func.count()).select_from(PaperRow).where(PaperRow.arxiv_id.is_not(None))) or 0
        self.among = None if len(vectors) >= papers else vectors
        self.state = f"{papers:,} papers, {len(vectors):,} with vectors" + (": rankings are of these alone" if self.among else "")
        self._session, self._find, self._kept = session, find, kept
        self._known: dict[tuple[str, str], dict[str, float]] = {}
        for text in kept.read_text(encoding="utf-8").splitlines() if kept.exists() else ():
            row = json.loads(text)
            if row["state"] == self.state:
                self._known.setdefault((row["kind"], row["paper"]), {}).update(
                    {name: place or math.inf for name, place in row["places"].items()})
        self._rows: dict[str, list[dict[str, str]]] = json.loads(QUESTIONS.read_text(encoding="utf-8"))
        self._ids = {r[0]: (r[1], r[2]) for r in session.execute(select(PaperRow.arxiv_id, PaperRow.id, PaperRow.title)).tuples()}

    def places(self, kind: str, halves: Sequence[str], rankers: Mapping[str, Ranker],
               count: int | None = None) -> dict[str, Scores]:
        """Place of the right paper by each ranker, from 1; infinite where it is not among its first 400. `count`: of the first so many."""
        rows = [r for r in self._rows[kind] if r["half"] in halves][:count]
        out = []
        for row in rows:
            known = self._known.setdefault((kind, row["paper"]), {})
            if missing := {name: rank for name, rank in rankers.items() if name not in known}:
                wanted, title = self._ids[row["paper"]]
                evidence = Evidence(self._session, self._find, row.get("query", title))
                fresh = {name: place_of(rank(evidence), wanted, self.among) for name, rank in missing.items()}
                known.update(fresh)
                with open(self._kept, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"state": self.state, "kind": kind, "paper": row["paper"],
                                           "places": {n: p if math.isfinite(p) else None for n, p in fresh.items()}}) + "\n")
            out.append([known[name] for name in rankers])
        return dict(zip(rankers, np.array(out).T))

    def written_first(self, half: str) -> NDArray[np.bool_]:
        """Which paraphrases of a half are of the first set."""
        return np.array([n < FIRST_SET for n, r in enumerate(self._rows["paraphrases"]) if r["half"] == half])


def named() -> dict[str, dict[str, Ranker]]:
    """Families with whole names of their rankers."""
    return {name: {f"{name}: {label}" if label else name: rank for label, rank in family.items()} for name, family in families().items()}


def fitted(measured: Measured) -> dict[str, str]:
    """The ranker that the fitting half chooses of each family, printed with all others."""
    every = {name: rank for family in named().values() for name, rank in family.items()}
    places = measured.places("paraphrases", ("fit",), every)
    print(f"\nparaphrases, fitting half, {len(next(iter(places.values())))} questions")
    heading()
    chosen = {}
    for family, rankers in named().items():
        tried = [places[name] for name in rankers]
        chosen[family] = list(rankers)[best(tried)]
        for name in rankers:
            line(name, places[name], " <-" if name == chosen[family] and len(tried) > 1 else "")
        if len(tried) > 1:
            line("    chosen anew for each tenth", crossed(tried))
    return chosen


def reported(measured: Measured, chosen: Mapping[str, str]) -> None:
    """The other half, with fitted constants, and the site as it is."""
    site = f"the site's answer (w {COVER_WEIGHT})"
    every = {name: rank for family in named().values() for name, rank in family.items()}
    places = measured.places("paraphrases", ("report",), {name: every[name] for name in chosen.values()} | {site: Evidence.site})
    print(f"\nparaphrases, reported half, {len(places[site])} questions; 95 % by bootstrap over questions")
    heading(True)
    for name, place in places.items():
        line(name, place, intervals=True)
    first = measured.written_first("report")
    for name, place in places.items():
        if name.startswith("BM25"):
            times, low, high = ratio(places[site], place)
            parts = "; ".join(f"{what}: {int((places[site][m] <= 10).sum())} to {int((place[m] <= 10).sum())} of {m.sum()}"
                              for m, what in ((first, "written first"), (~first, "added")))
            print(f"top 10 of the site to that of {name}: {times:.2f} times ({low:.2f} to {high:.2f}); {parts}")


def titles(measured: Measured, rivals: int) -> None:
    """Exact titles, both halves: nothing is fitted on them. The other rankers are asked for the first `rivals` titles alone."""
    both = ("fit", "report")
    others: dict[str, Ranker] = {
        "BM25 (10, 1, 5), every word": lambda e: e.bm25()[0], "MiniLM cosine": lambda e: e.cosine[0],
        "reciprocal ranks, k = 60": lambda e: e.reciprocal((10, 1, 5), True, 60, 1),
        f"cosine + {COVER_WEIGHT} cov^2, no title looked up": lambda e: e.fused(COVER_WEIGHT)}
    site: dict[str, Ranker] = {"the site's answer": Evidence.site}
    for count, rankers in ((rivals, others | site), (None, site)):
        places = measured.places("titles", both, rankers, count)
        print(f"\nexact titles, {len(next(iter(places.values())))} questions")
        heading(True)
        for name, place in places.items():
            line(name, place, intervals=True)


def heading(intervals: bool = False) -> None:
    names = ("top 1", "top 3", "top 10", "MRR@10")
    print(f"{'ranker':<58}" + "".join(f"{n:>23}" if intervals else f"{n:>9}" for n in names))


def line(name: str, place: Scores, more: str = "", intervals: bool = False) -> None:
    """Counts of questions, and the mean reciprocal rank."""
    cells = []
    for figure, value in figures(place).items():
        cell = f"{value:.3f}" if figure == "MRR@10" else f"{round(value * len(place))}"
        if intervals:
            low, high = interval(place, figure)
            cell += f" ({value:.0%}; {low:.0%}-{high:.0%})" if figure != "MRR@10" else f" ({low:.3f}-{high:.3f})"
        cells.append(f"{cell:>23}" if intervals else f"{cell:>9}")
    print(f"{name:<58}{''.join(cells)}{more}", flush=True)


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
    if len(sys.argv) < 2:
        print("needs a data directory with papers and vectors: python benchmarks/hub_search.py HOME [--speed]")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--database", default="", help="SQLAlchemy URL in place of SQLite in HOME")
    parser.add_argument("--report", action="store_true", help="also the reported half: to be looked at once, when all is fixed")
    parser.add_argument("--titles", action="store_true", help="in place of the rest: exact titles, both halves")
    parser.add_argument("--rivals", type=int, default=500, help="with --titles: how many of them the other rankers get")
    parser.add_argument("--keep", type=Path, help="file of places found so far; by default search-places.jsonl in HOME")
    parser.add_argument("--speed", action="store_true", help="speed alone")
    parser.add_argument("--embedding", type=int, default=0, help="in place of the rest: the job that makes vectors, on so many papers")
    args = parser.parse_args()
    store = Store(Settings(home=args.home, database=args.database))
    if args.embedding:
        embedding(store, args.embedding)
        return
    find = Searcher(store)
    if not args.speed:
        if not store.is_sqlite:
            sys.exit("the rankers are compared on SQLite, whose BM25 is one of them; --speed takes any database")
        with store.reading() as session:
            measured = Measured(session, find, args.keep or args.home / "search-places.jsonl")
            print(measured.state, flush=True)
            if args.titles:
                titles(measured, args.rivals)
                return
            chosen = fitted(measured)
            if args.report:
                reported(measured, chosen)
        return
    speed(store, find)


if __name__ == "__main__":
    main()
