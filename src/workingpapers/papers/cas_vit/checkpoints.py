"""The authors' checkpoints in our names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from workingpapers.parts.vision.checkpoints import LoadReport, UnknownCheckpoint, load_strict, read_checkpoint, rename, unwrap

HEADS = re.compile(r"(head|head_dist)\.")
FEATURE_NORMS = re.compile(r"feature_norms\.")

# the official `network` alternates stages (even) and downsamplings (odd); dense models norm the outputs 0, 2, 4, 6
_RULES = [
    *((rf"network\.{2 * i}\.", f"stages.{i}.blocks.") for i in range(4)),
    *((rf"network\.{2 * i + 1}\.", f"stages.{i + 1}.downsample.") for i in range(3)),
    *((rf"norm{2 * i}\.", f"feature_norms.{i}.") for i in range(4)),
    (r"dist_head\.", "head_dist."),
]


def checkpoint_filter_fn(state_dict: Any, model: nn.Module) -> dict[str, Tensor]:
    """Official names to ours; weights already in our names pass through.

    Unwraps `{"model": ...}` and `{"model_ema": ...}`, drops `module.` prefixes, and maps `network.{2i}` to
    `stages.{i}.blocks`, `network.{2i+1}` to `stages.{i+1}.downsample`, `dist_head` to `head_dist` and the dense norms
    `norm{0,2,4,6}` to `feature_norms`. Heads are dropped, with a warning, only when their number of classes differs from the model's.
    A dense model takes a classification checkpoint without its last norm and heads and keeps its own fresh feature norms (they are not
    in the file), also with a warning.

    Args:
        state_dict: what the file holds.
        model: a `CasViT`; only read.

    Raises:
        UnknownCheckpoint: a `ValueError` that names what was expected and found.
    """
    return _mapped(state_dict, model)[0]


def load_official(model: nn.Module, path: str | Path | Mapping[str, Any]) -> LoadReport:
    """Load an official checkpoint into a `CasViT`, whole or not at all.

    Args:
        model: a `CasViT` of the same size; changed in place.
        path: the file (`.pth`, `.safetensors`; never unpickled beyond tensors and plain containers), or its contents.

    Returns:
        A `LoadReport`. `missing` and `unexpected` are empty unless heads were dropped for another number of classes, or
        feature norms are not in the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unknown layout, or names or shapes that do not fit; the model is then unchanged.

    Example:
        >>> import torch
        >>> from workingpapers.papers.cas_vit import create_model
        >>> model = create_model("cas_vit_xs", num_classes=2)
        >>> report = load_official(model, {"model": model.state_dict()})
        >>> bool(report), report.loaded
        (True, 524)
    """
    checkpoint = path if isinstance(path, Mapping) else read_checkpoint(path)
    weights, dropped = _mapped(checkpoint, model)
    return load_strict(model, weights, may_miss=_may_miss(weights, dropped), dropped=dropped)


def _may_miss(weights: Mapping[str, Tensor], dropped: tuple[str, ...]) -> str | None:
    """Pattern of the model's entries whose absence `_mapped` has already warned about."""
    patterns = [HEADS.pattern] if any(map(HEADS.match, dropped)) else []
    patterns += [] if any(map(FEATURE_NORMS.match, weights)) or not dropped else [FEATURE_NORMS.pattern]
    return "|".join(patterns) or None


def _mapped(checkpoint: Any, model: nn.Module) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    weights = rename(unwrap(checkpoint), _RULES)
    if not any(name.startswith("stages.0.blocks.0.attn.qkv") for name in weights):
        found = ", ".join(list(weights)[:3])
        raise UnknownCheckpoint(
            "expected the weights of a CAS-ViT (names such as network.0.0.attn.qkv.weight or "
            f"stages.0.blocks.0.attn.qkv.weight); found {found}"
        )
    dropped: list[str] = []
    dense = bool(getattr(model, "feature_norms", None))
    classes = getattr(model, "num_classes", 0)
    if dense and not any(map(FEATURE_NORMS.match, weights)):
        dropped = [name for name in weights if name.startswith("norm.") or HEADS.match(name)]
        warnings.warn("the checkpoint has no norms for the four outputs: the model keeps its fresh ones", stacklevel=3)
    elif "head.weight" in weights and weights["head.weight"].shape[0] != classes:
        dropped = [name for name in weights if HEADS.match(name)]
        warnings.warn(
            f"the checkpoint's heads are for {weights['head.weight'].shape[0]} classes, the model's for {classes}: dropped", stacklevel=3
        )
    for name in dropped:
        del weights[name]
    return weights, tuple(dropped)
