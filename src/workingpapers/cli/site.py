"""`serve` and `worker`: the hub."""

from __future__ import annotations

from typing import Annotated

import typer

from ._common import WrongUsage


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on. Anything but this machine needs a proxy in front.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    warmup: Annotated[bool, typer.Option("--warmup/--no-warmup", help="On an empty store, run all smoke claims in the background.")] = True,
    browse: Annotated[bool, typer.Option("--open", help="Show the site in a browser once it answers.")] = False,
) -> None:
    """Run the site, with one worker for claims."""
    from workingpapers.hub import PortInUse
    from workingpapers.hub import serve as start

    try:
        start(host=host, port=port, warmup=warmup, open_browser=browse)
    except PortInUse as error:
        raise WrongUsage(str(error)) from error


def worker() -> None:
    """Work the queue of runs: one more worker for a site."""
    from workingpapers.lab.worker import main

    raise typer.Exit(main())
