"""The operator from a torch loss against the analytic game."""

from __future__ import annotations

import os

import numpy as np
import pytest

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    pytest.importorskip("numba", reason="needs the extra optimisation")
    pytest.importorskip("torch", reason="needs torch")
import torch

from workingpapers.papers.halpern import CountingOperator, MatrixGame, TorchOperator, solve


def twin(seed: int = 0) -> tuple[MatrixGame, TorchOperator]:
    A = np.random.default_rng(seed).standard_normal((8, 5))
    rows = torch.from_numpy(A)
    loss = lambda x, y, i: 8 * (y[i] * (rows[i] @ x)).mean()  # noqa: E731
    return MatrixGame(A), TorchOperator(loss, torch.full((5,), 0.2), torch.full((8,), 0.125), 8)


def test_it_equals_the_analytic_game() -> None:
    game, F = twin()
    rng = np.random.default_rng(1)
    for _ in range(5):
        u = rng.standard_normal(13)
        np.testing.assert_allclose(F.full(u), game.full(u), atol=1e-12)
    np.testing.assert_allclose(F.u0(), game.centre(), atol=1e-7)
    a = solve(game, game.centre(), game.simplices(), "og", eta=0.05, tol=1e-9, max_oracle=6_000)
    b = solve(F, game.centre(), game.simplices(), "og", eta=0.05, tol=1e-9, max_oracle=6_000)
    np.testing.assert_allclose(a.u, b.u, atol=1e-6)
    assert a.n_oracle == b.n_oracle


def test_terms_add_up_and_are_counted() -> None:
    _, F = twin()
    u = F.u0() + 0.1
    apart = sum(F.batch(np.array([i]), u) for i in range(8))
    np.testing.assert_allclose(apart / 8, F.full(u), atol=1e-12)
    counted = CountingOperator(F)
    found = solve(counted, F.u0(), MatrixGame(np.zeros((8, 5))).simplices(), "vr_halpern_pp", tol=1e-9, max_oracle=400, seed=0)
    assert counted.n_oracle == found.n_oracle + found.n_extra


def test_modules_and_tuples_of_data() -> None:
    model = torch.nn.Linear(3, 1)
    X, y = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.ones(20)

    def loss(x: dict[str, torch.Tensor], shift: torch.Tensor, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        inputs, labels = batch
        out = torch.func.functional_call(model, x, (inputs + shift,))[:, 0]
        return ((out - labels) ** 2).mean() - 5 * (shift**2).sum()

    F = TorchOperator(loss, dict(model.named_parameters()), torch.zeros(3), (X, y))
    assert (F.n, F.dim) == (20, 7)
    assert set(F.split(F.u0())[0]) == {"weight", "bias"}
    u = F.u0() + 0.3
    step = 1e-6
    value = lambda v: float(loss(*F.split(v), (X.double(), y.double())))  # noqa: E731
    slopes = np.array([(value(u + step * e) - value(u - step * e)) / (2 * step) for e in np.eye(7)])
    np.testing.assert_allclose(F.full(u), slopes * np.r_[np.ones(4), -np.ones(3)], atol=1e-6)


def test_what_does_not_fit_is_named() -> None:
    ok = torch.zeros(2)
    with pytest.raises(TypeError, match="loss"):
        TorchOperator(3, ok, ok, 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="params_x"):
        TorchOperator(lambda x, y, i: x.sum(), [1.0], ok, 5)
    with pytest.raises(TypeError, match="data"):
        TorchOperator(lambda x, y, i: x.sum(), ok, ok, (torch.zeros(3), torch.zeros(4)))
    with pytest.raises(ValueError, match="one number"):
        TorchOperator(lambda x, y, i: x, ok, ok, 5).full(np.zeros(4))
