"""How well a trained network holds at image sizes it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from workingpapers.parts.vision.training import accuracy


def accuracy_by_size(model: nn.Module, images: Tensor, labels: Tensor, sizes: Sequence[int], batch_size: int = 100) -> dict[int, float]:
    """Top-1 accuracy at each image size, in per cent, the images being resized bicubically with antialiasing.

    Nothing in CAS-ViT is bound to a position, so it runs at any size; how far accuracy follows is what this measures. The gates were
    trained on means over maps of another size, so expect a loss away from the training size.

    Args:
        model: (B, C, H, W) -> (B, K); put into evaluation mode.
        images: (N, C, H, W), normalised as in training.
        labels: (N,).
        sizes: sides in pixels.

    Returns:
        Size to accuracy, in the order of `sizes`.

    Raises:
        ValueError: no size, or one that is not positive.

    Example:
        >>> import torch
        >>> mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
        >>> sorted(accuracy_by_size(mean, torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.long), [8, 12]))
        [8, 12]
    """
    if not sizes or any(size < 1 for size in sizes):
        raise ValueError(f"sizes must be positive, got {list(sizes)}")
    out = {}
    for size in sizes:
        same = tuple(images.shape[-2:]) == (size, size)
        at_size = images if same else F.interpolate(images, size=(size, size), mode="bicubic", antialias=True)
        out[size] = accuracy(model, at_size, labels, batch_size)
    return out
