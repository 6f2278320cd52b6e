"""Other people's weights: read without unpickling code, unwrapped, renamed, and loaded whole or not at all."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]

WRAPPERS = ("model", "model_ema", "state_dict", "module")
"""Keys under which training scripts put the weights, in the order tried."""


class UnknownCheckpoint(ValueError):
    """The file or mapping does not hold the weights that were expected."""


@dataclass(frozen=True)
class LoadReport:
    """What a load did.

    Attributes:
        loaded: number of entries taken over.
        missing: entries of the model that the checkpoint lacks; they keep their fresh values.
        unexpected: entries of the checkpoint that the model lacks.
        dropped: entries left out on purpose, such as a head for other classes.
    """

    loaded: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """True when nothing is missing and nothing is unexpected."""
        return not self.missing and not self.unexpected


def read_checkpoint(path: str | Path) -> Any:
    """Read a checkpoint file: `.safetensors`, or torch's format restricted to tensors and plain containers.

    A training script's `argparse.Namespace` is allowed beside the weights; any other class in the file is refused, since
    unpickling it could run code.

    Raises:
        FileNotFoundError: no such file.
        UnknownCheckpoint: the file is no checkpoint, or holds more than tensors and plain containers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, key, runtime and unicode errors here
        raise UnknownCheckpoint(f"{path.name} is not a checkpoint of tensors and plain containers: {error}") from error


def unwrap(checkpoint: Any, wrappers: Sequence[str] = WRAPPERS) -> Weights:
    """The weights inside a checkpoint: bare, or under one of `wrappers`; a leading `module.` is dropped from every name.

    Example:
        >>> list(unwrap({"epoch": 3, "model": {"module.head.bias": torch.zeros(2)}}))
        ['head.bias']

    Raises:
        UnknownCheckpoint: naming the keys found.
    """
    if not isinstance(checkpoint, Mapping):
        raise UnknownCheckpoint(f"expected a mapping of names to tensors, found {type(checkpoint).__name__}")
    if not _is_weights(checkpoint):
        inside = next((checkpoint[key] for key in wrappers if _is_weights(checkpoint.get(key))), None)
        if inside is None:
            found = ", ".join(map(repr, list(checkpoint)[:5])) or "nothing"
            raise UnknownCheckpoint(f"expected weights, bare or under one of {', '.join(wrappers)}; found keys {found}")
        checkpoint = inside
    return {name.removeprefix("module."): value for name, value in checkpoint.items()}


def _is_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items()
    )


def rename(weights: Mapping[str, Tensor], rules: Iterable[tuple[str, str]]) -> Weights:
    """Apply the first rule (regular expression, replacement) that matches the beginning of each name.

    Raises:
        UnknownCheckpoint: two names become one.

    Example:
        >>> list(rename({"fc.bias": torch.zeros(1), "stem.bias": torch.zeros(1)}, [(r"fc\\.", "head.")]))
        ['head.bias', 'stem.bias']
    """
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    out: Weights = {}
    for name, value in weights.items():
        rule = next(((p, r) for p, r in compiled if p.match(name)), None)
        new = rule[0].sub(rule[1], name, count=1) if rule else name
        if new in out:
            raise UnknownCheckpoint(f"two entries of the checkpoint become {new!r}")
        out[new] = value
    return out


def load_strict(model: nn.Module, weights: Mapping[str, Tensor], *, may_miss: str | None = None, dropped: Sequence[str] = ()) -> LoadReport:
    """Load `weights` into `model` when every name and shape agrees; otherwise change nothing.

    Args:
        model: receives the weights.
        weights: name to tensor, already in the model's names.
        may_miss: regular expression for entries of the model that may be absent.
        dropped: names left out beforehand; only reported.

    Raises:
        ValueError: naming the first missing, unexpected and misshapen entries, and how many there are.

    Example:
        >>> load_strict(nn.Linear(2, 1), {"weight": torch.ones(1, 2), "bias": torch.zeros(1)})
        LoadReport(loaded=2, missing=(), unexpected=(), dropped=())
    """
    own = model.state_dict()
    missing = tuple(name for name in own if name not in weights)
    unexpected = tuple(name for name in weights if name not in own)
    shapes = tuple(
        f"{name} has {tuple(value.shape)} for {tuple(own[name].shape)}"
        for name, value in weights.items()
        if name in own and value.shape != own[name].shape
    )
    hard = tuple(name for name in missing if may_miss is None or not re.match(may_miss, name))
    problems = [
        f"{len(names)} {what} (first: {', '.join(names[:3])})"
        for what, names in (("missing", hard), ("unexpected", unexpected), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise ValueError(f"the checkpoint does not fit {type(model).__name__}: {'; '.join(problems)}. Nothing was loaded")
    model.load_state_dict(dict(weights), strict=False)
    return LoadReport(len(weights), missing, (), tuple(dropped))
