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
    """Run the site, with one worker for claims and one for jobs."""
    from workingpapers.hub import PortInUse
    from workingpapers.hub import serve as start

    try:
        start(host=host, port=port, warmup=warmup, open_browser=browse)
    except PortInUse as error:
        raise WrongUsage(str(error)) from error


def worker(
    only: Annotated[str, typer.Option(help="`claims` or `jobs`; by default both.")] = "",
) -> None:
    """Work the queues of runs and of jobs: one more worker for a site."""
    import os
    import subprocess
    import sys

    from workingpapers.hub.server import CLAIMS, JOBS

    wanted = {"claims": CLAIMS, "jobs": JOBS}
    if only and only not in wanted:
        raise WrongUsage(f"--only is {only!r}: claims or jobs is needed")
    if only == "jobs":
        from workingpapers.hub.worker import main as work_jobs

        raise typer.Exit(work_jobs())
    from workingpapers.lab.worker import main as work_claims

    beside = None if only else subprocess.Popen([sys.executable, "-m", JOBS, "--with-parent", str(os.getpid())])
    try:
        code = work_claims()
    finally:
        if beside is not None:
            beside.terminate()
            beside.wait()
    raise typer.Exit(code)
