"""The three instances of the paper, together."""

from __future__ import annotations

from typing import Any

from ._linear_problems import ContrastiveProblem, FactorProblem
from ._mixture_problem import MixtureProblem

Problem = FactorProblem | MixtureProblem | ContrastiveProblem


def excess_risk(problem: Problem, estimator: Any, **options: Any) -> float:
    """Expected loss of a fitted estimator on a problem less the least possible: `problem.excess_risk(estimator)`."""
    return problem.excess_risk(estimator, **options)


__all__ = ["ContrastiveProblem", "FactorProblem", "MixtureProblem", "Problem", "excess_risk"]
