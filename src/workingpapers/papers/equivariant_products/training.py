# mypy: allow-untyped-calls, no-warn-return-any
"""Training of a MiniMACE on frames with energies and forces, and its use as a calculator of ASE."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from torch import Tensor

from workingpapers.workloads.atoms import Frame

from .mini_mace import MiniMACE, edges_of

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Batch:
    """Frames as one set of atoms: arguments of `MiniMACE.forward`, and what it should say."""

    arguments: tuple[Tensor, ...]
    energy: Tensor
    forces: Tensor
    counts: Tensor

    @classmethod
    def of(cls, frames: Sequence[Frame], r_max: float, dtype: torch.dtype = torch.float32) -> Batch:
        """Join frames; all periodic or none."""
        if len({f.cell is None for f in frames}) > 1:
            raise ValueError("frames: periodic and free ones cannot be joined in one batch")
        first = np.cumsum([0, *(len(f.positions) for f in frames)])
        found = [edges_of(f.positions, r_max, f.cell) for f in frames]
        positions = torch.tensor(np.concatenate([f.positions for f in frames]), dtype=dtype)
        numbers = torch.tensor(np.concatenate([f.numbers for f in frames]))
        graph = torch.repeat_interleave(torch.arange(len(frames)), torch.tensor([len(f.positions) for f in frames]))
        edges = torch.cat([e + int(a) for (e, _), a in zip(found, first)], dim=1)
        cells = [f.cell for f in frames if f.cell is not None]
        cell = torch.tensor(np.stack(cells), dtype=dtype) if cells else None
        shifts = torch.cat([s for _, s in found]) if cells else None
        return cls((positions, numbers, edges, cell, shifts, graph), torch.tensor([f.energy for f in frames], dtype=dtype),  # type: ignore[arg-type]
                   torch.tensor(np.concatenate([f.forces for f in frames]), dtype=dtype), torch.bincount(graph).to(dtype))


@dataclass
class History:
    """What a training saw.

    Attributes:
        losses: one a step.
        seconds: since the start, one a step, evaluations left out.
        force_rmse: (step, error on the validation frames).
        steps_to_target: the first step at which the target was reached, None when it was not.
    """

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    force_rmse: list[tuple[int, float]] = field(default_factory=list)
    steps_to_target: int | None = None


def settle(model: MiniMACE, frames: Sequence[Frame]) -> None:
    """Set what is known before training: energies of lone atoms by least squares, the scale of forces, the number of neighbours."""
    known = model.config["species"]
    counts = np.array([[int((f.numbers == z).sum()) for z in known] for f in frames], dtype=np.float64)
    shift = np.linalg.lstsq(counts, np.array([f.energy for f in frames]), rcond=None)[0]
    edges = sum(edges_of(f.positions, model.r_max, f.cell)[0].shape[1] for f in frames[:20])
    atoms = sum(len(f.positions) for f in frames[:20])
    with torch.no_grad():
        model.shift.copy_(torch.tensor(shift))
        model.scale.fill_(max(1e-3, float(np.sqrt(np.mean(np.concatenate([f.forces for f in frames]) ** 2)))))
        model.neighbours.fill_(max(1.0, edges / atoms))


def loss_of(model: MiniMACE, batch: Batch, energy_weight: float = 1.0) -> Tensor:
    """Mean square of forces, plus that of energies an atom, in units of the model's scale."""
    found = model(*batch.arguments)
    scale = model.scale
    forces = ((found.forces - batch.forces) / scale).square().mean()
    return forces + energy_weight * ((found.energy - batch.energy) / batch.counts / scale).square().mean()


def step(model: MiniMACE, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
    """One step of training; returns the loss before it."""
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimizer.step()
    return float(loss.detach())


def force_rmse(model: MiniMACE, batches: Sequence[Batch]) -> float:
    """Root mean square error of force components, eV / Angstrom."""
    was_training = model.training
    model.eval()
    square = [(model(*b.arguments).forces - b.forces).square() for b in batches]
    model.train(was_training)
    return float(torch.cat([s.flatten() for s in square]).mean().sqrt())


def fit(model: MiniMACE, frames: Sequence[Frame], *, steps: int = 500, batch_size: int = 8, lr: float = 1e-2, seed: int = 0,
        validation: Sequence[Frame] = (), every: int = 50, target: float | None = None, progress: Progress | None = None) -> History:
    """Train with Adam, the rate falling to nothing along a cosine; the model is left in evaluation mode.

    Args:
        frames, validation: to learn from, and to look at every `every` steps and at the end.
        steps, batch_size, lr: of Adam.
        seed: of the order of frames.
        target: stop once the force error on the validation frames is at most this, eV / Angstrom.
        progress: told (steps done, steps).

    >>> from workingpapers.papers.equivariant_products import MiniMACE, fit
    >>> from workingpapers.workloads.atoms import generate
    >>> frames = generate("stillinger_weber", 4, 8, rng=0)
    >>> history = fit(MiniMACE([14], l_max=1, channels=4), frames, steps=3, batch_size=2)
    >>> len(history.losses)
    3
    """
    if not frames or steps < 1 or batch_size < 1:
        raise ValueError("frames, steps and batch_size: at least one of each is needed")
    if target is not None and not validation:
        raise ValueError("target needs validation frames to be measured on")
    dtype = next(model.parameters()).dtype
    settle(model, frames)
    rng, history = np.random.default_rng(seed), History()
    singles = [Batch.of([f], model.r_max, dtype) for f in frames]
    checks = [Batch.of(validation[i : i + batch_size], model.r_max, dtype) for i in range(0, len(validation), batch_size)]
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    spent, order = 0.0, rng.permutation(len(frames))
    for k in range(steps):
        start, at = time.perf_counter(), (k * batch_size) % len(frames)
        if at < batch_size:
            order = rng.permutation(len(frames))
        chosen = np.take(order, range(at, at + min(batch_size, len(frames))), mode="wrap")
        history.losses.append(step(model, _joined([singles[i] for i in chosen]), optimizer))
        schedule.step()
        spent += time.perf_counter() - start
        history.seconds.append(spent)
        if checks and ((k + 1) % every == 0 or k + 1 == steps):
            history.force_rmse.append((k + 1, force_rmse(model, checks)))
            if target is not None and history.force_rmse[-1][1] <= target:
                history.steps_to_target = k + 1
                break
        if progress is not None:
            progress(k + 1, steps)
    model.eval()
    return history


def _joined(batches: Sequence[Batch]) -> Batch:
    """Several batches as one, without looking for neighbours again."""
    if len(batches) == 1:
        return batches[0]
    atoms = np.cumsum([0, *(len(b.forces) for b in batches)])
    graphs = np.cumsum([0, *(len(b.energy) for b in batches)])
    parts = list(zip(*(b.arguments for b in batches)))
    edges = torch.cat([e + int(a) for e, a in zip(parts[2], atoms)], dim=1)
    graph = torch.cat([g + int(a) for g, a in zip(parts[5], graphs)])
    rest = [torch.cat(parts[i]) if parts[i][0] is not None else None for i in (3, 4)]
    return Batch((torch.cat(parts[0]), torch.cat(parts[1]), edges, *rest, graph), torch.cat([b.energy for b in batches]),  # type: ignore[arg-type]
                 torch.cat([b.forces for b in batches]), torch.cat([b.counts for b in batches]))


class MiniMACECalculator(Calculator):
    """A trained model as a calculator of ASE: energy, forces, and stress of periodic cells.

    >>> from ase.build import bulk
    >>> from workingpapers.papers.equivariant_products import MiniMACE, MiniMACECalculator
    >>> atoms = bulk("Si", cubic=True)
    >>> atoms.calc = MiniMACECalculator(MiniMACE([14], l_max=1, channels=4))
    >>> atoms.get_forces().shape, atoms.get_stress().shape
    ((8, 3), (6,))
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]  # type: ignore[misc]

    def __init__(self, model: MiniMACE, **options: Any) -> None:
        super().__init__(**options)
        self.model = model.eval()

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        """Called by ASE."""
        super().calculate(atoms, properties, system_changes)
        here: Any = self.atoms
        periodic = bool(here.pbc.any())
        if periodic and not here.pbc.all():
            raise ValueError(f"atoms.pbc is {list(here.pbc)}: all three directions periodic, or none")
        dtype = next(self.model.parameters()).dtype
        cell = np.array(here.cell.array) if periodic else None
        edges, shifts = edges_of(here.positions, self.model.r_max, cell)
        found = self.model(torch.tensor(here.positions, dtype=dtype), torch.tensor(here.numbers), edges,
                           None if cell is None else torch.tensor(cell, dtype=dtype), shifts if periodic else None, stress=periodic)
        self.results = {"energy": float(found.energy), "forces": found.forces.double().numpy()}
        if found.stress is not None:
            s = found.stress[0].double().numpy()
            self.results["stress"] = s[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
