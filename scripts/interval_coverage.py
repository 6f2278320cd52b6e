"""How often the intervals of claims hold the truth: `python scripts/interval_coverage.py` prints the tables of docs/statistics.md.

An interval at 95 % should hold the true mean in 95 of 100 experiments. Student's t is judged on what it decides in this
project (normal differences, log-ratios of lognormal metrics) and on heavy skew, where it falls short; the bias-corrected
accelerated bootstrap stands beside it. Takes about two minutes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np

from workingpapers.claims import bca_interval, t_interval

Draw = Callable[[np.random.Generator, int], np.ndarray]
PARETO = 2.5

SOUND: dict[str, tuple[Draw, float]] = {
    "normal difference": (lambda rng, n: rng.normal(-0.7, 2.2, n), -0.7),
    "log-ratio of lognormals": (lambda rng, n: np.log(rng.lognormal(0.3, 1.0, n) / rng.lognormal(0.0, 0.5, n)), 0.3),
}
SKEWED: dict[str, tuple[Draw, float]] = {
    "exponential": (lambda rng, n: rng.exponential(1.0, n), 1.0),
    "Pareto, tail index 2.5": (lambda rng, n: rng.pareto(PARETO, n), 1 / (PARETO - 1)),
    "lognormal, sigma 1.5": (lambda rng, n: rng.lognormal(0.0, 1.5, n), math.exp(1.5**2 / 2)),
}
SEEDS = (3, 5, 10, 30, 100)


def coverage(draw: Draw, truth: float, n: int, experiments: int, *, bootstrap: bool) -> float:
    """Share of experiments of `n` seeds whose interval holds `truth`."""
    rng, hits = np.random.default_rng(20_000 + n), 0
    for _ in range(experiments):
        values = draw(rng, n).tolist()
        found = bca_interval(values, resamples=1_999) if bootstrap else t_interval(values)
        hits += found.lo <= truth <= found.hi
    return hits / experiments


def table(cases: dict[str, tuple[Draw, float]], t_experiments: int, bca_experiments: int) -> None:
    """One row a distribution and interval, one column a number of seeds."""
    print(f"| values | interval | {' | '.join(f'n = {n}' for n in SEEDS)} |")
    print(f"|---|---|{'---|' * len(SEEDS)}")
    for name, (draw, truth) in cases.items():
        t = [f"{coverage(draw, truth, n, t_experiments, bootstrap=False):.3f}" for n in SEEDS]
        print(f"| {name} | Student's t | {' | '.join(t)} |")
        bca = ["" if n < 5 else f"{coverage(draw, truth, n, bca_experiments, bootstrap=True):.3f}" for n in SEEDS]
        print(f"| | BCa | {' | '.join(bca)} |", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=10_000, help="for Student's t")
    parser.add_argument("--bootstrap-experiments", type=int, default=2_000, help="for BCa")
    given = parser.parse_args()
    print(f"{given.experiments:,} experiments a cell for Student's t, {given.bootstrap_experiments:,} for BCa (1,999 resamples)\n")
    print("What claims are decided on:\n")
    table(SOUND, given.experiments, given.bootstrap_experiments)
    print("\nMeans under heavy skew:\n")
    table(SKEWED, given.experiments, given.bootstrap_experiments)


if __name__ == "__main__":
    main()
