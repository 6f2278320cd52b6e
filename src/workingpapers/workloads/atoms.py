# mypy: allow-untyped-calls
"""Frames of atoms with energies and forces from classical potentials, made from a seed; and the tetris shapes.

Stillinger-Weber silicon is written here, by moments of each atom's neighbourhood instead of loops over triples; EMT and Lennard-Jones are
ASE's. Units: Angstrom, eV, eV / Angstrom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Kind = Literal["emt", "lj", "stillinger_weber"]
Progress = Callable[[float, str], None]

TETRIS: dict[str, list[tuple[int, int, int]]] = {
    "chiral": [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 1, 0)], "mirrored chiral": [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, -1, 0)],
    "square": [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)], "line": [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3)],
    "corner": [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)], "L": [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0)],
    "T": [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 1)], "zigzag": [(0, 0, 0), (1, 0, 0), (1, 1, 0), (2, 1, 0)],
}  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """One arrangement of atoms: `positions (n, 3)`, `numbers (n,)`, `cell (3, 3)` or None where nothing repeats, energy, `forces`."""

    positions: Array
    numbers: Integers
    cell: Array | None
    energy: float
    forces: Array

    def to_ase(self) -> Any:
        """As `ase.Atoms`, with energy and forces attached."""
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator

        atoms = Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.cell is not None)
        atoms.calc = SinglePointCalculator(atoms, energy=self.energy, forces=self.forces)
        return atoms

    @classmethod
    def from_ase(cls, atoms: Any) -> Frame:
        """From `ase.Atoms` with a calculator; all three directions periodic, or none."""
        if atoms.pbc.any() and not atoms.pbc.all():
            raise ValueError(f"atoms.pbc is {list(atoms.pbc)}: all three directions periodic, or none")
        if atoms.calc is None:
            raise ValueError("atoms has no calculator: energies and forces are needed, attach one or read a file that has them")
        cell = np.array(atoms.cell.array, dtype=np.float64) if atoms.pbc.all() else None
        return cls(np.array(atoms.positions, dtype=np.float64), np.array(atoms.numbers, dtype=np.int64), cell,
                   float(atoms.get_potential_energy()), np.array(atoms.get_forces(), dtype=np.float64))


def read_frames(path: Any, index: str = ":") -> list[Frame]:
    """Frames of any file that ASE reads, such as extxyz, with energies and forces."""
    from ase.io import read

    return [Frame.from_ase(atoms) for atoms in read(path, index=index)]


def write_frames(path: Any, frames: Sequence[Frame]) -> None:
    """Write frames as extxyz (or whatever the name's ending says to ASE)."""
    from ase.io import write

    write(path, [f.to_ase() for f in frames])


def neighbours(positions: Array, cutoff: float, cell: Array | None = None) -> tuple[Integers, Integers]:
    """Pairs within the cutoff: `(2, edges)` of receiver and sender, and by how many cells the sender is shifted, `(edges, 3)`."""
    if cell is None:
        gap = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
        receiver, sender = np.nonzero((gap < cutoff) & ~np.eye(len(positions), dtype=bool))
        return np.stack([receiver, sender]), np.zeros((len(receiver), 3), dtype=np.int64)
    from ase.neighborlist import primitive_neighbor_list

    receiver, sender, shift = primitive_neighbor_list("ijS", [True] * 3, cell, positions, cutoff)
    return np.stack([receiver, sender]).astype(np.int64), shift.astype(np.int64)


# ---------------------------------------------------------------- potentials


def stillinger_weber(positions: Array, cell: Array | None = None, three_body: float = 21.0) -> tuple[float, Array]:
    """Energy and forces of silicon (Stillinger and Weber 1985, with the usual scale of 2.1683 eV and 2.0951 Angstrom).

    The triple sum over pairs of neighbours of (cos + 1/3)^2 is a sum of squares of moments of the neighbourhood, so that it costs as much
    as a pair potential.

    >>> import numpy as np
    >>> corner = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0]]) / 4
    >>> diamond = np.concatenate([corner, corner + 0.25]) * 5.431
    >>> round(stillinger_weber(diamond, np.eye(3) * 5.431)[0] / 8, 3)        # cohesive energy, eV an atom
    -4.337
    """
    import torch

    eps, sigma, a, big_a, big_b, gamma = 2.1683, 2.0951, 1.80, 7.049556277, 0.6022245584, 1.20
    edges, shift = neighbours(positions, a * sigma * (1 - 1e-9), cell)
    pos = torch.tensor(positions, requires_grad=True)
    offset = torch.tensor(shift @ cell if cell is not None else np.zeros((edges.shape[1], 3)))
    receiver, sender = (torch.tensor(e) for e in edges)
    v = pos[sender] - pos[receiver] + offset
    r = v.norm(dim=1)
    s = r / sigma
    pair = big_a * (big_b * s**-4 - 1) * torch.exp(1 / (s - a))
    g, u = torch.exp(gamma / (s - a)), v / r[:, None]
    n = len(positions)
    zeroth = torch.zeros(n, dtype=torch.float64).index_add(0, receiver, g)
    first = torch.zeros(n, 3, dtype=torch.float64).index_add(0, receiver, g[:, None] * u)
    second = torch.zeros(n, 3, 3, dtype=torch.float64).index_add(0, receiver, g[:, None, None] * u[:, :, None] * u[:, None])
    alone = torch.zeros(n, dtype=torch.float64).index_add(0, receiver, g**2 * (4 / 3) ** 2)
    triples = (second**2).sum((1, 2)) + 2 / 3 * (first**2).sum(1) + zeroth**2 / 9 - alone
    energy = eps * (pair.sum() / 2 + three_body / 2 * triples.sum())
    (gradient,) = torch.autograd.grad(energy, pos) if edges.shape[1] else (torch.zeros_like(pos),)
    return float(energy.detach()), -gradient.numpy()


# ---------------------------------------------------------------- frames


def generate(kind: Kind = "emt", n_frames: int = 100, n_atoms: int = 64, *, rng: Any, rattle: tuple[float, float] = (0.03, 0.12),
             progress: Progress | None = None) -> list[Frame]:
    """Frames around a crystal: shaken by a Gaussian of a width drawn for each frame, and strained by up to 3 %.

    Args:
        kind: `emt` (clusters of copper and nickel at random sites, effective medium potential), `lj` (clusters, Lennard-Jones in reduced
            units, argon), `stillinger_weber` (periodic silicon; n_atoms must be 8 k^3).
        n_frames, n_atoms: how many.
        rng: a numpy generator, or a seed.
        rattle: range of the width of the shaking, Angstrom.
        progress: told (share done, words).

    Raises:
        ValueError: an unknown kind, sizes below 1, a silicon cell that is no 8 k^3.

    >>> frames = generate("stillinger_weber", 2, 8, rng=0)
    >>> frames[0].forces.shape, bool(abs(frames[0].forces.sum()) < 1e-9)
    ((8, 3), True)
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind is {kind!r}: it must be one of {', '.join(get_args(Kind))}; tetris() gives the shapes")
    if n_frames < 1 or n_atoms < 2:
        raise ValueError(f"n_frames is {n_frames}, n_atoms {n_atoms}: at least 1 and 2 are needed")
    rng = np.random.default_rng(rng)
    frames = []
    for k in range(n_frames):
        width = rng.uniform(*rattle)
        strain = np.eye(3) + rng.uniform(-0.03, 0.03, size=(3, 3))
        frames.append(_silicon(n_atoms, width, strain, rng) if kind == "stillinger_weber" else _cluster(kind, n_atoms, width, strain, rng))
        if progress is not None:
            progress((k + 1) / n_frames, f"frame {k + 1} of {n_frames}")
    return frames


def _silicon(n_atoms: int, width: float, strain: Array, rng: np.random.Generator) -> Frame:
    k = round((n_atoms / 8) ** (1 / 3))
    if 8 * k**3 != n_atoms or k < 1:
        raise ValueError(f"n_atoms is {n_atoms}: silicon needs 8, 64, 216, ... (8 k^3)")
    corner = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0]]) / 4
    basis = np.concatenate([corner, corner + 0.25])
    cells = np.stack(np.meshgrid(*[np.arange(k)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    cell = 5.431 * k * strain
    positions = (basis + cells).reshape(-1, 3) / k @ cell + width * rng.normal(size=(n_atoms, 3))
    energy, forces = stillinger_weber(positions, cell)
    return Frame(positions, np.full(n_atoms, 14), cell, energy, forces)


def _cluster(kind: str, n_atoms: int, width: float, strain: Array, rng: np.random.Generator) -> Frame:
    """The n atoms of a cubic close packing nearest to a random centre."""
    from ase import Atoms
    from ase.calculators.emt import EMT
    from ase.calculators.lj import LennardJones

    constant, numbers = (3.58, rng.choice([28, 29], size=n_atoms)) if kind == "emt" else (1.55 * 1.0, np.full(n_atoms, 18))
    side = np.arange(-4 - round(n_atoms ** (1 / 3)), 5 + round(n_atoms ** (1 / 3)))
    sites = np.stack(np.meshgrid(side, side, side, indexing="ij"), axis=-1).reshape(-1, 3)
    sites = sites[sites.sum(axis=1) % 2 == 0] * constant / 2
    order = np.argsort(np.linalg.norm(sites - rng.uniform(0, constant / 2, size=3), axis=1), kind="stable")[:n_atoms]
    positions = sites[order] @ strain + width * (1.0 if kind == "emt" else 0.4) * rng.normal(size=(n_atoms, 3))
    atoms = Atoms(numbers=numbers, positions=positions)
    atoms.calc = EMT() if kind == "emt" else LennardJones(rc=3.0, smooth=True)
    return Frame.from_ase(atoms)


def tetris() -> tuple[list[str], Array]:
    """The eight shapes of four unit cubes, `(8, 4, 3)`, each around its centre. The first two are mirror images of one another."""
    shapes = np.array(list(TETRIS.values()), dtype=np.float64)
    return list(TETRIS), shapes - shapes.mean(axis=1, keepdims=True)
