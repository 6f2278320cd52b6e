"""Compiled passes over a circuit: likelihood, flows, and conditionals in three ways.

Units of vtree node n are `units[n] : units[n + 1]`; elements of unit u are `elements[u] : elements[u + 1]` with `left`, `right` (units) and
`weight`. Leaf unit u has its distribution at `leaf[at[u] + x]`, and the mass below x at `below[at[u] + x]`.

Values of a node are kept with their largest set to 1 and its logarithm apart, so that thousands of variables do not underflow.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_jit = numba.njit(cache=True, nogil=True)


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _rescale(value: Array, scale: Array, n: int, first: int, last: int) -> None:
    """Divide a node's values by their largest and add its logarithm to the node's scale."""
    largest = 0.0
    for u in range(first, last):
        largest = max(largest, value[u])
    if largest > 0.0:
        for u in range(first, last):
            value[u] /= largest
        scale[n] += np.log(largest)
    else:
        scale[n] = -np.inf


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _evaluate(n: int, nodes: Array, variable: Array, units: Array, elements: Array, left: Array, right: Array, weight: Array, at: Array,
              table: Array, x: Array, value: Array, scale: Array) -> int:
    """Values of the units of node n from those of its children, or of the table at x (1 where x < 0). Returns elements touched."""
    v = variable[n]
    if v >= 0:
        for u in range(units[n], units[n + 1]):
            value[u] = table[at[u] + x[v]] if x[v] >= 0 else 1.0
        scale[n] = 0.0
        _rescale(value, scale, n, units[n], units[n + 1])
        return int(units[n + 1] - units[n])
    for u in range(units[n], units[n + 1]):
        s = 0.0
        for e in range(elements[u], elements[u + 1]):
            s += weight[e] * value[left[e]] * value[right[e]]
        value[u] = s
    scale[n] = scale[nodes[n, 0]] + scale[nodes[n, 1]]
    _rescale(value, scale, n, units[n], units[n + 1])
    return int(elements[units[n + 1]] - elements[units[n]])


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def likelihoods(xs: Array, nodes: Array, variable: Array, units: Array, elements: Array, left: Array, right: Array, weight: Array,
                at: Array, leaf: Array, root: Array, out: Array) -> None:
    """ln P of each row of xs (N, D); values below 0 are summed out."""
    n_nodes = len(variable)
    value, scale = np.empty(units[n_nodes]), np.empty(n_nodes)
    for i in range(len(xs)):
        for n in range(n_nodes):
            _evaluate(n, nodes, variable, units, elements, left, right, weight, at, leaf, xs[i], value, scale)
        s = 0.0
        for j in range(len(root)):
            s += root[j] * value[units[n_nodes - 1] + j]
        out[i] = np.log(s) + scale[n_nodes - 1]


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def flows(xs: Array, nodes: Array, variable: Array, units: Array, elements: Array, left: Array, right: Array, weight: Array, at: Array,
          leaf: Array, root: Array, element_flow: Array, leaf_flow: Array, root_flow: Array) -> float:
    """Add the flow through every element, leaf value and root weight under each row; the sum of ln P. All values must be there."""
    n_nodes = len(variable)
    value, scale, flow = np.empty(units[n_nodes]), np.empty(n_nodes), np.empty(units[n_nodes])
    total = 0.0
    for i in range(len(xs)):
        for n in range(n_nodes):
            _evaluate(n, nodes, variable, units, elements, left, right, weight, at, leaf, xs[i], value, scale)
        flow[:] = 0.0
        top = units[n_nodes - 1]
        s = 0.0
        for j in range(len(root)):
            s += root[j] * value[top + j]
        total += np.log(s) + scale[n_nodes - 1]
        for j in range(len(root)):
            flow[top + j] = root[j] * value[top + j] / s
            root_flow[j] += flow[top + j]
        for n in range(n_nodes - 1, -1, -1):
            v = variable[n]
            for u in range(units[n], units[n + 1]):
                if flow[u] == 0.0:
                    continue
                if v >= 0:
                    leaf_flow[at[u] + xs[i, v]] += flow[u]
                    continue
                s = 0.0
                for e in range(elements[u], elements[u + 1]):
                    s += weight[e] * value[left[e]] * value[right[e]]
                for e in range(elements[u], elements[u + 1]):
                    part = flow[u] * weight[e] * value[left[e]] * value[right[e]] / s
                    element_flow[e] += part
                    flow[left[e]] += part
                    flow[right[e]] += part
    return total


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _weighted(chance: Array, value: Array, first: int, last: int) -> float:
    s = 0.0
    for u in range(first, last):
        s += chance[u] * value[u]
    return s


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def changed_only(x: Array, order: Array, leaf_of: Array, covers: Array, nodes: Array, parent: Array, variable: Array, units: Array,
                 elements: Array, left: Array, right: Array, weight: Array, at: Array, leaf: Array, below: Array, chance: Array,
                 lower: Array, point: Array) -> int:
    """The paper's algorithm for one row: per variable, only units that speak of it, up to the node that covers all seen.

    Args:
        covers: (D,) that node for each step. chance: (units,) prior chance to reach each unit from the root.
        lower, point: (D,) by variable, written: P(X < x | before) and P(X = x | before).

    Returns:
        elements and leaf units touched.
    """
    n_nodes = len(variable)
    value, scale = np.ones(units[n_nodes]), np.zeros(n_nodes)
    other, other_scale = np.ones(units[n_nodes]), np.zeros(n_nodes)  # with `below` in place of the new value, on the path only
    before = 0.0
    touched = 0
    for step in range(len(order)):
        v = order[step]
        n = leaf_of[v]
        top = covers[step]
        touched += _evaluate(n, nodes, variable, units, elements, left, right, weight, at, leaf, x, value, scale)
        _evaluate(n, nodes, variable, units, elements, left, right, weight, at, below, x, other, other_scale)
        while n != top:
            came = n
            n = parent[n]
            touched += _evaluate(n, nodes, variable, units, elements, left, right, weight, at, leaf, x, value, scale)
            is_left = nodes[n, 0] == came
            beside = nodes[n, 1] if is_left else nodes[n, 0]
            for u in range(units[n], units[n + 1]):
                s = 0.0
                for e in range(elements[u], elements[u + 1]):
                    if is_left:
                        s += weight[e] * other[left[e]] * value[right[e]]
                    else:
                        s += weight[e] * value[left[e]] * other[right[e]]
                other[u] = s
            other_scale[n] = other_scale[came] + scale[beside]
            _rescale(other, other_scale, n, units[n], units[n + 1])
        now = np.log(_weighted(chance, value, units[n], units[n + 1])) + scale[n]
        least = _weighted(chance, other, units[n], units[n + 1])
        point[v] = np.exp(now - before)
        lower[v] = np.exp(np.log(least) + other_scale[n] - before) if least > 0.0 and other_scale[n] > -np.inf else 0.0
        before = now
    return touched


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def whole_passes(x: Array, order: Array, nodes: Array, variable: Array, units: Array, elements: Array, left: Array, right: Array,
                 weight: Array, at: Array, leaf: Array, below: Array, root: Array, lower: Array, point: Array) -> int:
    """The plain way for one row: two passes over the whole circuit for each variable (counted once, as in `changed_only`)."""
    n_nodes = len(variable)
    value, scale = np.empty(units[n_nodes]), np.empty(n_nodes)
    seen = np.full(len(order), -1, dtype=np.int64)
    before = 0.0
    touched = 0
    first = units[n_nodes - 1]
    for step in range(len(order)):
        v = order[step]
        seen[v] = x[v]
        for n in range(n_nodes):
            table = below if variable[n] == v else leaf
            _evaluate(n, nodes, variable, units, elements, left, right, weight, at, table, seen, value, scale)
        least = _weighted(root, value[first:], 0, len(root))
        least_scale = scale[n_nodes - 1]
        for n in range(n_nodes):
            touched += _evaluate(n, nodes, variable, units, elements, left, right, weight, at, leaf, seen, value, scale)
        now = np.log(_weighted(root, value[first:], 0, len(root))) + scale[n_nodes - 1]
        point[v] = np.exp(now - before)
        lower[v] = np.exp(np.log(least) + least_scale - before) if least > 0.0 and least_scale > -np.inf else 0.0
        before = now
    return touched


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def carried_beliefs(x: Array, program: Array, nodes: Array, first_child: Array, variable: Array, units: Array, elements: Array, left: Array,
                    right: Array, weight: Array, at: Array, leaf: Array, below: Array, root: Array, lower: Array, point: Array) -> int:
    """One sweep for one row: each node gets its units' chances *given all that was seen*, so that nothing is evaluated twice.

    The program (steps, 2) holds operations on nodes: 0 chances of the first child, 1 a leaf, 2 chances of the second child, 3 values
    of the node.
    """
    n_nodes = len(variable)
    value, scale = np.ones(units[n_nodes]), np.zeros(n_nodes)
    chance = np.zeros(units[n_nodes])
    for j in range(len(root)):
        chance[units[n_nodes - 1] + j] = root[j]
    touched = 0
    for step in range(len(program)):
        n = program[step, 1]
        if program[step, 0] == 1:
            v = variable[n]
            total = here = least = 0.0
            for u in range(units[n], units[n + 1]):
                total += chance[u]
                here += chance[u] * leaf[at[u] + x[v]]
                least += chance[u] * below[at[u] + x[v]]
            point[v] = here / total
            lower[v] = least / total
            touched += _evaluate(n, nodes, variable, units, elements, left, right, weight, at, leaf, x, value, scale)
        elif program[step, 0] == 3:
            touched += _evaluate(n, nodes, variable, units, elements, left, right, weight, at, leaf, x, value, scale)
        else:
            is_second = program[step, 0] == 2
            child = first_child[n]
            if is_second:
                child = nodes[n, 0] + nodes[n, 1] - child
            is_left = child == nodes[n, 0]
            for u in range(units[child], units[child + 1]):
                chance[u] = 0.0
            for u in range(units[n], units[n + 1]):
                for e in range(elements[u], elements[u + 1]):
                    here = chance[u] * weight[e]
                    if is_left:
                        chance[left[e]] += here * value[right[e]] if is_second else here
                    else:
                        chance[right[e]] += here * value[left[e]] if is_second else here
            total = 0.0
            for u in range(units[child], units[child + 1]):
                total += chance[u]
            for u in range(units[child], units[child + 1]):
                chance[u] /= total
            touched += elements[units[n + 1]] - elements[units[n]]
    return touched
