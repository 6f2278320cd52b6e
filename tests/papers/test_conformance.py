"""Every paper of the catalogue passes the conformance suite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workingpapers.lab.conformance import check_paper
from workingpapers.papers.catalogue import load_catalogue

CATALOGUE = load_catalogue()


def test_no_paper_is_broken():
    assert [line for b in CATALOGUE.broken for line in b.problems] == []


def test_all_32_papers_are_listed():
    assert sum(p.module.startswith("workingpapers.papers.") for p in CATALOGUE) == 32


@pytest.mark.parametrize("slug", sorted(p.slug for p in CATALOGUE if p.status == "listed"))
def test_listed_paper_conforms(slug):
    assert check_paper(CATALOGUE.find(slug)) == []


@pytest.mark.slow
@pytest.mark.parametrize("slug", sorted(p.slug for p in CATALOGUE if p.status == "runs"))
def test_running_paper_conforms(slug):
    assert check_paper(CATALOGUE.find(slug)) == []


def test_arrows_are_respected():
    root = Path(__file__).parents[2]
    done = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_paper_imports_another():
    folder = Path(__file__).parents[2] / "src/workingpapers/papers"
    slugs = {p.slug for p in CATALOGUE}
    for paper in CATALOGUE:
        for path in paper.folder.rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            others = [s for s in slugs - {paper.slug} if f"papers.{s} " in text or f"papers.{s}." in text or f"papers import {s}" in text]
            assert not others, f"{path.relative_to(folder)} imports {others}"
