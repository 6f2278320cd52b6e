"""The index of words, on both databases: which papers hold a word, and the best by words.

SQLite ranks by BM25 (title 10, authors 5, abstract 1), PostgreSQL by `ts_rank_cd` with the same weights. Both see a text as
runs of letters and digits without accents, stemmed for English, and leave no word out (migration 0003).
"""

from __future__ import annotations

import json
import threading
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ARRAY, REAL, ColumnElement, Integer, Select, any_, cast, column, func, literal_column, select, table, text
from sqlalchemy.orm import Session

from ..tables import PaperRow
from .grammar import Text, TextField
from .postings import Postings, holding
from .postings import among as stands_in

Ids = NDArray[np.int64]

ENOUGH = 20
"""With fewer papers that hold all words, those that hold some of them follow."""

MANY_POSTINGS = 20_000
"""How many entries of the index a ranking by some of the words reads, beginning with the rarest word: it bounds the time
whatever is asked of however many papers (docs/search.md)."""

FEW = 2_000
"""Up to so many papers that may answer are named to the database; of more, its best are asked for and looked through."""

MOST_IN_MEMORY = 50_000
"""Words of more papers than this are asked of the index each time."""

_KEPT_SECONDS = 120.0
_LARGEST_CACHE = 20_000

_SQLITE_COLUMN: dict[TextField, str] = {"title": "title", "abstract": "abstract", "author": "authors"}
_POSTGRES_WEIGHT: dict[TextField, str] = {"title": ":A", "author": ":B", "abstract": ":C"}
_RANKED_SQLITE = "bm25(papers_fts, 10.0, 1.0, 5.0, 1.0)"
_FTS = table("papers_fts", column("rowid", Integer))
_WORDS: ColumnElement[Any] = literal_column("papers.words")


class Keeps(Protocol):
    """Which papers may answer: see `conditions.Allowed`."""

    @property
    def only(self) -> Ids | None: ...
    @property
    def never(self) -> Ids: ...
    def keep(self, ids: Ids) -> NDArray[np.bool_]: ...


class WordIndex:
    """Questions to the index of words. Keeps counts of words for two minutes, since a rank needs no newer ones; on SQLite for as
    long as the index stays the same.
    """

    def __init__(self, is_sqlite: bool) -> None:
        self.is_sqlite = is_sqlite
        self.postings = Postings()
        self._counts: dict[str, tuple[float, int, bytes]] = {}
        self._lock = threading.Lock()

    def holding(self, part: Text) -> Select[int]:
        """The ids of papers that hold these words side by side."""
        match = self.expression(part)
        if self.is_sqlite:
            return select(_FTS.c.rowid).where(_matching(match)).correlate(None)
        return select(PaperRow.id).where(_WORDS.op("@@", is_comparison=True)(func.to_tsquery("papers_words", match)))

    def expression(self, part: Text) -> str:
        """A phrase in the language of this database; words are letters and digits alone, so nothing needs escaping."""
        if self.is_sqlite:
            column = f"{{{_SQLITE_COLUMN[part.field]}}} : " if part.field != "any" else ""
            return f'{column}"{" ".join(part.words)}"'
        label = _POSTGRES_WEIGHT.get(part.field, "")
        return "(" + " <-> ".join(f"'{fold(word)}'{label}" for word in part.words) + ")"

    def any_of(self, parts: Iterable[Text]) -> str:
        """An expression for papers that hold one of these."""
        return (" OR " if self.is_sqlite else " | ").join(map(self.expression, parts))

    def all_of(self, parts: Iterable[Text]) -> str:
        """An expression for papers that hold all of these."""
        return (" AND " if self.is_sqlite else " & ").join(f"({self.expression(p)})" for p in parts)

    def size(self, session: Session) -> int:
        """About how many papers there are."""
        return max(1, self._kept(session, "", lambda: session.scalar(select(func.count()).select_from(PaperRow)) or 0))

    def count(self, session: Session, word: str) -> int:
        """In about how many papers a word stands."""
        def ask() -> int:
            match = self.expression(Text((word,)))
            if self.is_sqlite:
                posting = self.postings.at(session).known(word.lower())
                if posting is not None:
                    return len(posting)
                query = "SELECT count(*) FROM papers_fts WHERE papers_fts MATCH ?"
                return int(session.connection().exec_driver_sql(query, (match,)).scalar() or 0)
            # A count reads every row it counts: past a bound it is common, which is all that matters.
            query = f"""SELECT count(*) FROM (SELECT 1 FROM papers WHERE words @@ to_tsquery('papers_words', :match)
                        LIMIT {3 * MANY_POSTINGS}) AS held"""
            return int(session.execute(text(query), {"match": match}).scalar() or 0)

        return self._kept(session, word.lower(), ask)

    def weights(self, session: Session, words: Sequence[str]) -> dict[str, float]:
        """The words that tell papers apart, each with its idf = ln(1 + (N - df + 1/2) / (df + 1/2)).

        Words that stand in over a quarter of all papers are left out unless there are no others.
        """
        total = self.size(session)
        counts = {word: min(total, self.count(session, word)) for word in words}
        telling = {w: n for w, n in counts.items() if n <= total / 4 or total < 40} or counts
        return {w: float(np.log1p((total - n + 0.5) / (n + 0.5))) for w, n in telling.items()}

    def best(self, session: Session, weights: Mapping[str, float], among: Keeps, limit: int) -> tuple[Ids, NDArray[np.float64]]:
        """Papers that hold any of the words, best first, and their ranks (higher is better).

        The rarest words choose the papers, up to `MANY_POSTINGS` entries of the index; a word left out there adds its weight
        to the papers that hold it, about what BM25 gives a word once. PostgreSQL's rank knows no weights of words: there
        all words add theirs.
        """
        chosen: list[str] = []
        read = 0
        for word in sorted(weights, key=lambda w: self.count(session, w)):
            read += self.count(session, word)
            if chosen and read > MANY_POSTINGS:
                break
            chosen.append(word)
        parts = [Text((w,)) for w in chosen]
        if len(parts) == 1 and read > MANY_POSTINGS:  # one common word: a title that has it ranks above all that have it elsewhere
            found = self.ranked(session, self.any_of([Text(parts[0].words, "title")]), among, limit)
            if len(found[0]) >= limit:
                return found
        ids, ranks = self.ranked(session, self.any_of(parts), among, limit)
        adding = {w: v for w, v in weights.items() if w not in chosen} if self.is_sqlite else weights
        if adding and len(weights) > 1:
            ranks = ranks + self.coverage(session, adding, ids) * sum(adding.values())
            order = np.lexsort((ids, -ranks))
            ids, ranks = ids[order], ranks[order]
        return ids, ranks

    def all_ranked(self, session: Session, words: Sequence[str], among: Keeps, limit: int) -> tuple[Ids, NDArray[np.float64]]:
        """Papers that hold all of the words and may answer, best first, and their ranks (higher is better).

        On SQLite words of more than half of the papers filter and do not rank: bm25 gives them a weight of 1e-6, for which it would
        read every posting of theirs. Which papers hold all words is asked first, since often none does.
        """
        match = self.all_of([Text((w,)) for w in words])
        if not self.is_sqlite:
            return self.ranked(session, match, among, limit)
        ids = holding(session, match)
        ids = ids[among.keep(ids)]
        if not len(ids):
            return ids, np.empty(0)
        half = self.size(session) / 2
        telling = [w for w in words if self.count(session, w) < half] or list(words)
        if len(telling) < len(words) or len(ids) <= FEW:
            return self._top(session, self.all_of([Text((w,)) for w in telling]), limit, ids)
        return self.ranked(session, match, among, limit)

    def ranked(self, session: Session, match: str, among: Keeps, limit: int) -> tuple[Ids, NDArray[np.float64]]:
        """Papers that match an expression and may answer, best first, and their ranks (higher is better)."""
        if among.only is not None and len(among.only) <= FEW:
            ids, ranks = self._top(session, match, limit + len(among.never), among.only)
            kept = among.keep(ids)
            return ids[kept][:limit], ranks[kept][:limit]
        asked = limit + len(among.never) if among.only is None else 10 * limit
        ids, ranks = self._top(session, match, asked)
        kept = among.keep(ids)
        if among.only is not None and len(ids) == asked and kept.sum() < limit:  # most of the best may not answer: ask for the others alone
            ids, ranks = self._top(session, match, limit + len(among.never), among.only)
            kept = among.keep(ids)
        return ids[kept][:limit], ranks[kept][:limit]

    def _top(self, session: Session, match: str, limit: int, only: Ids | None = None) -> tuple[Ids, NDArray[np.float64]]:
        query: Select[int, float]
        if self.is_sqlite:
            query = select(_FTS.c.rowid, literal_column(_RANKED_SQLITE).label("rank")).where(_matching(match))
            if only is not None:  # the plus keeps the index from being asked once an id
                listed: Select[Any] = select(literal_column("value")).select_from(func.json_each(json.dumps(only.tolist())))
                query = query.where(literal_column("+papers_fts.rowid").in_(listed))
        else:
            asked = func.to_tsquery("papers_words", match)
            rank = func.ts_rank_cd(cast(literal_column("'{0.1, 0.1, 0.5, 1.0}'"), ARRAY(REAL)), _WORDS, asked)
            query = select(PaperRow.id, (-rank).label("rank")).where(_WORDS.op("@@", is_comparison=True)(asked))
            if only is not None:
                query = query.where(PaperRow.id == any_(cast(only.tolist(), ARRAY(Integer))))
        ordered = query.order_by(literal_column("2"), literal_column("1")).limit(limit)
        rows = session.connection().execute(ordered).all()
        return np.array([r[0] for r in rows], np.int64), -np.array([r[1] for r in rows], np.float64)

    def coverage(self, session: Session, weights: Mapping[str, float], ids: Ids) -> NDArray[np.float64]:
        """cov of each paper of `ids`: the share of the words' weight that it holds, 0 to 1."""
        if not len(ids) or not weights:
            return np.zeros(len(ids))
        values = np.array(list(weights.values()))
        share: NDArray[np.float64] = self.holds(session, list(weights), ids) @ values / values.sum()
        return share

    def holds(self, session: Session, words: Sequence[str], ids: Ids) -> NDArray[np.bool_]:
        """Which of these papers hold which of these words, (papers, words); one question to the database."""
        got = np.zeros((len(ids), len(words)), bool)
        if not len(ids) or not len(words):
            return got
        order = np.argsort(ids, kind="stable")
        if self.is_sqlite:
            snapshot, others = self.postings.at(session), list[int]()
            for n, word in enumerate(words):
                if self.count(session, word) <= MOST_IN_MEMORY:
                    got[:, n] = stands_in(snapshot.papers(session, word.lower(), self.expression(Text((word,)))), ids)
                else:
                    others.append(n)
            if others:  # the plus keeps the index from being asked once an id
                query = " UNION ALL ".join(f"SELECT {n}, rowid FROM papers_fts WHERE papers_fts MATCH ?{place} "
                                           "AND +rowid IN (SELECT value FROM json_each(?1))" for place, n in enumerate(others, 2))
                facts = (json.dumps(ids.tolist()), *(self.expression(Text((words[n],))) for n in others))
                found = np.array(session.connection().exec_driver_sql(query, facts).fetchall(), np.int64).reshape(-1, 2)
                got[order[np.searchsorted(ids, found[:, 1], sorter=order)], found[:, 0]] = True
        else:
            columns = ", ".join(f"words @@ to_tsquery('papers_words', :w{n})" for n in range(len(words)))
            named: dict[str, Any] = {f"w{n}": self.expression(Text((w,))) for n, w in enumerate(words)} | {"ids": ids.tolist()}
            rows = session.execute(text(f"SELECT id, {columns} FROM papers WHERE id = ANY(:ids)"), named).all()
            places = order[np.searchsorted(ids, np.array([row[0] for row in rows], np.int64), sorter=order)]
            for place, row in zip(places, rows):
                got[place] = row[1:]
        return got

    def _kept(self, session: Session, key: str, ask: Any) -> int:
        moment = time.monotonic()
        known = self._counts.get(key)
        if known is not None and moment - known[0] < _KEPT_SECONDS:
            return known[1]
        state = self.postings.at(session).state if self.is_sqlite else b""
        value = known[1] if known is not None and state and state == known[2] else int(ask())
        with self._lock:
            if len(self._counts) > _LARGEST_CACHE:
                self._counts.clear()
            self._counts[key] = (moment, value, state)
        return value


def _matching(match: str) -> ColumnElement[bool]:
    return literal_column("papers_fts").op("MATCH", is_comparison=True)(match)


def fold(word: str) -> str:
    """A word as PostgreSQL's index holds it before stemming: Latin letters without accents.

    >>> fold("Mücke"), fold("naïve")
    ('Mucke', 'naive')
    """
    return "".join(_folded(c) if "\u00c0" <= c < "\u0250" else c for c in word)


def _folded(letter: str) -> str:
    base = unicodedata.normalize("NFD", letter)[0]
    return base if base.isascii() else letter
