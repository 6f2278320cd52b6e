"""The `.pcz` file: what lies where, and the checks before anything is believed.

    magic 8 | header (fixed part, CRC32) | model | schema | block, block, ... | directory | footer (CRC32, end magic)

All numbers are little endian. Every length and count is held against a limit and against the size of the file before memory is
asked for; every section has a CRC32. docs: `FORMAT` below is the text that `info --format` prints.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ._errors import CorruptStream

MAGIC = b"\x89PCZ\r\n\x1a\n"
END_MAGIC = b"PCZ-END\n"
VERSION = 1

EMBEDDED, PER_RECORD, ESCAPES = 1, 2, 4

_HEAD = struct.Struct("<8sHHI32sQQBBBBI8I")
"""magic, version, flags, D, model hash, model bytes, schema bytes, dtype, axes, lanes, 0, records a block, axis lengths."""
_CRC = struct.Struct("<I")
_FOOTER = struct.Struct("<QQQII8s")
"""offset of the directory, records, blocks, directory CRC32, footer CRC32 over the fields before, end magic."""

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "bool")
MAX_AXES = 8
MAX_LANES = 64
MAX_BLOCK_RECORDS = 1 << 20
MAX_SYMBOLS_A_BLOCK = 1 << 22
MAX_SCHEMA = 1 << 26
_BLOCK_MINIMUM = 6  # bytes that a block takes in the directory at least

FORMAT = """\
.pcz, version 1; numbers are little endian

offset  bytes  field
0       8      magic 89 50 43 5A 0D 0A 1A 0A
8       2      version (1)
10      2      flags: 1 model embedded, 2 one stream a record, 4 escapes
12      4      D, variables a record
16      32     SHA-256 of the canonical bytes of the quantised model
48      8      bytes of the embedded model (0 without)
56      8      bytes of the schema (0 without)
64      1      type of the values: 0 uint8, 1 int8, 2 uint16, 3 int16, 4 uint32, 5 int32, 6 uint64, 7 int64, 8 bool
65      1      axes of a record (1 to 8)
66      1      lanes: coder states that take turns
67      1      0
68      4      records a block at most
72      32     lengths of the axes, 0 beyond the last; their product is D
104     4      CRC32 of bytes 0 to 103
108     ...    model: one byte (0 plain, 1 zstd) and its bytes; then CRC32 of both (only when embedded)
        ...    schema: UTF-8 JSON, then its CRC32 (only when there is one)
        ...    blocks
        ...    directory: for each block its records and bytes as variable-length numbers, then its CRC32
        8      offset of the directory
        8      records in all
        8      blocks
        4      CRC32 of the directory
        4      CRC32 of the 28 bytes before
        8      end magic: PCZ-END and a line feed

A block: with escapes, a count and for each of them record, variable and value (zigzag), as variable-length numbers; then
  one stream: 8 bytes for each lane's state, then 32-bit words;
  one stream a record: shortest length and bit width of the rest (variable-length number, byte), lengths above the shortest packed
  in bits, then the streams: 4 to 7 bytes of state (length modulo 4), then 32-bit words.
A coder state begins at 2^31 + c and must come back to it. c is the CRC32, without its top bit, of: type, layout and escape flags,
  axes; the schema; the block's escapes; and the values that the state codes (16 bits each). So no part of the file can be exchanged,
  with its own checksum made right, without the records refusing to decode.
"""


@dataclass(frozen=True)
class Header:
    """The fixed part of a file.

    Attributes:
        flags: EMBEDDED, PER_RECORD, ESCAPES.
        sha256: of the quantised model.
        dtype: name of the values' type.
        shape: of one record; its product is D.
        lanes: coder states that take turns within a block.
        block_records: most records in a block.
        model_length, schema_length: bytes of those sections.
    """

    flags: int
    sha256: bytes
    dtype: str
    shape: tuple[int, ...]
    lanes: int
    block_records: int
    model_length: int = 0
    schema_length: int = 0

    @property
    def n_variables(self) -> int:
        return int(np.prod(self.shape, dtype=object))

    def context(self, schema: bytes) -> int:
        """CRC32 of all that says what coded values mean: the blocks' states begin from it."""
        told = bytes([DTYPES.index(self.dtype), self.flags & (PER_RECORD | ESCAPES), len(self.shape)])
        return zlib.crc32(schema, zlib.crc32(told + struct.pack(f"<{len(self.shape)}I", *self.shape)))

    @property
    def model_offset(self) -> int:
        return _HEAD.size + _CRC.size

    @property
    def schema_offset(self) -> int:
        return self.model_offset + (self.model_length + _CRC.size if self.flags & EMBEDDED else 0)

    @property
    def first_block(self) -> int:
        return self.schema_offset + (self.schema_length + _CRC.size if self.schema_length else 0)

    def pack(self) -> bytes:
        axes = (*self.shape, *[0] * (MAX_AXES - len(self.shape)))
        fixed = _HEAD.pack(MAGIC, VERSION, self.flags, self.n_variables, self.sha256, self.model_length, self.schema_length,
                           DTYPES.index(self.dtype), len(self.shape), self.lanes, 0, self.block_records, *axes)
        return fixed + _CRC.pack(zlib.crc32(fixed))

    @staticmethod
    def parse(data: memoryview) -> Header:
        """Read and check.

        Raises:
            CorruptStream: not such a file, cut off, damaged, or a field beyond its limit.
        """
        size = len(data)
        if bytes(data[:8]) != MAGIC:
            raise CorruptStream("not a .pcz file: it begins otherwise" if size >= 8 else f"not a .pcz file: it has only {size} bytes")
        if size < _HEAD.size + _CRC.size + _FOOTER.size:
            raise CorruptStream(f"the file is cut off after {size} bytes")
        _, version, flags, d, sha, n_model, n_schema, kind, n_axes, lanes, zero, block, *axes = _HEAD.unpack_from(data)
        if version != VERSION:
            raise CorruptStream(f"the file has version {version}; this reader knows version {VERSION}")
        if _CRC.unpack_from(data, _HEAD.size)[0] != zlib.crc32(data[: _HEAD.size]):
            raise CorruptStream("the header is damaged: its checksum differs")
        if flags & ~(EMBEDDED | PER_RECORD | ESCAPES) or zero != 0 or kind >= len(DTYPES) or not 1 <= n_axes <= MAX_AXES:
            raise CorruptStream("the header has a field that no writer sets")
        shape = tuple(axes[:n_axes])
        if min(shape) < 1 or any(axes[n_axes:]) or int(np.prod(shape, dtype=object)) != d:
            raise CorruptStream(f"the header says records of {d} values in the shape {shape}")
        if not (1 <= lanes <= MAX_LANES and 1 <= block <= MAX_BLOCK_RECORDS):
            raise CorruptStream(f"the header says {lanes} lanes and {block} records a block: beyond the limits")
        if (n_model > 0) != bool(flags & EMBEDDED) or n_schema > MAX_SCHEMA:
            raise CorruptStream("the header says an impossible length of model or schema")
        header = Header(flags, sha, DTYPES[kind], shape, lanes, block, n_model, n_schema)
        if header.first_block + _FOOTER.size > size:
            raise CorruptStream(f"the header says {n_model + n_schema} bytes of model and schema; the file has {size} in all")
        return header

    def section(self, data: memoryview, what: str) -> bytes:
        """The bytes of `model` or `schema`, after their checksum."""
        start, length = (self.model_offset, self.model_length) if what == "model" else (self.schema_offset, self.schema_length)
        inside = data[start : start + length]
        if _CRC.unpack_from(data, start + length)[0] != zlib.crc32(inside):
            raise CorruptStream(f"the {what} in the file is damaged: its checksum differs")
        return bytes(inside)


@dataclass(frozen=True)
class Block:
    """Where a block lies, and how many records it holds."""

    offset: int
    length: int
    records: int
    crc: int

    def payload(self, data: memoryview, number: int) -> memoryview:
        """Its bytes, after their checksum."""
        inside = data[self.offset : self.offset + self.length]
        if zlib.crc32(inside) != self.crc:
            raise CorruptStream(f"block {number} is damaged: its checksum differs")
        return inside


def pack_directory(blocks: Sequence[Block], offset: int) -> bytes:
    """Directory and footer; `offset` is where they begin."""
    directory = b"".join(varint(b.records) + varint(b.length) + _CRC.pack(b.crc) for b in blocks)
    fixed = struct.pack("<QQQI", offset, sum(b.records for b in blocks), len(blocks), zlib.crc32(directory))
    return directory + fixed + _CRC.pack(zlib.crc32(fixed)) + END_MAGIC


def parse_directory(data: memoryview, header: Header) -> list[Block]:
    """Blocks of a file.

    Raises:
        CorruptStream: cut off, damaged, or counts and lengths that the file cannot hold.
    """
    end = len(data) - _FOOTER.size
    offset, records, n_blocks, crc, footer_crc, magic = _FOOTER.unpack_from(data, end)
    if magic != END_MAGIC:
        raise CorruptStream("the file is cut off or has bytes after its end")
    if zlib.crc32(data[end : end + 28]) != footer_crc:
        raise CorruptStream("the footer is damaged: its checksum differs")
    if not header.first_block <= offset <= end or n_blocks * _BLOCK_MINIMUM > end - offset:
        raise CorruptStream(f"the footer says {n_blocks} blocks and a directory at byte {offset} of {len(data)}")
    directory = data[offset:end]
    if zlib.crc32(directory) != crc:
        raise CorruptStream("the directory is damaged: its checksum differs")
    blocks, at, place = [], 0, header.first_block
    for number in range(n_blocks):
        count, at = read_varint(directory, at)
        length, at = read_varint(directory, at)
        if at + _CRC.size > len(directory):
            raise CorruptStream("the directory breaks off")
        if not 1 <= count <= header.block_records or length > offset - place:
            raise CorruptStream(f"the directory says {count} records in {length} bytes for block {number}")
        blocks.append(Block(place, length, count, _CRC.unpack_from(directory, at)[0]))
        at += _CRC.size
        place += length
    if at != len(directory) or place != offset or sum(b.records for b in blocks) != records:
        raise CorruptStream("the directory does not add up to the file")
    return blocks


# ---------------------------------------------------------------- numbers


def varint(n: int) -> bytes:
    """A number from 0 to 2^64 - 1 in 1 to 10 bytes, seven bits a byte.

    Example:
        >>> varint(300).hex()
        'ac02'
    """
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def read_varint(data: memoryview | bytes, at: int) -> tuple[int, int]:
    """The number at `at` and the position after it.

    Raises:
        CorruptStream: cut off, or above 2^64 - 1.
    """
    n = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise CorruptStream("a number in the file breaks off")
        byte = data[at]
        at += 1
        n |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    if n >= 1 << 64:
        raise CorruptStream("a number in the file is too large")
    return n, at
