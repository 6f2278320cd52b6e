# mypy: allow-untyped-calls, no-warn-return-any
"""The matrix product: degrees as square matrices, multiplied, and taken apart again ("fused" in e3x)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._base import Normalization, Weights
from ._signal import SignalProduct, Slot
from ._tables import Array, cg


def matrix_basis(top: int, slots: list[Slot]) -> Array:
    """Orthonormal matrices of side 2 top + 1, one a component: `(d, side^2)`. Even degrees are symmetric, odd ones antisymmetric."""
    side = 2 * top + 1
    return np.concatenate([cg(top, top, s.degree).reshape(side * side, -1).T * (2 * s.degree + 1) ** 0.5 for s in slots])


class MatrixTP(SignalProduct):
    """Matrix tensor product: X = sum_l C^l_{t t} x^l and Y likewise, of side 2t + 1 with t = ceil((L1 + L2) / 2); z = C X Y.

    All paths are there, odd ones too, with 6j symbols as their fixed coefficients; but one channel has only as many free parameters as
    it has degrees. With parities s(-1)^l the result has both parities of most degrees: even and odd degrees of the inputs are then
    multiplied apart, which costs a second product of matrices (the product of transposes).

    Args and Raises as for `GauntTP`, without its methods.

    Cost: O(L^3) for the matrices, O(L^4) for the changes of basis.

    >>> from workingpapers.papers.equivariant_products import MatrixTP
    >>> MatrixTP("4x0e + 4x1o", "4x0e + 4x1o").irreps_out
    4x0e+4x1o+4x1e+4x2e
    """

    def __init__(self, irreps_in1: Any, irreps_in2: Any, irreps_out: Any = None, *, weights: Weights = "none",
                 normalization: Normalization = "component") -> None:
        super().__init__(irreps_in1, irreps_in2, irreps_out, weights, normalization)
        half, highest = -(-(self.l1 + self.l2) // 2), min(self.l3, self.l1 + self.l2)
        self.side = 2 * half + 1
        slots1 = [Slot(i, l) for i, (_, l, _) in enumerate(self.blocks1)]
        slots2 = [Slot(i, l) for i, (_, l, _) in enumerate(self.blocks2)]
        blocks = [(self.channels, l, p) for l in range(highest + 1) for p in dict.fromkeys((self._natural(l), -self._natural(l)))]
        if self.step == 1:
            blocks = [b for b in blocks if b[2] == self.parity]
        slots3 = [Slot(i, l) for i, (_, l, _) in enumerate(blocks)]
        basis1, basis2, basis3 = matrix_basis(half, slots1), matrix_basis(half, slots2), matrix_basis(half, slots3).T
        if self.step == -1:
            # S = XY mixes both parities; D = X^T Y^T has the product of an even and an odd degree with the opposite sign.
            sign = np.concatenate([np.full(2 * l + 1, p * self.parity) for _, l, p in blocks])
            basis3 = np.concatenate([basis3, basis3 * sign]) / 2

        def raw(x: Array, y: Array) -> Array:
            xm, ym = ((v @ b).reshape(-1, self.side, self.side) for v, b in ((x, basis1), (y, basis2)))
            z = xm @ ym if self.step == 1 else np.concatenate([xm @ ym, xm.transpose(0, 2, 1) @ ym.transpose(0, 2, 1)], axis=1)
            return np.asarray(z.reshape(len(x), -1) @ basis3)

        out = self._settle(raw, slots1, slots2, slots3, blocks)
        self._table("basis1", basis1)
        self._table("basis2", basis2)
        self._table("back", basis3 @ out)

    def _multiply(self, x: Tensor, y: Tensor) -> Tensor:
        xm = (x @ self.basis1).unflatten(-1, (self.side, self.side))
        ym = (y @ self.basis2).unflatten(-1, (self.side, self.side))
        z = (xm @ ym).flatten(-2)
        if self.step == -1:
            z = torch.cat([z, (xm.transpose(-1, -2) @ ym.transpose(-1, -2)).flatten(-2)], dim=-1)
        return z @ self.back

    def _floats(self) -> int:
        return 4 * self.side**2

    def _flops(self) -> int:
        d1, d2, d3 = (sum(2 * l + 1 for _, l, _ in blocks) for blocks in (self.blocks1, self.blocks2, self.blocks_out))
        products = 1 if self.step == 1 else 2
        return 2 * self.side**2 * (d1 + d2 + products * d3) + products * 2 * self.side**3
