"""Types of columns that are stored smaller than they are asked for."""

from __future__ import annotations

import hashlib

import numpy as np
from sqlalchemy import BigInteger, LargeBinary, TypeDecorator
from sqlalchemy.engine import Dialect


def hash64(*parts: str) -> int:
    """64 bits of a hash of texts, as a number that both databases hold.

    >>> hash64("a", "b") == hash64("a", "b") != hash64("ab"), -(2**63) <= hash64("a") < 2**63
    (True, True)
    """
    data = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big", signed=True)


class Hashed(TypeDecorator[str]):
    """A text that is only ever compared: 64 bits of its hash are kept, and are what is read back.

    Two texts of a hundred million share theirs with probability 3e-4; what is found by it must bear that.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: str | int | None, dialect: Dialect) -> int | None:
        return hash64(value) if isinstance(value, str) else value


class Halved(TypeDecorator[bytes]):
    """A vector of float32, kept as 16-bit numbers and one exponent: half the room.

    Written and read as the bytes of float32, little endian. Kept is n * 2^e, n of 16 bits, e such that the largest number fills
    them: off by at most 2^-15 of the largest entry, and what is read back is kept as it is when written again.

    Raises:
        ValueError: on writing NaN or infinities.
    """

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        return None if value is None else halved(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        return None if value is None else whole(value)


def halved(floats: bytes) -> bytes:
    """A vector of float32 as an exponent and numbers, all int16.

    >>> whole(halved(np.array([0.5, -0.25, 0.0], "<f4").tobytes())) == np.array([0.5, -0.25, 0.0], "<f4").tobytes()
    True
    """
    vector = np.frombuffer(floats, "<f4").astype(np.float64)
    largest = float(np.abs(vector).max(initial=0.0))
    if not np.isfinite(largest):
        raise ValueError("vector: NaN or infinite entries cannot be kept; check what the embedder gives")
    exponent = int(np.frexp(largest)[1]) - 15 if largest else 0
    numbers = np.rint(np.ldexp(vector, -exponent))
    if np.abs(numbers).max(initial=0.0) > 32_767:  # the largest entry was rounded up to the next power of two
        exponent += 1
        numbers = np.rint(np.ldexp(vector, -exponent))
    return np.concatenate(([exponent], numbers)).astype("<i2").tobytes()


def whole(kept: bytes) -> bytes:
    """The float32 bytes of what `halved` made."""
    numbers = np.frombuffer(kept, "<i2")
    return np.ldexp(numbers[1:].astype(np.float64), int(numbers[0])).astype("<f4").tobytes()
