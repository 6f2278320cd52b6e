"""Tables of measurements made by hand, and a small workload."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from workingpapers.claims import Measurement, Results, Workload
from workingpapers.claims._results import Planned

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

Columns = Mapping[str, Mapping[str, Sequence[float | None]]]


@dataclass(frozen=True)
class Sized(Workload):
    """`size` normal numbers."""

    size: int

    @property
    def label(self) -> str:
        return f"n={self.size}"

    def load(self, rng: np.random.Generator) -> Any:
        return rng.normal(size=self.size)


def make_table(columns: Columns, *, metric: str = "m", better: Mapping[str, str] | None = None,
               attributes: Mapping[str, Mapping[str, Any]] | None = None, part: str = "trial") -> Results:
    """`{point: {arm: [value of seed 0, value of seed 1, ...]}}`; None stands for a trial that did not finish."""
    measurements, planned = [], []
    for point, arms in columns.items():
        for arm, values in arms.items():
            for seed, v in enumerate(values):
                planned.append(Planned(part, arm, seed, point, v is not None))
                if v is not None:
                    measurements.append(Measurement(part, arm, seed, point, metric, float(v)))
    return Results(measurements, planned, better or {}, attributes or {})


@pytest.fixture(scope="session")
def table() -> Callable[..., Results]:
    return make_table


@pytest.fixture(scope="session")
def sized() -> type[Sized]:
    return Sized
