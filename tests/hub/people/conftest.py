"""People of every role, each with a browser of their own, and a paper to speak about."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from workingpapers.hub import create_app
from workingpapers.hub.people.accounts import create_user
from workingpapers.hub.people.signin import begin_signin, new_token
from workingpapers.hub.tables import PaperRow, UserRow
from workingpapers.hub.tokens import SESSION_COOKIE
from workingpapers.lab import Lab

LINK = re.compile(r"http://localhost(/signin/[A-Za-z0-9_-]+)")
_numbers = itertools.count(1)


@dataclass
class Person:
    """Somebody at a browser."""

    client: TestClient
    user: UserRow | None
    form_token: str

    def post(self, path: str, **data: Any) -> Any:
        return self.client.post(path, data={"token": self.form_token, **data}, follow_redirects=False)

    def get(self, path: str, **params: Any) -> Any:
        return self.client.get(path, params=params, follow_redirects=False)


def form_token_of(client: TestClient) -> str:
    return client.get("/signin", follow_redirects=True).text.partition('name="token" value="')[2].partition('"')[0]


@pytest.fixture
def shut(lab: Lab) -> FastAPI:
    """The site as strangers can reach it: it does not listen on this machine only."""
    return create_app(lab=lab)


@pytest.fixture
def person(shut: FastAPI, lab: Lab) -> Iterator[Callable[..., Person]]:
    """Makes people: `person()` is a visitor, `person("reader")` has an account and is signed in."""
    clients = []

    def make(role: str | None = None, *, app: FastAPI | None = None, **over: Any) -> Person:
        client = TestClient(app or shut, base_url="http://localhost", client=(f"192.0.2.{next(_numbers) % 250}", 1))
        clients.append(client)
        user = None
        if role is not None:
            n = next(_numbers)
            with lab.store.writing() as session:
                facts = {"email": f"{role}{n}@example.org", "handle": f"{role}-{n}", "role": role, "created_by": "test"}
                user = create_user(session, **facts | over)
                client.cookies.set(SESSION_COOKIE, begin_signin(session, user, "a browser"))
        return Person(client, user, form_token_of(client))

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def token_of(lab: Lab) -> Callable[..., dict[str, str]]:
    """Headers with a new API token of a person."""

    def make(person: Person, *scopes: str, days: int | None = None) -> dict[str, str]:
        assert person.user is not None
        with lab.store.writing() as session:
            return {"authorization": f"Bearer {new_token(session, person.user, 'test', list(scopes), days)}"}

    return make


@pytest.fixture
def paper(lab: Lab) -> PaperRow:
    """A paper in the database."""
    return new_paper(lab)


def new_paper(lab: Lab, public_id: str = "2403.09999", **over: Any) -> PaperRow:
    with lab.store.writing() as session:
        row = PaperRow(**{"public_id": public_id, "title": f"Coins {public_id}", "title_key": "coins" + public_id, "abstract": "Costs $5.",
                          "authors": ["Ada Lovelace"]} | over)
        session.add(row)
        session.flush()
        session.expunge(row)
    return row


@pytest.fixture
def mails(lab: Lab) -> Callable[[], list[str]]:
    """The mails in the outbox, as text."""
    import email
    import email.policy

    def read() -> list[str]:
        folder = lab.store.settings.home / "outbox"
        files = sorted(folder.glob("*.eml"), key=lambda p: p.stat().st_mtime_ns)
        found = [email.message_from_bytes(p.read_bytes(), policy=email.policy.default) for p in files]
        return [m.get_body().get_content() for m in found]

    return read


@pytest.fixture
def served_shut(shut: FastAPI) -> Iterator[str]:
    """The same behind a real port of this machine."""
    from ..conftest import serving

    with serving(shut) as address:
        yield address
