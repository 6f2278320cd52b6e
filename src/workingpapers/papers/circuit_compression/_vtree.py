"""Binary trees over variables, in post-order arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Order = Literal["larger-first", "smaller-first", "left-first"]


@dataclass(frozen=True)
class Vtree:
    """A binary tree whose leaves are the variables 0 .. D - 1; children come before their parent, the root is last.

    Attributes:
        left, right: (2 D - 1,) children of each node, -1 at leaves.
        variable: (2 D - 1,) the variable of a leaf, -1 at inner nodes.

    Raises:
        ValueError: arrays that are no such tree.

    Example:
        >>> Vtree.from_nested(((0, 1), 2)).order("larger-first").tolist()
        [0, 1, 2]
    """

    left: Ints
    right: Ints
    variable: Ints

    def __post_init__(self) -> None:
        n = len(self.variable)
        is_leaf = self.variable >= 0
        ids = np.arange(n)
        inner = ~is_leaf
        children = np.concatenate([self.left[inner], self.right[inner]])
        if (
            not len(self.left) == len(self.right) == n
            or n != 2 * is_leaf.sum() - 1
            or sorted(self.variable[is_leaf].tolist()) != list(range(int(is_leaf.sum())))
            or (self.left[is_leaf] != -1).any()
            or (self.right[is_leaf] != -1).any()
            or (children < 0).any()
            or (np.maximum(self.left, self.right)[inner] >= ids[inner]).any()
            or len(np.unique(children)) != n - 1
        ):
            raise ValueError("left, right and variable are no binary tree over the variables with children before parents")

    @property
    def n_variables(self) -> int:
        return (len(self.variable) + 1) // 2

    @cached_property
    def parent(self) -> Ints:
        """(2 D - 1,), -1 at the root."""
        out = np.full(len(self.variable), -1, dtype=np.int64)
        inner = np.flatnonzero(self.variable < 0)
        out[self.left[inner]] = inner
        out[self.right[inner]] = inner
        return out

    @cached_property
    def size(self) -> Ints:
        """Variables below each node."""
        out = np.ones(len(self.variable), dtype=np.int64)
        for n in np.flatnonzero(self.variable < 0):
            out[n] = out[self.left[n]] + out[self.right[n]]
        return out

    def first_child(self, order: Order) -> Ints:
        """The child that each inner node visits first, -1 at leaves."""
        if order not in ("larger-first", "smaller-first", "left-first"):
            raise ValueError(f"order must be 'larger-first', 'smaller-first' or 'left-first', got {order!r}")
        if order == "left-first":
            return self.left
        is_left_larger = self.size[self.left] >= self.size[self.right]
        return np.where(is_left_larger == (order == "larger-first"), self.left, self.right)

    def visit(self, order: Order) -> Ints:
        """Nodes (2 D - 1,) of a depth-first walk, each before its children."""
        first = self.first_child(order)
        out, stack = [], [len(self.variable) - 1]
        while stack:
            n = stack.pop()
            out.append(n)
            if self.variable[n] < 0:
                second = self.left[n] + self.right[n] - first[n]
                stack += [int(second), int(first[n])]
        return np.array(out, dtype=np.int64)

    def order(self, order: Order = "larger-first") -> Ints:
        """Variables (D,) in the order of that walk."""
        found = self.variable[self.visit(order)]
        return found[found >= 0]

    # ------------------------------------------------------------ making

    @staticmethod
    def from_nested(pairs: object) -> Vtree:
        """From nested pairs of variables: `((0, 1), 2)`."""
        left: list[int] = []
        right: list[int] = []
        variable: list[int] = []
        done: list[int] = []
        stack: list[tuple[object, bool]] = [(pairs, False)]
        while stack:
            node, has_children = stack.pop()
            if isinstance(node, tuple) and len(node) == 2 and not has_children:
                stack += [(node, True), (node[1], False), (node[0], False)]
            elif isinstance(node, tuple) and len(node) == 2:
                right.append(done.pop())
                left.append(done.pop())
                variable.append(-1)
                done.append(len(variable) - 1)
            elif isinstance(node, int | np.integer):
                left.append(-1)
                right.append(-1)
                variable.append(int(node))
                done.append(len(variable) - 1)
            else:
                raise ValueError(f"pairs must nest pairs of variables, got {node!r}")
        return Vtree(np.array(left), np.array(right), np.array(variable))

    @staticmethod
    def balanced(d: int) -> Vtree:
        """Halves of 0 .. d - 1, again and again."""

        def split(lo: int, hi: int) -> object:
            return lo if hi - lo == 1 else (split(lo, (lo + hi) // 2), split((lo + hi) // 2, hi))

        if d < 1:
            raise ValueError(f"d must be 1 or more, got {d}")
        return Vtree.from_nested(split(0, d))

    @staticmethod
    def chain(d: int) -> Vtree:
        """((0, 1), 2), ... : one variable beside all those before."""
        if d < 1:
            raise ValueError(f"d must be 1 or more, got {d}")
        nested: object = 0
        for v in range(1, d):
            nested = (nested, v)
        return Vtree.from_nested(nested)

    @staticmethod
    def two_chains(d: int) -> Vtree:
        """A chain over the first half beside a chain over the second: the case in which only evaluating what changed costs D^2."""
        if d < 2:
            raise ValueError(f"d must be 2 or more, got {d}")
        halves: list[object] = []
        for lo, hi in ((0, d // 2), (d // 2, d)):
            nested: object = lo
            for v in range(lo + 1, hi):
                nested = (nested, v)
            halves.append(nested)
        return Vtree.from_nested((halves[0], halves[1]))

    @staticmethod
    def random(d: int, rng: np.random.Generator) -> Vtree:
        """Random halves, as in RAT-SPNs."""

        def split(variables: Ints) -> object:
            if len(variables) == 1:
                return int(variables[0])
            middle = len(variables) // 2
            return split(variables[:middle]), split(variables[middle:])

        if d < 1:
            raise ValueError(f"d must be 1 or more, got {d}")
        return Vtree.from_nested(split(rng.permutation(d)))
