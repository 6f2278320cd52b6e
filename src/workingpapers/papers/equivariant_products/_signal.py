# mypy: allow-untyped-calls, no-warn-return-any
"""Products of signals: inputs with each degree once, taken for functions on the sphere, matrices or vector fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ._base import Block, EquivariantProduct, Normalization, Weights, blocks_of, coupling, irreps_of
from ._tables import Array

CACHE_FLOATS = 128_000  # numbers of a chunk that stay in a second-level cache


@dataclass(frozen=True)
class Slot:
    """One factor of a signal that has a weight of its own: which block it belongs to, its degree, and how it enters."""

    block: int
    degree: int
    tag: str = ""


def components(slots: list[Slot], blocks: list[Block]) -> tuple[Any, Any]:
    """For each component of all slots: the component of all blocks that it comes from, and its slot."""
    start = np.cumsum([0, *(2 * l + 1 for _, l, _ in blocks)])
    source = [start[s.block] + m for s in slots for m in range(2 * s.degree + 1)]
    return np.array(source, dtype=np.int64), np.repeat(np.arange(len(slots)), [2 * s.degree + 1 for s in slots])


def harmonic_rows(slots: list[Slot]) -> Array:
    """Place of each component among all harmonics, degree by degree."""
    return np.concatenate([np.arange(s.degree**2, (s.degree + 1) ** 2) for s in slots])


def parity_rule(blocks: list[Block], name: str, other: list[Block]) -> tuple[int, int]:
    """(sign, step) with parity = sign step^degree for every block: step -1 is the parity of functions on the sphere, 1 an even one."""
    fits = [s for s in (-1, 1) if len({p * s**l for _, l, p in blocks}) == 1]
    if not fits:
        raise ValueError(f"{name} = {irreps_of(blocks)} mixes parities that no one signal has: parity must be s(-1)^l for all degrees "
                         "(0e + 1o + 2e, or 0o + 1e + 2o), or the same for all; ProductLayer splits other irreps into such signals")
    shared = [s for s in fits if len({p * s**l for _, l, p in other}) == 1]
    step = (shared or fits)[0]
    return blocks[0][2] * step ** blocks[0][1], step


class SignalProduct(EquivariantProduct):
    """Base of products in which inputs are signals. Weights, where wanted, scale each slot of both inputs and of the output by channel."""

    def __init__(self, irreps_in1: Any, irreps_in2: Any, irreps_out: Any, weights: Weights, normalization: Normalization) -> None:
        super().__init__(irreps_in1, irreps_in2, weights, normalization)
        for name, blocks in (("irreps_in1", self.blocks1), ("irreps_in2", self.blocks2)):
            degrees = [l for _, l, _ in blocks]
            if len(set(degrees)) < len(degrees):
                raise ValueError(f"{name} = {irreps_of(blocks)} has a degree twice: a signal has each degree once. ProductLayer mixes "
                                 "irreps into signals first")
        sign1, step1 = parity_rule(self.blocks1, "irreps_in1", self.blocks2)
        sign2, step2 = parity_rule(self.blocks2, "irreps_in2", self.blocks1)
        if step1 != step2:
            raise ValueError(f"irreps_in1 = {self.irreps_in1} and irreps_in2 = {self.irreps_in2} follow different parity rules: the "
                             "product would have no parity. ProductLayer splits them into signals that fit")
        self.parity, self.step = sign1 * sign2, step1
        self.l1, self.l2 = max(l for _, l, _ in self.blocks1), max(l for _, l, _ in self.blocks2)
        self.wanted = None if irreps_out is None else blocks_of(irreps_out, "irreps_out")
        if self.wanted is not None and any(mul != self.channels for mul, _, _ in self.wanted):
            raise ValueError(f"irreps_out = {irreps_of(self.wanted)} must have {self.channels} channels in every irrep, as the inputs have")
        self.l3 = self.l1 + self.l2 if self.wanted is None else max(l for _, l, _ in self.wanted)

    def _natural(self, l: int) -> int:
        return self.parity * self.step**l

    def _settle(self, raw: Any, slots1: list[Slot], slots2: list[Slot], slots3: list[Slot], candidates: list[Block]) -> Array:
        """Decide which outputs there are and how they are scaled.

        Args:
            raw: the product of all slots in double precision.
            slots3: those of all candidates; of a candidate that no input reaches nothing is kept.
            candidates: outputs that may be.

        Returns:
            `(components of slots3, components of the output)`: what a slot's component adds to which output, scaled.
        """
        k = coupling(raw, [s.degree for s in slots1], [s.degree for s in slots2], [s.degree for s in slots3])
        reached = [i for i in range(len(candidates)) if any(k[:, :, c].any() for c, s in enumerate(slots3) if s.block == i)]
        blocks = [candidates[i] for i in reached]
        if self.wanted is not None:
            missing = [b for b in self.wanted if b not in blocks]
            if missing:
                raise ValueError(f"irreps_out asks for {irreps_of(missing)}, which this product cannot reach; it reaches "
                                 f"{irreps_of(blocks)}")
            if len(set(self.wanted)) < len(self.wanted):
                raise ValueError(f"irreps_out = {irreps_of(self.wanted)} names an irrep twice: a product of signals has each once")
            blocks = self.wanted
        place = {candidates.index(b): i for i, b in enumerate(blocks)}
        kept = [c for c, s in enumerate(slots3) if s.block in place]
        self.slots1, self.slots2 = slots1, slots2
        self.slots3 = [Slot(place[slots3[c].block], slots3[c].degree, slots3[c].tag) for c in kept]
        self.coupling = k[:, :, kept]
        scale = self._scales(blocks)
        start3 = np.cumsum([0, *(2 * s.degree + 1 for s in slots3)])
        rows = np.concatenate([np.arange(start3[c], start3[c + 1]) for c in kept])
        n1, n2, n3 = len(slots1), len(slots2), len(self.slots3)
        target, slot = components(self.slots3, blocks)
        self._finish(blocks, self.channels * (n1 + n2 + n3))
        if self.weights == "shared":  # a product of three normal numbers would be mostly small and now and then large
            self.weight = nn.Parameter(1 + 0.5 * torch.randn(self.weight_numel))
        width = sum(2 * l + 1 for _, l, _ in blocks)
        if self.weights == "none":
            out = np.zeros((start3[-1], width))
            out[rows, target] = (scale * self._fixed(self.slots3, 3))[slot]
            return out
        for name, slots, blocks_in in (("1", slots1, self.blocks1), ("2", slots2, self.blocks2)):
            source, which = components(slots, blocks_in)
            self._index(f"source{name}", source)
            self._index(f"slot{name}", which)
        self._index("target3", target)
        self._index("slot3", slot)
        out = np.zeros((start3[-1], len(rows)))
        out[rows, np.arange(len(rows))] = scale[slot]
        return out

    def _scales(self, blocks: list[Block]) -> Array:
        """One factor a slot of the output, by `normalization`; with it outputs of random inputs (and weights) have mean square 1."""
        if self.normalization == "integral":
            return np.ones(len(self.slots3))
        k_fixed = self.coupling * self._fixed(self.slots1, 1)[:, None, None] * self._fixed(self.slots2, 2)[:, None]
        k_fixed = k_fixed * self._fixed(self.slots3, 3)
        of_block = []
        for i, (_, l, _) in enumerate(blocks):
            total = np.zeros((len(self.blocks1), len(self.blocks2)))
            mine = [c for c, s in enumerate(self.slots3) if s.block == i]
            # One sum where slots of a block add up as they are, a sum of squares where random weights tell them apart.
            k = k_fixed[:, :, mine].sum(axis=2) if self.weights == "none" else (self.coupling[:, :, mine] ** 2).sum(axis=2)
            for a, s1 in enumerate(self.slots1):
                for b, s2 in enumerate(self.slots2):
                    total[s1.block, s2.block] += k[a, b]
            if self.weights == "none":
                total = total**2
            if self.normalization == "norm":
                total = total / np.outer([2 * l1 + 1 for _, l1, _ in self.blocks1], [2 * l2 + 1 for _, l2, _ in self.blocks2])
            mean_square = total.sum() / (1 if self.normalization == "norm" else 2 * l + 1)
            of_block.append(mean_square**-0.5 if mean_square > 1e-20 else 0.0)
        return np.array([of_block[s.block] for s in self.slots3])

    def _folded(self, table: Array, slots: list[Slot], blocks: list[Block], role: int) -> Array:
        """A table with a row a slot's component, as one with a row a block's component where there are no weights."""
        if self.weights != "none":
            return table
        out = np.zeros((sum(2 * l + 1 for _, l, _ in blocks), *table.shape[1:]))
        source, which = components(slots, blocks)
        np.add.at(out, source, table * self._fixed(slots, role)[which][:, None])
        return out

    def _fixed(self, slots: list[Slot], role: int) -> Array:
        """Factors of the slots of input 1, input 2 or the output (3) where there are no weights."""
        return np.ones(len(slots))

    def _core(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        if weight is None:
            return self._in_chunks(x, y)
        n1, n2, c = len(self.slots1), len(self.slots2), self.channels
        w1, w2, w3 = weight.split([c * n1, c * n2, weight.shape[-1] - c * (n1 + n2)], dim=-1)
        # index_select, whose derivative is several times faster than that of indexing.
        x = x if n1 == len(self.blocks1) else x.index_select(2, self.source1)
        y = y if n2 == len(self.blocks2) else y.index_select(2, self.source2)
        x = x * w1.unflatten(-1, (c, -1)).index_select(2, self.slot1)
        y = y * w2.unflatten(-1, (c, -1)).index_select(2, self.slot2)
        z = self._in_chunks(x, y) * w3.unflatten(-1, (c, -1)).index_select(2, self.slot3)
        if len(self.slots3) == len(self.blocks_out):
            return z
        return z.new_zeros(*z.shape[:2], sum(2 * l + 1 for _, l, _ in self.blocks_out)).index_add(2, self.target3, z)

    def _in_chunks(self, x: Tensor, y: Tensor) -> Tensor:
        """Without gradients nothing need be kept, and chunks of rows stay in the cache."""
        size = max(1, CACHE_FLOATS // (self._floats() * self.channels))
        needs_gradient = torch.is_grad_enabled() and (x.requires_grad or y.requires_grad)
        if torch.compiler.is_compiling() or needs_gradient or x.device.type != "cpu" or len(x) <= 2 * size:
            return self._multiply(x, y)
        return torch.cat([self._multiply(a, b) for a, b in zip(x.split(size), y.split(size))])

    def _floats(self) -> int:
        """Numbers that a row needs on its way, for each channel."""
        raise NotImplementedError  # abstract

    def _multiply(self, x: Tensor, y: Tensor) -> Tensor:
        """The product of signals, `(rows, channels, d)`; dimensions of 1 broadcast."""
        raise NotImplementedError  # abstract
