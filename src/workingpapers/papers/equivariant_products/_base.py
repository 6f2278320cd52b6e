# mypy: allow-untyped-calls, no-warn-return-any
"""What all products share: irreps and their layout, weights, tables that keep their precision, and the rating of a product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ._tables import Array, cg

Weights = Literal["none", "shared", "external"]
Normalization = Literal["component", "norm", "integral"]
Block = tuple[int, int, int]  # channels, degree, parity


def chosen(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise ValueError unless value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: it must be one of {', '.join(choices)}")


def blocks_of(irreps: Any, name: str) -> list[Block]:
    """(channels, degree, parity) of each part of e3nn irreps."""
    found = [(mul, ir.l, ir.p) for mul, ir in Irreps(irreps) if mul]
    if not found:
        raise ValueError(f"{name} is empty: at least one irrep is needed, such as '8x0e + 8x1o'")
    return found


def irreps_of(blocks: Sequence[Block]) -> Irreps:
    """Back to e3nn's `Irreps`."""
    return Irreps([(mul, (l, p)) for mul, l, p in blocks])


def channels_of(blocks: Sequence[Block], name: str) -> int:
    """The one number of channels that all blocks share."""
    found = {mul for mul, _, _ in blocks}
    if len(found) > 1:
        raise ValueError(f"{name} = {irreps_of(blocks)} has unequal channels {sorted(found)}: a product works channel by channel. "
                         "Give every irrep the same multiplicity, or use ProductLayer, which mixes channels first")
    return found.pop()


class Tables(nn.Module):
    """A module with constant tables: the double precision originals are kept, so that `.double()` does not widen singles."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:  # tables and indices, by name
            ...

    def __init__(self) -> None:
        super().__init__()
        self._masters: dict[str, Array] = {}
        self._first_table = ""

    def _table(self, name: str, values: Array) -> None:
        self._masters[name] = values
        self._first_table = self._first_table or name
        self.register_buffer(name, torch.as_tensor(values, dtype=torch.get_default_dtype()), persistent=False)

    def _index(self, name: str, values: Any) -> None:
        self.register_buffer(name, torch.as_tensor(np.asarray(values), dtype=torch.int64), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        for name, values in self._masters.items():
            old = getattr(self, name)
            if old.device.type != "meta":
                setattr(self, name, torch.as_tensor(values, dtype=old.dtype, device=old.device))
        return self


class EquivariantProduct(Tables):
    """Base of all products: `forward(x (..., dim1), y (..., dim2), weight=None) -> (..., dim_out)`.

    Attributes:
        irreps_in1, irreps_in2, irreps_out: e3nn `Irreps`, in its layout (channels outer, components inner within each irrep).
        channels: that are multiplied one by one. An input of one channel goes with every channel of the other.
        weight_numel: numbers that `weight` must have for each row (`weights="external"`), or that are trained (`"shared"`).
    """

    irreps_in1: Irreps
    irreps_in2: Irreps
    irreps_out: Irreps

    def __init__(self, irreps_in1: Any, irreps_in2: Any, weights: Weights, normalization: Normalization) -> None:
        super().__init__()
        chosen("weights", weights, get_args(Weights))
        chosen("normalization", normalization, get_args(Normalization))
        self.irreps_in1, self.irreps_in2 = Irreps(irreps_in1), Irreps(irreps_in2)
        self.blocks1, self.blocks2 = blocks_of(irreps_in1, "irreps_in1"), blocks_of(irreps_in2, "irreps_in2")
        self.channels1, self.channels2 = channels_of(self.blocks1, "irreps_in1"), channels_of(self.blocks2, "irreps_in2")
        if self.channels1 != self.channels2 and 1 not in (self.channels1, self.channels2):
            raise ValueError(f"irreps_in1 has {self.channels1} channels, irreps_in2 {self.channels2}: equal numbers, or one channel in one "
                             "of them, are needed")
        self.channels = max(self.channels1, self.channels2)
        self.weights, self.normalization = weights, normalization
        self.weight_numel = 0
        self.blocks_out: list[Block] = []
        # Plain numbers: torch.compile cannot look into Irreps.
        self.dim1, self.dim2, self.dim_out = self.irreps_in1.dim, self.irreps_in2.dim, 0

    # ------------------------------------------------------------ set-up, for subclasses

    def _finish(self, blocks_out: list[Block], weight_numel: int) -> None:
        self.blocks_out, self.irreps_out = blocks_out, irreps_of(blocks_out)
        self.dim_out = self.irreps_out.dim
        self.weight_numel = 0 if self.weights == "none" else weight_numel
        if self.weights == "shared":
            self.weight = nn.Parameter(torch.randn(self.weight_numel))

    # ------------------------------------------------------------ forward

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Multiply.

        Args:
            x: `(..., irreps_in1.dim)`.
            y: `(..., irreps_in2.dim)`; leading shapes broadcast.
            weight: `(..., weight_numel)` with `weights="external"`, else None.

        Returns:
            `(..., irreps_out.dim)`.

        Raises:
            ValueError: a last dimension that does not fit the irreps, weights missing or too many, a dtype other than the module's.
        """
        if x.shape[-1] != self.dim1:
            raise ValueError(f"x has last dimension {x.shape[-1]}, its irreps {self.irreps_in1} need {self.dim1}")
        if y.shape[-1] != self.dim2:
            raise ValueError(f"y has last dimension {y.shape[-1]}, its irreps {self.irreps_in2} need {self.dim2}")
        table = getattr(self, self._first_table, None)
        if table is not None and x.dtype != table.dtype and not torch.is_autocast_enabled(x.device.type):
            raise ValueError(f"x is {x.dtype}, the product {table.dtype}: call .double() or .float() on one of them")
        given = self._weight(weight)
        lead = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1], *([given.shape[:-1]] if given is not None else []))
        rows = prod(lead)
        x = self._packed(_rows(x, lead, rows), self.blocks1, self.channels1)
        y = self._packed(_rows(y, lead, rows), self.blocks2, self.channels2)
        if given is not None:
            given = given.unsqueeze(0) if given.dim() == 1 else _rows(given, lead, rows)
        return self._unpacked(self._core(x, y, given)).reshape(*lead, self.dim_out)

    def _weight(self, weight: Tensor | None) -> Tensor | None:
        if self.weights == "external":
            if weight is None or weight.shape[-1] != self.weight_numel:
                found = "missing" if weight is None else f"of last dimension {weight.shape[-1]}"
                raise ValueError(f"weight is {found}: weights='external' needs (..., {self.weight_numel})")
            return weight
        if weight is not None:
            raise ValueError(f"weight is given, but weights={self.weights!r}: make the product with weights='external'")
        return self.weight if self.weights == "shared" else None

    def _packed(self, x: Tensor, blocks: list[Block], channels: int) -> Tensor:
        """`(rows, dim)` to `(rows, channels, components)`."""
        if channels == 1:
            return x.unsqueeze(1)
        parts, start = [], 0
        for mul, l, _ in blocks:
            stop = start + mul * (2 * l + 1)
            parts.append(x[:, start:stop].reshape(len(x), mul, 2 * l + 1))
            start = stop
        return torch.cat(parts, dim=2)

    def _unpacked(self, z: Tensor) -> Tensor:
        """`(rows, channels, components)` to `(rows, dim_out)`."""
        if z.shape[1] == 1:
            return z.squeeze(1)
        parts, start = [], 0
        for mul, l, _ in self.blocks_out:
            width = (2 * l + 1) * (mul // z.shape[1])  # paths that were kept apart stand one after another
            piece = z[:, :, start : start + width].reshape(len(z), z.shape[1], mul // z.shape[1], 2 * l + 1)
            parts.append(piece.transpose(1, 2).reshape(len(z), -1))
            start += width
        return torch.cat(parts, dim=1)

    def _core(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """`(rows, channels1, d1)`, `(rows, channels2, d2)` to `(rows, channels, d_out)`."""
        raise NotImplementedError  # abstract

    # ------------------------------------------------------------ rating

    def flops(self, batch: int = 1) -> int:
        """Multiplications and additions for a batch of rows, all channels, without weights and packing."""
        return batch * self.channels * self._flops()

    def _flops(self) -> int:
        raise NotImplementedError  # abstract

    def expressivity(self, channels: int | None = None) -> int:
        """Free parameters that a layer around this product reaches; see `expressivity`."""
        from .rating import expressivity

        return expressivity(self, channels=channels)

    def interactability(self) -> Any:
        """Which degrees can influence which; see `interactability`."""
        from .rating import interactability

        return interactability(self)

    def extra_repr(self) -> str:
        weights = f", weights={self.weights!r} ({self.weight_numel})" if self.weights != "none" else ""
        return f"{self.irreps_in1} * {self.irreps_in2} -> {self.irreps_out}{weights}"


def _rows(t: Tensor, lead: torch.Size, rows: int) -> Tensor:
    """Broadcast the leading shape and flatten it."""
    return t.expand(*lead, t.shape[-1]).reshape(rows, t.shape[-1])


def coupling(raw: Callable[[Array, Array], Array], degrees1: Sequence[int], degrees2: Sequence[int], degrees3: Sequence[int]) -> Array:
    """Coefficients K `(n1, n2, n3)` of a product in terms of Clebsch-Gordan blocks of norm 1: block = K C(x, y).

    Found by feeding every pair of slots with random vectors; `raw` maps rows of all slots to rows of all slots, in double precision.
    """
    rng = np.random.default_rng(0)
    xs, ys = [rng.normal(size=2 * l + 1) for l in degrees1], [rng.normal(size=2 * l + 1) for l in degrees2]
    start1, start2, start3 = (np.cumsum([0, *(2 * l + 1 for l in degrees)]) for degrees in (degrees1, degrees2, degrees3))
    n1, n2 = len(degrees1), len(degrees2)
    x, y = np.zeros((n1, n2, start1[-1])), np.zeros((n1, n2, start2[-1]))
    for a in range(n1):
        x[a, :, start1[a] : start1[a + 1]] = xs[a]
    for b in range(n2):
        y[:, b, start2[b] : start2[b + 1]] = ys[b]
    z = raw(x.reshape(n1 * n2, -1), y.reshape(n1 * n2, -1)).reshape(n1, n2, -1)
    out, known = np.zeros((n1, n2, len(degrees3))), {}
    for a, l1 in enumerate(degrees1):
        for b, l2 in enumerate(degrees2):
            for c, l3 in enumerate(degrees3):
                if abs(l1 - l2) <= l3 <= l1 + l2:
                    key = (a, b, l3)
                    if key not in known:
                        known[key] = np.einsum("abc,a,b->c", cg(l1, l2, l3), xs[a], ys[b])
                    expected = known[key]
                    out[a, b, c] = z[a, b, start3[c] : start3[c + 1]] @ expected / (expected @ expected)
    return np.where(np.abs(out) < 1e-12 * max(1.0, np.abs(out).max()), 0.0, out)
