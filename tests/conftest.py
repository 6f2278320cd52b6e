"""Shared test helpers: what may be absent from a machine, and where a test's data lives."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# `postgres` runs the tests of hub and lab on PostgreSQL, each on an empty database of its own.
TEST_DATABASE = os.environ.get("WORKINGPAPERS_TEST_DATABASE", "sqlite")
STRICT = os.environ.get("WORKINGPAPERS_REQUIRE_ALL") == "1"


def absent(reason: str) -> None:
    """Skip the calling test for want of something; a failure where everything is required."""
    if STRICT:
        pytest.fail(f"required here, but {reason}")
    pytest.skip(reason)


def require(what: str, reason: str | None = None) -> None:
    """Ask for a program on the path (`chromium`), a module (`timm`) or a file (`/usr/share/...`)."""
    if what.startswith("/"):
        found = Path(what).exists()
    else:
        found = shutil.which(what) is not None or importlib.util.find_spec(what) is not None
    if not found:
        absent(reason or f"{what} is not installed")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a data directory of its own; caches of fetched archives are shared."""
    monkeypatch.setenv("WORKINGPAPERS_HOME", str(tmp_path / "home"))


class Postgres:
    """A PostgreSQL server of the tests alone, from the package pgserver: 16.2 with pgvector and no other extension.

    It runs under a user of its own when the tests run as root, so its data lies where that user may go: not below a
    folder that is the tester's alone.
    """

    def __init__(self, folder: Path) -> None:
        import pgserver  # type: ignore[import-untyped, unused-ignore]

        from workingpapers.lab import Settings, Store

        self._server = pgserver.get_server(str(folder), cleanup_mode="stop")
        self._numbers = itertools.count(1)
        for command in ("ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET synchronous_commit = off", "SELECT pg_reload_conf()",
                        "CREATE DATABASE migrated"):
            self._do(command)
        store = Store(Settings(home=folder / "home", database=self.url("migrated")))
        store.close()

    def url(self, name: str) -> str:
        """SQLAlchemy URL of a database."""
        return str(self._server.get_uri()).replace("postgresql://", "postgresql+psycopg://").replace("/postgres?", f"/{name}?")

    def new(self, template: str = "migrated") -> str:
        """Name of a new database: a copy of the migrated one, or with `template1` an empty one."""
        name = f"t{next(self._numbers)}"
        self._do(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, name: str) -> None:
        """Drop it, whoever is still connected."""
        self._do(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        self._server.cleanup()

    def _do(self, command: str) -> None:
        import psycopg

        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(command)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server; a test that asks for it is skipped, or fails where everything is required, when its package is absent."""
    for module in ("pgserver", "psycopg"):
        if importlib.util.find_spec(module) is None:
            absent(f"{module} is not installed")
    folder = Path(tempfile.mkdtemp(prefix="workingpapers-postgres-"))
    folder.chmod(0o755)
    server = Postgres(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A migrated PostgreSQL database of this test alone."""
    name = postgres.new()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture(autouse=True)
def _database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `WORKINGPAPERS_TEST_DATABASE=postgres`: the default database of this test is a PostgreSQL one."""
    room = Path(request.node.path).relative_to(HERE).parts[0] if HERE in Path(request.node.path).parents else ""
    if TEST_DATABASE == "postgres" and room in ("hub", "lab", "cli") and not (
            "either" in request.fixturenames or request.node.get_closest_marker("sqlite")):
        monkeypatch.setenv("WORKINGPAPERS_DATABASE", request.getfixturevalue("postgres_url"))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs the test on both databases, whatever the default is; gives the name of the one."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    monkeypatch.setenv("WORKINGPAPERS_DATABASE", url)
    return str(request.param)


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest) -> None:
    for marker in request.node.iter_markers("needs"):
        for what in marker.args:
            require(what)
