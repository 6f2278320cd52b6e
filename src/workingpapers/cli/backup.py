"""`backup` and `restore`: a whole site in one file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ._common import WrongUsage


def backup(
    path: Annotated[Path, typer.Argument(help="File to write, such as site-2026-01-31.tar.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Write the whole site (database, plots, key) to one file, while it goes on working."""
    from workingpapers.hub.backup import BackupError
    from workingpapers.hub.backup import backup as write
    from workingpapers.lab import Store

    try:
        manifest = write(Store(), path, None if as_json else _told)
    except BackupError as error:
        raise WrongUsage(str(error)) from error
    _done(manifest, path, as_json=as_json, what="written to")


def restore(
    path: Annotated[Path, typer.Argument(help="File that `backup` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Fill an empty site from a backup, on SQLite or PostgreSQL, whichever it was made on."""
    from workingpapers.hub.backup import BackupError
    from workingpapers.hub.backup import restore as read
    from workingpapers.lab import Store

    try:
        manifest = read(Store(), path, None if as_json else _told)
    except BackupError as error:
        raise WrongUsage(str(error)) from error
    _done(manifest, path, as_json=as_json, what="restored from")


def _told(table: str, rows: int) -> None:
    if rows and sys.stderr.isatty():
        print(f"  {table}: {rows:,}", file=sys.stderr)


def _done(manifest: dict[str, object], path: Path, *, as_json: bool, what: str) -> None:
    counts = {name: facts["rows"] for name, facts in manifest["tables"].items()}  # type: ignore[attr-defined]
    if as_json:
        print(json.dumps({"path": str(path), "bytes": path.stat().st_size, "rows": counts, "made_at": manifest["made_at"]}))
    else:
        filled = sum(1 for n in counts.values() if n)
        print(f"{sum(counts.values()):,} rows of {filled} tables {what} {path} ({path.stat().st_size:,} bytes)")
