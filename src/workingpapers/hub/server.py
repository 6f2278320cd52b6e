"""`workingpapers serve`: the web server, and two worker processes that it keeps alive: one for claims, one for jobs."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Iterable, Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

from workingpapers.lab import Settings

from .app import create_app
from .memory import give_back_now_and_then, keep_little, settle
from .people.signin import first_link
from .settings import HubSettings
from .site import Site

log = logging.getLogger("workingpapers.hub")

LONGEST_PAUSE = 30.0
GOOD_TIME = 60.0
GRACE = 10.0


class PortInUse(OSError):
    """Another program listens on that port; the text says what to do."""


CLAIMS = "workingpapers.lab.worker"
JOBS = "workingpapers.hub.worker"


class Worker:
    """Keeps one worker process alive: started again when it dies, after a pause that grows while it keeps dying.

    The worker ends with this process, however that ends. `module` is what it runs: `CLAIMS` or `JOBS`.
    """

    def __init__(self, settings: Settings, module: str = CLAIMS, *, address: str = "") -> None:
        self._command = [sys.executable, "-m", module, "--with-parent", str(os.getpid())]
        told = {"WORKINGPAPERS_BASE_URL": address} if address and not HubSettings().base_url else {}
        self._environment = {**os.environ, **told, "WORKINGPAPERS_HOME": str(settings.home), "WORKINGPAPERS_CACHE": str(settings.cache),
                             "WORKINGPAPERS_DATABASE": settings.database, "WORKINGPAPERS_WORKERS": str(settings.workers)}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="worker-watch", daemon=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def __enter__(self) -> Worker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        pause = 0.5
        while not self._stop.is_set():
            began = time.monotonic()
            # A session of its own: Ctrl-C in the terminal reaches this process alone, which then ends the worker in good order.
            process = self.process = subprocess.Popen(self._command, env=self._environment, stdin=subprocess.DEVNULL,
                                                      start_new_session=True)
            self.starts += 1
            while process.poll() is None:
                if self._stop.wait(0.2):
                    _end(process)
                    return
            pause = 0.5 if time.monotonic() - began > GOOD_TIME else min(2 * pause, LONGEST_PAUSE)
            log.warning("the worker ended with code %s; started again in %.0f s", process.returncode, pause)
            self._stop.wait(pause)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the worker to put its run back and end; after a while, end it and what it started."""
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Server(uvicorn.Server):
    """Ends live streams as soon as it is told to stop, since it waits for open answers."""

    def __init__(self, config: uvicorn.Config, site: Site) -> None:
        super().__init__(config)
        self._site = site

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._site.stopping.set()
        super().handle_exit(sig, frame)


def serve(host: str = "127.0.0.1", port: int = 8400, *, warmup: bool = True, open_browser: bool = False, worker: bool = True,
          settings: Settings | None = None, hosts: Iterable[str] | None = None, app: FastAPI | None = None) -> None:
    """Serve the site until Ctrl-C or SIGTERM.

    Args:
        host: address to bind; anything but this machine's own needs its name among `hosts`.
        port: 0 takes a free one.
        warmup: queue the smoke runs of claims that were never tried here.
        open_browser: show the site once it answers.
        worker: run queued claims and jobs too; without it, start `workingpapers worker` elsewhere on the same store.
        settings: where the store lies.
        hosts: names in the Host header that are answered; localhost, `host` and `WORKINGPAPERS_HOSTS` by default.
        app: in place of `create_app(...)`.

    Raises:
        PortInUse: another program has the port.
    """
    settings = settings or Settings()
    keep_little()
    with _listening(host, port) as listener:
        names = (*HubSettings().allowed(), f"[{host}]" if ":" in host else host) if hosts is None else hosts
        app = app or create_app(settings, hosts=names, warmup=warmup, local=is_loopback(host))
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        settle()
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5, lifespan="on",
                                proxy_headers=False)  # `Guard` believes configured proxies alone
        server = _Server(config, app.state.site)
        with contextlib.ExitStack() as workers:
            workers.callback(give_back_now_and_then(app.state.site.lab.store.shrink).set)
            for module in (CLAIMS, JOBS) if worker else ():
                workers.enter_context(Worker(settings, module, address=address))
            print(f"Working Papers: {address}  (Ctrl-C ends it)", flush=True)
            if (link := first_link(app.state.site.lab.store, HubSettings().base_url.rstrip("/") or address)) is not None:
                print(f"Nobody has an account yet. This link makes the admin's, once: {link}", flush=True)
            if open_browser:
                threading.Timer(0.5, webbrowser.open, [address]).start()
            with contextlib.suppress(KeyboardInterrupt), _sigterm_as_interrupt():
                server.run(sockets=[listener])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address.

    >>> [is_loopback(h) for h in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "papers.example")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Uvicorn raises the signal that ended it once more; SIGTERM's own effect would leave no time to end the worker."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, since asyncio switches Nagle's algorithm off for such sockets alone: with it an answer of head and
    # body, written one after the other, waits 40 ms for the client's delayed acknowledgement.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise PortInUse(f"cannot listen on {host}:{port} ({error.strerror}): choose another with --port") from error
        listener.set_inheritable(False)
        yield listener


