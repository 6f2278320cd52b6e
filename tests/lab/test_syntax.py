"""Source files are read by several threads at once without a word of CPython's own limits."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workingpapers.lab.syntax import tree_of


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads that take turns often, and a collection that lets them, in the middle of a tree."""
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()

    def pause(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            Path(__file__).exists()  # a call of the system lets another thread run

    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    gc.callbacks.append(pause)
    yield
    gc.callbacks.remove(pause)
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)


@pytest.mark.slow
def test_threads_parse_at_once(hurried: None, tmp_path: Path) -> None:
    path = tmp_path / "deep.py"
    line = "x = [f(a + (b * (c - 7)), [d, (e, {1: (2, [3])})]) for f in y if (lambda z: (z, [z]))(1)]"
    path.write_text("\n".join([line] * 15))
    want = ast.dump(ast.parse(path.read_text()))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: ast.dump(tree_of(path)), range(12)))
    assert found == [want] * 12
