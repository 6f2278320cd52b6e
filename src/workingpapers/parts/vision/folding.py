"""Batch normalisation folded into a neighbouring convolution or linear layer, for inference.

With s = weight / sqrt(running_var + eps) and t = bias - running_mean * s, batch normalisation in evaluation mode is x -> s x + t.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn


def affine_of(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale s and shift t (C,) of a batch normalisation in evaluation mode, in double precision.

    Raises:
        ValueError: not a batch normalisation with running statistics.
    """
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.running_mean is None or norm.running_var is None:
        raise ValueError(f"only batch normalisation with running statistics can be folded, got {type(norm).__name__}")
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift + norm.bias.double() if norm.bias is not None else shift


@torch.no_grad()
def fold_after(conv: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """One convolution that equals `norm(conv(x))`. Exact for any kernel, stride, padding and groups.

    Example:
        >>> conv, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval()
        >>> x = torch.ones(1, 3, 5, 5)
        >>> torch.allclose(fold_after(conv, norm)(x), norm(conv(x)), atol=1e-5)
        True
    """
    scale, shift = affine_of(norm)
    bias = conv.bias.double() if conv.bias is not None else 0.0
    return _with(conv, conv.weight.double() * scale.view(-1, 1, 1, 1), bias * scale + shift)


@torch.no_grad()
def fold_before(norm: nn.Module, conv: nn.Conv2d) -> nn.Conv2d:
    """One 1x1 convolution that equals `conv(norm(x))`.

    Raises:
        ValueError: a kernel larger than 1 or padding, where the shift would differ at the border; or groups.
    """
    if conv.kernel_size != (1, 1) or conv.padding != (0, 0) or conv.groups != 1:
        raise ValueError("a norm can be folded forward only into an ungrouped 1x1 convolution without padding")
    scale, shift = affine_of(norm)
    weight = conv.weight.double()
    bias = weight[:, :, 0, 0] @ shift
    return _with(conv, weight * scale.view(1, -1, 1, 1), bias + conv.bias.double() if conv.bias is not None else bias)


def _with(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    folded = nn.Conv2d(
        conv.in_channels, conv.out_channels, cast(tuple[int, int], conv.kernel_size), cast(tuple[int, int], conv.stride),
        cast(tuple[int, int], conv.padding), cast(tuple[int, int], conv.dilation), conv.groups, True, conv.padding_mode,
        conv.weight.device, conv.weight.dtype,
    )  # fmt: skip
    folded.weight.copy_(weight)
    cast(Tensor, folded.bias).copy_(bias)
    return folded.eval().requires_grad_(False)


def fold_all(model: nn.Module) -> nn.Module:
    """A copy in which every convolution directly followed by its batch normalisation is one convolution.

    Traces the model with `torch.fx` and folds by what the graph does, so it fits any traceable network: what a user of a rival
    network would do before deploying it. The copy is for inference.

    Raises:
        ValueError: the model cannot be traced.
    """
    try:
        traced = torch.fx.symbolic_trace(copy.deepcopy(model).eval())
    except (torch.fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise ValueError(f"{type(model).__name__} cannot be traced: {error}") from error
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or not isinstance(modules.get(str(node.target)), nn.BatchNorm2d):
            continue
        before = node.args[0]
        conv = modules.get(str(before.target)) if before.op == "call_module" else None
        if type(conv) is not nn.Conv2d or len(before.users) != 1:
            continue
        parent, _, leaf = str(before.target).rpartition(".")
        folded = fold_after(conv, modules[str(node.target)])
        setattr(modules[parent], leaf, folded)
        modules[str(before.target)] = folded
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.requires_grad_(False)
