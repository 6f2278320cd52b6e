"""Token mixers against each other: one scaffold, one recipe, equal parameters. What the claim `mixer-accuracy` tries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import torch
from torch import nn

from workingpapers.papers.cas_vit.mixer import ConvAdditiveTokenMixer
from workingpapers.parts.vision.macs import count_params
from workingpapers.parts.vision.metaformer import MetaFormer, matched_width
from workingpapers.parts.vision.mixers import MIXERS, TokenMixer
from workingpapers.parts.vision.training import Recipe, accuracy, as_batch, built, fit
from workingpapers.workloads.images import Images

CONTENDERS: Mapping[str, TokenMixer] = MappingProxyType({"additive mixing": ConvAdditiveTokenMixer, **MIXERS})
"""The method and the six mixers it is compared with, by name."""


@dataclass(frozen=True)
class Ring:
    """The scaffold that every contender enters.

    Attributes:
        dims, depths: of the method's network; rivals keep depths and scale dims until parameters agree within 2 %.
        stem_stride: stride of the stem.
        recipe: how all are trained; the learning rate is chosen for each contender, see `tune`.
    """

    dims: tuple[int, ...]
    depths: tuple[int, ...]
    stem_stride: int
    recipe: Recipe

    def widths(self, mixer: TokenMixer) -> tuple[int, ...]:
        """Widths at which `mixer` has as many parameters as the method, within 2 %."""
        if mixer is ConvAdditiveTokenMixer:
            return self.dims
        target = count_params(self.network(ConvAdditiveTokenMixer, self.dims))
        return matched_width(lambda dims: self.network(mixer, dims), self.dims, target)

    def network(self, mixer: TokenMixer, dims: Sequence[int]) -> nn.Module:
        """The scaffold around `mixer`, for grey images and ten classes."""
        return MetaFormer(mixer, dims=dims, depths=self.depths, in_chans=1, num_classes=10, stem_stride=self.stem_stride)

    def bout(self, mixer: TokenMixer, train: Images, test: Images, seed: int, lr: float | None = None) -> dict[str, float]:
        """Train on `train` from `seed`, and measure on `test`: accuracy in per cent, and the number of parameters."""
        recipe = self.recipe if lr is None else replace(self.recipe, lr=lr)
        mean, std = float(train.images.mean()), float(train.images.std())
        dims = self.widths(mixer)
        network = built(lambda: self.network(mixer, dims), seed).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        fit(network, as_batch(train.images, mean, std), torch.from_numpy(train.labels), recipe, seed=seed)
        found = accuracy(network, as_batch(test.images, mean, std), torch.from_numpy(test.labels))
        return {"accuracy": found, "params": float(count_params(network))}


def tune(
    ring: Ring, images: Images, train: int, test: int, lrs: Sequence[float] = (3e-3, 1e-2, 2e-2), seeds: Sequence[int] = (1000, 1001, 1002)
) -> dict[str, dict[float, float]]:
    """Mean accuracy of every contender at every learning rate, on splits that the claim never draws.

    This is how the rates in `claims.py` were chosen: the same three tries for the method and for each rival.
    """
    table: dict[str, dict[float, float]] = {}
    for name, mixer in CONTENDERS.items():
        table[name] = {}
        for lr in lrs:
            scores = []
            for seed in seeds:
                fitted, held = images.split(np.random.default_rng(seed), train, test)
                scores.append(ring.bout(mixer, fitted, held, seed, lr)["accuracy"])
            table[name][lr] = float(np.mean(scores))
    return table
