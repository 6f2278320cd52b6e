# mypy: allow-untyped-calls, no-warn-return-any
"""Even paths by the Gaunt product, odd ones by a classical product of few channels: freedom bought in small pieces."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ._base import EquivariantProduct, Normalization, Weights
from ._signal import SignalProduct
from .clebsch_gordan import ClebschGordanTP
from .gaunt import GauntTP, Method


class MixedTP(EquivariantProduct):
    """Gaunt product of all channels, and a Clebsch-Gordan product of `rank` mixed channels for the odd paths (l1 + l2 + l3 odd).

    Not in the paper. Channels are mixed down to `rank`, multiplied along the odd paths only, and mixed up again: the price of the odd part
    is rank / channels of a full classical product. Weights of the mixing and of the odd paths are trained.

    Args:
        irreps_in1, irreps_in2: as for `GauntTP`, with parities s(-1)^l.
        irreps_out: to keep, of even and odd paths; None keeps all.
        rank: channels of the odd part, from 1 to the number of channels.
        method, weights, normalization: of the Gaunt part.

    Raises:
        ValueError: as `GauntTP`; inputs without an odd path; a rank out of range.

    >>> from workingpapers.papers.equivariant_products import MixedTP
    >>> MixedTP("8x0e + 8x1o", "8x0e + 8x1o", rank=2).irreps_out
    8x0e+8x1o+8x2e+8x1e
    """

    def __init__(self, irreps_in1: Any, irreps_in2: Any, irreps_out: Any = None, rank: int = 1, method: Method = "grid", *,
                 weights: Weights = "none", normalization: Normalization = "component") -> None:
        super().__init__(irreps_in1, irreps_in2, weights, normalization)
        if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= self.channels:
            raise ValueError(f"rank is {rank!r}: a whole number from 1 to the {self.channels} channels is needed")
        self.rank = rank
        whole = GauntTP(irreps_in1, irreps_in2, method="grid")
        if whole.step != -1:
            raise ValueError("MixedTP tells odd paths by their parity: inputs must have parities s(-1)^l")
        odd_all = self._odd_blocks(whole)
        wanted = None if irreps_out is None else [(mul, ir.l, ir.p) for mul, ir in self.irreps_in1.__class__(irreps_out)]
        even = whole.blocks_out if wanted is None else [b for b in wanted if b[2] == whole._natural(b[1])]
        odd = odd_all if wanted is None else [b for b in wanted if b[2] != whole._natural(b[1])]
        if not odd or not even:
            raise ValueError(f"irreps_out {irreps_out} has no {'odd' if even else 'even'} path: GauntTP has the even ones alone, "
                             "ClebschGordanTP any")
        self.even = GauntTP(irreps_in1, irreps_in2, [(mul, (l, p)) for mul, l, p in even], method, weights=weights,
                            normalization=normalization)
        low1 = [(rank, (l, p)) for _, l, p in self.blocks1]
        low2 = [(rank, (l, p)) for _, l, p in self.blocks2]
        self.odd = ClebschGordanTP(low1, low2, [(rank, (l, p)) for _, l, p in odd], weights="shared",
                                   normalization="norm" if normalization == "norm" else "component")
        self.mix1 = nn.Parameter(torch.randn(len(self.blocks1), self.channels1, rank) / self.channels1**0.5)
        self.mix2 = nn.Parameter(torch.randn(len(self.blocks2), self.channels2, rank) / self.channels2**0.5)
        self.mix3 = nn.Parameter(torch.randn(len(odd), rank, self.channels) / rank**0.5)
        self._finish([*even, *odd], self.even.weight_numel)
        if weights == "shared":
            del self.weight  # the Gaunt part has its own

    def _odd_blocks(self, whole: SignalProduct) -> list[tuple[int, int, int]]:
        found = {l3 for _, l1, _ in self.blocks1 for _, l2, _ in self.blocks2 for l3 in range(abs(l1 - l2), l1 + l2 + 1)
                 if (l1 + l2 + l3) % 2}
        return [(self.channels, l, -whole._natural(l)) for l in sorted(found)]

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """As `EquivariantProduct.forward`."""
        even = self.even(x, y, weight)
        odd = self.odd(_mixed(x, self.blocks1, self.mix1), _mixed(y, self.blocks2, self.mix2))
        blocks = [(self.rank, l, p) for _, l, p in self.blocks_out[len(self.mix3) * -1 :]]
        return torch.cat([even, _mixed(odd, blocks, self.mix3)], dim=-1)

    def _flops(self) -> int:
        d1, d2 = (sum(2 * l + 1 for _, l, _ in blocks) for blocks in (self.blocks1, self.blocks2))
        d3 = sum(2 * l + 1 for _, l, _ in self.odd.blocks_out)
        return self.even._flops() + self.odd._flops() * self.rank // self.channels + 2 * self.rank * (d1 + d2 + d3)


def _mixed(x: Tensor, blocks: list[tuple[int, int, int]], mix: Tensor) -> Tensor:
    """Mix channels of each block: `(..., dim)` to the same irreps with mix.shape[2] channels."""
    parts, start = [], 0
    for matrix, (mul, l, _) in zip(mix, blocks):
        stop = start + mul * (2 * l + 1)
        block = x[..., start:stop].unflatten(-1, (mul, 2 * l + 1))
        parts.append((matrix.t() @ block).flatten(-2))
        start = stop
    return torch.cat(parts, dim=-1)
