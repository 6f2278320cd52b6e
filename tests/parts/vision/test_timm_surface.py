"""The timm-surface checks pass timm's own models, and catch models that fall short."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from workingpapers.parts.vision import ensure_torchvision
from workingpapers.parts.vision.timm_surface import CHECKS

ensure_torchvision()
import timm  # noqa: E402
from timm.models.swiftformer import SwiftFormer  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_a_model_of_timm_passes(check: str) -> None:
    CHECKS[check]("swiftformer_xs", 224)


class Faulty(SwiftFormer):
    """SwiftFormer with one fault at a time."""

    fault = ""

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        out = super().forward_features(x)
        return out * float("nan") if self.fault == "nan" else out

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        super().reset_classifier(num_classes, global_pool)
        if self.fault == "head" and num_classes:
            self.head = nn.Linear(self.num_features, num_classes + 1)
            self.head_dist = nn.Linear(self.num_features, num_classes + 1)

    def forward_intermediates(self, x: torch.Tensor, *args: Any, **kw: Any) -> Any:
        found = super().forward_intermediates(x, *args, **kw)
        if self.fault == "maps" and isinstance(found, tuple):
            return found[0] + 1, found[1]
        return found

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        return {"stem": r"^stem", "blocks": r"^nothing"} if self.fault == "groups" else super().group_matcher(coarse)


@pytest.fixture
def registered() -> Iterator[None]:
    from timm.models import _registry

    def faulty_swiftformer(pretrained: bool = False, **kw: Any) -> nn.Module:
        options = {k: v for k, v in kw.items() if k in ("num_classes", "in_chans", "global_pool")}
        model = Faulty(layers=[1, 1, 1, 1], embed_dims=[8, 8, 8, 8], **options)
        model.default_cfg = {"classifier": ("head", "head_dist"), "first_conv": "stem.0"}
        return model

    _registry._model_entrypoints["faulty_swiftformer"] = faulty_swiftformer
    yield
    del _registry._model_entrypoints["faulty_swiftformer"]


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        ("nan", "forward_and_backward", "not finite"),
        ("head", "reset_classifier", "5 logits"),
        ("maps", "forward_intermediates", "not that of forward_features"),
        ("groups", "group_matcher", "layer group"),
    ],
)
def test_faults_are_caught(registered: None, monkeypatch: pytest.MonkeyPatch, fault: str, check: str, words: str) -> None:
    assert "faulty_swiftformer" in timm.models._registry._model_entrypoints
    CHECKS[check]("faulty_swiftformer", 64) if fault != "groups" else None
    monkeypatch.setattr(Faulty, "fault", fault)
    with pytest.raises(AssertionError, match=words):
        CHECKS[check]("faulty_swiftformer", 64)
