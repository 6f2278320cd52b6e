"""Variance-reduced Halpern iteration: saddle points, games and feasibility made of many terms, with a residual that one can stop on.

Finds u with `0 in F(u) + G(u)`, where `F = (1/n) sum_i F_i` is monotone and G a constraint or regulariser. Each step pulls back a
little towards the start, which makes the residual of the *last* iterate small; mostly about sqrt(n) terms are looked at, not n.

**A min-max problem of one's own**, as Python functions that sum gradients over the terms `idx`:

>>> import numpy as np
>>> from workingpapers.papers.halpern import FunctionOperator, Resolvent, solve
>>> rng = np.random.default_rng(0)
>>> B, a = rng.standard_normal((200, 5, 5)) / 4, rng.standard_normal((200, 5))
>>> # min_x max_y  (1/n) sum_i  |x - a_i|^2 / 2 + y'B_i x - |y|^2 / 2,   x in a box
>>> grad_x = lambda idx, x, y: (x - a[idx]).sum(axis=0) + y @ B[idx].sum(axis=0)
>>> grad_y = lambda idx, x, y: B[idx].sum(axis=0) @ x - len(idx) * y
>>> F = FunctionOperator.min_max(grad_x, grad_y, n=200, dim_x=5, dim_y=5)
>>> G = Resolvent.product(Resolvent.box(-1, 1, size=5), Resolvent.none(5))
>>> found = solve(F, np.zeros(10), G, method="vr_halpern_pp", tol=1e-4, seed=0)
>>> found.converged, found.residual <= 1e-4
(True, True)

What is where:

- `solve`: every method, one `Result` with evaluations counted and the residual's history. `residual` recomputes it; `tune` tries a
  grid of steps, the same for every method; `plot` draws the residuals of one run or several.
- `FunctionOperator`, `TorchOperator` (a loss, differentiated by torch): problems of one's own. `FiniteSum`, `FiniteSumOperator`: to
  write an operator class.
- `MatrixGame`, `QuadraticSaddle`, `AffineOperator`, `LeastSquares`, `RobustRegression`, `LogisticGame`, `ProjectionSum` (with
  `Subspace`, `Halfspace`, `Ball`): ready ones, dense or sparse, whose steps run compiled.
- `Problem(F, G, u0)`: what a workload of one's own gives, for `workingpapers run halpern matrix-game --point module:object`.
- `Resolvent`: simplex, box, ball, l1, products, or one's own. `CountingOperator`: an independent count.

Where it does not help: one term is as large as all of them together (each touches coordinates of its own), n is small, or the
problem is strongly monotone, where extragradient converges linearly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._affine import AffineOperator, MatrixGame, QuadraticSaddle
from ._constants import default_step
from ._data import LeastSquares, LogisticGame, RobustRegression
from ._feasibility import Ball, Halfspace, ProjectionSum, Subspace
from ._operators import CountingOperator, FiniteSum, FiniteSumOperator, FunctionOperator
from ._plots import plot
from ._problems import Problem
from ._resolvents import Resolvent, project_simplex
from ._run import DivergenceError, History, MonotonicityWarning, Step, residual
from ._solve import Result, solve
from ._tune import Tuning, tune

if TYPE_CHECKING:
    from ._torch import TorchOperator

__all__ = ["AffineOperator", "Ball", "CountingOperator", "DivergenceError", "FiniteSum", "FiniteSumOperator", "FunctionOperator",
           "Halfspace", "History", "LeastSquares", "LogisticGame", "MatrixGame", "MonotonicityWarning", "Problem", "ProjectionSum",
           "QuadraticSaddle", "Resolvent", "Result", "RobustRegression", "Step", "Subspace", "TorchOperator", "Tuning",
           "default_step", "plot", "project_simplex", "residual", "solve", "tune"]


def __getattr__(name: str) -> Any:
    if name == "TorchOperator":
        from ._torch import TorchOperator

        return TorchOperator
    raise AttributeError(name)
