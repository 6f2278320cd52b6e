"""The problems of the claims: published games and quadratics, projections, and least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from workingpapers.claims import Workload

from ._affine import MatrixGame, QuadraticSaddle
from ._data import LeastSquares
from ._feasibility import ProjectionSum, Subspace
from ._resolvents import Resolvent

Array = npt.NDArray[np.float64]


class Problem(NamedTuple):
    """An operator, its constraint and the start."""

    F: Any
    G: Resolvent | None
    u0: Array


@dataclass(frozen=True)
class PolicemanBurglar(Workload):
    """Nemirovski's game: a burglar picks house i of wealth `w_i = |N(0, 1)|`; a policeman at j catches him with `exp(-0.8 |i - j|)`.

    `A_ij = w_i (1 - exp(-0.8 |i - j|))`, the burglar maximises. `wealth="minimiser"` hangs the wealth on the minimising player
    (`A_ij = w_j (...)`), who then simply picks the poorest house: a game that ends at a pure pair of choices.
    """

    n: int
    wealth: str = "maximiser"

    @property
    def label(self) -> str:
        return f"policeman and burglar, {self.n} houses" + ("" if self.wealth == "maximiser" else ", wealth with the minimiser")

    def load(self, rng: np.random.Generator) -> Problem:
        w, place = np.abs(rng.standard_normal(self.n)), np.arange(self.n)
        A = 1 - np.exp(-0.8 * np.abs(place[:, None] - place))
        game = MatrixGame(A * (w[:, None] if self.wealth == "maximiser" else w))
        return Problem(game, game.simplices(), game.centre())


@dataclass(frozen=True)
class OuyangXu(Workload):
    """The quadratic programme that Ouyang and Xu built to be hard for first-order methods; the same for every seed."""

    n: int

    @property
    def label(self) -> str:
        return f"hard quadratic, n = {self.n}"

    def load(self, rng: np.random.Generator) -> Problem:
        n, i = self.n, np.arange(self.n)
        A = np.zeros((n, n))
        A[i, n - 1 - i] = 0.25
        A[i[:-1], n - 2 - i[:-1]] = -0.25
        h = np.zeros(n)
        h[-1] = 0.25
        return Problem(QuadraticSaddle(2 * A.T @ A, A, np.full(n, 0.25), h), None, np.full(2 * n, 1 / n))


@dataclass(frozen=True)
class Subspaces(Workload):
    """n random subspaces of half the dimension; `shift`: each moved by a normal offset of that length, so that they share no point."""

    n: int
    d: int = 24
    shift: float = 0.0

    @property
    def label(self) -> str:
        return f"{self.n} subspaces of R^{self.d}" + (f", shifted by {self.shift:g}" if self.shift else "")

    def load(self, rng: np.random.Generator) -> Problem:
        bases = np.linalg.qr(rng.standard_normal((self.n, self.d, self.d // 2)))[0]
        start = rng.standard_normal(self.d)
        offsets = self.shift * rng.standard_normal((self.n, self.d)) / np.sqrt(self.d)
        return Problem(ProjectionSum([Subspace(B, o) for B, o in zip(bases, offsets)]), None, start / np.linalg.norm(start))


@dataclass(frozen=True)
class GaussianRows(Workload):
    """Least squares on n rows of independent normals in d dimensions: single rows are as large as d times their mean effect."""

    n: int
    d: int = 24

    @property
    def label(self) -> str:
        return f"least squares, {self.n} x {self.d} normals"

    def load(self, rng: np.random.Generator) -> Problem:
        A = rng.standard_normal((self.n, self.d))
        truth = rng.standard_normal(self.d) / np.sqrt(self.d)
        return Problem(LeastSquares(A, A @ truth + rng.standard_normal(self.n)), None, np.zeros(self.d))


@dataclass(frozen=True)
class DiabetesRows(Workload):
    """Least squares on scikit-learn's diabetes table (442 x 10), columns of unit variance; the start is random."""

    @property
    def label(self) -> str:
        return "least squares, diabetes table"

    def load(self, rng: np.random.Generator) -> Problem:
        from sklearn.datasets import load_diabetes

        X, y = load_diabetes(return_X_y=True)
        F = LeastSquares(X / X.std(axis=0), (y - y.mean()) / y.std())
        start = rng.standard_normal(F.dim)
        return Problem(F, None, start / np.linalg.norm(start))
