"""JSON inside a page."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup

_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def json_for_script(value: Any) -> Markup:
    r"""JSON for `<script type="application/json">`: nothing in it can end the element or begin another.

    >>> str(json_for_script({"title": "</script><b>&\u2028"}))
    '{"title": "\\u003c/script\\u003e\\u003cb\\u003e\\u0026\\u2028"}'
    """
    return Markup(json.dumps(value, ensure_ascii=False).translate(_ESCAPES))
