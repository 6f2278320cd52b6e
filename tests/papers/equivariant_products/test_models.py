"""Layers, the potential and its data against finite differences, ASE, e3nn, triples summed one by one, and mirrors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from tests.conftest import require

require("e3nn")
require("ase")

from ase.build import bulk  # noqa: E402
from e3nn import o3  # noqa: E402

from workingpapers.papers.equivariant_products import (  # noqa: E402
    IrrepsLinear,
    MiniMACE,
    MiniMACECalculator,
    ProductLayer,
    ShapeNet,
    bench,
    equivariance_error,
    fit,
    recommend,
)
from workingpapers.papers.equivariant_products._tables import harmonics, random_rotation  # noqa: E402
from workingpapers.papers.equivariant_products.mini_mace import Harmonics, edges_of  # noqa: E402
from workingpapers.papers.equivariant_products.training import Batch  # noqa: E402
from workingpapers.workloads.atoms import (  # noqa: E402
    Frame,
    generate,
    neighbours,
    read_frames,
    stillinger_weber,
    tetris,
    write_frames,
)

INSIDE = ("cgtp", "gaunt_grid", "gaunt_fourier", "gaunt_fourier_fft", "matrix", "vector", "mixed")

# ---------------------------------------------------------------- layers


def test_linear_map_is_e3nns():
    ours = IrrepsLinear("3x0e + 2x1o + 1x0e", "4x0e + 2x1o").double()
    theirs = o3.Linear("3x0e + 2x1o + 1x0e", "4x0e + 2x1o").double()
    with torch.no_grad():
        w = [theirs.weight_view_for_instruction(k) for k in range(3)]
        by_shape = {tuple(v.shape): v for v in w}
        ours.matrices[0].copy_(torch.cat([by_shape[3, 4].T, by_shape[1, 4].T], dim=1))
        ours.matrices[1].copy_(by_shape[2, 2].T)
    x = torch.randn(5, 10, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("product", ["cgtp", "gaunt_grid", "matrix", "vector", "mixed"])
def test_in_place_of_e3nns_fully_connected_product(product):
    """The irreps of e3nn's own layer go in, the same dimensions come out, equivariance holds, and every weight gets a gradient."""
    irreps = ("8x0e + 4x1o + 2x2e", "1x0e + 1x1o + 1x2e", "6x0e + 4x1o + 2x2e")
    theirs, ours = o3.FullyConnectedTensorProduct(*irreps), ProductLayer(*irreps, product=product)
    x, y = torch.randn(3, theirs.irreps_in1.dim), torch.randn(3, theirs.irreps_in2.dim)
    assert ours(x, y).shape == theirs(x, y).shape
    ours(x, y).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in ours.parameters())
    assert equivariance_error(ours.double(), n=4) < 1e-12


def test_layer_takes_irreps_of_both_parities():
    irreps = "4x0e + 4x0o + 3x1o + 2x1e + 1x2o"
    for product in ("gaunt_grid", "cgtp", "vector"):
        assert equivariance_error(ProductLayer(irreps, irreps, irreps, product=product, channels=3).double(), n=4) < 1e-12


def test_layer_says_what_a_product_cannot_reach():
    with pytest.raises(ValueError, match=r"4x1e.*'cgtp'"):
        ProductLayer("4x0e + 4x1o", "1x0e + 1x1o", "4x1e", product="gaunt_grid")
    assert ProductLayer("4x0e + 4x1o", "1x0e + 1x1o", "4x1e", product="mixed").irreps_out == o3.Irreps("4x1e")


def test_harmonics_of_edges_are_exact():
    xyz = np.random.default_rng(0).normal(size=(30, 3))
    unit = torch.tensor(xyz / np.linalg.norm(xyz, axis=1, keepdims=True))
    np.testing.assert_allclose(Harmonics(6).double()(unit).numpy(), harmonics(6, xyz) * (4 * np.pi) ** 0.5, atol=1e-12)


# ---------------------------------------------------------------- mirror images


@pytest.mark.slow
@pytest.mark.parametrize("product", ["cgtp", "vector", "matrix", "mixed", "gaunt_grid"])
def test_who_tells_mirror_images_apart(product):
    _, shapes = tetris()
    points, classes = torch.tensor(shapes, dtype=torch.float32), torch.arange(8)
    net = ShapeNet(product, channels=4)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(points), classes).backward()
        optimizer.step()
    turned = points @ torch.tensor(random_rotation(np.random.default_rng(1)), dtype=torch.float32).T
    with torch.no_grad():
        found = net(turned)
    right = found.argmax(1) == classes
    assert bool(right[2:].all())
    if product == "gaunt_grid":
        torch.testing.assert_close(found[0], found[1], atol=1e-3, rtol=1e-4)
        assert int(right[:2].sum()) == 1
    else:
        assert bool(right.all())


# ---------------------------------------------------------------- data


def by_triples(positions: np.ndarray, cell: np.ndarray) -> float:
    """Stillinger-Weber as its formula has it, triple by triple."""
    eps, sigma, a = 2.1683, 2.0951, 1.8
    edges, shift = neighbours(positions, a * sigma, cell)
    around: dict[int, list[np.ndarray]] = {}
    for (i, j), s in zip(edges.T, shift):
        around.setdefault(int(i), []).append(positions[j] + s @ cell - positions[i])
    total = 0.0
    for vectors in around.values():
        for v in vectors:
            r = np.linalg.norm(v) / sigma
            total += 0.5 * 7.049556277 * (0.6022245584 * r**-4 - 1) * np.exp(1 / (r - a))
        for v, w in itertools.combinations(vectors, 2):
            r, s = np.linalg.norm(v) / sigma, np.linalg.norm(w) / sigma
            cos = v @ w / np.linalg.norm(v) / np.linalg.norm(w)
            total += 21 * (cos + 1 / 3) ** 2 * np.exp(1.2 / (r - a) + 1.2 / (s - a))
    return float(eps * total)


def test_stillinger_weber_is_its_formula_and_its_forces_the_derivative():
    frame = generate("stillinger_weber", 1, 8, rng=3, rattle=(0.2, 0.2))[0]
    assert frame.energy == pytest.approx(by_triples(frame.positions, frame.cell), rel=1e-10)
    for atom, axis in ((0, 0), (5, 2)):
        moved = [frame.positions.copy() for _ in range(2)]
        moved[0][atom, axis] -= 1e-5
        moved[1][atom, axis] += 1e-5
        slope = (stillinger_weber(moved[1], frame.cell)[0] - stillinger_weber(moved[0], frame.cell)[0]) / 2e-5
        assert frame.forces[atom, axis] == pytest.approx(-slope, abs=1e-6)


@pytest.mark.parametrize("kind", ["emt", "lj", "stillinger_weber"])
def test_frames_follow_their_seed_and_survive_a_file(kind, tmp_path):
    frames, again = generate(kind, 2, 8, rng=1), generate(kind, 2, 8, rng=1)
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(frames, again))
    assert np.abs(frames[0].forces.sum(axis=0)).max() < 1e-9
    write_frames(tmp_path / "frames.extxyz", frames)
    for a, b in zip(frames, read_frames(tmp_path / "frames.extxyz")):
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-7)
        np.testing.assert_allclose(a.forces, b.forces, atol=1e-7)
        assert (a.cell is None) == (b.cell is None)


def test_mirror_images_among_the_shapes():
    names, shapes = tetris()
    gaps = [np.sort(np.linalg.norm(s[:, None] - s[None], axis=-1).ravel()) for s in shapes]
    same = [(names[i], names[j]) for i, j in itertools.combinations(range(8), 2) if np.allclose(gaps[i], gaps[j])]
    assert ("chiral", "mirrored chiral") in same


@pytest.mark.parametrize(("arguments", "message"), [
    ({"kind": "water"}, "must be one of emt"), ({"kind": "stillinger_weber", "n_atoms": 10}, "8, 64, 216"), ({"n_frames": 0}, "at least 1"),
])  # fmt: skip
def test_errors_of_generate(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(**{"kind": "emt", "n_frames": 1, "n_atoms": 8, **arguments}, rng=0)


# ---------------------------------------------------------------- the potential


def free_frame() -> Frame:
    rng = np.random.default_rng(0)
    positions = np.stack(np.meshgrid(*[np.arange(2)] * 3), axis=-1).reshape(-1, 3)[:7] * 2.2 + 0.2 * rng.normal(size=(7, 3))
    return Frame(positions, np.array([28, 29, 28, 29, 29, 28, 28]), None, 0.0, np.zeros((7, 3)))


def model_of(product: str, **options: object) -> MiniMACE:
    return MiniMACE([28, 29], r_max=4.0, channels=3, product=product, **{"l_max": 2, "correlation": 3, **options}).double().eval()


@pytest.mark.parametrize("product", INSIDE)
def test_energy_does_not_change_and_forces_turn(product):
    frame, model = free_frame(), model_of(product)
    numbers, (edges, _) = torch.tensor(frame.numbers), edges_of(frame.positions, 4.0)
    positions = torch.tensor(frame.positions)
    R = torch.tensor(random_rotation(np.random.default_rng(4)))
    before, after = model(positions, numbers, edges), model(-positions @ R.T + 5.0, numbers, edges)  # turned, mirrored and moved
    torch.testing.assert_close(after.energy, before.energy, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(after.forces, -before.forces @ R.T, atol=1e-10, rtol=1e-9)
    order = torch.tensor([3, 1, 6, 0, 2, 5, 4])
    swapped, _ = edges_of(frame.positions[order.numpy()], 4.0)
    torch.testing.assert_close(model(positions[order], numbers[order], swapped).energy, before.energy, atol=1e-10, rtol=1e-10)
    assert float(before.forces.abs().max()) > 1e-3


@pytest.mark.parametrize("product", INSIDE)
def test_forces_are_minus_the_derivative_of_the_energy(product):
    frame, model = free_frame(), model_of(product)
    numbers, (edges, _) = torch.tensor(frame.numbers), edges_of(frame.positions, 4.0)
    forces = model(torch.tensor(frame.positions), numbers, edges).forces
    for atom, axis in ((0, 0), (4, 1), (6, 2)):
        energies = []
        for h in (-1e-5, 1e-5):
            moved = torch.tensor(frame.positions)
            moved[atom, axis] += h
            energies.append(float(model(moved, numbers, edges).energy))
        assert float(forces[atom, axis]) == pytest.approx(-(energies[1] - energies[0]) / 2e-5, rel=1e-5, abs=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("chiral", [False, True])
def test_mirror_images_learn_different_energies_only_if_asked_for(chiral):
    """Energies 1 and -1 for the two chiral tetris shapes: pseudoscalars of odd paths learn them, and without them nothing does."""
    names, shapes = tetris()
    points = torch.tensor(shapes[[names.index("chiral"), names.index("mirrored chiral")]]).flatten(0, 1)
    model = MiniMACE([6], r_max=3.5, l_max=2, channels=4, product="mixed", chiral=chiral, neighbours=3).double()
    pairs = [edges_of(points[4 * k : 4 * k + 4].numpy(), 3.5)[0] + 4 * k for k in (0, 1)]
    rest = (torch.full((8,), 6), torch.cat(pairs, dim=1), None, None, torch.tensor([0] * 4 + [1] * 4))
    optimizer, target = torch.optim.Adam(model.parameters(), lr=2e-2), torch.tensor([1.0, -1.0], dtype=torch.float64)
    for _ in range(60 if chiral else 10):
        optimizer.zero_grad()
        (model(points, *rest).energy - target).square().sum().backward()
        optimizer.step()
    model.eval()
    R = torch.tensor(random_rotation(np.random.default_rng(2)))
    found, turned = model(points, *rest), model(points @ R.T, *rest)
    torch.testing.assert_close(turned.energy, found.energy, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(turned.forces, found.forces @ R.T, atol=1e-8, rtol=1e-8)
    if chiral:
        assert float(found.energy[0]) > 0.5
        assert float(found.energy[1]) < -0.5
    else:
        torch.testing.assert_close(found.energy[0], found.energy[1], atol=1e-10, rtol=1e-10)


@pytest.mark.slow
def test_training_on_forces_reaches_every_weight_by_second_derivatives():
    """Gradient of a loss of forces by each weight against finite differences of that loss."""
    for product, options in (("gaunt_grid", {"powers": "products"}), ("gaunt_grid", {"powers": "grid"}), ("cgtp", {}), ("mixed", {})):
        model = model_of(product, l_max=1, correlation=2, **options).train()
        frame = free_frame()
        numbers, (edges, _) = torch.tensor(frame.numbers), edges_of(frame.positions, 4.0)

        def loss(model=model, frame=frame, numbers=numbers, edges=edges) -> torch.Tensor:
            return model(torch.tensor(frame.positions), numbers, edges).forces.square().sum()

        weight = model.radial2.network[0].weight
        (gradient,) = torch.autograd.grad(loss(), weight)
        values = []
        for h in (-1e-5, 1e-5):
            with torch.no_grad():
                weight[2, 3] += h
            values.append(float(loss().detach()))
            with torch.no_grad():
                weight[2, 3] -= h
        assert float(gradient[2, 3]) == pytest.approx((values[1] - values[0]) / 2e-5, rel=1e-4, abs=1e-8)


def test_energy_is_smooth_where_atoms_leave_the_cutoff():
    model = model_of("gaunt_grid")
    numbers, edges = torch.tensor([28, 29]), torch.tensor([[0, 1], [1, 0]])
    at = [model(torch.tensor([[0.0, 0, 0], [0, 0, r]], dtype=torch.float64), numbers, edges) for r in (3.999, 4.0, 4.5)]
    assert abs(float(at[0].energy - at[1].energy)) < 1e-6
    assert float(at[0].energy - at[2].energy) == pytest.approx(0, abs=1e-6)
    assert float(at[2].forces.abs().max()) < 1e-12


def test_a_batch_is_its_frames_and_a_periodic_cell_its_repetition():
    model = MiniMACE([14], r_max=4.0, l_max=2, channels=3, product="gaunt_grid").double().eval()
    frames = generate("stillinger_weber", 2, 8, rng=0)
    apart = [model(*Batch.of([f], 4.0, torch.float64).arguments) for f in frames]
    together = model(*Batch.of(frames, 4.0, torch.float64).arguments)
    torch.testing.assert_close(together.energy, torch.cat([p.energy for p in apart]))
    torch.testing.assert_close(together.forces, torch.cat([p.forces for p in apart]))
    atoms = frames[0].to_ase()
    atoms.calc = MiniMACECalculator(model)
    doubled = atoms.repeat((2, 1, 1))
    doubled.calc = MiniMACECalculator(model)
    assert doubled.get_potential_energy() == pytest.approx(2 * atoms.get_potential_energy(), rel=1e-10)
    np.testing.assert_allclose(doubled.get_forces()[:8], atoms.get_forces(), atol=1e-10)


def test_calculator_gives_ases_stress_and_keeps_energy_in_dynamics():
    from ase import units
    from ase.md.verlet import VelocityVerlet

    model = MiniMACE([14], r_max=4.0, l_max=1, channels=3, product="gaunt_grid").double()
    with torch.no_grad():
        model.scale.fill_(0.05)
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = MiniMACECalculator(model)
    stress = atoms.get_stress()
    cell, positions, volume = atoms.cell.array.copy(), atoms.get_scaled_positions(), atoms.get_volume()
    for k, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        energies = []
        for h in (-1e-5, 1e-5):
            strain = np.eye(3)
            strain[i, j] += h / 2
            strain[j, i] += h / 2
            moved = atoms.copy()
            moved.set_cell(cell @ strain)
            moved.set_scaled_positions(positions)
            moved.calc = MiniMACECalculator(model)
            energies.append(moved.get_potential_energy())
        assert stress[k] == pytest.approx((energies[1] - energies[0]) / 2e-5 / volume, abs=1e-7)
    start = atoms.get_total_energy()
    VelocityVerlet(atoms, 1.0 * units.fs).run(20)
    assert atoms.get_total_energy() == pytest.approx(start, abs=1e-3)


@pytest.mark.parametrize("options", [{"product": "gaunt_grid"}, {"product": "mixed", "chiral": True}])
def test_a_saved_model_says_the_same(tmp_path, options):
    model = model_of(**options)
    model.save(tmp_path / "model.pt")
    frame = free_frame()
    numbers, (edges, _) = torch.tensor(frame.numbers), edges_of(frame.positions, 4.0)
    again, positions = MiniMACE.load(tmp_path / "model.pt"), torch.tensor(frame.positions)
    assert torch.equal(again(positions, numbers, edges).energy, model(positions, numbers, edges).energy)


@pytest.mark.slow
def test_angles_help_on_silicon():
    """Trained alike, the potential beats its own control that sees distances alone."""
    frames, errors = generate("stillinger_weber", 80, 8, rng=0), {}
    for product, l_max in (("gaunt_grid", 2), ("cgtp", 0)):
        model = MiniMACE([14], r_max=4.0, l_max=l_max, channels=8, product=product)
        history = fit(model, frames[:64], steps=160, batch_size=4, validation=frames[64:], every=160)
        errors[product, l_max] = history.force_rmse[-1][1]
    assert errors["gaunt_grid", 2] < 0.85 * errors["cgtp", 0]


def test_fit_repeats_itself_stops_at_a_target_and_reports():
    frames, told = generate("stillinger_weber", 6, 8, rng=0), []
    runs = []
    for _ in range(2):
        model = MiniMACE([14], l_max=1, channels=2, product="gaunt_grid")
        runs.append(fit(model, frames[:4], steps=4, batch_size=2, progress=lambda done, of: told.append((done, of))))
    assert runs[0].losses == runs[1].losses
    assert told[-1] == (4, 4)
    model = MiniMACE([14], l_max=1, channels=2, product="gaunt_grid")
    history = fit(model, frames[:4], steps=50, validation=frames[4:], every=2, target=1e9)
    assert history.steps_to_target == 2
    assert len(history.losses) == 2


@pytest.mark.parametrize(("call", "message"), [
    (lambda: MiniMACE([14], product="mix"), "must be one of"), (lambda: MiniMACE([14], product="mixed", l_max=0), "l_max from 1 up"),
    (lambda: MiniMACE([14], product="cgtp", powers="grid"), "does not go with product='cgtp'"),
    (lambda: MiniMACE([14], product="gaunt_grid", chiral=True), "take 'mixed'"), (lambda: MiniMACE([]), "atomic numbers"),
    (lambda: MiniMACE([14], correlation=4), "from 1 to 3"), (lambda: MiniMACE([14], r_max=-1.0), "above 0"),
    (lambda: MiniMACE([14])(torch.zeros(2, 3), torch.tensor([14, 6]), torch.zeros(2, 0, dtype=torch.int64)), "species has 6"),
    (lambda: MiniMACE([14])(torch.zeros(2, 2), torch.tensor([14, 14]), torch.zeros(2, 0, dtype=torch.int64)), "atoms, 3"),
    (lambda: MiniMACE([14])(torch.zeros(2, 3), torch.tensor([14, 14]), torch.zeros(3, 0, dtype=torch.int64)), "2, edges"),
    (lambda: MiniMACE([14])(torch.zeros(2, 3), torch.tensor([14, 14]), torch.zeros(2, 0, dtype=torch.int64), torch.eye(3)), "go together"),
    (lambda: fit(MiniMACE([14]), []), "at least one"), (lambda: ShapeNet()(torch.zeros(2, 3)), "clouds, points, 3"),
])  # fmt: skip
def test_errors_of_models(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------- bench and advice


@pytest.mark.slow
def test_bench_and_recommendation():
    table = bench(["cgtp", "gaunt_grid"], L=[1, 2], batch=20, repeats=3)
    assert list(table["paths"]) == [6, 5, 19, 9]
    assert (table["low"] <= table["high"]).all()
    assert (table["time_per_path"] * table["paths"]).to_numpy() == pytest.approx(table["time"].to_numpy())
    advice = recommend(2, 50, need_odd=True, repeats=3)
    row = advice.table.set_index("product").loc[advice.product]
    assert row["odd_share"] > 0
    assert not ((advice.table["odd_share"] > 0) & (advice.table["time"] < row["time"])).any()
    with pytest.raises(ValueError, match="no product has more than 6"):
        recommend(1, 10, min_paths=100, repeats=3)
