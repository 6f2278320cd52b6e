"""How the claim is tried."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum

import numpy as np

from workingpapers.claims import Trial, Workload, all_of, baseline, claim, control, difference, headline, method

from .method import kahan_sum


@dataclass(frozen=True)
class Uniform(Workload):
    """`n` numbers between 0 and 1, in single precision."""

    n: int

    def load(self, rng: np.random.Generator) -> np.ndarray:
        return rng.random(self.n, dtype=np.float32)


def plain_sum(x: Iterable[float]) -> float:
    total = np.float32(0)
    for value in x:
        total += np.float32(value)
    return float(total)


def half_of_them(x: np.ndarray) -> float:
    return 2 * float(x[::2].sum())


@claim(
    "compensated-sum",
    arms={"Kahan": method(kahan_sum), "plain": baseline(plain_sum), "half": control(half_of_them)},
    points=[Uniform(2_000)],
    seeds=10,
    rule=all_of(headline(difference("error", "Kahan", "plain") < 0), difference("error", "Kahan", "half") < 0),
)
def compensated_sum(trial: Trial) -> dict[str, float]:
    x = trial.point.load(trial.rng)
    return {"error": abs(trial.arm.build(x) - fsum(map(float, x)))}
