"""Which records speak of the same paper: the rules, and what they make of a set of records in whatever order.

Two records are the same paper when they share an arXiv id; never when their arXiv ids differ; else when they share a DOI or
the source's own name of the paper; else when titles agree (`identity.title_key`), authors agree and years are close. Authors
agree when both lists share a family name, or when a side lists none and the counts agree or are unknown. What an editor has said
(`Record.ties`, `Record.apart`) goes before DOI and title.

That relation is not transitive, so the order of arrival could decide. It must not: records are placed by how much they say.
First those with an arXiv id, then those with authors and year, and so on down to a bare title. A record that fits one paper
joins it; one that fits several joins none and goes to the queue of an editor; those that fit none gather among themselves.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from . import identity
from .merging import Paper, merge, newest_rows
from .record import Record

YEARS = 2
ALIKE = 92.0
SHOWN = 10  # candidates kept for an editor
CROWD = 500  # papers of one title beyond which a record without authors is in doubt unseen, or a hostile file costs n^2

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, order=True)
class Doubt:
    """A question for an editor. Nothing is merged by it.

    `several`: the record fits more than one paper and was added to none. `alike`: two papers have nearly one title and the
    same first author. `papers` names at most ten candidates, none where there are more than 500.
    """

    kind: Literal["several", "alike"]
    title: str
    record: Key | None
    papers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resolution:
    """Papers by public id, and the doubts, both sorted: equal for any order of the same records.

    `untitled` holds the keys of records that say nothing but an id, such as deletions of papers never seen.
    """

    papers: tuple[Paper, ...]
    doubts: tuple[Doubt, ...]
    untitled: tuple[Key, ...] = ()


def record_keys(record: Record) -> tuple[Key, ...]:
    """What another record must share to be the same paper: look these up before resolving.

    >>> record_keys(Record("hf", "2201.12909", "On sums", arxiv_id="2201.12909"))
    (('arxiv', '2201.12909'), ('title', 'onsums'))
    """
    keys: list[Key] = [("arxiv", record.arxiv_id)] if record.arxiv_id else []
    if record.doi:
        keys.append(("doi", record.doi))
    if record.alias:
        keys.append(("alias", record.alias))
    keys += [("tie", tie) for tie in record.ties if tie]
    keys += [("title", key) for key in identity.title_keys(record.title)]
    return tuple(keys)


def blocks(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records in groups that share no key with each other: each group can be resolved alone."""
    records = list(records)
    links = _Union(len(records))
    first: dict[Hashable, int] = {}
    for i, record in enumerate(records):
        for key in (*record_keys(record), ("row", *record.key)):
            links.join(first.setdefault(key, i), i)
    for members in links.groups():
        yield [records[i] for i in members]


def resolve(records: Iterable[Record]) -> Resolution:
    """The papers that a set of records speaks of. Any order of the same records, repeats included, gives an equal answer.

    Cost: n log n in the number of records that share a title. Records that share no key never meet, so a store may resolve
    each closed group of them (see `record_keys`) alone; only doubts of kind `alike` need the papers of a first author.
    """
    papers: list[Paper] = []
    doubts: list[Doubt] = []
    untitled: list[Key] = []
    for block in blocks(records):
        if len(block) == 1:  # most of any large source: nothing to compare
            paper = merge(block)
            if paper is None:
                untitled.append(block[0].key)
            else:
                papers.append(paper)
            continue
        found = _resolve_block(newest_rows(block))
        papers += found.papers
        doubts += found.doubts
        untitled += found.untitled
    doubts += alike(papers)
    papers.sort(key=lambda p: p.public_id)
    return Resolution(tuple(papers), tuple(sorted(set(doubts), key=_doubt_order)), tuple(sorted(untitled)))


def _doubt_order(doubt: Doubt) -> tuple[str, str, str, tuple[str, ...]]:
    return doubt.kind, doubt.title, str(doubt.record), doubt.papers


def alike(papers: Iterable[Paper], known: Iterable[Paper] = ()) -> list[Doubt]:
    """Pairs, among `papers` or of one of these and a known one, with nearly one title and the same first author.

    Two arXiv ids settle that a pair is two. Cost: pairs of one first author.
    """
    papers = list(papers)
    from rapidfuzz import fuzz  # here, since a site that takes nothing in needs none of it

    by_author: dict[str, list[Paper]] = defaultdict(list)
    for paper in (*papers, *known):
        by_author[paper.first_author_key].append(paper)
    found = set()
    for a in papers:
        for b in by_author[a.first_author_key] if a.first_author_key else ():
            if a.public_id == b.public_id or (a.arxiv_id and b.arxiv_id):
                continue
            if fuzz.token_sort_ratio(a.title.casefold(), b.title.casefold(), score_cutoff=ALIKE) >= ALIKE:
                pair = sorted((a, b), key=lambda p: p.public_id)
                found.add(Doubt("alike", pair[0].title, None, tuple(p.public_id for p in pair)))
    return sorted(found, key=_doubt_order)


class _Union:
    """Disjoint sets of 0..n-1."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def find(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        a, b = self.find(i), self.find(j)
        self._parent[max(a, b)] = min(a, b)

    def groups(self) -> list[list[int]]:
        found: dict[int, list[int]] = defaultdict(list)
        for i in range(len(self._parent)):
            found[self.find(i)].append(i)
        return list(found.values())


@dataclass(slots=True)
class _Unit:
    """Records that an id holds together, and what they say that decides a match."""

    records: list[Record]
    arxiv: str | None = None
    titles: frozenset[str] = frozenset()
    families: frozenset[str] = frozenset()
    counts: frozenset[int] = frozenset()
    years: tuple[int, ...] = ()
    joined: list[_Unit] = field(default_factory=list)

    @property
    def is_apart(self) -> bool:
        """Whether an editor has said that it is a paper of its own."""
        return any(r.apart for r in self.records)

    @classmethod
    def of(cls, records: list[Record]) -> _Unit:
        dated = (r.published or r.around or (r.listed if r.source in ("arxiv", "oai") else None) for r in records)
        return cls(
            records,
            next((r.arxiv_id for r in records if r.arxiv_id), None),
            frozenset(key for r in records for key in identity.title_keys(r.title)),
            frozenset(filter(None, (identity.family_key(name) for r in records for name in r.authors))),
            frozenset(r.author_count for r in records if r.author_count),
            tuple(sorted({day.year for day in dated if day})),
        )

    @property
    def level(self) -> int:
        """How much the unit says: 0 the most."""
        if self.arxiv:
            return 0
        if self.families:
            return 1 if self.years else 2
        if self.counts:
            return 3 if self.years else 4
        return 5 if self.years else 6

    def matches(self, other: _Unit) -> bool:
        """Title, authors and years agree; two arXiv ids never do."""
        if (self.arxiv and other.arxiv) or not self.titles & other.titles:
            return False
        if self.families and other.families:
            if not self.families & other.families:
                return False
        elif self.counts and other.counts and not self.counts & other.counts:
            return False
        return not self.years or not other.years or min(abs(a - b) for a in self.years for b in other.years) <= YEARS


def same(a: Record, b: Record) -> bool | None:
    """The rule for two records alone: True the same paper, False never to be merged, None nothing says so.

    >>> same(Record("hf", "1", "On sums", arxiv_id="2201.00001"), Record("page", "x", "on Sums!"))
    True
    """
    if a.arxiv_id and b.arxiv_id:
        return a.arxiv_id == b.arxiv_id
    if (a.doi and a.doi == b.doi) or (a.alias and a.alias == b.alias) or a.key == b.key:
        return True
    return True if _Unit.of([a]).matches(_Unit.of([b])) else None


def _resolve_block(records: list[Record]) -> Resolution:
    units, doubtful = _units(records)
    papers: list[_Unit] = []
    shelf = _Shelf()
    for level in range(7):
        ready = [unit for unit in units if unit.level == level]
        alone: list[_Unit] = []
        homes: list[tuple[_Unit, _Unit]] = []
        for unit in ready:
            fits = shelf.fitting(unit) if level and not unit.is_apart else []
            if len(fits) > 1:
                doubtful.append((unit.records, fits))
            elif fits:
                homes.append((fits[0], unit))
            else:
                alone.append(unit)
        for home, unit in homes:
            home.joined.append(unit)
        founded = alone if level == 0 else [*_gather([u for u in alone if not u.is_apart]), *(u for u in alone if u.is_apart)]
        papers += founded
        for paper in founded:
            shelf.add(paper)
    return _report(papers, doubtful)


def _report(units: list[_Unit], doubtful: list[tuple[list[Record], list[_Unit]]]) -> Resolution:
    made = {id(unit): merge([r for part in (unit, *unit.joined) for r in part.records]) for unit in units}
    untitled = [r.key for unit in units if made[id(unit)] is None for r in unit.records]
    twice: dict[str, list[Paper]] = defaultdict(list)
    for paper in made.values():
        if paper is not None:
            twice[paper.public_id].append(paper)
    final: dict[int, Paper] = {}
    for key, found in made.items():  # two papers without any id and with one title: tell them apart by their first row
        if found is not None:
            final[key] = found.apart() if len(twice[found.public_id]) > 1 else found
    doubts = []
    for records, fits in doubtful:
        crowded = len(fits) > CROWD
        ids = () if crowded else tuple(sorted(final[id(f)].public_id for f in fits if id(f) in final))[:SHOWN]
        doubts += [Doubt("several", r.title, r.key, ids) for r in records]
    return Resolution(tuple(final.values()), tuple(doubts), tuple(untitled))


def _units(records: list[Record]) -> tuple[list[_Unit], list[tuple[list[Record], list[_Unit]]]]:
    """Records held together by ids. Those whose DOI or alias leads to two arXiv ids are in doubt."""
    by_arxiv: dict[str, list[Record]] = defaultdict(list)
    leads: dict[Key, set[str]] = defaultdict(set)
    for record in records:
        if record.arxiv_id is not None:
            by_arxiv[record.arxiv_id].append(record)
            for key in _hard_keys(record):
                leads[key].add(record.arxiv_id)
    loose = _tied_first([r for r in records if r.arxiv_id is None], by_arxiv, leads)
    links = _Union(len(loose))
    first: dict[Key, int] = {}
    for i, record in enumerate(loose):
        for key in _hard_keys(record):
            links.join(first.setdefault(key, i), i)
    free: list[list[Record]] = []
    torn: list[tuple[list[Record], set[str]]] = []
    for members in links.groups():
        group = [loose[i] for i in members]
        direct = [set[str]().union(*(leads[key] for key in _hard_keys(r) if key in leads)) for r in group]
        ids = set[str]().union(*direct)
        if not ids:
            free.append(group)
        elif len(ids) == 1:
            by_arxiv[ids.pop()] += group
        else:
            for record, own in zip(group, direct, strict=True):
                if len(own) == 1:
                    by_arxiv[own.pop()].append(record)
                else:
                    torn.append(([record], own or ids))
    anchors = {name: _Unit.of(group) for name, group in by_arxiv.items()}
    doubtful = [(group, [anchors[name] for name in sorted(ids)]) for group, ids in torn]
    return [*anchors.values(), *(_Unit.of(group) for group in free)], doubtful


def _tied_first(loose: list[Record], by_arxiv: dict[str, list[Record]], leads: dict[Key, set[str]]) -> list[Record]:
    """Give records that an editor has tied to one arXiv id to it, and lead what shares their ids there; the others."""
    rest: list[Record] = []
    led: dict[Key, set[str]] = defaultdict(set)
    for record in loose:
        ids = set[str]().union(*(leads.get(("tie", tie), set()) for tie in record.ties))
        if len(ids) != 1:
            rest.append(record)
            continue
        [home] = ids
        by_arxiv[home].append(record)
        for key in _hard_keys(record):
            if key not in leads:
                led[key].add(home)
    for key, ids in led.items():
        leads[key] |= ids
    return rest


def _hard_keys(record: Record) -> list[Key]:
    own = [(kind, value) for kind, value in (("doi", record.doi), ("alias", record.alias)) if value]
    return [*([] if record.apart else own), *(("tie", tie) for tie in record.ties)]


class _Shelf:
    """Papers found so far, by title and family name."""

    def __init__(self) -> None:
        self._named: dict[tuple[str, str], list[tuple[_Unit, _Unit]]] = defaultdict(list)
        self._nameless: dict[str, list[tuple[_Unit, _Unit]]] = defaultdict(list)
        self._all: dict[str, list[tuple[_Unit, _Unit]]] = defaultdict(list)

    def add(self, paper: _Unit) -> None:
        for founder in (paper, *paper.joined):
            for title in founder.titles:
                self._all[title].append((founder, paper))
                for family in founder.families:
                    self._named[title, family].append((founder, paper))
                if not founder.families:
                    self._nameless[title].append((founder, paper))

    def fitting(self, unit: _Unit) -> list[_Unit]:
        """Papers whose founders the unit matches."""
        found: dict[int, _Unit] = {}
        for title in unit.titles:
            shelves = [self._named[title, f] for f in unit.families if (title, f) in self._named]
            shelves += [self._nameless[title]] if title in self._nameless and unit.families else []
            shelves += [self._all[title]] if title in self._all and not unit.families else []
            for shelf in shelves:
                if len(shelf) > CROWD and not unit.families:
                    return [paper for _, paper in shelf[: CROWD + 1]]
                for founder, paper in shelf:
                    if id(paper) not in found and unit.matches(founder):
                        found[id(paper)] = paper
        return list(found.values())


def _gather(units: list[_Unit]) -> list[_Unit]:
    """Units of one level that match, directly or through others, as one paper each."""
    links = _Union(len(units))
    rows: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)
    for i, unit in enumerate(units):
        facts: Iterable[Hashable] = unit.families or unit.counts or ("",)
        for title in unit.titles:
            for fact in facts:
                rows[title, fact] += [(year, i) for year in unit.years or (0,)]
    for dated in rows.values():
        dated.sort()
        for (year, i), (later, j) in itertools.pairwise(dated):
            if later - year <= YEARS:
                links.join(i, j)
    papers = []
    for members in links.groups():
        paper, *others = (units[i] for i in members)
        paper.joined += others
        papers.append(paper)
    return papers
