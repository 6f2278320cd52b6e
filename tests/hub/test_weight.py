"""What a first visit to the feed costs, by the browser's own network log: bytes on the wire, requests, and nobody else asked."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from workingpapers.hub.shelf.lists import PER_PAGE
from workingpapers.lab import Lab

from .people.conftest import new_paper
from .test_browser import PATIENCE, chromium  # noqa: F401 - a fixture

pytestmark = [pytest.mark.needs("chromium", "playwright"), pytest.mark.slow]

MOST_BYTES, MOST_REQUESTS, MOST_FOR_MATHS = 60_000, 15, 110_000
# What formulas in abstracts are mostly made of: letters, scripts, relations, fractions, roots.
FORMULAS = [r"$O(n^2 \log n)$", r"$x_i \times y_j \geq \frac{1}{2}$", r"$\ell_2$", r"$p(y \mid x) \in [0, 1]$",
            r"$\sqrt{\alpha + \epsilon}$", r"$\Omega(k / \lambda)$"]


class Log:
    """What the browser fetched: address and bytes on the wire, headers included."""

    def __init__(self, page: Any) -> None:
        self.page, self.fetched, self.asked = page, list[tuple[float, str]](), list[str]()
        names: dict[str, str] = {}
        session = page.context.new_cdp_session(page)

        def sent(event: dict[str, Any]) -> None:
            names[event["requestId"]] = event["request"]["url"]
            self.asked.append(event["request"]["url"])

        session.on("Network.requestWillBeSent", sent)
        session.on("Network.loadingFinished", lambda e: self.fetched.append((e["encodedDataLength"], names[e["requestId"]])))
        session.send("Network.enable")
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})

    def read(self, address: str) -> tuple[float, int]:
        """Open a page for the first time; (bytes, requests) of everything it asks for, its icon included."""
        self.fetched.clear()
        self.asked.clear()
        self.page.goto(address, wait_until="networkidle")
        fonts = "document.fonts.ready.then(() => 0)"
        self.page.evaluate(f"{fonts}.then(() => new Promise(requestAnimationFrame)).then(() => {fonts})")
        self.page.wait_for_load_state("networkidle")
        assert {urlsplit(u).netloc for u in self.asked if not u.startswith("data:")} == {urlsplit(address).netloc}
        return sum(size for size, _ in self.fetched), len(self.asked)


def prose() -> Iterator[str]:
    """English sentences, none twice: texts that compress as abstracts do, which made-up words would not."""
    from pydoc_data.topics import topics

    text = " ".join(re.sub(r"[^\w\s.,;:()'-]", "", topics[name]) for name in sorted(topics))
    yield from dict.fromkeys(" ".join(s.split()) for s in re.split(r"(?<=[a-z]\.)\s+(?=[A-Z])", text) if 40 < len(s) < 400)


def fill(lab: Lab, n: int, formulas: list[str], last: int = 10**6) -> None:
    """Papers as long as those on arXiv: abstracts of 600 to 1,900 characters, 1 to 12 authors, titles of 40 to 120.

    They are listed in falling order; those up to number `last` have formulas.
    """
    rng, sentences = np.random.default_rng(0), prose()
    names = ["Ada", "Émile", "Wei", "Zhang", "Priya", "Nguyễn", "Jürgen", "Olamide",
             "Kovács", "Sørensen", "Müller", "García", "Ivanova", "Park"]
    for i in range(n):
        abstract = ""
        while len(abstract) < rng.integers(600, 1900):
            abstract += next(sentences) + " "
        abstract = abstract.replace(" the ", f" the {formulas[i % len(formulas)]} ", 2) if formulas and i <= last else abstract
        authors = [f"{rng.choice(names)} {rng.choice(names)}-{rng.integers(10**6)}" for _ in range(rng.integers(1, 13))]
        new_paper(lab, f"2512.{i:05}", title=next(sentences)[: rng.integers(40, 120)], abstract=abstract, authors=authors,
                  arxiv_id=f"2512.{i:05}", categories=["cs.LG", "stat.ML", "cs.CV"][: 1 + i % 3],
                  published_on=dt.date(2025, 12, 1), published_key="2025-12-01", listed_on=dt.date(2025, 12, 27))


@pytest.fixture
def log(chromium: Any) -> Iterator[Callable[[], Log]]:  # noqa: F811
    contexts = []

    def make() -> Log:
        contexts.append(chromium.new_context(viewport={"width": 1280, "height": 900}))
        contexts[-1].set_default_timeout(PATIENCE)
        return Log(contexts[-1].new_page())

    yield make
    for context in contexts:
        context.close()


@pytest.mark.parametrize("formulas", [[], FORMULAS], ids=["words", "maths"])
def test_a_first_visit_is_light(formulas: list[str], lab: Lab, served: str, log: Callable[[], Log]) -> None:
    """The front page and a day, each at a first visit, with as many papers as a page holds."""
    fill(lab, 60, formulas)
    for path in ("/", "/papers/date/2025-12-27"):
        one = log()
        size, requests = one.read(served + path)
        assert one.page.locator("article").count() == PER_PAGE
        most = MOST_BYTES + (MOST_FOR_MATHS if formulas else 0)
        told = "\n".join(f"{size:8.0f} {url}" for size, url in sorted(one.fetched, reverse=True))
        assert size <= most, f"{path}: {size:.0f} bytes\n{told}"
        assert requests <= MOST_REQUESTS, f"{path}\n{told}"
        drawn = one.page.locator("code.math .katex").count()
        assert (drawn > 0) == bool(formulas)


def test_formulas_far_down_cost_nothing_until_one_comes_near(lab: Lab, served: str, log: Callable[[], Log]) -> None:
    fill(lab, 60, FORMULAS, last=30)
    one = log()
    size, _ = one.read(f"{served}/papers/date/2025-12-27")
    assert one.page.locator("code.math").count() > 0
    assert size <= MOST_BYTES
    assert not [url for url in one.asked if "katex" in url]
    one.page.locator("code.math").last.scroll_into_view_if_needed()
    one.page.locator("code.math .katex").first.wait_for()
    assert one.page.locator("code.math:not([data-typeset])").count() > 0, "those that were passed over stay as they are"


def test_prose_is_not_repeated() -> None:
    """What the test above stands on: enough sentences for every abstract, each once."""
    sentences = list(itertools.islice(prose(), 1_000))
    assert len(set(sentences)) == len(sentences) == 1_000
