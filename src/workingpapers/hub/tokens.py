"""Form tokens: a form of this site carries a token that only this site can make for this visitor."""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import secrets
from hashlib import sha256
from pathlib import Path

from fastapi import Request
from fastapi.responses import Response

VISITOR_COOKIE = "wp_visitor"
SESSION_COOKIE = "wp_session"
TOKEN_FIELD = "token"
SALT = 16
FORM_HEADER = "x-form-token"
YEAR = 365 * 86400
KEY_FILE = "hub.key"


def load_key(home: Path) -> bytes:
    """The site's secret: made on the first start, readable by its owner alone, shared by all processes of this data directory."""
    path = home / KEY_FILE
    home.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = home / f"{KEY_FILE}.{os.getpid()}.{secrets.token_hex(4)}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):  # another process of this site was first: its key counts
            os.link(draft, path)
        draft.unlink()
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != 32:
        raise ValueError(f"{path} does not hold a key of 32 bytes: delete it, a new one is made")
    return key


def new_visitor() -> str:
    """A random name for a browser that has none yet."""
    return secrets.token_urlsafe(24)


def is_visitor(value: str | None) -> bool:
    """Whether a cookie's value looks like one of ours.

    >>> is_visitor(new_visitor()), is_visitor("x"), is_visitor(None)
    (True, False, False)
    """
    return value is not None and re.fullmatch(r"[A-Za-z0-9_-]{32}", value) is not None


def form_token(key: bytes, visitor: str, salt: str = "") -> str:
    """The token of this visitor's forms: another on every page, since pages are compressed and an unchanging secret could be
    guessed from their lengths. The first 16 characters are the salt.
    """
    salt = salt or secrets.token_hex(8)
    return salt + hmac.new(key, f"form:{visitor}:{salt}".encode(), sha256).hexdigest()


def is_valid(key: bytes, visitor: str | None, token: str) -> bool:
    """Whether a form came from a page that this site gave to this visitor.

    >>> key, visitor = b"k" * 32, new_visitor()
    >>> is_valid(key, visitor, form_token(key, visitor)), is_valid(key, visitor, "0"), is_valid(key, None, "")
    (True, False, False)
    """
    if visitor is None or not is_visitor(visitor) or len(token) <= SALT:
        return False
    return hmac.compare_digest(form_token(key, visitor, token[:SALT]).encode(), token.encode())


def cookie_name(name: str, scheme: str) -> str:
    """Over https a cookie is bound to this very host by its name, so that no neighbouring host can plant one.

    >>> cookie_name("wp_visitor", "https"), cookie_name("wp_visitor", "http")
    ('__Host-wp_visitor', 'wp_visitor')
    """
    return f"__Host-{name}" if scheme == "https" else name


def cookie_of(request: Request, name: str) -> str | None:
    """Value of one of our cookies."""
    return request.cookies.get(cookie_name(name, request.url.scheme))


def visitor_of(request: Request) -> str | None:
    """The name of the browser that asks; None when it has none yet."""
    value = cookie_of(request, VISITOR_COOKIE)
    return value if is_visitor(value) else None


def keep_cookie(response: Response, request: Request, name: str, value: str, max_age: int = YEAR) -> None:
    """Give the browser a cookie that no script can read and no other site can use."""
    response.set_cookie(cookie_name(name, request.url.scheme), value, max_age=max_age, path="/", httponly=True, samesite="lax",
                        secure=request.url.scheme == "https")


def drop_cookie(response: Response, request: Request, name: str) -> None:
    """Take a cookie back."""
    response.delete_cookie(cookie_name(name, request.url.scheme), path="/", httponly=True, samesite="lax",
                           secure=request.url.scheme == "https")
