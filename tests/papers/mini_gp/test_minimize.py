"""One call in the shape of scikit-optimize, and what a package import may load."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from workingpapers.papers.mini_gp import minimize


def test_finds_the_bottom_of_branin_in_its_own_unit_and_sign() -> None:
    rng = np.random.default_rng(0)

    def branin(x: list[float]) -> float:
        a, b = x
        clean = (b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6) ** 2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10
        return float(clean + rng.standard_normal())

    found = minimize(branin, [(-5.0, 10.0), (0.0, 15.0)], n_calls=150, random_state=0)
    assert found.fun == pytest.approx(0.398, abs=1.5)
    assert min(np.hypot(found.x[0] - a, found.x[1] - b) for a, b in [(-np.pi, 12.275), (np.pi, 2.275), (9.42478, 2.475)]) < 1.0
    assert len(found.x_iters) == len(found.func_vals) == 150
    assert found.x in found.x_iters


def test_reads_dimensions_as_scikit_optimize_does() -> None:
    rng = np.random.default_rng(0)
    seen: list[list[object]] = []

    def f(x: list[object]) -> float:
        seen.append(x)
        return abs(float(x[0]) - 3) + (x[1] != "b") + abs(np.log10(float(x[2])) + 2) + 0.05 * rng.standard_normal()  # type: ignore[arg-type]

    found = minimize(f, [(1, 5), ["a", "b"], (1e-4, 1.0, "log-uniform")], n_calls=80, random_state=0)
    assert found.x[:2] == [3, "b"]
    assert abs(np.log10(found.x[2]) + 2) < 0.5
    assert all(isinstance(x[0], int) and x[1] in ("a", "b") and 1e-4 <= float(x[2]) <= 1 for x in seen)  # type: ignore[arg-type]


def test_a_known_noise_and_the_same_seed_give_the_same_run() -> None:
    def once() -> list[float]:
        rng = np.random.default_rng(0)
        return minimize(lambda x: x[0] ** 2 + 0.1 * rng.standard_normal(), [(-1.0, 1.0)], 40, noise=0.01, random_state=3).func_vals.tolist()

    assert once() == once()


def test_a_function_that_fails_is_named() -> None:
    with pytest.raises(ValueError, match="finite"):
        minimize(lambda x: float("nan"), [(0.0, 1.0)], 10)
    with pytest.raises(ValueError, match="n_calls"):
        minimize(lambda x: 0.0, [(0.0, 1.0)], 1)


def test_importing_the_method_loads_no_torch() -> None:
    code = "import sys, workingpapers.papers.mini_gp; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
