"""Manners on the wire: pace, Retry-After, hosts, redirects; and whole harvests over recorded pages."""

from __future__ import annotations

import datetime as dt
import http.server
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from workingpapers.hub.ingest import ComeBackLater, Fetcher, Problems, Refused, SourceError, harvest_arxiv, harvest_hf, harvest_oai
from workingpapers.hub.ingest.wire import Answer, urllib_transport

URL = "https://export.arxiv.org/api/query?x=1"
NOW = dt.datetime(2026, 3, 3, 12, tzinfo=dt.UTC)


class World:
    """A clock that only sleeping moves, and hosts that answer what a function says, each request taking half a second."""

    def __init__(self, answer) -> None:
        self.time, self.asked, self.answer = 0.0, [], answer

    def transport(self, url, headers, timeout, limit):
        self.asked.append((self.time, url, headers))
        self.time += 0.5
        found = self.answer(len(self.asked), url)
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Answer) else Answer(200, {}, found)

    def sleep(self, seconds):
        assert seconds >= 0
        self.time += seconds

    def fetcher(self, **options) -> Fetcher:
        return Fetcher(transport=self.transport, clock=lambda: self.time, sleep=self.sleep, now=lambda: NOW, **options)


def test_requests_keep_the_pace_of_each_host():
    world = World(lambda n, url: b"ok")
    fetcher = world.fetcher()
    for _ in range(4):
        assert fetcher.get(URL) == b"ok"
    assert [time for time, _, _ in world.asked] == [0.0, 3.5, 7.0, 10.5], "3 s from the end of one to the start of the next"
    fetcher.get("https://huggingface.co/api/daily_papers")
    assert world.asked[-1][0] == 11.0, "another host has a pace of its own"


def test_we_say_who_we_are():
    world = World(lambda n, url: b"ok")
    world.fetcher(contact="ops@example.org\r\nX-Evil: 1").get(URL)
    agent = world.asked[0][2]["User-Agent"]
    assert agent.startswith("WorkingPapers/")
    assert "ops@example.org" in agent
    assert "\n" not in agent


@pytest.mark.parametrize(
    ("header", "pause"),
    [("17", 17.0), ("Tue, 03 Mar 2026 12:00:40 GMT", 40.0), ("Tue, 03 Mar 2026 11:00:00 GMT", 0.0), ("soon", 5.0), ("", 5.0)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(header, pause, status):
    world = World(lambda n, url: Answer(status, {"retry-after": header}, b"") if n == 1 else b"ok")
    assert world.fetcher().get(URL) == b"ok"
    assert world.asked[1][0] == 0.5 + max(pause, 3.0)


def test_a_long_pause_is_handed_back():
    world = World(lambda n, url: Answer(503, {"retry-after": "3600"}, b""))
    with pytest.raises(ComeBackLater) as caught:
        world.fetcher().get(URL)
    assert caught.value.seconds == 3600
    assert len(world.asked) == 1


def test_giving_up_after_growing_pauses():
    world = World(lambda n, url: OSError("connection reset") if n % 2 else Answer(500, {}, b""))
    with pytest.raises(SourceError, match="no good answer in 5 tries"):
        world.fetcher().get(URL)
    assert [b - a for (a, _, _), (b, _, _) in zip(world.asked, world.asked[1:])] == [5.5, 10.5, 20.5, 40.5]


@pytest.mark.parametrize("status", [301, 302, 400, 403, 404])
def test_what_asking_again_will_not_mend(status):
    world = World(lambda n, url: Answer(status, {"location": "https://example.org/"}, b""))
    with pytest.raises(Refused, match=str(status)):
        world.fetcher().get(URL)
    assert len(world.asked) == 1


@pytest.mark.parametrize(
    "url",
    ["http://export.arxiv.org/", "https://example.org/", "https://export.arxiv.org.example.org/", "https://export.arxiv.org@example.org/",
     "https://x@export.arxiv.org/", "https://export.arxiv.org:8443/", "file:///etc/passwd",
     "https://127.0.0.1/", "https://[::1", "", "//export.arxiv.org"],
)  # fmt: skip
def test_only_hosts_on_the_list(url):
    world = World(lambda n, url: b"ok")
    with pytest.raises(SourceError):
        world.fetcher().get(url)
    assert world.asked == []


def test_threads_take_turns():
    together = []
    busy = threading.Lock()

    def transport(url, headers, timeout, limit):
        together.append(busy.acquire(blocking=False))
        threading.Event().wait(0.005)
        busy.release()
        return Answer(200, {}, b"ok")

    fetcher = Fetcher(transport=transport, pauses={"export.arxiv.org": 0.0})
    threads = [threading.Thread(target=fetcher.get, args=(URL,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [True] * 8


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/large")
            self.end_headers()
            return
        body = b"x" * 5000 if self.path == "/large" else self.headers["User-Agent"].encode()
        self.send_response(503 if self.path == "/busy" else 200)
        self.send_header("Retry-After", "7")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_the_real_transport(server):
    fetcher = Fetcher(pauses={server: 0.0}, schemes=("http",), tries=1)
    assert fetcher.get(f"http://{server}/").startswith(b"WorkingPapers/")
    with pytest.raises(Refused, match="302"):
        fetcher.get(f"http://{server}/away")
    answer = urllib_transport(f"http://{server}/large", {}, 5.0, 1000)
    assert len(answer.body) == 1001, "never reads far beyond the limit"
    answer = urllib_transport(f"http://{server}/busy", {}, 5.0, 1000)
    assert (answer.status, answer.headers["retry-after"]) == (503, "7")
    with pytest.raises(OSError):
        urllib_transport("http://127.0.0.1:1/", {}, 5.0, 1000)


def feed(start: int, count: int, total: int) -> bytes:
    entries = "".join(
        f"<entry><id>http://arxiv.org/abs/2603.{n + 1:05}v1</id><title>Paper {n}</title><published>2026-03-01T00:00:00Z</published></entry>"
        for n in range(start, min(start + count, total))
    )
    spaces = 'xmlns="http://www.w3.org/2005/Atom" xmlns:o="http://a9.com/-/spec/opensearch/1.1/"'
    return f"<feed {spaces}><o:totalResults>{total}</o:totalResults>{entries}</feed>".encode()


def query(url: str) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}


def test_arxiv_pages_up_to_the_end():
    def answer(n, url):
        q = query(url)
        if n == 2:
            return feed(0, 0, 23)  # what arXiv sends under load
        return feed(int(q["start"]), int(q["max_results"]), 23)

    world = World(answer)
    records = list(harvest_arxiv(world.fetcher(), Problems(), search_query="cat:cs.LG", page_size=10, now=lambda: NOW))
    assert [r.title for r in records] == [f"Paper {n}" for n in range(23)]
    assert [query(url)["start"] for _, url, _ in world.asked] == ["0", "10", "10", "20"]
    assert records[0].fetched == NOW


def test_arxiv_that_stays_empty_is_an_error():
    world = World(lambda n, url: feed(0, 0, 23))
    with pytest.raises(SourceError, match="keeps answering without records at 0 of 23"):
        list(harvest_arxiv(world.fetcher(), Problems(), search_query="x"))
    assert len(world.asked) == 3


def test_arxiv_limits_and_ids():
    world = World(lambda n, url: feed(0, 0, 0))
    assert list(harvest_arxiv(world.fetcher(), Problems(), search_query="x")) == []
    names = [f"2603.{n:05}" for n in range(1, 8)]
    list(harvest_arxiv(world.fetcher(), Problems(), id_list=names, page_size=3))
    assert [query(url)["id_list"].count(",") for _, url, _ in world.asked[1:]] == [2, 2, 0]
    for wrong in (
        {},
        {"search_query": "x", "page_size": 2001},
        {"search_query": "x", "start": 29_999, "limit": 2},
        {"id_list": ["nonsense"]},
    ):
        with pytest.raises(ValueError, match=r"search_query|page_size|start|id_list"):
            list(harvest_arxiv(world.fetcher(), Problems(), **wrong))


def oai(days: list[int], token: str | None, error: str = "") -> bytes:
    records = "".join(
        f"<record><header status='deleted'><identifier>oai:arXiv.org:2603.{d:05}</identifier>"
        f"<datestamp>2026-03-{d:02}</datestamp></header></record>"
        for d in days
    )
    body = (
        f"<error code='{error}'>gone</error>"
        if error
        else f"<ListRecords>{records}<resumptionToken>{token or ''}</resumptionToken></ListRecords>"
    )
    return f'<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/">{body}</OAI-PMH>'.encode()


def test_oai_follows_tokens_and_starts_again_when_one_expires():
    pages = [oai([1, 2], "t1"), oai([3], "t2"), oai([], None, "badResumptionToken"), oai([3, 4], "t3"), oai([5], None)]
    world, tokens = World(lambda n, url: pages[n - 1]), []
    records = list(harvest_oai(world.fetcher(), Problems(), since=dt.date(2026, 3, 1), subset="cs", on_page=tokens.append))
    assert [r.revised.day for r in records] == [1, 2, 3, 3, 4, 5]
    assert tokens == ["t1", "t2", "t3", None]
    asked = [query(url) for _, url, _ in world.asked]
    assert asked[0] == {"verb": "ListRecords", "metadataPrefix": "arXiv", "from": "2026-03-01", "set": "cs"}
    assert asked[1] == {"verb": "ListRecords", "resumptionToken": "t1"}
    assert asked[3]["from"] == "2026-03-03", "from the newest datestamp seen"


def test_oai_token_that_expires_without_progress():
    world = World(lambda n, url: oai([], None, "badResumptionToken") if "resumptionToken" in url else oai([], "t"))
    with pytest.raises(SourceError, match="no longer good"):
        list(harvest_oai(world.fetcher(), Problems(), since=dt.date(2026, 3, 1)))
    assert len(world.asked) == 4
    with pytest.raises(ValueError, match="prefix"):
        list(harvest_oai(world.fetcher(), Problems(), prefix="marc"))


def test_daily_papers_pages():
    def answer(n, url):
        q = query(url)
        rows = range(int(q["p"]) * 2, min(int(q["p"]) * 2 + 2, 5))
        return ("[" + ",".join(f'{{"paper": {{"id": "2603.{r + 1:05}", "title": "P{r}"}}}}' for r in rows) + "]").encode()

    world = World(answer)
    records = list(harvest_hf(world.fetcher(), Problems(), dt.date(2026, 3, 3), page_size=2))
    assert [r.title for r in records] == [f"P{n}" for n in range(5)]
    assert query(world.asked[0][1]) == {"date": "2026-03-03", "p": "0", "limit": "2"}
