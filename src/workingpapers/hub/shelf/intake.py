"""Records into the database, a batch a transaction.

Any order and any mix of sources gives the same papers as `ingest.resolve` of everything at once: for each batch the stored
records that share a key with a new one, directly or through others, are resolved together with it. Cost of a batch: its
records, and the groups of records that they touch; nothing depends on how many papers there are.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import Executable, bindparam, delete, select, text, update
from sqlalchemy.orm import Session

from workingpapers.lab.store import Store, now

from .. import trending
from ..ingest import Paper, Record, newest_rows, resolve, to_json
from ..tables import (
    PaperAliasRow,
    PaperCategoryRow,
    PaperLinkRow,
    PaperRow,
    PaperSignalRow,
    PaperSourceRow,
    PaperVersionRow,
    ResultRow,
    SourceKeyRow,
    TrendEventRow,
)
from . import doubts, moving, rows
from .bulk import among, insert_rows, reserve_ids
from .closure import Key, Stored, chunks, keys_of, keys_of_rows, related, stored
from .collecting import collecting_between
from .keys import short
from .packing import pack

BATCH = 2_000

Watcher = Callable[[Session, Sequence[int], Sequence[int]], None]
WATCHERS: list[Watcher] = []
"""Called in the transaction of each batch with the ids of new or changed papers, and of those that are gone."""


@dataclass
class Counts:
    """What an intake did. `same` records were known already; `merged` papers turned out to be another one."""

    records: int = 0
    new_records: int = 0
    changed_records: int = 0
    same: int = 0
    new: int = 0
    changed: int = 0
    merged: int = 0

    def __iadd__(self, other: Counts) -> Counts:
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))
        return self


@dataclass
class _Old:
    """A row of `papers` before the batch."""

    id: int
    public_id: str
    facts_hash: str
    hidden: bool


@dataclass
class _Plan:
    """Which paper lives in which row."""

    kept: list[tuple[Paper, _Old]] = field(default_factory=list)
    fresh: list[Paper] = field(default_factory=list)
    gone: list[tuple[_Old, Paper | None]] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)


def take_in(store: Store, records: Iterable[Record], *, batch: int = BATCH,
            after_batch: Callable[[Session, Sequence[Record], Counts], None] | None = None) -> Counts:
    """Take records in, `batch` a transaction, in flat memory.

    Args:
        after_batch: called in the transaction of each batch, as to write down how far it is.
    """
    total = Counts()
    with collecting_between() as collect:
        for part in chunks(records, batch):
            with store.writing() as session:
                counts = take_batch(session, part)
                total += counts
                if after_batch is not None:
                    after_batch(session, part, total)
            collect()
    return total


def take_batch(session: Session, records: Sequence[Record]) -> Counts:
    """Take records in, in this transaction."""
    counts = Counts(records=len(records))
    _alone(session)
    incoming = {_row_key(r): r for r in newest_rows(records)}
    texts = {key: to_json(r) for key, r in incoming.items()}
    held = stored(session, incoming)
    fresh: dict[Key, Record] = {}
    for key, record in incoming.items():
        old = held.get(key)
        if old is None:
            fresh[key] = record
            counts.new_records += 1
        elif old.text != texts[key] and newest_rows([old.record, record])[0] == record:
            fresh[key] = old.answered(record)
            counts.changed_records += 1
    counts.same = counts.records - len(fresh)
    if not fresh:
        return counts

    replaced = {key: held[key] for key in fresh if key in held}
    new_keys = {key: keys_of(record) for key, record in fresh.items()}
    touched = {k for keys in new_keys.values() for k in keys} | keys_of_rows(session, (s.id for s in replaced.values()))
    neighbours = [s for s in related(session, touched) if (s.source, s.source_key) not in fresh]
    _resolve(session, counts, fresh, texts, new_keys, replaced, neighbours)
    return counts


def reconsider(session: Session, source_ids: Iterable[int]) -> Counts:
    """Make the papers of these rows of `paper_sources` anew, after an editor has said something about them."""
    counts = Counts()
    _alone(session)
    _resolve(session, counts, {}, {}, {}, {}, related(session, keys_of_rows(session, source_ids)))
    return counts


def _resolve(session: Session, counts: Counts, fresh: dict[Key, Record], texts: dict[Key, str], new_keys: dict[Key, set[int]],
             replaced: dict[Key, Stored], neighbours: list[Stored]) -> None:
    """Resolve new records with the stored ones they may belong to, and write what comes of it."""
    resolution = resolve([*fresh.values(), *(s.record for s in neighbours)])

    sources: dict[Key, Stored] = {(s.source, s.source_key): s for s in (*replaced.values(), *neighbours)}
    plan = _plan(session, resolution.papers, sources)
    changed, gone = _write_papers(session, plan, counts)
    _write_sources(session, fresh, texts, new_keys, replaced, neighbours, plan, resolution.papers)
    _delete(session, gone)
    public_ids = {rows.public_id(p) for p in resolution.papers} | {old.public_id for _, old in plan.kept}
    public_ids |= {old.public_id for old, _ in plan.gone}
    alike = doubts.look_alike(session, resolution.papers)
    doubts.refresh(session, [*(d for d in resolution.doubts if d.kind == "several"), *alike],
                   records=[*fresh, *sources], public_ids=public_ids)
    for watcher in WATCHERS:
        watcher(session, changed, gone)


def _alone(session: Session) -> None:
    """One intake at a time: SQLite's writer is alone anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(7262436)"))


def _row_key(record: Record) -> Key:
    return record.source, short(record.source_key)


def _plan(session: Session, papers: Sequence[Paper], sources: dict[Key, Stored]) -> _Plan:
    """Give each paper the row that had its address, else the oldest row of its records, else a new one."""
    existing = _existing(session, {s.paper_id for s in sources.values() if s.paper_id is not None}, [rows.public_id(p) for p in papers])
    by_public = {old.public_id: old for old in existing.values()}
    homes: dict[int, list[int]] = defaultdict(list)  # row -> numbers of papers that hold its records
    plan, claimed, waiting = _Plan(), set[int](), list[int]()
    for number, paper in enumerate(papers):
        for source, key, _ in paper.sources:
            held = sources.get((source, short(key)))
            if held is not None and held.paper_id is not None:
                homes[held.paper_id].append(number)
        old = by_public.get(rows.public_id(paper))
        if old is None:
            waiting.append(number)
        else:
            claimed.add(old.id)
            plan.kept.append((paper, old))
    rooms: dict[int, list[int]] = defaultdict(list)
    for row_id, numbers in homes.items():
        for number in numbers:
            rooms[number].append(row_id)
    for number in waiting:
        free = sorted(i for i in set(rooms[number]) if i not in claimed and i in existing)
        if free:
            claimed.add(free[0])
            plan.kept.append((papers[number], existing[free[0]]))
        else:
            plan.fresh.append(papers[number])
    plan.gone = [(old, papers[homes[i][0]] if homes[i] else None) for i, old in sorted(existing.items()) if i not in claimed]
    return plan


def _existing(session: Session, ids: set[int], public_ids: Sequence[str]) -> dict[int, _Old]:
    columns = (PaperRow.id, PaperRow.public_id, PaperRow.facts_hash, PaperRow.hidden)
    found: dict[int, _Old] = {}
    for listed in (among(session, PaperRow.id, sorted(ids)), among(session, PaperRow.public_id, public_ids)):
        found |= {row[0]: _Old(*row) for row in session.execute(select(*columns).where(listed)).tuples()}
    return found


def _write_papers(session: Session, plan: _Plan, counts: Counts) -> tuple[list[int], list[int]]:
    """Insert, update and merge rows; (ids of new and changed papers, ids of rows to delete)."""
    values = {id(p): rows.paper_values(p) for p in (*plan.fresh, *(p for p, _ in plan.kept))}
    changed = [(p, old) for p, old in plan.kept if values[id(p)]["facts_hash"] != old.facts_hash]
    # Addresses are unique: those that change or go make room first.
    moving_rows = [old for p, old in changed if values[id(p)]["public_id"] != old.public_id]
    leaving = [*moving_rows, *(old for old, _ in plan.gone if not is_orphan(old.public_id))]
    for old in leaving:
        session.execute(update(PaperRow).where(PaperRow.id == old.id).values(public_id=f"~{old.id}", slug=None, arxiv_id=None))
    for part in chunks([old.id for _, old in changed]):
        session.execute(update(PaperRow).where(PaperRow.id.in_(part), PaperRow.slug.is_not(None)).values(slug=None))
    fresh_ids = reserve_ids(session, PaperRow, len(plan.fresh))
    if plan.fresh:
        events = [rows.trend_rows(i, p) for i, p in zip(fresh_ids, plan.fresh, strict=True)]
        logs = [trending.total(trending.term(e["weight"], e["at"]) for e in es) for es in events]
        insert_rows(session, PaperRow, ({"id": i, "trend_log": log, **values[id(p)]}
                                    for i, p, log in zip(fresh_ids, plan.fresh, logs, strict=True)))
        insert_rows(session, TrendEventRow, itertools.chain.from_iterable(events))
    if changed:
        columns = list(values[id(changed[0][0])])
        statement = (update(PaperRow.__table__).where(PaperRow.__table__.c.id == bindparam("row_id"))  # type: ignore[arg-type]
                     .values({name: bindparam(f"new_{name}") for name in columns}
                             | {"search_rev": PaperRow.search_rev + 1, "changed_at": bindparam("moment", type_=PaperRow.changed_at.type),
                                "hidden": bindparam("new_hidden")}))
        moment = now()
        session.connection().execute(statement, [
            {"row_id": old.id, "moment": moment, "new_hidden": old.hidden and bool(old.facts_hash),
             **{f"new_{name}": value for name, value in values[id(p)].items()}} for p, old in changed])
    for paper, row_id in (*((p, old.id) for p, old in plan.kept), *zip(plan.fresh, fresh_ids, strict=True)):
        plan.ids[paper.public_id] = row_id
    _write_parts(session, [(i, p) for i, p in zip(fresh_ids, plan.fresh, strict=True)], [(old.id, p) for p, old in changed])
    _write_signals(session, [(i, p) for i, p in zip(fresh_ids, plan.fresh, strict=True)], [(old.id, p) for p, old in plan.kept])
    _write_aliases(session, plan, moving_rows, values)
    gone = _merge(session, plan)
    counts.new, counts.changed, counts.merged = len(plan.fresh), len(changed), len(plan.gone)
    return [*fresh_ids, *(old.id for _, old in changed)], gone


def _write_parts(session: Session, fresh: list[tuple[int, Paper]], changed: list[tuple[int, Paper]]) -> None:
    """Categories, versions, links of sources and published results, written anew for changed papers."""
    for part in chunks([i for i, _ in changed]):
        for table in (PaperCategoryRow, PaperVersionRow):
            session.execute(delete(table).where(table.paper_id.in_(part)))
        session.execute(delete(PaperLinkRow).where(PaperLinkRow.paper_id.in_(part), PaperLinkRow.added_by.is_(None)))
        session.execute(delete(ResultRow).where(ResultRow.paper_id.in_(part), ResultRow.source == "pwc"))
    every = [*fresh, *changed]
    theirs: set[tuple[int, str, str]] = set()
    for part in chunks([i for i, _ in changed]):
        query = select(PaperLinkRow.paper_id, PaperLinkRow.kind, PaperLinkRow.url).where(PaperLinkRow.paper_id.in_(part))
        theirs |= set(session.execute(query).tuples())
    insert_rows(session, PaperCategoryRow, (row for i, p in every for row in rows.category_rows(i, p)))
    insert_rows(session, PaperVersionRow, (row for i, p in every for row in rows.version_rows(i, p)))
    insert_rows(session, PaperLinkRow, (row for i, p in every for row in rows.link_rows(i, p)
                                    if (i, row["kind"], row["url"]) not in theirs))
    insert_rows(session, ResultRow, (row for i, p in every for row in rows.result_rows(i, p)))


def _write_signals(session: Session, fresh: list[tuple[int, Paper]], kept: list[tuple[int, Paper]]) -> None:
    """Counts made elsewhere, and the events that sources bring, where they differ from what is stored."""
    signals: dict[int, set[tuple[str, str, int]]] = defaultdict(set)
    events: dict[int, dict[str, tuple[float, Any]]] = defaultdict(dict)
    for part in chunks([i for i, _ in kept]):
        for i, source, name, value in session.execute(select(
                PaperSignalRow.paper_id, PaperSignalRow.source, PaperSignalRow.name, PaperSignalRow.value)
                .where(PaperSignalRow.paper_id.in_(part))).tuples():
            signals[i].add((source, name, value))
        for i, kind, weight, at in session.execute(select(
                TrendEventRow.paper_id, TrendEventRow.kind, TrendEventRow.weight, TrendEventRow.at)
                .where(TrendEventRow.paper_id.in_(part), TrendEventRow.kind.in_(trending.FROM_SOURCES))).tuples():
            events[i][kind] = (weight, at)
    differing = [(i, p) for i, p in kept if signals[i] != set(p.signals)]
    for part in chunks([i for i, _ in differing]):
        session.execute(delete(PaperSignalRow).where(PaperSignalRow.paper_id.in_(part)))
    insert_rows(session, PaperSignalRow, (row for i, p in (*fresh, *differing) for row in rows.signal_rows(i, p)))
    for i, paper in kept:
        wanted = {e["kind"]: e for e in rows.trend_rows(i, paper)}
        if {kind: (e["weight"], e["at"]) for kind, e in wanted.items()} != events[i]:
            session.execute(delete(TrendEventRow).where(TrendEventRow.paper_id == i, TrendEventRow.kind.in_(trending.FROM_SOURCES)))
            insert_rows(session, TrendEventRow, wanted.values())
            trending.recompute(session, i)


def _write_aliases(session: Session, plan: _Plan, moved: list[_Old], values: dict[int, dict[str, Any]]) -> None:
    """Old addresses lead on; an address that a paper has now is no alias any more."""
    live = {v["public_id"] for v in values.values()}
    _apart(session, delete(PaperAliasRow).where(among(session, PaperAliasRow.public_id, live)))
    for old in moved:
        if old.public_id not in live and not is_orphan(old.public_id):
            moving.lead_on(session, old.public_id, old.id)
    for old, paper in plan.gone:
        if old.public_id not in live and not is_orphan(old.public_id):
            moving.lead_on(session, old.public_id, plan.ids[paper.public_id] if paper is not None else old.id)
    renamed = [(old.public_id, rows.public_id(paper)) for paper, old in plan.kept if old in moved]
    renamed += [(old.public_id, rows.public_id(paper)) for old, paper in plan.gone if paper is not None]
    doubts.follow(session, {before: after for before, after in renamed if before not in live})


def _merge(session: Session, plan: _Plan) -> list[int]:
    """Empty the rows that are no paper of their own any more; ids of those to delete.

    One whose records are all in doubt keeps its row, out of sight, while it holds what people said: it moves along once an
    editor has settled the doubt.
    """
    gone = []
    for old, paper in plan.gone:
        if paper is not None:
            moving.move(session, old.id, plan.ids[paper.public_id])
        elif moving.has_people(session, old.id):
            session.execute(update(PaperRow).where(PaperRow.id == old.id).values(hidden=True, facts_hash=""))
            continue
        gone.append(old.id)
    return gone


def _write_sources(session: Session, fresh: dict[Key, Record], texts: dict[Key, str], keys: dict[Key, set[int]],
                   replaced: dict[Key, Stored], neighbours: list[Stored], plan: _Plan, papers: Sequence[Paper]) -> None:
    owner: dict[Key, int | None] = {(source, short(key)): plan.ids[p.public_id] for p in papers for source, key, _ in p.sources}
    orphans = {old.id for old, paper in plan.gone if paper is None}

    def home(key: Key, before: int | None) -> int | None:
        return owner.get(key, before if before in orphans else None)

    inserted = [key for key in fresh if key not in replaced]
    ids = dict(zip(inserted, reserve_ids(session, PaperSourceRow, len(inserted)), strict=True)) | {k: s.id for k, s in replaced.items()}
    insert_rows(session, PaperSourceRow, ({
        "id": ids[key], "paper_id": owner.get(key), "source": key[0], "source_key": key[1],
        "packed": pack(texts[key], fresh[key].payload),
    } for key in inserted))
    for key, old in replaced.items():
        session.execute(update(PaperSourceRow).where(PaperSourceRow.id == old.id).values(
            paper_id=home(key, old.paper_id), fetched_at=now(), packed=pack(texts[key], fresh[key].payload)))
    for part in chunks([s.id for s in replaced.values()]):
        session.execute(delete(SourceKeyRow).where(SourceKeyRow.source_id.in_(part)))
    insert_rows(session, SourceKeyRow, ({"key": found, "source_id": ids[key]} for key, its in keys.items() for found in its))
    for s in neighbours:
        if (now_at := home((s.source, s.source_key), s.paper_id)) != s.paper_id:
            session.execute(update(PaperSourceRow).where(PaperSourceRow.id == s.id).values(paper_id=now_at))


def _apart(session: Session, statement: Executable) -> None:
    """Run a statement about rows that the session has not loaded."""
    session.execute(statement, execution_options={"synchronize_session": False})


def is_orphan(public_id: str) -> bool:
    """Whether a row is out of sight since its records are in doubt: `~` and its number stand for the address."""
    return public_id.startswith("~")


def _delete(session: Session, ids: Sequence[int]) -> None:
    for part in chunks(ids):
        session.execute(delete(PaperRow).where(PaperRow.id.in_(part)))
