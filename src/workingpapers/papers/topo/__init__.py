"""Graphs of causes by swapping variables in their order (TOPO): lower loss than continuous solvers, and a polish for their answers.

For anyone who learns a directed acyclic graph from data, or has one from NOTEARS, GOLEM, DAGMA, an order search or an expert and wants
it better. With the order fixed, the best weights are ordinary regressions; pairs are swapped while that lowers the loss.

**From data.** A scikit-learn estimator over an array or a data frame `(n, d)`:

>>> from workingpapers.papers.topo import TOPO, shd, simulate
>>> made = simulate(30, 30, "ER", "gumbel", n=1_000, rng=1)
>>> found = TOPO(random_state=0).fit(made.X)
>>> shd(made.B, found.adjacency_), found.is_local_min_
(0, True)

**From a graph that you have.** Whatever made it, if it has no cycle (`first_dag` cuts the weakest edges until it has none): a matrix, a
data frame, a `networkx.DiGraph`, a graph of causal-learn, an expert's order of names:

>>> from workingpapers.papers.topo import dagma, polish
>>> small = simulate(10, 30, rng=2)
>>> better = polish(dagma(small.X), small.X)
>>> better.score_ <= better.history_[0].loss                     # never worse than the start, refitted
True

A lower loss is not the true graph. Least squares with equal weights finds it where all noises have one variance; on standardised data
that says little (`equal_variance=False` with `lambda1` there), and on raw data the variances give much of the order away:
`varsortability` and `sort_n_regress` tell how much.

What is where:

- `TOPO`, `polish`: the method. Losses `l2`, `logistic`, `mlp`, or a pair of functions of yours.
- `order_score`, `swap_deltas`, `candidates`: its pieces, on a Gram matrix. All d(d - 1)/2 swaps cost as much as one factorisation.
- `best_order`: the best of all orders, up to 18 variables.
- `notears`, `dagma`, `golem`, `sort_n_regress`, `random_orders`: what it is compared with.
- `simulate`, `random_dag`; `shd`, `tpr`, `fdr`, `sid`, `varsortability`: problems with a known graph, and distances from it.
- `first_dag`, `find_cycle`, `topological_order`: a graph's cycles and order.
"""

from __future__ import annotations

from workingpapers.parts.causal import (
    Simulated,
    fdr,
    find_cycle,
    first_dag,
    metrics,
    random_dag,
    shd,
    sid,
    simulate,
    topological_order,
    tpr,
    varsortability,
)

from ._baselines import dagma, golem, notears, random_orders, sort_n_regress
from ._exact import best_order
from ._orders import candidates, order_score, swap_deltas
from ._search import Round
from ._topo import TOPO, polish

__all__ = ["TOPO", "Round", "Simulated", "best_order", "candidates", "dagma", "fdr", "find_cycle", "first_dag", "golem", "metrics",
           "notears", "order_score", "polish", "random_dag",
           "random_orders", "shd", "sid", "simulate", "sort_n_regress", "swap_deltas",
           "topological_order", "tpr", "varsortability"]
