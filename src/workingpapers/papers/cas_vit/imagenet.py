"""The full setting of `mixer-accuracy`: every mixer trained on ImageNet-1k by the paper's recipe, on a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from workingpapers.claims import Trial, Workload, untested
from workingpapers.papers.cas_vit.mixer import ConvAdditiveTokenMixer
from workingpapers.parts.vision import ensure_torchvision
from workingpapers.parts.vision.macs import count_params
from workingpapers.parts.vision.metaformer import MetaFormer, matched_width
from workingpapers.parts.vision.mixers import TokenMixer
from workingpapers.parts.vision.training import built, seeded

FOLDER = "WORKINGPAPERS_IMAGENET"


@dataclass(frozen=True)
class ImageNet(Workload):
    """ImageNet-1k from the folder that `WORKINGPAPERS_IMAGENET` names (`train/` and `val/`, a folder a class).

    The scaffold has the widths and depths of the XS model; rivals are widened to its parameters.
    """

    epochs: int = 300
    batch_size: int = 1024
    pixels: int = 224

    @property
    def label(self) -> str:
        return f"ImageNet-1k, {self.epochs} epochs"

    def prepare(self, progress: Callable[[float, str], None]) -> None:
        folder = os.environ.get(FOLDER, "")
        if not folder or not all((Path(folder) / part).is_dir() for part in ("train", "val")):
            untested(f"ImageNet-1k is not here: set {FOLDER} to a folder with train/ and val/")
        if not torch.cuda.is_available():
            untested("training on ImageNet-1k needs a CUDA GPU")

    def load(self, rng: np.random.Generator) -> Path:
        return Path(os.environ[FOLDER])

    def score(self, arm: Any, trial: Trial) -> dict[str, float]:
        classes = len([f for f in (self.load(trial.rng) / "train").iterdir() if f.is_dir()])
        network = built(partial(_network, arm.build(), classes), trial.seed)
        found = train_and_score(network, self, trial.seed, device="cuda", progress=trial.progress)
        return {"accuracy": found, "params": float(count_params(network))}


def _network(mixer: TokenMixer, classes: int) -> nn.Module:
    def scaffold(kind: TokenMixer, dims: tuple[int, ...]) -> nn.Module:
        return MetaFormer(kind, dims=dims, depths=(2, 2, 4, 2), num_classes=classes, stem_stride=4)

    dims: tuple[int, ...] = (48, 56, 112, 220)
    if mixer is not ConvAdditiveTokenMixer:
        dims = matched_width(lambda d: scaffold(mixer, d), dims, count_params(scaffold(ConvAdditiveTokenMixer, dims)))
    return scaffold(mixer, dims)


def _posterize_down_to_no_bits() -> None:
    """Let RandAugment draw 0 bits again: Pillow gave a black picture then, and refuses since version 13, which timm does not know."""
    from PIL import Image, ImageOps
    from timm.data import auto_augment

    def posterize(picture: Image.Image, bits_to_keep: int, **_: Any) -> Image.Image:
        if bits_to_keep >= 8:
            return picture
        return ImageOps.posterize(picture, bits_to_keep) if bits_to_keep >= 1 else Image.new(picture.mode, picture.size)

    auto_augment.NAME_TO_OP["PosterizeIncreasing"] = posterize


def train_and_score(
    network: nn.Module, point: ImageNet, seed: int, *, device: str, progress: Callable[[float, float], None] | None = None, workers: int = 8
) -> float:
    """Train by the published recipe and return top-1 accuracy on the validation images, in per cent.

    AdamW, learning rate 6e-3 for a batch of 1,024 (scaled linearly), weight decay 0.05, 20 epochs of warm-up, cosine to 1e-6,
    label smoothing 0.1, RandAugment m9, no mixing of images.
    """
    ensure_torchvision()
    _posterize_down_to_no_bits()
    from timm.data.dataset_factory import create_dataset
    from timm.data.loader import create_loader
    from timm.scheduler.cosine_lr import CosineLRScheduler

    root = Path(os.environ[FOLDER])
    shared: dict[str, Any] = {"input_size": (3, point.pixels, point.pixels), "batch_size": point.batch_size, "num_workers": workers,
              "use_prefetcher": False, "persistent_workers": False, "pin_memory": device == "cuda"}  # fmt: skip
    with seeded(seed):
        train = create_loader(
            create_dataset("", root=str(root / "train")), is_training=True, auto_augment="rand-m9-mstd0.5-inc1",
            interpolation="bicubic", re_prob=0.0, **shared,
        )  # fmt: skip
        held = create_loader(
            create_dataset("", root=str(root / "val")), is_training=False, interpolation="bicubic", crop_pct=0.875, **shared
        )
        network.to(device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=6e-3 * point.batch_size / 1024, weight_decay=0.05)
        warmup = min(20, point.epochs - 1)
        schedule = CosineLRScheduler(optimizer, t_initial=point.epochs, lr_min=1e-6, warmup_t=warmup, warmup_lr_init=1e-6)
        scaler = torch.amp.GradScaler(device, enabled=device == "cuda")
        for epoch in range(point.epochs):
            schedule.step(epoch)
            network.train()
            for images, labels in train:
                with torch.autocast(device, enabled=device == "cuda"):
                    loss = F.cross_entropy(network(images.to(device)), labels.to(device), label_smoothing=0.1)
                optimizer.zero_grad(set_to_none=True)
                scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                scaler.step(optimizer)
                scaler.update()
            if progress is not None:
                progress(epoch + 1, point.epochs)
        network.eval()
        right = total = 0
        with torch.inference_mode():
            for images, labels in held:
                right += int((network(images.to(device)).argmax(dim=1).cpu() == labels).sum())
                total += len(labels)
    return 100.0 * right / total
