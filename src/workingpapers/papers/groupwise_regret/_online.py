"""`GroupwiseOnline`: the same mixture for actions of any kind, such as paths, where proposals cannot be averaged."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from workingpapers.workloads.grouped import Predicate

from ._banks import Losses, ObjectBank
from ._groups import Awake, Groups
from ._learners import make_learner
from ._regressor import METAS, reseed_each
from ._trace import GroupTrace

Array = npt.NDArray[np.float64]


class GroupwiseOnline:
    """Act, see what came out, learn: with a learner a group, one of whose proposals is drawn and played.

    Args:
        base: what makes a group's learner, with `propose(context)` and `learn(context, outcome)`; a factory, or a learner to be copied.
        groups: mapping of names to predicates on the context, or names alone where each call gives the groups.
        loss_fn: `(action, outcome) -> loss`. The guarantee is for losses in [0, 1].
        loss_range: smallest and largest loss, to scale it to [0, 1] inside; what is reported stays in your unit.
        meta, always_on, seed: as in `GroupwiseRegressor`.

    Cost of a round: the awake groups' learners, each asked once and taught once.

    A route to work for two kinds of driver, whose costs differ:

    >>> from workingpapers.papers.groupwise_regret import DagShortestPath, FollowThePerturbedLeader
    >>> roads = DagShortestPath([(0, 1), (1, 3), (0, 2), (2, 3)], 0, 3)
    >>> groups = {"car": lambda who: who == "car", "bicycle": lambda who: who == "bicycle"}
    >>> router = GroupwiseOnline(FollowThePerturbedLeader(roads, scale=1.0), groups, loss_fn=lambda route, costs: route @ costs,
    ...                          loss_range=(0.0, 2.0), seed=0)
    >>> costs = {"car": np.array([0.1, 0.1, 0.9, 0.9]), "bicycle": np.array([0.9, 0.9, 0.1, 0.1])}
    >>> for day in range(400):
    ...     who = "car" if day % 2 else "bicycle"
    ...     route = router.act(who)
    ...     router = router.observe(costs[who])
    >>> router.act("car").tolist(), router.act("bicycle").tolist()
    ([1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0])
    """

    def __init__(self, base: Any, groups: Mapping[str, Predicate] | Sequence[str], loss_fn: Callable[[Any, Any], float], *,
                 loss_range: tuple[float, float] = (0.0, 1.0), meta: str = "adanormalhedge", always_on: bool = True,
                 seed: int | None = None) -> None:
        if meta not in METAS:
            raise ValueError(f"meta is {meta!r}: {' or '.join(map(repr, METAS))}")
        if not callable(loss_fn):
            raise TypeError(f"loss_fn is {loss_fn!r}: a function of action and outcome is needed")
        if not (np.isfinite(loss_range).all() and loss_range[0] < loss_range[1]):
            raise ValueError(f"loss_range is {loss_range}: two finite numbers, the smaller first")
        self.loss_fn, self.loss_range, self.seed = loss_fn, (float(loss_range[0]), float(loss_range[1])), seed
        self._base, self._groups = base, Groups(groups, always_on)
        learners = [make_learner(base) for _ in self._groups.names]
        reseed_each(learners, seed)
        self._bank = ObjectBank(np.ones(len(learners)), Losses(loss_fn), meta == "uniform", learners)
        self._rng = np.random.default_rng(seed)
        self._asked: tuple[Any, Awake, list[Any], Array] | None = None
        self._has_warned = False

    def act(self, context: Any = None, groups: Iterable[str] | None = None) -> Any:
        """The action of this round: one of the awake learners' proposals, drawn by their weights.

        Args:
            context: what the learners and predicates are shown.
            groups: names of the awake groups, in place of asking the predicates.

        Asking again before `observe` starts the round anew.
        """
        return self._act(context, self._groups.of_row(context, groups))

    def _act(self, context: Any, awake: Awake) -> Any:
        proposals, p = self._bank.propose(context, awake), self._bank.probabilities(awake)
        self._asked = (context, awake, proposals, p)
        return proposals[int(self._rng.choice(len(p), p=p))]

    def observe(self, outcome: Any) -> Self:
        """Judge all proposals of the last `act` by the outcome; the awake learners learn it.

        Raises:
            RuntimeError: nothing was asked since the last outcome.
            ValueError: a loss that is not finite.
        """
        self._observe(outcome)
        return self

    def _observe(self, outcome: Any) -> tuple[float, Array, Array]:
        if self._asked is None:
            raise RuntimeError("observe came without act: ask for an action first")
        context, awake, proposals, p = self._asked
        low, high = self.loss_range
        raw = np.array([np.nan if z is None else float(self.loss_fn(z, outcome)) for z in proposals])
        asked = np.array([z is not None for z in proposals])
        if not np.isfinite(raw[asked]).all():
            raise ValueError("loss_fn gave NaN or infinity")
        losses = (raw - low) / (high - low)
        if not self._has_warned and (losses[asked].max() > 1 + 1e-9 or losses[asked].min() < -1e-9):
            self._has_warned = True
            warnings.warn(f"losses from {raw[asked].min():.3g} to {raw[asked].max():.3g} leave loss_range={self.loss_range}, "
                          "for which the guarantee is: widen it", stacklevel=3)
        expected = low + (high - low) * self._bank.settle(p, losses, awake)
        self._bank.learn(context, outcome, awake)
        self._asked = None
        return expected, raw, p

    def run(self, contexts: Sequence[Any], outcomes: Sequence[Any], A: Any = None) -> GroupTrace:
        """`act` and `observe` on each context in turn.

        Args:
            contexts: T of them.
            outcomes: T of them.
            A: memberships `(T, G)`, 0 or 1; None asks the predicates.

        Returns:
            losses and weights. For regrets hand a function of the rounds to `GroupTrace.regret`: the loss of the best fixed action.
        """
        if len(contexts) != len(outcomes):
            raise ValueError(f"contexts has {len(contexts)} entries, outcomes {len(outcomes)}: as many are needed")
        T, G = len(contexts), len(self._groups)
        awake = self._groups.of_rows(contexts, A) if A is not None else np.array(
            [self._groups.of_row(c) for c in contexts], dtype=np.uint8).reshape(T, G)
        expected, played, losses, weights = np.empty(T), np.empty(T), np.empty((T, G)), np.empty((T, G))
        for t in range(T):
            action = self._act(contexts[t], awake[t])
            played[t] = float(self.loss_fn(action, outcomes[t]))
            expected[t], losses[t], weights[t] = self._observe(outcomes[t])
        return GroupTrace(expected, np.full(T, np.nan), played, losses, weights, awake.astype(bool), tuple(self._groups.names), loss="own")

    def add_group(self, name: str, predicate: Predicate | None = None, prior: float = 1.0) -> Self:
        """One more group from the next round on, with a fresh learner; the others keep what they know.

        Args:
            name: of the group.
            predicate: on the context; None where each call names its groups.
            prior: its weight; the others have 1.

        Raises:
            RuntimeError: between `act` and `observe`.
            ValueError: a name that is there already; a weight that is not positive.
        """
        if self._asked is not None:
            raise RuntimeError("add_group came between act and observe: tell the outcome first")
        if not (np.isfinite(prior) and prior > 0):
            raise ValueError(f"prior is {prior}: a positive number is needed")
        self._groups.add(name, predicate)
        self._bank.add(prior)
        learner = make_learner(self._base)
        reseed_each([learner], None if self.seed is None else [self.seed, len(self._bank.learners)])
        self._bank.learners.append(learner)
        return self

    def weights_(self, context: Any = None, groups: Iterable[str] | None = None) -> dict[str, float]:
        """How much each group's learner counts in this context."""
        return dict(zip(self._groups.names, self._bank.probabilities(self._groups.of_row(context, groups)).tolist()))

    @property
    def group_names_(self) -> list[str]:
        """Names of the groups, in order."""
        return list(self._groups.names)

    @property
    def n_seen_(self) -> npt.NDArray[np.int64]:
        """Rounds of each group, `(G,)`."""
        return self._bank.n_seen.copy()

    @property
    def regret_state_(self) -> tuple[Array, Array]:
        """`(R, C)`: cumulative regret to each group's learner, and the sum of its absolute values, `(G,)` each."""
        return self._bank.R.copy(), self._bank.C.copy()


__all__ = ["GroupwiseOnline"]
