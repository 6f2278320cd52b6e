"""The collapsed posterior as a BoTorch model, so that any BoTorch acquisition function works on it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from botorch.models import SingleTaskGP
from gpytorch.kernels import Kernel, MaternKernel, RBFKernel, ScaleKernel
from gpytorch.means import ConstantMean, Mean, ZeroMean

from ._kernels import GPyTorchCovariance, SklearnCovariance
from ._posterior import UniqueGP
from ._statistics import check_observations, check_points, group_rows


class UniqueGPModel(SingleTaskGP):
    """A BoTorch `SingleTaskGP` on distinct points: averages as targets, `train_Yvar = noise / n`.

    Exact for all T rows at the cost of the q distinct ones, O(q^3) once. Inputs and targets are taken as they are (no
    standardisation), so that it equals `UniqueGP`.

    Args:
        train_X: `(T, d)`.
        train_Y: `(T, 1)` or `(T,)`.
        noise: variance of one observation.
        covar_module: GPyTorch kernel; a scaled RBF with one length scale a dimension by default, to be fitted
            (`botorch.fit_gpytorch_mll`; the likelihood it maximises lacks the constant within-point term, which no kernel
            hyper-parameter enters).
        mean_module: zero by default.
        resolution: rows that agree on a grid of this step are one point.

    >>> import torch
    >>> X = torch.tensor([[0.0], [0.0], [1.0]], dtype=torch.double)
    >>> model = UniqueGPModel(X, torch.tensor([1.0, 2.0, 0.0]), noise=0.1)
    >>> model.train_inputs[0].shape, model.num_outputs
    (torch.Size([2, 1]), 1)
    """

    def __init__(self, train_X: Any, train_Y: Any, noise: float, covar_module: Kernel | None = None,
                 mean_module: Mean | None = None, resolution: float = 1e-9) -> None:
        if not (math.isfinite(noise) and noise > 0):
            raise ValueError(f"noise is {noise}: give the variance of one observation, a positive number")
        x, y = _numpy(train_X), _numpy(train_Y)
        points = check_points(x, None, "train_X")
        values = check_observations(y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y)
        if len(points) != len(values):
            raise ValueError(f"train_X has {len(points)} rows and train_Y {len(values)}")
        groups = group_rows(points, values, resolution)
        self._set(groups.x, groups.average, noise / groups.count, covar_module, mean_module)

    def _set(self, x: Any, average: Any, variance: Any, covar_module: Kernel | None, mean_module: Mean | None) -> None:
        super().__init__(
            torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(np.ascontiguousarray(average))[:, None],
            train_Yvar=torch.from_numpy(np.ascontiguousarray(variance))[:, None],
            covar_module=ScaleKernel(RBFKernel(ard_num_dims=x.shape[1])).double() if covar_module is None else covar_module.double(),
            mean_module=ZeroMean() if mean_module is None else mean_module, outcome_transform=None)

    @classmethod
    def from_unique_gp(cls, gp: UniqueGP, covar_module: Kernel | None = None) -> UniqueGPModel:
        """The same model as a `UniqueGP`: its points, kernel, noise and level.

        Args:
            gp: with a GPyTorch kernel, or a scikit-learn RBF or Matern kernel, scaled by a constant or not.
            covar_module: GPyTorch kernel to take instead.

        Raises:
            ValueError: nothing was observed, or the kernel has no counterpart here.
        """
        if not gp.n_unique:
            raise ValueError("gp: there is no observation yet: add some first")
        mean: Mean = ZeroMean()
        if gp.mean == "constant":
            mean = ConstantMean().double()
            mean.initialize(constant=gp._level())
        made = cls.__new__(cls)
        made._set(gp.unique_points, gp.averages, gp.noise / gp.counts, covar_module or _as_gpytorch(gp.kernel), mean)
        return made


def _as_gpytorch(covariance: Any) -> Kernel:
    if isinstance(covariance, GPyTorchCovariance):
        return covariance.kernel
    if isinstance(covariance, SklearnCovariance):
        from sklearn.gaussian_process import kernels as sk

        kernel, scale = covariance.kernel, None
        if isinstance(kernel, sk.Product):
            parts = [kernel.k1, kernel.k2]
            constants = [k for k in parts if isinstance(k, sk.ConstantKernel)]
            if len(constants) == 1:
                scale = constants[0].constant_value
                kernel = next(k for k in parts if k is not constants[0])
        made = _stationary(kernel, sk)
        if made is not None:
            if scale is None:
                return made
            scaled = ScaleKernel(made).double()
            scaled.outputscale = scale
            return scaled
    raise ValueError("kernel: only GPyTorch kernels and scikit-learn's RBF and Matern, scaled or not, are carried over; give covar_module")


def _stationary(kernel: Any, sk: Any) -> Kernel | None:
    length = np.atleast_1d(getattr(kernel, "length_scale", 1.0))
    ard = len(length) if len(length) > 1 else None
    made: Kernel
    if type(kernel) is sk.RBF:
        made = RBFKernel(ard_num_dims=ard).double()
    elif type(kernel) is sk.Matern and kernel.nu in (0.5, 1.5, 2.5):
        made = MaternKernel(nu=kernel.nu, ard_num_dims=ard).double()
    else:
        return None
    made.lengthscale = torch.from_numpy(length)
    return made


def _numpy(x: Any) -> Any:
    return x.detach().cpu().double().numpy() if isinstance(x, torch.Tensor) else np.asarray(x, dtype=np.float64)
