"""The parser against Debian's files and against a reader of another kind; the task against counts made by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workingpapers.workloads import wordnet
from workingpapers.workloads.wordnet import DEBIAN_FOLDER, WordNetMissing, base_forms, mark, parse_line, sense_linking, synsets

has_wordnet = pytest.mark.needs(str(DEBIAN_FOLDER / "data.verb"))


@has_wordnet
@pytest.mark.parametrize(("pos", "count"), [("noun", 82115), ("verb", 13767), ("adj", 18156), ("adv", 3621)])
def test_counts_are_those_that_wordnet_states(pos: wordnet.PartOfSpeech, count: int) -> None:
    assert len(synsets(pos)) == count


@has_wordnet
def test_every_lemma_of_the_index_file_points_to_a_synset_that_holds_it() -> None:
    by_offset = {s.offset: {lemma.lower() for lemma in s.lemmas} for s in synsets("verb")}
    rows = [line.split() for line in (DEBIAN_FOLDER / "index.verb").read_text().splitlines() if not line.startswith(" ")]
    assert len(rows) == 11529
    for row in rows:
        n_senses = int(row[2])
        for offset in row[-n_senses:]:
            assert row[0].replace("_", " ") in by_offset[int(offset)]


@has_wordnet
def test_offsets_are_byte_positions_in_the_file() -> None:
    content = (DEBIAN_FOLDER / "data.verb").read_bytes()
    for s in synsets("verb")[::97]:
        assert content[s.offset : s.offset + 8] == f"{s.offset:08d}".encode()


@has_wordnet
def test_the_task_is_consistent() -> None:
    task = sense_linking("verb")
    assert len(task.items) == 13767
    assert len(task.queries) == len(task.gold) == len(task.targets) == 12174
    for query, gold, target in zip(task.queries, task.gold, task.targets):
        assert query.count("«") == query.count("»") == 1
        assert gold in task.senses[target]
        assert query.replace("« ", "").replace(" »", "") in synsets("verb")[gold].examples
    assert len(task.senses["break"]) == 59  # as WordNet's own browser counts the senses of this verb


def test_other_contents_are_refused_and_absence_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKINGPAPERS_WORDNET", str(tmp_path))
    synsets.cache_clear()
    with pytest.raises(WordNetMissing, match="wordnet-base"):
        synsets("verb")
    (tmp_path / "data.verb").write_text('00000000 29 v 01 go 0 000 01 + 02 00 | move; "go home"\n')
    with pytest.raises(ValueError, match=r"not the contents of WordNet 3\.0"):
        synsets("verb")
    with pytest.raises(ValueError, match="pos"):
        synsets("pronoun")  # type: ignore[arg-type]


def test_lines_that_are_no_synsets_are_named() -> None:
    with pytest.raises(ValueError, match="line"):
        parse_line("  1 This software and database is being provided to you")


def test_a_line_with_many_lemmas_and_a_marker() -> None:
    s = parse_line('00001 00 s 02 able(p) 0 fit_for(ip) 0 000 | having means; "able to swim"; "fit for duty"; - A. Author')
    assert s.lemmas == ("able", "fit for")
    assert s.item == "able, fit for: having means"
    assert s.examples == ("able to swim", "fit for duty")


@pytest.mark.parametrize(
    ("example", "lemmas", "wanted"),
    [
        ("He stopped here", ("stop",), "He « stopped » here"),
        ("She went home", ("go",), "She « went » home"),
        ("They are running out of milk", ("run out",), "They are « running out » of milk"),
        ("Carry on!", ("carry on",), "« Carry on »!"),
        ("nothing of it", ("see",), None),
        ("the category", ("cat",), None),
    ],
)
def test_targets_are_found_in_their_inflections(example: str, lemmas: tuple[str, ...], wanted: str | None) -> None:
    found = mark(example, lemmas, "verb", {"went": ("go",)})
    assert (found[0] if found else None) == wanted


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12), st.sampled_from(["noun", "verb", "adj", "adv"]))
def test_a_word_is_a_base_form_of_itself_and_of_its_regular_inflections(word: str, pos: wordnet.PartOfSpeech) -> None:
    assert word in base_forms(word, pos, {})
    if pos == "verb":
        for ending in ("s", "ed", "ing"):
            assert word in base_forms(word + ending, pos, {})


@given(st.text(max_size=60))
def test_marking_changes_nothing_but_the_marks(text: str) -> None:
    words = tuple(re.findall("[a-z]+", text.lower()))[:2]
    found = mark(text, words, "verb", {}) if words else None
    if found is not None and "«" not in text and "»" not in text:
        assert found[0].replace("« ", "").replace(" »", "") == text
