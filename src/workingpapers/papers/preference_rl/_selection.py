"""Which pairs are shown to the person: the paper's rule, and what it is compared with at the same number of questions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np
import numpy.typing as npt

RULE, SCHEDULE, PACED = 0, 1, 2
WINDOW = 200  # rounds over which a paced rule looks back

Kind = Literal["rule", "never", "first", "random", "disagreement", "entropy"]


@dataclass(frozen=True)
class Selection:
    """How questions are chosen. A pair with equal features is never asked about, by any of them: it can teach nothing.

    Attributes:
        kind: `rule`, the paper's: ask when two draws of the reward disagree by more than `eps` (eps = 0 asks always);
            `never`; `first`, the first `budget` rounds and then never; `random`, `budget` rounds drawn beforehand;
            `disagreement`, `entropy`: the rounds of the highest disagreement, or of the least certain answer, at the pace
            that spends `budget` over `episodes`.
        eps: threshold of the rule.
        budget: questions in all, for the kinds that have one.
        episodes: rounds over which the budget is spent.
    """

    kind: Kind = "rule"
    eps: float = 0.1
    budget: int = 0
    episodes: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("rule", "never", "first", "random", "disagreement", "entropy"):
            raise ValueError(f"kind is {self.kind!r}: rule, never, first, random, disagreement or entropy is needed")
        if not (math.isfinite(self.eps) and self.eps >= 0):
            raise ValueError(f"eps is {self.eps!r}: a finite number from 0 up is needed (0 asks always)")
        if self.budget < 0 or (self.kind in ("random", "disagreement", "entropy") and not self.budget <= self.episodes):
            raise ValueError(f"budget is {self.budget} over {self.episodes} episodes: 0 <= budget <= episodes is needed")

    @property
    def code(self) -> int:
        """The number by which compiled code knows the kind."""
        return {"rule": RULE, "disagreement": PACED, "entropy": PACED}.get(self.kind, SCHEDULE)

    def schedule(self, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """The rounds at which a question falls due; later rounds count as the last one. Only `random` draws from `rng`."""
        if self.kind == "random":
            due = np.zeros(self.episodes + 1, bool)
            due[rng.choice(self.episodes, size=self.budget, replace=False)] = True
            return due
        return np.array([self.kind == "first"])


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def decide(code: int, score: float, eps: float, budget: int, episodes: int, is_informative: bool,
           pace: npt.NDArray[np.int64], window: npt.NDArray[np.float64], schedule: npt.NDArray[np.bool_]) -> bool:
    """Whether to ask in this round. `pace` = (round, asked so far, questions overdue), `window` past scores; both are moved on."""
    t = pace[0]
    pace[0] += 1
    ask = False
    if code == RULE:
        ask = score > eps
    elif code == SCHEDULE:
        if schedule[min(t, len(schedule) - 1)]:
            pace[2] += 1
        ask = pace[2] > 0 and is_informative and pace[1] < budget
        if ask:
            pace[2] -= 1
    else:
        left, rounds = budget - pace[1], max(1, episodes - t)
        n = min(t, len(window))
        if left > 0 and is_informative:
            if left >= rounds or n < 20:
                ask = True
            else:
                above = 0
                for i in range(n):
                    if window[i] > score:
                        above += 1
                ask = above * rounds < left * n  # among the highest left / rounds of the scores seen lately
        window[t % len(window)] = score
    if ask:
        pace[1] += 1
    return ask
