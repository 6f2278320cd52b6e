"""What people may do: roles and what each may do, scopes of API tokens and what each lets through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

Action = Literal["vote", "comment", "smoke", "run", "edit", "admin", "self"]
"""`vote` is everything kept under one's own name (votes, tags, bookmarks, ratings, claims of authorship), `smoke` a run at
smoke scale, `run` one at any scale, `edit` what editors do to papers, `admin` what admins do to people, `self` one's own account."""

Role = Literal["reader", "runner", "editor", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

_READER: frozenset[Action] = frozenset({"self", "vote", "comment", "smoke"})
_RUNNER: frozenset[Action] = _READER | {"run"}
_EDITOR: frozenset[Action] = _RUNNER | {"edit"}
GRANTS: dict[str, frozenset[Action]] = {"reader": _READER, "runner": _RUNNER, "editor": _EDITOR, "admin": _EDITOR | {"admin"}}

LOCAL: frozenset[Action] = frozenset({"smoke"})
"""What a visitor without an account may do while the site is one person's own: it listens on this machine only and nobody
has an account yet (`Site.is_open`). Smoke runs take seconds, so they ask for no sign-in. Larger ones need the role runner
here as everywhere: a machine may have other users, who reach its loopback too, and the link that `serve` prints makes the
owner's account. It ends with that account."""

Scope = Literal["read", "vote", "comment", "run", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
LETS_THROUGH: dict[str, frozenset[Action]] = {
    "read": frozenset(), "vote": frozenset({"vote"}), "comment": frozenset({"comment"}), "run": frozenset({"smoke", "run"}),
    "admin": frozenset({"edit", "admin"}),
}


def granted(role: str, scopes: Iterable[str] | None = None) -> frozenset[Action]:
    """What a role may do, by cookie, or by a token of these scopes.

    >>> sorted(granted("reader")), sorted(granted("reader", ["read", "run"])), sorted(granted("nobody"))
    (['comment', 'self', 'smoke', 'vote'], ['smoke'], [])
    """
    may = GRANTS.get(role, frozenset())
    if scopes is None:
        return may
    let: frozenset[Action] = frozenset()
    for scope in scopes:
        let |= LETS_THROUGH.get(scope, frozenset())
    return may & let


def least_role(action: Action) -> str:
    """The lowest role that may do it.

    >>> least_role("run"), least_role("smoke")
    ('runner', 'reader')
    """
    return next(role for role in ROLES if action in GRANTS[role])
