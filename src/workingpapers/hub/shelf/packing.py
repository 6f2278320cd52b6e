"""A record and the bytes it was read from in one blob: they share most of their text, so together they cost little more than one."""

from __future__ import annotations

import zlib

_LENGTH = 8


def pack(text: str, payload: bytes) -> bytes:
    """The blob of a record as JSON and of its source's own bytes.

    >>> unpack(pack("{}", b"raw")), payload_of(pack("{}", b"raw"))
    ('{}', b'raw')
    """
    data = text.encode("utf-8", "surrogatepass")
    return zlib.compress(len(data).to_bytes(_LENGTH, "big") + data + payload, 1)


def unpack(packed: bytes) -> str:
    """The record as JSON."""
    data = zlib.decompress(packed)
    return data[_LENGTH : _LENGTH + int.from_bytes(data[:_LENGTH], "big")].decode("utf-8", "surrogatepass")


def payload_of(packed: bytes) -> bytes:
    """The source's own bytes."""
    data = zlib.decompress(packed)
    return data[_LENGTH + int.from_bytes(data[:_LENGTH], "big") :]
