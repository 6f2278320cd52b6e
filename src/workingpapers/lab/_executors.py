"""Where trials run: processes of this machine, or a Ray cluster. Both have the surface of `TrialServer`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self

from .processes import Answer, TrialServer
from .settings import Settings

EXECUTORS = ("local", "ray")


class Executor(Protocol):
    """Starts jobs and hears from them."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def call(self, job: Answer, on_progress: Callable[[Answer], None] | None = None, time_limit: float | None = 600.0,
             while_waiting: Callable[[], None] = lambda: None) -> list[Answer]:
        """Run one job to its end on this machine."""
        ...

    def begin(self, key: Any, job: Answer, time_limit: float | None, memory_gb: float | None) -> Any:
        """Start a trial; its answers come from `wait` under `key`."""
        ...

    def wait(self, seconds: float) -> Iterator[tuple[Any, Answer]]:
        """Answers that arrive within `seconds`."""
        ...

    def slots(self, threads: int, alone: bool) -> int:
        """How many trials may run at once."""
        ...

    @property
    def running(self) -> list[Any]:
        """What has begun and not ended."""
        ...


class LocalExecutor(TrialServer):
    """Trials in processes of this machine."""

    def __init__(self, module: str, settings: Settings) -> None:
        super().__init__([module])
        self.settings = settings

    def slots(self, threads: int, alone: bool) -> int:
        """One when timed; else as many as the cores hold."""
        return 1 if alone else self.settings.slots(threads)


def executor_for(name: str, module: str, settings: Settings) -> Executor:
    """The executor of this name, for trials of one module.

    Raises:
        ValueError: an unknown name.
        ImportError: Ray is wanted and not installed.
    """
    if name == "local":
        return LocalExecutor(module, settings)
    if name == "ray":
        from ._ray import RayExecutor

        return RayExecutor(module, settings)
    raise ValueError(f"executor is {name!r}; there are {', '.join(EXECUTORS)}")
