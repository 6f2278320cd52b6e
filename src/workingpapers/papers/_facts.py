"""The facts of a paper and of its claims, as `paper.toml` states them."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, StringConstraints, ValidationError, model_validator

Scale = Literal["smoke", "small", "full"]
Better = Literal["lower", "higher", "equal"]

SLUG = r"[a-z][a-z0-9_]*"  # a folder name that is an import name too

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
ClaimId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Code(_Facts):
    """Where the authors' code lives and under which licence (`none` when it carries none)."""

    url: HttpUrl
    licence: Words


class Reported(_Facts):
    """What the paper itself reports for a claim.

    `figure` is text for people. `value` is a number in the unit of the claim's headline estimate, given only
    where the paper states one: it is drawn as the hollow diamond.
    """

    figure: Words
    where: Words | None = None
    value: float | None = None
    at: Words | None = Field(None, description="the setting it was reported at, such as a data set or GPU")


class Metric(_Facts):
    """A number that a trial measures."""

    name: Words
    unit: str = ""
    better: Better = "lower"
    title: Words | None = None


class ClaimFacts(_Facts):
    """One testable sentence of a paper. Its trial, arms and rule stand in `claims.py` under the same id."""

    id: ClaimId
    short: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
    statement: Words
    reported: Reported | None = None
    metric: Words
    unit: str = ""
    better: Better = "lower"
    metrics: tuple[Metric, ...] = ()
    baseline: Words
    rule: Words
    scales: dict[Scale, Words]
    seconds: dict[Scale, float] = Field(default_factory=dict, description="expected time on two cores, by scale")
    ours: tuple[Words, ...] = Field((), description="what we chose and the paper does not state: thresholds, cuts of the grid")

    @model_validator(mode="after")
    def _scales_are_named(self) -> ClaimFacts:
        if not self.scales:
            raise ValueError("scales is empty: name at least one of smoke, small, full")
        return self

    def metric_facts(self, name: str) -> Metric | None:
        """Facts of the metric `name`; None when the toml does not describe it."""
        if name == self.metric:
            return Metric(name=self.metric, unit=self.unit, better=self.better)
        return next((m for m in self.metrics if re.fullmatch(m.name.replace("*", ".*"), name)), None)


class PaperFacts(_Facts):
    """Everything that `paper.toml` states about a paper."""

    title: Words
    published: dt.date
    listed: dt.date
    author_count: Annotated[int, Field(ge=1)]
    authors: tuple[Words, ...] = ()
    arxiv: Annotated[str, StringConstraints(pattern=r"^\d{4}\.\d{4,5}$")] | None = None
    venue: Words | None = None
    code: Code | None = None
    task: Words
    tags: tuple[Words, ...] = ()
    summary: Words
    runs_on: Words = "CPU"
    extras: tuple[Words, ...] = ()
    not_verified: tuple[Words, ...] = Field((), description="what this project could not try, in plain words")
    claims: Annotated[tuple[ClaimFacts, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> PaperFacts:
        ids = [claim.id for claim in self.claims]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"claims: the id {twice[0]!r} stands twice")
        if self.authors and len(self.authors) != self.author_count:
            raise ValueError(f"authors: {len(self.authors)} names, but author_count is {self.author_count}")
        if self.published > self.listed:
            raise ValueError("listed: earlier than published")
        return self

    def claim(self, claim_id: str) -> ClaimFacts:
        """The claim of this id; KeyError names the ids that exist."""
        for claim in self.claims:
            if claim.id == claim_id:
                return claim
        raise KeyError(f"no claim {claim_id!r}; there are: {', '.join(c.id for c in self.claims)}")


class BrokenPaper(Exception):
    """A `paper.toml` that cannot be read: `problems` are lines of the form `file:line: field: what is wrong`."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.path, self.problems = path, problems


def read_facts(path: Path) -> PaperFacts:
    """Read and validate one `paper.toml`.

    Raises:
        BrokenPaper: naming the file and, a line each, the fields that are wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BrokenPaper(path, [f"{path}: {error}"]) from error
    try:
        return PaperFacts.model_validate(raw)
    except ValidationError as error:
        problems = [f"{path}{_line(text, e['loc'])}: {_field(raw, e['loc'])}: {e['msg']}" for e in error.errors()]
        raise BrokenPaper(path, problems) from error


def _field(raw: dict[str, Any], place: tuple[int | str, ...]) -> str:
    """The name of a field for people: claims by their id rather than their number."""
    parts = [str(p) for p in place]
    with contextlib.suppress(KeyError, IndexError, TypeError):
        if place[0] == "claims":
            parts[1] = f"{parts[1]} ({raw['claims'][place[1]]['id']})"
    return ".".join(parts) or "the file"


def _line(text: str, place: tuple[int | str, ...]) -> str:
    """`:line` of the key in question, or of the `[[claims]]` that lacks it; empty when it is not to be found."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line.strip() == "[[claims]]"]
    within, keys, fallback = (0, starts[0] if starts else len(lines)), place[:1], ""
    if place[:1] == ("claims",) and len(place) > 1 and isinstance(place[1], int) and place[1] < len(starts):
        number = place[1]
        within = (starts[number], starts[number + 1] if number + 1 < len(starts) else len(lines))
        keys, fallback = place[2:3], f":{starts[number] + 1}"
    for key in keys:
        for i in range(*within):
            if re.match(rf"\s*{re.escape(str(key))}\s*=", lines[i]):
                return f":{i + 1}"
    return fallback
