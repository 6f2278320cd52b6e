"""One door to all formats of files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from .atom import iter_atom
from .bibtex import iter_bibtex
from .bundled import iter_bundled
from .hf import iter_hf
from .oai import iter_oai
from .page import iter_page
from .problems import Problems
from .pwc import iter_pwc
from .record import Record
from .snapshot import iter_kaggle, iter_plain
from .streams import open_source

Format = Literal["atom", "oai", "kaggle", "jsonl", "hf", "bibtex", "pwc", "page", "toml"]
FORMATS: tuple[Format, ...] = get_args(Format)


def iter_records(
    format: Format,
    path: Path | str,
    problems: Problems | None = None,
    *,
    saved_on: dt.date | None = None,
    offset: int = 0,
    fetched: dt.datetime | None = None,
    max_bytes: int | None = None,
) -> Iterator[Record]:
    """Records of a file, one at a time in flat memory; gzip is recognised by its content.

    Args:
        format: what the file holds: `atom` (arXiv API), `oai` (OAI-PMH), `kaggle` (snapshot), `jsonl` (plain list), `hf` (Daily
            Papers), `bibtex`, `pwc` (any of its five dumps), `page` (saved as text), `toml` (a folder of `*/paper.toml`).
        problems: collects the records that cannot be read; the others go on.
        saved_on: for `page`: the day it was saved, which gives dates their year.
        offset: for `kaggle` and `jsonl`: the `resume_at` of the last record that was kept.
        fetched: when the source was asked; decides between two states of a row that tell no date themselves.
        max_bytes: refuse more unpacked bytes than this, for uploads.

    Raises:
        ValueError: an unknown format, or an option that it does not have.
        SourceError: the file as a whole cannot be read (further); records before it stay good.
    """
    if format not in FORMATS:
        raise ValueError(f"format: one of {', '.join(FORMATS)}, not {format!r}")
    if saved_on is not None and format != "page":
        raise ValueError(f"saved_on: only for page, not {format}")
    if offset and format not in ("kaggle", "jsonl"):
        raise ValueError(f"offset: only for kaggle and jsonl, not {format}")
    return _iter(format, Path(path), problems or Problems(), saved_on, offset, fetched, max_bytes)


def _iter(
    format: Format,
    path: Path,
    problems: Problems,
    saved_on: dt.date | None,
    offset: int,
    fetched: dt.datetime | None,
    max_bytes: int | None,
) -> Iterator[Record]:
    if format == "toml":
        yield from iter_bundled(path, problems, fetched=fetched)
        return
    with open_source(path, max_bytes) as stream:
        match format:
            case "atom":
                yield from iter_atom(stream, problems, fetched=fetched)
            case "oai":
                yield from iter_oai(stream, problems, fetched=fetched)
            case "kaggle":
                yield from iter_kaggle(stream, problems, offset=offset, fetched=fetched)
            case "jsonl":
                yield from iter_plain(stream, problems, offset=offset, fetched=fetched)
            case "hf":
                yield from iter_hf(stream, problems, fetched=fetched)
            case "bibtex":
                yield from iter_bibtex(stream, problems, fetched=fetched)
            case "pwc":
                yield from iter_pwc(stream, problems, fetched=fetched)
            case "page":
                yield from iter_page(stream, problems, saved_on=saved_on, fetched=fetched)
