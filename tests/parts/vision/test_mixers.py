"""The six mixers against other implementations, and what they may and may not do."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from workingpapers.parts.vision import ensure_torchvision
from workingpapers.parts.vision.mixers import (
    MIXERS,
    AdditiveAttention,
    AveragePool,
    DepthwiseConv,
    SelfAttention,
    SeparableAttention,
)
from workingpapers.parts.vision.training import built


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_self_attention_agrees_with_torchs_multi_head_attention() -> None:
    dim, heads = 24, 3
    ours = built(lambda: SelfAttention(dim, head_dim=8), 0)
    torchs = nn.MultiheadAttention(dim, heads, batch_first=True)
    with torch.no_grad():
        torchs.in_proj_weight.copy_(ours.qkv.weight[:, :, 0, 0])
        torchs.in_proj_bias.copy_(ours.qkv.bias)
        torchs.out_proj.weight.copy_(ours.proj.weight[:, :, 0, 0])
        torchs.out_proj.bias.copy_(ours.proj.bias)
        x = images(2, dim, 5, 7)
        tokens = x.flatten(2).transpose(1, 2)
        expected = torchs(tokens, tokens, tokens, need_weights=False)[0].transpose(1, 2).reshape(x.shape)
        torch.testing.assert_close(ours(x), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dim", [1, 7, 33, 70])
def test_self_attention_takes_any_width(dim: int) -> None:
    made = SelfAttention(dim)
    assert made.heads == max(1, round(dim / 32))
    assert made(images(1, dim, 3, 4)).shape == (1, dim, 3, 4)


def test_separable_attention_agrees_with_timm() -> None:
    ensure_torchvision()
    from timm.models.mobilevit import LinearSelfAttention

    ours, timms = built(lambda: SeparableAttention(12), 0), LinearSelfAttention(12)
    timms.load_state_dict(ours.state_dict())
    x = images(2, 12, 4, 6)
    with torch.no_grad():
        # timm's (B, C, P, N): pixels of a patch and patches; one pixel a patch here
        torch.testing.assert_close(ours(x), timms(x.flatten(2).unsqueeze(2)).view(x.shape), atol=1e-6, rtol=1e-5)


def test_additive_attention_agrees_with_timm() -> None:
    ensure_torchvision()
    from timm.models.swiftformer import EfficientAdditiveAttention

    ours, timms = built(lambda: AdditiveAttention(12), 0), EfficientAdditiveAttention(12, 12, 1)
    timms.load_state_dict(ours.state_dict())
    x = images(2, 12, 4, 6)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), timms(x), atol=1e-6, rtol=1e-5)


def test_average_pool_agrees_with_timm_and_depthwise_with_torch() -> None:
    ensure_torchvision()
    from timm.models.metaformer import Pooling

    x = images(2, 6, 5, 5)
    torch.testing.assert_close(AveragePool(6)(x), Pooling()(x))
    conv = DepthwiseConv(6)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.conv.weight, conv.conv.bias, padding=1, groups=6))


@pytest.mark.parametrize("name", MIXERS)
def test_every_mixer_keeps_shapes_and_names_errors(name: str) -> None:
    mixer = MIXERS[name]
    made = built(lambda: mixer(6), 0).eval()
    for shape in ((1, 6, 1, 1), (2, 6, 3, 8), (3, 6, 7, 7)):
        out = made(images(*shape))
        assert out.shape == shape
        assert bool(out.isfinite().all())
    for wrong in (images(6, 4, 4), images(1, 5, 4, 4)):
        with pytest.raises(ValueError, match=r"shape \(B, 6, H, W\)"):
            made(wrong)
    with pytest.raises(ValueError, match="dim must be"):
        mixer(0)


@pytest.mark.parametrize(
    ("name", "far", "near"),
    [("self-attention", True, True), ("separable attention", True, True), ("additive attention", True, True),
     ("average pool", False, True), ("depthwise conv", False, True), ("identity", False, False)],
)  # fmt: skip
def test_who_hears_whom(name: str, far: bool, near: bool) -> None:
    made = built(lambda: MIXERS[name](6), 0)
    x = images(1, 6, 9, 9).requires_grad_()
    (heard,) = torch.autograd.grad(made(x)[0, :, 4, 4].sum(), x)
    assert bool(heard[0, :, 0, 0].abs().sum() > 0) is far
    assert bool(heard[0, :, 4, 5].abs().sum() > 0) is near
    assert bool(heard[0, :, 4, 4].abs().sum() > 0)
