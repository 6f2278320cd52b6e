"""Causal graphs: problems with a known answer, and how far an estimate lies from it.

An adjacency matrix `W` is `(d, d)`; `W[i, j] != 0` means that i causes j.
"""

from __future__ import annotations

from .graphs import find_cycle, first_dag, is_dag, topological_order
from .metrics import fdr, shd, sid, tpr, varsortability
from .simulate import Simulated, random_dag, simulate

__all__ = ["Simulated", "fdr", "find_cycle", "first_dag", "is_dag", "random_dag", "shd", "sid", "simulate", "topological_order", "tpr",
           "varsortability"]
