"""Equivariant products beside their peers, in turn in one run on one thread: medians, ratios with intervals, growth laws.

    python -m benchmarks.equivariant_products            some minutes; e3nn stands in the project's environment
    python -m benchmarks.equivariant_products --quick    degrees 1 to 3 and 2,000 pairs

    PEER_PRICE_OF_FREEDOM=FOLDER python -m ...           also beside github.com/atomicarchitects/PriceofFreedom at a7dbecc (no licence)

cuequivariance-torch and e3x live in environments of their own. cuequivariance's fast kernels are for GPUs; on a CPU it runs its plain
way. A column says how many free parameters one channel reaches: times without it compare different things.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._peers import environment, peer
from workingpapers.claims import log_log_slope, side_by_side, t_interval
from workingpapers.papers.equivariant_products import MiniMACE, ProductLayer, expressivity, make_product
from workingpapers.papers.equivariant_products.mini_mace import ManyBody, natural
from workingpapers.papers.equivariant_products.timing import call_of
from workingpapers.papers.equivariant_products.training import Batch, loss_of
from workingpapers.workloads.atoms import generate

OURS = ("cgtp", "cgtp_fused", "gaunt_grid", "gaunt_grid_fft", "gaunt_fourier", "gaunt_fourier_fft", "matrix", "vector")
RECORDED_MS = {  # of the official JAX code on its authors' CPU, 10,000 pairs: grid, Fourier direct
    1: (2.3, 11.0), 4: (5.1, 217.0), 10: (60.0, 4658.0),
}  # fmt: skip
RECORDED_HERE = {  # theirs at a7dbecc, its faster setting, then ours; 10,000 pairs in turn on one busy core; ratio with its interval
    "grid, L = 1": "11 / 1.2 ms, 9.8 x [2.5, 39]", "grid, L = 2": "12.8 / 4.35 ms, 3.3 x [1.1, 10]",
    "Fourier direct, L = 2": "429 / 2.98 ms, 161 x [135, 193]", "Fourier by FFT, L = 2": "429 / 23.5 ms, 16.4 x [12, 23]",
    "Fourier direct, L = 1": "328 / 1.24 ms, 199 x [83, 474]", "Fourier by FFT, L = 1": "328 / 55 ms, 5.7 x [4.4, 7.3]",
}  # fmt: skip
CUE = """
import numpy as np, torch, cuequivariance as cue, cuequivariance_torch as cuet
torch.set_num_threads(1)
folder, degree = sys.argv[1], int(sys.argv[2])
x, y = (torch.tensor(np.load(f"{folder}/{n}.npy")) for n in "xy")
irreps = cue.Irreps("O3", " + ".join(f"1x{l}{'eo'[l % 2]}" for l in range(degree + 1)))
e = cue.descriptors.full_tensor_product(irreps, irreps)
p = e.polynomial if hasattr(e, "polynomial") else e
m = cuet.SegmentedPolynomial(p, method="naive")
def turn():
    with torch.no_grad():
        out = m([x, y])[0]
    return [list(out.shape), float(out.square().mean())]
"""
E3X = """
import numpy as np, jax, jax.numpy as jnp, e3x
folder, degree = sys.argv[1], int(sys.argv[2])
x, y = (jnp.asarray(np.load(f"{folder}/{n}.npy"))[:, None, :, None] for n in "xy")
module = e3x.nn.{module}(max_degree=2 * degree, include_pseudotensors=False)
parameters = module.init(jax.random.PRNGKey(0), x, y)
run = jax.jit(lambda a, b: module.apply(parameters, a, b))
run(x, y).block_until_ready()
def turn():
    out = run(x, y).block_until_ready()
    return [list(out.shape), float((out**2).mean())]
"""
# The official functions, jitted and run once before they are timed. `sparsify` is their own switch: both settings are measured.
OFFICIAL = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
folder, degree, way, code = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
sys.path.insert(0, code)
import numpy as np, jax, jax.numpy as jnp, e3nn_jax as e3nn
from freedom.tensor_products import functional as official
x, y = (e3nn.IrrepsArray(e3nn.s2_irreps(degree), jnp.asarray(np.load(f"{folder}/{n}.npy"))) for n in "xy")
keep = e3nn.s2_irreps(2 * degree)
ways = {
    "grid": lambda a, b: official.gaunt_tensor_product_s2grid(a, b, filter_ir_out=keep, res_beta=2 * degree + 1, p_val1=1, p_val2=1,
        res_alpha=2 * (2 * degree + 1), quadrature="gausslegendre", s2grid_fft=False),
    "grid 100 x 99": lambda a, b: official.gaunt_tensor_product_s2grid(a, b, filter_ir_out=keep, res_beta=100, p_val1=1, p_val2=1,
        res_alpha=99, quadrature="gausslegendre", s2grid_fft=False),
    "Fourier": lambda a, b: official.gaunt_tensor_product_2D_fourier(a, b, filter_ir_out=keep, res_theta=300, res_phi=300,
        convolution_type="direct"),
    "Fourier, dense tables": lambda a, b: official.gaunt_tensor_product_2D_fourier(a, b, filter_ir_out=keep, res_theta=300, res_phi=300,
        convolution_type="direct", sparsify=False),
}
run = jax.jit(ways[way])
np.save(f"{folder}/z.npy", np.asarray(run(x, y).array))
def turn():
    return list(run(x, y).array.block_until_ready().shape)
"""


def row(what: str, *cells: str) -> None:
    print(f"{what:<52}" + "".join(f" {c:>13}" for c in cells), flush=True)


def milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def ratio(timings: Any, a: str, b: str) -> str:
    found = timings.ratio(a, b)
    return f"{found.estimate:.2f} x [{found.lo:.2f}, {found.hi:.2f}]"


# ---------------------------------------------------------------- beside e3nn


def products(degrees: list[int], batch: int) -> Mapping[str, dict[int, tuple[float, ...]]]:
    """All products and e3nn's full product, forward, and forward with backward; samples by product and degree."""
    from e3nn import o3

    samples: dict[str, dict[int, tuple[float, ...]]] = {}
    for degree in degrees:
        irreps = natural(degree, 1)
        made: dict[str, torch.nn.Module] = {name: make_product(name, irreps, irreps) for name in OURS}
        made["e3nn full"] = o3.FullTensorProduct(irreps, irreps)
        x, y = (torch.randn(batch, (degree + 1) ** 2) for _ in range(2))
        torch.testing.assert_close(made["cgtp"](x[:50], y[:50]), made["e3nn full"](x[:50], y[:50]), atol=1e-5, rtol=1e-4)
        forward = side_by_side({n: call_of(tp, x, y) for n, tp in made.items()}, repeats=5)
        x.requires_grad_()
        y.requires_grad_()
        both = side_by_side({n: call_of(tp, x, y, backward=True) for n, tp in made.items()}, repeats=5)
        row(f"L = {degree}, {batch:,} pairs" + (", restless machine" if forward.noisy else ""), "forward", "e3nn / it", "with backward",
            "e3nn / it", "parameters", "ms a parameter")
        for name, tp in made.items():
            paths = expressivity(make_product("cgtp", irreps, irreps) if name == "e3nn full" else tp, channels=1)  # type: ignore[arg-type]
            samples.setdefault(name, {})[degree] = forward[name].samples
            row(f"  {name}", milliseconds(forward[name].median), f"{forward.ratio('e3nn full', name).estimate:.2f} x",
                milliseconds(both[name].median), f"{both.ratio('e3nn full', name).estimate:.2f} x", str(paths),
                f"{1e3 * forward[name].median / paths:.3g}")
        if degree in RECORDED_MS:
            grid, fourier = RECORDED_MS[degree]
            row("  recorded by the authors in JAX, other machine", f"{grid:g} ms grid", f"{fourier:g} Fourier")
    return samples


def growth(samples: Mapping[str, dict[int, tuple[float, ...]]], theory: Mapping[str, float]) -> None:
    """Log-log slopes of time in L + 1, one a round, with Student's t interval, beside that of the counted operations."""
    for name, by_degree in samples.items():
        degrees = sorted(by_degree)
        if len(degrees) < 3:
            continue
        slopes = [log_log_slope([d + 1 for d in degrees], [by_degree[d][k] for d in degrees]) for k in range(len(by_degree[degrees[0]]))]
        found = t_interval(slopes)
        counted = ""
        if name in OURS:
            flops = [make_product(name, natural(d, 1), natural(d, 1)).flops() for d in degrees]
            counted = f"operations {log_log_slope([d + 1 for d in degrees], flops):.2f}"
        wanted = f"theory {theory[name]:g}" if name in theory else ""
        row(f"slope of {name}, L = {degrees[0]} to {degrees[-1]}", f"{found.estimate:.2f}", f"[{found.lo:.2f}, {found.hi:.2f}]", wanted,
            counted)


def layers(batch: int, quick: bool) -> None:
    """The drop-in layer beside e3nn's fully connected product: forward, and forward with backward to inputs and weights.

    `classical` is e3nn's function with e3nn's weights; the others are the paper's products between linear maps. The last case has many
    channels in both inputs.
    """
    from e3nn import o3

    cases = [(c, 1, degree) for degree in (1, 2, 3) for c in (8, 32, 64)]
    for channels, second, degree in cases[::4] if quick else [*cases, (16, 16, 2)]:
        irreps = (natural(degree, channels), natural(degree, second), natural(degree, channels))
        made: dict[str, torch.nn.Module] = {"e3nn": o3.FullyConnectedTensorProduct(*irreps)}
        made["classical"] = ProductLayer(*irreps, product="cgtp")
        made |= {name: ProductLayer(*irreps, product=name) for name in ("gaunt_grid", "gaunt_fourier", "matrix")}
        x, y = torch.randn(batch, made["e3nn"].irreps_in1.dim), torch.randn(batch, made["e3nn"].irreps_in2.dim)
        made["classical"].paths.load_state_dict(made["e3nn"].state_dict(), strict=False)  # type: ignore[union-attr]
        torch.testing.assert_close(made["classical"](x, y), made["e3nn"](x, y), atol=1e-4, rtol=1e-3)
        forward = side_by_side({n: call_of(layer, x, y) for n, layer in made.items()}, repeats=5)
        inputs = [t.clone().requires_grad_() for t in (x, y)]

        def step(layer: torch.nn.Module, inputs: list[torch.Tensor] = inputs) -> Any:
            return torch.autograd.grad(layer(*inputs).square().sum(), [*inputs, *layer.parameters()])

        calls: dict[str, Callable[[], object]] = {name: (lambda layer=layer: step(layer)) for name, layer in made.items()}
        both = side_by_side(calls, repeats=5)
        row(f"layer of {channels} x {second} channels, L = {degree}, {batch:,} rows", "forward", "e3nn / it", "with backward", "e3nn / it",
            "weights")
        for name, layer in made.items():
            row(f"  {name}", milliseconds(forward[name].best), f"{forward['e3nn'].best / forward[name].best:.2f} x",
                milliseconds(both[name].best), f"{both['e3nn'].best / both[name].best:.2f} x",
                f"{sum(p.numel() for p in layer.parameters()):,}")


def many_body(rows: int) -> None:
    """Powers of a neighbourhood on one grid beside Gaunt products in a row, and a whole potential with either."""
    for degree, correlation in ((1, 3), (2, 3), (3, 3), (2, 2)):
        a = torch.randn(rows, 16 * (degree + 1) ** 2, requires_grad=True)
        made: dict[str, torch.nn.Module] = {"in a row": ManyBody(degree, 16, correlation, "gaunt_grid"),
                                            "on one grid": ManyBody(degree, 16, correlation, "gaunt_grid", on_grid=True),
                                            "in a row, classical": ManyBody(degree, 16, correlation, "cgtp")}

        def step(body: torch.nn.Module, a: torch.Tensor = a) -> Any:
            return torch.autograd.grad(body(a).square().sum(), [a, *body.parameters()])

        calls: dict[str, Callable[[], object]] = {name: (lambda body=body: step(body)) for name, body in made.items()}
        timings = side_by_side(calls, repeats=7)
        row(f"terms of {correlation} neighbours, L = {degree}, 16 channels, {rows} atoms", "with backward", "in a row / it")
        for name in made:
            row(f"  {name}", milliseconds(timings[name].median), ratio(timings, "in a row", name))
    frame = generate("emt", 1, 64, rng=0)
    models = {name: MiniMACE([28, 29], correlation=3, product="gaunt_grid", powers=powers).train()
              for name, powers in (("in a row", "products"), ("on one grid", "grid"))}  # type: ignore[arg-type]
    batch = Batch.of(frame, 4.0)
    steps: dict[str, Callable[[], object]] = {
        name: (lambda m=m: torch.autograd.grad(loss_of(m, batch), list(m.parameters()), allow_unused=True)) for name, m in models.items()}
    timings = side_by_side(steps, repeats=5)
    row("a training step of MiniMACE, correlation 3, 64 atoms", "time", "in a row / it")
    for name in steps:
        row(f"  {name}", milliseconds(timings[name].median), ratio(timings, "in a row", name))


# ---------------------------------------------------------------- peers of other environments


def others(degrees: list[int], batch: int) -> None:
    """cuequivariance-torch and e3x, each in turn with ours through a pipe."""
    peers: list[tuple[str, list[str], str, str]] = [
        ("cuequivariance", ["torch", "numpy", "e3nn==0.6.0", "cuequivariance==0.13.0", "cuequivariance-torch==0.13.0"], CUE, "cgtp"),
        ("e3x", ["numpy", "jax", "flax", "e3x==1.0.2"], E3X.replace("{module}", "FusedTensor"), "matrix"),
        ("e3x", ["numpy", "jax", "flax", "e3x==1.0.2"], E3X.replace("{module}", "Tensor"), "cgtp"),
    ]
    for name, requirements, script, ours in peers:
        try:
            python = environment(name, requirements)
        except Exception as error:
            row(f"{name}: not here", f"({type(error).__name__})")
            continue
        for degree in degrees:
            # e3x sums paths, has weights, and was told to leave out pseudotensors: ours then does the same.
            like = {"irreps_out": natural(2 * degree, 1), "weights": "shared"} if name == "e3x" else {}
            tp = make_product(ours, natural(degree, 1), natural(degree, 1), **like)
            x, y = (torch.randn(batch, (degree + 1) ** 2) for _ in range(2))
            with tempfile.TemporaryDirectory() as folder:
                np.save(Path(folder) / "x.npy", x.numpy())
                np.save(Path(folder) / "y.npy", y.numpy())
                try:
                    with peer(python, script, folder, str(degree)) as turn:
                        answer: dict[str, Any] = {}
                        timings = side_by_side({"ours": call_of(tp, x, y), "theirs": lambda t=turn, a=answer: a.update(theirs=t())},
                                               repeats=5)
                except RuntimeError as error:
                    row(f"{name}, L = {degree}: does not run here", str(error)[:60])
                    break
            if name == "cuequivariance":  # the same irreps in the same scale: mean squares agree
                assert abs(answer["theirs"][1] / float(tp(x, y).square().mean()) - 1) < 1e-3, "cuequivariance gives something else"
            module = "" if name != "e3x" else " FusedTensor" if ours == "matrix" else " Tensor"
            row(f"{ours} / {name}{module}, L = {degree}, output {answer['theirs'][0]}", milliseconds(timings["ours"].median),
                milliseconds(timings["theirs"].median), ratio(timings, "theirs", "ours"))


def official(degrees: list[int], batch: int) -> None:
    """The authors' JAX functions in turn with ours, compilation left out; the largest difference of each degree's outputs, scaled alike."""
    code = os.environ.get("PEER_PRICE_OF_FREEDOM")
    if not code:
        row("official JAX code: not here (set PEER_PRICE_OF_FREEDOM)")
        for what, text in RECORDED_HERE.items():
            row(f"  recorded 2026-11-26: {what}", text)
        return
    python = environment("price-of-freedom", ["numpy", "jax==0.10.2", "flax==0.12.8", "e3nn-jax==0.21.0"])
    for degree in degrees:
        x, y = (torch.randn(batch, (degree + 1) ** 2) for _ in range(2))
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "x.npy", x.numpy())
            np.save(Path(folder) / "y.npy", y.numpy())
            for way in ("grid", "grid 100 x 99", "Fourier", "Fourier, dense tables"):
                names = ["gaunt_grid"] if way.startswith("grid") else ["gaunt_fourier", "gaunt_fourier_fft"]
                made = {n: make_product(n, natural(degree, 1), natural(degree, 1), normalization="integral") for n in names}
                with peer(python, OFFICIAL, folder, str(degree), way, code) as turn:
                    calls: dict[str, Callable[[], object]] = {"theirs": turn, **{n: call_of(tp, x, y) for n, tp in made.items()}}
                    timings = side_by_side(calls, repeats=5)
                gap = _gap(np.load(Path(folder) / "z.npy"), made[names[0]](x, y).numpy(), degree)
                row(f"official {way}, L = {degree}, {batch:,} pairs", milliseconds(timings["theirs"].median), f"differs {gap:.0e}")
                for n in names:
                    row(f"  {n}", milliseconds(timings[n].median), ratio(timings, "theirs", n))


def _gap(theirs: Any, ours: Any, degree: int) -> float:
    """Largest difference relative to the largest value, degree by degree, each scaled by least squares."""
    worst = 0.0
    for l in range(2 * degree + 1):
        a, b = theirs[:, l * l : (l + 1) ** 2], ours[:, l * l : (l + 1) ** 2]
        worst = max(worst, float(np.abs(a * ((a * b).sum() / (a * a).sum()) - b).max() / np.abs(b).max()))
    return worst


def main(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    quick = "--quick" in arguments
    degrees, batch = ([1, 2, 3], 2_000) if quick else ([1, 2, 3, 4, 5, 6], 10_000)
    samples = products(degrees, batch)
    if not quick:
        steep = {n: {} for n in ("gaunt_grid", "gaunt_grid_fft", "gaunt_fourier_fft", "cgtp", "matrix")}  # type: ignore[var-annotated]
        for degree in (6, 7, 8, 9, 10):
            irreps = natural(degree, 1)
            x, y = (torch.randn(1_000, (degree + 1) ** 2) for _ in range(2))
            found = side_by_side({n: call_of(make_product(n, irreps, irreps), x, y) for n in steep}, repeats=5)
            for n in steep:
                steep[n][degree] = found[n].samples
        growth(steep, {"gaunt_grid": 4, "gaunt_grid_fft": 3, "gaunt_fourier_fft": 3, "cgtp": 5, "matrix": 4})
    else:
        growth(samples, {})
    layers(200 if quick else 1_000, quick)
    many_body(200)
    official([1] if quick else [1, 2], batch)
    others(degrees[:2] if quick else [1, 2, 3, 4], batch)


if __name__ == "__main__":
    main(sys.argv[1:])
