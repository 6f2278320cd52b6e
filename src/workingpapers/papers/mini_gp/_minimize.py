"""Minimise a noisy function in one call, with arguments and result in the shape of scikit-optimize's `gp_minimize`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from ._optimizer import Acquisition, MiniGPOptimizer, Width
from ._space import BoxSpace, from_skopt


def minimize(func: Callable[[list[Any]], float], dimensions: Any, n_calls: int = 100, *, n_initial_points: int = 10,
             acquisition: Acquisition = "ei", C: float | None = None, C2: float | None = None, beta: Width = 2.0,
             noise: float | None = None, kernel: Any = None, switch_cost: float = 0.0,
             random_state: int | None = None) -> OptimizeResult:
    """Find a low point of a noisy `func` in few switches.

    The optimiser maximises `-(func - level) / spread`, with level and spread of the initial points; every number in the
    result has the sign and unit of `func` again.

    Args:
        func: takes a list of values, one a dimension, and returns a number. It is called again and again at one point;
            calls of one block do not depend on each other.
        dimensions: as scikit-optimize reads them: `(low, high)` of floats is real, of whole numbers is integer, with
            `"log-uniform"` as a third item on a log scale, other lists are categories.
        n_calls: evaluations in all.
        n_initial_points: points of a Sobol sequence that are evaluated first (twice each where the noise is to be learned).
        acquisition, C, C2, beta, switch_cost: as in `MiniGPOptimizer`; a number of `beta` counts posterior deviations.
        noise: variance of one call, in squared units of func; None: learned from the repeats and the likelihood.
        kernel: scikit-learn kernel on the unit cube; None: a Matern 5/2 kernel, scaled, one length scale a dimension. Its
            hyper-parameters are fitted after the initial points and whenever the number of blocks has doubled.
        random_state: seed.

    Returns:
        `OptimizeResult` with `x` (the evaluated point of lowest posterior mean), `fun` (that mean), `x_iters`, `func_vals` `(n_calls,)`,
        `space`, `models` (the last model, in the standardised, sign-flipped unit), `specs`, and `optimizer`.

    >>> rng = np.random.default_rng(0)
    >>> found = minimize(lambda x: (x[0] - 0.3) ** 2 + 0.01 * rng.standard_normal(), [(0.0, 1.0)], n_calls=60, random_state=0)
    >>> abs(found.x[0] - 0.3) < 0.1, len(found.func_vals)
    (True, 60)
    """
    if n_calls < 2 or n_initial_points < 1:
        raise ValueError(f"n_calls is {n_calls} and n_initial_points {n_initial_points}: give at least 2 calls and 1 initial point")
    read = [from_skopt(d) for d in (dimensions.dimensions if hasattr(dimensions, "dimensions") else dimensions)]
    box = BoxSpace(read)
    rng = np.random.default_rng(random_state)
    calls = _Calls(func, n_calls)
    first = _initial(box, n_initial_points, rng)
    for x in first:
        calls.evaluate(x, 2 if noise is None else 1)
    level, spread = float(np.mean(calls.y)), float(np.std(calls.y)) or 1.0
    optimizer = MiniGPOptimizer(box, acquisition, C, C2=C2, beta=beta, kernel=_default_kernel(box) if kernel is None else kernel,
                                noise=0.1 if noise is None else noise / spread**2, switch_cost=switch_cost, random_state=rng)
    for x, y in zip(calls.x, calls.y):
        optimizer.tell(x, (level - y) / spread)
    refit_at = 0
    while calls.left:
        if optimizer.ledger_.blocks >= refit_at:
            optimizer.fit_hyper((1e-8, 1e2) if noise is None else (noise / spread**2,) * 2)
            refit_at = max(2 * optimizer.ledger_.blocks, 5)
        suggestion = optimizer.ask(calls.left)
        told = calls.evaluate(list(suggestion.x), suggestion.repeats)
        optimizer.tell(suggestion, [(level - y) / spread for y in told])
    return _result(calls, optimizer, box, level, spread,
                   {"n_calls": n_calls, "n_initial_points": n_initial_points, "acquisition": acquisition, "random_state": random_state})


class _Calls:
    """Calls of the user's function, checked and written down."""

    def __init__(self, func: Callable[[list[Any]], float], budget: int) -> None:
        self.func, self.budget = func, budget
        self.x: list[list[Any]] = []
        self.y: list[float] = []

    @property
    def left(self) -> int:
        return self.budget - len(self.y)

    def evaluate(self, x: list[Any], times: int) -> list[float]:
        told = []
        for _ in range(min(times, self.left)):
            value = float(self.func(list(x)))
            if not np.isfinite(value):
                raise ValueError(f"func returned {value} at {x}: it must return a finite number")
            self.x.append(list(x))
            self.y.append(value)
            told.append(value)
        return told


def _initial(box: BoxSpace, n: int, rng: np.random.Generator) -> list[list[Any]]:
    from scipy.stats import qmc

    cube = qmc.Sobol(box.width, rng=rng).random(1 << max(0, n - 1).bit_length())[:n]
    return [list(box.decode(u)) for u in box.snap(cube)]


def _default_kernel(box: BoxSpace) -> Any:
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    return ConstantKernel(1.0, (1e-2, 1e2)) * Matern(np.full(box.width, 0.5), (0.05, 10.0), nu=2.5)


def _result(calls: _Calls, optimizer: MiniGPOptimizer, box: BoxSpace, level: float, spread: float, specs: dict[str, Any]) -> OptimizeResult:
    gp = optimizer.to_gp()
    means, _ = gp.posterior(gp.unique_points)
    x = list(box.decode(gp.unique_points[int(np.argmax(means))]))
    return OptimizeResult(x=_python(x), fun=level - spread * float(means.max()), x_iters=[_python(p) for p in calls.x],
                          func_vals=np.array(calls.y), space=box, models=[gp], specs=specs, optimizer=optimizer)


def _python(x: Sequence[Any]) -> list[Any]:
    return [v.item() if isinstance(v, np.generic) else v for v in x]


