"""How large a network is and how many multiplications it does, in the two conventions that papers use."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

Convention = Literal["matmul", "thop"]


def count_params(model: nn.Module) -> int:
    """Number of parameters, trainable or not; a shared one counts once.

    Example:
        >>> count_params(nn.Linear(3, 4))
        16
    """
    return sum(p.numel() for p in model.parameters())


def count_macs(model: nn.Module, input_size: tuple[int, ...] = (3, 224, 224), convention: Convention = "matmul") -> int:
    """Multiply-accumulate operations of one forward pass in evaluation mode, for one image.

    Conventions:
        `matmul`: convolutions, linear layers and every matrix product, those of attention included
            (`torch.utils.flop_counter`, halved, with the fused attention of the CPU added, which it passes over). Norms,
            activations and pooling are free.
        `thop`: as the widespread `thop` counter of 2019 does it: convolutions and linear layers that are modules, plus
            4 operations an element for batch, instance and layer norms (2 without scale and shift), plus average pooling and softmax
            modules. A product written with `@` and a fused attention call are *not* counted, which flatters attention. Published
            tables often use this; compare like with like. Subclasses of a layer count like the layer, where `thop` skips them.

    Args:
        model: left as it is (a copy is counted).
        input_size: shape of one image, without the batch, usually (C, H, W).
        convention: see above.

    Returns:
        The count as an integer.

    Raises:
        ValueError: unknown convention, or an `input_size` that is not positive.

    Example:
        >>> conv = nn.Conv2d(3, 8, 3, padding=1)
        >>> count_macs(conv, (3, 10, 10)) == 10 * 10 * 8 * 3 * 9
        True
        >>> count_macs(nn.Sequential(conv, nn.BatchNorm2d(8)), (3, 10, 10), "thop") - count_macs(conv, (3, 10, 10))
        3200
    """
    if convention not in ("matmul", "thop"):
        raise ValueError(f"convention must be 'matmul' or 'thop', got {convention!r}")
    if not input_size or any(int(side) < 1 for side in input_size):
        raise ValueError(f"input_size must be positive, got {input_size!r}")
    # frozen copy: the flop counter's hooks stop on modules that pass tuples when parameters ask for gradients
    model = copy.deepcopy(model).eval().requires_grad_(False)
    like = next(model.parameters(), torch.empty(0))
    image = torch.zeros(1, *input_size, device=like.device, dtype=like.dtype)
    return _matmul_macs(model, image) if convention == "matmul" else _thop_macs(model, image)


def _matmul_macs(model: nn.Module, image: Tensor) -> int:
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    def attention(query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]

    fused = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=fused) as counter:
        model(image)
    return int(counter.get_total_flops()) // 2


def _thop_macs(model: nn.Module, image: Tensor) -> int:
    total = 0

    def count(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        rule = _rule_for(module)
        if rule is not None and inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            total += rule(module, inputs[0], output)

    hooks = [m.register_forward_hook(count) for m in model.modules() if not list(m.children())]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return total


_Rule = Callable[[Any, Tensor, Tensor], int]


def _rule_for(module: nn.Module) -> _Rule | None:
    return next((rule for kinds, rule in _THOP if isinstance(module, kinds)), None)


def _conv(m: nn.modules.conv._ConvNd, x: Tensor, y: Tensor) -> int:
    return y.numel() * (x.shape[1] // m.groups) * m.weight[0, 0].numel()


def _linear(m: nn.Linear, x: Tensor, y: Tensor) -> int:
    return y.numel() * m.in_features


def _norm(m: nn.Module, x: Tensor, y: Tensor) -> int:
    scaled = getattr(m, "affine", False) or getattr(m, "elementwise_affine", False)
    return (4 if scaled else 2) * x.numel()


def _pool(m: nn.Module, x: Tensor, y: Tensor) -> int:
    return y.numel()


def _adaptive_pool(m: nn.Module, x: Tensor, y: Tensor) -> int:
    window = 1
    for inside, outside in zip(x.shape[2:], y.shape[2:], strict=True):
        window *= inside // outside
    return (window + 1) * y.numel()


def _softmax(m: nn.Softmax, x: Tensor, y: Tensor) -> int:
    features = x.shape[m.dim if m.dim is not None else -1]
    return (3 * features - 1) * (x.numel() // features)


_THOP: tuple[tuple[tuple[type[nn.Module], ...], _Rule], ...] = (
    ((nn.modules.conv._ConvNd,), _conv),
    ((nn.Linear,), _linear),
    ((nn.modules.batchnorm._NormBase, nn.LayerNorm), _norm),
    ((nn.modules.pooling._AdaptiveAvgPoolNd,), _adaptive_pool),
    ((nn.modules.pooling._AvgPoolNd,), _pool),
    ((nn.Softmax,), _softmax),
)
