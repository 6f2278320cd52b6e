"""Covariance functions of other libraries behind one small face: scikit-learn, GPyTorch, or a plain function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Covariance(Protocol):
    """What a posterior asks of a kernel. Arrays are `(n, d)` inputs and `(n, m)` covariances."""

    def matrix(self, x: Array, y: Array | None = None) -> Array: ...

    def diag(self, x: Array) -> Array: ...

    @property
    def theta(self) -> Array: ...

    @property
    def bounds(self) -> Array: ...

    def with_theta(self, theta: Array) -> Covariance: ...

    def pullback(self, x: Array, weights: Array) -> Array: ...


class SklearnCovariance:
    """A scikit-learn kernel. `theta` are the logarithms of its free hyper-parameters, as scikit-learn has them."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def matrix(self, x: Array, y: Array | None = None) -> Array:
        return np.asarray(self.kernel(x, y), dtype=np.float64)

    def diag(self, x: Array) -> Array:
        try:
            return np.asarray(self.kernel.diag(x), dtype=np.float64)
        except ValueError:  # PairwiseKernel has a diagonal only one dimension at a time
            return _diagonal(self.matrix, x)

    @property
    def theta(self) -> Array:
        return np.asarray(self.kernel.theta, dtype=np.float64)

    @property
    def bounds(self) -> Array:
        return np.asarray(self.kernel.bounds, dtype=np.float64).reshape(-1, 2)

    def with_theta(self, theta: Array) -> SklearnCovariance:
        return SklearnCovariance(self.kernel.clone_with_theta(np.asarray(theta)))

    def pullback(self, x: Array, weights: Array) -> Array:
        """Gradient of `sum(weights * K(x, x))` in theta, `(p,)`."""
        _, gradient = self.kernel(x, eval_gradient=True)
        return np.asarray(np.einsum("ij,ijp->p", weights, gradient), dtype=np.float64)


class GPyTorchCovariance:
    """A GPyTorch kernel. `theta` are its raw (unconstrained) parameters, flattened in the order of `parameters()`."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel.double()

    def _tensor(self, x: Array) -> Any:
        import torch

        return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64))

    def matrix(self, x: Array, y: Array | None = None) -> Array:
        import torch

        with torch.no_grad():
            dense = self.kernel(self._tensor(x), None if y is None else self._tensor(y)).to_dense()
        return np.asarray(dense.numpy(), dtype=np.float64)

    def diag(self, x: Array) -> Array:
        import torch

        with torch.no_grad():
            return np.asarray(self.kernel(self._tensor(x), diag=True).numpy(), dtype=np.float64)

    @property
    def theta(self) -> Array:
        parts = [p.detach().numpy().ravel() for p in self.kernel.parameters()]
        return np.concatenate(parts) if parts else np.empty(0)

    @property
    def bounds(self) -> Array:
        return np.tile(np.array([-20.0, 20.0]), (len(self.theta), 1))

    def with_theta(self, theta: Array) -> GPyTorchCovariance:
        import copy

        import torch

        twin = copy.deepcopy(self.kernel)
        start = 0
        with torch.no_grad():
            for p in twin.parameters():
                p.copy_(torch.from_numpy(np.array(theta[start : start + p.numel()])).reshape(p.shape))
                start += p.numel()
        return GPyTorchCovariance(twin)

    def pullback(self, x: Array, weights: Array) -> Array:
        """Gradient of `sum(weights * K(x, x))` in theta, `(p,)`, by automatic differentiation."""
        import torch

        parameters = list(self.kernel.parameters())
        dense = self.kernel(self._tensor(x)).to_dense()
        gradients = torch.autograd.grad((dense * self._tensor(weights)).sum(), parameters)
        return np.concatenate([g.numpy().ravel() for g in gradients])


class FunctionCovariance:
    """A plain function `k(X, Y) -> (n, m)` without hyper-parameters."""

    def __init__(self, function: Callable[[Array, Array], Any]) -> None:
        self.function = function

    def matrix(self, x: Array, y: Array | None = None) -> Array:
        return np.asarray(self.function(x, x if y is None else y), dtype=np.float64)

    def diag(self, x: Array) -> Array:
        return _diagonal(self.matrix, x)

    @property
    def theta(self) -> Array:
        return np.empty(0)

    @property
    def bounds(self) -> Array:
        return np.empty((0, 2))

    def with_theta(self, theta: Array) -> FunctionCovariance:
        return self

    def pullback(self, x: Array, weights: Array) -> Array:
        return np.empty(0)


def as_covariance(kernel: Any) -> Covariance:
    """Accept a scikit-learn kernel, a GPyTorch kernel, or a function `k(X, Y)`.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(kernel, SklearnCovariance | GPyTorchCovariance | FunctionCovariance):
        return kernel
    gpytorch = sys.modules.get("gpytorch")  # whoever holds one of its kernels has imported it
    if gpytorch is not None and isinstance(kernel, gpytorch.kernels.Kernel):
        return GPyTorchCovariance(kernel)
    if hasattr(kernel, "clone_with_theta") and hasattr(kernel, "diag"):
        return SklearnCovariance(kernel)
    if callable(kernel) and not isinstance(kernel, type):
        return FunctionCovariance(kernel)
    raise TypeError(f"kernel must be a scikit-learn kernel, a GPyTorch kernel or a function k(X, Y), not {kernel!r}")


def rbf(length_scale: float) -> Any:
    """The default kernel: scikit-learn's squared exponential of unit variance."""
    from sklearn.gaussian_process.kernels import RBF

    return RBF(length_scale)


def _diagonal(matrix: Callable[[Array, Array], Array], x: Array, block: int = 256) -> Array:
    return np.concatenate([np.diagonal(matrix(x[i : i + block], x[i : i + block])) for i in range(0, len(x), block)])
