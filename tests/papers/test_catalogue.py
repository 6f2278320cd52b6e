"""The catalogue: every paper is found, what is broken is named, nothing heavy is imported."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workingpapers.papers import (
    BrokenPaper,
    ClaimsMismatch,
    NotRunning,
    Paper,
    UnknownPaper,
    load_catalogue,
    read_facts,
)
from workingpapers.papers._scaffold import create_paper
from workingpapers.papers.catalogue import BUNDLED

ROOT = Path(__file__).parents[2]
TOMLS = sorted(BUNDLED.glob("[!_.]*/paper.toml"))
SLUGS = [path.parent.name for path in TOMLS]
HEAVY = ["numpy", "scipy", "torch", "sklearn", "numba", "pandas", "altair", "sqlalchemy", "transformers", "timm", "botorch"]

KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


# ------------------------------------------------------------ what is there


def test_every_bundled_paper_is_listed() -> None:
    catalogue = load_catalogue()
    assert len(SLUGS) >= 32
    assert set(SLUGS) <= set(catalogue.papers)
    assert not [broken for broken in catalogue.broken if BUNDLED in broken.path.parents]
    assert "_template" not in catalogue.papers


def test_newest_first() -> None:
    days = [(paper.facts.listed, paper.facts.published) for paper in load_catalogue()]
    assert days == sorted(days, reverse=True)


def test_status_follows_claims_py() -> None:
    for paper in load_catalogue():
        assert paper.status == ("runs" if (paper.folder / "claims.py").exists() else "listed")


def test_unknown_slug_offers_the_nearest() -> None:
    catalogue = load_catalogue()
    with pytest.raises(UnknownPaper, match="did you mean anncur"):
        catalogue.find("ancur")
    with pytest.raises(KeyError, match=r"there are: .*anncur"):
        catalogue.find("x" * 30)


SHAPE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["slug", "title", "date", "listed", "authors", "task", "status", "claims"],
    "properties": {
        "slug": {"type": "string"},
        "title": {"type": "string"},
        "date": {"type": "string", "format": "date"},
        "listed": {"const": "2025-12-26"},
        "authors": {"type": "integer", "minimum": 1},
        "task": {"type": "string"},
        "status": {"enum": ["runs", "listed"]},
        "claims": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["id", "statement", "reported", "metric", "unit", "better", "scales"],
                "properties": {
                    "id": {"type": "string"},
                    "statement": {"type": "string"},
                    "metric": {"type": "string"},
                    "unit": {"type": "string"},
                    "reported": {"type": ["object", "null"], "required": ["figure", "where", "value", "at"]},
                    "better": {"enum": ["lower", "higher", "equal"]},
                    "scales": {"type": "object", "required": ["smoke", "small"]},
                },
            },
        },
    },
}


@pytest.mark.slow
def test_json_has_the_promised_shape() -> None:
    listing = json.loads(json.dumps([load_catalogue().find(slug).to_json() for slug in SLUGS]))
    for paper in listing:
        jsonschema.validate(paper, SHAPE, format_checker=jsonschema.FormatChecker())


# ------------------------------------------------------------ each paper.toml


@pytest.fixture(params=TOMLS, ids=SLUGS)
def facts_file(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_facts_are_valid(facts_file: Path) -> None:
    facts = read_facts(facts_file)
    assert facts.listed == dt.date(2025, 12, 26)
    ids = [claim.id for claim in facts.claims]
    assert len(set(ids)) == len(ids)
    assert all(KEBAB.fullmatch(i) for i in ids)
    assert all({"smoke", "small"} <= set(claim.scales) for claim in facts.claims)
    shorts = [claim.short for claim in facts.claims]
    assert len(set(shorts)) == len(shorts)


def test_summary_is_three_to_six_plain_sentences(facts_file: Path) -> None:
    summary = read_facts(facts_file).summary
    assert 3 <= len(re.findall(r"[.?!](?=\s|$)", summary)) <= 6, summary
    assert "\n" not in summary
    assert "  " not in summary


def test_statements_are_sentences(facts_file: Path) -> None:
    for claim in read_facts(facts_file).claims:
        for sentence in (claim.statement, claim.rule, *claim.ours):
            assert re.fullmatch(r"[A-ZÅ].*[.?]", sentence), sentence
        assert not claim.short.endswith("."), claim.short


def test_extras_exist(facts_file: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(read_facts(facts_file).extras) <= set(project["optional-dependencies"])


def test_arxiv_ids_are_not_shared() -> None:
    ids = [facts.arxiv for facts in map(read_facts, TOMLS) if facts.arxiv]
    assert len(set(ids)) == len(ids)


# ------------------------------------------------------------ what is broken


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A folder with copies of three papers' facts."""
    for slug in ("anncur", "mini_gp", "bip"):
        (tmp_path / "three" / slug).mkdir(parents=True)
        shutil.copy(BUNDLED / slug / "paper.toml", tmp_path / "three" / slug)
    return tmp_path / "three"


def line_of(text: str, start: str, nth: int = 1) -> int:
    return [i for i, line in enumerate(text.splitlines(), 1) if line.startswith(start)][nth - 1]


BREAKS = [
    ("author_count = 5", 'author_count = "five"', "author_count", ("author_count", 1)),
    ("author_count = 5", "author_count = 0", "author_count", ("author_count", 1)),
    ("published = 2022-01-30", "published = 2026-01-30", "the file: .*listed: earlier than published", None),
    ('id = "switch-bound"', 'id = "Switch_Bound"', r"claims\.2 \(Switch_Bound\)\.id", ("id =", 3)),
    ('id = "switch-bound"', 'id = "regret-preserved"', "the id 'regret-preserved' stands twice", None),
    ('short = "Cheaper to reach a target when switching costs"', f'short = "{"x" * 65}"', r"claims\.3 .*short", ("short", 4)),
    ('metric = "cost"\n', "", r"claims\.3 \(switch-cost\)\.metric: Field required", ("[[claims]]", 4)),
    ('task = "black-box', 'tusk = "black-box', r"tusk: Extra inputs", ("tusk", 1)),
    ('better = "lower"\nbaseline = "GP-UCB and', 'better = "less"\nbaseline = "GP-UCB and', r"\.better", ("better", 4)),
    ('arxiv = "2201.12909"', 'arxiv = "2201.129"', "arxiv", ("arxiv", 1)),
    ('title = "', 'title = ', r"line 1", None),
]


@pytest.mark.parametrize(("old", "new", "field", "place"), BREAKS)
def test_a_broken_file_is_named_with_field_and_line_and_the_rest_load(
    three: Path, old: str, new: str, field: str, place: tuple[str, int] | None
) -> None:
    path = three / "mini_gp" / "paper.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    catalogue = load_catalogue(three, "three")
    assert set(catalogue.papers) & {"anncur", "mini_gp", "bip"} == {"anncur", "bip"}
    [broken] = [b for b in catalogue.broken if b.path == path]
    assert re.search(field, str(broken)), str(broken)
    where = str(path) if place is None else f"{path}:{line_of(path.read_text(), *place)}:"
    assert all(problem.startswith(str(path)) for problem in broken.problems)
    assert any(problem.startswith(where) for problem in broken.problems), (where, broken.problems)


def test_every_wrong_field_is_named_at_once(three: Path) -> None:
    path = three / "bip" / "paper.toml"
    path.write_text(path.read_text().replace("author_count = 8", "author_count = -8").replace('task = "', 'task = " "#'))
    [broken] = load_catalogue(three, "three").broken
    assert {problem.split(": ")[1] for problem in broken.problems} == {"author_count", "task"}


def test_unreadable_bytes_and_a_wrong_folder_name_are_named(three: Path) -> None:
    (three / "bip" / "paper.toml").write_bytes(b"title = '\xff'")
    (three / "anncur").rename(three / "Ann-Cur")
    catalogue = load_catalogue(three, "three")
    assert set(catalogue.papers) == {"mini_gp"}
    texts = sorted(str(broken) for broken in catalogue.broken)
    assert "Ann-Cur" in texts[0]
    assert "slug" in texts[0]
    assert "bip" in texts[1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_to_a_file_stops_the_rest(three: Path, data: st.DataObject) -> None:
    lines = (BUNDLED / "bip" / "paper.toml").read_text().splitlines()
    start = data.draw(st.integers(0, len(lines) - 1))
    lines[start : start + data.draw(st.integers(0, 3))] = data.draw(st.lists(st.text(max_size=30), max_size=2))
    (three / "bip" / "paper.toml").write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
    catalogue = load_catalogue(three, "three")
    assert {"anncur", "mini_gp"} <= set(catalogue.papers)
    assert ("bip" in catalogue.papers) != any(b.path.parent.name == "bip" for b in catalogue.broken)


# ------------------------------------------------------------ claims and reference runs


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Paper:
    """A paper that runs, made by `new`, in a package of the test's own."""
    package = re.sub(r"\W", "_", request.node.name)
    (tmp_path / package).mkdir()
    create_paper("my_paper", tmp_path / package)
    monkeypatch.syspath_prepend(str(tmp_path))
    return load_catalogue(tmp_path / package, package).find("my_paper")


def test_claims_are_collected_and_run(own: Paper) -> None:
    claims = own.claims()
    assert list(claims) == ["robust-mean"]
    claim = claims["robust-mean"]
    assert claim.decide(claim.try_all("smoke", seeds=3)).checks


def test_a_claim_that_the_toml_does_not_state_is_named(own: Paper) -> None:
    (own.folder / "paper.toml").write_text((own.folder / "paper.toml").read_text().replace('"robust-mean"', '"other"'))
    changed = Paper(own.slug, own.folder, read_facts(own.folder / "paper.toml"), own.module)
    with pytest.raises(ClaimsMismatch, match=r"tries 'robust-mean', which .*paper\.toml does not state"):
        changed.claims()


def test_a_claim_that_nobody_tries_is_named(own: Paper) -> None:
    text = (own.folder / "paper.toml").read_text()
    claim = text[text.index("[[claims]]") :].replace('"robust-mean"', '"second-claim"')
    (own.folder / "paper.toml").write_text(f"{text}\n{claim}")
    changed = Paper(own.slug, own.folder, read_facts(own.folder / "paper.toml"), own.module)
    with pytest.raises(ClaimsMismatch, match=r"states 'second-claim', which .*claims does not try"):
        changed.claims()


def test_a_claim_that_is_tried_twice_is_named(own: Paper) -> None:
    with (own.folder / "claims.py").open("a") as file:
        file.write("\nimport dataclasses\n\nagain = dataclasses.replace(robust_mean)\n")
    with pytest.raises(ClaimsMismatch, match="tries 'robust-mean' twice"):
        own.claims()


def test_a_listed_paper_has_no_claims_to_run(three: Path) -> None:
    with pytest.raises(NotRunning, match=r"bip is listed only: .*claims\.py"):
        load_catalogue(three, "three").find("bip").claims()


def test_reference_run(own: Paper) -> None:
    assert own.reference() is None
    (own.folder / "reference.json").write_text('{"claims": []}')
    assert own.reference() == {"claims": []}
    for wrong in ("[1]", "{"):
        (own.folder / "reference.json").write_text(wrong)
        with pytest.raises(ValueError, match=r"reference\.json"):
            own.reference()


# ------------------------------------------------------------ imports


def run(code: str, *path: Path) -> str:
    """Standard output of a fresh interpreter that sees `path` first."""
    start = f"import sys; sys.path[:0] = {[str(p) for p in path]!r}\n"
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_listing_imports_nothing_heavy_and_no_paper() -> None:
    imported = run("""
import json
from workingpapers.papers import load_catalogue
for paper in load_catalogue():
    paper.to_json()
print(json.dumps(sorted(sys.modules)))
""")
    modules = set(json.loads(imported))
    assert not modules & set(HEAVY)
    assert not {m for m in modules if m.startswith("workingpapers.papers.") and m.split(".")[2] in SLUGS}


# ------------------------------------------------------------ plug-ins


def distribution(site: Path, name: str, value: str) -> None:
    """An installed distribution with one entry point, as pip leaves it."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[workingpapers.papers]\n{value}\n")


def test_a_plug_in_is_found_without_running_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "site" / "outer" / "inner"
    inner.mkdir(parents=True)
    for package in (inner, inner.parent):
        (package / "__init__.py").write_text("raise RuntimeError('executed')\n")
    shutil.copy(BUNDLED / "bip" / "paper.toml", inner)
    distribution(tmp_path / "site", "outer", "from_outside = outer.inner")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    paper = load_catalogue().find("from_outside")
    assert paper.folder == inner
    assert paper.module == "outer.inner"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("anncur = rival", r"rival/paper\.toml: slug: 'anncur' is taken by workingpapers\.papers\.anncur"),
        ("lost = not_there.at_all", r"not_there\.at_all: entry point lost: no folder of that package holds a paper\.toml"),
        ("no_facts = empty", r"empty: entry point no_facts: no folder"),
        ("Not-A-Slug = rival", r"slug: 'Not-A-Slug' does not match"),
    ],
)
def test_a_broken_plug_in_is_named_and_the_rest_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, said: str
) -> None:
    for package in ("rival", "empty"):
        (tmp_path / "site" / package).mkdir(parents=True)
        (tmp_path / "site" / package / "__init__.py").touch()
    shutil.copy(BUNDLED / "bip" / "paper.toml", tmp_path / "site" / "rival")
    distribution(tmp_path / "site", "rival", entry)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    catalogue = load_catalogue()
    assert set(SLUGS) <= set(catalogue.papers)
    assert catalogue.find("anncur").module == "workingpapers.papers.anncur"
    [broken] = catalogue.broken
    assert isinstance(broken, BrokenPaper)
    assert re.search(said, str(broken)), str(broken)


def test_a_plug_in_may_not_take_the_slug_of_a_broken_paper(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (three / "bip" / "paper.toml").write_text("broken")
    (tmp_path / "site" / "rival").mkdir(parents=True)
    shutil.copy(BUNDLED / "bip" / "paper.toml", tmp_path / "site" / "rival")
    distribution(tmp_path / "site", "rival", "bip = rival")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    catalogue = load_catalogue(three, "three")
    assert "bip" not in catalogue.papers
    assert any("is taken by three.bip" in str(broken) for broken in catalogue.broken)


def pip_install(project: Path, into: Path) -> None:
    """Install a project with pip, offline, with the build tools that are here."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "--target", str(into), str(project)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def command(*words: str, site: Path) -> Any:
    """What a `workingpapers` command prints, where `site` is installed."""
    done = subprocess.run(
        [sys.executable, "-m", "workingpapers", *words],
        env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.needs("pip", "setuptools")
def test_a_plug_in_that_pip_installed_shows_up_and_runs(tmp_path: Path) -> None:
    project = shutil.copytree(Path(__file__).parent / "plugin_example", tmp_path / "project")
    pip_install(project, tmp_path / "site")
    folder, was_imported, broken = json.loads(run("""
import json
from workingpapers.papers import load_catalogue
catalogue = load_catalogue()
folder = str(catalogue.find("kahan").folder)
print(json.dumps([folder, "summation_plugin" in sys.modules, [str(b) for b in catalogue.broken]]))
""", tmp_path / "site"))
    assert Path(folder) == tmp_path / "site" / "summation_plugin" / "kahan"
    assert not was_imported
    assert broken == []

    listed = {paper["slug"]: paper for paper in command("papers", "--json", site=tmp_path / "site")}
    assert set(SLUGS) < set(listed)
    assert listed["kahan"]["status"] == "runs"
    jsonschema.validate(listed["kahan"], SHAPE)

    [claim] = command("run", "kahan", "--scale", "smoke", "--json", site=tmp_path / "site")["claims"]
    assert claim["id"] == "compensated-sum"
    assert claim["n_seeds"] == 10
    assert claim["failed_trials"] == 0
    assert claim["verdict"] == "holds"
