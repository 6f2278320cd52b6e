"""Pages: Jinja templates with autoescape always on, and what every page needs to know."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import workingpapers

from . import words
from .site import get_site
from .tokens import VISITOR_COOKIE, form_token, is_visitor, new_visitor

HERE = Path(__file__).parent
STATIC = HERE / "static"
THEMES = ("auto", "light", "dark")
THEME_COOKIE = "wp_theme"
HTMX_CONFIG = json.dumps({
    "allowEval": False, "includeIndicatorStyles": False, "selfRequestsOnly": True, "historyCacheSize": 0, "scrollBehavior": "auto",
    "responseHandling": [{"code": "204", "swap": False}, {"code": "[23]..", "swap": True}, {"code": "[45]..", "swap": True, "error": True}],
})


@functools.cache
def environment() -> Environment:
    """The template environment."""
    env = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                      lstrip_blocks=True, auto_reload=False)
    env.filters |= {"number": words.number, "duration": words.duration, "day": words.day, "weekday": words.weekday,
                    "moment": words.moment, "quantity": words.quantity, "ticks": ticks}
    env.globals |= {"asset": asset, "count": words.count, "version": workingpapers.__version__, "htmx_config": HTMX_CONFIG}
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
    visitor, theme = request.cookies.get(VISITOR_COOKIE), request.cookies.get(THEME_COOKIE, "auto")
    is_new = not is_visitor(visitor)
    if visitor is None or is_new:
        visitor = new_visitor()
    text = environment().get_template(name).render(
        theme=theme if theme in THEMES else "auto", token=form_token(get_site(request).key, visitor), path=request.url.path,
        here=request.url.path + (f"?{request.url.query}" if request.url.query else ""), **context)
    response = HTMLResponse(text, status, {"Cache-Control": "private, no-cache", "Vary": "Cookie, HX-Request", **(headers or {})})
    if is_new:
        response.set_cookie(VISITOR_COOKIE, visitor, max_age=365 * 86400, httponly=True, samesite="lax",
                            secure=request.url.scheme == "https")
    return response


def wants_fragment(request: Request) -> bool:
    """Whether htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true" and request.headers.get("hx-history-restore-request") != "true"

