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

# Pools start with one thread. The last is the allocator of pyarrow, which pandas imports where it is installed: it would start a thread.
SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1")
SINGLE_THREADED["JE_ARROW_MALLOC_CONF"] = "background_thread:false"


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
    server: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    family: set[psutil.Process] = field(default_factory=set, repr=False)
    looked: float = 0.0

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
        self._deaths: dict[int, int] = {}
        self._jobs: dict[int, Job] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ one job after another

    def call(self, job: Answer, on_progress: Callable[[Answer], None] | None = None, time_limit: float | None = 600.0,
             while_waiting: Callable[[], None] = lambda: None) -> list[Answer]:
        """Run one job to its end and return its answers, the last of which ended well.

        `while_waiting` is called about twice a second; it may raise to give up.

        Raises:
            JobFailed: it raised, was killed, or ran out of time.
            JobUntested: it said that this machine cannot try it.
        """
        running = self.begin("call", job, time_limit, None)
        answers: list[Answer] = []
        while not running.over:
            while_waiting()
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
            assert running.process is not None
            assert running.process.stdin is not None
            with contextlib.suppress(OSError):  # it died at once: `wait` will tell
                # Kept open: its end tells the child that this process is gone.
                running.process.stdin.write(json.dumps(sys.path).encode() + b"\n" + json.dumps(job).encode() + b"\n")
                running.process.stdin.flush()
            os.set_blocking(running.fileno(), False)
        else:
            running = self._fork(key, log)
            with contextlib.suppress(OSError):
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
        heard: list[Any] = [*jobs, self._control] if self._control is not None else [*jobs]
        ready, _, _ = select.select(heard, [], [], min(seconds, WATCH_EVERY))
        if self._control in ready:
            self._hear(0.0)
        for job in jobs:
            # A process that it forked may hold the socket open after a job's death: then the end of the stream never comes.
            dead = job.pid in self._deaths or (job.process is not None and job.process.poll() is not None)
            if job in ready or dead:
                yield from ((job.key, answer) for answer in self._read(job, to_the_end=dead))
        self._watch()

    def kill(self, job: Job, why: str) -> None:
        """End a job and everything it started; its last answer says why."""
        job.killed_for = job.killed_for or why
        _kill(job)

    @property
    def running(self) -> list[Job]:
        """Jobs that have not ended."""
        return [j for j in self._jobs.values() if not j.over]

    def close(self) -> None:
        """Kill all jobs and the server."""
        for job in list(self._jobs.values()):
            _kill(job)
            _shut(job)
        self._jobs.clear()
        self._leave_server()

    def _leave_server(self) -> None:
        """Close the line to the server, upon which it kills what still runs and ends."""
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
        self._heard = b""
        self._deaths.clear()

    # ------------------------------------------------------------ inside

    def _read(self, job: Job, to_the_end: bool) -> Iterator[Answer]:
        piece = b""
        while not job.over:
            try:
                piece = job.socket.recv(1 << 16) if self.start == "fork" else os.read(job.fileno(), 1 << 16)
            except BlockingIOError:
                if not to_the_end:
                    return
                piece = b""
            except ConnectionError:
                piece = b""
            *lines, job.buffer = (job.buffer + piece).split(b"\n")
            for line in lines:
                if not job.over:
                    answer = json.loads(line)
                    job.over = "end" in answer
                    yield answer
            if not piece and not job.over:
                job.over = True
                yield {"end": "died", "error": job.killed_for or f"the process died{self._how(job)}", "traceback": _tail(job.log)}
            if not to_the_end:
                break
        if job.over:
            self._finish(job)

    def _how(self, job: Job) -> str:
        if job.process is not None:
            return _words(job.process.wait())
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline and job.pid not in self._deaths:
            if job.server is not self._server or self._control is None:
                return " with the server that started it"
            self._hear(0.1)
        return _words(self._deaths[job.pid]) if job.pid in self._deaths else ""

    def _watch(self) -> None:
        for job in self.running:
            if self.start == "fork" and job.server is not self._server:  # one that was slow to die, or would not
                self.kill(job, "the process died with the server that started it")
            if job.time_limit is not None and time.monotonic() - job.started > job.time_limit:
                self.kill(job, f"time limit of {job.time_limit:g} s reached")
            if time.monotonic() - job.looked < WATCH_EVERY:
                continue
            job.looked = time.monotonic()
            processes = _descendants(job.pid)
            job.family.update(processes[1:])
            used = sum(_rss(p) for p in processes) / 2**20  # pages shared after a fork count once a process
            job.peak_mb = max(job.peak_mb, used)
            if job.memory_gb is not None and used > job.memory_gb * 1024:
                self.kill(job, f"memory limit of {job.memory_gb:.3g} GB reached")

    def _finish(self, job: Job) -> None:
        _kill(job)  # whatever the trial started and left behind
        _shut(job)
        self._jobs.pop(job.pid, None)
        self._deaths.pop(job.pid, None)

    def _spawn(self, key: Any, log: IO[bytes]) -> Job:
        process = subprocess.Popen([sys.executable, "-m", "workingpapers.lab._spawned"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=log, start_new_session=True, env={**os.environ, **SINGLE_THREADED})
        return Job(key, process.pid, process.stdout, log, time.monotonic(), None, None, process=process)

    def _fork(self, key: Any, log: IO[bytes]) -> Job:
        for _ in range(2):  # a server that was killed is started anew, once
            control = self._started()
            ours, theirs = socket.socketpair()
            try:
                socket.send_fds(control, [json.dumps({"job": str(key)[:200]}).encode()], [theirs.fileno(), log.fileno()])
                while self._control is not None:
                    for pid in self._hear(WATCH_EVERY):
                        return Job(key, pid, ours, log, time.monotonic(), None, None, server=self._server)
            except OSError:
                self._leave_server()
            finally:
                theirs.close()
            ours.close()
        raise JobFailed("the trial server died twice while it was starting a trial")

    def _hear(self, seconds: float) -> list[int]:
        """Process ids that the server tells of as born, within `seconds`; deaths are kept for `wait`."""
        born: list[int] = []
        for notice in self._notices(seconds):
            if "born" in notice:
                self._deaths.pop(notice["born"], None)
                born.append(notice["born"])
            elif "died" in notice:
                self._deaths[notice["died"]] = notice["status"]
        return born

    def _notices(self, seconds: float) -> list[Answer]:
        """What the server says within `seconds`. At the end of the line the server is given up."""
        assert self._control is not None
        if not select.select([self._control], [], [], seconds)[0]:
            return []
        try:
            piece = self._control.recv(1 << 16)
        except ConnectionError:
            piece = b""
        if not piece:
            deaths = dict(self._deaths)
            self._leave_server()
            self._deaths = deaths
            return []
        *lines, self._heard = (self._heard + piece).split(b"\n")
        return [json.loads(line) for line in lines]

    def _started(self) -> socket.socket:
        if self._control is not None:
            return self._control
        ours, theirs = socket.socketpair()
        environment = {**os.environ, **SINGLE_THREADED, "NUMBA_NUM_THREADS": str(os.cpu_count() or 1)}
        command = [sys.executable, "-m", "workingpapers.lab._forkserver", str(theirs.fileno())]
        server = self._server = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                                                 stdout=subprocess.DEVNULL, env=environment, start_new_session=True)
        theirs.close()
        self._control = ours
        with contextlib.suppress(OSError):
            ours.sendall(json.dumps({"path": sys.path, "preload": self.preload}).encode() + b"\n")
        while self._control is not None:
            if any(notice.get("ready") for notice in self._notices(1.0)):
                return ours
        raise JobFailed(f"the trial server ended{_words(server.wait())} while it was starting")


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


def _words(status: int) -> str:
    return f" by signal {signal.Signals(-status).name}" if status < 0 else f" with exit code {status}"


def _kill(job: Job) -> None:
    """Kill a job's process group, and processes that it started and that left the group."""
    family = {*job.family, *_descendants(job.pid)[1:]} if not job.over else job.family
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(job.pid, signal.SIGKILL)
    else:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(job.pid).kill()
    for process in family:
        with contextlib.suppress(psutil.Error):  # psutil knows a process id that was given to another process since
            process.kill()


def _shut(job: Job) -> None:
    job.socket.close()
    job.log.close()
    if job.process is not None:
        if job.process.stdin is not None:
            with contextlib.suppress(OSError):
                job.process.stdin.close()
        job.process.wait()


def _descendants(pid: int) -> list[psutil.Process]:
    """A process and all that it started, or nothing when it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
