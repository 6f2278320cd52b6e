"""Which groups are awake: from predicates on a mapping, from columns that hold 0 or 1, or from an array given beside the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from workingpapers.workloads.grouped import ALWAYS_ON, Predicate, membership

Awake = npt.NDArray[np.uint8]


class Groups:
    """Names of the groups and how to tell their members.

    Args:
        declared: name -> predicate on a row, or names of columns that hold 0 or 1 (which may also be given as an array at each call).
        always_on: whether everybody forms a last group of their own.

    Raises:
        TypeError: neither a mapping nor names.
        ValueError: a name twice; no group at all.
    """

    def __init__(self, declared: Mapping[str, Predicate] | Sequence[str], always_on: bool) -> None:
        if isinstance(declared, str) or not isinstance(declared, Mapping | Sequence):
            raise TypeError(f"groups is {declared!r}: a mapping of names to predicates, or a list of column names, is needed")
        names = list(declared)
        if twice := [n for n in names if names.count(n) > 1]:
            raise ValueError(f"groups: the name {twice[0]!r} stands twice")
        self.predicates: dict[str, Predicate] = dict(declared) if isinstance(declared, Mapping) else {}
        for name, predicate in self.predicates.items():
            if not callable(predicate):
                raise TypeError(f"groups: the predicate of {name!r} is {predicate!r}: a function of a row is needed")
        self.always_on = always_on
        self.names = [*names, *([ALWAYS_ON] if always_on and ALWAYS_ON not in names else [])]
        if not self.names:
            raise ValueError("groups is empty: name a group, or set always_on=True")
        self._fixed = {i for i, n in enumerate(self.names) if always_on and n == ALWAYS_ON}

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str, predicate: Predicate | None) -> None:
        """One more group, the last one from now on."""
        if name in self.names:
            raise ValueError(f"there is a group {name!r} already")
        self.names.append(name)
        if predicate is not None:
            self.predicates[name] = predicate

    # ------------------------------------------------------------ one row

    def of_row(self, x: Mapping[Any, Any], given: Iterable[str] | None = None) -> Awake:
        """Which groups are awake for one row, `(G,)`; `given` names them and nothing is asked."""
        out = np.zeros(len(self.names), dtype=np.uint8)
        if given is not None:
            wanted = {given} if isinstance(given, str) else set(given)
            if unknown := wanted - set(self.names):
                raise ValueError(f"groups: there is no group {sorted(map(str, unknown))[0]!r}; there are {', '.join(self.names)}")
            for i, name in enumerate(self.names):
                out[i] = name in wanted or i in self._fixed
            return out
        for i, name in enumerate(self.names):
            if i in self._fixed:
                out[i] = 1
            elif name in self.predicates:
                try:
                    out[i] = _binary(self.predicates[name](x), name)
                except KeyError as error:
                    raise ValueError(f"groups: the predicate of {name!r} asks for {error}, which the row lacks; it has "
                                     f"{', '.join(map(repr, list(x)[:20]))}") from error
            else:
                out[i] = _binary(x.get(name, 0), name)
        return out

    # ------------------------------------------------------------ many rows

    def of_rows(self, X: Any, given: Any = None) -> Awake:
        """Which groups are awake in each row, `(T, G)`."""
        if given is not None:
            return self._given(X, given)
        out = np.zeros((len(X), len(self.names)), dtype=np.uint8)
        table = X if hasattr(X, "columns") else None
        for i, name in enumerate(self.names):
            if i in self._fixed:
                out[:, i] = 1
            elif name in self.predicates:
                asked = table if table is not None else _table(X)
                try:
                    out[:, i] = membership(self.predicates[name], asked)
                except KeyError as error:
                    raise ValueError(f"groups: the predicate of {name!r} asks for {error}, which X lacks; its columns are "
                                     f"{', '.join(map(repr, asked.columns[:20]))}") from error
            elif table is not None and name in table.columns:
                out[:, i] = _binaries(table[name].to_numpy(), name)
            else:
                raise ValueError(f"groups: whether a row belongs to {name!r} cannot be told: give a table with that column, a predicate, "
                                 "or the memberships as an array")
        return out

    def _given(self, X: Any, given: Any) -> Awake:
        if hasattr(given, "columns") and set(self.names) - set(given.columns) <= {self.names[i] for i in self._fixed}:
            columns = [given[n].to_numpy() if n in given.columns else np.ones(len(given)) for n in self.names]
            values = np.column_stack(columns)
        else:
            values = np.asarray(given)
        declared = [n for i, n in enumerate(self.names) if i not in self._fixed]
        if values.ndim != 2 or values.shape[1] not in (len(declared), len(self.names)) or len(values) != len(X):
            raise ValueError(f"the memberships have the shape {values.shape}: {(len(X), len(declared))} is needed, a row each and a column "
                             f"for each of {', '.join(declared)}")
        if values.shape[1] < len(self.names):
            values = np.insert(values.astype(float), sorted(self._fixed)[0], 1.0, axis=1)
        return np.column_stack([_binaries(values[:, i], name) for i, name in enumerate(self.names)])


def _binary(value: Any, name: str) -> bool:
    if value is None or (value != 0 and value != 1):
        raise ValueError(f"membership of {name!r} is {value!r}: 0 or 1 is needed")
    return bool(value)


def _binaries(values: npt.NDArray[Any], name: str) -> Awake:
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"memberships of {name!r} are not numbers: 0 or 1 is needed") from None
    if not np.isin(numbers, (0.0, 1.0)).all():
        raise ValueError(f"memberships of {name!r} hold {numbers[~np.isin(numbers, (0.0, 1.0))][0]:g}: 0 or 1 is needed")
    return numbers.astype(np.uint8)


def _table(X: Any) -> Any:
    """A table whose columns are numbered, so that predicates can name columns of a plain array."""
    import pandas as pd

    return pd.DataFrame(np.asarray(X))


__all__ = ["Awake", "Groups"]
