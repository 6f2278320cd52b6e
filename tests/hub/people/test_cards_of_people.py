"""Lists are made once for all: what is one person's own reaches that person alone."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest

from workingpapers.hub import rendering

from .conftest import new_paper

DAY = dt.date(2026, 3, 3)
LISTS = ["/", "/papers/date/2026-03-03", "/papers/trending", "/search?q=Coins"]
TOKENS = re.compile(r'name="token" value="([0-9a-f]*)"')
SLOTS = (rendering.TOKEN_SLOT, rendering.BACK_SLOT, rendering.BACK_SLOT_QUOTED)


def deeds(text: str, paper: int) -> tuple[str, str] | None:
    """Whether vote and bookmark of a paper are pressed; None for a page without buttons."""
    found = [re.search(f'id="{act}-{paper}"[^>]*aria-pressed="(true|false)"', text) for act in ("vote", "save")]
    return (found[0][1], found[1][1]) if found[0] and found[1] else None


@pytest.mark.slow
@pytest.mark.parametrize("page", LISTS)
def test_votes_and_bookmarks_of_one_are_shown_to_no_other(person: Any, lab: Any, page: str) -> None:
    row = new_paper(lab, listed_on=DAY, published_on=DAY, published_key="2026-03-03")
    ada, bob, visitor = person("reader"), person("reader"), person()
    for _ in range(2):  # made, then kept
        assert deeds(ada.client.get(page).text, row.id) == deeds(bob.client.get(page).text, row.id) == ("false", "false")
        assert deeds(visitor.client.get(page).text, row.id) is None
    ada.post("/votes", paper=row.public_id, on="true")
    bob.post("/tags", paper=row.public_id, on="true")
    for _ in range(2):
        assert deeds(ada.client.get(page).text, row.id) == ("true", "false")
        assert deeds(bob.client.get(page).text, row.id) == ("false", "true")
        assert deeds(visitor.client.get(page).text, row.id) is None
        assert '<span class="num">1</span>' in visitor.client.get(page).text
    ada.post("/votes", paper=row.public_id, on="false")
    assert deeds(ada.client.get(page).text, row.id) == ("false", "false")


@pytest.mark.parametrize("page", LISTS)
def test_every_form_has_the_token_and_the_address_of_its_own_visitor(person: Any, lab: Any, page: str) -> None:
    from workingpapers.hub.tokens import VISITOR_COOKIE, is_valid, load_key

    row = new_paper(lab, listed_on=DAY, published_on=DAY, published_key="2026-03-03")
    people = [person("reader"), person("editor"), person()]
    key, seen = load_key(lab.store.settings.home), set[str]()
    for who in (*people, *people):
        text = who.client.get(page).text
        found = set(TOKENS.findall(text))
        assert len(found) == 1  # one a page
        assert is_valid(key, who.client.cookies[VISITOR_COOKIE], *found)
        assert not found & seen  # and another on every page
        seen |= found
        assert not any(slot in text for slot in SLOTS)
        if who.user is None:
            assert "slot" not in text
            assert f'href="/signin?next={page.replace("?", "%3F").replace("=", "%3D")}"' in text
        else:
            assert text.count(f'name="back" value="{page}"') >= 2
    assert people[0].post("/votes", paper=row.public_id, on="true", back=page).headers["location"] == page


def test_the_address_of_a_page_is_written_as_text(person: Any, lab: Any) -> None:
    new_paper(lab, listed_on=DAY)
    for who in (person(), person("reader")):
        text = who.client.get('/search?q=Coins&x="><script>alert(1)</script>').text
        assert "<script>alert" not in text
        assert "Coins 2403.09999" in text


def test_a_text_cannot_ask_for_the_token(person: Any, lab: Any) -> None:
    """Slots are drawn by each process: whatever a stranger writes into a title, the reader's token does not appear there."""
    for n, guess in enumerate(("slot", "TOKEN_SLOT", "slot" + "0" * 32, "{{ token }}")):
        new_paper(lab, f"2403.1000{n}", title=f"https://evil.example/?{guess}", listed_on=DAY)
    ada = person("reader")
    text = ada.get("/").text
    (token,) = set(TOKENS.findall(text))
    assert text.count(token) == text.count(f'name="token" value="{token}"')
    assert len({rendering.TOKEN_SLOT, rendering.BACK_SLOT, rendering.BACK_SLOT_QUOTED}) == 3
    assert all(re.fullmatch("slot[0-9a-f]{32}", slot) for slot in SLOTS)
