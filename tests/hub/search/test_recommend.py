"""Recommendations: what the classifier is, that marks steer it, and the way from a reader's marks to papers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import pytest

from workingpapers.hub.search import Model, embed
from workingpapers.hub.search import find as module
from workingpapers.hub.search.find import Searcher
from workingpapers.hub.search.recommend import direction, for_reader, recommend, words_as_features
from workingpapers.hub.tables import RatingRow, TagRow, UserRow
from workingpapers.lab import Store

pytestmark = pytest.mark.needs("sklearn")


def topics(rng: np.random.Generator, n: int = 200, d: int = 16) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Unit vectors around four centres, and which centre each is of."""
    centres = np.linalg.qr(rng.normal(size=(d, 4)))[0].T
    of = rng.integers(0, 4, n)
    x = centres[of] + 0.25 * rng.normal(size=(n, d)) / np.sqrt(d)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), of


def test_the_plane_is_that_of_the_balanced_machine() -> None:
    """Against the primal problem solved by another method: C/2 and squared hinge, bias as one more feature."""
    from scipy.optimize import minimize

    x, of = topics(np.random.default_rng(0), 80, 6)
    marks = np.where(of == 0, 1, -1)
    weights, bias = direction(x, marks, 0.5)
    z = np.hstack([x, np.ones((len(x), 1))])
    balance = np.where(marks > 0, len(marks) / 2 / np.sum(marks > 0), len(marks) / 2 / np.sum(marks < 0))

    def loss(w: np.ndarray) -> float:  # type: ignore[type-arg]
        return float(0.5 * w @ w + 0.5 * np.sum(balance * np.maximum(0, 1 - marks * (z @ w)) ** 2))

    best = minimize(loss, np.zeros(7), method="BFGS", options={"gtol": 1e-8}).x
    np.testing.assert_allclose(np.append(weights, bias), best, atol=2e-3)


def test_one_mark_brings_its_kind_and_two_tags_bring_both() -> None:
    x, of = topics(np.random.default_rng(1))
    ids = list(range(1000, 1200))
    of_topic = {t: [i for i, o in zip(ids, of) if o == t] for t in range(4)}
    one = recommend(x, ids, {"a": of_topic[0][:1]}, [], ids, 20)
    assert np.mean([of[i - 1000] == 0 for i, _, _ in one]) > 0.9
    two = recommend(x, ids, {"a": of_topic[0][:3], "b": of_topic[1][:3]}, [], ids, 40)
    assert {0, 1} == {int(of[i - 1000]) for i, _, _ in two}
    assert all({"a": 0, "b": 1}[tag] == of[i - 1000] for i, tag, _ in two)
    marked = {*of_topic[0][:3], *of_topic[1][:3]}
    assert not marked & {i for i, _, _ in two}
    scores = [s for _, _, s in two]
    assert scores == sorted(scores, reverse=True)


def test_dislikes_push_their_kind_away() -> None:
    x, of = topics(np.random.default_rng(2))
    ids = list(range(200))
    liked = [i for i in ids if of[i] in (0, 1)][:6]
    disliked = [i for i in ids if of[i] == 1 and i not in liked][:8]
    before = [of[i] for i, _, _ in recommend(x, ids, {"liked": liked}, [], ids, 30)]
    after = [of[i] for i, _, _ in recommend(x, ids, {"liked": liked}, disliked, ids, 30)]
    assert after.count(1) < before.count(1)


def test_nothing_marked_or_nothing_left_is_nothing() -> None:
    x, _ = topics(np.random.default_rng(3), 10)
    assert recommend(x, list(range(10)), {}, [3], range(10), 5) == []
    assert recommend(x, list(range(10)), {"a": [1, 2]}, [], [1, 2], 5) == []
    assert recommend(x, list(range(10)), {"a": [99]}, [], range(10), 5) == []
    with pytest.raises(ValueError, match="marks: papers marked"):
        direction(x, np.ones(10, np.int64))


def test_words_do_where_vectors_are_absent() -> None:
    texts = ["cats and kittens play", "a cat with kittens", "stock prices fall", "prices of a stock", "kittens of a cat"]
    found = recommend(words_as_features(texts), [1, 2, 3, 4, 5], {"pets": [1]}, [3], [2, 4, 5], 3)
    assert {i for i, _, _ in found[:2]} == {2, 5}


@pytest.mark.parametrize("how", ["meaning", "words"])
def test_from_marks_to_papers(store: Store, add: Callable[..., int], meanings: str, how: str) -> None:
    day = dt.date(2026, 1, 1)
    pets = [add(f"Pet {i}", f"cat dog kitten kind{i}", listed_on=day) for i in range(6)]
    money = [add(f"Money {i}", f"stock price market kind{i}", published_on=day) for i in range(6)]
    hidden = add("Pet hidden", "cat dog kitten", listed_on=day, hidden=True)
    model = Model(meanings)
    if how == "meaning":
        embed(store, model)
    module._SEARCHERS[store] = Searcher(store, model)
    with store.writing() as session:
        user, other = UserRow(handle="ann"), UserRow(handle="bob")
        session.add_all([user, other])
        session.flush()
        session.add_all([TagRow(user_id=user.id, paper_id=pets[0], name="animals"), RatingRow(user_id=user.id, paper_id=money[0], value=-1),
                         TagRow(user_id=other.id, paper_id=money[1], name="finance")])
        ann, nobody = user.id, other.id + 1
    found = for_reader(store, ann, 5)
    assert (found.how, found.tags) == (how, ("animals",))
    assert {p.paper.id for p in found.picks} == set(pets[1:])
    assert all(p.because == "animals" for p in found.picks)
    assert hidden not in {p.paper.id for p in found.picks}
    assert for_reader(store, nobody).how == "nothing"
