"""Follow the perturbed leader (Kalai and Vempala, 2005): the oracle's choice for past costs plus fresh noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class FollowThePerturbedLeader:
    """Learner for linear costs over combined choices (paths, trees, assignments, ...): proposes `oracle(sum of past costs + noise)`.

    `learn(context, costs)` takes the costs of all parts, chosen or not.

    Args:
        oracle: cheapest choice for costs `(n,)`, as an indicator `(n,)`: one of the package's, or a function of your own.
        scale: size of the noise, in units of cost; with `growth="sqrt"` the noise of the t-th round is `scale sqrt(t)`, which needs no
            horizon (Hutter and Poland, 2005), with `growth="none"` it stays.
        noise: `"exponential"`: two-sided exponential, mean of the absolute value `scale`; `"uniform"`: on [0, scale], never negative.
        growth: as told above.
        forget: past costs fade by this factor at every step (below 1 where costs drift; the effective memory is `1 / (1 - forget)` rounds,
            and the noise stops growing there). Ours, not the paper's.
        seed: of the noise.
        n: how many parts; needed where the oracle has no attribute `n`.

    With costs in [0, 1] and at most `D` parts chosen, a good scale is `sqrt(n / D)` or so. Fresh noise is drawn once something was
    learned, so asking twice gives the same. Cost of a round: one call of the oracle.

    >>> from workingpapers.papers.groupwise_regret import DagShortestPath
    >>> leader = FollowThePerturbedLeader(DagShortestPath([(0, 1), (1, 3), (0, 2), (2, 3)], 0, 3), scale=1.0, seed=0)
    >>> for _ in range(30):
    ...     leader.learn(None, [1.0, 1.0, 0.2, 0.2])
    >>> leader.propose(None).tolist()
    [0.0, 0.0, 1.0, 1.0]

    A user's own oracle, here for "rent 2 of 5 machines":

    >>> def two_cheapest(costs):
    ...     chosen = np.zeros(5)
    ...     chosen[np.argsort(costs)[:2]] = 1.0
    ...     return chosen
    >>> leader = FollowThePerturbedLeader(two_cheapest, scale=1.0, seed=0, n=5)
    >>> for _ in range(200):
    ...     leader.learn(None, [0.9, 0.1, 0.8, 0.2, 0.7])
    >>> leader.propose(None).tolist()
    [0.0, 1.0, 0.0, 1.0, 0.0]
    """

    features = "mapping"
    _choice: Array | None

    def __init__(self, oracle: Callable[[Array], npt.ArrayLike], scale: float, noise: Literal["exponential", "uniform"] = "exponential",
                 seed: Any = None, *, growth: Literal["sqrt", "none"] = "sqrt", forget: float = 1.0,
                 n: int | None = None) -> None:
        if not callable(oracle):
            raise TypeError(f"oracle is {oracle!r}: a function of costs is needed")
        if not (np.isfinite(scale) and scale >= 0):
            raise ValueError(f"scale is {scale}: 0 or a positive number")
        if noise not in ("exponential", "uniform"):
            raise ValueError(f"noise is {noise!r}: 'exponential' or 'uniform'")
        if growth not in ("sqrt", "none"):
            raise ValueError(f"growth is {growth!r}: 'sqrt' or 'none'")
        if not 0 < forget <= 1:
            raise ValueError(f"forget is {forget}: above 0, at most 1")
        size = n if n is not None else getattr(oracle, "n", None)
        if size is None or size < 1:
            raise ValueError("n is not known: say how many parts the oracle chooses from")
        self.oracle, self.scale, self.noise, self.growth, self.n = oracle, float(scale), noise, growth, int(size)
        self.forget = float(forget)
        self._costs, self._rounds = np.zeros(self.n), 0.0
        self.reseed(seed)

    def reseed(self, seed: Any) -> None:
        """Draw from a new stream from now on."""
        self._rng = np.random.default_rng(seed)
        self._perturb()

    def propose(self, x: Any = None) -> Array:
        """The choice of this round, `(n,)`; the same until something is learned."""
        if self._choice is None:
            chosen = np.asarray(self.oracle(self._costs + self._noise), dtype=np.float64)
            if chosen.shape != (self.n,):
                raise ValueError(f"the oracle gave the shape {chosen.shape}: an indicator {(self.n,)} is needed")
            self._choice = chosen
        return self._choice.copy()

    def learn(self, x: Any, y: npt.ArrayLike) -> None:
        """Take in the costs of all parts, `(n,)`."""
        costs = np.asarray(y, dtype=np.float64)
        if costs.shape != (self.n,) or not np.isfinite(costs).all():
            raise ValueError(f"the costs have the shape {costs.shape}: {self.n} finite numbers are needed")
        self._costs = self.forget * self._costs + costs
        self._rounds = self.forget * self._rounds + 1
        self._perturb()

    def _perturb(self) -> None:
        size = self.scale * (np.sqrt(self._rounds + 1) if self.growth == "sqrt" else 1.0)
        self._noise = size * (self._rng.laplace(size=self.n) if self.noise == "exponential" else self._rng.random(self.n))
        self._choice = None


class FTPLSmallSeparator:
    """Perturbed leader for contextual classification where few contexts tell all policies apart (Syrgkanis et al., 2016).

    Each round draws noisy losses for the contexts of the separator, asks the oracle for the policy that is best on the past and these
    together, and acts as it says. `learn(context, losses)` takes the losses of all actions.

    Args:
        separator: contexts such that any two policies differ on one of them, `(m, d)`.
        oracle: `(contexts (N, d), losses (N, K)) -> policy`, the policy with the least total loss; a policy maps a context to an action.
        actions: K.
        scale: size of the noise at each context of the separator.
        seed: of the noise.

    Keeps all rounds, since the oracle is handed them: O(T) memory.

    >>> def best_threshold(contexts, losses):
    ...     def total(at):
    ...         return losses[np.arange(len(contexts)), (contexts[:, 0] > at).astype(int)].sum()
    ...     chosen = min((0.0, 1.0, 2.0, 3.0), key=total)
    ...     return lambda x: int(x[0] > chosen)
    >>> learner = FTPLSmallSeparator([[0.5], [1.5], [2.5]], best_threshold, actions=2, scale=1.0, seed=0)
    >>> for t in range(60):
    ...     x = [t % 4 + 0.5]
    ...     learner.learn(x, [float(x[0] > 2), float(x[0] < 2)])
    >>> [learner.propose([v]) for v in (0.5, 1.5, 2.5, 3.5)]
    [0, 0, 1, 1]
    """

    features = "vector"
    _policy: Callable[[Array], int] | None

    def __init__(self, separator: npt.ArrayLike, oracle: Callable[[Array, Array], Callable[[Array], int]], actions: int, scale: float = 1.0,
                 seed: Any = None) -> None:
        self.separator = np.asarray(separator, dtype=np.float64)
        if self.separator.ndim != 2 or len(self.separator) == 0 or not np.isfinite(self.separator).all():
            raise ValueError(f"separator has the shape {self.separator.shape}: contexts (m, d), finite, are needed")
        if actions < 2:
            raise ValueError(f"actions is {actions}: 2 at least")
        if not (np.isfinite(scale) and scale >= 0):
            raise ValueError(f"scale is {scale}: 0 or a positive number")
        self.oracle, self.actions, self.scale = oracle, actions, float(scale)
        self._contexts: list[Array] = []
        self._losses: list[Array] = []
        self.reseed(seed)

    def reseed(self, seed: Any) -> None:
        """Draw from a new stream from now on."""
        self._rng = np.random.default_rng(seed)
        self._perturb()

    def propose(self, x: npt.ArrayLike) -> int:
        """An action for context `x` (d,)."""
        if self._policy is None:
            contexts = np.vstack([self.separator, *(c[None] for c in self._contexts)])
            self._policy = self.oracle(contexts, np.vstack([self._noise, *(v[None] for v in self._losses)]))
        return int(self._policy(np.asarray(x, dtype=np.float64)))

    def learn(self, x: npt.ArrayLike, y: Sequence[float] | npt.ArrayLike) -> None:
        """Take in the losses of all actions, `(K,)`, in context `x`."""
        context, losses = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if context.shape != self.separator.shape[1:] or losses.shape != (self.actions,) or not np.isfinite(losses).all():
            raise ValueError(f"the context has the shape {context.shape}, the losses {losses.shape}: {self.separator.shape[1:]} and "
                             f"{(self.actions,)}, finite, are needed")
        self._contexts.append(context)
        self._losses.append(losses)
        self._perturb()

    def _perturb(self) -> None:
        self._noise = self._rng.laplace(scale=self.scale, size=(len(self.separator), self.actions)) if self.scale else \
            np.zeros((len(self.separator), self.actions))
        self._policy = None


__all__ = ["FTPLSmallSeparator", "FollowThePerturbedLeader"]
