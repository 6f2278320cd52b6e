"""Powers on the grid against products in a row, values at points, rotations and random draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.conftest import require

require("e3nn")

from workingpapers.papers.equivariant_products import GauntPower, GauntTP  # noqa: E402
from workingpapers.papers.equivariant_products._tables import harmonics, random_rotation, rotations  # noqa: E402
from workingpapers.papers.equivariant_products.mini_mace import ManyBody, natural  # noqa: E402
from workingpapers.papers.equivariant_products.rating import representation  # noqa: E402

F64 = torch.float64


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


@pytest.mark.parametrize(("l_max", "correlation", "channels"), [(1, 3, 2), (2, 3, 3), (1, 5, 1), (3, 2, 1), (2, 4, 1)])
def test_powers_are_products_in_a_row_with_all_degrees_kept(l_max, correlation, channels):
    x = randn(4, channels * (l_max + 1) ** 2)
    found = GauntPower(natural(l_max, channels), correlation, normalization="integral").double()(x)
    expected = x
    torch.testing.assert_close(found[0], x, atol=1e-12, rtol=1e-12)
    for k in range(2, correlation + 1):
        product = GauntTP(natural((k - 1) * l_max, channels), natural(l_max, channels), normalization="integral").double()
        expected = product(expected, x)
        torch.testing.assert_close(found[k - 1], expected, atol=1e-11, rtol=1e-11)


def test_powers_are_those_of_values_at_points():
    x, xyz = randn(3, 9), np.random.default_rng(1).normal(size=(30, 3))
    values = x @ torch.tensor(harmonics(2, xyz)).T
    for k, z in enumerate(GauntPower(natural(2, 1), 4, normalization="integral").double()(x), 1):
        torch.testing.assert_close(z @ torch.tensor(harmonics(2 * k, xyz)).T, values**k, atol=1e-10, rtol=1e-10)


def test_fewer_degrees_are_the_first_of_all():
    """Cut at l_out on a smaller grid; a product cut after each factor would differ."""
    x = randn(5, 18)
    for cut, whole in zip(GauntPower(natural(2, 2), 3, l_out=2).double()(x), GauntPower(natural(2, 2), 3).double()(x)):
        torch.testing.assert_close(cut, whole[:, : cut.shape[1]], atol=1e-12, rtol=1e-12)
    pair = GauntTP(natural(2, 2), natural(2, 2), natural(2, 2), normalization="integral").double()
    whole = GauntPower(natural(2, 2), 3, l_out=2, normalization="integral").double()(x)[2]
    assert float((pair(pair(x, x), x) - whole).abs().max()) > 1e-2


@pytest.mark.parametrize("irreps", [natural(2, 2), "2x0o + 2x1e + 2x2o", "1x1o + 1x3o", "2x0e + 2x1e", "3x0o + 3x1o"])
def test_powers_turn_and_mirror_with_the_function(irreps):
    power, rng = GauntPower(irreps, 3).double(), np.random.default_rng(0)
    x = randn(4, power.dim_in)
    for inversion in (False, True):
        blocks = rotations(9, random_rotation(rng))
        turned = power(x @ representation(power.irreps_in, blocks, inversion).T)
        for a, b, out in zip(turned, power(x), power.irreps_out):
            torch.testing.assert_close(a, b @ representation(out, blocks, inversion).T, atol=1e-11, rtol=1e-10)


def test_first_and_second_derivatives():
    power = GauntPower(natural(1, 2), 3, l_out=1).double()
    x = randn(3, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: tuple(power(t)), x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda t: tuple(power(t)), x, fast_mode=True)


def test_component_normalization_gives_variance_one():
    x = randn(40_000, 9)
    for k, z in enumerate(GauntPower(natural(2, 1), 4, l_out=4).double()(x), 1):
        for l in range(min(4, 2 * k) + 1):
            assert float(z[:, l * l : (l + 1) ** 2].square().mean()) == pytest.approx(1, rel=0.15), (k, l)


def test_large_batches_in_chunks_and_odd_shapes():
    power = GauntPower(natural(2, 4), 3, l_out=2)
    x = torch.randn(5000, 36)
    for a, b in zip(power(x), power(x.clone().requires_grad_())):
        torch.testing.assert_close(a, b.detach(), atol=1e-4, rtol=1e-4)
    assert [z.shape for z in power(x.view(50, 100, 36))] == [(50, 100, 36)] * 3
    assert [z.shape for z in power(x[:0])] == [(0, 36)] * 3


def test_many_body_terms_on_the_grid_are_sums_of_powers():
    torch.manual_seed(0)
    body = ManyBody(2, 3, 3, "gaunt_grid", on_grid=True).double()
    a = randn(6, 27)
    powers = GauntPower(natural(2, 3), 3, l_out=2).double()(body.mix[0](a))
    expected = body.out[0](a) + body.out[1](powers[1]) + body.out[2](powers[2])
    torch.testing.assert_close(body(a), expected)
    assert float((body(a) - body.out[0](a)).detach().abs().max()) > 0.1


@pytest.mark.parametrize(("call", "message"), [
    (lambda: GauntPower("2x0e + 3x1o", 2), "unequal channels"), (lambda: GauntPower("1x1o + 1x1o", 2), "degree twice"),
    (lambda: GauntPower("1x0e + 1x1o + 1x2o", 2), "mixes parities"), (lambda: GauntPower("1x0e", 0), "correlation is 0"),
    (lambda: GauntPower("1x0e", 9), "from 1 to 8"), (lambda: GauntPower("1x1o", 2, l_out=3), "from 0 to 2"),
    (lambda: GauntPower("1x1o", 2)(torch.zeros(2, 4)), "x has last dimension 4"),
    (lambda: GauntPower("1x1o", 2).double()(torch.zeros(2, 3)), r"call .double\(\)"),
])  # fmt: skip
def test_errors_name_the_argument_and_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()
