"""Instance B as a problem with known truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ._checks import Array, generator, positive, whole
from ._streams import LABELLED, MONTE_CARLO, TESTED, TRUTH, UNLABELLED


@dataclass(frozen=True)
class MixtureProblem:
    """Instance B: z uniform on K groups, `x ~ N(u_z, I)`; the label is that of the group, or with probability `flip` another one.

    Args:
        d: columns of x.
        n_components: K.
        separation: distance of the two closest centres, in standard deviations.
        n_classes: classes C; groups get them in turn.
        flip: probability that a row's label is not its group's.
        seed: draws the centres.

    >>> problem = MixtureProblem(d=6, n_components=4, separation=4.0, seed=0)
    >>> x, y = problem.labelled(100)
    >>> x.shape, sorted(set(y.tolist())), problem.excess_risk(problem) == 0.0
    ((100, 6), [0, 1], True)
    """

    d: int
    n_components: int
    separation: float = 4.0
    n_classes: int = 2
    flip: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        whole("d", self.d)
        k, c = whole("n_components", self.n_components, 2), whole("n_classes", self.n_classes, 2)
        positive("separation", self.separation, zero=True)
        if c > k:
            raise ValueError(f"n_classes={c}: at most n_components={k} can be told apart")
        if not 0 <= self.flip < (c - 1) / c:
            raise ValueError(f"flip={self.flip}: from 0 up and below {(c - 1) / c:g}, where labels would carry nothing")

    @cached_property
    def centres(self) -> Array:
        """Centres of the groups, `(K, d)`."""
        from scipy.spatial.distance import pdist

        rng = np.random.default_rng([self.seed, TRUTH])
        drawn = rng.standard_normal((self.n_components, self.d))
        return np.asarray(drawn * (self.separation / float(pdist(drawn).min())))

    @cached_property
    def label_law(self) -> Array:
        """`P(y = c | z = k)`, `(K, C)`."""
        law = np.full((self.n_components, self.n_classes), self.flip / (self.n_classes - 1))
        law[np.arange(self.n_components), np.arange(self.n_components) % self.n_classes] = 1.0 - self.flip
        return law

    def posterior(self, x: Array) -> Array:
        """`P(z = k | x)` under the truth, `(m, K)`."""
        from scipy.special import softmax

        return np.asarray(softmax(x @ self.centres.T - 0.5 * np.square(self.centres).sum(axis=1), axis=1))

    def predict(self, x: Array) -> npt.NDArray[np.int64]:
        """The best label of each row, `(m,)`."""
        return np.asarray((self.posterior(x) @ self.label_law).argmax(axis=1))

    def unlabelled(self, m: int, rng: Any = None) -> Array:
        """m rows `(m, d)`; draws as `FactorProblem.unlabelled`."""
        return self._draw(whole("m", m), generator([self.seed, UNLABELLED] if rng is None else rng))[0]

    def labelled(self, n: int, rng: Any = None) -> tuple[Array, npt.NDArray[np.int64]]:
        """n rows `(n, d)` with labels `(n,)` in 0..C-1."""
        rng = generator([self.seed, LABELLED] if rng is None else rng)
        x, z = self._draw(whole("n", n), rng)
        return x, (rng.random(n)[:, None] > np.cumsum(self.label_law[z], axis=1)[:, :-1]).sum(axis=1)

    def _draw(self, n: int, rng: np.random.Generator) -> tuple[Array, npt.NDArray[np.int64]]:
        z = rng.integers(self.n_components, size=n)
        return self.centres[z] + rng.standard_normal((n, self.d)), z

    def optimal_risk(self, *, draws: int = MONTE_CARLO, seed: int = 0) -> float:
        """Least probability of a wrong label, by Monte Carlo over x with the label integrated out."""
        return float(1.0 - self._truth(draws, seed)[1].max(axis=1).mean())

    def excess_risk(self, predictor: Any, *, draws: int = MONTE_CARLO, seed: int = 0) -> float:
        """Probability of a wrong label less the least possible, for anything with `predict`.

        Monte Carlo on the same rows for every predictor: the mean of `P(best label | x) - P(predicted label | x)`, never negative.
        """
        return self.excess_risks([predictor], draws=draws, seed=seed)[0]

    def excess_risks(self, predictors: Sequence[Any], *, draws: int = MONTE_CARLO, seed: int = 0) -> list[float]:
        """`excess_risk` of several predictors; the rows are drawn once."""
        x, law = self._truth(draws, seed)
        best, found = law.max(axis=1), []
        for predictor in predictors:
            given = np.asarray(predictor.predict(x)).astype(np.int64).reshape(-1)
            if given.shape != (len(x),) or given.min() < 0 or given.max() >= self.n_classes:
                raise ValueError(f"predictor gave labels outside 0..{self.n_classes - 1}, or not one a row")
            found.append(float((best - law[np.arange(len(x)), given]).mean()))
        return found

    def _truth(self, draws: int, seed: int) -> tuple[Array, Array]:
        x = self._draw(whole("draws", draws), np.random.default_rng([self.seed, TESTED, seed]))[0]
        return x, self.posterior(x) @ self.label_law
