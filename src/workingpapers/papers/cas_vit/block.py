"""The block of CAS-ViT: local perception, additive token mixing, and an MLP, each on a residual branch."""

from __future__ import annotations

from collections.abc import Callable

import torch.fx
from torch import Tensor, nn

from workingpapers.papers.cas_vit.mixer import ConvAdditiveTokenMixer, depthwise
from workingpapers.parts.vision import ensure_torchvision
from workingpapers.parts.vision.mixers import check_map, checked_dim

ensure_torchvision()
from timm.layers.drop import DropPath  # noqa: E402
from timm.layers.mlp import Mlp  # noqa: E402

torch.fx.wrap("check_map")


class LocalIntegration(nn.Module):
    """`LI(x) = W2 GELU(DW(BN(W1 x)))`, with 1x1 convolutions W1, W2.

    Example:
        >>> import torch
        >>> LocalIntegration(8)(torch.zeros(1, 8, 4, 4)).shape
        torch.Size([1, 8, 4, 4])
    """

    def __init__(
        self, dim: int, *, act_layer: type[nn.Module] = nn.GELU, norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d
    ) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(dim, dim, 1), norm_layer(dim), depthwise(dim), act_layer(), nn.Conv2d(dim, dim, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)  # type: ignore[no-any-return]


class CASBlock(nn.Module):
    """One block: `x + LI(x)`, then `x + DropPath(CATM(BN(x)))`, then `x + DropPath(MLP(BN(x)))`.

    The local branch is never dropped.

    Args:
        dim: channels C.
        mlp_ratio: hidden width of the MLP over C.
        drop_path: chance that a residual branch of a sample is dropped in training.
        proj_drop: dropout on the outputs of mixer and MLP.
        qkv_bias: bias of the mixer's first convolution.
        act_layer, norm_layer: constructors; the published models use GELU and batch normalisation.

    Shape:
        (B, C, H, W) -> (B, C, H, W). Linear in H*W.

    Raises:
        ValueError: `dim` below 1, `drop_path` outside [0, 1), or an input that is no map with C channels.

    Example:
        >>> import torch
        >>> CASBlock(16)(torch.zeros(2, 16, 7, 7)).shape
        torch.Size([2, 16, 7, 7])
    """

    def __init__(
        self,
        dim: int,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        act_layer: type[nn.Module] = nn.GELU,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
        *,
        proj_drop: float = 0.0,
        qkv_bias: bool = False,
    ) -> None:
        super().__init__()
        self.dim = checked_dim(dim)
        if not 0.0 <= drop_path < 1.0:
            raise ValueError(f"drop_path must lie in [0, 1), got {drop_path!r}")
        self.local_perception = LocalIntegration(dim, act_layer=act_layer, norm_layer=norm_layer)
        self.norm1 = norm_layer(dim)
        self.attn = ConvAdditiveTokenMixer(dim, qkv_bias=qkv_bias, proj_drop=proj_drop)
        self.drop_path = DropPath(drop_path) if drop_path > 0.0 else nn.Identity()
        self.norm2 = norm_layer(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), act_layer=act_layer, drop=proj_drop, use_conv=True)

    def forward(self, x: Tensor) -> Tensor:
        check_map(x, self.dim)
        x = x + self.local_perception(x)
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]
