"""CAS-ViT (Zhang et al. 2024): a vision backbone whose token mixer gates and adds instead of comparing pairs.

    >>> from workingpapers.papers.cas_vit import create_model
    >>> model = create_model("cas_vit_xs", num_classes=10)
    >>> sum(p.numel() for p in model.parameters())
    2763120

The token mixer and its gates need torch alone. Everything else needs the extra `vision`; importing `CasViT`, `create_model` or
`register` registers `cas_vit_xs`, `cas_vit_s`, `cas_vit_m` and `cas_vit_t` with timm.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from workingpapers.papers.cas_vit.mixer import ChannelGate, ConvAdditiveTokenMixer, SpatialGate

if TYPE_CHECKING:
    from workingpapers.papers.cas_vit.block import CASBlock, LocalIntegration
    from workingpapers.papers.cas_vit.checkpoints import checkpoint_filter_fn, load_official
    from workingpapers.papers.cas_vit.convert import convert_attention
    from workingpapers.papers.cas_vit.dense import SmallFPN
    from workingpapers.papers.cas_vit.export import export_onnx
    from workingpapers.papers.cas_vit.fused import fuse
    from workingpapers.papers.cas_vit.model import CasViT, create_model
    from workingpapers.papers.cas_vit.resolution import accuracy_by_size

_HOME = {
    "CASBlock": "block",
    "CasViT": "model",
    "LocalIntegration": "block",
    "SmallFPN": "dense",
    "accuracy_by_size": "resolution",
    "checkpoint_filter_fn": "checkpoints",
    "convert_attention": "convert",
    "create_model": "model",
    "export_onnx": "export",
    "fuse": "fused",
    "load_official": "checkpoints",
}

__all__ = [
    "CASBlock",
    "CasViT",
    "ChannelGate",
    "ConvAdditiveTokenMixer",
    "LocalIntegration",
    "SmallFPN",
    "SpatialGate",
    "accuracy_by_size",
    "checkpoint_filter_fn",
    "convert_attention",
    "create_model",
    "export_onnx",
    "fuse",
    "load_official",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
