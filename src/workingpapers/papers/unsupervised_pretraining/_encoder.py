"""Contrastive training of a torch encoder."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ._checks import Array

ROWS = 8_192


def train(
    encoder: nn.Module,
    x1: Array,
    x2: Array,
    signs: Array,
    *,
    dim: int,
    optimiser: str,
    l2: float,
    max_iter: int,
    tol: float,
    batch_size: int,
    learning_rate: float,
    rng: np.random.Generator,
    verbose: bool,
) -> tuple[nn.Module, Array, bool]:
    """Train a copy of `encoder` on pairs; the copy, the loss before and after each pass, and whether it settled.

    Raises:
        TypeError: the encoder is no torch module.
        ValueError: its output is not `(batch, dim)`.
    """
    if not isinstance(encoder, nn.Module):
        raise TypeError(f"encoder is a {type(encoder).__name__}: it must be 'linear' or a torch.nn.Module")
    model = copy.deepcopy(encoder).float().train()
    a, b, t = (torch.as_tensor(v, dtype=torch.float32) for v in (x1, x2, signs))
    with torch.no_grad():
        shape = tuple(model.eval()(a[:2]).shape)
    if shape != (min(2, len(a)), dim):
        raise ValueError(f"encoder gives shape {shape} for 2 rows: ({2}, dim={dim}) is needed")
    model.train()

    def loss(i: Any) -> Tensor:
        penalty = sum((p.square().sum() for p in model.parameters()), torch.zeros(())) if l2 else torch.zeros(())
        return nn.functional.softplus(-t[i] * (model(a[i]) * model(b[i])).sum(dim=1)).mean() + 0.5 * l2 * penalty

    path = [_mean_loss(model, a, b, t)]
    steps = (
        _lbfgs(model, loss, max_iter, tol)
        if optimiser == "lbfgs"
        else _adamw(model, loss, len(t), max_iter, batch_size, learning_rate, rng)
    )
    is_settled = optimiser == "adamw"
    with _progress(verbose, max_iter) as tick:
        for settled in steps:
            is_settled = settled
            path.append(_mean_loss(model, a, b, t))
            tick()
            if not np.isfinite(path[-1]):
                raise ValueError(f"the loss became {path[-1]} after {len(path) - 1} passes: lower learning_rate, or scale the columns")
    return model.eval(), np.array(path), is_settled


def _lbfgs(model: nn.Module, loss: Any, max_iter: int, tol: float) -> Iterator[bool]:
    """Blocks of 20 iterations, until one no longer pays; yields whether it settled."""
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=20, history_size=20, line_search_fn="strong_wolfe", tolerance_change=0.0)
    everything = slice(None)

    def closure() -> Tensor:
        optimiser.zero_grad()
        value: Tensor = loss(everything)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    before = float("inf")
    for _ in range(max(1, max_iter // 20)):
        optimiser.step(closure)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            now = float(loss(everything))
        yield (is_settled := before - now <= tol * max(1.0, abs(now)))
        if is_settled:
            return
        before = now


def _adamw(
    model: nn.Module, loss: Any, n: int, max_iter: int, batch_size: int, learning_rate: float, rng: np.random.Generator
) -> Iterator[bool]:
    """`max_iter` passes over the pairs with the learning rate falling to 0 on a cosine."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=max_iter)
    for _ in range(max_iter):
        for batch in np.array_split(rng.permutation(n), max(1, n // batch_size)):
            optimiser.zero_grad()
            loss(torch.from_numpy(batch)).backward()
            optimiser.step()
        schedule.step()
        yield True


def _mean_loss(model: nn.Module, a: Tensor, b: Tensor, t: Tensor) -> float:
    was_training = model.training
    model.eval()
    with torch.no_grad():
        total = sum(
            float(nn.functional.softplus(-t[i : i + ROWS] * (model(a[i : i + ROWS]) * model(b[i : i + ROWS])).sum(dim=1)).sum())
            for i in range(0, len(t), ROWS)
        )
    model.train(was_training)
    return total / len(t)


def encode(model: nn.Module, x: Array) -> Array:
    """Outputs `(m, dim)` in float64, in blocks of rows."""
    with torch.no_grad():
        return np.concatenate(
            [model(torch.as_tensor(x[i : i + ROWS], dtype=torch.float32)).double().numpy() for i in range(0, len(x), ROWS)]
        )


def _progress(verbose: bool, total: int) -> Any:
    if not verbose:
        return nullcontext(lambda: None)
    from contextlib import contextmanager

    @contextmanager
    def bar() -> Iterator[Any]:
        from rich.progress import Progress

        with Progress() as progress:
            task = progress.add_task("contrastive pretraining", total=total)
            yield lambda: progress.advance(task)

    return bar()
