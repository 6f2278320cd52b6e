"""What is wrong with a file is named, and nothing is believed before it is checked. Ten thousand random cases: tests/soak."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import zstandard

from workingpapers.papers.circuit_compression import Archive, Codec, CodecModel, CorruptStream
from workingpapers.papers.circuit_compression._format import Block, Header, pack_directory, parse_directory
from workingpapers.papers.circuit_compression._model import FREE_BYTES, MOST_EXPANSION


@pytest.fixture
def model(oracles) -> CodecModel:
    return CodecModel.from_trees([oracles.random_tree_model(np.random.default_rng(0), 5, 3, [4] * 5, 2, np.float32)], np.ones(1))


@pytest.fixture
def records() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 4, size=(40, 5)).astype(np.uint8)


def read(data: bytes) -> np.ndarray:
    with Archive(data) as archive:
        return archive.read()


@pytest.mark.parametrize("layout", ["block", "per-record"])
def test_every_flipped_bit_is_noticed(model, records, layout):
    data = Codec(model, embed=True, layout=layout, block_records=16).compress(records[:20])
    for i in range(8 * len(data)):
        bad = bytearray(data)
        bad[i // 8] ^= 1 << i % 8
        with pytest.raises(CorruptStream):
            read(bytes(bad))


def test_every_truncation_is_noticed(model, records):
    data = Codec(model, embed=True).compress(records)
    for n in range(len(data)):
        with pytest.raises(CorruptStream):
            read(data[:n])
    for more in (b"\0", b"PCZ-END\n", data):
        with pytest.raises(CorruptStream):
            read(data + more)


@pytest.mark.parametrize(("data", "words"), [
    (b"", "only 0 bytes"), (b"PK\x03\x04" + bytes(500), "begins otherwise"), (b"\x89PCZ\r\n\x1a\n", "cut off")])
def test_what_is_no_such_file_is_named(data, words):
    with pytest.raises(CorruptStream, match=words):
        read(data)


def test_an_empty_file_on_disk_is_named(tmp_path):
    (tmp_path / "x.pcz").write_bytes(b"")
    with pytest.raises(CorruptStream, match="0 bytes"):
        Archive(tmp_path / "x.pcz")


def test_a_newer_version_is_named(model, records):
    data = bytearray(Codec(model).compress(records))
    data[8] = 2
    with pytest.raises(CorruptStream, match="version 2"):
        Codec(model).decompress(bytes(data))


def forged(data: bytes, **fields: int) -> bytes:
    """The file with header fields replaced and the header's checksum made right."""
    where = {"flags": (10, "<H"), "d": (12, "<I"), "n_model": (48, "<Q"), "n_schema": (56, "<Q"), "dtype": (64, "<B"), "axes": (65, "<B"),
             "lanes": (66, "<B"), "zero": (67, "<B"), "block": (68, "<I"), "shape0": (72, "<I")}  # fmt: skip
    out = bytearray(data)
    for name, value in fields.items():
        struct.pack_into(where[name][1], out, where[name][0], value)
    struct.pack_into("<I", out, 104, zlib.crc32(out[:104]))
    return bytes(out)


@pytest.mark.parametrize("fields", [
    {"flags": 0xFFFF}, {"d": 2**32 - 1}, {"d": 2**32 - 1, "shape0": 2**32 - 1}, {"d": 0, "shape0": 0}, {"d": 4, "shape0": 4},
    {"n_model": 2**63}, {"n_model": 2**64 - 1}, {"n_model": 0}, {"n_model": 1}, {"n_schema": 2**63}, {"n_schema": 2**26}, {"dtype": 9},
    {"dtype": 255}, {"dtype": 2}, {"axes": 0}, {"axes": 9}, {"axes": 2}, {"lanes": 0}, {"lanes": 255}, {"lanes": 3}, {"zero": 1},
    {"block": 0},
    {"block": 2**32 - 1}, {"flags": 3}, {"flags": 5}], ids=str)
def test_forged_header_fields_are_refused(model, records, fields):
    with pytest.raises(CorruptStream):
        read(forged(Codec(model, embed=True).compress(records), **fields))


@pytest.mark.parametrize("count", [0, 41, 10**6, 2**20 + 1, 2**62])
def test_forged_counts_are_refused(model, records, count):
    data = Codec(model, embed=True).compress(records)
    view = memoryview(data)
    header = Header.parse(view)
    (block,) = parse_directory(view, header)
    end = block.offset + block.length
    with pytest.raises(CorruptStream):
        read(data[:end] + pack_directory([Block(block.offset, block.length, count, block.crc)], end))


@pytest.mark.parametrize("length", [0, 2**31, 2**63, 2**64 - 1])
def test_forged_lengths_are_refused(model, records, length):
    data = Codec(model, embed=True).compress(records)
    view = memoryview(data)
    (block,) = parse_directory(view, Header.parse(view))
    end = block.offset + block.length
    with pytest.raises(CorruptStream):
        read(data[:end] + pack_directory([Block(block.offset, length, 40, block.crc)], end))


def test_a_block_of_another_file_is_refused_by_the_states_themselves(model, records):
    """Same model, same header but another type: every checksum is right, and the values would mean something else."""
    bytes_, wide = (Codec(model, embed=True).compress(records.astype(t)) for t in ("uint8", "int32"))
    assert len(bytes_) == len(wide)
    head = 108
    with pytest.raises(CorruptStream, match="does not come back"):
        read(wide[:head] + bytes_[head:])


def with_model(data: bytes, packed: bytes) -> bytes:
    """The file with another embedded model, checksums and lengths made right."""
    view = memoryview(data)
    header = Header.parse(view)
    blocks = parse_directory(view, header)
    body = data[header.first_block : blocks[-1].offset + blocks[-1].length]
    front = bytearray(forged(data, n_model=len(packed))[:108]) + packed + struct.pack("<I", zlib.crc32(packed))
    moved = [Block(b.offset + len(front) - header.first_block, b.length, b.records, b.crc) for b in blocks]
    return bytes(front) + body + pack_directory(moved, len(front) + len(body))


def test_a_model_that_unfolds_too_far_is_refused(model, records):
    data = Codec(model, embed=True).compress(records)
    assert (read(with_model(data, model.packed)) == records).all()
    bomb = bytes([1]) + zstandard.ZstdCompressor(level=1).compress(bytes(1 << 28))
    assert FREE_BYTES + MOST_EXPANSION * len(bomb) < 1 << 24
    with pytest.raises(CorruptStream, match="unfold"):
        read(with_model(data, bomb))
    for packed in (b"\x01", b"\x00", b"\x07" + bytes(50), b"\x01" + bytes(50), b"\x00" + bytes(50), b"\x00" + model.raw[:-1],
                   b"\x00" + model.raw + b"x"):
        with pytest.raises(CorruptStream):
            read(with_model(data, packed))


@pytest.mark.parametrize(("offset", "kind", "value", "words"), [
    (0, "<4s", b"XXXX", "version 1"), (4, "<H", 9, "version 1"), (6, "<H", 0, "limits"), (6, "<H", 300, "limits"),
    (8, "<I", 2**32 - 1, "limits"), (8, "<I", 0, "limits"), (12, "<I", 2**31, "limits"), (20, "<I", 0, "values"),
    (20, "<I", 2**32 - 1, "values"), (20, "<I", 65_536, "bytes"), (42, "<i", -9, "tree"), (42, "<i", 99, "tree"), (62, "<H", 7, "sum"),
    (-2, "<H", 7, "sum"), (40, "<H", 5, "weights")])
def test_tables_that_are_none_are_refused(model, offset, kind, value, words):
    raw = bytearray(model.raw)
    struct.pack_into(kind, raw, offset % len(raw), value)
    with pytest.raises(CorruptStream, match=words):
        CodecModel.from_raw(bytes(raw))


@pytest.mark.slow
def test_command_line_tells_the_error_in_one_line(model, records, tmp_path):
    data = Codec(model, embed=True).compress(records)
    (tmp_path / "cut.pcz").write_bytes(data[:-9])
    command = [sys.executable, "-m", "workingpapers.papers.circuit_compression", "decompress", "cut.pcz", "-o", "x.npy", "-q"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: the file is cut off")
    assert not (tmp_path / "x.npy").exists()
