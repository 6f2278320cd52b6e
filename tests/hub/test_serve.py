"""`serve` as a process: it answers, keeps its worker alive, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from workingpapers.hub import PortInUse, serve, server

from .conftest import wait_for

SERVE = "from workingpapers.hub import serve; serve(port=0, warmup=False)"


@pytest.fixture
def site(tmp_path: Path):
    """Address and process of a site; killed at the end if a test did not end it."""
    environment = {**os.environ, "WORKINGPAPERS_HOME": str(tmp_path / "home"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([sys.executable, "-c", SERVE], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    address = re.search(r"http://\S+", process.stdout.readline()).group()
    yield address, psutil.Process(process.pid), process
    for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
        child.kill()
    process.kill()
    process.wait()


def is_worker(process):
    try:
        return "workingpapers.lab.worker" in " ".join(process.cmdline())
    except psutil.Error:  # it has just died
        return False


def workers(process):
    return [c for c in process.children() if is_worker(c)]


def is_gone(process):
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def answers(address):
    try:
        return httpx.get(f"{address}/healthz").json()["status"] == "ok"
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_a_killed_worker_is_started_again_and_nothing_is_left_behind(site):
    address, process, popen = site
    wait_for(lambda: answers(address))
    assert address.startswith("http://127.0.0.1:")
    first = wait_for(lambda: workers(process))[0]
    first.kill()
    second = wait_for(lambda: [w for w in workers(process) if w.pid != first.pid])[0]
    assert len(workers(process)) == 1
    popen.send_signal(signal.SIGTERM)
    popen.wait(20)
    wait_for(lambda: is_gone(second))


def test_small_answers_do_not_wait_for_acknowledgements():
    """The option of each accepted connection as the kernel has it: without it every answer under 64 kB took 40 ms longer."""
    found = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport):
            found.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    async def main(listener):
        async with await asyncio.get_running_loop().create_server(Server, sock=listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            await reader.read()
            writer.close()

    with server._listening("127.0.0.1", 0) as listener:
        asyncio.run(main(listener))
    assert len(found) == 1
    assert all(found)


@pytest.mark.slow
def test_open_streams_do_not_hold_the_server_back(site, tmp_path):
    from workingpapers.lab import Settings, Store
    from workingpapers.lab.store import RunRow

    address, _, popen = site
    wait_for(lambda: answers(address))
    with Store(Settings(home=tmp_path / "home")).writing() as session:  # a run that nobody here will take: its paper is unknown
        session.add(RunRow(run_id="rwaiting", batch_id="b", slug="elsewhere", claim_id="x", scale="smoke"))
    with httpx.stream("GET", f"{address}/api/v1/runs/rwaiting/events", timeout=20) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        popen.send_signal(signal.SIGINT)
        assert list(lines) is not None  # the stream ends, it does not break
    assert popen.wait(20) in (0, -signal.SIGINT, 130)


@pytest.mark.slow
def test_the_worker_ends_when_the_server_is_killed(site):
    address, process, popen = site
    wait_for(lambda: answers(address))
    worker = wait_for(lambda: workers(process))[0]
    popen.kill()
    popen.wait()
    wait_for(lambda: is_gone(worker))


def test_a_taken_port_is_one_clear_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PortInUse, match="choose another with --port"):
            serve(port=taken.getsockname()[1])


@pytest.mark.slow
def test_starting_loads_nothing_heavy(tmp_path):
    code = ("import sys; from workingpapers.hub import create_app; create_app(warmup=True); "
            "print([m for m in ('torch', 'pandas', 'altair', 'numba', 'sklearn', 'vl_convert', 'ray') if m in sys.modules])")
    environment = {**os.environ, "WORKINGPAPERS_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
