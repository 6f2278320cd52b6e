"""What commands share: options, output, and turning errors of the rooms below into usage errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def print_json(document: Any) -> None:
    """One document on standard output."""
    typer.echo(json.dumps(document, ensure_ascii=False, indent=1))


class WrongUsage(Exception):
    """An error of the caller's making: one line, exit code 2."""


@contextmanager
def usage_errors() -> Iterator[None]:
    """Errors that name an argument and a remedy become usage errors."""
    from workingpapers.lab import LabError
    from workingpapers.papers.catalogue import UnknownPaper

    try:
        yield
    except (LabError, UnknownPaper, FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise WrongUsage(str(error)) from error


def open_lab() -> Any:
    """The lab on the store of the environment's settings; settings or a database that cannot be used are wrong usage."""
    from pydantic import ValidationError
    from sqlalchemy.exc import SQLAlchemyError

    from workingpapers.lab import Lab
    from workingpapers.lab.store import NewerStore, Store

    try:
        store = Store()
    except ValidationError as error:
        first = error.errors()[0]
        raise WrongUsage(f"WORKINGPAPERS_{str(first['loc'][0]).upper()} is {first['input']!r}: {first['msg']}") from error
    except (SQLAlchemyError, OSError, NewerStore) as error:
        raise WrongUsage(f"the database cannot be opened: {getattr(error, 'orig', None) or error!s}") from error
    return Lab(store)


def figure(value: float | None) -> str:
    """A number for a table: four digits that matter."""
    return "" if value is None else f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"


def span(interval: Any) -> str:
    """An interval or a band for a table."""
    return "" if interval is None else f"[{figure(interval[0])}, {figure(interval[1])}]"
