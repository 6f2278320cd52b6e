"""Keys that fit into an index."""

from __future__ import annotations

import hashlib

KEY_BYTES = 200


def short(text: str, limit: int = KEY_BYTES) -> str:
    """The text itself while it has at most `limit` bytes, else its beginning and a hash of all of it.

    PostgreSQL refuses an indexed value of more than 2.7 kB; a title may have 8 kB.

    >>> short("a title"), len(short("x" * 5000)), short("x" * 5000) == short("x" * 5001)
    ('a title', 200, False)
    """
    if 4 * len(text) <= limit:
        return text
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= limit:
        return text
    head = data[: limit - 33].decode("utf-8", "ignore")
    return f"{head}~{hashlib.sha256(data).hexdigest()[:32]}"


def digest(*parts: str) -> str:
    """A hash of several texts."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
