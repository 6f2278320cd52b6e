"""Compress arrays of records with a quantised model, and read them back, whole or one at a time."""

from __future__ import annotations

import io
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from . import _blocks
from ._archive import Archive, zigzag
from ._format import (
    DTYPES,
    EMBEDDED,
    ESCAPES,
    MAX_AXES,
    MAX_BLOCK_RECORDS,
    MAX_SYMBOLS_A_BLOCK,
    PER_RECORD,
    Block,
    Header,
    pack_directory,
    varint,
)
from ._model import CodecModel

Array = npt.NDArray[Any]
Layout = Literal["block", "per-record"]
Progress = Callable[[int], None]
"""Called with the number of records done so far."""

SYMBOLS_A_BLOCK = 1 << 17
LANES = 4


@dataclass(frozen=True)
class Codec:
    """Lossless codec for records of D small integers, by a model of their distribution.

    Args:
        model: from `HCLT.quantise()`.
        layout: `block` shares coder states among the records of a block (a few bits a record less); `per-record` gives each record
            its own, so that one can be read without its neighbours.
        threads: blocks are coded side by side. The bytes do not depend on it.
        block_records: most records in a block; None takes about 131,000 values.
        embed: put the model into the file. Without it the reader must have the same model.
        escape: values outside 0 .. K - 1 are kept aside, at a few bytes each, in place of an error.

    Bytes do not depend on machine, threads or compiler: only integers are computed. Cost O(M^2 + M log K) a value.

    Example:
        >>> import numpy as np
        >>> from workingpapers.papers.circuit_compression import HCLT, Codec
        >>> x = np.random.default_rng(0).integers(0, 4, size=(200, 9)) // np.arange(1, 10)
        >>> model = HCLT(n_latents=4, random_state=0).fit(x, epochs=3).quantise()
        >>> codec = Codec(model)
        >>> data = codec.compress(x)
        >>> bool((codec.decompress(data) == x).all())
        True
    """

    model: CodecModel
    layout: Layout = "block"
    threads: int = 1
    block_records: int | None = None
    embed: bool = False
    escape: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.model, CodecModel):
            raise TypeError(f"model must be a CodecModel, got {type(self.model).__name__}: call quantise() on the fitted estimator")
        if self.layout not in ("block", "per-record"):
            raise ValueError(f"layout must be 'block' or 'per-record', got {self.layout!r}")
        if not 1 <= self.threads <= 256:
            raise ValueError(f"threads must be from 1 to 256, got {self.threads}")
        if self.block_records is not None and not 1 <= self.block_records <= self._most_records:
            most = f"{self._most_records} for {self.model.n_variables} values a record"
            raise ValueError(f"block_records must be from 1 to {most}, got {self.block_records}")

    @property
    def _most_records(self) -> int:
        return min(MAX_BLOCK_RECORDS, max(1, MAX_SYMBOLS_A_BLOCK // self.model.n_variables))

    @property
    def _records(self) -> int:
        return self.block_records or min(self._most_records, max(1, SYMBOLS_A_BLOCK // self.model.n_variables))

    # ------------------------------------------------------------ writing

    def compress(self, records: Array | Iterable[Array], *, schema: bytes = b"", progress: Progress | None = None) -> bytes:
        """Bytes of a `.pcz` file.

        Args:
            records: (N, ...) integers or booleans with D values a record, N may be 0; or an iterable of such arrays.
            schema: bytes to carry along.
            progress: called after each block.

        Raises:
            ValueError: another number of values a record, no integers, values outside 0 .. K - 1 (unless `escape`).
        """
        out = io.BytesIO()
        self.write(out, records, schema=schema, progress=progress)
        return out.getvalue()

    def write(self, file: IO[bytes] | str | os.PathLike[str], records: Array | Iterable[Array], *, schema: bytes = b"",
              progress: Progress | None = None) -> int:
        """Write a file, block by block as records come; bytes written. A path is replaced only when all is written."""
        if isinstance(file, str | os.PathLike):
            with replacing(Path(file)) as out:
                return self.write(out, records, schema=schema, progress=progress)
        batches = iter([records] if isinstance(records, np.ndarray) else records)
        first = next(batches, None)
        if first is None:
            raise ValueError("records is an empty iterable: pass an array with 0 rows, which says the shape of a record")
        header = self._header(np.asarray(first), len(schema))
        written = file.write(header.pack())
        if self.embed:
            packed = self.model.packed
            written += file.write(packed + zlib.crc32(packed).to_bytes(4, "little"))
        if schema:
            written += file.write(schema + zlib.crc32(schema).to_bytes(4, "little"))
        blocks, done = [], 0
        for payload, count in self._encoded(self._cut(first, batches, header), header.context(schema)):
            blocks.append(Block(written, len(payload), count, zlib.crc32(payload)))
            written += file.write(payload)
            done += count
            if progress is not None:
                progress(done)
        return written + file.write(pack_directory(blocks, written))

    def _header(self, first: Array, n_schema: int) -> Header:
        x = _integers(first)
        if not 1 <= x.ndim - 1 <= MAX_AXES or int(np.prod(x.shape[1:])) != self.model.n_variables:
            raise ValueError(f"records has the shape {x.shape}: (N, ...) with {self.model.n_variables} values a record is needed")
        flags = (EMBEDDED if self.embed else 0) | (PER_RECORD if self.layout == "per-record" else 0) | (ESCAPES if self.escape else 0)
        return Header(flags, self.model.sha256, x.dtype.name, x.shape[1:], LANES, self._records,
                      len(self.model.packed) if self.embed else 0, n_schema)

    def _cut(self, first: Array, batches: Iterator[Array], header: Header) -> Iterator[Array]:
        """Blocks of (n, D) values of one type from arrays of any length."""
        waiting: list[Array] = []
        n = 0
        batch: Array | None = np.asarray(first)
        while batch is not None:
            x = _integers(np.asarray(batch))
            if x.shape[1:] != header.shape or x.dtype.name != header.dtype:
                before = f"{header.dtype} of {header.shape}"
                raise ValueError(f"records holds {x.dtype} of the shape {x.shape[1:]} after {before}: all must be alike")
            x = x.reshape(len(x), self.model.n_variables)
            while len(x):
                taken, x = x[: self._records - n], x[self._records - n :]
                waiting.append(taken)
                n += len(taken)
                if n == self._records:
                    yield np.concatenate(waiting) if len(waiting) > 1 else waiting[0]
                    waiting, n = [], 0
            batch = next(batches, None)
        if n:
            yield np.concatenate(waiting) if len(waiting) > 1 else waiting[0]

    def _encoded(self, blocks: Iterator[Array], context: int) -> Iterator[tuple[bytes, int]]:
        if self.threads == 1:
            for block in blocks:
                yield self._encode(block, context), len(block)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            under_way: list[Any] = []
            for block in blocks:
                under_way.append((pool.submit(self._encode, block, context), len(block)))
                if len(under_way) > self.threads:
                    future, count = under_way.pop(0)
                    yield future.result(), count
            for future, count in under_way:
                yield future.result(), count

    def _encode(self, block: Array, context: int) -> bytes:
        outside = (block < 0) | (block >= self.model.sizes)
        prefix = b""
        if self.escape:
            at = np.argwhere(outside)
            signed = np.issubdtype(block.dtype, np.signedinteger)
            prefix = varint(len(at)) + b"".join(
                varint(int(i)) + varint(int(v)) + varint(zigzag(int(block[i, v])) if signed else int(block[i, v])) for i, v in at)
            block = np.where(outside, self.model.tables[0].favourite.astype(block.dtype), block)
        elif outside.any():
            i, v = np.argwhere(outside)[0]
            raise ValueError(f"records holds {block[i, v]} at variable {v}, which takes 0 to {self.model.sizes[v] - 1}: fit the model on "
                             "such values, or pass escape=True")
        values, context = block.astype(np.int32), zlib.crc32(prefix, context)
        if self.layout == "per-record":
            return prefix + _blocks.encode_records(self.model, values, context)
        return prefix + _blocks.encode_block(self.model, values, LANES, context)

    def append(self, path: str | os.PathLike[str], records: Array) -> None:
        """Add records to a file, as blocks of their own. The old file stays until the new one is complete.

        Raises:
            ModelMismatch: the file was written with another model.
            ValueError: records of another shape or type, or another layout than the file's.
        """
        with Archive(path, self.model) as old:
            header = old.header
            if bool(header.flags & PER_RECORD) != (self.layout == "per-record"):
                raise ValueError(f"the file has the layout {'per-record' if header.flags & PER_RECORD else 'block'}: choose the same")
            codec = replace(self, escape=bool(header.flags & ESCAPES), block_records=min(header.block_records, self._most_records))
            blocks = list(old.blocks)
            x = _integers(np.asarray(records)).astype(header.dtype, casting="safe")
            with replacing(Path(path)) as out:
                end = blocks[-1].offset + blocks[-1].length if blocks else header.first_block
                out.write(old.data[:end])
                for payload, count in codec._encoded(codec._cut(x, iter(()), header), header.context(old.schema)):
                    blocks.append(Block(end, len(payload), count, zlib.crc32(payload)))
                    end += out.write(payload)
                out.write(pack_directory(blocks, end))

    # ------------------------------------------------------------ reading

    def decompress(self, data: bytes | bytearray | memoryview, *, progress: Progress | None = None) -> Array:
        """The records, in the type and shape they had.

        Raises:
            CorruptStream: not such bytes, damaged or cut off. Nothing is returned then.
            ModelMismatch: written with another model.
        """
        with Archive(data, self.model) as archive:
            return archive.read(threads=self.threads, progress=progress)

    def open(self, path: str | os.PathLike[str]) -> Archive:
        """A file as a sequence of records: `len(archive)`, `archive[i]`, `archive[i:j]`; only what is asked for is decoded."""
        return Archive(path, self.model)

    @staticmethod
    def inspect(data: bytes | bytearray | memoryview | str | os.PathLike[str]) -> dict[str, Any]:
        """What a file says about itself, after its checksums; no record is decoded and no model is needed."""
        with Archive(data, None, needs_model=False) as archive:
            return archive.inspect()

    def code_length(self, records: Array) -> npt.NDArray[np.float64]:
        """Bits of each record (N,) by its intervals: the length of a file without any framing."""
        x = _integers(np.asarray(records)).reshape(len(records), -1)
        if ((x < 0) | (x >= self.model.sizes)).any():
            raise ValueError("records holds values outside 0 .. K - 1")
        return _blocks.code_length(self.model, x.astype(np.int32))


def _integers(x: Array) -> Array:
    if not isinstance(x, np.ndarray) or x.dtype.name not in DTYPES:
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise ValueError(f"records must be an array of integers or booleans, got {kind}: cast it, or use TabularCodec for other types")
    return x


class replacing:
    """A file beside `path` that takes its place when the block ends well, and vanishes when it does not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> IO[bytes]:
        descriptor, self.partial = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".part", dir=self.path.parent)
        self.file = os.fdopen(descriptor, "wb")
        return self.file

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self.file.flush()
                os.fsync(self.file.fileno())
            self.file.close()
            if kind is None:
                os.chmod(self.partial, 0o666 & ~_umask())
                os.replace(self.partial, self.path)
        finally:
            Path(self.partial).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

