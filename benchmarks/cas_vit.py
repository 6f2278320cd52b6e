"""CAS-ViT beside the authors' code and beside timm's peers: ratios, measured in turns in one process.

    python benchmarks/cas_vit.py                              peers of timm
    PEER_CAS_VIT=folder-of-the-official-checkout python ...   the authors' code too
    THREADS=2 REPEATS=31 python ...                           other than 1 thread and 21 rounds
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from workingpapers.claims import SideBySide, side_by_side
from workingpapers.papers.cas_vit import CasViT, create_model, fuse, load_official
from workingpapers.parts.vision.folding import fold_all
from workingpapers.parts.vision.training import built

COMMIT = "041d2d688046ace52a6cec0bc5fd9e3876fdb930"
RECORDED = (
    f"2026-11-25, commit {COMMIT[:7]}, torch 2.13.0, 1 thread of a quiet AMD EPYC, 21 rounds: "
    "forward ours / official 1.00 [0.98, 1.02] XS, 1.02 [0.97, 1.06] S; official / fused 1.26 [1.24, 1.28] XS, 1.27 [1.22, 1.32] S; "
    "forward and backward ours / official 1.01 [0.99, 1.02] XS, 1.00 [0.99, 1.02] S"
)
THREADS, REPEATS = int(os.environ.get("THREADS", "1")), int(os.environ.get("REPEATS", "21"))


def main() -> None:
    print(f"torch {torch.__version__}, {THREADS} thread(s), {REPEATS} rounds; time of the first over time of the second\n")
    for size in ("xs", "s"):
        official = _official(f"rcvit_{size}")
        ours = cast(CasViT, built(partial(create_model, f"cas_vit_{size}"), 0)).eval()
        if official is not None:
            load_official(ours, official.state_dict())
        _inference(size, ours, official)
        if official is not None:
            _training(size, ours, official)
    if not os.environ.get("PEER_CAS_VIT"):
        print(f"official code: not here (set PEER_CAS_VIT). Recorded: {RECORDED}")


def _inference(size: str, ours: CasViT, official: nn.Module | None) -> None:
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    fused = fuse(ours)
    peer = built(lambda: create_model(f"swiftformer_{size}"), 0).eval()
    nets: dict[str, nn.Module] = {"ours": ours, "fused": fused, f"swiftformer_{size}": peer, f"swiftformer_{size} folded": fold_all(peer)}
    if official is not None:
        nets["official"] = official.eval()
    with torch.inference_mode():
        gap = max(float((net(x) - ours(x)).abs().max()) for name, net in nets.items() if name in ("fused", "official"))
        found = side_by_side({name: partial(net, x) for name, net in nets.items()}, repeats=REPEATS, warmup=3, threads=THREADS)
    print(f"cas_vit_{size}, forward, batch 1, 224 x 224 (largest difference of logits {gap:.1e})")
    if official is not None:
        _show(found, "ours", "official", "wanted: 1.05 or less")
        _show(found, "official", "fused", "wanted: 1.25 or more")
    _show(found, "ours", "fused", "")
    _show(found, f"swiftformer_{size}", "ours", "above 1: ours is faster")
    _show(found, f"swiftformer_{size} folded", "fused", "above 1: ours is faster")


def _training(size: str, ours: CasViT, official: nn.Module) -> None:
    x = torch.randn(4, 3, 160, 160, generator=torch.Generator().manual_seed(1))

    def step(net: nn.Module) -> None:
        net.zero_grad(set_to_none=True)
        a, b = net(x)
        cast(Any, (a + b).square().mean()).backward()

    nets = {"ours": ours.train(), "official": official.train()}
    found = side_by_side({name: partial(step, net) for name, net in nets.items()}, repeats=REPEATS, warmup=2, threads=THREADS)
    print(f"cas_vit_{size}, forward and backward, batch 4, 160 x 160")
    _show(found, "ours", "official", "wanted: 1.05 or less")


def _show(found: SideBySide, a: str, b: str, wanted: str) -> None:
    ratio = found.ratio(a, b)
    best = found[a].best / found[b].best
    print(
        f"  {a + ' / ' + b:38s} {ratio.estimate:5.2f}  [{ratio.lo:.2f}, {ratio.hi:.2f}]  best against best {best:.2f}   "
        f"({1e3 * found[a].median:.1f} and {1e3 * found[b].median:.1f} ms)  {wanted}{'  noisy' if found.noisy else ''}"
    )


def _official(name: str) -> nn.Module | None:
    folder = os.environ.get("PEER_CAS_VIT")
    if not folder:
        return None
    if "einops" not in sys.modules and importlib.util.find_spec("einops") is None:  # the official file imports it and never calls it
        einops: Any = types.ModuleType("einops")
        einops.rearrange = einops.repeat = None
        sys.modules["einops"] = einops
    path = Path(folder) / "classification" / "model" / "rcvit.py"
    spec = importlib.util.spec_from_file_location("official_rcvit", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"PEER_CAS_VIT: no {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    model = built(getattr(module, name), 0)
    _live(model)
    return model.eval()


def _live(model: nn.Module) -> None:
    """Norms as after training, so that equal outputs mean something."""
    generator = torch.Generator().manual_seed(0)

    def draw(like: Tensor, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean = draw(cast(Tensor, norm.running_mean), -0.3, 0.3)
        norm.running_var = draw(cast(Tensor, norm.running_var), 0.5, 1.5)


if __name__ == "__main__":
    main()
