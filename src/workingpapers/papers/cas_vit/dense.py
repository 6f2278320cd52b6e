"""Dense prediction on CAS-ViT features without a detection framework: a small feature pyramid."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SmallFPN(nn.Module):
    """A semantic segmentation head on a features-only backbone: lateral 1x1 convolutions, top-down sums, one 3x3, a classifier.

    Args:
        backbone: a timm features-only model (`create_model("cas_vit_xs", features_only=True)`).
        num_classes: classes K.
        dim: channels of the pyramid.

    Shape:
        (B, C, H, W) -> logits (B, K, H, W).

    Raises:
        ValueError: a backbone without `feature_info`, or `num_classes` below 1.

    References:
        Lin et al. 2017 (FPN), Kirillov et al. 2019 (semantic FPN), with one merged level.

    Example:
        >>> import torch
        >>> from workingpapers.papers.cas_vit import create_model
        >>> net = SmallFPN(create_model("cas_vit_xs", features_only=True), num_classes=4, dim=16).eval()
        >>> net(torch.zeros(1, 3, 64, 96)).shape
        torch.Size([1, 4, 64, 96])
    """

    def __init__(self, backbone: nn.Module, num_classes: int, dim: int = 64) -> None:
        super().__init__()
        info = getattr(backbone, "feature_info", None)
        if info is None or not hasattr(info, "channels"):
            raise ValueError("backbone must be a features-only model: create_model(name, features_only=True)")
        if num_classes < 1:
            raise ValueError(f"num_classes must be 1 or more, got {num_classes}")
        self.backbone = backbone
        self.lateral = nn.ModuleList(nn.Conv2d(channels, dim, 1) for channels in info.channels())
        self.smooth = nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1, bias=False), nn.BatchNorm2d(dim), nn.ReLU())
        self.classify = nn.Conv2d(dim, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [lateral(f) for lateral, f in zip(self.lateral, self.backbone(x), strict=True)]
        top = maps.pop()
        while maps:
            finer = maps.pop()
            top = finer + F.interpolate(top, size=finer.shape[-2:], mode="nearest")
        logits = self.classify(self.smooth(top))
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)
