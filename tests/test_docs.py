"""What the documents show works as shown."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from workingpapers.lab import Lab, Settings, Store
from workingpapers.lab.conformance import check_paper
from workingpapers.papers.catalogue import load_catalogue

ROOT = Path(__file__).parents[1]
ADD = (ROOT / "docs/add-a-paper.md").read_text(encoding="utf-8")
FILES = dict(zip(("paper.toml", "__init__.py", "claims.py"), re.findall(r"```(?:toml|python)\n(.*?)```", ADD, re.S)))


def test_the_toy_paper_is_under_60_lines():
    assert sum(len(text.strip().splitlines()) for text in FILES.values()) < 60


@pytest.mark.slow
def test_the_toy_paper_conforms_and_runs(tmp_path, monkeypatch):
    folder = tmp_path / "documented_papers" / "my_paper"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue = load_catalogue(folder.parent, "documented_papers")
    assert not catalogue.broken
    assert check_paper(catalogue.find("my_paper")) == []
    lab = Lab(Store(Settings(home=tmp_path / "home")), catalogue)
    assert lab.run("my_paper")["smaller-worst-error"].verdict == "holds"
    for name in [m for m in sys.modules if m.startswith("documented_papers")]:
        del sys.modules[name]


def test_readme_has_one_picture_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(re.findall(r"!\[", text)) == 1
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / target).exists(), target
