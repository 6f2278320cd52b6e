"""`digest send|preview|end`: mail of the site."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ._common import WrongUsage

digest = typer.Typer(no_args_is_help=True, help="Digests by mail: send what is due, or look at one.")


@digest.command("send")
def send(as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False) -> None:
    """Send every digest that is due now. The site's worker does so by itself every half minute."""
    from workingpapers.hub.mail.sending import deliver, plan
    from workingpapers.hub.settings import HubSettings
    from workingpapers.lab import Store
    from workingpapers.papers import load_catalogue

    store = Store()
    planned = plan(store)
    tally = deliver(store, load_catalogue(), HubSettings())
    if as_json:
        print(json.dumps({"planned": planned, **vars(tally)}))
    else:
        print(f"{tally.sent} sent, {tally.empty} had nothing new, {tally.later} to be tried again, {tally.failed} refused")
    if tally.halted:
        print(f"workingpapers: {tally.halted}", file=sys.stderr)
    raise typer.Exit(1 if tally.halted or tally.failed else 0)


@digest.command("preview")
def preview(
    kind: Annotated[str, typer.Option(help="trending, query, tag, category or verdicts.")] = "trending",
    about: Annotated[str, typer.Option(help="The search, tag, category or paper it is about.")] = "",
    days: Annotated[int, typer.Option(min=1, max=3650, help="How far back it looks.")] = 7,
    out: Annotated[Path | None, typer.Option(help="Write the HTML part to this file; the text goes to stdout without it.")] = None,
) -> None:
    """Show a digest as it would go out now."""
    from workingpapers.hub.mail.edition import make_edition
    from workingpapers.hub.mail.rendering import as_html, as_text
    from workingpapers.hub.mail.subscriptions import Wish
    from workingpapers.hub.settings import HubSettings
    from workingpapers.lab import Store
    from workingpapers.lab.store import now
    from workingpapers.papers import load_catalogue

    field = {"query": "q", "verdicts": "slug"}.get(kind, kind)
    try:
        wish = Wish("preview@example.org", kind, {field: about})
    except ValueError as error:
        raise WrongUsage(str(error).replace("q:", "--about:").replace("tag:", "--about:").replace("category:", "--about:")) from error
    moment = now()
    edition = make_edition(Store(), load_catalogue(), wish.kind, wish.params or {}, moment - dt.timedelta(days=days), moment)
    address = HubSettings().address
    if out is None:
        print(as_text(edition, address), end="")
    else:
        out.write_text(as_html(edition, address), encoding="utf-8")
        print(f"{out}: {out.stat().st_size:,} bytes, subject “{edition.subject}”")


@digest.command("end")
def end(
    tokens: Annotated[list[str], typer.Argument(help="Tokens of unsubscribe links, or mails in files; - reads one mail from stdin.")],
) -> None:
    """End digests that were asked to end by mail (`mailto:` of List-Unsubscribe): pipe such mails here."""
    import re

    from workingpapers.hub.mail.subscriptions import end as end_one
    from workingpapers.lab import Store

    store, missing = Store(), 0
    for given in tokens:
        text = sys.stdin.read(1 << 20) if given == "-" else Path(given).read_text("utf-8", "replace") if Path(given).is_file() else given
        with store.writing() as session:
            found = [row for token in dict.fromkeys(re.findall(r"[A-Za-z0-9_-]{43}", text)) if (row := end_one(session, token)) is not None]
            for row in found:
                print(f"ended: {row.email}, {row.kind}")
        missing += not found
    if missing:
        raise WrongUsage("no digest of that token: copy it from the unsubscribe link of a mail")
