"""Writes docs/papers/SLUG.md for every paper, from paper.toml, docstrings and the reference run.

Usage: docs.py [--check]    with --check nothing is written; exit 1 when a page is out of date.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from workingpapers.cli._common import figure, span
from workingpapers.papers.catalogue import Paper, load_catalogue

PAGES = Path(__file__).parents[1] / "docs/papers"


def main(arguments: list[str]) -> int:
    stale = []
    PAGES.mkdir(parents=True, exist_ok=True)
    catalogue = load_catalogue()
    pages = {f"{p.slug}.md": page(p) for p in catalogue}
    pages["README.md"] = index(list(catalogue))
    for name, text in pages.items():
        path = PAGES / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"{'out of date' if '--check' in arguments else 'written'}: {', '.join(stale)}")
    return 1 if stale and "--check" in arguments else 0


def index(papers: list[Paper]) -> str:
    rows = [f"| [{p.facts.title}]({p.slug}.md) | {p.facts.task} | {p.facts.published} | {len(p.facts.claims)} | {p.status} |"
            for p in papers]
    return "\n".join(["# Papers", "", "| paper | task | published | claims | status |", "|---|---|---|---|---|", *rows, ""])


def page(paper: Paper) -> str:
    facts = paper.facts
    about = [f"{facts.author_count} author{'s' if facts.author_count > 1 else ''}", str(facts.published)]
    about += [x for x in (facts.venue, facts.task) if x]
    about += [f"[arXiv {facts.arxiv}](https://arxiv.org/abs/{facts.arxiv})"] if facts.arxiv else []
    about += [f"[authors' code]({facts.code.url}) ({facts.code.licence})"] if facts.code else []
    out = [f"# {facts.title}", "", " · ".join(about), "", facts.summary.strip(), "", "## What it claims", ""]
    reference = {r["claim"]: r for r in (paper.reference() or {}).get("runs", [])}
    for c in facts.claims:
        out += [f"### {c.short}", "", f"`{c.id}`: {c.statement}", ""]
        if c.reported:
            where = f" ({', '.join(x for x in (c.reported.where, c.reported.at) if x)})" if c.reported.where or c.reported.at else ""
            out += [f"- The paper: {c.reported.figure}{where}"]
        out += [f"- Against: {c.baseline}", f"- Rule: {c.rule}"]
        out += [f"- {scale}: {words}" for scale, words in c.scales.items()]
        out += [f"- Ours: {x}" for x in c.ours]
        if c.id in reference:
            out += [f"- Reference machine: {measured(reference[c.id])}"]
        out += [""]
    if facts.not_verified:
        out += ["## Not verified here", "", *(f"- {x}" for x in facts.not_verified), ""]
    if paper.status == "runs":
        out += usage(paper)
    else:
        out += ["This paper is listed; its claims do not run yet.", ""]
    return "\n".join(out)


def measured(run: dict[str, Any]) -> str:
    words = f"**{run['verdict']}**"
    if run["estimate"] is not None:
        words += f", {figure(run['estimate'])} {span(run['interval'])}".rstrip()
    return f"{words} ({run['n_seeds']} seeds, {run['scale']}, {str(run['ended_at'])[:10]})" + (f". {run['note']}" if run["note"] else "")


def usage(paper: Paper) -> list[str]:
    package = importlib.import_module(paper.module)
    out = ["## Use it", ""]
    if paper.facts.extras:
        install = f"pip install 'workingpapers[{','.join(paper.facts.extras)}]'"
        out += ["```", install, f"workingpapers run {paper.slug} --scale smoke", "```", ""]
    out += [fenced(inspect.cleandoc(package.__doc__ or "").strip()), "", "## Public names", "", "| name | what it is |", "|---|---|"]
    for name in package.__all__:
        found = getattr(package, name)
        first = inspect.cleandoc(getattr(found, "__doc__", "") or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        out.append(f"| `{name}{signature(found)}` | {first} |")
    return [*out, ""]


def signature(found: Any) -> str:
    """Names and defaults, without types."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return ""
    out, starred = [], False
    for p in parameters:
        if p.kind is p.VAR_POSITIONAL:
            starred = True
        elif p.kind is p.KEYWORD_ONLY and not starred:
            starred = True
            out.append("*")
        star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = "" if p.default is p.empty else f"={shown(p.default)}"
        out.append(f"{star}{p.name}{default}")
    return f"({', '.join(out)})".replace("|", "\\|")


def shown(default: Any) -> str:
    if callable(default) and hasattr(default, "__name__"):
        return str(default.__name__)
    return "..." if " at 0x" in repr(default) else repr(default)


def fenced(text: str) -> str:
    """A docstring with its examples in fences."""
    out, inside = [], False
    for line in text.splitlines():
        if line.startswith(">>>") and not inside:
            out.append("```python")
            inside = True
        elif inside and not line.strip():
            out.append("```")
            inside = False
        out.append(line)
    return "\n".join([*out, "```"] if inside else out)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
