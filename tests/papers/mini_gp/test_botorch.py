"""UniqueGPModel: the posterior of UniqueGP and of BoTorch on every row, and BoTorch's acquisitions on top of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern

from workingpapers.papers.mini_gp import UniqueGP

pytestmark = pytest.mark.needs("botorch")


def data() -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.random((15, 2))[rng.integers(15, size=90)]
    return x, np.sin(4 * x).sum(axis=1) + 0.2 * rng.standard_normal(90), rng.random((9, 2))


@pytest.mark.parametrize(
    "kernel", [RBF(0.4), ConstantKernel(2.0) * RBF([0.3, 0.6]), Matern(0.5, nu=2.5), Matern(0.5, nu=1.5) * ConstantKernel(0.5)]
)
@pytest.mark.parametrize("mean", ["zero", "constant"])
def test_equals_unique_gp(kernel: Any, mean: Any) -> None:
    import torch

    from workingpapers.papers.mini_gp import UniqueGPModel

    x, y, queries = data()
    gp = UniqueGP(kernel, 0.04, mean).add_many(x, y)
    posterior = UniqueGPModel.from_unique_gp(gp).posterior(torch.from_numpy(queries))
    expected_mean, expected_var = gp.posterior(queries)
    np.testing.assert_allclose(posterior.mean.detach().numpy()[:, 0], expected_mean, atol=1e-6)
    np.testing.assert_allclose(posterior.variance.detach().numpy()[:, 0], expected_var, atol=1e-6)


def test_equals_botorch_on_every_row() -> None:
    import torch
    from botorch.models import SingleTaskGP
    from gpytorch.kernels import RBFKernel
    from gpytorch.means import ZeroMean

    from workingpapers.papers.mini_gp import UniqueGPModel

    x, y, queries = data()

    def kernel() -> Any:
        made = RBFKernel().double()
        made.lengthscale = 0.4
        return made

    rows = SingleTaskGP(
        torch.from_numpy(x),
        torch.from_numpy(y)[:, None],
        train_Yvar=torch.full((90, 1), 0.04, dtype=torch.double),
        covar_module=kernel(),
        mean_module=ZeroMean(),
        outcome_transform=None,
    )
    ours = UniqueGPModel(torch.from_numpy(x), torch.from_numpy(y), 0.04, covar_module=kernel())
    assert ours.train_inputs[0].shape == (15, 2)
    for a, b in [(m.posterior(torch.from_numpy(queries)) for m in (rows, ours))]:
        np.testing.assert_allclose(a.mean.detach(), b.mean.detach(), atol=1e-6)
        np.testing.assert_allclose(a.variance.detach(), b.variance.detach(), atol=1e-6)


@pytest.mark.slow
def test_acquisitions_of_botorch_run_on_it() -> None:
    import torch
    from botorch.acquisition import LogExpectedImprovement, UpperConfidenceBound, qLogNoisyExpectedImprovement
    from botorch.optim import optimize_acqf

    from workingpapers.papers.mini_gp import UniqueGPModel

    x, y, _ = data()
    model = UniqueGPModel(torch.from_numpy(x), torch.from_numpy(y)[:, None], noise=0.04)
    box = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.double)
    torch.manual_seed(0)
    for acquisition, q in [
        (UpperConfidenceBound(model, beta=4.0), 1),
        (LogExpectedImprovement(model, best_f=y.max()), 1),
        (qLogNoisyExpectedImprovement(model, torch.from_numpy(x[:5])), 2),
    ]:
        found, value = optimize_acqf(acquisition, box, q=q, num_restarts=2, raw_samples=16)
        assert found.shape == (q, 2)
        assert torch.isfinite(value)
        assert value.item() >= acquisition(torch.rand(32, q, 2, dtype=torch.double)).max().item() - 1e-3


def test_wrong_input_is_named() -> None:
    import torch

    from workingpapers.papers.mini_gp import UniqueGPModel

    x = torch.zeros(3, 1, dtype=torch.double)
    for arguments, words in [
        ((x, torch.zeros(3), 0.0), "noise"),
        ((x, torch.zeros(2), 1.0), "rows"),
        ((torch.zeros(3), torch.zeros(3), 1.0), "train_X"),
        ((x, torch.full((3,), torch.nan), 1.0), "y holds"),
    ]:
        with pytest.raises(ValueError, match=words):
            UniqueGPModel(*arguments)
    with pytest.raises(ValueError, match="no observation"):
        UniqueGPModel.from_unique_gp(UniqueGP(RBF(1.0), 1.0))
    with pytest.raises(ValueError, match="kernel"):
        UniqueGPModel.from_unique_gp(UniqueGP(lambda a, b: a @ b.T, 1.0).add([1.0], 1.0))
