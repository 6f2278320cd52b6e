"""An inference copy of CAS-ViT with fewer and larger operations, and equal outputs."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from workingpapers.papers.cas_vit.block import CASBlock
from workingpapers.papers.cas_vit.mixer import ChannelGate, ConvAdditiveTokenMixer, SpatialGate
from workingpapers.papers.cas_vit.model import CasViT, Downsample, Stage
from workingpapers.parts.vision.folding import fold_after, fold_before


def fuse(model: CasViT) -> CasViT:
    """A copy for inference: every batch normalisation of the trunk folded away, query and key branches run as one.

    - convolution then norm: one convolution (stem, downsampling, local perception, spatial gates);
    - norm then 1x1 convolution: one convolution (before q, k, v and before the MLP);
    - the two gates: one depthwise convolution on 2C channels and grouped 1x1 convolutions;
    - the two heads, whose logits are averaged: one linear layer with averaged weights;
    - maps kept channels-last in memory, activations and residual sums in place.

    The surface stays that of `CasViT` (features, intermediates, `reset_classifier`). Outputs differ by rounding only.

    Args:
        model: left as it is. Its norms must be batch normalisation.

    Returns:
        A `CasViT` in evaluation mode without gradients; `train()` raises.

    Raises:
        ValueError: not a `CasViT`, already fused, or with norms that cannot be folded.

    Example:
        >>> model = CasViT(num_classes=3, embed_dims=(8, 8), depths=(1, 1)).eval()
        >>> x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> bool((fuse(model)(x) - model(x)).abs().max() < 1e-4)
        True
    """
    if not isinstance(model, CasViT):
        raise ValueError(f"model must be a CasViT, got {type(model).__name__}")
    if model.fused:
        raise ValueError("model is fused already")
    out = copy.deepcopy(model).eval()
    stem = out.patch_embed
    out.patch_embed = nn.Sequential(
        fold_after(_conv(stem[0]), stem[1]), nn.ReLU(inplace=True), fold_after(_conv(stem[3]), stem[4]), nn.ReLU(inplace=True)
    )  # fmt: skip
    for stage in out.stages:
        assert isinstance(stage, Stage)
        if isinstance(stage.downsample, Downsample):
            stage.downsample = fold_after(stage.downsample.proj, stage.downsample.norm)
        stage.blocks = nn.Sequential(*(FusedCASBlock(cast(CASBlock, block)) for block in stage.blocks))
    if out.distilled and isinstance(out.head, nn.Linear) and isinstance(out.head_dist, nn.Linear):
        with torch.no_grad():
            out.head.weight.copy_((out.head.weight + out.head_dist.weight) / 2)
            out.head.bias.copy_((out.head.bias + out.head_dist.bias) / 2)
    out.distilled, out.head_dist = False, nn.Identity()
    out.fused = True
    for module in out.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    out.requires_grad_(False)
    return out


class FusedTokenMixer(nn.Module):
    """`mixer(norm(x))` of a trained `ConvAdditiveTokenMixer` after batch normalisation `norm`."""

    def __init__(self, norm: nn.Module, mixer: ConvAdditiveTokenMixer) -> None:
        super().__init__()
        self.dim = mixer.dim
        qkv = fold_before(norm, mixer.qkv)
        self.qk, self.v = _rows(qkv, 0, 2 * self.dim), _rows(qkv, 2 * self.dim, 3 * self.dim)
        (space_q, channel_q), (space_k, channel_k) = ([_gate(g) for g in oper] for oper in (mixer.oper_q, mixer.oper_k))
        self.space = _side_by_side(fold_after(_conv(space_q[0]), space_q[1]), fold_after(_conv(space_k[0]), space_k[1]))
        self.score = _side_by_side(_conv(space_q[3]), _conv(space_k[3]))
        self.channel = _side_by_side(_conv(channel_q[1]), _conv(channel_k[1]))
        self.context, self.proj = copy.deepcopy(mixer.dwc), copy.deepcopy(mixer.proj)

    def forward(self, x: Tensor) -> Tensor:
        qk = self.qk(x)
        place = self.score(self.space(qk).relu_()).sigmoid_()  # (B, 2, H, W)
        q = qk[:, : self.dim] * place[:, :1]
        k = qk[:, self.dim :] * place[:, 1:]
        means = torch.cat([q.mean(dim=(2, 3), keepdim=True), k.mean(dim=(2, 3), keepdim=True)], dim=1)
        share = self.channel(means).sigmoid_()  # (B, 2C, 1, 1)
        total = torch.addcmul(q.mul_(share[:, : self.dim]), k, share[:, self.dim :])
        return self.proj(self.context(total).mul_(self.v(x)))  # type: ignore[no-any-return]


class FusedCASBlock(nn.Module):
    """A `CASBlock` in evaluation mode with its norms folded."""

    def __init__(self, block: CASBlock) -> None:
        super().__init__()
        first, norm, local, act, last = block.local_perception.network
        self.local = nn.Sequential(fold_after(_conv(first), norm), local, _in_place(act), last)
        self.mixer = FusedTokenMixer(block.norm1, block.attn)
        self.mlp = nn.Sequential(fold_before(block.norm2, _conv(block.mlp.fc1)), _in_place(block.mlp.act), block.mlp.fc2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.local(x).add_(x)
        x = self.mixer(x).add_(x)
        return self.mlp(x).add_(x)  # type: ignore[no-any-return]


class InPlaceGELU(nn.Module):
    """GELU that overwrites its input: no second map of 4C channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.aten.gelu_(x)  # type: ignore[no-any-return]


def _in_place(act: nn.Module) -> nn.Module:
    return InPlaceGELU() if type(act) is nn.GELU and act.approximate == "none" else copy.deepcopy(act)


def _conv(module: nn.Module) -> nn.Conv2d:
    if not isinstance(module, nn.Conv2d):
        raise ValueError(f"expected a convolution here, got {type(module).__name__}")
    return module


def _gate(module: nn.Module) -> nn.Sequential:
    if not isinstance(module, SpatialGate | ChannelGate):
        raise ValueError(f"expected a gate here, got {type(module).__name__}")
    return module.block


@torch.no_grad()
def _rows(conv: nn.Conv2d, first: int, last: int) -> nn.Conv2d:
    """The 1x1 convolution that gives the output channels `first` to `last - 1` of `conv`."""
    part = nn.Conv2d(conv.in_channels, last - first, 1, device=conv.weight.device, dtype=conv.weight.dtype)
    part.weight.copy_(conv.weight[first:last])
    if part.bias is not None and conv.bias is not None:
        part.bias.copy_(conv.bias[first:last])
    return part


@torch.no_grad()
def _side_by_side(a: nn.Conv2d, b: nn.Conv2d) -> nn.Conv2d:
    """One convolution that applies `a` to the first half of the channels and `b` to the second."""
    kernel, padding = a.kernel_size[0], a.padding[0]
    if isinstance(padding, str):
        raise ValueError("padding by name is not supported")
    both = nn.Conv2d(
        2 * a.in_channels, 2 * a.out_channels, kernel, padding=padding, groups=2 * a.groups, bias=a.bias is not None,
        device=a.weight.device, dtype=a.weight.dtype,
    )  # fmt: skip
    both.weight.copy_(torch.cat([a.weight, b.weight]))
    if both.bias is not None and a.bias is not None and b.bias is not None:
        both.bias.copy_(torch.cat([a.bias, b.bias]))
    return both
