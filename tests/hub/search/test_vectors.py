"""Vectors in memory against brute force, while the table changes; pgvector against the same; what half the room costs."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sqlalchemy import delete, text

from workingpapers.hub.search.matrix import AT_ONCE, VectorMatrix
from workingpapers.hub.search.vectors import PgVectors, Vectors
from workingpapers.hub.tables import PaperRow, PaperVectorRow
from workingpapers.hub.tables.types import halved, whole
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
    return VectorMatrix("m", D) if store.is_sqlite else PgVectors("m", D)


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
        np.testing.assert_allclose(cosine, [table[i] @ question for i in truth[:10]], atol=5e-5)
        barred = np.array(truth[:3])
        assert vectors.nearest(session, question, 5, barred=barred)[0].tolist() == truth[3:8]
        few = np.array(truth[20:60:4])
        assert vectors.nearest(session, question, 5, few)[0].tolist() == truth[20:40:4]  # no page starves
        assert vectors.nearest(session, question, 5, np.empty(0, np.int64))[0].tolist() == []
        asked = np.array([truth[5], 10**9, truth[0]])
        expected = [table[truth[5]] @ question, np.nan, table[truth[0]] @ question]
        np.testing.assert_allclose(vectors.cosines(session, question, asked), expected, atol=5e-5)


def test_nothing_there_is_no_error(store: Store, vectors: Vectors) -> None:
    with store.reading() as session:
        assert vectors.nearest(session, np.ones(D, np.float32), 5)[0].tolist() == []
        assert np.isnan(vectors.cosines(session, np.ones(D, np.float32), np.array([1]))).all()
        assert vectors.size(session) == 0


@pytest.fixture
def filled(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, VectorMatrix, Floats]:
    from workingpapers.lab import Settings

    monkeypatch.setenv("WORKINGPAPERS_DATABASE", "")
    home = tmp_path / "filled"
    home.mkdir()
    shutil.copy(empty_store, home)
    store = Store(Settings(home=home))
    made = draw(np.random.default_rng(1), 40)
    with store.writing() as session:
        session.add_all([PaperRow(id=i + 1, public_id=f"wp:{i}", title=f"{i}", title_key=f"{i}") for i in range(40)])
    for i, vector in enumerate(made):
        give(store, i + 1, vector)
    return store, VectorMatrix("m", D), made


def nearest(store: Store, matrix: VectorMatrix, question: Floats, limit: int = 3) -> list[int]:
    with store.reading() as session:
        return matrix.nearest(session, question, limit)[0].tolist()


def test_the_first_question_reads_the_table(filled: tuple[Store, VectorMatrix, Floats]) -> None:
    store, matrix, made = filled
    assert [nearest(store, matrix, v)[0] for v in made] == list(range(1, 41))
    with store.reading() as session:
        assert VectorMatrix("m", D).size(session) == 40
        assert VectorMatrix("another", D).size(session) == 0
        assert VectorMatrix("m", D + 1).size(session) == 0  # of another length under the same name


def test_newer_vectors_take_the_place_of_older_ones(filled: tuple[Store, VectorMatrix, Floats]) -> None:
    store, matrix, _ = filled
    rng = np.random.default_rng(2)
    for _ in range(3):
        changed = draw(rng, 40)
        for i in rng.permutation(40):
            give(store, int(i) + 1, changed[i])
        refresh(store, matrix)
        assert [nearest(store, matrix, v)[0] for v in changed] == list(range(1, 41))
    assert matrix._view.dead <= 0.2 * 80  # those that were superseded have gone


def test_another_database_in_place_of_the_first_is_read_anew(filled: tuple[Store, VectorMatrix, Floats]) -> None:
    store, matrix, _ = filled
    refresh(store, matrix)
    other = draw(np.random.default_rng(5), 20)
    with store.writing() as session:
        session.execute(text("DELETE FROM paper_vectors"))
        session.execute(text("DELETE FROM sqlite_sequence WHERE name = 'paper_vectors'"))
    for i, vector in enumerate(other):
        give(store, i + 1, vector)
    refresh(store, matrix)
    assert [nearest(store, matrix, v)[0] for v in other] == list(range(1, 21))
    with store.reading() as session:
        assert matrix.size(session) == 20


def test_small_gaps_are_closed_by_whoever_asks_and_large_ones_told(filled: tuple[Store, VectorMatrix, Floats]) -> None:
    store, matrix, made = filled
    late = draw(np.random.default_rng(9), 1)[0]
    with store.reading() as session:
        assert matrix.catch_up(session) is False  # nothing was read yet: everything is, at once
    give(store, 3, late)
    matrix._looked = float("-inf")
    with store.reading() as session:
        assert matrix.catch_up(session) is False
    assert nearest(store, matrix, late)[0] == 3
    with store.writing() as session:
        session.execute(text("UPDATE paper_vectors SET id = id + :n WHERE paper_id = 5"), {"n": AT_ONCE + 100})
    matrix._looked = float("-inf")
    with store.reading() as session:
        assert matrix.catch_up(session) is True
    refresh(store, matrix)
    assert nearest(store, matrix, made[4])[0] == 5


def test_questions_while_the_table_grows_see_a_whole_state(filled: tuple[Store, VectorMatrix, Floats]) -> None:
    """A reader between two states would find papers without vectors, or rows that are not filled yet."""
    store, matrix, made = filled
    refresh(store, matrix)
    wrong: list[object] = []
    ready = threading.Event()

    def ask() -> None:
        for i in range(400):
            found = nearest(store, matrix, made[i % 20])[0]
            if found != i % 20 + 1:
                wrong.append((i, found))
            ready.set()

    readers = [threading.Thread(target=ask) for _ in range(2)]
    for reader in readers:
        reader.start()
    ready.wait(20)
    rng = np.random.default_rng(3)
    for i in range(20, 40):
        give(store, i + 1, draw(rng, 1)[0] * 0.1)
        refresh(store, matrix)
    for reader in readers:
        reader.join()
    assert wrong == []


FLOATS = st.floats(-2.0**100, 2.0**100, width=32)


@given(arrays(np.float32, st.integers(1, 12), elements=FLOATS))
@settings(max_examples=300, deadline=None)
def test_half_the_room_is_off_by_little_and_only_once(vector: Floats) -> None:
    kept = halved(vector.astype("<f4").tobytes())
    back = whole(kept)
    largest = float(np.abs(vector).max())
    assert len(kept) == 2 * len(vector) + 2
    assert np.abs(np.frombuffer(back, "<f4").astype(float) - vector).max() <= largest * 2.0**-15 + 2.0**-149
    assert whole(halved(back)) == back


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="vector: NaN or infinite"):
        halved(np.array([0.5, bad], "<f4").tobytes())


def test_cosines_of_unit_vectors_keep_five_digits() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 384))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f4")
    back = np.stack([np.frombuffer(whole(halved(v.tobytes())), "<f4") for v in vectors])
    assert np.abs(back @ back.T - vectors @ vectors.T).max() < 3e-5
