"""Ingestion: how fast records are read, identified, merged and stored, in how much memory, and how well pages match.

    python benchmarks/hub_ingest.py PAPERS.jsonl[.gz]

The file holds one JSON object a line: id, title, abstract, authors, date, date_kind, categories, source.
"""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from workingpapers.hub.ingest import Problems, Record, iter_records, merge, record_keys, resolve
from workingpapers.hub.shelf import import_file
from workingpapers.hub.tables import PaperRow
from workingpapers.lab import Settings, Store


def as_on_a_page(record: Record) -> Record:
    """The record as a saved page would tell it: no id, no names, mathematics without backslashes and braces."""
    title = re.sub(r"[\\{}]", "", record.title)
    day = record.published or record.listed
    return Record("page", record.source_key, title, abstract=record.abstract, author_count=record.author_count, published=day)


def read(path: Path) -> int:
    return sum(1 for _ in iter_records("jsonl", path))


def read_and_identify(path: Path) -> int:
    """What an import does for each record before the database: parse, clean, hash, keys to look up, fields of the row."""
    count = 0
    for record in iter_records("jsonl", path):
        record_keys(record)
        merge([record])
        count += 1
    return count


def resolve_all(path: Path) -> int:
    """The worst case: every record at once, matched against all others."""
    return len(resolve(list(iter_records("jsonl", path))).papers)


def into_a_new_database(path: Path) -> int:
    """`workingpapers ingest jsonl` into an empty site: validated, duplicates looked up, words indexed, sources kept."""
    with tempfile.TemporaryDirectory() as home:
        store = Store(Settings(home=Path(home), database=""))
        counts = import_file(store, "jsonl", path).counts
        store.close()
        assert counts.new == counts.records
        return counts.new


def again(path: Path) -> int:
    """The same into a site that has it already. Twice the work is timed, the first half of it is `into_a_new_database`."""
    with tempfile.TemporaryDirectory() as home:
        store = Store(Settings(home=Path(home), database=""))
        import_file(store, "jsonl", path)
        counts = import_file(store, "jsonl", path).counts
        store.close()
        assert (counts.new, counts.changed, counts.same) == (0, 0, counts.records)
        return counts.records


def bare_inserts(path: Path) -> int:
    """The floor: rows of `papers` alone with their index of words, from lines that are not checked at all."""
    columns = [c.name for c in PaperRow.__table__.columns if c.name not in ("submitted_by",)]
    plain = dict.fromkeys(columns) | {
        "categories": "[]", "tasks": "[]", "methods": "[]", "tags": "[]", "title_key": "", "facts_hash": "", "first_author_key": "",
        "published_key": "", "hidden": 0, "withdrawn": 0, "search_rev": 1, "votes": 0, "comments": 0, "created_at": "2026-01-01",
        "changed_at": "2026-01-01"}
    statement = f"INSERT INTO papers ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    with tempfile.TemporaryDirectory() as home, (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
        store = Store(Settings(home=Path(home), database=""))
        rows = (json.loads(line) for line in lines)
        count = 0
        while part := list(itertools.islice(rows, 2_000)):
            with store.writing() as session:
                session.connection().exec_driver_sql(statement, [tuple((plain | {
                    "id": count + i + 1, "public_id": row["id"], "title": row["title"], "abstract": row["abstract"],
                    "authors": json.dumps(row["authors"])})[c] for c in columns) for i, row in enumerate(part)])
            count += len(part)
        store.close()
        return count


JOBS: dict[str, Callable[[Path], int]] = {
    "read": read, "read + identify": read_and_identify, "read + resolve all at once": resolve_all, "bare inserts, words": bare_inserts,
    "into a new database": into_a_new_database, "the same twice": again}


def measure(name: str, path: Path) -> tuple[int, float, float, float]:
    """Papers, CPU seconds, wall seconds and resident megabytes of a job in a fresh process."""
    code = (
        "import sys, time, resource; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import hub_ingest as b;"
        "c, t = time.process_time(), time.perf_counter(); n = b.JOBS[sys.argv[2]](Path(sys.argv[3]));"
        "print(n, time.process_time() - c, time.perf_counter() - t, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), name, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, cpu, wall, memory = done.stdout.split()
    return int(count), float(cpu), float(wall), float(memory)


def main() -> None:
    if len(sys.argv) < 2:
        print("needs a file of papers: python benchmarks/hub_ingest.py PAPERS.jsonl[.gz]")
        return
    path = Path(sys.argv[1])
    print(f"{'job':<28}{'papers':>8}{'papers/CPU-s':>14}{'papers/s':>10}{'peak MB':>9}")
    for name in JOBS:
        best = min((measure(name, path) for _ in range(3)), key=lambda m: m[1])
        print(f"{name:<28}{best[0]:>8,}{best[0] / best[1]:>14,.0f}{best[0] / best[2]:>10,.0f}{best[3]:>9,.0f}")
    problems = Problems()
    records = [dataclasses.replace(r, payload=b"") for r in iter_records("jsonl", path, problems)]
    print(f"\nrecords {len(records):,}, ids {len({r.arxiv_id for r in records}):,}, left out {problems.count}, "
          f"with warnings {sum(bool(r.warnings) for r in records):,}")  # fmt: skip
    papers = resolve(records).papers
    titles = Counter(p.title_key for p in papers)
    twice = [sorted(p.public_id for p in papers if p.title_key == key) for key, n in titles.items() if n > 1]
    print(f"papers {len(papers):,}; one title twice: {twice}")
    start = time.perf_counter()
    result = resolve([*records, *map(as_on_a_page, records)])
    homes = {key: p.arxiv_id for p in result.papers for source, key, _ in p.sources if source == "page"}
    right = sum(homes.get(r.source_key) == r.arxiv_id for r in records)
    asked = sum(d.kind == "several" for d in result.doubts)
    alone = sum(home is None for home in homes.values())
    wrong = len(homes) - right - alone
    print(f"each record again as on a saved page: {right:,} found their paper, {wrong} another's, {alone} none, {asked} asked about "
          f"({time.perf_counter() - start:.1f} s)")  # fmt: skip
    print(f"peak of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
