"""Operations of each solver, and how long they may be expected to take: what `solver="auto"` chooses by.

Counted are multiplications, additions, divisions and roots of the regressions and of the factors' changes of basis; a symmetric product
counts once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]


def exact_flops(m: Counts, k: int) -> Counts:
    """Gram matrix, right side, Cholesky and two solves of a regression with m rows and k unknowns."""
    long = m * k * (k + 1) + 2 * m * k + k * (k + 1) * (2 * k + 1) / 6 + 2 * k**2
    short = m * (m + 1) * k + 2 * m * k + m * (m + 1) * (2 * m + 1) / 6 + 2 * m**2
    return np.asarray(np.where(m >= k, long, short))


def iterative_flops(m: Counts, k: int, passes: Counts) -> Counts:
    """Conjugate gradients or LSQR: two products with A a pass, and one more to know the size of the gradient at 0."""
    return np.asarray(4 * m * k * (passes + 1) + 10 * k * passes)


def sketched_flops(m: Counts, k: int, passes: Counts, size: int, kind: str = "countsketch") -> Counts:
    """Sketch of A and b, QR of the sketch, then passes with two triangular solves each."""
    rows = np.minimum(m, size)
    padded = 2 ** np.ceil(np.log2(np.maximum(m, 1)))
    by_kind = {"countsketch": m, "srht": padded * np.log2(np.maximum(padded, 2)), "gaussian": 2 * m * size}[kind]
    sketch = np.where(m <= size, 0, by_kind * (k + 1))
    return np.asarray(sketch + 2 * rows * k**2 - 2 * k**3 / 3 + 4 * m * k * (passes + 1) + 2 * k**2 * (passes + 1))


def basis_flops(m: int, n: int, k: int) -> float:
    """QR of an (m, k) factor with its orthonormal part formed, and the other factor brought along."""
    return 4.0 * m * k**2 + 2.0 * n * k**2


# ---------------------------------------------------------------- expected time


def expected_passes(m: Counts, k: int, reduction: float, pace: float = 1.0) -> Counts:
    """Passes of conjugate gradients over m random rows of an orthonormal factor until the error has fallen to `reduction`.

    Singular values of such rows lie within 1 +- root of k/m of each other (Marchenko and Pastur; k/m turned over when m < k), so that the
    error falls by that root a pass, 1.35 at least being taken for problems near square; there are no more passes than unknowns. `pace` is
    how many times more were needed before on this side, which tells how far its rows are from random.
    """
    rate = np.maximum(np.sqrt(np.maximum(m, k) / np.maximum(np.minimum(m, k), 1)), 1.35)
    return np.asarray(1 + pace * np.minimum(np.log(2 / reduction) / np.log(rate), np.minimum(m, k)))


@dataclass(frozen=True)
class Speeds:
    """Operations a second by kind, as they grow with the rank; measured on one core with AVX-512. Only their ratios matter."""

    gram: tuple[float, float] = (36e9, 35.0)
    products: tuple[float, float] = (18e9, 10.0)
    factor: tuple[float, float] = (20e9, 150.0)

    @staticmethod
    def at(speed: tuple[float, float], k: int) -> float:
        return speed[0] * k / (k + speed[1])


def choose_exact(m: Counts, k: int, reduction: float, pace: float, speeds: Speeds = Speeds()) -> npt.NDArray[np.bool_]:
    """Whether each regression is expected to be solved sooner exactly than by conjugate gradients on an orthonormal factor.

    Sums over regressions with like sizes decide alike, so this is a threshold on m for each rank, tolerance and pace.
    """
    exactly = m * k * k / speeds.at(speeds.gram, k) + k**3 / 3 / speeds.at(speeds.factor, k)
    roughly = 4 * m * k * (1 + expected_passes(m, k, reduction, pace)) / speeds.at(speeds.products, k)
    return np.asarray(exactly <= 1.15 * roughly)  # a mixture of both has costs of its own


__all__ = ["Speeds", "basis_flops", "choose_exact", "exact_flops", "expected_passes", "iterative_flops", "sketched_flops"]
