"""Random causal problems whose graph is known: the families that NOTEARS and its heirs are judged on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from .graphs import topological_order

Array = npt.NDArray[np.float64]
GraphName = Literal["ER", "SF", "BP"]
SemName = Literal["gauss", "exp", "gumbel", "uniform", "logistic", "mlp", "gp", "mim"]


@dataclass(frozen=True)
class Simulated:
    """Samples and what made them.

    Attributes:
        X: samples, `(n, d)`, not centred.
        B: the graph, `(d, d)` of 0 and 1.
        W: weights of the edges, `(d, d)`; of the mechanisms that have none (`mlp`, `gp`, `mim`) a copy of B.
    """

    X: Array
    B: Array
    W: Array


def random_dag(d: int, n_edges: int, graph: GraphName, rng: np.random.Generator) -> Array:
    """A random DAG with shuffled labels, `(d, d)` of 0 and 1.

    `ER`: `n_edges` pairs drawn uniformly, without replacement. `SF`: preferential attachment, every node coming after the first takes
    `round(n_edges / d)` parents (fewer at the start) among those before it, drawn by their degree. `BP`: edges from a fifth of the nodes
    to the others, drawn uniformly.

    Raises:
        ValueError: fewer than 2 nodes, or more edges than the family has room for.
    """
    if d < 2:
        raise ValueError(f"d is {d}: at least 2 nodes are needed")
    if graph not in get_args(GraphName):
        raise ValueError(f"graph is {graph!r}: it must be one of {', '.join(get_args(GraphName))}")
    B = np.zeros((d, d))
    if graph == "SF":
        _attach(B, _per_node(d, n_edges), rng)
    else:
        roots = max(1, d // 5)
        free = np.argwhere(np.triu(np.ones((d, d)), 1)) if graph == "ER" else np.argwhere(
            np.outer(np.arange(d) < roots, np.arange(d) >= roots))
        if not 0 <= n_edges <= len(free):
            raise ValueError(f"n_edges is {n_edges}: {graph} on {d} nodes has room for 0 to {len(free)}")
        chosen = free[rng.choice(len(free), size=n_edges, replace=False)]
        B[chosen[:, 0], chosen[:, 1]] = 1.0
    shuffled = rng.permutation(d)
    return B[np.ix_(shuffled, shuffled)]


def _per_node(d: int, n_edges: int) -> int:
    m = round(n_edges / d)
    if not 1 <= m < d:
        raise ValueError(f"n_edges is {n_edges}: SF on {d} nodes needs round(n_edges / d) of 1 to {d - 1}")
    return m


def _attach(B: Array, m: int, rng: np.random.Generator) -> None:
    for j in range(1, len(B)):
        weight = 1.0 + B[:j].sum(axis=1) + B[:, :j].sum(axis=0)
        parents = rng.choice(j, size=min(m, j), replace=False, p=weight / weight.sum())
        B[parents, j] = 1.0


def simulate(d: int, n_edges: int, graph: GraphName = "ER", sem: SemName = "gauss", n: int = 1_000, *,
             rng: np.random.Generator | int, weights: tuple[float, float] = (0.5, 2.0)) -> Simulated:
    """A random DAG and n samples of it.

    Linear with noise of scale 1: `gauss`, `exp`, `gumbel`, `uniform` (on [-1, 1]). Binary: `logistic`. With Gaussian noise: `mlp`
    (one hidden layer of 100), `gp` (a draw from a Gaussian process, O(n^3)), `mim` (tanh + cos + sin of three projections).

    Args:
        d, n_edges, graph: as for `random_dag`.
        sem: mechanism and noise.
        n: samples.
        rng: generator or seed.
        weights: sizes of edge weights, uniform between the two; the sign is drawn. Of linear and logistic mechanisms.

    >>> made = simulate(5, 6, "ER", "gauss", n=100, rng=0)
    >>> made.X.shape, int(made.B.sum())
    ((100, 5), 6)

    Raises:
        ValueError: an unknown name, or sizes that do not fit.
    """
    if sem not in get_args(SemName):
        raise ValueError(f"sem is {sem!r}: it must be one of {', '.join(get_args(SemName))}")
    if n < 1:
        raise ValueError(f"n is {n}: at least one sample is needed")
    rng = np.random.default_rng(rng)
    B = random_dag(d, n_edges, graph, rng)
    W = B * _signed(B.shape, *weights, rng) if sem not in NONLINEAR else B.copy()
    X = np.zeros((n, d))
    for j in topological_order(B):
        parents = np.flatnonzero(B[:, j])
        if sem in NONLINEAR:
            X[:, j] = rng.standard_normal(n) + (NONLINEAR[sem](X[:, parents], rng) if len(parents) else 0.0)
        elif sem == "logistic":
            X[:, j] = rng.random(n) < expit(X[:, parents] @ W[parents, j])
        else:
            X[:, j] = X[:, parents] @ W[parents, j] + NOISE[sem](rng, n)
    return Simulated(X, B, W)


def _signed(shape: tuple[int, ...], low: float, high: float, rng: np.random.Generator) -> Array:
    return np.asarray(rng.uniform(low, high, size=shape) * rng.choice([-1.0, 1.0], size=shape))


def _mlp(X: Array, rng: np.random.Generator) -> Array:
    first, second = _signed((X.shape[1], 100), 0.5, 2.0, rng), _signed((100,), 0.5, 2.0, rng)
    return np.asarray(expit(X @ first) @ second)


def _mim(X: Array, rng: np.random.Generator) -> Array:
    w = _signed((3, X.shape[1]), 0.5, 2.0, rng)
    return np.asarray(np.tanh(X @ w[0]) + np.cos(X @ w[1]) + np.sin(X @ w[2]))


def _gp(X: Array, rng: np.random.Generator) -> Array:
    squared = np.square(X[:, None, :] - X[None, :, :]).sum(axis=2)
    covariance = np.exp(-0.5 * squared) + 1e-8 * np.eye(len(X))
    return np.asarray(np.linalg.cholesky(covariance) @ rng.standard_normal(len(X)))


NOISE: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "gauss": lambda rng, n: rng.standard_normal(n),
    "exp": lambda rng, n: rng.exponential(size=n),
    "gumbel": lambda rng, n: rng.gumbel(size=n),
    "uniform": lambda rng, n: rng.uniform(-1.0, 1.0, size=n),
}
NONLINEAR: dict[str, Callable[[Array, np.random.Generator], Array]] = {"mlp": _mlp, "gp": _gp, "mim": _mim}
