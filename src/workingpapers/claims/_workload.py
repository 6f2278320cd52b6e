"""Workload points: the input that a claim runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

Progress = Callable[[float, str], None]
"""Called with the share done (0 to 1) and a few words."""


class Untested(Exception):
    """This machine, its packages or its data cannot try the claim. The text is shown as the reason."""


def untested(reason: str) -> NoReturn:
    """Say that a workload or trial cannot be tried here, and why (with the remedy, where there is one)."""
    raise Untested(reason)


class Workload:
    """A workload point. Make it a frozen dataclass of plain values: its repr is its key in the store.

    `prepare` may fetch, once, before the first trial; `load` never fetches and draws everything random from the
    generator that it is handed. Whatever is heavy is imported inside these methods.
    """

    @property
    def label(self) -> str:
        """Short text for tables and for `point=` in rules; unique among the points of one claim and scale."""
        return repr(self)

    def prepare(self, progress: Progress) -> None:
        """Fetch or generate what `load` needs. Raise `Untested` where this machine cannot have it."""

    def load(self, rng: np.random.Generator) -> Any:
        """The problem itself, drawn from `rng`."""
        return self

    def data_hash(self) -> str:
        """SHA-256 of the decoded arrays of a fixed data set; empty for generated problems."""
        return ""
