# mypy: allow-untyped-calls, no-warn-return-any
"""Layers for features of any irreps: a linear map that keeps irreps apart, and products between such maps."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from itertools import product as product_of
from math import prod
from typing import Any, Literal, get_args

import numpy as np
import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ._base import EquivariantProduct, blocks_of, chosen, coupling, irreps_of
from ._signal import SignalProduct
from ._tables import Array
from .clebsch_gordan import ClebschGordanTP
from .fully_connected import LARGE, MOVED, FullyConnectedTP
from .gaunt import GauntTP
from .matrix import MatrixTP
from .mixed import MixedTP
from .vector import VectorSignalTP

Build = Callable[..., EquivariantProduct]
Way = Literal["auto", "product", "paths"]

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

    def between(self, out: int, source: int) -> Tensor:
        """The weights from one block to another, `(channels out, channels in)`; `scale(out)` times them is what is applied."""
        start = sum(self.blocks_in[i][0] for i in self.sources[out] if i < source)
        return self.matrices[out][:, start : start + self.blocks_in[source][0]]

    def scale(self, out: int) -> float:
        """Of the weights to one block, by the number of channels that are summed."""
        return float(max(1, self.matrices[out].shape[1]) ** -0.5)

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
            out.append(torch.matmul(matrix * self.scale(len(out)), block).flatten(-2))
        return torch.cat(out, dim=-1)


def _signal(irreps: Irreps, sign: int) -> list[tuple[int, int]]:
    """Degrees with parity sign (-1)^l among irreps."""
    return sorted({(ir.l, ir.p) for _, ir in irreps if ir.p == sign * (-1) ** ir.l})


class ProductLayer(nn.Module):
    """Takes the place of `e3nn.o3.FullyConnectedTensorProduct` with any product of the paper: Linear, product by channel, Linear.

    Inputs of any irreps are mixed into `channels` copies of signals, one pair of signals for each pair of parity signs that the inputs
    have, as in the paper: (+, +), (+, -), (-, +); results of all pairs are mixed into irreps_out.

    The classical product, `cgtp` without `channels`, has a weight for every pair of channels, as e3nn's layer: the same function, in
    `paths`, a `FullyConnectedTP`.

    Where an input has few channels (harmonics of edges have one), a product of signals as a layer is often cheaper path by path, its
    weights multiplied out first: the same numbers. Which way a call goes is decided by predicted cost.

    Args:
        irreps_in1, irreps_in2, irreps_out: any, as for e3nn.
        product: a name in `PRODUCTS`.
        channels: of the product; None takes the largest multiplicity of irreps_out. More channels express more.
        way: `auto`, or always by the `product`, or always path by path, `paths` (not for `mixed`, nor for `cgtp` with channels).
        options: for `make_product`.

    Raises:
        ValueError: irreps_out that the product cannot reach, such as the pseudovector 1e from polar vectors for a Gaunt product; a way
            that does not go with the product.

    >>> import torch
    >>> from workingpapers.papers.equivariant_products import ProductLayer
    >>> layer = ProductLayer("8x0e + 4x1o", "1x0e + 1x1o + 1x2e", "8x0e + 4x1o", product="gaunt_grid")
    >>> layer(torch.randn(5, 20), torch.randn(5, 9)).shape
    torch.Size([5, 20])
    """

    def __init__(self, irreps_in1: Any, irreps_in2: Any, irreps_out: Any, product: str = "gaunt_grid", channels: int | None = None, *,
                 way: Way = "auto", **options: Any) -> None:
        super().__init__()
        chosen("product", product, list(PRODUCTS))
        chosen("way", way, get_args(Way))
        self.irreps_in1, self.irreps_in2, self.irreps_out = Irreps(irreps_in1), Irreps(irreps_in2), Irreps(irreps_out)
        blocks_out = blocks_of(irreps_out, "irreps_out")
        self.first, self.second, self.products = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.last: IrrepsLinear | None = None
        self.paths: FullyConnectedTP | None = None
        self.channels = max(mul for mul, _, _ in blocks_out) if channels is None else channels
        if isinstance(self.channels, bool) or not isinstance(self.channels, int) or self.channels < 1:
            raise ValueError(f"channels is {channels!r}: a whole number from 1 up is needed")
        if product == "cgtp" and channels is None and way != "product" and not options:
            self.paths, self.way = FullyConnectedTP(irreps_in1, irreps_in2, irreps_out), "paths"
            return
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
        self.way = way
        if way != "product":
            self._multiply_out()
        if way == "paths" and self.paths is None:
            raise ValueError(f"way='paths' does not go with {product}{' and channels' if product == 'cgtp' else ''}: take way='auto'")

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

    # ------------------------------------------------------------ path by path

    def _multiply_out(self) -> None:
        """Prepare the same function as a sum over paths, where all products have fixed coefficients of paths."""
        if not all(isinstance(tp, SignalProduct) and tp.weights == "none" for tp in self.products):
            return
        found: dict[tuple[int, int, int], tuple[int, int, int, int]] = {}  # product, and its three blocks
        factors: dict[tuple[int, int, int], float] = {}
        before = np.cumsum([0, *(len(tp.blocks_out) for tp in self._all())])
        for q, tp in enumerate(self._all()):
            degrees = [[l for _, l, _ in blocks] for blocks in (tp.blocks1, tp.blocks2, tp.blocks_out)]
            k = coupling(partial(_in_double, deepcopy(tp).double()), *degrees)
            for a, b, c in np.argwhere(k).tolist():
                kinds = [tp.blocks1[a][1:], tp.blocks2[b][1:], tp.blocks_out[c][1:]]
                places = [[i for i, (_, ir) in enumerate(irreps) if (ir.l, ir.p) == kind] for irreps, kind in zip(self._whole(), kinds)]
                for i1, i2, i3 in product_of(*places):
                    first, second, last = self.first[q], self.second[q], self.last
                    scale = first.scale(a) * second.scale(b) * last.scale(i3)  # type: ignore[operator, union-attr]
                    found[i1, i2, i3], factors[i1, i2, i3] = (q, a, b, int(before[q]) + c), float(k[a, b, c]) * scale
        self.paths = FullyConnectedTP(*self._whole(), paths=factors, weights="external")
        self.terms = [(*found[path.blocks], *path.blocks) for path in self.paths.paths]
        # Predicted nanoseconds: of a row by the products and linear maps, less those path by path; of multiplying out the weights.
        moved = sum(tp.channels * tp._floats() + tp.dim1 + tp.dim2 + tp.dim_out for tp in self._all())
        self.saved = sum(tp.flops() for tp in self._all()) / 2 * LARGE + 8 * MOVED * moved - self.paths.predicted_cost()
        self.spent = LARGE * self.channels * self.paths.weight_numel + 25_000 * len(self.terms)

    def _whole(self) -> tuple[Irreps, Irreps, Irreps]:
        first, second, out = (irreps_of(blocks_of(i, "irreps")) for i in (self.irreps_in1, self.irreps_in2, self.irreps_out))
        return first, second, out

    def path_weights(self) -> Tensor:
        """Weights of `self.paths` that make it the same function: those of the linear maps multiplied out, `(weight_numel,)`."""
        assert self.last is not None
        out = []
        for q, a, b, c, i1, i2, i3 in self.terms:
            first, second = self.first[q].between(a, i1), self.second[q].between(b, i2)  # type: ignore[operator]
            pairs = first * second if second.shape[1] == 1 else (first[:, :, None] * second[:, None, :]).flatten(1)  # (channels, pairs)
            out.append(torch.mm(pairs.t(), self.last.between(i3, c).t()).view(-1))
        return torch.cat(out)

    # ------------------------------------------------------------ forward

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """`(..., irreps_in1.dim)`, `(..., irreps_in2.dim)` to `(..., irreps_out.dim)`."""
        if self.last is None:
            assert self.paths is not None
            return self.paths(x, y)
        if self.paths is not None and (self.way == "paths" or self._pays(x, y)):
            return self.paths(x, y, self.path_weights())
        return self.last(_gathered([tp(a(x), b(y)) for a, b, tp in zip(self.first, self.second, self.products)]))

    def _pays(self, x: Tensor, y: Tensor) -> bool:
        rows = prod(torch.broadcast_shapes(x.shape[:-1], y.shape[:-1]))
        return rows * self.saved > self.spent


def _in_double(tp: EquivariantProduct, x: Array, y: Array) -> Array:
    """One channel of a product without weights, `(rows, components)`."""
    return np.asarray(tp._core(torch.as_tensor(x)[:, None], torch.as_tensor(y)[:, None], None)[:, 0].numpy())


def _gathered(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
