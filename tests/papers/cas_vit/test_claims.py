"""The claims: their workloads, and that breaking the method changes the verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from workingpapers.claims import Untested, Verdict
from workingpapers.papers.cas_vit import claims
from workingpapers.papers.cas_vit.claims import CATM, MSA, Contest, Layer, Photos, Size
from workingpapers.papers.cas_vit.contest import CONTENDERS, Ring, tune
from workingpapers.papers.cas_vit.imagenet import FOLDER, ImageNet, train_and_score
from workingpapers.parts.vision.macs import count_params
from workingpapers.parts.vision.mixers import SelfAttention
from workingpapers.parts.vision.training import Recipe
from workingpapers.workloads.images import Images, digits

DIRECTION = {"accuracy": "higher"}


@pytest.mark.slow
def test_size_table_holds_and_fails_when_a_gate_is_dropped() -> None:
    point = [Size("cas_vit_xs")]
    held = claims.size_table
    assert held.decide(held.try_all("smoke", points=point)).verdict == Verdict.HOLDS
    original = claims.create_model

    def toy(name: str, **options: object) -> nn.Module:
        model = original(name, **options)
        for oper in [m.oper_k for m in model.modules() if hasattr(m, "oper_k")]:
            oper[1] = nn.Identity()
        return model

    with mock.patch.object(claims, "create_model", toy):
        assert held.decide(held.try_all("smoke", points=point)).verdict == Verdict.FAILS


@pytest.mark.slow
def test_expected_macs_at_another_size_agree_with_the_counter() -> None:
    point = Size("cas_vit_xs", 384)
    assert point.measured(distilled=True)["macs_matmul"] == point.expected()["macs_matmul"]


def test_cost_linear_fails_when_the_method_is_self_attention() -> None:
    points = [Layer(28, 8), Layer(40, 8), Layer(56, 8)]
    made = replace(claims.cost_linear, parts=claims.cost_linear.parts[:1])  # operations alone: quick and exact
    held = made.decide(made.try_all("smoke", points=points))
    assert [c.verdict for c in held.checks if c.metric == "macs"] == [Verdict.HOLDS, Verdict.HOLDS]
    assert held.verdict == Verdict.INCONCLUSIVE  # no times were measured
    with mock.patch.object(claims, "ConvAdditiveTokenMixer", SelfAttention):
        broken = made.decide(made.try_all("smoke", points=points))
    assert broken.verdict == Verdict.FAILS


@pytest.mark.slow
def test_rivals_have_the_methods_parameters_within_two_per_cent() -> None:
    for rule in (claims.mixer_accuracy.parts[0].points[s][0] for s in ("smoke", "small")):
        ring = Ring(rule.dims, rule.depths, rule.stem_stride, Recipe(epochs=1))
        target = count_params(ring.network(CONTENDERS[CATM], rule.dims))
        for mixer in CONTENDERS.values():
            assert abs(count_params(ring.network(mixer, ring.widths(mixer))) / target - 1) <= 0.02


def test_all_six_mixers_and_the_method_are_arms() -> None:
    assert set(claims.mixer_accuracy.arms) == set(CONTENDERS)
    assert {a for a, arm in claims.mixer_accuracy.arms.items() if arm.role == "control"} == {"average pool", "identity"}


@pytest.mark.slow
def test_mixer_accuracy_same_seed_same_number_and_a_crippled_method_fails() -> None:
    point = Contest("digits", 300, 600, (8, 12), (1, 1), 2, 2)
    made = claims.mixer_accuracy
    part = made.parts[0]

    def once(arm: str, seed: int) -> float:
        return next(m.value for m in made.attempt(part, arm, seed, point, "smoke") if m.metric == "accuracy")

    assert once(CATM, 0) == once(CATM, 0)
    assert len({once(CATM, seed) for seed in range(3)}) > 1

    def crippled(self: Ring, mixer: object, dims: object) -> nn.Module:
        net = original(self, mixer, dims)  # type: ignore[arg-type]
        if mixer is CONTENDERS[CATM]:
            net.stem = nn.Sequential(net.stem, nn.Dropout(0.97))  # type: ignore[arg-type]
        return net

    original = Ring.network
    with mock.patch.object(Ring, "network", crippled):
        broken = made.decide(made.try_all("smoke", seeds=3, points=[point], better=DIRECTION))
    assert broken.verdict == Verdict.FAILS


def test_better_is_shown_and_does_not_decide() -> None:
    from workingpapers.claims import Measurement, Results
    from workingpapers.claims._results import Planned

    made, rng = claims.mixer_accuracy, np.random.default_rng(0)
    levels = dict.fromkeys(made.arms, 90.0) | {"average pool": 85.0, "identity": 80.0}
    rows, plan = [], []
    for arm, level in levels.items():
        for seed in range(6):
            rows.append(Measurement("mixer_accuracy", arm, seed, "p", "accuracy", level + rng.normal(0, 0.01)))
            plan.append(Planned("mixer_accuracy", arm, seed, "p", True))
    found = made.decide(Results(rows, plan, DIRECTION, {"p": {}}))
    assert found.verdict == Verdict.HOLDS
    asides = [c for c in found.checks if c.name.startswith("better than")]
    assert len(asides) == 4
    assert any(c.verdict != Verdict.HOLDS for c in asides)
    assert "none of its rivals" in made.notes[0](asides) or "Better beyond doubt" in made.notes[0](asides)


@pytest.mark.slow
def test_learning_rates_are_tried_alike() -> None:
    ring = Ring((8, 12), (1, 1), 2, Recipe(epochs=1))
    table = tune(ring, digits().load(), 128, 200, lrs=(1e-3, 1e-2), seeds=(0,))
    assert set(table) == set(CONTENDERS)
    assert all(set(row) == {1e-3, 1e-2} for row in table.values())


def test_what_is_timed_answers_alike_however_it_is_prepared() -> None:
    point, x = Photos("xs"), torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for name, how in (("cas_vit_xs", "fused"), ("swiftformer_xs", "folded")):
            plain = point.contender(name, "plain", 0)(x)
            torch.testing.assert_close(point.contender(name, how, 0)(x), plain, atol=1e-4, rtol=1e-3)
    assert [claims.network_of("s", family) for family in ("cas_vit", "same size", "like accuracy", "edgenext")] == [
        "cas_vit_s", "swiftformer_s", "swiftformer_l1", "edgenext_small",
    ]  # fmt: skip


def test_points_that_cannot_be_tried_say_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    with pytest.raises(Untested, match=FOLDER):
        ImageNet().prepare(lambda share, words: None)
    if not torch.cuda.is_available():
        with pytest.raises(Untested, match="CUDA"):
            Photos("xs", device="cuda").prepare(lambda share, words: None)
    monkeypatch.setenv("WORKINGPAPERS_CACHE", str(tmp_path))
    monkeypatch.setenv("WORKINGPAPERS_OFFLINE", "1")
    if not Path("/usr/share/datasets/fashion-mnist").is_dir():
        with pytest.raises(Untested, match="WORKINGPAPERS_OFFLINE"):
            claims.mixer_accuracy.parts[0].points["small"][0].prepare(lambda share, words: None)


@pytest.mark.slow
def test_the_imagenet_setting_runs_on_a_folder_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, each in (("train", 8), ("val", 3)):
        for kind in range(2):
            folder = tmp_path / part / f"class{kind}"
            folder.mkdir(parents=True)
            for i in range(each):
                level = rng.integers(0, 60, (40, 40, 3)) + 190 * kind
                Image.fromarray(level.astype(np.uint8)).save(folder / f"{i}.png")
    monkeypatch.setenv(FOLDER, str(tmp_path))
    net = Ring((4, 6), (1, 1), 2, Recipe(epochs=1))
    model = net.network(CONTENDERS[MSA], (4, 6))
    model.stem[0] = nn.Conv2d(3, 4, 3, 2, 1)  # type: ignore[index,operator]
    score = train_and_score(model, ImageNet(epochs=2, batch_size=8, pixels=32), 0, device="cpu", workers=0)
    assert 0 <= score <= 100


@pytest.mark.parametrize("bits", [0, 1, 4, 8])
def test_posterize_keeps_as_many_bits_as_asked(bits: int) -> None:
    from PIL import Image
    from timm.data import auto_augment

    from workingpapers.papers.cas_vit.imagenet import _posterize_down_to_no_bits

    _posterize_down_to_no_bits()
    levels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    kept = np.asarray(auto_augment.NAME_TO_OP["PosterizeIncreasing"](Image.fromarray(levels), bits))
    assert np.array_equal(kept, levels & (0xFF << (8 - bits) & 0xFF))


def test_images_of_a_contest_are_the_same_for_all_arms() -> None:
    point = Contest("digits", 100, 100, (4,), (1,), 1, 1)
    a, b = (point.load(np.random.default_rng(7)) for _ in range(2))
    assert isinstance(a[0], Images)
    assert np.array_equal(a[0].images, b[0].images)
    assert point.data_hash() == digits().sha256
