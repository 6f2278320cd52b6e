"""Exact tables in double precision: Clebsch-Gordan, spherical harmonics, quadrature on the sphere, rotation matrices.

Conventions are e3nn's: real basis, components m = -l..l, polar axis y, so that degree 1 is the vector (x, y, z); no Condon-Shortley phase.
With polar angle beta and azimuth alpha: x = sin(beta) sin(alpha), y = cos(beta), z = sin(beta) cos(alpha).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def dim(l_max: int) -> int:
    """Components of all degrees 0..l_max."""
    return (l_max + 1) ** 2


# ---------------------------------------------------------------- Clebsch-Gordan


def _step(l: int, m: Any) -> Any:
    """Factor of the raising operator on |l, m>."""
    return np.sqrt(np.maximum(0.0, (l - m) * (l + m + 1.0)))


@cache
def complex_cg(l1: int, l2: int, l3: int) -> Array:
    """<l1 m1, l2 m2 | l3 m3>, `(2 l1 + 1, 2 l2 + 1, 2 l3 + 1)`, Condon-Shortley phases.

    The highest state solves a two-term recursion, the others follow by lowering: no sums of large alternating terms.
    """
    out = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    lowest, highest = max(-l1, l3 - l2), min(l1, l3 + l2)
    state = np.zeros((2 * l1 + 1, 2 * l2 + 1))
    a = 1.0
    for m1 in range(lowest, highest + 1):
        state[l1 + m1, l2 + l3 - m1] = a
        if m1 < highest:
            a *= -float(_step(l1, m1) / _step(l2, l3 - m1 - 1))
    state *= np.sign(state[l1 + highest, l2 + l3 - highest]) / np.linalg.norm(state)
    down1, down2 = _step(l1, np.arange(-l1, l1))[:, None], _step(l2, np.arange(-l2, l2))[None, :]
    sign = (-1) ** (l1 + l2 - l3)
    for m3 in range(l3, -1, -1):
        out[:, :, l3 + m3] = state
        out[:, :, l3 - m3] = sign * state[::-1, ::-1]
        if m3 > 0:
            lower = np.zeros_like(state)
            lower[:-1] += down1 * state[1:]
            lower[:, :-1] += down2 * state[:, 1:]
            state = lower / _step(l3, m3 - 1)
    return out


@cache
def _real_to_complex(l: int) -> npt.NDArray[np.complex128]:
    q = np.zeros((2 * l + 1, 2 * l + 1), dtype=np.complex128)
    q[l, l] = 1
    for m in range(1, l + 1):
        q[l - m, l + m], q[l - m, l - m] = 0.5**0.5, -1j * 0.5**0.5
        q[l + m, l + m], q[l + m, l - m] = (-1) ** m * 0.5**0.5, 1j * (-1) ** m * 0.5**0.5
    return q * (-1j) ** l


@cache
def cg(l1: int, l2: int, l3: int) -> Array:
    """Real Clebsch-Gordan block `(2 l1 + 1, 2 l2 + 1, 2 l3 + 1)`, norm 1: the same as `e3nn.o3.wigner_3j`."""
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"degrees {l1}, {l2}, {l3} break the triangle rule")
    c = np.tensordot(_real_to_complex(l1).T, complex_cg(l1, l2, l3), axes=(1, 0))
    c = np.tensordot(c, _real_to_complex(l2), axes=(1, 0))  # (j, n, l)
    real = np.real(np.tensordot(c, _real_to_complex(l3).conj(), axes=(1, 0)))
    real[np.abs(real) < 1e-14] = 0.0
    real /= np.linalg.norm(real)
    real.flags.writeable = False
    return real


# ---------------------------------------------------------------- spherical harmonics


def legendre(l_max: int, cos: Array, sin: Array) -> Array:
    """Polar parts `(l_max + 1, l_max + 1, n)`, by degree and order m >= 0, normalised so that harmonics have norm 1 over the sphere.

    `sin` may be negative: that continues the harmonics smoothly round the whole circle of beta.
    """
    p = np.zeros((l_max + 1, l_max + 1, len(cos)))
    p[0, 0] = (4 * np.pi) ** -0.5
    for m in range(1, l_max + 1):
        p[m, m] = np.sqrt((2 * m + 1) / (2 * m)) * sin * p[m - 1, m - 1]
    for m in range(l_max):
        p[m + 1, m] = np.sqrt(2 * m + 3) * cos * p[m, m]
    for m in range(l_max + 1):
        for l in range(m + 2, l_max + 1):
            a = np.sqrt((4 * l * l - 1) / (l * l - m * m))
            b = np.sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1))
            p[l, m] = a * (cos * p[l - 1, m] - b * p[l - 2, m])
    return p


def azimuth(m_max: int, alpha: Array) -> Array:
    """Azimuthal parts `(2 m_max + 1, n)`: sqrt(2) sin(|m| alpha) for m < 0, 1, sqrt(2) cos(m alpha)."""
    m = np.arange(1, m_max + 1)[:, None] * alpha
    return np.concatenate([2**0.5 * np.sin(m)[::-1], np.ones((1, len(alpha))), 2**0.5 * np.cos(m)])


def harmonics(l_max: int, xyz: Array) -> Array:
    """Real spherical harmonics of directions `(n, 3)`: `(n, (l_max + 1)^2)`, orthonormal over the sphere."""
    unit = xyz / np.linalg.norm(xyz, axis=1, keepdims=True)
    sin = np.hypot(unit[:, 0], unit[:, 2])
    polar, around = legendre(l_max, unit[:, 1], sin), azimuth(l_max, np.arctan2(unit[:, 0], unit[:, 2]))
    return np.stack([polar[l, abs(m)] * around[l_max + m] for l in range(l_max + 1) for m in range(-l, l + 1)], axis=1)


@cache
def sphere_grid(n_beta: int, n_alpha: int) -> tuple[Array, Array, Array, Array]:
    """Gauss-Legendre in beta times uniform in alpha: directions `(n_beta n_alpha, 3)`, weights, cos(beta), weights of beta."""
    cos, w = np.polynomial.legendre.leggauss(n_beta)
    sin, alpha = np.sqrt(1 - cos**2), 2 * np.pi * np.arange(n_alpha) / n_alpha
    xyz = np.stack([np.outer(sin, np.sin(alpha)), np.outer(cos, np.ones(n_alpha)), np.outer(sin, np.cos(alpha))], axis=-1)
    return xyz.reshape(-1, 3), np.repeat(w, n_alpha) * 2 * np.pi / n_alpha, cos, w


def needed_grid(total_degree: int) -> tuple[int, int]:
    """Least (n_beta, n_alpha) that integrates products of harmonics of this total degree without error."""
    return total_degree // 2 + 1, total_degree + 1


@cache
def vector_harmonics(j: int, l: int, n_beta: int, n_alpha: int) -> Array:
    """Vector spherical harmonics of total degree j made from Y_l, `(2 j + 1, 3, points)`, orthonormal: sqrt(2j+1) sum C^j_{l1} Y_l e_k."""
    y = harmonics(l, sphere_grid(n_beta, n_alpha)[0])[:, l * l :]
    return np.asarray(np.einsum("mkj,pm->jkp", cg(l, 1, j), y) * (2 * j + 1) ** 0.5)


# ---------------------------------------------------------------- rotations


@cache
def _directions(l_max: int) -> tuple[Array, list[Any]]:
    xyz = np.random.default_rng(0).normal(size=(4 * l_max + 8, 3))
    y = harmonics(l_max, xyz)
    return xyz, [np.asarray(np.linalg.pinv(y[:, l * l : (l + 1) ** 2])) for l in range(l_max + 1)]


def rotations(l_max: int, R: Array) -> list[Array]:
    """Matrices D_l with Y_l(R r) = D_l Y_l(r) for a rotation matrix R `(3, 3)`, degrees 0..l_max.

    Solved from the harmonics themselves, so that they share nothing with Clebsch-Gordan tables. e3nn builds its own from generators
    in single precision, which is too coarse to prove anything below 1e-7.
    """
    xyz, inverse = _directions(l_max)
    turned = harmonics(l_max, xyz @ R.T)
    return [(inverse[l] @ turned[:, l * l : (l + 1) ** 2]).T for l in range(l_max + 1)]


def random_rotation(rng: np.random.Generator) -> Array:
    """A rotation drawn evenly."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return np.asarray(q * np.linalg.det(q))
