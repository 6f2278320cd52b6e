"""mini-GP-UCB and mini-GP-EI: evaluate a candidate until the model has learned there what it can, then switch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ._acquisition import bayesian_width, block_gain, expected_improvement, repeats, rkhs_width, upper_confidence_bound
from ._base import Choice, Optimizer, Suggestion
from ._posterior import Mean
from ._surrogate import Candidate

Acquisition = Literal["ucb", "ei", "ts"]
Width = float | Literal["auto", "stale", "bayes"]
MOST_REPEATS = 2**53


@dataclass(frozen=True)
class Certificate:
    """Both sides of `#blocks <= 1 + logdet(I + K_T / lambda) / ln((C^2 + 1) / 2)`, for the run as it stands.

    Attributes:
        blocks: blocks begun; switches and unique points are at most as many.
        bound: the right-hand side.
        logdet: information of the run, in nats (twice the mutual information).
        guaranteed: whether the repeat rule was followed throughout: no block stopped early, no data from elsewhere
            within a block, no batch across candidates, no refit.
    """

    blocks: int
    bound: float
    logdet: float
    guaranteed: bool

    @property
    def holds(self) -> bool:
        """Whether the inequality is true."""
        return self.blocks <= self.bound * (1 + 1e-12)


class MiniGPOptimizer(Optimizer):
    """Gaussian-process optimisation with few switches (mini-GP-UCB, mini-GP-EI).

    At each decision the candidate that maximises the acquisition is evaluated B = max(1, floor((C^2 - 1) / sigma^2)) times,
    sigma^2 = var / noise: until its deviation has shrunk by the factor C. B is known beforehand, so that the block can run
    in parallel. Good for budgets of thousands to millions of noisy evaluations, and wherever a change of candidate is dear;
    of no use without noise. A decision costs O(A q) on A arms with q unique points; evaluations cost nothing.

    Args:
        space: arms `(A, d)`, a list of bounds or dimensions, or a scikit-optimize `Space`. It is maximised.
        acquisition: `"ucb"`, `"ei"` (incumbent: the best posterior mean among evaluated points) or `"ts"` (a draw from the posterior).
        C: ratio of deviations that a block may use up, above 1; towards 1 it is GP-UCB step for step. `"auto"` chooses
            C^2 from `switch_cost` (`min(4, 1.2 (1 + s)^(1/4))`, our rule of thumb).
        C2: its square, in place of C.
        beta: width of the bound in multiples of sqrt(var): a number; `"auto"`, the RKHS form with the collapsed
            information gain (reconstructed); `"stale"`, that times C; `"bayes"`, the form for a draw from the prior on
            finitely many arms. A block is chosen on a posterior that holds all that was told, so its width needs no C:
            the C of a stale variance stands in the regret. Batches of `ask_batch`, chosen without results, take it.
        fnorm: norm of the function in the kernel's space, for `beta="auto"`.
        delta: probability with which the bounds may fail, for `"auto"`, `"stale"` and `"bayes"`.
        nu: scale of the deviation in EI: a number, or `"theory"` for `sqrt(max(1, logdet))`.
        kernel, noise, mean, switch_cost, random_state: as in `Optimizer`.
        early_stop: leave a block when what came in already rules its candidate out; the certificate is off then.

    Attributes:
        ledger_: evaluations, switches, blocks and cost so far.
        certificate_: the bound on blocks, with both sides.

    Source: arXiv 2201.12909; the repeat rule, the widths and the bound are reconstructed from the batched methods it builds on.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> arms = rng.random((100, 2))
    >>> f = -np.square(arms - 0.5).sum(axis=1)
    >>> optimizer = MiniGPOptimizer(arms, beta=2.0, noise=0.01)
    >>> while (left := 2_000 - optimizer.ledger_.evaluations) > 0:
    ...     s = optimizer.ask(left)
    ...     optimizer.tell(s, f[s.index] + 0.1 * rng.standard_normal(s.repeats))
    >>> bool(f[optimizer.best().index] > -0.01), optimizer.ledger_.evaluations, optimizer.ledger_.switches < 300
    (True, 2000, True)
    >>> optimizer.certificate_.holds
    True
    """

    def __init__(self, space: Any, acquisition: Acquisition = "ucb", C: float | Literal["auto"] | None = None, *, C2: float | None = None,
                 beta: Width = "auto", fnorm: float = 1.0, delta: float = 0.5,
                 nu: float | Literal["theory"] = 1.0, kernel: Any = None, noise: float = 0.01, mean: Mean = "zero",
                 switch_cost: float = 0.0, early_stop: bool = False,
                 random_state: int | np.random.Generator | None = None) -> None:
        super().__init__(space, kernel=kernel, noise=noise, mean=mean, switch_cost=switch_cost, random_state=random_state)
        if acquisition not in ("ucb", "ei", "ts"):
            raise ValueError(f"acquisition is {acquisition!r}: choose 'ucb', 'ei' or 'ts'")
        self.acquisition, self.early_stop = acquisition, early_stop
        self.c2 = self._read_c2(C, C2)
        self.beta: Width
        self.beta, self.fnorm, self.delta, self.nu = _check_width(beta, fnorm, delta, nu, self._surrogate.n_arms)
        self._decisions = 0
        self._guaranteed = True
        self._is_stale = self.beta == "stale"

    def _read_c2(self, c: float | Literal["auto"] | None, c2: float | None) -> float:
        if c is not None and c2 is not None:
            raise ValueError("C and C2 were both given: C2 is the square of C, so give one")
        if c == "auto":
            return float(min(4.0, 1.2 * (1.0 + self.switch_cost) ** 0.25))
        square = c2 if c2 is not None else 1.2 if c is None else float(c) ** 2
        if not np.isfinite(square) or (c is not None and float(c) <= 1) or square <= 1:
            raise ValueError(f"C must be above 1, not {c if c2 is None else math.sqrt(max(c2, 0.0))}: "
                             "at 1 nothing may be repeated (use GPUCB or GPEI for that)")
        return square

    # ------------------------------------------------------------ decisions

    def width(self) -> float:
        """The width of the confidence bound at the next decision, in multiples of sqrt(var)."""
        if not isinstance(self.beta, str):
            return self.beta
        if self.beta == "bayes":
            n_arms = self._surrogate.n_arms
            assert n_arms is not None
            return bayesian_width(n_arms, self._decisions + 1, self.delta)
        return rkhs_width(self._information(), self.fnorm, self.delta, math.sqrt(self.c2) if self._is_stale else 1.0)

    def _information(self) -> float:
        return self._surrogate.logdet

    def _propose(self) -> tuple[Candidate, str]:
        surrogate = self._surrogate
        if self.acquisition == "ts":
            return surrogate.maximise_draw(self.rng), "switch: the best of a draw from the posterior"
        if self.acquisition == "ei":
            incumbent = surrogate.incumbent()
            nu = math.sqrt(max(1.0, surrogate.logdet)) if self.nu == "theory" else float(self.nu)
            return (surrogate.maximise(lambda mean, std: expected_improvement(mean, std, incumbent, nu), self.rng),
                    f"switch: highest expected improvement on {incumbent:.4g}")
        width = self.width()
        return (surrogate.maximise(lambda mean, std: upper_confidence_bound(mean, std, width), self.rng),
                f"switch: highest upper confidence bound at width {width:.3g}")

    def _choose(self) -> Choice:
        candidate, reason = self._propose()
        self._decisions += 1
        wanted = self._repeats(self._surrogate.moments(candidate)[1])
        if candidate == self._last:
            reason = reason.replace("switch", "stay", 1)
        return Choice(candidate, int(min(wanted, MOST_REPEATS)), reason)

    def _repeats(self, var: float) -> float:
        return repeats(var / self.noise, self.c2)

    def _while_open(self) -> None:
        if not self.early_stop or self._block is None:
            return
        self._flush()
        mean, var = self._surrogate.moments(self._block.candidate)
        if mean + self.width() * math.sqrt(var) < self._surrogate.incumbent():
            self._guaranteed = False
            self._block = None

    def _unasked(self) -> None:
        if self._block is not None:
            self._guaranteed = False

    def ask_batch(self, limit: int | None = None) -> list[Suggestion]:
        """Several candidates to evaluate in parallel, before any of their results is known.

        The mean stands still, the variance shrinks as each evaluation will make it, and the batch ends when
        `1 + sum of sigma^2 at its start > C^2` (the global ratio rule of batched optimisation), or at `limit`
        evaluations. Tell the results in any order. The bound on switches does not cover such batches.
        """
        if limit is not None and limit < 1:
            raise ValueError(f"limit is {limit}: ask for 1 evaluation or more")
        if self._block is not None:
            raise ValueError("ask_batch: a block is under way; tell its results first")
        start, model, was_stale = self._surrogate, self._surrogate.twin(), self._is_stale
        chosen: dict[Candidate, int] = {}
        used = 1.0
        try:
            self._surrogate, self._is_stale = model, True
            while used <= self.c2 and (limit is None or sum(chosen.values()) < limit):
                candidate, _ = self._propose()
                used += start.moments(candidate)[1] / self.noise
                chosen[candidate] = chosen.get(candidate, 0) + 1
                model.observe(candidate, 1, model.moments(candidate)[0], 0.0)
        finally:
            self._surrogate, self._is_stale = start, was_stale
        self._decisions += 1
        self._guaranteed = False
        return [Suggestion(start.decode(c), n, c != self._last, "batch", self._index(c)) for c, n in chosen.items()]

    @property
    def certificate_(self) -> Certificate:
        """The bound on blocks and whether it is guaranteed."""
        self._flush()
        logdet = self._surrogate.logdet
        return Certificate(self.ledger_.blocks, 1.0 + logdet / block_gain(self.c2), logdet, self._guaranteed)

    def fit_hyper(self, noise_bounds: tuple[float, float] = (1e-6, 1e2)) -> None:
        super().fit_hyper(noise_bounds)
        self._guaranteed = False

    def _more_state(self) -> dict[str, Any]:
        return {"decisions": self._decisions, "guaranteed": self._guaranteed}

    def _load_more(self, state: dict[str, Any]) -> None:
        self._decisions, self._guaranteed = int(state["decisions"]), bool(state["guaranteed"])


def _check_width(beta: Any, fnorm: float, delta: float, nu: Any, n_arms: int | None) -> tuple[Any, float, float, Any]:
    if isinstance(beta, str):
        if beta not in ("auto", "stale", "bayes"):
            raise ValueError(f"beta is {beta!r}: give a number, 'auto', 'stale' or 'bayes'")
        if beta == "bayes" and n_arms is None:
            raise ValueError("beta='bayes' needs finitely many arms: give an array (A, d), or use 'auto' or a number")
    elif not (np.isfinite(beta) and beta >= 0):
        raise ValueError(f"beta is {beta}: give a number of 0 or more, 'auto', 'stale' or 'bayes'")
    if not (np.isfinite(fnorm) and fnorm > 0):
        raise ValueError(f"fnorm is {fnorm}: give a positive number")
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}: give a probability between 0 and 1")
    if nu != "theory" and (isinstance(nu, str) or not (np.isfinite(nu) and nu > 0)):
        raise ValueError(f"nu is {nu!r}: give a positive number or 'theory'")
    return beta if isinstance(beta, str) else float(beta), float(fnorm), float(delta), nu
