"""The Gaussian cloud of rewards that fit the answers: `N(theta_hat, sigma_r^2 Sigma_r^{-1})`."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from ._linalg import factorise, norm, normals, rank_one_update, solve_upper
from ._links import Link, log_likelihood

Array = npt.NDArray[np.float64]

TOLERANCE = 1e-9  # of the gradient; the objective is lam-strongly convex, so theta is off by at most sqrt(d) * this / lam
MAX_STEPS = 200


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
def _row_of(answers: Answers, x: Array) -> int:
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


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _value_and_gradient(answers: Answers, theta: Array, ridge: float, gain: float, code: int, gradient: Array) -> float:
    total = 0.0
    for j in range(len(theta)):
        gradient[j] = ridge * theta[j]
        total += 0.5 * ridge * theta[j] ** 2
    for i in range(answers.used[0]):
        z = 0.0
        for j in range(len(theta)):
            z += answers.x[i, j] * theta[j]
        z *= gain
        up, up_slope, _ = log_likelihood(z, code)
        down, down_slope, _ = log_likelihood(-z, code)
        total -= answers.wins[i] * up + answers.losses[i] * down
        pull = gain * (answers.wins[i] * up_slope - answers.losses[i] * down_slope)
        for j in range(len(theta)):
            gradient[j] -= pull * answers.x[i, j]
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
def fit(answers: Answers, cloud: Cloud, ridge: float, gain: float, code: int) -> int:
    """Minimise the penalised negative log-likelihood from where the mean stands; steps taken, -1 where they ran out.

    Newton's method with a line search (undamped it diverges on nearly separable answers). The Hessian is refreshed only
    when a step shrinks the gradient too little: one answer hardly moves it, and a gradient costs a d-th of it.
    """
    d = len(cloud.mean)
    theta, gradient, ahead = cloud.mean, np.empty(d), np.empty(d)
    value = _value_and_gradient(answers, theta, ridge, gain, code, gradient)
    is_fresh = False
    for step in range(MAX_STEPS):
        size = np.abs(gradient).max()
        if size <= TOLERANCE:
            return step
        y = gradient.copy()
        for k in range(d):  # (R'R)^{-1} gradient
            y[k] /= cloud.hessian[k, k]
            for i in range(k + 1, d):
                y[i] -= cloud.hessian[k, i] * y[k]
        direction = solve_upper(cloud.hessian, y)
        slope = 0.0
        for j in range(d):
            slope += gradient[j] * direction[j]
        length = 1.0
        while True:
            new = _value_and_gradient(answers, theta - length * direction, ridge, gain, code, ahead)
            if new <= value - 1e-4 * length * slope + 1e-13 * abs(value) or length < 1e-12:
                break
            length *= 0.5
        shrank = np.abs(ahead).max() / size
        if shrank >= 1.0 and is_fresh and length < 1e-12:
            return step  # rounding leaves nothing to gain
        theta -= length * direction
        gradient, ahead, value = ahead, gradient, new
        is_fresh = shrank > 0.2 or length < 1.0
        if is_fresh:
            cloud.hessian[:] = hessian_factor(answers, theta, ridge, gain, code)
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
    row = _row_of(answers, sign * x + 0.0)  # + 0.0 turns -0.0 into 0.0
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


class Moments(NamedTuple):
    """Mean, shape (d,), and covariance, shape (d, d)."""

    mean: Array
    cov: Array


class RewardPosterior:
    """Rewards linear in features, learned from answers about pairs: maximum likelihood and a Gaussian around it.

    `theta_hat = argmin - sum log Phi(o x . theta) + (lam / 2) ||theta||^2` over `||theta|| <= norm_bound`, and
    `Sigma_r = lam I + sum x x'` over asked pairs only, `x = phi(first) - phi(second)`, `o = +-1`. An answer costs
    O(d^2) for Sigma_r and a few passes over the distinct pairs for theta; a draw O(d^2).

    Args:
        dim: d.
        sigma: spread of the draws, sigma_r.
        lam: ridge and prior precision, above 0.
        link: `logistic`, `probit`, or a `Link` with a gain.
        norm_bound: B, or None.

    >>> posterior = RewardPosterior(2, sigma=0.3)
    >>> for _ in range(20):
    ...     steps = posterior.add(np.array([1.0, -1.0]), 1.0)       # the first, with feature 0, was better each time
    >>> mean, cov = posterior.moments
    >>> bool(mean[0] > 1 and np.isclose(mean.sum(), 0)), posterior.n_answers, posterior.n_distinct
    (True, 20, 1)
    >>> bool(posterior.value(np.array([1.0, 1.0])) > posterior.value(np.array([1.0, -1.0])))
    True
    """

    def __init__(self, dim: int, *, sigma: float = 0.3, lam: float = 1.0, link: str | Link = "logistic",
                 norm_bound: float | None = None) -> None:
        self.dim, self.sigma, self.lam, self.link = int(dim), float(sigma), float(lam), Link.of(link)
        if self.dim < 1:
            raise ValueError(f"dim is {dim}: 1 at least")
        if self.link.name == "deterministic":
            raise ValueError("link is 'deterministic': answers without noise have no likelihood to fit; use logistic or probit")
        for name, number in (("sigma", self.sigma), ("lam", self.lam)):
            if not (math.isfinite(number) and number > 0):
                raise ValueError(f"{name} is {number}: a finite number above 0 is needed")
        if norm_bound is not None and not (math.isfinite(norm_bound) and norm_bound > 0):
            raise ValueError(f"norm_bound is {norm_bound}: a finite number above 0, or None")
        self.norm_bound = norm_bound
        root = math.sqrt(self.lam)
        self.cloud = Cloud(root * np.eye(self.dim), np.zeros(self.dim), root * np.eye(self.dim), np.zeros(1))
        self.answers = _room_for(self.dim, 16)

    @property
    def bound(self) -> float:
        """`norm_bound` as a number."""
        return math.inf if self.norm_bound is None else self.norm_bound

    @property
    def moments(self) -> Moments:
        """Mean and covariance `sigma^2 Sigma_r^{-1}`."""
        root = np.linalg.solve(self.cloud.factor, np.eye(self.dim))
        return Moments(self.cloud.mean.copy(), self.sigma**2 * root @ root.T)

    @property
    def n_answers(self) -> int:
        """Answers taken in."""
        return int(self.answers.used[1])

    @property
    def n_distinct(self) -> int:
        """Distinct pairs among them, up to sign."""
        return int(self.answers.used[0])

    def value(self, x: npt.ArrayLike) -> float:
        """How much two draws disagree about a pair, on average; x is the difference of features, shape (d,)."""
        return float(query_value(self.cloud.factor, self._checked(x), self.sigma))

    def sample(self, rng: np.random.Generator) -> Array:
        """One draw, shape (d,)."""
        return np.asarray(draw(self.cloud, self.sigma, rng))

    def add(self, x: npt.ArrayLike, preference: float) -> int:
        """Take in one answer: 1 the first was better, 0 the second, 0.5 equal. Newton steps taken.

        Raises:
            ValueError: a preference other than these; a wrong shape; NaN.
        """
        difference = self._checked(x)
        answer = checked_preference(preference)
        self.reserve(1)
        return int(take_answer(self.answers, self.cloud, difference, answer, self.lam, self.link.gain, self.link.code, self.bound))

    def reserve(self, more: int) -> None:
        """Make room for this many further distinct pairs."""
        old, n = self.answers, self.n_distinct
        if n + more <= len(old.wins):
            return
        new = _room_for(self.dim, max(n + more, 2 * len(old.wins)))
        new.x[:n], new.wins[:n], new.losses[:n] = old.x[:n], old.wins[:n], old.losses[:n]
        new.used[1] = old.used[1]
        for row in range(n):
            _row_of(new, old.x[row].copy())
        self.answers = new

    def bound_on_queries(self, eps: float) -> float:
        """The most answers that a run with threshold eps can have asked for: holds for every run of the rule.

        `N <= 2 d max(1, 4 sigma^2 / (pi eps^2)) log(1 + N max||x||^2 / (lam d))`, by the elliptical potential; infinite at eps = 0.
        """
        if eps <= 0:
            return math.inf
        scale = max(1.0, 4 * self.sigma**2 / (math.pi * eps**2))
        return 2 * self.dim * scale * math.log1p(self.n_answers * float(self.cloud.largest[0]) / (self.lam * self.dim))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays that hold everything learned."""
        n = self.n_distinct
        return {"reward_factor": self.cloud.factor, "reward_mean": self.cloud.mean, "reward_hessian": self.cloud.hessian,
                "reward_largest": self.cloud.largest, "pairs": self.answers.x[:n], "wins": self.answers.wins[:n],
                "losses": self.answers.losses[:n], "n_answers": self.answers.used[1:].copy()}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """The reverse of `state`; shapes and signs are checked.

        Raises:
            ValueError: arrays that no posterior of this size can have.
        """
        d, n = self.dim, len(state["wins"])
        shapes = {"reward_factor": (d, d), "reward_mean": (d,), "reward_hessian": (d, d), "reward_largest": (1,), "pairs": (n, d),
                  "wins": (n,), "losses": (n,), "n_answers": (1,)}
        for name, shape in shapes.items():
            if state[name].shape != shape:
                raise ValueError(f"{name} has shape {state[name].shape}, not {shape}: the file is of another agent")
        for name in ("reward_factor", "reward_hessian"):
            if not (np.diagonal(state[name]) > 0).all() or np.tril(state[name], -1).any():
                raise ValueError(f"{name} is no upper triangle with a positive diagonal: the file is damaged")
        if (state["wins"] < 0).any() or (state["losses"] < 0).any() or state["n_answers"][0] < n:
            raise ValueError("wins, losses or n_answers are negative or too few: the file is damaged")
        for name, array in zip(("reward_factor", "reward_mean", "reward_hessian", "reward_largest"), self.cloud):
            array[:] = state[name]
        self.answers = _room_for(d, max(16, n))
        for row in range(n):
            if _row_of(self.answers, np.ascontiguousarray(state["pairs"][row])) != row:
                raise ValueError("pairs holds one pair twice: the file is damaged")
        self.answers.wins[:n], self.answers.losses[:n] = state["wins"], state["losses"]
        self.answers.used[1] = state["n_answers"][0]

    def _checked(self, x: npt.ArrayLike) -> Array:
        difference = np.ascontiguousarray(x, dtype=np.float64)
        if difference.shape != (self.dim,):
            raise ValueError(f"x has shape {difference.shape}, not ({self.dim},): a difference of two feature sums is needed")
        if not np.isfinite(difference).all():
            raise ValueError("x holds NaN or infinity")
        return difference


def _room_for(dim: int, rows: int) -> Answers:
    slots = 1 << max(5, (2 * rows - 1).bit_length())
    return Answers(np.zeros((rows, dim)), np.zeros(rows), np.zeros(rows), np.full(slots, -1, np.int64), np.zeros(2, np.int64))


def checked_preference(preference: Any) -> float:
    """0, 1 or 0.5 as a float; ValueError otherwise."""
    try:
        number = float(preference)
    except (TypeError, ValueError):
        number = math.nan
    if number not in (0.0, 0.5, 1.0) or isinstance(preference, str):
        raise ValueError(f"preference is {preference!r}: 1 (the first is better), 0 (the second) or 0.5 (equal) is needed")
    return number
