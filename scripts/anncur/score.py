"""Fill the score matrices: `python score.py [--minutes 30]`.

700 queries x 2,000 items, both heads at once, pairs run in groups of equal length (no padding at all), bfloat16 products. Rows already
filled are kept in `--cache`, so that a kill costs one chunk. Writes `scores.npz` (float16, two arrays cls and emb, (700, 2000)) and
`report.json` (accuracy, speed, distance of bfloat16 from fp32).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from train import minilm

from data import SHIPPED
from workingpapers.papers.anncur.sense_encoder import HEADS, SenseCrossEncoder, TextStates

CHUNK = 50  # queries
GROUP = 512  # pairs run at once


def rounded(model: SenseCrossEncoder, states: TextStates) -> TextStates:
    return TextStates(states.buffer.bfloat16(), states.start, states.length, states.marks)


@torch.inference_mode()
def chunk_scores(model: SenseCrossEncoder, queries: TextStates, items: TextStates, rows: torch.Tensor) -> torch.Tensor:
    n = len(items.length)
    q, i = rows.repeat_interleave(n), torch.arange(n).repeat(len(rows))
    length = queries.length[q] + items.length[i]
    order = torch.argsort(length, stable=True)
    ends = torch.cumsum(torch.bincount(length), 0)
    out = torch.empty(len(q), len(HEADS))
    start = 0
    for end in ends.tolist():
        for a in range(start, end, GROUP):
            some = order[a : min(a + GROUP, end)]
            out[some] = model(queries, items, q[some], i[some]).float()
        start = end
    return out.view(len(rows), n, len(HEADS))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    texts = json.loads((SHIPPED / "senses.json").read_text(encoding="utf-8"))
    exact = SenseCrossEncoder(minilm()).load_trained(SHIPPED)
    queries, items = exact.states(texts["queries"], item=False), exact.states(texts["items"], item=True)
    fast = SenseCrossEncoder(minilm()).load_trained(SHIPPED).bfloat16()
    fast_q, fast_i = rounded(fast, queries), rounded(fast, items)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    begin, new = time.perf_counter(), 0
    n_q, n_i = len(texts["queries"]), len(texts["items"])
    for start in range(0, n_q, CHUNK):
        path = arguments.cache / f"rows-{start}.npy"
        if not path.exists():
            rows = torch.arange(start, min(start + CHUNK, n_q))
            np.save(path, chunk_scores(fast, fast_q, fast_i, rows).numpy())
            new += len(rows) * n_i
            print(f"{start + len(rows)}/{n_q}: {new / (time.perf_counter() - begin):.0f} pairs/s", flush=True)
    scores = np.concatenate([np.load(arguments.cache / f"rows-{s}.npy") for s in range(0, n_q, CHUNK)])
    np.savez(SHIPPED / "scores.npz", **{head: scores[..., h].astype(np.float16) for h, head in enumerate(HEADS)})

    rng = np.random.default_rng(3)
    q, i = rng.integers(n_q, size=2000), rng.integers(n_i, size=2000)
    with torch.inference_mode():
        begin = time.perf_counter()
        live = exact(queries, items, torch.from_numpy(q), torch.from_numpy(i)).numpy()
        seconds = time.perf_counter() - begin
    report = {"pairs_a_second_fp32_unsorted": round(2000 / seconds)}
    for h, head in enumerate(HEADS):
        stored = scores[q, i, h].astype(np.float16).astype(np.float32)
        report[head] = {
            "std_of_scores": float(scores[..., h].std()),
            "root_mean_square_difference_from_fp32": float(np.sqrt(np.mean((stored - live[:, h]) ** 2))),
            "largest_difference_from_fp32": float(np.abs(stored - live[:, h]).max()),
            "gold_first_of_2000": float((scores[..., h].argmax(1) == np.array(texts["gold"])).mean()),
            "gold_in_first_10_of_2000": float(np.mean([(s > s[g]).sum() < 10 for s, g in zip(scores[..., h], texts["gold"])])),
        }
    (SHIPPED / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
