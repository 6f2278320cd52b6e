"""Who asks: nobody, a browser that is signed in, or a program with an API token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, cast
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPBearer
from sqlalchemy import select

from workingpapers.lab.store import now

from ..problems import Problem
from ..site import Site, get_site
from ..tables import ApiTokenRow, SigninRow, UserRow
from ..tokens import FORM_HEADER, SESSION_COOKIE, cookie_of, is_valid, visitor_of
from .keys import TOKEN_PREFIX, digest, is_secret
from .roles import LOCAL, Action, granted, least_role

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Viewer:
    """Who asks, and what they may do.

    Attributes:
        user: the account; None for a visitor.
        actions: what may be done.
        via: how they were recognised. `refused` is a Bearer token that opens nothing: it reads as a visitor does, and
            changes nothing.
        key_id: row of the sign-in or token.
        address: where the request came from, for limits.
    """

    user: UserRow | None
    actions: frozenset[Action]
    via: Literal["nothing", "cookie", "token", "refused"] = "nothing"
    key_id: int | None = None
    address: str = ""

    def can(self, action: Action) -> bool:
        """Whether they may do it."""
        return action in self.actions

    def can_run(self, scale: str) -> bool:
        """Whether they may run a claim at this scale."""
        return self.can("smoke" if scale == "smoke" else "run")

    @property
    def name(self) -> str:
        """What stands in `runs.requested_by` and the audit log: a number that says nothing once the account is gone."""
        return f"user:{self.user.id}" if self.user else "hub"

    def require(self, action: Action) -> None:
        """401 for a visitor, 403 for an account whose role or token does not reach."""
        if self.can(action):
            return
        if self.user is None:
            raise Problem(401, "Sign in first", "That token is unknown, revoked or too old." if self.via == "refused" else
                          "This needs an account. Sign in by mail link, or send an API token.", {"WWW-Authenticate": "Bearer"})
        if self.via == "token" and action in granted(self.user.role):
            raise Problem(403, "This token may not do that", f"Make a token whose scopes allow it: {action}.")
        raise Problem(403, "Your role may not do that", f"It needs the role {least_role(action)}; yours is {self.user.role}. "
                      "An admin of this site can change it.")

    def account(self) -> UserRow:
        """The account; 401 for a visitor."""
        if self.user is None:
            self.require("self")
        return cast(UserRow, self.user)


def get_viewer(request: Request) -> Viewer:
    """Who asks; looked up once a request."""
    known = getattr(request.state, "viewer", None)
    if known is None:
        known = request.state.viewer = _recognise(request, get_site(request))
    return cast(Viewer, known)


def forget_viewer(request: Request) -> None:
    """Look again: the account has changed within this request."""
    request.state.viewer = None


async def _viewer_of(request: Request) -> Viewer:
    """The same; a thread is troubled only where the database must be asked."""
    return await run_in_threadpool(get_viewer, request) if _must_ask(request, get_site(request)) else get_viewer(request)


ViewerOf = Annotated[Viewer, Depends(_viewer_of)]
WITH_TOKEN = [Depends(HTTPBearer(auto_error=False, scheme_name="token", description="An API token, `wp_...`, made under /me."))]
"""`dependencies` of an API route that needs an account: says so in the API's description."""


def may(action: Action) -> Callable[[Viewer], Viewer]:
    """A dependency that lets only those in who may do it."""

    def check(viewer: ViewerOf) -> Viewer:
        viewer.require(action)
        return viewer

    return check


def bearer(request: Request) -> str | None:
    """The token of an `Authorization: Bearer` header, whatever its shape; None without such a header."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def sign_in_address(back: str) -> str:
    """Where to sign in and come back from.

    >>> sign_in_address("/papers/2403.00001?x=1")
    '/signin?next=/papers/2403.00001%3Fx%3D1'
    """
    return f"/signin?next={quote(back)}"


def _must_ask(request: Request, site: Site) -> bool:
    """Whether `_recognise` would ask the database."""
    return bearer(request) is not None or is_secret(cookie_of(request, SESSION_COOKIE)) or (site.local and not site.has_accounts)


def _recognise(request: Request, site: Site) -> Viewer:
    address = request.client.host if request.client else ""
    token = bearer(request)
    if token is not None:  # a request with this header is judged by it alone: no cookie lends it rights
        return _by_token(site, token, address)
    secret = cookie_of(request, SESSION_COOKIE)
    if is_secret(secret) and _cookie_counts(request, site):
        query = (select(UserRow, SigninRow.id).join(SigninRow, SigninRow.user_id == UserRow.id)
                 .where(SigninRow.token_hash == digest(cast(str, secret)), SigninRow.expires_at > now()))
        with site.lab.store.reading() as session:
            found = session.execute(query).tuples().first()
        if found is not None:
            user, key_id = found
            return Viewer(user, granted(user.role), "cookie", key_id, address)
    return Viewer(None, LOCAL if site.is_open(request) else frozenset(), address=address)


def _cookie_counts(request: Request, site: Site) -> bool:
    """The API changes things for a cookie only beside the form token of its visitor; pages check theirs in `has_token`."""
    if request.method in SAFE_METHODS or not request.url.path.startswith("/api/"):
        return True
    return is_valid(site.key, visitor_of(request), request.headers.get(FORM_HEADER, ""))


def _by_token(site: Site, token: str, address: str) -> Viewer:
    if token.startswith(TOKEN_PREFIX) and is_secret(token.removeprefix(TOKEN_PREFIX)):
        query = select(UserRow, ApiTokenRow).join(ApiTokenRow, ApiTokenRow.user_id == UserRow.id).where(
            ApiTokenRow.token_hash == digest(token), ApiTokenRow.expires_at.is_(None) | (ApiTokenRow.expires_at > now()))
        with site.lab.store.reading() as session:
            found = session.execute(query).tuples().first()
        if found is not None:
            user, row = found
            return Viewer(user, granted(user.role, row.scopes), "token", row.id, address)
    return Viewer(None, frozenset(), "refused", address=address)
