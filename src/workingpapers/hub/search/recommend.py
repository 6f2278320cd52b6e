"""Papers for one reader: a linear classifier a tag, and one for likes and dislikes, on the vectors of papers.

Without vectors the same classifier works on tf-idf of words (1- and 2-grams). Pure functions of features and marks; `for_reader`
brings them to the database.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from workingpapers.lab import Store

from ..tables import PaperRow, PaperVectorRow, RatingRow, TagRow
from .encoding import text_of
from .find import searcher

PENALTY = 0.01
LIKED = "liked"
NEWEST = 2_000
Features = NDArray[np.float32] | Any


@dataclass(frozen=True)
class Pick:
    """A paper for a reader. `because`: the tag that speaks for it, or `liked`; `score`: its distance to that classifier's plane."""

    paper: PaperRow
    because: str
    score: float


def direction(features: Features, marks: NDArray[np.int64], penalty: float = PENALTY,
              loud: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.float64], float]:
    """Weights and bias of a linear support vector machine with balanced classes: both weigh the same together.

    Args:
        features: (n, d) rows, dense or sparse, of about unit length.
        marks: (n,) of +1 and -1; both must be among them.
        loud: (n,) true for those of the -1 that a reader marked so. They weigh as much together as all others against, though
            none more than one of the +1: thousands of papers that nobody marked would drown them otherwise.
        penalty: C of the machine: small, since a reader marks few papers.

    Raises:
        ValueError: when one of the two marks is absent.

    >>> x = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], np.float32)
    >>> weights, bias = direction(x, np.array([1, 1, -1, -1]))
    >>> bool((x @ weights + bias)[0] > (x @ weights + bias)[2])
    True
    """
    if set(np.unique(marks).tolist()) != {-1, 1}:
        raise ValueError("marks: papers marked +1 and papers marked -1 are both needed")
    from sklearn.svm import LinearSVC

    positive = marks == 1
    half = len(marks) / 2
    weight = np.where(positive, half / positive.sum(), half / (~positive).sum())
    if loud is not None and loud.any() and (quiet := ~positive & ~loud).any():
        weight[loud] = min(half / 2 / loud.sum(), half / positive.sum())
        weight[quiet] = (half - weight[loud].sum()) / quiet.sum()
    machine = LinearSVC(C=penalty, max_iter=5_000, tol=1e-5, random_state=0).fit(features, marks, sample_weight=weight)
    return machine.coef_[0], float(machine.intercept_[0])


def recommend(features: Features, ids: Sequence[int], wanted: Mapping[str, Iterable[int]], unwanted: Iterable[int],
              candidates: Iterable[int], limit: int, penalty: float = PENALTY) -> list[tuple[int, str, float]]:
    """Candidates by their best score over all tags, with the tag that gave it.

    Each tag has a classifier: its papers against all others but those of the other tags, the disliked ones always against.
    What was marked is never recommended. Ties go to the lower id.

    Args:
        features: (n, d), row i of paper `ids[i]`.
        wanted: papers of each tag; likes are the tag `liked`.
        unwanted: disliked papers.
        candidates: papers to choose from.
        limit: how many.
    """
    place = {paper: i for i, paper in enumerate(ids)}
    groups = {tag: sorted({place[p] for p in papers if p in place}) for tag, papers in wanted.items()}
    groups = {tag: rows for tag, rows in groups.items() if rows}
    against = {place[p] for p in unwanted if p in place}
    marked = against.union(*groups.values()) if groups else against
    rows = np.array(sorted({place[p] for p in candidates if p in place} - marked), np.int64)
    if not groups or not len(rows):
        return []
    best = np.full(len(rows), -np.inf)
    because = np.zeros(len(rows), np.int64)
    for number, (_, positive) in enumerate(sorted(groups.items())):
        mine = set(positive) - against
        others = (marked - against) - mine
        train = np.array([i for i in range(len(ids)) if i not in others], np.int64)
        marks = np.where(np.isin(train, sorted(mine)), 1, -1)
        if not mine or np.all(marks == 1):
            continue
        weights, bias = direction(features[train], marks, penalty, np.isin(train, sorted(against)))
        score = np.asarray(features[rows] @ weights).ravel() + bias
        better = score > best
        best, because = np.where(better, score, best), np.where(better, number, because)
    names = sorted(groups)
    paper_ids = np.array([ids[i] for i in rows])
    order = np.lexsort((paper_ids, -best))[:limit]
    return [(int(paper_ids[i]), names[because[i]], float(best[i])) for i in order if np.isfinite(best[i])]


def words_as_features(texts: Sequence[str]) -> Any:
    """tf-idf of 1- and 2-grams, sparse (n, <= 20,000): what the classifier gets without vectors."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    least = 5 if len(texts) >= 200 else 1
    return TfidfVectorizer(ngram_range=(1, 2), max_features=20_000, min_df=least, max_df=0.1 if len(texts) >= 200 else 1.0,
                           sublinear_tf=True, stop_words="english", dtype=np.float32).fit_transform(texts)


@dataclass(frozen=True)
class ForReader:
    """What was found for a reader, and on what: `meaning`, `words`, or `nothing` while nothing is marked."""

    picks: tuple[Pick, ...]
    how: str
    tags: tuple[str, ...]


def for_reader(store: Store, user_id: int, limit: int = 20, days: int | None = None) -> ForReader:
    """The newest papers that fit what a reader tagged and rated.

    The 2,000 newest papers are judged, so cost does not grow with the library; the newest 2,000 and those marked are what the
    classifiers learn from.

    Args:
        days: only papers listed in the last so many days; None takes the newest whatever their age.
    """
    with store.reading() as session:
        wanted, unwanted = marks_of(session, user_id)
        if not wanted:
            return ForReader((), "nothing", ())
        marked = {p for papers in wanted.values() for p in papers} | unwanted
        newest = _newest(session, days)
        ids, features, how = _features(store, session, sorted(marked | set(newest)))
        found = recommend(features, ids, wanted, unwanted, newest, limit)
        rows = {r.id: r for r in session.scalars(select(PaperRow).where(PaperRow.id.in_([i for i, _, _ in found])))}
    return ForReader(tuple(Pick(rows[i], tag, score) for i, tag, score in found if i in rows), how, tuple(sorted(wanted)))


def marks_of(session: Session, user_id: int) -> tuple[dict[str, set[int]], set[int]]:
    """What a reader marked: papers of each tag, and those rated down. Rated up counts as the tag `liked`."""
    wanted: dict[str, set[int]] = {}
    for name, paper in session.execute(select(TagRow.name, TagRow.paper_id).where(TagRow.user_id == user_id)):
        wanted.setdefault(name, set()).add(paper)
    unwanted = set()
    for paper, value in session.execute(select(RatingRow.paper_id, RatingRow.value).where(RatingRow.user_id == user_id)):
        if value > 0:
            wanted.setdefault(LIKED, set()).add(paper)
        else:
            unwanted.add(paper)
    return wanted, unwanted


def _newest(session: Session, days: int | None) -> list[int]:
    """By day of listing, then of publication: two walks along indexes."""
    shown = PaperRow.hidden.is_(False)
    listed = select(PaperRow.id).where(shown, PaperRow.listed_on.is_not(None))
    published = select(PaperRow.id).where(shown, PaperRow.published_on.is_not(None))
    if days is not None:
        first = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days)
        listed, published = listed.where(PaperRow.listed_on >= first), published.where(PaperRow.published_on >= first)
    by_list = session.scalars(listed.order_by(PaperRow.listed_on.desc(), PaperRow.id.desc()).limit(NEWEST)).all()
    by_day = session.scalars(published.order_by(PaperRow.published_on.desc(), PaperRow.id.desc()).limit(NEWEST)).all()
    return list(dict.fromkeys([*by_list, *by_day]))[:NEWEST]


def _features(store: Store, session: Session, ids: list[int]) -> tuple[list[int], Features, str]:
    """Rows of features for these papers: vectors where nearly all have one, else words."""
    model = searcher(store).model
    found: dict[int, bytes] = {}
    if not (model.why_absent and ":" in model.name):
        for start in range(0, len(ids), 5_000):
            query = select(PaperVectorRow.paper_id, PaperVectorRow.vector).where(
                PaperVectorRow.model_id == model.model_id, PaperVectorRow.paper_id.in_(ids[start : start + 5_000]))
            found.update({row[0]: row[1] for row in session.execute(query)})
    if len(found) >= 0.9 * len(ids):
        kept = [i for i in ids if i in found]
        return kept, np.stack([np.frombuffer(found[i], "<f4") for i in kept]), "meaning"
    texts = {}
    for start in range(0, len(ids), 5_000):
        said = select(PaperRow.id, PaperRow.title, PaperRow.abstract, PaperRow.plain_summary).where(
            PaperRow.id.in_(ids[start : start + 5_000]))
        texts.update({row[0]: text_of(row[1], row[2], row[3]) for row in session.execute(said)})
    kept = [i for i in ids if i in texts]
    return kept, words_as_features([texts[i] for i in kept]), "words"

