# mypy: allow-untyped-calls, no-warn-return-any
"""Features of both parities beside each other, multiplied by the mixed product: what cross products give has a place to stay."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .mixed import MixedTP


def both_parities(l_max: int, channels: int) -> str:
    """Irreps 0e, 1o, 2e, ... of functions on the sphere, then 0o, 1e, 2o, ... of pseudo-functions."""
    return " + ".join(f"{channels}x{l}{'eo'[(l + odd) % 2]}" for odd in (0, 1) for l in range(l_max + 1))


class TwoSignals(nn.Module):
    """Product of a function and a pseudo-function by one function, even and odd paths: `MixedTP` for each of the two pairs, summed.

    Args:
        l_max: of both inputs and of the result, 1 at least.
        channels, channels2: of the first input and the result, and of the second input.
        pseudo: whether the first input has a pseudo-function; without one it is zero.
        rank: channels of the odd paths.

    Shapes: `(..., dim of both_parities)` (half of it without pseudo), `(..., dim2)` to `(..., dim of both_parities)`.
    """

    def __init__(self, l_max: int, channels: int, channels2: int, pseudo: bool, rank: int) -> None:
        super().__init__()
        if l_max < 1:
            raise ValueError(f"l_max is {l_max}: without degree 1 there is no odd path; take 1 at least, or another product")

        def signal(mul: int, odd: int, lowest: int = 0) -> Any:
            return [(mul, (l, (-1) ** (l + odd))) for l in range(lowest, l_max + 1)]

        second = signal(channels2, 0)
        self.pseudo, self.channels, self.width = pseudo, channels, channels * (l_max + 1) ** 2
        # Outputs: even paths first, all degrees; then odd paths, of which degree 0 has none.
        pairs = [(0, 1), (1, 0)] if pseudo else [(0, 1)]
        self.products = nn.ModuleList(MixedTP(signal(channels, own), second, signal(channels, own) + signal(channels, other, 1), rank)
                                      for own, other in pairs)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        c, half = self.channels, self.width
        first = self.products[0](x[..., :half], y)
        even, cross = first[..., :half], first[..., half:]
        if not self.pseudo:
            return torch.cat([even, torch.zeros_like(even[..., :c]), cross], dim=-1)
        second = self.products[1](x[..., half:], y)
        return torch.cat([even[..., :c], even[..., c:] + second[..., half:], second[..., :c], second[..., c:half] + cross], dim=-1)
