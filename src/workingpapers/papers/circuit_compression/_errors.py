"""What can go wrong with a compressed file, by name."""

from __future__ import annotations

__all__ = ["CorruptStream", "ModelMismatch"]


class CorruptStream(ValueError):
    """The bytes are not what an encoder wrote: bad magic, header, checksum or length. Nothing is decoded from them."""


class ModelMismatch(ValueError):
    """The file was written with another model; the message gives both hashes."""
