"""BM25 as FTS5 computes it, number by number the same, from postings in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from .postings import Ids, Posting, Snapshot

K1, B = 1.2, 0.75


def idf(texts: int, holding: int) -> float:
    """ln((N - n + 1/2) / (n + 1/2)); of words in half of the texts or more, 1e-6."""
    found = math.log((texts - holding + 0.5) / (holding + 0.5))
    return found if found > 0 else 1e-6


def scores(session: Session, snapshot: Snapshot, postings: Sequence[Posting], ids: Ids) -> NDArray[np.float64]:
    """What `-bm25(...)` of FTS5 gives each of these papers for some words; higher is better.

        sum over words of idf * f (k1 + 1) / (f + k1 (1 - b + b length / mean length))

    where f counts the times a word stands in a text, each weighted by its column (`postings.WEIGHTS`). Words add in their order, as
    those of an expression do, so that sums round alike; one that is named twice counts twice.

    Args:
        postings: of the words, with their times.
        ids: sorted, without repetition. Cost: linear in these, or in the papers of a word where these are fewer.
    """
    total = np.zeros(len(ids))
    room = K1 * (1 - B + B * snapshot.lengths(session, ids) / snapshot.mean)
    for posting in postings:
        at, times = posting.held(ids)
        total[at] += idf(snapshot.texts, posting.count) * ((times * (K1 + 1)) / (times + room[at]))
    return total


def top(ids: Ids, ranks: NDArray[np.float64], limit: int) -> tuple[Ids, NDArray[np.float64]]:
    """The best, equal ones by id; `ids` sorted.

    >>> top(np.array([3, 5, 8, 9]), np.array([1.0, 2.0, 1.0, 0.5]), 2)
    (array([5, 3]), array([2., 1.]))
    """
    if len(ids) > limit:
        least = np.partition(ranks, len(ranks) - limit)[len(ranks) - limit]
        good = ranks >= least
        ids, ranks = ids[good], ranks[good]
    order = np.lexsort((ids, -ranks))[:limit]
    return ids[order], ranks[order]
