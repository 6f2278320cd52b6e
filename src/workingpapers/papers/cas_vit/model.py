"""CAS-ViT in timm's manner, and its four published sizes in timm's registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from workingpapers.papers.cas_vit.block import CASBlock
from workingpapers.papers.cas_vit.checkpoints import checkpoint_filter_fn
from workingpapers.parts.vision import ensure_torchvision

ensure_torchvision()
import timm  # noqa: E402
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD  # noqa: E402
from timm.layers.weight_init import trunc_normal_  # noqa: E402
from timm.models import build_model_with_cfg, checkpoint_seq, generate_default_cfgs, register_model  # noqa: E402
from timm.models._features import feature_take_indices  # noqa: E402

STEM_STRIDES = {4: (2, 2), 2: (2, 1), 1: (1, 1)}


class Downsample(nn.Module):
    """A 3x3 convolution of stride 2 and its norm: (B, C, H, W) -> (B, C', ceil(H/2), ceil(W/2))."""

    def __init__(self, in_dim: int, dim: int, norm_layer: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_dim, dim, 3, stride=2, padding=1)
        self.norm = norm_layer(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x))  # type: ignore[no-any-return]


class Stage(nn.Module):
    """Blocks at one resolution, after a downsampling (the identity in the first stage)."""

    grad_checkpointing = False

    def __init__(self, downsample: nn.Module, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = self.downsample(x)
        if self.grad_checkpointing and self.training:
            return checkpoint_seq(self.blocks, x)  # type: ignore[no-any-return]
        return self.blocks(x)  # type: ignore[no-any-return]


class CasViT(nn.Module):
    """The CAS-ViT backbone with timm's surface.

    Stem of two 3x3 convolutions, four stages of `CASBlock`s joined by strided convolutions, batch normalisation, global
    mean, and two linear heads. Evaluation gives the mean of the two heads; training gives the pair
    `(logits, distillation logits)`, unless `set_distilled_training(False)` asks for the mean there too. Train both heads: the
    mean of a trained and an untrained head is worse than either.

    Args:
        num_classes: classes K; 0 gives pooled features (B, C4).
        in_chans: channels of the image.
        global_pool: `"avg"`, or `""` for the map (only with `num_classes=0`).
        embed_dims, depths: width and number of blocks of each stage.
        mlp_ratio: hidden width of the MLPs over C.
        drop_rate: dropout before the heads. proj_drop_rate: inside the blocks.
        drop_path_rate: stochastic depth of the last block; block b of n has `rate * b / (n - 1)`.
        distilled: whether there is a second head. The published sizes count it.
        stem_stride: 4 as published; 2 or 1 keep more positions of small images (ours).
        feature_norms: the dense-prediction variant: a batch normalisation for each of the four outputs, no heads.
        act_layer, norm_layer: constructors.

    Shape:
        (B, in_chans, H, W) -> (B, K). Any H, W from `stem_stride * 8` up; nothing is bound to a position. Time and memory
        are linear in H*W.

    Raises:
        ValueError: impossible arguments; an image of the wrong rank or channel count, or smaller than the total
            stride; a batch of 1 in training mode (batch normalisation would measure one image: freeze the norms or
            call `eval()`); `train()` on a model made by `fuse`.

    References:
        Zhang et al. 2024, arXiv 2408.03703.

    Example:
        >>> model = CasViT(num_classes=10, in_chans=1, embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), stem_stride=2).eval()
        >>> model(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
        >>> [tuple(f.shape[1:]) for f in model.forward_intermediates(torch.zeros(2, 1, 28, 28), intermediates_only=True)]
        [(8, 14, 14), (8, 7, 7), (16, 4, 4), (16, 2, 2)]
    """

    fused = False

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        embed_dims: Sequence[int] = (48, 56, 112, 220),
        depths: Sequence[int] = (2, 2, 4, 2),
        mlp_ratio: float = 4.0,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        distilled: bool = True,
        stem_stride: int = 4,
        *,
        proj_drop_rate: float = 0.0,
        qkv_bias: bool = False,
        feature_norms: bool = False,
        act_layer: type[nn.Module] = nn.GELU,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        _check_shape(embed_dims, depths, stem_stride, in_chans, drop_path_rate)
        self.in_chans, self.stem_stride = in_chans, stem_stride
        self.num_features = self.head_hidden_size = embed_dims[-1]
        self.distilled_training = True
        first, second = STEM_STRIDES[stem_stride]
        half = embed_dims[0] // 2
        self.patch_embed = nn.Sequential(
            nn.Conv2d(in_chans, half, 3, stride=first, padding=1), norm_layer(half), nn.ReLU(),
            nn.Conv2d(half, embed_dims[0], 3, stride=second, padding=1), norm_layer(embed_dims[0]), nn.ReLU(),
        )  # fmt: skip
        rates = iter([drop_path_rate * b / max(1, sum(depths) - 1) for b in range(sum(depths))])
        self.stages = nn.Sequential()
        self.feature_info: list[dict[str, Any]] = []
        for i, (dim, depth) in enumerate(zip(embed_dims, depths, strict=True)):
            downsample = Downsample(embed_dims[i - 1], dim, norm_layer) if i else nn.Identity()
            blocks = [
                CASBlock(dim, mlp_ratio, next(rates), act_layer, norm_layer, proj_drop=proj_drop_rate, qkv_bias=qkv_bias)
                for _ in range(depth)
            ]
            self.stages.append(Stage(downsample, blocks))
            self.feature_info.append({"num_chs": dim, "reduction": stem_stride * 2**i, "module": f"stages.{i}"})
        self.feature_norms = nn.ModuleList([norm_layer(dim) for dim in embed_dims] if feature_norms else [])
        self.norm = nn.Identity() if feature_norms else norm_layer(embed_dims[-1])
        self.head_drop = nn.Dropout(drop_rate)
        self.distilled = distilled and not feature_norms
        self.reset_classifier(0 if feature_norms else num_classes, global_pool)

    # ---- what timm asks of a model

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put fresh heads for `num_classes` classes in place; 0 removes them."""
        if not isinstance(num_classes, int) or num_classes < 0:
            raise ValueError(f"num_classes must be 0 or more, got {num_classes!r}")
        if global_pool not in (None, "", "avg"):
            raise ValueError(f"global_pool must be 'avg' or '', got {global_pool!r}")
        if global_pool is not None:
            self.global_pool = global_pool
        if num_classes and self.global_pool == "":
            raise ValueError("global_pool='' gives a map: it needs num_classes=0")
        self.num_classes = num_classes
        self.head = self._linear_head(num_classes)
        self.head_dist = self._linear_head(num_classes) if self.distilled else nn.Identity()

    def _linear_head(self, num_classes: int) -> nn.Module:
        if num_classes == 0:
            return nn.Identity()
        like = next(self.parameters())
        head = nn.Linear(self.num_features, num_classes, device=like.device, dtype=like.dtype)
        trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
        return head.train(self.training)

    def get_classifier(self) -> nn.Module | tuple[nn.Module, nn.Module]:
        """The two heads, or the one."""
        return (self.head, self.head_dist) if self.distilled else self.head

    def set_distilled_training(self, enable: bool = True) -> None:
        """Whether training gives the pair of logits (as published) or their mean."""
        self.distilled_training = enable

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks in the backward pass: less memory, about a third more time."""
        for stage in self.stages:
            cast(Stage, stage).grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        return set()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layer groups, for layer-wise learning rates."""
        fine = [
            (r"^stages\.(\d+)\.downsample", (0,)),
            (r"^stages\.(\d+)\.blocks\.(\d+)", None),
            (r"^(?:norm|feature_norms)", (99999,)),
        ]
        return {"stem": r"^patch_embed", "blocks": r"^stages\.(\d+)" if coarse else fine}

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop what is not needed for the outputs in `indices`; returns them normalised."""
        take, last = feature_take_indices(len(self.stages), indices)
        shortened = last < len(self.stages) - 1
        self.stages = nn.Sequential(*list(self.stages)[: last + 1])
        if self.feature_norms:
            self.feature_norms = nn.ModuleList(list(self.feature_norms)[: last + 1])
        if prune_norm or shortened:
            self.norm = nn.Identity()
        if shortened:
            self.num_features = self.head_hidden_size = self.feature_info[last]["num_chs"]
        if prune_head or shortened:
            self.reset_classifier(0, "")
        return list(take)

    # ---- forward passes

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> the normalised last map (B, C4, H/32, W/32)."""
        x = self.stages(self._stem(x))
        return self._normed(x, len(self.stages) - 1)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Any:
        """The last map -> logits (B, K); the pair of them in distilled training; features with `pre_logits`."""
        if self.global_pool == "avg":
            x = x.mean(dim=(2, 3))
        x = self.head_drop(x)
        if pre_logits or self.num_classes == 0:
            return x
        if not self.distilled:
            return self.head(x)
        logits, distilled = self.head(x), self.head_dist(x)
        if self.training and self.distilled_training:
            return logits, distilled
        return (logits + distilled) / 2

    def forward(self, x: Tensor) -> Any:
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The maps after the stages in `indices` (all four by default), and the last one.

        With `norm` each map goes through its own norm where the model has them (`feature_norms`), else only the last
        map is normalised. `stop_early` skips the stages after the last wanted one.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt must be 'NCHW', got {output_fmt!r}")
        take, last = feature_take_indices(len(self.stages), indices)
        maps = []
        x = self._stem(x)
        stages = list(self.stages)
        for i, stage in enumerate(stages[: last + 1] if stop_early else stages):
            x = stage(x)
            if i in take:
                maps.append(self._normed(x, i) if norm else x)
        if intermediates_only:
            return maps
        return self._normed(x, i), maps

    def _normed(self, x: Tensor, stage: int) -> Tensor:
        if self.feature_norms:
            return self.feature_norms[stage](x)  # type: ignore[no-any-return]
        return cast(Tensor, self.norm(x)) if stage == len(self.stages) - 1 else x

    def _stem(self, x: Tensor) -> Tensor:
        measuring = self.training and isinstance(self.patch_embed[1], nn.BatchNorm2d) and self.patch_embed[1].training
        _check_image(x, self.in_chans, self.stem_stride * 2 ** (len(self.stages) - 1), not measuring)
        if self.fused:
            x = x.contiguous(memory_format=torch.channels_last)
        return self.patch_embed(x)  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> CasViT:
        if mode and self.fused:
            raise ValueError("train(True): this model was made by fuse() for inference; train the original and fuse again")
        return super().train(mode)


@torch.fx.wrap
def _check_image(x: Tensor, in_chans: int, stride: int, frozen: bool) -> None:
    if x.ndim != 4 or x.shape[1] != in_chans:
        raise ValueError(f"images must have shape (B, {in_chans}, H, W), got {tuple(x.shape)}")
    if x.shape[2] < stride or x.shape[3] < stride:
        raise ValueError(f"images must be at least {stride} x {stride} (the total stride), got {x.shape[2]} x {x.shape[3]}")
    if not frozen and x.shape[0] == 1:
        raise ValueError(
            "a batch of 1 in training mode: batch normalisation would measure a single image. Use batches of 2 or more, "
            "call eval(), or freeze the norms (timm.layers.freeze_batch_norm_2d)"
        )


def _check_shape(dims: Sequence[int], depths: Sequence[int], stem_stride: int, in_chans: int, drop_path_rate: float) -> None:
    if len(dims) != len(depths) or not dims:
        raise ValueError(f"embed_dims and depths must have the same length of 1 or more, got {len(dims)} and {len(depths)}")
    if any(not isinstance(d, int) or d < 1 for d in (*dims, *depths)) or dims[0] < 2:
        raise ValueError(f"embed_dims and depths must be positive integers (the first width 2 or more), got {dims!r}, {depths!r}")
    if stem_stride not in STEM_STRIDES:
        raise ValueError(f"stem_stride must be one of {sorted(STEM_STRIDES)}, got {stem_stride!r}")
    if not isinstance(in_chans, int) or in_chans < 1:
        raise ValueError(f"in_chans must be a positive integer, got {in_chans!r}")
    if not 0.0 <= drop_path_rate < 1.0:
        raise ValueError(f"drop_path_rate must lie in [0, 1), got {drop_path_rate!r}")


# ---- the published sizes

SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "cas_vit_xs": ((48, 56, 112, 220), (2, 2, 4, 2)),
    "cas_vit_s": ((48, 64, 128, 256), (3, 3, 6, 3)),
    "cas_vit_m": ((64, 96, 192, 384), (3, 3, 6, 3)),
    "cas_vit_t": ((96, 128, 256, 512), (3, 3, 6, 3)),
}
"""Widths and depths by timm name."""


def _cfg(**kwargs: Any) -> dict[str, Any]:
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,  # reconstructed: the official evaluation resizes to 256 and crops 224
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed.0",
        "classifier": ("head", "head_dist"),
        "license": "mit",
        "origin_url": "https://github.com/Tianfang-Zhang/CAS-ViT",
        **kwargs,
    }


default_cfgs = generate_default_cfgs({f"{name}.untrained": _cfg() for name in SIZES})


def _create(variant: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    dims, depths = SIZES[variant]
    if kwargs.get("features_only"):
        kwargs.setdefault("feature_norms", True)
    model: nn.Module = build_model_with_cfg(
        CasViT,
        variant,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter", "norm": True},
        **{"embed_dims": dims, "depths": depths, **kwargs},
    )
    return model


@register_model
def cas_vit_xs(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CAS-ViT XS: 3,200,700 parameters with both heads."""
    return _create("cas_vit_xs", pretrained, **kwargs)


@register_model
def cas_vit_s(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CAS-ViT S: 5,764,224 parameters with both heads."""
    return _create("cas_vit_s", pretrained, **kwargs)


@register_model
def cas_vit_m(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CAS-ViT M: 12,421,520 parameters with both heads."""
    return _create("cas_vit_m", pretrained, **kwargs)


@register_model
def cas_vit_t(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """CAS-ViT T: 21,763,120 parameters with both heads."""
    return _create("cas_vit_t", pretrained, **kwargs)


def create_model(name: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """`timm.create_model`, with the four sizes of CAS-ViT registered.

    No trained weights are published through timm: `pretrained=True` raises timm's RuntimeError, unless
    `pretrained_cfg_overlay={"file": "checkpoint.pth"}` points at a downloaded official checkpoint.

    Args:
        name: `cas_vit_xs`, `cas_vit_s`, `cas_vit_m`, `cas_vit_t`, or any other model of timm.
        **kwargs: arguments of `CasViT`, or timm's own, such as `features_only=True, out_indices=(1, 2, 3)`.

    Example:
        >>> backbone = create_model("cas_vit_xs", features_only=True)
        >>> backbone.feature_info.reduction(), backbone.feature_info.channels()
        ([4, 8, 16, 32], [48, 56, 112, 220])
    """
    model: nn.Module = timm.create_model(name, pretrained=pretrained, **kwargs)
    return model


