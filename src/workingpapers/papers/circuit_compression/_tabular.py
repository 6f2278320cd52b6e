"""Data frames through the same codec: categories, numbers, dates and what is missing, restored exactly."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ._archive import Archive
from ._codec import Codec, Progress, replacing
from ._columns import Aside, Column, decoded, encoded, learned
from ._errors import CorruptStream
from ._hclt import HCLT
from ._model import CodecModel

if TYPE_CHECKING:
    import pandas as pd

_KIND = "table"


class TabularCodec:
    """Lossless codec for data frames.

    Args:
        schema: columns, from another codec's `schema_`; None learns them in `fit`.
        n_latents, random_state: of the model. epochs: passes of learning.
        layout, threads: as of `Codec`; `per-record` lets single rows be read.

    Rows are written in the form that `fit` has learned. Values that do not fit it (a new category, a larger number) cost more, and
    come back all the same. Column names, order and types are kept; the index must be 0, 1, 2, ...

    Example:
        >>> import pandas as pd
        >>> df = pd.DataFrame({"town": ["Ulm", "Bonn", "Ulm", None] * 25, "weight": [1.5, 2.25, None, 80.0] * 25})
        >>> codec = TabularCodec(random_state=0).fit(df)
        >>> bool(codec.decompress(codec.compress(df)).equals(df))
        True
    """

    def __init__(self, schema: list[Column] | None = None, *, n_latents: int = 16, random_state: int | None = None, epochs: int = 8,
                 layout: Any = "block", threads: int = 1) -> None:
        self.schema = schema
        self.n_latents = n_latents
        self.random_state = random_state
        self.epochs = epochs
        self.layout = layout
        self.threads = threads

    def fit(self, df: pd.DataFrame, *, progress: Any = None) -> Self:
        """Learn columns (unless `schema` gives them) and the model.

        Raises:
            ValueError: no rows or columns, two columns of one name, a type that is not supported.
        """
        _check(df)
        if len(df) == 0:
            raise ValueError("df has no rows to learn from")
        self.schema_: list[Column] = list(self.schema) if self.schema is not None else [learned(df[name]) for name in df.columns]
        x, _ = self._variables(df)
        sizes = np.array([k for c in self.schema_ for k in c.sizes])
        model = HCLT(self.n_latents, sizes, mi_bins=16, smoothing=0.02, binning="top", random_state=self.random_state)
        batch = max(128, len(x) // 40)
        self.model_: CodecModel = model.fit(x, epochs=self.epochs, full_epochs=4, batch_size=batch, progress=progress).quantise()
        return self

    def compress(self, df: pd.DataFrame, *, embed: bool = True, progress: Progress | None = None) -> bytes:
        """Bytes of a `.pcz` file with the columns' schema, and with the model unless `embed` is false.

        Raises:
            ValueError: other columns than those learned.
        """
        self._check_fitted()
        _check(df)
        x, aside = self._variables(df)
        schema = {"kind": _KIND, "columns": [c.to_json() for c in self.schema_], "aside": aside}
        codec = Codec(self.model_, layout=self.layout, threads=self.threads, embed=embed)
        kind = np.uint8 if x.max(initial=0) < 256 else np.uint16
        return codec.compress(x.astype(kind), schema=json.dumps(schema, separators=(",", ":")).encode(), progress=progress)

    def decompress(self, data: bytes, *, progress: Progress | None = None) -> pd.DataFrame:
        """The data frame.

        Raises:
            CorruptStream: not such bytes, or damaged. ModelMismatch: written with another model.
        """
        self._check_fitted()
        return read_table(data, self.model_, threads=self.threads, progress=progress)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write columns and model: a `.pcz` file without rows."""
        self._check_fitted()
        empty = np.zeros((0, self.model_.n_variables), dtype=np.uint8)
        schema = {"kind": _KIND, "columns": [c.to_json() for c in self.schema_], "aside": {}}
        with replacing(Path(path)) as out:
            Codec(self.model_, embed=True).write(out, empty, schema=json.dumps(schema).encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TabularCodec:
        """A codec from the file of `save`, or from any compressed table that holds its model."""
        with Archive(path) as archive:
            columns, _ = parse_schema(archive.schema)
            made = cls(columns, n_latents=archive.model.n_latents)
            made.schema_, made.model_ = columns, archive.model
        return made

    def _variables(self, df: pd.DataFrame) -> tuple[Any, dict[str, dict[str, Any]]]:
        names = [str(c) for c in df.columns]
        if names != [c.name for c in self.schema_]:
            raise ValueError(f"df has the columns {names}; {[c.name for c in self.schema_]} were learned")
        parts, aside = [], {}
        for column in self.schema_:
            values, kept = encoded(column, df[column.name].astype(column.dtype) if column.dtype != "category" else df[column.name])
            parts.append(values)
            if kept:
                aside[column.name] = {str(row): v for row, v in kept.items()}
        return np.hstack(parts), aside

    def _check_fitted(self) -> None:
        from sklearn.exceptions import NotFittedError

        if not hasattr(self, "model_"):
            raise NotFittedError("this TabularCodec is not fitted: call fit(df) first")


def read_table(source: bytes | str | os.PathLike[str], model: CodecModel | None = None, *, threads: int = 1,
               progress: Progress | None = None) -> pd.DataFrame:
    """The data frame in a `.pcz` file; the model is taken from the file where it holds one.

    Raises:
        CorruptStream: no table, or damaged.
    """
    import pandas as pd

    with Archive(source, model) as archive:
        columns, aside = parse_schema(archive.schema)
        sizes = [k for c in columns for k in c.sizes]
        if sizes != archive.model.sizes.tolist():
            raise CorruptStream("the columns of the file's schema are not those that its model was made for")
        values = archive.read(threads=threads, progress=progress).astype(np.int64)
    out, at = {}, 0
    for column in columns:
        width = len(column.sizes)
        out[column.name] = decoded(column, values[:, at : at + width], aside.get(column.name, {}))
        at += width
    return pd.DataFrame(out)


def is_table(archive: Archive) -> bool:
    """Whether the file carries the schema of a table."""
    return archive.header.schema_length > 0


def parse_schema(schema: bytes) -> tuple[list[Column], dict[str, Aside]]:
    """Columns and kept values of a file.

    Raises:
        CorruptStream: no such schema.
    """
    try:
        told = json.loads(schema)
        columns = [Column.from_json(c) for c in told["columns"]]
        aside = {str(name): {int(row): v for row, v in kept.items()} for name, kept in told["aside"].items()}
        is_right = told["kind"] == _KIND
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, CorruptStream):
            raise
        raise CorruptStream(f"the file holds no table: {error}") from error
    names = [c.name for c in columns]
    if not is_right or not columns or len(set(names)) != len(names):
        raise CorruptStream("the file holds no table")
    return columns, aside


def _check(df: pd.DataFrame) -> None:
    import pandas as pd

    if not isinstance(df, pd.DataFrame):
        raise TypeError(f"df must be a pandas DataFrame, got {type(df).__name__}")
    if len(df.columns) == 0:
        raise ValueError("df has no columns")
    if not all(isinstance(c, str) for c in df.columns) or df.columns.has_duplicates:
        raise ValueError("df must have columns named by different strings: rename them")
    if not df.index.equals(pd.RangeIndex(len(df))):
        raise ValueError("df must have the index 0, 1, 2, ...: call reset_index() first")
