"""Inference and learning in a hidden tree, compiled: likelihoods, expected counts, beliefs. Floats; never used for coding.

Images are taken in blocks of `BLOCK`; within a block the innermost index is the image, so that every inner loop is a
vector operation whatever the number of states. Sums of one block go into the counts of its caller.

Shapes: D variables, M states, R = sum of the numbers of categories; `rows[v] + x` is the row of value x of variable v in
the leaf table (R, M). `transition[v, a, b]` = P(z_v = b | z_parent = a); a root uses row a = 0.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

BLOCK = 64
TINY = 1e-37
Array = npt.NDArray[Any]


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator,unused-ignore]
def _normalise(table: Array, total: Array, scale: Array) -> None:
    """Make each column of table (M, B) sum to 1, in place; the factors go into `scale`, `total` is overwritten."""
    m = table.shape[0]
    total[:] = TINY
    for z in range(m):
        for i in range(BLOCK):
            total[i] += table[z, i]
    for i in range(BLOCK):
        scale[i] *= total[i]
        total[i] = 1 / total[i]
    for z in range(m):
        for i in range(BLOCK):
            table[z, i] *= total[i]


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator,unused-ignore]
def _upward(x: Array, order: Array, parents: Array, rows: Array, transition: Array, leaf: Array, up: Array, sent: Array,
            loglik: Array) -> None:
    """Messages from the leaves to the roots for one block x (n, D). `up` (D, M, B) and `sent` (D, M, B) are overwritten.

    up[v] = P(values below and at v | z_v) / scale; sent[v] = the same seen from the parent's state. loglik (n,) in nats.
    """
    n, d = x.shape
    m = leaf.shape[1]
    total = np.empty(BLOCK, dtype=leaf.dtype)
    scale = np.ones(BLOCK, dtype=np.float64)
    is_open = np.zeros(d, dtype=np.bool_)
    loglik[:] = 0.0
    for at in range(d - 1, -1, -1):
        v = order[at]
        p = parents[v]
        if not is_open[v]:
            up[v, :, :] = 1.0
        for i in range(n):
            value = x[i, v]
            if value >= 0:
                row = rows[v] + value
                for z in range(m):
                    up[v, z, i] *= leaf[row, z]
        _normalise(up[v], total, scale)
        if p < 0:
            total[:] = TINY
            for z in range(m):
                weight = transition[v, 0, z]
                for i in range(BLOCK):
                    total[i] += weight * up[v, z, i]
            for i in range(BLOCK):
                scale[i] *= total[i]
            sent[v, 0, :] = total
        else:
            for a in range(m):
                total[:] = TINY
                for z in range(m):
                    weight = transition[v, a, z]
                    for i in range(BLOCK):
                        total[i] += weight * up[v, z, i]
                sent[v, a, :] = total
                if is_open[p]:
                    for i in range(BLOCK):
                        up[p, a, i] *= total[i]
                else:
                    up[p, a, :] = total
            is_open[p] = True
            _normalise(up[p], total, scale)
        if at % 4 == 0:  # four steps of float32 factors stay inside the range of float64
            for i in range(n):
                loglik[i] += np.log(scale[i])
            scale[:] = 1.0


@numba.njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator,unused-ignore]
def _downward(n: int, order: Array, parents: Array, transition: Array, up: Array, sent: Array, flow: Array, keep_flow: bool) -> None:
    """Turn `up` into posteriors P(z_v | all values), in place; add the flow of each edge, short of its factor, to `flow`."""
    d, m = up.shape[0], up.shape[1]
    share = np.empty((m, BLOCK), dtype=up.dtype)
    row = np.empty(BLOCK, dtype=up.dtype)
    turned = np.empty((BLOCK, m), dtype=up.dtype)
    joint = np.empty(m, dtype=up.dtype)
    for at in range(d):
        v = order[at]
        p = parents[v]
        if p < 0:
            for z in range(m):
                weight = transition[v, 0, z]
                for i in range(BLOCK):
                    up[v, z, i] *= weight / sent[v, 0, i]
                if keep_flow:
                    s = up[v, z, 0]
                    for i in range(1, n):
                        s += up[v, z, i]
                    flow[v, 0, z] += s
            continue
        for a in range(m):
            for i in range(BLOCK):
                share[a, i] = up[p, a, i] / sent[v, a, i]
            for i in range(n, BLOCK):
                share[a, i] = 0.0
        if keep_flow:
            for z in range(m):
                for i in range(BLOCK):
                    turned[i, z] = up[v, z, i]
            for a in range(m):
                joint[:] = 0.0
                for i in range(n):
                    s = share[a, i]
                    for z in range(m):
                        joint[z] += s * turned[i, z]
                for z in range(m):
                    flow[v, a, z] += joint[z] * transition[v, a, z]
        for z in range(m):
            row[:] = 0.0
            for a in range(m):
                weight = transition[v, a, z]
                for i in range(BLOCK):
                    row[i] += weight * share[a, i]
            for i in range(BLOCK):
                up[v, z, i] *= row[i]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def log_likelihood(x: Array, order: Array, parents: Array, rows: Array, transition: Array, leaf: Array, out: Array) -> None:
    """ln P(x) of every row of x (N, D); values below 0 are missing and summed out. Writes `out` (N,) float64."""
    d, m = x.shape[1], leaf.shape[1]
    up = np.empty((d, m, BLOCK), dtype=leaf.dtype)
    sent = np.empty((d, m, BLOCK), dtype=leaf.dtype)
    for start in range(0, len(x), BLOCK):
        end = min(start + BLOCK, len(x))
        _upward(x[start:end], order, parents, rows, transition, leaf, up, sent, out[start:end])


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def expected_counts(x: Array, weight: Array, order: Array, parents: Array, rows: Array, transition: Array, leaf: Array,
                    edge_counts: Array, leaf_counts: Array, out: Array) -> None:
    """Circuit flows: add the expected counts of edges (D, M, M) and leaves (R, M) under the posterior of each row.

    Args:
        weight: (N,) weight of each row; a block whose rows all weigh 0 is skipped.
        edge_counts, leaf_counts: added to.
        out: (N,) ln P(x), written.
    """
    d, m = x.shape[1], leaf.shape[1]
    up = np.empty((d, m, BLOCK), dtype=leaf.dtype)
    sent = np.empty((d, m, BLOCK), dtype=leaf.dtype)
    for start in range(0, len(x), BLOCK):
        end = min(start + BLOCK, len(x))
        n = end - start
        block = x[start:end]
        _upward(block, order, parents, rows, transition, leaf, up, sent, out[start:end])
        is_plain = True
        for i in range(n):
            if weight[start + i] != 1.0:
                is_plain = False
        if not is_plain:
            # A weight enters at the roots and travels down with the posterior.
            for v in range(d):
                if parents[v] < 0:
                    for z in range(m):
                        for i in range(n):
                            up[v, z, i] *= weight[start + i]
        _downward(n, order, parents, transition, up, sent, edge_counts, True)
        for v in range(d):
            for i in range(n):
                value = block[i, v]
                if value >= 0:
                    row = rows[v] + value
                    for z in range(m):
                        leaf_counts[row, z] += up[v, z, i]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def posteriors(x: Array, order: Array, parents: Array, rows: Array, transition: Array, leaf: Array, beliefs: Array) -> None:
    """P(z_v | the values that are there) for every row and variable: writes `beliefs` (N, D, M)."""
    d, m = x.shape[1], leaf.shape[1]
    up = np.empty((d, m, BLOCK), dtype=leaf.dtype)
    sent = np.empty((d, m, BLOCK), dtype=leaf.dtype)
    none = np.empty((0, 0, 0), dtype=leaf.dtype)
    loglik = np.empty(BLOCK, dtype=np.float64)
    for start in range(0, len(x), BLOCK):
        end = min(start + BLOCK, len(x))
        _upward(x[start:end], order, parents, rows, transition, leaf, up, sent, loglik[: end - start])
        _downward(end - start, order, parents, transition, up, sent, none, False)
        for i in range(end - start):
            for v in range(d):
                for z in range(m):
                    beliefs[start + i, v, z] = up[v, z, i]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def draw(uniforms: Array, order: Array, parents: Array, rows: Array, sizes: Array, transition: Array, leaf: Array, out: Array) -> None:
    """Ancestral samples: two uniforms a variable, (N, D, 2); writes `out` (N, D)."""
    n, d = out.shape
    m = leaf.shape[1]
    state = np.empty(d, dtype=np.int64)
    for i in range(n):
        for at in range(d):
            v = order[at]
            a = state[parents[v]] if parents[v] >= 0 else 0
            left = uniforms[i, v, 0]
            z = 0
            while z < m - 1 and left >= transition[v, a, z]:
                left -= transition[v, a, z]
                z += 1
            state[v] = z
            left = uniforms[i, v, 1]
            value = 0
            while value < sizes[v] - 1 and left >= leaf[rows[v] + value, z]:
                left -= leaf[rows[v] + value, z]
                value += 1
            out[i, v] = value
