"""The learners of all groups with the state of the mixture: `RidgeBank` holds ridge learners in arrays, `ObjectBank` holds any others."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _kernel as kernel
from ._groups import Awake
from ._learners import OnlineRidge
from ._weights import mix

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Losses:
    """How a prediction is judged: loss of `(z - y) / span`, proposals cut to [low, high] (infinite where they are not)."""

    kind: Any  # a number of `_kernel`, or a function of prediction and label
    span: float = 1.0
    low: float = -math.inf
    high: float = math.inf

    def __call__(self, z: float, y: float) -> float:
        if isinstance(self.kind, int):
            return float(kernel.loss_of(z, y, self.kind, self.span))
        return float(self.kind(z, y))


class Bank:
    """State of the mixture: regrets, priors, totals.

    Attributes:
        R, C: cumulative regret to each group's learner, and the sum of its absolute values, `(G,)`.
        totals: sums over each group's rounds, `(G, 6)`; columns as in `_kernel`.
        n_seen: rounds of each group, `(G,)`.
    """

    def __init__(self, prior: Array, losses: Losses, uniform: bool) -> None:
        G = len(prior)
        self.R, self.C, self.log_prior = np.zeros(G), np.zeros(G), np.log(prior)
        self.totals, self.n_seen = np.zeros((G, kernel.N_TOTALS)), np.zeros(G, dtype=np.int64)
        self.losses, self.uniform = losses, uniform

    def probabilities(self, awake: Awake) -> Array:
        """Weight of each group's learner in this round, `(G,)`."""
        p = np.empty(len(self.R))
        mix(self.R, self.C, awake, self.log_prior, self.uniform, p)
        return p

    def add(self, prior: float) -> None:
        """One more group, with nothing seen yet."""
        self.R, self.C = np.append(self.R, 0.0), np.append(self.C, 0.0)
        self.log_prior = np.append(self.log_prior, math.log(prior))
        self.totals = np.vstack([self.totals, np.zeros(kernel.N_TOTALS)])
        self.n_seen = np.append(self.n_seen, 0)


class RidgeBank(Bank):
    """Ridge learners of all groups: matrices `(G, d, d)`, weights `(G, d)`. With an intercept, feature 0 is the constant 1.

    Attributes:
        keys: names of the features in their order, the intercept's left out.
        index: position of each.
        first: 1 where there is an intercept, else 0.
    """

    def __init__(self, prior: Array, losses: Losses, uniform: bool, learner: OnlineRidge) -> None:
        super().__init__(prior, losses, uniform)
        self.l2, self.forget, self.forward, self.first = learner.l2, learner.forget, learner.forward, int(learner.intercept)
        self.index: dict[Hashable, int] = {}
        self.keys: list[Hashable] = []
        G, d = len(prior), self.first
        self.P, self.theta, self.b = np.full((G, d, d), 1.0 / self.l2), np.zeros((G, d)), np.zeros((G, d))
        self._scratch()

    def _scratch(self) -> None:
        G, d = self.theta.shape
        self._work = (np.empty(d, dtype=np.int64), np.empty(d), np.empty(G), np.empty(G), np.empty(G), np.empty(4))
        self._row = np.zeros(d)
        self._row[: self.first] = 1.0

    def add(self, prior: float) -> None:
        super().add(prior)
        d = self.theta.shape[1]
        self.P = np.concatenate([self.P, np.eye(d)[None] / self.l2])
        self.theta, self.b = np.vstack([self.theta, np.zeros(d)]), np.vstack([self.b, np.zeros(d)])
        self._scratch()

    def learn_names(self, names: list[Hashable]) -> None:
        """Make room for features that have not been seen: as if they had been 0 in every row before."""
        new = [n for n in names if n not in self.index]
        if not new:
            return
        G, d = self.theta.shape
        for name in new:
            self.index[name] = self.first + len(self.index)
            self.keys.append(name)
        wider = self.first + len(self.index)
        P = np.zeros((G, wider, wider))
        P[:, :d, :d] = self.P
        P[:, range(d, wider), range(d, wider)] = 1.0 / self.l2
        more = np.zeros((G, wider - d))
        self.P, self.theta, self.b = P, np.hstack([self.theta, more]), np.hstack([self.b, more])
        self._scratch()

    def row(self, x: Mapping[Hashable, Any], learn: bool) -> Array:
        """A mapping as a row (d,); features that it lacks are 0. New names get a place where `learn`, else they are left out.

        The array is overwritten by the next call.
        """
        names = list(x)
        if names == self.keys:
            self._row[self.first :] = _numbers(x)
            return self._row
        if learn:
            self.learn_names(names)
        self._row[self.first :] = 0.0
        for name, value in zip(names, _numbers(x)):
            if (i := self.index.get(name)) is not None:
                self._row[i] = value
        return self._row

    def propose(self, x: Array, awake: Awake) -> Array:
        """Each awake learner's proposal, `(G,)`, NaN for the sleeping."""
        where, Px, z, *_ = self._work
        n = kernel.nonzeros(x, where)
        kernel.propose_all(self.P, self.theta, x, where, n, awake, self.forward, self.losses.low, self.losses.high, Px, z)
        return z

    def round(self, x: Array, y: float, awake: Awake, u: float) -> Array:
        """Predict, settle, learn one row: (expected loss, loss of the mean, prediction, largest loss)."""
        of = self.losses
        where, Px, z, p, losses, out = self._work
        kernel.one_round(self.P, self.theta, self.b, self.R, self.C, self.log_prior, self.totals, self.n_seen, x, y, awake, u, self.forward,
                         self.uniform, of.kind, of.span, of.low, of.high, self.l2, self.forget, where, Px, z, p, losses, out)
        return out

    def run(self, X: Array, y: Array, A: Awake, u: Array, results: Array, expert_loss: Array, weights: Array) -> None:
        """Every row in turn, compiled; the results are written into the last three arrays."""
        of = self.losses
        kernel.stream(self.P, self.theta, self.b, self.R, self.C, self.log_prior, self.totals, self.n_seen, X, y, A, u, self.forward,
                      self.uniform, of.kind, of.span, of.low, of.high, self.l2, self.forget, results, expert_loss, weights)

    def predict(self, X: Array, A: Awake, u: Array) -> Array:
        """Predictions of rows as the state stands, `(T,)`."""
        out = np.empty(len(X))
        kernel.predict_rows(self.P, self.theta, self.R, self.C, self.log_prior, X, A, u, self.forward, self.uniform, self.losses.low,
                            self.losses.high, out)
        return out


class ObjectBank(Bank):
    """Learners of any kind, one object a group, asked one after another."""

    def __init__(self, prior: Array, losses: Losses, uniform: bool, learners: list[Any]) -> None:
        super().__init__(prior, losses, uniform)
        self.learners = learners

    def propose(self, x: Any, awake: Awake) -> list[Any]:
        """Each awake learner's proposal, None for the sleeping; all are asked where none is awake."""
        everybody = not awake.any()
        return [learner.propose(x) if everybody or up else None for learner, up in zip(self.learners, awake.tolist())]

    def settle(self, p: Array, losses: Array, awake: Awake) -> float:
        """The expected loss; the regrets of the awake take it in."""
        expected = float(kernel.settle(p, losses, awake, self.R, self.C))
        self.n_seen += awake
        return expected

    def learn(self, x: Any, y: Any, awake: Awake) -> None:
        """The awake learners take in the outcome."""
        for learner, up in zip(self.learners, awake.tolist()):
            if up:
                learner.learn(x, y)

    def numbers(self, x: Any, awake: Awake) -> Array:
        """Proposals that are numbers, cut to the range, `(G,)`; NaN for the sleeping."""
        z = np.array([np.nan if v is None else v for v in self.propose(x, awake)], dtype=np.float64)
        return np.clip(z, self.losses.low, self.losses.high)

    def round(self, x: Any, y: float, awake: Awake, u: float) -> Array:
        """Predict, settle, learn one row: (expected loss, loss of the mean, prediction, largest loss)."""
        return self.round_kept(x, y, awake, u)[0]

    def round_kept(self, x: Any, y: float, awake: Awake, u: float) -> tuple[Array, Array, Array]:
        """As `round`, with each learner's loss and weight, `(G,)`."""
        z, p = self.numbers(x, awake), self.probabilities(awake)
        if np.isnan(z).sum() > (len(z) - awake.sum() if awake.any() else 0):
            raise ValueError("a learner proposed NaN: look at the learner, or at its features")
        losses = np.array([np.nan if math.isnan(v) else self.losses(v, y) for v in z.tolist()])
        prediction = float(kernel.choose(p, z, u))
        of_mean = self.losses(float(kernel.choose(p, z, -1.0)), y)
        expected = self.settle(p, losses, awake)
        up = awake.astype(bool)
        self.totals[up] += (expected, of_mean, 0.0, y, prediction, y * y)
        self.totals[up, kernel.OWN] += losses[up]
        self.learn(x, y, awake)
        return np.array([expected, of_mean, prediction, np.nanmax(losses)]), losses, p


def _numbers(x: Mapping[Hashable, Any]) -> list[float]:
    values = list(x.values())
    try:
        return [float(v) for v in values]
    except (TypeError, ValueError):
        for name, value in x.items():
            try:
                float(value)
            except (TypeError, ValueError):
                raise ValueError(f"feature {name!r} is {value!r}: ridge learners need numbers; encode or impute it first (river's "
                                 "preprocessing, in a pipeline), or choose a base learner that takes it") from None
        raise


__all__ = ["Bank", "Losses", "ObjectBank", "RidgeBank"]
