"""Streams of people who belong to overlapping groups: features, labels, memberships, and the predicates that give them.

A predicate says of one person (a mapping of features) whether it belongs to the group, and of a whole table at once through
`rows`. `Between` and `Equals` are plain values: unlike a lambda they can be pickled, compared and shown.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Member = npt.NDArray[np.bool_]
Predicate = Callable[[Mapping[Any, Any]], Any]

ALWAYS_ON = "always_on"

PAPER_SHUFFLES = (473, 503, 623, 550, 692, 989, 617, 458, 301, 205)
"""The seeds of the ten shuffles in the official code."""


# ---------------------------------------------------------------- predicates


@dataclass(frozen=True)
class Between:
    """Members have `low <= x[column] < high`; with `closed`, `low < x[column] <= high`.

    >>> middle = Between("age", 35, 50, closed=True)
    >>> middle({"age": 35}), middle({"age": 36}), middle({"age": 50}), middle({})
    (False, True, True, False)
    """

    column: Hashable
    low: float = -np.inf
    high: float = np.inf
    closed: bool = False

    def __call__(self, x: Mapping[Any, Any]) -> bool:
        value = x.get(self.column)
        return False if value is None else bool(self._inside(value))

    def rows(self, table: pd.DataFrame) -> Member:
        """Membership of every row, `(T,)`."""
        return np.asarray(self._inside(table[self.column].to_numpy()), dtype=bool)

    def _inside(self, value: Any) -> Any:
        if self.closed:
            return (value > self.low) & (value <= self.high)
        return (value >= self.low) & (value < self.high)


@dataclass(frozen=True)
class Equals:
    """Members have `x[column] == value`.

    >>> Equals("smoker", "yes")({"smoker": "no"})
    False
    """

    column: Hashable
    value: Any

    def __call__(self, x: Mapping[Any, Any]) -> bool:
        return bool(x.get(self.column) == self.value)

    def rows(self, table: pd.DataFrame) -> Member:
        """Membership of every row, `(T,)`."""
        return np.asarray(table[self.column].to_numpy() == self.value, dtype=bool)


@dataclass(frozen=True)
class AllOf:
    """Members belong to every one of the `parts`: an intersection.

    >>> AllOf((Equals("sex", "female"), Between("age", high=36)))({"sex": "female", "age": 20})
    True
    """

    parts: tuple[Predicate, ...]

    def __call__(self, x: Mapping[Any, Any]) -> bool:
        return all(part(x) for part in self.parts)

    def rows(self, table: pd.DataFrame) -> Member:
        """Membership of every row, `(T,)`."""
        return np.asarray(np.logical_and.reduce([membership(part, table) for part in self.parts]))


def membership(predicate: Predicate, table: pd.DataFrame) -> Member:
    """Membership of every row of a table, `(T,)`: at once where the predicate has `rows`, else row by row."""
    rows = getattr(predicate, "rows", None)
    if rows is not None:
        return np.asarray(rows(table), dtype=bool)
    names = list(table.columns)
    return np.array([bool(predicate(dict(zip(names, row)))) for row in table.itertuples(index=False, name=None)], dtype=bool)


def make_groups(df: pd.DataFrame, spec: Mapping[str, Predicate], *, order: int = 1, min_support: int = 1) -> pd.DataFrame:
    """Memberships of every row in every group of `spec`.

    Args:
        df: one person a row.
        spec: group name -> predicate.
        order: also intersections of up to so many groups, named `a & b`. 1 makes none.
        min_support: intersections with fewer members are left out. Groups of `spec` itself always stay.

    Returns:
        0.0 or 1.0, `(T, G)`, one column a group, in the order of `spec`, intersections behind.

    >>> import pandas as pd
    >>> people = pd.DataFrame({"age": [20, 40, 60], "smoker": ["yes", "no", "no"]})
    >>> make_groups(people, {"young": Between("age", high=36), "smoker": Equals("smoker", "yes")}, order=2)
       young  smoker  young & smoker
    0    1.0     1.0             1.0
    1    0.0     0.0             0.0
    2    0.0     0.0             0.0
    """
    import pandas as pd

    if not spec:
        raise ValueError("spec is empty: name at least one group")
    if order < 1:
        raise ValueError(f"order is {order}: 1 (no intersections) or more")
    single = {name: membership(predicate, df) for name, predicate in spec.items()}
    found = dict(single)
    for size in range(2, order + 1):
        for names in itertools.combinations(single, size):
            together = np.logical_and.reduce([single[n] for n in names])
            if together.sum() >= max(min_support, 1):
                found[" & ".join(names)] = together
    return pd.DataFrame({name: column.astype(float) for name, column in found.items()}, index=df.index)


def intersections(df: pd.DataFrame, spec: Mapping[str, Predicate], *, order: int = 2, min_support: int = 1) -> dict[str, Predicate]:
    """`spec` with predicates for the intersections that `make_groups` would make on this table, for use on a stream.

    >>> import pandas as pd
    >>> people = pd.DataFrame({"age": [20, 40, 60], "smoker": ["yes", "no", "no"]})
    >>> spec = {"young": Between("age", high=36), "smoker": Equals("smoker", "yes")}
    >>> list(intersections(people, spec))
    ['young', 'smoker', 'young & smoker']
    """
    names = make_groups(df, spec, order=order, min_support=min_support).columns
    return {name: spec[name] if name in spec else AllOf(tuple(spec[part] for part in name.split(" & "))) for name in names}


# ---------------------------------------------------------------- streams


@dataclass(frozen=True, eq=False)
class GroupedStream:
    """One person a row, in order of arrival.

    Attributes:
        X: features `(T, d)`.
        y: labels `(T,)`, scaled to [0, 1].
        A: memberships `(T, G)`, 0.0 or 1.0; the last column is the group of everybody.
        groups: names of the groups, `G` of them.
        features: names of the features, `d` of them.
        name: what it is.
    """

    X: Array
    y: Array
    A: Array
    groups: tuple[str, ...]
    features: tuple[str, ...]
    name: str

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: npt.NDArray[np.intp]) -> GroupedStream:
        """The people at these positions, in this order."""
        return GroupedStream(self.X[rows], self.y[rows], self.A[rows], self.groups, self.features, self.name)

    def shuffled(self, seed: int) -> GroupedStream:
        """In the order that pandas' `sample(frac=1)` draws: seeds 0 to 9 are the ten shuffles of the official code."""
        number = PAPER_SHUFFLES[seed] if seed < len(PAPER_SHUFFLES) else 1_000 + seed
        # The legacy generator is what pandas' sample uses, and so the official shuffles.
        return self.take(np.random.RandomState(number).permutation(len(self)))

    def dicts(self) -> list[dict[str, float]]:
        """One mapping of features a row, as river's models take them."""
        return [dict(zip(self.features, row)) for row in self.X.tolist()]


def scaled(column: Array) -> Array:
    """Shifted and scaled to [0, 1]; zeros where all values are one."""
    low, high = column.min(), column.max()
    return (column - low) / (high - low) if high > low else np.zeros_like(column)


def encoded(df: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str], target: str, groups: pd.DataFrame,
            indicators: Sequence[str], name: str) -> GroupedStream:
    """A table as in the official code: numbers and target scaled to [0, 1], one column for every value of a category (none is
    dropped), and the indicators of those groups that the columns do not tell, so that a single learner sees the groups, too."""
    import pandas as pd

    columns = {c: scaled(df[c].to_numpy(dtype=np.float64)) for c in numeric}
    for c in categorical:
        codes, values = pd.factorize(df[c], sort=True)
        columns |= {f"{c}_{value}": (codes == i).astype(np.float64) for i, value in enumerate(values)}
    columns |= {g: groups[g].to_numpy(dtype=np.float64) for g in indicators}
    memberships = np.column_stack([groups.to_numpy(dtype=np.float64), np.ones(len(df))])
    return GroupedStream(np.column_stack(list(columns.values())), scaled(df[target].to_numpy(dtype=np.float64)), memberships,
                         (*map(str, groups.columns), ALWAYS_ON), tuple(columns), name)


__all__ = ["ALWAYS_ON", "PAPER_SHUFFLES", "AllOf", "Between", "Equals", "GroupedStream", "Predicate", "encoded", "intersections",
           "make_groups", "membership", "scaled"]
