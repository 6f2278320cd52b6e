"""The additive mixer: what it computes, what it hears, what it costs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from workingpapers.papers.cas_vit import ConvAdditiveTokenMixer
from workingpapers.parts.vision.training import built


def mixer(dim: int) -> ConvAdditiveTokenMixer:
    made = built(lambda: ConvAdditiveTokenMixer(dim), 0)
    assert isinstance(made, ConvAdditiveTokenMixer)
    for i, norm in enumerate(m for m in made.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean = torch.linspace(-0.3, 0.4, dim) + i
        norm.running_var = torch.linspace(0.5, 1.5, dim)
    return made.eval()


def by_loops(made: ConvAdditiveTokenMixer, x: np.ndarray) -> np.ndarray:
    """The definition, pixel by pixel, in double precision."""
    weights = {n: w.double().numpy() for n, w in made.state_dict().items()}
    channels, height, width = x.shape

    def depthwise(z: np.ndarray, name: str) -> np.ndarray:
        out = np.empty_like(z)
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    total = weights[f"{name}.bias"][c]
                    for a in (-1, 0, 1):
                        for b in (-1, 0, 1):
                            if 0 <= i + a < height and 0 <= j + b < width:
                                total += weights[f"{name}.weight"][c, 0, a + 1, b + 1] * z[c, i + a, j + b]
                    out[c, i, j] = total
        return out

    def sigmoid(t: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-t))

    def gated(z: np.ndarray, name: str) -> np.ndarray:
        block = f"{name}.0.block"
        s = depthwise(z, f"{block}.0")
        mean, var = weights[f"{block}.1.running_mean"], weights[f"{block}.1.running_var"]
        s = (s - mean[:, None, None]) / np.sqrt(var + 1e-5)[:, None, None]
        s = s * weights[f"{block}.1.weight"][:, None, None] + weights[f"{block}.1.bias"][:, None, None]
        z = z * sigmoid(np.tensordot(weights[f"{block}.3.weight"][0, :, 0, 0], np.maximum(s, 0), axes=1))
        return z * sigmoid(weights[f"{name}.1.block.1.weight"][:, :, 0, 0] @ z.mean(axis=(1, 2)))[:, None, None]

    q, k, v = np.split(np.tensordot(weights["qkv.weight"][:, :, 0, 0], x, axes=1), 3)
    return depthwise(depthwise(gated(q, "oper_q") + gated(k, "oper_k"), "dwc") * v, "proj")


def test_it_computes_its_definition() -> None:
    made = mixer(5)
    x = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = made(x).numpy()
    for image, out in zip(x.double().numpy(), found, strict=True):
        np.testing.assert_allclose(out, by_loops(made, image), atol=1e-5)


def test_global_context_comes_only_through_the_channel_gate() -> None:
    """Gradient map: beyond the reach of its convolutions, a position hears others only through their mean."""
    made = mixer(4)
    x = torch.randn(1, 4, 21, 21, generator=torch.Generator().manual_seed(2), requires_grad=True)
    (near,) = torch.autograd.grad(made(x)[0, :, 10, 10].sum(), x)
    far = near[0].abs().sum(0)
    assert float(far[0, 0]) > 0
    for oper in (made.oper_q, made.oper_k):
        oper[1] = nn.Identity()
    (local,) = torch.autograd.grad(made(x)[0, :, 10, 10].sum(), x)
    heard = (local[0].abs().sum(0) > 0).nonzero()
    assert heard.min() == 7  # spatial gate, DW1, DW2: three 3x3 convolutions reach 3 positions
    assert heard.max() == 13


def test_no_tensor_larger_than_linear_in_area() -> None:
    """A dispatch hook sees every tensor made, temporary ones included."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, tuple | list) else (out,):
                if isinstance(tensor, torch.Tensor):
                    self.seen = max(self.seen, tensor.numel())
            return out

    made = mixer(8)
    for side in (16, 32, 64):
        with Largest() as largest, torch.no_grad():
            made(torch.zeros(1, 8, side, side))
        assert largest.seen == 3 * 8 * side**2  # q, k and v together; N x N would be side**4


@pytest.mark.slow
def test_it_needs_torch_alone() -> None:
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'timm', 'torchvision', 'onnx', 'sklearn', 'PIL', 'altair'}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name.split('.')[0])\n"
        "sys.meta_path.insert(0, Block())\n"
        "import torch\n"
        "from workingpapers.papers.cas_vit import ConvAdditiveTokenMixer\n"
        "from workingpapers.parts.vision.mixers import MIXERS\n"
        "print(ConvAdditiveTokenMixer(4)(torch.zeros(1, 4, 3, 3)).shape, len(MIXERS))\n"
        "try:\n"
        "    from workingpapers.papers.cas_vit import CasViT\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "torch.Size([1, 4, 3, 3]) 6"
    assert 'pip install "workingpapers[vision]"' in done.stdout


@pytest.mark.parametrize("bias", [False, True])
def test_qkv_bias(bias: bool) -> None:
    assert (ConvAdditiveTokenMixer(4, qkv_bias=bias).qkv.bias is not None) is bias
