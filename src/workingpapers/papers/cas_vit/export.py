"""CAS-ViT as an ONNX file, for mobile and server runtimes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import nn

from workingpapers.papers.cas_vit.fused import fuse
from workingpapers.papers.cas_vit.model import CasViT


def export_onnx(
    model: nn.Module, path: str | Path, *, image_size: Sequence[int] = (224, 224), dynamic_size: bool = True, fused: bool = True
) -> Path:
    """Write a model as ONNX (opset 18), with free batch size and, by default, free image size.

    Input `images` (B, C, H, W), output `logits` (B, K), both float32. Nothing in the network is bound to a position, so one
    file serves every size from the total stride up.

    Args:
        model: a `CasViT`, fused or not; left as it is.
        path: the file to write; its folder must exist.
        image_size: height and width to trace with.
        dynamic_size: whether height and width stay free; a fixed size lets runtimes plan memory.
        fused: fuse a plain model first (see `fuse`).

    Returns:
        The path.

    Raises:
        ImportError: onnx or onnxscript is absent; names the extra.
        ValueError: not a `CasViT`, or an image size below the total stride.

    Example:
        >>> import tempfile
        >>> tiny = CasViT(num_classes=3, embed_dims=(8, 8), depths=(1, 1))
        >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
        ...     export_onnx(tiny, folder + "/tiny.onnx", image_size=(32, 32)).name
        'tiny.onnx'
    """
    if not isinstance(model, CasViT):
        raise ValueError(f"model must be a CasViT, got {type(model).__name__}")
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError(f'{error.name} is not installed. Install the vision extra: pip install "workingpapers[vision]"') from error
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"path: the folder {path.parent} does not exist")
    network = fuse(model) if fused and not model.fused else model
    training, smallest = model.training, model.stem_stride * 2 ** (len(model.stages) - 1)
    height, width = image_size
    if min(height, width) < smallest:
        raise ValueError(f"image_size must be at least {smallest} a side, got {height} x {width}")
    batch = torch.export.Dim("batch", min=1, max=4096)
    free = {0: batch}
    if dynamic_size:
        free |= {2: torch.export.Dim("height", min=smallest, max=8192), 3: torch.export.Dim("width", min=smallest, max=8192)}
    write_onnx(network.eval(), path, torch.zeros(2, model.in_chans, height, width), free)
    model.train(training)
    return path


def write_onnx(network: nn.Module, path: Path, images: torch.Tensor, free: dict[int, Any] | None) -> None:
    """Export any network of images, traced with `images`; `free` names the axes that stay free."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            network, (images,), dynamo=True, input_names=["images"], output_names=["logits"],
            dynamic_shapes=None if free is None else (free,), opset_version=18, optimize=True,
        )  # fmt: skip
    if program is None:
        raise RuntimeError("the exporter returned nothing")
    program.save(path)
