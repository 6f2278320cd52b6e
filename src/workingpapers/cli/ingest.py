"""`ingest`, `hub sync` and `export leaderboards`: papers into the site's database, and reported figures out of it."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ._common import JsonFlag, WrongUsage, open_lab, print_json

hub = typer.Typer(no_args_is_help=True, help="Care for the site's database.")
export = typer.Typer(no_args_is_help=True, help="Write what the site holds to a file.")


def ingest(
    source: Annotated[str, typer.Argument(help="What it is: atom, oai, kaggle, jsonl, hf, bibtex, pwc, page, toml; arxiv for a query.")],
    path_or_query: Annotated[str, typer.Argument(help="A file (gzip or plain); else a query: arXiv's search words or ids (arxiv), "
                                                      "a day such as 2025-12-26 (hf, or oai for all that changed since).")],
    saved_on: Annotated[str, typer.Option(help="For page: the day it was saved, which gives its dates their year.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=30_000, help="At most so many records of an arXiv query.")] = 1_000,
    json: JsonFlag = False,
) -> None:
    """Take papers in from a file or from a source on the wire. Doing it again changes nothing; a kaggle or jsonl file that
    was broken off goes on where it stopped."""
    from workingpapers.hub.ingest import FORMATS, SourceError

    known = (*FORMATS, "arxiv")
    if source not in known:
        raise WrongUsage(f"source: one of {', '.join(known)}, not {source!r}")
    day = _day(saved_on)
    path = Path(path_or_query)
    is_file = path.exists()
    if not is_file and source not in ("arxiv", "oai", "hf"):
        raise WrongUsage(f"{path_or_query}: no such file")
    lab = open_lab()
    try:
        report = _take(lab, source, path if is_file else path_or_query, day, limit, silent=json)
    except (SourceError, ValueError) as error:
        raise WrongUsage(str(error)) from error
    if json:
        print_json(report.to_json())
        return
    c = report.counts
    print(f"{c.records:,} records in {report.seconds:.1f} s: {c.new:,} new papers, {c.changed:,} changed, {c.merged:,} merged, "
          f"{c.same:,} records known already" + (f" (went on at byte {report.resumed_at:,})" if report.resumed_at else ""))
    if report.problems.count:
        print(f"{report.problems.count:,} left out, such as {report.problems.first[0].where}: {report.problems.first[0].message}")
    if report.warnings:
        print(f"{report.warnings:,} warnings, such as {report.first_warnings[0]}")


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError:
        raise WrongUsage(f"--saved-on: a day such as 2025-12-26 is expected, not {text!r}") from None


def _take(lab: Any, source: str, what: Path | str, saved_on: dt.date | None, limit: int, *, silent: bool) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from workingpapers.hub.shelf import import_file, import_query

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[papers]}"),
               TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=silent or not sys.stderr.isatty()) as bar:
        size = _unpacked_size(what) if isinstance(what, Path) else None
        task = bar.add_task(what.name if isinstance(what, Path) else f"{source} {what}", total=size, papers="")

        def tell(at: int, counts: Any) -> None:
            bar.update(task, completed=at if size else counts.records, papers=f"{counts.records:,} records")

        if isinstance(what, Path):
            kind = "atom" if source == "arxiv" else source
            report = import_file(lab.store, kind, what, saved_on=saved_on, on_progress=tell)  # type: ignore[arg-type]
            bar.update(task, total=1, completed=1)
            return report
        return import_query(lab.store, source, what, limit=limit, on_progress=tell)


def _unpacked_size(path: Path) -> int | None:
    """Bytes that will be read; for gzip from its trailer, which holds for files under 4 GB; None for a folder."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return path.stat().st_size or None
        file.seek(-4, 2)
        return int.from_bytes(file.read(4), "little") or None


@hub.command("sync")
def sync(json: JsonFlag = False) -> None:
    """Bring the bundled papers and those of plug-ins into the site's database. `serve` does it on its own."""
    from workingpapers.hub.shelf import sync_catalogue

    lab = open_lab()
    counts = sync_catalogue(lab.store, lab.catalogue)
    if json:
        print_json(asdict(counts))
    else:
        print(f"{counts.records} changed files: {counts.new} new papers, {counts.changed} changed, {counts.merged} merged")


@export.command("leaderboards")
def leaderboards(out: Annotated[Path | None, typer.Argument(help="File; standard output without it.")] = None) -> None:
    """Figures that papers report, in the JSON of Papers with Code; `ingest pwc` takes it in again. Nothing measured is in it."""
    from workingpapers.hub.shelf import boards

    lab = open_lab()
    with lab.store.reading() as session:
        if out is None:
            for piece in boards.export(session):
                typer.echo(piece, nl=False)
            return
        with out.open("w", encoding="utf-8") as file:
            file.writelines(boards.export(session))


@export.command("openapi")
def openapi(out: Annotated[Path | None, typer.Argument(help="File; standard output without it.")] = None) -> None:
    """The description of the API, as the site gives it at `/openapi.json`."""
    import json as json_

    from workingpapers.hub import create_app

    text = json_.dumps(create_app(lab=open_lab()).openapi(), indent=1) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
