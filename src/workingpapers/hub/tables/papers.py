"""Papers: the merged row, and what each source says of it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from workingpapers.lab.store import Base, now

from .types import Halved, Hashed


class PaperRow(Base):
    """One paper, merged from its sources (`ingest.merge`); counters and the trend are kept by whoever writes the events.

    `public_id` is the arXiv id, or `doi:...`, or `wp:...`; it may change once, when a better id becomes known: the old one
    then stands in `paper_aliases`. `facts_hash` changes when, and only when, a merged field does. `search_rev` counts those
    changes; indexes compare it. `trend_log` is NULL until the first event (see `hub.trending`). `published_key` is
    `published_on` as text, empty where unknown: databases sort NULL differently. `title_key` is `ingest.identity.title_key`,
    kept as a hash. Other keys are cut by `shelf.keys.short`, since PostgreSQL indexes at most 2.7 kB.
    """

    __tablename__ = "papers"
    __table_args__ = (
        Index("ix_papers_feed", "listed_on", "published_key", "public_id"),
        Index("ix_papers_first_author", "first_author_key", "arxiv_id"),
        Index("ix_papers_trend", "trend_log", "listed_on", "public_id"),
        Index("ix_papers_published", "published_on", "public_id"),
        Index("ix_papers_search_rev", "id", "search_rev"),
        Index("ix_papers_hidden", "id", sqlite_where=text("hidden = 1"), postgresql_where=text("hidden")),
        Index("ix_papers_created", "created_at"),
        Index("ix_papers_doi", "doi", sqlite_where=text("doi IS NOT NULL"), postgresql_where=text("doi IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(200), unique=True)
    slug: Mapped[str | None] = mapped_column(String(80), unique=True)
    arxiv_id: Mapped[str | None] = mapped_column(String(40), unique=True)
    doi: Mapped[str | None] = mapped_column(String(500))
    title: Mapped[str] = mapped_column(Text)
    title_key: Mapped[str] = mapped_column(Hashed, index=True)
    abstract: Mapped[str] = mapped_column(Text, default="")
    abstract_source: Mapped[str | None] = mapped_column(String(10))
    authors: Mapped[list[Any]] = mapped_column(default=list)
    author_count: Mapped[int | None]
    first_author_key: Mapped[str] = mapped_column(String(200), default="")
    published_on: Mapped[dt.date | None]
    published_key: Mapped[str] = mapped_column(String(10), default="")
    updated_on: Mapped[dt.date | None]
    listed_on: Mapped[dt.date | None]
    categories: Mapped[list[Any]] = mapped_column(default=list)
    primary_category: Mapped[str | None] = mapped_column(String(40))
    licence: Mapped[str | None] = mapped_column(Text)
    comment: Mapped[str | None] = mapped_column(Text)
    journal_ref: Mapped[str | None] = mapped_column(Text)
    venue: Mapped[str | None] = mapped_column(Text)
    plain_summary: Mapped[str | None] = mapped_column(Text)
    tasks: Mapped[list[Any]] = mapped_column(default=list)
    methods: Mapped[list[Any]] = mapped_column(default=list)
    tags: Mapped[list[Any]] = mapped_column(default=list)
    submitted_by: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    hidden: Mapped[bool] = mapped_column(default=False)
    withdrawn: Mapped[bool] = mapped_column(default=False)
    facts_hash: Mapped[str] = mapped_column(String(32), default="")
    search_rev: Mapped[int] = mapped_column(default=1)
    trend_log: Mapped[float | None]
    votes: Mapped[int] = mapped_column(default=0)
    comments: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    changed_at: Mapped[dt.datetime] = mapped_column(default=now)


class PaperAliasRow(Base):
    """A public id that a paper had before, so that old addresses lead on."""

    __tablename__ = "paper_aliases"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(200), unique=True)
    paper_id: Mapped[int] = mapped_column(ForeignKey("papers.id", ondelete="CASCADE"), index=True)


class PaperSourceRow(Base):
    """The newest state of one row of one source. `packed` holds the record and the source's own bytes (`shelf.packing`).

    `paper_id` is NULL while the record makes no paper: it has no title, or an editor must say which paper it is.
    """

    __tablename__ = "paper_sources"
    __table_args__ = (UniqueConstraint("source", "source_key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    paper_id: Mapped[int | None] = mapped_column(ForeignKey("papers.id", ondelete="SET NULL"), index=True)
    source: Mapped[str] = mapped_column(String(10))
    source_key: Mapped[str] = mapped_column(String(500))
    fetched_at: Mapped[dt.datetime] = mapped_column(default=now)
    packed: Mapped[bytes] = mapped_column(LargeBinary)


class SourceKeyRow(Base):
    """What another record must share with this one to be the same paper: `hash64` of each of `ingest.record_keys`.

    Two keys of one hash only make records be compared that have nothing in common.
    """

    __tablename__ = "source_keys"
    __table_args__ = {"sqlite_with_rowid": False}

    key: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    source_id: Mapped[int] = mapped_column(ForeignKey("paper_sources.id", ondelete="CASCADE"), primary_key=True, index=True)


class AnswerRow(Base):
    """What an editor has said of a record (`shelf.settling`): `tie`, one paper with every record of this value, or `apart`, a paper
    of its own. `value` is the key of the doubt that was answered.
    """

    __tablename__ = "source_answers"
    __table_args__ = (UniqueConstraint("source_id", "kind", "value"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("paper_sources.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(8))
    value: Mapped[str] = mapped_column(String(64), index=True)


class DoubtRow(Base):
    """A question for an editor: a record that fits several papers, or two papers that look alike. `body` names them.

    `key` is a hash of the record's key or of the pair; `first` and `second` are the public ids of a pair.
    """

    __tablename__ = "doubts"
    __table_args__ = (UniqueConstraint("kind", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    key: Mapped[str] = mapped_column(String(64))
    first: Mapped[str | None] = mapped_column(String(200), index=True)
    second: Mapped[str | None] = mapped_column(String(200), index=True)
    title: Mapped[str] = mapped_column(Text)
    body: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(10), default="open", index=True)
    settled_by: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    created_at: Mapped[dt.datetime] = mapped_column(default=now)


class PaperVersionRow(Base):
    """One version of a paper."""

    __tablename__ = "paper_versions"
    __table_args__ = (UniqueConstraint("paper_id", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    paper_id: Mapped[int] = mapped_column(ForeignKey("papers.id", ondelete="CASCADE"))
    version: Mapped[int]
    date: Mapped[dt.date | None]
    source: Mapped[str] = mapped_column(String(10))
    title: Mapped[str] = mapped_column(Text, default="")
    abstract: Mapped[str] = mapped_column(Text, default="")


class PaperLinkRow(Base):
    """A typed link. `added_by` is a person, or NULL where `source` said it."""

    __tablename__ = "paper_links"
    __table_args__ = (UniqueConstraint("paper_id", "kind", "url"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    paper_id: Mapped[int] = mapped_column(ForeignKey("papers.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(10))
    url: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text, default="")
    official: Mapped[bool | None]
    source: Mapped[str | None] = mapped_column(String(10))
    added_by: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))


class PaperSignalRow(Base):
    """A count made elsewhere, such as another site's up-votes: shown with its source, never one of our votes."""

    __tablename__ = "paper_signals"
    __table_args__ = (UniqueConstraint("paper_id", "source", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    paper_id: Mapped[int] = mapped_column(ForeignKey("papers.id", ondelete="CASCADE"))
    source: Mapped[str] = mapped_column(String(10))
    name: Mapped[str] = mapped_column(String(40))
    value: Mapped[int]


class PaperCategoryRow(Base):
    """A category of a paper, for filters."""

    __tablename__ = "paper_categories"
    __table_args__ = {"sqlite_with_rowid": False}

    paper_id: Mapped[int] = mapped_column(ForeignKey("papers.id", ondelete="CASCADE"), primary_key=True)
    category: Mapped[str] = mapped_column(String(40), primary_key=True, index=True)


class PaperVectorRow(Base):
    """The vector of a paper's text under one model: float32, little endian, `dim` numbers, stored in half the room. `text_hash` is of
    the text it was made from, `search_rev` that of the paper when the two were last compared.

    A new vector is a new row with a higher `id`, never used before: what is made from this table goes on where it stopped.
    """

    __tablename__ = "paper_vectors"
    __table_args__ = (UniqueConstraint("paper_id", "model_id"), Index("ix_paper_vectors_order", "model_id", "id"),
                      {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    paper_id: Mapped[int] = mapped_column(ForeignKey("papers.id", ondelete="CASCADE"))
    model_id: Mapped[str] = mapped_column(String(80))
    dim: Mapped[int]
    search_rev: Mapped[int] = mapped_column(default=0)
    text_hash: Mapped[str] = mapped_column(String(64))
    vector: Mapped[bytes] = mapped_column(Halved)


class ResultRow(Base):
    """A row of a leaderboard: what a paper reports. A measured value is never stored here: it is read from the run."""

    __tablename__ = "leaderboard_rows"
    __table_args__ = (Index("ix_leaderboard_rows_board", "task", "dataset", "metric"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    paper_id: Mapped[int | None] = mapped_column(ForeignKey("papers.id", ondelete="CASCADE"), index=True)
    task: Mapped[str] = mapped_column(String(300))
    dataset: Mapped[str] = mapped_column(String(300))
    metric: Mapped[str] = mapped_column(String(300))
    model: Mapped[str] = mapped_column(Text)
    value: Mapped[str] = mapped_column(String(100))
    source: Mapped[str] = mapped_column(String(10))


class ImportRow(Base):
    """How far a file was taken in: `offset` bytes of it, unpacked, in the same transaction as its papers.

    `file_key` is a hash of format, path, size and time of change: another file under one name starts anew.
    """

    __tablename__ = "imports"

    id: Mapped[int] = mapped_column(primary_key=True)
    file_key: Mapped[str] = mapped_column(String(64), unique=True)
    format: Mapped[str] = mapped_column(String(10))
    path: Mapped[str] = mapped_column(Text)
    offset: Mapped[int] = mapped_column(BigInteger, default=0)
    counts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    is_done: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    changed_at: Mapped[dt.datetime] = mapped_column(default=now)
