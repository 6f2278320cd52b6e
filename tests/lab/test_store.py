"""The store: migrations both ways, the same schema as the models, many processes at a first start."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import inspect, select, text

from workingpapers.lab import Settings, Store
from workingpapers.lab.store import Base, NewerStore, RunRow
from workingpapers.lab.store._store import _from_json, _to_json, alembic_config


def tables(store: Store) -> set[str]:
    return set(inspect(store.engine).get_table_names())


# What the index of words is made of stands in the migration alone: models know none of it.
WORDS = {"papers_fts", "papers_vocab", "papers_places", "words", "ix_papers_words"}


def is_of_the_models(name: str | None, kind: str, _: Any) -> bool:
    return not (name or "").startswith("papers_fts") and name not in WORDS


def test_migrations_up_down_up(either: str) -> None:
    from alembic import command

    store = Store()
    there = tables(store)
    assert {"runs", "trials", "measurements", "checks", "run_events", "run_files"} <= there
    with store.engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    assert tables(store) == {"alembic_version"}
    store.migrate()
    assert tables(store) == there
    store.migrate()
    assert tables(store) == there


def test_every_step_of_the_migrations_goes_both_ways(either: str) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    store = Store()
    with store.engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    with store.engine.connect() as connection:
        revisions = [r.revision for r in ScriptDirectory.from_config(alembic_config(connection)).walk_revisions()][::-1]
    for revision in revisions:
        for step in (revision, "-1", revision):
            with store.engine.begin() as connection:
                (command.downgrade if step == "-1" else command.upgrade)(alembic_config(connection), step)


def test_migrations_give_the_schema_of_the_models(either: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    import workingpapers.hub.app  # noqa: F401 - its tables hang on the same base

    store = Store()
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={
            "compare_type": True, "compare_server_default": True, "include_name": is_of_the_models,
            "include_object": lambda thing, name, kind, found, other: is_of_the_models(name, kind, None)})
        assert compare_metadata(context, Base.metadata) == []


def test_a_database_of_a_later_release_is_refused() -> None:
    store = Store()
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerStore, match="the database is at version 9999"):
        Store()


@pytest.mark.slow
@pytest.mark.sqlite
def test_many_processes_start_on_an_empty_home_at_once(tmp_path: Path) -> None:
    code = "from workingpapers.lab import Store; s = Store(); s.writing().__enter__(); print('open')"
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(6)]
    ended = [p.communicate(timeout=120) for p in processes]
    assert [(p.returncode, out) for p, (out, _) in zip(processes, ended)] == [(0, "open\n")] * 6, [err for _, err in ended]


@pytest.mark.sqlite
def test_sqlite_waits_in_write_ahead_mode_and_keeps_its_keys() -> None:
    store = Store()
    with store.engine.connect() as connection:
        found = {p: connection.execute(text(f"PRAGMA {p}")).scalar() for p in ("journal_mode", "foreign_keys", "busy_timeout")}
    assert found == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 15000}


def row(**more: Any) -> RunRow:
    return RunRow(**{"run_id": "r", "batch_id": "b", "slug": "s", "claim_id": "c", "scale": "smoke", **more})


def test_a_block_that_raises_leaves_nothing() -> None:
    store = Store()

    def broken_off() -> None:
        with store.writing() as session:
            session.add(row())
            session.flush()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    with store.reading() as session:
        assert session.scalars(select(RunRow)).all() == []


def test_moments_keep_their_zone() -> None:
    store = Store()
    noon = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
    with store.writing() as session:
        session.add(row(created_at=noon))
    with store.reading() as session:
        assert session.scalars(select(RunRow.created_at)).one() == noon
    with pytest.raises(Exception, match="without a time zone"), store.writing() as session:
        session.add(row(run_id="r2", created_at=dt.datetime(2026, 1, 1)))


def test_settings_name_the_database(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert settings.database_url == f"sqlite:///{tmp_path / 'workingpapers.sqlite3'}"
    assert Settings(database="postgresql://x").database_url == "postgresql://x"


def test_numbers_that_json_lacks_and_letters_come_back(either: str) -> None:
    body = {"interval": [float("-inf"), 1.5], "nan": float("nan"), "deep": {"x": (float("inf"),)}, "name": "Mücke", "$float": 1}
    store = Store()
    with store.writing() as session:
        session.add(row(plan=body))
        session.flush()
        held = session.execute(text("SELECT plan FROM runs")).scalar()
    with store.reading() as session:
        found = session.scalars(select(RunRow.plan)).one()
    assert found["interval"] == [float("-inf"), 1.5]
    assert found["nan"] != found["nan"]
    assert found["deep"] == {"x": [float("inf")]}
    assert (found["name"], found["$float"]) == ("Mücke", 1)
    if either == "sqlite":
        assert "Mücke" in str(held)


@pytest.mark.slow
def test_two_processes_start_on_an_empty_postgresql_at_once(postgres: Any) -> None:
    new = postgres.new("template1")
    code = "from workingpapers.lab import Store; Store(); print('open')"
    environment = {**os.environ, "WORKINGPAPERS_DATABASE": postgres.url(new)}
    processes = [subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                 for _ in range(2)]
    ended = [p.communicate(timeout=120) for p in processes]
    assert [(p.returncode, out) for p, (out, _) in zip(processes, ended)] == [(0, "open\n")] * 2, [err for _, err in ended]
    postgres.drop(new)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)),
       st.sampled_from(["", " ", "\n "]))
def test_what_a_json_column_is_given_comes_back(value: Any, around: str) -> None:
    """Numbers that JSON lacks too; spaces around it, which another program may have written; lists are new each time."""
    written = _to_json(value)
    for text_of in (written, around + written + around):
        assert repr(_from_json(text_of)) == repr(value)
        assert repr(_from_json(text_of.encode())) == repr(value)
    assert _from_json("[]") is not _from_json("[]")
    for broken in ("", "[1", "[1] 2", "nonsense"):
        with pytest.raises(json.JSONDecodeError):
            _from_json(broken)


def test_idle_connections_let_go_of_pages_and_work_on(either: str) -> None:
    store = Store()
    with store.reading() as first, store.reading() as second:
        assert [s.execute(text("SELECT count(*) FROM runs")).scalar() for s in (first, second)] == [0, 0]
        store.shrink()  # none is idle
    before = store.engine.pool.status()
    store.shrink()
    assert store.engine.pool.status() == before
    with store.writing() as session, store.reading() as other:
        store.shrink()
        assert session.execute(text("SELECT count(*) FROM runs")).scalar() == other.execute(text("SELECT count(*) FROM runs")).scalar()
    store.close()
