"""Filling the index block by block so that a kill loses one block at most, and keeping it on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workingpapers.papers.anncur.scorers import PairScorer, score_pairs

Progress = Callable[[int, int], None]
PAIRS_A_BLOCK = 16384


def digest(*parts: object) -> str:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(json.dumps(part, default=str, ensure_ascii=False).encode())
    return sha.hexdigest()


def score_all(
    scorer: PairScorer,
    fingerprint: str,
    items: Sequence[Any],
    queries: Sequence[Any],
    dtype: str,
    progress: Progress | None,
    checkpoint: Path | None,
) -> NDArray[Any]:
    """Scores (N, n_q) of every item for every query.

    With `checkpoint` finished blocks are kept there, and a later call with the same scorer, items and queries goes on after them.

    Raises:
        ValueError: when the checkpoint belongs to another scorer, other items or queries, or is damaged.
    """
    block = max(1, PAIRS_A_BLOCK // max(1, len(queries)))
    n_blocks = -(-len(items) // block)
    done: set[int] = set()
    shape = (len(items), len(queries))
    if checkpoint is None:
        scores: NDArray[Any] = np.empty(shape, dtype)
        log = None
    else:
        checkpoint.mkdir(parents=True, exist_ok=True)
        key = digest(fingerprint, list(items), list(queries), dtype, block)
        done = _resume(checkpoint, key, n_blocks)
        path = checkpoint / "scores.part"
        fresh = not path.exists()
        if not fresh and path.stat().st_size != np.dtype(dtype).itemsize * shape[0] * shape[1]:
            raise ValueError(f"checkpoint: {path.name} has the wrong size; delete the folder to start anew")
        scores = np.memmap(path, dtype, "w+" if fresh else "r+", shape=shape)
        if fresh:
            done = set()
        log = (checkpoint / "done.log").open("a", encoding="ascii")
    try:
        for b in range(n_blocks):
            if b not in done:
                some = items[b * block : (b + 1) * block]
                got = score_pairs(scorer, [(q, i) for i in some for q in queries])
                scores[b * block : b * block + len(some)] = _narrow(got.reshape(len(some), -1), dtype)
                if log is not None:
                    assert isinstance(scores, np.memmap)
                    scores.flush()  # the block is on disk before the log says so
                    log.write(f"{b}\n")
                    log.flush()
                    os.fsync(log.fileno())
            if progress is not None:
                progress(min((b + 1) * block, len(items)) * len(queries), shape[0] * shape[1])
    finally:
        if log is not None:
            log.close()
    return np.array(scores) if checkpoint is not None else scores


def _narrow(scores: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """To the stored type; a score too large for float16 is an error, not infinity."""
    if dtype == "float16" and np.abs(scores).max(initial=0) > np.finfo(np.float16).max:
        raise ValueError("dtype: a score is too large for float16; use dtype='float32'")
    return scores.astype(dtype)


def _resume(checkpoint: Path, key: str, n_blocks: int) -> set[int]:
    header, log = checkpoint / "fit.json", checkpoint / "done.log"
    if not header.exists():
        header.write_text(json.dumps({"key": key}), encoding="utf-8")
        return set()
    if json.loads(header.read_text(encoding="utf-8")).get("key") != key:
        raise ValueError(f"checkpoint: {checkpoint.name} was begun with another scorer, other items or queries; name another folder")
    if not log.exists():
        return set()
    text = log.read_text(encoding="ascii")
    whole = text[: text.rfind("\n") + 1]  # a line cut short by the kill does not count
    if whole != text:
        log.write_text(whole, encoding="ascii")
    return {b for b in map(int, whole.split()) if 0 <= b < n_blocks}


def write(folder: Path, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
    """Write arrays as .npy and `meta` as JSON; `index.json` comes last and marks the folder as whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for value in (*meta["items"], *meta["queries"]):
        if not isinstance(value, str | int):
            raise TypeError(f"items: {type(value).__name__} cannot be saved; use strings or integers as items and queries")
    (folder / "index.json").unlink(missing_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    part = folder / "index.json.part"
    part.write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")
    part.replace(folder / "index.json")


def read(folder: Path, names: Sequence[str], mmap: bool) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """What `write` wrote.

    Raises:
        FileNotFoundError, ValueError: when the folder holds no whole index.
    """
    header = folder / "index.json"
    if not header.is_file():
        raise FileNotFoundError(f"{folder}: no index.json, so no (whole) index was saved here")
    meta = json.loads(header.read_text(encoding="utf-8"))
    if meta.get("format") != 1:
        raise ValueError(f"{folder}: index format {meta.get('format')!r} is not 1")
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r" if mmap else None, allow_pickle=False) for name in names}
    return arrays, meta
