"""An operator from a torch loss: gradients by automatic differentiation, the sign of the maximising player turned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._operators import Array, FiniteSum, Ints, count


class TorchOperator(FiniteSum):
    """`min_x max_y (1/n) sum_i f_i(x, y)` from a loss in torch; `F = (grad_x, -grad_y)`, u holds all parameters in one vector.

    Args:
        loss: `loss(x, y, batch)`: the **mean** over the batch of f_i, a scalar, as torch's losses give it. x and y have the form of
            `params_x` and `params_y`; batch is a row selection of `data`.
        params_x, params_y: what is minimised and maximised over: a tensor, a list or a dict of tensors (`dict(model.named_parameters())`,
            used by `torch.func.functional_call` inside the loss). Their values are the start, `u0()`. Never changed.
        data: a tensor, a tuple of tensors with equal first dimension, or a number n: then batch is the index tensor itself.
        dtype: of the parameters within; float64 unless said otherwise. Floating data is cast to it.

    >>> import torch
    >>> A = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    >>> F = TorchOperator(lambda x, y, i: 2 * (y[i] * (A[i] @ x)).mean(), torch.zeros(2), torch.ones(2), 2)
    >>> F.full(F.u0())
    array([ 4.,  6., -0., -0.])
    """

    is_cocoercive: bool | None = False

    def __init__(self, loss: Callable[[Any, Any, Any], Tensor], params_x: Any, params_y: Any, data: Any, *,
                 dtype: torch.dtype = torch.float64) -> None:
        if not callable(loss):
            raise TypeError(f"loss is {loss!r}: something callable as loss(x, y, batch) is needed")
        self._loss, self._dtype = loss, dtype
        self._x, self._y = _Form("params_x", params_x), _Form("params_y", params_y)
        self.dim = self._x.size + self._y.size
        self._data: tuple[Tensor, ...] | None = None
        self._is_tuple = isinstance(data, Sequence)
        if isinstance(data, int):
            self.n = count("data", data)
            return
        tensors = tuple(data) if self._is_tuple else (data,)
        if not tensors or any(not isinstance(t, Tensor) or t.ndim == 0 for t in tensors) or len({len(t) for t in tensors}) != 1:
            raise TypeError("data must be a tensor, a tuple of tensors with equal first dimension, or a number of terms")
        self.n = count("data: its number of rows", len(tensors[0]))
        self._data = tuple(t.detach().to(dtype) if t.is_floating_point() else t.detach() for t in tensors)

    def u0(self) -> Array:
        """The parameters as handed in, shape (dim,)."""
        return np.concatenate([self._x.start, self._y.start])

    def split(self, u: Array) -> tuple[Any, Any]:
        """u as x and y in the form of the parameters."""
        t = torch.from_numpy(np.array(u, float)).to(self._dtype)
        return self._x.fill(t[: self._x.size]), self._y.fill(t[self._x.size :])

    def batch(self, idx: Ints, u: Array) -> Array:
        where = torch.from_numpy(np.ascontiguousarray(idx, np.int64))
        if self._data is None:
            rows: Any = where
        else:
            picked = tuple(t[where] for t in self._data)
            rows = picked if self._is_tuple else picked[0]
        # Both players' parameters hang on one leaf, so that one backward pass serves both.
        leaf = torch.from_numpy(np.array(u, float)).to(self._dtype).requires_grad_()
        value = self._loss(self._x.fill(leaf[: self._x.size]), self._y.fill(leaf[self._x.size :]), rows)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError("loss(x, y, batch) must give one number, the mean over the batch")
        (gradient,) = torch.autograd.grad(value.reshape(()), leaf)
        out = np.array(gradient.double().numpy() * len(idx))
        out[self._x.size :] *= -1.0
        return out


class _Form:
    """The shapes of a tensor, list or dict of tensors, and the way there and back from one vector."""

    def __init__(self, name: str, given: Any) -> None:
        self._keys = list(given) if isinstance(given, Mapping) else None
        self._is_single = isinstance(given, Tensor)
        parts = [given] if self._is_single else list(given.values()) if isinstance(given, Mapping) else list(given)
        if not parts or not all(isinstance(p, Tensor) for p in parts):
            raise TypeError(f"{name} must be a tensor, or a list or dict of tensors")
        self._shapes = [p.shape for p in parts]
        self.start: Array = np.concatenate([p.detach().double().cpu().numpy().ravel() for p in parts])
        self.size = len(self.start)
        if not self.size or not np.isfinite(self.start).all():
            raise ValueError(f"{name} is empty, or holds NaN or infinity")

    def fill(self, flat: Tensor) -> Any:
        parts = [p.view(s) for p, s in zip(torch.split(flat, [s.numel() for s in self._shapes]), self._shapes)]
        return parts[0] if self._is_single else parts if self._keys is None else dict(zip(self._keys, parts))
