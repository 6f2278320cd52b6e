"""Gaussian-process optimisation that evaluates few unique candidates many times (mini-GP-UCB, mini-GP-EI).

For functions that are noisy and are evaluated thousands of times or more: tuning a simulation, an experiment, a server.
Repeats of one candidate fold into their average without loss, so that the model costs as much as the number of
*different* candidates; and a candidate is kept until the model has learned there what it can, so that the set-up changes rarely.

**Ask and tell.** Maximise over a finite set of arms `(A, d)`, or over a list of bounds:

>>> import numpy as np
>>> from workingpapers.papers.mini_gp import MiniGPOptimizer
>>> rng = np.random.default_rng(0)
>>> optimizer = MiniGPOptimizer([(0.0, 10.0)], beta=2.0, noise=0.04, switch_cost=5, random_state=0)
>>> while (left := 500 - optimizer.ledger_.evaluations) > 0:
...     s = optimizer.ask(left)                          # a candidate, and how often to evaluate it
...     y = np.sin(s.x[0]) + 0.2 * rng.standard_normal(s.repeats)
...     optimizer.tell(s, y)
>>> best = optimizer.best()
>>> bool(min(abs(best.x[0] - np.pi / 2), abs(best.x[0] - 5 * np.pi / 2)) < 0.3)
True
>>> optimizer.ledger_.switches < 100, optimizer.certificate_.holds
(True, True)

What is where:

- `MiniGPOptimizer`: the method. `ask`, `tell`, `best`, `regret`, `ledger_`, `certificate_`, `state_dict`, `ask_batch`, `fit_hyper`.
- `minimize`: one call, in the shape of scikit-optimize.
- `UniqueGP`: the collapsed posterior by itself, with the exact likelihood of all observations.
- `UniqueGPModel`: the same for BoTorch (imports torch when first used).
- `Real`, `Integer`, `Categorical`: dimensions of mixed spaces.
- `GPUCB`, `GPEI`, `TS`, `GPBUCB`, `BBKB`, `BKB`, `RandomArms`, `RefitGPUCB`: what it is compared with, on the same posterior.

To resume from a log of your own, tell each line of it to a new optimiser; `state_dict` keeps the exact state. Where a
function has no noise, repeating it teaches nothing: use another method (a warning says so).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._base import Best, Ledger, Regret, Suggestion
from ._baselines import GPBUCB, GPEI, GPUCB, TS, RandomArms
from ._bbkb import BBKB, BKB
from ._minimize import minimize
from ._optimizer import Certificate, MiniGPOptimizer
from ._posterior import UniqueGP
from ._refit import RefitGPUCB
from ._space import Categorical, Integer, Real

if TYPE_CHECKING:
    from ._botorch import UniqueGPModel

__all__ = ["BBKB", "BKB", "GPBUCB", "GPEI", "GPUCB", "TS", "Best", "Categorical", "Certificate", "Integer", "Ledger", "MiniGPOptimizer",
           "RandomArms", "Real", "RefitGPUCB", "Regret", "Suggestion", "UniqueGP", "UniqueGPModel", "minimize"]


def __getattr__(name: str) -> Any:
    if name == "UniqueGPModel":
        from ._botorch import UniqueGPModel

        return UniqueGPModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
