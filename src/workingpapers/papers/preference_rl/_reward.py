"""The Gaussian cloud of rewards that fit the answers: `N(theta_hat, sigma_r^2 Sigma_r^{-1})`."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._entries import drawn_reward
from ._fit import Answers, Cloud, query_value, row_of, take_answer
from ._linalg import rank_one_update
from ._links import Link
from ._state import take

Array = npt.NDArray[np.float64]


class Moments(NamedTuple):
    """Mean, shape (d,), and covariance, shape (d, d)."""

    mean: Array
    cov: Array


class RewardPosterior:
    """Rewards linear in features, learned from answers about pairs: maximum likelihood and a Gaussian around it.

    `theta_hat = argmin - sum log Phi(o x . theta) + (lam / 2) ||theta||^2` over `||theta|| <= norm_bound`, and
    `Sigma_r = lam I + sum x x'` over asked pairs only, `x = phi(first) - phi(second)`, `o = +-1`. An answer costs
    O(d^2) for Sigma_r and a few passes over the distinct pairs for theta; a draw O(d^2).

    It stands alone too: with any features of two things to be compared (embeddings of two texts, say) `value` tells whether the
    question is worth asking, and `add` takes the answer.

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

    def most_telling(self, xs: npt.ArrayLike, k: int) -> list[int]:
        """Rows of k pairs to ask about together, most disagreement first, each given that those before it were asked.

        Sigma_r does not depend on the answers, so nothing has to be guessed. Differences xs, shape (n, d); O(k n d^2).

        >>> RewardPosterior(2).most_telling([[2.0, 0.0], [1.9, 0.0], [0.0, 1.0]], k=2)
        [0, 2]
        """
        rows = [self._checked(x) for x in np.atleast_2d(np.asarray(xs, dtype=np.float64))]
        if not 0 < k <= len(rows):
            raise ValueError(f"k is {k}: from 1 to {len(rows)}, the number of pairs")
        factor, chosen = self.cloud.factor.copy(), []
        for _ in range(k):
            values = [-1.0 if i in chosen else query_value(factor, x, self.sigma) for i, x in enumerate(rows)]
            chosen.append(int(np.argmax(values)))
            rank_one_update(factor, rows[chosen[-1]])
        return chosen

    def sample(self, rng: np.random.Generator) -> Array:
        """One draw, shape (d,)."""
        return np.asarray(drawn_reward(self.cloud, self.sigma, rng))

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
            row_of(new, old.x[row].copy())
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
        d, n = self.dim, len(take(state, "wins", -1))
        shapes = {"reward_factor": (d, d), "reward_mean": (d,), "reward_hessian": (d, d), "reward_largest": (1,), "pairs": (n, d),
                  "losses": (n,), "n_answers": (1,)}
        for name, shape in shapes.items():
            take(state, name, *shape)
        for name in ("reward_factor", "reward_hessian"):
            if not (np.diagonal(state[name]) > 0).all() or np.tril(state[name], -1).any():
                raise ValueError(f"{name} is no upper triangle with a positive diagonal: the file is damaged")
        if (state["wins"] < 0).any() or (state["losses"] < 0).any() or state["n_answers"][0] < n:
            raise ValueError("wins, losses or n_answers are negative or too few: the file is damaged")
        for name, array in zip(("reward_factor", "reward_mean", "reward_hessian", "reward_largest"), self.cloud):
            array[:] = state[name]
        self.answers = _room_for(d, max(16, n))
        for row in range(n):
            if row_of(self.answers, np.ascontiguousarray(state["pairs"][row])) != row:
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
