"""People who answer: at the terminal and at the page, for a new user's CartPole."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from workingpapers.papers.preference_rl import (
    PRLSVI,
    BrowserOracle,
    HumanOracle,
    Link,
    RBFFeatures,
    RecordedOracle,
    Trajectory,
    cart_pole_film,
    cart_pole_text,
)

LOW, HIGH = (-2.4, -2.5, -0.21, -2.5), (2.4, 2.5, 0.21, 2.5)
SHORT, LONG = (Trajectory(np.zeros((n + 1, 4)), np.zeros(n, int), ended=n < 5) for n in (3, 9))


def agent() -> PRLSVI:
    return PRLSVI(RBFFeatures(LOW, HIGH, 2, n=8), 40, pool_steps=True, link=Link("logistic", 0.1), eps=0.5, seed=0)


class Prefers:
    """A person at the terminal who likes the longer episode, reading what is shown; leaves after `patience` questions."""

    def __init__(self, patience: int) -> None:
        self.patience, self.shown, self.answers = patience, [], 0  # type: ignore[var-annotated]

    def ask(self, prompt: str) -> str:
        if self.answers == self.patience:
            raise EOFError
        self.answers += 1
        first, second = (int(text.split(" after ")[1].split()[0]) for text in self.shown[-4:] if " after " in text)
        return "1" if first > second else "2" if second > first else "="

    def oracle(self) -> HumanOracle:
        return HumanOracle(cart_pole_text, ask=self.ask, show=self.shown.append)


def test_a_person_at_the_terminal_leaves_in_the_middle_and_comes_back(tmp_path: Path) -> None:
    whole = agent()
    whole.learn(gym.make("CartPole-v1"), Prefers(100).oracle(), 12)
    assert whole.history_.n_queries > 4

    person, path = Prefers(3), tmp_path / "pole.npz"
    with pytest.raises(EOFError):
        agent().learn(gym.make("CartPole-v1"), person.oracle(), 12, checkpoint=path)
    assert person.answers == 3
    resumed, env = PRLSVI.load(path), gym.make("CartPole-v1")
    assert resumed.ask(env) is not None  # the question that was left open
    done = len(resumed.history_) - 1
    again = Prefers(100)
    resumed.learn(env, again.oracle(), 12 - done)
    assert again.shown[:4] == person.shown[-4:]
    assert resumed.history_.queries.tolist() == whole.history_.queries.tolist()
    assert [p.preference for p in resumed.history_.asked_pairs] == [p.preference for p in whole.history_.asked_pairs]


def test_the_terminal_asks_again_until_it_understands() -> None:
    lines, shown = iter(["y", "", " SKIP "]), []  # type: ignore[var-annotated]
    assert HumanOracle(cart_pole_text, ask=lambda prompt: next(lines), show=shown.append)(SHORT, LONG) is None
    assert "'y' is none of" in "".join(shown)


# ---------------------------------------------------------------- the page


@pytest.fixture
def oracle() -> Iterator[BrowserOracle]:
    with BrowserOracle(cart_pole_film, opens=False, show=lambda text: None, timeout=20) as made:
        yield made


def fetch(url: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def at(oracle: BrowserOracle, path: str) -> str:
    return oracle.url.replace("/?", f"/{path}?")


def question(oracle: BrowserOracle) -> dict[str, Any]:
    for _ in range(400):
        found: dict[str, Any] = json.loads(fetch(at(oracle, "question"))[1])
        if "number" in found:
            return found
        time.sleep(0.02)
    raise AssertionError("no question came")


def reply(oracle: BrowserOracle, number: object, answer: object) -> int:
    return fetch(at(oracle, "answer"), json.dumps({"number": number, "answer": answer}).encode())[0]


def meanwhile(oracle: BrowserOracle, act: Callable[[], None]) -> float | None:
    """What a question gives while somebody acts at the page."""
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)
            oracle._answers.put(None)

    thread = threading.Thread(target=guarded)
    thread.start()
    given = oracle(SHORT, LONG)
    thread.join()
    if failed:
        raise failed[0]
    return given


@pytest.mark.parametrize(("answer", "preference"), [("1", 1.0), ("2", 0.0), ("=", 0.5), ("s", None)])
def test_answers_at_the_page(oracle: BrowserOracle, answer: str, preference: float | None) -> None:
    def act() -> None:
        assert reply(oracle, question(oracle)["number"], answer) == 200

    assert meanwhile(oracle, act) == preference


def test_an_answer_counts_once_and_for_its_own_question(oracle: BrowserOracle) -> None:
    def act() -> None:
        number = question(oracle)["number"]
        odd = [(number + 1, "1"), (None, "1"), (number, "yes"), (number, 1), (number, ["1"])]
        assert [reply(oracle, n, a) for n, a in odd] == [409] * 5
        assert reply(oracle, number, "2") == 200
        assert reply(oracle, number, "1") == 409

    assert meanwhile(oracle, act) == 0.0
    assert oracle._answers.empty()
    assert oracle.answered == 1


def test_strangers_and_odd_requests_are_refused(oracle: BrowserOracle) -> None:
    bare = oracle.url.split("?")[0]
    assert fetch(bare)[0] == fetch(bare + "?key=guess")[0] == fetch(bare + "question?key=%C3%A9")[0] == 403
    assert fetch(oracle.url, Host="evil.example")[0] == 403  # a name that was made to point here
    assert fetch(at(oracle, "elsewhere"))[0] == fetch(at(oracle, "question"), b"{}")[0] == 404
    assert [fetch(at(oracle, "answer"), b)[0] for b in (b"", b"[1]", b"{", b'"x"', b"\xff", b"[" * 1_000)] == [400] * 6
    assert fetch(at(oracle, "answer"), b" " * 2_000)[0] == 413
    assert fetch(oracle.url)[0] == 200
    assert oracle._server.server_address[0] == "127.0.0.1"


@pytest.mark.slow
def test_what_is_shown_is_text_or_a_picture_and_never_markup_of_the_page() -> None:
    hostile = "<script>alert(1)</script>"
    for render, key in ((lambda t: hostile, "text"), (lambda t: b"\x89PNG....", "image"), (cart_pole_film, "image")):
        with BrowserOracle(render, opens=False, show=lambda text: None, timeout=20) as oracle:
            views: list[Any] = []

            def act(oracle: BrowserOracle = oracle, views: list[Any] = views) -> None:
                found = question(oracle)
                views += found["views"]
                reply(oracle, found["number"], "s")

            meanwhile(oracle, act)
            assert [list(v) for v in views] == [[key], [key]]
    page = fetch_page()
    assert "textContent = view.text" in page
    assert "innerHTML" not in page
    with BrowserOracle(lambda t: 3, opens=False) as oracle, pytest.raises(TypeError, match="render gave int"):  # type: ignore[arg-type,return-value]
        oracle(SHORT, LONG)
    with BrowserOracle(lambda t: b"MZ", opens=False) as oracle, pytest.raises(TypeError, match="no PNG"):
        oracle(SHORT, LONG)


def fetch_page() -> str:
    with BrowserOracle(cart_pole_text, opens=False) as oracle:
        return fetch(oracle.url)[1].decode()


def test_nobody_at_the_page_leaves_the_question_open(tmp_path: Path) -> None:
    path = tmp_path / "pole.npz"
    with BrowserOracle(cart_pole_film, opens=False, show=lambda text: None, timeout=0.05) as oracle:
        recorded = RecordedOracle(tmp_path / "answers", oracle)
        with pytest.raises(TimeoutError, match="put it again"):
            agent().learn(gym.make("CartPole-v1"), recorded, 12, checkpoint=path)
    assert PRLSVI.load(path).ask(gym.make("CartPole-v1")) is not None
    with pytest.raises(ValueError, match="closed"):
        oracle(SHORT, LONG)


def test_options_are_checked() -> None:
    with pytest.raises(TypeError, match="render"):
        BrowserOracle("x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout"):
        BrowserOracle(cart_pole_text, timeout=0)


# ---------------------------------------------------------------- films


def test_films_are_svg_that_parses_and_follows_the_episode() -> None:
    obs = np.array([[2.4, 0, 0.1, 0], [-2.4, 0, -0.1, 0]])
    film = ET.fromstring(cart_pole_film(Trajectory(obs, np.array([0]), ended=True)))
    moves = [e.attrib["values"] for e in film.iter() if e.tag.endswith("animateTransform")]
    assert moves == ["100.00 0;-100.00 0", "5.73;-5.73"]
    long = cart_pole_film(Trajectory(np.zeros((501, 4)), np.zeros(500, int)))
    assert len(long) < 8_000
    assert "still up" in long
    for show in (cart_pole_film, cart_pole_text):
        with pytest.raises(ValueError, match="those of CartPole"):
            show(Trajectory(np.zeros(3), np.zeros(2, int)))
    with pytest.raises(ValueError, match="frames"):
        cart_pole_text(LONG, frames=1)
