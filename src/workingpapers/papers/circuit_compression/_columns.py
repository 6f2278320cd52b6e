"""Columns of a data frame as small integers, and back, exactly.

A column becomes one or more variables of few values each:

    categories      one variable, codes by how often values occur; the last code stands for values not seen while learning
    integers        few different ones: as categories; else the distance from the smallest in bytes, the highest first
    decimal floats  the integer that they are in units of 10^-p, where that gives back every bit
    other floats    their bits in bytes

and one more of two values that says whether a value is missing, where some are. Values that the learned form cannot hold are kept aside.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ._errors import CorruptStream

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]

MOST_CATEGORIES = 1 << 12
FEW_INTEGERS = 1 << 9
MOST_DECIMALS = 6
KINDS = ("category", "integer", "decimal", "bits")

Aside = dict[int, Any]
"""Values kept aside: row to a value that JSON can hold."""


@dataclass(frozen=True)
class Column:
    """How one column is written.

    Attributes:
        name, dtype: of the data frame. `ordered` and `levels` of a categorical type.
        kind: `category`, `integer`, `decimal` or `bits`.
        values: of categories, by how often they occur.
        low: what an integer is counted from. decimals: p. n_bytes: bytes of an integer or of the bits.
        has_missing: a variable says whether a value is there.
    """

    name: str
    dtype: str
    kind: str
    has_missing: bool
    values: tuple[Any, ...] = ()
    low: int = 0
    decimals: int = 0
    n_bytes: int = 0
    ordered: bool = False
    levels: tuple[Any, ...] | None = None

    @property
    def sizes(self) -> list[int]:
        """Values of each of its variables."""
        own = [len(self.values) + 1] if self.kind == "category" else [256] * self.n_bytes
        return ([2] if self.has_missing else []) + own

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(fields: Any) -> Column:
        """A column as `to_json` wrote it.

        Raises:
            CorruptStream: anything else.
        """
        try:
            levels = None if fields["levels"] is None else tuple(fields["levels"])
            made = Column(**{**fields, "values": tuple(fields["values"]), "levels": levels})
            is_right = (
                isinstance(made.name, str) and isinstance(made.dtype, str) and made.kind in KINDS and isinstance(made.has_missing, bool)
                and len(made.values) <= MOST_CATEGORIES and all(isinstance(v, str | int | float | bool) for v in made.values)
                and isinstance(made.low, int) and -(1 << 63) <= made.low < 1 << 64
                and isinstance(made.decimals, int) and 0 <= made.decimals <= MOST_DECIMALS
                and isinstance(made.n_bytes, int) and 0 <= made.n_bytes <= 8 and isinstance(made.ordered, bool)
            )  # fmt: skip
        except (TypeError, KeyError, AttributeError) as error:
            raise CorruptStream(f"the file's schema has a column that cannot be read: {error}") from error
        if not is_right:
            raise CorruptStream("the file's schema has a column with impossible fields")
        return made


def learned(series: pd.Series[Any]) -> Column:
    """How to write a column like this one.

    Raises:
        ValueError: a type that is not supported, or values of several types.
    """
    import pandas as pd

    name, dtype = str(series.name), series.dtype
    missing = series.isna().to_numpy()
    given = series[~missing]
    common: dict[str, Any] = {"name": name, "dtype": str(dtype), "has_missing": bool(missing.any())}
    if isinstance(dtype, pd.CategoricalDtype):
        levels = tuple(_plain(v, name) for v in dtype.categories)
        common |= {"dtype": "category", "ordered": bool(dtype.ordered), "levels": levels}
        return Column(kind="category", values=_by_frequency(given.astype(object), name), **common)
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_string_dtype(dtype) or dtype == np.dtype(object):
        kinds = {type(v) for v in given}
        if len(kinds) > 1 or not kinds <= {str, bool, int, float, np.bool_}:
            found = ", ".join(sorted(k.__name__ for k in kinds))
            raise ValueError(f"column {name!r} holds values of the types {found}: one of strings, truth values or numbers is needed")
        if given.nunique() > MOST_CATEGORIES:
            raise ValueError(_too_many(name, given.nunique()))
        return Column(kind="category", values=_by_frequency(given, name), **common)
    if pd.api.types.is_integer_dtype(dtype) or pd.api.types.is_datetime64_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype):
        numbers = _as_integers(given)
        if len(np.unique(numbers)) <= FEW_INTEGERS:
            return Column(kind="category", values=_by_frequency(pd.Series(numbers, dtype=object), name), **common)
        return Column(kind="integer", low=min(numbers), n_bytes=_bytes_for(max(numbers) - min(numbers)), **common)
    if dtype == np.float64 or dtype == np.float32:
        numbers = given.to_numpy()
        for p in range(MOST_DECIMALS + 1):
            scaled, is_exact = _decimal(numbers, p)
            if len(numbers) and is_exact.all():
                whole = [int(v) for v in scaled]
                return Column(kind="decimal", low=min(whole), n_bytes=_bytes_for(max(whole) - min(whole)), decimals=p, **common)
        return Column(kind="bits", n_bytes=numbers.dtype.itemsize, **{**common, "has_missing": False})
    raise ValueError(f"column {name!r} has the type {dtype}: numbers, strings, truth values, dates and categories are supported")


def encoded(column: Column, series: pd.Series[Any]) -> tuple[Array, Aside]:
    """Variables (N, len(sizes)) of a column, and what is kept aside."""
    n = len(series)
    missing = series.isna().to_numpy() if column.kind != "bits" else np.zeros(n, dtype=bool)
    aside: Aside = {}
    if not column.has_missing:
        aside |= dict.fromkeys(np.flatnonzero(missing).tolist())
    rows = np.flatnonzero(~missing)
    given = series.iloc[rows]
    width = len(column.sizes) - column.has_missing
    body = np.zeros((n, width), dtype=np.int32)
    if column.kind == "category":
        code = {v: i for i, v in enumerate(column.values)}
        plain = _as_integers(given) if _is_number_like(column.dtype) else [_plain(v, column.name) for v in given.astype(object)]
        found = np.array([code.get(v, len(code)) for v in plain], dtype=np.int32)
        body[rows, 0] = found
        for at in np.flatnonzero(found == len(code)):
            aside[int(rows[at])] = plain[at]
    elif column.kind == "bits":
        kind = "<u8" if column.n_bytes == 8 else "<u4"
        body[:] = series.to_numpy().astype(column.dtype).view(kind).astype(kind).view(np.uint8).reshape(n, -1)[:, ::-1]
    else:
        if column.kind == "integer":
            whole, is_exact = _as_integers(given), np.ones(len(rows), dtype=bool)
        else:
            scaled, is_exact = _decimal(given.to_numpy(), column.decimals)
            whole = [int(v) if e else column.low for v, e in zip(scaled, is_exact)]
        apart = [w - column.low for w in whole]
        fits = np.array([0 <= a < 1 << 8 * column.n_bytes for a in apart], dtype=bool) & is_exact
        held = np.array([a if f else 0 for a, f in zip(apart, fits)], dtype=np.uint64)
        body[rows] = held.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :width][:, ::-1]
        for at in np.flatnonzero(~fits):
            aside[int(rows[at])] = whole[at] if column.kind == "integer" else float(given.iloc[at]).hex()
    if column.has_missing:
        return np.hstack([missing[:, None].astype(np.int32), body]), aside
    return body, aside


def decoded(column: Column, values: Array, aside: Aside) -> pd.Series[Any]:
    """The column again.

    Raises:
        CorruptStream: codes, kept values or a type that no encoder writes.
    """
    import pandas as pd

    n = len(values)
    missing = values[:, 0] == 1 if column.has_missing else np.zeros(n, dtype=bool)
    body = values[:, 1:] if column.has_missing else values
    if any(not 0 <= row < n for row in aside):
        raise CorruptStream(f"column {column.name!r} keeps a value aside for a row that does not exist")
    try:
        if column.kind == "bits":
            kind = "<u8" if column.n_bytes == 8 else "<u4"
            flat = np.ascontiguousarray(body[:, ::-1].astype(np.uint8)).view(kind).reshape(n)
            return pd.Series(flat.view("<f8" if column.n_bytes == 8 else "<f4").astype(column.dtype), name=column.name)
        if column.kind == "category":
            table = np.empty(len(column.values) + 1, dtype=object)
            table[:-1] = column.values
            out = table[body[:, 0]]
        else:
            wide = np.zeros((n, 8), dtype=np.uint8)
            wide[:, : column.n_bytes] = body[:, ::-1]
            apart = wide.view("<u8").reshape(n)
            out = np.array([int(a) + column.low for a in apart], dtype=object) if n else np.empty(0, dtype=object)
            if column.kind == "decimal":
                kept = {row: float.fromhex(v) for row, v in aside.items() if v is not None}
                numbers = np.array([float(v) for v in out]) / 10.0**column.decimals
                for row, v in kept.items():
                    numbers[row] = v
                numbers[missing] = np.nan
                for row, v in aside.items():
                    if v is None:
                        numbers[row] = np.nan
                return pd.Series(numbers.astype(column.dtype), name=column.name)
        for row, v in aside.items():
            if v is None:
                missing[row] = True
            else:
                out[row] = v
        if any(v is None for v in out[~missing]):
            raise CorruptStream(f"column {column.name!r} has a code for a value that is not kept")
        return _typed(column, out, missing)
    except (TypeError, ValueError, OverflowError, IndexError, AttributeError) as error:
        if isinstance(error, CorruptStream):
            raise
        raise CorruptStream(f"column {column.name!r} cannot be put together: {error}") from error


def _typed(column: Column, out: Array, missing: Array) -> pd.Series[Any]:
    import pandas as pd

    out[missing] = None
    if column.dtype == "category":
        kind = pd.CategoricalDtype(list(column.levels or ()), ordered=column.ordered)
        return pd.Series(pd.Categorical(out, dtype=kind), name=column.name)
    if column.dtype.startswith(("datetime64", "timedelta64")):
        whole = np.array([np.iinfo(np.int64).min if m else int(v) for v, m in zip(out, missing)], dtype=np.int64)
        return pd.Series(whole.view(column.dtype.split(",")[0].replace("datetime64", "M8").replace("timedelta64", "m8")), name=column.name)
    if column.dtype == "bool" and not all(isinstance(v, bool) for v in out):
        raise CorruptStream(f"column {column.name!r} of truth values holds something else")
    made = pd.Series(out, name=column.name, dtype=object)
    return made if column.dtype == "object" else made.astype(column.dtype)


def _is_number_like(dtype: str) -> bool:
    return dtype.lower().startswith(("int", "uint", "datetime64", "timedelta64"))


def _as_integers(given: pd.Series[Any]) -> list[int]:
    import pandas as pd

    if pd.api.types.is_datetime64_dtype(given.dtype) or pd.api.types.is_timedelta64_dtype(given.dtype):
        return [int(v) for v in given.to_numpy().view(np.int64)]
    return [int(v) for v in given]


def _by_frequency(given: Any, name: str) -> tuple[Any, ...]:
    counts: dict[Any, int] = {}
    for v in given:
        plain = _plain(v, name)
        counts[plain] = counts.get(plain, 0) + 1
    if len(counts) > MOST_CATEGORIES:
        raise ValueError(_too_many(name, len(counts)))
    return tuple(sorted(counts, key=lambda v: (-counts[v], str(v))))


def _too_many(name: str, n: int) -> str:
    return f"column {name!r} has {n} different values: {MOST_CATEGORIES} at most, numbers apart; drop it or split it"


def _plain(value: Any, name: str) -> Any:
    """A value as JSON can hold it, of the same type after reading."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating) and np.isfinite(value):
        return float(value)
    if isinstance(value, str):
        return value
    raise ValueError(f"column {name!r} holds {value!r}: strings, truth values and finite numbers are supported as categories")


def _decimal(numbers: Array, p: int) -> tuple[Array, Array]:
    """Numbers in units of 10^-p, rounded, and whether that gives back every bit (of a float32 too)."""
    with np.errstate(all="ignore"):
        scaled = np.round(numbers.astype(np.float64) * 10.0**p)
        back = (scaled / 10.0**p).astype(numbers.dtype)
        is_exact = (back == numbers) & (np.abs(scaled) < 2.0**53) & ~((numbers == 0) & np.signbit(numbers))
    return scaled, np.asarray(is_exact)


def _bytes_for(span: int) -> int:
    return max(1, (span.bit_length() + 7) // 8)
