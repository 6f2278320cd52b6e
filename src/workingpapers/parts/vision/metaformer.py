"""One scaffold that takes any token mixer: what differs between two networks is then the mixer alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations, product

import torch
from torch import Tensor, nn

from workingpapers.parts.vision.macs import count_params
from workingpapers.parts.vision.mixers import TokenMixer

NormLayer = Callable[[int], nn.Module]


class MetaFormerBlock(nn.Module):
    """`x + mixer(norm(x))`, then `x + MLP(norm(x))`, on maps (B, C, H, W).

    Example:
        >>> from workingpapers.parts.vision.mixers import NoMixing
        >>> MetaFormerBlock(8, NoMixing)(torch.zeros(1, 8, 4, 4)).shape
        torch.Size([1, 8, 4, 4])
    """

    def __init__(self, dim: int, mixer: TokenMixer, mlp_ratio: float = 4.0, norm_layer: NormLayer = nn.BatchNorm2d) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.norm1, self.mixer = norm_layer(dim), mixer(dim)
        self.norm2 = norm_layer(dim)
        self.mlp = nn.Sequential(nn.Conv2d(dim, hidden, 1), nn.GELU(), nn.Conv2d(hidden, dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class MetaFormer(nn.Module):
    """A pyramid of MetaFormer blocks (Yu et al. 2022) around a token mixer of your choice.

    Stem: one 3x3 convolution with norm and ReLU. Between stages: a 3x3 convolution of stride 2 with norm. Head: norm, mean, linear.

    Args:
        mixer: builds the token mixer for a number of channels.
        dims, depths: width and number of blocks of each stage.
        in_chans, num_classes: channels of the image, classes K.
        stem_stride: stride of the first convolution.
        mlp_ratio: hidden width of the MLPs over C.
        norm_layer: constructor of every norm.

    Shape:
        (B, in_chans, H, W) -> (B, K).

    Raises:
        ValueError: dims and depths of different lengths or not positive.

    Example:
        >>> from workingpapers.parts.vision.mixers import AveragePool
        >>> MetaFormer(AveragePool, dims=(8, 16), depths=(1, 1), in_chans=1)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        mixer: TokenMixer,
        *,
        dims: Sequence[int],
        depths: Sequence[int],
        in_chans: int = 3,
        num_classes: int = 10,
        stem_stride: int = 2,
        mlp_ratio: float = 4.0,
        norm_layer: NormLayer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        if len(dims) != len(depths) or not dims or any(n < 1 for n in (*dims, *depths)):
            raise ValueError(f"dims and depths must be positive and of the same length, got {tuple(dims)} and {tuple(depths)}")
        self.stem = nn.Sequential(nn.Conv2d(in_chans, dims[0], 3, stride=stem_stride, padding=1), norm_layer(dims[0]), nn.ReLU())
        self.stages = nn.Sequential()
        for i, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
            down = [nn.Conv2d(dims[i - 1], dim, 3, stride=2, padding=1), norm_layer(dim)] if i else []
            self.stages.append(nn.Sequential(*down, *(MetaFormerBlock(dim, mixer, mlp_ratio, norm_layer) for _ in range(depth))))
        self.norm = norm_layer(dims[-1])
        self.head = nn.Linear(dims[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stages(self.stem(x)))
        return self.head(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def matched_width(
    build: Callable[[tuple[int, ...]], nn.Module], dims: Sequence[int], target: int, *, tolerance: float = 0.02
) -> tuple[int, ...]:
    """Widths near a common multiple of `dims` at which `build(widths)` has `target` parameters to within `tolerance`.

    All widths are scaled by one factor and rounded; where rounding misses the target, one or two widths are moved by one or two.

    Args:
        build: widths -> network. Called some 30 times.
        dims: proportions to keep.
        target: number of parameters wanted.
        tolerance: share of `target` that may be missed.

    Raises:
        ValueError: no such widths; names the nearest.

    Example:
        >>> matched_width(lambda dims: nn.Linear(dims[0], 10, bias=False), (8,), 200)
        (20,)
    """
    if target < 1 or not dims:
        raise ValueError(f"target must be positive and dims not empty, got {target} and {tuple(dims)}")

    def params(widths: tuple[int, ...]) -> int:
        with torch.random.fork_rng(devices=[]):  # building draws weights: leave the caller's stream alone
            return count_params(build(widths))

    def scaled(factor: float) -> tuple[int, ...]:
        return tuple(max(2, round(d * factor)) for d in dims)

    low, high = 1e-2, 1.0
    while params(scaled(high)) < target and high < 64:
        high *= 2
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if params(scaled(middle)) < target else (low, middle)
    near = scaled(high)
    tried = {near: params(near), scaled(low): params(scaled(low))}
    for moved in (1, 2):  # one width, then two
        for axes in combinations(range(len(near)), min(moved, len(near))):
            for steps in product((-2, -1, 1, 2), repeat=len(axes)):
                if min(abs(n - target) for n in tried.values()) <= tolerance * target / (4 if moved == 1 else 1):
                    break
                by = dict(zip(axes, steps, strict=True))
                widths = tuple(max(2, w + by.get(j, 0)) for j, w in enumerate(near))
                tried[widths] = params(widths)
    best = min(tried, key=lambda w: abs(tried[w] - target))
    if abs(tried[best] - target) > tolerance * target:
        raise ValueError(
            f"no widths near a multiple of {tuple(dims)} give {target} parameters within {tolerance:.0%}; {best} gives {tried[best]}"
        )
    return best
