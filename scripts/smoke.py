"""Runs every smoke claim of every running paper, whole, and prints the seconds each took against the 20 it may take.

Usage: smoke.py [SLUG ...]. Exit 1 when a claim was too slow or a trial failed. Nothing is reused: every trial runs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from workingpapers.lab import Lab, Settings, Store
from workingpapers.papers.catalogue import load_catalogue

LIMIT = 20.0


def main(slugs: list[str]) -> int:
    catalogue = load_catalogue()
    chosen = [catalogue.find(s) for s in slugs] if slugs else [p for p in catalogue if p.status == "runs"]
    table = Table("paper", "claim", "verdict", "estimate", "seeds", "seconds", "", box=None)
    bad = 0
    with tempfile.TemporaryDirectory() as home:
        lab = Lab(Store(Settings(home=Path(home))), catalogue)
        for paper in chosen:
            for claim in paper.facts.claims:
                found = lab.run(paper.slug, claim.id, scale="smoke", fresh=True)[claim.id].document
                late = found["seconds"] > LIMIT
                bad += late or bool(found["failed_trials"]) or found["state"] != "done"
                remark = "over 20 s" if late else f"{found['failed_trials']} trials failed" if found["failed_trials"] else ""
                estimate = "" if found["estimate"] is None else f"{found['estimate']:.4g}"
                table.add_row(paper.slug, claim.id, str(found["verdict"]), estimate, str(found["n_seeds"]),
                              f"{found['seconds']:.1f}", remark)
    Console().print(table)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
