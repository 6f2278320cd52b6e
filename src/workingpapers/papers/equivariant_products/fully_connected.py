# mypy: allow-untyped-calls, no-warn-return-any
"""The fully connected product: every pair of channels, every path, a weight for every channel of the result."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod
from typing import Any, Literal, get_args

import numpy as np
import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from ._base import Block, Tables, blocks_of, chosen, irreps_of
from ._tables import Array, cg

Paths = Collection[tuple[int, int, int]] | Mapping[tuple[int, int, int], float]

# Predicted nanoseconds, from one core with AVX-512: of a multiply-add in one large matrix product and in many small ones, of a number that
# is written and read again; of the operators of a group, shared by the rows of a usual batch.
LARGE, SMALL, MOVED, GROUP = 0.024, 0.05, 0.4, 150.0


@dataclass(frozen=True)
class Route:
    """How one path is computed.

    Attributes:
        main: the input (0 or 1) that is multiplied by a matrix made of the other one.
        late: whether channels are mixed after that, at the result, or before it, at the main input.
    """

    main: int
    late: bool


ROUTES = tuple(Route(main, late) for late in (True, False) for main in (0, 1))


@dataclass(frozen=True)
class WeightedPath:
    """Blocks of both inputs and of the result, their degrees and channels, the factor of the block of coefficients.

    Attributes:
        joined: for each input, components of all its blocks with as many channels as this one, which are multiplied together.
    """

    blocks: tuple[int, int, int]
    degrees: tuple[int, int, int]
    channels: tuple[int, int, int]
    scale: float
    joined: tuple[int, int]

    @property
    def dims(self) -> tuple[int, int, int]:
        """Components of each block."""
        return tuple(2 * l + 1 for l in self.degrees)  # type: ignore[return-value]

    def table(self, main: int) -> Array:
        """Coefficients as `(other, out, main)`, scaled."""
        block = cg(*self.degrees) * self.scale
        return block.transpose(1, 2, 0) if main == 0 else block.transpose(0, 2, 1)

    def operations(self, route: Route) -> tuple[int, int, int]:
        """Multiply-adds in large products, those in small ones, and numbers moved, for each row."""
        main, other = route.main, 1 - route.main
        d_main = self.joined[main] if route.late else self.dims[main]
        c_main, c_other, c_out = self.channels[main], self.channels[other], self.channels[2]
        matrix, every, d_out = d_main * self.dims[2] * c_other, prod(self.channels), self.dims[2]
        turned = (1, 12) if c_other == 1 else (6, 6)  # copies, found by timing: matrices of several channels are turned round
        if route.late:
            return d_out * every + matrix * self.dims[other], matrix * c_main, turned[0] * matrix + d_out * c_main * c_other
        return d_main * every + matrix * self.dims[other], matrix * c_out, min(turned[0], 3) * matrix + turned[1] * d_main * c_other * c_out

    def cost(self, route: Route) -> float:
        """Predicted nanoseconds for each row."""
        large, small, moved = self.operations(route)
        return LARGE * large + SMALL * small + MOVED * moved


def plan(paths: Sequence[WeightedPath]) -> list[Route]:
    """The cheapest way found: every path by its own best route, or all by fewer kinds of routes, which takes fewer operators."""
    kinds = [ROUTES, *(pair for pair in combinations(ROUTES, 2)), *((r,) for r in ROUTES)]
    found = [[min(some, key=path.cost) for path in paths] for some in kinds]
    return min(found, key=lambda routes: _predicted(paths, routes))


def _predicted(paths: Sequence[WeightedPath], routes: Sequence[Route]) -> float:
    both = list(zip(paths, routes))
    groups = {(r, p.blocks[2]) for p, r in both} | {(r, "early", p.blocks[r.main]) for p, r in both if not r.late}
    return sum(p.cost(r) for p, r in both) + GROUP * len(groups)


@dataclass(frozen=True)
class Group:
    """Paths to one block of the result by the same route, from inputs with as many channels: one product of matrices for each row.

    Attributes:
        main, late: see `Route`.
        channels: of the main input.
        out: block of the result.
        members: paths, by number.
    """

    main: int
    late: bool
    channels: int
    out: int
    members: tuple[int, ...]


class FullyConnectedTP(Tables):
    """z^w = sum over paths and pairs of channels W[u, v, w] C^l3_{l1 l2} x^u y^v: the function of `e3nn.o3.FullyConnectedTensorProduct`.

    Weights have e3nn's order and scale, so that those of a trained e3nn layer can be taken over:
    `ours.load_state_dict(theirs.state_dict(), strict=False)`.

    For each path weights are contracted where that is cheapest by a predicted cost: with either input before the product, or with the
    result after it; whichever degree is smallest mostly decides. The rest is a matrix for each row, made of the other input, so that all
    work is done by a few matrix products on all paths that share a block. Any number of derivatives, any device, torch.compile.

    Args:
        irreps_in1, irreps_in2, irreps_out: any, with any multiplicities.
        paths: to keep, as places of irreps in the three arguments, in whose order weights stand; None keeps all. A mapping gives the factor
            of each (of a block of norm 1) in place of `normalization`.
        weights: `shared` ones are trained, `external` ones come with each call. Either way one set serves all rows.
        normalization: of paths, `component` or `norm`, as e3nn's `irrep_normalization`.

    Attributes:
        weight: `(weight_numel,)`; each path's `(channels 1, channels 2, channels out)` one after another.

    Raises:
        ValueError: irreps_out that no path reaches; paths that break the triangle or the parity rule; in `forward` a last dimension, a
            dtype or weights that do not fit.

    >>> import torch
    >>> from workingpapers.papers.equivariant_products import FullyConnectedTP
    >>> layer = FullyConnectedTP("16x0e + 8x1o", "1x0e + 1x1o", "16x0e + 8x1o")
    >>> layer.weight_numel                                    # 16 * 16 + 16 * 8 + 8 * 8 + 8 * 16
    576
    >>> layer(torch.randn(5, 40), torch.randn(5, 4)).shape
    torch.Size([5, 40])
    """

    def __init__(self, irreps_in1: Any, irreps_in2: Any, irreps_out: Any, *, paths: Paths | None = None,
                 weights: Literal["shared", "external"] = "shared", normalization: Literal["component", "norm"] = "component") -> None:
        super().__init__()
        chosen("weights", weights, get_args(Literal["shared", "external"]))
        chosen("normalization", normalization, get_args(Literal["component", "norm"]))
        self.irreps_in1, self.irreps_in2, self.irreps_out = Irreps(irreps_in1), Irreps(irreps_in2), Irreps(irreps_out)
        self.normalization = normalization
        self.blocks = [blocks_of(getattr(self, name), name) for name in ("irreps_in1", "irreps_in2", "irreps_out")]
        self.dims = tuple(sum(mul * (2 * l + 1) for mul, l, _ in blocks) for blocks in self.blocks)
        self.paths = self._paths(paths)
        reached = {p.blocks[2] for p in self.paths}
        missing = [b for i, b in enumerate(self.blocks[2]) if i not in reached]
        if missing:
            raise ValueError(f"irreps_out asks for {irreps_of(missing)}, which no path reaches from {self.irreps_in1} and "
                             f"{self.irreps_in2}: take it out")
        self.weight_numel = sum(prod(p.channels) for p in self.paths)
        if weights == "shared":
            self.weight = nn.Parameter(torch.randn(self.weight_numel))
        self.weights = weights
        self.routes = plan(self.paths)
        self._set_up()

    def _paths(self, kept: Paths | None) -> list[WeightedPath]:
        first, second, out = self.blocks
        met = [(a, b, c) for a, (_, l1, p1) in enumerate(first) for b, (_, l2, p2) in enumerate(second)
               for c, (_, l3, p3) in enumerate(out) if p3 == p1 * p2 and abs(l1 - l2) <= l3 <= l1 + l2]
        if kept is not None:
            unknown = [path for path in kept if path not in set(met)]
            if unknown:
                raise ValueError(f"paths has {unknown[0]}: there is no such path between these irreps")
            met = [path for path in met if path in set(kept)]
        terms = [0] * len(out)  # that are summed in a channel of each block
        for a, b, c in met:
            terms[c] += first[a][0] * second[b][0]
        joined = [{mul: sum(2 * l + 1 for m, l, _ in blocks if m == mul) for mul, _, _ in blocks} for blocks in (first, second)]
        paths = []
        for a, b, c in met:
            (c1, l1, _), (c2, l2, _), (c3, l3, _) = first[a], second[b], out[c]
            square = 2 * l3 + 1 if self.normalization == "component" else (2 * l1 + 1) * (2 * l2 + 1)
            scale = kept[a, b, c] if isinstance(kept, Mapping) else (square / terms[c]) ** 0.5
            paths.append(WeightedPath((a, b, c), (l1, l2, l3), (c1, c2, c3), scale,
                                      (joined[0][c1], joined[1][c2])))
        return paths

    # ------------------------------------------------------------ set-up

    def _set_up(self) -> None:
        """Gather paths into groups, and make the tables by which the other input becomes the matrices of a group."""
        found: dict[tuple[int, bool, int, int], list[int]] = {}
        for k, (path, route) in enumerate(zip(self.paths, self.routes)):
            found.setdefault((route.main, route.late, path.channels[route.main], path.blocks[2]), []).append(k)
        self.groups = [Group(*key, tuple(members)) for key, members in sorted(found.items())]
        start = [np.cumsum([0, *(2 * l + 1 for _, l, _ in blocks)]) for blocks in self.blocks[:2]]
        self.widths: dict[int, list[int]] = {}  # of all groups' matrices, where the other input has one channel: one table makes them all
        for main in (0, 1):
            mine = [g for g in self.groups if g.main == main]
            if not mine:
                continue
            if any(mul > 1 for mul, _, _ in self.blocks[1 - main]):
                for k in (k for g in mine for k in g.members):
                    table = self._placed(k)
                    self._table(f"table{k}", table.reshape(len(table), -1))
                continue
            tables = []
            for group in mine:
                parts = []
                for k in group.members:
                    table = self._placed(k)
                    whole = np.zeros((start[1 - main][-1], *table.shape[1:]))
                    at = start[1 - main][self.paths[k].blocks[1 - main]]
                    whole[at : at + len(table)] = table
                    parts.append(whole)
                # Rows of a late group: (out, path), columns: all of main. Rows of an early one: (out), columns: (path, main).
                tables.append(np.stack(parts, axis=2) if group.late else np.concatenate(parts, axis=2))
            self.widths[main] = [t[0].size for t in tables]
            self._table(f"tables{main}", np.concatenate([t.reshape(len(t), -1) for t in tables], axis=1))

    def _placed(self, k: int) -> Array:
        """A path's table, `(other, out, main)`; mixed late, with the main components among those of all blocks that are joined."""
        path, route = self.paths[k], self.routes[k]
        table = path.table(route.main)
        if not route.late:
            return table
        same = [(i, l) for i, (mul, l, _) in enumerate(self.blocks[route.main]) if mul == path.channels[route.main]]
        at = sum(2 * l + 1 for i, l in same if i < path.blocks[route.main])
        whole = np.zeros((*table.shape[:2], path.joined[route.main]))
        whole[:, :, at : at + table.shape[2]] = table
        return whole

    # ------------------------------------------------------------ forward

    def forward(self, x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """`(..., irreps_in1.dim)`, `(..., irreps_in2.dim)` to `(..., irreps_out.dim)`; leading shapes broadcast.

        With `weights="external"` also `weight`, `(weight_numel,)`.
        """
        if (weight is None) != (self.weights == "shared") or (weight is not None and weight.shape != (self.weight_numel,)):
            found = "missing" if weight is None else f"of shape {tuple(weight.shape)}"
            raise ValueError(f"weight is {found}: " + ("weights='shared' takes none" if self.weights == "shared" else
                                                       f"weights='external' needs ({self.weight_numel},)"))
        weight = self.weight if weight is None else weight
        for name, t, dim, irreps in (("x", x, self.dims[0], self.irreps_in1), ("y", y, self.dims[1], self.irreps_in2)):
            if t.shape[-1] != dim:
                raise ValueError(f"{name} has last dimension {t.shape[-1]}, its irreps {irreps} need {dim}")
            if t.dtype != weight.dtype and not torch.is_autocast_enabled(t.device.type):
                raise ValueError(f"{name} is {t.dtype}, the weights {weight.dtype}: call .double() or .float() on one of them")
        lead = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1])
        rows = prod(lead)
        if rows == 0:
            return x.new_zeros(*lead, self.dims[2]) + 0 * weight.sum()  # so that an empty batch can still be trained on
        both = [t.expand(*lead, t.shape[-1]).reshape(rows, t.shape[-1]) for t in (x, y)]
        return self._multiplied(both, weight).reshape(*lead, self.dims[2])

    def _multiplied(self, both: list[Tensor], weight: Tensor) -> Tensor:
        rows = len(both[0])
        weights = [w.view(p.channels) for w, p in zip(weight.split([prod(p.channels) for p in self.paths]), self.paths)]
        pieces = [self._pieces(t, self.blocks[i]) for i, t in enumerate(both)]
        found: list[Tensor | None] = [None] * len(self.blocks[2])  # (rows, components, channels)
        for main in (0, 1):
            mine = [g for g in self.groups if g.main == main]
            early = self._mixed_early([g for g in mine if not g.late], pieces[main], weights)
            joined = {mul: _joined([t for t in pieces[main] if t.shape[2] == mul], 1) for mul in {g.channels for g in mine if g.late}}
            for group, matrix in zip(mine, self._matrices(main, mine, both[1 - main], pieces[1 - main])):
                if group.late:
                    product = torch.bmm(matrix, joined[group.channels]).view(rows, self.paths[group.members[0]].dims[2], -1)
                    w = [weights[k].transpose(0, 1) if main == 0 else weights[k] for k in group.members]
                    z = product @ _joined([v.reshape(-1, v.shape[2]) for v in w], 0)
                else:
                    z = torch.bmm(matrix, _joined([early[k] for k in group.members], 1))
                before = found[group.out]
                found[group.out] = z if before is None else before + z
        return _joined([z.transpose(1, 2).reshape(rows, -1) for z in found if z is not None], 1)

    @staticmethod
    def _pieces(t: Tensor, blocks: list[Block]) -> list[Tensor]:
        """Each block as `(rows, components, channels)`."""
        parts = t.split([mul * (2 * l + 1) for mul, l, _ in blocks], dim=1)
        return [part.view(len(t), mul, 2 * l + 1).transpose(1, 2) for part, (mul, l, _) in zip(parts, blocks)]

    def _matrices(self, main: int, groups: Sequence[Group], other: Tensor, pieces: list[Tensor]) -> list[Tensor]:
        """For each group the matrices that act on the main input, one a row, made of the other input."""
        rows = len(other)
        if main in self.widths:
            flat = (other @ getattr(self, f"tables{main}")).split(self.widths[main], dim=1)
            shapes = [(-1, p.joined[main]) if g.late else (p.dims[2], -1) for g, p in ((g, self.paths[g.members[0]]) for g in groups)]
            return [m.view(rows, *shape) for m, shape in zip(flat, shapes)]
        out = []
        for group in groups:
            parts = []
            for k in group.members:
                path = self.paths[k]
                m = pieces[path.blocks[1 - main]].transpose(1, 2) @ getattr(self, f"table{k}")
                m = m.view(rows, path.channels[1 - main], path.dims[2], -1)  # (rows, channels, out, main)
                parts.append(m.transpose(1, 2) if group.late else m.permute(0, 2, 3, 1).flatten(2))
            out.append(_joined(parts, 2).flatten(1, 2) if group.late else _joined(parts, 2))
        return out

    def _mixed_early(self, groups: Sequence[Group], pieces: list[Tensor], weights: list[Tensor]) -> dict[int, Tensor]:
        """For each path the main input mixed by its weights, `(rows, (main, other channels), channels out)`."""
        mixed: dict[int, Tensor] = {}
        for block, piece in enumerate(pieces):
            mine = [(k, g.main) for g in groups for k in g.members if self.paths[k].blocks[g.main] == block]
            if mine:
                w = _joined([(weights[k] if main == 0 else weights[k].transpose(0, 1)).flatten(1) for k, main in mine], 1)
                widths = [prod(self.paths[k].channels) // self.paths[k].channels[main] for k, main in mine]
                for (k, _), part in zip(mine, (piece @ w).split(widths, dim=2)):
                    path = self.paths[k]
                    mixed[k] = part.reshape(len(part), -1, path.channels[2])
        return mixed

    # ------------------------------------------------------------ rating

    @property
    def blocks1(self) -> list[Block]:
        """(channels, degree, parity) of each irrep of the first input."""
        return self.blocks[0]

    @property
    def blocks2(self) -> list[Block]:
        """The same of the second input."""
        return self.blocks[1]

    @property
    def blocks_out(self) -> list[Block]:
        """The same of the result."""
        return self.blocks[2]

    def predicted_cost(self) -> float:
        """Nanoseconds of a row, as predicted when the way was chosen."""
        return _predicted(self.paths, self.routes)

    def flops(self, batch: int = 1) -> int:
        """Operations of a forward call."""
        return batch * sum(2 * sum(p.operations(r)[:2]) for p, r in zip(self.paths, self.routes))

    def expressivity(self) -> int:
        """Free parameters with one copy of each irrep in and out: one a path."""
        kinds = [{i: blocks[i][1:] for i in range(len(blocks))} for blocks in self.blocks]
        return len({tuple(kinds[i][p.blocks[i]] for i in range(3)) for p in self.paths})

    def extra_repr(self) -> str:
        return f"{self.irreps_in1} x {self.irreps_in2} -> {self.irreps_out} | {len(self.paths)} paths, {self.weight_numel} weights"


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=dim)
