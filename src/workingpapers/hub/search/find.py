"""Answers to questions: parse, filter, rank, page."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import logging
import re
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

import numpy as np
from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from workingpapers.lab import Store

from ..ingest import identity
from ..tables import PaperAliasRow, PaperRow
from . import ranking
from .conditions import Allowed, allowed, condition
from .embedding import vectors_of
from .encoding import Model
from .grammar import Query, QueryError, Text, parse
from .vectors import Vectors
from .words import WordIndex

log = logging.getLogger("workingpapers.hub.search")

How = Literal["meaning and words", "words", "conditions", "nothing"]
Condition = ColumnElement[bool] | None
MOST = 1_000


@dataclass(frozen=True)
class Hit:
    """A paper that answers. `exact`: the question is its id, address or title."""

    paper: PaperRow
    score: float
    exact: bool = False


@dataclass(frozen=True)
class Answer:
    """A page of papers for a question.

    Attributes:
        how: what ordered them.
        by_words_only_because: why meaning played no part though it could have; empty otherwise.
        after: cursor of the next page; None on the last.
    """

    query: Query
    hits: tuple[Hit, ...]
    how: How
    by_words_only_because: str = ""
    after: str | None = None


class Searcher:
    """What searches share in a process: the model, the vectors, counts of words. One a store: `searcher(store)`."""

    def __init__(self, store: Store, model: Model | None = None) -> None:
        self.store = store
        self.model = model or Model()
        self.index = WordIndex(store.is_sqlite)
        self._vectors: Vectors | None = None
        self._behind = threading.Lock()

    @property
    def vectors(self) -> Vectors:
        """Vectors of this process's model."""
        if self._vectors is None:
            self._vectors = vectors_of(self.store, self.model)
        return self._vectors

    def find(self, text: str | Query, limit: int = 20, after: str | None = None, *, words_only: bool = False,
             among: Condition = None) -> Answer:
        """A page of papers for a question.

        Args:
            text: the question, in the grammar of `grammar`.
            limit: papers on the page, 1 to 1,000.
            after: the cursor of the page before.
            words_only: leave the meaning out.
            among: a condition on `PaperRow` besides those of the question.

        Raises:
            QueryError: when question or cursor cannot be read.
        """
        query = parse(text) if isinstance(text, str) else text
        if not 1 <= limit <= MOST:
            raise QueryError(f"limit: {limit} is not between 1 and {MOST}")
        cursor = Cursor.read(after) if after else None
        with self.store.reading() as session:
            return self._find(session, query, limit, cursor, words_only, among)

    def warm(self) -> None:
        """Load the model, the vectors and what is known of common words before the first question; for a thread of its own."""
        try:
            with self.store.reading() as session:
                self.index.warm(session)
                if self.model.why_absent:
                    return
                self._catch_up(session)
                if self.vectors.size(session):
                    self.model.question("warm")
        except Exception:  # the first question meets it again, where it can be told
            log.exception("the search could not be warmed up")

    def _find(self, session: Session, query: Query, limit: int, cursor: Cursor | None, words_only: bool,
              besides: Condition) -> Answer:
        if query.is_empty:
            return Answer(query, (), "nothing")
        if not query.words and not query.prose.strip():
            return by_conditions(session, self.index, query, besides, limit, cursor)
        named = exact(session, query) if query.bare and besides is None else []
        if named and is_name(query.text):
            return Answer(query, tuple(Hit(p, 0.0, True) for p in named), "words")
        among = allowed(session, self.index, query, besides)
        ranked, how, because = self._ranked(session, query, among, words_only)
        rest = ~np.isin(ranked.ids, [p.id for p in named])
        ranked = ranking.Ranked(ranked.ids[rest], ranked.scores[rest])
        front = tuple(Hit(p, 0.0, True) for p in named) if cursor is None else ()
        hits, more = _page(session, ranked, limit - len(front), cursor)
        return Answer(query, (front + hits)[:limit], how, because, more)

    def _ranked(self, session: Session, query: Query, among: Allowed, words_only: bool) -> tuple[ranking.Ranked, How, str]:
        """All candidates in their order, what ordered them, and why not the meaning."""
        because = "" if words_only else self.model.why_absent
        if not words_only and not because:
            self._catch_up(session)
            if not self.vectors.size(session):
                because = "no paper has a vector yet: the worker makes them, or `workingpapers embed` does"
            else:
                vector = self.model.question(query.prose)
                if vector is not None:
                    ranked = ranking.by_meaning_and_words(session, self.index, self.vectors, vector, query, among)
                    return ranked, "meaning and words", ""
                because = self.model.why_absent
        if not query.words:  # a phrase alone: its words rank
            return ranking.by_conditions(session, self.index, query, among), "words", because
        return ranking.by_words(session, self.index, query, among), "words", because

    def _catch_up(self, session: Session) -> None:
        """Take in few new vectors here, many behind the scenes."""
        if self.vectors.catch_up(session) and self._behind.acquire(blocking=False):
            def refresh() -> None:
                try:
                    with self.store.reading() as own:
                        self.vectors.refresh(own)
                finally:
                    self._behind.release()

            threading.Thread(target=refresh, name="vectors", daemon=True).start()


def by_conditions(session: Session, index: WordIndex, query: Query, besides: Condition, limit: int, cursor: Cursor | None) -> Answer:
    """Papers that meet conditions: by BM25 where there are words among these, newest first otherwise."""
    if not any(isinstance(part, Text) for group in query.must for part in group):
        return newest(session, query, condition(session, index, query, besides), limit, cursor)
    ranked = ranking.by_conditions(session, index, query, allowed(session, index, query, besides))
    hits, more = _page(session, ranked, limit, cursor)
    return Answer(query, hits, "conditions", "", more)


def newest(session: Session, query: Query, meets: ColumnElement[bool], limit: int, cursor: Cursor | None) -> Answer:
    """Papers that meet conditions without words, newest first."""
    day = func.coalesce(PaperRow.listed_on, PaperRow.published_on, dt.date(1, 1, 1))
    asked = select(PaperRow).where(meets)
    if cursor is not None:
        then = dt.date.fromordinal(max(1, min(int(cursor.score), dt.date.max.toordinal())))
        asked = asked.where(or_(day < then, and_(day == then, PaperRow.id < cursor.id)))
    rows = session.scalars(asked.order_by(day.desc(), PaperRow.id.desc()).limit(limit + 1)).all()
    hits = tuple(Hit(row, 0.0) for row in rows[:limit])
    more = None
    if len(rows) > limit:
        last = rows[limit - 1]
        more = Cursor(float((last.listed_on or last.published_on or dt.date(1, 1, 1)).toordinal()), last.id).written()
    return Answer(query, hits, "conditions", "", more)


_OWN = re.compile(r"/papers/(?P<name>.+?)(?:\.md|\.bib|\.ris|\.csl\.json)?/?")


def is_name(text: str) -> bool:
    """Whether a question is an id or an address, so that nothing else was meant."""
    return identity.arxiv_id(text) is not None or identity.doi(text) is not None or text.startswith(("http://", "https://", "wp:", "doi:"))


def exact(session: Session, query: Query) -> list[PaperRow]:
    """Papers of which the question is the id, an address, or the title; at most five."""
    text, names = query.text, set[str]()
    if text.startswith(("http://", "https://")) and (own := _OWN.fullmatch(unquote(urlsplit_path(text)))):
        names.add(own["name"])
    if (found := identity.arxiv_id(text)) is not None:
        names.add(found.id)
    if (doi := identity.doi(text)) is not None:
        names.add(f"doi:{doi}")
    if " " not in text:
        names.add(text)
    shown = PaperRow.hidden.is_(False)
    rows: Sequence[PaperRow] = []
    if names:
        of_alias = select(PaperAliasRow.paper_id).where(PaperAliasRow.public_id.in_(names))
        rows = session.scalars(select(PaperRow).where(shown, or_(
            PaperRow.public_id.in_(names), PaperRow.slug.in_(names), PaperRow.id.in_(of_alias))).limit(5)).all()
        if not rows and doi is not None:
            rows = session.scalars(select(PaperRow).where(shown, PaperRow.doi == doi).limit(5)).all()
    key = identity.title_key(text)
    if not rows and len(key) > 3:
        rows = session.scalars(select(PaperRow).where(shown, PaperRow.title_key == key).order_by(PaperRow.id).limit(5)).all()
    return list(rows)


def urlsplit_path(address: str) -> str:
    """The path of an address; empty for what is none."""
    try:
        return urlsplit(address).path
    except ValueError:
        return ""


@dataclass(frozen=True)
class Cursor:
    """Where a page ended: score (or day) and paper of its last line. Papers that come in later move no page."""

    score: float
    id: int

    def written(self) -> str:
        return base64.urlsafe_b64encode(json.dumps([self.score, self.id]).encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Raises QueryError for anything that `written` did not make."""
        try:
            score, paper = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            made = cls(float(score), int(paper))
        except (ValueError, TypeError, binascii.Error, OverflowError, RecursionError):
            raise QueryError("after: this is no cursor of a page; leave it out for the first page") from None
        if not np.isfinite(made.score) or not 0 <= made.id < 1 << 62:
            raise QueryError("after: this is no cursor of a page; leave it out for the first page")
        return made


def _page(session: Session, ranked: ranking.Ranked, limit: int, cursor: Cursor | None) -> tuple[tuple[Hit, ...], str | None]:
    """The lines after the cursor, and the cursor of the next page."""
    ids, scores = ranked.ids, ranked.scores
    if cursor is not None:
        later = (scores < cursor.score) | ((scores == cursor.score) & (ids > cursor.id))
        ids, scores = ids[later], scores[later]
    chosen = ids[: max(0, limit)].tolist()
    rows = {row.id: row for row in session.scalars(select(PaperRow).where(PaperRow.id.in_(chosen)))} if chosen else {}
    hits = tuple(Hit(rows[i], float(s)) for i, s in zip(chosen, scores) if i in rows)
    return hits, Cursor(float(scores[len(chosen) - 1]), chosen[-1]).written() if chosen and len(chosen) < len(ids) else None


_SEARCHERS: weakref.WeakKeyDictionary[Store, Searcher] = weakref.WeakKeyDictionary()
_MAKING = threading.Lock()


def searcher(store: Store) -> Searcher:
    """The searcher of a store, one a process."""
    with _MAKING:
        found = _SEARCHERS.get(store)
        if found is None:
            found = _SEARCHERS[store] = Searcher(store)
        return found


def find_papers(store: Store, text: str, limit: int = 20, *, among: Condition = None) -> list[PaperRow]:
    """The best papers for a question, best first: the whole answer of a feed, a digest or another API, without pages.

    Args:
        text: the question, in the grammar of `grammar`.
        limit: papers at most, to 1,000.
        among: a condition on `PaperRow` that they must meet besides, such as those of the last day; applied before ranking.

    Raises:
        QueryError: when the question cannot be read.
    """
    answer = searcher(store).find(text, min(limit, 1_000), among=among)
    return [hit.paper for hit in answer.hits]
