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
from sqlalchemy.orm import Session

from .conditions import Allowed
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


def by_meaning_and_words(session: Session, index: WordIndex, vectors: Vectors, vector: Floats, query: Query,
                         among: Allowed) -> Ranked:
    """The best by vector and the best by any word, in one order."""
    ids, cosine, cover = candidates(session, index, vectors, vector, query, among)
    scores = cosine + COVER_WEIGHT * cover**2
    order = np.lexsort((ids, -scores))
    return Ranked(ids[order], scores[order])


def candidates(session: Session, index: WordIndex, vectors: Vectors, vector: Floats, query: Query,
               among: Allowed) -> tuple[Ids, NDArray[np.float64], NDArray[np.float64]]:
    """The 400 nearest papers and the 400 best by any word, with cosine and cov of each.

    A paper without a vector counts as the furthest of the near.
    """
    near, cosine = vectors.nearest(session, vector, CANDIDATES, among.only, among.never)
    weights = index.weights(session, query.words) if query.words else {}
    if weights:
        worded = index.best(session, weights, among, CANDIDATES)[0]
        worded = worded[~np.isin(worded, near)]
        furthest = float(cosine[-1]) if len(cosine) else 0.0
        cosine = np.concatenate([cosine, np.nan_to_num(vectors.cosines(session, vector, worded), nan=furthest)])
        near = np.concatenate([near, worded])
    return near, cosine.astype(np.float64), index.coverage(session, weights, near)


def by_words(session: Session, index: WordIndex, query: Query, among: Allowed) -> Ranked:
    """Papers that hold all words, by BM25; where these are few, those that hold some of them follow."""
    parts = [Text((w,)) for w in query.words]
    if len(parts) == 1:
        ids, ranks = index.best(session, index.weights(session, query.words), among, CANDIDATES)
    else:
        ids, ranks = index.all_ranked(session, query.words, among, CANDIDATES)
    if len(ids) < ENOUGH and len(parts) > 1:
        more, more_ranks = index.best(session, index.weights(session, query.words), among, CANDIDATES)
        keep = ~np.isin(more, ids)
        more, more_ranks = more[keep], more_ranks[keep]
        # One falling line: those that hold all words stand a step above the best of the others.
        step = float(more_ranks[0] - ranks[-1]) + 1.0 if len(more) and len(ids) else 0.0
        ids, ranks = np.concatenate([ids, more]), np.concatenate([ranks + max(0.0, step), more_ranks])
    return Ranked(ids, ranks)


def by_conditions(session: Session, index: WordIndex, query: Query, among: Allowed) -> Ranked:
    """Papers that meet conditions: by BM25 of the words in them, or, when there are none, none here (see `find.newest`)."""
    groups = [[p for p in group if isinstance(p, Text)] for group in query.must]
    parts = [p for group in groups for p in group]
    if not parts:
        return NOTHING
    ids, ranks = index.any_ranked(session, parts, among, 2 * CANDIDATES)
    return Ranked(ids, ranks)
