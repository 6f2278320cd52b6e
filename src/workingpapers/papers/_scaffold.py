"""What `workingpapers new SLUG` makes: a paper that runs, to be replaced piece by piece.

The template beside this file is itself a paper whose tests run with all others, so a new folder works from the start.
"""

from __future__ import annotations

import datetime as dt
import keyword
import re
from pathlib import Path

from workingpapers.papers._facts import SLUG
from workingpapers.papers.catalogue import BUNDLED, ENTRY_POINTS, load_catalogue

TEMPLATE = BUNDLED / "_template"
TEMPLATE_MODULE = "workingpapers.papers._template"
TEMPLATE_DATE = "2000-01-01"
TEST_FILE = "test_paper.py"

PROJECT = """\
[build-system]
requires = ["setuptools>=70"]
build-backend = "setuptools.build_meta"

[project]
name = "workingpapers-{name}"
version = "0.1.0"
description = "A paper for Working Papers."
requires-python = ">=3.11"
dependencies = ["workingpapers"]

[project.entry-points."{group}"]
{slug} = "{slug}"

[tool.setuptools]
packages = ["{slug}"]

[tool.setuptools.package-data]
"{slug}" = ["*.toml", "*.json"]
"""


def create_paper(slug: str, target: Path) -> Path:
    """Make the folder of a new paper in `target`, with one claim that works.

    In the source tree of this project the test file goes to `tests/papers/SLUG/`, elsewhere into the folder itself.
    Nothing that exists is written over.

    Args:
        slug: name of the folder and of the package: lower case, digits and underscores, a letter first.
        target: the folder that holds papers.

    Returns:
        The new folder.

    Raises:
        ValueError: the slug is no import name of that form, or a paper has it already.
        FileNotFoundError: `target` is no folder.
        FileExistsError: something of that name is there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     folder = create_paper("my_paper", Path(place))
    ...     sorted(file.name for file in folder.iterdir())
    ['__init__.py', 'claims.py', 'method.py', 'paper.toml', 'test_paper.py']
    """
    _check_slug(slug)
    folder = target / slug
    tests = _tests_of(target, slug) or folder
    _refuse(target, [folder, target / f"{slug}.py", tests / TEST_FILE])
    module = f"workingpapers.papers.{slug}" if target.resolve() == BUNDLED.resolve() else slug
    folder.mkdir()
    tests.mkdir(parents=True, exist_ok=True)
    for source in sorted(p for p in TEMPLATE.iterdir() if p.suffix in {".py", ".toml"}):
        text = source.read_text(encoding="utf-8").replace(TEMPLATE_MODULE, module)
        text = text.replace(TEMPLATE_DATE, dt.date.today().isoformat())
        place = tests if source.name == TEST_FILE else folder
        with (place / source.name).open("x", encoding="utf-8") as file:
            file.write(text)
    return folder


def create_plugin(slug: str, target: Path) -> Path:
    """Make a project of its own in `target` that adds one paper: `pip install` it and the catalogue lists it.

    Returns:
        The project's folder, `workingpapers-SLUG`; it holds `pyproject.toml` and the paper's package.

    Raises:
        As `create_paper`.
    """
    _check_slug(slug)
    name = slug.replace("_", "-")
    project = target / f"workingpapers-{name}"
    _refuse(target, [project])
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT.format(name=name, slug=slug, group=ENTRY_POINTS), encoding="utf-8")
    create_paper(slug, project)
    return project


def _check_slug(slug: str) -> None:
    if not re.fullmatch(SLUG, slug):
        raise ValueError(f"slug {slug!r}: use lower-case letters, digits and underscores, a letter first, such as my_paper")
    if keyword.iskeyword(slug) or len(slug) > 40:
        raise ValueError(f"slug {slug!r}: {'a Python keyword' if keyword.iskeyword(slug) else 'longer than 40 characters'}")
    taken = load_catalogue().papers
    if slug in taken:
        raise ValueError(f"slug {slug!r} is taken by {taken[slug].module}")


def _refuse(target: Path, places: list[Path]) -> None:
    if not target.is_dir():
        raise FileNotFoundError(f"{target} is no folder; make it first, or name another")
    for place in places:
        if place.exists() or place.is_symlink():
            raise FileExistsError(f"{place} exists; choose another slug, or move it away")


def _tests_of(target: Path, slug: str) -> Path | None:
    """Where a source tree keeps the tests of a paper; None outside one."""
    tests = target.parents[2] / "tests" / "papers" if len(target.parents) > 2 else None
    return tests / slug if target.resolve() == BUNDLED.resolve() and tests and tests.is_dir() else None
