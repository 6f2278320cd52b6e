"""Doubts on the admin page: an editor settles them by forms, the log says who, and an answer can be taken back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from workingpapers.hub.shelf.intake import take_in
from workingpapers.hub.tables import AuditRow, DoubtRow, PaperRow
from workingpapers.lab import Lab

from ..shelf.test_settling import NAMESAKES, ONE, TWO, UNCLEAR


@pytest.fixture
def asked(lab: Lab) -> dict[str, int]:
    """One doubt of each kind, by kind."""
    take_in(lab.store, [ONE, TWO, *NAMESAKES, UNCLEAR])
    with lab.store.reading() as session:
        return dict(session.execute(select(DoubtRow.kind, DoubtRow.id)).tuples().all())


def names(lab: Lab) -> list[str]:
    with lab.store.reading() as session:
        return sorted(session.scalars(select(PaperRow.public_id).where(PaperRow.slug.is_(None), PaperRow.hidden.is_(False))))


def log(lab: Lab) -> list[tuple[str, str]]:
    with lab.store.reading() as session:
        query = select(AuditRow.actor, AuditRow.action).where(AuditRow.action != "role").order_by(AuditRow.id)
        return list(session.execute(query).tuples())


def test_an_editor_settles_by_the_forms_of_the_page(person: Callable[..., Any], lab: Lab, asked: dict[str, int]) -> None:
    editor, before = person("editor"), names(lab)
    text = editor.get("/admin").text
    buttons = set(re.findall(r">([A-Z][^<]*)<span class=\"unseen\">", text))
    assert {"Same paper", "Different papers", "It is this one", "A paper of its own"} <= buttons
    assert editor.post(f"/admin/doubts/{asked['alike']}", answer="same").headers["location"] == "/admin#doubts"
    assert len(names(lab)) == len(before) - 1
    assert editor.post(f"/admin/doubts/{asked['several']}", answer="same", paper="2503.00004").status_code == 303
    page = editor.get("/admin").text
    assert "None: no record waits for a decision." in page
    assert f"by {editor.user.handle}" in page
    assert editor.post(f"/admin/doubts/{asked['alike']}/reopen").status_code == 303
    assert names(lab) == before
    who = f"user:{editor.user.id}"
    assert log(lab) == [(who, "same paper"), (who, "same paper"), (who, "doubt reopened")]


def test_what_cannot_be_is_said_and_leaves_no_trace(person: Callable[..., Any], lab: Lab, asked: dict[str, int]) -> None:
    editor, before = person("editor"), names(lab)
    for path, form, status in ((asked["several"], {"answer": "same"}, 422), (99999, {"answer": "same"}, 404),
                               (asked["alike"], {"answer": "maybe"}, 422), (f"{asked['alike']}/reopen", {}, 422)):
        assert editor.post(f"/admin/doubts/{path}", **form).status_code == status, (path, form)
    assert names(lab) == before
    assert log(lab) == []
    runner = person("runner")
    assert runner.post(f"/admin/doubts/{asked['alike']}", answer="same").status_code == 403
    assert names(lab) == before
