"""Interruptions: kill -9 at random moments, Ctrl-C, cancelling, two at once, workers that die; then going on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select, update

from workingpapers.lab import Lab, LabError, read
from workingpapers.lab._runner import Busy, Runner, is_alive, owner
from workingpapers.lab.store import RunRow, TrialRow, now

CLI = ("-m", "workingpapers.cli")
SLOW = '''
from .method import estimate

@claim("beats", arms={"new": method(estimate), "old": control(lambda x: abs(x[0]) + 1e-9)}, points=[N(100)], seeds=8,
       rule=all_of(headline(ratio("error", "new", "old") < 1), value("seconds", "new") < 9))
def beats(trial):
    time.sleep(float(os.environ.get("TOY_SLEEP", "0")))
    yield {"error": trial.arm.build(trial.point.load(trial.rng))}
    yield {"other": float(trial.seed)}
    count(trial)  # a line for each attempt that came to its end

@beats.timed(seeds=3)
def timing(trial):
    time.sleep(float(os.environ.get("TOY_SLEEP", "0")))
    yield {"new": {"seconds": 1.0 + trial.seed / 10}}
    yield {"old": {"seconds": 2.0 + trial.seed / 10}}
    count(trial)
'''


def finished(lab: Lab) -> set[tuple[str, int]]:
    with lab.store.reading() as session:
        return {(t.arm, t.seed) for t in session.scalars(select(TrialRow).where(TrialRow.state == "done"))}


def the_run(lab: Lab) -> RunRow:
    with lab.store.reading() as session:
        row = session.scalars(select(RunRow).order_by(RunRow.id)).one()
        found = read.run(session, row.run_id)
        assert found is not None
        return found


def told(claim: dict[str, Any]) -> dict[str, Any]:
    return {k: claim[k] for k in ("verdict", "estimate", "interval", "checks", "arms", "note", "n_seeds", "failed_trials", "trials")}


@pytest.mark.slow
@pytest.mark.parametrize("moments", [(0.3, 0.7), (0.9,)])
def test_killed_at_random_moments_and_resumed_equals_undisturbed(toy: Any, moments: tuple[float, ...], tmp_path: Path,
                                                                 wait_for: Callable[..., Any], gone: Callable[[int], bool]) -> None:
    toy.write(SLOW)
    calm = json.loads(toy.cli("run", "toy", "--json", WORKINGPAPERS_HOME=str(tmp_path / "calm")).stdout)["claims"][0]
    toy.log.unlink()

    lab = toy.lab()
    arguments = ["run", "toy", "--json"]
    seen: Counter[tuple[str, int]] = Counter()
    for moment in moments:
        driver = toy.python(*CLI, *arguments, TOY_SLEEP="0.2")
        # Somewhere between the first finished trial and the last: `moment` is the share of the 19 trials.
        assert wait_for(lambda moment=moment: len(finished(lab)) >= max(1, int(19 * moment)), 90)
        time.sleep(0.13 * moment)
        children = psutil.Process(driver.pid).children(recursive=True)
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        assert wait_for(lambda children=children: all(gone(c.pid) for c in children), 10)
        seen |= Counter(dict.fromkeys(finished(lab), 1))
        row = the_run(lab)
        assert row.verdict is None
        arguments = ["resume", row.batch_id, "--json"]

    done = toy.cli(*arguments)
    assert done.returncode == 0, done.stderr
    [claim] = json.loads(done.stdout)["claims"]
    assert told(claim) == told(calm)
    assert claim["run_id"] == row.run_id
    attempts = Counter(toy.attempts())
    untimed = {f"{arm}|{seed}|n=100" for arm, seed in seen if arm != "*"}
    assert untimed
    assert {a: attempts[a] for a in untimed} == dict.fromkeys(untimed, 1), "finished trials are not repeated"
    assert set(attempts) == {f"{arm}|{seed}|n=100" for arm in ("new", "old") for seed in range(8)} | {f"*|{s}|n=100" for s in range(3)}
    again = the_run(lab)
    assert all(len(t.measurements) == 2 for t in again.trials), "nothing twice, nothing lost"
    assert again.attempts == len(moments) + 1


@pytest.mark.slow
def test_ctrl_c_leaves_it_resumable(toy: Any, wait_for: Callable[..., Any], gone: Callable[[int], bool]) -> None:
    toy.write(SLOW)
    lab = toy.lab()
    driver = toy.python(*CLI, "run", "toy", TOY_SLEEP="0.2")
    assert wait_for(lambda: finished(lab), 60)
    children = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130
    row = the_run(lab)
    assert f"workingpapers resume {row.batch_id}" in errors
    assert "Traceback" not in errors
    assert wait_for(lambda: all(gone(c.pid) for c in children), 10)
    assert (row.state, row.lease_owner, row.reason) == ("cancelled", None, "stopped before it was finished: resume it to go on")
    assert {t.state for t in row.trials} <= {"done", "pending"}
    before = {(arm, seed) for arm, seed in finished(lab) if arm != "*"}
    assert before
    assert toy.cli("resume", row.run_id).returncode == 0
    assert all(toy.attempts().count(f"{arm}|{seed}|n=100") == 1 for arm, seed in before)
    assert the_run(lab).verdict == "holds"


@pytest.mark.slow
def test_an_interrupted_batch_holds_back_what_had_not_begun(toy: Any) -> None:
    toy.write('''
    for name in ("beats", "again"):
        @claim(name, arms={"new": method(float)}, points=[N(9)], seeds=3, rule=value("error", "new") < 2)
        def trial(trial):
            return {"error": 1.0}
        globals()["claim_" + name] = trial
    ''', ids=("beats", "again"))
    lab = toy.lab()

    def interrupt(run: RunRow, kind: str, payload: dict[str, Any]) -> None:
        if kind == "trial":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.run("toy", on_event=interrupt)
    with lab.store.reading() as session:
        rows = session.scalars(select(RunRow).order_by(RunRow.id)).all()
    assert [(r.state, r.lease_owner) for r in rows] == [("cancelled", None)] * 2
    assert lab._next() is None
    resumed = lab.resume(rows[0].batch_id)
    assert {i: r.verdict for i, r in resumed.items()} == {"beats": "holds", "again": "holds"}


@pytest.mark.slow
def test_cancel(toy: Any) -> None:
    toy.write('''
    @claim("beats", arms={"new": method(float)}, points=[N(9)], seeds=40, rule=value("error", "new") < 2)
    def beats(trial):
        time.sleep(0.2)
        return {"error": 1.0}
    ''')
    lab = toy.lab()
    [queued] = lab.enqueue("toy")
    assert lab.cancel(queued.run_id)
    assert not lab.cancel(queued.run_id), "it is over already"
    assert the_run(lab).reason == "cancelled before it started"

    asked: list[bool] = []

    def ask(run: RunRow, kind: str, payload: dict[str, Any]) -> None:
        if kind == "trial" and not asked:
            asked.append(lab.cancel(run.run_id))

    document = lab.run("toy", on_event=ask)["beats"].document
    assert asked == [True]
    assert (document["state"], document["verdict"]) == ("cancelled", None)
    with lab.store.reading() as session:
        row = read.run(session, document["run_id"])
        assert row is not None
        assert {t.state for t in row.trials} == {"done", "pending"}


@pytest.mark.slow
def test_cancel_while_a_workload_is_prepared(toy: Any) -> None:
    toy.write('''
    class Long(N):
        def prepare(self, progress):
            time.sleep(120)

    @claim("beats", arms={"new": method(float)}, points=[Long(9)], seeds=3, rule=value("error", "new") < 2)
    def beats(trial):
        return {"error": 1.0}
    ''')
    lab = toy.lab()
    [row] = lab.enqueue("toy")
    threading.Timer(2.0, lambda: lab.cancel(row.run_id)).start()
    assert lab.execute(row).state == "cancelled"


# ------------------------------------------------------------ leases


@pytest.mark.slow
def test_two_processes_at_one_run(toy: Any, wait_for: Callable[..., Any]) -> None:
    toy.write(SLOW)
    lab = toy.lab()
    driver = toy.python(*CLI, "run", "toy", TOY_SLEEP="0.5")
    assert wait_for(lambda: finished(lab), 60)
    row = the_run(lab)
    with pytest.raises(LabError, match=f"run {row.run_id} is being run by another process"):
        lab.resume(row.run_id)
    with pytest.raises(Busy):
        Runner(lab.store, lab.catalogue.find("toy"), row.run_id).execute()
    refused = toy.cli("resume", row.batch_id)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is being run by another process" in refused.stderr
    driver.kill()
    driver.communicate()


def test_who_is_alive() -> None:
    assert is_alive(owner())
    host, pid, started = owner().rsplit(":", 2)
    assert is_alive(f"{host}:{pid}:{int(started) - 100}") is False, "a process id that was given to another process"
    assert is_alive(f"elsewhere.{host}:{pid}:{started}") is None
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    created = int(psutil.Process(child.pid).create_time())
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert is_alive(f"{host}:{child.pid}:{created}") is False, "a zombie that nobody asked for"
    child.wait()
    assert is_alive(f"{host}:{child.pid}:{created}") is False


def test_a_lease_on_another_host_is_kept_until_it_ends(toy: Any) -> None:
    import datetime as dt

    lab = toy.lab()
    [row] = lab.enqueue("toy", seeds=3)

    def lease(until: dt.datetime) -> None:
        with lab.store.writing() as session:
            session.execute(update(RunRow).values(state="running", lease_owner="elsewhere:1:1", lease_until=until))

    lease(now() + dt.timedelta(seconds=60))
    assert lab._next() is None
    with pytest.raises(Busy):
        lab.execute(row)
    lease(now() - dt.timedelta(seconds=1))
    found = lab._next()
    assert found is not None
    assert found.run_id == row.run_id


def test_workers_take_the_highest_priority_then_the_oldest_and_never_what_is_held(toy: Any) -> None:
    lab = toy.lab()
    low, high, second = (lab.enqueue("toy", priority=p)[0].run_id for p in (-1, 5, 5))
    held = lab.enqueue("toy", priority=-1_000_000)[0].run_id
    order = []
    while (row := lab._next()) is not None:
        order.append(row.run_id)
    assert order == [high, second, low]
    assert held not in order


@pytest.mark.slow
def test_a_run_that_cannot_be_carried_out_does_not_end_the_worker(toy: Any) -> None:
    lab = toy.lab()
    stop = threading.Event()
    with lab.store.writing() as session:
        session.add(RunRow(run_id="r1", batch_id="b1", slug="toy", claim_id="beats", scale="smoke", options={"points": [{"own": "x"}]}))
        session.add(RunRow(run_id="r2", batch_id="b2", slug="toy", claim_id="beats", scale="smoke", executor="none", options={}))
    last = lab.enqueue("toy", seeds=3)[0].run_id
    worker = threading.Thread(target=lab.work, args=(stop, 0.05))
    worker.start()
    deadline = time.monotonic() + 60
    while lab.run_document(last)["verdict"] is None and time.monotonic() < deadline:
        time.sleep(0.1)
    stop.set()
    worker.join()
    assert lab.run_document(last)["verdict"] is not None
    assert {lab.run_document(r)["state"] for r in ("r1", "r2")} == {"failed"}


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_its_run_which_is_tried_once_more(toy: Any, wait_for: Callable[..., Any]) -> None:
    toy.write(SLOW)
    lab = toy.lab()
    run_id = lab.enqueue("toy", requested_by="someone")[0].run_id
    worker = toy.python("-m", "workingpapers.lab.worker", TOY_SLEEP="0.2")
    assert wait_for(lambda: len(finished(lab)) >= 2, 60)
    worker.send_signal(signal.SIGKILL)  # and not waited for: a zombie, as under a parent that never asks
    before = finished(lab)
    assert lab.run_document(run_id)["state"] == "running"

    second = toy.python("-m", "workingpapers.lab.worker", TOY_SLEEP="0.2")
    assert wait_for(lambda: finished(lab) > before, 60)
    row = the_run(lab)
    assert (row.state, row.attempts) == ("running", 2)
    second.send_signal(signal.SIGKILL)
    for process in (worker, second):
        process.communicate()
    assert lab._next() is None
    assert the_run(lab).state == "lost", "once more, not for ever"
    assert lab.resume(run_id)["beats"].verdict == "holds"
    attempts = Counter(toy.attempts())
    assert all(attempts[f"{arm}|{seed}|n=100"] == 1 for arm, seed in before)


@pytest.mark.slow
def test_a_worker_that_is_asked_to_stop_puts_its_run_back(toy: Any, wait_for: Callable[..., Any]) -> None:
    toy.write(SLOW)
    lab = toy.lab()
    lab.enqueue("toy")
    worker = toy.python("-m", "workingpapers.lab.worker", TOY_SLEEP="0.2")
    assert wait_for(lambda: finished(lab), 60)
    worker.send_signal(signal.SIGTERM)
    _, errors = worker.communicate(timeout=60)
    assert "Traceback" not in errors
    row = the_run(lab)
    assert (row.state, row.lease_owner) == ("queued", None)


# ------------------------------------------------------------ what changed in between


@pytest.mark.slow
def test_resuming_after_an_edit_measures_everything_again(toy: Any) -> None:
    lab = toy.lab()
    interrupted(lab)
    toy.put("method.py", "def estimate(x):\n    return abs(x[0]) + 1e-9\n")
    document = lab.resume(the_run(lab).run_id)["beats"].document
    assert document["verdict"] == "fails"


@pytest.mark.slow
def test_resuming_with_other_data_measures_everything_again(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.write('''
    class Fixed(N):
        def data_hash(self):
            return os.environ["TOY_DATA"]

    @claim("beats", arms={"new": method(float), "old": control(float)}, points=[Fixed(9)], seeds=6, rule=value("error", "new") < 2)
    def beats(trial):
        count(trial)
        return {"error": float(len(os.environ["TOY_DATA"].rstrip("a")) > 0)}
    ''')
    monkeypatch.setenv("TOY_DATA", "a" * 64)
    lab = toy.lab()
    interrupted(lab)
    early = len(toy.attempts())
    assert early >= 3
    monkeypatch.setenv("TOY_DATA", "b" * 64)
    document = lab.resume(the_run(lab).run_id)["beats"].document
    assert document["arms"]["new"]["error"]["mean"] == 1.0
    assert len(toy.attempts()) == early + 12


def interrupted(lab: Lab) -> None:
    ended: list[int] = []

    def interrupt(run: RunRow, kind: str, payload: dict[str, Any]) -> None:
        if kind == "trial":
            ended.append(1)
            if len(ended) == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.run("toy", on_event=interrupt)
    assert len(finished(lab)) >= 3


@pytest.mark.slow
def test_resuming_tries_failed_trials_again_and_only_those(toy: Any) -> None:
    toy.write('''
    @claim("beats", arms={"new": method(float)}, points=[N(9)], seeds=5, rule=value("error", "new") < 2)
    def beats(trial):
        count(trial)
        if trial.seed == 4 and not Path(os.environ["TOY_LOG"] + ".mended").exists():
            raise OSError("a full disk")
        return {"error": 1.0}
    ''')
    lab = toy.lab()
    batch = lab.run("toy")
    assert (batch["beats"].verdict, batch["beats"].document["failed_trials"]) == ("inconclusive", 1)
    Path(f"{toy.log}.mended").touch()
    document = lab.resume(batch.batch_id)["beats"].document
    assert (document["verdict"], document["failed_trials"]) == ("holds", 0)
    assert Counter(toy.attempts()) == {**{f"new|{s}|n=9": 1 for s in range(4)}, "new|4|n=9": 2}
    assert lab.resume(batch.batch_id)["beats"].document["verdict"] == "holds"
    assert len(toy.attempts()) == 6, "nothing is left to do"
    assert os.environ["TOY_LOG"]
