"""What timm asks of its models, as checks: each raises `AssertionError` with words when a model falls short.

    for name, check in CHECKS.items():
        check("my_model", size=64)

Test suites of vision papers run them over every registered name. `size` is a square image side that the model accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from workingpapers.parts.vision.ensure import ensure_torchvision
from workingpapers.parts.vision.training import built


def create(name: str, **options: Any) -> Any:
    """`timm.create_model(name, **options)` with weights from a fixed seed."""
    ensure_torchvision()
    import timm

    return built(lambda: timm.create_model(name, **options), 0)


def _images(model: Any, size: int, batch: int = 2, channels: int = 3) -> Tensor:
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(1))


def _need(fact: bool, words: str) -> None:
    if not fact:
        raise AssertionError(words)


def _one(outputs: Any) -> Tensor:
    return torch.cat(list(outputs)) if isinstance(outputs, tuple | list) else outputs


def forward_and_backward(name: str, size: int) -> None:
    """Logits are finite and of the right shape; every parameter gets a gradient in training."""
    model = create(name, num_classes=7)
    logits = model.eval()(_images(model, size))
    _need(logits.shape == (2, 7), f"{name}: logits have shape {tuple(logits.shape)}")
    _need(bool(logits.isfinite().all()), f"{name}: logits are not finite")
    _one(model.train()(_images(model, size))).mean().backward()  # type: ignore[no-untyped-call]
    without = [n for n, p in model.named_parameters() if p.grad is None]
    _need(not without, f"{name}: no gradient reaches {without[:3]}")


def default_cfg(name: str, size: int) -> None:
    """The configuration names layers that exist; the head can be left out; pooled width is `num_features`."""
    model = create(name).eval()
    cfg, names = model.default_cfg, set(model.state_dict())
    for key in ("classifier", "first_conv"):
        for layer in cfg[key] if isinstance(cfg[key], tuple | list) else [cfg[key]]:
            _need(f"{layer}.weight" in names, f"{name}: {key} names {layer}, which has no weight")
    with torch.no_grad():
        features = model.forward_features(_images(model, size))
        _need(features.shape[1] == model.num_features, f"{name}: features have {features.shape[1]} channels, not {model.num_features}")
        _need(model.forward_head(features, pre_logits=True).shape == (2, model.num_features), f"{name}: pre_logits are not pooled")
        model.reset_classifier(0)
        _need(model(_images(model, size)).shape == (2, model.num_features), f"{name}: without classes the output is not pooled features")
        model.reset_classifier(0, "")
        _need(model(_images(model, size)).shape == features.shape, f"{name}: without pooling the output is not the map")
        bare = create(name, num_classes=0, global_pool="").eval()
        _need(bare(_images(model, size)).shape == features.shape, f"{name}: num_classes=0, global_pool='' does not give the map")


def reset_classifier(name: str, size: int) -> None:
    """A new head has the wanted classes, the features stay the same."""
    model = create(name).eval()
    before = model.forward_features(_images(model, size))
    model.reset_classifier(5)
    _need(model.num_classes == 5, f"{name}: num_classes is {model.num_classes} after reset")
    _need(model(_images(model, size)).shape == (2, 5), f"{name}: the reset head does not give 5 logits")
    heads = model.get_classifier()
    for head in heads if isinstance(heads, tuple) else (heads,):
        _need(isinstance(head, nn.Linear) and head.out_features == 5, f"{name}: get_classifier does not give the new head")
    _need(torch.equal(model.forward_features(_images(model, size)), before), f"{name}: resetting the head changed the features")


def in_chans(name: str, size: int) -> None:
    """Grey images are accepted when asked for."""
    model = create(name, in_chans=1, num_classes=3).eval()
    _need(model(_images(model, size, channels=1)).shape == (2, 3), f"{name}: in_chans=1 does not work")


def features_only(name: str, size: int) -> None:
    """Maps, channels and reductions agree with `feature_info`, for all outputs and for a choice of them."""
    for indices in (None, (1, 3), (0,)):
        model = create(name, features_only=True, **({} if indices is None else {"out_indices": indices})).eval()
        info = model.feature_info
        maps = model(_images(model, size))
        _need(len(maps) == len(info.channels()), f"{name}: {len(maps)} maps for {len(info.channels())} entries of feature_info")
        for found, channels, reduction in zip(maps, info.channels(), info.reduction(), strict=True):
            wanted = (2, channels, size // reduction, size // reduction)
            _need(found.shape == wanted, f"{name}: a map has shape {tuple(found.shape)}, feature_info says {wanted}")


def forward_intermediates(name: str, size: int) -> None:
    """Intermediate maps agree with `feature_info`, the final map with `forward_features`; stopping early changes nothing."""
    model = create(name).eval()
    x = _images(model, size)
    final, maps = model.forward_intermediates(x)
    _need(torch.allclose(final, model.forward_features(x), atol=1e-5), f"{name}: the final map is not that of forward_features")
    for found, info in zip(maps, model.feature_info, strict=True):
        side = size // info["reduction"]
        _need(found.shape == (2, info["num_chs"], side, side), f"{name}: {tuple(found.shape)} where feature_info says {info}")
    early = model.forward_intermediates(x, indices=[1], stop_early=True, intermediates_only=True)
    _need(len(early) == 1 and torch.equal(early[0], maps[1]), f"{name}: stop_early gives another map")
    last = model.forward_intermediates(x, indices=1, norm=True, intermediates_only=True)
    _need(torch.allclose(last[0], final, atol=1e-5), f"{name}: norm=True does not give the normalised last map")


def grad_checkpointing(name: str, size: int) -> None:
    """Recomputing blocks gives the same loss and gradients."""
    found = []
    for enable in (False, True):
        model = create(name, num_classes=3).train()
        model.set_grad_checkpointing(enable)
        loss = _one(model(_images(model, size))).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        first = next(p.grad for p in model.parameters() if p.grad is not None)
        found.append((float(loss.detach()), first.clone()))
    _need(abs(found[0][0] - found[1][0]) <= 1e-5 * abs(found[0][0]), f"{name}: checkpointing changes the loss")
    _need(torch.allclose(found[0][1], found[1][1], rtol=1e-3, atol=1e-5), f"{name}: checkpointing changes the gradients")


def group_matcher(name: str, size: int) -> None:
    """Every parameter belongs to a layer group, and deeper blocks to later groups."""
    ensure_torchvision()
    from timm.models import group_parameters

    model = create(name)
    for coarse in (False, True):
        groups = group_parameters(model, model.group_matcher(coarse=coarse))
        grouped = {n for members in groups.values() for n in members}
        missed = {n for n, _ in model.named_parameters()} - grouped
        _need(not missed, f"{name}: no layer group for {sorted(missed)[:3]}")
        _need(len(groups) > 2, f"{name}: only {len(groups)} layer groups")


def fx_traceable(name: str, size: int) -> None:
    """`torch.fx` traces the model and the graph computes the same."""
    model = create(name, num_classes=3).eval()
    x = _images(model, size)
    traced = torch.fx.symbolic_trace(model)
    with torch.no_grad():
        _need(torch.allclose(traced(x), model(x), atol=1e-5), f"{name}: the traced model computes something else")


CHECKS: Mapping[str, Callable[[str, int], None]] = MappingProxyType(
    {
        check.__name__: check
        for check in (
            forward_and_backward, default_cfg, reset_classifier, in_chans, features_only, forward_intermediates,
            grad_checkpointing, group_matcher, fx_traceable,
        )
    }
)  # fmt: skip
"""All checks by name."""
