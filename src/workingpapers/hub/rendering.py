"""Pages: Jinja templates with autoescape always on, and what every page needs to know."""

from __future__ import annotations

import functools
import hashlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import workingpapers

from . import words
from .markup import abstract_html, plain_text, title_html
from .people.viewer import get_viewer, sign_in_address
from .site import get_site
from .tokens import VISITOR_COOKIE, form_token, keep_cookie, new_visitor, visitor_of

HERE = Path(__file__).parent
STATIC = HERE / "static"
THEMES = ("auto", "light", "dark")
THEME_COOKIE = "wp_theme"
KEYS_COOKIE = "wp_keys"
MATHS_SLOT = "<!-- maths -->"
MATHS = ("vendor/katex/katex.min.css", "maths.css", "vendor/katex/katex.min.js", "maths.js")
# Where `page` puts what belongs to one visitor into parts that are kept for all. Nobody outside can write a slot into a text: it is
# drawn anew by each process, and no page leaves with one.
TOKEN_SLOT, BACK_SLOT, BACK_SLOT_QUOTED = (f"slot{secrets.token_hex(16)}" for _ in range(3))
EARLY = 9_000  # characters of a page in which a formula is likely to be seen at once
HTMX_CONFIG = json.dumps({
    "allowEval": False, "includeIndicatorStyles": False, "selfRequestsOnly": True, "historyCacheSize": 0, "scrollBehavior": "auto",
    "responseHandling": [{"code": "204", "swap": False}, {"code": "[23]..", "swap": True}, {"code": "[45]..", "swap": True, "error": True}],
})


@functools.cache
def environment() -> Environment:
    """The template environment."""
    from .card_html import card_html  # which needs this module

    env = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                      lstrip_blocks=True, auto_reload=False)
    env.filters |= {"number": words.number, "duration": words.duration, "day": words.day, "weekday": words.weekday,
                    "moment": words.moment, "quantity": words.quantity, "ticks": ticks, "abstract": abstract_html,
                    "named": title_html, "plain": plain_text}
    env.globals |= {"asset": asset, "count": words.count, "version": workingpapers.__version__, "card": card_html,
                    "maths_slot": Markup(MATHS_SLOT), "maths": MATHS, "htmx_config": HTMX_CONFIG}
    return env


def ticks(text: str) -> Markup:
    """Text in which words between backticks are code; everything is escaped.

    >>> str(ticks("the field `x < 1`"))
    'the field <code>x &lt; 1</code>'
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts))


@functools.cache
def asset(name: str) -> str:
    """Address of a file of ours that changes with its bytes, so that browsers may keep it for good."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def page(request: Request, name: str, status: int = 200, headers: Mapping[str, str] | None = None, **context: Any) -> HTMLResponse:
    """Render a template as this visitor's page."""
    known, theme = visitor_of(request), request.cookies.get(THEME_COOKIE, "auto")
    visitor = known or new_visitor()
    here = _page_of(request)
    token = form_token(get_site(request).key, visitor)
    text = environment().get_template(name).render({
        "theme": theme if theme in THEMES else "auto", "token": token, "path": request.url.path,
        "here": here, "viewer": get_viewer(request), "sign_in": sign_in_address(here),
        "keys": "off" if request.cookies.get(KEYS_COOKIE) == "off" else "on", **context})
    text = text.replace(TOKEN_SLOT, token).replace(BACK_SLOT, escape(here)).replace(BACK_SLOT_QUOTED, quote(here))
    main = text.find("<main")
    # Further down `keys.js` fetches what typesets formulas as soon as one comes near: most visits never do.
    text = text.replace(MATHS_SLOT, _maths_head() if '<code class="math' in text[main : main + EARLY] else "", 1)
    response = HTMLResponse(text, status, {"Cache-Control": "private, no-cache", "Vary": "Cookie, HX-Request", **(headers or {})})
    if known is None:
        keep_cookie(response, request, VISITOR_COOKIE, visitor)
    return response


@functools.cache
def _maths_head() -> str:
    """What typesets formulas, for the head of a page that has any."""
    return "\n".join(f'<link rel="stylesheet" href="{asset(name)}">' if name.endswith(".css") else
                     f'<script src="{asset(name)}" defer></script>' for name in MATHS)


def wants_fragment(request: Request) -> bool:
    """Whether htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true" and request.headers.get("hx-history-restore-request") != "true"


def _page_of(request: Request) -> str:
    """Address of the page in front of the reader: for a part of one, or the answer to a form, the page that asked."""
    asked_from = request.headers.get("hx-current-url") if wants_fragment(request) else None
    if request.method not in ("GET", "HEAD"):
        asked_from = asked_from or request.headers.get("referer") or "/"
    try:
        parts = urlsplit(asked_from) if asked_from is not None else request.url
    except ValueError:
        return "/"
    return local_path(parts.path + (f"?{parts.query}" if parts.query else ""))


def local_path(address: str) -> str:
    """The address if it stays on this site, else the front page.

    >>> local_path("/papers?task=x"), local_path("https://evil.example"), local_path("//evil.example"), local_path("/\\\\evil")
    ('/papers?task=x', '/', '/', '/')
    """
    fine = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable() and "\\" not in address
    return address if fine else "/"
