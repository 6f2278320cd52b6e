"""Maximum likelihood from preferences, and the Gaussian cloud around it: the compiled part of `RewardPosterior`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from ._linalg import factorise, norm, normals, rank_one_update, solve_transposed, solve_upper
from ._links import log_likelihood, slopes

Array = npt.NDArray[np.float64]

TOLERANCE = 1e-7  # of the gradient; the objective is lam-strongly convex, so theta is off by at most sqrt(d) * this / lam
MAX_STEPS = 200
STALE = 5  # steps after which the Hessian is made anew for the answers to come


class Answers(NamedTuple):
    """Answers with equal differences merged. Arrays longer than needed; `used[0]` rows are in use, `used[1]` answers were given."""

    x: Array  # (capacity, d)
    wins: Array  # (capacity,) answers in favour of +x; an "equal" gives half a win and half a loss
    losses: Array
    slots: npt.NDArray[np.int64]  # open-addressing hash table of row numbers, -1 where free; a power of two long
    used: npt.NDArray[np.int64]


class Cloud(NamedTuple):
    """The posterior itself: factor of Sigma_r, its mean, and a factor of the Hessian that lags behind."""

    factor: Array  # (d, d), R'R = Sigma_r = lam I + sum x x'
    mean: Array  # (d,)
    hessian: Array  # (d, d)
    largest: Array  # (1,) largest squared length of an asked x, for the bound


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def row_of(answers: Answers, x: Array) -> int:
    """The row that holds x, made when there is none."""
    bits = x.view(np.int64)
    h = np.int64(1469598103934665603)
    for b in bits:
        h = (h ^ (b >> np.int64(20))) * np.int64(1099511628211)
        h ^= h >> np.int64(29)
    mask = len(answers.slots) - 1
    place = h & mask
    while answers.slots[place] >= 0:
        row = answers.slots[place]
        same = True
        for j in range(len(x)):
            if answers.x[row, j] != x[j]:
                same = False
                break
        if same:
            return int(row)
        place = (place + 1) & mask
    row = answers.used[0]
    answers.slots[place] = row
    answers.x[row] = x
    answers.used[0] += 1
    return int(row)


@numba.njit(cache=True, fastmath={"reassoc", "contract"})  # type: ignore[untyped-decorator,unused-ignore]
def _gradient(answers: Answers, theta: Array, ridge: float, gain: float, code: int, gradient: Array) -> float:
    """Fill in the gradient of the penalised negative log-likelihood; its largest entry."""
    for j in range(len(theta)):
        gradient[j] = ridge * theta[j]
    for i in range(answers.used[0]):
        z = 0.0
        for j in range(len(theta)):
            z += answers.x[i, j] * theta[j]
        up, down = slopes(gain * z, code)
        pull = gain * (answers.wins[i] * up - answers.losses[i] * down)
        for j in range(len(theta)):
            gradient[j] -= pull * answers.x[i, j]
    largest = 0.0
    for g in gradient:
        largest = max(largest, abs(g))
    return largest


@numba.njit(cache=True, fastmath={"reassoc", "contract"})  # type: ignore[untyped-decorator,unused-ignore]
def _value(answers: Answers, theta: Array, ridge: float, gain: float, code: int) -> float:
    """The penalised negative log-likelihood."""
    total = 0.0
    for v in theta:
        total += 0.5 * ridge * v * v
    for i in range(answers.used[0]):
        z = 0.0
        for j in range(len(theta)):
            z += answers.x[i, j] * theta[j]
        total -= answers.wins[i] * log_likelihood(gain * z, code)[0] + answers.losses[i] * log_likelihood(-gain * z, code)[0]
    return total


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def hessian_factor(answers: Answers, theta: Array, ridge: float, gain: float, code: int) -> Array:
    """Upper factor of the Hessian of the penalised negative log-likelihood at theta; O(rows d^2 + d^3)."""
    d = len(theta)
    H = ridge * np.eye(d)
    for i in range(answers.used[0]):
        z = 0.0
        for j in range(d):
            z += answers.x[i, j] * theta[j]
        z *= gain
        weight = gain * gain * (answers.wins[i] * log_likelihood(z, code)[2] + answers.losses[i] * log_likelihood(-z, code)[2])
        for a in range(d):
            f = weight * answers.x[i, a]
            if f != 0.0:
                for b in range(a, d):
                    H[a, b] += f * answers.x[i, b]
    return factorise(H)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _newton_step(factor: Array, gradient: Array) -> Array:
    return solve_upper(factor, solve_transposed(factor, gradient))


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def fit(answers: Answers, cloud: Cloud, ridge: float, gain: float, code: int) -> int:
    """Minimise the penalised negative log-likelihood from where the mean stands; steps taken, -1 where they ran out.

    One answer hardly moves the Hessian, and a gradient costs a d-th of it: steps are taken with the one at hand as long as they at
    least halve the gradient, which is all that a convex problem asks. Where one does not, the Hessian is made anew and the step is
    damped by a line search: undamped, Newton's method diverges on nearly separable answers.
    """
    d = len(cloud.mean)
    theta, gradient, ahead = cloud.mean, np.empty(d), np.empty(d)
    size = _gradient(answers, theta, ridge, gain, code, gradient)
    for step in range(MAX_STEPS):
        if size <= TOLERANCE:
            if step > STALE:
                cloud.hessian[:] = hessian_factor(answers, theta, ridge, gain, code)
            return step
        trial = theta - _newton_step(cloud.hessian, gradient)
        size_ahead = _gradient(answers, trial, ridge, gain, code, ahead)
        if not size_ahead <= 0.5 * size:
            cloud.hessian[:] = hessian_factor(answers, theta, ridge, gain, code)
            direction = _newton_step(cloud.hessian, gradient)
            slope = 0.0
            for j in range(d):
                slope += gradient[j] * direction[j]
            value, length = _value(answers, theta, ridge, gain, code), 1.0
            while _value(answers, theta - length * direction, ridge, gain, code) > value - 1e-4 * length * slope:
                length *= 0.5
                if length < 1e-10:
                    return step  # rounding leaves nothing to gain
            trial = theta - length * direction
            size_ahead = _gradient(answers, trial, ridge, gain, code, ahead)
        theta[:] = trial
        gradient, ahead, size = ahead, gradient, size_ahead
    return -1


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def fit_in_ball(answers: Answers, cloud: Cloud, lam: float, gain: float, code: int, bound: float) -> int:
    """`fit`, with the length of theta at most `bound`: the multiplier of the constraint is found by bisection."""
    low, high, ridge, is_bracketed, steps = 0.0, -1.0, 0.0, False, 0
    for _ in range(120):
        steps = fit(answers, cloud, lam + ridge, gain, code)
        length = 0.0
        for v in cloud.mean:
            length += v * v
        length = math.sqrt(length)
        if length <= bound:
            high, is_bracketed = ridge, True
            if ridge == 0.0 or length > bound * (1 - 1e-9):
                break
        else:
            low = ridge
        ridge = 0.5 * (low + high) if is_bracketed else max(lam, 4.0 * ridge)
    return steps


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def take_answer(answers: Answers, cloud: Cloud, x: Array, preference: float, lam: float, gain: float, code: int, bound: float) -> int:
    """Take in one answer about the difference x: Sigma_r gains x x', the mean is fitted again from where it stood."""
    rank_one_update(cloud.factor, x)
    cloud.largest[0] = max(cloud.largest[0], (x**2).sum())
    z, sign = 0.0, 0.0
    for j in range(len(x)):
        z += x[j] * cloud.mean[j]
        if sign == 0.0 and x[j] != 0.0:
            sign = 1.0 if x[j] > 0 else -1.0
    if sign == 0.0:
        answers.used[1] += 1
        return 0  # equal features: nothing can be learned
    row = row_of(answers, sign * x + 0.0)  # + 0.0 turns -0.0 into 0.0
    won = preference if sign > 0 else 1.0 - preference
    answers.wins[row] += won
    answers.losses[row] += 1.0 - won
    answers.used[1] += 1
    z *= gain
    weight = preference * log_likelihood(z, code)[2] + (1.0 - preference) * log_likelihood(-z, code)[2]
    rank_one_update(cloud.hessian, (gain * math.sqrt(weight)) * x)
    return fit_in_ball(answers, cloud, lam, gain, code, bound)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def query_value(factor: Array, x: Array, sigma: float) -> float:
    """`E |x . (theta - theta')|` of two draws: `(2 / sqrt(pi)) sigma ||x||_{Sigma^{-1}}`."""
    return 2.0 / math.sqrt(math.pi) * sigma * norm(factor, x)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def draw(cloud: Cloud, sigma: float, rng: np.random.Generator) -> Array:
    """One reward vector from the cloud, shape (d,)."""
    return cloud.mean + sigma * solve_upper(cloud.factor, normals(rng, len(cloud.mean)))
