"""The model against the published table, the authors' outputs, and what timm asks of its models."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from workingpapers.papers.cas_vit import (
    CASBlock,
    CasViT,
    ChannelGate,
    ConvAdditiveTokenMixer,
    SpatialGate,
    checkpoint_filter_fn,
    create_model,
    load_official,
)
from workingpapers.parts.vision.macs import count_macs, count_params
from workingpapers.parts.vision.timm_surface import CHECKS
from workingpapers.parts.vision.training import built

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("make_official", HERE / "make_official.py")
assert spec is not None
assert spec.loader is not None
maker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(maker)

FIXTURE = np.load(HERE / "official.npz")

TABLE = {
    # parameters with two heads, with one; MACs of products; MACs as thop counts
    "cas_vit_xs": (3_200_700, 2_979_700, 547_004_968, 560_124_264),
    "cas_vit_s": (5_764_224, 5_507_224, 912_248_576, 931_846_048),
    "cas_vit_m": (12_421_520, 12_036_520, 1_859_483_520, 1_886_922_816),
    "cas_vit_t": (21_763_120, 21_250_120, 3_557_427_712, 3_596_622_656),
}


def official_weights(which: str) -> dict[str, torch.Tensor]:
    """The authors' names and shapes, filled by the formula."""
    out = {}
    for name, text in zip(FIXTURE[f"{which}_names"], FIXTURE[f"{which}_shapes"], strict=True):
        shape = tuple(int(n) for n in str(text).split(",") if n)
        out[str(name)] = maker.filled(str(name), shape, "int64" if str(name).endswith("num_batches_tracked") else "float32")
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_sizes_and_macs_are_the_published_ones(name: str) -> None:
    model = create_model(name)
    two, one, products, thop = TABLE[name]
    assert count_params(model) == two
    assert count_params(create_model(name, distilled=False)) == one
    assert count_macs(model) == products
    assert count_macs(model, convention="thop") == thop


@pytest.mark.parametrize("dim", [1, 3, 48, 64, 220])
def test_parameters_of_a_mixer_follow_the_formula(dim: int) -> None:
    assert count_params(ConvAdditiveTokenMixer(dim)) == 5 * dim**2 + 46 * dim


@pytest.mark.parametrize("size", ["xs", "s"])
def test_official_weights_give_the_official_logits(size: str) -> None:
    model = create_model(f"cas_vit_{size}")
    report = load_official(model, {"model": {f"module.{n}": w for n, w in official_weights(size).items()}, "epoch": 3})
    assert bool(report)
    assert report.loaded == len(FIXTURE[f"{size}_names"]) == len(model.state_dict())
    with torch.no_grad():
        logits = model.eval()(maker.images(64, 96)).numpy()
        pair = torch.stack(model.train()(maker.images(64, 96))).numpy()
    assert logits.std() > 0.1
    np.testing.assert_allclose(logits, FIXTURE[f"{size}_logits"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(pair[:, :, ::25], FIXTURE[f"{size}_training_pair"], atol=1e-4, rtol=1e-4)


def test_official_dense_weights_give_the_official_maps() -> None:
    backbone = create_model("cas_vit_xs", features_only=True).eval()
    assert bool(load_official(backbone.model, official_weights("dense")))
    with torch.no_grad():
        maps = backbone(maker.images(64, 96))
    for i, found in enumerate(maps):
        np.testing.assert_allclose(found.numpy()[:, ::8], FIXTURE[f"dense_{i}"], atol=2e-5, rtol=1e-4)


def test_checkpoint_files(tmp_path: Path) -> None:
    import argparse

    from safetensors.torch import save_file

    weights = official_weights("xs")
    torch.save({"model_ema": weights, "args": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    save_file(weights, tmp_path / "b.safetensors")
    for name in ("a.pth", "b.safetensors"):
        model = create_model("cas_vit_xs")
        assert bool(load_official(model, tmp_path / name))
        assert torch.equal(model.stages[1].downsample.proj.weight, weights["network.1.proj.weight"])
        assert torch.equal(model.head_dist.weight, weights["dist_head.weight"])
    with pytest.raises(FileNotFoundError):
        load_official(create_model("cas_vit_xs"), tmp_path / "absent.pth")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, ("evil",)  # type: ignore[return-value]


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"x": torch.zeros(1)}, "extra": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="not a checkpoint of tensors"):
        load_official(create_model("cas_vit_xs"), tmp_path / "evil.pth")


def test_unfitting_checkpoints_change_nothing() -> None:
    model = create_model("cas_vit_xs")
    before = {n: w.clone() for n, w in model.state_dict().items()}
    short = official_weights("xs")
    del short["network.0.0.attn.dwc.weight"]
    extra = {**official_weights("xs"), "network.0.9.norm1.weight": torch.zeros(48)}
    odd = {**official_weights("xs"), "norm.weight": torch.zeros(7)}
    cases = [
        (short, "1 missing.*stages.0.blocks.0.attn.dwc.weight"),
        (extra, "1 unexpected.*stages.0.blocks.9"),
        (odd, r"norm.weight has \(7,\) for \(220,\)"),
        (official_weights("s"), "another shape"),
        ({"epoch": 1}, "expected weights.*found keys 'epoch'"),
        ({"model": {"conv1.weight": torch.zeros(1)}}, "expected the weights of a CAS-ViT.*found conv1.weight"),
    ]
    for checkpoint, words in cases:
        with pytest.raises(ValueError, match=words):
            load_official(model, checkpoint)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_head_for_other_classes_is_dropped_with_a_warning_and_only_then() -> None:
    model = create_model("cas_vit_xs", num_classes=5)
    with pytest.warns(UserWarning, match="1000 classes.*5"):
        report = load_official(model, official_weights("xs"))
    assert set(report.missing) == {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}
    assert len(report.dropped) == 4
    assert torch.equal(model.norm.weight, official_weights("xs")["norm.weight"])


def test_a_classification_checkpoint_in_a_dense_model_warns() -> None:
    backbone = create_model("cas_vit_xs", features_only=True)
    with pytest.warns(UserWarning, match="fresh ones"):
        report = load_official(backbone.model, official_weights("xs"))
    assert all(name.startswith("feature_norms.") for name in report.missing)


def test_weights_in_our_names_pass_through_the_filter() -> None:
    state = create_model("cas_vit_xs").state_dict()
    assert list(checkpoint_filter_fn(state, create_model("cas_vit_xs"))) == list(state)


def test_timm_loads_an_official_file_and_says_so_when_there_is_none(tmp_path: Path) -> None:
    torch.save({"model": official_weights("xs")}, tmp_path / "official.pth")
    overlay = {"file": str(tmp_path / "official.pth")}
    model = create_model("cas_vit_xs", pretrained=True, pretrained_cfg_overlay=overlay).eval()
    with torch.no_grad():
        np.testing.assert_allclose(model(maker.images(64, 96)).numpy(), FIXTURE["xs_logits"], atol=1e-5, rtol=1e-5)
    with pytest.warns(UserWarning, match="dropped"):
        few = create_model("cas_vit_xs", pretrained=True, pretrained_cfg_overlay=overlay, num_classes=3)
    assert few.head.out_features == 3
    with pytest.raises(RuntimeError, match="No pretrained weights exist"):
        create_model("cas_vit_xs", pretrained=True)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_timm_surface(check: str) -> None:
    CHECKS[check]("cas_vit_xs", 64)


def test_all_four_sizes_are_registered() -> None:
    import timm

    assert set(TABLE) == set(timm.list_models("cas_vit_*"))


def small(**options: object) -> CasViT:
    return built(lambda: CasViT(num_classes=4, embed_dims=(8, 12), depths=(1, 2), **options), 0)  # type: ignore[arg-type,return-value]


def test_training_gives_the_pair_and_evaluation_their_mean() -> None:
    model, x = small(), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert [tuple(t.shape) for t in model.train()(x)] == [(2, 4), (2, 4)]
    model.set_distilled_training(False)
    assert model.train()(x).shape == (2, 4)
    model.eval()
    features = model.forward_head(model.forward_features(x), pre_logits=True)
    torch.testing.assert_close(model(x), (model.head(features) + model.head_dist(features)) / 2)


def test_drop_path_rises_over_the_whole_net_and_spares_the_local_branch() -> None:
    model = create_model("cas_vit_xs", drop_path_rate=0.1)
    blocks = [b for stage in model.stages for b in stage.blocks]
    rates = [getattr(b.drop_path, "drop_prob", 0.0) for b in blocks]
    np.testing.assert_allclose(rates, [0.1 * b / 9 for b in range(10)])
    block = CASBlock(4, drop_path=0.999999).train()
    x = torch.randn(3, 4, 6, 6)
    kept = block(x)
    block.local_perception.eval()
    assert not torch.allclose(kept, x)  # with both other branches dropped the local one remains


@pytest.mark.parametrize(("stride", "side"), [(4, 8), (2, 16), (1, 32)])
def test_stem_strides(stride: int, side: int) -> None:
    model = small(stem_stride=stride).eval()
    first = model.forward_intermediates(torch.zeros(1, 3, 32, 32), intermediates_only=True)[0]
    assert first.shape[-1] == side


def test_any_size_from_the_total_stride_up() -> None:
    model = create_model("cas_vit_xs", num_classes=2).eval()
    for height, width in [(32, 32), (33, 47), (95, 32)]:
        assert model(torch.zeros(1, 3, height, width)).shape == (1, 2)


def test_pruning_keeps_the_wanted_maps() -> None:
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model = create_model("cas_vit_xs").eval()
    wanted = model.forward_intermediates(x, indices=[0, 1], intermediates_only=True)
    assert model.prune_intermediate_layers([0, 1]) == [0, 1]
    assert len(model.stages) == 2
    for a, b in zip(model.forward_intermediates(x, intermediates_only=True), wanted, strict=True):
        assert torch.equal(a, b)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ConvAdditiveTokenMixer(0), "dim must be a positive integer"),
        (lambda: SpatialGate(-1), "dim must be"),
        (lambda: ChannelGate(2.5), "dim must be"),  # type: ignore[arg-type]
        (lambda: CASBlock(0), "dim must be"),
        (lambda: CASBlock(4, drop_path=1.0), "drop_path must lie in"),
        (lambda: ConvAdditiveTokenMixer(4, kernel_size=2), "kernel_size must be a positive odd"),
        (lambda: ConvAdditiveTokenMixer(4)(torch.zeros(4, 5, 5)), r"shape \(B, 4, H, W\), got \(4, 5, 5\)"),
        (lambda: ConvAdditiveTokenMixer(4)(torch.zeros(1, 3, 5, 5)), r"shape \(B, 4, H, W\)"),
        (lambda: small().eval()(torch.zeros(3, 32, 32)), r"images must have shape \(B, 3, H, W\)"),
        (lambda: small().eval()(torch.zeros(1, 1, 32, 32)), "images must have shape"),
        (lambda: create_model("cas_vit_xs").eval()(torch.zeros(1, 3, 31, 64)), "at least 32 x 32.*got 31 x 64"),
        (lambda: small().train()(torch.zeros(1, 3, 32, 32)), "batch of 1 in training mode"),
        (lambda: CasViT(embed_dims=(8, 8), depths=(1,)), "same length"),
        (lambda: CasViT(embed_dims=(8, 0), depths=(1, 1)), "positive integers"),
        (lambda: small(stem_stride=3), "stem_stride must be one of"),
        (lambda: CasViT(in_chans=0), "in_chans"),
        (lambda: CasViT(num_classes=-1), "num_classes"),
        (lambda: CasViT(global_pool="max"), "global_pool"),
        (lambda: CasViT(global_pool=""), "needs num_classes=0"),
        (lambda: CasViT(drop_path_rate=1.5), "drop_path_rate"),
        (lambda: small().eval().forward_intermediates(torch.zeros(1, 3, 32, 32), output_fmt="NLC"), "output_fmt"),
    ],
)
def test_errors_name_the_argument(call: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()  # type: ignore[operator]


def test_a_batch_of_one_is_fine_with_frozen_norms() -> None:
    from timm.layers import freeze_batch_norm_2d

    model = freeze_batch_norm_2d(small()).train()
    assert len(model(torch.zeros(1, 3, 32, 32))) == 2
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
