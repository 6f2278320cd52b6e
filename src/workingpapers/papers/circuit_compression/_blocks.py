"""One block: records to bytes and back. Everything here is exact; a block depends on nothing but the model and its records."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from ._errors import CorruptStream
from ._format import read_varint, varint
from ._kernels import EDGE_BITS, GROUP, LOW, PRECISION, pop_choices, push, run_group
from ._model import CodecModel

Array = npt.NDArray[Any]
Values = npt.NDArray[np.int32]

_NO_STATES = np.zeros(1, dtype=np.int64)
_NO_WORDS = np.zeros(0, dtype=np.uint32)
# log2 of 256 .. 511 in units of 2^-16, rounded to integers: the same table everywhere, for choosing between trees
_LOG2 = np.round(np.log2(np.arange(256, 512)) * 65536).astype(np.int64)


def intervals(model: CodecModel, values: Values, tree: int) -> tuple[Array, Array]:
    """Starts and lengths (n, D) of the symbols of records (n, D), of 2^28, columns in the tree's order of visit."""
    tables = model.tables[tree]
    n, d = values.shape
    starts, lengths = np.empty((n, d), dtype=np.int32), np.empty((n, d), dtype=np.int32)
    for first in range(0, n, GROUP):
        part = values[first : first + GROUP]
        flat = np.empty((2, part.size), dtype=np.int32)
        run_group(part, tables.plan, model.rows, model.sizes, tables.edge, tables.edge_back, tables.cum, tables.favourite, model.leaf_bits,
                  flat[0], flat[1], _NO_STATES, _NO_WORDS, _NO_STATES, _NO_STATES, False)
        starts[first : first + len(part)] = flat[0].reshape(d, len(part)).T
        lengths[first : first + len(part)] = flat[1].reshape(d, len(part)).T
    return starts, lengths


def _cost(lengths: Array) -> Array:
    """Code length of each record, in units of 2^-16 bits, by integers only."""
    exponent = np.frexp(lengths.astype(np.float64))[1].astype(np.int64) - 1
    mantissa = (lengths.astype(np.int64) << 8) >> exponent
    return np.asarray(((PRECISION - exponent + 8) * 65536 - _LOG2[mantissa - 256]).sum(axis=1))


def _chosen(model: CodecModel, values: Values) -> tuple[Array, Array, Array]:
    """For each record the tree that makes it shortest, and its intervals there: (n,), (n, D), (n, D)."""
    starts, lengths = intervals(model, values, 0)
    choice = np.zeros(len(values), dtype=np.int64)
    if model.n_trees == 1:
        return choice, starts, lengths
    weights = model.weights << (PRECISION - EDGE_BITS)
    best = _cost(lengths) + _cost(np.full((1, 1), weights[0]))
    for tree in range(1, model.n_trees):
        other_starts, other_lengths = intervals(model, values, tree)
        cost = _cost(other_lengths) + _cost(np.full((1, 1), weights[tree]))
        is_better = cost < best
        best[is_better], choice[is_better] = cost[is_better], tree
        starts[is_better], lengths[is_better] = other_starts[is_better], other_lengths[is_better]
    return choice, starts, lengths


def code_length(model: CodecModel, values: Values) -> npt.NDArray[np.float64]:
    """Bits that the intervals of each record take (n,): what the file would hold without any framing."""
    choice, _, lengths = _chosen(model, values)
    bits = PRECISION * lengths.shape[1] - np.log2(lengths.astype(np.float64)).sum(axis=1)
    if model.n_trees > 1:
        bits -= np.log2(model.weights[choice] / float(1 << EDGE_BITS))
    return np.asarray(bits)


# ---------------------------------------------------------------- one stream a block


def _check_of(values: Values, context: int) -> int:
    """What a state begins with: a checksum of the values it codes, begun from that of all that says what they mean."""
    return LOW | (zlib.crc32(np.ascontiguousarray(values, dtype="<u2").tobytes(), context) & 0x7FFFFFFF)


def _groups(choice: Array) -> list[Array]:
    """Records of one tree at a time, `GROUP` together: lists of their places."""
    out = []
    for tree in np.unique(choice):
        places = np.flatnonzero(choice == tree)
        out += [places[i : i + GROUP] for i in range(0, len(places), GROUP)]
    return out


def encode_block(model: CodecModel, values: Values, lanes: int, context: int = 0) -> bytes:
    """All records on `lanes` shared states: 8 bytes a state, then words."""
    n, d = values.shape
    choice, starts, lengths = _chosen(model, values)
    parts = [(starts[g].T.ravel(), lengths[g].T.ravel(), np.tile(np.arange(len(g)) % lanes, d)) for g in _groups(choice)]
    if model.n_trees > 1:
        ends = model.weight_ends
        share = model.weights[choice] << (PRECISION - EDGE_BITS)
        parts.insert(0, (ends[choice] - share, share, np.arange(n) % lanes))
    start, length, lane = (np.concatenate([p[i] for p in parts]) for i in range(3))
    states = np.full(lanes, _check_of(values, context), dtype=np.int64)
    words = np.empty(len(start), dtype=np.uint32)
    first = push(start.astype(np.int32), length.astype(np.int32), lane.astype(np.uint8), states, words)
    return states.astype("<u8").tobytes() + words[first:].astype("<u4").tobytes()


def decode_block(model: CodecModel, payload: memoryview, n: int, lanes: int, context: int = 0) -> Values:
    """The n records of a block.

    Raises:
        CorruptStream: bytes that `encode_block` cannot have written for this model.
    """
    if len(payload) < 8 * lanes or len(payload) % 4:
        raise CorruptStream(f"a block of {lanes} lanes cannot have {len(payload)} bytes")
    held = np.frombuffer(payload, "<u8", lanes)
    if (held < LOW).any() or (held >> np.uint64(63)).any():
        raise CorruptStream("a coder state in the block is out of range")
    words = np.frombuffer(payload, "<u4", offset=8 * lanes).astype(np.uint32)
    states, at, ends = held.astype(np.int64), np.zeros(1, dtype=np.int64), np.array([len(words)])
    values = _decode(model, n, states, words, at, ends)
    if at[0] != len(words) or (states != _check_of(values, context)).any():
        raise CorruptStream("a block does not come back to the state that it was begun with")
    return values


def _decode(model: CodecModel, n: int, states: Array, words: Array, at: Array, ends: Array) -> Values:
    choice = np.zeros(n, dtype=np.int64)
    if model.n_trees > 1 and not pop_choices(model.weight_ends, states, words, at, ends, choice):
        raise CorruptStream("a block ends before its records do")
    values = np.empty((n, model.n_variables), dtype=np.int32)
    for places in _groups(choice):
        tables = model.tables[choice[places[0]]]
        part = np.empty((len(places), values.shape[1]), dtype=np.int32)
        is_shared = len(at) == 1
        own = slice(None) if is_shared else places
        some_states, some_at = states[own], at if is_shared else at[places]
        nothing = np.empty(0, dtype=np.int32)
        enough = run_group(part, tables.plan, model.rows, model.sizes, tables.edge, tables.edge_back, tables.cum, tables.favourite,
                           model.leaf_bits, nothing, nothing, some_states, words, some_at, ends[own], True)
        if not enough:
            raise CorruptStream("a block ends before its records do")
        states[own] = some_states
        at[own] = some_at
        values[places] = part
    return values


# ---------------------------------------------------------------- one stream a record


def encode_records(model: CodecModel, values: Values, context: int = 0) -> bytes:
    """Each record on a state of its own, behind a list of lengths."""
    choice, starts, lengths = _chosen(model, values)
    streams = []
    words = np.empty(values.shape[1] + 2, dtype=np.uint32)
    lane = np.zeros(values.shape[1] + 1, dtype=np.uint8)
    for i in range(len(values)):
        start, length = starts[i], lengths[i]
        if model.n_trees > 1:
            share = model.weights[choice[i]] << (PRECISION - EDGE_BITS)
            start = np.concatenate([[model.weight_ends[choice[i]] - share], start]).astype(np.int32)
            length = np.concatenate([[share], length]).astype(np.int32)
        states = np.array([_check_of(values[i], context)], dtype=np.int64)
        first = push(start, length, lane[: len(start)], states, words)
        state = int(states[0])
        held = words[first:]
        if state >= 1 << 56:  # at most 7 bytes are kept, so that the length modulo 4 tells how many
            held = np.concatenate([np.array([state & 0xFFFFFFFF], dtype=np.uint32), held])
            state >>= 32
        streams.append(state.to_bytes(max(4, (state.bit_length() + 7) // 8), "little") + held.astype("<u4").tobytes())
    sizes = np.array([len(s) for s in streams], dtype=np.int64)
    shortest = int(sizes.min())
    width = int(sizes.max() - shortest).bit_length()
    bits = ((sizes - shortest)[:, None] >> np.arange(width)) & 1
    return varint(shortest) + bytes([width]) + np.packbits(bits.astype(np.uint8), bitorder="little").tobytes() + b"".join(streams)


def record_bounds(payload: memoryview, n: int) -> tuple[Array, memoryview]:
    """Where each of n streams begins and ends: positions (n + 1,) in the returned bytes.

    Raises:
        CorruptStream: lengths that do not add up to the block.
    """
    shortest, at = read_varint(payload, 0)
    if at >= len(payload) or payload[at] > 32:
        raise CorruptStream("a block's list of lengths breaks off")
    width = payload[at]
    at += 1
    packed = (n * width + 7) // 8
    body = payload[at + packed :]
    if shortest < 4 or at + packed > len(payload) or n * shortest > len(body):
        raise CorruptStream("a block's lengths do not add up to its bytes")
    bits = np.unpackbits(np.frombuffer(payload, np.uint8, packed, at), count=n * width, bitorder="little").reshape(n, width)
    ends = np.concatenate([[0], np.cumsum(shortest + bits.astype(np.int64) @ (np.int64(1) << np.arange(width, dtype=np.int64)))])
    if ends[-1] != len(body):
        raise CorruptStream("a block's lengths do not add up to its bytes")
    return ends, body


def decode_records(model: CodecModel, payload: memoryview, n: int, which: Array | None = None, context: int = 0) -> Values:
    """Records of a block with one stream each: all, or those at the places `which`.

    Raises:
        CorruptStream: bytes that `encode_records` cannot have written for this model.
    """
    bounds, body = record_bounds(payload, n)
    places = np.arange(n) if which is None else which
    states, held, counts = np.empty(len(places), dtype=np.int64), [], []
    for row, i in enumerate(places):
        stream = bytes(body[bounds[i] : bounds[i + 1]])
        n_state = 4 + len(stream) % 4
        state = int.from_bytes(stream[:n_state], "little")
        words = np.frombuffer(stream, "<u4", offset=n_state)
        if state < LOW and len(words):
            state, words = state << 32 | int(words[0]), words[1:]
        if not LOW <= state < 1 << 63:
            raise CorruptStream("a coder state in the block is out of range")
        states[row] = state
        held.append(words)
        counts.append(len(words))
    ends = np.cumsum(counts, dtype=np.int64)
    at = ends - np.array(counts, dtype=np.int64)
    words = np.concatenate(held).astype(np.uint32) if held else _NO_WORDS
    values = _decode(model, len(places), states, words, at, ends)
    checks = np.array([_check_of(row, context) for row in values], dtype=np.int64)
    if (at != ends).any() or (states != checks).any():
        raise CorruptStream("a record does not come back to the state that it was begun with")
    return values
