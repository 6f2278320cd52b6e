"""Writes official.npz: what the authors' code answers when its weights are filled by a formula of name and index.

    PEER_CAS_VIT=folder-of-the-official-checkout python tests/papers/cas_vit/make_official.py

Written from commit 041d2d688046ace52a6cec0bc5fd9e3876fdb930. No code or trained weight of the authors is in the file.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
SIZES = ("xs", "s")


def filled(name: str, shape: tuple[int, ...], dtype: str = "float32") -> torch.Tensor:
    """The weight of this name: a sine of its index, scaled so that signals neither die nor explode."""
    if dtype != "float32":
        return torch.zeros(shape, dtype=torch.int64)
    n = int(np.prod(shape, dtype=int))
    wave = np.sin(0.7 * np.arange(n) * (1 + zlib.crc32(name.encode()) % 7) + zlib.crc32(name.encode()) % 1000)
    if name.endswith("running_var"):
        values = 1.0 + 0.5 * wave
    elif len(shape) > 1:
        values = wave * (2.0 / np.prod(shape[1:])) ** 0.5
    else:
        values = 0.1 * wave + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def images(height: int, width: int) -> torch.Tensor:
    """Two images by formula."""
    index = np.arange(2 * 3 * height * width)
    return torch.from_numpy(np.sin(0.013 * index + 0.1 * np.sin(0.37 * index)).astype(np.float32).reshape(2, 3, height, width))


def official(folder: str) -> Any:
    """The module of the official classification model."""
    from workingpapers.parts.vision import ensure_torchvision

    ensure_torchvision()
    if "einops" not in sys.modules and importlib.util.find_spec("einops") is None:  # the official file imports it and never calls it
        einops: Any = types.ModuleType("einops")
        einops.rearrange = einops.repeat = None
        sys.modules["einops"] = einops
    path = Path(folder) / "classification" / "model" / "rcvit.py"
    spec = importlib.util.spec_from_file_location("official_rcvit", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def fill(model: torch.nn.Module) -> torch.nn.Module:
    state = model.state_dict()
    dtypes = {n: str(v.dtype).removeprefix("torch.") for n, v in state.items()}
    model.load_state_dict({n: filled(n, tuple(v.shape), dtypes[n]) for n, v in state.items()})
    return model.eval()


def main() -> None:
    module = official(os.environ["PEER_CAS_VIT"])
    out: dict[str, np.ndarray] = {}
    with torch.no_grad():
        for size in SIZES:
            model = fill(getattr(module, f"rcvit_{size}")())
            state = model.state_dict()
            out[f"{size}_names"] = np.array(list(state))
            out[f"{size}_shapes"] = np.array([",".join(map(str, v.shape)) for v in state.values()])
            out[f"{size}_logits"] = model(images(64, 96)).numpy()
            train = fill(getattr(module, f"rcvit_{size}")())
            train.train()
            out[f"{size}_training_pair"] = torch.stack(train(images(64, 96))).numpy()[:, :, ::25]
        dense = module.RCViT([2, 2, 4, 2], [48, 56, 112, 220], act_layer=torch.nn.GELU, fork_feat=True)
        fill(dense)
        out["dense_names"] = np.array(list(dense.state_dict()))
        out["dense_shapes"] = np.array([",".join(map(str, v.shape)) for v in dense.state_dict().values()])
        for i, found in enumerate(dense(images(64, 96))):
            out[f"dense_{i}"] = found.numpy()[:, ::8]
    np.savez_compressed(HERE / "official.npz", **out)
    print({k: (v.shape, float(np.std(v))) for k, v in out.items() if v.dtype == np.float32})


if __name__ == "__main__":
    main()
