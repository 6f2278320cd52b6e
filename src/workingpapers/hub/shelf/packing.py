"""A record and the bytes it was read from in one blob: they share most of their text, so together they cost little more than one.

Zstandard with a dictionary made from arXiv records (`scripts/records_dictionary.py`): two fifths smaller than without, and faster.
A frame names its dictionary, so that a later one may stand beside it; this one must stay as long as stores hold such frames.
"""

from __future__ import annotations

import functools
import threading
from importlib import resources

import zstandard

_LENGTH = 8
_LEVEL = 3
_LARGEST = 256 << 20  # bytes of a record unpacked; readers stop at 20 MB
_local = threading.local()


@functools.cache
def _dictionary() -> zstandard.ZstdCompressionDict:
    found = zstandard.ZstdCompressionDict(resources.files(__package__).joinpath("records.zdict").read_bytes())
    found.precompute_compress(level=_LEVEL)
    return found


def _compressor() -> zstandard.ZstdCompressor:
    """One a thread: they may not be shared."""
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=_LEVEL, dict_data=_dictionary())
    return _local.compressor  # type: ignore[no-any-return]


def _unpacked(packed: bytes) -> bytes:
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor(dict_data=_dictionary())
    return _local.decompressor.decompress(packed, max_output_size=_LARGEST)  # type: ignore[no-any-return]


def pack(text: str, payload: bytes) -> bytes:
    """The blob of a record as JSON and of its source's own bytes.

    >>> unpack(pack("{}", b"raw")), payload_of(pack("{}", b"raw"))
    ('{}', b'raw')
    """
    data = text.encode("utf-8", "surrogatepass")
    return _compressor().compress(len(data).to_bytes(_LENGTH, "big") + data + payload)


def unpack(packed: bytes) -> str:
    """The record as JSON."""
    data = _unpacked(packed)
    return data[_LENGTH : _LENGTH + int.from_bytes(data[:_LENGTH], "big")].decode("utf-8", "surrogatepass")


def payload_of(packed: bytes) -> bytes:
    """The source's own bytes."""
    data = _unpacked(packed)
    return data[_LENGTH + int.from_bytes(data[:_LENGTH], "big") :]
