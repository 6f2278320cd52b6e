"""`user add|role|list|link|export|delete` and `token new|list|revoke`: accounts of the site."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._common import JsonFlag, WrongUsage, print_json

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from workingpapers.hub.tables import UserRow

user = typer.Typer(no_args_is_help=True, help="Accounts of the site: who may do what.")
token = typer.Typer(no_args_is_help=True, help="API tokens of accounts.")

Name = Annotated[str, typer.Argument(help="Name or mail address of an account.")]
ACTOR = "cli"


@user.command("add")
def add(email: Annotated[str, typer.Argument(help="Mail address; - for an account without one.")],
        name: Annotated[str, typer.Option(help="Name that others see; by default a random one.")] = "",
        role: Annotated[str, typer.Option(help="reader, runner, editor or admin.")] = "reader", as_json: JsonFlag = False) -> None:
    """Make an account. It signs in by mail link, or by `user link`."""
    from workingpapers.hub.people.accounts import create_user

    with _writing() as session:
        row = create_user(session, email=None if email == "-" else email, handle=name, role=role, created_by=ACTOR)
    if as_json:
        print_json({"name": row.handle, "email": row.email, "role": row.role})
    else:
        print(f"{row.handle}: {row.role}")


@user.command("role")
def set_role(name: Name, role: Annotated[str, typer.Argument(help="reader, runner, editor or admin.")]) -> None:
    """Give an account another role."""
    from workingpapers.hub.people import accounts

    with _writing() as session:
        row = _find(session, name)
        accounts.set_role(session, row, role, actor=ACTOR)
        print(f"{row.handle}: {row.role}")


@user.command("list")
def list_users(as_json: JsonFlag = False) -> None:
    """List accounts."""
    from sqlalchemy import select

    from workingpapers.hub.tables import UserRow

    with _writing() as session:
        rows = list(session.scalars(select(UserRow).order_by(UserRow.id)))
    if as_json:
        print_json([{"name": r.handle, "email": r.email, "role": r.role, "since": r.created_at.isoformat()} for r in rows])
    for r in rows if not as_json else ():
        print(f"{r.handle:<24} {r.role:<8} {r.email or '-'}")


@user.command("link")
def link(name: Name) -> None:
    """Print a link that signs this account in once, within 15 minutes, in any browser: for a site without a mail server."""
    from workingpapers.hub.people import signin
    from workingpapers.hub.settings import HubSettings

    with _writing() as session:
        secret = signin.new_link(session, signin.CONSOLE, user_id=_find(session, name).id)
    print(f"{HubSettings().address}/signin/{secret}")


@user.command("export")
def export(name: Name, out: Annotated[Path | None, typer.Argument(help="File; stdout without it.")] = None) -> None:
    """Write everything that the site keeps about an account, as JSON."""
    import json

    from workingpapers.hub.people.accounts import export_account

    with _writing() as session:
        document = export_account(session, _find(session, name))
    if out is None:
        print_json(document)
    else:
        out.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


@user.command("delete")
def delete(name: Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Delete an account: votes, tags, ratings, tokens and digests go; comments keep their place, without text or name."""
    from workingpapers.hub.people.accounts import delete_account

    if not yes:
        typer.confirm(f"Delete {name} and everything it kept, for good?", abort=True)
    with _writing() as session:
        delete_account(session, _find(session, name), actor=ACTOR)
    print(f"{name}: deleted")


@token.command("new")
def new(name: Name, scope: Annotated[list[str] | None, typer.Option(help="read, vote, comment, run or admin; may be repeated.")] = None,
        days: Annotated[int, typer.Option(min=0, max=3650, help="How long it lives; 0 for no end.")] = 90,
        note: Annotated[str, typer.Option(help="What it is for.")] = "command line") -> None:
    """Make an API token and print it: it is shown this once."""
    from workingpapers.hub.people import signin
    from workingpapers.hub.people.accounts import checked_scopes

    with _writing() as session:
        print(signin.new_token(session, _find(session, name), note, checked_scopes(scope or []), days or None))


@token.command("list")
def list_tokens(name: Name, as_json: JsonFlag = False) -> None:
    """List the tokens of an account: their beginning, never themselves."""
    from sqlalchemy import select

    from workingpapers.hub.tables import ApiTokenRow

    with _writing() as session:
        rows = list(session.scalars(select(ApiTokenRow).where(ApiTokenRow.user_id == _find(session, name).id).order_by(ApiTokenRow.id)))
    if as_json:
        print_json([{"id": r.id, "note": r.name, "prefix": r.prefix, "scopes": r.scopes,
                     "until": r.expires_at.isoformat() if r.expires_at else None} for r in rows])
    for r in rows if not as_json else ():
        print(f"{r.id:>5}  {r.prefix}…  {', '.join(r.scopes):<28} {f'{r.expires_at:%Y-%m-%d}' if r.expires_at else 'no end':<10}  {r.name}")


@token.command("revoke")
def revoke(name: Name, number: Annotated[int, typer.Argument(help="Its number in `token list`.")]) -> None:
    """Revoke a token."""
    from workingpapers.hub.people import signin

    with _writing() as session:
        if not signin.revoke_token(session, _find(session, name), number):
            raise WrongUsage(f"{name} has no token {number}")
    print("revoked")


@contextmanager
def _writing() -> Iterator[Session]:
    """A session on the site's store; a name or role that cannot be had is wrong usage."""
    import workingpapers.hub.tables  # noqa: F401 - the tables hang on the lab's base
    from workingpapers.hub.people.accounts import AccountError

    from ._common import open_lab

    try:
        with open_lab().store.writing() as session:
            yield session
    except AccountError as error:
        raise WrongUsage(str(error)) from error


def _find(session: Session, name: str) -> UserRow:
    from workingpapers.hub.people.accounts import find_user

    row = find_user(session, name)
    if row is None:
        raise WrongUsage(f"there is no account {name!r}: `workingpapers user list` shows them")
    return row
