"""`papers`, `show`, `new`: the catalogue on the command line. No database, no paper's code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ._common import JsonFlag, WrongUsage, print_json


def list_papers(
    json_: JsonFlag = False,
    task: Annotated[str, typer.Option(help="Only papers of this task.")] = "",
    runs: Annotated[bool, typer.Option("--runs", help="Only papers whose claims run here.")] = False,
) -> None:
    """List the papers of the catalogue."""
    from workingpapers.papers.catalogue import load_catalogue

    catalogue = load_catalogue()
    chosen = [p for p in catalogue if (not task or p.facts.task.lower() == task.lower()) and (not runs or p.status == "runs")]
    _report_broken(catalogue.broken)
    if json_:
        print_json([p.to_json() for p in chosen])
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("slug", "title", "published", "task", "claims", "status"):
        table.add_column(heading, overflow="fold")
    for p in chosen:
        table.add_row(p.slug, p.facts.title, p.facts.published.isoformat(), p.facts.task, str(len(p.facts.claims)), p.status)
    Console().print(table)


def show(slug: Annotated[str, typer.Argument(help="Of a paper, as `workingpapers papers` lists them.")], json_: JsonFlag = False) -> None:
    """Show one paper: what it is, what it claims, what was measured on the reference machine."""
    from workingpapers.papers.catalogue import UnknownPaper, load_catalogue

    try:
        paper = load_catalogue().find(slug)
    except UnknownPaper as error:
        raise WrongUsage(str(error)) from error
    facts = paper.facts
    if json_:
        print_json({**paper.to_json(), "facts": facts.model_dump(mode="json")})
        return
    from rich.console import Console
    from rich.markup import escape

    out = Console(highlight=False)
    out.print(f"[bold]{escape(facts.title)}[/bold]")
    out.print(escape(" · ".join(x for x in (f"{facts.author_count} authors", facts.published.isoformat(), facts.venue or "", facts.task,
                                           f"arXiv {facts.arxiv}" if facts.arxiv else "", paper.status) if x)))
    out.print("\n" + escape(facts.summary.strip()) + "\n")
    reference = _reference(paper)
    for claim in facts.claims:
        out.print(f"[bold]{escape(claim.id)}[/bold]  {escape(claim.statement)}")
        if claim.reported:
            where = f" ({claim.reported.where})" if claim.reported.where else ""
            out.print(f"  reported   {escape(claim.reported.figure + where)}")
        if claim.id in reference:
            out.print(f"  reference  {escape(_measured(reference[claim.id]))}")
        out.print(f"  rule       {escape(claim.rule)}")
    if facts.not_verified:
        out.print("\nNot verified here: " + escape("; ".join(facts.not_verified)))
    if paper.status == "runs":
        out.print(f"\nRun it: [bold]workingpapers run {slug} --scale smoke[/bold]")


def new(
    slug: Annotated[str, typer.Argument(help="Name of the folder: lower-case letters, digits, underscores.")],
    target: Annotated[Path | None, typer.Option("--in", help="Make a plug-in project in this folder.")] = None,
) -> None:
    """Make a new paper with one working claim: in this checkout, or as a plug-in project of its own."""
    from workingpapers.papers import catalogue
    from workingpapers.papers._scaffold import create_paper, create_plugin

    in_checkout = target is None and (catalogue.BUNDLED.parents[2] / "pyproject.toml").is_file()
    try:
        folder = create_paper(slug, catalogue.BUNDLED) if in_checkout else create_plugin(slug, target or Path.cwd())
    except (ValueError, OSError) as error:
        raise WrongUsage(str(error)) from error
    install = "" if in_checkout else f"pip install -e {folder}, "
    typer.echo(f"{folder}\nNow edit paper.toml, then: {install}workingpapers run {slug} --scale smoke")


def _reference(paper: Any) -> dict[str, Any]:
    document = paper.reference()
    return {r["claim"]: r for r in document.get("runs", [])} if document else {}


def _measured(run: dict[str, Any]) -> str:
    from ._common import figure, span

    return f"{run['verdict']}  {figure(run['estimate'])} {span(run['interval'])}".strip() + f"  ({run['n_seeds']} seeds, {run['scale']})"


def _report_broken(broken: Any) -> None:
    for paper in broken:
        for problem in paper.problems:
            print(f"workingpapers: {problem}", file=sys.stderr)
