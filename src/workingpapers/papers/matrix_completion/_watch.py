"""What looks on while a model is fitted: progress bars, and the sweep to stop at."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._alternate import Factors, Sweep
from ._observed import Matrix, Vector


class Best:
    """The factors with the lowest held-out error, when there is early stopping; they are kept until it has not fallen for 3 sweeps."""

    patience = 3

    def __init__(self, is_on: bool) -> None:
        self.is_on, self.lowest, self.since, self.stopped = is_on, np.inf, 0, False
        self.kept: tuple[Matrix, Matrix, Vector, Vector] | None = None

    def seen(self, sweep: Sweep, f: Factors) -> bool:
        """Take note of a sweep; True ends the fit."""
        if not self.is_on:
            return False
        if sweep.held_out < self.lowest:
            self.lowest, self.since = sweep.held_out, 0
            self.kept = f.U.copy(), f.V.copy(), f.row_bias.copy(), f.column_bias.copy()
        else:
            self.since += 1
        self.stopped = self.since >= self.patience
        return self.stopped


class Bar:
    """A progress bar of `total` steps, or nothing: calling what the block is given makes a step, words describe it."""

    def __init__(self, what: str, total: int, is_shown: bool) -> None:
        from rich.progress import Progress

        self.what, self.total, self.progress = what, total, Progress(disable=not is_shown)

    def __enter__(self) -> Any:
        self.progress.__enter__()
        task = self.progress.add_task(self.what, total=self.total)
        return lambda words="": self.progress.update(task, advance=1, description=words or self.what)

    def __exit__(self, *error: Any) -> None:
        self.progress.__exit__(*error)


__all__ = ["Bar", "Best"]
