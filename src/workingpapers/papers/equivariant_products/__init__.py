"""Equivariant tensor products side by side (Xie et al. 2025): what each can express, and what it costs.

For people who build networks on atoms, molecules or point clouds and choose how features are multiplied. All products are torch modules
over e3nn's `Irreps`, in its layout:

    >>> import torch
    >>> from workingpapers.papers.equivariant_products import ClebschGordanTP, GauntTP
    >>> irreps = "8x0e + 8x1o + 8x2e"
    >>> cheap, whole = GauntTP(irreps, irreps), ClebschGordanTP(irreps, irreps)
    >>> x, y = torch.randn(100, 72), torch.randn(100, 72)
    >>> cheap(x, y).shape, whole(x, y).shape
    (torch.Size([100, 200]), torch.Size([100, 648]))
    >>> cheap.expressivity(channels=1), whole.expressivity()          # free parameters with one copy of the inputs
    (9, 19)

**In place of e3nn's layer.** `ProductLayer` takes the irreps of `e3nn.o3.FullyConnectedTensorProduct` and any of the products:

    >>> from workingpapers.papers.equivariant_products import ProductLayer
    >>> layer = ProductLayer("16x0e + 8x1o", "1x0e + 1x1o + 1x2e", "16x0e + 8x1o", product="gaunt_grid")
    >>> layer(torch.randn(5, 40), torch.randn(5, 9)).shape
    torch.Size([5, 40])

With `product="cgtp"` it is e3nn's own function, faster, and takes a trained e3nn layer's weights: `FullyConnectedTP`.

**A potential**, trained on frames with energies and forces and used through ASE:

    >>> from workingpapers.papers.equivariant_products import MiniMACE, MiniMACECalculator, fit
    >>> from workingpapers.workloads.atoms import generate
    >>> frames = generate("stillinger_weber", 4, 8, rng=0)              # or read_frames("mine.extxyz")
    >>> model = MiniMACE([14], r_max=4.0, l_max=2, channels=4, product="gaunt_grid")
    >>> history = fit(model, frames, steps=2, batch_size=2)             # some hundred steps in earnest
    >>> atoms = frames[0].to_ase()
    >>> atoms.calc = MiniMACECalculator(model)
    >>> atoms.get_forces().shape
    (8, 3)

What is where:

- `ClebschGordanTP`, `GauntTP`, `MatrixTP`, `VectorSignalTP`, `MixedTP`: the products. The sparse classical one is compiled for CPU, and
  far faster there than e3nn's up to degree 4 or so: measure before you give paths away.
- `FullyConnectedTP`: e3nn's whole layer with e3nn's weights, contracted in the order that is predicted to be cheapest.
- `ProductLayer`, `IrrepsLinear`, `make_product`, `PRODUCTS`: layers, and products by name.
- `GauntPower`: many-body powers, f, f^2, f^3, ... on one grid, no intermediate degree lost.
- `expressivity`, `interactability`, `odd_share`, `equivariance_error`: what a product can do, measured.
- `bench`, `recommend`: how long products take here, beside what they express; the fastest that expresses enough.
- `MiniMACE`, `fit`, `MiniMACECalculator`: an interatomic potential with any of the products inside, for ASE.
- `ShapeNet`: a classifier of point clouds, to see who can tell mirror images apart.
- `workingpapers.workloads.atoms`: frames of atoms with energies and forces, made or read from any file that ASE reads.

Needs the extra `geometry`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workingpapers.papers.equivariant_products.clebsch_gordan import ClebschGordanTP
    from workingpapers.papers.equivariant_products.fully_connected import FullyConnectedTP
    from workingpapers.papers.equivariant_products.gaunt import GauntTP
    from workingpapers.papers.equivariant_products.layers import PRODUCTS, IrrepsLinear, ProductLayer, make_product
    from workingpapers.papers.equivariant_products.matrix import MatrixTP
    from workingpapers.papers.equivariant_products.mini_mace import MiniMACE
    from workingpapers.papers.equivariant_products.mixed import MixedTP
    from workingpapers.papers.equivariant_products.powers import GauntPower
    from workingpapers.papers.equivariant_products.rating import equivariance_error, expressivity, interactability, odd_share
    from workingpapers.papers.equivariant_products.shapes import ShapeNet
    from workingpapers.papers.equivariant_products.timing import bench, recommend
    from workingpapers.papers.equivariant_products.training import MiniMACECalculator, fit
    from workingpapers.papers.equivariant_products.vector import VectorSignalTP

_HOME = {
    "ClebschGordanTP": "clebsch_gordan",
    "FullyConnectedTP": "fully_connected",
    "GauntPower": "powers",
    "GauntTP": "gaunt",
    "IrrepsLinear": "layers",
    "MatrixTP": "matrix",
    "MiniMACE": "mini_mace",
    "MiniMACECalculator": "training",
    "MixedTP": "mixed",
    "PRODUCTS": "layers",
    "ProductLayer": "layers",
    "ShapeNet": "shapes",
    "VectorSignalTP": "vector",
    "bench": "timing",
    "equivariance_error": "rating",
    "expressivity": "rating",
    "fit": "training",
    "interactability": "rating",
    "make_product": "layers",
    "odd_share": "rating",
    "recommend": "timing",
}

__all__ = [
    "PRODUCTS",
    "ClebschGordanTP",
    "FullyConnectedTP",
    "GauntPower",
    "GauntTP",
    "IrrepsLinear",
    "MatrixTP",
    "MiniMACE",
    "MiniMACECalculator",
    "MixedTP",
    "ProductLayer",
    "ShapeNet",
    "VectorSignalTP",
    "bench",
    "equivariance_error",
    "expressivity",
    "fit",
    "interactability",
    "make_product",
    "odd_share",
    "recommend",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
