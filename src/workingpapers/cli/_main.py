"""The application, its commands, and how errors leave it: one line on stderr, exit code 2 for wrong usage."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import workingpapers

from . import backup, digest, doctor, ingest, papers, people, runs, search, site
from ._common import WrongUsage

# Typer may carry a click of its own, whose errors are not those of an installed click: take them from Typer.
_ParserError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=True,
                  help="Daily papers, in working order: find a paper, run its claims, use its method.")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"workingpapers {workingpapers.__version__}")
        raise typer.Exit


@app.callback()
def _top(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    return None


app.command("papers")(papers.list_papers)
app.command("show")(papers.show)
app.command("new")(papers.new)
app.command("run")(runs.run)
app.command("resume")(runs.resume)
app.add_typer(runs.records, name="runs")
app.command("ingest")(ingest.ingest)
app.add_typer(ingest.hub, name="hub")
app.add_typer(ingest.export, name="export")
app.command("search")(search.search)
app.command("embed")(search.embed)
app.command("serve")(site.serve)
app.add_typer(digest.digest, name="digest")
app.command("worker")(site.worker)
app.add_typer(people.user, name="user")
app.add_typer(people.token, name="token")
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Entry point of `workingpapers`."""
    try:
        code = app(standalone_mode=False)
    except WrongUsage as error:
        _say(str(error))
        sys.exit(2)
    except _ParserError as error:
        message = error.format_message()  # type: ignore[attr-defined]
        if message.startswith("Usage:"):
            print(message, file=sys.stderr)  # called without a command: the help is the message
        else:
            _say(message)
        sys.exit(2)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code or 0)


def _say(message: str) -> None:
    print(f"workingpapers: {' '.join(message.split())}", file=sys.stderr)
