# mypy: allow-untyped-calls, no-warn-return-any
"""Products of vector fields on the sphere: cross and dot products bring the paths that the Gaunt product lacks."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ._base import Normalization, Weights, chosen
from ._signal import SignalProduct, Slot
from ._tables import Array, harmonics, needed_grid, sphere_grid, vector_harmonics

# Factors without weights, for input 1, input 2 and the output. With equal ones whole paths would cancel, since the cross product of equals
# is zero; these leave every path.
FIXED = {1: {"down": 1.0, "same": 1.0, "up": 0.6}, 2: {"down": 0.7, "same": -0.5, "up": 1.0}, 3: {"down": 1.0, "same": -0.5, "up": 0.8}}
SHIFT = {"down": -1, "same": 0, "up": 1}


def field_slots(blocks: list[tuple[int, int, int]]) -> list[Slot]:
    """Each degree j enters three times: through Y_l with l = j - 1, j, j + 1."""
    return [Slot(i, j, tag) for i, (_, j, _) in enumerate(blocks) for tag in SHIFT if j > 0 or tag == "up"]


class VectorSignalTP(SignalProduct):
    """Vector signal tensor product: inputs become vector fields on the sphere, multiplied point by point by `cross` or `dot`.

    A degree j enters a field through vector spherical harmonics made from Y_l, l = j - 1, j, j + 1. For parities (-1)^j the first and last
    make a polar field, the middle one an axial field; both are multiplied with both of the other input, so that all parities come out
    right, odd (antisymmetric) paths among them. The cross product reaches every path but (0, 0, 0), which `scalars` adds.

    Args:
        product: `cross` gives vector fields, `dot` scalar ones.
        scalars: multiply degree 0 with degree 0 apart, as the paper does.
        weights: scale each (j, l) of both inputs and the output in each channel.
        The rest, and Raises: as for `GauntTP`.

    Cost: O(L^4) for each row, about six times that of the Gaunt product. How polar and axial parts are kept is reconstructed.

    >>> from workingpapers.papers.equivariant_products import VectorSignalTP
    >>> VectorSignalTP("4x0e + 4x1o", "4x0e + 4x1o").irreps_out
    4x0e+4x1o+4x1e+4x2e
    """

    def __init__(self, irreps_in1: Any, irreps_in2: Any, irreps_out: Any = None, product: Literal["cross", "dot"] = "cross", *,
                 scalars: bool = True, weights: Weights = "none", normalization: Normalization = "component") -> None:
        super().__init__(irreps_in1, irreps_in2, irreps_out, weights, normalization)
        chosen("product", product, get_args(Literal["cross", "dot"]))
        self.product = product
        highest = min(self.l3, self.l1 + self.l2)
        has0 = [next((i for i, b in enumerate(blocks) if b[1] == 0), None) for blocks in (self.blocks1, self.blocks2)]
        scalars = scalars and None not in has0 and product == "cross"
        slots1, slots2 = field_slots(self.blocks1), field_slots(self.blocks2)
        blocks = [(self.channels, l, p) for l in range(highest + 1) for p in dict.fromkeys((self._natural(l), -self._natural(l)))]
        if self.step == 1:
            blocks = [b for b in blocks if b[2] == self.parity]
        slots3 = field_slots(blocks) if product == "cross" else [Slot(i, l) for i, (_, l, _) in enumerate(blocks)]
        self.grid = needed_grid(self.l1 + self.l2 + highest + (3 if product == "cross" else 2))
        self.fields = 1 if self.step == 1 else 2
        grid1, grid2 = self._fields(slots1), self._fields(slots2)
        back = self._back(slots3, blocks)
        self.points = self.grid[0] * self.grid[1]
        if scalars:
            grid1, slots1 = _with_scalar(grid1), [*slots1, Slot(has0[0] or 0, 0, "scalar")]
            grid2, slots2 = _with_scalar(grid2), [*slots2, Slot(has0[1] or 0, 0, "scalar")]
            back = np.pad(back, ((0, 1), (0, 1)))
            back[-1, -1] = 1.0
            slots3 = [*slots3, Slot(next(i for i, b in enumerate(blocks) if b[1:] == (0, self._natural(0))), 0, "scalar")]
        self.has_scalar = scalars

        def raw(x: Array, y: Array) -> Array:
            xt, yt = (torch.as_tensor(v @ g)[:, None] for v, g in ((x, grid1), (y, grid2)))
            return np.asarray(self._pointwise(xt, yt)[:, 0].numpy() @ back)

        out = self._settle(raw, slots1, slots2, slots3, blocks)
        self._table("grid1", self._folded(grid1, slots1, self.blocks1, 1))
        self._table("grid2", self._folded(grid2, slots2, self.blocks2, 2))
        self._table("back", back @ out)

    # ------------------------------------------------------------ tables

    def _fields(self, slots: list[Slot]) -> Array:
        """Values of every slot's component: `(d, fields * 3 * points)`. Two fields are polar + axial and polar - axial."""
        rows = []
        for s in slots:
            v = vector_harmonics(s.degree, s.degree + SHIFT[s.tag], *self.grid).reshape(2 * s.degree + 1, -1)
            rows.append(v if self.fields == 1 else np.concatenate([v, -v if s.tag == "same" else v], axis=1))
        return np.concatenate(rows)

    def _back(self, slots: list[Slot], blocks: list[tuple[int, int, int]]) -> Array:
        """From the pointwise products to all slots. The product of sums and that of differences agree in axial parts, differ in polar."""
        xyz, w, _, _ = sphere_grid(*self.grid)
        columns = []
        for s in slots:
            natural = blocks[s.block][2] == self._natural(s.degree)
            if self.product == "dot":
                v, agrees = harmonics(s.degree, xyz)[:, s.degree**2 :].T * w, natural
            else:
                v = (vector_harmonics(s.degree, s.degree + SHIFT[s.tag], *self.grid) * w).reshape(2 * s.degree + 1, -1)
                agrees = natural == (s.tag == "same")
            columns.append(v.T if self.fields == 1 else np.concatenate([v, v if agrees else -v], axis=1).T / 2)
        return np.concatenate(columns, axis=1)

    def _fixed(self, slots: list[Slot], role: int) -> Array:
        return np.array([FIXED[role].get(s.tag, 1.0) for s in slots])

    # ------------------------------------------------------------ forward

    def _multiply(self, x: Tensor, y: Tensor) -> Tensor:
        return self._pointwise(x @ self.grid1, y @ self.grid2) @ self.back

    def _pointwise(self, f: Tensor, g: Tensor) -> Tensor:
        scalar = f[..., -1:] * g[..., -1:] if self.has_scalar else None
        width = self.fields * 3 * self.points
        f, g = (t[..., :width].unflatten(-1, (self.fields, 3, self.points)) for t in (f, g))
        if self.product == "dot":
            return (f * g).sum(-2).flatten(-2)
        (a, b, c), (u, v, w) = f.unbind(-2), g.unbind(-2)
        z = torch.stack([b * w - c * v, c * u - a * w, a * v - b * u], dim=-2).flatten(-3)
        return z if scalar is None else torch.cat([z, scalar], dim=-1)

    def _floats(self) -> int:
        return int(3 * self.grid1.shape[1])

    def _flops(self) -> int:
        wide, d1, d2 = self.grid1.shape[1], self.grid1.shape[0], self.grid2.shape[0]
        return int(2 * (wide * (d1 + d2) + self.back.numel()) + 9 * self.fields * self.points)


def _with_scalar(table: Array) -> Array:
    out = np.pad(table, ((0, 1), (0, 1)))
    out[-1, -1] = 1.0
    return out
