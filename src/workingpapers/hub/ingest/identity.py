"""Who is who: normal forms of arXiv ids, DOIs, titles and names. Pure functions."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import NamedTuple
from urllib.parse import unquote

_ARCHIVES = (
    "acc-phys adap-org alg-geom ao-sci astro-ph atom-ph bayes-an chao-dyn chem-ph cmp-lg comp-gas cond-mat cs dg-ga econ eess "
    "funct-an gr-qc hep-ex hep-lat hep-ph hep-th math math-ph mtrl-th nlin nucl-ex nucl-th patt-sol physics plasm-ph q-alg "
    "q-bio q-fin quant-ph solv-int stat supr-con"
)
ARCHIVES = frozenset(_ARCHIVES.split())


class ArxivId(NamedTuple):
    """An arXiv id in its one normal form, and the version if one was named."""

    id: str
    version: int | None = None


_NEW = r"(?P<new>[0-9]{2}(?:0[1-9]|1[0-2])\.[0-9]{4,5})"
_OLD = r"(?P<archive>[a-z]+(?:-[a-z]+)?)(?:\.[a-z]{2}(?:-[a-z]+)?)?/(?P<number>[0-9]{2}(?:0[1-9]|1[0-2])[0-9]{3})"
_PREFIX = (
    r"(?:(?:https?://)?(?:dx\.)?doi\.org/)?10\.48550/arxiv\.|oai:arxiv\.org:|arxiv\s*:\s*|"
    r"(?:https?://)?(?:[a-z0-9-]+\.)*(?:arxiv\.org|alphaxiv\.org|huggingface\.co|hf\.co)/(?:abs|pdf|html|ps|format|papers|overview)/(?:arxiv:)?"
)
_TAIL = r"(?:v(?P<version>[1-9][0-9]{0,2}))?(?:\.pdf|\.md)?(?:\s*\[[^\]]*\].*|[?#].*|/)?\s*"
_ARXIV = re.compile(rf"\s*(?:{_PREFIX})?(?:{_NEW}|{_OLD}){_TAIL}", re.IGNORECASE)


def arxiv_id(text: str) -> ArxivId | None:
    """The arXiv id in any of its spellings; None for anything else.

    The class of an old id is dropped, as arXiv itself does (`cs.LG/0101001` is `cs/0101001`). Up to 2014-12 a number has
    four digits, since then five.

    >>> arxiv_id("https://arxiv.org/pdf/2201.12909v2.pdf")
    ArxivId(id='2201.12909', version=2)
    >>> arxiv_id("arXiv:cs.LG/0101001"), arxiv_id("10.48550/arXiv.2201.12909").id, arxiv_id("2213.12909")
    (ArxivId(id='cs/0101001', version=None), '2201.12909', None)
    """
    if len(text) > 300:
        return None
    match = _ARXIV.fullmatch(text)
    if match is None:
        return None
    version = int(match["version"]) if match["version"] else None
    if match["new"]:
        number = match["new"]
        month = int(number[:4])
        if month < 704 or len(number) != (10 if month >= 1501 else 9):
            return None
        return ArxivId(number, version)
    archive, number = match["archive"].lower(), match["number"]
    if archive not in ARCHIVES or 704 <= int(number[:4]) < 9000:  # old ids ran from 1991 to 2007-03
        return None
    return ArxivId(f"{archive}/{number}", version)


_DOI = re.compile(r"(?:(?:https?://)?(?:dx\.)?doi\.org/|doi\s*:\s*)?(10\.[0-9]{4,9}(?:\.[0-9]+)*/[^\s<>\"]+)", re.IGNORECASE)


def doi(text: str) -> str | None:
    """The first DOI of a text, lower case and bare; None when there is none or it is arXiv's own.

    >>> doi("https://doi.org/10.1145/3292500.3330701"), doi("10.48550/arXiv.2201.12909"), doi("n/a")
    ('10.1145/3292500.3330701', None, None)
    """
    text = text.strip()[:500]
    if "%" in text:
        text = unquote(text, errors="replace")
    match = _DOI.match(text)
    if match is None:
        return None
    found = match[1].lower().rstrip(".,;:")
    return None if found.startswith("10.48550/arxiv.") or found.endswith("/") or not found.isprintable() else found


_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "ȷ": "j", "æ": "ae", "œ": "oe", "þ": "th"})
_LETTER_COMMAND = re.compile(r"\\(ae|AE|oe|OE|aa|AA|ss|[oOlLij])(?![A-Za-z])")
_GREEK_NAMES = "alpha beta gamma delta epsilon zeta eta theta iota kappa mu nu xi pi rho sigma tau upsilon phi chi psi omega"
_GREEK = {
    name: unicodedata.lookup(f"GREEK SMALL LETTER {name.upper()}")
    for name in _GREEK_NAMES.split()
} | {"lambda": "λ", "varepsilon": "ε", "vartheta": "θ", "varphi": "φ", "varrho": "ρ", "varsigma": "ς"}
_GREEK_COMMAND = re.compile(rf"\\({'|'.join(sorted(_GREEK, key=len, reverse=True))})(?![A-Za-z])", re.IGNORECASE)
_COMMAND = re.compile(r"\\(?:[A-Za-z]+\*?|.)", re.DOTALL)
_NOT_KEY = {i: None for i in range(128) if not chr(i).isalnum()}


def _fold(text: str) -> str:
    """Letters and digits only, without case, accents and ligatures."""
    if text.isascii():
        return text.lower().translate(_NOT_KEY)
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()).translate(_LETTERS)
    return "".join(filter(str.isalnum, text))


@functools.lru_cache(8192)  # a title is asked for several times while its batch is taken in
def title_key(title: str) -> str:
    """What two spellings of one title share: letters and digits, without case, accents and LaTeX commands.

    Commands that are letters stand for their letter.

    >>> title_key(r"The \\emph{$\\alpha$-Fair} M\\"{u}cke: it's  done!") == title_key("the α-fair Mücke — its done")
    True
    """
    if "\\" in title:
        title = _LETTER_COMMAND.sub(r"\1", title)
        title = _GREEK_COMMAND.sub(lambda m: _GREEK[m[1].lower()], title)
        title = _COMMAND.sub("", title)
    return _fold(title)


@functools.lru_cache(8192)
def title_keys(title: str) -> tuple[str, ...]:
    """`title_key` and, for a title with LaTeX, the key it has once backslashes are lost, as on saved pages.

    A title without letters and digits stands for itself, behind a `=`.

    >>> title_keys(r"On $\\ell_1$ norms"), title_keys("On ell_1 norms")
    (('on1norms', 'onell1norms'), ('onell1norms',))
    """
    key = title_key(title)
    keys = tuple(dict.fromkeys(filter(None, (key, _fold(title.replace("\\", "")) if "\\" in title else ""))))
    return keys or ((f"={title}",) if title else ())


_SUFFIXES = frozenset({"jr", "sr", "ii", "iii", "iv", "phd", "md"})


def _parts(name: str) -> tuple[str, str]:
    """The folded last word of the family name, and the folded rest of the given names."""
    if "\\" in name:
        name = _COMMAND.sub("", _LETTER_COMMAND.sub(r"\1", name))
    family, comma, given = name.partition(",")
    if comma and _fold(given) in _SUFFIXES:
        comma, given = "", ""
    words = family.split()
    while len(words) > 1 and _fold(words[-1]) in _SUFFIXES:
        words.pop()
    while len(words) > 1 and not comma and len(words[-1].rstrip(".")) == 1:  # initials behind: `Smith J.`
        words.insert(0, words.pop())
        if len(words[-1].rstrip(".")) == 1 and all(len(w.rstrip(".")) == 1 for w in words):
            break
    last = _fold(words[-1]) if words else ""
    return last, _fold(given if comma else "".join(words[:-1]))


def family_key(name: str) -> str:
    """The last word of the family name, folded: what `Ludwig van der Berg` and `van der Berg, L.` share.

    >>> family_key("Ludwig van der Berg"), family_key("van der Berg, L."), family_key("Martin King, Jr.")
    ('berg', 'berg', 'king')
    """
    return _parts(name)[0]


def first_author_key(authors: tuple[str, ...]) -> str:
    """Family name and first initial of the first author; empty without authors.

    >>> first_author_key(("Ernst Mücke", "B. Second")), first_author_key(("Mücke, E.",)), first_author_key(())
    ('mucke e', 'mucke e', '')
    """
    if not authors:
        return ""
    family, given = _parts(authors[0])
    return f"{family} {given[0]}" if family and given else family
