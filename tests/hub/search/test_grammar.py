"""The grammar: any string is a question or is refused with words; what it means; it never reaches the database as SQL."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workingpapers.hub.search import QueryError, parse
from workingpapers.hub.search.grammar import Fact, Text, words_of

PIECES = st.sampled_from(['"', "-", "OR", "AND", "NOT", "(", ")", ":", "title:", "cat:", "cat:cs.LG", "after:2025", "id:", "*", "^",
                          "has:claim",
                          "verdict:fails", "\x00", "\ud800", "🙂", "graph", "étale", "' OR 1=1 --", "{title}", "NEAR(a b)", "\\", "%", "_"])
ANY = st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=30).map(" ".join), st.lists(PIECES, max_size=30).map("".join))


@settings(max_examples=500, deadline=None)
@given(ANY)
@example("AND NOT (")
@example('"')
@example("x" * 10_000)
@example("-" * 3000)
@example('title:"' + "a " * 1000)
def test_any_string_is_read_or_refused(text: str) -> None:
    try:
        query = parse(text)
    except QueryError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert ":" in said or "the question has" in said
        return
    query = parse(text)
    for part in [p for group in query.must for p in group] + list(query.never):
        if isinstance(part, Text):
            assert part.words
            assert all(any(map(str.isalnum, w)) for w in part.words)
            assert not set("".join(part.words)) & set("\"'*^(){}:\\\x00")
    assert "\x00" not in query.text
    query.text.encode()  # no lone surrogates are left
    if not query.must and not query.never:
        assert set(query.words) == set(words_of(query.prose))


@given(st.lists(st.sampled_from(["graph", "cut", "naïve", "x1"]), max_size=6))
def test_plain_words_all_rank_and_none_filters(words: list[str]) -> None:
    query = parse(" ".join(words))
    assert query.words == tuple(dict.fromkeys(words))
    assert not query.must
    assert query.bare
    assert query.is_empty == (not words)


def test_parts() -> None:
    query = parse('lasso OR ridge "minimum cut" -title:random NOT images AND author:"J. Smith" cat:cs.DS after:2025-03 has:Codes trees')
    assert query.words == ("lasso", "ridge", "trees")
    assert query.must == (
        (Text(("lasso",)), Text(("ridge",))), (Text(("minimum", "cut")),), (Text(("J", "Smith"), "author"),), (Fact("cat", "cs.DS"),),
        (Fact("after", "2025-03", dt.date(2025, 3, 1)),), (Fact("has", "code"),))
    assert query.never == (Text(("random",), "title"), Text(("images",)))
    assert query.prose == "lasso ridge minimum cut trees"


@pytest.mark.parametrize(("text", "words"), [
    ("BERT: pre-training of deep transformers", ("BERT", "pre", "training", "of", "deep", "transformers")),
    ("foo:bar", ("foo", "bar")), ("C++ (2nd ed.)", ("C", "2nd", "ed")), ("- a -- b", ("a", "b")),
    ("state-of-the-art", ("state", "of", "the", "art")),
    ("“curly” x", ("x",)), ("OR a OR", ("a",)), ("https://example.org/a", ("https", "example", "org", "a")),
])
def test_titles_are_no_mistakes(text: str, words: tuple[str, ...]) -> None:
    assert parse(text).words == words


@pytest.mark.parametrize(("text", "message"), [
    ("after:yesterday", "after: a day"), ("before:2025-13", "before: a day"), ("has:fun", "has: one of claim"),
    ("verdict:good", "verdict: one of"),
    ("cat:c$", "cat: a category"), ("x" * 4_001, "4,001 characters"), (" ".join(f'"a{i}"' for i in range(65)), "65 conditions"),
])
def test_what_cannot_be_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        parse(text)
