"""`doctor`: what is installed, what each paper lacks, and the command that mends it."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import typer

from ._common import JsonFlag, print_json


def doctor(json_: JsonFlag = False) -> None:
    """Say what this machine has, what each paper lacks, and how to mend it."""
    report = examine()
    if json_:
        print_json(report)
        return
    typer.echo(f"workingpapers {report['version']}, Python {report['python']}, {report['cpu']}, {report['cores']} cores, "
               f"{report['memory_gb']} GB, GPU: {report['gpu'] or 'none'}\ndata directory {report['home']}, database {report['database']}")
    for problem in report["broken"]:
        typer.echo(f"broken   {problem}")
    for p in report["papers"]:
        if p["status"] == "listed":
            continue
        lacks = f"lacks {', '.join(p['lacks'])}; mend it: {p['remedy']}" if p["lacks"] else "ready"
        changed = "; the code has changed since its reference run" if p["changed_since_reference"] else ""
        typer.echo(f"{p['slug']:<16} {lacks}{changed}")
    listed = sum(p["status"] == "listed" for p in report["papers"])
    if listed:
        typer.echo(f"{listed} papers are listed only")


def examine() -> dict[str, Any]:
    """What `doctor` prints, as a document."""
    import workingpapers
    from workingpapers.lab.fingerprint import code_of, environment
    from workingpapers.lab.settings import Settings
    from workingpapers.papers.catalogue import load_catalogue

    settings, catalogue, facts = Settings(), load_catalogue(), environment({})
    extras = extra_requirements()
    papers = []
    for p in catalogue:
        lacks = sorted({name for extra in p.facts.extras for name in extras.get(extra, []) if not installed(name)})
        remedy = f"pip install 'workingpapers[{','.join(p.facts.extras)}]'" if lacks else ""
        reference = p.reference() if p.status == "runs" else None
        changed = False
        if reference is not None:
            here = code_of(f"{p.module}.claims").hash
            changed = any(r["code_hash"] != here for r in reference["runs"])
        papers.append({"slug": p.slug, "status": p.status, "extras": list(p.facts.extras), "lacks": lacks, "remedy": remedy,
                       "reference": reference is not None, "changed_since_reference": changed})
    return {"version": workingpapers.__version__, **{k: facts[k] for k in ("python", "cpu", "cores", "memory_gb", "gpu", "system")},
            "home": str(settings.home), "database": settings.database_url.partition("://")[0],
            "broken": [line for b in catalogue.broken for line in b.problems], "papers": papers}


def extra_requirements() -> dict[str, list[str]]:
    """Names of the distributions that each extra of this package asks for."""
    import re

    out: dict[str, list[str]] = {}
    for line in metadata.requires("workingpapers") or []:
        found = re.match(r"([A-Za-z0-9._-]+).*;\s*extra\s*==\s*['\"]([a-z]+)['\"]", line)
        if found and found[1] != "workingpapers":
            out.setdefault(found[2], []).append(found[1])
    return out


def installed(name: str) -> bool:
    """Whether a distribution is installed."""
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
