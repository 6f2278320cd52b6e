"""Workload points of the claims: image sets split into training and test records, and circuits of a given shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix

from workingpapers.claims import Workload, untested
from workingpapers.workloads import images
from workingpapers.workloads.archives import Unavailable

from ._circuit import Circuit, Maker, from_tree
from ._structure import chow_liu_tree, mutual_information, preorder
from ._vtree import Vtree

Array = npt.NDArray[Any]

SOURCES: dict[str, tuple[Any, int]] = {
    "digits": (images.digits, 17), "mnist": (images.mnist, 256), "fashion-mnist": (images.fashion_mnist, 256),
}  # fmt: skip


@dataclass(frozen=True)
class Split:
    """Records (N, H, W) to learn from and, none of them among those, to compress."""

    train: npt.NDArray[np.uint8]
    test: npt.NDArray[np.uint8]
    n_categories: int


@dataclass(frozen=True)
class ImageSet(Workload):
    """`train` images to learn from and `test` to compress, drawn anew for each seed; test images from the official test split.

    Args:
        data: `digits`, `mnist` or `fashion-mnist`.
        n_latents, epochs, full_epochs, batch_size: of the model. neural_epochs: of the variational autoencoder.
    """

    data: str
    train: int
    test: int
    n_latents: int = 16
    epochs: int = 6
    full_epochs: int = 2
    batch_size: int = 512
    neural_epochs: int = 20

    @property
    def label(self) -> str:
        return f"{self.data}: {self.train:,} to learn, {self.test:,} to compress"

    def prepare(self, progress: Any) -> None:
        try:
            SOURCES[self.data][0]().prepare(progress)
        except Unavailable as error:
            untested(str(error))

    def load(self, rng: np.random.Generator) -> Split:
        source, k = SOURCES[self.data]
        train, test = source().load().split(rng, self.train, self.test)
        known = {image.tobytes() for image in train.images}
        is_new = np.array([image.tobytes() not in known for image in test.images])
        return Split(train.images, test.images[is_new], k)

    def data_hash(self) -> str:
        return str(SOURCES[self.data][0]().sha256)


@dataclass(frozen=True)
class Shape(Workload):
    """A circuit with random tables over `pixels` variables of 4 values.

    Args:
        kind: `balanced` or `chain` vtrees; `pixel tree`, a hidden tree on a maximum spanning tree of neighbouring pixels, rooted at its
            centre; `mnist tree`, the Chow-Liu tree of 4,000 MNIST images (784 pixels).
        states: units at a node; an element for each pair of them.
    """

    kind: str
    pixels: int
    states: int = 4

    @property
    def label(self) -> str:
        return f"{self.kind}, {self.pixels:,} pixels"

    def prepare(self, progress: Any) -> None:
        if self.kind == "mnist tree":
            ImageSet("mnist", 1, 1).prepare(progress)

    def load(self, rng: np.random.Generator) -> Circuit:
        d, m, k = self.pixels, self.states, 4
        if self.kind == "balanced":
            return _tied(Vtree.balanced(d), m, k, rng)
        if self.kind == "chain":
            return _tied(Vtree.chain(d), m, k, rng)
        parents = _mnist_tree(rng) if self.kind == "mnist tree" else pixel_tree(round(d**0.5), rng)
        edge = rng.dirichlet(np.ones(m), size=(d, m))
        leaf = rng.dirichlet(np.ones(k), size=(d, m)).transpose(0, 2, 1).reshape(d * k, m)
        return from_tree(parents, preorder(parents), np.full(d, k), edge, leaf)

    def data_hash(self) -> str:
        return str(SOURCES["mnist"][0]().sha256) if self.kind == "mnist tree" else ""


def pixel_tree(side: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Parents of a maximum spanning tree of the grid of side x side pixels with random weights, rooted at its centre."""
    ids = np.arange(side * side).reshape(side, side)
    a = np.concatenate([ids[:, :-1].ravel(), ids[:-1].ravel()])
    b = np.concatenate([ids[:, 1:].ravel(), ids[1:].ravel()])
    weight = 0.5 + rng.random(len(a))
    grid = coo_matrix((np.tile(weight, 2), (np.concatenate([a, b]), np.concatenate([b, a]))), shape=(side * side, side * side))
    return chow_liu_tree(grid.toarray())


def _mnist_tree(rng: np.random.Generator) -> npt.NDArray[np.int64]:
    found = images.mnist().load()
    chosen = found.images[rng.choice(found.train or len(found), 4_000, replace=False)].reshape(4_000, -1)
    return chow_liu_tree(mutual_information(chosen, np.full(784, 256), 4))


def _tied(vtree: Vtree, m: int, k: int, rng: np.random.Generator) -> Circuit:
    """m units a node; unit i multiplies the i-th unit on the left with a mixture of those on the right, so that |p| grows as D m^2."""
    make = Maker(vtree, np.full(vtree.n_variables, k))
    states = np.arange(m)
    for n, v in enumerate(vtree.variable):
        if v >= 0:
            make.leaf(rng.dirichlet(np.ones(k), size=m))
        else:
            make.inner(n, np.repeat(states[:, None], m, axis=1), np.tile(states, (m, 1)), rng.dirichlet(np.ones(m), size=m))
    return make.done(rng.dirichlet(np.ones(m)))
