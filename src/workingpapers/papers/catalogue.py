"""The catalogue: which papers there are, and how to get from a slug to facts, claims and reference run.

>>> catalogue = load_catalogue()
>>> catalogue.find("mini_gp").facts.author_count
5
>>> catalogue.find("minigp")
Traceback (most recent call last):
    ...
workingpapers.papers.catalogue.UnknownPaper: no paper 'minigp'; did you mean mini_gp?
"""

from __future__ import annotations

import difflib
import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from workingpapers.papers._facts import SLUG, BrokenPaper, ClaimFacts, PaperFacts, read_facts

if TYPE_CHECKING:
    from workingpapers.claims import Claim

ENTRY_POINTS = "workingpapers.papers"
FACTS_FILE = "paper.toml"
BUNDLED = Path(__file__).parent

Status = Literal["runs", "listed"]


class UnknownPaper(KeyError):
    """No paper has this slug; the message offers the nearest ones."""

    def __init__(self, slug: str, known: list[str]) -> None:
        close = difflib.get_close_matches(slug, known, n=3)
        remedy = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(sorted(known)) or 'none'}"
        super().__init__(f"no paper {slug!r}; {remedy}")

    def __str__(self) -> str:
        return str(self.args[0])


class NotRunning(LookupError):
    """The paper is listed only: its folder holds no `claims.py`."""


class ClaimsMismatch(ValueError):
    """`paper.toml` and `claims.py` of a paper do not speak of the same claims."""


@dataclass(frozen=True)
class Paper:
    """A paper of the catalogue. `module` is the import name of its package, such as `workingpapers.papers.anncur`."""

    slug: str
    folder: Path
    facts: PaperFacts
    module: str

    @property
    def status(self) -> Status:
        """`runs` when the folder holds a `claims.py`, else `listed`."""
        return "runs" if (self.folder / "claims.py").is_file() else "listed"

    def claims(self) -> dict[str, Claim]:
        """The paper's claims by id, in the order of `paper.toml`. Imports `claims.py` and what it needs.

        Raises:
            NotRunning: the paper has no `claims.py`.
            ClaimsMismatch: a claim stands in only one of `paper.toml` and `claims.py`, or is tried twice.
        """
        from workingpapers.claims import Claim

        if self.status == "listed":
            raise NotRunning(f"{self.slug} is listed only: {self.folder / 'claims.py'} does not exist")
        module = importlib.import_module(f"{self.module}.claims")
        found: dict[str, Claim] = {}
        for value in vars(module).values():
            if isinstance(value, Claim) and found.setdefault(value.id, value) is not value:
                raise ClaimsMismatch(f"{module.__name__} tries {value.id!r} twice")
        stated = [facts.id for facts in self.facts.claims]
        if unstated := [i for i in found if i not in stated]:
            raise ClaimsMismatch(f"{module.__name__} tries {unstated[0]!r}, which {self.folder / FACTS_FILE} does not state")
        if untried := [i for i in stated if i not in found]:
            raise ClaimsMismatch(f"{self.folder / FACTS_FILE} states {untried[0]!r}, which {module.__name__} does not try")
        return {i: found[i] for i in stated}

    def reference(self) -> dict[str, Any] | None:
        """The reference run that the paper ships (`reference.json`), or None.

        Raises:
            ValueError: the file is not a JSON object.
        """
        path = self.folder / "reference.json"
        if not path.is_file():
            return None
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if not isinstance(run, dict):
            raise ValueError(f"{path}: a JSON object is expected, not {type(run).__name__}")
        return run

    def to_json(self) -> dict[str, Any]:
        """What `workingpapers papers --json` prints of a paper; `authors` is their number, dates are ISO 8601."""
        return {
            "slug": self.slug,
            "title": self.facts.title,
            "date": self.facts.published.isoformat(),
            "listed": self.facts.listed.isoformat(),
            "authors": self.facts.author_count,
            "task": self.facts.task,
            "status": self.status,
            "claims": [_claim_to_json(claim) for claim in self.facts.claims],
        }


def _claim_to_json(claim: ClaimFacts) -> dict[str, Any]:
    return claim.model_dump(mode="json", include={"id", "statement", "reported", "metric", "unit", "better", "scales"})


@dataclass(frozen=True)
class Catalogue:
    """All papers by slug, newest first, and the files that could not be read."""

    papers: Mapping[str, Paper]
    broken: tuple[BrokenPaper, ...] = ()

    def find(self, slug: str) -> Paper:
        """The paper of this slug.

        Raises:
            UnknownPaper: offering the nearest slugs.
        """
        try:
            return self.papers[slug]
        except KeyError:
            raise UnknownPaper(slug, list(self.papers)) from None

    def __iter__(self) -> Iterator[Paper]:
        return iter(self.papers.values())

    def __len__(self) -> int:
        return len(self.papers)


def load_catalogue(folder: Path = BUNDLED, package: str = "workingpapers.papers") -> Catalogue:
    """List `folder` and the plug-ins that are installed; read every `paper.toml`, import no paper.

    A file that is wrong, and a plug-in whose slug is taken, stand in `broken`; the rest load.
    """
    papers: list[Paper] = []
    broken: list[BrokenPaper] = []
    taken: dict[str, str] = {}
    for slug, module, source in [*_bundled(folder, package), *_plugins()]:
        try:
            papers.append(_read(slug, module, source, taken))
        except BrokenPaper as error:
            broken.append(error)
        taken.setdefault(slug, module)
    newest_first = sorted(papers, key=lambda p: (-p.facts.listed.toordinal(), -p.facts.published.toordinal(), p.slug))
    return Catalogue(MappingProxyType({paper.slug: paper for paper in newest_first}), tuple(broken))


def _bundled(folder: Path, package: str) -> Iterator[tuple[str, str, Path | None]]:
    for facts in sorted(folder.glob(f"[!_.]*/{FACTS_FILE}")):
        yield facts.parent.name, f"{package}.{facts.parent.name}", facts.parent


def _plugins() -> Iterator[tuple[str, str, Path | None]]:
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda p: (p.name, p.value)):
        module = point.value.partition(":")[0].strip()
        yield point.name, module, _folder_of(module)


def _read(slug: str, module: str, folder: Path | None, taken: Mapping[str, str]) -> Paper:
    """One paper of the catalogue, or `BrokenPaper` with the reason."""
    if folder is None:
        raise BrokenPaper(Path(module), [f"{module}: entry point {slug}: no folder of that package holds a {FACTS_FILE}"])
    path = folder / FACTS_FILE
    if not re.fullmatch(SLUG, slug):
        raise BrokenPaper(path, [f"{path}: slug: {slug!r} does not match {SLUG}"])
    if slug in taken:
        raise BrokenPaper(path, [f"{path}: slug: {slug!r} is taken by {taken[slug]}"])
    return Paper(slug, folder, read_facts(path), module)


def _folder_of(module: str) -> Path | None:
    """The folder of an installed package that holds a `paper.toml`, found without executing any of its code."""
    spec = _spec(module)
    places = [Path(place) for place in spec.submodule_search_locations or ()] if spec else []
    return next((place for place in places if (place / FACTS_FILE).is_file()), None)


def _spec(module: str) -> ModuleSpec | None:
    """As `importlib.util.find_spec`, which would import the parent packages of a dotted name."""
    parent, _, _ = module.rpartition(".")
    path: list[str] | None = None
    if parent:
        above = _spec(parent)
        if above is None or above.submodule_search_locations is None:
            return None
        path = list(above.submodule_search_locations)
    for finder in sys.meta_path:
        if (spec := finder.find_spec(module, path)) is not None:
            return spec
    return None
