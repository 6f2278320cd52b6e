"""The compiled loops behind `_sparse`: tiles of rows are transposed, so that the innermost loop runs over rows and vectorises."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numba
import numpy as np

TILE = 64
SMALLEST_SHARE = 2_000_000  # multiplications that a further thread is worth


def _signatures(n_factors: int) -> list[str]:
    """For single and double precision, so that set-up compiles them and no first call waits."""
    indices = ", ".join(["int64[::1]"] * (n_factors + 1))
    return [f"void({', '.join([f'{t}[:, ::1]'] * n_factors)}, {indices}, {t}[::1], {t}[:, ::1])" for t in ("float32", "float64")]


@numba.njit(_signatures(2), nogil=True, cache=True, fastmath=True)  # type: ignore[untyped-decorator, unused-ignore]
def bilinear(x: Any, y: Any, ix: Any, iy: Any, iz: Any, coef: Any, z: Any) -> None:
    """z[n, iz] = sum coef x[n, ix] y[n, iy]."""
    n_rows, kind = x.shape[0], x.dtype
    xt, yt, zt = np.zeros((x.shape[1], TILE), kind), np.zeros((y.shape[1], TILE), kind), np.zeros((z.shape[1], TILE), kind)
    for first in range(0, n_rows, TILE):
        n = min(TILE, n_rows - first)
        for i in range(n):
            for a in range(x.shape[1]):
                xt[a, i] = x[first + i, a]
            for a in range(y.shape[1]):
                yt[a, i] = y[first + i, a]
        zt[:] = 0
        for k in range(len(coef)):
            a, b, c, v = ix[k], iy[k], iz[k], coef[k]
            for i in range(TILE):
                zt[c, i] += v * xt[a, i] * yt[b, i]
        for i in range(n):
            for c in range(z.shape[1]):
                z[first + i, c] = zt[c, i]


@numba.njit(_signatures(3), nogil=True, cache=True, fastmath=True)  # type: ignore[untyped-decorator, unused-ignore]
def trilinear(x: Any, y: Any, w: Any, ix: Any, iy: Any, iw: Any, iz: Any, coef: Any, z: Any) -> None:
    """z[n, iz] = sum coef x[n, ix] y[n, iy] w[n, iw]."""
    n_rows, kind = x.shape[0], x.dtype
    xt, yt = np.zeros((x.shape[1], TILE), kind), np.zeros((y.shape[1], TILE), kind)
    wt, zt = np.zeros((w.shape[1], TILE), kind), np.zeros((z.shape[1], TILE), kind)
    for first in range(0, n_rows, TILE):
        n = min(TILE, n_rows - first)
        for i in range(n):
            for a in range(x.shape[1]):
                xt[a, i] = x[first + i, a]
            for a in range(y.shape[1]):
                yt[a, i] = y[first + i, a]
            for a in range(w.shape[1]):
                wt[a, i] = w[first + i, a]
        zt[:] = 0
        for k in range(len(coef)):
            a, b, d, c, v = ix[k], iy[k], iw[k], iz[k], coef[k]
            for i in range(TILE):
                zt[c, i] += v * xt[a, i] * yt[b, i] * wt[d, i]
        for i in range(n):
            for c in range(z.shape[1]):
                z[first + i, c] = zt[c, i]


@lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """One a process: a fork takes the pool along, but not its threads."""
    return ThreadPoolExecutor(threads, thread_name_prefix="sparse-product")


def spread(kernel: Callable[..., None], rows: list[Any], indices: list[Any], coef: Any, out: Any, threads: int) -> None:
    """Run a kernel over all rows, in a few threads where the work is worth it."""
    n = len(out)
    shares = max(1, min(threads, n * len(coef) // SMALLEST_SHARE))
    if shares == 1:
        kernel(*rows, *indices, coef, out)
        return
    cuts = [round(k * n / shares) for k in range(shares + 1)]
    pool = _pool(threads, os.getpid())
    jobs = [pool.submit(kernel, *(r[a:b] for r in rows), *indices, coef, out[a:b]) for a, b in pairwise(cuts)]
    for job in jobs:
        job.result()
