"""Why a paper answers a question, in words that a reader can check: how near in meaning, and which of the question's words it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from .find import Answer, Searcher
from .vectors import Ids

CLOSE, NEAR = 0.5, 0.35
"""Cosines at which a paper is said to be close, or near, in meaning; all-MiniLM-L6-v2 gives unrelated papers about 0 to 0.2."""

SHOWN_WORDS = 8
_JOINING = (
    "a about after all also an and any are as at be because been before being between both but by can could did do does each every "
    "for from get give gives had has have how i if in into is it its just like made make makes many may me more most much must my "
    "no not of off on one only or other our out over same should so some such than that the their them then there these they this "
    "those through to too under up us use used uses using very was we were what when where which while who whom whose why will "
    "with within without would you your ")
FUNCTION_WORDS = frozenset(_JOINING.split())
"""Words that join others: nobody looks for a paper by these."""


@dataclass(frozen=True)
class Reason:
    """Why a paper stands in an answer.

    Attributes:
        exact: the question is its id, address or title.
        cosine: of question and paper; None where meaning played no part, or the paper has no vector yet.
        held: words of the question that it holds, as they were typed, in their order.
        asked: how many words were looked for; those that only join others are left out.
    """

    exact: bool
    cosine: float | None
    held: tuple[str, ...]
    asked: int

    def __str__(self) -> str:
        if self.exact:
            return "Its id, address or title is your question."
        near = ""
        if self.cosine is not None and self.cosine >= NEAR:
            near = f"{'Close' if self.cosine >= CLOSE else 'Near'} in meaning ({self.cosine:.2f})"
        if not self.held:
            return f"{near}, in other words." if near and self.asked else f"{near}." if near else ""
        shown = ", ".join(self.held[:SHOWN_WORDS]) + (" and others" if len(self.held) > SHOWN_WORDS else "")
        if self.asked == 1:
            has = f"has {shown}"
        elif len(self.held) == self.asked:
            has = f"has all your words: {shown}"
        else:
            has = f"has {len(self.held)} of your {self.asked} words: {shown}"
        return f"{near}; {has}." if near else f"{has[0].upper()}{has[1:]}."


def reasons(session: Session, find: Searcher, answer: Answer) -> Mapping[int, Reason]:
    """The reason of each paper of a page; none where conditions alone decided."""
    if answer.how not in ("meaning and words", "words") or not answer.hits:
        return {}
    asked = [w for w in answer.query.words if w.lower() not in FUNCTION_WORDS] or list(answer.query.words)
    ids: Ids = np.array([hit.paper.id for hit in answer.hits], np.int64)
    held = find.index.holds(session, asked, ids)
    cosines: list[float | None] = [None] * len(ids)
    if answer.how == "meaning and words" and (vector := find.model.question(answer.query.prose)) is not None:
        cosines = [None if np.isnan(c) else float(c) for c in find.vectors.cosines(session, vector, ids)]
    return {hit.paper.id: Reason(hit.exact, cosine, tuple(w for w, there in zip(asked, row) if there), len(asked))
            for hit, cosine, row in zip(answer.hits, cosines, held)}
