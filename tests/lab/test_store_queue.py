"""Writers of one SQLite file: in the order they came, none lost, none starved, and nobody waits for himself."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from workingpapers.lab import Settings, Store
from workingpapers.lab.store import EventRow, RunRow
from workingpapers.lab.store._queue import StoreBusy, WriteQueue


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Settings(home=tmp_path, database=""))


def until(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_turns_come_in_the_order_of_asking() -> None:
    queue, order, threads = WriteQueue(), [], []

    def write(n: int) -> None:
        with queue.turn():
            order.append(n)

    with queue.turn():
        for n in range(30):
            threads.append(threading.Thread(target=write, args=(n,)))
            threads[-1].start()
            until(lambda n=n: queue.waiting == n + 1)
        assert order == []
    for thread in threads:
        thread.join()
    assert order == list(range(30))


def test_a_newcomer_does_not_pass_those_who_wait() -> None:
    """Who has just had a turn and asks again stands behind the others."""
    queue, order = WriteQueue(), []

    def greedy() -> None:
        for _ in range(3):
            with queue.turn():
                order.append("greedy")
                until(lambda: queue.waiting or "patient" in order)

    def patient() -> None:
        with queue.turn():
            order.append("patient")

    one = threading.Thread(target=greedy)
    one.start()
    until(lambda: order)
    two = threading.Thread(target=patient)
    two.start()
    one.join()
    two.join()
    assert order == ["greedy", "patient", "greedy", "greedy"]


def test_who_waits_too_long_leaves_the_queue_as_it_was() -> None:
    queue = WriteQueue()
    with queue.turn():
        failed: list[BaseException] = []

        def wait() -> None:
            try:
                with queue.turn(0.01):
                    pass
            except StoreBusy as error:
                failed.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
        assert "busy for 0.01 s" in str(failed[0])
        assert queue.waiting == 0
    with queue.turn(0.01):
        pass


def test_a_transaction_within_a_transaction_is_refused_at_once(store: Store) -> None:
    again = Store(store.settings)
    with store.writing(), pytest.raises(RuntimeError, match="within a write transaction"), again.writing():
        pass
    with store.writing():  # the refusal left nothing behind
        pass


def test_a_failed_block_gives_its_turn_on(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.writing():
        raise ZeroDivisionError
    with store.writing() as session:
        session.add(RunRow(run_id="r1", batch_id="b", slug="s", claim_id="c", scale="smoke"))
    with store.reading() as session:
        assert session.scalar(select(func.count()).select_from(RunRow)) == 1


SCRIPT = """
import sys
from pathlib import Path
from sqlalchemy import func, select
from workingpapers.lab import Settings, Store
from workingpapers.lab.store import EventRow
"""


def _count_up(home: Path, run: int, process: int, times: int) -> None:
    """Read, then write what was read plus one: an update lost to another writer would leave a gap."""
    store = Store(Settings(home=home, database=""))
    for _ in range(times):
        with store.writing() as session:
            last = session.scalar(select(func.max(EventRow.seq)).where(EventRow.run_pk == run)) or 0
            session.add(EventRow(run_pk=run, seq=last + 1, kind="mark", payload={"by": process}))


@pytest.mark.slow
def test_threads_and_processes_lose_nothing(store: Store) -> None:
    with store.writing() as session:
        run = RunRow(run_id="r1", batch_id="b", slug="s", claim_id="c", scale="smoke")
        session.add(run)
        session.flush()
        pk = run.id
    script = f"{SCRIPT}\n\n{inspect.getsource(_count_up)}\n_count_up(Path(sys.argv[1]), {pk}, int(sys.argv[2]), 20)"
    others = [subprocess.Popen([sys.executable, "-c", script, str(store.settings.home), str(n)]) for n in range(2)]
    threads = [threading.Thread(target=_count_up, args=(store.settings.home, pk, 9, 10)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [process.wait(60) for process in others] == [0, 0]
    with store.reading() as session:
        found = session.scalars(select(EventRow.seq).order_by(EventRow.seq)).all()
    assert found == list(range(1, 121))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_wait_for_a_thread_that_it_does_not_have() -> None:
    queue = WriteQueue()
    with queue.turn():
        child = os.fork()
        if child == 0:
            with queue.turn(5):
                os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
