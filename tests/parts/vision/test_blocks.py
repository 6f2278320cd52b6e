"""Counting, folding, checkpoints, the scaffold and the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from workingpapers.parts.vision import ensure_torchvision
from workingpapers.parts.vision.checkpoints import LoadReport, UnknownCheckpoint, load_strict, read_checkpoint, rename, unwrap
from workingpapers.parts.vision.folding import affine_of, fold_after, fold_all, fold_before
from workingpapers.parts.vision.macs import count_macs, count_params
from workingpapers.parts.vision.metaformer import MetaFormer, matched_width
from workingpapers.parts.vision.mixers import MIXERS, NoMixing, SelfAttention
from workingpapers.parts.vision.training import Recipe, accuracy, as_batch, built, fit, seeded


def norm(dim: int) -> nn.BatchNorm2d:
    made, generator = nn.BatchNorm2d(dim), torch.Generator().manual_seed(dim)
    made.running_mean = torch.randn(dim, generator=generator)
    made.running_var = torch.rand(dim, generator=generator) + 0.3
    nn.init.normal_(made.weight, 1, 0.3, generator=generator)
    nn.init.normal_(made.bias, 0, 0.3, generator=generator)
    return made.eval()


# ---------------------------------------------------------------- counting


@pytest.mark.parametrize(
    ("name", "without_attention", "attention"),
    [("pit_s_224", 2_418_201_792, 452_594_304), ("pvt_v2_b0", 527_956_992, 38_108_672), ("poolformer_s12", 1_812_267_008, 0)],
)
def test_macs_of_known_networks(name: str, without_attention: int, attention: int) -> None:
    """torch's counter alone gives the first figure on a CPU: it does not know the fused attention there."""
    ensure_torchvision()
    import timm

    assert count_macs(timm.create_model(name)) == without_attention + attention


def test_fused_attention_counts_like_its_two_products() -> None:
    ensure_torchvision()
    import timm
    from torch.nn.attention import SDPBackend, sdpa_kernel

    model = timm.create_model("vit_tiny_patch16_224", depth=2)
    fused = count_macs(model)
    with sdpa_kernel(SDPBackend.MATH):
        assert count_macs(model) == fused


def test_self_attention_makes_no_matrix_of_all_pairs() -> None:
    sizes: list[int] = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in (out if isinstance(out, tuple | list) else (out,)) if isinstance(t, Tensor))
            return out

    with torch.inference_mode(), Sizes():
        SelfAttention(32)(torch.zeros(1, 32, 28, 28))
    assert max(sizes) < 784 * 784


def test_both_conventions_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3), nn.BatchNorm2d(6), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5),
    )
    products = 6 * 4 * 4 * 9 + 6 * 5
    assert count_macs(net, (3, 8, 8)) == products
    assert count_macs(net, (3, 8, 8), "thop") == products + 4 * 6 * 16 + (16 + 1) * 6


def test_attention_products_count_in_one_convention_only() -> None:
    dim, tokens = 32, 49
    layer = SelfAttention(dim)
    convolutions = 4 * dim * dim * tokens
    assert count_macs(layer, (dim, 7, 7), "thop") == convolutions
    assert count_macs(layer, (dim, 7, 7)) == convolutions + 2 * tokens * tokens * dim


@pytest.mark.needs("thop")
def test_thop_convention_agrees_with_thop() -> None:
    import thop

    for mixer in MIXERS.values():
        model = MetaFormer(mixer, dims=(8, 12), depths=(1, 2)).eval()
        assert count_macs(model, (3, 20, 24), "thop") == thop.profile(model, (torch.zeros(1, 3, 20, 24),), verbose=False)[0]


def test_counting_changes_nothing_and_names_errors() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).train()
    mean = net[1].running_mean.clone()
    count_macs(net, (1, 4, 4))
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert torch.equal(net[1].running_mean, mean)
    with pytest.raises(ValueError, match="convention"):
        count_macs(net, (1, 4, 4), "flops")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="input_size"):
        count_macs(net, (1, 0, 4))


# ---------------------------------------------------------------- folding


@given(
    kernel=st.sampled_from([1, 3, 5]), stride=st.integers(1, 3), padding=st.integers(0, 2),
    groups=st.sampled_from([1, 2, 4]), bias=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_a_norm_after_a_convolution_folds_exactly(kernel: int, stride: int, padding: int, groups: int, bias: bool) -> None:
    conv, after = nn.Conv2d(4, 8, kernel, stride, padding, groups=groups, bias=bias), norm(8)
    x = torch.randn(2, 4, 9, 7)
    with torch.no_grad():
        torch.testing.assert_close(fold_after(conv, after)(x), after(conv(x)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("bias", [False, True])
def test_a_norm_before_a_pointwise_convolution_folds_exactly(bias: bool) -> None:
    before, conv = norm(4), nn.Conv2d(4, 6, 1, bias=bias)
    x = torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(fold_before(before, conv)(x), conv(before(x)), atol=1e-5, rtol=1e-4)


def test_what_cannot_be_folded_is_refused() -> None:
    with pytest.raises(ValueError, match="1x1 convolution without padding"):
        fold_before(norm(4), nn.Conv2d(4, 4, 3, padding=1))
    with pytest.raises(ValueError, match="got LayerNorm"):
        affine_of(nn.LayerNorm(4))
    with pytest.raises(ValueError, match="running statistics"):
        affine_of(nn.BatchNorm2d(4, track_running_stats=False))


def test_fold_all_folds_a_traced_network_and_only_what_it_may() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.na = nn.Conv2d(3, 4, 3), norm(4)
            self.b, self.nb = nn.Conv2d(4, 4, 1), norm(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.na(self.a(x)))
            y = self.b(x)
            return self.nb(y) + y  # used twice: must stay

    net, x = Net().eval(), torch.randn(1, 3, 6, 6)
    folded = fold_all(net)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules()) == 1
    with torch.no_grad():
        torch.testing.assert_close(folded(x), net(x), atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------- checkpoints


def test_unwrap_and_rename() -> None:
    weights = {"module.fc.weight": torch.ones(1)}
    for wrapped in (weights, {"model": weights}, {"epoch": 1, "model_ema": weights}, {"state_dict": weights}):
        assert list(unwrap(wrapped)) == ["fc.weight"]
    for bad in ([1], {}, {"epoch": 1}, {"model": {"a": 1}}):
        with pytest.raises(UnknownCheckpoint):
            unwrap(bad)
    renamed = rename({"a.0.w": torch.ones(1), "b.w": torch.ones(2)}, [(r"a\.(\d)\.", r"x\1."), (r"a\.", "never.")])
    assert list(renamed) == ["x0.w", "b.w"]
    with pytest.raises(UnknownCheckpoint, match=r"become 'b\.w'"):
        rename({"a.w": torch.ones(1), "b.w": torch.ones(2)}, [(r"a\.", "b.")])


def test_load_strict_is_all_or_nothing() -> None:
    net = nn.Linear(2, 1)
    before = net.weight.clone()
    for bad in ({"weight": torch.ones(1, 2)}, {"weight": torch.ones(1, 3), "bias": torch.ones(1)},
                {"weight": torch.ones(1, 2), "bias": torch.ones(1), "c": torch.ones(1)}):  # fmt: skip
        with pytest.raises(ValueError, match="Nothing was loaded"):
            load_strict(net, bad)
        assert torch.equal(net.weight, before)
    report = load_strict(net, {"weight": torch.ones(1, 2)}, may_miss="bias")
    assert report == LoadReport(1, ("bias",))
    assert not report


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(UnknownCheckpoint, match=r"x\.pth"):
        read_checkpoint(tmp_path / "x.pth")
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "absent.pth")


# ---------------------------------------------------------------- scaffold and trainer


@pytest.mark.parametrize("name", MIXERS)
def test_matched_width_meets_the_target_and_draws_nothing(name: str) -> None:
    def build(dims: tuple[int, ...]) -> nn.Module:
        return MetaFormer(MIXERS[name], dims=dims, depths=(1, 1), in_chans=1)

    state = torch.random.get_rng_state()
    for target in (8_000, 20_000):
        widths = matched_width(build, (16, 24), target)
        assert abs(count_params(build(widths)) / target - 1) <= 0.02
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(state)
        matched_width(build, (16, 24), 8_000)
        assert torch.equal(torch.random.get_rng_state(), state)


def test_impossible_widths_and_scaffolds_are_refused() -> None:
    with pytest.raises(ValueError, match="no widths near"):
        matched_width(lambda dims: nn.Linear(1000 * dims[0], 1), (1,), 1_500)
    with pytest.raises(ValueError, match="same length"):
        MetaFormer(NoMixing, dims=(4,), depths=(1, 1))


def dots(n: int = 160) -> tuple[torch.Tensor, torch.Tensor]:
    """A bright dot left or right."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (n,), generator=generator)
    x = 0.1 * torch.randn(n, 1, 8, 8, generator=generator)
    x[torch.arange(n), 0, 4, 1 + 5 * labels] += 2
    return x, labels


def test_training_learns_repeats_itself_and_leaves_the_global_stream_alone() -> None:
    x, y = dots()
    recipe = Recipe(epochs=6, batch_size=32, lr=1e-2)
    state = torch.random.get_rng_state()

    def fresh() -> nn.Module:
        return built(lambda: MetaFormer(MIXERS["depthwise conv"], dims=(6, 8), depths=(1, 1), in_chans=1, num_classes=2), 1)

    nets = [fresh(), fresh()]
    for net in nets:
        fit(net, x[:128], y[:128], recipe, seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert accuracy(nets[0], x[128:], y[128:]) > 90
    for a, b in zip(nets[0].state_dict().values(), nets[1].state_dict().values(), strict=True):
        assert torch.equal(a, b)
    other = fit(fresh(), x[:128], y[:128], recipe, seed=6)
    assert not torch.equal(next(other.parameters()), next(nets[0].parameters()))


def test_shifts_move_pictures_and_nothing_else() -> None:
    from workingpapers.parts.vision.training import _shifted

    x = torch.zeros(50, 2, 7, 9)
    x[:, :, 3, 4] = torch.tensor([1.0, 2.0])
    moved = _shifted(x, 2, torch.Generator().manual_seed(0))
    assert moved.shape == x.shape
    torch.testing.assert_close(moved.sum(dim=(2, 3)), x.sum(dim=(2, 3)))
    places = {tuple(int(v) for v in (image[0] > 0).nonzero()[0]) for image in moved}
    assert places <= {(r, c) for r in range(1, 6) for c in range(2, 7)}
    assert len(places) > 10


def test_trainer_errors() -> None:
    x, y = dots(20)
    net = MetaFormer(NoMixing, dims=(4,), depths=(1,), in_chans=1)
    with pytest.raises(ValueError, match="fewer than a batch"):
        fit(net, x, y, Recipe(epochs=1), seed=0)
    with pytest.raises(ValueError, match=r"labels \(N,\)"):
        fit(net, x, y[:3], Recipe(epochs=1, batch_size=4), seed=0)
    with pytest.raises(ValueError, match="lower the learning rate"):
        fit(net, x * float("nan"), y, Recipe(epochs=1, batch_size=4), seed=0)
    with pytest.raises(ValueError, match="images is empty"):
        accuracy(net, x[:0], y[:0])


def test_accuracy_and_batches() -> None:
    x = as_batch(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), 2.0, 4.0)
    assert x.shape == (2, 1, 3, 4)
    assert float(x[0, 0, 0, 3]) == 0.25
    assert as_batch(np.zeros((2, 3, 4, 5), np.uint8), 0, 1).shape == (2, 5, 3, 4)
    always_one = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    nn.init.zeros_(always_one[1].weight)
    always_one[1].bias.data = torch.tensor([0.0, 1.0, 0.0])
    assert accuracy(always_one, x, torch.tensor([1, 2]), batch_size=1) == 50.0
    with seeded(3):
        a = torch.rand(1)
    with seeded(3):
        assert torch.equal(torch.rand(1), a)
