# mypy: allow-untyped-calls, no-warn-return-any
"""The classical product: every path (l1, l2, l3) of the triangle rule, each with its own Clebsch-Gordan block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from e3nn.o3 import Irrep
from torch import Tensor

from ._base import Block, EquivariantProduct, Normalization, Weights, blocks_of, chosen, irreps_of
from ._sparse import sparse_bilinear, sparse_trilinear
from ._tables import Array, cg

Mode = Literal["dense", "sparse", "fused"]


@dataclass(frozen=True)
class Path:
    """One block of the product: which irreps meet, where the result goes, how it is scaled."""

    first: int
    second: int
    out: int
    degrees: tuple[int, int, int]
    scale: float = 1.0

    def table(self) -> Array:
        """Its block, scaled."""
        return cg(*self.degrees) * self.scale


class ClebschGordanTP(EquivariantProduct):
    """Clebsch-Gordan tensor product z = sum C^l3_{l1 l2} x^l1 y^l2, channel by channel.

    Args:
        irreps_in1, irreps_in2: any irreps with equal channels (or one channel in one input).
        irreps_out: None keeps every path apart, in the order of `e3nn.o3.FullTensorProduct`; given irreps collect the sum of all paths
            that lead to each.
        mode: `sparse` (the nonzeros of the real basis, O(L^5), a compiled kernel on CPU), `fused` (one matrix a pair of degrees on the
            outer product), `dense` (one einsum a path, O(L^6)). All give the same numbers.
        weights: one a path and channel: none, shared (trained) or external (`weight` of each call).
        normalization: of each path, as e3nn's `component` and `norm`; `integral` leaves blocks of norm 1. Sums are divided by the square
            root of the number of their paths except with `integral`.

    Raises:
        ValueError: unequal channels; irreps_out that no path reaches.

    >>> import torch
    >>> from workingpapers.papers.equivariant_products import ClebschGordanTP
    >>> product = ClebschGordanTP("1x1o", "1x1o")
    >>> product.irreps_out                                    # dot product, cross product, and the rest
    1x0e+1x1e+1x2e
    >>> layer = ClebschGordanTP("16x0e + 16x1o", "1x0e + 1x1o + 1x2e", "16x0e + 16x1o", weights="external")
    >>> layer.weight_numel                                    # 5 paths, 16 channels
    80
    >>> layer(torch.randn(7, 64), torch.randn(7, 9), torch.randn(7, 80)).shape
    torch.Size([7, 64])
    """

    def __init__(self, irreps_in1: Any, irreps_in2: Any, irreps_out: Any = None, mode: Mode = "sparse", *, weights: Weights = "none",
                 normalization: Normalization = "component") -> None:
        super().__init__(irreps_in1, irreps_in2, weights, normalization)
        chosen("mode", mode, get_args(Mode))
        self.mode = mode
        self.paths, blocks = self._all_paths() if irreps_out is None else self._paths_to(blocks_of(irreps_out, "irreps_out"))
        self.kept_apart = irreps_out is None
        # Components of the result by channel: every path's own, or those of the blocks they are summed into.
        widths = [2 * p.degrees[2] + 1 for p in self.paths] if self.kept_apart else [2 * l + 1 for _, l, _ in blocks]
        self._start = np.cumsum([0, *widths])
        self._finish(blocks, self.channels * len(self.paths))
        self._start1 = np.cumsum([0, *(2 * l + 1 for _, l, _ in self.blocks1)])
        self._start2 = np.cumsum([0, *(2 * l + 1 for _, l, _ in self.blocks2)])
        {"dense": self._set_dense, "sparse": self._set_sparse, "fused": self._set_fused}[mode]()

    # ------------------------------------------------------------ paths

    def _meetings(self) -> list[tuple[int, int, int, int]]:
        return [(a, b, l3, p1 * p2) for a, (_, l1, p1) in enumerate(self.blocks1) for b, (_, l2, p2) in enumerate(self.blocks2)
                for l3 in range(abs(l1 - l2), l1 + l2 + 1)]

    def _all_paths(self) -> tuple[list[Path], list[Block]]:
        found = sorted(self._meetings(), key=lambda m: Irrep(m[2], m[3]))  # a stable sort, as e3nn's
        blocks: list[Block] = []
        for _, _, l3, p in found:
            if blocks and blocks[-1][1:] == (l3, p):
                blocks[-1] = (blocks[-1][0] + self.channels, l3, p)
            else:
                blocks.append((self.channels, l3, p))
        return [self._path(a, b, i, l3, 1) for i, (a, b, l3, _) in enumerate(found)], blocks

    def _paths_to(self, wanted: list[Block]) -> tuple[list[Path], list[Block]]:
        if any(mul != self.channels for mul, _, _ in wanted):
            raise ValueError(f"irreps_out = {irreps_of(wanted)} must have {self.channels} channels in every irrep, as the inputs have")
        paths = []
        for out, (_, l, p) in enumerate(wanted):
            found = [(a, b) for a, b, l3, p3 in self._meetings() if (l3, p3) == (l, p)]
            if not found:
                reached = irreps_of(self._all_paths()[1])
                raise ValueError(f"irreps_out asks for {irreps_of([wanted[out]])}, which no path reaches; the paths reach {reached}")
            paths += [self._path(a, b, out, l, len(found)) for a, b in found]
        return paths, wanted

    def _path(self, a: int, b: int, out: int, l3: int, n_paths: int) -> Path:
        l1, l2 = self.blocks1[a][1], self.blocks2[b][1]
        square = {"component": (2 * l3 + 1) / n_paths, "norm": (2 * l1 + 1) * (2 * l2 + 1) / n_paths, "integral": 1.0}[self.normalization]
        return Path(a, b, out, (l1, l2, l3), square**0.5)

    # ------------------------------------------------------------ tables

    def _set_dense(self) -> None:
        for i, path in enumerate(self.paths):
            self._table(f"block{i}", path.table())

    def _set_sparse(self) -> None:
        rows: list[Array] = []
        for i, path in enumerate(self.paths):
            table = path.table()
            a, b, c = np.nonzero(table)
            at = (self._start1[path.first] + a, self._start2[path.second] + b, np.full_like(a, i), self._start[path.out] + c,
                  table[a, b, c])
            rows.append(np.stack([x.astype(np.float64) for x in at]))
        entries = np.concatenate(rows, axis=1)
        entries = entries[:, np.lexsort((entries[1], entries[0], entries[3]))]
        for name, values in zip(("first", "second", "path", "third"), entries):
            self._index(name, values.astype(np.int64))
        self._table("factor", entries[4])

    def _set_fused(self) -> None:
        self.pairs: list[tuple[int, int]] = sorted({(p.first, p.second) for p in self.paths})
        order, path_of = [], []
        for i, pair in enumerate(self.pairs):
            mine = [(k, p) for k, p in enumerate(self.paths) if (p.first, p.second) == pair]
            tables = [p.table().reshape(-1, 2 * p.degrees[2] + 1) for _, p in mine]
            self._table(f"pair{i}", np.concatenate(tables, axis=1))
            for k, p in mine:
                order += [self._start[p.out] + m for m in range(2 * p.degrees[2] + 1)]
                path_of += [k] * (2 * p.degrees[2] + 1)
        self._index("target", order)
        self._index("inverse", np.argsort(order, kind="stable"))
        self._index("path_of", path_of)

    # ------------------------------------------------------------ forward

    def _core(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        w = None if weight is None else weight.unflatten(-1, (self.channels, len(self.paths)))
        return {"dense": self._dense, "sparse": self._sparse, "fused": self._fused}[self.mode](x, y, w)

    def _dense(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        outs: list[Any] = [None] * (len(self._start) - 1)
        for i, p in enumerate(self.paths):
            z = torch.einsum("nca,ncb,abd->ncd", x[:, :, self._start1[p.first] : self._start1[p.first + 1]],
                             y[:, :, self._start2[p.second] : self._start2[p.second + 1]], getattr(self, f"block{i}"))
            z = z if w is None else z * w[:, :, i : i + 1]
            outs[p.out] = z if outs[p.out] is None else outs[p.out] + z
        return torch.cat(outs, dim=2)

    def _sparse(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        if x.dtype not in (torch.float32, torch.float64):
            x, y = x.float(), y.float()
        rows = len(x)
        x, y = (t.expand(rows, self.channels, -1).flatten(0, 1) for t in (x, y))
        size, factor = int(self._start[-1]), self.factor.to(x.dtype)
        if w is None:
            z = sparse_bilinear(x, y, self.first, self.second, self.third, factor, size)
        else:
            w = w.expand(rows, -1, -1).flatten(0, 1).to(x.dtype)
            z = sparse_trilinear(x, y, w, self.first, self.second, self.path, self.third, factor, size)
        return z.unflatten(0, (rows, self.channels))

    def _fused(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        parts = []
        for i, (a, b) in enumerate(self.pairs):
            left = x[:, :, self._start1[a] : self._start1[a + 1], None]
            right = y[:, :, None, self._start2[b] : self._start2[b + 1]]
            parts.append((left * right).flatten(2) @ getattr(self, f"pair{i}"))
        z = torch.cat(parts, dim=2)
        if w is not None:
            z = z * w.index_select(2, self.path_of)
        if self.kept_apart:
            return z.index_select(2, self.inverse)
        return z.new_zeros(*z.shape[:2], int(self._start[-1])).index_add(2, self.target, z)

    # ------------------------------------------------------------ rating

    def _flops(self) -> int:
        if self.mode == "sparse":
            return 3 * len(self.factor)
        sizes = [(2 * p.degrees[0] + 1) * (2 * p.degrees[1] + 1) for p in self.paths]
        by_table = sum(2 * n * (2 * p.degrees[2] + 1) for n, p in zip(sizes, self.paths))
        if self.mode == "dense":
            return by_table + sum(sizes)
        return by_table + sum((2 * self.blocks1[a][1] + 1) * (2 * self.blocks2[b][1] + 1) for a, b in self.pairs)
