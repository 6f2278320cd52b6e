"""Made people in overlapping groups, each group with a linear model of its own: the generator of the official code.

Shapes (circle, square, triangle) and colours (green, red) are two families of groups; everybody has one of each. A person's label
joins the labels of its two groups by a rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from workingpapers.claims import Workload
from workingpapers.workloads.grouped import ALWAYS_ON, GroupedStream, scaled

Rule = Literal["mean", "min", "max", "permutation"]

SHAPES, COLOURS = ("circle", "square", "triangle"), ("green", "red")
NAMES = (*SHAPES, *COLOURS)


@dataclass(frozen=True)
class SyntheticGroups(Workload):
    """`samples` people with `dim` features drawn uniformly from [0, 1] and weights of each group drawn alike.

    Args:
        rule: how the labels of the two groups of a person become one: `mean`, `min`, `max`, or `permutation` (that of the group
            that comes first in a fixed random order).
        samples, dim: size. The paper's are 100,000 and 20.
        noise: standard deviation of each group's label.
        shapes, colours: probabilities of the groups.

    The stream's features are the `dim` numbers and the indicators of the five groups; labels are scaled to [0, 1].

    >>> stream = SyntheticGroups("max", samples=100).load(np.random.default_rng(0))
    >>> stream.X.shape, stream.groups
    ((100, 25), ('circle', 'square', 'triangle', 'green', 'red', 'always_on'))
    """

    rule: Rule = "mean"
    samples: int = 100_000
    dim: int = 20
    noise: float = 0.16
    shapes: tuple[float, ...] = (0.5, 0.3, 0.2)
    colours: tuple[float, ...] = (0.6, 0.4)

    def __post_init__(self) -> None:
        if self.rule not in ("mean", "min", "max", "permutation"):
            raise ValueError(f"rule is {self.rule!r}: 'mean', 'min', 'max' or 'permutation'")
        if self.samples < 1 or self.dim < 1:
            raise ValueError(f"samples is {self.samples}, dim is {self.dim}: 1 at least")
        for name, shares, groups in (("shapes", self.shapes, SHAPES), ("colours", self.colours, COLOURS)):
            if len(shares) != len(groups) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
                raise ValueError(f"{name} is {shares}: {len(groups)} probabilities that sum to 1 are needed")

    @property
    def label(self) -> str:
        return f"{self.rule} rule"

    def load(self, rng: np.random.Generator) -> GroupedStream:
        features = rng.random((self.samples, self.dim))
        shape = rng.choice(len(SHAPES), self.samples, p=self.shapes)
        colour = len(SHAPES) + rng.choice(len(COLOURS), self.samples, p=self.colours)
        weights = rng.random((self.dim, len(NAMES)))
        labels = features @ weights + self.noise * rng.standard_normal((self.samples, len(NAMES)))
        order = rng.permutation(len(NAMES))

        rows = np.arange(self.samples)
        pair = np.stack([labels[rows, shape], labels[rows, colour]])
        if self.rule == "permutation":
            rank = np.argsort(order)
            y = np.where(rank[shape] < rank[colour], pair[0], pair[1])
        else:
            y = pair.mean(axis=0) if self.rule == "mean" else pair.min(axis=0) if self.rule == "min" else pair.max(axis=0)
        A = np.zeros((self.samples, len(NAMES) + 1))
        A[rows, shape] = A[rows, colour] = A[:, -1] = 1.0
        names = (*(f"x_{i}" for i in range(self.dim)), *NAMES)
        return GroupedStream(np.hstack([features, A[:, :-1]]), scaled(y), A, (*NAMES, ALWAYS_ON), names, self.label)


__all__ = ["SyntheticGroups"]
