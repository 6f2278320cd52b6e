r"""LaTeX that people leave in running text: `\emph`, accents, `~`, `--`, `\%`. Unknown commands stay readable source.

A reader that descends into groups, at most `MAX_DEPTH` of them; cost is linear in the text, whatever the text is.
"""

from __future__ import annotations

import re
import unicodedata

from markupsafe import escape

from ..ingest.text import is_web_address
from ._symbols import ACCENTS, DECLARATIONS, LETTERS, SIGNS, SUPERSCRIPTS, SYMBOLS, TAGS

MAX_DEPTH = 20
REL = "nofollow ugc noopener"
_TOKEN = re.compile(
    r"(?P<url>https?://[^\s<>\"{}|\\^`\[\]$]+)|\\(?P<command>[A-Za-z]+)|\\(?P<sign>[^A-Za-z])|(?P<open>\{)"
    r"|(?P<other>[~]|-{2,3}|``|'')|(?P<text>[^\\{~`'h-]+|.)", re.DOTALL)
_TRAILING = re.compile(r"[.,;:!?)'\"]+$")
_PROSE = re.compile(r"[\w\s.:/'+&-]*")
_DECLARED = re.compile(r"\{\s*\\(" + "|".join(DECLARATIONS) + r")(?![A-Za-z])\s*")
_BLANKS = re.compile(r"[ \t]*\n?[ \t]*")


def text_to_html(text: str, *, links: bool = True) -> str:
    r"""Running text as safe markup: everything is escaped, only `em`, `strong`, `code` and `a` are made.

    >>> text_to_html(r"\emph{Ma\~nana} 5\,\% -- {\bf at} https://example.org/~x.")
    '<em>Mañana</em> 5\u2009% – <strong>at</strong> <a href="https://example.org/~x" rel="nofollow ugc noopener">https://example.org/~x</a>.'
    >>> text_to_html(r"<b> \unknown{x} \emph{open")
    '&lt;b&gt; \\unknown{x} \\emph{open'
    """
    return _read(text, links=links).html()


def text_to_plain(text: str) -> str:
    r"""Running text as plain Unicode.

    >>> text_to_plain(r'\textbf{G\"odel}~1931, ``on" ~5 pages'.replace('n"', "n\x27\x27"))
    'Gödel\xa01931, “on” ~5 pages'
    """
    return _read(text).plain()


class _Written:
    """What was read, as plain text and as markup side by side."""

    def __init__(self) -> None:
        self._plain: list[str] = []
        self._html: list[str] = []

    def add(self, plain: str) -> None:
        self._plain.append(plain)
        self._html.append(str(escape(plain)))

    def wrap(self, before: str, inner: _Written, after: str) -> None:
        self._plain += inner._plain
        self._html += [before, *inner._html, after] if inner._html else []

    def link(self, address: str, inner: _Written | None = None) -> None:
        label = inner or _text(address)
        self.wrap(f'<a href="{escape(address)}" rel="{REL}">', label, "</a>")

    def plain(self) -> str:
        return "".join(self._plain)

    def html(self) -> str:
        return "".join(self._html)


def _text(text: str) -> _Written:
    out = _Written()
    out.add(text)
    return out


def _read(text: str, *, links: bool = True) -> _Written:
    if "\\" not in text and "{" not in text and "http" not in text and not re.search("~|--|``|''", text):
        return _text(text)
    return _Reader(text).read(0, len(text), 0, links=links)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.closing = text, _braces(text)

    def read(self, start: int, end: int, depth: int, *, links: bool) -> _Written:
        """Everything from `start` to `end`; a link holds no further link."""
        out, at = _Written(), start
        while at < end:
            found = _TOKEN.match(self.text, at, end)
            assert found is not None  # the last alternative takes any character
            at, kind = found.end(), found.lastgroup
            if kind == "text":
                out.add(found[0])
            elif kind == "url":
                at = self._url(out, found, links)
            elif kind == "command":
                at = self._command(out, found[0], found["command"], at, end, depth, links)
            elif kind == "sign":
                at = self._sign(out, found["sign"], at, end)
            elif kind == "open":
                at = self._group(out, found.start(), end, depth, links)
            else:
                out.add(self._other(found[0], found.start(), found.end()))
        return out

    def _inside(self, at: int, end: int, depth: int) -> tuple[int, int] | None:
        """First and last place of the group that opens here; None when there is none, or it is too deep."""
        stop = self.closing.get(at, end)
        return (at + 1, stop) if stop < end and depth < MAX_DEPTH else None

    def _blanks(self, at: int, end: int) -> int:
        found = _BLANKS.match(self.text, at, end)
        return found.end() if found else at

    def _url(self, out: _Written, found: re.Match[str], links: bool) -> int:
        address = _TRAILING.sub("", found[0])
        if links and is_web_address(address):
            out.link(address)
        else:
            out.add(address)
        return found.start() + len(address)

    def _group(self, out: _Written, start: int, end: int, depth: int, links: bool) -> int:
        inside = self._inside(start, end, depth)
        if inside is None:
            out.add("{")
            return start + 1
        declared = _DECLARED.match(self.text, start, inside[1])
        if declared:
            tag = DECLARATIONS[declared[1]]
            inner = self.read(declared.end(), inside[1], depth + 1, links=links)
            out.wrap(f"<{tag}>" if tag else "", inner, f"</{tag}>" if tag else "")
            return inside[1] + 1
        inner = self.read(*inside, depth + 1, links=links)
        source = self.text[slice(*inside)]
        if "\\" in source or _PROSE.fullmatch(source):  # braces that keep letters together, as in {BERT}
            out.wrap("", inner, "")
        else:
            out.add("{")
            out.wrap("", inner, "")
            out.add("}")
        return inside[1] + 1

    def _command(self, out: _Written, source: str, name: str, at: int, end: int, depth: int, links: bool) -> int:
        if name in SYMBOLS:
            out.add(SYMBOLS[name])
            if self.text.startswith("{}", at):
                return at + 2
            return self._blanks(at, end) if SYMBOLS[name].isalpha() and name in LETTERS else at
        if name in ACCENTS:
            return self._accent(out, source, ACCENTS[name], self._blanks(at, end), at, end)
        opens = self._blanks(at, end)
        inside = self._inside(opens, end, depth) if self.text.startswith("{", opens) else None
        if inside is None:
            out.add(source)
            return at
        after = inside[1] + 1
        if name in TAGS:
            tag = TAGS[name]
            inner = self.read(*inside, depth + 1, links=links)
            out.wrap(f"<{tag}>" if tag else "", inner, f"</{tag}>" if tag else "")
            return after
        argument = self.text[slice(*inside)]
        if name == "textsuperscript" and all(c in SUPERSCRIPTS for c in argument):
            out.add("".join(SUPERSCRIPTS[c] for c in argument))
            return after
        if name == "url" or name == "href":
            address = argument.strip().replace("\\", "")
            second = self._inside(after, end, depth) if name == "href" and self.text.startswith("{", after) else None
            label = self.read(*second, depth + 1, links=False) if second else _text(address)
            if links and is_web_address(address):
                out.link(address, label)
            else:
                out.wrap("", label, "")
            return second[1] + 1 if second else after
        if name == "footnote":
            out.add(" (")
            out.wrap("", self.read(*inside, depth + 1, links=links), "")
            out.add(")")
            return after
        if name in ("textcolor", "color"):
            second = self._inside(after, end, depth) if name == "textcolor" and self.text.startswith("{", after) else None
            if second:
                out.wrap("", self.read(*second, depth + 1, links=links), "")
            return second[1] + 1 if second else after
        while self.text.startswith("{", after) and (more := self._inside(after, end, depth)) is not None:
            after = more[1] + 1
        out.add(self.text[at - len(source) : after])  # unknown: with its arguments, as it was written
        return after

    def _sign(self, out: _Written, sign: str, at: int, end: int) -> int:
        if sign in ACCENTS:
            return self._accent(out, "\\" + sign, ACCENTS[sign], at, at, end, fallback=sign)
        out.add(SIGNS.get(sign, "\\" + sign))
        return at

    def _accent(self, out: _Written, source: str, mark: str, at: int, after: int, end: int, fallback: str | None = None) -> int:
        r"""`\"o`, `\"{o}`, `\v{c}`, `\'\i`; anything else stays what it was."""
        bare = at == after and source[1:].isalpha()  # `\vx` would be another command; `\v x` and `\v{x}` are accents
        argument, stop = "", at
        inside = self._inside(at, end, 0) if self.text.startswith("{", at) else None
        if inside:
            argument, stop = self.text[slice(*inside)].strip(), inside[1] + 1
        elif not bare and at < end:
            argument = self.text[at : at + 2] if self.text.startswith(("\\i", "\\j"), at) else self.text[at]
            stop = at + len(argument)
        letter = argument.removeprefix("\\") if argument in ("\\i", "\\j") else argument
        if not 0 < len(letter) <= 2 or not letter.isalpha():
            out.add(source if fallback is None or inside else fallback)
            return after
        out.add(unicodedata.normalize("NFC", letter[0] + mark) + letter[1:])
        return stop

    def _other(self, found: str, start: int, end: int) -> str:
        before, after = self.text[start - 1 : start], self.text[end : end + 1]
        if found == "~":  # between words a tie; before a number, "about"
            return "\xa0" if before and after and not before.isspace() and not after.isspace() and before not in "(/=" else "~"
        if found in ("--", "---"):  # `--flag` is a flag
            is_flag = (not before or before.isspace()) and after.isalpha()
            return found if is_flag else "–" if found == "--" else "—"
        return "“" if found == "``" else "”"


def _braces(text: str) -> dict[int, int]:
    r"""Place of the closing brace for each opening one that has one; `\{` is no brace."""
    pairs: dict[int, int] = {}
    opened: list[int] = []
    for found in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if found[0] == "{":
            opened.append(found.start())
        elif found[0] == "}" and opened:
            pairs[opened.pop()] = found.start()
    return pairs
