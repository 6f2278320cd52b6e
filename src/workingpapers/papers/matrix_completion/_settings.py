"""What the estimator's settings may be."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from ._sketched import KINDS
from ._sweep import SOLVERS


def check_settings(model: Any) -> None:
    """Look through the settings of a `RobustALSCompleter`.

    Raises:
        ValueError: one is out of range or does not go with another, named with what is needed.
    """
    def whole(name: str, least: int) -> None:
        value = getattr(model, name)
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} is {value!r}: a whole number of at least {least} is needed")

    def number(name: str, low: float, high: float = np.inf, also: tuple[Any, ...] = (), strictly: bool = False) -> None:
        value: Any = getattr(model, name)
        if any(value is a or (isinstance(a, str) and isinstance(value, str) and value == a) for a in also):
            return
        right = not isinstance(value, bool) and isinstance(value, int | float | np.number) and bool(np.isfinite(value))
        if not right or value < low or value >= high or (strictly and value == low):
            upper = f" and below {high:g}" if np.isfinite(high) else ""
            raise ValueError(f"{name} is {value!r}: a number {'above' if strictly else 'of at least'} {low:g}{upper} is needed"
                             + "".join(f", or {a!r}" for a in also))

    def one_of(name: str, known: tuple[str, ...]) -> None:
        if getattr(model, name) not in known:
            raise ValueError(f"{name} is {getattr(model, name)!r}: one of {', '.join(map(repr, known))} is needed")

    whole("rank", 1)
    whole("max_iter", 1)
    number("tol", 0)
    number("inner_tol", 0, 1, also=("adaptive",), strictly=True)
    number("sketch_size", 1)
    number("reg", 0)
    number("clip_mu", 0, also=(None,), strictly=True)
    number("huber_delta", 0, also=("auto",), strictly=True)
    number("validation_fraction", 0, 1)
    one_of("solver", SOLVERS)
    one_of("sketch", KINDS)
    one_of("init", ("svd", "random"))
    one_of("loss", ("squared", "huber"))
    one_of("score_rows", ("known", "new"))
    jobs = model.n_jobs
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, Integral) or jobs == 0):
        raise ValueError(f"n_jobs is {jobs!r}: a number of threads is needed, -1 for all, or None for one")
    if model.early_stopping and not model.validation_fraction:
        raise ValueError("early_stopping needs entries to watch: set validation_fraction, to 0.1 say")
    if model.sample_split and model.loss == "huber":
        raise ValueError("sample_split sees each entry once, and loss='huber' weighs entries by what they differed by before: choose one")


__all__ = ["check_settings"]
