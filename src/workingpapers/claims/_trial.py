"""One attempt: what a trial function is handed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ._language import Arm, Scale


def _words(text: str) -> list[int]:
    digest = hashlib.sha256(text.encode()).digest()[:16]
    return [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]


def _no_progress(done: float, total: float) -> None:
    return None


@dataclass(frozen=True)
class _Attempt:
    claim: str
    seed: int
    point: Any
    scale: Scale
    report: Callable[[float, float], None] = field(default=_no_progress, compare=False)

    def rng_for(self, purpose: str = "") -> np.random.Generator:
        """An independent stream for one purpose. It depends on claim, point and seed, never on the arm."""
        entropy = [self.seed, *_words(f"{self.claim}|{point_label(self.point)}|{purpose}")]
        return np.random.default_rng(np.random.SeedSequence(entropy))

    @property
    def rng(self) -> np.random.Generator:
        """The problem's stream, fresh at every access: pairs of arms share their luck."""
        return self.rng_for("")

    def progress(self, done: float, total: float) -> None:
        """Tell how far this trial is; shown in progress bars, never stored."""
        self.report(done, total)


@dataclass(frozen=True)
class Trial(_Attempt):
    """One arm, one seed, one workload point.

    Attributes:
        arm: what is tried; `arm.build(...)` makes it.
        point: the workload point; `point.load(trial.rng)` gives the problem.
        seed: 0, 1, 2, ...; hand it to whatever takes a `random_state`.
        scale: `smoke`, `small` or `full`.
    """

    arm: Arm = field(kw_only=True)


@dataclass(frozen=True)
class TimedTrial(_Attempt):
    """All arms of one seed and point, to be timed side by side in this one process."""

    arms: Mapping[str, Arm] = field(kw_only=True)


def point_label(point: Any) -> str:
    """The label of a workload point: its `label`, else its repr."""
    return str(getattr(point, "label", None) or repr(point))
