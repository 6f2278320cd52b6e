"""Ingestion without a database: how fast records are read, identified and merged, in how much memory, and how well pages match.

    python benchmarks/hub_ingest.py PAPERS.jsonl[.gz]

The file holds one JSON object a line: id, title, abstract, authors, date, date_kind, categories, source.
"""

from __future__ import annotations

import dataclasses
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from workingpapers.hub.ingest import Problems, Record, iter_records, merge, record_keys, resolve


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


JOBS: dict[str, Callable[[Path], int]] = {"read": read, "read + identify": read_and_identify, "read + resolve all at once": resolve_all}


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
