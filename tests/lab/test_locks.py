"""Timed trials get the machine alone, and in time."""

from __future__ import annotations

import sys
import tempfile
import threading
import time

import pytest

from workingpapers.lab.locks import machine

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is held without flock")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


class Holder(threading.Thread):
    """Holds the machine until told to let go."""

    def __init__(self, alone: bool) -> None:
        super().__init__(daemon=True)
        self.alone, self.has, self.let_go = alone, threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        with machine(alone=self.alone):
            self.has.set()
            self.let_go.wait(30)

    def end(self) -> None:
        self.let_go.set()
        self.join(30)


def test_untimed_trials_share_and_a_timed_one_is_alone():
    a, b = Holder(alone=False), Holder(alone=False)
    assert a.has.wait(10)
    assert b.has.wait(10)
    timed = Holder(alone=True)
    assert not timed.has.wait(0.3)
    a.end()
    assert not timed.has.wait(0.3)
    b.end()
    assert timed.has.wait(10)
    late = Holder(alone=False)
    assert not late.has.wait(0.3)
    timed.end()
    assert late.has.wait(10)
    late.end()


@pytest.mark.slow
def test_those_who_share_do_not_starve_the_one_who_waits():
    first = Holder(alone=False)
    assert first.has.wait(10)
    timed = Holder(alone=True)
    time.sleep(0.3)  # it stands at the gate
    later = [Holder(alone=False) for _ in range(3)]
    assert not any(h.has.wait(0.2) for h in later)  # though only a shared lock is held
    first.end()
    assert timed.has.wait(10)
    timed.end()
    assert all(h.has.wait(10) for h in later)
    for h in later:
        h.end()


def test_waiting_can_be_given_up():
    class GivenUp(Exception):
        pass

    def give_up():
        raise GivenUp

    holder = Holder(alone=True)
    assert holder.has.wait(10)
    with pytest.raises(GivenUp), machine(alone=False, while_waiting=give_up):
        pass
    holder.end()
    with machine(alone=True):  # the gate was let go
        pass
