"""Additive token mixing in place of the attention of an existing timm network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from workingpapers.papers.cas_vit.mixer import ConvAdditiveTokenMixer
from workingpapers.parts.vision import ensure_torchvision


class TokenConvMixer(nn.Module):
    """A `ConvAdditiveTokenMixer` for networks that pass tokens (B, N, C) instead of maps.

    The tokens are laid out on their grid, mixed, and flattened again. Leading tokens that are no patch (class, registers) hear the
    mean of the mixed patches through one linear layer, and are added to every patch beforehand through another: without either they
    would be cut off, since a convolution has no place for them.

    Args:
        dim: channels C.
        prefix_tokens: tokens before the patches.
        **options: of `ConvAdditiveTokenMixer`.

    Shape:
        (B, prefix + H*W, C) -> the same. The grid is the `feat_size` argument or second positional argument (PVT passes it), else square.

    Raises:
        ValueError: tokens that form no square grid and no size given; wrong width.

    Example:
        >>> TokenConvMixer(8, prefix_tokens=1)(torch.zeros(2, 1 + 9, 8)).shape
        torch.Size([2, 10, 8])
    """

    def __init__(self, dim: int, *, prefix_tokens: int = 0, **options: Any) -> None:
        super().__init__()
        self.dim, self.prefix_tokens = dim, prefix_tokens
        self.mixer = ConvAdditiveTokenMixer(dim, **options)
        self.to_patches = nn.Linear(dim, dim) if prefix_tokens else None
        self.from_patches = nn.Linear(dim, dim) if prefix_tokens else None

    def forward(self, x: Tensor, feat_size: Any = None, **unused: Any) -> Tensor:
        if x.ndim != 3 or x.shape[-1] != self.dim:
            raise ValueError(f"tokens must have shape (B, N, {self.dim}), got {tuple(x.shape)}")
        if unused.get("attn_mask") is not None:
            raise ValueError("attn_mask: additive token mixing compares no pairs, so it has nothing to mask")
        prefix, patches = x[:, : self.prefix_tokens], x[:, self.prefix_tokens :]
        height, width = self._grid(patches.shape[1], feat_size)
        if self.to_patches is not None:
            patches = patches + self.to_patches(prefix.mean(dim=1, keepdim=True))
        mixed = self.mixer(patches.transpose(1, 2).reshape(len(x), self.dim, height, width)).flatten(2).transpose(1, 2)
        if self.from_patches is None:
            return mixed  # type: ignore[no-any-return]
        summary = self.from_patches(mixed.mean(dim=1, keepdim=True)).expand_as(prefix)
        return torch.cat([summary, mixed], dim=1)

    def _grid(self, n: int, feat_size: Any) -> tuple[int, int]:
        if isinstance(feat_size, tuple | list):
            height, width = int(feat_size[0]), int(feat_size[1])
        else:
            height = width = math.isqrt(n)
        if height * width != n:
            raise ValueError(f"{n} patches form no {height} x {width} grid; pass feat_size=(height, width)")
        return height, width


def convert_attention(model: nn.Module, *, where: Callable[[str], bool] | None = None, **options: Any) -> list[str]:
    """Put additive token mixing in place of the attention of a timm network, in place; returns the names replaced.

    Replaced: `Attention` of the vision transformers (class and register tokens stay connected, see `TokenConvMixer`) and of PVT v2.
    The new layers are untrained: train or fine-tune afterwards.

    Args:
        model: changed in place.
        where: chooses by module name; all by default.
        **options: of `ConvAdditiveTokenMixer`, such as `proj_drop`.

    Returns:
        Names of the replaced modules, in the network's order.

    Raises:
        ValueError: nothing to replace.

    Example:
        >>> from workingpapers.papers.cas_vit import create_model
        >>> vit = create_model("vit_tiny_patch16_224", depth=2, num_classes=3)
        >>> convert_attention(vit)
        ['blocks.0.attn', 'blocks.1.attn']
        >>> vit.eval()(torch.zeros(1, 3, 224, 224)).shape
        torch.Size([1, 3])
    """
    ensure_torchvision()
    from timm.layers.attention import Attention
    from timm.models.pvt_v2 import Attention as PvtAttention

    prefix = int(getattr(model, "num_prefix_tokens", 0))
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, Attention | PvtAttention) and (where is None or where(name))
    ]
    if not found:
        raise ValueError(f"{type(model).__name__} has no attention layer of timm's vision transformers or PVT v2 to replace")
    for name, module in found:
        parent, _, leaf = name.rpartition(".")
        dim = _width(module)
        tokens = 0 if isinstance(module, PvtAttention) else prefix
        like = next(module.parameters())
        new = TokenConvMixer(dim, prefix_tokens=tokens, **options).to(device=like.device, dtype=like.dtype)
        setattr(model.get_submodule(parent), leaf, new.train(module.training))
    return [name for name, _ in found]


def _width(module: nn.Module) -> int:
    projection = getattr(module, "proj", None)
    if not isinstance(projection, nn.Linear):
        raise ValueError(f"{type(module).__name__} has no output projection to read the width from")
    return projection.out_features
