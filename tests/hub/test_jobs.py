"""The queue of jobs: each done once, failures tried again, what a dead worker held is taken over."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from workingpapers.hub import jobs
from workingpapers.hub.jobs import Job, Later, enqueue, run_one, schedule, take
from workingpapers.hub.tables import JobRow
from workingpapers.lab import Lab, Store
from workingpapers.lab.store import now


@pytest.fixture
def store(lab: Lab) -> Store:
    return lab.store


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Numbers that the handler `count` was given."""
    seen: list[int] = []
    monkeypatch.setattr(jobs, "HANDLERS", {"count": lambda job: seen.append(job.payload["n"])})
    monkeypatch.setattr(jobs, "RECURRING", {})
    return seen


def put(store: Store, n: int, **more: object) -> bool:
    with store.writing() as session:
        return enqueue(session, "count", {"n": n}, **more) is not None  # type: ignore[arg-type]


def state(store: Store) -> list[tuple[str, int]]:
    with store.reading() as session:
        return list(session.execute(select(JobRow.state, JobRow.attempts).order_by(JobRow.id)).tuples())


def test_jobs_are_done_once_in_order(store: Store, done: list[int]) -> None:
    for n in (1, 2, 3):
        put(store, n)
    while run_one(store):
        pass
    assert done == [1, 2, 3]
    assert state(store) == [("done", 1)] * 3


def test_a_unique_job_waits_once_and_may_come_again_when_it_has_ended(store: Store, done: list[int]) -> None:
    assert put(store, 1, unique_key="one")
    assert not put(store, 2, unique_key="one")
    run_one(store)
    assert put(store, 3, unique_key="one")
    run_one(store)
    assert done == [1, 3]


def test_a_job_for_later_waits(store: Store, done: list[int]) -> None:
    put(store, 1, run_at=now() + dt.timedelta(hours=1))
    assert not run_one(store)


def test_a_failure_is_tried_again_with_growing_pauses_and_then_given_up(store: Store, done: list[int]) -> None:
    def fail(job: Job) -> None:
        raise OSError("no luck")

    jobs.HANDLERS["count"] = fail
    put(store, 1)
    pauses = []
    for _ in range(jobs.MAX_ATTEMPTS):
        assert run_one(store)
        with store.writing() as session:
            row = session.scalars(select(JobRow)).one()
            pauses.append((row.run_at - now()).total_seconds())
            row.run_at = now()
    assert not run_one(store)
    assert all(b > 3 * a for a, b in itertools.pairwise(pauses[:-1]))
    with store.reading() as session:
        row = session.scalars(select(JobRow)).one()
        assert row.state == "failed"
        assert "no luck" in row.error


def test_later_counts_as_no_failure(store: Store, done: list[int]) -> None:
    def wait(job: Job) -> None:
        raise Later(3600)

    jobs.HANDLERS["count"] = wait
    put(store, 1)
    run_one(store)
    assert state(store) == [("queued", 0)]
    assert not run_one(store)


@pytest.mark.slow
def test_what_a_dead_worker_held_is_taken_over(store: Store, done: list[int]) -> None:
    put(store, 7)
    code = ("from workingpapers.hub import jobs; from workingpapers.lab import Store; import os, signal\n"
            "jobs.HANDLERS['count'] = lambda job: os.kill(os.getpid(), signal.SIGKILL)\n"
            "jobs.run_one(Store())")
    environment = {**os.environ, "WORKINGPAPERS_HOME": str(store.settings.home), "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert found.returncode == -9
    assert state(store) == [("running", 1)]
    with store.writing() as session:  # taken back at once, tried again after a pause
        pass
    assert take(store) is None
    with store.writing() as session:
        session.scalars(select(JobRow)).one().run_at = now()
    assert run_one(store)
    assert done == [7]


def test_two_workers_never_do_one_job_twice(store: Store, done: list[int]) -> None:
    for n in range(40):
        put(store, n)

    def work() -> None:
        while run_one(store):
            pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(40))


def test_recurring_jobs_come_when_they_are_due_and_leave_few_rows(store: Store, done: list[int]) -> None:
    seen = []
    jobs.HANDLERS["tick"] = lambda job: seen.append(job.id)
    jobs.RECURRING["tick"] = 60.0
    for _ in range(3):
        schedule(store)
        run_one(store)
    assert len(seen) == 1
    jobs.RECURRING["tick"] = 0.0
    for _ in range(30):
        schedule(store)
        run_one(store)
    schedule(store)
    with store.reading() as session:
        assert len(session.scalars(select(JobRow)).all()) <= 22
    assert len(seen) == 31
