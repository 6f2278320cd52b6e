"""What strangers wrote becomes markup that is safe, well formed and readable, whatever it was."""

from __future__ import annotations

import html
import re
import time
from html.parser import HTMLParser

import nh3
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workingpapers.hub.markup import abstract_html, comment_html, json_for_script, plain_text
from workingpapers.hub.markup.latex import REL
from workingpapers.hub.markup.maths import Maths, pieces

TEXT_TAGS = {"em", "strong", "code", "a", "br"}
COMMENT_TAGS = {"p", "a", "em", "strong", "code", "pre", "ul", "ol", "li", "blockquote", "br"}

SCRAPS = [
    "$", "$$", "\\(", "\\)", "\\[", "\\]", "{", "}", "\\", "\\emph{", "\\textbf{", "{\\em ", "\\href{https://a.org/",
    "\\href{javascript:x}{", "\\'", "\\\"", "\\c{", "~", "--", "``", "''", "\\$", "\\%", " ", "\n", "\n\n", "<script>", "&",
    "\"", "'", "https://x.org/?a=b&c='", "5", "x^2", "\\begin{align}", "\\end{align}", "\\unknown", "\\footnote{", "\\i", "*", "_", "`",
    "> ", "- ", "[a](", ")", "![", "\x00", "\u202e",
]
latexish = st.lists(st.one_of(st.sampled_from(SCRAPS), st.text(max_size=8)), max_size=40).map("".join)


class Balanced(HTMLParser):
    """Raises at an element, attribute or nesting that has no place."""

    def __init__(self, tags):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.text = tags, [], []

    def handle_starttag(self, tag, attrs):
        assert tag in self.tags, tag
        allowed = {"a": {"href", "rel"}, "code": {"class"}}.get(tag, set())
        for name, value in attrs:
            assert name in allowed, (tag, name)
            if name == "href":
                assert re.match(r"(https?://|mailto:)", value), value
            if name == "class":
                assert value in ("math", "math display"), value
        if tag == "a":
            assert dict(attrs)["rel"] == REL
            assert "a" not in self.open
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def handle_comment(self, data):
        raise AssertionError("a comment")

    def handle_decl(self, decl):
        raise AssertionError("a declaration")


def check(markup, tags):
    parser = Balanced(tags)
    parser.feed(str(markup))
    parser.close()
    assert parser.open == []
    return "".join(parser.text)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(latexish)
@example("\\emph{\\emph{" * 40)
@example("{" * 500 + "}" * 500)
@example("\\href{https://a.org}{\\href{https://b.org}{x} https://c.org}")
def test_text_of_papers_is_inert(text):
    markup = abstract_html(text)
    check(markup, TEXT_TAGS)
    plain_text(text)
    # An independent sanitiser finds nothing to take away.
    cleaned = nh3.clean(str(markup), tags=TEXT_TAGS, attributes={"*": set(), "a": {"href"}, "code": {"class"}}, link_rel=REL)
    assert html.unescape(cleaned) == html.unescape(str(markup))


@settings(max_examples=300, deadline=None)
@given(latexish)
@example("```\x1f\nx")
@example("``` \\ \nx\n```")
@example("```math display\nx\n```")
def test_comments_are_inert(text):
    check(comment_html(text), COMMENT_TAGS)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=("C",), exclude_characters="\\{}~`'$-\"h"), max_size=80))
def test_plain_words_stay_as_they_are(text):
    assert html.unescape(str(abstract_html(text))) == text.strip()
    assert plain_text(text) == text.strip()


@settings(max_examples=400, deadline=None)
@given(latexish)
def test_formulas_obey_the_rule_of_dollars(text):
    at = 0
    for piece in pieces(text):
        if isinstance(piece, str):
            assert text.startswith(piece, at)
            at += len(piece)
            continue
        opened = text[at : at + 1]
        if opened == "$" and not text.startswith("$$", at):
            assert not text[at + 1].isspace()
            assert not text[piece.end - 2].isspace()
            assert not text[piece.end : piece.end + 1].isdigit()
            assert text[at + 1 : piece.end - 1] == piece.source
        at = piece.end
    assert at == len(text)


def maths(text):
    return [p.source for p in pieces(text) if isinstance(p, Maths)]


@pytest.mark.parametrize("text", [
    "It costs $5.",
    "From $5 to $10 a day", "$5-$10", "US$ 5 and 6 US$", "$20,000 (or $30,000)", r"\$5 and x\$", "a $ b $ c", "$5 and $10 (they say)",
    "A $5 run and a 7 US$ run", "$100 million was spent, or 90 US$, on it", "$", "$$", "$ $", "$$$",
    "cost: $3.50/$4.50", "$\n\nx$",
])
def test_prices_stay_prices(text):
    assert maths(text) == []
    assert "class" not in abstract_html(text)


@pytest.mark.parametrize(("text", "found"), [
    ("$x$", ["x"]),
    ("for $n$, $m$ and $k$.", ["n", "m", "k"]), ("$O(n^2)$-time", ["O(n^2)"]), ("costs $5 for $n$ runs", ["n"]),
    ("$5 and $10 (they say $x$)", ["x"]),
    (r"$\text{if $x$}$", [r"\text{if $x$}"]), ("$a}$", ["a}"]), (r"$\$5$", [r"\$5"]), ("$2$ or $3 n$", ["2", "3 n"]),
    (r"\(a\) and \[b\]", ["a", "b"]), ("$$a$$", ["a"]), (r"\\(not", []),
    (r"\begin{align}a&=b\end{align}", [r"\begin{align}a&=b\end{align}"]),
    (r"\begin{itemize}a\end{itemize}", []), ("$x $y$", ["y"]), ("$2 n \\log n$", ["2 n \\log n"]), ("$k$NN", ["k"]),
    (r"\(a \\) b\)", [r"a \\) b"]),
])
def test_what_is_maths(text, found):
    assert maths(text) == found


@pytest.mark.parametrize(("text", "shown", "plain"), [
    (r"\emph{a} \textbf{b} \texttt{c}", "<em>a</em> <strong>b</strong> <code>c</code>", "a b c"),
    (r"{\em a} {\bf b} {\tt c}", "<em>a</em> <strong>b</strong> <code>c</code>", "a b c"),
    (r"G\"odel, Erd\H{o}s, Poincar\'e, \'{E}t\'e, na\"{\i}ve, \v{C}ech, Fran\c cois", None,
     "Gödel, Erdős, Poincaré, Été, naïve, Čech, François"),
    (r"\L{}ukasz and \O stergaard, Stra\ss{}e", None, "Łukasz and Østergaard, Straße"),
    (r"5\% \& 6\_a \#1 \{x\}", "5% &amp; 6_a #1 {x}", "5% & 6_a #1 {x}"),
    ("1990--2000, a---b, run --fast", "1990–2000, a—b, run --fast", None),
    ("Fig.~3 takes ~5 s", "Fig.\xa03 takes ~5 s", None),
    ("``so''", "“so”", "“so”"),
    ("{BERT} and {0,1}", "BERT and {0,1}", None),
    (r"\unknown{a}{b} \foo", r"\unknown{a}{b} \foo", r"\unknown{a}{b} \foo"),
    (r"\alpha-stable, \leq 5", "α-stable, ≤ 5", None),
    (r"see \url{https://a.org/x_y} or \href{https://b.org}{here}", f'see <a href="https://a.org/x_y" rel="{REL}">https://a.org/x_y</a> or '
     f'<a href="https://b.org" rel="{REL}">here</a>', "see https://a.org/x_y or here"),
    (r"\href{javascript:alert(1)}{x}", "x", "x"),
    ("at https://github.com/a/b-c.", f'at <a href="https://github.com/a/b-c" rel="{REL}">https://github.com/a/b-c</a>.', None),
    ("10\\textsuperscript{6}", "10⁶", None),
    ("a\n  b\n\n c", "a\n  b<br><br>c", "a\n  b\n\nc"),
    (r"$\alpha_1^2 \leq 10^{-3}$", r'<code class="math">\alpha_1^2 \leq 10^{-3}</code>', "α₁² ≤ 10⁻³"),
])
def test_latex_in_running_text(text, shown, plain):
    if shown is not None:
        assert str(abstract_html(text)) == shown
    if plain is not None:
        assert plain_text(text) == plain


@pytest.mark.parametrize("text", ["$" * 20_000, "\\emph{" * 8_000, "{" * 20_000, "$x" * 10_000, "\\(" * 10_000, "\\begin{align}" * 3_000,
                                  "$$a" * 8_000, "*" * 10_000, "[" * 10_000, "`" * 10_000, "> " * 5_000, "http://" * 3_000, "\\'" * 10_000])
def test_hostile_text_is_read_in_good_time(text):
    """Linear in the text: these are 10,000 to 50,000 characters. The bound is wide, a quadratic reader takes minutes."""
    start = time.process_time()
    abstract_html.__wrapped__(text)
    plain_text(text)
    comment_html(text[:10_000])
    assert time.process_time() - start < 5


@pytest.mark.parametrize("link", ["/signout", "//evil.example", "", "javascript:alert(1)", "JaVaScRiPt:x", "data:text/html,x", "vbscript:x",
                                  "#x", "ftp://x"])
def test_links_of_comments_name_their_site(link):
    assert "href" not in comment_html(f"[a]({link}) <{link}>")


def test_markdown_of_comments():
    shown = comment_html("# no heading\n\n**a** *b* `c` <b>d</b>\n\n- e\n- f\n\n> g\n\n```\nh\n```\n![i](https://x.org/i.png)\n\n"
                         "[j](https://x.org 'k') <https://x.org/l>")
    assert "<h1>" not in shown
    assert "<img" not in shown
    assert "&lt;b&gt;d&lt;/b&gt;" in shown
    assert "<ul>\n<li>e</li>" in shown
    assert "<blockquote>\n<p>g</p>" in shown
    assert f'<a href="https://x.org" rel="{REL}">j</a>' in shown
    assert shown.count("<a ") == 3  # a picture is only a link to it


@pytest.mark.parametrize("value", ["</script><script>alert(1)</script>", "<!--", "\u2028\u2029", "&amp;", {"a": ["<", ">", "&"]}, "'\"\\"])
def test_json_inside_a_page(value):
    import json

    text = str(json_for_script(value))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value
