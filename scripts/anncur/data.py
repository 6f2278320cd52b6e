"""Draw the queries and items of the sense-linking workload from WordNet 3.0 verbs, and write them down.

700 queries (examples of five words or more, one a synset) are held back from training together with their synsets;
so are 300 more for choosing the length of training. 2,000 items: the senses of the 700 queries, then other senses of the same
lemmas, then other verbs. The first 150 queries and 400 items form the same kind of set in small.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workingpapers.workloads.wordnet import SenseLinking, sense_linking

SHIPPED = Path(__file__).parents[2] / "src/workingpapers/papers/anncur/data"
SEED, N_QUERIES, N_DEV, N_ITEMS = 20221022, 700, 300, 2000
SMOKE_QUERIES, SMOKE_ITEMS = 150, 400


@dataclass(frozen=True)
class Draw:
    task: SenseLinking
    queries: list[int]
    dev: list[int]
    train: list[int]
    items: list[int]


def draw() -> Draw:
    task = sense_linking("verb")
    rng = np.random.default_rng(SEED)
    held: list[int] = []
    taken: set[int] = set()
    for q in rng.permutation(len(task.queries)).tolist():
        words = [w for w in task.queries[q].split() if w not in "«»"]
        if len(words) >= 5 and len(task.senses[task.targets[q]]) > 1 and task.gold[q] not in taken:
            held.append(q)
            taken.add(task.gold[q])
        if len(held) == N_QUERIES + N_DEV:
            break
    train = [q for q in range(len(task.queries)) if task.gold[q] not in taken]
    queries, dev = held[:N_QUERIES], held[N_QUERIES:]
    small = _items(task, queries[:SMOKE_QUERIES], SMOKE_ITEMS, [], rng)
    return Draw(task, queries, dev, train, _items(task, queries, N_ITEMS, small, rng))


def _items(task: SenseLinking, queries: list[int], size: int, first: list[int], rng: np.random.Generator) -> list[int]:
    """`first`, the senses of `queries`, then two thirds of the rest from the same lemmas, then any verbs."""
    items = dict.fromkeys([*first, *(task.gold[q] for q in queries)])
    rivals = [s for q in queries for s in task.senses[task.targets[q]] if s not in items]
    rivals = list(dict.fromkeys(rng.permutation(rivals).tolist()))
    items |= dict.fromkeys(rivals[: 2 * (size - len(items)) // 3])
    others = (i for i in rng.permutation(len(task.items)).tolist() if i not in items)
    while len(items) < size:
        items[next(others)] = None
    return list(items)


def main() -> None:
    d = draw()
    gold_at = {item: i for i, item in enumerate(d.items)}
    SHIPPED.mkdir(parents=True, exist_ok=True)
    content = {
        "source": "WordNet 3.0 verbs (see WORDNET-LICENCE.txt), drawn by scripts/anncur/data.py",
        "queries": [d.task.queries[q] for q in d.queries],
        "gold": [gold_at[d.task.gold[q]] for q in d.queries],
        "items": [d.task.items[i] for i in d.items],
    }
    (SHIPPED / "senses.json").write_text(json.dumps(content, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    print(len(d.queries), len(d.dev), len(d.train), len(d.items), "items of which rivals and others")


if __name__ == "__main__":
    main()
