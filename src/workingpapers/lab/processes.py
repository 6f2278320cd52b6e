"""The driver's side of trial processes: starting them, hearing from them, ending them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Literal, Self

import psutil

Answer = dict[str, Any]
Start = Literal["fork", "spawn"]

WATCH_EVERY = 0.2
LOG_TAIL = 4000
GRACE = 2.0

SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1")


class JobFailed(RuntimeError):
    """A job that ended without its answer. `error` is one line; `traceback` is for the record."""

    def __init__(self, error: str, traceback: str = "", missing: str | None = None) -> None:
        super().__init__(error)
        self.error, self.traceback, self.missing = error, traceback or error, missing


class JobUntested(RuntimeError):
    """A job that said that this machine cannot try it."""


@dataclass
class Job:
    """One running child process."""

    key: Any
    pid: int
    socket: Any
    log: IO[bytes]
    started: float
    time_limit: float | None
    memory_gb: float | None
    buffer: bytes = b""
    peak_mb: float = 0.0
    killed_for: str = ""
    over: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def fileno(self) -> int:
        return int(self.socket.fileno())


class TrialServer:
    """Starts jobs in processes of their own: forked from a clean server that imported the claim, or spawned.

    Args:
        preload: modules that the server imports before it forks; a module that fails to import is left to the job.
        start: `fork` where the system has it, else `spawn`.

    Use it as a context manager; leaving it kills whatever still runs.
    """

    def __init__(self, preload: Sequence[str] = (), start: Start | None = None) -> None:
        self.start: Start = start or ("fork" if hasattr(os, "fork") and sys.platform != "darwin" else "spawn")
        self.preload = ["threadpoolctl", "scipy.special", "workingpapers.lab._jobs", *preload]
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._heard = b""
        self._jobs: dict[int, Job] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ one job after another

    def call(self, job: Answer, on_progress: Callable[[Answer], None] | None = None, time_limit: float | None = 600.0) -> list[Answer]:
        """Run one job to its end and return its answers, the last of which ended well.

        Raises:
            JobFailed: it raised, was killed, or ran out of time.
            JobUntested: it said that this machine cannot try it.
        """
        running = self.begin("call", job, time_limit, None)
        answers: list[Answer] = []
        while not running.over:
            for _, answer in self.wait(0.5):
                answers.append(answer)
                if on_progress is not None and "progress" in answer:
                    on_progress(answer)
        return checked(answers)

    # ------------------------------------------------------------ many at once

    def begin(self, key: Any, job: Answer, time_limit: float | None, memory_gb: float | None) -> Job:
        """Start a job. Its answers come from `wait` under `key`."""
        log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the job
        if self.start == "spawn":
            running = self._spawn(key, log)
            running.process.stdin.write(json.dumps(sys.path).encode() + b"\n" + json.dumps(job).encode() + b"\n")  # type: ignore[union-attr]
            running.process.stdin.close()  # type: ignore[union-attr]
        else:
            running = self._fork(key, log)
            running.socket.sendall(json.dumps(job).encode() + b"\n")
            running.socket.setblocking(False)
        running.time_limit, running.memory_gb = time_limit, memory_gb
        self._jobs[running.pid] = running
        return running

    def wait(self, seconds: float) -> Iterator[tuple[Any, Answer]]:
        """Answers that arrive within `seconds`, as (key, answer). A job's last answer has `end`."""
        jobs = [j for j in self._jobs.values() if not j.over]
        if not jobs:
            return
        ready, _, _ = select.select(jobs, [], [], min(seconds, WATCH_EVERY))
        for job in ready:
            yield from ((job.key, answer) for answer in self._read(job))
        self._watch()

    def kill(self, job: Job, why: str) -> None:
        """End a job and everything it started; its last answer says why."""
        job.killed_for = job.killed_for or why
        _kill_group(job.pid)

    @property
    def running(self) -> list[Job]:
        """Jobs that have not ended."""
        return [j for j in self._jobs.values() if not j.over]

    def close(self) -> None:
        """Kill all jobs and the server."""
        for job in list(self._jobs.values()):
            _kill_group(job.pid)
            _shut(job)
        self._jobs.clear()
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._server is not None:
            try:
                self._server.wait(GRACE)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None

    # ------------------------------------------------------------ inside

    def _read(self, job: Job) -> Iterator[Answer]:
        try:
            piece = job.socket.recv(1 << 16) if self.start == "fork" else os.read(job.fileno(), 1 << 16)
        except BlockingIOError:
            return
        except ConnectionError:
            piece = b""
        job.buffer += piece
        *lines, job.buffer = job.buffer.split(b"\n")
        for line in lines:
            answer = json.loads(line)
            if "end" in answer:
                job.over = True
            yield answer
        if not piece and not job.over:
            job.over = True
            yield {"end": "died", "error": job.killed_for or f"the process died{self._how(job)}", "traceback": _tail(job.log)}
        if job.over:
            self._finish(job)

    def _how(self, job: Job) -> str:
        if job.process is not None:
            return f" with exit code {job.process.wait()}"
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline:
            for notice in self._notices(0.1):
                if notice.get("died") == job.pid:
                    code = int(notice["status"])
                    return f" by signal {signal.Signals(-code).name}" if code < 0 else f" with exit code {code}"
        return ""

    def _watch(self) -> None:
        for job in self.running:
            if job.time_limit is not None and time.monotonic() - job.started > job.time_limit:
                self.kill(job, f"time limit of {job.time_limit:g} s reached")
            used = _group_mb(job.pid)
            job.peak_mb = max(job.peak_mb, used)
            if job.memory_gb is not None and used > job.memory_gb * 1024:
                self.kill(job, f"memory limit of {job.memory_gb:.3g} GB reached")

    def _finish(self, job: Job) -> None:
        _kill_group(job.pid)  # whatever the trial started and left behind
        _shut(job)
        self._jobs.pop(job.pid, None)

    def _spawn(self, key: Any, log: IO[bytes]) -> Job:
        process = subprocess.Popen([sys.executable, "-m", "workingpapers.lab._spawned"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=log, start_new_session=True, env={**os.environ, **SINGLE_THREADED})
        return Job(key, process.pid, process.stdout, log, time.monotonic(), None, None, process=process)

    def _fork(self, key: Any, log: IO[bytes]) -> Job:
        control = self._started()
        ours, theirs = socket.socketpair()
        socket.send_fds(control, [json.dumps({"job": str(key)[:200]}).encode()], [theirs.fileno(), log.fileno()])
        theirs.close()
        while True:
            for notice in self._notices(GRACE):
                if "born" in notice:
                    return Job(key, notice["born"], ours, log, time.monotonic(), None, None)
            if self._server is None or self._server.poll() is not None:
                raise JobFailed("the trial server died")

    def _notices(self, seconds: float) -> Iterator[Answer]:
        """What the server says of births and deaths, within `seconds`."""
        assert self._control is not None
        if not select.select([self._control], [], [], seconds)[0]:
            return
        self._heard += self._control.recv(1 << 16)
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            yield json.loads(line)

    def _started(self) -> socket.socket:
        if self._control is not None:
            return self._control
        ours, theirs = socket.socketpair()
        environment = {**os.environ, **SINGLE_THREADED, "NUMBA_NUM_THREADS": str(os.cpu_count() or 1)}
        command = [sys.executable, "-m", "workingpapers.lab._forkserver", str(theirs.fileno())]
        self._server = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, env=environment, start_new_session=True)
        theirs.close()
        ours.sendall(json.dumps({"path": sys.path, "preload": self.preload}).encode() + b"\n")
        self._control = ours
        while True:
            for notice in self._notices(1.0):
                if notice.get("ready"):
                    return ours
            if self._server.poll() is not None:
                raise JobFailed(f"the trial server ended with code {self._server.returncode} while it was starting")


def checked(answers: list[Answer]) -> list[Answer]:
    """The answers of a job that ended well; raises when it did not."""
    last = answers[-1] if answers else {"end": "died", "error": "no answer"}
    if last["end"] == "untested":
        raise JobUntested(last["reason"])
    if last["end"] != "ok":
        raise JobFailed(last["error"], last.get("traceback", ""), last.get("missing"))
    return answers


def _tail(log: IO[bytes]) -> str:
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - LOG_TAIL))
    return log.read().decode(errors="replace")


def _kill_group(pid: int) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    else:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()


def _shut(job: Job) -> None:
    job.socket.close()
    job.log.close()
    if job.process is not None:
        job.process.wait()


def _group_mb(pid: int) -> float:
    """Resident memory of a process and its descendants, in MiB; pages shared after a fork count once a process."""
    try:
        process = psutil.Process(pid)
        return sum(_rss(p) for p in [process, *process.children(recursive=True)]) / 2**20
    except psutil.NoSuchProcess:
        return 0.0


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
