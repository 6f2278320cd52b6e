# mypy: allow-untyped-calls, no-warn-return-any
"""Layers for features of any irreps: a linear map that keeps irreps apart, and products between such maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ._base import EquivariantProduct, blocks_of, chosen, irreps_of
from .clebsch_gordan import ClebschGordanTP
from .gaunt import GauntTP
from .matrix import MatrixTP
from .mixed import MixedTP
from .vector import VectorSignalTP

Build = Callable[..., EquivariantProduct]

PRODUCTS: dict[str, tuple[Build, dict[str, Any]]] = {
    "cgtp": (ClebschGordanTP, {"mode": "sparse"}), "cgtp_fused": (ClebschGordanTP, {"mode": "fused"}),
    "cgtp_dense": (ClebschGordanTP, {"mode": "dense"}), "gaunt_grid": (GauntTP, {"method": "grid"}),
    "gaunt_grid_fft": (GauntTP, {"method": "grid_fft"}), "gaunt_fourier": (GauntTP, {"method": "fourier"}),
    "gaunt_fourier_fft": (GauntTP, {"method": "fourier_fft"}), "gaunt_dense": (GauntTP, {"method": "dense"}), "matrix": (MatrixTP, {}),
    "vector": (VectorSignalTP, {"product": "cross"}), "vector_dot": (VectorSignalTP, {"product": "dot"}), "mixed": (MixedTP, {}),
}  # fmt: skip


def make_product(product: str, irreps_in1: Any, irreps_in2: Any, irreps_out: Any = None, **options: Any) -> EquivariantProduct:
    """A product by its name in `PRODUCTS`.

    >>> make_product("gaunt_grid", "2x0e + 2x1o", "2x0e + 2x1o").irreps_out
    2x0e+2x1o+2x2e
    """
    chosen("product", product, list(PRODUCTS))
    build, fixed = PRODUCTS[product]
    return build(irreps_in1, irreps_in2, irreps_out, **{**fixed, **options})


class IrrepsLinear(nn.Module):
    """Linear map between irreps: mixes channels of equal irreps, never components. The same as `e3nn.o3.Linear`, without generated code.

    >>> IrrepsLinear("4x0e + 2x1o", "3x0e + 5x1o")(torch.zeros(7, 10)).shape
    torch.Size([7, 18])
    """

    def __init__(self, irreps_in: Any, irreps_out: Any) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = Irreps(irreps_in), Irreps(irreps_out)
        self.blocks_in, self.blocks_out = blocks_of(irreps_in, "irreps_in"), blocks_of(irreps_out, "irreps_out")
        self.dim_in = self.irreps_in.dim
        self.matrices = nn.ParameterList()
        self.sources = []
        for mul, l, p in self.blocks_out:
            sources = [i for i, b in enumerate(self.blocks_in) if b[1:] == (l, p)]
            self.sources.append(sources)
            self.matrices.append(nn.Parameter(torch.randn(mul, sum(self.blocks_in[i][0] for i in sources))))

    def forward(self, x: Tensor) -> Tensor:
        """`(..., irreps_in.dim)` to `(..., irreps_out.dim)`; irreps without a source are zero."""
        if x.shape[-1] != self.dim_in:
            raise ValueError(f"x has last dimension {x.shape[-1]}, its irreps {self.irreps_in} need {self.dim_in}")
        pieces = x.split([mul * (2 * l + 1) for mul, l, _ in self.blocks_in], dim=-1)
        out = []
        for (mul, l, _), sources, matrix in zip(self.blocks_out, self.sources, self.matrices):
            if not sources:
                out.append(x.new_zeros(*x.shape[:-1], mul * (2 * l + 1)))
                continue
            stacked = [pieces[i].unflatten(-1, (self.blocks_in[i][0], 2 * l + 1)) for i in sources]
            block = stacked[0] if len(stacked) == 1 else torch.cat(stacked, dim=-2)
            out.append(torch.matmul(matrix * matrix.shape[1] ** -0.5, block).flatten(-2))
        return torch.cat(out, dim=-1)


def _signal(irreps: Irreps, sign: int) -> list[tuple[int, int]]:
    """Degrees with parity sign (-1)^l among irreps."""
    return sorted({(ir.l, ir.p) for _, ir in irreps if ir.p == sign * (-1) ** ir.l})


class ProductLayer(nn.Module):
    """Linear, product by channel, Linear: takes the place of `e3nn.o3.FullyConnectedTensorProduct` with any product of the paper.

    Inputs of any irreps are mixed into `channels` copies of signals, one pair of signals for each pair of parity signs that the inputs
    have, as in the paper: (+, +), (+, -), (-, +); results of all pairs are mixed into irreps_out.

    Args:
        irreps_in1, irreps_in2, irreps_out: any, as for e3nn.
        product: a name in `PRODUCTS`.
        channels: of the product; None takes the largest multiplicity of irreps_out. More channels express more.

    Raises:
        ValueError: irreps_out that the product cannot reach, such as the pseudovector 1e from polar vectors for a Gaunt product.

    >>> from workingpapers.papers.equivariant_products import ProductLayer
    >>> layer = ProductLayer("8x0e + 4x1o", "1x0e + 1x1o + 1x2e", "8x0e + 4x1o", product="gaunt_grid")
    >>> layer(torch.randn(5, 20), torch.randn(5, 9)).shape
    torch.Size([5, 20])
    """

    def __init__(self, irreps_in1: Any, irreps_in2: Any, irreps_out: Any, product: str = "gaunt_grid", channels: int | None = None,
                 **options: Any) -> None:
        super().__init__()
        chosen("product", product, list(PRODUCTS))
        self.irreps_in1, self.irreps_in2, self.irreps_out = Irreps(irreps_in1), Irreps(irreps_in2), Irreps(irreps_out)
        blocks_out = blocks_of(irreps_out, "irreps_out")
        self.channels = max(mul for mul, _, _ in blocks_out) if channels is None else channels
        if isinstance(self.channels, bool) or not isinstance(self.channels, int) or self.channels < 1:
            raise ValueError(f"channels is {channels!r}: a whole number from 1 up is needed")
        self.first, self.second, self.products = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        top = max(l for _, l, _ in blocks_out)
        for sign1, sign2 in self._pairs():
            ins = [[(self.channels, ir) for ir in _signal(irreps, sign)] for irreps, sign in
                   ((self.irreps_in1, sign1), (self.irreps_in2, sign2))]
            made = self._made(product, ins[0], ins[1], {(l, p) for _, l, p in blocks_out}, top, options)
            if made is not None:
                self.first.append(IrrepsLinear(self.irreps_in1, made.irreps_in1))
                self.second.append(IrrepsLinear(self.irreps_in2, made.irreps_in2))
                self.products.append(made)
        reached = [block for tp in self._all() for block in tp.blocks_out]
        missing = [b for b in blocks_out if b[1:] not in {r[1:] for r in reached}]
        if missing:
            raise ValueError(f"irreps_out asks for {irreps_of(missing)}, which {product} cannot reach from {self.irreps_in1} and "
                             f"{self.irreps_in2}: take it out, or use 'cgtp', 'vector', 'matrix' or 'mixed' for odd paths")
        self.last = IrrepsLinear(irreps_of(reached), self.irreps_out)

    def _all(self) -> list[EquivariantProduct]:
        return list(self.products)  # type: ignore[arg-type]

    def _pairs(self) -> list[tuple[int, int]]:
        found = [(a, b) for a in (1, -1) for b in (1, -1) if _signal(self.irreps_in1, a) and _signal(self.irreps_in2, b)]
        return [pair for pair in found if pair != (-1, -1) or len(found) == 1 or (1, 1) not in found]

    @staticmethod
    def _made(product: str, in1: Any, in2: Any, wanted: set[tuple[int, int]], top: int,
              options: dict[str, Any]) -> EquivariantProduct | None:
        """The product of one pair of signals, with the outputs that are wanted; None where it gives none of them."""
        tops = [max(l for _, (l, _) in irreps) for irreps in (in1, in2)]
        whole = make_product("cgtp_dense" if product.startswith("cgtp") else product, in1, in2, **options)
        blocks = list(dict.fromkeys((in1[0][0], l, p) for _, l, p in whole.blocks_out if (l, p) in wanted and l <= min(top, sum(tops))))
        if not blocks:
            return None
        chosen_weights = {"weights": "shared"} if product.startswith("cgtp") else {}
        name = product
        if product == "mixed":
            odd = any(p != whole.even._natural(l) for _, l, p in blocks)
            even = any(p == whole.even._natural(l) for _, l, p in blocks)
            if not odd:
                name, options = "gaunt_grid", {}
            elif not even:
                name, chosen_weights = "cgtp", {"weights": "shared"}
                options = {}
        return make_product(name, in1, in2, irreps_of(blocks), **{**chosen_weights, **options})

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """`(..., irreps_in1.dim)`, `(..., irreps_in2.dim)` to `(..., irreps_out.dim)`."""
        return self.last(_gathered([tp(a(x), b(y)) for a, b, tp in zip(self.first, self.second, self.products)]))


def _gathered(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
