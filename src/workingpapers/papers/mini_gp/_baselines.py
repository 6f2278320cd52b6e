"""What mini-GP-Opt is held against: GP-UCB, GP-EI, Thompson sampling, GP-BUCB and random arms.

All run on the same incremental posterior as the method, with the same widths: the only difference is what the papers
differ in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._base import Block, Choice, Optimizer
from ._optimizer import MiniGPOptimizer
from ._space import FiniteSpace
from ._surrogate import ArmSurrogate, Candidate


class _OneByOne(MiniGPOptimizer):
    """One evaluation a decision."""

    def __init__(self, space: Any, **options: Any) -> None:
        for word in ("C", "C2", "acquisition", "early_stop"):
            if word in options:
                raise TypeError(f"{type(self).__name__} has no argument {word!r}")
        super().__init__(space, self._kind, **options)  # type: ignore[arg-type]

    _kind = "ucb"

    def _repeats(self, var: float) -> float:
        return 1.0


class GPUCB(_OneByOne):
    """GP-UCB: the candidate of the highest upper confidence bound, one evaluation at a time.

    Takes `beta`, `fnorm`, `delta`, `kernel`, `noise`, `mean`, `switch_cost`, `random_state` as `MiniGPOptimizer`.

    >>> import numpy as np
    >>> optimizer = GPUCB(np.linspace(0, 1, 5)[:, None], noise=0.1)
    >>> optimizer.tell(optimizer.ask(), 1.0)
    >>> optimizer.ledger_.evaluations
    1
    """


class GPEI(_OneByOne):
    """GP-EI: the candidate of the highest expected improvement on the best posterior mean, one evaluation at a time."""

    _kind = "ei"


class TS(_OneByOne):
    """Thompson sampling: the best candidate of one draw from the posterior, one evaluation at a time; at most 5,000 arms."""

    _kind = "ts"


class GPBUCB(MiniGPOptimizer):
    """GP-BUCB (Desautels et al., 2014) with the adaptive batches of BBKB: the mean stands still within a batch.

    Within a batch the variance shrinks as each evaluation will make it; the batch ends when
    `1 + sum of sigma^2 at its start > C^2`. Arms only. `ask` and `tell` go one evaluation at a time.
    """

    def __init__(self, space: Any, C: float | None = None, **options: Any) -> None:
        super().__init__(space, "ucb", C, **options)
        if not isinstance(self.space, FiniteSpace):
            raise ValueError("space: GPBUCB works on a finite set of arms (A, d)")
        self._batch: list[tuple[int, float]] = []
        self._told_values: list[float] = []
        self._used = 1.0
        self._start_var: Any = None
        self._start_logdet = 0.0
        self._is_stale = True

    def _information(self) -> float:
        return self._start_logdet

    @property
    def _arms(self) -> ArmSurrogate:
        assert isinstance(self._surrogate, ArmSurrogate)
        return self._surrogate

    def _choose(self) -> Choice:
        if self._used > self.c2:
            self._end_batch()
        posterior = self._arms.posterior
        if not self._batch:
            self._start_var, self._start_logdet = posterior.var.copy(), posterior.logdet
        candidate, reason = self._propose()
        self._decisions += not self._batch
        assert isinstance(candidate, int)
        self._used += float(self._start_var[candidate]) / self.noise
        self._batch.append((candidate, float(posterior.average_[candidate])))
        posterior.hallucinate(candidate)
        self._log.append(["hallucinate", candidate])
        return Choice(candidate, 1, reason)

    def _observe(self, candidate: Candidate, n: int, average: float, squares: float) -> None:
        block = self._block
        if block is None or candidate != block.candidate:
            super()._observe(candidate, n, average, squares)
            return
        if len(self._told_values) < len(self._batch):
            self._told_values.append(average)
            n -= 1
        if n:
            super()._observe(candidate, n, average, squares)

    def _end_batch(self) -> None:
        done = len(self._told_values)
        arms, guesses = [a for a, _ in self._batch[:done]], [g for _, g in self._batch[:done]]
        if done:
            self._arms.posterior.fulfil(arms, guesses, self._told_values)
            self._log.append(["fulfil", arms, guesses, list(self._told_values)])
        self._batch, self._told_values, self._used = self._batch[done:], [], 1.0

    def _flush(self) -> None:
        super()._flush()
        if self._told_values and len(self._told_values) == len(self._batch) and self._used > self.c2:
            self._end_batch()

    def _apply(self, entry: list[Any]) -> None:
        if entry[0] == "hallucinate":
            self._arms.posterior.hallucinate(entry[1])
        elif entry[0] == "fulfil":
            self._arms.posterior.fulfil(list(entry[1]), entry[2], entry[3])
        else:
            super()._apply(entry)

    def _more_state(self) -> dict[str, Any]:
        return {**super()._more_state(), "batch": [list(b) for b in self._batch], "values": list(self._told_values), "used": self._used,
                "start_var": None if self._start_var is None else self._start_var.tolist(), "start_logdet": self._start_logdet}

    def _load_more(self, state: dict[str, Any]) -> None:
        super()._load_more(state)
        self._batch = [(int(a), float(g)) for a, g in state["batch"]]
        self._told_values, self._used = list(state["values"]), float(state["used"])
        self._start_var = None if state["start_var"] is None else np.array(state["start_var"])
        self._start_logdet = float(state["start_logdet"])


class RandomArms(Optimizer):
    """A control: every evaluation at a candidate drawn uniformly; the same posterior says which is best.

    Its choices need no posterior, so observations are folded in only when something is asked about them.
    """

    def __init__(self, space: Any, **options: Any) -> None:
        super().__init__(space, **options)
        self._waiting: dict[Candidate, Block] = {}

    def _observe(self, candidate: Candidate, n: int, average: float, squares: float) -> None:
        self._waiting.setdefault(candidate, Block(candidate, 0, "")).take(n, average, squares)

    def _close(self) -> None:
        super()._flush()
        self._block = None

    def _flush(self) -> None:
        super()._flush()
        for block in self._waiting.values():
            super()._observe(block.candidate, block.count, block.average, block.squares)
        self._waiting.clear()

    def _more_state(self) -> dict[str, Any]:
        return {"waiting": [[list(b.candidate) if isinstance(b.candidate, tuple) else b.candidate, b.count, b.average, b.squares]
                            for b in self._waiting.values()]}

    def _load_more(self, state: dict[str, Any]) -> None:
        self._waiting = {}
        for candidate, n, average, squares in state["waiting"]:
            self._observe(tuple(candidate) if isinstance(candidate, list) else candidate, n, average, squares)

    def _choose(self) -> Choice:
        return Choice(self._surrogate.uniform(self.rng), 1, "drawn uniformly")
