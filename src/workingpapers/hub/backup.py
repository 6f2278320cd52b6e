"""A whole site in one file, and back again, also into the other database.

The archive is a plain tar: `manifest.json`, `tables/NAME.jsonl.gz` (one row a line), `artefacts/…`, `hub.key`. All rows are read
in one transaction, so that a backup taken while people write is of one moment. Indexes are not kept: they are made again.
"""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import hashlib
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import JSON, Connection, Date, DateTime, LargeBinary, Table, func, insert, select, text

import workingpapers
from workingpapers.lab import Settings, Store
from workingpapers.lab.store import Base, now

from . import tables
from .tokens import KEY_FILE

FORMAT = 1
BATCH = 1_000
MOST_LINE = 64 << 20
TRANSIENT = frozenset({"rate_counters"})

Told = Callable[[str, int], None]


class BackupError(Exception):
    """A backup cannot be written or taken in; the text says why and what to do."""


def backup(store: Store, path: Path, told: Told | None = None) -> dict[str, Any]:
    """Write the whole site to `path`, while it goes on working; returns the manifest.

    The file appears under its name only when it is whole. It holds secrets (the site's key, mail addresses): mode 0600.

    Raises:
        BackupError: the file exists, or cannot be written.
    """
    if path.exists():
        raise BackupError(f"{path} exists already: choose another name, nothing is overwritten")
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    manifest: dict[str, Any] = {"format": FORMAT, "version": workingpapers.__version__, "made_at": now().isoformat(), "tables": {}}
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w|") as tar:
            for name, rows, packed in _tables(store, manifest):
                manifest["tables"][name] = {"rows": rows, "sha256": _sha256(packed)}
                tar.add(packed, f"tables/{name}.jsonl.gz", filter=_anonymous)
                if told:
                    told(name, rows)
            for source, inside in _files(store.settings):
                if source.is_file():  # a run may have ended and tidied up meanwhile
                    tar.add(source, inside, filter=_anonymous)
            with tempfile.NamedTemporaryFile("w", suffix=".json") as written:
                json.dump(manifest, written, indent=1)
                written.flush()
                tar.add(written.name, "manifest.json", filter=_anonymous)
        draft.replace(path)
    except OSError as error:
        raise BackupError(f"{path} cannot be written: {error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return manifest


def restore(store: Store, path: Path, told: Told | None = None) -> dict[str, Any]:
    """Fill an empty site from a backup; returns the manifest. The database is filled whole or not at all.

    Raises:
        BackupError: no backup, a damaged one, one of a newer release, or a site that is not empty.
    """
    with store.reading() as session:
        busy = [t.name for t in _ordered() if t.name not in TRANSIENT and session.execute(select(t).limit(1)).first() is not None]
    if busy:
        raise BackupError(f"this site is not empty ({', '.join(busy[:3])}): set WORKINGPAPERS_HOME or WORKINGPAPERS_DATABASE to a new one")
    store.settings.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.settings.home) as unpacked:
        root = Path(unpacked)
        manifest = _unpack(path, root)
        known = {t.name: t for t in _ordered()}
        unknown = set(manifest["tables"]) - set(known)
        if unknown:
            raise BackupError(f"the backup holds the table {min(unknown)!r}, which this release does not know: upgrade workingpapers first")
        with store.engine.connect() as connection:
            if store.is_sqlite:
                connection = connection.execution_options(workingpapers_immediate=True)
            with connection.begin():
                for name, table in known.items():
                    if name in manifest["tables"]:
                        rows = _fill(connection, table, root / "tables" / f"{name}.jsonl.gz", manifest["tables"][name])
                        if told:
                            told(name, rows)
                if not store.is_sqlite:
                    _reset_sequences(connection, known.values())
        _place(root, store.settings)
    return manifest


def _ordered() -> list[Table]:
    """Tables so that what is referred to comes first."""
    assert tables.PaperRow.__table__ is not None  # the site's tables are on the base
    return list(Base.metadata.sorted_tables)


def _tables(store: Store, manifest: dict[str, Any]) -> Iterator[tuple[str, int, Path]]:
    with tempfile.TemporaryDirectory() as folder, store.engine.connect() as connection:
        if not store.is_sqlite:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            manifest["schema"] = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            for table in _ordered():
                if table.name in TRANSIENT:
                    continue
                packed, rows = Path(folder) / f"{table.name}.gz", 0
                with gzip.open(packed, "wt", encoding="utf-8", compresslevel=3) as out:
                    keys = list(table.primary_key.columns)
                    found = connection.execution_options(stream_results=True).execute(select(table).order_by(*keys))
                    for part in found.mappings().partitions(BATCH):
                        for row in part:
                            out.write(json.dumps({k: _packed(v) for k, v in row.items()}, ensure_ascii=False, separators=(",", ":")) + "\n")
                        rows += len(part)
                yield table.name, rows, packed
                packed.unlink()


def _packed(value: Any) -> Any:
    if isinstance(value, dt.date):  # a datetime too; those come in UTC
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes | memoryview) else value


def _unpacker(table: Table) -> dict[str, Callable[[Any], Any]]:
    out: dict[str, Callable[[Any], Any]] = {}
    for column in table.columns:
        kind = getattr(column.type, "impl", column.type)
        if isinstance(kind, DateTime):
            out[column.name] = dt.datetime.fromisoformat
        elif isinstance(kind, Date):
            out[column.name] = dt.date.fromisoformat
        elif isinstance(kind, LargeBinary):
            out[column.name] = base64.b64decode
    return out


def _fill(connection: Connection, table: Table, path: Path, facts: dict[str, Any]) -> int:
    if not path.is_file() or _sha256(path) != facts.get("sha256"):
        raise BackupError(f"the backup is damaged: {path.name} is missing or is not what the manifest says")
    kinds, names = _unpacker(table), {c.name for c in table.columns}
    json_columns = {c.name for c in table.columns if isinstance(c.type, JSON)}
    rows, part = 0, []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        while line := lines.readline(MOST_LINE):
            raw = json.loads(line)
            if not isinstance(raw, dict) or set(raw) - names:
                raise BackupError(f"{path.name}: a row has columns that this release does not know: upgrade workingpapers first")
            part.append({k: v if v is None or k in json_columns or k not in kinds else kinds[k](v) for k, v in raw.items()})
            if len(part) == BATCH:
                connection.execute(insert(table), part)
                rows, part = rows + len(part), []
    if part:
        connection.execute(insert(table), part)
        rows += len(part)
    if rows != facts.get("rows"):
        raise BackupError(f"the backup is damaged: {path.name} has {rows} rows where the manifest says {facts.get('rows')}")
    return rows


def _reset_sequences(connection: Connection, known: Iterable[Table]) -> None:
    """PostgreSQL hands out the next number by a sequence that has not seen the rows that came with theirs."""
    for table in known:
        key = list(table.primary_key.columns)
        if len(key) == 1 and key[0].name == "id":
            highest = connection.execute(select(func.max(table.c.id))).scalar()
            if highest:
                connection.execute(text("SELECT setval(pg_get_serial_sequence(:table, 'id'), :n)"), {"table": table.name, "n": highest})


def _unpack(path: Path, root: Path) -> dict[str, Any]:
    try:
        with tarfile.open(path, mode="r|") as tar:
            for member in tar:
                parts = PurePosixPath(member.name).parts
                fine = member.isfile() and ".." not in parts and parts and parts[0] in ("manifest.json", "tables", "artefacts", KEY_FILE)
                if not fine:
                    raise BackupError(f"{path} is no backup of a site: it holds {member.name[:80]!r}")
                tar.extract(member, root, filter="data")
        manifest = json.loads((root / "manifest.json").read_text("utf-8"))
        if not isinstance(manifest.get("tables"), dict) or manifest.get("format") != FORMAT:
            raise BackupError(f"{path} has the format {manifest.get('format')!r}; this release reads {FORMAT}")
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise BackupError(f"{path} cannot be read as a backup: {error}") from error
    return dict(manifest)


def _files(settings: Settings) -> Iterator[tuple[Path, str]]:
    if (settings.home / KEY_FILE).is_file():
        yield settings.home / KEY_FILE, KEY_FILE
    for path in sorted(settings.artefacts.rglob("*")) if settings.artefacts.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            yield path, f"artefacts/{path.relative_to(settings.artefacts).as_posix()}"


def _place(root: Path, settings: Settings) -> None:
    if (root / KEY_FILE).is_file():
        os.chmod(root / KEY_FILE, 0o600)
        (root / KEY_FILE).replace(settings.home / KEY_FILE)
    for path in sorted((root / "artefacts").rglob("*")):
        if path.is_file():
            target = settings.artefacts / path.relative_to(root / "artefacts")
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
