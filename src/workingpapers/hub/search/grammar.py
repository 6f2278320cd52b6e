"""What a reader may type: one grammar for the page, the API, feeds and subscriptions.

    graph coarsening                      words: ranked by meaning and by words
    "spectral clustering" -images         a phrase that must stand there, a word that must not
    lasso OR ridge                        one of the two must stand there
    title:attention author:"J. Smith"     in one field
    cat:cs.LG after:2025-03 before:2026   category (and what lies below it), days
    has:claim has:code verdict:fails slug:mini_gp id:2201.12909

`OR` joins its two neighbours; everything else must hold together. `NOT x` is `-x`; `AND` and brackets change nothing.
A field that is not known is taken as words (`BERT: pre-training` is a title, not a mistake).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

MAX_LENGTH = 4_000
MAX_PARTS = 64
MAX_WORDS = 64
"""So many different words rank: a pasted abstract is found by its beginning, and by its meaning as a whole."""

TextField = Literal["any", "title", "abstract", "author"]
TEXT_FIELDS: dict[str, TextField] = {"title": "title", "ti": "title", "abstract": "abstract", "abs": "abstract", "author": "author",
                                     "au": "author"}
FACT_FIELDS = ("cat", "id", "after", "before", "has", "verdict", "slug")
HAS = ("claim", "code", "model", "dataset", "demo", "project", "video")
VERDICTS = ("holds", "partly", "fails", "inconclusive", "untested")


class QueryError(ValueError):
    """The question cannot be read; the text says what would help."""


@dataclass(frozen=True, slots=True)
class Text:
    """Words that stand side by side in a field, in this order; one word is a phrase of one."""

    words: tuple[str, ...]
    field: TextField = "any"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something other than words: a category, an id, a day, ..."""

    field: str
    value: str
    day: dt.date | None = None


Part = Text | Fact


@dataclass(frozen=True, slots=True)
class Query:
    """A question as it was understood.

    Attributes:
        text: what was typed, cleaned.
        words: the first 64 words that rank, in their order: free ones, and those joined by OR.
        phrase_words: words of quoted phrases: they filter, and give meaning to the question, but no rank by words.
        must: each group needs one of its parts. `never`: none of these.
        prose: free words and phrases as they were typed, punctuation and all: what is embedded.
        bare: the question is made of free words alone, so it may be a title, an id or an address.
    """

    text: str
    words: tuple[str, ...] = ()
    must: tuple[tuple[Part, ...], ...] = ()
    never: tuple[Part, ...] = ()
    prose: str = ""
    bare: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked."""
        return not (self.words or self.must or self.never)


_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]+")
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"'})
_TOKEN = re.compile(
    r'(?P<minus>-(?=[^\s-]))?(?:(?P<field>[A-Za-z]{2,8}):(?!//|\s))?(?:"(?P<quoted>[^"]*)"?|(?P<word>[^\s"]+))|(?P<stray>\S)')
_WORD = re.compile(r"\w+")


def words_of(text: str) -> tuple[str, ...]:
    """Runs of letters and digits: what an index of words sees.

    >>> words_of("C++ and state-of-the-art x_1 🙂"), words_of("...")
    (('C', 'and', 'state', 'of', 'the', 'art', 'x', '1'), ())
    """
    return tuple(found for run in _WORD.findall(text) for found in run.split("_") if any(map(str.isalnum, found)))


def parse(text: str) -> Query:
    """Read a question. Takes any string.

    Raises:
        QueryError: for more than 4,000 characters or 64 conditions, and for a field whose value cannot be one.

    >>> query = parse('graphs "minimum cut" -title:random cat:cs.DS after:2025')
    >>> query.words, query.must[0], query.never
    (('graphs',), (Text(words=('minimum', 'cut'), field='any'),), (Text(words=('random',), field='title'),))
    >>> parse("lasso OR ridge").must
    ((Text(words=('lasso',), field='any'), Text(words=('ridge',), field='any')),)
    >>> parse("after:yesterday")
    Traceback (most recent call last):
    ...
    workingpapers.hub.search.grammar.QueryError: after: a day is written as 2025-12-26, 2025-12 or 2025, not yesterday
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(f"the question has {len(text):,} characters, at most {MAX_LENGTH:,} are read")
    clean = " ".join(_UNWANTED.sub(" ", text).translate(_QUOTES).split())
    reader = _Reader()
    for match in _TOKEN.finditer(clean):
        reader.take(match)
    return reader.query(clean)


class _Reader:
    """Takes tokens one by one; knows whether the one before was OR, AND or NOT."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.prose: list[str] = []
        self.groups: list[list[Part]] = []  # every positive part, in its order; OR puts one into the group before
        self.filters: set[int] = set()  # numbers of the groups that filter
        self.never: list[Part] = []
        self.joins = False
        self.negates = False

    def take(self, match: re.Match[str]) -> None:
        raw = match[0]
        if raw == "OR":
            self.joins = bool(self.groups)
            return
        if raw in ("NOT", "AND"):
            self.negates = raw == "NOT"
            return
        never = self.negates or match["minus"] is not None
        field, quoted = (match["field"] or "").lower(), match["quoted"]
        value = quoted if quoted is not None else match["word"] or ""
        if field and field not in TEXT_FIELDS and field not in FACT_FIELDS:
            value, field = raw.lstrip("-") if quoted is None else f"{match['field']} {quoted}", ""
        for part, ranks in self._parts(field, value, quoted is not None):
            self._add(part, never, ranks)
        if not field and not never:
            self.prose.append(value)
        self.joins = self.negates = False

    def _parts(self, field: str, value: str, quoted: bool) -> Iterator[tuple[Part, bool]]:
        """The parts of a token, and whether each is a free word, which ranks and does not filter."""
        if field in FACT_FIELDS:
            if value.strip(" ()"):
                yield fact(field, value.strip(" ()")), False
            return
        words = words_of(value)
        if field or quoted:
            if words:
                yield Text(words, TEXT_FIELDS.get(field, "any")), False
        elif len(words) > 1:  # such as state-of-the-art: each of its words ranks
            for word in words:
                yield Text((word,)), True
        elif words:
            yield Text(words), True

    def _add(self, part: Part, never: bool, ranks: bool) -> None:
        if never:
            self.never.append(part)
            return
        if ranks:
            self.words.extend(part.words if isinstance(part, Text) else ())
        if self.joins:
            self.groups[-1].append(part)
            self.filters.add(len(self.groups) - 1)
            return
        self.groups.append([part])
        if not ranks:
            self.filters.add(len(self.groups) - 1)

    def query(self, clean: str) -> Query:
        must = tuple(tuple(dict.fromkeys(self.groups[i])) for i in sorted(self.filters))
        if sum(map(len, must)) + len(self.never) > MAX_PARTS:
            raise QueryError(f"the question has {sum(map(len, must)) + len(self.never)} conditions, at most {MAX_PARTS} are read")
        words = tuple(dict.fromkeys(self.words))[:MAX_WORDS]
        return Query(clean, words, must, tuple(dict.fromkeys(self.never)), " ".join(self.prose), not must and not self.never)


def fact(field: str, value: str) -> Fact:
    """A condition on a field that is no text.

    Raises:
        QueryError: when the value cannot be one of that field.
    """
    if field in ("after", "before"):
        return Fact(field, value, _day(field, value))
    if field == "has" and value.lower().rstrip("s") not in HAS:
        raise QueryError(f"has: one of {', '.join(HAS)}, not {value[:40]}")
    if field == "verdict" and value.lower() not in VERDICTS:
        raise QueryError(f"verdict: one of {', '.join(VERDICTS)}, not {value[:40]}")
    if field == "cat" and not re.fullmatch(r"[A-Za-z-]{1,20}(\.[A-Za-z-]{1,20})?\.?\*?", value):
        raise QueryError(f"cat: a category is written as cs.LG or cs, not {value[:40]}")
    if field == "has":
        return Fact(field, value.lower().rstrip("s"))
    return Fact(field, value.lower() if field == "verdict" else value)


def _day(field: str, value: str) -> dt.date:
    match = re.fullmatch(r"([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2}))?)?", value)
    try:
        if match is None:
            raise ValueError
        return dt.date(int(match[1]), int(match[2] or 1), int(match[3] or 1))
    except ValueError:
        raise QueryError(f"{field}: a day is written as 2025-12-26, 2025-12 or 2025, not {value[:40]}") from None
