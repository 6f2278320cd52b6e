"""Loads compiled code from the disk cache (or compiles it, once a machine) without running any of it."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ._entries import best_actions, drawn_model, drawn_reward, planned, standard_normals, upper_solution
from ._features import TabularFeatures
from ._mdp import river_swim
from ._oracles import PreferenceOracle
from ._prlsvi import PRLSVI
from ._simulate import Log, Problem, rounds


def preload() -> None:
    """Have `rounds` and what stands around it ready before a process forks: loading takes half a second, a short trial a fiftieth.

    Nothing is computed and no thread is started. Where the cache is empty this compiles, for about half a minute.
    """
    mdp, rng = river_swim(2, 2), np.random.default_rng(0)
    made = PRLSVI(TabularFeatures(2, 2), 2, seed=0)._mind()
    assert made is not None
    mind, settings, trust = made
    problem = Problem(mdp.transitions, mdp.cumulative, mdp.rewards, mdp.start, mdp.start_cumulative, 1.0)
    log = Log(np.zeros(1), np.zeros(1), np.zeros(1), np.zeros((1, 2, 3), np.int64), np.zeros((1, 2, 2), np.int64))
    theta, counts = np.zeros(4), np.zeros((2, 2, 3))
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (rounds, (mind, settings, trust, problem, PreferenceOracle().person, log, rng, rng, rng)),
        (drawn_reward, (mind.cloud, 0.3, rng)), (planned, (mind.phi, mind.seen, theta, 2, 1.0, 0.05, trust, rng)),
        (standard_normals, (rng, 4)), (upper_solution, (mind.cloud.factor, theta)), (drawn_model, (counts, np.ones(3), rng)),
        (best_actions, (counts, np.zeros((2, 2)), 2))]
    for function, arguments in calls:
        function.compile(tuple(numba.typeof(a) for a in arguments))  # type: ignore[no-untyped-call,unused-ignore]
