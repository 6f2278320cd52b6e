"""How the claims of paper.toml are tried."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workingpapers.claims import Trial, Workload, all_of, at, baseline, claim, control, headline, method, ratio

from .method import median_of_means


@dataclass(frozen=True)
class HeavyTails(Workload):
    """`n` draws around 0 from Student's t with 1.5 degrees of freedom: the variance is infinite."""

    n: int

    @property
    def label(self) -> str:
        return f"{self.n:,} numbers"

    def load(self, rng: np.random.Generator) -> NDArray[np.float64]:
        return rng.standard_t(1.5, size=self.n)


def first(x: NDArray[np.float64]) -> float:
    """The control: one number drawn at random."""
    return float(x[0])


@claim(
    "robust-mean",
    arms={
        "median of means": method(median_of_means, groups=20),
        "mean": baseline(np.mean),
        "one number": control(first),
    },
    points=at(smoke=[HeavyTails(200)], small=[HeavyTails(200), HeavyTails(2_000)],
              full=[HeavyTails(200), HeavyTails(2_000), HeavyTails(20_000)]),
    seeds=at(smoke=30, small=100, full=200),
    rule=all_of(headline(ratio("error", "median of means", "mean") < 1), ratio("error", "median of means", "one number") < 1),
)
def robust_mean(trial: Trial) -> dict[str, float]:
    estimate = trial.arm.build(trial.point.load(trial.rng))
    return {"error": abs(float(estimate))}  # the truth is 0
