"""BLAS and LAPACK of scipy as arguments of compiled functions: no call through Python, and compiled code that still caches on disk.

numba's own `dot` has no symmetric product, and its `cholesky` allocates at every call; both cost where matrices are small.
Arguments are addresses, matrices are column-major; an `(m, k)` array in row order is a `(k, m)` matrix with leading dimension k.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numba.experimental.function_type  # noqa: F401  (registers the protocol below)
import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import get_cython_function_address


class _Routine(types.WrapperAddressProtocol):  # type: ignore[misc,unused-ignore]
    """A routine of scipy's by name, for numba."""

    def __init__(self, module: str, name: str, arguments: int) -> None:
        self._address = get_cython_function_address(f"scipy.linalg.{module}", name)
        self._arguments = arguments

    def __wrapper_address__(self) -> Any:
        return self._address

    def signature(self) -> Any:
        return types.void(*[types.uintp] * self._arguments)


class Lapack(NamedTuple):
    """`gemm(transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)`, `syrk(uplo, trans, n, k, alpha, a, lda, beta, c, ldc)`,
    `potrf(uplo, n, a, lda, info)`, `potrs(uplo, n, nrhs, a, lda, b, ldb, info)`, `geqrf(m, n, a, lda, tau, work, lwork, info)`,
    `ormqr(side, trans, m, n, k, a, lda, tau, c, ldc, work, lwork, info)`."""

    gemm: Any
    syrk: Any
    potrf: Any
    potrs: Any
    geqrf: Any
    ormqr: Any


@cache
def _lapack(letter: str) -> Lapack:
    return Lapack(_Routine("cython_blas", f"{letter}gemm", 13), _Routine("cython_blas", f"{letter}syrk", 10),
                  _Routine("cython_lapack", f"{letter}potrf", 5), _Routine("cython_lapack", f"{letter}potrs", 8),
                  _Routine("cython_lapack", f"{letter}geqrf", 8), _Routine("cython_lapack", f"{letter}ormqr", 13))


def lapack(dtype: npt.DTypeLike) -> Lapack:
    """The routines for single or double precision."""
    return _lapack("s" if np.dtype(dtype) == np.float32 else "d")


__all__ = ["Lapack", "lapack"]
