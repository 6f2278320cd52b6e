"""Comments: CommonMark without raw HTML, bare links made links, formulas, then an allow-list."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markupsafe import Markup

from .abstracts import maths_html
from .latex import REL
from .maths import Maths, maths_at

MAX_COMMENT = 10_000
TAGS = {"p", "a", "em", "strong", "code", "pre", "ul", "ol", "li", "blockquote", "br"}
SCHEMES = {"http", "https", "mailto"}


def comment_html(markdown: str) -> Markup:
    r"""Markdown as markup with nothing in it but the allowed elements.

    >>> str(comment_html("**Fine** <script>alert(1)</script> $x^2$ [a](javascript:alert(1)) https://example.org"))
    '<p><strong>Fine</strong> &lt;script&gt;alert(1)&lt;/script&gt; <code class="math">x^2</code> [a](javascript:alert(1))
    <a href="https://example.org" rel="nofollow ugc noopener">https://example.org</a></p>\n'
    """
    return clean(_reader().render(markdown))


def clean(html: str) -> Markup:
    """What the allow-list lets through; stored markup passes it again on its way out.

    >>> str(clean('<p onclick="x">a<img src=x onerror=y><a href="javascript:z">b</a></p>'))
    '<p>a<a rel="nofollow ugc noopener">b</a></p>'
    """
    return Markup(nh3.clean(html, tags=TAGS, attributes={"*": set(), "a": {"href"}, "code": set()}, url_schemes=SCHEMES, link_rel=REL,
                            allowed_classes={"code": {"math", "display"}}, strip_comments=True,
                            attribute_filter=_absolute))


def _absolute(element: str, attribute: str, value: str) -> str | None:
    """A link of a stranger names its site: none to an address of ours that does something, none to `//elsewhere`."""
    return value if attribute != "href" or value.lower().startswith(("http://", "https://", "mailto:")) else None


@cache
def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False, "linkify": True, "maxNesting": 20}).enable("linkify")
    reader.disable(["image", "heading", "lheading", "hr"])
    reader.inline.ruler.before("escape", "maths", _maths)
    reader.add_render_rule("maths", _render_maths)
    reader.add_render_rule("fence", _render_fence)
    assert reader.linkify is not None
    reader.linkify.set({"fuzzy_link": False, "fuzzy_email": False})
    return reader


def _maths(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "$\\":
        return False
    found = maths_at(state.src, state.pos)
    if found is None or found.end > state.posMax:
        return False
    if not silent:
        token = state.push("maths", "code", 0)
        token.content, token.meta = found.source, {"display": found.display}
    state.pos = found.end
    return True


def _render_maths(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    return str(maths_html(Maths(token.content, bool(token.meta["display"]), 0)))


def _render_fence(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Without the language that the writer names: nothing here colours code, and a class is one more thing to clean."""
    return str(Markup("<pre><code>{}</code></pre>\n").format(tokens[index].content))
