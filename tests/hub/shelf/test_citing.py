"""A paper for reference managers, read back by their own parsers."""

from __future__ import annotations

import datetime as dt
import io
import json
from typing import Any

import bibtexparser
import pytest
import rispy
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html

from workingpapers.hub import shelf
from workingpapers.hub.ingest import Problems, Record
from workingpapers.hub.ingest.bibtex import iter_bibtex
from workingpapers.hub.markup import plain_text
from workingpapers.hub.shelf import citing
from workingpapers.hub.tables import PaperRow

DAY = dt.date(2026, 3, 1)
URL = "http://localhost/papers/x"
TITLES = ["Paper Lanterns", r"On $\ell_1$ norms: 100% & #1_2 of {B}races} ^~", r"Erd\H{o}s and M\"ucke's {GPT}-4 \& LaTeX",
          "A \\ backslash",
          "Über die α-Fairness — 😀", "$x$", "}{", "Ends in a backslash\\",
          "A $ lone dollar, and $5 or $10", r"\emph{Open", "100%", "@article{x,"]
NAMES = ["Ada Kowalska", "Jürgen Faltin", "Ludwig van der Berg", "Martin King Jr.", "ATLAS Collaboration", "Plato", "O'Neil, Shaq",
         "Simon and Garfunkel", "A {B} C", "X & Y"]


def row(**over: Any) -> PaperRow:
    values = {"public_id": "2603.00101", "title": "Paper Lanterns", "abstract": "We light\nlanterns <b>.", "authors": ["Ada Kowalska"],
              "author_count": 1, "published_on": DAY, "listed_on": None, "categories": ["cs.LG"], "primary_category": "cs.LG", "tags": [],
              "arxiv_id": "2603.00101", "doi": None, "journal_ref": None, "venue": None} | over
    return PaperRow(**values)


@pytest.mark.parametrize("title", TITLES)
def test_bibtex_is_read_back_by_a_parser_and_by_ourselves(title: str) -> None:
    text = citing.bibtex(row(title=title, authors=NAMES, author_count=len(NAMES), doi="10.5555/a_b%c"), URL)
    library = bibtexparser.parse_string(text)
    assert library.failed_blocks == []
    (entry,) = library.entries
    assert entry["eprint"] == "2603.00101"
    assert len(entry["author"].split(" and ")) >= len(NAMES)
    problems = Problems()
    (record,) = iter_bibtex(io.BytesIO(text.encode()), problems)
    assert problems.count == 0
    assert (record.arxiv_id, record.doi, record.published or record.around) == ("2603.00101", "10.5555/a_b%c", DAY)
    assert len(record.authors) == len(NAMES)
    assert record.authors[:3] == ("Ada Kowalska", "Jürgen Faltin", "Ludwig van der Berg")
    if title in TITLES[:1]:
        assert record.title == title


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=60), st.lists(st.text(min_size=1, max_size=20), max_size=4))
def test_any_words_give_one_sound_entry(title: str, names: list[str]) -> None:
    title, names = title.replace("\x00", ""), [n.replace("\x00", "") or "x" for n in names]
    paper = row(title=title, authors=names, author_count=len(names) + 1)
    text = citing.bibtex(paper, URL)
    library = bibtexparser.parse_string(text)
    assert (len(library.entries), library.failed_blocks) == (1, [])
    assert library.entries[0]["eprint"] == "2603.00101"
    read = rispy.loads(citing.ris(paper, URL))
    assert len(read) == 1
    assert read[0]["urls"] == ["https://arxiv.org/abs/2603.00101"]
    json.dumps(citing.csl(paper, URL))


def test_ris_is_read_back() -> None:
    paper = row(title=r"On $O(n^2)$ and M\"ucke", authors=NAMES, journal_ref="J. Lanterns 3", doi="10.5555/x", tags=["light"])
    (entry,) = rispy.loads(citing.ris(paper, URL))
    assert entry["title"] == plain_text(paper.title) == "On O(n²) and Mücke"
    assert entry["authors"][:3] == ["Kowalska, Ada", "Faltin, Jürgen", "van der Berg, Ludwig"]
    assert "ATLAS Collaboration" in entry["authors"]
    assert (entry["type_of_reference"], entry["year"], entry["doi"]) == ("JOUR", "2026", "10.5555/x")
    assert entry["abstract"] == "We light lanterns <b>."
    assert entry["keywords"] == ["cs.LG", "light"]


def test_formats_over_http_and_tags_of_the_page(client: Any, lab: Any) -> None:
    hostile = 'Lanterns "<script>" & {braces} $O(n^2)$'
    shelf.take_in(lab.store, [Record("arxiv", "m", hostile, arxiv_id="math/9410209", authors=("Ada Kowalska", "B <b> C"), author_count=2,
                                     published=DAY, doi="10.5555/x", categories=("math.CO",), primary_category="math.CO")])
    types = {".bib": "application/x-bibtex", ".ris": "application/x-research-info-systems", ".md": "text/markdown",
             ".csl.json": "application/vnd.citationstyles.csl+json"}
    for suffix, kind in types.items():
        answer = client.get(f"/papers/math/9410209{suffix}")
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, kind)
        assert client.get(f"/papers/coin{suffix}").status_code == 200
        assert client.get(f"/papers/nobody{suffix}").status_code == 404
    (item,) = client.get("/papers/math/9410209.csl.json").json()
    assert item["author"] == [{"family": "Kowalska", "given": "Ada"}, {"family": "C", "given": "B <b>"}]
    assert item["issued"] == {"date-parts": [[2026, 3, 1]]}
    tree = html.fromstring(client.get("/papers/math/9410209").text)
    tags = [(m.get("name"), m.get("content")) for m in tree.xpath("//meta[starts-with(@name,'citation_')]")]
    assert dict(tags)["citation_title"] == 'Lanterns "<script>" & braces O(n²)'
    assert [c for n, c in tags if n == "citation_author"] == ["Ada Kowalska", "B <b> C"]
    assert dict(tags)["citation_publication_date"] == "2026/03/01"
    assert dict(tags)["citation_arxiv_id"] == "math/9410209"
    assert not tree.xpath("//script[not(@src)] | //b")
