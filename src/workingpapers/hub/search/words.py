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
from . import bm25
from .grammar import Text, TextField
from .postings import WEIGHTS, Ids, Posting, Postings, holding
from .terms import Terms

ENOUGH = 20
"""With fewer papers that hold all words, those that hold some of them follow."""

MANY_POSTINGS = 20_000
"""How many entries of the index a ranking by some of the words reads, beginning with the rarest word: it bounds the time
whatever is asked of however many papers (docs/search.md)."""

FEW = 2_000
"""Up to so many papers that may answer are named to the database; of more, its best are asked for and looked through."""

MANY_TO_READ = 1_000
"""Words of more papers than this are read into memory when they are needed for the second time, wherever the index can do without."""

COMMON = 1 / 8
"""Words of more than this share of the papers are read into memory at the start."""

_KEPT_SECONDS = 120.0
_LARGEST_CACHE = 20_000

_SQLITE_COLUMN: dict[TextField, str] = {"title": "title", "abstract": "abstract", "author": "authors"}
_POSTGRES_WEIGHT: dict[TextField, str] = {"title": ":A", "author": ":B", "abstract": ":C"}
_RANKED_SQLITE = f"bm25(papers_fts, {', '.join(f'{w:.1f}' for w in WEIGHTS.values())})"
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
        self.terms = Terms()
        self._counts: dict[str, tuple[float, int, bytes]] = {}
        self._lock = threading.Lock()

    def warm(self, session: Session) -> None:
        """Read into memory what nearly every question needs: which papers hold the common words, and how long texts are.

        Without it the first twenty questions after a start take twice as long as those that follow. Half a second a 100,000 papers.
        """
        if not self.is_sqlite:
            return
        snapshot = self.postings.at(session)
        for term, same in zip(common := snapshot.common(session, COMMON), self.terms.of(common)):
            if term == same:  # a stem may have a stem of its own: such words are read when they are asked for
                snapshot.holding(session, term, f'"{term}"')
        snapshot.read_lengths(session)

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
            if self.is_sqlite:
                return self.postings.at(session).count(session, *self._key(Text((word,))))
            # A count reads every row it counts: past a bound it is common, which is all that matters.
            query = f"""SELECT count(*) FROM (SELECT 1 FROM papers WHERE words @@ to_tsquery('papers_words', :match)
                        LIMIT {3 * MANY_POSTINGS}) AS held"""
            return int(session.execute(text(query), {"match": self.expression(Text((word,)))}).scalar() or 0)

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
        if len(chosen) == 1 and read > MANY_POSTINGS:  # a common word: a title that has it ranks above all that have it elsewhere
            found = self.ranked(session, self.any_of([Text((chosen[0],), "title")]), among, limit)
            if len(found[0]) >= limit:
                return found
        ids, ranks = self.any_ranked(session, [Text((w,)) for w in chosen], among, limit)
        adding = {w: v for w, v in weights.items() if w not in chosen} if self.is_sqlite else weights
        if adding and len(weights) > 1:
            ranks = ranks + self.coverage(session, adding, ids) * sum(adding.values())
            order = np.lexsort((ids, -ranks))
            ids, ranks = ids[order], ranks[order]
        return ids, ranks

    def any_ranked(self, session: Session, parts: Sequence[Text], among: Keeps, limit: int) -> tuple[Ids, NDArray[np.float64]]:
        """Papers that hold any of these and may answer, best first, and their ranks (higher is better)."""
        terms = self._terms(parts)
        if terms is None:
            return self.ranked(session, self.any_of(parts), among, limit)
        snapshot, postings = self.postings.at(session), self._places(session, terms, parts)
        ids = np.unique(np.concatenate([posting.papers for posting in postings]))
        ids = ids[among.keep(ids)]
        return bm25.top(ids, bm25.scores(session, snapshot, postings, ids), limit)

    def all_ranked(self, session: Session, words: Sequence[str], among: Keeps, limit: int) -> tuple[Ids, NDArray[np.float64]]:
        """Papers that hold all of the words and may answer, best first, and their ranks (higher is better).

        On SQLite words of more than half of the papers filter and do not rank: bm25 gives them a weight of 1e-6, for which it would
        read every posting of theirs. Which papers hold all words is asked first, since often none does.
        """
        if not self.is_sqlite:
            return self.ranked(session, self.all_of([Text((w,)) for w in words]), among, limit)
        ids = self._holding_all(session, words)
        ids = ids[among.keep(ids)]
        if not len(ids):
            return ids, np.empty(0)
        half = self.size(session) / 2
        telling = [Text((w,)) for w in words if self.count(session, w) < half] or [Text((w,)) for w in words]
        terms, snapshot = self._terms(telling), self.postings.at(session)
        if terms is None or (len(ids) <= FEW and self._is_dear(session, [part.words[0] for part in telling])):
            return self._top(session, self.all_of(telling), limit, ids)
        return bm25.top(ids, bm25.scores(session, snapshot, self._places(session, terms, telling), ids), limit)

    def _holding_all(self, session: Session, words: Sequence[str]) -> Ids:
        """The papers that hold all of the words, on SQLite: those in memory are put together there. Common words are read into it
        when they are asked for the second time; before, the index looks them up in the papers of a rarer word.
        """
        snapshot, ids, unread = self.postings.at(session), None, list[Text]()
        parts = [Text((w,)) for w in sorted(words, key=lambda w: self.count(session, w))]
        for part in parts:
            key, match = self._key(part)
            if (posting := snapshot.known(key)) is None:
                if self.count(session, part.words[0]) > MANY_TO_READ and not snapshot.wanted_again(match):
                    unread.append(part)
                    continue
                posting = snapshot.holding(session, key, match)
            ids = posting.papers if ids is None else ids[posting.among(ids)]
            if not len(ids):
                return ids
        if unread:
            found = holding(session, self.all_of([parts[0], *unread]))
            return found if ids is None else np.intersect1d(ids, found, assume_unique=True)
        assert ids is not None
        return ids

    def papers(self, session: Session, part: Text) -> Posting:
        """The papers that hold these words side by side, on SQLite."""
        return self.postings.at(session).holding(session, *self._key(part))

    def _key(self, part: Text) -> tuple[str, str]:
        """What a posting is kept under, and the expression that asks the index for it."""
        match, terms = self.expression(part), self._terms([part])
        return terms[0] if terms else match, match

    def _places(self, session: Session, terms: Sequence[str], parts: Sequence[Text]) -> list[Posting]:
        snapshot = self.postings.at(session)
        return [snapshot.places(session, term, self.expression(part)) for term, part in zip(terms, parts)]

    def _terms(self, parts: Sequence[Text]) -> list[str] | None:
        """The term of each part; None where one is more than a term, and on PostgreSQL: then the database ranks."""
        if not self.is_sqlite or any(part.field != "any" or len(part.words) > 1 for part in parts):
            return None
        terms = [term for term in self.terms.of([part.words[0] for part in parts]) if term is not None]
        return terms if len(terms) == len(parts) else None

    def _is_dear(self, session: Session, words: Sequence[str]) -> bool:
        """Whether to read where all these words stand costs more than to ask for the ranks of a few papers: at first it does."""
        snapshot = self.postings.at(session)
        common = [self._key(Text((word,)))[0] for word in words if self.count(session, word) > MANY_TO_READ]
        unread = [key for key in common if (posting := snapshot.known(key)) is None or posting.times is None]
        again = [snapshot.wanted_again(key) for key in unread]  # each is told, whatever the others say
        return not all(again)

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
        if self.is_sqlite:
            for n, word in enumerate(words):
                got[:, n] = self.papers(session, Text((word,))).among(ids)
        else:
            columns = ", ".join(f"words @@ to_tsquery('papers_words', :w{n})" for n in range(len(words)))
            named: dict[str, Any] = {f"w{n}": self.expression(Text((w,))) for n, w in enumerate(words)} | {"ids": ids.tolist()}
            rows = session.execute(text(f"SELECT id, {columns} FROM papers WHERE id = ANY(:ids)"), named).all()
            order = np.argsort(ids, kind="stable")
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
