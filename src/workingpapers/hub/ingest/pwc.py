"""The five dumps that Papers with Code published until July 2025 (CC BY-SA 4.0: name the source where you show them).

Papers with abstracts, paper-code links, evaluation tables, methods, data sets: each a JSON array. Which one it is shows
in the fields of its objects. Rows of one paper share the `alias` `pwc:SLUG`, its address on the closed site.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from . import identity
from .problems import Problems
from .record import Record, Result
from .streams import iter_json_items, parse_json
from .text import MAX_ABSTRACT, MAX_TITLE, Draft, unique, unlatex

ATTRIBUTION = "Papers with Code, CC BY-SA 4.0"
MAX_TASK = 16 << 20  # bytes of one task with all its tables; the other files have small objects

Row = dict[str, Any]


def iter_pwc(stream: BinaryIO, problems: Problems, *, fetched: dt.datetime | None = None) -> Iterator[Record]:
    """Records of any of the five dumps. Methods and data sets that name no paper are passed over."""
    for where, raw in iter_json_items(stream, problems, MAX_TASK):
        try:
            row, warnings = parse_json(raw)
        except ValueError as error:
            problems.add(where, f"no JSON ({str(error)[:80]})")
            continue
        read = _reader(row)
        if read is None:
            problems.add(where, "fields of none of the five dumps")
            continue
        for draft, record in read(row, raw, where, problems):
            yield replace(record, warnings=tuple(warnings + draft.warnings), fetched=fetched)


Read = Callable[[Row, bytes, str, Problems], Iterator[tuple[Draft, Record]]]


def _reader(row: Any) -> Read | None:
    if not isinstance(row, dict):
        return None
    if "repo_url" in row:
        return _code
    if "task" in row and ("datasets" in row or "subtasks" in row):
        return _tables
    if "abstract" in row or "url_abs" in row:
        return _paper
    if "paper" in row:
        return _dataset if "homepage" in row or "modalities" in row or "data_loaders" in row else _method
    return None


_ADDRESS = re.compile(r"https?://(?:www\.)?paperswithcode\.com/paper/([a-z0-9][a-z0-9_-]{0,300})/?", re.IGNORECASE)


def _slug(address: Any) -> str | None:
    """The name of a paper on the closed site."""
    match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    return match[1].lower() if match else None


def _frame(part: str, detail: str, title: str, address: Any, arxiv: Any, payload: bytes) -> Record | None:
    """A record with what every row has: which paper it speaks of. None when it names none."""
    found = None
    for text in (arxiv, address):
        found = found or (identity.arxiv_id(text) if isinstance(text, str) else None)
    if not title:
        return None
    name = _slug(address)
    owner = name or (found.id if found else identity.title_key(title))
    key = f"{part}:{owner}" + (f":{hashlib.sha256(detail.encode()).hexdigest()[:16]}" if detail else "")
    return Record(
        source="pwc",
        source_key=key,
        title=title,
        arxiv_id=found.id if found else None,
        alias=f"pwc:{name}" if name else None,
        payload=payload,
        payload_hash=hashlib.sha256(payload).hexdigest(),
    )


def _paper(row: Row, raw: bytes, where: str, problems: Problems) -> Iterator[tuple[Draft, Record]]:
    draft = Draft()
    title = draft.text(row.get("title"), "title", MAX_TITLE)
    frame = _frame("paper", "", title, row.get("paper_url"), row.get("arxiv_id") or row.get("url_abs"), raw)
    if frame is None:
        problems.add(where, "no title")
        return
    authors = tuple(unlatex(name) for name in draft.texts(row.get("authors"), "authors"))
    methods = (draft.text(draft.mapping(m, "method").get("name"), "method", 200) for m in draft.items(row.get("methods"), "methods"))
    yield draft, replace(
        frame,
        abstract=draft.text(row.get("abstract"), "abstract", MAX_ABSTRACT),
        authors=authors,
        author_count=len(authors) or None,
        published=draft.day(row.get("date"), "date"),
        venue=draft.optional(row.get("conference") or row.get("proceeding"), "conference"),
        tasks=unique(draft.texts(row.get("tasks"), "tasks")),
        methods=unique(filter(None, methods)),
        links=draft.link("pdf", row.get("url_pdf")),
    )


def _code(row: Row, raw: bytes, where: str, problems: Problems) -> Iterator[tuple[Draft, Record]]:
    draft = Draft()
    title = draft.text(row.get("paper_title"), "paper_title", MAX_TITLE)
    official = row.get("is_official")
    links = draft.link("code", row.get("repo_url"), official=official if isinstance(official, bool) else None)
    arxiv = row.get("paper_arxiv_id") or row.get("paper_url_abs")
    frame = _frame("code", links[0].url if links else "", title, row.get("paper_url"), arxiv, raw)
    if frame is None or not links:
        problems.add(where, "no paper title" if frame is None else "no address of a repository")
        return
    yield draft, replace(frame, links=links)


def _named(part: str, row: Row, raw: bytes) -> tuple[Draft, Record | None, str]:
    """A method or data set, seen from the paper that brought it in."""
    draft = Draft()
    name = draft.text(row.get("name"), "name", 200)
    paper = draft.mapping(row.get("paper"), "paper")
    title = draft.text(paper.get("title"), "paper title", MAX_TITLE)
    frame = _frame(part, name, title, paper.get("url"), row.get("source_url"), raw)
    return draft, frame if name else None, name


def _method(row: Row, raw: bytes, where: str, problems: Problems) -> Iterator[tuple[Draft, Record]]:
    draft, frame, name = _named("method", row, raw)
    if frame is not None:
        yield draft, replace(frame, methods=(name,), links=draft.link("code", row.get("code_snippet_url")))
    elif row.get("paper"):
        problems.add(where, "a method without a name or a paper title")


def _dataset(row: Row, raw: bytes, where: str, problems: Problems) -> Iterator[tuple[Draft, Record]]:
    draft, frame, name = _named("dataset", row, raw)
    if frame is not None:
        yield draft, replace(frame, links=draft.link("dataset", row.get("homepage"), title=name))
    elif row.get("paper"):
        problems.add(where, "a data set without a name or a paper title")


def _tables(row: Row, raw: bytes, where: str, problems: Problems) -> Iterator[tuple[Draft, Record]]:
    """One record a row of each table: task, data set, one result a metric. Tasks and data sets nest; we walk them without recursion."""
    tasks: list[Any] = [row]
    while tasks:
        outer = Draft()
        task = outer.mapping(tasks.pop(), "task")
        name = outer.text(task.get("task"), "task", 200)
        tasks.extend(outer.items(task.get("subtasks"), "subtasks"))
        tables = [(name, table) for table in outer.items(task.get("datasets"), "datasets")]
        while tables:
            name, item = tables.pop()
            table = outer.mapping(item, "dataset")
            dataset = outer.text(table.get("dataset"), "dataset", 200)
            tables.extend((name, inner) for inner in outer.items(table.get("subdatasets"), "subdatasets"))
            rows = outer.items(outer.mapping(table.get("sota"), "sota").get("rows"), "rows")
            for number, entry in enumerate(rows, 1):
                place = f"{where}, {name} on {dataset}, row {number}"
                if not name or not dataset:
                    problems.add(place, "the task or data set has no name")
                    continue
                yield from _table_row(entry, name, dataset, place, problems)


def _table_row(entry: Any, task: str, dataset: str, where: str, problems: Problems) -> Iterator[tuple[Draft, Record]]:
    draft = Draft()
    row = draft.mapping(entry, "row")
    model = draft.text(row.get("model_name"), "model_name", 300)
    title = draft.text(row.get("paper_title"), "paper_title", MAX_TITLE)
    payload = json.dumps({"task": task, "dataset": dataset, "row": row}, sort_keys=True, separators=(",", ":")).encode()
    frame = _frame("table", f"{task}|{dataset}|{model}", title, row.get("paper_url"), row.get("paper_url"), payload)
    if frame is None:
        problems.add(where, "no paper title")
        return
    results = []
    for metric, value in list(draft.mapping(row.get("metrics"), "metrics").items())[:100]:
        text = str(value) if isinstance(value, int | float) else draft.text(value, "metric", 100)
        if text:
            results.append(Result(task, dataset, draft.text(metric, "metric", 100), model, text))
    addresses = [draft.mapping(item, "code link").get("url") for item in draft.items(row.get("code_links"), "code_links")]
    code = [link for address in addresses for link in draft.link("code", address)]
    yield draft, replace(frame, published=draft.day(row.get("paper_date"), "paper_date"), results=tuple(results), links=unique(code))
