"""The step of a method, tuned by what it is told of the Lipschitz constants: the same grid means the same for every method."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._methods import STOCHASTIC
from ._operators import FiniteSumOperator
from ._resolvents import Resolvent
from ._run import DivergenceError
from ._solve import Result, solve

Array = npt.NDArray[np.float64]


class Told:
    """An operator that says its Lipschitz constants are `1 / factor` of what they are; all else is the operator's own."""

    def __init__(self, F: FiniteSumOperator, factor: float) -> None:
        self._F, self._factor, self.n, self.dim = F, factor, F.n, F.dim

    def lipschitz(self) -> float | None:
        """The told constant of F."""
        known = getattr(self._F, "lipschitz", lambda: None)()
        return None if known is None else known / self._factor

    def avg_lipschitz(self, q: Array | None = None) -> float | None:
        """The told constant of the terms on average."""
        known = getattr(self._F, "avg_lipschitz", lambda q=None: None)(q)
        return None if known is None else known / self._factor

    def full(self, u: Array) -> Array:
        """F(u)."""
        return self._F.full(u)

    def batch(self, idx: Any, u: Array) -> Array:
        """Sum over idx of `F_i(u)`."""
        return self._F.batch(idx, u)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._F, name)


class Row(NamedTuple):
    """One line of a tuning table: evaluations spent, whether `tol` was reached, the last residual (infinite: diverged)."""

    factor: float
    n_oracle: int
    converged: bool
    residual: float


class Tuning(NamedTuple):
    """The best factor, every line of the table, and the result at the best factor with draws of its own (None: all diverged)."""

    factor: float
    table: tuple[Row, ...]
    result: Result | None


def tune(F: FiniteSumOperator, u0: npt.ArrayLike, G: Resolvent | None, method: str, factors: tuple[float, ...], tol: float,
         max_oracle: int, seed: int = 0, *, prune: bool = False, **options: Any) -> Tuning:
    """Run a method once for each factor, telling it constants divided by the factor, and once more at the best.

    Best is the factor that reached `tol` with fewest evaluations, else that with the least residual. A stochastic method is run
    again with other draws, so that none is reported at its lucky ones. Costs up to `(len(factors) + 1) max_oracle`. `prune` ends a
    factor's run once it has spent what the best before it needed: the choice is the same, its row of the table is cut short.

    >>> from workingpapers.papers.halpern import LeastSquares
    >>> tuned = tune(LeastSquares(np.eye(3), [1.0, 2.0, 3.0]), np.zeros(3), None, "eg", (0.5, 1.0, 2.0), tol=1e-3, max_oracle=1000)
    >>> [(row.factor, row.n_oracle) for row in tuned.table], tuned.factor
    ([(0.5, 171), (1.0, 189), (2.0, 1000)], 0.5)
    """
    if not factors or any(not (np.isfinite(f) and f > 0) for f in factors):
        raise ValueError(f"factors is {factors!r}: at least one, all finite and above 0, are needed")

    def run(factor: float, luck: int, most: int) -> Result | None:
        try:
            return solve(Told(F, factor), u0, G, method, tol, most, seed=np.random.default_rng([seed, luck]), **options)
        except DivergenceError:
            return None

    found: dict[float, Result | None] = {}
    least = max_oracle
    for f in factors:
        r = found[f] = run(f, 0, least if prune else max_oracle)
        if r is not None and r.converged:
            least = min(least, r.n_oracle)
    table = tuple(Row(f, max_oracle, False, np.inf) if r is None else Row(f, r.n_oracle, r.converged, r.residual) for f, r in found.items())
    best = min(table, key=lambda row: (not row.converged, row.n_oracle if row.converged else row.residual))
    return Tuning(best.factor, table, run(best.factor, 1, max_oracle) if method in STOCHASTIC else found[best.factor])
