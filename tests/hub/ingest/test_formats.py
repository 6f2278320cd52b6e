"""What each kind of source says, read from small recorded files about papers that do not exist."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
from pathlib import Path

import pytest

from workingpapers.hub.ingest import Link, Problems, Record, Result, Signal, SourceError, Version, from_json, iter_records, to_json
from workingpapers.hub.ingest.atom import AtomPage, iter_atom
from workingpapers.hub.ingest.oai import OaiPage, TokenExpired, iter_oai
from workingpapers.papers import load_catalogue

DATA = Path(__file__).parent / "data"
DAY = dt.date


def read(format, name, **options) -> tuple[list[Record], Problems]:
    problems = Problems()
    return list(iter_records(format, DATA / name, problems, **options)), problems


def test_atom():
    (lantern, pebbles), problems = read("atom", "atom.xml")
    assert lantern.title == r"Paper Lanterns: Folding $O(n \log n)$ Light Paths"
    assert (lantern.arxiv_id, lantern.source_key, lantern.doi) == ("2603.00101", "2603.00101v3", "10.5555/lantern.2026.7")
    assert lantern.abstract.endswith("needs & show that fewer than $n < 2^k$ are never enough.")
    assert lantern.authors == ("Ada Kowalska", "Jürgen Faltin")
    assert lantern.author_count == 2
    assert (lantern.published, lantern.updated) == (DAY(2026, 3, 1), DAY(2026, 5, 2))
    assert lantern.categories == ("cs.CG", "math.MG"), "the primary class first, no MSC classes"
    assert [v.number for v in lantern.versions] == [1, 3]
    assert lantern.versions[0] == Version(1, DAY(2026, 3, 1))
    assert lantern.links == (Link("pdf", "http://arxiv.org/pdf/2603.00101v3", official=True),)
    assert pebbles.arxiv_id == "cs/0101001", "the class of an old id is dropped"
    assert [p.where for p in problems.first] == ["entry 3"]


def test_atom_tells_totals_and_errors():
    page = AtomPage()
    with (DATA / "atom.xml").open("rb") as stream:
        list(iter_atom(stream, Problems(), page=page))
    assert page == AtomPage(total=41, start=0, entries=3)
    with pytest.raises(SourceError, match="incorrect id format for 1234"):
        read("atom", "atom-error.xml")


def test_oai_arxiv_format():
    (lantern, gone), problems = read("oai", "oai-arxiv.xml")
    assert lantern.authors == ("Ada Kowalska", "Jürgen Faltin Jr")
    assert lantern.licence == "http://creativecommons.org/licenses/by/4.0/"
    assert (lantern.published, lantern.updated, lantern.revised) == (DAY(2026, 3, 1), DAY(2026, 5, 2), DAY(2026, 5, 3))
    assert lantern.primary_category == "cs.CG"
    assert gone.deleted
    assert (gone.arxiv_id, gone.title) == ("2603.00666", "")
    assert problems.count == 1


def test_oai_dublin_core():
    (sheep,), problems = read("oai", "oai-dc.xml")
    assert sheep.authors == ("María de la Cruz", "Bo Shepherd")
    assert sheep.categories == ("cs.DS", "math.PR")
    assert sheep.primary_category is None, "the order of subjects says nothing"
    assert sheep.abstract == "We count sheep once each and never look back."
    assert (sheep.comment, sheep.journal_ref, sheep.doi) == ("7 pages, many sheep", "Flock Letters 2 (2014)", "10.5555/sheep.1")
    assert (sheep.published, sheep.updated) == (DAY(2014, 3, 2), DAY(2015, 5, 30))
    assert not problems.count


def test_oai_tokens_and_errors(tmp_path):
    page = OaiPage()
    with (DATA / "oai-arxiv.xml").open("rb") as stream:
        list(iter_oai(stream, Problems(), page=page))
    assert page == OaiPage(token="verb%3DListRecords%26skip%3D1000", total=2501, records=3)
    answer = '<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/"><error code="{}">so it is</error></OAI-PMH>'
    for code, outcome in (("badResumptionToken", TokenExpired), ("badArgument", SourceError), ("noRecordsMatch", None)):
        path = tmp_path / code
        path.write_text(answer.format(code))
        if outcome is None:
            assert list(iter_records("oai", path)) == []
        else:
            with pytest.raises(outcome, match="so it is"):
                list(iter_records("oai", path))


def test_kaggle_snapshot():
    (stones, knot), problems = read("kaggle", "kaggle.jsonl")
    assert stones.title == "Stones that Remember"
    assert stones.abstract == "Stones remember where they lay. We ask them."
    assert stones.authors == ("O. Sten", "P. Régis Jr.", "Q. Rock")
    assert stones.versions == (Version(1, DAY(2007, 4, 2)), Version(2, DAY(2007, 7, 24)))
    assert (stones.published, stones.updated, stones.revised) == (DAY(2007, 4, 2), DAY(2007, 7, 24), DAY(2008, 11, 26))
    assert stones.categories == ("cs.LG", "stat.ML")
    assert knot.authors == ("A. One", "B. Two", "C. Three"), "from the one string, without affiliations"
    assert knot.warnings == ("version date: not a date: not a date",)
    assert not problems.count
    line = (DATA / "kaggle.jsonl").read_bytes().splitlines()[0]
    assert stones.payload == line
    assert stones.payload_hash == hashlib.sha256(line).hexdigest()


@pytest.mark.parametrize("packed", [False, True])
def test_a_snapshot_resumes_where_it_stopped(tmp_path, packed):
    lines = [json.dumps({"id": f"2603.{n:05}", "title": f"Paper {n}", "categories": "cs.LG"}).encode() for n in range(1, 50)]
    path = tmp_path / "snapshot"
    path.write_bytes(gzip.compress(b"\n".join(lines)) if packed else b"\r\n\n".join(lines))
    whole = list(iter_records("kaggle", path))
    assert [r.payload for r in whole] == lines
    for cut in (0, 17, 48):
        rest = list(iter_records("kaggle", path, offset=whole[cut].resume_at))
        assert [r.arxiv_id for r in rest] == [r.arxiv_id for r in whole[cut + 1 :]]
    with pytest.raises(SourceError, match="within a line"):
        list(iter_records("kaggle", path, offset=whole[3].resume_at - 5))
    with pytest.raises(SourceError, match="behind the end"):
        list(iter_records("kaggle", path, offset=10**6))


def test_plain_list():
    (wind, listed), problems = read("jsonl", "plain.jsonl")
    assert (wind.source, wind.published, wind.listed, wind.primary_category) == ("oai", DAY(2014, 9, 23), None, None)
    assert (listed.source, listed.published, listed.listed) == ("arxiv", None, DAY(2026, 3, 3))
    assert (listed.categories, listed.primary_category) == (("cs.LG", "stat.ML"), "cs.LG")
    assert problems.first[0].message == "no arXiv id: '1409.90001'", "five digits before 2015"


def test_daily_papers_json():
    (lantern, odd), problems = read("hf", "hf.json")
    assert lantern.authors == ("Ada Kowalska", "Jürgen Faltin"), "hidden authors are wrong ones"
    assert (lantern.published, lantern.listed) == (DAY(2026, 3, 1), DAY(2026, 3, 3))
    assert lantern.signals == (Signal("upvotes", 0), Signal("comments", 4), Signal("stars", 17))
    assert [(link.kind, link.url.rpartition("/")[2]) for link in lantern.links] == [
        ("code", "lanterns"),
        ("model", "lantern-7b"),
        ("demo", "fold"),
    ]
    assert any("javascript" in w for w in lantern.warnings)
    assert "machine" not in to_json(lantern)
    assert len(odd.warnings) == 3
    assert problems.first[0].where == "item 2"


def test_one_flat_paper(tmp_path):
    path = tmp_path / "paper.json"
    path.write_text('{"id": "2603.00101", "title": "Flat", "publishedAt": "2026-03-01T00:00:00Z", "upvotes": 3}')
    (flat,) = iter_records("hf", path)
    assert (flat.title, flat.listed, flat.signals) == ("Flat", None, (Signal("upvotes", 3),))


def test_bibtex():
    (lantern, soup, pebbles, wind, last), problems = read("bibtex", "refs.bib")
    assert lantern.title == r"Paper Lanterns: Folding $O(n \log n)$ Light Paths"
    assert lantern.authors == ("Ada Kowalska", "Jürgen Faltin", "The Lantern Group")
    assert lantern.journal_ref == "Journal of Folds 4, 1-12, 2026", "with the abbreviation spelled out"
    assert (lantern.doi, lantern.published, lantern.around) == ("10.5555/lantern.2026.7", None, DAY(2026, 3, 1))
    assert (soup.title, soup.authors, soup.author_count) == ("Deep Soup", ("Ludwig van der Berg",), None)
    assert soup.venue == "Proceedings of Kitchens"
    assert (pebbles.arxiv_id, pebbles.categories) == ("cs/0101001", ("cs.LG",))
    assert wind.arxiv_id == "1409.6580", "named in the journal field only"
    assert last.warnings == ("year: not a year: 20xx",)
    assert problems.count == 2, "the broken and the untitled entry"


def test_papers_with_code_dumps():
    (wind, soup), _ = read("pwc", "pwc-papers.json")
    assert (wind.arxiv_id, wind.alias, wind.venue, wind.tasks, wind.methods) == (
        "1409.6580", "pwc:words-for-wind", "WEATHER 2015", ("Wind Naming",), ("Gust",))  # fmt: skip
    assert (soup.arxiv_id, soup.alias) == (None, "pwc:deep-soup")
    (code,), problems = read("pwc", "pwc-links.json")
    assert code.links == (Link("code", "https://github.com/example/wind", official=True),)
    assert problems.count == 1, "ftp is no link"
    rows, problems = read("pwc", "pwc-tables.json")
    assert [result for row in rows for result in row.results] == [
        Result("Wind Naming", "Seven Winds", "Accuracy", "Gust-L", "81.5"),
        Result("Wind Naming", "Seven Winds", "Loss", "Gust-L", "0.2"),
        Result("Wind Naming", "Seven Winds (night)", "Accuracy", "Gust-L", "70"),
        Result("Breeze Naming", "Breezes", "F1", "Soup", "0.5"),
    ]
    assert rows[0].arxiv_id == "1409.6580"
    assert problems.count == 1
    (method,), _ = read("pwc", "pwc-methods.json")
    assert method.methods == ("Gust",)
    (dataset,), _ = read("pwc", "pwc-datasets.json")
    assert dataset.links == (Link("dataset", "https://example.org/seven-winds", "Seven Winds"),)


def test_saved_page():
    (lantern, soup, lost, moss, rain), problems = read("page", "page.txt", saved_on=DAY(2026, 3, 4))
    assert lantern.title == "Paper Lanterns: Folding O(n log n) Light Paths"
    assert (lantern.author_count, lantern.authors) == (2, ())
    assert (lantern.published, lantern.listed, lantern.signals) == (DAY(2026, 3, 1), DAY(2026, 3, 3), (Signal("comments", 4),))
    assert (soup.author_count, soup.published, soup.signals) == (1, DAY(2019, 6, 5), (Signal("comments", 12),))
    assert soup.abstract.endswith("same paragraph. A second paragraph of the same abstract ends with a full stop.")
    assert (lost.author_count, lost.published, lost.listed, lost.signals) == (None, None, DAY(2026, 3, 3), ())
    assert (moss.author_count, moss.published, moss.signals) == (41, DAY(2026, 3, 2), ())
    assert (rain.author_count, rain.published, rain.listed) == (3, DAY(2026, 2, 28), DAY(2026, 3, 2)), "footer torn by blank lines"
    assert all(r.abstract_source == "page" for r in (lantern, soup))
    assert lost.warnings == ("no footer: authors, date and comments unknown",)
    assert [p.message for p in problems.first] == ["a line without abstract and footer: 'Company'"]


def test_saved_page_without_the_day_of_saving():
    records, _ = read("page", "page.txt")
    assert records[0].published == DAY(2020, 3, 1), "newest year on the page plus one"
    assert records[1].published == DAY(2019, 6, 5)
    assert all(any("--saved-on" in w for w in r.warnings) for r in records)


def test_saved_page_without_any_year_has_no_dates(tmp_path):
    path = tmp_path / "page.txt"
    path.write_text("Mar 3\n\nA Title\n\nAn abstract of this title.\n\n• 2 authors\n·\nFeb 29 4\n")
    (record,) = iter_records("page", path)
    assert (record.published, record.listed, record.signals) == (None, None, (Signal("comments", 4),))
    (record,) = iter_records("page", path, saved_on=DAY(2026, 3, 4))
    assert (record.published, record.listed) == (None, DAY(2026, 3, 3))
    assert record.warnings == ("2026-2-29 does not exist",)


def test_page_that_is_none(tmp_path):
    path = tmp_path / "page.txt"
    path.write_text("Models\n\nDatasets\n")
    with pytest.raises(SourceError, match="no day line"):
        list(iter_records("page", path))


def test_bundled_papers():
    catalogue = load_catalogue()
    import workingpapers.papers as papers

    records = list(iter_records("toml", Path(papers.__file__).parent))
    assert len(records) >= 32
    assert {r.slug for r in records} <= {entry.slug for entry in catalogue}
    assert all(r.plain_summary and r.author_count and r.published and r.listed and not r.abstract for r in records)


def test_a_broken_paper_toml_is_named_and_the_rest_load(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "paper.toml").write_text("title = 3\n")
    problems = Problems()
    assert list(iter_records("toml", tmp_path, problems)) == []
    assert problems.first[0].where == "broken"
    with pytest.raises(SourceError, match="no such folder"):
        list(iter_records("toml", tmp_path / "nowhere"))


SAMPLES = [
    ("atom", "atom.xml"), ("oai", "oai-arxiv.xml"), ("oai", "oai-dc.xml"), ("kaggle", "kaggle.jsonl"), ("jsonl", "plain.jsonl"),
    ("hf", "hf.json"),
    ("bibtex", "refs.bib"), ("pwc", "pwc-papers.json"), ("pwc", "pwc-links.json"), ("pwc", "pwc-tables.json"), ("pwc", "pwc-methods.json"),
    ("pwc", "pwc-datasets.json"), ("page", "page.txt"),
]  # fmt: skip


@pytest.mark.parametrize(("format", "name"), SAMPLES)
def test_every_record_goes_through_json_and_repeats_exactly(format, name):
    fetched = dt.datetime(2026, 3, 5, 12, tzinfo=dt.UTC)
    first, _ = read(format, name, fetched=fetched)
    again, _ = read(format, name, fetched=fetched)
    assert first
    assert first == again
    assert len({r.key for r in first}) == len(first)
    for record in first:
        back = from_json(to_json(record))
        assert to_json(back) == to_json(record)
        assert back.published == record.published
        assert record.payload_hash == hashlib.sha256(record.payload).hexdigest()
        assert record.fetched == fetched


def test_options_that_do_not_belong():
    with pytest.raises(ValueError, match="format: one of"):
        iter_records("rss", DATA / "atom.xml")
    with pytest.raises(ValueError, match="saved_on"):
        iter_records("atom", DATA / "atom.xml", saved_on=DAY(2026, 1, 1))
    with pytest.raises(ValueError, match="offset"):
        iter_records("hf", DATA / "hf.json", offset=3)
    with pytest.raises(SourceError, match=r"No such file"):
        list(iter_records("atom", DATA / "nowhere.xml"))
