"""What pages are made of, kept as long as nobody commits anything to the database, in this process or another."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from workingpapers.lab import Store

T = TypeVar("T")
MOST = 16


class Kept:
    """Values made from the database alone, the `most` that were used last.

    They are given to everybody: nothing that belongs to one viewer may stand in them or in their keys, and nobody may change them.

        kept.get(("feed", day), lambda session: listing(session, day))
    """

    def __init__(self, store: Store, most: int = MOST) -> None:
        self._store, self._most = store, most
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[Session], T], still: Callable[[T], bool] = lambda _: True) -> T:
        """The value of `key`: as kept, or made anew once the database has changed.

        Args:
            make: makes it from a session of its own. That session begins after the version was asked for, so what it reads is
                never older than the version it is kept under; one that is open already could be.
            still: whether a kept value holds as far as things outside the database go.
        """
        version = self._store.version()
        with self._lock:
            if (known := self._values.get(key)) is not None:
                self._values.move_to_end(key)
        if known is not None and known[0] == version and still(known[1]):
            value: T = known[1]
            return value
        with self._store.reading() as session:
            value = make(session)
        with self._lock:
            self._values[key] = (version, value)
            self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return value

    def __len__(self) -> int:
        return len(self._values)
