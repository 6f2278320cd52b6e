"""The file of vectors against brute force, through crashes and other processes; pgvector against the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import delete, text

from workingpapers.hub.search.vectors import MAGIC, PgVectors, VectorFile, Vectors
from workingpapers.hub.tables import PaperRow, PaperVectorRow
from workingpapers.lab import Store

D = 8
Add = Callable[..., int]
Floats = NDArray[np.float32]


def give(store: Store, paper: int, vector: Floats, model_id: str = "m") -> None:
    """As the job does: a new row in place of the old one."""
    with store.writing() as session:
        session.execute(delete(PaperVectorRow).where(PaperVectorRow.paper_id == paper, PaperVectorRow.model_id == model_id))
        session.add(PaperVectorRow(paper_id=paper, model_id=model_id, dim=D, text_hash="", vector=vector.astype("<f4").tobytes()))


def draw(rng: np.random.Generator, n: int) -> Floats:
    x = rng.normal(size=(n, D)).astype(np.float32)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def vectors(store: Store) -> Vectors:
    return VectorFile(store.settings.home / "vectors", "m", D) if store.is_sqlite else PgVectors("m", D)


def refresh(store: Store, vectors: Vectors) -> int:
    with store.writing() if isinstance(vectors, PgVectors) else store.reading() as session:
        return vectors.refresh(session)


def test_nearest_is_that_of_brute_force(store: Store, vectors: Vectors, add: Add) -> None:
    rng = np.random.default_rng(0)
    ids = np.array([add(f"paper {i}") for i in range(60)])
    table = {int(i): v for i, v in zip(ids, draw(rng, 60))}
    for paper, vector in table.items():
        give(store, paper, vector)
        give(store, paper, -vector, "another model")
    assert refresh(store, vectors) == 60
    for i in ids[::3]:  # changed texts
        table[int(i)] = draw(rng, 1)[0]
        give(store, int(i), table[int(i)])
    assert refresh(store, vectors) == 20
    question = draw(rng, 1)[0]
    truth = sorted(table, key=lambda i: -float(table[i] @ question))
    with store.reading() as session:
        got, cosine = vectors.nearest(session, question, 10)
        assert got.tolist() == truth[:10]
        np.testing.assert_allclose(cosine, [table[i] @ question for i in truth[:10]], atol=1e-5)
        barred = np.array(truth[:3])
        assert vectors.nearest(session, question, 5, barred=barred)[0].tolist() == truth[3:8]
        few = np.array(truth[20:60:4])
        assert vectors.nearest(session, question, 5, few)[0].tolist() == truth[20:40:4]  # no page starves
        assert vectors.nearest(session, question, 5, np.empty(0, np.int64))[0].tolist() == []
        asked = np.array([truth[5], 10**9, truth[0]])
        expected = [table[truth[5]] @ question, np.nan, table[truth[0]] @ question]
        np.testing.assert_allclose(vectors.cosines(session, question, asked), expected, atol=1e-5)


def test_nothing_there_is_no_error(store: Store, vectors: Vectors) -> None:
    with store.reading() as session:
        assert vectors.nearest(session, np.ones(D, np.float32), 5)[0].tolist() == []
        assert np.isnan(vectors.cosines(session, np.ones(D, np.float32), np.array([1]))).all()
        assert vectors.size(session) == 0


@pytest.fixture
def filled(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, VectorFile, Floats]:
    from workingpapers.lab import Settings

    monkeypatch.setenv("WORKINGPAPERS_DATABASE", "")
    home = tmp_path / "filled"
    home.mkdir()
    shutil.copy(empty_store, home)
    store = Store(Settings(home=home))
    given = draw(np.random.default_rng(1), 40)
    with store.writing() as session:
        session.add_all([PaperRow(id=i + 1, public_id=f"wp:{i}", title=f"{i}", title_key=f"{i}") for i in range(40)])
    for i, vector in enumerate(given):
        give(store, i + 1, vector)
    file = VectorFile(home / "vectors", "m", D)
    refresh(store, file)
    return store, file, given


def nearest(store: Store, file: VectorFile, question: Floats, limit: int = 3) -> list[int]:
    with store.reading() as session:
        return file.nearest(session, question, limit)[0].tolist()


@pytest.mark.parametrize("cut", [1, 8, 47, 48, 49])
def test_a_torn_record_costs_nothing_that_was_whole(filled: tuple[Store, VectorFile, Floats], cut: int) -> None:
    store, file, given = filled
    with open(file.path, "r+b") as raw:
        raw.truncate(file.path.stat().st_size - cut)
    fresh = VectorFile(file.path.parent, "m", D)
    assert nearest(store, fresh, given[0])[0] == 1  # readable as it is
    assert refresh(store, fresh) == 1 + (cut > 48)
    assert nearest(store, fresh, given[39])[0] == 40
    assert fresh.path.stat().st_size == len(MAGIC) + 40 * (16 + 4 * D)


def test_blocks_that_a_power_cut_left_empty_end_the_file(filled: tuple[Store, VectorFile, Floats]) -> None:
    store, file, given = filled
    with open(file.path, "r+b") as raw:
        raw.seek(len(MAGIC) + 30 * (16 + 4 * D))
        raw.write(bytes(10 * (16 + 4 * D)))
    fresh = VectorFile(file.path.parent, "m", D)
    with store.reading() as session:
        assert fresh.size(session) == 30
    assert refresh(store, fresh) == 10
    assert nearest(store, fresh, given[35])[0] == 36


def test_a_file_of_another_table_or_of_junk_is_made_anew(filled: tuple[Store, VectorFile, Floats]) -> None:
    store, file, given = filled
    for spoil in (lambda: file.path.write_bytes(b"junk" * 100), lambda: file.path.write_bytes(b""), file.path.unlink):
        spoil()
        assert refresh(store, VectorFile(file.path.parent, "m", D)) == 40
        assert nearest(store, file, given[7])[0] == 8
    other = draw(np.random.default_rng(5), 40)
    with store.writing() as session:
        session.execute(text("DELETE FROM paper_vectors"))
        session.execute(text("DELETE FROM sqlite_sequence WHERE name = 'paper_vectors'"))  # as in another database
    for i, vector in enumerate(other):
        give(store, i + 1, vector)
    refresh(store, file)
    assert nearest(store, file, other[3])[0] == 4


def test_superseded_records_are_cleared_away(filled: tuple[Store, VectorFile, Floats]) -> None:
    store, file, _ = filled
    changed = draw(np.random.default_rng(2), 40)
    reader = VectorFile(file.path.parent, "m", D)
    assert nearest(store, reader, changed[0])
    for i, vector in enumerate(changed):
        give(store, i + 1, vector)
    refresh(store, file)
    assert file.path.stat().st_size == len(MAGIC) + 40 * (16 + 4 * D)
    assert [nearest(store, reader, v)[0] for v in changed] == list(range(1, 41))  # another process sees the new file


WRITER = """
import sys
from pathlib import Path
from workingpapers.hub.search.vectors import VectorFile
from workingpapers.lab import Settings, Store
store = Store(Settings(home=Path(sys.argv[1]), database=""))
with store.reading() as session:
    print(VectorFile(Path(sys.argv[1]) / "vectors", "m", 8).refresh(session))
"""


def test_processes_that_write_at_once_leave_each_record_once(filled: tuple[Store, VectorFile, Floats]) -> None:
    store, file, given = filled
    file.path.unlink()
    home = file.path.parent.parent
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(home)], env=os.environ, **pipes) for _ in range(2)]
    ended = [w.communicate(timeout=120) for w in writers]
    assert all(w.returncode == 0 for w in writers), ended
    assert sorted(int(out) for out, _ in ended) == [0, 40]
    assert file.path.stat().st_size == len(MAGIC) + 40 * (16 + 4 * D)
    assert [nearest(store, file, v)[0] for v in given] == list(range(1, 41))


def test_small_gaps_are_closed_by_whoever_asks(filled: tuple[Store, VectorFile, Floats]) -> None:
    store, file, _ = filled
    late = draw(np.random.default_rng(9), 1)[0]
    give(store, 3, late)
    with store.reading() as session:
        assert file.catch_up(session) is False
    assert nearest(store, file, late)[0] == 3
