# mypy: allow-untyped-calls, no-warn-return-any
"""The Gaunt product: multiply two functions on the sphere point by point, and take the harmonics of the result."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ._base import Normalization, Weights, chosen
from ._fourier import convolution, from_half_complex, from_real, to_half_complex, to_real
from ._signal import SignalProduct, Slot, harmonic_rows
from ._sparse import sparse_bilinear
from ._tables import Array, harmonics, legendre, needed_grid, sphere_grid

Method = Literal["grid", "grid_fft", "fourier", "fourier_fft", "dense"]


def gaunt_blocks(slots1: list[Slot], slots2: list[Slot], slots3: list[Slot]) -> Array:
    """Integrals of three harmonics `(d1, d2, d3)`, exact by quadrature."""
    tops = [max(s.degree for s in slots) for slots in (slots1, slots2, slots3)]
    xyz, w, _, _ = sphere_grid(*needed_grid(sum(tops)))
    y1, y2, y3 = (harmonics(top, xyz)[:, harmonic_rows(slots)] for top, slots in zip(tops, (slots1, slots2, slots3)))
    out = ((y1[:, :, None] * y2[:, None, :]).reshape(len(w), -1).T @ (y3 * w[:, None])).reshape(y1.shape[1], y2.shape[1], -1)
    return np.where(np.abs(out) < 1e-14, 0.0, out)


class GauntTP(SignalProduct):
    """Gaunt tensor product z_c = sum_ab x_a y_b integral(Y_a Y_b Y_c), for each channel.

    Only triples of degrees with an even sum interact: there is no cross product, and a network of such products alone cannot tell mirror
    images apart. For a layer with all paths use `ClebschGordanTP`, `VectorSignalTP`, `MatrixTP` or `MixedTP`.

    Args:
        irreps_in1, irreps_in2: each degree once, all with the same number of channels, parities s(-1)^l (functions on the sphere) or all
            the same. Degrees that are absent count as zero.
        irreps_out: of the degrees to keep; None keeps all up to the sum of the inputs' highest.
        method: `grid` (three matrix products, O(L^4) for each row), `grid_fft` (Legendre, then FFT over the azimuth; O(L^3)),
            `fourier` (the original: series in two angles, convolved directly; O(L^4)), `fourier_fft` (the same by FFT, O(L^2 log L); its
            changes of basis are dense here, O(L^4)), `dense` (one big table). All give the same numbers.
        grid: `exact`, or (n_beta, n_alpha) for the grid methods.
        weights: none; shared or external ones scale each degree of both inputs and of the output in each channel, (n1 + n2 + n3)
            channels numbers.
        normalization: `component` (outputs of variance 1 for inputs of variance 1), `norm` (norms of 1), `integral` (as the formula says).

    Raises:
        ValueError: irreps that are no signal, unequal channels, outputs that cannot be reached, a grid too coarse (with the needed size).

    References:
        Xie, Daigavane, Kotak, Smidt. The Price of Freedom. ICML 2025. Luo, Chen, Krishnapriyan. Gaunt tensor products. ICLR 2024.

    >>> import torch
    >>> from workingpapers.papers.equivariant_products import GauntTP
    >>> product = GauntTP("8x0e + 8x1o + 8x2e", "8x0e + 8x1o")
    >>> product.irreps_out
    8x0e+8x1o+8x2e+8x3o
    >>> product(torch.randn(100, 72), torch.randn(100, 32)).shape
    torch.Size([100, 128])
    """

    def __init__(self, irreps_in1: Any, irreps_in2: Any, irreps_out: Any = None, method: Method = "grid", *,
                 grid: Literal["exact"] | tuple[int, int] = "exact", weights: Weights = "none",
                 normalization: Normalization = "component") -> None:
        super().__init__(irreps_in1, irreps_in2, irreps_out, weights, normalization)
        chosen("method", method, get_args(Method))
        self.method = method
        top = min(self.l3, self.l1 + self.l2)
        self.needed = needed_grid(self.l1 + self.l2 + top)
        self.grid = self.needed if grid == "exact" else self._checked(grid)
        slots1 = [Slot(i, l) for i, (_, l, _) in enumerate(self.blocks1)]
        slots2 = [Slot(i, l) for i, (_, l, _) in enumerate(self.blocks2)]
        slots3 = [Slot(l, l) for l in range(top + 1)]
        xyz, w, _, _ = sphere_grid(*self.needed)
        self._rows1, self._rows2 = harmonic_rows(slots1), harmonic_rows(slots2)
        y1, y2 = harmonics(self.l1, xyz).T[self._rows1], harmonics(self.l2, xyz).T[self._rows2]
        back = harmonics(top, xyz) * w[:, None]
        out = self._settle(lambda x, y: ((x @ y1) * (y @ y2)) @ back, slots1, slots2, slots3,
                           [(self.channels, l, self._natural(l)) for l in range(top + 1)])
        {"grid": self._set_grid, "grid_fft": self._set_grid_fft, "fourier": self._set_fourier, "fourier_fft": self._set_fourier_fft,
         "dense": self._set_dense}[method](top, out)

    def _checked(self, grid: Any) -> tuple[int, int]:
        if self.method not in ("grid", "grid_fft"):
            raise ValueError(f"grid goes with the methods grid and grid_fft, not with {self.method}")
        try:
            n_beta, n_alpha = (int(n) for n in grid)
        except (TypeError, ValueError) as error:
            raise ValueError(f"grid is {grid!r}: 'exact' or (n_beta, n_alpha) is needed") from error
        if n_beta < self.needed[0] or n_alpha < self.needed[1]:
            raise ValueError(f"grid ({n_beta}, {n_alpha}) is too coarse for these degrees and would break equivariance: at least "
                             f"{self.needed} is needed")
        return n_beta, n_alpha

    # ------------------------------------------------------------ tables

    def _set_grid(self, top: int, out: Array) -> None:
        xyz, w, _, _ = sphere_grid(*self.grid)
        self._table("grid1", harmonics(self.l1, xyz).T[self._rows1])
        self._table("grid2", harmonics(self.l2, xyz).T[self._rows2])
        self._table("back", (harmonics(top, xyz) * w[:, None]) @ out)

    def _set_dense(self, top: int, out: Array) -> None:
        slots1, slots2 = self.slots1, self.slots2
        blocks = gaunt_blocks(slots1, slots2, [Slot(l, l) for l in range(top + 1)])
        self._table("back", blocks.reshape(-1, blocks.shape[2]) @ out)

    def _set_fourier(self, top: int, out: Array) -> None:
        self._table("series1", to_real(self.l1)[self._rows1])
        self._table("series2", to_real(self.l2)[self._rows2])
        for name, values in zip(("first", "second", "third"), convolution(self.l1, self.l2)):
            self._index(name, values)
        self._table("factor", convolution(self.l1, self.l2)[3])
        self._table("back", from_real(top, self.l1 + self.l2) @ out)

    def _set_fourier_fft(self, top: int, out: Array) -> None:
        import scipy.fft

        self.size = int(scipy.fft.next_fast_len(2 * (self.l1 + self.l2) + 1, real=True))
        self._table("series1", to_half_complex(self.l1, self.size)[self._rows1].reshape(len(self._rows1), -1))
        self._table("series2", to_half_complex(self.l2, self.size)[self._rows2].reshape(len(self._rows2), -1))
        back = from_half_complex(top, self.l1 + self.l2, self.size)
        self.top = top
        self._table("back", back.reshape(-1, back.shape[-1]) @ out)

    def _set_grid_fft(self, top: int, out: Array) -> None:
        _, _, cos, w = sphere_grid(*self.grid)
        sin = np.sqrt(1 - cos**2)
        self.top = top
        for name, rows, l_max in (("1", self._rows1, self.l1), ("2", self._rows2, self.l2)):
            # Complex coefficient of order m from the components m and -m: sqrt(2) (a cos + b sin) = 2 Re((a - ib) / sqrt(2) e^(im alpha)).
            polar, where = legendre(l_max, cos, sin), {int(r): i for i, r in enumerate(rows)}
            plus, minus = (np.zeros((l_max + 1, l_max + 1), dtype=np.int64) for _ in range(2))
            factor = np.zeros((2, l_max + 1, l_max + 1, len(cos)))
            for l in range(l_max + 1):
                for m in range(l + 1):
                    if l * l + l in where:
                        plus[m, l], minus[m, l] = where[l * l + l + m], where[l * l + l - m]
                        factor[0, m, l] = polar[l, m] * (0.5**0.5 if m else 1.0)
                        factor[1, m, l] = -polar[l, m] * (0.5**0.5 if m else 0.0)
            self._index(f"gather{name}", np.stack([plus, minus]).reshape(-1))
            self._table(f"polar{name}", factor.reshape(2 * (l_max + 1), l_max + 1, len(cos)))
        polar = legendre(top, cos, sin) * w
        back = np.zeros((2, top + 1, len(cos), (top + 1) ** 2))
        for l in range(top + 1):
            for m in range(l + 1):
                back[0, m, :, l * l + l + m] = polar[l, m] * 2 * np.pi * (2**0.5 if m else 1.0)
                if m:
                    back[1, m, :, l * l + l - m] = -polar[l, m] * 2 * np.pi * 2**0.5
        # By order, each with its own degrees only: (2 (top + 1), n_beta, top + 1), then to the places of the output.
        order = np.zeros((2, top + 1, len(cos), top + 1))
        scatter = np.zeros((2, top + 1, top + 1), dtype=np.int64)
        for m in range(top + 1):
            for l in range(m, top + 1):
                for part, c in ((0, l * l + l + m), (1, l * l + l - m)):
                    order[part, m, :, l], scatter[part, m, l] = back[part, m, :, c], c
        used = [(part, m, l) for l in range(top + 1) for part, m in [*((1, m) for m in range(l, 0, -1)), *((0, m) for m in range(l + 1))]]
        self._table("polar3", order.reshape(2 * (top + 1), len(cos), top + 1))
        self._index("gather3", [(part * (top + 1) + m) * (top + 1) + l for part, m, l in used])
        self._table("out", out)

    # ------------------------------------------------------------ forward

    def _multiply(self, x: Tensor, y: Tensor) -> Tensor:
        if self.method == "grid":
            return ((x @ self.grid1) * (y @ self.grid2)) @ self.back
        if self.method == "fourier":
            return self._convolved(x, y)
        if self.method == "fourier_fft":
            return self._by_fft(x, y)
        if self.method == "grid_fft":
            return self._separated(x, y)
        return (x.unsqueeze(-1) * y.unsqueeze(-2)).flatten(-2) @ self.back

    def _convolved(self, x: Tensor, y: Tensor) -> Tensor:
        f, g = _wide(x @ self.series1, y @ self.series2)
        factor, size = self.factor.to(f.dtype), self.back.shape[0]
        h = sparse_bilinear(f.flatten(0, 1), g.flatten(0, 1), self.first, self.second, self.third, factor, size)
        return h.unflatten(0, f.shape[:2]) @ self.back

    def _by_fft(self, x: Tensor, y: Tensor) -> Tensor:
        n = self.size

        def torus(coefficients: Tensor, l_max: int) -> Tensor:
            spectrum = torch.view_as_complex(coefficients.float().contiguous() if coefficients.dtype != torch.float64 else coefficients)
            return torch.fft.irfft2(spectrum, s=(n, n), norm="forward")

        f = torus((x @ self.series1).unflatten(-1, (n, self.l1 + 1, 2)), self.l1)
        g = torus((y @ self.series2).unflatten(-1, (n, self.l2 + 1, 2)), self.l2)
        spectrum = torch.fft.rfft2(f * g, norm="forward")[..., : self.top + 1]
        return torch.view_as_real(spectrum).flatten(-3) @ self.back

    def _separated(self, x: Tensor, y: Tensor) -> Tensor:
        lead = torch.broadcast_shapes(x.shape[:2], y.shape[:2])
        f, g = self._rings(x, self.gather1, self.polar1), self._rings(y, self.gather2, self.polar2)
        rings = torch.fft.rfft(f * g, norm="forward")[..., : self.top + 1]  # (rows, channels, beta, m)
        if rings.shape[-1] <= self.top:
            raise RuntimeError("the grid has fewer azimuths than orders")
        parts = torch.view_as_real(rings).movedim((-1, -2), (0, 1)).flatten(0, 1).flatten(1, 2)  # (2 m, rows channels, beta)
        by_order = torch.bmm(parts, self.polar3)  # (2 m, rows channels, l)
        flat = by_order.movedim(0, 1).flatten(1).index_select(1, self.gather3)
        return flat.unflatten(0, lead) @ self.out

    def _rings(self, x: Tensor, gather: Tensor, polar: Tensor) -> Tensor:
        l_max = polar.shape[1] - 1
        parts = x.index_select(2, gather).unflatten(-1, (2 * (l_max + 1), l_max + 1)).flatten(0, 1).movedim(1, 0)  # (2 m, rows channels, l)
        rings = torch.bmm(parts, polar).unflatten(0, (2, l_max + 1)).movedim((0, 1), (-1, -2))  # (rows channels, beta, m, 2)
        if rings.dtype not in (torch.float32, torch.float64):
            rings = rings.float()
        spectrum = torch.view_as_complex(rings.contiguous())
        return torch.fft.irfft(spectrum, n=self.grid[1], norm="forward").unflatten(0, x.shape[:2])

    # ------------------------------------------------------------ rating

    def _floats(self) -> int:
        if self.method in ("grid", "grid_fft"):
            return 2 * self.grid[0] * self.grid[1]
        if self.method == "fourier":
            return self.series1.shape[1] + self.series2.shape[1] + self.back.shape[0]
        return 3 * self.size**2 if self.method == "fourier_fft" else self.back.shape[0]

    def _flops(self) -> int:
        d1, d2, d3 = len(self._rows1), len(self._rows2), sum(2 * l + 1 for _, l, _ in self.blocks_out)
        if self.method == "grid":
            points = self.grid[0] * self.grid[1]
            return 2 * points * (d1 + d2 + d3) + points
        if self.method == "dense":
            return d1 * d2 * (1 + 2 * d3)
        if self.method == "fourier":
            f1, f2, f3 = self.series1.shape[1], self.series2.shape[1], self.back.shape[0]
            return 2 * (d1 * f1 + d2 * f2 + f3 * d3) + 3 * len(self.first)
        if self.method == "fourier_fft":
            n2 = self.size**2
            fft = round(2.5 * n2 * np.log2(n2))
            return 2 * (d1 * self.series1.shape[1] + d2 * self.series2.shape[1] + self.back.shape[0] * d3) + 3 * fft + n2
        n_beta, n_alpha = self.grid
        fft = round(2.5 * n_alpha * np.log2(n_alpha)) * n_beta
        return sum(4 * n_beta * (l + 1) ** 2 for l in (self.l1, self.l2, self.top)) + 3 * fft + n_beta * n_alpha


def _wide(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the larger number of channels, for maps that do not broadcast over different last dimensions."""
    channels = max(x.shape[1], y.shape[1])
    return x.expand(-1, channels, -1), y.expand(-1, channels, -1)
