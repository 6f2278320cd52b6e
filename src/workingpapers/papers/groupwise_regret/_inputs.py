"""Rows as users hand them in, checked: every complaint names the argument and the remedy."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def rows_of(X: Any) -> Any:
    """A table as it is; anything else as an array.

    Raises:
        TypeError: a sparse matrix.
    """
    if hasattr(X, "toarray"):
        raise TypeError("X is sparse, which is not supported: give X.toarray()")
    return X if hasattr(X, "columns") else np.asarray(X)


def names_of(X: Any) -> list[Hashable]:
    """Names of the columns; 0, 1, ... for a plain array."""
    if hasattr(X, "columns"):
        names = list(X.columns)
        if len(set(names)) < len(names):
            raise ValueError(f"X has the column {next(n for n in names if names.count(n) > 1)!r} twice: rename one")
        return names
    shape = np.shape(X)
    if len(shape) != 2:
        raise ValueError(f"X has the shape {shape}: rows and columns (T, d) are needed. Reshape your data: one row is (1, d)")
    return list(range(shape[1]))


def numbers_of(X: Any) -> Array:
    """A table or array as finite numbers `(T, d)`.

    Raises:
        TypeError: an entry that is neither number nor text; a sparse matrix.
        ValueError: text, complex numbers, NaN or infinity (the column is named); no rows; no columns.
    """
    X = rows_of(X)
    if np.iscomplexobj(X):
        raise ValueError("X holds complex numbers. Complex data not supported: give real and imaginary parts as columns")
    try:
        values = np.ascontiguousarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        for name in names_of(X):
            column = X[name] if hasattr(X, "columns") else np.asarray(X)[:, int(str(name))]
            try:
                np.asarray(column, dtype=np.float64)
            except TypeError as error:
                raise TypeError(f"X: column {name!r} holds something that is no number ({error}): encode it first") from None
            except ValueError:
                raise ValueError(f"X: column {name!r} holds something that is no number: encode it first") from None
        raise
    if values.ndim != 2:
        raise ValueError(f"X has the shape {values.shape}: rows and columns (T, d) are needed. Reshape your data: one row is (1, d)")
    if len(values) == 0:
        raise ValueError("X has no rows (0 samples): give at least 1")
    if values.shape[1] == 0:
        raise ValueError(f"X has 0 feature(s) (shape={values.shape}) while a minimum of 1 is required.")
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        raise ValueError(f"X holds NaN or infinity in row {row}, column {names_of(X)[column]!r}: impute or drop it first")
    return values


def labels_of(y: Any, length: int, y_range: tuple[float, float] | None) -> Array:
    """Labels `(T,)`, finite and inside `y_range` where that is given; a single column is taken as labels, with scikit-learn's warning."""
    if y is None:
        raise ValueError("learning requires y to be passed, but the target y is None")
    try:
        values = np.ascontiguousarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("y holds something that is no number") from None
    if values.ndim == 2 and values.shape[1] == 1:
        from sklearn.utils import column_or_1d

        values = np.ascontiguousarray(column_or_1d(values, warn=True))
    if values.shape != (length,):
        raise ValueError(f"y has the shape {values.shape}: one label a row, {(length,)}, is needed")
    if not np.isfinite(values).all():
        raise ValueError(f"y holds NaN or infinity in row {int(np.flatnonzero(~np.isfinite(values))[0])}: drop the row first")
    if y_range is not None and length and (values.min() < y_range[0] or values.max() > y_range[1]):
        raise ValueError(f"y lies in [{values.min():g}, {values.max():g}], outside y_range={y_range}: widen y_range")
    return values


def label_of(y: Any, y_range: tuple[float, float] | None) -> float:
    """One label, checked."""
    try:
        value = float(y)
    except (TypeError, ValueError):
        raise ValueError(f"y is {y!r}: a number is needed") from None
    if not np.isfinite(value):
        raise ValueError(f"y is {value}: a finite number is needed")
    if y_range is not None and not y_range[0] <= value <= y_range[1]:
        raise ValueError(f"y is {value:g}, outside y_range={y_range}: widen y_range")
    return value


__all__ = ["label_of", "labels_of", "names_of", "numbers_of", "rows_of"]
