"""LaTeX as plain Unicode, for readers that set no maths."""

from __future__ import annotations

import functools
from typing import Any

LONGEST = 6_000


@functools.cache
def _converter() -> Any:
    from pylatexenc.latex2text import LatexNodes2Text

    return LatexNodes2Text(math_mode="text", keep_comments=True, strict_latex_spaces=False)


@functools.lru_cache(maxsize=4096)
def plain(text: str) -> str:
    r"""Text with LaTeX commands and maths turned into Unicode where that goes, else left as it is.

    >>> plain(r"\emph{Bounds} of $O(\sqrt{n})$ for $x \in \mathbb{R}^d$"), plain("a price of $5 or 10 %")
    ('Bounds of O(√(n)) for x ∈ℝ^d', 'a price of $5 or 10 %')
    """
    if "\\" not in text and text.count("$") < 2:
        return " ".join(text.split())
    try:
        # A bare % would start a comment and swallow the rest of the line.
        found = _converter().latex_to_text(text[:LONGEST].replace("\\%", "%").replace("%", "\\%"))
    except Exception:  # not LaTeX after all: shown as it is
        found = text
    return " ".join(str(found).split())


def shortened(text: str, most: int) -> str:
    """Text cut at a word, with an ellipsis where something was cut.

    >>> shortened("one two three", 9), shortened("one", 9)
    ('one two…', 'one')
    """
    if len(text) <= most:
        return text
    return text[: most + 1].rsplit(maxsplit=1)[0][:most].rstrip(" ,;:.") + "…"
