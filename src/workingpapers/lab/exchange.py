"""Runs as files: one JSON document that another site can take in, and the reference runs that papers ship."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import select

from ._lab import Lab, LabError
from .read import run as find_run
from .report import run_document
from .store import CheckRow, MeasurementRow, RunRow, TrialRow

FORMAT = "workingpapers-runs"
VERSION = 1
MAX_BYTES = 64 << 20


Word = Literal["holds", "partly", "fails", "inconclusive", "untested"]
Name = Annotated[str, Field(max_length=160)]
Label = Annotated[str, Field(max_length=300)]
Line = Annotated[str, Field(max_length=4_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
Moment = Annotated[dt.datetime, AfterValidator(lambda m: m if m.tzinfo else m.replace(tzinfo=dt.UTC))]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Measured(_Part):
    arm: Name
    metric: Name
    value: float | None = None
    special: Literal["nan", "inf", "-inf"] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> _Measured:
        if (self.value is None) == (self.special is None):
            raise ValueError("either value or special is needed")
        return self


class _Trial(_Part):
    part: Annotated[str, Field(max_length=120)]
    arm: Name
    seed: Count
    point: Label
    is_timed: bool = False
    state: Literal["pending", "running", "done", "failed"]
    seconds: float | None = None
    peak_mb: float | None = None
    traceback: Annotated[str, Field(max_length=100_000)] | None = None
    reused_from: Moment | None = None
    measurements: Annotated[list[_Measured], Field(max_length=10_000)] = []

    @model_validator(mode="after")
    def _once(self) -> _Trial:
        _unique("measurements", [(m.arm, m.metric) for m in self.measurements])
        return self


class _Check(_Part):
    name: Line
    rule: Line = ""
    kind: Name = ""
    verdict: Word
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    threshold: float | tuple[float, float] | None = None
    better: Literal["lower", "higher", "inside"] = "lower"
    scale: Literal["linear", "log"] = "linear"
    n_seeds: Count = 0
    counts: tuple[Count, Count] | None = None
    headline: bool = False
    group: Annotated[tuple[Line, ...], Field(max_length=20)] = ()
    decides: bool = True
    reason: Line = ""
    metric: Name = ""
    point: Label | None = None
    also: Annotated[dict[Name, tuple[float, float]], Field(max_length=20)] = {}


class _Timed(_Part):
    timed: bool = False
    arms: Annotated[list[Name], Field(max_length=1_000)] = []


class _Plan(_Part):
    threads: Count = 1
    time_limit: float | None = None
    memory_gb: float | None = None
    parts: Annotated[dict[Name, _Timed], Field(max_length=100)] = {}
    arms: Annotated[dict[Name, Literal["method", "baseline", "peer", "control"]], Field(max_length=1_000)] = {}
    points: Annotated[list[Label], Field(max_length=10_000)] = []
    needs_direction: Annotated[list[Name], Field(max_length=1_000)] = []


class _Environment(_Part):
    cpu: Label = ""
    cores: Count | None = None
    memory_gb: float | None = None
    gpu: Label | None = None
    system: Label = ""
    python: Name = ""
    workingpapers: Name = ""
    packages: Annotated[dict[Name, Name], Field(max_length=1_000)] = {}


class _Run(_Part):
    run_id: Annotated[str, Field(max_length=40, pattern=r"^[A-Za-z0-9_-]+$")]
    batch_id: Annotated[str, Field(max_length=40, pattern=r"^[A-Za-z0-9_-]+$")]
    paper: Annotated[str, Field(max_length=80, pattern=r"^[a-z][a-z0-9_]*$")]
    claim: Annotated[str, Field(max_length=120, pattern=r"^[a-z0-9-]+$")]
    scale: Literal["smoke", "small", "full"]
    state: Literal["queued", "running", "done", "failed", "cancelled", "lost"] = "done"
    verdict: Word | None
    reason: Line = ""
    note: Line = ""
    is_yours: bool = False
    executor: Annotated[str, Field(max_length=12)] = "local"
    seconds: Annotated[float, Field(ge=0)]
    code_hash: Annotated[str, Field(max_length=64)] = ""
    data_hash: Annotated[str, Field(max_length=64)] = ""
    environment: _Environment = _Environment()
    plan: _Plan = _Plan()
    created_at: Moment
    ended_at: Moment | None = None
    checks: Annotated[list[_Check], Field(max_length=1_000)] = []
    trial_rows: list[_Trial] = []

    @model_validator(mode="after")
    def _once(self) -> _Run:
        _unique("trial_rows", [(t.part, t.arm, t.seed, t.point) for t in self.trial_rows])
        return self


def _unique(what: str, keys: Sequence[tuple[Any, ...]]) -> None:
    seen: set[tuple[Any, ...]] = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"{what}: {', '.join(map(str, key))[:200]} stands twice")
        seen.add(key)


class _Document(_Part):
    format: Literal["workingpapers-runs"]
    version: Literal[1]
    runs: Annotated[list[_Run], Field(max_length=1000)]


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
        document = _Document.model_validate(json.loads(text, parse_constant=_refuse, parse_float=_finite))
    except (ValueError, RecursionError) as error:
        where = ""
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            where = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise LabError(f"not a document of runs: {where or str(error)[:300]}") from error
    from .plots import draw_run

    names = []
    for number, run in enumerate(document.runs):
        with lab.store.writing() as session:
            if session.scalar(select(RunRow.id).where(RunRow.run_id == run.run_id)) is not None:
                continue
            if session.scalar(select(RunRow.id).where(RunRow.batch_id == run.batch_id, RunRow.origin == "here")) is not None:
                raise LabError(f"runs.{number}.batch_id: {run.batch_id} is a batch of this machine, and {run.run_id} is not in it")
            row = _row(run)
            session.add(row)
            session.flush()
            pk = row.id
        draw_run(lab.store, pk, lab.facts_of(run.paper, run.claim), [])
        names.append(run.run_id)
    return names


def _row(run: _Run) -> RunRow:
    row = RunRow(run_id=run.run_id, batch_id=run.batch_id, slug=run.paper, claim_id=run.claim, scale=run.scale, origin="imported",
                 is_yours=run.is_yours, executor=run.executor, state=run.state if run.state in ("failed", "cancelled") else "done",
                 verdict=run.verdict, reason=run.reason, note=run.note, seconds=run.seconds, code_hash=run.code_hash,
                 data_hash=run.data_hash, environment=run.environment.model_dump(), plan=run.plan.model_dump(),
                 created_at=run.created_at, started_at=run.created_at, ended_at=run.ended_at or run.created_at)
    headline = next((i for i, c in enumerate(run.checks) if c.headline), 0)
    row.checks = [CheckRow(position=i, is_headline=i == headline, name=c.name, verdict=c.verdict, body=c.model_dump(mode="json"))
                  for i, c in enumerate(run.checks)]
    row.trials = [TrialRow(**t.model_dump(exclude={"measurements"}),
                           measurements=[MeasurementRow(**m.model_dump()) for m in t.measurements])
                  for t in run.trial_rows]
    return row


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _finite(digits: str) -> float:
    if not math.isfinite(found := float(digits)):
        raise ValueError(f"{digits[:40]} is beyond the largest number")
    return found


def _trial(t: TrialRow) -> dict[str, Any]:
    return {"part": t.part, "arm": t.arm, "seed": t.seed, "point": t.point, "is_timed": t.is_timed, "state": t.state, "seconds": t.seconds,
            "peak_mb": t.peak_mb, "traceback": t.traceback, "reused_from": t.reused_from.isoformat() if t.reused_from else None,
            "measurements": [{"arm": m.arm, "metric": m.metric, "value": m.value, "special": m.special} for m in t.measurements]}

