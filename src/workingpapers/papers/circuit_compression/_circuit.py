"""Any smooth, structured-decomposable circuit: sums, products and leaves along a vtree, and all its conditionals in one sweep."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from . import _sweeps
from ._vtree import Order, Vtree

if TYPE_CHECKING:
    from ._hclt import HCLT

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Algorithm = Literal["changed-only", "carried-beliefs", "whole-passes"]
_compiled: Any = _sweeps


@dataclass(frozen=True)
class Conditionals:
    """What an entropy coder asks of a circuit.

    Attributes:
        order: (D,) variables as they come.
        lower, point: (N, D) by variable: P(X_v < x_v | before) and P(X_v = x_v | before).
        touched: (N,) elements and leaf units evaluated for each row. The plain way touches D |p|.
    """

    order: Ints
    lower: Floats
    point: Floats
    touched: Ints


@dataclass(frozen=True, eq=False)
class Circuit:
    """A probabilistic circuit along a vtree.

    A unit at a leaf of the vtree is a distribution of that variable. A unit at an inner node is a sum over elements; an element is
    a weight times a unit of the left child times a unit of the right child. The circuit is a mixture of the top node's units.

    Attributes:
        vtree: which variables meet where.
        units: (nodes + 1,) units of node n are units[n] : units[n + 1].
        elements: (units + 1,) elements of unit u are elements[u] : elements[u + 1]; none for leaf units.
        left, right: (E,) units that an element multiplies. weight: (E,).
        at: (units,) where a leaf unit's distribution begins in `leaf`. leaf: the distributions, one after another.
        sizes: (D,) number of values of each variable.
        root: weights of the top node's units.

    `size` = elements + leaf units is the paper's |p|. Source: section on structured-decomposable circuits, algorithm 1.

    Example:
        >>> circuit = Circuit.random(Vtree.balanced(4), n_units=2, n_categories=3, random_state=0)
        >>> circuit.check()
        >>> found = circuit.ordered_conditionals(np.array([[0, 2, 1, 1]]))
        >>> bool(np.isclose(np.log(found.point).sum(), circuit.log_prob(np.array([[0, 2, 1, 1]]))[0]))
        True
    """

    vtree: Vtree
    units: Ints
    elements: Ints
    left: Ints
    right: Ints
    weight: Floats
    at: Ints
    leaf: Floats
    sizes: Ints
    root: Floats

    @property
    def size(self) -> int:
        """Elements and leaf units: |p|."""
        is_leaf = self.vtree.variable >= 0
        return len(self.weight) + int(np.diff(self.units)[is_leaf].sum())

    # ------------------------------------------------------------ asking

    def log_prob(self, X: Array, mask: Array | None = None) -> Floats:
        """ln P of each row (N,), summed over the values where `mask` (N, D) is false."""
        x = self._rows(X)
        if mask is not None:
            if np.shape(mask) != x.shape or np.asarray(mask).dtype != np.bool_:
                raise ValueError(f"mask must be an array of truth values in the shape of X {x.shape}")
            x = np.where(mask, x, -1)
        out = np.empty(len(x))
        _compiled.likelihoods(x, *self._tables, self.leaf, self.root, out)
        return out

    def ordered_conditionals(self, X: Array, order: Order = "larger-first", algorithm: Algorithm = "changed-only") -> Conditionals:
        """P(X_v < x_v | before) and P(X_v = x_v | before) of all variables, in the order of the vtree.

        Args:
            X: (N, D) integers, all there.
            order: of the two children of a node. The cost of `changed-only` depends on it, the numbers only through what came before.
            algorithm: `changed-only` is the paper's: evaluate the units that speak of the new variable, up to the node that covers
                all seen, and weight those by their prior chance. Within (1 + log2 D) |p| for chains and balanced vtrees; between
                two chains it takes D / 4 times |p|. `carried-beliefs` (ours) weights each node by its units' chance given all that
                was seen, at most 3 |p| for any vtree. `whole-passes` is the plain way, D |p|.
        """
        x = self._rows(X)
        if (x < 0).any():
            raise ValueError("X has missing values: conditionals need them all")
        v = self.vtree
        visited = v.order(order)
        lower, point, touched = np.empty(x.shape), np.empty(x.shape), np.empty(len(x), dtype=np.int64)
        tables = self._tables
        covers, program, first = self._covers(order), self._program(order), v.first_child(order)
        for i, row in enumerate(x):
            if algorithm == "changed-only":
                touched[i] = _compiled.changed_only(row, visited, self._leaf_of, covers, tables[0], v.parent, *tables[1:], self.leaf,
                                                    self.below, self.chances, lower[i], point[i])
            elif algorithm == "carried-beliefs":
                touched[i] = _compiled.carried_beliefs(row, program, tables[0], first, *tables[1:], self.leaf, self.below, self.root,
                                                       lower[i], point[i])
            elif algorithm == "whole-passes":
                touched[i] = _compiled.whole_passes(row, visited, *tables, self.leaf, self.below, self.root, lower[i], point[i])
            else:
                raise ValueError(f"algorithm must be 'changed-only', 'carried-beliefs' or 'whole-passes', got {algorithm!r}")
        return Conditionals(visited, lower, point, touched)

    def em_step(self, X: Array, smoothing: float = 0.0) -> tuple[Circuit, float]:
        """A circuit with tables from one step of EM on circuit flows over all rows, and the mean ln P before it.

        Args:
            X: (N, D), all values there. smoothing: pseudo-count of each weight and leaf value.
        """
        x = self._rows(X)
        if len(x) == 0 or (x < 0).any():
            raise ValueError("X must have at least one row and no missing values")
        if not smoothing >= 0:
            raise ValueError(f"smoothing must be 0 or more, got {smoothing}")
        elements, leaf, root = np.zeros(len(self.weight)), np.zeros(len(self.leaf)), np.zeros(len(self.root))
        total = _compiled.flows(x, *self._tables, self.leaf, self.root, elements, leaf, root)
        starts = self.elements[:-1][np.diff(self.elements) > 0]
        weight = _shares(elements + smoothing, starts, self.weight) if len(elements) else self.weight
        leaf_starts = np.sort(self.at[self.at >= 0])
        return replace(self, weight=weight, leaf=_shares(leaf + smoothing, leaf_starts, self.leaf), root=root / root.sum()), total / len(x)

    def check(self) -> None:
        """Raise where the circuit is not smooth, decomposable along its vtree and normalised.

        Raises:
            ValueError: the first thing found.
        """
        v = self.vtree
        if len(self.units) != len(v.variable) + 1 or self.units[0] != 0 or (np.diff(self.units) < 1).any():
            raise ValueError("units does not give every node of the vtree one unit or more")
        node_of = np.repeat(np.arange(len(v.variable)), np.diff(self.units))
        if len(self.elements) != len(node_of) + 1 or self.elements[-1] != len(self.weight) or (np.diff(self.elements) < 0).any():
            raise ValueError("elements does not lead into left, right and weight")
        is_leaf = v.variable[node_of] >= 0
        if (np.diff(self.elements)[is_leaf] > 0).any() or (np.diff(self.elements)[~is_leaf] < 1).any():
            raise ValueError("a leaf unit has elements, or an inner unit has none")
        owner = np.repeat(node_of, np.diff(self.elements))
        if (node_of[self.left] != v.left[owner]).any() or (node_of[self.right] != v.right[owner]).any():
            raise ValueError("an element does not multiply a unit of the left child with one of the right: not structured-decomposable")
        if not (np.isfinite(self.weight).all() and (self.weight >= 0).all() and (self.leaf >= 0).all()):
            raise ValueError("weights and leaves must be finite and not negative")
        if len(self.weight):
            starts = self.elements[:-1][np.diff(self.elements) > 0]
            if np.abs(np.add.reduceat(self.weight, starts) - 1).max() > 1e-6:
                raise ValueError("the weights of a unit do not sum to 1")
        for u in np.flatnonzero(is_leaf):
            row = self.leaf[self.at[u] : self.at[u] + self.sizes[v.variable[node_of[u]]]]
            if abs(row.sum() - 1) > 1e-6:
                raise ValueError("a leaf does not sum to 1")
        if len(self.root) != self.units[-1] - self.units[-2] or abs(self.root.sum() - 1) > 1e-6:
            raise ValueError("the weights of the top node do not sum to 1")

    # ------------------------------------------------------------ making

    @staticmethod
    def random(vtree: Vtree, n_units: int = 4, n_categories: int | Array = 2, random_state: int | None = None) -> Circuit:
        """Every unit a sum over all pairs of units of its children, random weights: a RAT-SPN on one vtree."""
        if n_units < 1:
            raise ValueError(f"n_units must be 1 or more, got {n_units}")
        rng = np.random.default_rng(random_state)
        d, m = vtree.n_variables, n_units
        sizes = np.broadcast_to(np.asarray(n_categories, dtype=np.int64), (d,)).copy()
        if sizes.min() < 1:
            raise ValueError("n_categories must be 1 or more")
        make = Maker(vtree, sizes)
        for n, v in enumerate(vtree.variable):
            if v >= 0:
                make.leaf(rng.dirichlet(np.ones(sizes[v]), size=m))
            else:
                i, j = np.divmod(np.arange(m * m), m)
                make.inner(n, np.tile(i, (m, 1)), np.tile(j, (m, 1)), rng.dirichlet(np.ones(m * m), size=m))
        return make.done(rng.dirichlet(np.ones(m)))

    @staticmethod
    def from_hclt(model: HCLT) -> Circuit:
        """The circuit of a fitted HCLT of one tree: M units a node, one element for each pair of states.

        A node's own variable is its leftmost child, so that the order `left-first` is the filter's order of visit.
        """
        if len(model.trees_) != 1:
            raise ValueError(f"model has {len(model.trees_)} trees: only one tree has one vtree")
        from ._structure import preorder

        tree = model.trees_[0]
        edge, leaf = tree.transition.astype(np.float64), tree.leaf.astype(np.float64)
        return from_tree(tree.parents, preorder(tree.parents), tree.sizes, edge, leaf)

    @staticmethod
    def from_spflow(root: Any) -> Circuit:
        """From a module of SPFlow 1.1: sums, products and cats over categorical or Bernoulli leaves, one repetition.

        Raises:
            ValueError: no vtree fits all its products (not structured-decomposable), or a module of another kind.
        """
        from ._spflow import convert

        return convert(root)

    # ------------------------------------------------------------ helpers

    @cached_property
    def _tables(self) -> tuple[Array, ...]:
        v = self.vtree
        nodes = np.stack([v.left, v.right], axis=1)
        return nodes, v.variable, self.units, self.elements, self.left, self.right, self.weight, self.at

    @cached_property
    def below(self) -> Floats:
        """Mass below each value of each leaf unit, laid out as `leaf`."""
        out = np.empty_like(self.leaf)
        node_of = np.repeat(np.arange(len(self.vtree.variable)), np.diff(self.units))
        for u in np.flatnonzero(self.at >= 0):
            k = self.sizes[self.vtree.variable[node_of[u]]]
            row = self.leaf[self.at[u] : self.at[u] + k]
            out[self.at[u] : self.at[u] + k] = np.concatenate([[0.0], np.cumsum(row)[:-1]])
        return out

    @cached_property
    def chances(self) -> Floats:
        """Prior chance to reach each unit from the root, everything summed out: (units,)."""
        out = np.zeros(int(self.units[-1]))
        out[self.units[-2] :] = self.root
        for n in np.flatnonzero(self.vtree.variable < 0)[::-1]:
            first, last = self.units[n], self.units[n + 1]
            inside = slice(int(self.elements[first]), int(self.elements[last]))
            part = np.repeat(out[first:last], np.diff(self.elements[first : last + 1])) * self.weight[inside]
            np.add.at(out, self.left[inside], part)
            np.add.at(out, self.right[inside], part)
        return out

    @cached_property
    def _leaf_of(self) -> Ints:
        out = np.empty(self.vtree.n_variables, dtype=np.int64)
        is_leaf = self.vtree.variable >= 0
        out[self.vtree.variable[is_leaf]] = np.flatnonzero(is_leaf)
        return out

    def _covers(self, order: Order) -> Ints:
        """For each step the smallest node that covers all variables seen so far."""
        n = int(self._leaf_of[self.vtree.order(order)[0]])
        out = np.empty(self.vtree.n_variables, dtype=np.int64)
        for step in range(len(out)):
            while self.vtree.size[n] <= step:
                n = int(self.vtree.parent[n])
            out[step] = n
        return out

    def _program(self, order: Order) -> Ints:
        v, first = self.vtree, self.vtree.first_child(order)
        out: list[tuple[int, int]] = []
        stack = [(0, len(v.variable) - 1)]
        while stack:
            what, n = stack.pop()
            if what == 0 and v.variable[n] >= 0:
                out.append((1, n))
            elif what == 0:
                second = int(v.left[n] + v.right[n] - first[n])
                out.append((0, n))
                stack += [(3, n), (0, second), (2, n), (0, int(first[n]))]
            else:
                out.append((what, n))
        return np.array(out, dtype=np.int64)

    def _rows(self, X: Array) -> Ints:
        x = np.asarray(X)
        if x.ndim != 2 or x.shape[1] != self.vtree.n_variables or x.dtype.kind not in "iub":
            raise ValueError(f"X must have the shape (N, {self.vtree.n_variables}) and hold integers, got {x.dtype} {x.shape}")
        if (x >= self.sizes).any():
            raise ValueError("X holds values of K or more")
        return np.maximum(x.astype(np.int64), -1)


class Maker:
    """Collects units node by node, in the order of the vtree."""

    def __init__(self, vtree: Vtree, sizes: Ints) -> None:
        self.vtree, self.sizes = vtree, sizes
        self.units, self.elements = [0], [0]
        self.at: list[int] = []
        self.left: list[Array] = []
        self.right: list[Array] = []
        self.weight: list[Array] = []
        self.leaves: list[Array] = []
        self.n_leaf = 0

    def leaf(self, rows: Array) -> None:
        """Units (m, K) of the next node, a leaf."""
        for row in rows:
            self.at.append(self.n_leaf)
            self.leaves.append(row)
            self.n_leaf += len(row)
            self.elements.append(self.elements[-1])
        self.units.append(self.units[-1] + len(rows))

    def inner(self, n: int, i: Any, j: Any, weight: Any) -> None:
        """Units of node n: for each a row of elements, with places i and j among the children's units."""
        for a, b, w in zip(i, j, weight, strict=True):
            self.left.append(np.asarray(a) + self.units[self.vtree.left[n]])
            self.right.append(np.asarray(b) + self.units[self.vtree.right[n]])
            self.weight.append(np.asarray(w, dtype=np.float64))
            self.at.append(-1)
            self.elements.append(self.elements[-1] + len(a))
        self.units.append(self.units[-1] + len(i))

    def done(self, root: Array) -> Circuit:
        def joined(parts: list[Array], kind: Any) -> Array:
            return np.concatenate(parts).astype(kind) if parts else np.zeros(0, dtype=kind)

        return Circuit(self.vtree, np.array(self.units), np.array(self.elements), joined(self.left, np.int64), joined(self.right, np.int64),
                       joined(self.weight, np.float64), np.array(self.at), joined(self.leaves, np.float64), self.sizes,
                       np.asarray(root, dtype=np.float64))


def _shares(counts: Floats, starts: Ints, old: Floats) -> Floats:
    """Counts over the sum of their part; parts without any count keep what they had."""
    sums = np.repeat(np.add.reduceat(counts, starts), np.diff(np.append(starts, len(counts))))
    return np.where(sums > 0, counts / np.where(sums > 0, sums, 1.0), old)


def from_tree(parents: Ints, visited: Ints, sizes: Ints, transition: Floats, leaf: Floats) -> Circuit:
    """Node v is joined with its subtrees one by one, left to right in the order of visit; trees of a forest likewise."""
    d, m = len(parents), leaf.shape[1]
    rows = np.concatenate([[0], np.cumsum(sizes)])
    place = np.empty(d, dtype=np.int64)
    place[visited] = np.arange(d)
    children: list[list[int]] = [[] for _ in range(d)]
    roots = [int(v) for v in visited if parents[v] < 0]
    for v in visited:
        if parents[v] >= 0:
            children[parents[v]].append(int(v))
    left: list[int] = []
    right: list[int] = []
    variable: list[int] = []
    joins: dict[int, tuple[str, int]] = {}
    top: dict[int, int] = {}

    def node(a: int, b: int, v: int) -> int:
        left.append(a)
        right.append(b)
        variable.append(v)
        return len(variable) - 1

    # Post-order without recursion: a variable's own leaf, then its subtrees, each joined as soon as it is complete.
    for root in roots:
        stack = [(root, -1)]
        while stack:
            v, child = stack.pop()
            if child < 0:
                top[v] = node(-1, -1, v)
            else:
                done = children[v][child]
                top[v] = node(top[v], top[done], -1)
                joins[top[v]] = ("child", done)
            if child + 1 < len(children[v]):
                stack += [(v, child + 1), (children[v][child + 1], -1)]
        if root != roots[0]:
            top[roots[0]] = node(top[roots[0]], top[root], -1)
            joins[top[roots[0]]] = ("root", root)
    vtree = Vtree(np.array(left), np.array(right), np.array(variable))
    make = Maker(vtree, sizes)
    states = np.arange(m)
    is_single = False
    for n, v in enumerate(variable):
        if v >= 0:
            make.leaf(leaf[rows[v] : rows[v + 1]].T)
            continue
        kind, u = joins[n]
        if kind == "child":
            make.inner(n, np.repeat(states[:, None], m, axis=1), np.tile(states, (m, 1)), transition[u])
        elif not is_single:
            i, j = np.divmod(np.arange(m * m), m)
            make.inner(n, i[None], j[None], np.outer(transition[roots[0], 0], transition[u, 0]).reshape(1, -1))
            is_single = True
        else:
            make.inner(n, np.zeros((1, m), dtype=np.int64), states[None], transition[u, :1])
    return make.done(np.ones(1) if is_single else transition[roots[0], 0])
