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
            `fourier` (the original: series in two angles, convolved directly; O(L^4)), `fourier_fft` (the same by FFT, with changes of
            basis order by order; O(L^3)), `dense` (one big table). All give the same numbers.
        grid: `exact` (of a length that transforms like, for `grid_fft`), or (n_beta, n_alpha) for the grid methods.
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
        exact = self.needed if method != "grid_fft" else (self.needed[0], fast_length(self.needed[1]))  # a prime one would be slow
        self.grid = exact if grid == "exact" else self._checked(grid)
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
        self.size = fast_length(2 * (self.l1 + self.l2) + 1)
        to1, to2 = (to_half_complex(l, self.size) for l in (self.l1, self.l2))
        back = from_half_complex(top, self.l1 + self.l2, self.size)
        self._set_orders(top, out, [by_order(to, l) for to, l in ((to1, self.l1), (to2, self.l2))],
                         by_order(back.transpose(3, 0, 1, 2), top), turned=True)

    def _set_grid_fft(self, top: int, out: Array) -> None:
        _, _, cos, w = sphere_grid(*self.grid)
        sin = np.sqrt(1 - cos**2)
        forth = []
        for l_max in (self.l1, self.l2):
            # Complex coefficient of order m from the components m and -m: sqrt(2) (a cos + b sin) = 2 Re((a - ib) / sqrt(2) e^(im alpha)).
            factor = np.where(np.arange(l_max + 1) > 0, 0.5**0.5, 1.0)[:, None, None]
            polar = legendre(l_max, cos, sin).transpose(1, 0, 2) * factor  # (m, l, beta)
            forth.append(np.stack([polar, -polar]))
        factor = np.where(np.arange(top + 1) > 0, 2**0.5, 1.0)[:, None, None] * 2 * np.pi
        polar = legendre(top, cos, sin).transpose(1, 0, 2) * w * factor
        self._set_orders(top, out, forth, np.stack([polar, -polar]), turned=False)

    def _set_orders(self, top: int, out: Array, forth: list[Array], back: Array, *, turned: bool) -> None:
        """Tables by order m: only degrees of the same order meet, which makes the change of basis O(L^3).

        Args:
            out: from all harmonics to the outputs, a scaled choice.
            forth, back: `(2, m, l, polar)`, for real and imaginary parts of order m.
            turned: whether for odd m the component of the sine makes the real part.
        """
        self.top = top

        def component(part: int, m: int, l: int) -> int:
            cosine = (part == 0) != (turned and m % 2 == 1)
            return l * l + l + (m if cosine else -m)

        for name, rows, l_max, table in (("1", self._rows1, self.l1, forth[0]), ("2", self._rows2, self.l2, forth[1])):
            where, gather, kept = {int(r): i for i, r in enumerate(rows)}, np.zeros((2, l_max + 1, l_max + 1), dtype=np.int64), table.copy()
            for part, m, l in np.ndindex(*gather.shape):
                at = where.get(component(part, m, l)) if l >= m and (part == 0 or m > 0) else None
                if at is None:
                    kept[part, m, l] = 0
                else:
                    gather[part, m, l] = at
            self._index(f"gather{name}", gather.reshape(-1))
            self._table(f"polar{name}", kept.reshape(2 * (l_max + 1), l_max + 1, -1))
        place = {component(part, m, l): (part, m, l) for l in range(top + 1) for m in range(l + 1) for part in ((0, 1) if m else (0,))}
        scaled, gather3 = np.zeros_like(back), []
        for j in range(out.shape[1]):
            (c,) = np.flatnonzero(out[:, j])
            part, m, l = place[int(c)]
            scaled[part, m, l] = back[part, m, l] * out[c, j]
            gather3.append((part * (top + 1) + m) * (top + 1) + l)
        self._table("polar3", scaled.reshape(2 * (top + 1), top + 1, -1).transpose(0, 2, 1).copy())
        self._index("gather3", gather3)

    # ------------------------------------------------------------ forward

    def _multiply(self, x: Tensor, y: Tensor) -> Tensor:
        if self.method == "grid":
            return ((x @ self.grid1) * (y @ self.grid2)) @ self.back
        if self.method == "fourier":
            return self._convolved(x, y)
        if self.method in ("fourier_fft", "grid_fft"):
            return self._separated(x, y)
        return (x.unsqueeze(-1) * y.unsqueeze(-2)).flatten(-2) @ self.back

    def _convolved(self, x: Tensor, y: Tensor) -> Tensor:
        f, g = _wide(x @ self.series1, y @ self.series2)
        factor, size = self.factor.to(f.dtype), self.back.shape[0]
        h = sparse_bilinear(f.flatten(0, 1), g.flatten(0, 1), self.first, self.second, self.third, factor, size)
        return h.unflatten(0, f.shape[:2]) @ self.back

    def _separated(self, x: Tensor, y: Tensor) -> Tensor:
        """Order by order to the polar points or frequencies, by FFT to values, and back."""
        lead = torch.broadcast_shapes(x.shape[:2], y.shape[:2])
        f, g = self._spectrum(x, self.gather1, self.polar1), self._spectrum(y, self.gather2, self.polar2)
        if self.method == "grid_fft":
            n = self.grid[1]
            h = torch.fft.irfft(f, n=n, norm="forward") * torch.fft.irfft(g, n=n, norm="forward")
            spectrum = torch.fft.rfft(h, norm="forward")
        else:
            s = (self.size, self.size)
            h = torch.fft.irfft2(f, s=s, norm="forward") * torch.fft.irfft2(g, s=s, norm="forward")
            spectrum = torch.fft.rfft2(h, norm="forward")
        rings = torch.view_as_real(spectrum[..., : self.top + 1]).flatten(0, 1)  # (rows channels, polar, m, 2)
        by_degree = torch.bmm(rings.permute(3, 2, 0, 1).flatten(0, 1), self.polar3)  # (2 m, rows channels, l)
        return by_degree.movedim(0, 1).flatten(1).index_select(1, self.gather3).unflatten(0, lead)

    def _spectrum(self, x: Tensor, gather: Tensor, polar: Tensor) -> Tensor:
        """Complex coefficients of the azimuth, `(rows, channels, polar points or frequencies, m)`."""
        orders = polar.shape[1]
        parts = x.flatten(0, 1).index_select(1, gather).unflatten(-1, (2 * orders, orders)).movedim(1, 0)  # (2 m, rows channels, l)
        rings = torch.bmm(parts, polar).unflatten(0, (2, orders)).permute(2, 3, 1, 0)  # (rows channels, polar, m, 2)
        if rings.dtype not in (torch.float32, torch.float64):
            rings = rings.float()
        return torch.view_as_complex(rings.contiguous()).unflatten(0, x.shape[:2])

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
            return sum(4 * self.size * (l + 1) ** 2 for l in (self.l1, self.l2, self.top)) + 3 * fft + n2
        n_beta, n_alpha = self.grid
        fft = round(2.5 * n_alpha * np.log2(n_alpha)) * n_beta
        return sum(4 * n_beta * (l + 1) ** 2 for l in (self.l1, self.l2, self.top)) + 3 * fft + n_beta * n_alpha


def fast_length(n: int) -> int:
    """The next length from n up that fast transforms like."""
    import scipy.fft

    return int(scipy.fft.next_fast_len(n, real=True))


def by_order(table: Array, l_max: int) -> Array:
    """From `((l_max + 1)^2, polar, m, real or imaginary)` to `(2, m, l, polar)`: the component that each part of an order comes from."""
    out = np.zeros((2, l_max + 1, l_max + 1, table.shape[1]))
    for l in range(l_max + 1):
        for m in range(l + 1):
            for part in (0, 1):
                cosine = (part == 0) != (m % 2 == 1)
                out[part, m, l] = table[l * l + l + (m if cosine else -m), :, m, part]
    return out


def _wide(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the larger number of channels, for maps that do not broadcast over different last dimensions."""
    channels = max(x.shape[1], y.shape[1])
    return x.expand(-1, channels, -1), y.expand(-1, channels, -1)
