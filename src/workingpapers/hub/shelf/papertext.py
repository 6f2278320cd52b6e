"""A paper as Markdown: facts, abstract, claims, newest verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from .. import words
from ..findings import ClaimView
from ..tables import PaperLinkRow, PaperRow
from .citing import source_address


def markdown(row: PaperRow, views: Sequence[ClaimView], links: Sequence[PaperLinkRow], url: str) -> str:
    """The paper for people and programs that read text. Formulas stay as the source has them; `<` is escaped."""
    out = [f"# {_safe(row.title)}", ""]
    count = row.author_count or len(row.authors)
    names = ", ".join(_safe(name) for name in row.authors) or (words.count(count, "author") if count else "unknown")
    more = f" and {count - len(row.authors):,} more" if row.authors and count > len(row.authors) else ""
    facts = [("Authors", names + more), ("Published", words.day(row.published_on) if row.published_on else ""),
             ("Listed", words.day(row.listed_on) if row.listed_on else ""), ("Id", row.public_id),
             ("Categories", ", ".join(row.categories)),
             ("Task", ", ".join(row.tasks)), ("Venue", row.venue or ""), ("Journal", row.journal_ref or ""),
             ("Comment", row.comment or ""), ("Read it", source_address(row) or ""), ("Page", url)]
    out += [f"- {name}: {value if name == 'Authors' else _safe(value)}" for name, value in facts if value]
    out += [f"- {link.kind.capitalize()}: {_safe(link.url)}" for link in links]
    if row.plain_summary:
        out += ["", "## In plain words", "", _safe(row.plain_summary)]
    if row.abstract:
        out += ["", "## Abstract", "", _safe(row.abstract)]
    if views:
        out += ["", "## What it claims, and what happened here"]
        for view in views:
            out += _claim(view)
    return "\n".join(out) + "\n"


def _claim(view: ClaimView) -> list[str]:
    facts = view.facts
    out = ["", f"### {_safe(facts.short)}", "", _safe(facts.statement), ""]
    if facts.reported:
        at = f" on {facts.reported.at}" if facts.reported.at else ""
        out.append(f"- The paper reports: {_safe(facts.reported.figure + at)}")
    out += [f"- Against: {_safe(facts.baseline)}", f"- Rule: {_safe(facts.rule)}"]
    for finding in filter(None, (view.here, view.reference)):
        head = finding.headline
        measured = f": {head.measured}" if head and head.measured else ""
        needs = f" (needs {head.needs})" if head and head.needs else ""
        out.append(f"- Verdict {finding.place}: **{finding.verdict}**{_safe(measured + needs)}, {finding.scale} scale")
        if finding.reason and finding.verdict in ("untested", "inconclusive"):
            out.append(f"  - {_safe(finding.reason)}")
    if view.shown is None:
        out.append("- Verdict: not tried here yet" if view.runs else "- Verdict: listed only; nothing here tries it yet")
    return out


def _safe(text: str) -> str:
    return " ".join(text.split()).replace("<", "\\<")
