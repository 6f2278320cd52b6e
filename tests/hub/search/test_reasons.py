"""What a page says about why a paper was found, held against the papers themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from workingpapers.hub.search import Searcher, embed
from workingpapers.hub.search.reasons import Reason, reasons
from workingpapers.lab import Store

Add = Callable[..., int]


def why(store: Store, find: Searcher, question: str) -> dict[int, Reason]:
    answer = find.find(question)
    with store.reading() as session:
        return dict(reasons(session, find, answer))


def test_words_that_a_paper_holds_are_told_and_joining_words_are_not_counted(add: Add, store: Store, words_only: Searcher) -> None:
    both = add("Random forests", "Trees that are grown on samples.")
    one = add("Forest fires", "How they spread.")
    told = why(store, words_only, "how do random forests spread")
    assert told[both] == Reason(False, None, ("random", "forests"), 3)
    assert told[one] == Reason(False, None, ("forests", "spread"), 3)
    assert str(told[both]) == "Has 2 of your 3 words: random, forests."
    assert str(why(store, words_only, "forest")[one]) == "Has forest."
    assert str(why(store, words_only, "Random forests")[both]) == "Its id, address or title is your question."


def test_nearness_is_the_cosine_and_other_words_are_said_to_be_others(add: Add, store: Store, find: Searcher) -> None:
    hound, market = add("A hound", "dog hound dog"), add("A market", "stock price market")
    embed(store, find.model)
    told = why(store, find, "dog kitten")
    vector = find.model.question("dog kitten")
    assert vector is not None
    with store.reading() as session:
        near = find.vectors.cosines(session, vector, np.array([hound]))[0]
    assert told[hound].cosine == pytest.approx(float(near))
    assert str(told[hound]) == f"Close in meaning ({near:.2f}); has 1 of your 2 words: dog."
    assert "in other words" in str(why(store, find, "kitten")[hound])
    assert not told.get(market, Reason(False, 0.0, (), 2)).held


def test_conditions_alone_need_no_reason(add: Add, store: Store, words_only: Searcher) -> None:
    add("Trees", "of graphs", categories=("cs.DS",))
    assert why(store, words_only, "cat:cs.DS") == {}
    assert not any(map(str, why(store, words_only, '"of graphs"').values()))  # they stand there, or it would not have been found
    assert why(store, words_only, "nowhere") == {}


@pytest.mark.parametrize(("reason", "text"), [
    (Reason(False, 0.2, (), 3), ""), (Reason(False, 0.4, (), 3), "Near in meaning (0.40), in other words."),
    (Reason(False, 0.6, ("a", "b"), 2), "Close in meaning (0.60); has all your words: a, b."),
    (Reason(False, None, tuple("abcdefghij"), 12), "Has 10 of your 12 words: a, b, c, d, e, f, g, h and others."),
])
def test_a_reason_reads_well(reason: Reason, text: str) -> None:
    assert str(reason) == text
