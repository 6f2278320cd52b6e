r"""A paper for reference managers: BibTeX, RIS, CSL-JSON, and the `citation_*` tags that Zotero reads from a page."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from typing import Any

from ..markup import plain_text
from ..markup.latex import text_to_plain
from ..markup.maths import Maths, pieces
from ..tables import PaperRow

_BIBTEX = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$",
           "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_PARTICLES = frozenset(("van", "von", "der", "den", "de", "del", "della", "di", "da", "dos", "du", "la", "le", "ten", "ter", "zu", "zur",
                        "af", "al", "bin", "ibn"))
_SUFFIXES = frozenset(["jr", "jr.", "sr", "sr.", "ii", "iii", "iv"])
_GROUP = re.compile(r"\b(collaboration|consortium|team|group|project|institute|university|organization|lab|community)\b", re.IGNORECASE)


def split_name(name: str) -> tuple[str, str] | None:
    """Family and given names; None for a group, or a name of one word.

    >>> split_name("Ludwig van der Berg"), split_name("Berg, L."), split_name("Martin King Jr."), split_name("ATLAS Collaboration")
    (('van der Berg', 'Ludwig'), ('Berg', 'L.'), ('King, Jr.', 'Martin'), None)
    """
    family, comma, given = (part.strip() for part in name.partition(","))
    if comma and given.lower() not in _SUFFIXES:
        return (family, given) if family and given else None
    words = family.split()
    suffix = given
    if len(words) > 2 and words[-1].lower() in _SUFFIXES:
        suffix = words.pop()
    if len(words) < 2 or _GROUP.search(name):
        return None
    start = len(words) - 1
    while start > 1 and words[start - 1].lower() in _PARTICLES:
        start -= 1
    return " ".join(words[start:]) + (f", {suffix}" if suffix else ""), " ".join(words[:start])


def bibtex(row: PaperRow, url: str) -> str:
    """The paper as a BibTeX entry. `url` is its page here."""
    facts: list[tuple[str, str]] = [("title", _bibtex_title(row.title))]
    if row.authors:
        names = [_bibtex_name(name) for name in row.authors]
        cut = (row.author_count or 0) > len(names)
        facts.append(("author", " and ".join([*names, *(["others"] if cut else [])])))
    if row.published_on or row.listed_on:
        facts.append(("year", str((row.published_on or row.listed_on or dt.date.min).year)))
    if row.published_on:
        facts.append(("month", f"{row.published_on:%b}".lower()))
    if row.journal_ref:
        facts.append(("journal", _escaped(row.journal_ref)))
    if row.venue:
        facts.append(("booktitle", _escaped(row.venue)))
    if row.doi:
        facts.append(("doi", _verbatim(row.doi)))
    if row.arxiv_id:
        facts += [("eprint", row.arxiv_id), ("archiveprefix", "arXiv")]
        if row.primary_category:
            facts.append(("primaryclass", row.primary_category))
    facts.append(("url", _verbatim(source_address(row) or url)))
    kind = "article" if row.journal_ref else "inproceedings" if row.venue else "misc"
    lines = [f"  {name} = {value if name == 'month' else '{' + value + '}'}," for name, value in facts]
    return "\n".join([f"@{kind}{{{_citation_key(row)},", *lines, "}"]) + "\n"


def ris(row: PaperRow, url: str) -> str:
    """The paper in RIS, lines ended by CR LF as the format asks."""
    lines = [("TY", "JOUR" if row.journal_ref else "CPAPER" if row.venue else "UNPB"), ("TI", _line(plain_text(row.title)))]
    for name in row.authors:
        parts = split_name(name)
        lines.append(("AU", _line(", ".join(parts) if parts else name)))
    day = row.published_on or row.listed_on
    if day:
        lines += [("PY", f"{day.year:04}"), ("DA", f"{day:%Y/%m/%d}")]
    lines += [("T2", _line(row.journal_ref or row.venue))] if row.journal_ref or row.venue else []
    lines += [("AB", _line(plain_text(row.abstract)))] if row.abstract else []
    lines += [("KW", _line(word)) for word in dict.fromkeys([*row.categories, *row.tags])]
    lines += [("DO", row.doi)] if row.doi else []
    lines += [("AN", f"arXiv:{row.arxiv_id}")] if row.arxiv_id else []
    lines += [("UR", source_address(row) or url), ("L2", url)]
    return "".join(f"{tag}  - {value}\r\n" for tag, value in lines) + "ER  - \r\n"


def csl(row: PaperRow, url: str) -> dict[str, Any]:
    """The paper as a CSL-JSON item."""
    item: dict[str, Any] = {
        "id": row.public_id, "type": "article-journal" if row.journal_ref else "paper-conference" if row.venue else "article",
        "title": plain_text(row.title), "author": [_csl_name(name) for name in row.authors], "URL": source_address(row) or url,
    }
    day = row.published_on or row.listed_on
    if day:
        item["issued"] = {"date-parts": [[day.year, day.month, day.day]]}
    if row.abstract:
        item["abstract"] = plain_text(row.abstract)
    if row.doi:
        item["DOI"] = row.doi
    if row.journal_ref or row.venue:
        item["container-title"] = row.journal_ref or row.venue
    if row.arxiv_id:
        item |= {"number": f"arXiv:{row.arxiv_id}", "archive": "arXiv", "archive_location": row.arxiv_id}
    if row.categories or row.tags:
        item["keyword"] = ", ".join(dict.fromkeys([*row.categories, *row.tags]))
    return item


def meta_tags(row: PaperRow, url: str) -> list[tuple[str, str]]:
    """Name and content of the `citation_*` tags."""
    day = row.published_on or row.listed_on
    tags = [("citation_title", plain_text(row.title)), *(("citation_author", name) for name in row.authors[:200])]
    tags += [("citation_publication_date", f"{day:%Y/%m/%d}")] if day else []
    tags += [("citation_journal_title", row.journal_ref)] if row.journal_ref else []
    tags += [("citation_conference_title", row.venue)] if row.venue else []
    tags += [("citation_doi", row.doi)] if row.doi else []
    if row.arxiv_id:
        tags += [("citation_arxiv_id", row.arxiv_id), ("citation_pdf_url", f"https://arxiv.org/pdf/{row.arxiv_id}")]
    tags += [("citation_keywords", word) for word in dict.fromkeys([*row.categories, *row.tags])]
    return [*tags, ("citation_abstract_html_url", url)]


def source_address(row: PaperRow) -> str | None:
    """Where the paper itself can be read."""
    if row.arxiv_id:
        return f"https://arxiv.org/abs/{row.arxiv_id}"
    return f"https://doi.org/{row.doi}" if row.doi else None


def _csl_name(name: str) -> dict[str, str]:
    parts = split_name(name)
    return {"family": parts[0], "given": parts[1]} if parts else {"literal": name}


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def _escaped(text: str) -> str:
    return "".join(_BIBTEX.get(c, c) for c in _line(text))


def _verbatim(address: str) -> str:
    """DOIs and addresses are taken as they are; only what would end the field is encoded."""
    return _line(address).replace("{", "%7B").replace("}", "%7D").replace("\\", "%5C")


def _bibtex_title(title: str) -> str:
    """Formulas stay formulas; words with capitals inside are kept from being lowered."""
    return "".join(f"${piece.source}$" if isinstance(piece, Maths) and _is_balanced(piece.source) else
                   " ".join(_guarded(word) for word in re.split(" ", _escaped_keeping(piece))) for piece in pieces(title))


def _escaped_keeping(piece: str | Maths) -> str:
    """As `_escaped`, but blanks at the ends, which part text from formulas, stay."""
    text = text_to_plain(piece) if isinstance(piece, str) else f"${piece.source}$"
    return "".join(_BIBTEX.get(c, c) for c in re.sub(r"\s+", " ", text))


def _guarded(word: str) -> str:
    return f"{{{word}}}" if re.search(r"[^\W_].*[A-Z]|\d.*[A-Z]|^[A-Z]+$", word) and "\\" not in word and len(word) > 1 else word


def _bibtex_name(name: str) -> str:
    parts = split_name(name)
    if parts is None:
        return f"{{{_escaped(name)}}}"
    family, given = (re.sub(r"\band\b", "{and}", _escaped(part)) for part in parts)
    return f"{family}, {given}"


def _is_balanced(source: str) -> bool:
    depth = 0
    for mark in re.findall(r"\\.|[{}$]", source, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(mark, 0)
        if depth < 0 or mark == "$":
            return False
    return depth == 0 and not source.endswith("\\")


def _citation_key(row: PaperRow) -> str:
    """Family name, year and first word of the title, in ASCII."""
    parts = split_name(row.authors[0]) if row.authors else None
    day = row.published_on or row.listed_on
    word = next((w for w in re.findall(r"[A-Za-z]{4,}", plain_text(row.title))), "")
    key = f"{parts[0] if parts else ''}{day.year if day else ''}{word}"
    key = unicodedata.normalize("NFKD", key).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]", "", key) or "paper"
