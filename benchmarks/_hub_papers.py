"""100,000 papers from a sample of real ones, for load tests.

Recipe, for each record that is made: a category is drawn as often as it comes first in the sample, and two real papers of it. The
title is the first half of one title's words and the second half of the other's; the abstract alternates their sentences; authors
are those of the first with the last one of the second; the day is that of the first; the id has a number that arXiv has not
reached in that month. So words, lengths, formulas and names come as often, and in such company, as in real papers. Both are drawn
from the papers whose vectors are known. Its vector is the mean of the vectors of its two sources with a little noise (0.02 a
coordinate), brought to unit length; a real paper that was not embedded gets one from two others of its category in the same way.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z$\\])")
Row = dict[str, Any]


def real(path: Path) -> list[Row]:
    """The records of the sample."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def made(sample: list[Row], count: int, seed: int = 0) -> Iterator[tuple[Row, str, str]]:
    """Records made from the sample, each with the ids of its two sources."""
    rng = np.random.default_rng(seed)
    by_category: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(sample):
        by_category[row["categories"][0]].append(i)
    taken: dict[str, int] = defaultdict(lambda: 99_999)
    done = 0
    while done < count:
        a = sample[int(rng.integers(len(sample)))]
        b = sample[int(rng.choice(by_category[a["categories"][0]]))]
        if a["date"] < "2015" or a["id"] == b["id"]:  # ids had four digits before
            continue
        first, second = a["title"].split(), b["title"].split()
        title = " ".join(first[: -(-len(first) // 2)] + second[len(second) // 2 :])
        parts = zip(SENTENCE.split(a["abstract"])[::2], SENTENCE.split(b["abstract"])[1::2], strict=False)
        abstract = " ".join(s for pair in parts for s in pair) or a["abstract"]
        month = a["date"][2:4] + a["date"][5:7]
        row = {"id": f"{month}.{taken[month]:05d}", "title": title, "abstract": abstract,
               "authors": list(dict.fromkeys([*a["authors"][:20], b["authors"][-1]])), "date": a["date"], "date_kind": a["date_kind"],
               "categories": a["categories"], "source": a["source"]}
        taken[month] -= 1
        done += 1
        yield row, a["id"], b["id"]


def neighbours(sample: list[Row], embedded: list[Row], seed: int = 1) -> dict[str, tuple[str, str]]:
    """Two embedded papers of the same category for each real paper that was not embedded."""
    rng = np.random.default_rng(seed)
    by_category: dict[str, list[str]] = defaultdict(list)
    for row in embedded:
        by_category[row["categories"][0]].append(row["id"])
    there, everyone = {row["id"] for row in embedded}, [row["id"] for row in embedded]
    found = {}
    for row in sample:
        if row["id"] not in there:
            a, b = rng.choice(by_category.get(row["categories"][0], everyone), 2)
            found[row["id"]] = (str(a), str(b))
    return found


def vectors_of_sample(path: Path) -> tuple[dict[str, int], NDArray[np.float32]]:
    """Cached vectors: `papers-sample.npy` and `papers-sample.ids` in a folder, or parts that are not joined yet."""
    if (path / "papers-sample.npy").exists():
        ids = (path / "papers-sample.ids").read_text().split()
        return {name: i for i, name in enumerate(ids)}, np.load(path / "papers-sample.npy")
    folder = path / "parts" if (path / "parts").is_dir() else path
    loaded = [np.load(p) for p in sorted(folder.glob("[0-9r]*.npz"))]
    ids = [str(i) for part in loaded for i in part["ids"]]
    return {name: i for i, name in enumerate(ids)}, np.concatenate([part["vectors"] for part in loaded])


def mixed(a: NDArray[np.float32], b: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Vectors of made papers from those of their sources."""
    found = (a + b) / 2 + rng.normal(scale=0.02, size=a.shape).astype(np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)
