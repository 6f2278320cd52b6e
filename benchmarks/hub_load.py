"""The site with 100,000 papers: intake, vectors, search, feed, votes, live streams, digests, start and size.

    python -m benchmarks.hub_load build FOLDER PAPERS.jsonl.gz VECTORS    once; VECTORS holds what the encoder made of the sample
    python -m benchmarks.hub_load run FOLDER [RESULTS.json]               may be repeated on the same folder
    python -m benchmarks.hub_load table RESULTS.json                      as it stands in docs/performance.md

`_hub_papers.py` has the recipe for the papers beyond the sample. Client and server share the machine; loops are bounded, on loopback.
No question is asked twice: answers come from no cache. The load of the machine before each row is kept with it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import hashlib
import http.client
import itertools
import json
import os
import platform
import resource
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._hub_papers import made, mixed, neighbours, real, vectors_of_sample

PAPERS = 100_000
SAMPLE = "sample.jsonl.gz"
QUESTIONS = Path(__file__).parent / "data" / "search_questions.json"
ROWS: list[dict[str, Any]] = []


def row(what: str, measured: str, goal: str, fine: bool, **numbers: float) -> None:
    """Keep and print a row; `numbers` are what the words were made from, times in milliseconds."""
    load = round(os.getloadavg()[0], 1)
    ROWS.append({"what": what, "measured": measured, "goal": goal, "met": bool(fine), "load": load,
                 **{k: round(float(v), 3) for k, v in numbers.items()}})
    print(f"{what:<46} {measured:<52} {goal:<30} {'met' if fine else 'NOT MET'}  (load {load})", flush=True)


def spread(seconds: list[float]) -> tuple[float, float, float]:
    """Median, 95th and 99th percentile in milliseconds."""
    ms = sorted(1e3 * s for s in seconds)
    return statistics.median(ms), ms[int(0.95 * (len(ms) - 1))], ms[int(0.99 * (len(ms) - 1))]


def settings(folder: Path) -> Any:
    from workingpapers.lab import Settings

    return Settings(home=folder / "home", database="")


# ------------------------------------------------------------ build


def build(folder: Path, sample_path: Path, vectors_path: Path) -> None:
    from sqlalchemy import select

    from workingpapers.hub.search.encoding import Model
    from workingpapers.hub.tables import PaperRow, PaperVectorRow
    from workingpapers.lab import Store

    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sample_path, folder / SAMPLE)  # `run` takes it in once more
    sample = real(sample_path)
    known, vectors = vectors_of_sample(vectors_path)
    embedded = [r for r in sample if r["id"] in known]
    rest = list(made(embedded, PAPERS - len(sample)))
    path = folder / "made.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as out:
        out.writelines(json.dumps(r, ensure_ascii=False) + "\n" for r, _, _ in rest)
    environment = {**os.environ, "WORKINGPAPERS_HOME": str(folder / "home")}
    for file in (sample_path, path, sample_path):
        began = time.perf_counter()
        command = [sys.executable, "-m", "workingpapers.cli", "ingest", "jsonl", str(file), "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        took = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        count = len(sample) if file == sample_path else len(rest)
        print(f"ingest {file.name}: {count / took:,.0f} papers/s, at most {peak:.0f} MB: {done.stdout.strip()[:200]}", flush=True)
    store, rng = Store(settings(folder)), np.random.default_rng(0)
    sources = {r["id"]: (a, b) for r, a, b in rest} | neighbours(sample, embedded)
    with store.reading() as session:
        ids = {arxiv: (key, rev) for key, arxiv, rev in session.execute(
            select(PaperRow.id, PaperRow.arxiv_id, PaperRow.search_rev).where(PaperRow.arxiv_id.is_not(None))).tuples()}
    names = [n for n in ids if n in known or n in sources]
    first = np.stack([vectors[known[n]] if n in known else vectors[known[sources[n][0]]] for n in names])
    second = np.stack([vectors[known[n]] if n in known else vectors[known[sources[n][1]]] for n in names])
    is_real = np.array([n in known for n in names])
    found = np.where(is_real[:, None], first, mixed(first, second, rng)).astype("<f4")
    model = Model()
    with store.writing() as session:
        session.bulk_insert_mappings(PaperVectorRow, [  # type: ignore[arg-type]
            {"paper_id": ids[n][0], "model_id": model.model_id, "dim": found.shape[1], "vector": v.tobytes(),
             "text_hash": hashlib.sha256(n.encode()).hexdigest(), "search_rev": ids[n][1]} for n, v in zip(names, found, strict=True)])
    print(f"vectors: {is_real.sum():,} of real papers by the encoder, {(~is_real).sum():,} mixed from them", flush=True)


# ------------------------------------------------------------ run


def watch(pid: int, peaks: list[float]) -> None:
    """Keep the most memory that a process ever had resident, in MB, until it is gone."""
    while True:
        try:
            found = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
        except OSError:
            return
        if not found:  # it has ended and is waited for
            return
        peaks.append(int(found[0].split()[1]) / 1024)
        time.sleep(0.05)


def intake(folder: Path) -> None:
    """The sample into a new site, then once more, each by the command that people use."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        environment = {**os.environ, "WORKINGPAPERS_HOME": home}
        for name, goal in (("ingest of the sample, empty site", True), ("the same again", False)):
            began = time.perf_counter()
            command = [sys.executable, "-m", "workingpapers.cli", "ingest", "jsonl", str(folder / SAMPLE), "--json"]
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            peaks = [0.0]
            watching = threading.Thread(target=watch, args=(process.pid, peaks), daemon=True)
            watching.start()
            out = process.stdout.read() if process.stdout else ""
            _, status, used = os.wait4(process.pid, 0)
            took = time.perf_counter() - began
            watching.join(5)
            # `ru_maxrss` of a child begins with what its parent had: it says something only where nothing else can be asked.
            counts, cpu, peak = json.loads(out), used.ru_utime + used.ru_stime, max(peaks) or used.ru_maxrss / 1024
            fine = status == 0 and (counts["new"] == counts["records"] if goal else (counts["new"], counts["changed"]) == (0, 0))
            rate = counts["records"] / took
            row(name, f"{rate:,.0f} papers/s ({counts['records'] / cpu:,.0f} a CPU-s), {peak:.0f} MB, {counts['new']:,} new",
                ">= 3,000/s, < 300 MB" if goal else "0 new, 0 changed", fine and peak < 300 and (rate >= 3_000 or not goal),
                per_second=rate, per_cpu_second=counts["records"] / cpu, megabytes=peak)


def embedding(folder: Path, count: int = 96) -> None:
    """The job that embeds against a bare loop of the same network: same tokens, batches and order; by turns."""
    import torch

    from workingpapers.hub.ingest import iter_records
    from workingpapers.hub.search.embedding import embed
    from workingpapers.hub.search.encoding import Model, text_of
    from workingpapers.hub.shelf import take_in
    from workingpapers.lab import Settings, Store
    from workingpapers.parts.language.bert import load_minilm
    from workingpapers.parts.language.embedder import minilm_folder
    from workingpapers.parts.language.tokens import load_tokenizer

    bare, tokenizer = load_minilm(minilm_folder()), load_tokenizer(256)
    records = list(itertools.islice(iter_records("jsonl", folder / SAMPLE), 2 * count))

    def loop(texts: list[str]) -> None:
        tokens = sorted((e.ids for e in tokenizer.encode_batch(texts)), key=len)
        with torch.inference_mode():
            for start in range(0, len(tokens), 32):
                part = [torch.tensor(t) for t in tokens[start : start + 32]]
                ids = torch.nn.utils.rnn.pad_sequence(part, batch_first=True)
                mask = torch.arange(ids.shape[1])[None] < torch.tensor([len(t) for t in part])[:, None]
                hidden = bare(ids, mask)
                pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
                torch.nn.functional.normalize(pooled)

    loop(["warm up"])
    ours, theirs = 0.0, 0.0
    with tempfile.TemporaryDirectory(dir=folder) as home:
        store, model = Store(Settings(home=Path(home), database="")), Model()
        bulk = model.bulk()
        model.bulk = lambda: bulk  # type: ignore[method-assign]  # loaded once, as in a job over many papers
        bulk.encode(["warm up"])
        for half in (records[:count], records[count:]):
            take_in(store, half)
            began = time.process_time()
            loop([text_of(r.title, r.abstract) for r in half])
            theirs += time.process_time() - began
            began = time.process_time()
            embed(store, model)
            ours += time.process_time() - began
        store.close()
    ratio, rate = ours / theirs, 2 * count / ours
    row("embedding job against the bare model loop", f"{ratio:.2f} times its CPU time, {rate:.0f} papers a CPU-s", "within 1.2 times",
        ratio <= 1.2, ratio=ratio, per_cpu_second=rate)


class Client:
    """A connection that is kept, and what a signed-in browser sends."""

    def __init__(self, port: int, headers: dict[str, str] | None = None) -> None:
        self.connection, self.headers = http.client.HTTPConnection("127.0.0.1", port, timeout=30), headers or {}

    def ask(self, path: str, method: str = "GET", body: str | None = None) -> tuple[int, float, bytes]:
        began = time.perf_counter()
        self.connection.request(method, path, body, self.headers)
        answer = self.connection.getresponse()
        content = answer.read()
        return answer.status, time.perf_counter() - began, content


def started(folder: Path) -> tuple[subprocess.Popen[bytes], int, float]:
    """A served site, its port, and the seconds to its first page."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "WORKINGPAPERS_HOME": str(folder / "home")}
    began = time.perf_counter()
    code = f"from workingpapers.hub import serve; serve(port={port}, warmup=False, worker=False)"
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL)
    while True:
        try:
            if Client(port).ask("/")[0] == 200:
                return process, port, time.perf_counter() - began
        except OSError:
            time.sleep(0.05)


def questions(folder: Path) -> list[str]:
    """Plain-word questions, and titles of papers, each asked once."""
    from sqlalchemy import select

    from workingpapers.hub.tables import PaperRow
    from workingpapers.lab import Store

    found = json.loads(QUESTIONS.read_text())
    with Store(settings(folder)).reading() as session:
        titles = session.scalars(select(PaperRow.title).where(PaperRow.arxiv_id.in_([r["paper"] for r in found["titles"]]))).all()
    asked = [r["query"] for r in found["paraphrases"]] + [t.rstrip(".") + "?" for t in titles]  # not the exact title: that is a look-up
    return [asked[i] for i in np.random.default_rng(0).permutation(len(asked))]


def text_search(folder: Path, asked: list[str], others: list[str]) -> None:
    from workingpapers.hub.search import Searcher
    from workingpapers.lab import Store

    searcher = Searcher(Store(settings(folder)))
    searcher.warm()  # as the site does when it starts
    searcher.find("warm up", 200, words_only=True)
    took = []
    for q in asked:
        began = time.perf_counter()
        searcher.find(q, 200, words_only=True)
        took.append(time.perf_counter() - began)
    p50, p95, _ = spread(took)
    row("text search, top 200, in process", f"p50 {p50:.0f} ms, p95 {p95:.0f} ms ({len(asked)} questions)", "p95 < 40 ms", p95 < 40,
        p50=p50, p95=p95)
    searcher.find("warm up the model", 200)
    took = []
    for q in others:
        began = time.perf_counter()
        searcher.find(q, 20)
        took.append(time.perf_counter() - began)
    p50, p95, _ = spread(took)
    row("hybrid search, in process", f"p50 {p50:.0f} ms, p95 {p95:.0f} ms", "(part of the next)", True, p50=p50, p95=p95)


def at_a_rate(port: int, paths: list[str], headers: dict[str, str], each_second: float) -> list[float]:
    """Ask on schedule, whether or not answers have come: latency counts from when a request was due."""
    pool, clients = ThreadPoolExecutor(16), threading.local()
    began = time.perf_counter() + 0.1

    def one(i: int) -> float:
        if not hasattr(clients, "one"):
            clients.one = Client(port, headers)
        due = began + i / each_second
        status, _, _ = clients.one.ask(paths[i])
        assert status == 200, (status, paths[i])
        return time.perf_counter() - due

    waiting = []
    for i in range(len(paths)):
        time.sleep(max(0.0, began + i / each_second - time.perf_counter()))
        waiting.append(pool.submit(one, i))
    return [w.result() for w in waiting]


def over_http(port: int, asked: list[str], token: str) -> None:
    from urllib.parse import quote

    headers = {"Authorization": f"Bearer {token}"}
    Client(port, headers).ask("/api/v1/search?q=warm")
    paths = [f"/api/v1/search?q={quote(q)}&limit=20" for q in asked]
    p50, p95, _ = spread(at_a_rate(port, paths, headers, 10))
    row("hybrid search over HTTP at 10 a second", f"p50 {p50:.0f} ms, p95 {p95:.0f} ms ({len(paths)} questions)",
        "p50 < 60, p95 < 150 ms", p50 < 60 and p95 < 150, p50=p50, p95=p95)


def pages(port: int) -> None:
    days = [f"/papers/date/{dt.date(2025, 4, 1) + dt.timedelta(days=n)}" for n in range(0, 300, 3)]
    for name, paths in (("feed page", ["/"] * 100), ("day page", days)):
        client = Client(port)
        client.ask(paths[0])
        p50, p95, _ = spread([client.ask(p)[1] for p in paths])
        row(f"{name}, one after another", f"p50 {p50:.0f} ms, p95 {p95:.0f} ms", "p95 < 50 ms", p95 < 50, p50=p50, p95=p95)
    done, stop = [0] * 4, time.perf_counter() + 10

    def hammer(k: int) -> None:
        client = Client(port)
        while time.perf_counter() < stop:
            client.ask("/")
            done[k] += 1

    threads = [threading.Thread(target=hammer, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    rate = sum(done) / 10
    row("feed page, four clients at once", f"{rate:.0f} requests/s", ">= 150 requests/s", rate >= 150, per_second=rate)


def people(folder: Path, count: int) -> tuple[list[dict[str, str]], str, list[str]]:
    """Headers and form tokens of signed-in browsers, an API token, and ids of papers to vote for."""
    from sqlalchemy import select

    from workingpapers.hub.people.signin import begin_signin, new_token
    from workingpapers.hub.tables import PaperRow, UserRow
    from workingpapers.hub.tokens import SESSION_COOKIE, VISITOR_COOKIE, form_token, load_key, new_visitor
    from workingpapers.lab import Store

    store, key = Store(settings(folder)), load_key(folder / "home")
    browsers = []
    with store.writing() as session:
        for _ in range(count):
            user = UserRow(handle=f"load-{secrets.token_hex(6)}", role="reader")
            session.add(user)
            session.flush()
            visitor, cookie = new_visitor(), begin_signin(session, user, "load")
            browsers.append({"Cookie": f"{VISITOR_COOKIE}={visitor}; {SESSION_COOKIE}={cookie}", "token": form_token(key, visitor)})
        token = new_token(session, user, "load", ["read"])
        papers = list(session.scalars(select(PaperRow.public_id).where(PaperRow.slug.is_(None)).order_by(PaperRow.id).limit(40)))
    return browsers, token, papers


def votes(folder: Path, port: int, browsers: list[dict[str, str]], papers: list[str]) -> None:
    from sqlalchemy import func, select

    from workingpapers.hub.tables import PaperRow, VoteRow
    from workingpapers.lab import Store

    def many(browser: dict[str, str]) -> list[tuple[int, float]]:
        client = Client(port, {"Cookie": browser["Cookie"], "Content-Type": "application/x-www-form-urlencoded", "HX-Request": "true"})
        return [client.ask("/votes", "POST", f"token={browser['token']}&paper={p}&on=true")[:2] for p in papers[:10]]

    def vote_p95(found: list[list[tuple[int, float]]]) -> tuple[float, float]:
        p50, p95, _ = spread([s for part in found for _, s in part])
        return p50, p95

    def counts() -> tuple[int, int]:
        with Store(settings(folder)).reading() as session:
            return (session.scalar(select(func.count()).select_from(VoteRow)) or 0, session.scalar(select(func.sum(PaperRow.votes))) or 0)

    before = counts()
    p50, p95 = vote_p95([many(browsers[0])])
    row("vote, one after another", f"p50 {p50:.0f} ms, p95 {p95:.0f} ms", "p95 < 30 ms", p95 < 30, p50=p50, p95=p95)
    with ThreadPoolExecutor(len(browsers) - 1) as pool:
        found = list(pool.map(many, browsers[1:]))
    bad = [status for part in found for status, _ in part if status != 200]
    rows_, counted = (now - then for now, then in zip(counts(), before, strict=True))
    p50, p95 = vote_p95(found)
    row(f"{len(browsers) - 1} clients voting at once", f"{len(bad)} refused, {rows_} votes, {counted} counted; p95 {p95:.0f} ms",
        "none lost, no 5xx", not bad and rows_ == counted == 10 * len(browsers), p50=p50, p95=p95)


def streams(folder: Path, port: int, count: int = 200) -> None:
    from workingpapers.lab import Store
    from workingpapers.lab.store import EventRow, RunRow, now

    store, run_id = Store(settings(folder)), f"rload{secrets.token_hex(4)}"
    with store.writing() as session:
        run = RunRow(run_id=run_id, batch_id=run_id, slug="mini_gp", claim_id="switch-cost", scale="smoke", state="running")
        session.add(run)
        session.flush()
        pk = run.id
    seen: list[float] = []

    async def listen() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /api/v1/runs/{run_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode())
        while b"written_at" not in (line := await reader.readline()):
            if not line:
                return
        seen.append(time.time() - json.loads(line.partition(b"data: ")[2])["written_at"])
        writer.close()

    async def all_of_them() -> None:
        listening = [asyncio.create_task(listen()) for _ in range(count)]
        await asyncio.sleep(4)

        def write() -> None:
            with store.writing() as session:
                session.add(EventRow(run_pk=pk, seq=1, kind="progress", payload={"share": 0.5, "written_at": time.time()}))

        await asyncio.to_thread(write)
        await asyncio.wait(listening, timeout=15)

    asyncio.run(all_of_them())
    with store.writing() as session:
        gone = session.get_one(RunRow, pk)
        gone.state, gone.ended_at = "cancelled", now()
    late = max(seen) if seen else float("inf")
    row(f"live event, {count} open streams", f"{len(seen)} saw it, the last after {late:.2f} s", "< 1 s",
        len(seen) == count and late < 1, last=1e3 * late)


def digests(folder: Path, count: int = 1_000) -> None:
    from aiosmtpd.controller import Controller
    from sqlalchemy import delete

    from workingpapers.hub.mail.sending import deliver, plan
    from workingpapers.hub.settings import HubSettings
    from workingpapers.hub.tables import SubscriptionRow
    from workingpapers.lab import Store
    from workingpapers.lab.store import now
    from workingpapers.papers import load_catalogue

    class Sink:
        count = 0

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            Sink.count += 1
            return "250 taken"

    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(Sink(), hostname="127.0.0.1", port=port)
    controller.start()
    store, soon = Store(settings(folder)), now() + dt.timedelta(days=1)
    with store.writing() as session:
        session.execute(delete(SubscriptionRow).where(SubscriptionRow.email.like("load-%@example.org")))  # of a run before
        session.add_all(SubscriptionRow(email=f"load-{n}@example.org", kind="trending", token=f"{n:043d}", token_hash=secrets.token_hex(32),
                                        state="active", next_due=now()) for n in range(count))
    began = time.perf_counter()
    plan(store, soon)
    tally = deliver(store, load_catalogue(), HubSettings(smtp_host="127.0.0.1", smtp_port=port), moment=soon)
    took = time.perf_counter() - began
    controller.stop()
    row(f"digest to {count:,} subscribers, SMTP sink here", f"{tally.sent:,} sent, {Sink.count:,} taken in {took:.0f} s", "< 60 s",
        Sink.count == count and took < 60, seconds=took)


def size(folder: Path, process: subprocess.Popen[bytes]) -> None:
    import psutil

    rss = psutil.Process(process.pid).memory_info()
    private = psutil.Process(process.pid).memory_full_info().uss / 1e6
    row("memory of the web process after all this", f"{rss.rss / 1e6:.0f} MB resident, {private:.0f} MB its own", "RSS < 350 MB",
        rss.rss / 1e6 < 350, megabytes=rss.rss / 1e6)
    disk = sum(p.stat().st_size for p in (folder / "home").rglob("*") if p.is_file()) / 1e6
    row("disk for 100,000 papers with vectors", f"{disk:.0f} MB", "<= 500 MB", disk <= 500, megabytes=disk)


def run(folder: Path, results: Path | None) -> None:
    moment, began = dt.datetime.now(dt.UTC), time.perf_counter()

    def keep() -> None:
        if results is not None:
            facts = {"papers": PAPERS, "began_at": moment.isoformat(timespec="seconds"), "seconds": round(time.perf_counter() - began),
                     "cores": len(os.sched_getaffinity(0)), "load": [round(x, 1) for x in os.getloadavg()],
                     "python": platform.python_version(), "rows": ROWS}
            results.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def tried(part: Callable[..., None], *arguments: Any) -> None:
        """A part that fails is a row that is not met, and the others go on."""
        try:
            part(*arguments)
        except Exception as error:
            traceback.print_exc()
            row(part.__name__.replace("_", " "), f"failed: {type(error).__name__}: {str(error)[:100]}", "works", False)
        keep()

    asked = questions(folder)
    tried(text_search, folder, asked[:120], asked[120:240])
    process, port, seconds = started(folder)
    try:
        row("start to first feed page", f"{seconds:.1f} s", "< 5 s", seconds < 5, seconds=seconds)
        browsers, token, papers = people(folder, 51)
        tried(over_http, port, asked[240:440], token)
        tried(pages, port)
        tried(votes, folder, port, browsers, papers)
        tried(streams, folder, port)
        tried(size, folder, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
    tried(digests, folder)
    tried(intake, folder)
    tried(embedding, folder)


def table(results: Path) -> None:
    """Goal beside measured, as Markdown."""
    facts = json.loads(results.read_text(encoding="utf-8"))
    print(f"{facts['papers']:,} papers; {facts['began_at'][:16].replace('T', ' ')} UTC, {facts['seconds']} s in all, "
          f"{facts['cores']} core(s), Python {facts['python']}\n")
    print("| what | goal | measured | met | load of the machine |\n|---|---|---|---|---|")
    for r in facts["rows"]:
        print(f"| {r['what']} | {r['goal']} | {r['measured']} | {'yes' if r['met'] else '**not met**'} | {r['load']} |")


def main(arguments: list[str]) -> int:
    steps: dict[str, Callable[..., None]] = {"build": build, "run": run, "table": table}
    if not arguments:
        print("needs a folder and a sample of papers: python -m benchmarks.hub_load build FOLDER PAPERS.jsonl.gz VECTORS, then run FOLDER")
        return 0
    if arguments[0] not in steps:
        print(__doc__)
        return 2
    paths = [Path(a).resolve() for a in arguments[1:]]
    if arguments[0] == "run":
        run(paths[0], paths[1] if len(paths) > 1 else None)
    else:
        steps[arguments[0]](*paths)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
