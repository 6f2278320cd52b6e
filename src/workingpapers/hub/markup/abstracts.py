r"""Abstracts and titles: text with maths, as markup for pages and as plain text for mails and feeds."""

from __future__ import annotations

import re
from functools import lru_cache

from markupsafe import Markup, escape

from ._symbols import SUBSCRIPTS, SUPERSCRIPTS, SYMBOLS
from .latex import text_to_html, text_to_plain
from .maths import Maths, pieces

_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_MARKS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_SCRIPT = re.compile(r"([\^_])(?:\{([^{}\\^_]{1,12})\}|([A-Za-z0-9+-]))")
_COMMAND = re.compile(r"\\([A-Za-z]+) ?")
_WRAPPER = re.compile(r"\\(?:math(?:bb|cal|bf|rm|sf|it|frak|scr)|boldsymbol|bm|text(?:bf|it)?|operatorname|mbox|bf|rm|cal)\s*"
                      r"\{([^{}]*)\}")


@lru_cache(512)  # lists keep whole cards (`card_html.py`)
def abstract_html(text: str) -> Markup:
    r"""Text of a paper as markup that stands within a paragraph: `em`, `strong`, `code`, `a`, `br`, and formulas.

    A formula is `<code class="math">` (`math display` on a line of its own) around its source: readable as it is, and
    typeset where scripts run.

    >>> str(abstract_html(r"At $5 a run, <b>$O(n^2)$</b> \emph{wins}"))
    'At $5 a run, &lt;b&gt;<code class="math">O(n^2)</code>&lt;/b&gt; <em>wins</em>'
    """
    return Markup("<br><br>").join(Markup("").join(_piece(p) for p in pieces(part)) for part in _PARAGRAPH.split(_tidy(text)))


@lru_cache(1024)
def title_html(text: str) -> Markup:
    """A title: the same on one line and without links, since it stands within one.

    >>> str(title_html("See https://example.org, $x^2$"))
    'See https://example.org, <code class="math">x^2</code>'
    """
    return Markup("").join(Markup(text_to_html(p, links=False)) if isinstance(p, str) else maths_html(Maths(p.source, False, 0))
                           for p in pieces(" ".join(_tidy(text).split())))


def plain_text(text: str) -> str:
    r"""The same as plain Unicode text, paragraphs parted by blank lines.

    >>> plain_text(r"\textbf{Fast}: $O(n^2)$ for $\alpha \in \mathbb{R}_+$, 5\% of \$9")
    'Fast: O(n²) for α ∈ R₊, 5% of $9'
    """
    return "\n\n".join("".join(maths_to_plain(p.source) if isinstance(p, Maths) else text_to_plain(p) for p in pieces(part))
                       for part in _PARAGRAPH.split(_tidy(text)))


def maths_to_plain(source: str) -> str:
    r"""A formula in Unicode as far as that goes; what it cannot say stays source.

    >>> maths_to_plain(r"x_{i}^2 \leq 10^{-3}"), maths_to_plain(r"\frac{a}{b}")
    ('xᵢ² ≤ 10⁻³', '\\frac{a}{b}')
    """
    text = source
    for _ in range(3):
        text = _WRAPPER.sub(r"\1", text)
    text = _COMMAND.sub(lambda m: SYMBOLS[m[1]] + (" " if m[0].endswith(" ") and len(SYMBOLS[m[1]]) == 1 else "")
                        if m[1] in SYMBOLS else m[0], text)
    text = _SCRIPT.sub(_script, text)
    for sign in "%&#_$":
        text = text.replace(f"\\{sign}", sign)
    return re.sub(r"\\[,;:! ]|\\q?quad(?![A-Za-z])|~", " ", text).strip()


def _script(found: re.Match[str]) -> str:
    table = SUPERSCRIPTS if found[1] == "^" else SUBSCRIPTS
    inner = found[2] or found[3]
    return "".join(table[c] for c in inner) if all(c in table for c in inner) else found[0]


def _piece(piece: str | Maths) -> Markup:
    if isinstance(piece, str):
        return Markup(text_to_html(piece))
    return maths_html(piece)


def maths_html(maths: Maths) -> Markup:
    """The element that holds a formula."""
    return Markup('<code class="math{}">{}</code>').format(Markup(" display") if maths.display else "", escape(maths.source))


def _tidy(text: str) -> str:
    return _MARKS.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
