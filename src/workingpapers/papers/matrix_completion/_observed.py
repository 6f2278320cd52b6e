"""The observed entries of a matrix, read from whatever a user has, by row and by column."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Matrix = npt.NDArray[Any]
Vector = npt.NDArray[Any]
Index = npt.NDArray[Any]

LARGEST_SIDE = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Side:
    """Entries grouped by the unknowns of one half-sweep: regression j has the entries `indptr[j]:indptr[j + 1]`.

    Attributes:
        indptr: `(n + 1,)` int64.
        indices: which row of the other factor each entry multiplies, `(N,)` int32.
        values: `(N,)`.
        weights: `(N,)`, or empty when all are 1.
    """

    indptr: Index
    indices: Index
    values: Vector
    weights: Vector

    @property
    def counts(self) -> Index:
        """Entries of each regression."""
        return np.diff(self.indptr)

    @property
    def mass(self) -> Vector:
        """Sum of the weights of each regression."""
        return np.bincount(self.owners, self.weights, len(self.indptr) - 1) if len(self.weights) else self.counts.astype(np.float64)

    @property
    def owners(self) -> Index:
        """The regression of each entry, `(N,)` int32."""
        return np.repeat(np.arange(len(self.indptr) - 1, dtype=np.int32), self.counts)


@dataclass(frozen=True)
class Observed:
    """Entries of an (m, n) matrix, by row and by column.

    Attributes:
        rows: by row; `rows.indices` are columns.
        columns: by column; `columns.indices` are rows.
        order: entry q of `columns` is entry `order[q]` of `rows`.
    """

    shape: tuple[int, int]
    rows: Side
    columns: Side
    order: Index

    def __len__(self) -> int:
        return len(self.rows.values)

    @property
    def triplets(self) -> tuple[Index, Index, Vector]:
        """Row, column and value of each entry, in the order of `rows`."""
        return self.rows.owners, self.rows.indices, self.rows.values

    def weighted(self, weights: Vector) -> Observed:
        """The same entries with other weights, `(N,)` in the order of `rows`."""
        return replace(self, rows=replace(self.rows, weights=weights), columns=replace(self.columns, weights=weights[self.order]))

    def part(self, kept: npt.NDArray[np.bool_]) -> Observed:
        """The entries of a mask `(N,)` in the order of `rows`."""
        r, c, v = self.triplets
        weights = self.rows.weights[kept] if len(self.rows.weights) else self.rows.weights
        return from_triplets(r[kept], c[kept], v[kept], self.shape, weights)


def from_triplets(rows: Index, columns: Index, values: Vector, shape: tuple[int, int], weights: Vector | None = None) -> Observed:
    """Entries from row, column, value. O(N + m + n).

    Raises:
        ValueError: a place is given twice.
    """
    n = len(values)
    # The number of an entry is carried through scipy's conversions in place of its value, so that no zero is lost.
    by_row = sp.coo_array((np.arange(n, dtype=np.int64), (rows, columns)), shape=shape).tocsr()
    if by_row.nnz != n:
        raise ValueError(f"X names {n - by_row.nnz} places more than once: keep one value a place, or their mean, before fitting")
    by_row.sort_indices()
    taken = by_row.data
    by_column = sp.csr_array((np.arange(n, dtype=np.int64), by_row.indices, by_row.indptr), shape=shape).tocsc()
    order = by_column.data
    kept = values[taken]
    w = weights[taken].astype(values.dtype) if weights is not None and len(weights) else np.empty(0, values.dtype)
    by_column_indices = by_column.indices.astype(np.int32)
    return Observed(shape, Side(by_row.indptr.astype(np.int64), by_row.indices.astype(np.int32), kept, w),
                    Side(by_column.indptr.astype(np.int64), by_column_indices, kept[order], w[order] if len(w) else w), order)


def is_triplets(X: Any) -> bool:
    """Whether X is `(rows, cols, vals, shape)`."""
    return isinstance(X, tuple) and len(X) == 4


def observe(X: Any, sample_weight: Any = None) -> Observed:
    """Observed entries of a dense array with NaN, a masked array, a sparse matrix (what is stored, zeros too), or
    `(rows, cols, vals, shape)`.

    Single precision stays single, anything else becomes double.

    Args:
        sample_weight: one weight an entry: shaped like dense X, sparse with the places of sparse X, `(N,)` in the order of triplets
            or of the stored data; or one a row, `(m,)`. None: all 1.

    Raises:
        ValueError: infinite values, places named twice or outside of the shape, negative or infinite weights, nothing observed.
        TypeError: values that are not numbers.
    """
    if is_triplets(X):
        rows, columns, values, shape = X
        m, n = _shape(shape)
        rows, columns = _places("rows", rows, m), _places("cols", columns, n)
        values = _numbers(np.asarray(values))
        if not len(rows) == len(columns) == len(values):
            raise ValueError(f"X has {len(rows)} rows, {len(columns)} cols and {len(values)} vals: as many of each are needed")
        if np.isnan(values).any():
            raise ValueError("vals contains NaN: leave out the entries that are not known")
    elif sp.issparse(X):
        coo = X.tocoo()
        m, n = coo.shape
        rows, columns, values = coo.coords[0], coo.coords[1], _numbers(coo.data)
        if np.isnan(values).any():
            raise ValueError("X stores NaN: leave out the entries that are not known")
    else:
        dense = np.ma.filled(np.ma.asarray(X, dtype=_float_of(X)), np.nan) if isinstance(X, np.ma.MaskedArray) else np.asarray(X)
        dense = _numbers(dense)
        if dense.ndim != 2:
            raise ValueError(f"X has shape {dense.shape}: a matrix is needed, or (rows, cols, vals, shape)")
        m, n = dense.shape
        rows, columns = np.nonzero(~np.isnan(dense))
        values = dense[rows, columns]
    if len(values) == 0:
        raise ValueError("X has no observed entry")
    if max(m, n) > LARGEST_SIDE:
        raise ValueError(f"X has shape {(m, n)}: at most {LARGEST_SIDE:,} rows and columns are taken")
    w = _weights(X, sample_weight, rows, columns, (m, n))
    if w is not None and not w.all():  # an entry without weight says nothing
        rows, columns, values, w = rows[w > 0], columns[w > 0], values[w > 0], w[w > 0]
    return from_triplets(rows, columns, values, (m, n), w)


def _weights(X: Any, given: Any, rows: Index, columns: Index, shape: tuple[int, int]) -> Vector | None:
    if given is None:
        return None
    if sp.issparse(given):
        given = given.tocsr()
        w = np.asarray(given[rows, columns]).ravel().astype(np.float64)
    else:
        w = np.asarray(given, dtype=np.float64)
        size: tuple[int, ...] = w.shape
        if size == shape:
            w = w[rows, columns]
        elif size == (shape[0],) and len(rows) != shape[0]:
            w = w[rows]
        elif size != (len(rows),):
            raise ValueError(f"sample_weight has shape {w.shape}: {shape}, {(shape[0],)} or {(len(rows),)} is needed")
        elif not is_triplets(X) and not sp.issparse(X):
            w = w[rows]
    if not np.isfinite(w).all() or (w < 0).any():
        raise ValueError("sample_weight must be finite and not negative")
    if not (w > 0).any():
        raise ValueError("sample_weight is zero for every observed entry")
    return w


def _shape(shape: Any) -> tuple[int, int]:
    try:
        m, n = (int(s) for s in shape)
    except (TypeError, ValueError) as error:
        raise ValueError(f"shape is {shape!r}: two whole numbers are needed") from error
    if m < 1 or n < 1:
        raise ValueError(f"shape is {shape!r}: both sides must be at least 1")
    return m, n


def _places(name: str, given: Any, size: int) -> Index:
    places = np.asarray(given)
    if places.ndim != 1 or (len(places) and places.dtype.kind not in "iu"):
        raise TypeError(f"{name} must be a list of whole numbers, got shape {places.shape} of {places.dtype}")
    if len(places) and (places.min() < 0 or places.max() >= size):
        raise ValueError(f"{name} runs from {places.min()} to {places.max()}: places from 0 to {size - 1} exist")
    return places.astype(np.int64)


def _float_of(X: Any) -> Any:
    return np.float32 if getattr(X, "dtype", None) == np.float32 else np.float64


def _numbers(given: Any) -> Vector:
    values: Vector = given
    if values.dtype.kind not in "fiub":
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"X holds {values.dtype}: numbers are needed, NaN where an entry is not known") from error
    values = np.asarray(values, dtype=_float_of(values))
    if np.isinf(values).any():
        raise ValueError("X contains infinite values: make them NaN where they stand for entries that are not known")
    return values


__all__ = ["Observed", "Side", "from_triplets", "is_triplets", "observe"]
