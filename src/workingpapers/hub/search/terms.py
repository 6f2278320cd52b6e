"""Words as SQLite's index holds them: its own tokenizer parts, folds and stems them, in a small database in memory."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence

TOKENIZER = "porter unicode61 remove_diacritics 2"
"""That of `papers_fts` (migration 0003)."""

_LARGEST_CACHE = 20_000


class Terms:
    """Which term of the index a word is. Any number of threads ask at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, str | None] = {}
        self._database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._database.execute(f"CREATE VIRTUAL TABLE words USING fts5(word, content='', tokenize='{TOKENIZER}')")
        self._database.execute("CREATE VIRTUAL TABLE terms USING fts5vocab(words, 'instance')")

    def of(self, words: Sequence[str]) -> list[str | None]:
        """The term of each word; None where the tokenizer makes none or several of it.

        >>> Terms().of(["Networks", "naïve", "\u00b2", "x\u0300y"])
        ['network', 'naiv', '²', 'xy']
        """
        with self._lock:
            if new := [w for w in dict.fromkeys(words) if w not in self._known]:
                if len(self._known) > _LARGEST_CACHE:
                    self._known.clear()
                    new = list(dict.fromkeys(words))
                self._known.update(zip(new, self._ask(new)))
            return [self._known[w] for w in words]

    def _ask(self, words: Sequence[str]) -> list[str | None]:
        made: list[list[str]] = [[] for _ in words]
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO words (rowid, word) VALUES (?, ?)", enumerate(words, 1))
        for row, term in self._database.execute("SELECT doc, term FROM terms"):
            made[row - 1].append(term)
        self._database.execute("ROLLBACK")
        return [terms[0] if len(terms) == 1 else None for terms in made]
