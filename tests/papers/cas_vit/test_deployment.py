"""What is built on the model: fused copy, ONNX, swapped attention, dense head, other resolutions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from workingpapers.papers.cas_vit import (
    CasViT,
    SmallFPN,
    accuracy_by_size,
    convert_attention,
    create_model,
    export_onnx,
    fuse,
)
from workingpapers.papers.cas_vit.convert import TokenConvMixer
from workingpapers.parts.vision.training import built


def lived_in(model: nn.Module, seed: int = 0) -> nn.Module:
    """Norms as after training: every folded constant matters."""
    generator = torch.Generator().manual_seed(seed)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean = torch.randn(norm.num_features, generator=generator) * 0.3
        norm.running_var = torch.rand(norm.num_features, generator=generator) + 0.5
        nn.init.uniform_(norm.weight, 0.5, 1.5, generator=generator)
        nn.init.uniform_(norm.bias, -0.3, 0.3, generator=generator)
    return model.eval()


def tiny() -> CasViT:
    made = lived_in(built(lambda: CasViT(num_classes=3, embed_dims=(8, 12), depths=(1, 1)), 0))
    assert isinstance(made, CasViT)
    return made


def images(batch: int, height: int, width: int) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(3))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cas_vit_xs", "cas_vit_s"])
def test_the_fused_copy_answers_the_same(name: str) -> None:
    model = lived_in(built(lambda: create_model(name), 0))
    fused = fuse(model)
    assert not [m for m in fused.stages.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        for shape in ((1, 224, 224), (2, 96, 64)):
            x = images(*shape)
            logits = model(x)
            assert float(logits.std()) > 0.01
            assert float((fused(x) - logits).abs().max()) < 1e-4
            for a, b in zip(fused.forward_intermediates(x)[1], model.forward_intermediates(x)[1], strict=True):
                torch.testing.assert_close(a.contiguous(), b, atol=1e-3, rtol=1e-3)
            torch.testing.assert_close(fused.forward_features(x).contiguous(), model.forward_features(x), atol=1e-3, rtol=1e-3)


def test_fusing_leaves_the_original_alone_and_refuses_what_it_cannot() -> None:
    model = tiny()
    before = {n: w.clone() for n, w in model.state_dict().items()}
    fused = fuse(model)
    fused.head.weight.add_(1)
    assert all(torch.equal(w, before[n]) for n, w in model.state_dict().items())
    assert not any(p.requires_grad for p in fused.parameters())
    with pytest.raises(ValueError, match="made by fuse"):
        fused.train()
    with pytest.raises(ValueError, match="fused already"):
        fuse(fused)
    with pytest.raises(ValueError, match="must be a CasViT, got Linear"):
        fuse(nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="only batch normalisation"):
        fuse(CasViT(embed_dims=(8,), depths=(1,), norm_layer=lambda dim: nn.GroupNorm(1, dim)))


@pytest.mark.slow
def test_dense_and_headless_models_fuse_too() -> None:
    dense = lived_in(built(lambda: create_model("cas_vit_xs", features_only=True), 0))
    x = images(1, 64, 64)
    with torch.no_grad():
        wanted = dense(x)
        dense.model = fuse(dense.model)  # type: ignore[arg-type]
        for a, b in zip(dense(x), wanted, strict=True):
            torch.testing.assert_close(a.contiguous(), b, atol=1e-3, rtol=1e-3)
        bare = lived_in(CasViT(num_classes=0, embed_dims=(8, 8), depths=(1, 1)))
        torch.testing.assert_close(fuse(bare)(x), bare(x), atol=1e-4, rtol=1e-4)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.needs("onnx", "onnxscript", "onnxruntime")
def test_one_onnx_file_answers_the_same_at_two_sizes(tmp_path: Path) -> None:
    import onnxruntime

    model = tiny()
    path = export_onnx(model, tmp_path / "tiny.onnx", image_size=(64, 64))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for shape in ((1, 64, 64), (3, 96, 40)):
        x = images(*shape)
        (found,) = session.run(None, {"images": x.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found, model(x).numpy(), atol=1e-4)
    assert model.training is False


def test_export_errors(tmp_path: Path) -> None:
    for arguments, words in [
        ((nn.Linear(1, 1), tmp_path / "a.onnx"), "must be a CasViT"),
        ((tiny(), tmp_path / "nowhere" / "a.onnx"), "folder .* does not exist"),
    ]:
        with pytest.raises(ValueError, match=words):
            export_onnx(*arguments)
    with pytest.raises(ValueError, match="at least 8 a side, got 4 x 64"):
        export_onnx(tiny(), tmp_path / "a.onnx", image_size=(4, 64))


@pytest.mark.parametrize(
    ("name", "options", "prefix"),
    [
        ("vit_tiny_patch16_224", {"depth": 2, "img_size": 64}, 1),
        ("pvt_v2_b0", {}, 0),
        ("vit_tiny_r_s16_p8_224", {"depth": 1, "img_size": 96}, 1),
    ],
)
def test_attention_is_swapped_and_the_network_still_learns(name: str, options: dict[str, object], prefix: int) -> None:
    model = create_model(name, num_classes=3, **options)
    size = options.get("img_size", 64)
    replaced = convert_attention(model)
    assert replaced
    assert all(isinstance(model.get_submodule(n), TokenConvMixer) for n in replaced)
    assert all(model.get_submodule(n).prefix_tokens == prefix for n in replaced)
    out = model.train()(images(2, size, size))  # type: ignore[arg-type]
    out.square().mean().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    with pytest.raises(ValueError, match="no attention layer"):
        convert_attention(model)


def test_class_token_and_patches_hear_each_other() -> None:
    mixer = TokenConvMixer(6, prefix_tokens=1).eval()
    x = torch.randn(1, 10, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    out = mixer(x)
    (from_class,) = torch.autograd.grad(out[:, 0].sum(), x, retain_graph=True)
    (from_patch,) = torch.autograd.grad(out[:, 5].sum(), x)
    assert bool((from_class[0, 1:].abs().sum(-1) > 0).all())
    assert float(from_patch[0, 0].abs().sum()) > 0


def test_only_chosen_layers_are_swapped_and_grids_are_checked() -> None:
    model = create_model("vit_tiny_patch16_224", depth=3, num_classes=3)
    assert convert_attention(model, where=lambda name: name.startswith("blocks.1")) == ["blocks.1.attn"]
    mixer = TokenConvMixer(4).eval()
    assert mixer(torch.zeros(1, 6, 4), (2, 3)).shape == (1, 6, 4)
    with pytest.raises(ValueError, match="form no 2 x 2 grid"):
        mixer(torch.zeros(1, 6, 4))
    with pytest.raises(ValueError, match=r"shape \(B, N, 4\)"):
        mixer(torch.zeros(1, 6, 5))
    with pytest.raises(ValueError, match="nothing to mask"):
        mixer(torch.zeros(1, 4, 4), attn_mask=torch.ones(4, 4))


@pytest.mark.slow
def test_small_fpn_trains_a_segmentation() -> None:
    net = built(lambda: SmallFPN(create_model("cas_vit_xs", features_only=True), num_classes=2, dim=8), 0).train()
    x = images(2, 64, 64)
    truth = (x[:, 0] > 0).long()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        loss = nn.functional.cross_entropy(net(x), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    with pytest.raises(ValueError, match="features-only"):
        SmallFPN(nn.Linear(1, 1), 2)
    with pytest.raises(ValueError, match="num_classes"):
        SmallFPN(create_model("cas_vit_xs", features_only=True), 0)


def test_accuracy_by_size_equals_plain_accuracy_at_the_own_size() -> None:
    model = tiny()
    x, y = images(20, 32, 32), torch.arange(20) % 3
    with torch.no_grad():
        by_hand = 100 * float((model(x).argmax(1) == y).float().mean())
    found = accuracy_by_size(model, x, y, [32, 48])
    assert found[32] == pytest.approx(by_hand)
    assert list(found) == [32, 48]
    with pytest.raises(ValueError, match="sizes must be positive"):
        accuracy_by_size(model, x, y, [])
