"""Types of columns that are stored smaller than they are asked for."""

from __future__ import annotations

import hashlib

from sqlalchemy import BigInteger, TypeDecorator
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
