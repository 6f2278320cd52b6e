"""Tables of runs: what was planned, what was measured, what was decided."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import JSON, DateTime, Float, ForeignKey, Index, Integer, MetaData, String, Text, TypeDecorator, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


def now() -> dt.datetime:
    """The present moment, in UTC."""
    return dt.datetime.now(dt.UTC)


class UTC(TypeDecorator[dt.datetime]):
    """A moment in UTC on every database: SQLite forgets the zone, PostgreSQL answers in that of the server."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a moment without a time zone may not be stored")
        return value if value is None else value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class Base(DeclarativeBase):
    """Base of every table; the hub adds its own to it."""

    metadata = MetaData(naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    })
    type_annotation_map = {dt.datetime: UTC, dict[str, Any]: JSON, list[Any]: JSON}


class RunRow(Base):
    """One execution of one claim.

    `state` moves queued -> running -> done | failed | cancelled | lost; `origin` is `here`, `imported` or `reference`.
    `is_yours` marks a run on a user's own workload: shown, never counted in the paper's verdict.
    """

    __tablename__ = "runs"
    __table_args__ = (Index("ix_runs_claim", "slug", "claim_id", "origin", "ended_at"), Index("ix_runs_queue", "state", "priority", "id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(String(40), unique=True)
    batch_id: Mapped[str] = mapped_column(String(40), index=True)
    slug: Mapped[str] = mapped_column(String(80))
    claim_id: Mapped[str] = mapped_column(String(120))
    scale: Mapped[str] = mapped_column(String(10))
    origin: Mapped[str] = mapped_column(String(12), default="here")
    is_yours: Mapped[bool] = mapped_column(default=False)
    executor: Mapped[str] = mapped_column(String(12), default="local")
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(String(12), default="queued")
    priority: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    attempts: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None] = mapped_column(String(120))
    lease_until: Mapped[dt.datetime | None]
    requested_by: Mapped[str | None] = mapped_column(String(120))
    code_hash: Mapped[str] = mapped_column(String(64), default="")
    data_hash: Mapped[str] = mapped_column(String(64), default="")
    environment: Mapped[dict[str, Any]] = mapped_column(default=dict)
    plan: Mapped[dict[str, Any]] = mapped_column(default=dict)
    verdict: Mapped[str | None] = mapped_column(String(14))
    reason: Mapped[str] = mapped_column(Text, default="")
    note: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    started_at: Mapped[dt.datetime | None]
    ended_at: Mapped[dt.datetime | None]
    seconds: Mapped[float] = mapped_column(Float, default=0.0)

    trials: Mapped[list[TrialRow]] = relationship(back_populates="run", cascade="all, delete-orphan", order_by="TrialRow.id")
    checks: Mapped[list[CheckRow]] = relationship(back_populates="run", cascade="all, delete-orphan", order_by="CheckRow.position")
    files: Mapped[list[FileRow]] = relationship(back_populates="run", cascade="all, delete-orphan", order_by="FileRow.id")
    events: Mapped[list[EventRow]] = relationship(cascade="all, delete-orphan", order_by="EventRow.seq")


class TrialRow(Base):
    """One arm (or `*`, all arms of a timed trial), one seed, one workload point."""

    __tablename__ = "trials"
    __table_args__ = (UniqueConstraint("run_pk", "part", "arm", "seed", "point"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_pk: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    part: Mapped[str] = mapped_column(String(120))
    arm: Mapped[str] = mapped_column(String(160))
    seed: Mapped[int]
    point: Mapped[str] = mapped_column(String(300))
    is_timed: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(String(10), default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    seconds: Mapped[float | None]
    peak_mb: Mapped[float | None]
    traceback: Mapped[str | None] = mapped_column(Text)
    reuse_key: Mapped[str | None] = mapped_column(String(64), index=True)
    reused_from: Mapped[dt.datetime | None]
    ended_at: Mapped[dt.datetime | None]

    run: Mapped[RunRow] = relationship(back_populates="trials")
    measurements: Mapped[list[MeasurementRow]] = relationship(cascade="all, delete-orphan", order_by="MeasurementRow.id")


class MeasurementRow(Base):
    """One number of one trial. The uniqueness rule makes a repeated report harmless."""

    __tablename__ = "measurements"
    __table_args__ = (UniqueConstraint("trial_pk", "arm", "metric"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    trial_pk: Mapped[int] = mapped_column(ForeignKey("trials.id", ondelete="CASCADE"))
    arm: Mapped[str] = mapped_column(String(160))
    metric: Mapped[str] = mapped_column(String(160))
    value: Mapped[float | None]
    special: Mapped[str | None] = mapped_column(String(10))


class CheckRow(Base):
    """One leaf of the rule, as it was found when the run was decided."""

    __tablename__ = "checks"
    __table_args__ = (UniqueConstraint("run_pk", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_pk: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    position: Mapped[int]
    is_headline: Mapped[bool] = mapped_column(default=False)
    name: Mapped[str] = mapped_column(Text)
    verdict: Mapped[str] = mapped_column(String(14))
    body: Mapped[dict[str, Any]]

    run: Mapped[RunRow] = relationship(back_populates="checks")


class EventRow(Base):
    """What happened while a run went on, numbered: live pages read on from the number they have."""

    __tablename__ = "run_events"
    __table_args__ = (UniqueConstraint("run_pk", "seq"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_pk: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    seq: Mapped[int]
    kind: Mapped[str] = mapped_column(String(20))
    payload: Mapped[dict[str, Any]]
    at: Mapped[dt.datetime] = mapped_column(default=now)


class FileRow(Base):
    """A plot of a run. `path` is relative to the artefacts folder; `spec` is the Vega-Lite specification it was drawn from."""

    __tablename__ = "run_files"
    __table_args__ = (UniqueConstraint("run_pk", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_pk: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(80))
    title: Mapped[str] = mapped_column(Text, default="")
    spec: Mapped[dict[str, Any]]
    paths: Mapped[dict[str, Any]]
    order: Mapped[int] = mapped_column("position", Integer, default=0)

    run: Mapped[RunRow] = relationship(back_populates="files")
