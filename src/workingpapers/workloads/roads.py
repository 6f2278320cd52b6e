"""Days on a road network: who travels, when, and what each road costs them that day."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workingpapers.claims import Workload

Array = npt.NDArray[np.float64]

VEHICLES = ("car", "lorry", "bicycle")
TIMES = ("weekday", "weekend")
GROUPS = (*VEHICLES, *TIMES, "always_on")


@dataclass(frozen=True, eq=False)
class Travels:
    """Days of travel, in order.

    Attributes:
        edges: pairs (tail, head) of a network without cycles.
        source, target: its ends.
        costs: of every edge on every day, `(T, E)`, in [0, 1].
        A: memberships `(T, 6)`: vehicle, time, everybody.
        groups: their names.
        longest: edges of the longest path.
    """

    edges: tuple[tuple[int, int], ...]
    source: int
    target: int
    costs: Array
    A: Array
    groups: tuple[str, ...]
    longest: int


@dataclass(frozen=True)
class RoadNetwork(Workload):
    """A network of layers, each joined to the next by `width` squared edges, in which each vehicle has costs of its own.

    Args:
        width: nodes a layer.
        layers: how many layers lie between source and target.
        days: T.
        weekend: how much of an edge's mean differs at weekends.
        noise: standard deviation of a day's cost around its mean; costs are cut to [0, 1].

    >>> travels = RoadNetwork(2, 3, days=10).load(np.random.default_rng(0))
    >>> len(travels.edges), travels.costs.shape, travels.longest
    (12, (10, 12), 4)
    """

    width: int
    layers: int
    days: int
    weekend: float = 0.1
    noise: float = 0.2

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.days) < 1:
            raise ValueError(f"width, layers and days are {self.width}, {self.layers}, {self.days}: 1 at least")

    @property
    def n_edges(self) -> int:
        """Edges of the network."""
        return 2 * self.width + self.width**2 * (self.layers - 1)

    @property
    def label(self) -> str:
        return f"{self.n_edges:,} edges, {self.days:,} days"

    def load(self, rng: np.random.Generator) -> Travels:
        nodes = [[0], *[[1 + layer * self.width + i for i in range(self.width)] for layer in range(self.layers)],
                 [1 + self.layers * self.width]]
        edges = tuple((a, b) for left, right in itertools.pairwise(nodes) for a in left for b in right)
        means = rng.uniform(0.2, 0.8, (len(VEHICLES), 1, len(edges)))
        shift = self.weekend * rng.uniform(-1, 1, (1, len(TIMES), len(edges)))
        vehicle = rng.choice(len(VEHICLES), self.days, p=(0.5, 0.3, 0.2))
        time = (rng.random(self.days) < 2 / 7).astype(int)
        costs = (means + shift)[vehicle, time] + self.noise * rng.standard_normal((self.days, len(edges)))
        A = np.column_stack([np.eye(len(VEHICLES))[vehicle], np.eye(len(TIMES))[time], np.ones(self.days)])
        return Travels(edges, 0, nodes[-1][0], np.clip(costs, 0.0, 1.0), A, GROUPS, self.layers + 1)


__all__ = ["GROUPS", "TIMES", "VEHICLES", "RoadNetwork", "Travels"]
