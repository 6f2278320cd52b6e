# mypy: allow-untyped-calls, no-warn-return-any
"""What a product can do: free parameters, which inputs influence which outputs, and how exactly it turns with its inputs."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ._base import EquivariantProduct
from ._signal import SignalProduct
from ._tables import Array, random_rotation, rotations
from .clebsch_gordan import ClebschGordanTP
from .fully_connected import FullyConnectedTP
from .mixed import MixedTP

RANK_TOLERANCE = 1e-9
POINTS = 3


def expressivity(tp: EquivariantProduct | FullyConnectedTP, method: str = "jacobian", channels: int | None = None, seed: int = 0) -> int:
    """Dimension of the set of bilinear equivariant maps, one copy of each irrep in and out, that a layer around `tp` reaches.

    The layer is: one copy of the inputs to `channels` copies by a linear map, the product channel by channel, a linear map to one copy.
    Counted as the rank of the derivative of all path coefficients by all weights at random points, in double precision.
    A `ClebschGordanTP` is counted as the paper defines it, with a weight of its own for each path: an instance that collects paths
    into `irreps_out` with `weights="none"` reaches fewer itself.

    Args:
        tp: a product of this package.
        method: `jacobian`.
        channels: of the layer; None takes the product's own.
        seed: of the random points, of which there are three.

    >>> from workingpapers.papers.equivariant_products import ClebschGordanTP, GauntTP, expressivity
    >>> irreps = "1x0e + 1x1o + 1x2e"
    >>> expressivity(ClebschGordanTP(irreps, irreps)), [expressivity(GauntTP(irreps, irreps), channels=c) for c in (1, 2, 4)]
    (19, [9, 14, 14])
    """
    if method != "jacobian":
        raise ValueError(f"method is {method!r}: it must be 'jacobian'")
    if channels is not None and channels < 1:
        raise ValueError(f"channels is {channels}: 1 at least")
    if isinstance(tp, FullyConnectedTP):
        return tp.expressivity()
    if isinstance(tp, ClebschGordanTP):
        return len(tp.paths)  # every path has a coefficient of its own in the last linear map
    if isinstance(tp, MixedTP):
        return expressivity(tp.even, channels=channels or tp.channels, seed=seed) + len(tp.odd.paths)
    if not isinstance(tp, SignalProduct):
        raise TypeError(f"tp is a {type(tp).__name__}: a product of this package is needed")
    return max(_rank(tp, channels or tp.channels, np.random.default_rng((seed, k))) for k in range(POINTS))


def _rank(tp: SignalProduct, channels: int, rng: np.random.Generator) -> int:
    k, groups = tp.coupling, []
    weights = [rng.normal(size=(channels, n)) for n in k.shape]
    for slots, n in ((tp.slots1, len(tp.blocks1)), (tp.slots2, len(tp.blocks2)), (tp.slots3, len(tp.blocks_out))):
        groups.append(np.eye(n)[[s.block for s in slots]])
    columns = []
    for own in range(3):
        # Derivative by the weights of one factor: the other two are summed over their slots within each block.
        one, two = (i for i in range(3) if i != own)
        left = np.einsum("cs,sg->csg", weights[one], groups[one])
        right = np.einsum("cs,sg->csg", weights[two], groups[two])
        moved = np.moveaxis(k, own, 0)
        inner = np.einsum("abd,cbq->cadq", moved, left, optimize=True)
        inner = np.einsum("cadq,cdr->caqr", inner, right, optimize=True)
        whole = np.einsum("caqr,ag->cagqr", inner, groups[own], optimize=True)
        whole = np.moveaxis(whole, (2, 3, 4), (2 + own, 2 + one, 2 + two))
        columns.append(whole.reshape(channels * k.shape[own], -1))
    jacobian = np.concatenate(columns)
    jacobian = jacobian[:, np.abs(jacobian).max(axis=0) > 0]
    singular = np.linalg.svd(jacobian, compute_uv=False)
    return int((singular > RANK_TOLERANCE * singular[0]).sum()) if len(singular) else 0


def _weight(tp: Any, rows: int, generator: torch.Generator, dtype: torch.dtype) -> list[Tensor]:
    if getattr(tp, "weights", None) == "external":
        shape = (tp.weight_numel,) if isinstance(tp, FullyConnectedTP) else (rows, tp.weight_numel)
        return [torch.randn(*shape, generator=generator, dtype=dtype)]
    return []


def interactability(tp: EquivariantProduct | FullyConnectedTP) -> npt.NDArray[np.bool_]:
    """Which degrees interact: `[l1, l2, l3]` is true where inputs of degrees l1 and l2 alone give an output of degree l3 that is not zero.

    Measured by running the product in double precision on random inputs, all others zero; parities are taken together.

    >>> from workingpapers.papers.equivariant_products import GauntTP, MatrixTP, interactability
    >>> bool(interactability(GauntTP("1o", "1o"))[1, 1, 1]), bool(interactability(MatrixTP("1o", "1o"))[1, 1, 1])
    (False, True)
    """
    tp = deepcopy(tp).cpu().double()
    generator = torch.Generator().manual_seed(0)
    n1, n2 = len(tp.blocks1), len(tp.blocks2)
    x = torch.randn(tp.irreps_in1.dim, generator=generator, dtype=torch.float64)
    y = torch.randn(tp.irreps_in2.dim, generator=generator, dtype=torch.float64)
    xs, ys = torch.zeros(n1, n2, len(x), dtype=torch.float64), torch.zeros(n1, n2, len(y), dtype=torch.float64)
    for i, s in enumerate(tp.irreps_in1.slices()):
        xs[i, :, s] = x[s]
    for j, s in enumerate(tp.irreps_in2.slices()):
        ys[:, j, s] = y[s]
    with torch.no_grad():
        z = tp(xs, ys, *(w if w.dim() == 1 else w.unflatten(0, (n1, n2)) for w in _weight(tp, n1 * n2, generator, torch.float64)))
    top1, top2, top3 = (max(l for _, l, _ in blocks) for blocks in (tp.blocks1, tp.blocks2, tp.blocks_out))
    out = np.zeros((top1 + 1, top2 + 1, top3 + 1), dtype=bool)
    for (_, l3, _), s in zip(tp.blocks_out, tp.irreps_out.slices()):
        size = z[:, :, s].abs().amax(dim=-1)
        for i, (_, l1, _) in enumerate(tp.blocks1):
            for j, (_, l2, _) in enumerate(tp.blocks2):
                out[l1, l2, l3] |= bool(size[i, j] > 1e-10)
    return out


def odd_share(tp: EquivariantProduct | FullyConnectedTP) -> float:
    """Of the triples of degrees allowed by the triangle rule with an odd sum, within the product's degrees: how many interact."""
    found = interactability(tp)
    odd = [(a, b, c) for a, b, c in np.ndindex(*found.shape) if abs(a - b) <= c <= a + b and (a + b + c) % 2]
    return sum(bool(found[t]) for t in odd) / len(odd) if odd else 0.0


def representation(irreps: Any, blocks: list[Array], inversion: bool) -> Tensor:
    """The matrix `(dim, dim)` by which features of these irreps turn, in double precision."""
    parts = [torch.as_tensor(blocks[ir.l] * (ir.p if inversion else 1)) for mul, ir in Irreps(irreps) for _ in range(mul)]
    return torch.block_diag(*parts)


def equivariance_error(tp: nn.Module, o3: bool = True, n: int = 10, seed: int = 0) -> float:
    """Largest |f(Dx, Dy) - D f(x, y)| over random rotations (and inversions), divided by the largest |f|.

    Args:
        tp: any module with `irreps_in1`, `irreps_in2`, `irreps_out`, called as tp(x, y): one of these, a `ProductLayer`, or e3nn's.
        o3: also with inversion.
        n: rotations, each with its own inputs.
        seed: of rotations and inputs.

    In single precision expect 1e-6, in double 1e-14.

    >>> from workingpapers.papers.equivariant_products import GauntTP, equivariance_error
    >>> equivariance_error(GauntTP("4x0e + 4x1o", "4x0e + 4x1o").double()) < 1e-13
    True
    """
    if n < 1:
        raise ValueError(f"n is {n}: 1 at least")
    in1, in2, out = (Irreps(getattr(tp, name)) for name in ("irreps_in1", "irreps_in2", "irreps_out"))
    floats = [t.dtype for t in (*tp.parameters(), *tp.buffers()) if t.is_floating_point()]
    dtype = floats[0] if floats else torch.get_default_dtype()
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    worst = 0.0
    for k in range(n):
        blocks = rotations(max(in1.lmax, in2.lmax, out.lmax), random_rotation(rng))
        d1, d2, d3 = (representation(irreps, blocks, o3 and k % 2 == 0).to(dtype) for irreps in (in1, in2, out))
        x, y = (torch.randn(4, irreps.dim, generator=generator, dtype=dtype) for irreps in (in1, in2))
        w = _weight(tp, 4, generator, dtype)
        with torch.no_grad():
            straight, turned = tp(x, y, *w), tp(x @ d1.T, y @ d2.T, *w)
        worst = max(worst, float((turned - straight @ d3.T).abs().max() / straight.abs().max()))
    return worst
