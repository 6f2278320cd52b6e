"""A progress bar a claim, on standard error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text


class ProgressBars:
    """Turns the lab's events into bars; silent where nobody looks. Use as a context manager: it gives `on_event`."""

    def __init__(self, silent: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"), TimeElapsedColumn(),
                   TextColumn("{task.fields[left]}"))
        self._bars = Progress(*columns, console=Console(stderr=True), disable=silent)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Callable[[Any, str, dict[str, Any]], None]:
        self._bars.start()
        return self.on_event

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def on_event(self, run: Any, kind: str, payload: dict[str, Any]) -> None:
        """One event of a run."""
        if run.run_id not in self._tasks:
            self._tasks[run.run_id] = self._bars.add_task(run.claim_id, total=1.0, count="", left="")
        task = self._tasks[run.run_id]
        if kind == "progress":
            count = f"{payload['done']}/{payload['total']}" if payload["total"] else ""
            left = f"{payload['seconds_left']:.0f} s left" if payload["seconds_left"] is not None else payload["words"]
            self._bars.update(task, completed=payload["share"], count=count, left=left)
        elif kind == "trial" and payload["state"] == "failed":
            where = f"{run.claim_id}: {payload['arm']}, seed {payload['seed']}, {payload['point']} failed: {payload['error']}"
            self._bars.console.print(Text(where, style="red"))
        elif kind == "warning":
            self._bars.console.print(Text(f"{run.claim_id}: {payload['words']}", style="yellow"))
        elif kind == "verdict":
            self._bars.update(task, description=f"{run.claim_id}: {payload['verdict']}", left="")
        elif kind == "done":
            self._bars.update(task, completed=1.0, left="" if payload["state"] == "done" else payload["state"])
