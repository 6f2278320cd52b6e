"""How the claims of paper.toml are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from workingpapers.claims import (
    Check,
    TimedTrial,
    Trial,
    Workload,
    all_of,
    aside,
    at,
    baseline,
    bound,
    claim,
    control,
    difference,
    each_point,
    exact,
    headline,
    method,
    peer,
    ratio,
    side_by_side,
    slope,
    value,
)
from workingpapers.papers.equivariant_products.layers import make_product
from workingpapers.papers.equivariant_products.mini_mace import MiniMACE, natural
from workingpapers.papers.equivariant_products.rating import expressivity, odd_share
from workingpapers.papers.equivariant_products.timing import call_of, inputs_for
from workingpapers.papers.equivariant_products.training import Batch, fit, loss_of, settle
from workingpapers.workloads.atoms import Frame, generate

# ---------------------------------------------------------------- expressivity


@dataclass(frozen=True)
class Degree(Workload):
    """Inputs with one copy of each degree up to L, outputs up to 2 L."""

    degree: int

    @property
    def label(self) -> str:
        return f"L = {self.degree}"

    def load(self, rng: np.random.Generator) -> tuple[str, str]:
        """Irreps with the parity of functions on the sphere, and all even."""
        return natural(self.degree, 1), " + ".join(f"1x{l}e" for l in range(self.degree + 1))


WORKED_OUT = {2: (5, 14, 25, 33, 41), 4: (5, 14, 30, 55, 79), 16: (5, 14, 30, 55, 91)}  # Gaunt product of several channels, L = 1..5


def off(found: int, arm: str, L: int, channels: int) -> float:
    """By how much a rank misses what was worked out; beyond the table, by how much it leaves the band between one and all."""
    even, one = (L + 1) * (L + 2) * (2 * L + 3) // 6, 4 * L + 1
    triples = sum(2 * min(a, b) + 1 for a in range(L + 1) for b in range(L + 1))
    if arm == CLASSICAL:
        return abs(found - triples)
    if arm == "vector":
        return max(0.0, one - found, found - triples)
    if arm == EVEN:
        return abs(found - even)
    if channels == 1:
        return abs(found - one)
    if L <= 5:
        return abs(found - WORKED_OUT[channels][L - 1])
    return max(0.0, one - found, found - even)


CLASSICAL, EVEN, GAUNT, MATRIX = "classical", "classical, even paths", "Gaunt", "matrix"
COUNTED = {2: "Gaunt, 2 channels", 4: "Gaunt, 4 channels", 16: "Gaunt, 16 channels"}
DEGREES = at(smoke=[Degree(L) for L in (1, 2, 3)], small=[Degree(L) for L in range(1, 7)], full=[Degree(L) for L in range(1, 11)])


@claim("expressivity",
       arms={GAUNT: method(make_product, product="gaunt_grid"), MATRIX: method(make_product, product="matrix"),
             **{name: method(make_product, product="gaunt_grid") for name in COUNTED.values()},
             "vector": method(make_product, product="vector"), CLASSICAL: baseline(make_product, product="cgtp"),
             EVEN: control(make_product, product="cgtp")},
       points=DEGREES, seeds=3,
       rule=all_of(headline(exact("off", GAUNT, 0, name="Gaunt, one channel: 4 L + 1")), exact("off", CLASSICAL, 0),
                   exact("off", EVEN, 0), exact("off", MATRIX, 0), *(exact("off", name, 0) for name in COUNTED.values()),
                   ratio("rank", CLASSICAL, GAUNT) > 1,
                   exact("odd_share", GAUNT, 0, name="no odd path in the Gaunt product"),
                   bound("odd_share", MATRIX) > 0, bound("odd_share", "vector") > 0,
                   aside(ratio("rank", "vector", GAUNT) > 1, exact("off", "vector", 0, name="vector product: within its bounds"),
                         bound("equivariance", GAUNT) < 1e-12, bound("equivariance", MATRIX) < 1e-12,
                         bound("equivariance", "vector") < 1e-12, bound("equivariance", CLASSICAL) < 1e-12, title="exact"),
                   aside(slope("rank", CLASSICAL, "degree") > 1.5, slope("rank", GAUNT, "degree") < 1.0, title="growth with L")))
def expressivity_claim(trial: Trial) -> dict[str, float]:
    """Rank at random points; share of odd triples that interact; how exactly the product turns with its inputs, double precision."""
    from workingpapers.papers.equivariant_products.rating import equivariance_error

    name, L = trial.arm.name, trial.point.degree
    irreps, even = trial.point.load(trial.rng)
    channels = next((c for c, arm in COUNTED.items() if arm == name), 1)
    outputs = natural(2 * L, 1) if name == EVEN else None
    # The table counts one copy of each degree out; with parities of signals the matrix product has two of most.
    tp = trial.arm.build(irreps_in1=even if name == MATRIX else irreps, irreps_in2=even if name == MATRIX else irreps, irreps_out=outputs)
    found = expressivity(tp, channels=channels, seed=trial.seed)
    return {"rank": float(found), "off": float(off(found, name, L, channels)), "odd_share": odd_share(tp),
            "equivariance": equivariance_error(tp.double(), n=2, seed=trial.seed)}


@expressivity_claim.note
def two_ways(checks: Sequence[Check]) -> str:
    """What the table does not say."""
    return ("One copy of each degree in and out. A matrix product whose outputs keep both parities apart reaches a few more; up to L = 5 "
            "the ranks of several channels are held against a table worked out beforehand, beyond it against their bounds.")


# ---------------------------------------------------------------- grid-vs-fourier


@dataclass(frozen=True)
class Pairs(Workload):
    """A batch of pairs with all degrees up to L, one channel, single precision."""

    degree: int
    batch: int
    device: str = "cpu"

    @property
    def label(self) -> str:
        return f"L = {self.degree}, {self.batch:,} pairs{' on GPU' if self.device == 'cuda' else ''}"

    def prepare(self, progress: Callable[[float, str], None]) -> None:
        from workingpapers.claims import untested

        if self.device == "cuda" and not torch.cuda.is_available():
            untested("this machine has no CUDA GPU")

    def calls(self, trial: TimedTrial, backward: bool = False) -> tuple[dict[str, Any], dict[str, Callable[[], object]]]:
        made = {name: arm.build(irreps_in1=natural(self.degree, 1), irreps_in2=natural(self.degree, 1)).to(self.device)
                for name, arm in trial.arms.items()}
        calls = {}
        for name, tp in made.items():
            x, y = (t.to(self.device) for t in inputs_for(tp, self.batch, trial.seed))
            if backward:
                x.requires_grad_()
                y.requires_grad_()
            calls[name] = call_of(tp, x, y, backward)
        return made, calls


GRID, DIRECT, FFT = "grid", "Fourier, direct", "Fourier, FFT"
SMOKE_PAIRS, SMALL_PAIRS = [Pairs(L, 1000) for L in (1, 2, 3)], [Pairs(L, 10_000) for L in range(1, 7)]
FULL_PAIRS = [Pairs(L, 10_000, device) for device in ("cpu", "cuda") for L in range(1, 11)]


@claim("grid-vs-fourier",
       arms={GRID: method(make_product, product="gaunt_grid"), DIRECT: baseline(make_product, product="gaunt_fourier"),
             FFT: baseline(make_product, product="gaunt_fourier_fft"), "grid, FFT": method(make_product, product="gaunt_grid_fft")},
       points=at(smoke=SMOKE_PAIRS, small=SMALL_PAIRS, full=FULL_PAIRS), seeds=at(smoke=3, small=5, full=10), is_timed=True,
       rule=all_of(each_point(headline(ratio("seconds", GRID, DIRECT) < 1)), each_point(ratio("seconds", GRID, FFT) < 1),
                   aside(each_point(ratio("both", GRID, DIRECT) < 1), each_point(ratio("both", GRID, FFT) < 1),
                         title="forward and backward"),
                   aside(ratio("seconds", GRID, "grid, FFT") < 1, title="beside the separable grid"),
                   aside(*(slope("seconds", name, "degree") < s for name, s in ((GRID, 4.7), (DIRECT, 4.7), (FFT, 3.7))),
                         title="growth with L, no steeper than theory and 0.7")))
def grid_vs_fourier(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Seconds a batch; all ways give the same numbers, which is checked before anything is timed."""
    made, calls = trial.point.calls(trial)
    found = [call() for call in calls.values()]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-4, rtol=1e-3)
    repeats = {"smoke": 5, "small": 5, "full": 9}[trial.scale]
    forward = side_by_side(calls, repeats=repeats)
    both = side_by_side(trial.point.calls(trial, backward=True)[1], repeats=repeats)
    return {name: {"seconds": forward[name].best, "both": both[name].best, "flops": float(made[name].flops(trial.point.batch))}
            for name in calls}


@grid_vs_fourier.note
def which_fourier(checks: Sequence[Check]) -> str:
    """Who the baseline is."""
    return ("The direct Fourier way is compiled here and works on real series, many times faster than the one in the paper; a grid that "
            "wins against it by little would win against that one by much.")


# ---------------------------------------------------------------- faster-training


@dataclass(frozen=True)
class Training(Workload):
    """A potential to train: clusters of copper and nickel to time a step on, periodic silicon to learn from."""

    atoms: int
    channels: int
    l_max: int
    correlation: int
    frames: int
    steps: int
    silicon: int = 8
    batch: int = 2

    @property
    def label(self) -> str:
        return f"{self.atoms} atoms a step; silicon, {self.frames} frames, {self.steps} steps"

    def load(self, rng: np.random.Generator) -> list[Frame]:
        """Silicon to train on, then as many as a quarter of it (8 at least) to validate."""
        return generate("stillinger_weber", self.frames + self.held_out, self.silicon, rng=rng)

    @property
    def held_out(self) -> int:
        return max(8, self.frames // 4)

    def model(self, arm: Any, species: Sequence[int], seed: int) -> MiniMACE:
        options = {"l_max": self.l_max, **arm.options}
        return MiniMACE(species, r_max=4.0, channels=self.channels, correlation=self.correlation, seed=seed, **options)


# Products in a row in every arm, so that arms differ in nothing but the product; powers on one grid are timed in the benchmark.
MACE_ARMS = {GRID: method(MiniMACE, product="gaunt_grid", powers="products"), DIRECT: baseline(MiniMACE, product="gaunt_fourier"),
             FFT: baseline(MiniMACE, product="gaunt_fourier_fft"), CLASSICAL: peer(MiniMACE, product="cgtp"),
             "distances alone": control(MiniMACE, product="cgtp", l_max=0)}  # fmt: skip
LEARNING = (GRID, CLASSICAL, "distances alone")


@claim("faster-training", arms=MACE_ARMS,
       points=at(smoke=[Training(64, 4, 2, 2, 8, 12)], small=[Training(64, 16, 2, 3, 200, 400, batch=4)],
                 full=[Training(64, 32, 3, 3, 1000, 4000, silicon=64, batch=8)]),
       seeds=at(smoke=3, small=3, full=5), is_timed=True,
       rule=all_of(headline(ratio("seconds", GRID, DIRECT) < 0.9), ratio("seconds", GRID, FFT) < 0.9,
                   ratio("force_rmse", "distances alone", GRID, name="the control has the larger error") > 1,
                   aside(ratio("seconds", CLASSICAL, GRID) < 1, ratio("force_rmse", CLASSICAL, GRID) < 1,
                         difference("rmse_equal_time", CLASSICAL, GRID) < 0, title="the classical product instead")))
def faster_training(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Seconds of a step (forward, forces, backward) on one cluster, in turn."""
    frame = generate("emt", 1, trial.point.atoms, rng=trial.rng)
    calls = {}
    for name, arm in trial.arms.items():
        model = trial.point.model(arm, [28, 29], trial.seed).train()
        settle(model, frame)
        calls[name] = _a_step(model, Batch.of(frame, model.r_max))
    return {name: {"seconds": timing.best} for name, timing in side_by_side(calls, repeats=3 if trial.scale == "smoke" else 9).items()}


def _a_step(model: MiniMACE, batch: Batch) -> Callable[[], object]:
    parameters = list(model.parameters())

    def step() -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss_of(model, batch), parameters, allow_unused=True)

    return step


@faster_training.also(arms=LEARNING)  # type: ignore[untyped-decorator,unused-ignore]
def error_of_forces(trial: Trial) -> dict[str, float]:
    """Force error on frames held out after all steps. The Fourier ways compute the same as the grid, and are not trained again."""
    return {"force_rmse": _trained(trial, trial.point.load(trial.rng), trial.arm, trial.point.steps)}


@faster_training.timed(arms=[GRID, CLASSICAL])  # type: ignore[untyped-decorator,unused-ignore]
def error_at_equal_time(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Force error where each may take as many steps as fit into the time that the grid needs for a third of them."""
    frames = trial.point.load(trial.rng)
    batch = Batch.of(frames[: trial.point.batch], 4.0)
    calls = {name: _a_step(trial.point.model(arm, [14], trial.seed).train(), batch) for name, arm in trial.arms.items()}
    timings = side_by_side(calls, repeats=3)
    budget = trial.point.steps // 3 * timings[GRID].median
    return {name: {"rmse_equal_time": _trained(trial, frames, arm, max(1, round(budget / timings[name].median)))}
            for name, arm in trial.arms.items()}


def _trained(trial: Trial | TimedTrial, frames: list[Frame], arm: Any, steps: int) -> float:
    train, held_out = frames[: trial.point.frames], frames[trial.point.frames :]
    history = fit(trial.point.model(arm, [14], trial.seed), train, steps=steps, batch_size=trial.point.batch, seed=trial.seed,
                  validation=held_out, every=steps, progress=trial.progress)
    return history.force_rmse[-1][1]


# ---------------------------------------------------------------- time-per-path

SPARSE, DENSE = "classical, sparse", "classical, dense"


@claim("time-per-path",
       arms={SPARSE: method(make_product, product="cgtp"), "Gaunt, grid": method(make_product, product="gaunt_grid"),
             DENSE: baseline(make_product, product="cgtp_dense"), "classical, fused": baseline(make_product, product="cgtp_fused"),
             "Gaunt, Fourier": baseline(make_product, product="gaunt_fourier"),
             "Gaunt, FFT": baseline(make_product, product="gaunt_fourier_fft"), MATRIX: baseline(make_product, product="matrix"),
             "vector": baseline(make_product, product="vector")},
       points=at(smoke=SMOKE_PAIRS, small=SMALL_PAIRS, full=FULL_PAIRS), seeds=at(smoke=3, small=3, full=5), is_timed=True,
       rule=all_of(each_point(headline(bound("reordered", SPARSE, name="pairs whose order turns round") >= 1)),
                   aside(value("rank_correlation", SPARSE, name="rank correlation of operations and time") < 0.9,
                         ratio("seconds_per_path", SPARSE, "Gaunt, grid") < 1, ratio("seconds", SPARSE, "Gaunt, grid") < 1,
                         title="operations, and who wins by which measure")))
def time_per_path(trial: TimedTrial) -> dict[str, dict[str, float]]:
    """Seconds, operations and free parameters of one channel; pairs of products of which one is faster by 10 % at least, and slower by
    10 % at least for each free parameter."""
    made, calls = trial.point.calls(trial)
    timings = side_by_side(calls, repeats={"smoke": 3, "small": 3, "full": 7}[trial.scale])
    out = {name: {"seconds": timings[name].best, "flops": float(tp.flops(trial.point.batch)),
                  "seconds_per_path": timings[name].best / expressivity(tp, channels=1)} for name, tp in made.items()}
    turned = sum(_turned(out[a], out[b]) or _turned(out[b], out[a]) for a, b in combinations(out, 2))
    correlation = spearmanr([n["flops"] for n in out.values()], [n["seconds"] for n in out.values()]).statistic
    return {**out, SPARSE: {**out[SPARSE], "reordered": float(turned), "rank_correlation": float(correlation)}}


def _turned(a: dict[str, float], b: dict[str, float]) -> bool:
    return 1.1 * a["seconds"] < b["seconds"] and a["seconds_per_path"] > 1.1 * b["seconds_per_path"]


@time_per_path.note
def winners(checks: Sequence[Check]) -> str:
    """Who wins in plain seconds and for each free parameter."""
    by = {c.rule.split(" of ")[0]: c for c in checks if c.rule.startswith(("seconds of", "seconds_per_path of"))}
    if "seconds" not in by or "seconds_per_path" not in by or by["seconds"].estimate is None or by["seconds_per_path"].estimate is None:
        return ""
    return (f"Over all degrees the sparse classical product took {by['seconds'].estimate:.2f} of the time of the Gaunt grid, and "
            f"{by['seconds_per_path'].estimate:.2f} of it for each free parameter.")
