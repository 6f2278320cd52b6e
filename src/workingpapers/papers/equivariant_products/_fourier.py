"""Spherical harmonics as trigonometric polynomials in two angles, and back: the tables of the original Gaunt product, exact.

The official tables are integrated by trapezoid rules in single precision; here every entry is a finite sum in closed form.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from ._tables import Array, dim, legendre

Integers = npt.NDArray[np.int64]
Coo = tuple[Integers, Integers, Integers, Array]


@cache
def polar_series(l_max: int) -> Array:
    """Series of the polar parts in beta, `(l, |m|, u)`: of cos(u beta) for even m, of sin(u beta) for odd m."""
    n = 4 * l_max + 4
    beta = 2 * np.pi * np.arange(n) / n
    p = legendre(l_max, np.cos(beta), np.sin(beta))
    u = np.arange(l_max + 1)[:, None] * beta
    out = np.where(np.arange(l_max + 1)[None, :, None] % 2 == 0, p @ np.cos(u).T, p @ np.sin(u).T) * 2 / n
    out[:, :, 0] *= np.where(np.arange(l_max + 1) % 2 == 0, 0.5, 0.0)
    return np.where(np.abs(out) < 1e-15, 0.0, out)


@cache
def real_basis(l_max: int) -> tuple[tuple[int, int], ...]:
    """Pairs (v, u): azimuthal order v in -l_max..l_max (negative: sine), polar frequency u (from 1 for odd v, which has sines)."""
    return tuple((v, u) for v in range(-l_max, l_max + 1) for u in range(abs(v) % 2, l_max + 1))


@cache
def to_real(l_max: int) -> Array:
    """Harmonics to coefficients of `real_basis`, `((l_max + 1)^2, n)`."""
    place, series = {f: i for i, f in enumerate(real_basis(l_max))}, polar_series(l_max)
    out = np.zeros((dim(l_max), len(place)))
    for l in range(l_max + 1):
        for m in range(-l, l + 1):
            for u in range(abs(m) % 2, l + 1):
                out[l * l + l + m, place[m, u]] = series[l, abs(m), u] * (2**0.5 if m else 1.0)
    return out


def _cos_sin(k: Integers) -> Array:
    """Integral of cos(k beta) sin(beta) over 0..pi."""
    even = k % 2 == 0
    return np.where(even, 2.0 / np.where(even, 1.0 - k * k, 1.0), 0.0)


@cache
def polar_integrals(l_max: int, u_max: int) -> Array:
    """Integral over 0..pi of cos (sin, for odd m) of u beta, times the polar part of (l, m), times sin(beta): `(l, m, u)`."""
    u, w = np.arange(u_max + 1)[:, None], np.arange(l_max + 1)[None, :]
    minus, plus = _cos_sin(u - w), _cos_sin(u + w)
    even, odd = (minus + plus) / 2, (minus - plus) / 2
    series = polar_series(l_max)
    return np.stack([series[:, m] @ (even if m % 2 == 0 else odd).T for m in range(l_max + 1)], axis=1)


@cache
def from_real(l_max: int, f_max: int) -> Array:
    """Coefficients of `real_basis(f_max)` to harmonics up to l_max, by the integral over the sphere, `(n, (l_max + 1)^2)`."""
    basis, polar = real_basis(f_max), polar_integrals(l_max, f_max)
    out = np.zeros((len(basis), dim(l_max)))
    for i, (v, u) in enumerate(basis):
        for l in range(abs(v), l_max + 1):
            out[i, l * l + l + v] = polar[l, abs(v), u] * (2 * np.pi if v == 0 else np.pi * 2**0.5)
    return out


def _product(is_sine1: bool, a: int, is_sine2: bool, b: int) -> list[tuple[bool, int, float]]:
    """cos/sin(a t) times cos/sin(b t) as (is sine, frequency >= 0, factor)."""
    plus, minus = a + b, a - b
    if is_sine1 == is_sine2:
        return [(False, abs(minus), 0.5), (False, plus, -0.5 if is_sine1 else 0.5)]
    sign = (1.0 if minus >= 0 else -1.0) * (1.0 if is_sine1 else -1.0)  # sin a cos b has sin(a - b); cos a sin b has -sin(a - b)
    return [term for term in ((True, abs(minus), 0.5 * sign), (True, plus, 0.5)) if term[1] > 0]


@cache
def convolution(l1: int, l2: int) -> Coo:
    """The product of two series as a sparse bilinear map (first, second, out, factor): the convolution, written without complex numbers."""
    first, second = real_basis(l1), real_basis(l2)
    place = {f: i for i, f in enumerate(real_basis(l1 + l2))}
    found: dict[tuple[int, int, int], float] = {}
    for i, (v1, u1) in enumerate(first):
        for j, (v2, u2) in enumerate(second):
            polar = _product(v1 % 2 == 1, u1, v2 % 2 == 1, u2)
            for sine, v, factor in _product(v1 < 0, abs(v1), v2 < 0, abs(v2)):
                for _, u, factor_u in polar:
                    key = (i, j, place[-v if sine else v, u])
                    found[key] = found.get(key, 0.0) + factor * factor_u
    kept = sorted(((k, x) for k, x in found.items() if x != 0.0), key=lambda item: (item[0][2], item[0]))
    index = np.array([k for k, _ in kept], dtype=np.int64)
    return index[:, 0], index[:, 1], index[:, 2], np.array([x for _, x in kept])


# ---------------------------------------------------------------- complex, for the fast transform


@cache
def to_half_complex(l_max: int, n: int) -> Array:
    """Harmonics to the half spectrum that `irfft2` takes for an n x n torus: `((l_max + 1)^2, n, l_max + 1, 2)`, real and imaginary."""
    out, series = np.zeros((dim(l_max), n, l_max + 1), dtype=np.complex128), polar_series(l_max)
    for l in range(l_max + 1):
        for m in range(-l, l + 1):
            around = 1.0 if m == 0 else 2**0.5 / 2 * (1 if m > 0 else -1j)
            for u in range(abs(m) % 2, l + 1):
                value = series[l, abs(m), u] * around
                if m % 2 == 0:
                    out[l * l + l + m, u, abs(m)] += value / 2
                    out[l * l + l + m, -u % n, abs(m)] += value / 2
                else:
                    out[l * l + l + m, u, abs(m)] += -0.5j * value
                    out[l * l + l + m, -u % n, abs(m)] += 0.5j * value
    return np.stack([out.real, out.imag], axis=-1)


@cache
def from_half_complex(l_max: int, f_max: int, n: int) -> Array:
    """The half spectrum of `rfft2`, frequencies up to f_max, orders up to l_max, to harmonics: `(n, l_max + 1, 2, (l_max + 1)^2)`."""
    polar = polar_integrals(l_max, f_max)
    out = np.zeros((n, l_max + 1, 2, dim(l_max)))
    for l in range(l_max + 1):
        for m in range(-l, l + 1):
            for u in range(-f_max, f_max + 1):
                # exp(i u beta) against a cosine series gives the real integral, against a sine series i times the odd one.
                z: complex = polar[l, abs(m), abs(u)] * (1.0 if m % 2 == 0 else 1j * np.sign(u))
                # exp(i v alpha) against sqrt(2) cos, sqrt(2) sin; the conjugate half of the spectrum doubles the real part.
                z *= 2 * np.pi if m == 0 else 2 * np.pi * 2**0.5 * (1 if m > 0 else 1j)
                c = l * l + l + m
                out[u % n, abs(m), 0, c] = z.real
                out[u % n, abs(m), 1, c] = -z.imag
    return out
