"""`search` and `embed`: find papers; give them the vectors by which meaning is compared."""

from __future__ import annotations

from typing import Annotated

import typer

from ._common import JsonFlag, WrongUsage, open_lab, print_json


def search(
    question: Annotated[list[str], typer.Argument(help="Words, \"phrases\", -not, OR, title: author: abstract: cat: after: has: …")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="Papers to print.")] = 10,
    after: Annotated[str, typer.Option(help="Cursor of the page before (`next` in the JSON).")] = "",
    words_only: Annotated[bool, typer.Option("--words-only", help="Leave the meaning out.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Find papers, best first: by meaning and words together, or by words where no model is installed."""
    from workingpapers.hub.search import QueryError, searcher
    from workingpapers.hub.shelf import sync_catalogue

    lab = open_lab()
    sync_catalogue(lab.store, lab.catalogue)
    try:
        answer = searcher(lab.store).find(" ".join(question), limit, after or None, words_only=words_only)
    except QueryError as error:
        raise WrongUsage(str(error)) from error
    if as_json:
        from workingpapers.hub.search.api import found_out
        from workingpapers.hub.search.reasons import reasons

        with lab.store.reading() as session:
            why = reasons(session, searcher(lab.store), answer)
        print_json({"query": answer.query.text, "how": answer.how, "by_words_only_because": answer.by_words_only_because,
                    "papers": [found_out(hit, why).model_dump(mode="json") for hit in answer.hits], "next": answer.after})
        return
    for hit in answer.hits:
        row = hit.paper
        day = row.published_on or row.listed_on
        typer.echo(f"{row.slug or row.public_id:<22} {day or ''!s:<11}{row.title}")
    note = f" ({answer.by_words_only_because})" if answer.by_words_only_because else ""
    typer.echo(f"{len(answer.hits)} papers, by {answer.how}{note}", err=True)


def embed(as_json: JsonFlag = False) -> None:
    """Give every new or changed paper its vector. Ctrl-C loses nothing that was done; call it again to go on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from workingpapers.hub.search import Model
    from workingpapers.hub.search import embed as give_vectors
    from workingpapers.hub.shelf import sync_catalogue

    model = Model()
    if model.why_absent:
        raise WrongUsage(model.why_absent)
    lab = open_lab()
    sync_catalogue(lab.store, lab.catalogue)
    columns = (TextColumn("papers"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]:.0f}/s"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=as_json) as bars:
        task = bars.add_task("papers", total=None, rate=0.0)
        done = give_vectors(lab.store, model, report=lambda p: bars.update(task, completed=p.done, total=p.total, rate=p.rate))
    if as_json:
        print_json({"model": model.model_id, "papers": done.done, "seconds": round(done.seconds, 2)})
    else:
        typer.echo(f"{done.done:,} papers in {done.seconds:.0f} s, model {model.model_id}")
