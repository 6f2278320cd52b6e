"""The products against each other, against e3nn, against integrals and rotations that share nothing with their tables."""

from __future__ import annotations

import itertools
from copy import deepcopy

import numpy as np
import pytest
import torch
from tests.conftest import require

require("e3nn")

from e3nn import o3  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from workingpapers.papers.equivariant_products import (  # noqa: E402
    PRODUCTS,
    ClebschGordanTP,
    GauntTP,
    MatrixTP,
    MixedTP,
    VectorSignalTP,
    equivariance_error,
    expressivity,
    interactability,
    make_product,
    odd_share,
)
from workingpapers.papers.equivariant_products._tables import (  # noqa: E402
    cg,
    harmonics,
    needed_grid,
    random_rotation,
    rotations,
    sphere_grid,
)

F64 = torch.float64
GAUNT = [name for name in PRODUCTS if name.startswith("gaunt")]


def signal(l_max: int, channels: int = 1) -> str:
    return " + ".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(l_max + 1))


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


# ---------------------------------------------------------------- tables


def test_clebsch_gordan_blocks_are_e3nns():
    for l1, l2 in itertools.product(range(4), range(4)):
        for l3 in range(abs(l1 - l2), l1 + l2 + 1):
            np.testing.assert_allclose(cg(l1, l2, l3), o3.wigner_3j(l1, l2, l3, dtype=F64).numpy(), atol=1e-13)


def test_harmonics_are_e3nns():
    xyz = np.random.default_rng(0).normal(size=(20, 3))
    theirs = o3.spherical_harmonics(list(range(6)), torch.tensor(xyz), normalize=True, normalization="integral").numpy()
    np.testing.assert_allclose(harmonics(5, xyz), theirs, atol=1e-13)


@pytest.mark.parametrize("l", [1, 4, 10])
def test_blocks_turn_with_rotations_solved_from_harmonics(l):
    d = rotations(2 * l, random_rotation(np.random.default_rng(l)))
    for l3 in (0, l, 2 * l):
        block = cg(l, l, l3)
        turned = np.einsum("abc,ai,bj->ijc", block, d[l], d[l], optimize=True)
        np.testing.assert_allclose(turned, np.einsum("ijc,dc->ijd", block, d[l3]), atol=1e-12)
        assert np.linalg.norm(block) == pytest.approx(1)


def test_one_point_too_few_breaks_the_gram_matrix():
    def gram_error(l_max: int, n_beta: int, n_alpha: int) -> float:
        xyz, w, _, _ = sphere_grid(n_beta, n_alpha)
        y = harmonics(l_max, xyz)
        return float(np.abs((y.T * w) @ y - np.eye(y.shape[1])).max())

    for l_max in range(1, 7):
        n_beta, n_alpha = needed_grid(2 * l_max)
        assert gram_error(l_max, n_beta, n_alpha) < 4e-15
        assert gram_error(l_max, n_beta - 1, n_alpha) > 1e-3
        assert gram_error(l_max, n_beta, n_alpha - 1) > 1e-3


# ---------------------------------------------------------------- equivariance


@pytest.mark.parametrize("weights", ["none", "external"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_turns_and_mirrors_with_its_inputs(name, weights):
    for l1, l2, channels in ((1, 2, 3), (3, 3, 1)):
        assert equivariance_error(make_product(name, signal(l1, channels), signal(l2, channels), weights=weights).double(), n=4) < 1e-12


def test_the_equivariance_error_sees_a_wrong_table():
    product = GauntTP(signal(2), signal(2)).double()
    product.back[3, 5] += 1e-3
    assert equivariance_error(product) > 1e-5


@given(st.sets(st.integers(0, 4), min_size=1, max_size=3), st.sets(st.integers(0, 4), min_size=1, max_size=3), st.sampled_from([1, -1]),
       st.sampled_from(["gaunt_grid", "gaunt_grid_fft", "gaunt_fourier", "gaunt_fourier_fft", "matrix", "vector", "cgtp"]))
@settings(max_examples=25, deadline=None)
def test_any_degrees_and_either_parity_rule(degrees1, degrees2, sign, name):
    in1 = [(1, (l, sign * (-1) ** l)) for l in sorted(degrees1)]
    in2 = [(1, (l, (-1) ** l)) for l in sorted(degrees2, reverse=True)]
    if len(degrees1) > 1 or len(degrees2) > 1 or sign == 1:
        assert equivariance_error(make_product(name, in1, in2).double(), n=2) < 1e-12


# ---------------------------------------------------------------- the same numbers by different ways


@pytest.mark.parametrize("normalization", ["component", "norm", "integral"])
def test_all_ways_to_the_gaunt_product_agree(normalization):
    for l1, l2, top in ((1, 1, 2), (3, 2, 4), (4, 4, 8)):
        x, y = randn(5, 2 * (l1 + 1) ** 2), randn(5, 2 * (l2 + 1) ** 2, seed=1)
        made = [make_product(name, signal(l1, 2), signal(l2, 2), signal(top, 2), normalization=normalization).double() for name in GAUNT]
        for other in made[1:]:
            torch.testing.assert_close(other(x, y), made[0](x, y), atol=1e-12, rtol=1e-12)


def test_changes_of_basis_by_order_grow_no_faster_than_the_cube():
    """Tables of the fast ways hold one small matrix an order; a dense change of basis would hold L^4 numbers."""
    for name in ("gaunt_grid_fft", "gaunt_fourier_fft"):
        numbers = {l: sum(t.numel() for t in make_product(name, signal(l), signal(l)).buffers() if t.is_floating_point()) for l in (5, 10)}
        assert numbers[10] / numbers[5] < 2**3.3
    assert GauntTP(signal(10), signal(10), method="grid_fft").grid == (21, 45)  # 41 azimuths would do, and be slow


def test_gaunt_product_is_the_pointwise_product_of_functions():
    x, y = randn(3, 9), randn(3, 9, seed=1)
    z = GauntTP(signal(2), signal(2), normalization="integral").double()(x, y)
    xyz = np.random.default_rng(5).normal(size=(40, 3))
    at2, at4 = torch.tensor(harmonics(2, xyz)), torch.tensor(harmonics(4, xyz))
    torch.testing.assert_close(z @ at4.T, (x @ at2.T) * (y @ at2.T), atol=1e-13, rtol=1e-12)


def test_clebsch_gordan_product_is_e3nns_full_tensor_product():
    for l_max in (1, 2, 3):
        theirs, x, y = o3.FullTensorProduct(signal(l_max), signal(l_max)), randn(6, (l_max + 1) ** 2), randn(6, (l_max + 1) ** 2, seed=1)
        for mode in ("sparse", "fused", "dense"):
            ours = ClebschGordanTP(signal(l_max), signal(l_max), mode=mode)
            assert ours.irreps_out.simplify() == theirs.irreps_out.simplify()
            torch.testing.assert_close(ours(x.float(), y.float()), theirs(x.float(), y.float()), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("normalization", ["component", "norm"])
@pytest.mark.parametrize("in2", ["6x0e + 6x1o + 6x2e", "1x0e + 1x1o + 1x2e"])
def test_weighted_paths_are_e3nns(in2, normalization):
    in1, out = "6x0e + 6x1o + 6x1e", "6x0e + 6x1o + 6x2e + 6x0o"
    ours = ClebschGordanTP(in1, in2, out, weights="external", normalization=normalization).double()
    mode = "uuu" if in2.startswith("6") else "uvu"
    instructions = [(p.first, p.second, p.out, mode, True) for p in ours.paths]
    theirs = o3.TensorProduct(in1, in2, out, instructions, irrep_normalization=normalization, shared_weights=False,
                              internal_weights=False).double()
    x, y, w = randn(4, ours.irreps_in1.dim), randn(4, ours.irreps_in2.dim, seed=1), randn(4, 6, len(ours.paths), seed=2)
    expected = theirs(x, y, w.transpose(1, 2).reshape(4, -1))  # e3nn: paths outer, channels inner
    for way in ("sparse", "fused", "dense"):
        mine = ClebschGordanTP(in1, in2, out, mode=way, weights="external", normalization=normalization).double()
        torch.testing.assert_close(mine(x, y, w.flatten(1)), expected, atol=1e-6, rtol=1e-6)  # e3nn's path weights are singles


def test_cross_and_dot_product_of_vectors():
    x, y = randn(5, 3), randn(5, 3, seed=1)
    z = ClebschGordanTP("1o", "1o", normalization="norm").double()(x, y)
    torch.testing.assert_close(z[:, 0], (x * y).sum(1) * 3**0.5, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(z[:, 1:4], torch.linalg.cross(x, y) * 3 / 6**0.5, atol=1e-12, rtol=1e-12)
    assert float((MatrixTP("1o", "1o").double()(x, y)[:, 1:4] * x).sum(1).abs().max()) < 1e-12


def test_products_obey_their_coupling_coefficients():
    for product in (GauntTP(signal(2), signal(2), weights="shared"), MatrixTP(signal(2), signal(1), weights="shared"),
                    VectorSignalTP(signal(1), signal(2), weights="shared", normalization="integral")):
        p = product.double()
        with torch.no_grad():
            p.weight.fill_(1.0)
        x, y = randn(1, p.irreps_in1.dim), randn(1, p.irreps_in2.dim, seed=1)
        z, scale = p(x, y)[0], p._scales(p.blocks_out)
        for i, s in enumerate(p.irreps_out.slices()):
            expected = torch.zeros(s.stop - s.start, dtype=F64)
            for (a, s1), (b, s2), (c, s3) in itertools.product(*(enumerate(v) for v in (p.slots1, p.slots2, p.slots3))):
                if s3.block == i and p.coupling[a, b, c]:
                    block = torch.tensor(cg(s1.degree, s2.degree, s3.degree))
                    xs, ys = x[0, p.irreps_in1.slices()[s1.block]], y[0, p.irreps_in2.slices()[s2.block]]
                    expected += scale[c] * p.coupling[a, b, c] * torch.einsum("abc,a,b->c", block, xs, ys)
            torch.testing.assert_close(z[s], expected, atol=1e-11, rtol=1e-10)


@pytest.mark.parametrize("name", ["cgtp", "gaunt_grid", "matrix", "vector"])
@pytest.mark.parametrize("weights", ["none", "external"])
def test_component_normalization_gives_mean_square_one(name, weights):
    product = make_product(name, signal(2), signal(2), weights=weights).double()
    w = [randn(20_000, product.weight_numel, seed=3)] if weights == "external" else []
    z = product(randn(20_000, 9), randn(20_000, 9, seed=1), *w)
    for s in product.irreps_out.slices():
        assert float(z[:, s].square().mean()) == pytest.approx(1, rel=0.15)


# ---------------------------------------------------------------- what each can express

TABLE = {  # inputs up to L, outputs up to 2 L, one copy each: figures worked out for the specification
    "all paths": [6, 19, 44, 85, 146], "natural": [5, 14, 30, 55, 91], 1: [5, 9, 13, 17, 21], 2: [5, 14, 25, 33, 41],
    4: [5, 14, 30, 55, 79], 16: [5, 14, 30, 55, 91],
}  # fmt: skip


@pytest.mark.parametrize("l_max", [1, 2, 3, 4, 5])
def test_table_of_expressivity(l_max):
    irreps, even = signal(l_max), " + ".join(f"1x{l}e" for l in range(l_max + 1))
    assert expressivity(ClebschGordanTP(irreps, irreps)) == TABLE["all paths"][l_max - 1]
    assert expressivity(ClebschGordanTP(irreps, irreps, signal(2 * l_max))) == TABLE["natural"][l_max - 1]
    gaunt = GauntTP(irreps, irreps)
    for channels in (1, 2, 4, 16):
        assert gaunt.expressivity(channels) == TABLE[channels][l_max - 1]
    assert expressivity(MatrixTP(even, even)) == TABLE[1][l_max - 1]  # one copy of each degree out, as the table has it


def test_table_of_interactability():
    for l_max in (1, 2, 3):
        irreps, degrees = signal(l_max), range(l_max + 1)
        allowed = {(a, b, c) for a in degrees for b in degrees for c in range(abs(a - b), a + b + 1)}
        even = {t for t in allowed if sum(t) % 2 == 0}
        for name, expected in (("cgtp", allowed), ("matrix", allowed), ("vector", allowed), ("mixed", allowed), ("gaunt_grid", even)):
            found = interactability(make_product(name, irreps, irreps))
            assert {tuple(int(i) for i in t) for t in np.argwhere(found)} == expected
        alone = interactability(VectorSignalTP(irreps, irreps, scalars=False))
        assert {tuple(int(i) for i in t) for t in np.argwhere(alone)} == allowed - {(0, 0, 0)}
    assert odd_share(GauntTP(signal(3), signal(3))) == 0
    assert odd_share(VectorSignalTP(signal(3), signal(3))) == 1


@pytest.mark.slow
def test_jacobian_rank_is_that_of_the_layer_itself():
    """The rank counted by autograd through the module's own forward, on two copies mixed by hand."""
    product, channels = GauntTP(signal(2), signal(2), weights="external").double(), 2
    x, y = randn(60, 9), randn(60, 9, seed=1)

    def layer(w: torch.Tensor) -> torch.Tensor:
        return sum(product(x, y, w[c].expand(60, -1)) for c in range(channels)).flatten()

    w = randn(channels, product.weight_numel, seed=2)
    jacobian = torch.autograd.functional.jacobian(layer, w).flatten(1)
    assert int(torch.linalg.matrix_rank(jacobian, rtol=1e-9)) == expressivity(product, channels=channels) == 14


def test_a_finer_grid_gives_the_same():
    x, y = randn(3, 9), randn(3, 9, seed=1)
    for method in ("grid", "grid_fft"):
        found = [GauntTP(signal(2), signal(2), method=method, grid=grid).double()(x, y) for grid in ("exact", (7, 14))]
        torch.testing.assert_close(found[1], found[0], atol=1e-12, rtol=1e-12)


# ---------------------------------------------------------------- as torch modules


@pytest.mark.parametrize("weights", ["none", "external"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_first_and_second_derivatives(name, weights):
    product = make_product(name, signal(1, 2), signal(1, 2), weights=weights).double()
    w = [randn(2, product.weight_numel, seed=2).requires_grad_()] if weights == "external" else []
    inputs = (randn(2, 8).requires_grad_(), randn(2, 8, seed=1).requires_grad_(), *w)
    assert torch.autograd.gradcheck(product, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(product, inputs, fast_mode=True)


@pytest.mark.parametrize("name", PRODUCTS)
def test_broadcasting_channels_copies_and_double(name):
    product = make_product(name, signal(1, 3), signal(2, 1))
    before = deepcopy(product)
    x, y = randn(4, 1, 12).float(), randn(1, 5, 9, seed=1).float()
    z = product(x, y)
    assert z.shape == (4, 5, product.irreps_out.dim)
    torch.testing.assert_close(product(x[2, 0], y[0, 3]), z[2, 3], atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(before(x, y), z)
    assert equivariance_error(product.double(), n=2) < 1e-12  # tables are made anew, not widened


def test_large_batches_in_chunks_and_threads_are_the_same():
    for name in ("gaunt_grid", "gaunt_fourier", "cgtp", "vector"):
        product = make_product(name, signal(2), signal(2))
        x, y = torch.randn(30_000, 9), torch.randn(30_000, 9)
        torch.testing.assert_close(product(x.requires_grad_(), y).detach(), product(x.detach(), y), atol=1e-5, rtol=1e-4)


def _in_threads() -> float:
    """The kernel alone, without torch, whose own threads no fork survives."""
    from workingpapers.papers.equivariant_products._kernel import bilinear, spread

    n, ones = 50_000, np.ones(100)
    out, indices = np.zeros((n, 10)), np.arange(100) % 10
    spread(bilinear, [np.ones((n, 10)), np.ones((n, 10))], [indices, indices, indices], ones, out, 2)
    return float(out.sum())


def test_threads_survive_a_fork():
    """A process forked after the kernel's threads were started makes its own."""
    import multiprocessing

    assert _in_threads() == 50_000 * 100
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=lambda: queue.put(_in_threads()))
    child.start()
    assert queue.get(timeout=30) == 50_000 * 100
    child.join(10)


def test_autocast_and_other_precisions():
    x, y = randn(4, 18).float(), randn(4, 18, seed=1).float()
    for name in PRODUCTS:
        product = make_product(name, signal(2, 2), signal(2, 2))
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            found = product(x, y)
        with torch.no_grad():
            torch.testing.assert_close(found.float(), product(x, y), atol=0.3, rtol=0.1)


def test_traced_shapes_without_computing():
    """The operators have shapes of their own, which is what torch.compile asks for."""
    for name in ("cgtp", "gaunt_fourier"):
        product = make_product(name, signal(2), signal(2)).to("meta")
        assert product(torch.empty(7, 9, device="meta"), torch.empty(7, 9, device="meta")).shape == (7, product.irreps_out.dim)


@pytest.mark.slow
def test_compiles_whole():
    for name in ("gaunt_grid", "cgtp"):
        product = make_product(name, signal(1), signal(1))
        compiled = torch.compile(product, backend="aot_eager", fullgraph=True)
        x, y = torch.randn(5, 4), torch.randn(5, 4)
        torch.testing.assert_close(compiled(x, y), product(x, y))


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(("call", "message"), [
    (lambda: GauntTP(signal(2), signal(2), grid=(4, 9)), r"too coarse.*\(5, 9\)"),
    (lambda: GauntTP(signal(2), signal(2), grid=(5, 8)), r"too coarse.*\(5, 9\)"),
    (lambda: GauntTP(signal(2), signal(2), method="fourier", grid=(9, 9)), "grid goes with"),
    (lambda: GauntTP("1o", "1o", "1e"), "cannot reach; it reaches"),
    (lambda: GauntTP("2x0e + 3x1o", "1x0e"), "unequal channels"),
    (lambda: GauntTP("2x0e + 2x1o", "3x0e"), "2 channels, irreps_in2 3"),
    (lambda: GauntTP("1x1o + 1x1e", "1x0e"), "degree twice"),
    (lambda: GauntTP("0e + 1o + 2o", "0e"), "mixes parities"),
    (lambda: GauntTP("0e + 1o", "0e + 1e"), "different parity rules"),
    (lambda: GauntTP("", "0e"), "is empty"),
    (lambda: GauntTP("0e", "0e", method="gird"), "must be one of grid"),
    (lambda: ClebschGordanTP("1o", "1o", "3o"), "no path reaches"),
    (lambda: MixedTP(signal(1), signal(1), rank=2), "from 1 to the 1 channels"),
    (lambda: GauntTP("1o", "1o")(torch.zeros(2, 4), torch.zeros(2, 3)), "x has last dimension 4"),
    (lambda: GauntTP("1o", "1o")(torch.zeros(2, 3).double(), torch.zeros(2, 3).double()), r"call .double\(\)"),
    (lambda: ClebschGordanTP("1o", "1o").double()(torch.zeros(2, 3), torch.zeros(2, 3)), r"call .double\(\)"),
    (lambda: GauntTP("1o", "1o", weights="external")(torch.zeros(2, 3), torch.zeros(2, 3)), "weight is missing"),
    (lambda: GauntTP("1o", "1o")(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 3)), "weight is given"),
])  # fmt: skip
def test_errors_name_the_argument_and_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()
