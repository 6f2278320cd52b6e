"""Loads compiled code from the disk cache (or compiles it, once a machine) without running any of it."""

from __future__ import annotations

from typing import Any

from numba import boolean, float64, int64

from ._baselines import _dagma_stage, _golem_steps, _lagrangian
from ._kernel import best_path, moves, residuals, scores
from ._penalised import lasso, log_lasso

MATRIX, VECTOR, ORDER, ORDERS = float64[:, ::1], float64[::1], int64[::1], int64[:, ::1]


def preload() -> None:
    """Have the compiled loops of the search and of its peers ready before a process forks: trials would each load, or compile, them.

    Nothing is computed and no thread is started. Where the cache is empty this compiles, for about half a minute.
    """
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (moves, (MATRIX, ORDER, MATRIX, MATRIX, MATRIX)), (scores, (MATRIX, ORDERS)), (residuals, (MATRIX,)), (best_path, (MATRIX,)),
        (_lagrangian, (VECTOR, float64, MATRIX, MATRIX, float64, float64, float64)),
        (_dagma_stage, (MATRIX, MATRIX, float64, float64, float64, float64, int64)),
        (_golem_steps, (MATRIX, float64, float64, boolean, int64)),
        (lasso, (MATRIX, VECTOR, float64)), (log_lasso, (MATRIX, VECTOR, float64, float64))]
    for function, signature in calls:
        function.compile(signature)
