"""What the paper improves on: sleeping experts over every pair of hypothesis and group (Blum and Lykouris, 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from workingpapers.workloads.grouped import Predicate

from . import _kernel as kernel
from ._groups import Groups
from ._inputs import labels_of, numbers_of
from ._trace import GroupTrace
from ._weights import log_weight

Array = npt.NDArray[np.float64]

MOST_EXPERTS = 20_000_000
ROWS_TIMES_HYPOTHESES = 4_000_000


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _pairs(Z: Array, y: Array, A: npt.NDArray[np.uint8], R: Array, C: Array, span: float, expected: Array, of_mean: Array,
           prediction: Array, weights: Array) -> None:
    """Every row in turn: AdaNormalHedge over the pairs (h, g) with g awake. O(H x awake groups) a row."""
    T, H = Z.shape
    G = A.shape[1]
    p = np.empty((H, G))
    for t in range(T):
        top = -np.inf
        n_awake = 0
        for g in range(G):
            if A[t, g]:
                n_awake += 1
                for h in range(H):
                    p[h, g] = log_weight(R[h, g], C[h, g])
                    top = max(top, p[h, g])
        total = 0.0
        for g in range(G):
            for h in range(H):
                if n_awake == 0 or (A[t, g] and top == -np.inf):
                    p[h, g] = 1.0
                elif A[t, g]:
                    p[h, g] = math.exp(p[h, g] - top)
                else:
                    p[h, g] = 0.0
                total += p[h, g]
        mean, loss = 0.0, 0.0
        for g in range(G):
            weights[t, g] = 0.0
            for h in range(H):
                q = p[h, g] / total
                weights[t, g] += q
                mean += q * Z[t, h]
                loss += q * kernel.loss_of(Z[t, h], y[t], kernel.SQUARED, span)
        for g in range(G):
            if A[t, g]:
                for h in range(H):
                    r = loss - kernel.loss_of(Z[t, h], y[t], kernel.SQUARED, span)
                    R[h, g] += r
                    C[h, g] += abs(r)
        expected[t], prediction[t], of_mean[t] = loss, mean, kernel.loss_of(mean, y[t], kernel.SQUARED, span)


class BlumLykouris:
    """Sleeping experts over all `|H| |G|` pairs of hypothesis and group, with the same weights as `GroupwiseRegressor`.

    The regret of each group is small too, but time and memory grow with the number of hypotheses: a class of linear models must be cut to
    a grid, which has `points^d` of them.

    Args:
        hypotheses: linear models `(H, d)`.
        groups, always_on, y_range: as in `GroupwiseRegressor`.

    Raises:
        ValueError: more than 20 million pairs, which would not run.

    >>> H = grid_hypotheses(2, points=5)
    >>> rng = np.random.default_rng(0)
    >>> X = rng.random((400, 2))
    >>> trace = BlumLykouris(H, ["left"]).run(X, X @ [0.5, -0.5], (X[:, :1] < 0.5))
    >>> trace.groups, bool(trace.expected_loss[-100:].mean() < 0.01)
    (('left', 'always_on'), True)
    """

    def __init__(self, hypotheses: npt.ArrayLike, groups: Mapping[str, Predicate] | Sequence[str], *, always_on: bool = True,
                 y_range: tuple[float, float] | None = None) -> None:
        self.hypotheses = np.asarray(hypotheses, dtype=np.float64)
        if self.hypotheses.ndim != 2 or len(self.hypotheses) == 0 or not np.isfinite(self.hypotheses).all():
            raise ValueError(f"hypotheses has the shape {self.hypotheses.shape}: linear models (H, d), finite, are needed")
        self._groups, self.y_range = Groups(groups, always_on), y_range
        n = len(self.hypotheses) * len(self._groups)
        if n > MOST_EXPERTS:
            raise ValueError(f"{n:,} pairs of hypothesis and group are more than {MOST_EXPERTS:,}: this method cannot run here; "
                             "GroupwiseRegressor needs no list of hypotheses")
        self._R = np.zeros((len(self.hypotheses), len(self._groups)))
        self._C = np.zeros_like(self._R)

    @property
    def n_experts(self) -> int:
        """Pairs of hypothesis and group."""
        return self._R.size

    def run(self, X: Any, y: Any, A: Any = None) -> GroupTrace:
        """Predict, then learn, row after row, from where learning stood; as `GroupwiseRegressor.run`."""
        values, awake = numbers_of(X), self._groups.of_rows(X, A)
        labels = labels_of(y, len(awake), self.y_range)
        if values.shape[1] != self.hypotheses.shape[1]:
            raise ValueError(f"X has {values.shape[1]} columns: {self.hypotheses.shape[1]} are needed, as the hypotheses have")
        span = 1.0 if self.y_range is None else float(self.y_range[1] - self.y_range[0])
        T = len(labels)
        expected, of_mean, prediction, weights = np.empty(T), np.empty(T), np.empty(T), np.empty(awake.shape)
        rows = max(1, ROWS_TIMES_HYPOTHESES // len(self.hypotheses))
        for low in range(0, T, rows):
            part = slice(low, min(low + rows, T))
            _pairs(values[part] @ self.hypotheses.T, labels[part], awake[part], self._R, self._C, span, expected[part], of_mean[part],
                   prediction[part], weights[part])
        return GroupTrace(expected, of_mean, prediction, None, weights, awake.astype(bool), tuple(self._groups.names), values, labels, span)

    def best_of(self, trace: GroupTrace) -> Any:
        """A comparator for `GroupTrace.regret`: the least loss of a single hypothesis on given rounds."""

        def comparator(rounds: npt.NDArray[np.intp]) -> float:
            assert trace.X is not None
            assert trace.y is not None
            off = trace.X[rounds] @ self.hypotheses.T - trace.y[rounds, None]
            return float(np.square(off).sum(axis=0).min()) / trace.span**2 if len(rounds) else 0.0

        return comparator


class HedgeOverModels:
    """Exponential weights over the same linear models `(H, d)` as one group's learner: proposes their weighted mean.

    Squared loss on labels in [0, 1]; the rate falls as `sqrt(8 log H / t)`.

    >>> learner = HedgeOverModels([[0.0], [1.0]])
    >>> for _ in range(40):
    ...     learner.learn(np.array([1.0]), 1.0)
    >>> round(learner.propose(np.array([1.0])), 3)
    1.0
    """

    features = "vector"

    def __init__(self, hypotheses: npt.ArrayLike) -> None:
        self.hypotheses = np.asarray(hypotheses, dtype=np.float64)
        self._losses, self._t = np.zeros(len(self.hypotheses)), 0

    def propose(self, x: Array) -> float:
        """Weighted mean of the models' predictions."""
        rate = math.sqrt(8 * math.log(max(len(self._losses), 2)) / (self._t + 1))
        weights = np.exp(-rate * (self._losses - self._losses.min()))
        return float(weights @ (self.hypotheses @ x) / weights.sum())

    def learn(self, x: Array, y: float) -> None:
        """Take in one label."""
        self._losses += np.square(self.hypotheses @ x - y)
        self._t += 1


def grid_hypotheses(d: int, points: int, low: float = -1.0, high: float = 1.0) -> Array:
    """Linear models on a grid, `(points^d, d)`.

    Raises:
        ValueError: more than 20 million of them.

    >>> grid_hypotheses(2, 3).shape
    (9, 2)
    """
    if d < 1 or points < 1:
        raise ValueError(f"d is {d}, points is {points}: 1 at least")
    if points**d > MOST_EXPERTS:
        raise ValueError(f"a grid of {points}^{d} models has more than {MOST_EXPERTS:,}: this is why the paper does without one")
    axes = np.meshgrid(*[np.linspace(low, high, points)] * d, indexing="ij")
    return np.stack([axis.reshape(-1) for axis in axes], axis=1)


__all__ = ["BlumLykouris", "HedgeOverModels", "grid_hypotheses"]
