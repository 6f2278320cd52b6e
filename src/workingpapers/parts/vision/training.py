"""A small classifier trainer with fixed seeds: AdamW, warm-up, cosine, label smoothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class Recipe:
    """How to train. The same for every contender unless a claim says otherwise.

    Attributes:
        epochs: passes over the training set.
        batch_size: images a step; the last, incomplete batch of a pass is left out.
        lr: peak learning rate, reached after `warmup` of all steps and lowered to 0 by a cosine.
        weight_decay: decoupled, on weights of two or more axes only.
        label_smoothing: share of the target spread over all classes.
        shift: random shifts by up to so many pixels, with zeros moving in.
    """

    epochs: int
    batch_size: int = 64
    lr: float = 3e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    label_smoothing: float = 0.1
    shift: int = 0


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run torch's own draws (initialisation, dropout) from `seed`, and leave the global stream as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def built(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """`build()` with its weights drawn from `seed`.

    Example:
        >>> a, b = built(lambda: nn.Linear(2, 2), 3), built(lambda: nn.Linear(2, 2), 3)
        >>> bool((a.weight == b.weight).all())
        True
    """
    with seeded(seed):
        return build()


def as_batch(images: NDArray[np.uint8], mean: float, std: float) -> Tensor:
    """(N, H, W) or (N, H, W, C) bytes -> (N, C, H, W) floats, `(x - mean) / std`."""
    x = torch.from_numpy(np.ascontiguousarray(images)).float().sub_(mean).div_(std)
    return x.unsqueeze(1) if x.ndim == 3 else x.permute(0, 3, 1, 2).contiguous()


def fit(
    model: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe, *, seed: int, progress: Callable[[float, float], None] | None = None
) -> nn.Module:
    """Train `model` in place and return it in evaluation mode.

    Order, shifts and dropout come from `seed`: the same seed gives the same weights on the same machine and thread count. A pair of
    logits (two heads) is trained with the mean of the two losses.

    Args:
        model: (B, C, H, W) -> (B, K), or a pair of such.
        images: (N, C, H, W).
        labels: (N,) integers.
        recipe: how.
        seed: of all draws.
        progress: called with (steps done, steps in all).

    Raises:
        ValueError: images and labels that do not fit, fewer images than a batch, or a loss that is not finite.
    """
    n, size = len(images), recipe.batch_size
    if images.ndim != 4 or labels.shape != (n,):
        raise ValueError(f"images must be (N, C, H, W) and labels (N,), got {tuple(images.shape)} and {tuple(labels.shape)}")
    if n < size:
        raise ValueError(f"{n} images are fewer than a batch of {size}")
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    free = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}], lr=recipe.lr, fused=True
    )
    total = recipe.epochs * (n // size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total, recipe.warmup))
    generator = torch.Generator().manual_seed(seed)
    model.train()
    with seeded(seed):
        for step in range(total):
            if step % (n // size) == 0:
                order = torch.randperm(n, generator=generator)
            index = order[(step % (n // size)) * size :][:size]
            loss = _loss(model(_shifted(images[index], recipe.shift, generator)), labels[index], recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            if not math.isfinite(loss.item()):
                raise ValueError(f"the loss is {loss.item()} at step {step}: lower the learning rate")
            if progress is not None and step % 10 == 0:
                progress(step, total)
    return model.eval()


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 500) -> float:
    """Share of images whose largest logit is the label's, in per cent. The model is put into evaluation mode."""
    if len(images) == 0:
        raise ValueError("images is empty")
    model.eval()
    with torch.inference_mode():
        right: int = sum(
            int((model(x).argmax(dim=1) == y).sum().item())
            for x, y in zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True)
        )
    return 100.0 * right / len(images)


def _rate(step: int, total: int, warmup: float) -> float:
    rise = max(1, round(warmup * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def _loss(logits: Tensor | tuple[Tensor, Tensor], labels: Tensor, smoothing: float) -> Tensor:
    heads = logits if isinstance(logits, tuple) else (logits,)
    return torch.stack([F.cross_entropy(head, labels, label_smoothing=smoothing) for head in heads]).mean()


def _shifted(x: Tensor, by: int, generator: torch.Generator) -> Tensor:
    if by == 0:
        return x
    n, _, height, width = x.shape
    padded = F.pad(x, (by, by, by, by))
    dy, dx = torch.randint(0, 2 * by + 1, (2, n, 1), generator=generator)
    rows = (torch.arange(height) + dy)[:, None, :, None]
    columns = (torch.arange(width) + dx)[:, None, None, :]
    return padded[torch.arange(n)[:, None, None, None], torch.arange(x.shape[1])[None, :, None, None], rows, columns]
