r"""Where maths begins and ends in running text.

`$...$` opens only before something that is not blank, and closes only after something that is not blank and before
something that is not a digit, so that prices stay prices; `\$` is a dollar sign. `$$...$$`, `\(...\)`, `\[...\]` and the
usual environments are maths too. Whatever does not close is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_MATHS = 2_000  # characters; a longer stretch between two dollars is not one formula
ENVIRONMENTS = ("equation", "align", "gather", "alignat", "multline", "split", "aligned", "gathered", "cases", "array", "matrix", "pmatrix",
                "bmatrix", "vmatrix")
_BEGIN = re.compile(r"\\begin\{((?:" + "|".join(ENVIRONMENTS) + r")\*?)\}")
_START = re.compile(r"\$|\\(?=[(\[]|begin\{)|\\.", re.DOTALL)
_WORDS = re.compile(r"(?:^|[\s(])(?!(?:log|exp|min|max|sin|cos|tan|mod|dim|det|lim|sup|inf|arg)\b)[A-Za-z]{2,}(?=[\s.,;:)])")
_PRICE = re.compile(r"\d[\d.,]*[kKMB]?\s")
_COMMANDS = re.compile(r"[\\^_{}]")
_SIGNS = re.compile(r"[\\^_{}=<>+|]")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")


@dataclass(frozen=True)
class Maths:
    """One formula: its source without delimiters, whether it stands on a line of its own, and where it ends in the text."""

    source: str
    display: bool
    end: int


def maths_at(text: str, start: int) -> Maths | None:
    r"""The formula that begins at this place; None when none does.

    >>> maths_at("$x^2$ more", 0), maths_at("$5 and $10", 0)
    (Maths(source='x^2', display=False, end=5), None)
    >>> maths_at(r"\[a\]", 0), maths_at("$$a$$", 0).display, maths_at("$ a$", 0)
    (Maths(source='a', display=True, end=5), True, None)
    """
    if text.startswith("$$", start):
        return _until(text, start + 2, "$$", display=True)
    if text.startswith("$", start):
        return _between_dollars(text, start)
    if text.startswith("\\(", start):
        return _until(text, start + 2, "\\)", display=False)
    if text.startswith("\\[", start):
        return _until(text, start + 2, "\\]", display=True)
    begin = _BEGIN.match(text, start)
    if begin is None:
        return None
    end = f"\\end{{{begin[1]}}}"
    stop = text.find(end, begin.end(), begin.end() + MAX_MATHS)
    return None if stop < 0 else Maths(text[start : stop + len(end)], True, stop + len(end))


def pieces(text: str) -> Iterator[str | Maths]:
    r"""Text and formulas in turn; text keeps its escapes.

    >>> list(pieces(r"Costs \$5, so $n$ is"))
    ['Costs \\$5, so ', Maths(source='n', display=False, end=17), ' is']
    """
    begin = at = 0
    while (found := _START.search(text, at)) is not None:
        at = found.end()
        maths = maths_at(text, found.start()) if found[0] in ("$", "\\") else None
        if maths is not None:
            if begin < found.start():
                yield text[begin : found.start()]
            yield maths
            begin = at = maths.end
        elif text.startswith("$$", found.start()):
            at = found.start() + 2
    if begin < len(text):
        yield text[begin:]


def _between_dollars(text: str, start: int) -> Maths | None:
    """The next dollar sign decides: it closes, or the first one is only a dollar sign."""
    if text[start + 1 : start + 2] in ("", "$") or text[start + 1].isspace():
        return None
    stop = _closing_dollar(text, start + 1)
    if stop is None or text[stop - 1].isspace() or text[stop + 1 : stop + 2].isdigit():
        return None
    source = text[start + 1 : stop]
    return Maths(source, False, stop + 1) if not _BLANK_LINE.search(source) and not _is_prose(source) else None


def _is_prose(source: str) -> bool:
    """Words between two prices, as in "$5 a run, or 7 US$": ours, beyond the rule of blanks and digits. Links are no maths either."""
    if source.startswith(("\\href", "\\url")):
        return True
    source = re.sub(r"\\[%,&]", "", source)
    if _COMMANDS.search(source):
        return False
    words = len(_WORDS.findall(source))
    return (words >= 1 and _PRICE.match(source) is not None) or (words >= 3 and not _SIGNS.search(source))


def _closing_dollar(text: str, start: int) -> int | None:
    r"""The next dollar sign outside braces, as in `$a \text{ if $b$}$`; any next one where braces do not balance."""
    depth, first, at, end = 0, None, start, min(len(text), start + MAX_MATHS)
    while at < end:
        sign = text[at]
        if sign == "\\":
            at += 1
        elif sign == "{":
            depth += 1
        elif sign == "}":
            depth -= 1
        elif sign == "$":
            if depth <= 0:
                return at
            first = at if first is None else first
        at += 1
    return first


def _until(text: str, start: int, closing: str, *, display: bool) -> Maths | None:
    at = start
    while True:
        stop = text.find(closing, at, start + MAX_MATHS)
        if stop < 0:
            return None
        backslashes = len(text[start:stop]) - len(text[start:stop].rstrip("\\"))
        if backslashes % 2 == 0:
            break
        at = stop + 1
    source = text[start:stop]
    return Maths(source, display, stop + len(closing)) if source.strip() and not _BLANK_LINE.search(source) else None
