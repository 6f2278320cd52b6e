"""Runs as files: one JSON document that another site can take in, and the reference runs that papers ship."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select

from ._lab import Lab, LabError
from .read import run as find_run
from .report import run_document
from .store import CheckRow, MeasurementRow, RunRow, TrialRow

FORMAT = "workingpapers-runs"
VERSION = 1
MAX_BYTES = 64 << 20


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Measured(_Part):
    arm: str = Field(max_length=160)
    metric: str = Field(max_length=160)
    value: float | None = None
    special: Literal["nan", "inf", "-inf"] | None = None


class _Trial(_Part):
    part: str = Field(max_length=120)
    arm: str = Field(max_length=160)
    seed: int
    point: str = Field(max_length=300)
    is_timed: bool = False
    state: Literal["pending", "running", "done", "failed"]
    seconds: float | None = None
    peak_mb: float | None = None
    traceback: str | None = None
    measurements: list[_Measured] = []


class _Check(_Part):
    name: str
    rule: str = ""
    kind: str = ""
    verdict: Literal["holds", "partly", "fails", "inconclusive", "untested"]
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    threshold: float | tuple[float, float] | None = None
    better: Literal["lower", "higher", "inside"] = "lower"
    scale: Literal["linear", "log"] = "linear"
    n_seeds: int = 0
    counts: tuple[int, int] | None = None
    headline: bool = False
    group: tuple[str, ...] = ()
    reason: str = ""
    metric: str = ""
    point: str | None = None
    also: dict[str, tuple[float, float]] = {}


class _Run(_Part):
    run_id: str = Field(max_length=40, pattern=r"^[A-Za-z0-9_-]+$")
    batch_id: str = Field(max_length=40, pattern=r"^[A-Za-z0-9_-]+$")
    paper: str = Field(max_length=80, pattern=r"^[a-z][a-z0-9_]*$")
    claim: str = Field(max_length=120, pattern=r"^[a-z0-9-]+$")
    scale: Literal["smoke", "small", "full"]
    verdict: Literal["holds", "partly", "fails", "inconclusive", "untested"] | None
    reason: str = ""
    note: str = ""
    is_yours: bool = False
    executor: str = Field("local", max_length=12)
    seconds: float
    code_hash: str = Field("", max_length=64)
    data_hash: str = Field("", max_length=64)
    environment: dict[str, Any] = {}
    plan: dict[str, Any] = {}
    created_at: dt.datetime
    ended_at: dt.datetime | None = None
    checks: list[_Check] = []
    trial_rows: list[_Trial] = []


class _Document(_Part):
    format: Literal["workingpapers-runs"]
    version: Literal[1]
    runs: list[_Run] = Field(max_length=1000)


def export_runs(lab: Lab, names: Sequence[str], *, trials: bool = True) -> dict[str, Any]:
    """Runs (or whole batches) by name as one document: checks, arms, plot specifications and, unless told otherwise, trials.

    Raises:
        LabError: a name that no run and no batch has.
    """
    out = []
    with lab.store.reading() as session:
        for name in names:
            named = (RunRow.run_id == name) | (RunRow.batch_id == name)
            ids = session.scalars(select(RunRow.run_id).where(named).order_by(RunRow.id)).all()
            if not ids:
                raise LabError(f"no run and no batch is named {name!r}: `workingpapers runs list` shows them")
            for run_id in ids:
                row = find_run(session, run_id)
                assert row is not None
                entry = run_document(row, lab.facts_of(row.slug, row.claim_id))
                entry |= {"batch_id": row.batch_id, "environment": row.environment, "plan": row.plan,
                          "plots": [{"name": f.name, "title": f.title, "spec": f.spec} for f in row.files]}
                if trials:
                    entry["trial_rows"] = [_trial(t) for t in row.trials]
                else:
                    entry["plots"] = []
                out.append(entry)
    return {"format": FORMAT, "version": VERSION, "runs": out}


def import_runs(lab: Lab, text: str | bytes) -> list[str]:
    """Take runs of another site in; they are shown as imported and never counted as this machine's. Returns their names.

    A run that is here already is left alone. Plots are drawn anew from the numbers, never taken from the file.

    Raises:
        LabError: not such a document; the field that is wrong is named.
    """
    if len(text) > MAX_BYTES:
        raise LabError(f"the document has {len(text) >> 20} MB; at most {MAX_BYTES >> 20} are taken")
    try:
        document = _Document.model_validate(json.loads(text))
    except (ValueError, RecursionError) as error:
        where = ""
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            where = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise LabError(f"not a document of runs: {where or error}") from error
    from .plots import draw_run

    names = []
    for run in document.runs:
        with lab.store.writing() as session:
            if session.scalar(select(RunRow.id).where(RunRow.run_id == run.run_id)) is not None:
                continue
            row = RunRow(run_id=run.run_id, batch_id=run.batch_id, slug=run.paper, claim_id=run.claim, scale=run.scale, origin="imported",
                         is_yours=run.is_yours, executor=run.executor, state="done", verdict=run.verdict, reason=run.reason, note=run.note,
                         seconds=run.seconds, code_hash=run.code_hash, data_hash=run.data_hash, environment=run.environment, plan=run.plan,
                         created_at=_aware(run.created_at), started_at=_aware(run.created_at),
                         ended_at=_aware(run.ended_at or run.created_at))
            headline = next((i for i, c in enumerate(run.checks) if c.headline), 0)
            row.checks = [CheckRow(position=i, is_headline=i == headline, name=c.name, verdict=c.verdict, body=c.model_dump(mode="json"))
                          for i, c in enumerate(run.checks)]
            row.trials = [TrialRow(**t.model_dump(exclude={"measurements"}),
                                   measurements=[MeasurementRow(**m.model_dump()) for m in t.measurements])
                          for t in run.trial_rows]
            session.add(row)
            session.flush()
            pk = row.id
        draw_run(lab.store, pk, lab.facts_of(run.paper, run.claim), [])
        names.append(run.run_id)
    return names


def _trial(t: TrialRow) -> dict[str, Any]:
    return {"part": t.part, "arm": t.arm, "seed": t.seed, "point": t.point, "is_timed": t.is_timed, "state": t.state, "seconds": t.seconds,
            "peak_mb": t.peak_mb, "traceback": t.traceback,
            "measurements": [{"arm": m.arm, "metric": m.metric, "value": m.value, "special": m.special} for m in t.measurements]}


def _aware(moment: dt.datetime) -> dt.datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
