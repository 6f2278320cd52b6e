"""BERT's encoder layer in plain PyTorch, over weights named as Hugging Face names them.

Small on purpose: MiniLM's forward pass for embedding, and for cross-encoders that run some layers on each text alone
and others on both texts together, or need the last layer at a few positions only. `tests/parts/language` holds it
against `transformers.BertModel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BertLayer(nn.Module):
    """One post-norm transformer layer: multi-head attention, then a feed-forward net, a residual and LayerNorm after each.

    Args:
        width: hidden size d.
        inner: size of the feed-forward net's hidden layer.
        heads: number of attention heads; divides d.
    """

    def __init__(self, width: int = 384, inner: int = 1536, heads: int = 12, eps: float = 1e-12) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads: {heads} does not divide the width {width}")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.mix = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.norm2 = nn.LayerNorm(width, eps=eps)

    def _split(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        return x.view(b, t, self.heads, d // self.heads).transpose(1, 2)  # (b, heads, t, d/heads)

    def forward(self, x: Tensor, mask: Tensor, at: Tensor | None = None) -> Tensor:
        """Hidden states after this layer.

        Args:
            x: (b, t, d) hidden states.
            mask: (b, t) bool, true where there is a token.
            at: (b, p) positions whose output is wanted; all t when None. Keys and values always come from all tokens,
                so the result equals the full one at these positions, at a sixth of its cost for small p.

        Returns:
            (b, t, d), or (b, p, d) with `at`.
        """
        asked = x if at is None else x.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))
        seen = F.scaled_dot_product_attention(
            self._split(self.query(asked)), self._split(self.key(x)), self._split(self.value(x)), attn_mask=mask[:, None, None, :]
        )
        asked = self.norm1(asked + self.mix(seen.transpose(1, 2).flatten(2)))
        return self.norm2(asked + self.down(F.gelu(self.up(asked))))  # type: ignore[no-any-return]


# our name -> Hugging Face's name within `encoder.layer.<i>.`
_HF = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mix": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm2": "output.LayerNorm",
}


class BertEncoder(nn.Module):
    """Embeddings and the first `layers` layers of a BERT.

    Example:
        >>> encoder = BertEncoder(vocabulary=30, layers=2, width=8, inner=16, heads=2)
        >>> ids = torch.tensor([[1, 5, 2], [1, 2, 0]])
        >>> encoder(ids, ids > 0).shape
        torch.Size([2, 3, 8])
    """

    def __init__(
        self, vocabulary: int = 30522, layers: int = 6, width: int = 384, inner: int = 1536, heads: int = 12, positions: int = 512
    ) -> None:
        super().__init__()
        self.word = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(positions, width)
        self.segment = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(BertLayer(width, inner, heads) for _ in range(layers))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states (b, t, d) of token ids (b, t), where mask (b, t) is true at tokens and false at padding."""
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.norm(self.word(ids) + self.position(places) + self.segment.weight[0])
        for layer in self.layers:
            x = layer(x, mask)
        return x  # type: ignore[no-any-return]

    def load_hf(self, weights: Mapping[str, Tensor]) -> BertEncoder:
        """Take over weights under Hugging Face's names; layers beyond this encoder's depth are left out.

        Raises:
            ValueError: naming the weight that is absent.
        """
        names = {
            "word.weight": "embeddings.word_embeddings.weight",
            "position.weight": "embeddings.position_embeddings.weight",
            "segment.weight": "embeddings.token_type_embeddings.weight",
            "norm.weight": "embeddings.LayerNorm.weight",
            "norm.bias": "embeddings.LayerNorm.bias",
        }
        for i in range(len(self.layers)):
            for ours, theirs in _HF.items():
                for kind in ("weight", "bias"):
                    names[f"layers.{i}.{ours}.{kind}"] = f"encoder.layer.{i}.{theirs}.{kind}"
        absent = sorted(set(names.values()) - set(weights))
        if absent:
            raise ValueError(f"weights: {absent[0]} is absent ({len(absent)} in all): not the weights of such a BERT")
        self.load_state_dict({ours: weights[theirs] for ours, theirs in names.items()})
        return self


def load_minilm(folder: Path, layers: int = 6) -> BertEncoder:
    """The first `layers` layers of MiniLM-L6 from a folder with `model.safetensors`, in fp32, frozen, in evaluation mode."""
    from safetensors.torch import load_file

    encoder = BertEncoder(layers=layers).load_hf(load_file(folder / "model.safetensors"))
    return encoder.requires_grad_(False).eval()
