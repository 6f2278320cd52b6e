"""Sparse bilinear and trilinear maps as torch operators: compiled for CPU, gathered for other devices, differentiable any number of times.

The derivative of such a map by one of its factors is the same kind of map with the roles of the indices changed, so each operator is its
own derivative, and forces can be trained on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, library

from ._kernel import bilinear, spread, trilinear


@library.custom_op("workingpapers::sparse_bilinear", mutates_args=())
def sparse_bilinear(x: Tensor, y: Tensor, ix: Tensor, iy: Tensor, iz: Tensor, coef: Tensor, size: int) -> Tensor:
    """z[n, iz] = sum coef x[n, ix] y[n, iy]; x `(n, d1)`, y `(n, d2)` to `(n, size)`. Cost: 3 operations a term and row."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return x.new_zeros(len(x), size).index_add_(1, iz, coef.to(x.dtype) * x[:, ix] * y[:, iy])
    out = x.new_empty(len(x), size)
    spread(bilinear, [_plain(x), _plain(y)], [_plain(i) for i in (ix, iy, iz)], _plain(coef), out.numpy(), torch.get_num_threads())
    return out


@library.custom_op("workingpapers::sparse_trilinear", mutates_args=())
def sparse_trilinear(x: Tensor, y: Tensor, w: Tensor, ix: Tensor, iy: Tensor, iw: Tensor, iz: Tensor, coef: Tensor, size: int) -> Tensor:
    """z[n, iz] = sum coef x[n, ix] y[n, iy] w[n, iw]."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return x.new_zeros(len(x), size).index_add_(1, iz, coef.to(x.dtype) * x[:, ix] * y[:, iy] * w[:, iw])
    out = x.new_empty(len(x), size)
    indices = [_plain(i) for i in (ix, iy, iw, iz)]
    spread(trilinear, [_plain(x), _plain(y), _plain(w)], indices, _plain(coef), out.numpy(), torch.get_num_threads())
    return out


def _plain(t: Tensor) -> Any:
    return t.detach().contiguous().numpy()


@sparse_bilinear.register_fake
def _(x: Tensor, y: Tensor, ix: Tensor, iy: Tensor, iz: Tensor, coef: Tensor, size: int) -> Tensor:
    return x.new_empty(len(x), size)


@sparse_trilinear.register_fake
def _(x: Tensor, y: Tensor, w: Tensor, ix: Tensor, iy: Tensor, iw: Tensor, iz: Tensor, coef: Tensor, size: int) -> Tensor:
    return x.new_empty(len(x), size)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:-1])


def _bilinear_backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
    x, y, ix, iy, iz, coef = ctx.saved_tensors
    gx = sparse_bilinear(g, y, iz, iy, ix, coef, x.shape[1]) if ctx.needs_input_grad[0] else None
    gy = sparse_bilinear(g, x, iz, ix, iy, coef, y.shape[1]) if ctx.needs_input_grad[1] else None
    return gx, gy, None, None, None, None, None


def _trilinear_backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
    x, y, w, ix, iy, iw, iz, coef = ctx.saved_tensors
    need = ctx.needs_input_grad
    gx = sparse_trilinear(g, y, w, iz, iy, iw, ix, coef, x.shape[1]) if need[0] else None
    gy = sparse_trilinear(g, x, w, iz, ix, iw, iy, coef, y.shape[1]) if need[1] else None
    gw = sparse_trilinear(g, x, y, iz, ix, iy, iw, coef, w.shape[1]) if need[2] else None
    return gx, gy, gw, None, None, None, None, None, None


sparse_bilinear.register_autograd(_bilinear_backward, setup_context=_keep)
sparse_trilinear.register_autograd(_trilinear_backward, setup_context=_keep)
