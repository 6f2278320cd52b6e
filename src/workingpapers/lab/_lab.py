"""Running claims: from a slug to a batch of finished runs."""

from __future__ import annotations

import base64
import importlib.util
import logging
import re
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from sqlalchemy import select

from workingpapers.papers._facts import Scale
from workingpapers.papers.catalogue import Catalogue, Paper, load_catalogue

from . import read
from ._executors import EXECUTORS
from ._runner import LEASE, Busy, NotHere, OnEvent, Runner
from .events import tell
from .leases import is_alive, owner
from .report import batch_document, run_document
from .store import RunRow, Store, now

SCALES: tuple[str, ...] = get_args(Scale)
MAX_SEEDS = 10_000


class LabError(ValueError):
    """A request that cannot be carried out as it stands; the text names the argument and the remedy."""


@dataclass(frozen=True)
class Finished:
    """One finished run, as notebooks see it."""

    document: Mapping[str, Any]
    _lab: Lab

    @property
    def verdict(self) -> str | None:
        """One of the five words; None when the run did not come to one."""
        verdict: str | None = self.document["verdict"]
        return verdict

    @property
    def run_id(self) -> str:
        """Its name in the store."""
        return str(self.document["run_id"])

    def _repr_html_(self) -> str:
        with self._lab.store.reading() as session:
            row = read.run(session, self.run_id)
            path = row.files[0].paths.get("light.svg") if row is not None and row.files else None
        picture = (self._lab.store.settings.artefacts / path).read_text(encoding="utf-8") if path else ""
        return f"<p><b>{self.document['id']}</b>: {self.document['verdict']}</p>{picture}"


class Batch(Mapping[str, Finished]):
    """The runs of one call, by claim id. `document` is what `run --json` prints."""

    def __init__(self, lab: Lab, batch_id: str) -> None:
        self.lab, self.batch_id = lab, batch_id
        self.document = lab.document(batch_id)
        self._runs = {c["id"]: Finished(c, lab) for c in self.document["claims"]}

    def __getitem__(self, claim_id: str) -> Finished:
        return self._runs[claim_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        return f"Batch({self.batch_id}: {', '.join(f'{i} {r.verdict}' for i, r in self._runs.items())})"

    def _repr_html_(self) -> str:
        return "".join(r._repr_html_() for r in self._runs.values())


class Lab:
    """A store with a catalogue.

    Args:
        store: by default the one of the environment's settings.
        catalogue: by default the papers of this package and of installed plug-ins.
    """

    def __init__(self, store: Store | None = None, catalogue: Catalogue | None = None) -> None:
        self.store = store or Store()
        self.catalogue = catalogue or load_catalogue()

    # ------------------------------------------------------------ asking

    def enqueue(self, slug: str, claims: str | Sequence[str] | None = None, *, scale: str = "smoke", seeds: int | None = None,
                executor: str = "local", points: Sequence[Any] | None = None, fresh: bool = False, priority: int = 0,
                requested_by: str | None = None) -> list[RunRow]:
        """Write one queued run a claim, all of one batch. Nothing runs yet.

        Args:
            slug: of a paper that runs.
            claims: ids; None for all of the paper.
            scale: `smoke`, `small` or `full`.
            seeds: how many, in place of the claim's own number; fewer than 3 are inconclusive.
            executor: `local` or `ray`.
            points: workload points of one's own, in place of the claim's: objects, or `module:object`.
            fresh: run every trial again, even where an equal one is on record.
            priority: higher goes first.
            requested_by: who asked.

        Raises:
            UnknownPaper, LabError: naming what is wrong and what there is.
        """
        paper = self.catalogue.find(slug)
        if paper.status != "runs":
            raise LabError(f"{slug} is listed, but has no claims that run yet")
        named = [claims] if isinstance(claims, str) else list(claims) if claims is not None else [c.id for c in paper.facts.claims]
        wanted = list(dict.fromkeys(named))
        if not wanted:
            raise LabError(f"claims is empty: name some, or leave it out for all; there are: {', '.join(c.id for c in paper.facts.claims)}")
        for claim_id in wanted:
            if claim_id not in {c.id for c in paper.facts.claims}:
                raise LabError(f"{slug} has no claim {claim_id!r}; there are: {', '.join(c.id for c in paper.facts.claims)}")
        if scale not in SCALES:
            raise LabError(f"scale is {scale!r}; there are {', '.join(SCALES)}")
        if executor not in EXECUTORS:
            raise LabError(f"executor is {executor!r}; there are {', '.join(EXECUTORS)}")
        if executor == "ray" and importlib.util.find_spec("ray") is None:
            raise LabError("executor is 'ray', which is not installed here: pip install 'workingpapers[ray]'")
        if seeds is not None and (isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= MAX_SEEDS):
            raise LabError(f"seeds is {seeds}: give 1 to {MAX_SEEDS}")
        options: dict[str, Any] = {"seeds": seeds, "fresh": fresh}
        if points is not None:
            if not points:
                raise LabError("points is empty: give at least one workload point")
            for point in points:
                _check_point(point)
            options["points"] = [{"object": p} if isinstance(p, str) else {"own": repr(p)[:200]} for p in points]
        batch_id = new_id("b")
        rows = [RunRow(run_id=new_id("r"), batch_id=batch_id, slug=slug, claim_id=claim_id, scale=scale, executor=executor,
                       options=options, priority=priority, requested_by=requested_by, is_yours=points is not None) for claim_id in wanted]
        with self.store.writing() as session:
            session.add_all(rows)
            session.flush()
            for row in rows:
                session.expunge(row)
        return rows

    def run(self, slug: str, claims: str | Sequence[str] | None = None, *, scale: str = "smoke", seeds: int | None = None,
            executor: str = "local", points: Sequence[Any] | None = None, fresh: bool = False, on_event: OnEvent | None = None) -> Batch:
        """Run claims here and now and wait for their verdicts. Arguments as in `enqueue`.

        `on_event(run, kind, payload)` is called as things happen. Ctrl-C leaves runs that `resume` takes up.
        """
        # Held back from workers of a site on the same store until this process takes each of them.
        rows = self.enqueue(slug, claims, scale=scale, seeds=seeds, executor=executor, points=points, fresh=fresh, priority=HELD)
        self._execute(rows, on_event, points)
        return Batch(self, rows[0].batch_id)

    def resume(self, name: str, *, points: Sequence[Any] | None = None, on_event: OnEvent | None = None) -> Batch:
        """Go on with a run or a batch that was interrupted; what is finished is not run again.

        Raises:
            LabError: no such run, or it is being run by a live process.
        """
        with self.store.reading() as session:
            query = select(RunRow).where((RunRow.run_id == name) | (RunRow.batch_id == name)).order_by(RunRow.id)
            rows = list(session.scalars(query))
        if not rows:
            raise LabError(f"no run and no batch is named {name!r}: `workingpapers runs list` shows them")
        if any(r.origin != "here" for r in rows):
            raise LabError(f"{name!r} was run elsewhere: `workingpapers run {rows[0].slug}` tries its claims here")
        try:
            self._execute([r for r in rows if r.state != "done" or r.verdict is None or self._has_failures(r)], on_event, points)
        except NotHere as error:
            raise LabError(str(error)) from error
        return Batch(self, rows[0].batch_id)

    def cancel(self, run_id: str) -> bool:
        """Ask a run to stop; a queued one is cancelled at once. False when it is over already.

        Raises:
            LabError: no such run.
        """
        with self.store.writing() as session:
            row = session.scalar(select(RunRow).where(RunRow.run_id == run_id))
            if row is None:
                raise LabError(f"no run {run_id!r}")
            if row.state == "queued":
                row.state, row.ended_at, row.reason = "cancelled", now(), "cancelled before it started"
                return True
            if row.state == "running":
                row.cancel_requested = True
                if row.lease_owner and is_alive(row.lease_owner) is False:
                    row.state, row.lease_owner, row.reason = "cancelled", None, "its process is gone"
                return True
            return False

    # ------------------------------------------------------------ working the queue

    def work(self, stop: threading.Event, idle: float = 0.5) -> None:
        """Take queued runs one after another until `stop` is set: highest priority first, then oldest.

        The run that is under way then goes back into the queue.
        """
        while not stop.is_set():
            row = self._next()
            if row is None:
                stop.wait(idle)
                continue
            try:
                self.execute(row, stop=stop)
            except Busy:
                continue
            except KeyboardInterrupt:
                if not stop.is_set():
                    raise
            except NotHere as error:
                with self.store.writing() as session:
                    kept = session.get_one(RunRow, row.id)
                    kept.state, kept.lease_owner, kept.reason, kept.ended_at = "failed", None, str(error), now()
            except Exception:
                # The run is marked as failed; one that cannot be carried out does not end the worker.
                logging.getLogger(__name__).exception("run %s failed", row.run_id)
                stop.wait(idle)

    def execute(self, row: RunRow, on_event: OnEvent | None = None, points: Sequence[Any] | None = None, *,
                stop: threading.Event | None = None) -> RunRow:
        """Run one row of the store to its end, or, for workers, until `stop` is set."""
        paper = self.catalogue.find(row.slug)
        return Runner(self.store, paper, row.run_id, on_event, pickled(points), stop=stop).execute()

    def _next(self) -> RunRow | None:
        """The next queued run that this machine knows; runs whose process died become `lost` and are tried once more."""
        with self.store.writing() as session:
            for row in session.scalars(select(RunRow).where(RunRow.state == "running", RunRow.lease_owner.is_not(None))):
                alive = is_alive(row.lease_owner or "")
                if alive is False or (alive is None and row.lease_until is not None and row.lease_until < now()):
                    row.state, row.lease_owner = "lost", None
                    tell(session, row.id, "state", {"state": "lost"})
                    if row.attempts < 2 and row.priority > HELD:
                        row.state = "queued"
                    else:
                        row.reason, row.ended_at = "its process ended without a word", now()
                        tell(session, row.id, "done", {"state": "lost"})
            query = select(RunRow).where(RunRow.state == "queued", RunRow.priority > HELD, RunRow.slug.in_(list(self.catalogue.papers)))
            query = query.order_by(RunRow.priority.desc(), RunRow.id).limit(1).with_for_update(skip_locked=True)
            found = session.scalar(query)
            if found is not None:
                # Leased within this transaction: two workers never take one run.
                found.state, found.lease_owner, found.lease_until = "running", owner(), now() + LEASE
                session.flush()
                session.expunge(found)
            return found

    def _execute(self, rows: Sequence[RunRow], on_event: OnEvent | None, points: Sequence[Any] | None) -> None:
        for i, row in enumerate(rows):
            try:
                self.execute(row, on_event, points)
            except Busy as error:
                raise LabError(str(error)) from error
            except KeyboardInterrupt:
                with self.store.writing() as session:
                    for later in rows[i + 1 :]:
                        session.get_one(RunRow, later.id).state = "cancelled"
                raise

    def _has_failures(self, row: RunRow) -> bool:
        with self.store.reading() as session:
            found = read.run(session, row.run_id)
            return found is not None and any(t.state != "done" for t in found.trials)

    # ------------------------------------------------------------ telling

    def document(self, batch_id: str) -> dict[str, Any]:
        """What `run --json` prints of a batch."""
        with self.store.reading() as session:
            rows = list(session.scalars(select(RunRow).where(RunRow.batch_id == batch_id).order_by(RunRow.id)))
            if not rows:
                raise LabError(f"no batch {batch_id!r}")
            return batch_document(rows, self.facts_of)

    def run_document(self, run_id: str) -> dict[str, Any]:
        """One claim of that document."""
        with self.store.reading() as session:
            row = read.run(session, run_id)
            if row is None:
                raise LabError(f"no run {run_id!r}: `workingpapers runs list` shows them")
            return run_document(row, self.facts_of(row.slug, row.claim_id))

    def facts_of(self, slug: str, claim_id: str) -> Any:
        """Facts of a claim, or None when this catalogue does not know it (an imported run of another site's paper)."""
        paper: Paper | None = self.catalogue.papers.get(slug)
        try:
            return paper.facts.claim(claim_id) if paper is not None else None
        except KeyError:
            return None


HELD = -1_000_000
NAMED_POINT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def _check_point(point: Any) -> None:
    """Refuse what cannot be a workload point, without running any code of the user's module."""
    if not isinstance(point, str):
        if not hasattr(point, "load"):
            raise LabError(f"points holds {point!r:.80}, which has no load(rng): derive it from workingpapers.claims.Workload")
        return
    if NAMED_POINT.fullmatch(point) is None:
        raise LabError(f"point is {point!r:.80}: write module:object")
    top = point.partition(":")[0].partition(".")[0]
    if top not in sys.modules and importlib.util.find_spec(top) is None:
        raise LabError(f"point is {point!r:.80}, and no module {top!r} is found from here")


def pickled(points: Sequence[Any] | None) -> list[dict[str, Any]] | None:
    """Workload points of this process, packed for its own trial processes."""
    if points is None:
        return None
    import cloudpickle

    return [{"object": p} if isinstance(p, str) else {"pickle": base64.b64encode(cloudpickle.dumps(p)).decode()} for p in points]


def new_id(kind: str) -> str:
    """A name that sorts by time: kind, seconds since 1970 in base 36, eight random characters."""
    digits, seconds = "", int(time.time())
    while seconds:
        seconds, digit = divmod(seconds, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return f"{kind}{digits}{secrets.token_hex(4)}"


def run(slug: str, claims: str | Sequence[str] | None = None, **options: Any) -> Batch:
    """`Lab().run(...)`: run claims of a paper and wait for their verdicts."""
    return Lab().run(slug, claims, **options)


def resume(name: str, **options: Any) -> Batch:
    """`Lab().resume(...)`: go on with an interrupted run or batch."""
    return Lab().resume(name, **options)
