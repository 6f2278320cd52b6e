"""What every paper must pass, bundled or plugged in: `check_paper` names what is wrong.

    from workingpapers.lab.conformance import check_paper
    assert check_paper(load_catalogue().find("my_paper")) == []
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workingpapers.papers.catalogue import Paper

from .processes import SINGLE_THREADED, JobFailed, JobUntested, TrialServer
from .syntax import tree_of

MIN_SUMMARY_WORDS = 25

# Runs in a process of its own: what importing a paper brings, and whether it starts a thread.
PROBE = """
import importlib, json, os, sys
module = sys.argv[1]
claims = importlib.import_module(module + ".claims")
tasks = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
package = importlib.import_module(module)
names = list(getattr(package, "__all__", []))
from workingpapers.claims import Claim
found = {n: getattr(package, n, None) for n in names}
print(json.dumps({
    "threads": tasks, "names": names, "missing": [n for n in names if not hasattr(package, n)],
    "undocumented": [n for n, o in found.items() if (callable(o) or isinstance(o, type)) and not (getattr(o, "__doc__", "") or "").strip()],
    "claims": sorted({c.id for c in vars(claims).values() if isinstance(c, Claim)}),
    "roles": {c.id: sorted({a.role for a in c.arms.values()}) for c in vars(claims).values() if isinstance(c, Claim)},
    "doc": (package.__doc__ or "").strip(),
}))
"""


def check_paper(paper: Paper, *, try_claims: bool = True) -> list[str]:
    """Problems of a paper, in words; empty when it conforms.

    Args:
        paper: from the catalogue.
        try_claims: also run, for each trial function of each claim, one seed of the first smoke point with every arm.
    """
    problems = list(_facts(paper))
    if paper.status != "runs":
        return problems
    probe = _probe(paper)
    if isinstance(probe, str):
        return [*problems, probe]
    problems += _surface(paper, probe)
    return problems + (list(_tries(paper)) if try_claims else [])


def _facts(paper: Paper) -> Iterator[str]:
    facts = paper.facts
    if len(facts.summary.split()) < MIN_SUMMARY_WORDS:
        yield f"{paper.slug}: summary has {len(facts.summary.split())} words: say who it is for, what it saves, where it stops helping"
    for claim in facts.claims:
        if "smoke" not in claim.scales:
            yield f"{paper.slug}: claim {claim.id}: scales has no smoke"


def _probe(paper: Paper) -> dict[str, Any] | str:
    environment = {**os.environ, **SINGLE_THREADED, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    found = subprocess.run([sys.executable, "-c", PROBE, paper.module], capture_output=True, text=True, env=environment, check=False)
    if found.returncode:
        return f"{paper.slug}: importing {paper.module}.claims fails: {found.stderr.strip().splitlines()[-1]}"
    return dict(json.loads(found.stdout.splitlines()[-1]))


def _surface(paper: Paper, probe: dict[str, Any]) -> Iterator[str]:
    slug = paper.slug
    if probe["threads"] != 1:
        yield f"{slug}: importing claims.py leaves {probe['threads']} threads: nothing may be computed on import"
    if not probe["names"]:
        yield f"{slug}: __init__.py has no __all__: name what users import"
    if not probe["doc"]:
        yield f"{slug}: __init__.py has no docstring"
    yield from (f"{slug}: __all__ names {n}, which does not exist" for n in probe["missing"])
    yield from (f"{slug}: {n} has no docstring" for n in probe["undocumented"])
    if not _has_doctest(paper.folder):
        yield f"{slug}: no docstring of the package has an example that runs (>>>)"
    stated = {c.id for c in paper.facts.claims}
    yield from (f"{slug}: paper.toml states {i}, claims.py does not try it" for i in sorted(stated - set(probe["claims"])))
    yield from (f"{slug}: claims.py tries {i}, paper.toml does not state it" for i in sorted(set(probe["claims"]) - stated))


def _has_doctest(folder: Path) -> bool:
    for path in folder.rglob("*.py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ">>> " in (ast.get_docstring(node) or ""):
                return True
    return False


def _tries(paper: Paper) -> Iterator[str]:
    module = f"{paper.module}.claims"
    with TrialServer([module]) as server:
        for claim in paper.facts.claims:
            job = {"module": module, "claim": claim.id, "scale": "smoke"}
            try:
                server.call({**job, "kind": "prepare"})
                plan = server.call({**job, "kind": "plan", "seeds": 1})[-1]
                first: dict[str, str] = {}
                silent: set[str] = set(plan["parts"])  # an arm may sit a point out; a trial function that never measures is wrong
                for trial in plan["trials"]:
                    if first.setdefault(trial["part"], trial["point"]) == trial["point"]:
                        answers = server.call({**job, "kind": "trial", **{k: trial[k] for k in ("part", "arm", "seed", "point")}})
                        if any("measurement" in a for a in answers):
                            silent.discard(trial["part"])
                yield from (f"{paper.slug}: {claim.id}: {part} measured nothing at {first[part]}" for part in sorted(silent))
            except JobUntested:
                continue
            except JobFailed as error:
                yield f"{paper.slug}: {claim.id}: {error.traceback}"
