"""The bookkeeping of one run: counted evaluations, the residual as certificate and stopping rule, its history."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ._operators import FiniteSumOperator, vector
from ._resolvents import Resolvent

Array = npt.NDArray[np.float64]


class DivergenceError(ArithmeticError):
    """The residual left the finite numbers; the message names the step that was used and what to try."""


class MonotonicityWarning(UserWarning):
    """`<F(u) - F(v), u - v>` came out negative; `pair` holds u and v."""

    def __init__(self, text: str, u: Array, v: Array) -> None:
        super().__init__(text)
        self.pair = (u, v)


class Step(NamedTuple):
    """What a callback is told whenever a residual is known."""

    n_oracle: int
    residual: float
    u: Array


class History(NamedTuple):
    """Evaluations charged so far, and the residual then; shape (m,) each."""

    oracle: npt.NDArray[np.int64]
    residual: Array


def residual(F: FiniteSumOperator, u: npt.ArrayLike, G: Resolvent | None = None, eta: float = 1.0) -> float:
    """`r_eta(u) = |u - J_{eta G}(u - eta F(u))| / eta`; with G = 0 it is `|F(u)|`. Costs n evaluations.

    Zero exactly where `0 in F(u) + G(u)`. `solve` reports and stops on it at eta = 1.
    """
    if not (math.isfinite(eta) and eta > 0):
        raise ValueError(f"eta is {eta!r}: a finite number above 0 is needed")
    at = vector("u", u, F.dim)
    return natural_residual(at, np.asarray(F.full(at)), Resolvent.none() if G is None else G.bind(F.dim), eta)


def natural_residual(u: Array, at_u: Array, G: Resolvent, eta: float = 1.0,
                     resolve: Callable[[Array, float], Array] | None = None) -> float:
    """The residual from F(u), which is known already; `resolve` in place of G where it is the same, but faster."""
    if G.is_identity:
        return math.sqrt(float(at_u @ at_u))
    if not np.isfinite(at_u).all() or not np.isfinite(u).all():
        return math.nan
    return float(np.linalg.norm(u - (resolve or G)(u - eta * at_u, eta))) / eta


HOPELESS = 1e12


class Stop(Exception):
    """A run is over; the message says why."""


@dataclass
class Run:
    """One run. Methods ask it for full evaluations, charge what they spend, and certify points; it ends them by `Stop`.

    Attributes:
        n_oracle: evaluations charged.
        n_extra: evaluations for reports and checks, which are not charged.
        patience: how many times its first value the residual may reach before the run counts as diverging.
        resolve: G's resolvent, compiled where that is possible; None: G itself.
    """

    F: FiniteSumOperator
    G: Resolvent
    tol: float
    max_oracle: float
    callback: Callable[[Step], object] | None = None
    resolve: Callable[[Array, float], Array] | None = None
    n_oracle: int = 0
    n_full: int = 0
    n_extra: int = 0
    n_iter: int = 0
    converged: bool = False
    u: Array = field(default_factory=lambda: np.empty(0))
    residual: float = math.inf
    oracle: list[int] = field(default_factory=list)
    residuals: list[float] = field(default_factory=list)
    step: float = math.nan
    patience: float = HOPELESS
    _before: tuple[Array, Array] | None = None
    _has_warned: bool = False

    def affords(self, cost: float) -> bool:
        """Whether the budget allows that many evaluations more."""
        return self.n_oracle + cost <= self.max_oracle

    def ask(self, cost: float) -> None:
        """End the run where the budget does not allow `cost` more."""
        if not self.affords(cost):
            raise Stop(f"max_oracle = {self.max_oracle:g} evaluations are spent")

    def charge(self, cost: int) -> None:
        """Count evaluations made elsewhere."""
        self.n_oracle += cost

    def full(self, u: Array) -> Array:
        """F(u), charged."""
        self.ask(self.F.n)
        self.n_oracle += self.F.n
        self.n_full += 1
        return np.asarray(self.F.full(u), float)

    def look(self, u: Array) -> None:
        """Certify u by an evaluation that is not charged: for methods that never see F whole."""
        self.n_extra += self.F.n
        self.certify(u, np.asarray(self.F.full(u), float))

    def certify(self, u: Array, at_u: Array) -> None:
        """Take down the residual at u from F(u); ends the run where it is small enough, or no number.

        Raises:
            Stop: converged, or the callback wants no more.
            DivergenceError: the residual is not finite, or beyond hope.
            ValueError: F is not finite at the start.
        """
        if not self.residuals and not np.isfinite(at_u).all():
            raise ValueError("F(u0) holds NaN or infinity: look at the function, or its data, at the start u0")
        found = natural_residual(u, at_u, self.G, 1.0, self.resolve)
        if not math.isfinite(found) or (self.residuals and found > self.patience * max(self.residuals[0], self.tol)):
            raise DivergenceError(
                f"the residual became {found:g} after {self.n_oracle} evaluations at step eta={self.step:g}: try a smaller one, "
                f"eta={self.step / 4:.3g}, and check that F is monotone and its Lipschitz constant right"
            )
        self._watch(u, at_u)
        self.u, self.residual = u.copy(), found
        self.oracle.append(self.n_oracle)
        self.residuals.append(found)
        if found <= self.tol:
            self.converged = True
            raise Stop(f"the residual is at most tol = {self.tol:g}")
        if self.callback is not None and self.callback(Step(self.n_oracle, found, self.u)) is True:
            raise Stop("the callback stopped the run")

    def _watch(self, u: Array, at_u: Array) -> None:
        """Monotonicity between consecutive certified points, which costs nothing more."""
        if self._before is not None and not self._has_warned:
            v, at_v = self._before
            change, step = at_u - at_v, u - v
            product = float(change @ step)
            if product < 0 and product < -1e-8 * (sizes := float(np.linalg.norm(change) * np.linalg.norm(step))) and sizes > 1e-14:
                self._has_warned = True
                text = (f"F is not monotone between two points of this run: <F(u) - F(v), u - v> = {product:.3g}; "
                        "no guarantee holds (a game's maximising player needs the sign turned; .pair of this warning holds u and v)")
                warnings.warn(MonotonicityWarning(text, u.copy(), v.copy()), stacklevel=6)
        self._before = (u.copy(), at_u.copy())
