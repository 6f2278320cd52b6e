"""Lists for feed readers: read by feedparser and by a strict XML parser, unchanged while nothing changes."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import time
from typing import Any

import feedparser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from workingpapers.hub import shelf
from workingpapers.hub.ingest import Record
from workingpapers.hub.shelf.syndication import Entry, Feed, to_atom, to_json, to_rss

DAY = dt.date(2026, 3, 3)
HOSTILE = "We end ]]> here, <script>alert(1)</script> & costs $5 😀 &amp; \u2028 \u202e done"
LISTS = ["/feed", "/papers", "/papers/date/2026-03-03", "/papers/week/2026-W10", "/papers/month/2026-03", "/papers/trending"]
MOMENT = dt.datetime(2026, 3, 3, 12, tzinfo=dt.UTC)


@pytest.fixture
def lanterns(lab: Any) -> Record:
    record = Record("arxiv", "2603.00101v1", "Lanterns ]]> & <b>light</b>", arxiv_id="2603.00101", abstract=HOSTILE,
                    authors=("Ada <i>", "Jürgen Faltin"), author_count=2, published=dt.date(2026, 3, 1), listed=DAY, categories=("cs.LG",))
    shelf.take_in(lab.store, [record])
    return record


@pytest.mark.parametrize("address", LISTS)
def test_every_list_in_every_format(client: Any, lanterns: Record, address: str) -> None:
    for ending in ("atom", "rss"):
        answer = client.get(f"{address}.{ending}")
        assert answer.status_code == 200
        etree.fromstring(answer.content, etree.XMLParser(resolve_entities=False))
        read = feedparser.parse(answer.content, sanitize_html=False)
        assert not read.bozo, read.get("bozo_exception")
        entry = next(e for e in read.entries if "2603.00101" in e.id)
        assert entry.title == "Lanterns ]]> & <b>light</b>" or ending == "rss"
        assert entry.id.startswith("tag:workingpapers.localhost,2025:paper:")
        assert entry.link == "http://localhost/papers/2603.00101"
        assert "]]> here" in entry.summary.replace("&gt;", ">")
        assert "😀" in entry.summary
        assert "cs.LG" in [t.term for t in entry.tags]
        assert tuple(entry.published_parsed)[:3] == (2026, 3, 3)
    answer = client.get(f"{address}.json")
    document = json.loads(answer.content)
    item = next(i for i in document["items"] if "2603.00101" in i["id"])
    assert answer.headers["content-type"].startswith("application/feed+json")
    assert document["version"] == "https://jsonfeed.org/version/1.1"
    assert (item["title"], item["authors"][0]["name"]) == ("Lanterns ]]> & <b>light</b>", "Ada <i>")
    assert "<script>alert(1)</script>" in item["content_text"]
    assert client.get(f"{address}.xml").status_code == 404


def test_summaries_in_rss_are_text_even_where_readers_take_html(client: Any, lanterns: Record) -> None:
    read = feedparser.parse(client.get("/feed.rss").content, sanitize_html=False)
    entry = next(e for e in read.entries if "2603.00101" in e.id)
    assert "<script>" not in entry.summary
    assert "&lt;script&gt;" in entry.summary


@pytest.mark.slow
def test_a_repeated_request_is_304_until_a_fact_changes(client: Any, lab: Any, lanterns: Record) -> None:
    first = client.get("/feed.atom")
    tag, date = first.headers["etag"], first.headers["last-modified"]
    for headers in ({"If-None-Match": tag}, {"If-None-Match": f'W/{tag}, "other"'}, {"If-Modified-Since": date}):
        again = client.get("/feed.atom", headers=headers)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    assert client.get("/feed.atom", headers={"If-None-Match": '"other"', "If-Modified-Since": date}).status_code == 200
    assert client.get("/feed.atom", headers={"If-Modified-Since": "nonsense"}).status_code == 200
    assert client.get("/feed.rss", headers={"If-None-Match": tag}).status_code == 200, "another format is another thing"
    before = feedparser.parse(first.content).entries
    shelf.take_in(lab.store, [lanterns])
    assert client.get("/feed.atom").content == first.content
    time.sleep(1.1)  # times in feeds are whole seconds
    shelf.take_in(lab.store, [dataclasses.replace(lanterns, abstract="New words.", revised=dt.date(2026, 6, 1))])
    after = {e.id: e for e in feedparser.parse(client.get("/feed.atom", headers={"If-None-Match": tag}).content).entries}
    for entry in before:
        changed = "2603.00101" in entry.id
        assert (after[entry.id].updated != entry.updated) == changed
        assert after[entry.id].published == entry.published


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(), max_size=80), st.text(st.characters(), max_size=20))
def test_any_text_is_valid_xml_and_json(text: str, name: str) -> None:
    entry = Entry("tag:x,2025:paper:1", text, "http://localhost/papers/1", text, [name], [name], MOMENT, MOMENT)
    feed = Feed("tag:x,2025:list", text, "http://localhost/?q=" + name, "http://localhost/feed", [entry])
    for write in (to_atom, to_rss):
        etree.fromstring(write(feed).encode(), etree.XMLParser(resolve_entities=False))
    json.loads(to_json(feed))
    assert feedparser.parse(to_atom(feed).encode()).entries[0].id == "tag:x,2025:paper:1"


def test_control_characters_and_lone_surrogates_are_left_out() -> None:
    entry = Entry("tag:x,2025:paper:1", "a\x00b\x0bc\ufffe\ud800d", "http://localhost/1", "\x1b", [], [], MOMENT, MOMENT)
    text = to_atom(Feed("tag:x,2025:list", "t", "http://localhost/", "http://localhost/feed", [entry]))
    assert etree.fromstring(text.encode()).findtext("{*}entry/{*}title") == "abcd"
