"""Distil a dual encoder from cross-encoder scores: the paper's strongest baseline.

MiniLM, all six layers, its embeddings frozen as in the cross-encoder. Each step takes some anchor queries and a set
of items shared by them: some of the best-scored items of each and random ones. The loss is the divergence between the softmax of
the cross-encoder's scores and that of the scaled cosines over these items.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from workingpapers.parts.language import load_tokenizer, minilm_folder
from workingpapers.parts.language.bert import BertEncoder, load_minilm

MAX_TOKENS = 64


class TrainableEncoder:
    """MiniLM with its layers free, mean pooling, unit vectors."""

    def __init__(self) -> None:
        self.model: BertEncoder = load_minilm(minilm_folder())
        self.model.layers.requires_grad_(True)
        self._tokenizer = load_tokenizer(MAX_TOKENS)

    def forward(self, texts: Sequence[str], group: int = 40) -> Tensor:
        """(n, d) unit vectors with gradients; run in groups of like length, for half of a mixed batch is padding."""
        encoded = [e.ids for e in self._tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        rows = []
        for start in range(0, len(order), group):
            some = [encoded[i] for i in order[start : start + group]]
            width = max(map(len, some))
            ids = torch.tensor([e + [0] * (width - len(e)) for e in some])
            mask = ids > 0
            rows.append((self.model(ids, mask) * mask[..., None]).sum(1).float())
        return F.normalize(torch.cat(rows)[torch.argsort(torch.tensor(order))], dim=-1)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], batch: int = 64) -> NDArray[np.float32]:
        """(n, d) unit vectors."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        out = np.empty((len(texts), self.model.word.embedding_dim), np.float32)
        for start in range(0, len(order), batch):
            some = order[start : start + batch]
            out[some] = self.forward([texts[i] for i in some]).numpy()
        return out


def distill(
    queries: Sequence[str],
    items: Sequence[str],
    scores: NDArray[np.float32],
    *,
    seed: int = 0,
    steps: int = 80,
    queries_a_step: int = 32,
    items_a_step: int = 128,
    lr: float = 2e-4,
    seconds: float = float("inf"),
) -> TrainableEncoder:
    """Fine-tune MiniLM so that cosines of (queries, items) order as `scores`.

    Args:
        scores: (len(queries), len(items)) of the cross-encoder.
        steps: length of training; `seconds` ends it earlier.

    Returns:
        The trained encoder. About 1.2 s a step on one core.
    """
    if scores.shape != (len(queries), len(items)):
        raise ValueError(f"scores: shape {scores.shape}, expected {(len(queries), len(items))}")
    rng = np.random.default_rng([seed, 11])
    encoder = TrainableEncoder()
    log_scale = torch.tensor(3.0, requires_grad=True)  # cosine times exp(3) = 20 at first
    parameters = [p for p in encoder.model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": parameters}, {"params": [log_scale], "lr": 1e-2, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min((s + 1) / (0.1 * steps), max(0.02, 1 - s / steps)))
    spread = float((scores - scores.mean(1, keepdims=True)).std())
    best = np.argsort(-scores, axis=1)[:, :100]
    begin = time.perf_counter()
    fast = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    for _ in range(steps):
        if time.perf_counter() - begin > seconds:
            break
        q = rng.choice(len(queries), min(queries_a_step, len(queries)), replace=False)
        near = rng.permuted(best[q], axis=1)[:, : max(1, items_a_step * 2 // 3 // len(q))].ravel()
        chosen = np.unique(np.concatenate([near, rng.choice(len(items), items_a_step // 3, replace=False)]))
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            a = encoder.forward([queries[i] for i in q])
            b = encoder.forward([items[i] for i in chosen])
        cosines = a.float() @ b.float().T * log_scale.exp()
        target = torch.from_numpy(scores[np.ix_(q, chosen)] / spread).softmax(-1)
        loss = F.kl_div(cosines.log_softmax(-1), target, reduction="batchmean")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    encoder.model.requires_grad_(False)
    return encoder
