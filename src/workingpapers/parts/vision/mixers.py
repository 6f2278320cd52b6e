"""Six token mixers with one interface: a map `(B, C, H, W)` in, a map of the same shape out. They need torch alone.

| mixer | cost in tokens N = HW | source |
|---|---|---|
| `SelfAttention` | N^2 | Vaswani et al. 2017, softmax attention by torch's fused kernel |
| `SeparableAttention` | N | Mehta and Rastegari 2022 (MobileViTv2), equations 1 to 3 |
| `AdditiveAttention` | N | Shaker et al. 2023 (SwiftFormer), equations 3 to 5 |
| `AveragePool` | N | Yu et al. 2022 (PoolFormer), equation 4 |
| `DepthwiseConv` | N | a plain depthwise 3x3 convolution |
| `NoMixing` | 0 | the identity: what a scaffold does by itself |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TokenMixer = Callable[[int], nn.Module]
"""Builds a mixer for `dim` channels."""


def checked_dim(dim: int) -> int:
    """`dim` itself; ValueError when it is not a positive integer."""
    if not isinstance(dim, int) or isinstance(dim, bool) or dim < 1:
        raise ValueError(f"dim must be a positive integer (number of channels), got {dim!r}")
    return dim


@torch.fx.wrap
def check_map(x: Tensor, dim: int) -> None:
    """ValueError unless `x` is a map (B, dim, H, W)."""
    if x.ndim != 4 or x.shape[1] != dim:
        raise ValueError(f"input must have shape (B, {dim}, H, W), got {tuple(x.shape)}")


class SelfAttention(nn.Module):
    """Multi-head softmax attention over all H*W positions. O(N^2 C) time; torch's kernel needs no N x N tensor.

    Args:
        dim: channels C of the map.
        head_dim: width of a head. There are `max(1, round(C / head_dim))` heads, so any C is accepted.
        qkv_bias: whether query, key and value have a bias.

    Example:
        >>> SelfAttention(24, head_dim=8)(torch.zeros(2, 24, 7, 5)).shape
        torch.Size([2, 24, 7, 5])
    """

    def __init__(self, dim: int, *, head_dim: int = 32, qkv_bias: bool = True) -> None:
        super().__init__()
        self.dim, self.head_dim = checked_dim(dim), checked_dim(head_dim)
        self.heads = max(1, round(dim / head_dim))
        inner = self.heads * head_dim
        self.qkv = nn.Conv2d(dim, 3 * inner, 1, bias=qkv_bias)
        self.proj = nn.Conv2d(inner, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        check_map(x, self.dim)
        height, width = x.shape[-2:]
        # (B, 3*heads*head_dim, H, W) -> three of (B, heads, N, head_dim); laid out anew, for the fused kernel wants head_dim innermost
        maps = self.qkv(x).reshape(x.shape[0], 3, self.heads, self.head_dim, height * width)
        q, k, v = maps.transpose(-1, -2).contiguous().unbind(1)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(-1, -2).reshape(x.shape[0], -1, height, width))  # type: ignore[no-any-return]


class SeparableAttention(nn.Module):
    """MobileViTv2's separable self-attention: one softmax score a position, one context vector an image. O(N C^2).

    With scores s = softmax_N(w_I x), context c = sum_N s * (W_K x), the output is W_O (relu(W_V x) * c).

    Example:
        >>> SeparableAttention(8)(torch.zeros(2, 8, 7, 5)).shape
        torch.Size([2, 8, 7, 5])
    """

    def __init__(self, dim: int, *, bias: bool = True) -> None:
        super().__init__()
        self.dim = checked_dim(dim)
        self.qkv_proj = nn.Conv2d(dim, 1 + 2 * dim, 1, bias=bias)
        self.out_proj = nn.Conv2d(dim, dim, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        check_map(x, self.dim)
        score, key, value = self.qkv_proj(x).split([1, self.dim, self.dim], dim=1)
        share = score.flatten(2).softmax(dim=-1).view_as(score)
        context = (key * share).sum(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
        return self.out_proj(F.relu(value) * context)  # type: ignore[no-any-return]


class AdditiveAttention(nn.Module):
    """SwiftFormer's efficient additive attention: one global query an image, multiplied into every key. O(N C^2).

    Query and key are projected and normalised to unit length; a learned vector scores the queries, their weighted sum is the
    global query g; the output is W_2 (W_1 (g * k) + q).

    Example:
        >>> AdditiveAttention(8)(torch.zeros(2, 8, 7, 5)).shape
        torch.Size([2, 8, 7, 5])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = checked_dim(dim)
        self.to_query = nn.Linear(dim, dim)
        self.to_key = nn.Linear(dim, dim)
        self.w_g = nn.Parameter(torch.randn(dim, 1))
        self.proj = nn.Linear(dim, dim)
        self.final = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        check_map(x, self.dim)
        tokens = x.flatten(2).transpose(1, 2)  # (B, N, C)
        query = F.normalize(self.to_query(tokens), dim=-1)
        key = F.normalize(self.to_key(tokens), dim=-1)
        weight = F.normalize(query @ self.w_g * self.dim**-0.5, dim=1)  # (B, N, 1)
        global_query = (weight * query).sum(dim=1, keepdim=True)  # (B, 1, C)
        out = self.final(self.proj(global_query * key) + query)
        return out.transpose(1, 2).reshape(x.shape)  # type: ignore[no-any-return]


class AveragePool(nn.Module):
    """PoolFormer's mixer: the mean of the 3x3 neighbourhood, less the position itself. No parameters, O(N C).

    Example:
        >>> float(AveragePool(1)(torch.ones(1, 1, 4, 4)).abs().max())
        0.0
    """

    def __init__(self, dim: int, *, kernel_size: int = 3) -> None:
        super().__init__()
        self.dim = checked_dim(dim)
        self.pool = nn.AvgPool2d(kernel_size, stride=1, padding=kernel_size // 2, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        check_map(x, self.dim)
        return self.pool(x) - x  # type: ignore[no-any-return]


class DepthwiseConv(nn.Module):
    """A depthwise convolution with bias. O(N C).

    Example:
        >>> sum(p.numel() for p in DepthwiseConv(8).parameters())
        80
    """

    def __init__(self, dim: int, *, kernel_size: int = 3) -> None:
        super().__init__()
        self.dim = checked_dim(dim)
        self.conv = nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        check_map(x, self.dim)
        return self.conv(x)  # type: ignore[no-any-return]


class NoMixing(nn.Module):
    """The identity: tokens are not mixed. A control that says how much the scaffold does by itself.

    Example:
        >>> float(NoMixing(2)(torch.ones(1, 2, 3, 3)).sum())
        18.0
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = checked_dim(dim)

    def forward(self, x: Tensor) -> Tensor:
        check_map(x, self.dim)
        return x


MIXERS: Mapping[str, TokenMixer] = MappingProxyType(
    {
        "self-attention": SelfAttention,
        "separable attention": SeparableAttention,
        "additive attention": AdditiveAttention,
        "average pool": AveragePool,
        "depthwise conv": DepthwiseConv,
        "identity": NoMixing,
    }
)
"""The six by name."""
