"""The job that gives papers their vectors. Killed at any moment, it goes on where it was: each batch is one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Select, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from workingpapers.lab import Store
from workingpapers.parts.language.embedder import Embedder

from ..jobs import Job, Later, every, handler
from ..tables import PaperRow, PaperVectorRow
from .encoding import Model, hash_of, text_of
from .matrix import VectorMatrix
from .vectors import PgVectors, Vectors

BATCH = 512
EVERY_SECONDS = 300.0


@dataclass(frozen=True)
class Progress:
    """How far the embedding is: papers done and to do in this call, seconds spent."""

    done: int
    total: int
    seconds: float

    @property
    def rate(self) -> float:
        """Papers a second."""
        return self.done / self.seconds if self.seconds else 0.0


def embed(store: Store, model: Model | None = None, *, report: Callable[[Progress], None] = lambda _: None,
          should_end: Callable[[], bool] = lambda: False, batch: int = BATCH) -> Progress:
    """Give a vector to every paper that has none, or whose text has changed since.

    Args:
        model: whose `bulk` embedder is used.
        report: called after each batch.
        should_end: asked before each batch; what is done stays done.

    Raises:
        ModelMissing: when no model is installed.
    """
    model = model or Model()
    vectors = vectors_of(store, model)
    with store.reading() as session:
        total = count_pending(session, model.model_id)
    began, done = time.monotonic(), 0
    embedder = model.bulk() if total else None
    after = 0
    while embedder is not None and not should_end():
        with store.reading() as session:
            papers = pending(session, model.model_id, after, batch)
        if not papers:
            break
        after = papers[-1].id
        _embed(store, embedder, papers, vectors)
        done += len(papers)
        report(Progress(done, max(total, done), time.monotonic() - began))
    if isinstance(vectors, PgVectors):
        with store.writing() as session:
            vectors.refresh(session)
    return Progress(done, max(total, done), time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class Pending:
    """A paper to look at; `text_hash` is that of its vector, None when it has none."""

    id: int
    text: str
    search_rev: int
    text_hash: str | None


def pending(session: Session, model_id: str, after: int, limit: int) -> list[Pending]:
    """The next papers whose vector is missing or may be out of date, by id."""
    behind = _behind(model_id).subquery()
    query = (select(PaperRow.id, PaperRow.title, PaperRow.abstract, PaperRow.plain_summary, PaperRow.search_rev, behind.c.text_hash)
             .join(behind, behind.c.id == PaperRow.id).where(behind.c.id > after).order_by(behind.c.id).limit(limit))
    return [Pending(i, text_of(title, abstract, summary), rev, known)
            for i, title, abstract, summary, rev, known in session.execute(query).tuples()]


def count_pending(session: Session, model_id: str) -> int:
    """How many papers the job would look at."""
    return session.scalar(select(func.count()).select_from(_behind(model_id).subquery())) or 0


def _behind(model_id: str) -> Select[int, str]:
    row = PaperVectorRow
    of_paper = and_(row.paper_id == PaperRow.id, row.model_id == model_id)
    return (select(PaperRow.id, row.text_hash).outerjoin(row, of_paper)
            .where(or_(row.id.is_(None), row.search_rev != PaperRow.search_rev)))


def _embed(store: Store, embedder: Embedder, papers: list[Pending], vectors: Vectors) -> None:
    """One batch: the model outside of any transaction, then rows in one. Papers changed meanwhile are found again later."""
    changed = [p for p in papers if p.text_hash is None or p.text_hash != hash_of(p.text)]
    made = np.ascontiguousarray(embedder.encode([p.text for p in changed]), "<f4") if changed else np.empty((0, embedder.dimension), "<f4")
    with store.writing() as session:
        ids = [p.id for p in papers]
        there = set(session.scalars(select(PaperRow.id).where(PaperRow.id.in_(ids))))
        session.execute(delete(PaperVectorRow).where(
            PaperVectorRow.model_id == embedder.model_id, PaperVectorRow.paper_id.in_([p.id for p in changed])))
        session.bulk_insert_mappings(PaperVectorRow, [
            {"paper_id": p.id, "model_id": embedder.model_id, "dim": embedder.dimension, "vector": vector.tobytes(),
             "text_hash": hash_of(p.text), "search_rev": p.search_rev} for p, vector in zip(changed, made) if p.id in there])
        again = {p.id for p in changed}
        for p in papers:
            if p.id not in again:
                session.execute(update(PaperVectorRow).where(
                    PaperVectorRow.paper_id == p.id, PaperVectorRow.model_id == embedder.model_id).values(search_rev=p.search_rev))
        if isinstance(vectors, PgVectors):
            vectors.refresh(session)


def vectors_of(store: Store, model: Model) -> Vectors:
    """Where vectors of this model are asked for: pgvector where the server has it, else this process's memory."""
    if not store.is_sqlite:
        with store.reading() as session:
            if PgVectors.is_there(session):
                return PgVectors(model.model_id, model.dimension)
    return VectorMatrix(model.model_id, model.dimension)


@handler("embed")
def embed_job(job: Job) -> None:
    """Vectors for new and changed papers; nothing to do where no model is installed."""
    model = Model()
    if model.why_absent:
        return
    told = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told > 2:
            told = time.monotonic()
            job.progress(done=progress.done, total=progress.total, rate=round(progress.rate, 1))

    embed(job.store, model, report=tell, should_end=lambda: job.should_end)
    if job.should_end:
        raise Later(1)


every("embed", seconds=EVERY_SECONDS)
