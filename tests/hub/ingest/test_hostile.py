"""Input meant to break a reader: each ends in a clear error or a note on that record, in flat memory, never in a crash."""

from __future__ import annotations

import collections
import contextlib
import gzip
import io
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workingpapers.hub.ingest import FORMATS, Problems, SourceError, iter_records
from workingpapers.hub.ingest.bibtex import iter_bibtex
from workingpapers.hub.ingest.hf import iter_hf
from workingpapers.hub.ingest.page import iter_page
from workingpapers.hub.ingest.pwc import iter_pwc
from workingpapers.hub.ingest.snapshot import iter_kaggle, iter_plain
from workingpapers.hub.ingest.streams import iter_json_items, iter_xml
from workingpapers.hub.ingest.text import Draft, clean, is_web_address, parse_day

DATA = Path(__file__).parent / "data"
ATOM = "http://www.w3.org/2005/Atom"


def write(tmp_path, data: bytes) -> Path:
    path = tmp_path / "source"
    path.write_bytes(data)
    return path


BOMB = """<?xml version="1.0"?><!DOCTYPE feed [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><feed xmlns="http://www.w3.org/2005/Atom"><entry><title>&c;</title></entry></feed>"""
OUTSIDE = '<?xml version="1.0"?><!-- <a> --><!DOCTYPE feed SYSTEM "file:///etc/passwd"><feed/>'


@pytest.mark.parametrize("text", [BOMB, OUTSIDE, OUTSIDE.replace("-->", "-->" + " " * 200_000)])
@pytest.mark.parametrize("format", ["atom", "oai"])
def test_document_types_are_refused(tmp_path, text, format):
    with pytest.raises(SourceError, match=r"document type|no XML element near the beginning"):
        list(iter_records(format, write(tmp_path, text.encode())))


@pytest.mark.parametrize(
    "text",
    ["", "   ", "no xml", "<feed", "<feed><entry></feed>", "<a>" * 100_000, "<feed>&unknown;</feed>", "\x00" * 1000, "<feed/><feed/>"],
)
def test_malformed_xml_is_a_clear_error(tmp_path, text):
    with pytest.raises(SourceError):
        list(iter_records("atom", write(tmp_path, text.encode())))


def test_records_before_the_fault_stay_good(tmp_path):
    whole = (DATA / "atom.xml").read_text()
    cut = whole[: whole.rindex("<entry>") + 20]
    seen = []
    records = iter_records("atom", write(tmp_path, cut.encode()))
    with pytest.raises(SourceError, match="well-formed"):
        collections.deque((seen.append(r.arxiv_id) for r in records), maxlen=0)
    assert seen == ["2603.00101", "cs/0101001"]


def test_illegal_characters_in_xml_are_dropped(tmp_path):
    data = (DATA / "atom.xml").read_bytes()
    data = data.replace(b"Lanterns made", b"Lant\x00erns &#0;&#x1B;&#xFFFF;\xff\xfe made", 1)
    first, *_ = iter_records("atom", write(tmp_path, data))
    assert first.abstract.startswith("Lanterns \ufffd\ufffd made of paper")


@given(st.integers(0, 70_000), st.sampled_from([b"&#0;", b"&amp;", b"\xc3\xa9", b"&#x1F600;"]))
@settings(max_examples=40, deadline=None)
def test_pieces_of_the_stream_do_not_show(pad, token):
    """A reference or a character that lies across two pieces is read as if it lay within one."""
    document = b"<r xmlns='u'><t>" + b"x" * pad + token + b"</t></r>"
    text = next(iter_xml(io.BytesIO(document), ("{u}t",))).text or ""  # an element is emptied once the next is asked for
    expected = {b"&#0;": "", b"&amp;": "&", b"\xc3\xa9": "é", b"&#x1F600;": "😀"}[token]
    assert text == "x" * pad + expected


def test_gzip_bomb_is_refused(tmp_path):
    path = write(tmp_path, gzip.compress((b" " * 4095 + b"\n") * (8 << 10), 6))
    with pytest.raises(SourceError, match="times its size"):
        list(iter_records("kaggle", path))


@pytest.mark.parametrize("cut", [5, 40, -3])
def test_broken_gzip(tmp_path, cut):
    data = gzip.compress((DATA / "kaggle.jsonl").read_bytes())
    with pytest.raises(SourceError, match="gzip"):
        list(iter_records("kaggle", write(tmp_path, data[:cut])))


def test_limit_for_uploads(tmp_path):
    path = write(tmp_path, gzip.compress((DATA / "kaggle.jsonl").read_bytes()))
    with pytest.raises(SourceError, match="500 bytes allowed"):
        list(iter_records("kaggle", path, max_bytes=500))


def test_a_bad_line_harms_no_other():
    good = json.dumps({"id": "2603.00001", "title": "Good"}).encode()
    huge = b'{"id": "2603.00002", "title": "' + b"x" * (5 << 20) + b'"}'
    bad = [b"{", b"[1]", b"7", b'"text"', b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5000, b"1" * 10_000, huge, b"{}", b'{"id": 3}',
           b'{"id": "2603.00003"}', b'{"id": "2603.00004", "title": "\\u0000 \\ud800"}', b'{"id": "2603.00005", "title": {}}']  # fmt: skip
    data = b"\n".join([good, *bad, good.replace(b"00001", b"00009")])
    problems = Problems()
    records = list(iter_kaggle(io.BytesIO(data), problems))
    assert [r.arxiv_id for r in records] == ["2603.00001", "2603.00009"]
    assert problems.count == len(bad)


def test_wrong_types_become_warnings():
    row = {
        "id": "2603.00001",
        "title": " A\x00 title\ud800\u202e ",
        "abstract": ["x"],
        "authors": {"a": 1},
        "doi": 7,
        "categories": "cs.LG",
    }
    data = json.dumps({**row, "source": ["arxiv-api"], "date": "2026-02-30", "date_kind": {}}).encode()
    (record,) = iter_plain(io.BytesIO(data), Problems())
    assert (record.title, record.abstract, record.authors, record.doi, record.source) == ("A title", "", (), None, "manual")
    assert len(record.warnings) == 7
    record.title.encode()


def test_invalid_utf8_is_replaced_and_noted():
    (record,) = iter_plain(io.BytesIO(b'{"id": "2603.00001", "title": "Caf\xe9"}'), Problems())
    assert record.title == "Caf\ufffd"
    assert "invalid UTF-8" in record.warnings[0]


@pytest.mark.parametrize("data", [b"", b"null", b'"x"', b"[", b'[{"a": 1}', b'[{"a": "x', b"{", b"7 [{}]", b'[{"a": "\\'])
def test_json_that_is_no_list(data):
    with pytest.raises(SourceError):
        list(iter_hf(io.BytesIO(data), Problems()))


def test_a_bad_item_harms_no_other():
    good = b'{"paper": {"id": "2603.00001", "title": "Good"}}'
    deep = b'{"paper": ' + b"[" * 500 + b"]" * 500 + b"}"
    bad = [b"{bad}", deep, b'{"paper": {"id": "2603.00001", "title": "' + b"x" * (5 << 20) + b'"}}', b"[1]", b'{"paper": 1}', b'{"a": 01}']
    data = b"[" + b",".join([good, *bad, good.replace(b"00001", b"00009")]) + b"]"
    problems = Problems()
    assert [r.arxiv_id for r in iter_hf(io.BytesIO(data), problems)] == ["2603.00001", "2603.00009"]
    assert problems.count == len(bad)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.slow
@given(st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=5), st.integers(1, 9), st.booleans())
@settings(max_examples=25, deadline=None)
def test_items_are_cut_out_as_json_reads_them(rows, step, indent):
    """Against the standard library's reader of whole documents, whatever the pieces of the stream."""

    class Dripping(io.BytesIO):
        def read(self, size=-1):
            return super().read(step)

    data = json.dumps(rows, indent=2 if indent else None, ensure_ascii=step % 2 == 0).encode()
    problems = Problems()
    assert [json.loads(raw) for _, raw in iter_json_items(Dripping(data), problems)] == rows
    assert problems.count == 0


def test_hostile_bibtex():
    entries = [
        b"@article{a, title={Good One}, author={A, B}}",
        b"@article{b, title={" + b"{" * 20_000 + b"}",
        b"@article{c, title={" + b"x" * 300_000 + b"}}",
        b"@article{d, title={\xff\xfe Bytes}, author={\\\\\\{}{}}, year={9999999}}",
        b"@string{x = " + b"y # " * 1000 + b"}",
        b"@article(e, title = x # x)",
        b"@",
        b"@article{f, title={Last}, month={13}, year=2020, url={javascript:alert(1)}, author={" + b" and ".join([b"A B"] * 3000) + b"}}",
    ]
    problems = Problems()
    records = list(iter_bibtex(io.BytesIO(b"\n".join(entries)), problems))
    assert records[0].title == "Good One"
    assert records[-1].title == "Last"
    assert len(records[-1].authors) == 3000
    assert "does not exist" in records[-1].warnings[0]
    assert problems.count >= 2


def test_tasks_nested_without_end():
    text = '{"task":"t","datasets":[],"subtasks":[' * 10_000 + "]}" * 10_000
    problems = Problems()
    assert list(iter_pwc(io.BytesIO(b"[" + text.encode() + b"]"), problems)) == []
    assert problems.first[0].message == "nested too deeply"


@given(
    st.lists(
        st.sampled_from(
            ["Mar 3", "", "A title", "An abstract.", "• 2 authors", "·", "Mar 1 4", "Jun 5, 2019", "1 author · Mar 1", "x" * 400]
        )
    )
)
@settings(max_examples=200, deadline=None)
def test_pages_of_any_lines(lines):
    data = "\n".join(["Mar 3", *lines]).encode()
    for record in iter_page(io.BytesIO(data), Problems()):
        assert record.title


@pytest.mark.parametrize("format", [f for f in FORMATS if f != "toml"])
@given(data=st.binary(max_size=300) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_end_in_records_or_a_source_error(tmp_path, format, data):
    with contextlib.suppress(SourceError):  # any other exception fails the test
        for record in iter_records(format, write(tmp_path, data)):
            assert record.title.isprintable()


@pytest.mark.parametrize(("format", "name"), [("atom", "atom.xml"), ("oai", "oai-arxiv.xml"), ("kaggle", "kaggle.jsonl"), ("hf", "hf.json"),
                                              ("bibtex", "refs.bib"), ("pwc", "pwc-tables.json"), ("page", "page.txt")])  # fmt: skip
@given(
    at=st.floats(0, 1), with_=st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"]", b"<", b"\n\n", b"@a{"]), drop=st.integers(0, 40)
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_ends_in_records_or_a_source_error(tmp_path, format, name, at, with_, drop):
    data = (DATA / name).read_bytes()
    i = int(at * len(data))
    with contextlib.suppress(SourceError):  # any other exception fails the test
        list(iter_records(format, write(tmp_path, data[:i] + with_ + data[i + drop :])))


@given(st.text())
def test_clean_text_can_be_stored_anywhere(text):
    cleaned = clean(text)
    cleaned.encode()
    assert "\x00" not in cleaned
    assert clean(cleaned) == cleaned
    assert cleaned == cleaned.strip()
    assert "  " not in cleaned


@given(st.text() | st.sampled_from(["http://[", "https://a:99999999/", "//x", "https:///x", "http://a b"]))
def test_addresses_and_days_never_raise(text):
    assert is_web_address(text) in (True, False)
    parse_day(text)
    draft = Draft()
    assert all(link.url.startswith("http") for link in draft.link("code", text))


MEASURE = """
import resource, sys, itertools
from workingpapers.hub.ingest import Problems, SourceError, iter_records
format, path = sys.argv[1:]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count, problems = 0, Problems()
try:
    for record in iter_records(format, path, problems):
        count += 1
except SourceError as error:
    print(error, file=sys.stderr)
print(count, problems.count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def grown(format: str, path: Path) -> tuple[int, int, int]:
    """Records, problems, and megabytes by which a fresh process grew while reading."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(MEASURE), format, str(path)], capture_output=True, text=True, check=True)
    records, problems, megabytes = map(int, done.stdout.split())
    return records, problems, megabytes


@pytest.mark.slow
def test_memory_stays_flat_over_a_long_snapshot(tmp_path):
    row = json.dumps({"id": "2603.{:05}", "title": "T {}", "abstract": "word " * 300, "categories": "cs.LG"})
    path = tmp_path / "snapshot.gz"
    with gzip.open(path, "wt", compresslevel=1) as stream:
        for n in range(20_000):
            stream.write(row.replace("{:05}", f"{n % 99_999 + 1:05}").replace("{}", f"{n * 7919 % 999_983}") + "\n")
    records, problems, megabytes = grown("kaggle", path)
    assert (records, problems) == (20_000, 0)
    assert megabytes < 30


@pytest.mark.slow
def test_memory_stays_flat_over_hostile_json(tmp_path):
    path = tmp_path / "tables.json"
    with path.open("wb") as stream:
        stream.write(b"[")
        for _ in range(6):
            stream.write(b'{"task": "' + b"x" * (2 << 20) + b'"},')
        stream.write(b'{"task": [' + b"[]," * (3 << 18) + b"1]},")
        stream.write(b"{}]")
    records, problems, megabytes = grown("hf", path)
    assert records == 0
    assert problems == 8
    assert megabytes < 60


@pytest.mark.slow
def test_memory_stays_flat_over_a_wall_of_xml(tmp_path):
    path = tmp_path / "feed.xml"
    with path.open("wb") as stream:
        stream.write(f'<feed xmlns="{ATOM}">'.encode())
        for _ in range(12):
            stream.write(b"<a/>" * 100_000 + b"<wrap><entry><id>none</id></entry></wrap>")  # junk outside of records
        stream.write(b"<a/>" * 2_000_000)  # without any record behind it: given up
    records, problems, megabytes = grown("atom", path)
    assert (records, problems) == (0, 12)
    assert megabytes < 250


@pytest.mark.slow
def test_an_object_of_countless_small_parts_is_left_out():
    task = b'{"task": "t", "datasets": [' + b"{}," * 600_000 + b"{}]}"
    problems = Problems()
    assert list(iter_pwc(io.BytesIO(b"[" + task + b"]"), problems)) == []
    assert "500,000" in problems.first[0].message
