"""Papers like one paper: nearest vectors, or its most telling words where it has no vector."""

from __future__ import annotations

from typing import Literal

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from workingpapers.lab import Store

from ..tables import PaperRow, PaperVectorRow
from .conditions import Allowed, allowed
from .find import Searcher, searcher
from .grammar import parse, words_of

TELLING_WORDS = 12


def similar_papers(store: Store, paper: PaperRow, limit: int = 6) -> tuple[list[PaperRow], Literal["meaning", "words"]]:
    """The papers most like one, and by what: the nearest by cosine, or those that share its rarest words.

    Cost: one pass over the vectors, 1.5 kB a paper.
    """
    find = searcher(store)
    with store.reading() as session:
        ids = _near(session, find, paper, limit)
        how: Literal["meaning", "words"] = "meaning"
        if not ids:
            ids, how = _worded(session, find, paper, limit), "words"
        rows = {row.id: row for row in session.scalars(select(PaperRow).where(PaperRow.id.in_(ids)))}
    return [rows[i] for i in ids if i in rows], how


def _near(session: Session, find: Searcher, paper: PaperRow, limit: int) -> list[int]:
    if find.model.why_absent and not find.vectors.size(session):
        return []
    kept = session.scalar(select(PaperVectorRow.vector).where(
        PaperVectorRow.paper_id == paper.id, PaperVectorRow.model_id == find.model.model_id))
    if kept is None:
        return []
    among = _others(session, find, paper)
    ids, _ = find.vectors.nearest(session, np.frombuffer(kept, "<f4"), limit, None, among.never)
    return [int(i) for i in ids]


def _worded(session: Session, find: Searcher, paper: PaperRow, limit: int) -> list[int]:
    words = list(dict.fromkeys(w.lower() for w in words_of(f"{paper.title} {paper.plain_summary or ''} {paper.abstract}"[:3_000])))
    weights = find.index.weights(session, words[:150])
    shared = {w: v for w, v in weights.items() if find.index.count(session, w) > 1}  # a word of this paper alone leads nowhere
    telling = dict(sorted(shared.items(), key=lambda item: -item[1])[:TELLING_WORDS])
    if not telling:
        return []
    ids, _ = find.index.best(session, telling, _others(session, find, paper), limit)
    return [int(i) for i in ids]


def _others(session: Session, find: Searcher, paper: PaperRow) -> Allowed:
    hidden = allowed(session, find.index, parse("")).never
    return Allowed(None, np.append(hidden, paper.id))
