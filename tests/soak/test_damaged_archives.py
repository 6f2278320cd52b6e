"""Damaged and forged `.pcz` files into the decoder: a clear error or the exact records; no crash, no hang, no tenfold memory.

`make soak` tries 10,000; a plain test run a few hundred. Forgeries have every checksum right: counts and shapes beyond reason, offsets
out of range, models that unfold to gigabytes, tables that are none, schemas that nest without end.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import zstandard
from sklearn.datasets import load_digits

from workingpapers.papers.circuit_compression import (
    HCLT,
    Archive,
    Codec,
    CodecModel,
    CorruptStream,
    ModelMismatch,
    TabularCodec,
    read_table,
)
from workingpapers.papers.circuit_compression._format import (
    EMBEDDED,
    MAX_AXES,
    Block,
    Header,
    pack_directory,
    parse_directory,
    read_varint,
    varint,
)

COUNT = 10_000 if os.environ.get("SOAK") else 300
SLOWEST = 10.0
HEAD = struct.Struct("<8sHHI32sQQBBBBI8I")
EXTREMES = (0, 1, 2, 7, 127, 128, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1)

Rng = np.random.Generator


@dataclass(frozen=True)
class Sample:
    """A good file, what is in it, and how it is read."""

    name: str
    data: bytes
    truth: np.ndarray | pd.DataFrame
    read: Callable[[bytes], np.ndarray | pd.DataFrame]


def samples() -> list[Sample]:
    images = load_digits().images.astype(np.uint8)
    one = HCLT(4, 17, random_state=0).fit(images[:300], epochs=2, batch_size=128).quantise()
    two = HCLT(2, 17, n_trees=2, random_state=0).fit(images[:300], epochs=2, batch_size=128).quantise()
    x = images[:60]
    wild = x.astype(np.int16)
    wild[3, 3, 3], wild[40, 1, 1] = -300, 9_999
    constant = HCLT(2, [1, 2, 1], random_state=0).fit(np.zeros((9, 3), int)).quantise()
    zeros = np.zeros((2_000, 3), np.uint8)
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"a": rng.choice(["x", "y", "z"], 200), "b": rng.integers(0, 10**9, 200), "c": rng.normal(size=200).round(2)})
    df.loc[5, "c"] = np.nan
    table = TabularCodec(n_latents=2, random_state=0, epochs=1).fit(df[:150])

    def array(data: bytes) -> np.ndarray:
        with Archive(data) as archive:
            return archive.read()

    def by_model(data: bytes) -> np.ndarray:
        return Codec(one).decompress(data)

    def one_by_one(data: bytes) -> np.ndarray:
        with Archive(data) as archive:
            return np.stack([archive[i] for i in range(len(archive))]) if 0 < len(archive) < 1_000 else archive.read()

    return [
        Sample("blocks", Codec(one, embed=True, block_records=25).compress(x), x, array),
        Sample("records", Codec(one, embed=True, layout="per-record", block_records=25).compress(x), x, array),
        Sample("records, one by one", Codec(one, embed=True, layout="per-record", block_records=25).compress(x[:9]), x[:9], one_by_one),
        Sample("two trees", Codec(two, embed=True).compress(x), x, array),
        Sample("escapes", Codec(one, embed=True, escape=True).compress(wild), wild, array),
        Sample("model apart", Codec(one).compress(x), x, by_model),
        Sample("nearly nothing", Codec(constant, embed=True).compress(zeros), zeros, array),
        Sample("empty", Codec(one, embed=True).compress(x[:0]), x[:0], array),
        Sample("table", table.compress(df), df, read_table),
    ]


# ---------------------------------------------------------------- plain damage


def flip(data: bytes, rng: Rng) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        out[rng.integers(len(out))] ^= 1 << int(rng.integers(8))
    return bytes(out)


def cut(data: bytes, rng: Rng) -> bytes:
    return data[: rng.integers(len(data))]


def overwrite(data: bytes, rng: Rng) -> bytes:
    start = int(rng.integers(len(data)))
    n = int(rng.integers(1, 64))
    fill = [bytes(n), b"\xff" * n, rng.bytes(n)][rng.integers(3)]
    return data[:start] + fill[: len(data) - start] + data[start + n :]


def move(data: bytes, rng: Rng) -> bytes:
    a, b = sorted(int(v) for v in rng.integers(len(data), size=2))
    c = int(rng.integers(len(data)))
    return [data[:a] + data[b:], data[:b] + data[a:], data[:a] + data[c : c + b - a] + data[b:], data + data[a:b]][rng.integers(4)]


def noise(data: bytes, rng: Rng) -> bytes:
    return [rng.bytes(int(rng.integers(300))), data[:8] + rng.bytes(int(rng.integers(400)))][rng.integers(2)]


# ---------------------------------------------------------------- forgeries with every checksum right


@dataclass
class Parts:
    """A file taken apart, to be put together with other contents and right checksums."""

    fields: list[object]
    model: bytes
    schema: bytes
    payloads: list[bytes]
    counts: list[int]

    @staticmethod
    def of(data: bytes) -> Parts:
        view = memoryview(data)
        header = Header.parse(view)
        blocks = parse_directory(view, header)
        return Parts(list(HEAD.unpack_from(data)), header.section(view, "model") if header.flags & EMBEDDED else b"",
                     header.section(view, "schema") if header.schema_length else b"",
                     [data[b.offset : b.offset + b.length] for b in blocks], [b.records for b in blocks])

    def join(self, *, directory: bytes | None = None, footer: tuple[int, int, int] | None = None) -> bytes:
        fixed = HEAD.pack(*self.fields)
        out = fixed + struct.pack("<I", zlib.crc32(fixed))
        for section in (self.model, self.schema):
            if section:
                out += section + struct.pack("<I", zlib.crc32(section))
        blocks, at = [], len(out)
        for payload, count in zip(self.payloads, self.counts):
            blocks.append(Block(at, len(payload), count, zlib.crc32(payload)))
            at += len(payload)
        out += b"".join(self.payloads)
        if directory is None and footer is None:
            return out + pack_directory(blocks, at)
        if directory is None:
            directory = b"".join(varint(b.records) + varint(b.length) + struct.pack("<I", b.crc) for b in blocks)
        where, records, n = footer or (at, sum(self.counts), len(blocks))
        end = struct.pack("<QQQI", where, records, n, zlib.crc32(directory))
        return out + directory + end + struct.pack("<I", zlib.crc32(end)) + b"PCZ-END\n"


def forge_header(data: bytes, rng: Rng) -> bytes:
    """One or two fields of the header: flags, D, lengths, type, axes, lanes, block size, shape."""
    parts = Parts.of(data)
    widths = {2: 16, 3: 32, 5: 64, 6: 64, 7: 8, 8: 8, 9: 8, 10: 8, 11: 32, **{12 + i: 32 for i in range(MAX_AXES)}}
    for _ in range(int(rng.integers(1, 3))):
        at = int(rng.choice(list(widths)))
        parts.fields[at] = int(rng.choice(np.array(EXTREMES, dtype=object))) & ((1 << widths[at]) - 1)
    if rng.random() < 0.3:  # a shape that agrees with its D
        parts.fields[3], parts.fields[8] = int(rng.choice([1, 2**20, 2**31, 2**32 - 1])), 1
        parts.fields[12:] = [parts.fields[3], *[0] * (MAX_AXES - 1)]
    return parts.join()


def forge_directory(data: bytes, rng: Rng) -> bytes:
    """Counts and lengths of blocks beyond reason, or blocks that do not exist."""
    parts = Parts.of(data)
    entries = [(c, len(p), zlib.crc32(p)) for c, p in zip(parts.counts, parts.payloads)] or [(1, 0, 0)]
    at = int(rng.integers(len(entries)))
    count, length, crc = entries[at]
    huge = int(rng.choice(np.array(EXTREMES, dtype=object)))
    changed = [(huge, length, crc), (count, huge, crc), (count + int(rng.integers(1, 9)), length, crc), (max(1, count - 1), length, crc)]
    entries[at] = changed[rng.integers(4)]
    if rng.random() < 0.2:
        entries *= int(rng.integers(2, 50))
    directory = b"".join(varint(c) + varint(n) + struct.pack("<I", k) for c, n, k in entries)
    if rng.random() < 0.2:
        directory = directory[: rng.integers(len(directory))] + b"\xff" * int(rng.integers(20))
    at_byte = len(parts.join()) - 36 - len(b"".join(varint(c) + varint(len(p)) + b"crc." for c, p in zip(parts.counts, parts.payloads)))
    return parts.join(directory=directory, footer=(at_byte, sum(e[0] for e in entries) % 2**64, len(entries)))


def forge_footer(data: bytes, rng: Rng) -> bytes:
    parts = Parts.of(data)
    size = len(data)
    values = [int(rng.choice(np.array([*EXTREMES, size, size - 1, size - 36, size + 1], dtype=object))) for _ in range(3)]
    keep = rng.random(3) < 0.5
    true = (size - 36, sum(parts.counts), len(parts.counts))
    return parts.join(footer=tuple(t if k else v for t, v, k in zip(true, values, keep)))  # type: ignore[arg-type]


def forge_block(data: bytes, rng: Rng) -> bytes:
    """Another payload under a right checksum: states out of range, words gone or added, lists of lengths that lie."""
    parts = Parts.of(data)
    if not parts.payloads:
        return forge_footer(data, rng)
    at = int(rng.integers(len(parts.payloads)))
    payload = bytearray(parts.payloads[at])
    kind = rng.integers(6)
    if kind == 0 and len(payload) >= 8:
        payload[:8] = struct.pack("<Q", int(rng.choice(np.array(EXTREMES, dtype=object))))
    elif kind == 1:
        payload = payload[: rng.integers(len(payload) + 1)]
    elif kind == 2:
        payload += rng.bytes(int(rng.integers(1, 40)) * 4)
    elif kind == 3:
        payload = bytearray(varint(int(rng.choice(np.array(EXTREMES, dtype=object)))) + bytes([int(rng.integers(256))]) + payload[2:])
    elif kind == 4:
        payload = bytearray(flip(bytes(payload), rng)) if payload else payload
    else:
        payload = bytearray(rng.bytes(len(payload)))
    parts.payloads[at] = bytes(payload)
    if rng.random() < 0.3:
        parts.counts[at] = int(rng.integers(1, 1 << 20))
    return parts.join()


def forge_model(data: bytes, rng: Rng) -> bytes:
    """Another embedded model, its hash in the header made right: shapes, parents and tables that are none."""
    parts = Parts.of(data)
    if not parts.model:
        return forge_block(data, rng)
    raw = bytearray(CodecModel.unpack(parts.model).raw)
    kind = rng.integers(5)
    if kind == 0:
        where, width = [(4, "<H"), (6, "<H"), (8, "<I"), (12, "<I"), (16, "<I"), (20, "<I")][rng.integers(6)]
        struct.pack_into(width, raw, where, int(rng.choice(np.array(EXTREMES, dtype=object))) & (0xFFFF if width == "<H" else 0xFFFFFFFF))
    elif kind == 1:
        raw = bytearray(flip(bytes(raw), rng))
    elif kind == 2:
        raw = raw[: rng.integers(len(raw))]
    elif kind == 3:
        raw += rng.bytes(int(rng.integers(1, 50)))
    else:
        start = int(rng.integers(20, len(raw)))
        raw[start : start + 4] = struct.pack("<i", int(rng.integers(-5, 100)))[: len(raw) - start]
    import hashlib

    parts.fields[4] = hashlib.sha256(bytes(raw)).digest()
    even = len(raw) % 2
    planes = bytes(raw[:even]) + np.frombuffer(bytes(raw), np.uint8, offset=even).reshape(-1, 2).T.tobytes()
    parts.model = bytes([0]) + bytes(raw) if rng.random() < 0.5 else bytes([1]) + zstandard.compress(planes)
    parts.fields[5] = len(parts.model)
    return parts.join()


def bomb(data: bytes, rng: Rng) -> bytes:
    """A model that unfolds to far more than it is, or says so, or says less."""
    parts = Parts.of(data)
    size = int(rng.choice([1 << 20, 1 << 24, 1 << 27]))
    kind = rng.integers(5)
    if kind == 0:
        frame = _zeros(size)
    elif kind == 1:  # says 2^40 bytes
        frame = struct.pack("<IBQ", 0xFD2FB528, 0xE0, 1 << 40) + b"\x01\x00\x00"
    elif kind == 2:  # does not say
        frame = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 20))
    elif kind == 3:  # says less than comes
        frame = bytearray(_zeros(1 << 20))
        frame[6:10] = struct.pack("<I", 64)
        frame = bytes(frame)
    else:  # a header that asks for tables of gigabytes, and zeros
        d, m = int(rng.choice([1, 784, 1 << 20])), int(rng.choice([1, 1 << 10]))
        head = struct.pack("<4sHHIII", b"PCM1", 1, int(rng.integers(1, 256)), d, m, 0)
        frame = zstandard.compress(head + bytes(int(rng.integers(0, 1 << 22))))
    parts.model = bytes([1]) + frame
    parts.fields[2] = int(parts.fields[2]) | EMBEDDED  # type: ignore[call-overload]
    parts.fields[5] = len(parts.model)
    return parts.join()


_made: dict[int, bytes] = {}


def _zeros(size: int) -> bytes:
    if size not in _made:
        _made[size] = zstandard.ZstdCompressor(level=1).compress(bytes(size))
    return _made[size]


def forge_schema(data: bytes, rng: Rng) -> bytes:
    parts = Parts.of(data)
    if not parts.schema:
        return forge_header(data, rng)
    schema = json.loads(parts.schema)
    column = schema["columns"][rng.integers(len(schema["columns"]))]
    if rng.random() < 0.3 and column["values"]:  # one that reads well and means something else
        column["values"] = column["values"][::-1]
        text = json.dumps(schema, separators=(",", ":")).encode()
        parts.schema, parts.fields[6] = text, len(text)
        return parts.join()
    name = str(rng.choice(list(column)))
    column[name] = [None, -1, 10**30, 1e308, [], ["x"] * 50, {"a": 1}, "x" * 1_000, True, float("nan")][rng.integers(10)]
    text = json.dumps(schema).encode()
    if rng.random() < 0.2:
        text = [b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe", b"null", b"9" * 10_000, flip(parts.schema, rng)][rng.integers(6)]
    parts.schema, parts.fields[6] = text, len(text)
    return parts.join()


def mix(data: bytes, rng: Rng) -> bytes:
    """Two damages in a row."""
    return flip(overwrite(data, rng), rng)


DAMAGES = (flip, cut, overwrite, move, noise, mix, forge_header, forge_directory, forge_footer, forge_block, forge_model, bomb,
           forge_schema)


# ---------------------------------------------------------------- the test


def same(found: np.ndarray | pd.DataFrame, truth: np.ndarray | pd.DataFrame) -> bool:
    """The exact records, in their type and shape (of no records, whatever those say)."""
    if isinstance(truth, pd.DataFrame):
        both = [t.astype(object).fillna("-").to_numpy().tolist() for t in (found, truth)]
        return both[0] == both[1]
    if truth.size == 0:
        return found.size == 0
    return found.dtype == truth.dtype and found.shape == truth.shape and bool((found == truth).all())


def peak_of(call: Callable[[], object]) -> tuple[object, int]:
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        out = call()
    except (CorruptStream, ModelMismatch) as error:
        out = error
    return out, tracemalloc.get_traced_memory()[1] - before


@pytest.mark.slow
def test_damaged_and_forged_files_give_a_clear_error_or_the_exact_records():
    rng = np.random.default_rng(int(os.environ.get("SOAK_SEED", "0")))
    good = samples()
    for sample in good:
        assert same(sample.read(sample.data), sample.truth), sample.name
        assert Parts.of(sample.data).join() == sample.data, sample.name
    tracemalloc.start()
    try:
        plain = {s.name: max(peak_of(lambda s=s: s.read(s.data))[1], 200_000) for s in good}
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcomes: Counter[tuple[str, str]] = Counter()
        slowest, largest = 0.0, 0.0
        for i in range(COUNT):
            sample, damage = good[i % len(good)], DAMAGES[(i // len(good)) % len(DAMAGES)]
            data = damage(sample.data, rng)
            start = time.perf_counter()
            found, peak = peak_of(lambda: sample.read(data))  # noqa: B023
            slowest = max(slowest, time.perf_counter() - start)
            largest = max(largest, peak / plain[sample.name])
            if isinstance(found, Exception):
                assert str(found)
                outcomes[damage.__name__, type(found).__name__] += 1
            else:
                assert same(found, sample.truth), f"archive {i}: {damage.__name__} of {sample.name} gave other records without an error"
                outcomes[damage.__name__, "exact"] += 1
            assert slowest < SLOWEST, f"archive {i}: {damage.__name__} of {sample.name} took {slowest:.1f} s"
            times = peak / plain[sample.name]
            assert times < 10, f"archive {i}: {damage.__name__} of {sample.name} took {times:.1f} x memory"
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
    finally:
        tracemalloc.stop()
    assert sum(outcomes.values()) == COUNT
    assert {d for d, _ in outcomes} == {d.__name__ for d in DAMAGES}
    assert sum(n for (_, what), n in outcomes.items() if what != "exact") > 0.8 * COUNT
    # The largest bomb unfolds to 128 MB: nothing of that kind may ever have been resident.
    assert grown * 1024 < 64 << 20
    told = f"slowest {1e3 * slowest:.0f} ms, most memory {largest:.1f} x, resident memory grew by {grown / 1024:.0f} MB"
    print(f"{COUNT} archives; {told}", file=sys.stderr)
    for (damage, what), n in sorted(outcomes.items()):
        print(f"  {damage:<16} {what:<14} {n}", file=sys.stderr)


def test_numbers_of_the_format_are_read_as_written():
    for n in EXTREMES:
        assert read_varint(varint(n), 0) == (n, len(varint(n)))
    for bad in (b"", b"\xff", b"\xff" * 11, b"\xff" * 9 + b"\x02"):
        with pytest.raises(CorruptStream):
            read_varint(bad, 0)
