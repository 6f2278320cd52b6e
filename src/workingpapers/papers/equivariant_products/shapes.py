# mypy: allow-untyped-calls, no-warn-return-any
"""A classifier of point clouds, to see what a product cannot tell apart: mirror images."""

from __future__ import annotations

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ._base import chosen
from .layers import PRODUCTS, ProductLayer
from .mini_mace import Harmonics, Radial, natural

ODD = ("cgtp", "cgtp_fused", "cgtp_dense", "matrix", "vector", "vector_dot", "mixed")


class ShapeNet(nn.Module):
    """Classes of point clouds `(clouds, points, 3)`, whatever their position and rotation.

    Two products in a row: neighbourhood x neighbourhood x neighbourhood, summed over points. With a product that has odd paths the
    result has pseudoscalars (0o), which change sign in the mirror; with the Gaunt product of one parity sign it has none, and mirror images
    get the same answer whatever the weights.

    >>> import torch
    >>> from workingpapers.papers.equivariant_products import ShapeNet
    >>> ShapeNet("gaunt_grid", n_classes=3)(torch.randn(5, 4, 3)).shape
    torch.Size([5, 3])
    """

    def __init__(self, product: str = "cgtp", n_classes: int = 8, l_max: int = 2, channels: int = 8, r_max: float = 3.5,
                 seed: int = 0) -> None:
        super().__init__()
        chosen("product", product, list(PRODUCTS))
        self.channels, self.l_max = channels, l_max
        near, odd = Irreps(natural(l_max, channels)), product in ODD
        hidden = near + Irreps([(channels, (l, -((-1) ** l))) for l in range(1, l_max + 1)]) if odd else near
        scalars = f"{channels}x0e + {channels}x0o" if odd else f"{channels}x0e"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.harmonics, self.radial = Harmonics(l_max), Radial(r_max, 8, channels * (l_max + 1))
            self.first = ProductLayer(near, near, hidden, product, channels)
            self.second = ProductLayer(hidden, near, scalars, product, channels)
            self.read = nn.Sequential(nn.Linear(Irreps(scalars).dim, 32), nn.SiLU(), nn.Linear(32, n_classes))

    def forward(self, points: Tensor) -> Tensor:
        """Scores `(clouds, n_classes)`."""
        if points.dim() != 3 or points.shape[2] != 3 or points.shape[1] < 2:
            raise ValueError(f"points has shape {tuple(points.shape)}: (clouds, points, 3) with at least two points is needed")
        n = points.shape[1]
        apart = ~torch.eye(n, dtype=torch.bool, device=points.device)
        vectors = (points[:, None] - points[:, :, None])[:, apart].unflatten(1, (n, n - 1))  # from each point to all others
        r = vectors.norm(dim=-1)
        around = self.harmonics((vectors / r[..., None]).flatten(0, 2))
        weights = self.radial(r.flatten()).unflatten(1, (self.channels, self.l_max + 1))
        parts = [(weights[:, :, l, None] * around[:, None, l * l : (l + 1) ** 2]).flatten(1) for l in range(self.l_max + 1)]
        near = torch.cat(parts, dim=1).unflatten(0, (len(points) * n, n - 1)).sum(1)
        return self.read(self.second(self.first(near, near), near).unflatten(0, (len(points), n)).sum(1))
