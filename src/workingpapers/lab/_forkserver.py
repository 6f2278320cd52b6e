"""A process that imports a claim's module, computes nothing, and forks one child a job.

Run as `python -m workingpapers.lab._forkserver FD`: FD is a Unix socket to the driver. The driver sends JSON lines,
each with two descriptors (the job's socket and a log file); the server forks, and tells of births and deaths.
A fork is safe only because this process never ran a tensor operation or a parallel kernel and holds no thread.
When the driver goes away, every child is killed with all that it started. On Linux server and children adopt orphans, so
that a process that left its trial's group (`setsid`, a double fork) is found when the trial ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
from typing import Any

import psutil

MAX_HEADER = 1 << 16
MAX_FILE_BYTES = 16 << 30


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    start = json.loads(_line(control))
    sys.path[:] = start["path"]
    _adopt_orphans()
    for name in start["preload"]:
        # What cannot be imported here is reported by the job that needs it.
        with contextlib.suppress(BaseException):
            importlib.import_module(name)
    _ready_numba()
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_w, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what Ctrl-C means
    signal.set_wakeup_fd(wake_w)
    control.sendall(b'{"ready": true}\n')
    serve(control, wake_r)


def serve(control: socket.socket, wake: int) -> None:
    """Fork on request until the driver closes its end."""
    children: set[int] = set()
    while True:
        ready = select.select([control.fileno(), wake], [], [])[0]
        if wake in ready:
            os.read(wake, 4096)
            _reap(control, children)
        if control.fileno() in ready:
            try:
                header, fds, _, _ = socket.recv_fds(control, MAX_HEADER, 2)
            except ConnectionResetError:
                break
            if not header:
                break
            me = os.getpid()
            pid = os.fork()
            if pid == 0:
                _child(control, fds, me)
            for fd in fds:
                os.close(fd)
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)
            children.add(pid)
            _send(control, {"born": pid, "job": json.loads(header)["job"]})
    family = psutil.Process().children(recursive=True)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _child(control: socket.socket, fds: list[int], parent: int) -> None:
    """Everything a child does; it never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.setpgid(0, 0)
        _die_with_parent()
        if os.getppid() != parent:  # it was gone before that
            return
        _adopt_orphans()
        control.close()
        job_socket = socket.socket(fileno=fds[0])
        _to_log(fds[1])
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
        from workingpapers.lab._jobs import run_one

        run_one(job_socket.makefile("rb").readline(), job_socket.makefile("wb"))
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _ready_numba() -> None:
    """Have numba read its tables of types here, once: at the first kernel of every child that takes a second. It starts no thread."""
    numba = sys.modules.get("numba")
    if numba is not None:
        with contextlib.suppress(Exception):
            numba.njit("int64(int64)")(_same)


def _same(x: Any) -> Any:
    return x


def _to_log(fd: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(fd, 1)
    os.dup2(fd, 2)


def _die_with_parent() -> None:
    """Ask Linux to kill this child when the server dies."""
    server = os.getppid()
    _prctl(1, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)  # it died in between


def _adopt_orphans() -> None:
    _prctl(36, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _reap(control: socket.socket, children: set[int]) -> None:
    died = False
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            died = True
            if pid in children:
                children.discard(pid)
                _send(control, {"died": pid, "status": os.waitstatus_to_exitcode(status)})
    if died:
        # A trial adopts what it started; what it leaves comes here when it is dead.
        for process in psutil.Process().children():
            if process.pid not in children:
                with contextlib.suppress(psutil.Error):
                    process.kill()


def _send(control: socket.socket, what: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionError):
        control.sendall(json.dumps(what).encode() + b"\n")


def _line(sock: socket.socket) -> bytes:
    out = b""
    while not out.endswith(b"\n"):
        piece = sock.recv(1)
        if not piece:
            sys.exit(0)
        out += piece
    return out


if __name__ == "__main__":
    main()
