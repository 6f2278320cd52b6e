"""The small cross-encoder that the claims score with: MiniLM whose top two layers read query and item together.

Layers 1 to 4 of MiniLM-L6 stay as published and read each text alone, so their output is computed once a text
(the idea of precomputing term representations, MacAvaney et al. 2020). Layers 5 and 6 read both texts jointly. Layer 5 is
shared by the two variants, layer 6 and the head are each variant's own; these were trained on WordNet's examples
(`scripts/anncur/train.py`) and are all that is shipped. The variants are the paper's: [CLS] is a linear layer on the
state of [CLS]; [EMB] is the dot product of the mean state of the two marks around the query's target and the state of
the colon that ends the item's title.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from workingpapers.papers.anncur.scorers import Adapter
from workingpapers.parts.language import load_tokenizer, minilm_folder
from workingpapers.parts.language.bert import load_minilm

Head = Literal["cls", "emb"]

HEADS: tuple[Head, ...] = ("cls", "emb")
FROZEN_LAYERS = 4
MARK_OPEN, MARK_CLOSE, COLON = 1077, 1090, 1024  # token ids of « » :
MAX_TOKENS = 128


class TextStates:
    """Frozen lower-layer states of many texts, end to end in one buffer.

    Attributes:
        buffer: (sum of lengths, d).
        start, length: (n,) int64, where each text lies in `buffer`.
        marks: (n, 2) int64, positions within the text of « and » (queries), or of the title's colon twice (items).
    """

    def __init__(self, buffer: Tensor, start: Tensor, length: Tensor, marks: Tensor) -> None:
        self.buffer, self.start, self.length, self.marks = buffer, start, length, marks


class SenseCrossEncoder(nn.Module):
    """A cross-encoder over (example with « marked » target, `lemma, lemma: gloss`), in both variants at once.

    Args:
        minilm: folder with MiniLM-L6's `model.safetensors`, for the frozen layers.
    """

    def __init__(self, minilm: Path) -> None:
        super().__init__()
        whole = load_minilm(minilm)
        self.shared = whole.layers[FROZEN_LAYERS].requires_grad_(True)
        self.last = nn.ModuleDict({head: copy.deepcopy(whole.layers[FROZEN_LAYERS + 1]).requires_grad_(True) for head in HEADS})
        whole.layers = whole.layers[:FROZEN_LAYERS]
        self._frozen = [whole]  # in a list: neither a parameter nor part of what is shipped
        width = whole.word.embedding_dim
        self.side = nn.Parameter(torch.zeros(width))  # added to the item's states, which else look like the query's
        self.out = nn.Linear(width, 1)
        nn.init.zeros_(self.out.bias)
        nn.init.normal_(self.out.weight, std=0.02, generator=torch.Generator().manual_seed(0))
        self.scale = nn.Parameter(torch.tensor(width**-0.5))

    @torch.inference_mode()
    def states(self, texts: Sequence[str], *, item: bool, batch: int = 64) -> TextStates:
        """Run the frozen layers over each text alone, sorted by length. About 0.4 ms a text.

        Raises:
            ValueError: naming the text without « » (query) or without a colon (item) when the head reads them.
        """
        encoded = load_tokenizer(MAX_TOKENS).encode_batch(list(texts))
        ids = [np.asarray(e.ids) for e in encoded]
        length = torch.tensor([len(i) for i in ids])
        start = torch.cat([torch.zeros(1, dtype=torch.int64), length.cumsum(0)[:-1]])
        buffer = torch.empty(int(length.sum()), self.side.shape[0])
        order = torch.argsort(length, stable=True).tolist()
        for i in range(0, len(order), batch):
            some = order[i : i + batch]
            block = torch.zeros(len(some), int(length[some].max()), dtype=torch.int64)
            for row, j in enumerate(some):
                block[row, : len(ids[j])] = torch.from_numpy(ids[j])
            out = self._frozen[0](block, block > 0)
            for row, j in enumerate(some):
                buffer[start[j] : start[j] + length[j]] = out[row, : length[j]]
        wanted = (COLON, COLON) if item else (MARK_OPEN, MARK_CLOSE)
        marks = torch.zeros(len(ids), 2, dtype=torch.int64)
        for j, tokens in enumerate(ids):
            where = [np.flatnonzero(tokens == w) for w in wanted]
            if not all(len(w) for w in where):
                need = "a colon after its title" if item else "« » around its target"
                raise ValueError(f"pairs: {need} is needed, but got {texts[j]!r}")
            marks[j] = torch.tensor([int(w[0]) for w in where])
        return TextStates(buffer, start, length, marks)

    def forward(self, queries: TextStates, items: TextStates, q: Tensor, i: Tensor, heads: Sequence[Head] = HEADS) -> Tensor:
        """Scores (b, len(heads)) of the pairs (queries[q], items[i]); q, i are (b,) int64."""
        lq, li = queries.length[q], items.length[i]
        t = int((lq + li).max())
        place = torch.arange(t)
        inside = place < (lq + li)[:, None]
        of_query = place < lq[:, None]
        at_q = (queries.start[q][:, None] + place).clamp_(max=len(queries.buffer) - 1)
        at_i = (items.start[i][:, None] + place - lq[:, None]).clamp_(0, len(items.buffer) - 1)
        x = torch.where(of_query[..., None], queries.buffer[at_q], items.buffer[at_i] + self.side.to(items.buffer.dtype))  # (b, t, d)
        x = self.shared(x, inside)
        return torch.stack([self._head(head, x, inside, queries.marks[q], items.marks[i], lq) for head in heads], 1)

    def _head(self, head: Head, x: Tensor, inside: Tensor, query_marks: Tensor, item_marks: Tensor, lq: Tensor) -> Tensor:
        if head == "cls":
            state = self.last[head](x, inside, at=torch.zeros_like(lq)[:, None])
            return self.out(state[:, 0])[:, 0].float()  # type: ignore[no-any-return]
        at = torch.cat([query_marks, item_marks[:, :1] + lq[:, None]], 1)  # (b, 3): «, », colon
        state = self.last[head](x, inside, at=at).float()
        return (state[:, :2].mean(1) * state[:, 2]).sum(-1) * self.scale  # type: ignore[no-any-return]

    def trained_state(self) -> dict[str, dict[str, Tensor]]:
        """What training changed, in fp16, by file: this is what the package ships."""
        files: dict[str, dict[str, Tensor]] = {"shared": {}, "cls": {}, "emb": {}}
        for name, value in self.state_dict().items():
            part = "cls" if name.startswith(("last.cls", "out")) else "emb" if name.startswith(("last.emb", "scale")) else "shared"
            files[part][name] = value.detach().half().contiguous()
        return files

    def load_trained(self, folder: Path) -> SenseCrossEncoder:
        """Take over the shipped weights; frozen, for evaluation."""
        state: dict[str, Tensor] = {}
        for part in ("shared", *HEADS):
            state |= {name: value.float() for name, value in load_file(folder / f"{part}.safetensors").items()}
        self.load_state_dict(state)
        return self.requires_grad_(False).eval()


def load_trained(folder: Path) -> SenseCrossEncoder:
    """The shipped model. `folder` holds `shared`, `cls` and `emb` `.safetensors`; MiniLM comes from its package.

    Raises:
        ModelMissing: when MiniLM's package is not installed.
    """
    return SenseCrossEncoder(minilm_folder()).load_trained(folder)


def sense_scorer(head: Head, folder: Path) -> Adapter:
    """The shipped cross-encoder as a scorer of text pairs, fp32; about 1,000 pairs/s on one core.

    Example:
        >>> from importlib.resources import files
        >>> score = sense_scorer("cls", Path(str(files("workingpapers.papers.anncur") / "data")))
        >>> right, wrong = score([("they « ran » to the door", "run: move fast by using one's feet"),
        ...                       ("they « ran » to the door", "ice, frost: decorate with frosting")])
        >>> bool(right > wrong)
        True
    """
    if head not in HEADS:
        raise ValueError(f"head: {head!r} is none of {', '.join(map(repr, HEADS))}")
    model = load_trained(folder)

    def score(pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        queries = {q: n for n, q in enumerate(dict.fromkeys(q for q, _ in pairs))}
        items = {i: n for n, i in enumerate(dict.fromkeys(i for _, i in pairs))}
        at_q = torch.tensor([queries[q] for q, _ in pairs], dtype=torch.int64)
        at_i = torch.tensor([items[i] for _, i in pairs], dtype=torch.int64)
        return score_grid(model, model.states(list(queries), item=False), model.states(list(items), item=True), at_q, at_i, (head,))[:, 0]

    digest = hashlib.sha256(b"".join((folder / f"{part}.safetensors").read_bytes() for part in ("shared", head))).hexdigest()
    return Adapter(score, f"senses-{head}-{digest[:16]}")


@torch.inference_mode()
def score_grid(
    model: SenseCrossEncoder, queries: TextStates, items: TextStates, q: Tensor, i: Tensor, heads: Sequence[Head] = HEADS, batch: int = 128
) -> NDArray[np.float32]:
    """Scores (n, len(heads)) of pairs, run in batches of like length."""
    order = torch.argsort(queries.length[q] + items.length[i], stable=True)
    out = np.empty((len(q), len(heads)), np.float32)
    for start in range(0, len(order), batch):
        some = order[start : start + batch]
        out[some.numpy()] = model(queries, items, q[some], i[some], heads).float().numpy()
    return out


def live_difference(folder: Path, rng: np.random.Generator, cells: int) -> float:
    """Root mean square difference between stored and live scores over `cells` random cells of each head, in standard deviations
    of that head's scores less their row means; the larger of both heads."""
    from workingpapers.papers.anncur.senses import matrix, texts

    queries, items, _ = texts()
    q, i = rng.integers(len(queries), size=cells), rng.integers(len(items), size=cells)
    model, at = load_trained(folder), torch.arange(cells)
    live = score_grid(
        model, model.states([queries[a] for a in q], item=False), model.states([items[b] for b in i], item=True), at, at
    )
    worst = 0.0
    for h, head in enumerate(HEADS):
        stored = matrix(head)
        spread = float((stored - stored.mean(1, keepdims=True)).std())
        worst = max(worst, float(np.sqrt(np.mean((live[:, h] - stored[q, i]) ** 2))) / spread)
    return worst


def seconds_per_pair(folder: Path, rng: np.random.Generator, pairs: int = 300) -> float:
    """Pace of the shipped [CLS] model here and now over random pairs of the workload, texts' own states included."""
    from workingpapers.papers.anncur.senses import texts

    queries, items, _ = texts()
    scorer = sense_scorer("cls", folder)
    some_q, some_i = rng.choice(len(queries), 20, replace=False), rng.choice(len(items), pairs // 20, replace=False)
    asked = [(queries[a], items[b]) for a in some_q for b in some_i]
    scorer(asked[:40])
    begin = time.perf_counter()
    scorer(asked)
    return (time.perf_counter() - begin) / len(asked)
