"""The `.pcm` file: a learned model as float32 tables.

    magic 8 | version 4 | header length 4 | header (JSON) | weights, and for each tree parents, edges, leaves | SHA-256 of all before
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ._codec import replacing
from ._errors import CorruptStream
from ._model import MAX_CATEGORIES, MAX_LATENTS, MAX_TREES, MAX_VARIABLES
from ._structure import preorder
from ._tree import HiddenTree

Array = npt.NDArray[Any]

MAGIC = b"\x89PCM\r\n\x1a\n"
_HEAD = struct.Struct("<8sII")
_VERSION = 1
_MAX_HEADER = 1 << 24
_SETTINGS = {"smoothing": float, "mi_bins": int, "binning": str}


def save(path: str | os.PathLike[str], settings: dict[str, Any], trees: list[HiddenTree], weights: Array) -> None:
    """Write; the old file stays until the new one is whole."""
    header = json.dumps({**settings, "n_latents": trees[0].n_latents, "n_trees": len(trees), "sizes": trees[0].sizes.tolist()}).encode()
    parts = [_HEAD.pack(MAGIC, _VERSION, len(header)), header, np.asarray(weights, dtype="<f4").tobytes()]
    for tree in trees:
        parts += [tree.parents.astype("<i4").tobytes(), tree.transition.astype("<f4").tobytes(), tree.leaf.astype("<f4").tobytes()]
    digest = hashlib.sha256()
    with replacing(Path(path)) as out:
        for part in parts:
            digest.update(part)
            out.write(part)
        out.write(digest.digest())


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[HiddenTree], npt.NDArray[np.float64]]:
    """Settings, trees and weights.

    Raises:
        CorruptStream: not such a file, damaged or cut off. Sizes are held against the file's before memory is asked for.
    """
    data = Path(path).read_bytes()
    if data[:8] != MAGIC:
        raise CorruptStream(f"{os.fspath(path)} is not a .pcm file: it begins otherwise")
    if len(data) < _HEAD.size + 32:
        raise CorruptStream(f"{os.fspath(path)} is cut off")
    _, version, n_header = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise CorruptStream(f"{os.fspath(path)} has version {version}; this reader knows version {_VERSION}")
    if hashlib.sha256(data[:-32]).digest() != data[-32:]:
        raise CorruptStream(f"{os.fspath(path)} is damaged or cut off: its checksum differs")
    if n_header > min(_MAX_HEADER, len(data) - _HEAD.size - 32):
        raise CorruptStream(f"{os.fspath(path)} says a header of {n_header} bytes")
    try:
        header = json.loads(data[_HEAD.size : _HEAD.size + n_header])
        m, k = int(header["n_latents"]), int(header["n_trees"])
        sizes = np.array(header["sizes"], dtype=np.int64)
        settings = {name: kind(header[name]) for name, kind in _SETTINGS.items()}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CorruptStream(f"{os.fspath(path)} has a header that cannot be read: {error}") from error
    d = len(sizes)
    if sizes.ndim != 1 or not (1 <= d <= MAX_VARIABLES and 1 <= m <= MAX_LATENTS and 1 <= k <= MAX_TREES) \
            or sizes.min() < 1 or sizes.max() > MAX_CATEGORIES:
        raise CorruptStream(f"{os.fspath(path)} says {d} variables, {m} states and {k} trees: beyond the limits")
    rows = int(sizes.sum())
    at = _HEAD.size + n_header
    if len(data) - 32 != at + 4 * k + k * (4 * d + 4 * d * m * m + 4 * rows * m):
        raise CorruptStream(f"{os.fspath(path)} has another length than its header says")
    weights = np.frombuffer(data, "<f4", k, at).astype(np.float64)
    at += 4 * k
    trees = []
    for _ in range(k):
        parents = np.frombuffer(data, "<i4", d, at).astype(np.int64)
        at += 4 * d
        edge = np.frombuffer(data, "<f4", d * m * m, at).reshape(d, m, m).astype(np.float32)
        at += edge.nbytes
        leaf = np.frombuffer(data, "<f4", rows * m, at).reshape(rows, m).astype(np.float32)
        at += leaf.nbytes
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        sums = np.concatenate([edge.sum(axis=2).ravel(), np.add.reduceat(leaf, first, axis=0).ravel(), [weights.sum()]])
        if not (np.isfinite(sums).all() and edge.min() >= 0 and leaf.min() >= 0 and weights.min() > 0 and np.abs(sums - 1).max() < 1e-3):
            raise CorruptStream(f"{os.fspath(path)} holds tables that are no probabilities")
        try:
            preorder(parents)
        except ValueError as error:
            raise CorruptStream(f"{os.fspath(path)} holds no tree: {error}") from error
        trees.append(HiddenTree.make(parents, sizes, edge, leaf))
    return settings, trees, weights / weights.sum()
