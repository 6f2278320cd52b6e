"""The quantised model: integer tables, their hash, and their bytes."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ._errors import CorruptStream
from ._kernels import EDGE_BITS, PRECISION
from ._quantise import leaf_bits, to_units
from ._structure import preorder
from ._tree import HiddenTree

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

MAX_VARIABLES = 1 << 20
MAX_LATENTS = 1 << 10
MAX_CATEGORIES = 1 << 16
MAX_TREES = 1 << 8
MAX_MODEL_BYTES = 1 << 29
FREE_BYTES = 1 << 18
MOST_EXPANSION = 64
"""An embedded model may unfold to `FREE_BYTES` + this many times its stored size: a few stored bytes cannot ask for much memory."""

_HEAD = struct.Struct("<4sHHIII")
_MAGIC = b"PCM1"
_PLAIN, _ZSTD = 0, 1


@dataclass(frozen=True, eq=False)
class TreeTables:
    """Integer tables of one tree, as the kernels take them."""

    parents: Ints
    edge: npt.NDArray[np.int32]
    edge_back: npt.NDArray[np.int32]
    cum: npt.NDArray[np.int32]
    plan: Ints
    favourite: Ints


@dataclass(frozen=True, eq=False)
class CodecModel:
    """What the codec computes with: integer tables of one or several hidden trees over the same variables. Made by `HCLT.quantise`.

    Attributes:
        sizes: (D,) number of values of each variable.
        n_latents: M.
        parents: one (D,) array a tree.
        edges: one (D, M, M) array a tree, rows sum to 2^16; of a root only row 0 counts, the others repeat it.
        leaves: one (R, M) array a tree; over the rows of one variable each state's entries sum to 2^16 (2^20 for variables
            of more than 256 values).
        weights: (trees,) sum to 2^16.

    Every entry of a table is 1 or more. A record is coded with the tree that makes it shortest: with one tree that is the model's
    own length, with several at most what naming a tree costs above it.
    """

    sizes: Ints
    n_latents: int
    parents: tuple[Ints, ...]
    edges: tuple[Ints, ...]
    leaves: tuple[Ints, ...]
    weights: Ints
    _cache: dict[str, Any] = field(default_factory=dict, repr=False)

    @staticmethod
    def from_trees(trees: list[HiddenTree], weights: Array) -> CodecModel:
        """Quantise float trees; the same float32 tables give the same integers on every machine."""
        sizes = trees[0].sizes
        bits = leaf_bits(int(sizes.max()))
        edges, leaves = [], []
        for tree in trees:
            edge = to_units(tree.transition.astype(np.float32), EDGE_BITS)
            edge[tree.parents < 0] = edge[tree.parents < 0][:, :1]
            leaf = np.empty(tree.leaf.shape, dtype=np.int64)
            for first, size in zip(tree.rows, sizes, strict=True):
                leaf[first : first + size] = to_units(np.ascontiguousarray(tree.leaf[first : first + size].T, dtype=np.float32), bits).T
            edges.append(edge)
            leaves.append(leaf)
        return CodecModel(sizes, trees[0].n_latents, tuple(t.parents for t in trees), tuple(edges), tuple(leaves),
                          to_units(np.asarray(weights, dtype=np.float32), EDGE_BITS))

    # ------------------------------------------------------------ reading

    @property
    def n_variables(self) -> int:
        return len(self.sizes)

    @property
    def n_trees(self) -> int:
        return len(self.parents)

    @property
    def leaf_bits(self) -> int:
        return leaf_bits(int(self.sizes.max()))

    @property
    def n_parameters(self) -> int:
        """Entries of all tables: D M (M + K) for one tree over D variables of K values, less the repeated rows of roots."""
        m = self.n_latents
        return sum(int((p >= 0).sum()) * m * m + int((p < 0).sum()) * m + len(leaf) * m for p, leaf in zip(self.parents, self.leaves))

    @cached_property
    def rows(self) -> Ints:
        """(D,) first row of each variable in the cumulative tables."""
        return (np.concatenate([[0], np.cumsum(self.sizes + 1)[:-1]])).astype(np.int64)

    @cached_property
    def tables(self) -> tuple[TreeTables, ...]:
        """What the kernels take, one a tree."""
        return tuple(_tables(*both, self.sizes) for both in zip(self.parents, self.edges, self.leaves))

    @cached_property
    def weight_ends(self) -> Ints:
        """Cumulative weights of the trees, of 2^28."""
        return np.cumsum(self.weights) << (PRECISION - EDGE_BITS)

    @cached_property
    def least_bits(self) -> float:
        """No record can take fewer bits than this: no value's share can pass that of the most certain state."""
        bits = self.leaf_bits
        share = 1 - (self.sizes - 1) / float(1 << bits)
        return float(-np.log2(share).sum())

    def to_trees(self) -> tuple[list[HiddenTree], Array]:
        """The trees that the tables stand for, in float64, and their weights."""
        scale = float(1 << self.leaf_bits)
        trees = [HiddenTree.make(p, self.sizes, edge / float(1 << EDGE_BITS), leaf / scale)
                 for p, edge, leaf in zip(self.parents, self.edges, self.leaves)]
        return trees, self.weights / float(1 << EDGE_BITS)

    # ------------------------------------------------------------ bytes

    @cached_property
    def raw(self) -> bytes:
        """Canonical bytes: header, sizes, parents, tables less 1, little endian."""
        m, d = self.n_latents, self.n_variables
        out = [_HEAD.pack(_MAGIC, 1, self.n_trees, d, m, 0), self.sizes.astype("<u4").tobytes(), (self.weights - 1).astype("<u2").tobytes()]
        wide = "<u2" if self.leaf_bits == EDGE_BITS else "<u4"
        for parents, edge, leaf in zip(self.parents, self.edges, self.leaves):
            out += [parents.astype("<i4").tobytes(), (edge - 1).astype("<u2").tobytes(), (leaf - 1).astype(wide).tobytes()]
        return b"".join(out)

    @cached_property
    def sha256(self) -> bytes:
        """32 bytes: SHA-256 of `raw`."""
        return hashlib.sha256(self.raw).digest()

    @cached_property
    def packed(self) -> bytes:
        """`raw` compressed with zstd, as it is embedded in files."""
        import zstandard

        small = zstandard.ZstdCompressor(level=19, write_content_size=True).compress(_planes(self))
        if len(self.raw) <= FREE_BYTES + MOST_EXPANSION * len(small):
            return bytes([_ZSTD]) + small
        return bytes([_PLAIN]) + self.raw

    @staticmethod
    def unpack(packed: bytes) -> CodecModel:
        """The model in `packed` bytes of anyone's making.

        Raises:
            CorruptStream: not such bytes. At most `FREE_BYTES` + `MOST_EXPANSION` x len(packed) bytes are unfolded.
        """
        if len(packed) < 2:
            raise CorruptStream("the embedded model is cut off")
        if packed[0] == _PLAIN:
            return CodecModel.from_raw(packed[1:])
        if packed[0] != _ZSTD:
            raise CorruptStream(f"the embedded model is stored in the unknown way {packed[0]}")
        return CodecModel.from_raw(_unplane(_unzip(packed[1:])))

    @staticmethod
    def from_raw(raw: bytes) -> CodecModel:
        """The model in canonical bytes; every field is held against its limit and the length before anything is made of it.

        Raises:
            CorruptStream: anything that `raw` cannot have written.
        """
        shape = _Shape.read(raw)
        if len(raw) != shape.length:
            raise CorruptStream(f"the model has {len(raw)} bytes where its header says {shape.length}")
        d, m, k = shape.d, shape.m, shape.trees
        at = _HEAD.size + 4 * d
        weights = np.frombuffer(raw, "<u2", k, at).astype(np.int64) + 1
        at += 2 * k
        if weights.sum() != 1 << EDGE_BITS:
            raise CorruptStream("the weights of the model's trees do not sum to 2^16")
        parents, edges, leaves = [], [], []
        firsts = np.concatenate([[0], np.cumsum(shape.sizes)[:-1]]).astype(np.int64)
        for _ in range(k):
            parents.append(np.frombuffer(raw, "<i4", d, at).astype(np.int64))
            at += 4 * d
            edge = np.frombuffer(raw, "<u2", d * m * m, at).astype(np.int64).reshape(d, m, m) + 1
            at += 2 * d * m * m
            leaf = np.frombuffer(raw, "<u2" if shape.width == 2 else "<u4", shape.rows * m, at).astype(np.int64).reshape(-1, m) + 1
            at += shape.width * shape.rows * m
            try:
                preorder(parents[-1])
            except ValueError as error:
                raise CorruptStream(f"the model's tree is none: {error}") from error
            is_root = parents[-1] < 0
            if (edge.sum(axis=2) != 1 << EDGE_BITS).any() or (edge[is_root] != edge[is_root][:, :1]).any():
                raise CorruptStream("a row of the model's edge tables does not sum to 2^16")
            if (np.add.reduceat(leaf, firsts, axis=0) != 1 << leaf_bits(int(shape.sizes.max()))).any():
                raise CorruptStream("a column of the model's leaf tables has the wrong sum")
            edges.append(edge)
            leaves.append(leaf)
        return CodecModel(shape.sizes, m, tuple(parents), tuple(edges), tuple(leaves), weights)


@dataclass(frozen=True)
class _Shape:
    d: int
    m: int
    trees: int
    sizes: Ints

    @property
    def rows(self) -> int:
        return int(self.sizes.sum())

    @property
    def width(self) -> int:
        return 2 if leaf_bits(int(self.sizes.max())) == EDGE_BITS else 4

    @property
    def length(self) -> int:
        a_tree = 4 * self.d + 2 * self.d * self.m * self.m + self.width * self.rows * self.m
        return _HEAD.size + 4 * self.d + 2 * self.trees + self.trees * a_tree

    @staticmethod
    def read(raw: bytes) -> _Shape:
        if len(raw) < _HEAD.size:
            raise CorruptStream("the model is cut off")
        magic, version, trees, d, m, zero = _HEAD.unpack_from(raw)
        if magic != _MAGIC or version != 1 or zero != 0:
            raise CorruptStream("the model does not begin as one of version 1 does")
        if not (1 <= d <= MAX_VARIABLES and 1 <= m <= MAX_LATENTS and 1 <= trees <= MAX_TREES):
            raise CorruptStream(f"the model says {d} variables, {m} states and {trees} trees: beyond the limits")
        if len(raw) < _HEAD.size + 4 * d:
            raise CorruptStream("the model is cut off")
        sizes = np.frombuffer(raw, "<u4", d, _HEAD.size).astype(np.int64)
        if sizes.min() < 1 or sizes.max() > MAX_CATEGORIES:
            raise CorruptStream(f"the model has a variable of {sizes.min() if sizes.min() < 1 else sizes.max()} values")
        shape = _Shape(d, m, trees, sizes)
        if shape.length > MAX_MODEL_BYTES:
            raise CorruptStream(f"the model would take {shape.length} bytes, above the limit of {MAX_MODEL_BYTES}")
        return shape


def _planes(model: CodecModel) -> bytes:
    """`raw` with the low and the high bytes of its tables apart, which zstd packs better."""
    raw = model.raw
    start = len(raw) % 2
    body = np.frombuffer(raw, np.uint8, offset=start).reshape(-1, 2)
    return raw[:start] + body.T.tobytes()


def _unplane(data: bytes) -> bytes:
    start = len(data) % 2
    return data[:start] + np.frombuffer(data, np.uint8, offset=start).reshape(2, -1).T.tobytes()


def _unzip(data: bytes) -> bytes:
    import zstandard

    most = min(MAX_MODEL_BYTES, FREE_BYTES + MOST_EXPANSION * len(data))
    try:
        parameters = zstandard.get_frame_parameters(data)
        if not 0 < parameters.content_size <= most or parameters.window_size > max(most, 1 << 27):
            raise CorruptStream(f"the embedded model would unfold to {parameters.content_size} bytes from {len(data)}")
        out = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompress(data, max_output_size=parameters.content_size)
    except zstandard.ZstdError as error:
        raise CorruptStream(f"the embedded model cannot be unfolded: {error}") from error
    if len(out) != parameters.content_size:
        raise CorruptStream("the embedded model unfolds to another length than its header says")
    return out


def _tables(parents: Ints, edge: Ints, leaf: Ints, sizes: Ints) -> TreeTables:
    d, m = len(sizes), leaf.shape[1]
    cum = np.zeros((len(leaf) + d, m), dtype=np.int64)
    rows = np.concatenate([[0], np.cumsum(sizes + 1)[:-1]]).astype(np.int64)
    is_first = np.zeros(len(cum), dtype=bool)
    is_first[rows] = True
    cum[~is_first] = leaf
    running = np.cumsum(cum, axis=0)
    cum = running - np.repeat(running[rows], sizes + 1, axis=0)
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    mass = leaf.sum(axis=1)
    favourite = np.array([mass[f : f + s].argmax() for f, s in zip(firsts, sizes, strict=True)], dtype=np.int64)
    back = np.ascontiguousarray(edge.transpose(0, 2, 1), dtype=np.int32)
    return TreeTables(parents, edge.astype(np.int32), back, cum.astype(np.int32), _plan(parents), favourite)


def _plan(parents: Ints) -> Ints:
    """Steps of the filter (D, 5): variable, depth, nodes that close after it, has children, its subtree's word is needed."""
    order = preorder(parents)
    d = len(order)
    depth = np.zeros(d, dtype=np.int64)
    position = np.empty(d, dtype=np.int64)
    position[order] = np.arange(d)
    for v in order:
        if parents[v] >= 0:
            depth[v] = depth[parents[v]] + 1
    last = position.copy()
    for v in order[::-1]:
        if parents[v] >= 0:
            last[parents[v]] = max(last[parents[v]], last[v])
    plan = np.zeros((d, 5), dtype=np.int64)
    needed = np.zeros(d, dtype=bool)
    for at, v in enumerate(order):
        p = parents[v]
        if p >= 0:
            needed[v] = last[v] < last[p] or needed[p]
        following = depth[order[at + 1]] if at + 1 < d else 0
        plan[at] = v, depth[v], max(0, depth[v] - following + 1), last[v] > at, needed[v]
    return plan

