"""Networks as ONNX files in the cache, and sessions of ONNX Runtime on one thread: what the claim on speed times."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from workingpapers.papers.cas_vit.export import write_onnx
from workingpapers.papers.cas_vit.fused import fuse
from workingpapers.papers.cas_vit.model import CasViT, create_model
from workingpapers.parts.vision.training import built
from workingpapers.workloads.archives import cache_folder


def exported(name: str, batch: int, *, fused: bool = False, progress: Callable[[float, str], None] | None = None) -> Path:
    """The network `name` with random weights as ONNX for 224 x 224 and a fixed batch; written once for each version of torch."""
    path = cache_folder() / "onnx" / f"{name}{'-fused' if fused else ''}-{batch}-torch{torch.__version__}.onnx"
    if path.is_file():
        return path
    if progress is not None:
        progress(0.0, f"exporting {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    network = built(lambda: create_model(name), 0).eval()
    partial = path.with_suffix(f".{os.getpid()}.part")
    write_onnx(fuse(cast(CasViT, network)) if fused else network, partial, torch.zeros(batch, 3, 224, 224), None)
    os.replace(partial, path)
    return path


class Session:
    """An ONNX file as a function of a batch of images."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, images: Tensor) -> Any:
        return self._session.run(None, {"images": images.numpy()})[0]
