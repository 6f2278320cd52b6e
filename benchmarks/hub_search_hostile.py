"""Ten thousand hostile strings into the search of a full site: what it answers, and how long that takes.

    python benchmarks/hub_search_hostile.py HOME [--strings 10000] [--path /api/v1/search] [--seed 1]

HOME is a data directory with papers and their vectors. The whole application is asked in this process, without a network; only the
limit on searches a minute is lifted. Strings are drawn by seed, no two alike, so no answer and no vector comes from a cache.
Exit code 1 when an answer is neither 200 nor 400, or the 99th percentile is not under 300 ms. Processor time stands beside the time on
the clock: on a machine that does other work it is what an idle one would take.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, select
from starlette.testclient import TestClient

from workingpapers.hub.app import create_app
from workingpapers.hub.search import Searcher, api, pages, searcher
from workingpapers.hub.tables import PaperRow
from workingpapers.lab import Lab, Settings, Store
from workingpapers.papers import load_catalogue

LIMIT_MS = 300.0

OPERATORS = (
    "AND", "OR", "NOT", "NEAR", "NEAR(", "NEAR/3", "(", ")", '"', '""', "'", "-", "--", "+", "*", "^", ":", "{title abstract} :",
    "- title :", "title:", "author:", "abstract:", "cat:", "id:", "after:", "before:", "has:", "verdict:", "slug:", "rowid:", "rank",
    "papers_fts", ";", "--", "/*", "\\", "%", "_", "|", "&", "!", "<->", "@@", "::", "$1", "?", ":x", "%s", "{0}", "{{ 7*7 }}")
INJECTIONS = (
    "' OR 1=1 --", '"; DROP TABLE papers; --', "') UNION SELECT * FROM users --", '" OR rowid > 0 OR "', "title:(a OR b) NOT", "AND NOT (",
    '"unbalanced', "a*b*c*", "^start", "NEAR(a b, 5)", "-" * 50, '"' * 51, "(" * 200 + ")" * 199, "<script>alert(1)</script>",
    "../../etc/passwd", "%00", "\\x00", "http://[::1", "https://arxiv.org/abs/", "arxiv:", "doi:10.", "10.1000/%", "cat:cs.*.*",
    "after:2025-13-40", "before:0000", "after:9999-12-31", "has:everything", "verdict:maybe", "id:'", "slug:../x", 'title:"', "author:-")
ALPHABETS = (
    "\x00\x01\x07\x1b\x7f\x85", "\u200b\u200d\u2060\ufeff\u202e\u2066\ud7ff", "机器学习图神经网络优化算法",
    "かなカナ漢字トランスフォーマー", "한국딥러닝그래프",
    "العربيةبحثשלום", "🙂🧪👩\u200d🔬🏳️\u200d🌈", "ée\u0301\u0327\u0328ÅßıŁœﬁ", "𝒳𝔸𝟙𝛂∑∫√≤∞", "ไทยการเรียนรู้",
    "\U0010fffd\ue000\ufffe\uffff\ufdd0")


def words_of_library(session: Any) -> list[str]:
    """Words that stand in papers, common and rare ones."""
    rows = session.execute(select(PaperRow.title, PaperRow.abstract).where(PaperRow.id % 37 == 5)).all()
    return [w for row in rows for w in f"{row[0]} {row[1]}".split()]


Kind = Callable[[random.Random, Sequence[str]], str]


def _operators(rng: random.Random, words: Sequence[str]) -> str:
    return "".join(rng.choice((*OPERATORS, rng.choice(words))) + rng.choice(("", " ", " ", "\t")) for _ in range(rng.randint(1, 30)))


def _injection(rng: random.Random, words: Sequence[str]) -> str:
    return " ".join(rng.sample((rng.choice(INJECTIONS), rng.choice(words), rng.choice(words), rng.choice(INJECTIONS)), rng.randint(1, 4)))


def _letters(rng: random.Random, words: Sequence[str]) -> str:
    letters = rng.choice(ALPHABETS)
    return "".join(rng.choice(letters) if rng.random() < 0.9 else " " for _ in range(rng.randint(1, 120)))


def _any_unicode(rng: random.Random, words: Sequence[str]) -> str:
    return "".join(chr(c) for c in (rng.randrange(0x110000) for _ in range(rng.randint(1, 80))) if not 0xD800 <= c < 0xE000)


def _bytes(rng: random.Random, words: Sequence[str]) -> str:
    return rng.randbytes(rng.randint(1, 100)).decode("latin-1")


def _sentence(rng: random.Random, words: Sequence[str]) -> str:
    """Words of papers, in no order: none is absent, so each costs."""
    return " ".join(rng.choice(words) for _ in range(rng.randint(1, 40)))


def _long(rng: random.Random, words: Sequence[str]) -> str:
    """At and over the 4,000 characters that are read."""
    piece = rng.choice((" ".join(rng.choice(words) for _ in range(700)), "a " * 4_000, "x" * 9_000, '"a b" ' * 700, "the of and " * 400,
                        "title:" * 600, "漢" * 3_999, "-a " * 1_000, " OR ".join(rng.choice(words) for _ in range(400))))
    return piece[: rng.choice((3_500, 3_999, 4_000, 4_001, 10_000))] + str(rng.randrange(10**6))


def _conditions(rng: random.Random, words: Sequence[str]) -> str:
    """Well-formed, and dear: fields, negations and alternatives of common words."""
    part = (lambda: f"{rng.choice(('title', 'abstract', 'author', ''))}:{rng.choice(words)}".lstrip(":"),
            lambda: f'"{rng.choice(words)} {rng.choice(words)}"', lambda: f"-{rng.choice(words)}",
            lambda: f"cat:{rng.choice(('cs', 'cs.LG', 'stat'))}",
            lambda: f"{rng.choice(('after', 'before'))}:{rng.randint(1990, 2027)}", lambda: f"{rng.choice(words)} OR {rng.choice(words)}",
            lambda: rng.choice(("has:code", "has:claim", "verdict:holds", "-cat:cs", "the", "of", "model", "learning")))
    return " ".join(rng.choice(part)() for _ in range(rng.randint(1, 12)))


def _mixed(rng: random.Random, words: Sequence[str]) -> str:
    return rng.choice((" ", "")).join(rng.choice((_operators, _injection, _letters, _bytes, _sentence))(rng, words)[:60] for _ in range(3))


KINDS: dict[str, Kind] = {"operators": _operators, "injections": _injection, "scripts and controls": _letters, "any Unicode": _any_unicode,
                          "bytes": _bytes, "words of papers": _sentence, "very long": _long, "conditions": _conditions, "mixtures": _mixed}


def strings(count: int, seed: int, words: Sequence[str]) -> list[tuple[str, str]]:
    """So many different strings with their kind, the kinds in turn."""
    rng, seen = random.Random(seed), set[str]()
    out: list[tuple[str, str]] = []
    names = list(KINDS)
    while len(out) < count:
        kind = names[len(out) % len(names)]
        text = KINDS[kind](rng, words)
        if text in seen:
            text = f"{text} {len(out)}"
        seen.add(text)
        out.append((kind, text))
    return out


def main() -> None:
    if len(sys.argv) < 2:
        print("needs a data directory with papers and vectors: python benchmarks/hub_search_hostile.py HOME")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--strings", type=int, default=10_000)
    parser.add_argument("--path", default="", help="/search or /api/v1/search alone; otherwise in turn")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long, and tell of those that were asked")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slowest", type=int, default=5, help="how many of the slowest to print")
    args = parser.parse_args()
    lab = Lab(Store(Settings(home=args.home, database="")), load_catalogue())
    for module in (api, pages):
        vars(module)["allow_search"] = lambda viewer: None
    with lab.store.reading() as session:
        papers = session.scalar(select(func.count()).select_from(PaperRow)) or 0
        drawn = strings(args.strings, args.seed, words_of_library(session))
    find: Searcher = searcher(lab.store)
    status: Counter[int] = Counter()
    how: Counter[str] = Counter()
    took: dict[str, list[tuple[float, float]]] = defaultdict(list)
    slowest: list[tuple[float, str, str]] = []
    wrong: list[tuple[int, str]] = []
    with TestClient(create_app(lab=lab), "http://localhost", raise_server_exceptions=False) as client:
        for path in ("/api/v1/search", "/search"):
            client.get(path, params={"q": f"warm up {path}"}).raise_for_status()
        with lab.store.reading() as session:
            print(f"{papers:,} papers, {find.vectors.size(session):,} with vectors, {len(drawn):,} strings, seed {args.seed}", flush=True)
        end = time.monotonic() + args.seconds
        for number, (kind, text) in enumerate(drawn):
            if time.monotonic() > end:
                print(f"ended after {args.seconds:.0f} s with {number:,} strings asked")
                break
            path = args.path or ("/search", "/api/v1/search")[number // len(KINDS) % 2]
            start, cpu = time.perf_counter(), time.process_time()
            answer = client.get(path, params={"q": text})
            ms, cpu_ms = 1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - cpu)
            status[answer.status_code] += 1
            took[kind].append((ms, cpu_ms))
            slowest = sorted([*slowest, (cpu_ms, kind, text[:100])], reverse=True)[: args.slowest]
            if path.startswith("/api") and answer.status_code == 200:
                how[answer.json()["how"]] += 1
            if answer.status_code not in (200, 400):
                wrong.append((answer.status_code, text[:200]))
    every = [pair for pairs in took.values() for pair in pairs]
    print("statuses: " + ", ".join(f"{code}: {n:,}" for code, n in sorted(status.items())) + "; answers of the API ordered by "
          + ", ".join(f"{name}: {n:,}" for name, n in how.most_common()))
    print(f"{'milliseconds':<24}{'n':>7}{'p50':>8}{'p95':>8}{'p99':>8}{'most':>8}   of the processor: p50, p95, p99, most")
    for kind, pairs in [*took.items(), ("all", every)]:
        figures = [f"{np.percentile(column, p):>8.1f}" for column in np.array(pairs).T for p in (50, 95, 99, 100)]
        print(f"{kind:<24}{len(pairs):>7}{''.join(figures)}")
    for ms, kind, text in slowest:
        print(f"dear: {ms:.0f} ms of the processor, {kind}: {text!r}")
    for code, text in wrong[:20]:
        print(f"WRONG: {code}: {text!r}")
    sys.exit(bool(wrong) or float(np.percentile([ms for ms, _ in every], 99)) >= LIMIT_MS)


if __name__ == "__main__":
    main()
