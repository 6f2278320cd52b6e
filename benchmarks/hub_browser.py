"""Pages in a real browser: bytes and requests of a first visit, largest paint, shifts and blocked time with a processor slowed four times.

    python -m benchmarks.hub_browser                               # a small site that it makes, one run of a real claim on it
    python -m benchmarks.hub_browser --papers papers.jsonl.gz      # the same with those papers taken in, as `ingest jsonl` does
    python -m benchmarks.hub_browser --home FOLDER                 # an existing data directory, which it only reads

Chromium over its debugging protocol, without network throttling: server and browser share this machine. A visit is a new browser
profile, so nothing is cached. Largest paint and shifts are read from the browser's own entries (the definitions of Core Web Vitals);
blocked time is what tasks of over 50 ms take beyond 50 ms. `busy` is the processor time of the page's main thread, unslowed: the one
figure that other work on the machine does not move. Medians and worst of `--visits`. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SLOWER = 4
LARGEST_PAINT_S, SHIFTS, BYTES, BYTES_WITH_MATHS, REQUESTS = 1.2, 0.02, 60_000, 170_000, 15
WATCH = """(() => { window.seen = {paint: 0, what: '', first: 0, shifts: 0, blocked: 0};
    new PerformanceObserver(l => { for (const e of l.getEntries()) { seen.paint = e.startTime; seen.what = e.element?.tagName || ''; } })
        .observe({type: 'largest-contentful-paint', buffered: true});
    new PerformanceObserver(l => { for (const e of l.getEntries()) if (e.name === 'first-contentful-paint') seen.first = e.startTime; })
        .observe({type: 'paint', buffered: true});
    new PerformanceObserver(l => { for (const e of l.getEntries()) if (!e.hadRecentInput) seen.shifts += e.value; })
        .observe({type: 'layout-shift', buffered: true});
    new PerformanceObserver(l => { for (const e of l.getEntries()) seen.blocked += Math.max(0, e.duration - 50); })
        .observe({type: 'longtask', buffered: true}); })()"""


@dataclass
class Visit:
    """What one first visit took: bytes and requests on the wire; seconds to first and largest paint; shifts; blocked seconds."""

    size: float
    requests: int
    first: float
    largest: float
    what: str
    shifts: float
    blocked: float
    busy: float
    has_maths: bool  # what typesets formulas was fetched
    foreign: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)


def visit(browser: Any, address: str, slower: int) -> Visit:
    """Open a page in a browser that has never seen the site."""
    context = browser.new_context(viewport={"width": 412, "height": 823}, device_scale_factor=1.75, is_mobile=True)
    try:
        context.set_default_timeout(180_000)
        page, sizes, asked, complaints = context.new_page(), {}, {}, []
        wire = context.new_cdp_session(page)
        wire.on("Network.requestWillBeSent", lambda e: asked.update({e["requestId"]: e["request"]["url"]}))
        wire.on("Network.loadingFinished", lambda e: sizes.update({e["requestId"]: e["encodedDataLength"]}))
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: complaints.append(str(e)))
        wire.send("Network.enable")
        page.add_init_script(WATCH)
        wire.send("Performance.enable", {"timeDomain": "threadTicks"})
        wire.send("Emulation.setCPUThrottlingRate", {"rate": slower})
        page.goto(address, wait_until="load")
        page.wait_for_timeout(800)  # late shifts and long tasks; the largest paint is final when a person begins to act
        seen = page.evaluate("seen")
        busy = {m["name"]: m["value"] for m in wire.send("Performance.getMetrics")["metrics"]}["TaskDuration"]
        maths = any("/katex/" in u for u in asked.values())
        foreign = {urlsplit(u).netloc for u in asked.values() if not u.startswith("data:")} - {urlsplit(address).netloc}
        return Visit(sum(sizes.values()), len(asked), seen["first"] / 1e3, seen["paint"] / 1e3, seen["what"], seen["shifts"],
                     seen["blocked"] / 1e3, busy, maths, foreign, complaints)
    finally:
        context.close()


def measure(browser: Any, address: str, name: str, visits: int, slower: int) -> bool:
    """Print a page's line; whether it meets every goal."""
    found = [visit(browser, address, slower) for _ in range(visits)]
    largest, blocked = [v.largest for v in found], [v.blocked for v in found]
    size, shifts, requests = max(v.size for v in found), max(v.shifts for v in found), max(v.requests for v in found)
    maths = any(v.has_maths for v in found)
    missed = []
    if statistics.median(largest) >= LARGEST_PAINT_S:
        missed.append("largest paint")
    if shifts >= SHIFTS:
        missed.append("shifts")
    if size > (BYTES_WITH_MATHS if maths else BYTES):
        missed.append("bytes")
    if requests > REQUESTS:
        missed.append("requests")
    if foreign := set().union(*(v.foreign for v in found)):
        missed.append(f"asked {', '.join(sorted(foreign))}")
    if complaints := [c for v in found for c in v.complaints]:
        missed.append(f"console: {complaints[0][:80]}")
    print(f"{name:<26} {size / 1e3:6.1f} kB {requests:3} requests{' with maths' if maths else '':<11} "
          f"first {statistics.median(v.first for v in found):.2f} s  largest {statistics.median(largest):.2f} s (worst {max(largest):.2f}, "
          f"{found[0].what.lower() or '?'})  shifts {shifts:.4f}  blocked {1e3 * statistics.median(blocked):.0f} ms  "
          f"busy {1e3 * statistics.median(v.busy for v in found):.0f} ms  "
          f"{'NOT MET: ' + ', '.join(missed) if missed else 'met'}", flush=True)
    return not missed


# ------------------------------------------------------------ a site


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def site(home: Path) -> Iterator[str]:
    """A served site over this data directory, without workers."""
    port = free_port()
    code = f"from workingpapers.hub import serve; serve(port={port}, warmup=False, worker=False)"
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "WORKINGPAPERS_HOME": str(home)}, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"{address}/readyz") as answer:
                if answer.status == 200:
                    break
            if process.poll() is not None:
                raise SystemExit("the site did not start")
            time.sleep(0.1)
        time.sleep(2)  # what it learns after the start is no part of a page
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()


def sentences() -> Iterator[str]:
    """English that compresses as abstracts do."""
    from pydoc_data.topics import topics

    text = " ".join(re.sub(r"[^\w\s.,;:()'-]", "", topics[name]) for name in sorted(topics))
    yield from dict.fromkeys(" ".join(s.split()) for s in re.split(r"(?<=[a-z]\.)\s+(?=[A-Z])", text) if 40 < len(s) < 400)


def make_papers(path: Path, n: int = 80) -> None:
    """Papers as long as those on arXiv (abstracts about 1,260 characters), every tenth with formulas, as there."""
    english, lines = sentences(), []
    for i in range(n):
        abstract = ""
        while len(abstract) < 1_130:
            abstract += next(english) + " "
        if i % 10 == 0:
            abstract = abstract.replace(" the ", r" the $\|x - \hat{x}\|_2^2 \leq \mathcal{O}(n \log n)$ ", 2)
        lines.append(json.dumps({"id": f"2512.{i:05}", "title": next(english)[:85], "abstract": abstract.strip(),
                                 "date": f"2025-12-{1 + i % 28:02}", "date_kind": "listed",
                                 "categories": ["cs.LG", "stat.ML"], "source": "arxiv-api",
                                 "authors": [f"Ada {chr(65 + j)}. Lovelace-{i}{j}" for j in range(1 + i % 9)]}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_home(home: Path, papers: Path | None) -> None:
    """Take papers in, and try one claim, so that there is a verdict with its plots to show."""
    environment = {**os.environ, "WORKINGPAPERS_HOME": str(home)}
    if papers is None:
        papers = home / "papers.jsonl"
        make_papers(papers)
    command = [sys.executable, "-m", "workingpapers.cli"]
    subprocess.run([*command, "ingest", "jsonl", str(papers)], env=environment, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*command, "run", "mini_gp", "--scale", "smoke"], env=environment, check=False, stdout=subprocess.DEVNULL)


def pages_of(home: Path) -> list[tuple[str, str]]:
    """Name and path of the pages to visit."""
    from sqlalchemy import select

    from workingpapers.hub.shelf.finding import address
    from workingpapers.hub.tables import PaperRow
    from workingpapers.lab import Settings, Store
    from workingpapers.lab.store import RunRow

    store = Store(Settings(home=home, database=""))
    with store.reading() as session:
        run = session.scalar(select(RunRow.run_id).where(RunRow.state == "done").order_by(RunRow.id.desc()))
        others = select(PaperRow).where(PaperRow.slug.is_(None), PaperRow.listed_on.is_not(None), PaperRow.hidden.is_(False))
        plain = session.scalar(others.where(~PaperRow.abstract.contains("$")).order_by(PaperRow.listed_on.desc()))
        maths = session.scalar(others.where(PaperRow.abstract.contains("$")).order_by(PaperRow.listed_on.desc()))
        days = session.scalars(select(PaperRow.listed_on).where(PaperRow.slug.is_(None), PaperRow.listed_on.is_not(None)).distinct()
                               .order_by(PaperRow.listed_on.desc()).limit(3)).all()
    store.close()
    found = [("the feed", "/"), *((f"the day {day}", f"/papers/date/{day}") for day in days), ("trending", "/papers/trending"),
             ("a paper with claims", "/papers/mini_gp"), ("a claim", "/claims/mini_gp/regret-preserved"),
             ("search, asked", "/search?q=nested+loops")]
    found += [(name, address(row)) for name, row in (("a paper", plain), ("a paper with formulas", maths)) if row is not None]
    return [*found, *([("a run", f"/runs/{run}")] if run else [])]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--papers", type=Path, help="JSON lines to take in, in place of papers that it makes")
    parser.add_argument("--home", type=Path, help="an existing data directory")
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--slower", type=int, default=SLOWER, help="how many times the browser's processor is slowed")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("not here: no chromium on this machine")
        return 0
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        home = given.home or Path(folder)
        if given.home is None:
            make_home(home, given.papers)
        address = stack.enter_context(site(home))
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"])
        print(f"first visits, processor slowed {given.slower} times; goals: largest paint < {LARGEST_PAINT_S} s, shifts < {SHIFTS}, "
              f"{BYTES // 1000} kB ({BYTES_WITH_MATHS // 1000} kB with maths), {REQUESTS} requests, nobody else asked", flush=True)
        visit(browser, address, 1)  # the first page of all pays for starting the browser
        fine = [measure(browser, address + path, name, given.visits, given.slower) for name, path in pages_of(home)]
        browser.close()
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
