"""What one source says of one paper: the only thing that adapters hand on."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import operator
from dataclasses import dataclass
from typing import Any, Literal, get_args

Source = Literal["toml", "arxiv", "oai", "kaggle", "pwc", "hf", "manual", "bibtex", "page"]
"""Sources, most trusted first: the order of field precedence. `toml` is `papers/*/paper.toml`, `manual` is typed by a person."""

SOURCES: tuple[Source, ...] = get_args(Source)
PRECEDENCE: dict[str, int] = {source: i for i, source in enumerate(SOURCES)}

LinkKind = Literal["code", "model", "dataset", "demo", "project", "pdf", "video"]


@dataclass(frozen=True, slots=True)
class Link:
    """A typed link; `official` is None where the source does not say whether the authors made it."""

    kind: LinkKind
    url: str
    title: str = ""
    official: bool | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a paper, as far as the source tells."""

    number: int
    date: dt.date | None = None
    title: str = ""
    abstract: str = ""


@dataclass(frozen=True, slots=True)
class Signal:
    """A count made elsewhere, such as another site's up-votes. Never one of our votes."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class Result:
    """A row of a published leaderboard: what a paper reports, never what was measured here."""

    task: str
    dataset: str
    metric: str
    model: str
    value: str


@dataclass(frozen=True, slots=True)
class Record:
    """Everything one source says of one paper, cleaned: no control characters, no lone surrogates, single spaces.

    Attributes:
        source, source_key: together the identity of the row in its source; stable between fetches.
        arxiv_id: normalised, without version. `doi`: lower case, without prefix; never an arXiv DOI.
        alias: the source's own name of the paper where several of its rows share one, such as `pwc:some-slug`.
        authors: names in reading order. With names, `author_count` None means that the list is known to be cut.
        published: day of the first version. `around`: where only its month or year is told, the first day of that.
        `listed`: day it appeared on a list. `updated`: day of the newest version.
        revised: when the source last touched its record. `fetched`: when we asked. Both only order rows of one source_key.
        deleted: the source has withdrawn the record; such a record may lack a title.
        payload: the source's own bytes for this record; `payload_hash`: their SHA-256.
        resume_at: byte offset behind this record in the unpacked file, where the source can be resumed.
        ties, apart: what an editor has said of the record, no part of it: records with a common tie are the same paper, one that
            stands apart is none that its title or ids point to.
        warnings: what was wrong with the input and mended or left out.
    """

    source: Source
    source_key: str
    title: str = ""
    arxiv_id: str | None = None
    doi: str | None = None
    slug: str | None = None
    alias: str | None = None
    abstract: str = ""
    authors: tuple[str, ...] = ()
    author_count: int | None = None
    published: dt.date | None = None
    around: dt.date | None = None
    updated: dt.date | None = None
    listed: dt.date | None = None
    categories: tuple[str, ...] = ()
    primary_category: str | None = None
    licence: str | None = None
    comment: str | None = None
    journal_ref: str | None = None
    venue: str | None = None
    plain_summary: str | None = None
    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    versions: tuple[Version, ...] = ()
    links: tuple[Link, ...] = ()
    signals: tuple[Signal, ...] = ()
    results: tuple[Result, ...] = ()
    deleted: bool = False
    revised: dt.date | None = None
    fetched: dt.datetime | None = None
    warnings: tuple[str, ...] = ()
    payload: bytes = b""
    payload_hash: str = ""
    resume_at: int | None = None
    ties: tuple[str, ...] = ()
    apart: bool = False

    @property
    def abstract_source(self) -> Source | None:
        """Where the abstract is from; None without an abstract."""
        return self.source if self.abstract else None

    @property
    def key(self) -> tuple[str, str]:
        """`(source, source_key)`."""
        return self.source, self.source_key

    @property
    def version(self) -> int:
        """The newest version number the record speaks of; 0 when it names none."""
        return max((v.number for v in self.versions), default=0)


_NESTED: dict[str, type] = {"versions": Version, "links": Link, "signals": Signal, "results": Result}
_FIELDS = tuple(field for field in dataclasses.fields(Record) if field.name not in ("payload", "resume_at", "ties", "apart"))
_KEPT = tuple(field.name for field in _FIELDS)
_DEFAULTS = tuple(field.default for field in _FIELDS)
_values = operator.attrgetter(*_KEPT)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=lambda day: day.isoformat()).encode
_DATES = {"published", "around", "updated", "listed", "revised"}


def to_json(record: Record) -> str:
    """A record as one line of JSON, without its payload: what a store keeps to merge again later.

    >>> from_json(to_json(Record("hf", "2201.12909", "A title", published=dt.date(2022, 1, 30)))).published
    datetime.date(2022, 1, 30)
    """
    facts: dict[str, Any] = {}
    for name, default, value in zip(_KEPT, _DEFAULTS, _values(record), strict=True):
        if value is default or value == default:
            continue
        if name in _NESTED:
            value = [{k: v for k, v in dataclasses.asdict(item).items() if v not in (None, "")} for item in value]
        facts[name] = value
    return _encode(facts)


def from_json(text: str) -> Record:
    """The record that `to_json` wrote; its payload is empty, its payload_hash is kept."""
    facts: dict[str, Any] = json.loads(text)
    for name, value in facts.items():
        if name in _NESTED:
            facts[name] = tuple(_nested(_NESTED[name], item) for item in value)
        elif name in _DATES:
            facts[name] = dt.date.fromisoformat(value)
        elif name == "fetched":
            facts[name] = dt.datetime.fromisoformat(value)
        elif isinstance(value, list):
            facts[name] = tuple(value)
    return Record(**facts)


def _nested(kind: type, item: dict[str, Any]) -> Any:
    if "date" in item:
        item = {**item, "date": dt.date.fromisoformat(item["date"])}
    return kind(**item)
