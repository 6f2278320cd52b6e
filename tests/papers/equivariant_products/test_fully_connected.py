"""Whole layers against e3nn's, by every way of contracting, and ways against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.conftest import require

require("e3nn")

from e3nn import o3  # noqa: E402

from workingpapers.papers.equivariant_products import (  # noqa: E402
    FullyConnectedTP,
    ProductLayer,
    equivariance_error,
    expressivity,
    fully_connected,
    interactability,
    odd_share,
)
from workingpapers.papers.equivariant_products.fully_connected import ROUTES  # noqa: E402

F64 = torch.float64
IRREPS = [
    ("4x0e + 4x1o + 4x2e", "1x0e + 1x1o + 1x2e", "4x0e + 4x1o + 4x2e"),
    ("3x0e + 2x1o + 2x1e + 1x0o", "2x1o + 3x0e + 1x2o", "2x0e + 3x1o + 1x1e + 2x2o + 1x0o"),
    ("1x1o + 1x0e", "5x1o + 2x0e", "3x1e + 2x0e + 4x1o"),  # the second input has more channels
    ("2x0e + 3x0e + 2x1o", "1x0e + 1x0e + 1x1o", "2x1o + 1x0e + 3x1o"),  # irreps that come twice
]


def pair(irreps: tuple[str, str, str], rows: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(rows, o3.Irreps(i).dim, generator=generator, dtype=F64) for i in irreps[:2])
    return x, y


@pytest.mark.parametrize("normalization", ["component", "norm"])
@pytest.mark.parametrize("irreps", IRREPS)
def test_is_e3nns_layer_with_e3nns_weights(irreps, normalization):
    theirs = o3.FullyConnectedTensorProduct(*irreps, irrep_normalization=normalization).double()
    ours = FullyConnectedTP(*irreps, normalization=normalization).double()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    x, y = pair(irreps)
    torch.testing.assert_close(ours(x, y), theirs(x, y), atol=1e-6, rtol=1e-6)  # e3nn's coefficients are singles


@pytest.mark.parametrize("irreps", IRREPS)
def test_every_route_gives_the_same_and_turns_with_its_inputs(irreps, monkeypatch):
    x, y = pair(irreps)
    first = FullyConnectedTP(*irreps).double()
    plans = [lambda paths, r=r: [r] * len(paths) for r in ROUTES] + [lambda paths: [ROUTES[k % 4] for k in range(len(paths))]]
    for plan in plans:
        monkeypatch.setattr(fully_connected, "plan", plan)
        layer = FullyConnectedTP(*irreps).double()
        layer.load_state_dict(first.state_dict())
        torch.testing.assert_close(layer(x, y), first(x, y), atol=1e-12, rtol=1e-12)
        assert equivariance_error(layer, n=2) < 1e-12
        inputs = (x.requires_grad_(), y.requires_grad_())
        assert torch.autograd.gradcheck(layer, inputs, fast_mode=True)
        assert torch.autograd.gradgradcheck(layer, inputs, fast_mode=True)


def test_the_plan_is_the_cheapest_of_single_kinds_at_least():
    for irreps in (*IRREPS, ("64x0e + 64x1o + 64x2e + 64x3o", "1x0e + 1x1o + 1x2e + 1x3o", "64x0e + 64x1o + 64x2e + 64x3o")):
        layer = FullyConnectedTP(*irreps)
        assert all(layer.predicted_cost() <= fully_connected._predicted(layer.paths, [r] * len(layer.paths)) for r in ROUTES)


def test_rated_like_the_products():
    layer = FullyConnectedTP("2x0e + 2x1o", "2x0e + 2x1o", "1x0e + 1x1o + 1x1e + 1x2e", weights="external").double()
    assert expressivity(layer) == 6
    assert odd_share(layer) == 1
    assert equivariance_error(layer, n=2) < 1e-12


def test_derivatives_by_weights_given_from_outside():
    layer = FullyConnectedTP("2x0e + 2x1o", "1x0e + 1x1o", "2x0e + 1x1o", weights="external").double()
    w = torch.randn(layer.weight_numel, dtype=F64, requires_grad=True)
    x, y = pair(("2x0e + 2x1o", "1x0e + 1x1o", ""), 3)
    assert not list(layer.parameters())
    assert torch.autograd.gradgradcheck(layer, (x.requires_grad_(), y.requires_grad_(), w), fast_mode=True)


def test_leading_shapes_broadcast_and_no_rows_are_no_rows():
    layer = FullyConnectedTP(*IRREPS[0])
    x, y = torch.randn(3, 1, 36), torch.randn(1, 4, 9)
    torch.testing.assert_close(layer(x, y)[2, 1], layer(x[2, 0], y[0, 1]), atol=1e-5, rtol=1e-4)
    assert layer(x[:0], y).shape == (0, 4, 36)


def test_paths_may_be_left_out():
    everything = FullyConnectedTP("2x0e + 2x1o", "1x0e + 1x1o", "2x0e + 2x1o")
    some = FullyConnectedTP("2x0e + 2x1o", "1x0e + 1x1o", "2x0e + 2x1o", paths=[(0, 0, 0), (1, 0, 1)])
    assert (expressivity(everything), expressivity(some)) == (4, 2)
    assert {tuple(t) for t in np.argwhere(interactability(some)).tolist()} == {(0, 0, 0), (1, 0, 1)}
    y = torch.randn(3, 4)
    y[:, 0] = 0
    assert float(some(torch.randn(3, 8), y).detach().abs().max()) == 0  # only the scalar of y goes in


# ---------------------------------------------------------------- product layers, path by path


@pytest.mark.parametrize("irreps", [IRREPS[0], ("3x0e + 3x1o + 2x1e + 2x0o + 1x1o", "1x0e + 1x1o + 1x1e", "4x0e + 3x1o + 2x1o")])
@pytest.mark.parametrize("product", ["gaunt_grid", "gaunt_fourier", "matrix", "vector", "vector_dot"])
def test_layers_by_either_way_are_the_same(product, irreps):
    x, y = pair(irreps)
    layers = [ProductLayer(*irreps, product=product, way=way).double() for way in ("product", "paths", "auto")]
    for other in layers[1:]:
        other.load_state_dict(layers[0].state_dict())
        torch.testing.assert_close(other(x, y), layers[0](x, y), atol=1e-11, rtol=1e-11)
    gradients = [torch.autograd.grad(layer(x, y).square().sum(), list(layer.parameters()), materialize_grads=True)
                 for layer in layers[:2]]
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-9, rtol=1e-9)
    assert equivariance_error(layers[1], n=2) < 1e-12


def test_auto_goes_by_the_number_of_rows():
    """Multiplying out weights costs the same for one row as for many; with many channels in both inputs it never pays."""
    few = ProductLayer("16x0e + 16x1o + 16x2e", "1x0e + 1x1o + 1x2e", "16x0e + 16x1o + 16x2e")
    assert few._pays(torch.zeros(10_000, 144), torch.zeros(10_000, 9))
    assert not few._pays(torch.zeros(1, 144), torch.zeros(1, 9))
    many = ProductLayer("16x0e + 16x1o + 16x2e", "16x0e + 16x1o + 16x2e", "16x0e + 16x1o + 16x2e")
    assert not many._pays(torch.zeros(10_000, 144), torch.zeros(10_000, 144))


def test_classical_layer_takes_e3nns_weights():
    theirs, ours = o3.FullyConnectedTensorProduct(*IRREPS[0]), ProductLayer(*IRREPS[0], product="cgtp")
    assert ours.paths is not None
    ours.paths.load_state_dict(theirs.state_dict(), strict=False)
    x, y = (t.float() for t in pair(IRREPS[0]))
    torch.testing.assert_close(ours(x, y), theirs(x, y), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_compiles_whole():
    layer = FullyConnectedTP(*IRREPS[0])
    x, y = (t.float() for t in pair(IRREPS[0]))
    torch.testing.assert_close(torch.compile(layer, backend="aot_eager", fullgraph=True)(x, y), layer(x, y))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: FullyConnectedTP("2x1o", "1x1o", "2x3o"), "no path reaches"),
    (lambda: FullyConnectedTP("2x1o", "1x1o", "2x0e", paths=[(0, 0, 1)]), r"paths has \(0, 0, 1\)"),
    (lambda: FullyConnectedTP("2x1o", "", "2x0e"), "irreps_in2 is empty"),
    (lambda: FullyConnectedTP("2x1o", "1x1o", "2x0e")(torch.zeros(2, 5), torch.zeros(2, 3)), "x has last dimension 5"),
    (lambda: FullyConnectedTP("2x1o", "1x1o", "2x0e").double()(torch.zeros(2, 6), torch.zeros(2, 3)), r"call .double\(\)"),
    (lambda: FullyConnectedTP("1x1o", "1x1o", "1x0e", weights="external")(torch.zeros(2, 3), torch.zeros(2, 3)), "weight is missing"),
    (lambda: FullyConnectedTP("1x1o", "1x1o", "1x0e")(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(1)), "weight is of shape"),
    (lambda: ProductLayer("2x0e + 2x1o", "1x0e + 1x1o", "2x0e + 2x1e", product="mixed", way="paths"), "does not go with mixed"),
])  # fmt: skip
def test_errors_name_the_argument_and_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()
