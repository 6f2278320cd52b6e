# mypy: allow-untyped-calls, no-warn-return-any
"""A small interatomic potential after MACE: messages along edges, many-body products at atoms, forces as exact derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ._base import Tables, chosen
from ._signal import SignalProduct
from ._tables import cg, harmonics
from .layers import PRODUCTS, IrrepsLinear, make_product
from .parities import TwoSignals, both_parities
from .powers import GauntPower

HIDDEN = 32
Powers = Literal["auto", "products", "grid"]


class Prediction(NamedTuple):
    """Energies `(graphs,)` in eV, forces `(atoms, 3)` in eV / Angstrom, stress `(graphs, 3, 3)` in eV / Angstrom^3 if asked for."""

    energy: Tensor
    forces: Tensor
    stress: Tensor | None = None


def natural(l_max: int, channels: int) -> str:
    """Irreps of signals: `channels` of 0e, 1o, 2e, ..."""
    return " + ".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(l_max + 1))


class Radial(nn.Module):
    """Weights from a distance: sines of the distance over the distance, cut off smoothly at r_max, through a small network without bias."""

    frequency: Tensor

    def __init__(self, r_max: float, n_basis: int, n_out: int) -> None:
        super().__init__()
        self.r_max = r_max
        self.register_buffer("frequency", torch.arange(1, n_basis + 1) * pi / r_max)
        self.network = nn.Sequential(nn.Linear(n_basis, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(),
                                     nn.Linear(HIDDEN, n_out, bias=False))

    def forward(self, r: Tensor) -> Tensor:
        """Distances `(edges,)` to `(edges, n_out)`, zero with two derivatives at r_max."""
        x = r / self.r_max
        cut = torch.where(x < 1, 1 - 28 * x**6 + 48 * x**7 - 21 * x**8, torch.zeros_like(x))
        basis = (2 / self.r_max) ** 0.5 * torch.sin(r[:, None] * self.frequency) / r[:, None] * self.r_max**0.5
        return self.network(basis) * cut[:, None]


class Harmonics(Tables):
    """Spherical harmonics of unit vectors up to l_max, each degree from the one below by the classical product with the vector.

    Two operations a degree, which keeps second derivatives cheap. Scaled to mean square 1 ("component").

    >>> Harmonics(3)(torch.eye(3)).shape
    torch.Size([3, 16])
    """

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.l_max = l_max
        point = np.array([[0.36, 0.48, 0.8]])
        expected = harmonics(l_max, point)[0] * (4 * pi) ** 0.5
        for l in range(1, l_max):
            block = cg(l, 1, l + 1)
            found = np.einsum("abc,a,b->c", block, expected[l * l : (l + 1) ** 2], point[0])
            scale = found @ expected[(l + 1) ** 2 : (l + 2) ** 2] / (found @ found)
            self._table(f"step{l}", block.reshape(-1, 2 * l + 3) * scale)

    def forward(self, unit: Tensor) -> Tensor:
        """`(edges, 3)` to `(edges, (l_max + 1)^2)`."""
        parts = [torch.ones_like(unit[:, :1]), unit * 3**0.5]
        for l in range(1, self.l_max):
            parts.append((parts[-1][:, :, None] * unit[:, None]).flatten(1) @ getattr(self, f"step{l}"))
        return torch.cat(parts[: self.l_max + 1], dim=1)


class ManyBody(nn.Module):
    """Powers of an atom's neighbourhood up to `correlation`: A, A x A, (A x A) x A, mixed to the hidden irreps.

    With `on_grid` the powers of one mixed A are taken point by point on one grid (`GauntPower`), all intermediate degrees kept; else by
    products in a row, each cut at the hidden degrees. With the product `mixed` hidden irreps have both parities (`both_parities`).
    """

    def __init__(self, l_max: int, channels: int, correlation: int, product: str, *, on_grid: bool = False, pseudo: bool = False) -> None:
        super().__init__()
        irreps = natural(l_max, channels)
        hidden = both_parities(l_max, channels) if product == "mixed" else irreps
        given = hidden if pseudo else irreps
        self.powers = GauntPower(irreps, correlation, l_max) if on_grid and correlation > 1 else None
        n = correlation - 1
        self.mix = nn.ModuleList(IrrepsLinear(given, irreps) for _ in range(min(n, 1) if on_grid else n))
        if self.powers is not None:
            self.products = nn.ModuleList()
        elif product == "mixed":
            self.products = nn.ModuleList(TwoSignals(l_max, channels, channels, pseudo or k > 0, rank_of(channels)) for k in range(n))
        else:
            self.products = nn.ModuleList(make_product(product, irreps, irreps, irreps, weights="shared") for _ in range(n))
        self.out = nn.ModuleList(IrrepsLinear(given if k == 0 else hidden, hidden) for k in range(correlation))

    def forward(self, a: Tensor) -> Tensor:
        """`(atoms, dim)` to the same, or to both parities."""
        power, total = a, self.out[0](a)
        if self.powers is not None:
            for z, out in zip(self.powers(self.mix[0](a))[1:], list(self.out)[1:]):
                total = total + out(z)
            return total
        for mix, product, out in zip(self.mix, self.products, list(self.out)[1:]):
            power = product(power, mix(a))
            total = total + out(power)
        return total


def rank_of(channels: int) -> int:
    """Channels of odd paths inside `mixed`: a quarter."""
    return max(1, channels // 4)


class MiniMACE(nn.Module):
    """Energy and forces of atoms, with any product of the paper inside.

    Two layers. The first sends species along edges with spherical harmonics; the second multiplies the neighbours' features with the
    harmonics of the edge by `product`; both then take products of each atom's neighbourhood with itself. Energies are sums over
    atoms, forces their exact derivatives.

    Args:
        species: atomic numbers that may occur.
        r_max: cutoff, Angstrom.
        l_max: highest degree of hidden features; 0 leaves distances alone, a control.
        channels: of every degree.
        correlation: 1 to 3: atoms that a term of one layer ties together beside the centre.
        product: a name in `PRODUCTS`. Hidden features have the parity of functions on the sphere; with `mixed` also the other one, so that
            cross products have a place (l_max from 1 up).
        powers: how each atom's neighbourhood is multiplied with itself: `products` in a row, or on one `grid` (`GauntPower`; with
            `gaunt_grid` only). `auto` takes the grid for `gaunt_grid` from correlation 3 up.
        chiral: read pseudoscalars too, so that mirror images may have different energies; with `mixed` only. Energies of atoms in a mirror
            are the same, hence False.
        n_basis: radial functions.
        neighbours: typical number of neighbours, by whose square root sums are divided; `fit` sets it from data.
        seed: of the initial weights.

    Raises:
        ValueError: arguments out of range; in `forward` shapes that do not fit, species that were not named.

    >>> import torch
    >>> model = MiniMACE([14], r_max=4.0, l_max=1, channels=4, product="gaunt_grid")
    >>> positions = torch.tensor([[0.0, 0, 0], [2.3, 0, 0], [0, 2.3, 0]])
    >>> edges = torch.tensor([[0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]])
    >>> found = model(positions, torch.tensor([14, 14, 14]), edges)
    >>> found.energy.shape, found.forces.shape, bool(found.forces.sum(0).abs().max() < 1e-5)
    (torch.Size([1]), torch.Size([3, 3]), True)
    """

    place: Tensor
    degree: Tensor
    neighbours: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, species: Sequence[int], r_max: float = 4.0, l_max: int = 2, channels: int = 16, correlation: int = 2,
                 product: str = "cgtp", *, powers: Powers = "auto", chiral: bool = False, n_basis: int = 8, neighbours: float = 12.0,
                 seed: int = 0) -> None:
        super().__init__()
        chosen("product", product, list(PRODUCTS))
        chosen("powers", powers, get_args(Powers))
        for name, value, least, most in (("l_max", l_max, 0, 10), ("channels", channels, 1, 4096), ("correlation", correlation, 1, 3)):
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ValueError(f"{name} is {value!r}: a whole number from {least} to {most} is needed")
        if not r_max > 0:
            raise ValueError(f"r_max is {r_max!r}: a length above 0 is needed")
        mixed = product == "mixed"
        if powers == "grid" and product != "gaunt_grid":
            raise ValueError(f"powers='grid' does not go with product={product!r}: take 'gaunt_grid', or powers='products'")
        if chiral and not mixed:
            raise ValueError(f"chiral=True does not go with product={product!r}, whose features have no pseudoscalars here: take 'mixed'")
        if mixed and l_max == 0:
            raise ValueError("product='mixed' needs l_max from 1 up: degree 0 alone has no odd path")
        on_grid = powers == "grid" or (powers == "auto" and product == "gaunt_grid" and correlation > 2)
        known = sorted({int(z) for z in species})
        if not known or known[0] < 1 or known[-1] > 118:
            raise ValueError(f"species is {species!r}: atomic numbers from 1 to 118 are needed")
        self.config: dict[str, Any] = {"species": known, "r_max": float(r_max), "l_max": l_max, "channels": channels,
                                       "correlation": correlation, "product": product, "powers": "grid" if on_grid else "products",
                                       "chiral": chiral, "n_basis": n_basis}
        self.r_max, self.l_max, self.channels, irreps = float(r_max), l_max, channels, natural(l_max, channels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.harmonics = Harmonics(l_max)
            self.embedding = nn.Parameter(torch.randn(len(known), channels))
            self.radial1 = Radial(r_max, n_basis, channels * (l_max + 1))
            self.message: nn.Module
            if mixed:
                self.message, fixed = TwoSignals(l_max, channels, 1, True, rank_of(channels)), 0
                n_radial = channels * 2 * (l_max + 1)
            else:
                # Of a signal product the weights of the output follow the distance, those of the inputs are constants: a product of three
                # small functions would hardly learn.
                made = make_product(product, irreps, natural(l_max, 1), irreps, weights="external")
                fixed = channels * (len(made.slots1) + len(made.slots2)) if isinstance(made, SignalProduct) else 0
                self.message, n_radial = made, made.weight_numel - fixed
            self.fixed = nn.Parameter(1 + 0.5 * torch.randn(fixed))
            self.radial2 = Radial(r_max, n_basis, n_radial)
            hidden = both_parities(l_max, channels) if mixed else irreps
            self.mix1, self.mix2, self.skip = IrrepsLinear(irreps, irreps), IrrepsLinear(hidden, hidden), IrrepsLinear(hidden, hidden)
            self.body1 = ManyBody(l_max, channels, correlation, product, on_grid=on_grid)
            self.body2 = ManyBody(l_max, channels, correlation, product, on_grid=on_grid, pseudo=mixed)
            self.read1 = nn.Linear(channels * (2 if chiral else 1), 1, bias=False)
            self.read2 = nn.Sequential(nn.Linear(channels * (2 if chiral else 1), HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 1, bias=False))
        place = torch.full((119,), -1, dtype=torch.int64)
        place[known] = torch.arange(len(known))
        self.register_buffer("place", place)
        self.register_buffer("degree", torch.repeat_interleave(torch.arange(l_max + 1), 2 * torch.arange(l_max + 1) + 1), persistent=False)
        self.register_buffer("neighbours", torch.tensor(float(neighbours)))
        self.register_buffer("shift", torch.zeros(len(known)))  # energy of a lone atom of each species
        self.register_buffer("scale", torch.tensor(1.0))

    # ------------------------------------------------------------ forward

    def forward(self, positions: Tensor, species: Tensor, edge_index: Tensor, cell: Tensor | None = None, shifts: Tensor | None = None,
                graph: Tensor | None = None, *, stress: bool = False) -> Prediction:
        """Energies and forces.

        Args:
            positions: `(atoms, 3)`, Angstrom.
            species: atomic numbers `(atoms,)`.
            edge_index: `(2, edges)`: receiver, sender. Pairs beyond r_max count nothing.
            cell: `(3, 3)` or one a graph, `(graphs, 3, 3)`; needs `shifts`.
            shifts: by how many cells each sender is shifted, `(edges, 3)`.
            graph: which graph each atom belongs to, `(atoms,)`, from 0 up without gaps; None is one graph.
            stress: also the stress; needs a cell.
        """
        if positions.dim() != 2 or positions.shape[1] != 3 or species.shape != positions.shape[:1]:
            raise ValueError(f"positions {tuple(positions.shape)} and species {tuple(species.shape)}: (atoms, 3) and (atoms,) are needed")
        if edge_index.dim() != 2 or edge_index.shape[0] != 2:
            raise ValueError(f"edge_index has shape {tuple(edge_index.shape)}: (2, edges) is needed")
        if (cell is None) != (shifts is None) or (stress and cell is None):
            raise ValueError("cell and shifts go together, and stress needs both")
        kinds = self.place[species]
        if bool((kinds < 0).any()):
            raise ValueError(f"species has {int(species[kinds < 0][0])}, the model knows {self.config['species']}")
        graph = torch.zeros(len(positions), dtype=torch.int64, device=positions.device) if graph is None else graph
        n_graphs = int(graph.max()) + 1 if len(graph) else 1
        with torch.enable_grad():
            if not positions.requires_grad:
                positions = positions.detach().requires_grad_()
            strain = positions.new_zeros(n_graphs, 3, 3, requires_grad=stress)
            vectors = positions.index_select(0, edge_index[1]) - positions.index_select(0, edge_index[0])
            if cell is not None and shifts is not None:
                cells = cell.expand(n_graphs, 3, 3)[graph[edge_index[0]]]
                vectors = vectors + torch.einsum("ei,eij->ej", shifts.to(vectors.dtype), cells)
            if stress:  # strain moves all distances of a graph alike
                symmetric = (strain + strain.transpose(1, 2)) / 2
                vectors = vectors + torch.einsum("ei,eij->ej", vectors, symmetric[graph[edge_index[0]]])
            per_atom = self.energies(vectors, kinds, edge_index)
            energy = per_atom.new_zeros(n_graphs).index_add(0, graph, per_atom)
            wanted = [positions, strain] if stress else [positions]
            found = torch.autograd.grad(energy.sum(), wanted, create_graph=self.training, allow_unused=True, materialize_grads=True)
        if not self.training:
            energy = energy.detach()
        if not stress or cell is None:
            return Prediction(energy, -found[0])
        return Prediction(energy, -found[0], found[1] / torch.linalg.det(cell.expand(n_graphs, 3, 3)).abs()[:, None, None])

    def energies(self, vectors: Tensor, kinds: Tensor, edge_index: Tensor) -> Tensor:
        """Energy of each atom from vectors of edges."""
        receiver, sender = edge_index
        n, c, r = len(kinds), self.channels, vectors.norm(dim=1)
        around = self.harmonics(vectors / r[:, None])
        species = self.embedding.index_select(0, kinds)
        radial = self.radial1(r).unflatten(1, (c, self.l_max + 1)).index_select(2, self.degree)
        sent = species.index_select(0, sender)[:, :, None] * radial * around[:, None]
        a = sent.new_zeros(n, c, sent.shape[2]).index_add(0, receiver, sent) / self.neighbours**0.5
        h = self.body1(self.mix1(self._flat(a)))
        h = torch.cat([h[:, :c] + species, h[:, c:]], dim=1)
        sent = self._sent(h.index_select(0, sender), around, self.radial2(r))
        a = sent.new_zeros(n, sent.shape[1]).index_add(0, receiver, sent) / self.neighbours**0.5
        h2 = self.body2(self.mix2(a)) + self.skip(h)
        return self.scale * (self.read1(self._scalars(h)) + self.read2(self._scalars(h2))).squeeze(1) + self.shift[kinds]

    def _sent(self, h: Tensor, around: Tensor, radial: Tensor) -> Tensor:
        """Features of senders times harmonics of the edge, weighted by its length."""
        if not isinstance(self.message, TwoSignals):
            return self.message(h, around, torch.cat([self.fixed.expand(len(radial), -1), radial], dim=1))
        blocks = self.message(h, around).split([self.channels * (2 * l + 1) for l in 2 * [*range(self.l_max + 1)]], dim=1)
        by_block = radial.split(self.channels, dim=1)
        return torch.cat([(b.view(len(b), self.channels, -1) * w[:, :, None]).flatten(1) for b, w in zip(blocks, by_block)], dim=1)

    def _scalars(self, h: Tensor) -> Tensor:
        """Scalars of each atom, and pseudoscalars where mirror images may differ."""
        c, half = self.channels, self.channels * (self.l_max + 1) ** 2
        return torch.cat([h[:, :c], h[:, half : half + c]], dim=1) if self.config["chiral"] else h[:, :c]

    def _flat(self, a: Tensor) -> Tensor:
        return torch.cat([a[:, :, l * l : (l + 1) ** 2].flatten(1) for l in range(self.l_max + 1)], dim=1)

    # ------------------------------------------------------------ files

    def save(self, path: Any) -> None:
        """Write weights and arguments."""
        torch.save({"config": self.config, "state": self.state_dict()}, path)

    @classmethod
    def load(cls, path: Any) -> MiniMACE:
        """Read what `save` wrote; only tensors and plain values are read, no code. In double precision where the weights are."""
        kept = torch.load(path, weights_only=True)
        model = cls(**{"powers": "products", **kept["config"]})  # files from before there was a choice
        model = model.to(next(v.dtype for v in kept["state"].values() if v.is_floating_point()))
        model.load_state_dict(kept["state"])
        return model.eval()


def edges_of(positions: Any, r_max: float, cell: Any = None) -> tuple[Tensor, Tensor]:
    """`edge_index` and `shifts` for `MiniMACE.forward`, from numpy arrays."""
    from workingpapers.workloads.atoms import neighbours

    edges, shifts = neighbours(np.asarray(positions), r_max, cell)
    return torch.as_tensor(edges), torch.as_tensor(shifts)
