"""The order of papers for a question: meaning and words together.

    score = cosine + 0.3 * cov^2

cov is the share of the question's words that a paper holds, each word weighted by its idf. The square keeps chance matches of a
word or two from moving what the meaning knows, and lets a paper that holds nearly all words pass one that is merely near. The
usual fusion by reciprocal ranks throws away what the cosine knows (docs/search.md has the table).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from ..tables import PaperRow
from .grammar import Query, Text
from .vectors import NO_IDS, Floats, Ids, Vectors
from .words import ENOUGH, WordIndex

COVER_WEIGHT = 0.3
CANDIDATES = 400


@dataclass(frozen=True)
class Ranked:
    """Papers, best first, with their scores; each score tells its kind of ranking's order only."""

    ids: Ids
    scores: NDArray[np.float64]


NOTHING = Ranked(NO_IDS, np.empty(0))


def barred(session: Session) -> Ids:
    """Papers that no list shows."""
    return np.array(session.scalars(select(PaperRow.id).where(PaperRow.hidden)).all(), np.int64)


def by_meaning_and_words(session: Session, index: WordIndex, vectors: Vectors, vector: Floats, query: Query,
                         among: ColumnElement[bool] | None, cover_weight: float = COVER_WEIGHT) -> Ranked:
    """The best by vector and the best by any word, in one order. A paper without a vector counts as the furthest of the near."""
    hidden = barred(session)
    near, cosine = vectors.nearest(session, vector, CANDIDATES, among, hidden)
    weights = index.weights(session, query.words) if query.words else {}
    if weights:
        worded = index.best(session, weights, among, CANDIDATES + len(hidden))[0]
        worded = worded[~np.isin(worded, hidden) & ~np.isin(worded, near)]
        furthest = float(cosine[-1]) if len(cosine) else 0.0
        cosine = np.concatenate([cosine, np.nan_to_num(vectors.cosines(session, vector, worded), nan=furthest)])
        near = np.concatenate([near, worded])
    covered = index.coverage(session, weights, near)
    return _sorted(near, cosine.astype(np.float64) + cover_weight * covered**2)


def by_words(session: Session, index: WordIndex, query: Query, among: ColumnElement[bool] | None) -> Ranked:
    """Papers that hold all words, by BM25; where these are few, those that hold some of them follow."""
    hidden = barred(session)
    parts = [Text((w,)) for w in query.words]
    if len(parts) == 1:
        all_ids, all_ranks = index.best(session, index.weights(session, query.words), among, CANDIDATES + len(hidden))
    else:
        all_ids, all_ranks = index.ranked(session, index.all_of(parts), among, CANDIDATES + len(hidden))
    keep = ~np.isin(all_ids, hidden)
    ids, ranks = all_ids[keep], all_ranks[keep]
    if len(ids) < ENOUGH and len(parts) > 1:
        more, more_ranks = index.best(session, index.weights(session, query.words), among, CANDIDATES + len(hidden))
        keep = ~np.isin(more, hidden) & ~np.isin(more, ids)
        more, more_ranks = more[keep], more_ranks[keep]
        # One falling line: those that hold all words stand a step above the best of the others.
        step = float(more_ranks[0] - ranks[-1]) + 1.0 if len(more) and len(ids) else 0.0
        ids, ranks = np.concatenate([ids, more]), np.concatenate([ranks + max(0.0, step), more_ranks])
    return Ranked(ids, ranks)


def by_conditions(session: Session, index: WordIndex, query: Query, among: ColumnElement[bool] | None) -> Ranked:
    """Papers that meet conditions: by BM25 of the words in them, or, when there are none, none here (see `find.newest`)."""
    groups = [[p for p in group if isinstance(p, Text)] for group in query.must]
    parts = [p for group in groups for p in group]
    if not parts:
        return NOTHING
    ids, ranks = index.ranked(session, index.any_of(parts), among, 2 * CANDIDATES)
    return Ranked(ids, ranks)


def _sorted(ids: Ids, scores: NDArray[np.float64]) -> Ranked:
    order = np.lexsort((ids, -scores))
    return Ranked(ids[order], scores[order])
