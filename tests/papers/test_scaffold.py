"""`new SLUG`: what it makes runs, and it never harms what is there."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workingpapers.papers import _scaffold, load_catalogue, read_facts
from workingpapers.papers._scaffold import TEMPLATE, create_paper, create_plugin


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_new_paper_is_listed_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    papers = tmp_path / "papers_of_mine"
    papers.mkdir()
    folder = create_paper("my_paper", papers)
    monkeypatch.syspath_prepend(str(tmp_path))
    paper = load_catalogue(papers, "papers_of_mine").find("my_paper")
    assert paper.folder == folder
    assert paper.status == "runs"
    assert paper.facts.published == paper.facts.listed == dt.date.today()
    [claim] = paper.claims().values()
    assert {arm.role for arm in claim.arms.values()} >= {"method", "baseline", "control"}
    assert claim.scales == ("smoke", "small", "full")
    assert claim.decide(claim.try_all("smoke")).verdict == "holds"


@pytest.mark.slow
def test_a_new_paper_passes_the_conformance_suite(tmp_path: Path) -> None:
    (tmp_path / "papers_to_check").mkdir()
    create_paper("my_paper", tmp_path / "papers_to_check")
    code = """
import json
from pathlib import Path
from workingpapers.lab.conformance import check_paper
from workingpapers.papers import load_catalogue
print(json.dumps(check_paper(load_catalogue(Path("papers_to_check"), "papers_to_check").find("my_paper"))))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


@pytest.mark.slow
def test_the_tests_and_doctests_of_a_new_paper_pass(tmp_path: Path) -> None:
    folder = create_paper("my_paper", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules", "--rootdir", str(tmp_path), str(folder)],
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "PATH": ""}, capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 10  # eight tests, two doctests


def test_in_the_source_tree_the_test_goes_to_the_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    papers = tmp_path / "src" / "workingpapers" / "papers"
    tests = tmp_path / "tests" / "papers"
    papers.mkdir(parents=True)
    tests.mkdir(parents=True)
    monkeypatch.setattr(_scaffold, "BUNDLED", papers)
    folder = create_paper("my_paper", papers)
    assert set(contents(tmp_path)) == {
        *(f"src/workingpapers/papers/my_paper/{name}" for name in ("__init__.py", "claims.py", "method.py", "paper.toml")),
        "tests/papers/my_paper/test_paper.py",
    }
    assert "from workingpapers.papers.my_paper import median_of_means" in (tests / "my_paper" / "test_paper.py").read_text()
    read_facts(folder / "paper.toml")


def test_no_trace_of_the_template_is_left(tmp_path: Path) -> None:
    for data in contents(create_paper("my_paper", tmp_path)).values():
        assert b"_template" not in data
        assert b"2000-01-01" not in data


@pytest.mark.parametrize("slug", ["", "My", "1st", "a-b", "../up", "a/b", "a.b", "class", "_hidden", "a b", "ä", "a\n", "x" * 41])
def test_a_bad_slug_is_refused_by_name(tmp_path: Path, slug: str) -> None:
    with pytest.raises(ValueError, match="slug"):
        create_paper(slug, tmp_path)
    with pytest.raises(ValueError, match="slug"):
        create_plugin(slug, tmp_path)
    assert contents(tmp_path) == {}


def test_a_taken_slug_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'anncur' is taken by workingpapers\.papers\.anncur"):
        create_paper("anncur", tmp_path)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(slug=st.text(max_size=12))
def test_whatever_the_slug_nothing_lands_outside(tmp_path: Path, slug: str) -> None:
    target = tmp_path / "target"
    target.mkdir(exist_ok=True)
    try:
        folder = create_paper(slug, target)
    except ValueError:
        pass
    else:
        assert folder.parent == target
        assert slug.isidentifier()
        shutil.rmtree(folder)
    assert contents(tmp_path) == {}


def test_nothing_is_written_over(tmp_path: Path) -> None:
    create_paper("my_paper", tmp_path)
    (tmp_path / "my_paper" / "method.py").write_text("mine")
    (tmp_path / "other.py").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    create_plugin("third", tmp_path)
    before = contents(tmp_path)
    for slug in ("my_paper", "other", "link"):
        with pytest.raises(FileExistsError, match=f"{slug}.* exists"):
            create_paper(slug, tmp_path)
    with pytest.raises(FileExistsError, match="workingpapers-third exists"):
        create_plugin("third", tmp_path)
    assert contents(tmp_path) == before


def test_a_missing_target_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        create_paper("my_paper", tmp_path / "nowhere")


def test_the_template_is_no_paper_of_the_catalogue() -> None:
    assert read_facts(TEMPLATE / "paper.toml").claims
    assert "_template" not in load_catalogue().papers


@pytest.mark.slow
@pytest.mark.needs("pip", "setuptools")
def test_a_new_plug_in_installs_and_is_listed(tmp_path: Path) -> None:
    project = create_plugin("my_plugin_paper", tmp_path)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(tmp_path / "site"), str(project)], check=True, capture_output=True)
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})
import json
from workingpapers.papers import load_catalogue
paper = load_catalogue().find("my_plugin_paper")
print(json.dumps([str(paper.folder), paper.status, list(paper.claims())]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [str(tmp_path / "site" / "my_plugin_paper"), "runs", ["robust-mean"]]
