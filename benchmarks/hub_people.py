"""People at once: 50 who vote, tag and comment beside 10 who read, for a minute, over sockets of this machine.

    python benchmarks/hub_people.py --database sqlite                   # one web worker
    python benchmarks/hub_people.py --database postgresql+psycopg://... --web 2
    python benchmarks/hub_people.py --database pgserver --web 2         # a PostgreSQL of its own, from the package pgserver

Prints how many requests were answered how, how long they took, and whether counters and trends are what the rows say.
Limits of single people are lifted, since fifty of them stand for thousands. Exit code 1 when anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
from sqlalchemy import func, select

PAPERS = 40


def web(port: int) -> None:
    """One web worker."""
    from dataclasses import replace

    import uvicorn

    from workingpapers.hub import create_app
    from workingpapers.hub.people import api, comments, limits

    api.VOTES = replace(limits.VOTES, count=10**6)  # type: ignore[attr-defined]
    comments.COMMENTS = replace(limits.COMMENTS, count=10**6)  # type: ignore[attr-defined]
    uvicorn.run(create_app(), host="127.0.0.1", port=port, log_level="error", access_log=False, proxy_headers=False)


@contextlib.contextmanager
def workers(n: int, environment: dict[str, str]) -> Iterator[list[str]]:
    """Web workers on ports of their own; gives their addresses once they answer."""
    with contextlib.ExitStack() as held:  # free ones, all different
        ports = [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(n)]
    processes = [subprocess.Popen([sys.executable, __file__, "--web-worker", str(p)], env={**os.environ, **environment}) for p in ports]
    addresses = [f"http://127.0.0.1:{p}" for p in ports]
    try:
        for address in addresses:
            for _ in range(300):
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(f"{address}/healthz").status_code == 200:
                        break
                time.sleep(0.1)
            else:
                raise SystemExit(f"no answer from {address}")
        yield addresses
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def populate(n: int) -> list[str]:
    """Papers to speak about, and a token for each writer."""
    import workingpapers.hub.tables as t
    from workingpapers.hub.people.accounts import create_user
    from workingpapers.hub.people.signin import new_token
    from workingpapers.lab import Store

    store = Store()
    with store.writing() as session:
        for i in range(PAPERS):
            session.add(t.PaperRow(public_id=f"2403.{i:05}", title=f"Paper {i}", title_key=f"paper{i}", abstract="Some words."))
        people = [create_user(session, handle=f"writer-{i}", created_by="benchmark") for i in range(n)]
        return [new_token(session, person, "", ["vote", "comment"]) for person in people]


def act(client: httpx.Client, rng: random.Random) -> tuple[str, int, float]:
    """One write or read; (kind, status, seconds)."""
    paper, kind = f"2403.{rng.randrange(PAPERS):05}", rng.choices(["vote", "unvote", "tag", "comment"], [50, 25, 15, 10])[0]
    start = time.perf_counter()
    if kind == "comment":
        answer = client.post("/api/v1/comments", json={"paper": paper, "markdown": "So *it* is, $x^2$."})
    elif kind == "tag":
        answer = client.put(f"/api/v1/tags/{rng.choice(['saved', 'later'])}/{paper}")
    else:
        answer = client.request("PUT" if kind == "vote" else "DELETE", f"/api/v1/votes/{paper}")
    return kind, answer.status_code, time.perf_counter() - start


def read(client: httpx.Client, rng: random.Random) -> tuple[str, int, float]:
    start = time.perf_counter()
    answer = client.get(rng.choice(["/papers", f"/papers/2403.{rng.randrange(PAPERS):05}", "/papers/trending", "/claims"]))
    return "read", answer.status_code, time.perf_counter() - start


def load(addresses: list[str], tokens: list[str], readers: int, seconds: float, pause: float) -> list[tuple[str, int, float]]:
    """Writers and readers in threads, until the time is up."""
    found: list[list[tuple[str, int, float]]] = []
    end = time.monotonic() + seconds

    def go(i: int, headers: dict[str, str], one: object) -> None:
        rng, mine = random.Random(i), []
        found.append(mine)
        with httpx.Client(base_url=addresses[i % len(addresses)], headers=headers, timeout=60) as client:
            while time.monotonic() < end:
                try:
                    mine.append(one(client, rng))  # type: ignore[operator]
                except httpx.HTTPError as error:
                    mine.append((type(error).__name__, 0, 0.0))
                time.sleep(rng.random() * 2 * pause)

    threads = [threading.Thread(target=go, args=(i, {"authorization": f"Bearer {token}"}, act)) for i, token in enumerate(tokens)]
    threads += [threading.Thread(target=go, args=(1000 + i, {}, read)) for i in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [x for mine in found for x in mine]


def wrong_papers() -> list[str]:
    """Papers whose counters or trend are not what the rows say."""
    import workingpapers.hub.tables as t
    from workingpapers.hub import trending
    from workingpapers.lab import Store

    out = []
    with Store().reading() as session:
        for paper in session.scalars(select(t.PaperRow).where(t.PaperRow.public_id.like("2403.%"))):
            votes = session.scalar(select(func.count()).where(t.VoteRow.paper_id == paper.id))
            comments = session.scalar(select(func.count()).where(t.CommentRow.paper_id == paper.id, t.CommentRow.deleted_at.is_(None)))
            events = session.scalars(select(t.TrendEventRow).where(t.TrendEventRow.paper_id == paper.id))
            direct = trending.total(trending.term(event.weight, event.at) for event in events)
            off = 0.0 if paper.trend_log == direct else np.inf if None in (paper.trend_log, direct) else abs(paper.trend_log - direct)
            if (paper.votes, paper.comments) != (votes, comments) or off > 1e-9:
                out.append(f"{paper.public_id}: {paper.votes} votes, {votes} rows; {paper.comments} comments, {comments} rows; "
                           f"trend {paper.trend_log}, direct {direct}")
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", default="", help="SQLAlchemy URL, sqlite, or pgserver")
    parser.add_argument("--web", type=int, default=1)
    parser.add_argument("--writers", type=int, default=50)
    parser.add_argument("--readers", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pause", type=float, default=0.5, help="mean seconds between two acts of one person")
    parser.add_argument("--web-worker", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.web_worker:
        web(given.web_worker)
        return 0
    if not given.database:
        print("needs a database and some minutes: python benchmarks/hub_people.py --database sqlite, or --database pgserver --web 2")
        return 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        database = given.database if given.database != "sqlite" else ""
        if database == "pgserver":
            import pgserver

            server = stack.enter_context(pgserver.get_server(Path(folder) / "pg"))
            database = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        environment = {"WORKINGPAPERS_HOME": folder, "WORKINGPAPERS_DATABASE": database}
        os.environ.update(environment)
        tokens = populate(given.writers)
        with workers(given.web, environment) as addresses:
            with httpx.Client(base_url=addresses[0], headers={"authorization": f"Bearer {tokens[0]}"}, timeout=60) as client:
                alone = []
                for i in range(200):
                    start = time.perf_counter()
                    client.request("PUT" if i % 2 else "DELETE", "/api/v1/votes/2403.00000").raise_for_status()
                    alone.append(time.perf_counter() - start)
            print(f"a vote alone: median {1e3 * np.median(alone):.1f} ms, p95 {1e3 * np.quantile(alone, 0.95):.1f} ms")
            found = load(addresses, tokens, given.readers, given.seconds, given.pause)
        wrong = wrong_papers()
    print(f"{given.writers} writers and {given.readers} readers for {given.seconds:g} s, {given.web} web worker(s), "
          f"{'PostgreSQL' if database else 'SQLite'}")
    for kind in sorted({k for k, _, _ in found}):
        times = [t for k, _, t in found if k == kind]
        codes = Counter(c for k, c, _ in found if k == kind)
        print(f"  {kind:<8} {len(times):>6}  {dict(codes)}  median {1e3 * np.median(times):.0f} ms, "
              f"p95 {1e3 * np.quantile(times, 0.95):.0f} ms, longest {1e3 * max(times):.0f} ms")
    failed = sum(1 for _, code, _ in found if not 200 <= code < 300)
    print(f"  {failed} failed, {len(wrong)} papers with wrong counters or trend")
    print("\n".join(wrong))
    return 1 if failed or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
