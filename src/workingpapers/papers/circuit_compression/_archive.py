"""Reading `.pcz` files: everything is checked before it is believed."""

from __future__ import annotations

import mmap
import operator
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _blocks
from ._errors import CorruptStream, ModelMismatch
from ._format import EMBEDDED, ESCAPES, MAX_SYMBOLS_A_BLOCK, PER_RECORD, VERSION, Block, Header, parse_directory, read_varint
from ._model import CodecModel

Array = npt.NDArray[Any]
Values = npt.NDArray[np.int32]


class Archive:
    """A `.pcz` file as a sequence of records. Use it as a context manager, or call `close`.

    Args:
        source: a path (mapped, not read whole) or bytes.
        model: the model it was written with; None where the file holds it.

    Raises:
        CorruptStream: not such a file, damaged or cut off.
        ModelMismatch: written with another model, or it holds none and none was given.

    `archive[i]` decodes one record (its block, where records share states), `archive[i:j]` a range, `read()` all.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes | bytearray | memoryview, model: CodecModel | None = None, *,
                 needs_model: bool = True) -> None:
        self._map: mmap.mmap | None = None
        if isinstance(source, str | os.PathLike):
            with open(source, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else None
            self.data = memoryview(self._map if self._map is not None else b"")
        else:
            self.data = memoryview(source).cast("B")
        try:
            self.header = Header.parse(self.data)
            self.blocks: list[Block] = parse_directory(self.data, self.header)
            self._ends = np.cumsum([b.records for b in self.blocks], dtype=np.int64)
            self._given = model
            self._context = self.header.context(self.schema)
            self._model = self._matched(model) if needs_model else None
        except BaseException:
            self.close()
            raise
        self._last: tuple[int, Array] | None = None

    def _matched(self, model: CodecModel | None) -> CodecModel:
        header = self.header
        if model is None and not header.flags & EMBEDDED:
            raise ModelMismatch(f"the file holds no model: it needs the one with SHA-256 {header.sha256.hex()}")
        if model is not None and model.sha256 != header.sha256:
            theirs, given = header.sha256.hex()[:16], model.sha256.hex()[:16]
            raise ModelMismatch(f"the file was written with the model {theirs}..., the model given is {given}...")
        if model is None:
            model = CodecModel.unpack(header.section(self.data, "model"))
            if model.sha256 != header.sha256:
                raise CorruptStream("the model in the file is not the one that its header names")
        if model.n_variables != header.n_variables:
            raise CorruptStream(f"the file says {header.n_variables} values a record, its model has {model.n_variables}")
        for number, block in enumerate(self.blocks):
            if block.records * model.least_bits > 8 * block.length + 8:
                raise CorruptStream(f"block {number} says {block.records} records in {block.length} bytes, fewer than any can take")
            if block.records * model.n_variables > max(MAX_SYMBOLS_A_BLOCK, model.n_variables):
                raise CorruptStream(f"block {number} says {block.records} records: beyond the limit")
        return model

    @property
    def model(self) -> CodecModel:
        """The model, from the file or as given."""
        if self._model is None:
            self._model = self._matched(self._given)
        return self._model

    @property
    def schema(self) -> bytes:
        """The schema that the file carries; empty without one."""
        return self.header.section(self.data, "schema") if self.header.schema_length else b""

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.header.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.header.dtype)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, at: int | slice | Array) -> Array:
        if isinstance(at, slice):
            chosen = np.arange(len(self))[at]
        elif isinstance(at, np.ndarray | list):
            chosen = np.arange(len(self))[np.asarray(at)]
        else:
            i = operator.index(at)
            if not -len(self) <= i < len(self):
                raise IndexError(f"record {i} of {len(self)}")
            return np.asarray(self._some(np.array([i % len(self)]))[0])
        return self._some(chosen)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self.data.release()
        if self._map is not None:
            self._map.close()

    # ------------------------------------------------------------ decoding

    def read(self, *, threads: int = 1, progress: Callable[[int], None] | None = None) -> Array:
        """All records, in their shape and type."""
        model = self.model
        try:
            out = np.empty((len(self), model.n_variables), dtype=self.dtype)
        except (MemoryError, ValueError):
            words = f"the file says {len(self)} records of {model.n_variables} values: more than memory holds; read it by ranges"
            raise CorruptStream(words) from None
        starts = self._ends - [b.records for b in self.blocks]

        def run(number: int) -> int:
            out[starts[number] : self._ends[number]] = self._block(number)
            return self.blocks[number].records

        done = 0
        if threads == 1:
            for number in range(len(self.blocks)):
                done += run(number)
                if progress is not None:
                    progress(done)
        else:
            with ThreadPoolExecutor(threads) as pool:
                for count in pool.map(run, range(len(self.blocks))):
                    done += count
                    if progress is not None:
                        progress(done)
        return out.reshape(self.shape)

    def _block(self, number: int, which: Array | None = None) -> Array:
        """Values (n, D) of a block, or of its records at the places `which`, in the type of the file."""
        block, header = self.blocks[number], self.header
        payload = block.payload(self.data, number)
        kept, at = escapes(payload, header, block.records, self.model.n_variables)
        body, context = payload[at:], zlib.crc32(payload[:at], self._context)
        if header.flags & PER_RECORD:
            values = _blocks.decode_records(self.model, body, block.records, which, context)
        else:
            values = _blocks.decode_block(self.model, body, block.records, header.lanes, context)
            if which is not None:
                values = values[which]
        return decoded(values, kept, self.dtype, np.arange(block.records) if which is None else which)

    def _some(self, chosen: Array) -> Array:
        out = np.empty((len(chosen), self.model.n_variables), dtype=self.dtype)
        numbers = np.searchsorted(self._ends, chosen, side="right")
        for number in np.unique(numbers):
            rows = np.flatnonzero(numbers == number)
            places = chosen[rows] - (self._ends[number] - self.blocks[number].records)
            if self.header.flags & PER_RECORD:
                out[rows] = self._block(int(number), places)
            else:
                if self._last is None or self._last[0] != number:
                    self._last = int(number), self._block(int(number))
                out[rows] = self._last[1][places]
        return out.reshape(len(chosen), *self.header.shape)

    def inspect(self) -> dict[str, Any]:
        """What the file says about itself."""
        header = self.header
        data_bytes = sum(b.length for b in self.blocks)
        return {
            "version": VERSION, "records": len(self), "record_shape": header.shape, "dtype": header.dtype,
            "layout": "per-record" if header.flags & PER_RECORD else "block", "blocks": len(self.blocks),
            "records_a_block": header.block_records, "escapes": bool(header.flags & ESCAPES), "model_sha256": header.sha256.hex(),
            "model_embedded": bool(header.flags & EMBEDDED), "model_bytes": header.model_length, "schema_bytes": header.schema_length,
            "data_bytes": data_bytes, "file_bytes": len(self.data),
            "bits_a_value": 8 * data_bytes / (len(self) * header.n_variables) if len(self) else 0.0,
        }  # fmt: skip


def zigzag(n: int) -> int:
    """Signed to unsigned: 0, -1, 1, -2, ... to 0, 1, 2, 3, ..."""
    return 2 * n if n >= 0 else -2 * n - 1


def unzigzag(n: int) -> int:
    """The inverse of `zigzag`."""
    return n >> 1 if n % 2 == 0 else -(n + 1) // 2


def escapes(payload: memoryview, header: Header, records: int, d: int) -> tuple[dict[tuple[int, int], int], int]:
    """Values kept aside at the front of a block: (record, variable) to value, and where the rest begins."""
    if not header.flags & ESCAPES:
        return {}, 0
    count, at = read_varint(payload, 0)
    if count > (len(payload) - at) // 3:
        raise CorruptStream(f"a block says {count} escapes in {len(payload)} bytes")
    is_signed = np.issubdtype(np.dtype(header.dtype), np.signedinteger)
    limits = np.iinfo(header.dtype) if header.dtype != "bool" else None
    kept: dict[tuple[int, int], int] = {}
    for _ in range(count):
        i, at = read_varint(payload, at)
        v, at = read_varint(payload, at)
        n, at = read_varint(payload, at)
        n = unzigzag(n) if is_signed else n
        if i >= records or v >= d or (limits is not None and not limits.min <= n <= limits.max) or (limits is None and n > 1):
            raise CorruptStream("a block has an escape that lies outside its records or its type")
        kept[i, v] = n
    return kept, at


def decoded(values: Values, kept: dict[tuple[int, int], int], dtype: np.dtype[Any], places: Array) -> Array:
    """Values in their type, with those put back that were kept aside."""
    if dtype == np.bool_ and values.size and values.max() > 1:
        raise CorruptStream("a block of truth values holds other numbers")
    if dtype != np.bool_ and values.size and values.max() > np.iinfo(dtype).max:
        raise CorruptStream(f"a block holds {values.max()}, which {dtype} does not")
    out = values.astype(dtype)
    if kept:
        order = np.argsort(places, kind="stable")
        records = np.fromiter((i for i, _ in kept), np.int64, len(kept))
        firsts, lasts = (np.searchsorted(places, records, side, sorter=order).tolist() for side in ("left", "right"))
        for (_, v), n, first, last in zip(kept, kept.values(), firsts, lasts, strict=True):
            out[order[first:last], v] = n
    return out
