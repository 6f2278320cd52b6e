"""The filter and the entropy coder in integers, compiled.

Only 64-bit additions, multiplications, shifts and divisions of numbers that fit: the same intervals on every machine, with any
number of threads, and with the compiler off. For each record, in the tree's order of visit:

    b_v   = c_parent T_v                    prior belief about z_v, sums to 2^(BELIEF + 16) exactly
    F(x)  = sum_z b_v[z] cum_v[x, z] >> s   cumulative share of the values below x, of 2^28
    c_v   = b_v * leaf_v[x] / total         belief after seeing x, sums to 2^BELIEF exactly
    up_v  = leaf_v[x] * messages            what v's subtree says about z_v, largest entry in [2^29, 2^30)

When a subtree is complete, `T_v up_v >> 16` is multiplied into its parent's belief. Every entry of a table is at least 1, so
messages never vanish and every symbol keeps at least 2^(28 - leaf bits) of the 2^28.

Records go through in groups, in lockstep: tables of one variable stay in the cache, and the lanes' dependencies overlap.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BELIEF_BITS = 24
EDGE_BITS = 16
PRECISION = 28
GROUP = 64
LOW = 1 << 31
_SLOT = (1 << PRECISION) - 1


_jit = numba.njit(cache=True, nogil=True)


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _bit_lengths(x: Array, out: Array) -> None:
    """Bits of each positive number below 2^63 in x (n,), which is overwritten."""
    out[:] = 1
    for step in (32, 16, 8, 4, 2, 1):
        for i in range(len(x)):
            high = x[i] >> step
            is_longer = high > 0
            x[i] = high if is_longer else x[i]
            out[i] += step if is_longer else 0


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _carried(share: Array, table: Array, turned: Array, out: Array) -> None:
    """out[z, i] = sum_a share[a, i] table[a, z]: what M 32-bit numbers of each record (M, n) become behind an edge (M, M), in 64 bits.

    Two rows of `out` and four of `share` are taken at a time, so that eight products are made for each pair of sums written. For a
    single record the inner loop runs over states, along rows of the table `turned` about its diagonal.
    """
    m, n = out.shape
    if n == 1:
        one = share.reshape(m)
        for z in range(m):
            s = np.int64(0)
            for a in range(m):
                s += np.int64(one[a]) * np.int64(turned[z, a])
            out[z, 0] = s
        return
    fours = m - m % 4
    for z in range(0, m - 1, 2):
        out[z] = 0
        out[z + 1] = 0
        for a in range(0, fours, 4):
            t0, t1 = np.int64(table[a, z]), np.int64(table[a + 1, z])
            t2, t3 = np.int64(table[a + 2, z]), np.int64(table[a + 3, z])
            u0, u1 = np.int64(table[a, z + 1]), np.int64(table[a + 1, z + 1])
            u2, u3 = np.int64(table[a + 2, z + 1]), np.int64(table[a + 3, z + 1])
            for i in range(n):
                s0, s1 = np.int64(share[a, i]), np.int64(share[a + 1, i])
                s2, s3 = np.int64(share[a + 2, i]), np.int64(share[a + 3, i])
                out[z, i] += t0 * s0 + t1 * s1 + t2 * s2 + t3 * s3
                out[z + 1, i] += u0 * s0 + u1 * s1 + u2 * s2 + u3 * s3
        for a in range(fours, m):
            t0, u0 = np.int64(table[a, z]), np.int64(table[a, z + 1])
            for i in range(n):
                s0 = np.int64(share[a, i])
                out[z, i] += t0 * s0
                out[z + 1, i] += u0 * s0
    if m % 2 == 1:
        out[m - 1] = 0
        for a in range(m):
            t0 = np.int64(table[a, m - 1])
            for i in range(n):
                out[m - 1, i] += t0 * np.int64(share[a, i])


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _to_belief(weights: Array, out: Array, spare: Array) -> None:
    """Scale each column of weights (M, n), which sums to 2^37 or more, to integers that sum to 2^24.

    The remainder goes to the largest, the first of equals. weights and spare (6, n) are overwritten.
    """
    m, n = out.shape
    total, largest, shift, inverse, left, best = spare[0], spare[1], spare[2], spare[3], spare[4], spare[5]
    total[:] = 0
    largest[:] = 0
    for z in range(m):
        for i in range(n):
            w = weights[z, i]
            is_more = w > largest[i]
            total[i] += w
            best[i] = z if is_more else best[i]
            largest[i] = w if is_more else largest[i]
    _bit_lengths(total, shift)
    for i in range(n):
        shift[i] = max(0, shift[i] - 38)
    total[:] = 0
    for z in range(m):
        for i in range(n):
            weights[z, i] >>= shift[i]
            total[i] += weights[z, i]
    for i in range(n):
        inverse[i] = np.int64(1 << 62) // total[i]
    left[:] = 1 << BELIEF_BITS
    for z in range(m):
        for i in range(n):
            share = (weights[z, i] * inverse[i]) >> (62 - BELIEF_BITS)
            out[z, i] = share
            left[i] -= share
    for i in range(n):
        out[best[i], i] += left[i]


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _to_message(weights: Array, out: Array, spare: Array) -> None:
    """Shift each column of positive integers (M, n) so that its largest lies in [2^29, 2^30). spare (6, n) is overwritten."""
    m, n = out.shape
    largest, left, right = spare[0], spare[1], spare[2]
    largest[:] = 0
    for z in range(m):
        for i in range(n):
            largest[i] = max(largest[i], np.int64(weights[z, i]))
    _bit_lengths(largest, right)
    for i in range(n):
        left[i] = max(0, 30 - right[i])
        right[i] = max(0, right[i] - 30)
    for z in range(m):
        for i in range(n):
            out[z, i] = (np.int64(weights[z, i]) << left[i]) >> right[i]


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _below(belief: Array, cum: Array, row: int, shift: int) -> int:
    """Share of the values below one row of a cumulative table."""
    s = np.int64(0)
    for z in range(len(belief)):
        s += belief[z] * np.int64(cum[row, z])
    return int(s >> shift)


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _all_below(prior: Array, cum: Array, row: int, shift: int, out: Array) -> None:
    """The same for all records, prior (M, n), at one row."""
    m, n = prior.shape
    out[:] = 0
    for z in range(m):
        weight = np.int64(cum[row, z])
        for i in range(n):
            out[i] += weight * prior[z, i]
    for i in range(n):
        out[i] >>= shift


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _found(belief: Array, cum: Array, base: int, size: int, slot: int, tried: int, is_lower: bool, shift: int) -> int:
    """The value whose interval holds a slot, by bisection among those below or above one that was tried."""
    low = np.int64(0) if is_lower else np.int64(tried + 1)
    high = np.int64(tried) if is_lower else np.int64(size)
    while high - low > 1:
        middle = (low + high) >> 1
        if _below(belief, cum, int(base + middle), shift) <= slot:
            low = middle
        else:
            high = middle
    return int(low)


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def run_group(values: Array, plan: Array, rows: Array, sizes: Array, edge: Array, edge_back: Array, cum: Array, favourite: Array,
              leaf_bits: int, starts: Array, lengths: Array, states: Array, words: Array, at_words: Array, word_ends: Array,
              is_decoding: bool) -> bool:
    """Filter one group of records; encode: write intervals; decode: read symbols.

    Args:
        values: (n, D) int32, read when encoding, written when decoding; n <= GROUP.
        plan: (D, 5) int64 of each step: variable, depth, how many nodes close after it, whether it has children, whether
            what its subtree says is needed.
        rows: (D,) first row of each variable in cum, which has sizes + 1 rows for it.
        edge: (D, M, M) int32, edge_back the same with M and M exchanged; cum: (R + D, M) int32; favourite: (D,) the value to try first.
        starts, lengths: (n D,) int32, written when encoding: one variable after another, for each its records.
        states: (lanes,) int64 coder states, record i uses lane i % lanes.
        words: uint32; at_words, word_ends: (1,) when lanes share one stream, else (lanes,): next position, and where it ends.

    Returns:
        whether there were words enough.
    """
    n = values.shape[0]
    d = plan.shape[0]
    m = edge.shape[2]
    lanes = len(states)
    shift = BELIEF_BITS + EDGE_BITS + leaf_bits - PRECISION
    at_symbol = 0
    depth = 0
    for at in range(d):
        depth = max(depth, plan[at, 1])
    # The record is the last axis: every inner loop runs over records, whatever the number of states.
    belief = np.empty((depth + 1, m, n), dtype=np.int32)
    up = np.empty((depth + 1, m, n), dtype=np.int32)
    stack = np.empty(depth + 1, dtype=np.int64)
    useful = np.empty(depth + 1, dtype=np.bool_)
    prior = np.empty((m, n), dtype=np.int64)
    weights = np.empty((m, n), dtype=np.int64)
    said = np.empty((m, n), dtype=np.int64)
    first = np.empty((m, n), dtype=np.int32)
    leaf = np.empty((m, n), dtype=np.int32)
    start = np.empty(n, dtype=np.int64)
    end = np.empty(n, dtype=np.int64)
    own = np.empty(m, dtype=np.int64)
    spare = np.zeros((6, n), dtype=np.int64)
    for at in range(d):
        v = plan[at, 0]
        level = plan[at, 1]
        stack[level] = v
        useful[level] = plan[at, 4] != 0
        base = rows[v]
        if level == 0:
            for z in range(m):
                prior[z] = np.int64(edge[v, 0, z]) << BELIEF_BITS
        else:
            _carried(belief[level - 1], edge[v], edge_back[v], prior)
        if is_decoding:
            # The usual value first, then bisection: any order of search finds the same symbol.
            usual = favourite[v]
            _all_below(prior, cum, base + usual, shift, start)
            _all_below(prior, cum, base + usual + 1, shift, end)
            for i in range(n):
                lane = i % lanes
                x = states[lane]
                slot = x & _SLOT
                value = usual
                if slot < start[i] or slot >= end[i]:
                    for z in range(m):
                        own[z] = prior[z, i]
                    value = _found(own, cum, base, sizes[v], slot, usual, slot < start[i], shift)
                    start[i] = _below(own, cum, base + value, shift)
                    end[i] = _below(own, cum, base + value + 1, shift)
                x = (end[i] - start[i]) * (x >> PRECISION) + slot - start[i]
                if x < LOW:
                    stream = lane % len(at_words)
                    if at_words[stream] >= word_ends[stream]:
                        return False
                    x = (x << 32) | np.int64(words[at_words[stream]])
                    at_words[stream] += 1
                states[lane] = x
                values[i, v] = value
        is_inner = plan[at, 3] != 0
        if is_inner or useful[level] or not is_decoding:
            usual = favourite[v]
            row = base + usual
            for z in range(m):
                first[z] = cum[row, z]
                leaf[z] = cum[row + 1, z] - cum[row, z]
            for i in range(n):
                if values[i, v] != usual:
                    row = base + values[i, v]
                    for z in range(m):
                        first[z, i] = cum[row, z]
                        leaf[z, i] = cum[row + 1, z] - cum[row, z]
        if not is_decoding:
            start[:] = 0
            end[:] = 0
            for z in range(m):
                for i in range(n):
                    start[i] += prior[z, i] * np.int64(first[z, i])
                    end[i] += prior[z, i] * np.int64(first[z, i] + leaf[z, i])
            for i in range(n):
                starts[at_symbol + i] = start[i] >> shift
                lengths[at_symbol + i] = (end[i] >> shift) - (start[i] >> shift)
            at_symbol += n
        if is_inner:
            for z in range(m):
                for i in range(n):
                    weights[z, i] = prior[z, i] * np.int64(leaf[z, i])
            _to_belief(weights, belief[level], spare)
        if useful[level]:
            _to_message(leaf, up[level], spare)
        for closing in range(level, level - plan[at, 2], -1):
            if closing == 0 or not useful[closing]:
                continue
            has_more = closing == level - plan[at, 2] + 1
            child = stack[closing]
            _carried(up[closing], edge_back[child], edge[child], said)
            for z in range(m):
                for i in range(n):
                    said[z, i] >>= EDGE_BITS
            if useful[closing - 1]:
                for z in range(m):
                    for i in range(n):
                        weights[z, i] = said[z, i] * np.int64(up[closing - 1, z, i])
                _to_message(weights, up[closing - 1], spare)
            if has_more:
                for z in range(m):
                    for i in range(n):
                        weights[z, i] = said[z, i] * np.int64(belief[closing - 1, z, i])
                _to_belief(weights, belief[closing - 1], spare)
    return True


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def push(starts: Array, lengths: Array, lane_of: Array, states: Array, words: Array) -> int:
    """Code intervals onto the lanes' states, last symbol first (rANS, 32-bit renormalisation).

    Args:
        starts, lengths: (n,) of 2^28. lane_of: (n,) the lane of each symbol. states: (lanes,) int64, updated.
        words: uint32 buffer, filled from its end.

    Returns:
        index of the first word written.
    """
    at = len(words)
    for s in range(len(starts) - 1, -1, -1):
        lane = lane_of[s]
        x = states[lane]
        length = np.int64(lengths[s])
        if x >> (63 - PRECISION) >= length:
            at -= 1
            words[at] = x & 0xFFFFFFFF
            x >>= 32
        states[lane] = ((x // length) << PRECISION) + x % length + starts[s]
    return at


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def pop_choices(ends: Array, states: Array, words: Array, at_words: Array, word_ends: Array, out: Array) -> bool:
    """Decode one symbol a record from one fixed table, cumulative `ends` (K,) of 2^28; writes `out` (n,). Whether words sufficed."""
    for i in range(len(out)):
        lane = i % len(states)
        x = states[lane]
        slot = x & _SLOT
        symbol = 0
        while slot >= ends[symbol]:
            symbol += 1
        start = ends[symbol - 1] if symbol > 0 else 0
        x = (ends[symbol] - start) * (x >> PRECISION) + slot - start
        if x < LOW:
            stream = lane % len(at_words)
            if at_words[stream] >= word_ends[stream]:
                return False
            x = (x << 32) | np.int64(words[at_words[stream]])
            at_words[stream] += 1
        states[lane] = x
        out[i] = symbol
    return True
