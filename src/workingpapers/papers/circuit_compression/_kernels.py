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
GROUP = 32
LOW = 1 << 31
_SLOT = (1 << PRECISION) - 1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _bit_length(x: int) -> int:
    """Bits of a positive number below 2^63."""
    n = 1
    for step in (32, 16, 8, 4, 2, 1):
        if x >> step > 0:
            x >>= step
            n += step
    return n


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _to_belief(weights: Array, out: Array) -> None:
    """Scale weights (M,), which sum to 2^37 or more, to integers that sum to 2^24; the remainder goes to the largest."""
    m = len(weights)
    total = np.int64(0)
    for z in range(m):
        total += weights[z]
    shift = max(0, _bit_length(int(total)) - 38)
    cut = np.int64(0)
    for z in range(m):
        cut += weights[z] >> shift
    inverse = np.int64(1 << 62) // cut
    left = np.int64(1 << BELIEF_BITS)
    best = 0
    for z in range(m):
        out[z] = ((weights[z] >> shift) * inverse) >> (62 - BELIEF_BITS)
        left -= out[z]
        if weights[z] > weights[best]:
            best = z
    out[best] += left


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _to_message(table: Array) -> None:
    """Shift a table (M,) of positive integers, in place, so that its largest entry lies in [2^29, 2^30)."""
    m = len(table)
    largest = np.int64(0)
    for z in range(m):
        if table[z] > largest:
            largest = table[z]
    shift = _bit_length(int(largest)) - 30
    if shift >= 0:
        for z in range(m):
            table[z] >>= shift
    else:
        for z in range(m):
            table[z] <<= -shift


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _below(belief: Array, cum: Array, shift: int) -> int:
    """Share of the values below one row of a cumulative table."""
    s = np.int64(0)
    for z in range(len(belief)):
        s += belief[z] * cum[z]
    return int(s >> shift)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def run_group(values: Array, plan: Array, rows: Array, sizes: Array, edge: Array, cum: Array, favourite: Array, leaf_bits: int,
              starts: Array, lengths: Array, states: Array, words: Array, at_words: Array, word_ends: Array, is_decoding: bool) -> bool:
    """Filter one group of records; encode: write intervals; decode: read symbols.

    Args:
        values: (n, D) int32, read when encoding, written when decoding; n <= GROUP.
        plan: (D, 5) int64 of each step: variable, depth, how many nodes close after it, whether it has children, whether
            what its subtree says is needed.
        rows: (D,) first row of each variable in cum, which has sizes + 1 rows for it.
        edge: (D, M, M) int64; cum: (R + D, M) int64; favourite: (D,) the value to try first.
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
    belief = np.empty((depth + 1, n, m), dtype=np.int64)
    up = np.empty((depth + 1, n, m), dtype=np.int64)
    stack = np.empty(depth + 1, dtype=np.int64)
    useful = np.empty(depth + 1, dtype=np.bool_)
    prior = np.empty(m, dtype=np.int64)
    weights = np.empty(m, dtype=np.int64)
    for at in range(d):
        v = plan[at, 0]
        level = plan[at, 1]
        stack[level] = v
        useful[level] = plan[at, 4] != 0
        table = edge[v]
        base = rows[v]
        size = sizes[v]
        for i in range(n):
            if level == 0:
                for z in range(m):
                    prior[z] = np.int64(table[0, z]) << BELIEF_BITS
            else:
                prior[:] = 0
                for a in range(m):
                    share = belief[level - 1, i, a]
                    for z in range(m):
                        prior[z] += share * table[a, z]
            if is_decoding:
                lane = i % lanes
                x = states[lane]
                slot = x & _SLOT
                # The usual value first, then bisection: any order of search finds the same symbol.
                value = favourite[v]
                low = np.int64(0)
                high = np.int64(size)
                start = _below(prior, cum[base + value], shift)
                end = _below(prior, cum[base + value + 1], shift)
                if slot < start or slot >= end:
                    if slot < start:
                        high = value
                    else:
                        low = value + 1
                    while high - low > 1:
                        middle = (low + high) >> 1
                        if _below(prior, cum[base + middle], shift) <= slot:
                            low = middle
                        else:
                            high = middle
                    value = low
                    start = _below(prior, cum[base + value], shift)
                    end = _below(prior, cum[base + value + 1], shift)
                x = (end - start) * (x >> PRECISION) + slot - start
                if x < LOW:
                    stream = lane % len(at_words)
                    if at_words[stream] >= word_ends[stream]:
                        return False
                    x = (x << 32) | np.int64(words[at_words[stream]])
                    at_words[stream] += 1
                states[lane] = x
                values[i, v] = value
            else:
                value = np.int64(values[i, v])
                start = _below(prior, cum[base + value], shift)
                starts[at_symbol] = start
                lengths[at_symbol] = _below(prior, cum[base + value + 1], shift) - start
                at_symbol += 1
            if plan[at, 3] != 0:
                for z in range(m):
                    weights[z] = prior[z] * (cum[base + value + 1, z] - cum[base + value, z])
                _to_belief(weights, belief[level, i])
            if useful[level]:
                for z in range(m):
                    up[level, i, z] = cum[base + value + 1, z] - cum[base + value, z]
                _to_message(up[level, i])
        for closing in range(level, level - plan[at, 2], -1):
            if closing == 0 or not useful[closing]:
                continue
            table = edge[stack[closing]]
            has_more = closing == level - plan[at, 2] + 1
            for i in range(n):
                for a in range(m):
                    s = np.int64(0)
                    for z in range(m):
                        s += table[a, z] * up[closing, i, z]
                    weights[a] = s >> EDGE_BITS
                if useful[closing - 1]:
                    for a in range(m):
                        up[closing - 1, i, a] *= weights[a]
                    _to_message(up[closing - 1, i])
                if has_more:
                    for a in range(m):
                        weights[a] *= belief[closing - 1, i, a]
                    _to_belief(weights, belief[closing - 1, i])
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
