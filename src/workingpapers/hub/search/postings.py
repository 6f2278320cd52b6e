"""Which papers hold a word, and how often, kept in memory as long as SQLite's index of words stays as it is."""

from __future__ import annotations

import json
import threading
import weakref
from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_BYTES = 8 << 20
WEIGHTS = {"title": 10, "abstract": 1, "authors": 5, "plain_summary": 1}
"""How much a word counts in each column, in their order."""

READ_AT_ONCE = 0.2  # of all texts: lengths of fewer are asked one by one, until so many were
# FTS5 keeps the sizes of all texts together in row 1 and the list of its segments in row 10: each commit of words writes a
# segment, and the list counts what was ever written.
_STATE = "SELECT block FROM papers_fts_data WHERE id IN (1, 10) ORDER BY id"
_HOLDING = "SELECT group_concat(rowid) FROM papers_fts WHERE papers_fts MATCH ?"  # a number costs a third of a row
_COUNT = "SELECT count(*) FROM papers_fts WHERE papers_fts MATCH ?"
_ANY = "SELECT EXISTS (SELECT 1 FROM papers_fts WHERE papers_fts MATCH ?)"
_LENGTHS = "SELECT group_concat(id), group_concat(hex(sz), '') FROM papers_fts_docsize"
_LENGTHS_OF = ("SELECT group_concat(text.id), group_concat(hex(text.sz), '') "
               "FROM json_each(?) AS named CROSS JOIN papers_fts_docsize AS text ON text.id = named.value")


def holding(session: Session, match: str) -> Ids:
    """The papers that match an expression of FTS5, sorted."""
    return np.sort(_numbers(_row(session, _HOLDING, match)[0]))


def _row(session: Session, query: str, *facts: str) -> Any:
    """A row of SQLite's own driver, in the transaction of the session: SQLAlchemy would take 0.1 ms more, twenty times a question."""
    return _driver(session).execute(query, facts).fetchone()


def _driver(session: Session) -> Any:
    return session.connection().connection.driver_connection


def _numbers(text: str | None) -> Ids:
    return np.fromstring(text or "", np.int64, sep=",")


def varints(data: bytes) -> Ids:
    """Numbers as SQLite writes them: seven bits a byte, highest first, the last byte below 128.

    >>> varints(bytes([5, 0x81, 0x00, 0x7f]))
    array([  5, 128, 127])
    """
    read = np.frombuffer(data, np.uint8)
    if not len(read):
        return np.empty(0, np.int64)
    last = read < 128
    ends = np.flatnonzero(last)
    to_go = ends[np.cumsum(last) - last] - np.arange(len(read))
    return np.add.reduceat((read & 127).astype(np.int64) << (7 * to_go), np.r_[0, ends[:-1] + 1])


def _counted(ids: Ids) -> tuple[Ids, Ids]:
    """Sorted ids once each, and how often each stands there."""
    first = np.flatnonzero(np.diff(ids, prepend=-1))
    return ids[first], np.diff(first, append=len(ids))


def _packed(numbers: Ids) -> NDArray[np.unsignedinteger]:
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))


@dataclass(frozen=True, slots=True)
class Posting:
    """The papers that hold a word: as bits where they are many, as steps from one to the next where they are few.

    Attributes:
        bits, steps: one of the two, whichever is smaller.
        times: how often each holds it, each time weighted by its column; None as long as nobody asked.
    """

    count: int
    bits: NDArray[np.uint8] | None
    steps: NDArray[np.unsignedinteger] | None
    times: NDArray[np.unsignedinteger] | None = None

    @classmethod
    def of(cls, ids: Ids, times: Ids | None = None) -> Posting:
        """From sorted ids."""
        packed = None if times is None else _packed(times)
        steps = _packed(np.diff(ids, prepend=0))
        if len(ids) and ids[-1] < 8 * steps.nbytes:
            held = np.zeros(int(ids[-1]) + 1, bool)
            held[ids] = True
            return cls(len(ids), np.packbits(held), None, packed)
        return cls(len(ids), None, steps, packed)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (self.bits, self.steps, self.times) if part is not None)

    @property
    def papers(self) -> Ids:
        """Their ids, sorted."""
        if self.bits is not None:
            return np.flatnonzero(np.unpackbits(self.bits))
        assert self.steps is not None
        return np.cumsum(self.steps, dtype=np.int64)

    def among(self, ids: Ids) -> NDArray[np.bool_]:
        """Which of these papers hold the word.

        >>> Posting.of(np.array([2, 5])).among(np.array([5, 1, 900]))
        array([ True, False, False])
        """
        if self.bits is not None:
            place = ids >> 3
            byte = self.bits[place.clip(0, len(self.bits) - 1)]
            found: NDArray[np.bool_] = ((byte >> (7 - (ids & 7)).astype(np.uint8)) & 1).astype(bool) & (place < len(self.bits))
            return found
        papers = self.papers
        return papers[np.searchsorted(papers, ids).clip(max=len(papers) - 1)] == ids if len(papers) else np.zeros(len(ids), bool)

    def held(self, ids: Ids) -> tuple[Ids, Ids]:
        """Places in the sorted `ids` of those that hold the word, and how often each does."""
        assert self.times is not None
        papers = self.papers
        if len(papers) < len(ids):
            there = np.searchsorted(ids, papers).clip(max=len(ids) - 1)
            right = ids[there] == papers
            return there[right], self.times[right].astype(np.int64)
        if not len(papers):
            return papers, papers
        there = np.searchsorted(papers, ids).clip(max=len(papers) - 1)
        right = papers[there] == ids
        return np.flatnonzero(right), self.times[there[right]].astype(np.int64)


class Snapshot:
    """Postings of one state of the index: those used last, `most` bytes of them; and the lengths of its texts.

    Attributes:
        texts: how many there are.
        mean: their length in words, all columns together, on average.
    """

    def __init__(self, state: bytes, most: int, sizes: bytes = b"") -> None:
        self.state, self.most, self.size = state, most, 0
        totals = varints(sizes)
        self.texts = int(totals[0]) if len(totals) else 0
        self.mean = float(totals[1:].sum()) / self.texts if self.texts else 1.0
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Posting] = OrderedDict()
        self._wanted: Counter[str] = Counter()
        self._lengths: tuple[NDArray[np.unsignedinteger], NDArray[np.unsignedinteger]] | None = None
        self._asked_alone = 0

    def known(self, key: str) -> Posting | None:
        """What is kept under a key: the term of a word, or an expression."""
        with self._lock:
            if (found := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
            return found

    def count(self, session: Session, key: str, match: str) -> int:
        """How many papers match an expression: a third of the cost of which."""
        return known.count if (known := self.known(key)) is not None else int(_row(session, _COUNT, match)[0])

    def holding(self, session: Session, key: str, match: str) -> Posting:
        """The papers that match an expression, kept under a key."""
        return self.known(key) or self._keep(key, Posting.of(holding(session, match)))

    def places(self, session: Session, term: str, match: str) -> Posting:
        """The papers that hold a term, and how often; `match` asks the index for it. Costs 0.2 µs each time it stands
        somewhere, once.
        """
        found = self.known(term)
        if found is not None and found.times is not None:
            return found
        # Which column a word stands in is told by name, and to compare names costs as much as all else: columns without it are left out.
        heavier = [c for c, weight in WEIGHTS.items() if weight != 1 and _row(session, _ANY, f"{{{c}}} : {match}")[0]]
        columns = "".join(f", group_concat(doc) FILTER (WHERE col = '{c}')" for c in heavier)
        every, *parts = map(_numbers, _row(session, f"SELECT group_concat(doc){columns} FROM papers_places WHERE term = ?", term))
        ids, times = _counted(every)
        for column, part in zip(heavier, parts):
            papers, more = _counted(part)
            times[np.searchsorted(ids, papers)] += (WEIGHTS[column] - 1) * more
        made = Posting.of(ids, times) if found is None else replace(found, times=_packed(times))
        return self._keep(term, made)

    def wanted_again(self, term: str) -> bool:
        """Whether `places` of this term would have served before: it tells so from the second time on."""
        with self._lock:
            self._wanted[term] += 1
            return self._wanted[term] > 1

    def lengths(self, session: Session, ids: Ids) -> Ids:
        """Words of the text of each of these papers, sorted by id, all columns together.

        Those of all papers are read once as many were asked for, 25 ms for 100,000.
        """
        if self._lengths is None:
            self._asked_alone += len(ids)
            if self._asked_alone < READ_AT_ONCE * self.texts:
                return self._read_lengths(session, ids)[1]
        known, sizes = self._lengths or self.read_lengths(session)
        return sizes[np.searchsorted(known, ids.astype(known.dtype))].astype(np.int64)

    def read_lengths(self, session: Session) -> tuple[NDArray[np.unsignedinteger], NDArray[np.unsignedinteger]]:
        """Those of all papers into memory: ids and lengths."""
        known, sizes = self._read_lengths(session)
        self._lengths = _packed(known), _packed(sizes)
        return self._lengths

    def common(self, session: Session, share: float) -> list[str]:
        """The terms that stand in more than this share of all papers. Reads the whole index: 0.4 s for 100,000."""
        return [row[0] for row in _driver(session).execute("SELECT term FROM papers_vocab WHERE doc > ?", (share * self.texts,))]

    def _read_lengths(self, session: Session, only: Ids | None = None) -> tuple[Ids, Ids]:
        ids, sizes = _row(session, _LENGTHS) if only is None else _row(session, _LENGTHS_OF, json.dumps(only.tolist()))
        numbers, lengths = _numbers(ids), varints(bytes.fromhex(sizes or "")).reshape(-1, len(WEIGHTS)).sum(1)
        order = np.argsort(numbers, kind="stable")  # as a rule they are in order
        return numbers[order], lengths[order]

    def _keep(self, key: str, posting: Posting) -> Posting:
        with self._lock:
            if (before := self._kept.pop(key, None)) is not None:
                self.size -= before.nbytes
            self._kept[key] = posting
            self.size += posting.nbytes
            while self.size > self.most:
                self.size -= self._kept.popitem(last=False)[1].nbytes
        return posting


class Postings:
    """The postings of an index in memory, in step with it whoever changes it."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most = most
        self._now = Snapshot(b"", most)

    def at(self, session: Session) -> Snapshot:
        """Those of the index as this session's transaction sees it: nothing is kept beyond a commit that changes words."""
        driver, moment = _driver(session), session.get_transaction()
        asked, changes, snapshot = session.info.get(self, (None, 0, None))
        if snapshot is not None and asked() is moment and changes == driver.total_changes:  # but for its own changes
            return snapshot  # type: ignore[no-any-return]
        blocks = [row[0] for row in driver.execute(_STATE)]
        state, now = b"".join(blocks), self._now
        if now.state != state:
            now = self._now = Snapshot(state, self.most, blocks[0] if blocks else b"")
        session.info[self] = weakref.ref(moment), driver.total_changes, now
        return now
