"""One run from its row in the store to its verdict. Only this process writes the store."""

from __future__ import annotations

import datetime as dt
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, selectinload

from workingpapers.papers.catalogue import Paper

from . import locks
from ._executors import executor_for
from .events import tell
from .fingerprint import Code, code_of, environment, reuse_key
from .leases import is_alive, owner
from .processes import Answer, JobFailed, JobUntested
from .store import CheckRow, MeasurementRow, RunRow, Store, TrialRow, now

LEASE = dt.timedelta(seconds=30)
HEARTBEAT = 5.0
PROGRESS_EVERY = 0.5
TIME_LIMITS: dict[str, float | None] = {"smoke": 300.0, "small": 1800.0, "full": None}

OnEvent = Callable[[RunRow, str, dict[str, Any]], None]


class Cancelled(Exception):
    """Someone asked for this run to stop."""


class Busy(RuntimeError):
    """Another process is running this run at the moment."""


class LostLease(Busy):
    """Another process took this run over."""


class NotHere(ValueError):
    """This run needs something that only the process which started it has."""


@dataclass
class Pending:
    """A trial to run."""

    pk: int
    part: str
    arm: str
    seed: int
    point: str


class Runner:
    """Executes one run.

    Args:
        store: where the row lies.
        paper: whose claim it is.
        run_id: of a row that is queued, or that was interrupted.
        on_event: called for every event, in this process.
        points: workload points of this process (pickled), for a user's own; kept nowhere.
        stop: of workers: once it is set the run ends as if interrupted within a second or two, and goes back into the queue in
            place of `cancelled`.
    """

    def __init__(self, store: Store, paper: Paper, run_id: str, on_event: OnEvent | None = None,
                 points: Sequence[Answer] | None = None, *, stop: threading.Event | None = None) -> None:
        self.store, self.paper, self.run_id = store, paper, run_id
        self.on_event = on_event or (lambda *_: None)
        self.points = list(points) if points else None
        self.stop = stop
        self.module = f"{paper.module}.claims"
        self._beat = self._told = self._stored_progress = self._began = 0.0
        self.done = self.total = self._done_at_start = 0

    # ------------------------------------------------------------ the whole way

    def execute(self) -> RunRow:
        """Run what is not finished yet, decide, draw. Returns the finished row.

        Raises:
            Busy: another live process has it.
            NotHere: it used workload points of the process that started it, and they were not given again.
            KeyboardInterrupt: after everything was put in order for `resume`.
        """
        self.points = self._own_points(self._reload().options.get("points"))
        self.run = self._take()
        began = time.monotonic()
        try:
            with executor_for(self.run.executor, self.module, self.store.settings) as executor:
                self.executor = executor
                self._event("state", {"state": "running"})
                self._through()
        except Cancelled:
            self._stop("cancelled", began)
        except KeyboardInterrupt:
            self._stop("cancelled" if self.stop is None else "queued", began)
            raise
        except JobUntested as error:
            self._end("done", began, verdict="untested", reason=str(error))
        except JobFailed as error:
            self._failed(error, began)
        except LostLease:
            raise
        except Exception as error:
            self._end("failed", began, reason=f"{type(error).__name__}: {error}")
            raise
        else:
            self._end("done", began)
        return self._reload()

    def _own_points(self, kept: list[Answer] | None) -> list[Answer] | None:
        """The workload points to run on: the run's own by name, or those that this process was handed."""
        if not kept or all("object" in p for p in kept):
            return kept
        if self.points is None or len(self.points) != len(kept):
            raise NotHere(f"run {self.run_id} used {len(kept)} workload points of the process that started it: "
                          "resume it there, with points=[...]")
        return self.points

    def _through(self) -> None:
        code = code_of(self.module)
        hashes = self._prepare()
        self._plan(code, hashes)
        self._reuse(code, hashes)
        for alone in (False, True):
            pending = self._pending(alone)
            if pending:
                with locks.machine(alone=alone, while_waiting=self._waiting_for_machine):
                    self._run_trials(pending, code, alone=alone)
        if code_of(self.module).hash != code.hash:
            self._distrust()
        self._decide()
        try:
            self._draw()
        except (JobFailed, ValueError, OSError) as error:
            # The verdict stands without its pictures; what went wrong is kept with the run.
            self._event("warning", {"words": f"no plots: {error}", "traceback": traceback.format_exc()})

    # ------------------------------------------------------------ steps

    def _prepare(self) -> dict[str, str]:
        def on_progress(answer: Answer) -> None:
            self._progress(0, 0, 0, words=answer.get("words", ""), share=answer["progress"])

        return dict(self.executor.call(self._job("prepare"), on_progress, time_limit=None, while_waiting=self._alive)[-1]["hashes"])

    def _plan(self, code: Code, hashes: dict[str, str]) -> None:
        plan = self.executor.call(self._job("plan", seeds=self.run.options.get("seeds")), while_waiting=self._alive)[-1]
        for metric in plan["needs_direction"]:
            if self._direction(metric) not in ("lower", "higher"):
                raise JobFailed(f"the rule holds {metric} against a margin, and neither paper.toml nor the rule says which side is better")
        trials = plan.pop("trials")
        plan.pop("end")
        data_hash = "+".join(f"{h[:16]}" for h in hashes.values() if h)[:64]
        with self.store.writing() as session:
            row = session.get_one(RunRow, self.run.id)
            if row.code_hash and row.code_hash != code.hash:
                session.execute(delete(TrialRow).where(TrialRow.run_pk == row.id))  # measured with other code: all of it again
            have = {(t.part, t.arm, t.seed, t.point) for t in session.scalars(select(TrialRow).where(TrialRow.run_pk == row.id))}
            session.add_all(TrialRow(run_pk=row.id, part=t["part"], arm=t["arm"], seed=t["seed"], point=t["point"], is_timed=t["timed"])
                            for t in trials if (t["part"], t["arm"], t["seed"], t["point"]) not in have)
            row.plan, row.code_hash, row.data_hash = plan, code.hash, data_hash
            row.environment = environment(code.packages)
        self.run = self._reload()

    def _reuse(self, code: Code, hashes: dict[str, str]) -> None:
        """Give each untimed trial its key, and take over finished trials with the same key."""
        # A user's own workload may change without its name changing: never reused.
        fresh = bool(self.run.options.get("fresh")) or bool(self.points)
        with self.store.writing() as session:
            untimed = (TrialRow.run_pk == self.run.id, TrialRow.is_timed.is_(False))
            waiting = []
            for t in session.scalars(select(TrialRow).where(*untimed)):
                key = reuse_key(code, claim=f"{self.paper.slug}/{self.run.claim_id}", part=t.part, arm=t.arm, seed=t.seed,
                                point=t.point, scale=self.run.scale, data_hash=hashes.get(t.point, ""), threads=self.run.plan["threads"])
                if t.state == "done" and t.reuse_key != key:  # before the run was interrupted: other data, packages or processor
                    t.measurements.clear()
                    t.state, t.reused_from = "pending", None
                if t.state != "done":
                    t.reuse_key = key
                    waiting.append(t)
            if fresh or not waiting:
                return
            found = self._on_record(session, [str(t.reuse_key) for t in waiting])
            for t in waiting:
                source = found.get(t.reuse_key)
                if source is None:
                    continue
                session.execute(delete(MeasurementRow).where(MeasurementRow.trial_pk == t.id))
                session.add_all(MeasurementRow(trial_pk=t.id, arm=m.arm, metric=m.metric, value=m.value, special=m.special)
                                for m in source.measurements)
                t.state, t.reused_from, t.ended_at = "done", source.reused_from or source.ended_at, now()
                t.seconds, t.peak_mb, t.traceback = source.seconds, source.peak_mb, None

    def _on_record(self, session: Session, keys: list[str]) -> dict[str | None, TrialRow]:
        """The newest finished trial of other runs on this machine for each key that has one."""
        found: dict[str | None, TrialRow] = {}
        for i in range(0, len(keys), 500):  # databases bound the length of a list
            query = (select(TrialRow).join(RunRow).options(selectinload(TrialRow.measurements)).order_by(TrialRow.id)
                     .where(TrialRow.reuse_key.in_(keys[i : i + 500]), TrialRow.state == "done", TrialRow.run_pk != self.run.id,
                            RunRow.origin == "here", RunRow.is_yours.is_(False)))
            found |= {t.reuse_key: t for t in session.scalars(query)}
        return found

    def _distrust(self) -> None:
        """The code was edited while trials ran: which of them saw the edit is not known, so none of them is used again."""
        with self.store.writing() as session:
            session.execute(update(TrialRow).where(TrialRow.run_pk == self.run.id, TrialRow.reused_from.is_(None)).values(reuse_key=None))
            session.get_one(RunRow, self.run.id).code_hash = ""
        self._event("warning", {"words": "the code was edited while this run went on: run it again", "traceback": ""})

    def _pending(self, alone: bool) -> list[Pending]:
        with self.store.reading() as session:
            query = select(TrialRow).where(TrialRow.run_pk == self.run.id, TrialRow.state != "done", TrialRow.is_timed.is_(alone))
            return [Pending(t.id, t.part, t.arm, t.seed, t.point) for t in session.scalars(query.order_by(TrialRow.seed, TrialRow.id))]

    def _run_trials(self, pending: list[Pending], code: Code, *, alone: bool) -> None:
        threads = int(self.run.plan["threads"])
        slots = self.executor.slots(threads, alone)
        time_limit = self.run.plan["time_limit"] or TIME_LIMITS[self.run.scale]
        memory_gb = self.run.plan["memory_gb"] or 0.8 * psutil.virtual_memory().total / 2**30 / slots
        self._count_trials()
        waiting, shares = list(reversed(pending)), dict[int, float]()
        while waiting or self.executor.running:
            self._alive()
            while waiting and len(self.executor.running) < slots:
                trial = waiting.pop()
                self._start(trial)
                job = self._job("trial", part=trial.part, arm=trial.arm, seed=trial.seed, point=trial.point, threads=threads,
                                code_hash=code.hash, alone=alone)
                self.executor.begin(trial.pk, job, time_limit, memory_gb)
            for pk, answer in self.executor.wait(PROGRESS_EVERY):
                if "measurement" in answer:
                    self._measured(pk, *answer["measurement"])
                elif "progress" in answer:
                    shares[pk] = answer["progress"]
                elif "end" in answer:
                    shares.pop(pk, None)
                    self._trial_ended(pk, answer)
            self._progress(self.done, self.total, len(self.executor.running), share=None, extra=sum(shares.values()))

    def _decide(self) -> None:
        payload = self._payload()
        answer = self.executor.call(self._job("decide", **payload), while_waiting=self._alive)[-1]
        for failed in answer["failed_notes"]:
            self._event("warning", {"words": "a note of the claim failed", "traceback": failed})
        with self.store.writing() as session:
            session.execute(delete(CheckRow).where(CheckRow.run_pk == self.run.id))
            checks = answer["checks"]
            first = next((i for i, c in enumerate(checks) if c["headline"]), 0)
            session.add_all(CheckRow(run_pk=self.run.id, position=i, is_headline=i == first, name=c["name"], verdict=c["verdict"], body=c)
                            for i, c in enumerate(checks))
            row = session.get_one(RunRow, self.run.id)
            row.verdict, row.reason, row.note = answer["verdict"], answer["reason"], answer["note"]

    def _draw(self) -> None:
        from .plots import draw_run

        answers = self.executor.call(self._job("plots", **self._payload()), while_waiting=self._alive)
        own = [a for a in answers if "plot" in a]
        for a in answers:
            if "failed_plot" in a:
                self._event("warning", {"words": f"the plot {a['failed_plot']} failed", "traceback": a["traceback"]})
        for words in draw_run(self.store, self.run.id, self.paper.facts.claim(self.run.claim_id), own):
            self._event("warning", {"words": words, "traceback": ""})

    # ------------------------------------------------------------ rows

    def _take(self) -> RunRow:
        me = owner()
        with self.store.writing() as session:
            row = session.scalar(select(RunRow).where(RunRow.run_id == self.run_id))
            if row is None:
                raise LookupError(f"no run {self.run_id!r}")
            if row.lease_owner and row.lease_owner != me and row.state == "running":
                alive = is_alive(row.lease_owner)
                if alive or (alive is None and row.lease_until is not None and row.lease_until > now()):
                    raise Busy(f"run {self.run_id} is being run by another process ({row.lease_owner})")
            row.state, row.lease_owner, row.lease_until = "running", me, now() + LEASE
            row.cancel_requested = False
            row.attempts += 1
            row.started_at = row.started_at or now()
            row.verdict, row.reason = None, ""
            # A trial that was under way when its process died is run again whole: a timed one with all its arms,
            # since they are only comparable within one process.
            open_trials = (TrialRow.run_pk == row.id, TrialRow.state != "done")
            session.execute(delete(MeasurementRow).where(MeasurementRow.trial_pk.in_(select(TrialRow.id).where(*open_trials))))
            session.execute(update(TrialRow).where(*open_trials).values(state="pending", traceback=None))
        return self._reload()

    def _start(self, trial: Pending) -> None:
        with self.store.writing() as session:
            session.execute(delete(MeasurementRow).where(MeasurementRow.trial_pk == trial.pk))
            session.execute(update(TrialRow).where(TrialRow.id == trial.pk).values(state="running", attempts=TrialRow.attempts + 1))

    def _measured(self, pk: int, arm: str, metric: str, value: float | str) -> None:
        number, special = (None, value) if isinstance(value, str) else (value, None)
        with self.store.writing() as session:
            same = (MeasurementRow.trial_pk == pk, MeasurementRow.arm == arm, MeasurementRow.metric == metric)
            if session.scalar(select(MeasurementRow.id).where(*same)) is None:
                session.add(MeasurementRow(trial_pk=pk, arm=arm, metric=metric, value=number, special=special))

    def _trial_ended(self, pk: int, answer: Answer) -> None:
        if answer["end"] == "untested":
            raise JobUntested(answer["reason"])
        if answer["end"] == "error" and self._is_foreign(answer.get("missing")):
            raise JobFailed(answer["error"], answer["traceback"], answer["missing"])
        with self.store.writing() as session:
            trial = session.get_one(TrialRow, pk)
            trial.ended_at = now()
            if answer["end"] == "ok":
                trial.state, trial.seconds, trial.peak_mb = "done", answer["seconds"], answer["peak_mb"]
            else:
                trial.state = "failed"
                trial.traceback = f"{answer['error']}\n\n{answer.get('traceback', '')}".strip()
                session.execute(delete(MeasurementRow).where(MeasurementRow.trial_pk == pk))
            told = {"arm": trial.arm, "seed": trial.seed, "point": trial.point, "state": trial.state,
                    "error": answer.get("error", "")}
        self.done += 1
        self._event("trial", {**told, "done": self.done, "total": self.total})

    def _count_trials(self) -> None:
        with self.store.reading() as session:
            counts = dict(session.execute(select(TrialRow.state, func.count()).where(TrialRow.run_pk == self.run.id)
                                          .group_by(TrialRow.state)).tuples().all())
        self.total, self.done = sum(counts.values()), counts.get("done", 0) + counts.get("failed", 0)
        self._began, self._done_at_start = time.monotonic(), self.done

    def _payload(self) -> dict[str, Any]:
        """Measurements, plan and metric directions, for the jobs that decide and draw."""
        with self.store.reading() as session:
            trials = list(session.scalars(select(TrialRow).where(TrialRow.run_pk == self.run.id).order_by(TrialRow.id)))
            rows = [[t.part, m.arm, t.seed, t.point, m.metric, m.value if m.special is None else m.special]
                    for t in trials if t.state == "done" for m in t.measurements]
            planned = [[t.part, t.arm, t.seed, t.point, t.state == "done"] for t in trials]
        metrics = {str(r[4]) for r in rows} | set(self.run.plan["needs_direction"])
        return {"measurements": rows, "planned": planned, "better": {m: better for m in metrics if (better := self._direction(m))}}

    def _direction(self, metric: str) -> str:
        described = self.paper.facts.claim(self.run.claim_id).metric_facts(metric)
        return described.better if described is not None else ""

    def _stop(self, state: str, began: float) -> None:
        self._end(state, began, reason="stopped before it was finished: resume it to go on" if state == "cancelled" else "")

    def _failed(self, error: JobFailed, began: float) -> None:
        if self._is_foreign(error.missing):
            extras = ",".join(self.paper.facts.extras)
            remedy = f": pip install 'workingpapers[{extras}]'" if extras else ""
            self._end("done", began, verdict="untested", reason=f"the package {error.missing} is not installed here{remedy}")
        else:
            self._event("warning", {"words": error.error, "traceback": error.traceback})
            self._end("failed", began, reason=error.error)

    def _is_foreign(self, missing: str | None) -> bool:
        """Whether a module that was not found belongs to another package than this paper: something to install, no mistake."""
        return bool(missing) and str(missing).partition(".")[0] not in ("workingpapers", self.module.partition(".")[0])

    def _end(self, state: str, began: float, verdict: str | None = None, reason: str | None = None) -> None:
        with self.store.writing() as session:
            row = session.get_one(RunRow, self.run.id)
            row.state, row.lease_owner, row.lease_until = state, None, None
            row.ended_at = now() if state != "queued" else None
            row.seconds += time.monotonic() - began
            # What was under way when the run ended is not measured: its pieces go with it.
            under_way = (TrialRow.run_pk == row.id, TrialRow.state == "running")
            session.execute(delete(MeasurementRow).where(MeasurementRow.trial_pk.in_(select(TrialRow.id).where(*under_way))))
            session.execute(update(TrialRow).where(*under_way).values(state="pending"))
            if verdict is not None:
                row.verdict = verdict
                row.checks.clear()
                row.note = ""
            if reason is not None:
                row.reason = reason
        self.run = self._reload()
        if self.run.verdict:
            self._event("verdict", {"verdict": self.run.verdict, "reason": self.run.reason, "note": self.run.note})
        self._event("done" if state != "queued" else "state", {"state": state})

    def _reload(self) -> RunRow:
        with self.store.reading() as session:
            row = session.scalar(select(RunRow).where(RunRow.run_id == self.run_id))
            assert row is not None
            session.expunge(row)
            return row

    # ------------------------------------------------------------ keeping in touch

    def _alive(self) -> None:
        """Renew the lease now and then, and see whether someone asked to stop."""
        if self.stop is not None and self.stop.is_set():
            raise KeyboardInterrupt
        if time.monotonic() - self._beat < HEARTBEAT / 5:
            return
        self._beat = time.monotonic()
        with self.store.writing() as session:
            row = session.get_one(RunRow, self.run.id)
            if row.lease_owner != owner():
                raise LostLease(f"run {self.run_id} was taken over by {row.lease_owner}")
            row.lease_until = now() + LEASE
            asked = row.cancel_requested
        if asked:
            raise Cancelled

    def _waiting_for_machine(self) -> None:
        self._alive()
        self._progress(self.done, self.total, 0, words="waiting for trials of another run to end")

    def _progress(self, done: int, total: int, running: int, words: str = "", share: float | None = None, extra: float = 0.0) -> None:
        if time.monotonic() - self._told < PROGRESS_EVERY:
            return
        self._told = time.monotonic()
        left = None
        if total and done + extra > self._done_at_start + 0.01:
            left = (time.monotonic() - self._began) * (total - done - extra) / (done + extra - self._done_at_start)
        self._event("progress", {"done": done, "total": total, "running": running, "words": words,
                                 "share": (done + extra) / total if total else share or 0.0, "seconds_left": left})

    def _event(self, kind: str, payload: dict[str, Any]) -> None:
        self.on_event(self.run, kind, payload)
        if kind == "progress":
            if time.monotonic() - self._stored_progress < 2 * PROGRESS_EVERY:
                return
            self._stored_progress = time.monotonic()
        with self.store.writing() as session:
            tell(session, self.run.id, kind, payload)

    def _job(self, kind: str, **more: Any) -> Answer:
        return {"kind": kind, "module": self.module, "claim": self.run.claim_id, "scale": self.run.scale, "points": self.points, **more}
