"""Trials as Ray tasks. Only the driver writes the store; a task that is run twice reports to one row."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import ray

from .processes import Answer, Job, TrialServer
from .settings import Settings

RETRIES = 3


def _perform(job: Answer) -> list[Answer]:
    """One job in a Ray worker of its own; its answers come back together."""
    from workingpapers.lab._jobs import perform
    from workingpapers.lab.fingerprint import code_of

    answers: list[Answer] = []
    here = code_of(job["module"]).hash
    if job.get("code_hash") and here != job["code_hash"]:
        differs = f"this node has another version of the claim's code ({here[:12]}, the driver {job['code_hash'][:12]})"
        return [{"end": "error", "error": f"{differs}: install the same version on every node", "traceback": ""}]
    perform(job, answers.append)
    return [a for a in answers if "progress" not in a]


class RayExecutor:
    """Trials on a Ray cluster; planning and deciding stay in processes of this machine.

    A task whose node dies is run again on another one, at most 3 times. A timed trial asks for every core of its node.
    `WORKINGPAPERS_RAY_ADDRESS` names the cluster; without it one is started here and stopped at the end.
    """

    def __init__(self, module: str, settings: Settings) -> None:
        self.module, self.settings = module, settings
        self._local = TrialServer([module])
        self._tasks: dict[Any, tuple[Any, float, float | None]] = {}
        self._started_ray = False

    def __enter__(self) -> RayExecutor:
        if not ray.is_initialized():
            address = self.settings.ray_address
            here: dict[str, Any] = {} if address else {"include_dashboard": False}
            ray.init(address=address or "local", log_to_driver=False, configure_logging=False, **here)
            self._started_ray = True
        return self

    def __exit__(self, *_: object) -> None:
        for task in list(self._tasks):
            with contextlib.suppress(Exception):
                ray.cancel(task, force=True)
        self._tasks.clear()
        self._local.close()
        if self._started_ray:
            ray.shutdown()

    def call(self, job: Answer, on_progress: Callable[[Answer], None] | None = None, time_limit: float | None = 600.0,
             while_waiting: Callable[[], None] = lambda: None) -> list[Answer]:
        """Planning, preparing and deciding: here."""
        return self._local.call(job, on_progress, time_limit, while_waiting)

    def slots(self, threads: int, alone: bool) -> int:
        """As many as the cluster's cores hold; one where trials are timed."""
        return 1 if alone else max(1, int(_resources().get("CPU", 1) // max(1, threads)))

    def begin(self, key: Any, job: Answer, time_limit: float | None, memory_gb: float | None) -> Any:
        """Submit a trial. One process a task: nothing is left over for the next one."""
        if not hasattr(self, "_remote"):
            self._remote = ray.remote(max_calls=1)(_perform)
        cores = self._cores_of_a_node() if job.get("alone") else int(job.get("threads") or 1)
        variables = {"OMP_NUM_THREADS": str(job.get("threads") or 1), "PYTHONPATH": os.pathsep.join(_path())}
        task = self._remote.options(num_cpus=cores, max_retries=RETRIES, runtime_env={"env_vars": variables},
                                    name=f"{job['claim']} {job['arm']} seed {job['seed']}").remote(job)
        self._tasks[task] = (key, time.monotonic(), time_limit)
        return task

    def wait(self, seconds: float) -> Iterator[tuple[Any, Answer]]:
        """Answers of tasks that ended within `seconds`."""
        if not self._tasks:
            return
        ready, _ = ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        for task in ready:
            key, _, _ = self._tasks.pop(task)
            try:
                answers = ray.get(task)
            except ray.exceptions.RayError as error:
                answers = [{"end": "died", "error": f"{type(error).__name__}: {str(error).splitlines()[0]}", "traceback": str(error)}]
            yield from ((key, answer) for answer in answers)
        for task, (key, began, limit) in list(self._tasks.items()):
            if limit is not None and time.monotonic() - began > limit + 60:
                ray.cancel(task, force=True)
                self._tasks.pop(task)
                yield key, {"end": "died", "error": f"time limit of {limit:g} s reached", "traceback": ""}

    @property
    def running(self) -> list[Any]:
        """Tasks that have not ended."""
        return list(self._tasks)

    def kill(self, job: Job | Any, why: str) -> None:
        """End a task by force."""
        ray.cancel(job, force=True)

    def _cores_of_a_node(self) -> int:
        nodes: list[Any] = ray.nodes()  # type: ignore[no-untyped-call]
        return int(max((n["Resources"].get("CPU", 1) for n in nodes if n["Alive"]), default=1))


def _resources() -> dict[str, float]:
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def _path() -> list[str]:
    return [p for p in sys.path if p and os.path.isdir(p)]
