"""The version of a store tells every commit of anybody, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from sqlalchemy import text

from workingpapers.lab import Settings, Store

ELSEWHERE = """
from sqlalchemy import text
from workingpapers.lab import Store
store = Store()
with store.writing() as session:
    session.execute(text("UPDATE things SET n = n + 1"))
store.close()
"""


def things(store: Store) -> None:
    with store.writing() as session:
        session.execute(text("CREATE TABLE things (n INTEGER)"))
        session.execute(text("INSERT INTO things VALUES (0)"))


def test_every_commit_is_told_and_nothing_else(either: str) -> None:
    store, other = Store(), Store()
    things(store)
    seen = [store.version()]
    assert store.version() == seen[0]
    with store.reading() as session:
        assert session.scalar(text("SELECT n FROM things")) == 0
    assert store.version() == seen[0]
    for writer in (store, other, store):
        with writer.writing() as session:
            session.execute(text("UPDATE things SET n = n + 1"))
            assert store.version() == seen[-1] or either == "postgres"  # not committed yet; on PostgreSQL it may be told early
        seen.append(store.version())
        assert store.version() == seen[-1]
    subprocess.run([sys.executable, "-c", ELSEWHERE], check=True, env={**os.environ})
    seen.append(store.version())
    assert len(set(seen)) == len(seen) == 5
    store.close()
    assert store.version() not in seen[:4]  # asked again after the connections were given back
    other.close()


def test_what_is_read_under_a_version_is_never_older_than_it(either: str) -> None:
    """A writer counts up while readers ask version, then value: whoever sees an equal version again may go on with the value."""
    store = Store()
    things(store)
    wrong: list[tuple[int, int]] = []
    stop = threading.Event()

    def read() -> None:
        kept: dict[object, int] = {}
        while not stop.is_set():
            version = store.version()
            with store.reading() as session:
                value = session.scalar(text("SELECT n FROM things")) or 0
            if version in kept and store.version() == version and kept[version] != value:
                wrong.append((kept[version], value))
            kept.setdefault(version, value)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for _ in range(150):
        with store.writing() as session:
            session.execute(text("UPDATE things SET n = n + 1"))
    stop.set()
    for reader in readers:
        reader.join()
    store.close()
    assert not wrong


def test_another_file_in_the_place_of_the_first_is_another_version(tmp_path: Path) -> None:
    stores = []
    for name in ("one", "two"):
        store = Store(Settings(home=tmp_path / name, database=""))
        things(store)
        store.close()
        stores.append(tmp_path / name / "workingpapers.sqlite3")
    store = Store(Settings(home=tmp_path / "one", database=""))
    before = store.version()
    shutil.copy(stores[1], tmp_path / "new")
    (tmp_path / "new").replace(stores[0])
    assert store.version() != before
    store.close()
