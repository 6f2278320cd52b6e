"""Convolutional additive token mixing: the CATM of CAS-ViT. Needs torch alone."""

from __future__ import annotations

import torch.fx
from torch import Tensor, nn

from workingpapers.parts.vision.mixers import check_map, checked_dim

torch.fx.wrap("check_map")  # a trace keeps the check as one call


def depthwise(dim: int, kernel_size: int = 3) -> nn.Conv2d:
    """A depthwise convolution that keeps the size of the map."""
    return nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)


class SpatialGate(nn.Module):
    """`Sp(z) = z * sigmoid(W ReLU(BN(DW z)))`: one weight a position, shared by all channels.

    Args:
        dim: channels C.
        kernel_size: side of the depthwise kernel, odd.

    Shape:
        (B, C, H, W) -> (B, C, H, W). O(C HW).

    Example:
        >>> import torch
        >>> SpatialGate(8)(torch.zeros(2, 8, 5, 7)).shape
        torch.Size([2, 8, 5, 7])
    """

    def __init__(self, dim: int, *, kernel_size: int = 3) -> None:
        super().__init__()
        self.dim = checked_dim(dim)
        self.block = nn.Sequential(
            depthwise(dim, _odd(kernel_size)),
            nn.BatchNorm2d(dim),
            nn.ReLU(inplace=True),
            nn.Conv2d(dim, 1, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, z: Tensor) -> Tensor:
        check_map(z, self.dim)
        return z * self.block(z)  # type: ignore[no-any-return]


class ChannelGate(nn.Module):
    """`Ch(z) = z * sigmoid(W mean_HW(z))`: one weight a channel, shared by all positions.

    This mean is the only place where a position hears of the whole image.

    Args:
        dim: channels C.

    Shape:
        (B, C, H, W) -> (B, C, H, W). O(C HW + C^2).

    Example:
        >>> import torch
        >>> ChannelGate(8)(torch.zeros(2, 8, 5, 7)).shape
        torch.Size([2, 8, 5, 7])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = checked_dim(dim)
        self.block = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(dim, dim, 1, bias=False), nn.Sigmoid())

    def forward(self, z: Tensor) -> Tensor:
        check_map(z, self.dim)
        return z * self.block(z)  # type: ignore[no-any-return]


class ConvAdditiveTokenMixer(nn.Module):
    """CATM: query and key are gated, added, and turned by a depthwise convolution into a map that multiplies the value.

        q, k, v = W_qkv x
        out = DW2( DW1( Ch(Sp(q)) + Ch'(Sp'(k)) ) * v )

    No pair of positions is ever compared, so time and memory are linear in H*W. It is *not* a global pairwise operator:
    a position hears its neighbours through stacked 3x3 convolutions and the image as a whole through the channel gate's mean.

    Args:
        dim: channels C.
        kernel_size: side of every depthwise kernel, odd.
        qkv_bias: whether the 1x1 convolution to q, k, v has a bias.
        proj_drop: dropout on the output.

    Shape:
        (B, C, H, W) -> (B, C, H, W). O(C HW (3C + 4 * kernel_size^2)) operations and exactly 5 C^2 + 46 C parameters at the defaults.

    Raises:
        ValueError: `dim` below 1, an even kernel, or an input that is no map with C channels.

    References:
        Zhang et al. 2024, arXiv 2408.03703, section on additive similarity.

    Example:
        >>> import torch
        >>> mixer = ConvAdditiveTokenMixer(48)
        >>> mixer(torch.zeros(1, 48, 14, 14)).shape
        torch.Size([1, 48, 14, 14])
        >>> sum(p.numel() for p in mixer.parameters())
        13728
    """

    def __init__(self, dim: int, *, kernel_size: int = 3, qkv_bias: bool = False, proj_drop: float = 0.0) -> None:
        super().__init__()
        self.dim = checked_dim(dim)
        kernel_size = _odd(kernel_size)
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, bias=qkv_bias)
        self.oper_q = nn.Sequential(SpatialGate(dim, kernel_size=kernel_size), ChannelGate(dim))
        self.oper_k = nn.Sequential(SpatialGate(dim, kernel_size=kernel_size), ChannelGate(dim))
        self.dwc = depthwise(dim, kernel_size)
        self.proj = depthwise(dim, kernel_size)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        check_map(x, self.dim)
        q, k, v = self.qkv(x).chunk(3, dim=1)
        context = self.dwc(self.oper_q(q) + self.oper_k(k))
        return self.proj_drop(self.proj(context * v))  # type: ignore[no-any-return]


def _odd(kernel_size: int) -> int:
    if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be a positive odd integer, got {kernel_size!r}")
    return kernel_size
