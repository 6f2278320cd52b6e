"""From SPFlow's modules to a circuit along a vtree.

SPFlow (1.1) keeps layers: a module has features (variables or groups of them) times channels (units). Each channel of each feature becomes
a node of a plain graph of leaves, products and sums; products then say which variables meet, which must fit one vtree.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as pairs
from typing import Any

import numpy as np
import numpy.typing as npt

from ._circuit import Circuit, Maker
from ._vtree import Vtree

Array = npt.NDArray[Any]
Scope = tuple[int, ...]
Elements = dict[tuple[int, int], float]


@dataclass(frozen=True, eq=False)
class Node:
    """A leaf (`table`), a product (`children`) or a sum (`children` with `weights`)."""

    scope: Scope
    table: Array | None = None
    children: tuple[Node, ...] = ()
    weights: Array | None = None


def convert(root: Any) -> Circuit:
    """A circuit with the distribution of an SPFlow module with one feature; several channels are mixed evenly.

    Raises:
        ValueError: repetitions, leaves that are not categorical, or products that fit no vtree.
    """
    features = _nodes(root, {})
    if len(features) != 1:
        raise ValueError(f"root has {len(features)} features: one is needed, a product or sum over all variables")
    return from_nodes(features[0])


def from_nodes(tops: list[Node]) -> Circuit:
    """A circuit that mixes nodes over the same variables evenly."""
    scope = tops[0].scope
    if scope != tuple(range(len(scope))):
        raise ValueError(f"the variables must be 0 .. D - 1, got {scope[:8]}")
    splits: dict[Scope, tuple[Scope, Scope]] = {}
    seen: set[int] = set()
    todo = list(tops)
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        todo += node.children
        if node.table is None and node.weights is None:
            _note(splits, [child.scope for child in node.children])
    vtree = Vtree.from_nested(_nested(scope, splits))
    return _built(tops, vtree)


def _note(splits: dict[Scope, tuple[Scope, Scope]], parts: list[Scope]) -> None:
    """Remember how a product divides its variables; more than two parts are joined from the left, smallest variable first."""
    parts = sorted(parts)
    left = parts[0]
    for right in parts[1:]:
        both = tuple(sorted(left + right))
        if splits.setdefault(both, (left, right)) != (left, right):
            raise ValueError(f"products divide the variables {both[:8]} in two ways: no vtree fits (not structured-decomposable)")
        left = both


def _nested(scope: Scope, splits: dict[Scope, tuple[Scope, Scope]]) -> object:
    if len(scope) == 1:
        return scope[0]
    if scope not in splits:
        raise ValueError(f"no product divides the variables {scope[:8]}")
    left, right = splits[scope]
    return _nested(left, splits), _nested(right, splits)


def _built(tops: list[Node], vtree: Vtree) -> Circuit:
    scopes: list[Scope] = []
    for n, v in enumerate(vtree.variable):
        scopes.append((int(v),) if v >= 0 else tuple(sorted(scopes[vtree.left[n]] + scopes[vtree.right[n]])))
    place = {scope: n for n, scope in enumerate(scopes)}
    held: list[list[Any]] = [[] for _ in scopes]  # tables at leaves, elements at inner nodes
    unit: dict[Any, int] = {}

    def add(key: Any, scope: Scope, what: Any) -> int:
        """Number of a unit among those of its node; the same key gives the same unit."""
        if key not in unit:
            unit[key] = len(held[place[scope]])
            held[place[scope]].append(what)
        return unit[key]

    def of(node: Node) -> int:
        return add(id(node), node.scope, table(node) if len(node.scope) == 1 else elements(node))

    def table(node: Node) -> Array:
        if node.table is not None:
            return node.table
        parts = [table(child) for child in node.children]
        return np.asarray(parts[0] if node.weights is None else sum(w * p for w, p in zip(node.weights, parts)))

    def elements(node: Node) -> Elements:
        if node.weights is not None:
            out: Elements = {}
            for weight, child in zip(node.weights, node.children):
                for pair, w in elements(child).items():
                    out[pair] = out.get(pair, 0.0) + float(weight) * w
            return out
        ordered = sorted(node.children, key=lambda child: child.scope)
        if len(ordered) == 1:
            return elements(ordered[0])
        left, scope = of(ordered[0]), ordered[0].scope
        for i, right in enumerate(ordered[1:], 1):
            both = (left, of(right))
            scope = tuple(sorted(scope + right.scope))
            if i == len(ordered) - 1:
                return {both: 1.0}
            left = add((scope, both), scope, {both: 1.0})
        raise AssertionError("a product has at least one child")

    top_units = [of(node) for node in tops]
    sizes = np.array([len(held[place[v,]][0]) for v in range(vtree.n_variables)])
    make = Maker(vtree, sizes)
    for n, v in enumerate(vtree.variable):
        if v >= 0:
            if any(len(row) != sizes[v] for row in held[n]):
                raise ValueError(f"leaves of variable {v} have different numbers of values")
            make.leaf(np.array(held[n]))
        else:
            make.inner(n, [[i for i, _ in e] for e in held[n]], [[j for _, j in e] for e in held[n]], [list(e.values()) for e in held[n]])
    root = np.zeros(len(held[-1]))
    for u in top_units:
        root[u] += 1 / len(top_units)
    return make.done(root)


# ---------------------------------------------------------------- SPFlow's modules, by the names of their classes


def _nodes(module: Any, done: dict[int, list[list[Node]]]) -> list[list[Node]]:
    """Nodes of a module: for each feature its channels."""
    if id(module) not in done:
        if int(module.out_shape.repetitions) != 1:
            raise ValueError(f"{type(module).__name__} has {module.out_shape.repetitions} repetitions: 1 is supported")
        kind = type(module).__name__
        if kind not in _KINDS:
            raise ValueError(f"a {kind} is not supported: {', '.join(_KINDS)} are")
        done[id(module)] = _KINDS[kind](module, done)
    return done[id(module)]


def _of_tensor(t: Any) -> Array:
    return np.asarray(t.detach().double().cpu().numpy())


def _categorical(module: Any, done: Any) -> list[list[Node]]:
    probs = _of_tensor(module.probs)  # (features, channels, repetitions, K)
    variables = [int(v) for v in module.scope.query]
    return [[Node((v,), probs[f, c, 0]) for c in range(probs.shape[1])] for f, v in enumerate(variables)]


def _bernoulli(module: Any, done: Any) -> list[list[Node]]:
    probs = _of_tensor(module.probs)
    variables = [int(v) for v in module.scope.query]
    return [[Node((v,), np.array([1 - p, p])) for p in probs[f, :, 0]] for f, v in enumerate(variables)]


def _cat(module: Any, done: Any) -> list[list[Node]]:
    parts = [_nodes(m, done) for m in module.inputs]
    if module.dim == 1:
        return [feature for part in parts for feature in part]
    return [[node for part in parts for node in part[f]] for f in range(len(parts[0]))]


def _product(module: Any, done: Any) -> list[list[Node]]:
    features = _nodes(module.inputs, done)
    return [[_times([f[c] for f in features]) for c in range(len(features[0]))]]


def _outer(module: Any, done: Any) -> list[list[Node]]:
    parts = [_nodes(m, done) for m in module.inputs]
    if len(parts) < 2:
        raise ValueError("an OuterProduct over splits of one module is not supported: give it a list of modules")
    return [[_times(list(some)) for some in pairs(*[part[f] for part in parts])] for f in range(len(parts[0]))]


def _elementwise(module: Any, done: Any) -> list[list[Node]]:
    parts = [_nodes(m, done) for m in module.inputs]
    if len(parts) < 2:
        raise ValueError("an ElementwiseProduct over splits of one module is not supported: give it a list of modules")
    width = max(len(part[0]) for part in parts)
    return [[_times([part[f][c if len(part[f]) > 1 else 0] for part in parts]) for c in range(width)] for f in range(len(parts[0]))]


def _sum(module: Any, done: Any) -> list[list[Node]]:
    features, weights = _nodes(module.inputs, done), _of_tensor(module.weights)  # (features, in, out, repetitions)
    return [[Node(f[0].scope, None, tuple(f), weights[i, :, c, 0]) for c in range(weights.shape[2])] for i, f in enumerate(features)]


def _times(children: list[Node]) -> Node:
    return Node(tuple(sorted(v for child in children for v in child.scope)), None, tuple(children))


_KINDS = {"Categorical": _categorical, "Bernoulli": _bernoulli, "Cat": _cat, "Product": _product, "OuterProduct": _outer,
          "ElementwiseProduct": _elementwise, "Sum": _sum}
