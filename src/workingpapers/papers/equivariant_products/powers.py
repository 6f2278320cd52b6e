# mypy: allow-untyped-calls, no-warn-return-any
"""Many-body powers on the grid: a function on the sphere times itself, point by point, and the harmonics of the result."""

from __future__ import annotations

from math import comb, factorial, pi, prod
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ._base import Block, Tables, blocks_of, channels_of, chosen, irreps_of
from ._signal import CACHE_FLOATS, Slot, harmonic_rows, parity_rule
from ._tables import Array, harmonics, needed_grid, sphere_grid

MOST = 8  # factors; beyond it values of single precision spread too far


class GauntPower(Tables):
    """Powers f, f^2, ..., f^nu of functions on the sphere, channel by channel, on one grid that is exact for all of them.

    The power nu is what nu - 1 Gaunt products in a row give when all intermediate degrees are kept: here one change of basis to the grid,
    nu - 1 multiplications a point, one change back a power. Not in the paper, whose products take two factors.

    Args:
        irreps: each degree once, all with the same number of channels, parities s(-1)^l or all the same, as for `GauntTP`.
        correlation: nu, from 1 to 8.
        l_out: highest degree to keep; None keeps all up to nu L.
        normalization: `component` (outputs of variance 1 for normal inputs of variance 1, worked out in closed form), or `integral`.

    Attributes:
        irreps_out: of each power, a list; degrees 0 to l_out (or as high as that power goes).
        grid: (n_beta, n_alpha), exact for degree nu L + l_out.

    Raises:
        ValueError: irreps that are no signal, a correlation or l_out out of range.

    Cost: O(nu L^4) for each row and channel.

    >>> import torch
    >>> from workingpapers.papers.equivariant_products import GauntPower
    >>> power = GauntPower("8x0e + 8x1o + 8x2e", correlation=3, l_out=2)
    >>> power.irreps_out[-1], power.grid
    (8x0e+8x1o+8x2e, (5, 9))
    >>> [z.shape for z in power(torch.randn(10, 72))]
    [torch.Size([10, 72]), torch.Size([10, 72]), torch.Size([10, 72])]
    """

    def __init__(self, irreps: Any, correlation: int, l_out: int | None = None, *,
                 normalization: Literal["component", "integral"] = "component") -> None:
        super().__init__()
        chosen("normalization", normalization, get_args(Literal["component", "integral"]))
        self.blocks = blocks_of(irreps, "irreps")
        self.irreps_in, self.channels = irreps_of(self.blocks), channels_of(self.blocks, "irreps")
        degrees = [l for _, l, _ in self.blocks]
        if len(set(degrees)) < len(degrees):
            raise ValueError(f"irreps = {self.irreps_in} has a degree twice: a signal has each degree once")
        if isinstance(correlation, bool) or not isinstance(correlation, int) or not 1 <= correlation <= MOST:
            raise ValueError(f"correlation is {correlation!r}: a whole number from 1 to {MOST} is needed")
        highest = correlation * max(degrees)
        if l_out is not None and (isinstance(l_out, bool) or not isinstance(l_out, int) or not 0 <= l_out <= highest):
            raise ValueError(f"l_out is {l_out!r}: a whole number from 0 to {highest} is needed")
        sign, step = parity_rule(self.blocks, "irreps", self.blocks)
        self.correlation, self.dim_in = correlation, self.irreps_in.dim
        self.tops = [min(k * max(degrees), highest if l_out is None else l_out) for k in range(1, correlation + 1)]
        self.grid = needed_grid(highest + self.tops[-1])
        self.blocks_out: list[list[Block]] = [[(self.channels, l, sign**k * step**l) for l in range(top + 1)]
                                              for k, top in enumerate(self.tops, 1)]
        self.irreps_out = [irreps_of(blocks) for blocks in self.blocks_out]
        xyz, w, _, _ = sphere_grid(*self.grid)
        self._table("forth", harmonics(max(degrees), xyz).T[harmonic_rows([Slot(i, l) for i, l in enumerate(degrees)])])
        for k, top in enumerate(self.tops, 1):
            scale = np.ones(top + 1) if normalization == "integral" else component_scales(degrees, k, top)
            self._table(f"back{k}", harmonics(top, xyz) * w[:, None] * np.repeat(scale, 2 * np.arange(top + 1) + 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """`(..., irreps_in.dim)` to all powers from 1 to nu, each `(..., irreps_out[k].dim)`."""
        if x.shape[-1] != self.dim_in:
            raise ValueError(f"x has last dimension {x.shape[-1]}, its irreps {self.irreps_in} need {self.dim_in}")
        if x.dtype != self.forth.dtype and not torch.is_autocast_enabled(x.device.type):
            raise ValueError(f"x is {x.dtype}, the powers {self.forth.dtype}: call .double() or .float() on one of them")
        lead, rows = x.shape[:-1], prod(x.shape[:-1])
        parts = x.reshape(rows, self.dim_in).split([mul * (2 * l + 1) for mul, l, _ in self.blocks], dim=1)
        packed = [part.view(rows, mul, 2 * l + 1) for part, (mul, l, _) in zip(parts, self.blocks)]
        signal = packed[0] if len(packed) == 1 else torch.cat(packed, dim=2)
        size = max(1, CACHE_FLOATS // (2 * self.forth.shape[1] * self.channels))
        if torch.compiler.is_compiling() or (torch.is_grad_enabled() and x.requires_grad) or rows <= 2 * size:
            found = self._powers(signal)
        else:
            found = [torch.cat(zs) for zs in zip(*(self._powers(some) for some in signal.split(size)))]
        return [self._unpacked(z, blocks).view(*lead, -1) if rows else z.new_zeros(*lead, irreps_of(blocks).dim)
                for z, blocks in zip(found, self.blocks_out)]

    def _powers(self, signal: Tensor) -> list[Tensor]:
        f = signal @ self.forth
        power, out = f, []
        for k in range(1, self.correlation + 1):
            power = f if k == 1 else power * f
            out.append(power @ getattr(self, f"back{k}"))
        return out

    def _unpacked(self, z: Tensor, blocks: list[Block]) -> Tensor:
        parts = z.split([2 * l + 1 for _, l, _ in blocks], dim=2)
        return torch.cat([part.reshape(len(z), -1) for part in parts], dim=1)

    def flops(self, batch: int = 1) -> int:
        """Multiplications and additions for a batch of rows, all channels."""
        d, points = self.forth.shape
        back = sum(2 * points * (top + 1) ** 2 for top in self.tops)
        return int(batch * self.channels * (2 * d * points + (self.correlation - 1) * points + back))

    def extra_repr(self) -> str:
        return f"{self.irreps_in}, powers 1 to {self.correlation}, grid {self.grid}"


def component_scales(degrees: list[int], power: int, top: int) -> Array:
    """Factors by degree that give harmonics of f^power variance 1, for normal coefficients of variance 1.

    Values at two points at angle t are jointly normal with covariance c(t) = sum (2l + 1) / 4 pi P_l(cos t), so the expectation of
    f^k f'^k is a polynomial in c, and its Legendre coefficients are the variances.
    """
    t, w = np.polynomial.legendre.leggauss(power * max(degrees) + top + 1)
    legendre = [np.polynomial.legendre.Legendre.basis(l)(t) for l in range(max(*degrees, top) + 1)]
    c = sum((2 * l + 1) / (4 * pi) * legendre[l] for l in degrees)
    variance = sum((2 * l + 1) / (4 * pi) for l in degrees)
    moment = np.zeros_like(t)
    for j in range(power % 2, power + 1, 2):  # pairs among one point's factors, the other j pair across
        within = comb(power, j) * prod(range(power - j - 1, 0, -2))
        moment += factorial(j) * within**2 * variance ** (power - j) * c**j
    found = np.array([2 * pi * (w * moment) @ legendre[l] for l in range(top + 1)])
    return np.where(found > 1e-12 * found.max(), np.maximum(found, 1e-300) ** -0.5, 0.0)
