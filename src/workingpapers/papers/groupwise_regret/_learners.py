"""Learners of one group: objects that propose an action and then learn what came out.

    z = learner.propose(x)      before the outcome is known; must not change the learner's state
    learner.learn(x, y)         afterwards

Any object with these two methods serves. `features` says what `x` is: "vector" (numbers, `(d,)`) or "mapping" (as in river).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol, Self, runtime_checkable

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@runtime_checkable
class Learner(Protocol):
    """What a group's learner must offer."""

    def propose(self, x: Any) -> Any:
        """The action for context `x`."""

    def learn(self, x: Any, y: Any) -> None:
        """Take in the outcome."""


# ---------------------------------------------------------------- ridge, one row at a time


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def nonzeros(x: Array, where: npt.NDArray[np.int64]) -> int:
    """Write the positions of the entries of `x` that are not 0 into `where`; how many; -1 when one is not finite."""
    n = 0
    for j in range(len(x)):
        if not np.isfinite(x[j]):
            return -1
        if x[j] != 0.0:
            where[n] = j
            n += 1
    return n


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def times(P: Array, x: Array, where: npt.NDArray[np.int64], n: int, Px: Array) -> float:
    """Write P x into `Px`; `x^T P x`. O(d n): a one-hot row costs little."""
    Px[:] = 0.0
    for a in range(n):
        k = where[a]
        for j in range(len(x)):
            Px[j] += x[k] * P[k, j]
    out = 0.0
    for a in range(n):
        out += x[where[a]] * Px[where[a]]
    return out


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def ridge_propose(P: Array, theta: Array, x: Array, where: npt.NDArray[np.int64], n: int, forward: bool, Px: Array) -> float:
    """theta^T x; with `forward`, x enters the matrix first, which divides that by 1 + x^T P x."""
    z = 0.0
    for a in range(n):
        z += x[where[a]] * theta[where[a]]
    return z / (1.0 + times(P, x, where, n, Px)) if forward else z


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def ridge_learn(P: Array, theta: Array, b: Array, x: Array, y: float, where: npt.NDArray[np.int64], n: int, l2: float, forget: float,
                Px: Array) -> None:
    """P and theta after one more row, in place: Sherman-Morrison, and `theta += P_new x (y - theta^T x)`. O(d^2)."""
    d = len(x)
    z = 0.0
    for a in range(n):
        z += x[where[a]] * theta[where[a]]
    denominator = forget + times(P, x, where, n, Px)
    step = (y - z) / denominator
    for i in range(d):
        theta[i] += step * Px[i]
        f = Px[i] / denominator
        for j in range(d):
            P[i, j] -= f * Px[j]
    for a in range(n):
        b[where[a]] += y * x[where[a]]
    if forget < 1.0:
        # Old rows fade, and with them what is known: but never beyond the prior, or a feature that is not seen for long overflows.
        # Dividing at every step also magnifies the slightest asymmetry, so one half is copied to the other.
        for i in range(d):
            for j in range(i + 1):
                P[i, j] /= forget
                P[j, i] = P[i, j]
        for i in range(d):
            if P[i, i] * l2 > 1.0:
                cap = 1.0 / np.sqrt(P[i, i] * l2)
                for j in range(d):
                    P[i, j] *= cap
                    P[j, i] *= cap


class OnlineRidge:
    """Ridge regression that learns a row at a time: the learner of the paper's experiments.

    Predicts `theta^T x` with `theta = (l2 I + sum x x^T)^-1 sum y x` over the rows before; not clipped.

    Args:
        l2: weight of the penalty, positive.
        intercept: put a feature that is always 1 before the others (penalised like them). The paper has none: its one-hot features do.
        forget: rows fade by this factor at every step (below 1 for data that drift; the effective memory is `1 / (1 - forget)` rows).
            What is known of a weight never falls below the prior. Ours, not the paper's.

    Cost O(d^2) a row, O(d n) of it less where only n features are not 0; O(d^2) memory.

    >>> learner = OnlineRidge(l2=1.0)
    >>> for _ in range(99):
    ...     learner.learn(np.array([1.0, 0.0]), 2.0)
    >>> round(learner.propose(np.array([1.0, 0.0])), 6)
    1.98
    """

    features = "vector"
    forward = False

    def __init__(self, l2: float = 1.0, *, intercept: bool = False, forget: float = 1.0) -> None:
        if not (np.isfinite(l2) and l2 > 0):
            raise ValueError(f"l2 is {l2}: a positive number is needed")
        if not 0 < forget <= 1:
            raise ValueError(f"forget is {forget}: above 0, at most 1")
        self.l2, self.intercept, self.forget = float(l2), bool(intercept), float(forget)
        self._is_started = False

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Arguments by name, as scikit-learn asks for them: `base__l2` can be searched."""
        return {"l2": self.l2, "intercept": self.intercept, "forget": self.forget}

    def set_params(self, **params: Any) -> Self:
        """Change arguments; what was learned is forgotten."""
        if unknown := set(params) - set(self.get_params()):
            raise ValueError(f"{type(self).__name__} has no argument {sorted(unknown)[0]!r}: {', '.join(self.get_params())}")
        OnlineRidge.__init__(self, **{**self.get_params(), **params})
        return self

    def __repr__(self) -> str:
        more = (", intercept=True" if self.intercept else "") + (f", forget={self.forget:g}" if self.forget < 1 else "")
        return f"{type(self).__name__}(l2={self.l2:g}{more})"

    @property
    def theta_(self) -> Array:
        """Weights `(d,)`, that of the intercept first where there is one; empty before the first row."""
        return self._theta.copy() if self._is_started else np.zeros(0)

    def propose(self, x: npt.ArrayLike) -> float:
        """Prediction for features `x` (d,)."""
        row, n = self._row(x)
        return float(ridge_propose(self._P, self._theta, row, self._where, n, self.forward, self._Px))

    def learn(self, x: npt.ArrayLike, y: float) -> None:
        """Take in features `x` (d,) with label `y`.

        Raises:
            ValueError: another width than before, NaN or infinity.
        """
        row, n = self._row(x)
        if not np.isfinite(y):
            raise ValueError(f"y is {y}: a finite number is needed")
        ridge_learn(self._P, self._theta, self._b, row, float(y), self._where, n, self.l2, self.forget, self._Px)

    def _row(self, x: npt.ArrayLike) -> tuple[Array, int]:
        row = np.ascontiguousarray(x, dtype=np.float64)
        if self.intercept and row.ndim == 1:
            row = np.append(1.0, row)
        if not self._is_started:
            if row.ndim != 1:
                raise ValueError(f"x has the shape {row.shape}: one row (d,) is needed")
            d, self._is_started = len(row), True
            self._P, self._theta, self._b = np.eye(d) / self.l2, np.zeros(d), np.zeros(d)
            self._where, self._Px = np.empty(d, dtype=np.int64), np.empty(d)
        if row.shape != self._theta.shape:
            raise ValueError(f"x has the shape {np.shape(x)}: {(len(self._theta) - self.intercept,)} is needed, as in the rows before")
        n = int(nonzeros(row, self._where))
        if n < 0:
            raise ValueError("x holds NaN or infinity: impute or drop the row first")
        return row, n


class AzouryWarmuthVovk(OnlineRidge):
    """The forward algorithm of Azoury, Warmuth and Vovk: online linear regression with a guarantee against any labels.

    Predicts `x^T (l2 I + sum_{s <= t} x_s x_s^T)^-1 sum_{s < t} y_s x_s`: the present x is in the matrix before it predicts. For
    `|y| <= Y` and `|x_i| <= X` its loss exceeds that of any theta by at most `l2 |theta|^2 + d Y^2 log(1 + T X^2 / l2)`.
    Reconstructed from the literature; the paper names it for its theorem.

    >>> AzouryWarmuthVovk().propose([1.0])
    0.0
    """

    forward = True


# ---------------------------------------------------------------- finite classes


class Hedge:
    """Exponential weights over `n` actions whose losses, in [0, 1], are all revealed; `learn(x, losses)`.

    Args:
        n: how many actions.
        rate: learning rate; None lowers it as `sqrt(8 log n / t)`, which needs no horizon: the expected loss exceeds that of the best
            action by at most `sqrt(2 T log n) + sqrt(log(n) / 8)`.
        seed: of the draws.

    >>> hedge = Hedge(3, seed=0)
    >>> for _ in range(50):
    ...     hedge.learn(None, [1.0, 0.0, 1.0])
    >>> hedge.propose(None), bool(hedge.distribution_[1] > 0.99)
    (1, True)
    """

    features = "mapping"

    def __init__(self, n: int, rate: float | None = None, seed: int | None = None) -> None:
        if n < 1:
            raise ValueError(f"n is {n}: 1 action at least")
        if rate is not None and not rate > 0:
            raise ValueError(f"rate is {rate}: a positive number, or None")
        self.n, self.rate = n, rate
        self._losses, self._t = np.zeros(n), 0
        self.reseed(seed)

    def reseed(self, seed: Any) -> None:
        """Draw from a new stream from now on."""
        self._rng = np.random.default_rng(seed)
        self._u = self._rng.random()

    @property
    def distribution_(self) -> Array:
        """Probability of each action, `(n,)`."""
        rate = np.sqrt(8 * np.log(max(self.n, 2)) / (self._t + 1)) if self.rate is None else self.rate
        weights = np.exp(-rate * (self._losses - self._losses.min()))
        return np.asarray(weights / weights.sum())

    def propose(self, x: Any) -> int:
        """An action drawn from the distribution; the same one until something is learned."""
        return min(int(np.searchsorted(np.cumsum(self.distribution_), self._u, side="right")), self.n - 1)

    def learn(self, x: Any, y: npt.ArrayLike) -> None:
        """Take in the losses of all actions, `(n,)`."""
        losses = np.asarray(y, dtype=np.float64)
        if losses.shape != (self.n,) or not np.isfinite(losses).all():
            raise ValueError(f"the losses have the shape {losses.shape}: {self.n} finite numbers are needed")
        self._losses += losses
        self._t += 1
        self._u = self._rng.random()


# ---------------------------------------------------------------- adapters


class RiverLearner:
    """A river regressor as the learner of a group; `x` is the mapping itself."""

    features = "mapping"

    def __init__(self, model: Any) -> None:
        self.model = model

    def propose(self, x: Any) -> float:
        """The model's `predict_one`."""
        return float(self.model.predict_one(x))

    def learn(self, x: Any, y: float) -> None:
        """The model's `learn_one`."""
        self.model.learn_one(x, y)


class SklearnLearner:
    """A scikit-learn regressor with `partial_fit` as the learner of a group; proposes `initial` before the first row."""

    features = "vector"

    def __init__(self, estimator: Any, initial: float = 0.0) -> None:
        self.estimator, self.initial, self._is_fitted = estimator, initial, False

    def propose(self, x: Array) -> float:
        """The estimator's prediction for one row."""
        return float(self.estimator.predict(x[None])[0]) if self._is_fitted else self.initial

    def learn(self, x: Array, y: float) -> None:
        """One row to the estimator's `partial_fit`."""
        self.estimator.partial_fit(x[None], np.array([y]))
        self._is_fitted = True


def make_learner(base: Any) -> Any:
    """A fresh learner from a factory, or from a learner, river model or scikit-learn estimator, which is copied untrained.

    Raises:
        TypeError: something else, named.
    """
    if not isinstance(base, type):
        if isinstance(base, Learner):
            return copy.deepcopy(base)
        if hasattr(base, "predict_one") and hasattr(base, "learn_one"):
            return RiverLearner(base.clone())
        if hasattr(base, "partial_fit") and hasattr(base, "predict"):
            from sklearn.base import clone

            return SklearnLearner(clone(base))
    if not isinstance(base, Callable):  # type: ignore[arg-type]
        raise TypeError(f"base is {base!r}: a factory is needed, or an object with propose and learn, or a river regressor, or a "
                        "scikit-learn regressor with partial_fit")
    made = base()
    if isinstance(made, Learner):
        return made
    if hasattr(made, "predict_one") and hasattr(made, "learn_one"):
        return RiverLearner(made)
    if hasattr(made, "partial_fit") and hasattr(made, "predict"):
        return SklearnLearner(made)
    raise TypeError(f"base made {made!r}, which has neither propose and learn, nor predict_one and learn_one, nor predict and partial_fit")


__all__ = ["AzouryWarmuthVovk", "Hedge", "Learner", "OnlineRidge", "RiverLearner", "SklearnLearner", "make_learner", "nonzeros",
           "ridge_learn", "ridge_propose"]
