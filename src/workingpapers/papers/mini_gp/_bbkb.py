"""BKB and BBKB: GP-UCB on a Nystrom sketch whose dictionary is drawn anew at every update, one by one or in batches.

Calandriello et al., COLT 2019 (arXiv 1903.05594) and ICML 2020 (arXiv 2002.09954); defaults as in the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._acquisition import bayesian_width
from ._base import Choice, Optimizer
from ._kernels import Covariance
from ._space import FiniteSpace
from ._statistics import Array
from ._surrogate import Candidate, Score


class SketchedArms:
    """Approximate posterior of all arms in the span of a dictionary of m arms.

    With embedding z(.) of the arms, `z'z = K_am K_mm^+ K_ma`, and `S = (Z' W Z + lambda I)^-1`:
    mean = z' S sum n ybar z, and sigma^2 = (k - |z|^2) / lambda + z' S z, near var / lambda where the dictionary is good.
    Cost: O(A m^2) an update, O(m^2) a hallucinated evaluation.
    """

    def __init__(self, space: FiniteSpace, covariance: Covariance, noise: float) -> None:
        self.space, self.covariance, self.noise = space, covariance, noise
        self.prior = covariance.diag(space.arms)
        size = len(space.arms)
        self.count, self.average, self.squares = np.zeros(size), np.zeros(size), np.zeros(size)
        self.mean, self.sigma2 = np.zeros(size), self.prior / noise
        self.embedding = np.zeros((size, 0))
        self.residual = self.prior / noise
        self.inverse = np.zeros((0, 0))
        self.dictionary: list[int] = []

    n_arms = property(lambda self: len(self.space.arms))
    n_unique = property(lambda self: int(np.count_nonzero(self.count)))

    @property
    def logdet(self) -> float:
        """`logdet(I + Z' W Z / lambda)` of the sketch."""
        return float(-np.linalg.slogdet(self.inverse)[1] - len(self.inverse) * math.log(self.noise))

    def observe(self, candidate: Candidate, n: int, average: float, squares: float) -> None:
        arm = self.arm(candidate)
        gap, total = average - self.average[arm], self.count[arm] + n
        self.squares[arm] += squares + gap * gap * self.count[arm] * n / total
        self.average[arm] += gap * n / total
        self.count[arm] = total

    def draw(self, qbar: float, rng: np.random.Generator) -> list[int]:
        """A dictionary: arm i with probability min(1, qbar n_i sigma_i^2); the likeliest one should the draw be empty."""
        weight = self.sigma2 * self.count * qbar
        drawn = np.flatnonzero(rng.random(len(weight)) < weight)
        return [int(i) for i in drawn] or [int(np.argmax(weight))]

    def rebuild(self, dictionary: Sequence[int]) -> None:
        """Embed all arms by a new dictionary and recompute mean and sigma^2; O(A m^2 + m^3)."""
        self.dictionary = list(dictionary)
        x = self.space.arms[self.dictionary]
        values, vectors = np.linalg.eigh(self.covariance.matrix(x))
        keep = values > values.max() * len(values) * np.finfo(np.float64).eps
        root = vectors[:, keep] / np.sqrt(values[keep])
        z = self.covariance.matrix(self.space.arms, x) @ root
        seen = np.flatnonzero(self.count)
        weighted = z[seen] * self.count[seen, None]
        self.inverse = np.linalg.inv(z[seen].T @ weighted + self.noise * np.eye(z.shape[1]))
        self.embedding = z
        self.mean = z @ (self.inverse @ (weighted.T @ self.average[seen]))
        self.residual = np.maximum(self.prior - np.einsum("am,am->a", z, z), 0.0) / self.noise
        self.sigma2 = self.sigma2_of(np.arange(len(z)))

    def sigma2_of(self, arms: Any) -> Array:
        """sigma^2 of some arms under the present S."""
        z = self.embedding[arms]
        return np.asarray(self.residual[arms] + np.einsum("am,am->a", z @ self.inverse, z))

    def hallucinate(self, arm: int) -> None:
        """S after one more evaluation of the arm (Sherman-Morrison)."""
        z = self.embedding[arm]
        s = self.inverse @ z
        self.inverse -= np.outer(s, s) / (1.0 + z @ s)

    # ------------------------------------------------------------ as a surrogate

    @staticmethod
    def arm(candidate: Candidate) -> int:
        assert isinstance(candidate, int)
        return candidate

    def maximise(self, score: Score, rng: np.random.Generator) -> Candidate:
        return int(np.argmax(score(self.mean, np.sqrt(self.sigma2 * self.noise))))

    def maximise_draw(self, rng: np.random.Generator) -> Candidate:
        raise ValueError("a sketched posterior has no joint draws: use TS")

    def uniform(self, rng: np.random.Generator) -> Candidate:
        return int(rng.integers(len(self.space.arms)))

    def moments(self, candidate: Candidate) -> tuple[float, float]:
        arm = self.arm(candidate)
        return float(self.mean[arm]), float(self.sigma2[arm] * self.noise)

    def incumbent(self) -> float:
        seen = self.count > 0
        return float(self.mean[seen].max()) if seen.any() else 0.0

    def statistics(self) -> list[tuple[Candidate, int, float, float]]:
        return [(int(i), int(self.count[i]), float(self.average[i]), float(self.squares[i])) for i in np.flatnonzero(self.count)]

    def find(self, x: Any) -> Candidate:
        index, _ = self.space.find(x)
        if index is None:
            raise ValueError("x: it is not one of the arms, and a sketch knows only arms")
        return index

    def decode(self, candidate: Candidate) -> Any:
        return self.space.arms[self.arm(candidate)].copy()

    def twin(self) -> SketchedArms:
        raise ValueError("a sketched posterior makes its own batches")


class BBKB(Optimizer):
    """Batched budgeted kernel bandits: arms chosen on a sketch, in batches bounded by the global ratio rule.

    A batch ends when `1 + sum of sigma^2 at its start > ratio_threshold`; then the dictionary is drawn anew. Arms only.

    Args:
        space: arms `(A, d)`.
        ratio_threshold: C of the batch rule.
        qbar: oversampling of the dictionary.
        fnorm, delta: of the width `sqrt(lambda) F + sqrt(noise (C logdet + ln(1/delta)))` on sigma.
        beta: `"auto"` for that width; `"bayes"` for the form for finitely many arms; or a number: a multiple of sqrt(var).
        init: arms evaluated first.
        kernel, noise, switch_cost, random_state: as in `Optimizer`; lambda = noise.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> arms = rng.random((50, 2))
    >>> optimizer = BBKB(arms, noise=0.01, random_state=0)
    >>> while optimizer.ledger_.evaluations < 200:
    ...     s = optimizer.ask()
    ...     optimizer.tell(s, -np.square(s.x - 0.5).sum() + 0.1 * rng.standard_normal())
    >>> bool(np.abs(optimizer.best().x - 0.5).max() < 0.15)
    True
    """

    def __init__(self, space: Any, *, ratio_threshold: float = 2.0, qbar: float = 1.0, fnorm: float = 1.0, delta: float = 0.5,
                 beta: Any = "auto", init: Sequence[int] = (0, 1), kernel: Any = None, noise: float = 0.01,
                 switch_cost: float = 0.0, random_state: int | np.random.Generator | None = None) -> None:
        for name, number in {"ratio_threshold": ratio_threshold, "qbar": qbar, "fnorm": fnorm}.items():
            if not (np.isfinite(number) and number > 0):
                raise ValueError(f"{name} is {number}: give a positive number")
        if not 0 < delta < 1:
            raise ValueError(f"delta is {delta}: give a probability between 0 and 1")
        if beta not in ("auto", "bayes") and (isinstance(beta, str) or not (np.isfinite(beta) and beta >= 0)):
            raise ValueError(f"beta is {beta!r}: give 'auto', 'bayes' or a number of 0 or more")
        super().__init__(space, kernel=kernel, noise=noise, switch_cost=switch_cost, random_state=random_state)
        self.ratio_threshold, self.qbar, self.fnorm, self.delta, self.beta = ratio_threshold, qbar, fnorm, delta, beta
        assert isinstance(self.space, FiniteSpace)
        if not init or not all(0 <= i < len(self.space.arms) for i in init):
            raise ValueError(f"init is {list(init)}: give rows of the {len(self.space.arms)} arms")
        self._to_start = [int(i) for i in init]
        self._information = 0.0
        self._batches = 0
        self._batch: list[int] = []
        self._ucb: Array = np.empty(0)

    @property
    def _sketch(self) -> SketchedArms:
        assert isinstance(self._surrogate, SketchedArms)
        return self._surrogate

    def width(self) -> float:
        """The width of the confidence bound in multiples of sqrt(var)."""
        if self.beta == "bayes":
            return bayesian_width(len(self._sketch.space.arms), self._batches + 1, self.delta)
        if self.beta != "auto":
            return float(self.beta)
        return self.fnorm + math.sqrt(self._stale() * self._information + math.log(1 / self.delta))

    def _stale(self) -> float:
        return self.ratio_threshold

    def _fresh(self) -> SketchedArms:
        if not isinstance(self.space, FiniteSpace):
            raise ValueError(f"space: {type(self).__name__} works on a finite set of arms (A, d)")
        return SketchedArms(self.space, self.covariance, self.noise)

    def _choose(self) -> Choice:
        if self._to_start:
            return Choice(self._to_start[0], 1, "one of the first arms")
        sketch = self._sketch
        if self._is_full():
            self._end_batch()
        width = self.width() * math.sqrt(self.noise)
        if not self._batch:
            self._ucb = sketch.mean + width * np.sqrt(sketch.sigma2)
        arm = int(np.argmax(self._ucb))
        self._batch.append(arm)
        sketch.hallucinate(arm)
        # Variances only fall within a batch: an old bound below the new one of this arm cannot become the largest.
        self._ucb[arm] = self._upper(np.array([arm]), width)[0]
        doubtful = np.flatnonzero(self._ucb >= self._ucb[arm])
        self._ucb[doubtful] = self._upper(doubtful, width)
        return Choice(arm, 1, f"highest upper confidence bound at width {self.width():.3g}")

    def _upper(self, arms: Any, width: float) -> Array:
        return np.asarray(self._sketch.mean[arms] + width * np.sqrt(self._sketch.sigma2_of(arms)))

    def _is_full(self) -> bool:
        return 1.0 + float(self._sketch.sigma2[self._batch].sum()) > self.ratio_threshold

    def _end_batch(self) -> None:
        sketch = self._sketch
        self._information += float(np.log1p(sketch.sigma2[self._batch]).sum())
        self._rebuild(sketch.draw(self.qbar, self.rng))
        self._batches += 1
        self._batch = []

    def _rebuild(self, dictionary: list[int]) -> None:
        self._sketch.rebuild(dictionary)
        self._log.append(["rebuild", dictionary])

    def _close(self) -> None:
        super()._close()
        if self._to_start:
            self._to_start.pop(0)
            if not self._to_start:
                seen = [int(i) for i in np.flatnonzero(self._sketch.count)]
                self._rebuild(seen)
                self._information = self._spread()

    def _spread(self) -> float:
        """The estimate of logdet that BKB's code uses: `sum n sigma^2 ln T`."""
        sketch = self._sketch
        return float(sketch.sigma2 @ sketch.count * math.log(sketch.count.sum()))

    def _apply(self, entry: list[Any]) -> None:
        if entry[0] == "rebuild":
            self._sketch.rebuild(list(entry[1]))
        else:
            super()._apply(entry)

    def _more_state(self) -> dict[str, Any]:
        return {"to_start": list(self._to_start), "information": self._information, "batches": self._batches,
                "batch": list(self._batch), "ucb": self._ucb.tolist()}

    def _load_more(self, state: dict[str, Any]) -> None:
        self._to_start, self._information = list(state["to_start"]), float(state["information"])
        self._batches = int(state["batches"])
        self._batch, self._ucb = list(state["batch"]), np.array(state["ucb"], dtype=np.float64)
        for arm in self._batch:
            self._sketch.hallucinate(arm)


class BKB(BBKB):
    """BKB: one evaluation a batch, and a width from `sum n sigma^2 ln T`."""

    def _is_full(self) -> bool:
        return bool(self._batch)

    def _stale(self) -> float:
        return 1.0

    def _end_batch(self) -> None:
        super()._end_batch()
        self._information = self._spread()
