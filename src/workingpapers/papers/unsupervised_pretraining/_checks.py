"""What user input must look like, said with the argument's name and the remedy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import validate_data

Array = npt.NDArray[np.float64]


def rows_of(estimator: Any, X: Any, *, reset: bool, least: int = 1, nan: bool = False) -> Array:
    """`X` as a float64 matrix with scikit-learn's checks: finite, two-dimensional, as wide as at `fit`."""
    return np.asarray(
        validate_data(estimator, X, reset=reset, dtype=np.float64, ensure_min_samples=least, ensure_all_finite="allow-nan" if nan else True)
    )


def whole(name: str, number: Any, least: int = 1) -> int:
    """A whole number from `least` up."""
    if isinstance(number, bool) or not isinstance(number, int | np.integer):
        raise TypeError(f"{name}={number!r}: a whole number is needed")
    if number < least:
        raise ValueError(f"{name}={number}: at least {least} is needed")
    return int(number)


def one_of(name: str, word: Any, words: tuple[str, ...]) -> str:
    """One of the words that a parameter knows."""
    if word not in words:
        raise ValueError(f"{name}={word!r}: it must be one of {', '.join(map(repr, words))}")
    return str(word)


def positive(name: str, number: Any, *, zero: bool = False) -> float:
    """A finite number above 0 (or from 0 up)."""
    if isinstance(number, bool) or not isinstance(number, int | float | np.integer | np.floating):
        raise TypeError(f"{name}={number!r}: a number is needed")
    if not np.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise ValueError(f"{name}={number!r}: a finite number {'from 0 up' if zero else 'above 0'} is needed")
    return float(number)


def generator(seed: Any) -> np.random.Generator:
    """A generator from a seed, or the one handed in."""
    return seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
