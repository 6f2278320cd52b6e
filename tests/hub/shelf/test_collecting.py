"""The collector of cycles waits for the end of a batch, not for ever, and is left as it was found."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from workingpapers.hub import shelf
from workingpapers.hub.ingest import Record
from workingpapers.hub.shelf.collecting import FULL, collecting_between
from workingpapers.lab import Store


class Cycle:
    def __init__(self) -> None:
        self.itself = self


def test_cycles_of_a_batch_are_gone_before_the_next_has_passed(store: Store) -> None:
    made: list[weakref.ref[Cycle]] = []
    alive: list[int] = []

    def records() -> Iterator[Record]:
        for n in range(60):
            made.append(weakref.ref(Cycle()))
            alive.append(sum(m() is not None for m in made))
            assert not gc.isenabled()
            yield Record("arxiv", f"2603.{n:05}v1", f"Lanterns {n}", arxiv_id=f"2603.{n:05}")

    assert gc.isenabled()
    assert shelf.take_in(store, records(), batch=10).new == 60
    assert gc.isenabled()
    assert max(alive) <= 21  # of this batch, and of one more that is read ahead


def test_the_collector_is_left_as_it_was() -> None:
    with pytest.raises(RuntimeError), collecting_between():
        raise RuntimeError
    assert gc.isenabled()
    gc.disable()
    try:
        with collecting_between() as collect, collecting_between():
            collect()
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.slow
def test_the_oldest_are_looked_through_now_and_then() -> None:
    cycle = Cycle()
    seen, _ = weakref.ref(cycle), [gc.collect() for _ in range(3)]  # it has grown old
    with collecting_between() as collect:
        del cycle
        for _ in range(FULL):
            assert seen() is not None
            collect()
        assert seen() is None
