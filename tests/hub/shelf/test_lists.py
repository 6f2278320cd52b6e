"""The feed by day, week and month; pages of any paper; what the database is asked for them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from lxml import html
from sqlalchemy import event, select

from workingpapers.hub import shelf
from workingpapers.hub.ingest import Link, Record, Signal
from workingpapers.hub.shelf import lists
from workingpapers.hub.tables import PaperRow

DAY = dt.date
MANY = tuple(f"Author Number{i}" for i in range(3_303))


def record(n: int, listed: dt.date | None, **over: Any) -> Record:
    values: dict[str, Any] = {"authors": (f"Ann A{n}",), "author_count": 1} | over
    return Record("arxiv", f"2603.{n:05}v1", f"Lantern {n}", arxiv_id=f"2603.{n:05}", listed=listed, abstract=f"Light {n}. " * 60, **values)


@pytest.fixture
def filled(lab: Any, app: Any) -> Any:
    shelf.take_in(lab.store, [
        *(record(n, DAY(2026, 3, 2)) for n in range(120)), record(200, DAY(2026, 3, 6), authors=MANY, author_count=len(MANY)),
        record(201, None), record(202, DAY(2026, 3, 6), links=(Link("code", "https://example.org/code"),), signals=(Signal("upvotes", 9),)),
        Record("page", "p", "Only a title here", abstract="x in R^{mtimes n}", author_count=7, listed=DAY(2026, 3, 6)),
        Record("oai", "math/9410209", "An old theorem", arxiv_id="math/9410209", published=DAY(1994, 10, 1)),
        Record("bibtex", "d", "By DOI", doi="10.5555/ab.c/d", authors=("Doi Er",), author_count=1)])
    return lab


def tree(client: Any, address: str) -> Any:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return html.fromstring(answer.text)


def titles(page: Any) -> list[str]:
    return [t.text_content().strip() for t in page.xpath("//article//*[contains(@class,'title')]")]


@pytest.mark.parametrize(("kind", "name"), [("date", "2026-02-29"), ("date", "2026-3-2"), ("week", "2026-W54"), ("week", "2026-W00"),
                                            ("month", "2026-13"), ("month", "2026"), ("date", "0000-01-01"), ("week", "9999-W60")])
def test_what_is_no_day_week_or_month(client: Any, kind: str, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        lists.span_of(kind, name)  # type: ignore[arg-type]
    assert client.get(f"/papers/{kind}/{name}").status_code == 404


def test_every_paper_is_on_one_page_and_pages_meet(client: Any, filled: Any) -> None:
    for start, n in (("/papers", 125), ("/papers/month/2026-03", 123), ("/papers/week/2026-W10", 123), ("/papers/date/2026-03-02", 120)):
        seen, address = [], start
        for _ in range(10):
            page = tree(client, address)
            seen += titles(page)
            onward = page.xpath("//nav[@class='pages']/a[@rel='next']/@href")
            if not onward:
                break
            address = onward[0]
        assert len(seen) == len(set(seen)) == n
    assert titles(tree(client, "/papers"))[:3] == ["Only a title here", "Lantern 202", "Lantern 200"]
    assert client.get("/papers?after=nonsense").status_code == 404
    assert client.get("/papers?after=2026-99-01~~x").status_code == 404


def test_days_lead_to_days_that_have_papers(client: Any, filled: Any) -> None:
    page = tree(client, "/papers/date/2026-03-06")
    assert page.xpath("//nav[@class='days']/a[@rel='prev']/@href") == ["/papers/date/2026-03-02"]
    assert page.xpath("//nav[@class='days']/a[@rel='next']/@href") == []
    assert tree(client, "/papers/date/2026-03-02").xpath("//nav[@class='days']/a[@rel='prev']/@href") == ["/papers/date/2025-12-26"]
    assert tree(client, "/papers/month/2026-03").xpath("//nav[@class='days']/a[@rel='prev']/@href") == ["/papers/month/2025-12"]
    empty = tree(client, "/papers/date/2026-03-04")
    assert "Nothing was listed on Wednesday, 4 March 2026." in empty.text_content()
    assert "Before it: Monday, 2 March 2026" in " ".join(empty.text_content().split())
    assert "has not begun yet" in tree(client, "/papers/date/2999-01-01").text_content()
    assert "has not begun yet" in tree(client, "/papers/week/2999-W01").text_content()


def test_cards_fold_long_lists_of_authors_and_long_abstracts(client: Any, filled: Any) -> None:
    page = tree(client, "/papers/date/2026-03-06")
    card = next(a for a in page.xpath("//article") if "Lantern 200" in a.text_content())
    assert "and 3,291 more" in card.text_content()
    assert "Number12" not in card.text_content()
    assert card.xpath(".//details/summary[text()='Whole abstract']")
    bare = next(a for a in page.xpath("//article") if "Only a title here" in a.text_content())
    assert "7 authors" in bare.text_content()
    paper = tree(client, "/papers/2603.00200")
    assert paper.xpath("//details[@id='authors']")
    assert "Author Number3302" in paper.text_content()


def test_any_paper_has_a_page_under_any_of_its_names(client: Any, filled: Any) -> None:
    for name in ("math/9410209", "doi:10.5555/ab.c/d", "2603.00202"):
        assert tree(client, f"/papers/{name}").xpath("//h1")
    assert client.get("/papers/arXiv:2603.00202v4", follow_redirects=False).headers["location"] == "/papers/2603.00202"
    assert client.get("/papers/10.5555/ab.c/d", follow_redirects=False).headers["location"] == "/papers/doi:10.5555/ab.c/d"
    assert client.get("/papers/2403.00001", follow_redirects=False).headers["location"] == "/papers/coin"
    text = tree(client, "/papers/2603.00202").text_content()
    assert "https://example.org/code" in html.tostring(tree(client, "/papers/2603.00202")).decode()
    assert "no vote of this site: 9 upvotes" in " ".join(text.split())
    assert "lost their signs" in tree(client, tree(client, "/papers/date/2026-03-06").xpath(
        "//article[.//a[contains(text(),'Only a title')]]//a/@href")[0]).text_content()
    with filled.store.writing() as session:
        session.scalars(select(PaperRow).where(PaperRow.public_id == "2603.00202")).one().hidden = True
    assert client.get("/papers/2603.00202").status_code == 404
    assert "Lantern 202" not in client.get("/papers/date/2026-03-06").text


def test_trending_says_why(client: Any, filled: Any) -> None:
    page = tree(client, "/papers/trending")
    assert "Σ w" in page.text_content()
    assert titles(page)[:3] == ["Lantern 202", "Only a title here", "Lantern 200"], "up-votes from elsewhere, then the day, then the id"


def test_no_page_asks_a_question_that_grows_with_the_shelf(client: Any, filled: Any) -> None:
    """Nothing scans `papers`; the number of questions does not depend on the number of papers on the page."""
    if not filled.store.is_sqlite:
        pytest.skip("SQLite's plans are read here")
    asked: list[tuple[str, Any]] = []
    engine = filled.store.engine
    listener = lambda c, cur, s, p, ctx, many: asked.append((s, p))  # noqa: E731
    event.listen(engine, "before_cursor_execute", listener)
    sizes = {}
    client.get("/")  # how claims stand is made once, and kept for all pages
    for address in ("/papers/date/2026-03-02", "/papers/date/2026-03-06", "/papers/trending", "/papers/2603.00202", "/feed.atom", "/papers",
                    "/api/daily_papers", "/api/daily_papers?sort=trending", "/api/papers/2603.00202", "/papers/week/2026-W10"):
        asked.clear()
        client.get(address)
        sizes[address] = len(asked)
        with engine.connect() as connection:
            event.remove(engine, "before_cursor_execute", listener)
            for statement, parameters in [a for a in asked if a[0].lstrip().startswith("SELECT") and " papers" in a[0]]:
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
                    assert not (str(row[3]).startswith("SCAN papers") and "INDEX" not in str(row[3])), (address, statement)
                    assert "TEMP B-TREE FOR ORDER BY" not in str(row[3]) or "slug" in statement, (address, row[3], statement)
            event.listen(engine, "before_cursor_execute", listener)
    event.remove(engine, "before_cursor_execute", listener)
    assert sizes["/papers/date/2026-03-02"] <= sizes["/papers/date/2026-03-06"] + 1
    assert max(sizes.values()) < 30
