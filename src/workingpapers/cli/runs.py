"""`run`, `resume` and `runs`: trying claims and reading what was measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ._common import JsonFlag, WrongUsage, figure, open_lab, print_json, span, usage_errors

Scales = Annotated[str, typer.Option(help="smoke (seconds), small (minutes) or full (the paper's own setting).")]

records = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What was run: list, show, export, import.")


def run(
    slug: Annotated[str, typer.Argument(help="Of a paper that runs.")],
    claims: Annotated[list[str] | None, typer.Argument(help="Claim ids; all of the paper by default.")] = None,
    scale: Scales = "smoke",
    seeds: Annotated[int | None, typer.Option(help="Seeds in place of the claim's own number; fewer than 3 are inconclusive.")] = None,
    executor: Annotated[str, typer.Option(help="local or ray.")] = "local",
    address: Annotated[str, typer.Option(help="Address of a Ray cluster; empty starts one here.")] = "",
    point: Annotated[list[str] | None, typer.Option(help="A workload of your own, as module:object. May be repeated.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run every trial again, even where an equal one is on record.")] = False,
    export: Annotated[Path | None, typer.Option(help="Also write the runs to this file.")] = None,
    json_: JsonFlag = False,
) -> None:
    """Run claims of a paper on this machine and decide them."""
    import os

    if address:
        os.environ["WORKINGPAPERS_RAY_ADDRESS"] = address
    if point and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a user's own module lies where they stand
    with usage_errors():
        lab = open_lab()
        with _attended(json_) as on_event:
            batch = lab.run(slug, claims or None, scale=scale, seeds=seeds, executor=executor, points=point or None, fresh=fresh,
                            on_event=on_event)
        _finish(lab, batch.document, json_, export, trials=False)


def resume(
    name: Annotated[str, typer.Argument(help="Of a run or a batch.")],
    export: Annotated[Path | None, typer.Option(help="Also write the runs to this file.")] = None,
    json_: JsonFlag = False,
) -> None:
    """Go on with an interrupted run or batch; finished trials are not run again."""
    with usage_errors():
        lab = open_lab()
        with _attended(json_) as on_event:
            batch = lab.resume(name, on_event=on_event)
        _finish(lab, batch.document, json_, export, trials=False)


@records.command("list")
def list_runs(
    paper: Annotated[str, typer.Option(help="Only of this paper.")] = "",
    verdict: Annotated[str, typer.Option(help="Only with this verdict.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 30,
    json_: JsonFlag = False,
) -> None:
    """List runs, newest first."""
    from workingpapers.lab import read

    lab = open_lab()
    with lab.store.reading() as session:
        rows = read.runs(session, slug=paper or None, verdict=verdict or None, limit=limit)
        found: list[dict[str, Any]] = [
            {"run_id": r.run_id, "batch_id": r.batch_id, "paper": r.slug, "claim": r.claim_id, "scale": r.scale, "state": r.state,
             "verdict": r.verdict, "origin": r.origin, "is_yours": r.is_yours, "created_at": r.created_at.isoformat(),
             "seconds": round(r.seconds, 3)} for r in rows]
    if json_:
        print_json(found)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("run", "paper", "claim", "scale", "state", "verdict", "seconds", "when"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("run", "claim"))
    for r in found:
        table.add_row(r["run_id"], r["paper"], r["claim"], r["scale"], r["state"], r["verdict"] or "", f"{r['seconds']:.1f}",
                      str(r["created_at"])[:16])
    Console().print(table)


@records.command("show")
def show_run(name: Annotated[str, typer.Argument(help="Of a run.")], json_: JsonFlag = False) -> None:
    """Show one run: verdict, checks, arms."""
    with usage_errors():
        document = open_lab().run_document(name)
    if json_:
        print_json(document)
        return
    _print_runs([document], details=True)


@records.command("export")
def export_command(
    name: Annotated[list[str], typer.Argument(help="Of runs or batches.")],
    file: Annotated[Path | None, typer.Option("--to", help="File to write; standard output by default.")] = None,
    trials: Annotated[bool, typer.Option("--trials/--no-trials", help="With every trial and measurement.")] = True,
) -> None:
    """Write runs as one JSON document that another site can import: `runs export RUN [FILE]`."""
    from workingpapers.lab.exchange import export_runs

    names = list(name)
    if file is None and len(names) > 1 and (names[-1].endswith(".json") or "/" in names[-1]):
        file = Path(names.pop())
    with usage_errors():
        document = export_runs(open_lab(), names, trials=trials)
        if file is None:
            print_json(document)
        else:
            _write(file, document)


@records.command("import")
def import_command(file: Annotated[Path, typer.Argument(help="Made by `runs export`.")], json_: JsonFlag = False) -> None:
    """Take runs of another machine in; they are shown as imported."""
    from workingpapers.lab.exchange import MAX_BYTES, import_runs

    with usage_errors():
        if file.stat().st_size > MAX_BYTES:
            raise WrongUsage(f"{file} is larger than {MAX_BYTES >> 20} MB")
        names = import_runs(open_lab(), file.read_bytes())
    if json_:
        print_json({"imported": names})
    else:
        typer.echo(f"{len(names)} runs imported" + (f": {', '.join(names)}" if names else ", the others were here already"))


def _finish(lab: Any, document: dict[str, Any], json_: bool, export: Path | None, *, trials: bool) -> None:
    if export is not None:
        from workingpapers.lab.exchange import export_runs

        _write(export, export_runs(lab, [document["batch_id"]], trials=trials))
    if json_:
        print_json(document)
    else:
        _print_runs(document["claims"], details=False)
    unfinished = [c for c in document["claims"] if c["failed_trials"] or c["state"] != "done"]
    if unfinished:
        names = ", ".join(c["id"] for c in unfinished)
        print(f"workingpapers: not every trial ran: {names}. `workingpapers runs show RUN` tells why, "
              f"`workingpapers resume {document['batch_id']}` tries again.", file=sys.stderr)
        raise typer.Exit(1)


def _write(file: Path, document: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part.replace(file)


def _print_runs(claims: list[dict[str, Any]], *, details: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    colours = {"holds": "green", "partly": "yellow", "fails": "red"}
    out = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("claim", "verdict", "measured", "interval", "against", "seeds", "trials", "seconds"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("claim", "verdict", "interval"))
    for c in claims:
        threshold = span(c["threshold"]) if isinstance(c["threshold"], list) else figure(c["threshold"])
        tried = f"{c['trials']}" + (f", {c['reused_trials']} reused" if c["reused_trials"] else "")
        tried += f", {c['failed_trials']} failed" if c["failed_trials"] else ""
        table.add_row(c["id"], f"[{colours.get(c['verdict'], 'default')}]{c['verdict'] or c['state']}[/]", figure(c["estimate"]),
                      span(c["interval"]), threshold, str(c["n_seeds"]), tried, f"{c['seconds']:.1f}")
    out.print(table)
    for c in claims:
        if c["reason"] or c["note"]:
            out.print(f"[bold]{escape(c['id'])}[/bold]: {escape(' '.join(x for x in (c['reason'], c['note']) if x))}")
    if details:
        for c in claims:
            _print_details(out, c)


def _print_details(out: Any, c: dict[str, Any]) -> None:
    from rich.table import Table

    checks = Table(title="checks", box=None, pad_edge=False, title_justify="left")
    for heading in ("check", "estimate", "interval", "n of n", "verdict"):
        checks.add_column(heading, overflow="fold")
    for k in c["checks"]:
        counts = f"{k['counts'][0]} of {k['counts'][1]}" if k["counts"] else ""
        checks.add_row(k["rule"], figure(k["estimate"]), span(k["interval"]), counts, k["verdict"])
    out.print(checks)
    arms = Table(title="arms", box=None, pad_edge=False, title_justify="left")
    for heading in ("arm", "metric", "mean", "interval", "seeds"):
        arms.add_column(heading, overflow="fold")
    for arm, metrics in c["arms"].items():
        for metric, m in metrics.items():
            arms.add_row(arm, metric, figure(m["mean"]), span(m["interval"]), str(m["n"]))
    out.print(arms)


@contextmanager
def _attended(silent: bool) -> Iterator[Any]:
    """Progress bars where somebody looks; after Ctrl-C, how to go on."""
    from ._progress import ProgressBars

    batches: list[str] = []
    with ProgressBars(silent or not sys.stderr.isatty()) as show:

        def on_event(run: Any, kind: str, payload: dict[str, Any]) -> None:
            batches[:] = [run.batch_id]
            show(run, kind, payload)

        try:
            yield on_event
        except KeyboardInterrupt:
            if batches:
                print(f"workingpapers: stopped; `workingpapers resume {batches[0]}` goes on where it was", file=sys.stderr)
            raise
