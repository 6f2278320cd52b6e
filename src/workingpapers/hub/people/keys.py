"""Secrets that let people in: 256 bits each, stored as SHA-256 only, so that a stolen database opens nothing."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256

TOKEN_PREFIX = "wp_"
SHOWN = 10
SECRET = re.compile(r"(?<![A-Za-z0-9_-])(?:wp_)?[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")


def new_secret() -> str:
    """A random word of 256 bits, 43 characters that are safe in an address."""
    return secrets.token_urlsafe(32)


def new_api_token() -> str:
    """A key for programs."""
    return TOKEN_PREFIX + new_secret()


def digest(secret: str) -> str:
    """What is stored of a secret. The secrets are random and long: a slow hash would add nothing."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def is_secret(value: str | None) -> bool:
    """Whether a cookie or part of an address looks like one of ours.

    >>> is_secret(new_secret()), is_secret("../.."), is_secret(None)
    (True, False, False)
    """
    return value is not None and re.fullmatch(r"[A-Za-z0-9_-]{43}", value) is not None


def without_secrets(text: str) -> str:
    """Text that may go to a log: whatever looks like a secret of ours is left out.

    >>> without_secrets("GET /signin/" + new_secret()), without_secrets("/papers/2403.00001")
    ('GET /signin/[secret]', '/papers/2403.00001')
    """
    return SECRET.sub("[secret]", text)
