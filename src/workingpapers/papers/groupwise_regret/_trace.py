"""What happened in a stream: losses, weights and regrets of every group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ._hindsight import prefix_errors

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Comparator = Literal["ols"] | Callable[[npt.NDArray[np.intp]], float]
Which = Literal["expected", "mean"]


@dataclass(frozen=True, eq=False)
class GroupTrace:
    """One stream, round by round.

    Attributes:
        expected_loss: `sum_g p_g loss_g`, `(T,)`: what the theorem bounds and the paper's tables show.
        mean_loss: loss of the mean prediction, `(T,)`; NaN where actions cannot be averaged.
        prediction: what was predicted, `(T,)`: the mean, or the drawn proposal in `mode="sample"`.
        expert_loss: loss of each group's learner, `(T, G)`, NaN where it slept; None when not kept (`track=False`).
        weights: weight of each group's learner, `(T, G)`, 0 where it slept; None when not kept.
        awake: memberships, `(T, G)`.
        groups: names, `G` of them.
        X, y: features and labels, where the actions were predictions.
        span: losses are of labels in units of this.
        loss: name of the loss.
    """

    expected_loss: Array
    mean_loss: Array
    prediction: Array
    expert_loss: Array | None
    weights: Array | None
    awake: npt.NDArray[np.bool_]
    groups: tuple[str, ...]
    X: Array | None = None
    y: Array | None = None
    span: float = 1.0
    loss: str = "squared"
    _known: dict[Any, float] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.expected_loss)

    def rows(self, group: str) -> npt.NDArray[np.intp]:
        """Rounds of a group, in order."""
        if group not in self.groups:
            raise ValueError(f"there is no group {group!r}; there are {', '.join(self.groups)}")
        return np.flatnonzero(self.awake[:, self.groups.index(group)])

    def group_loss(self, group: str, which: Which = "expected") -> float:
        """Sum of the losses over the rounds of a group."""
        return float(self._losses(which)[self.rows(group)].sum())

    def regret(self, group: str, comparator: Comparator = "ols", at: int | Sequence[int] | None = None, *, which: Which = "expected",
               paper_compat: bool = False) -> Any:
        """Loss over the first rounds of a group beyond that of the best fixed choice for just those rounds.

        Args:
            group: its name.
            comparator: `"ols"` for the best linear model on the features (without penalty; with an intercept where the learners
                have one), or a function from the rounds
                (positions in the stream) to the loss of the best fixed choice there.
            at: how many of the group's rounds, one number or several; None for all.
            which: the `expected` loss or that of the `mean` prediction.
            paper_compat: fit the best model to one round fewer, as the official tables do.

        Returns:
            a float, or an array where `at` is a sequence. Negative where the mixture beats every single model: nothing is cut off.

        Raises:
            ValueError: an unknown group; more rounds than there are; `"ols"` where the loss is not the squared one.
        """
        rounds = self.rows(group)
        ends = [len(rounds)] if at is None else [at] if isinstance(at, int | np.integer) else list(at)
        if any(not 0 <= n <= len(rounds) for n in ends):
            raise ValueError(f"at is {at}: {group!r} has {len(rounds)} rounds")
        losses = np.append(0.0, np.cumsum(self._losses(which)[rounds]))
        best = self._best(group, comparator, rounds, [max(n - paper_compat, 0) for n in ends])
        out = losses[ends] - best
        return out if at is not None and not isinstance(at, int | np.integer) else float(out[0])

    def regrets(self, comparator: Comparator = "ols", **options: Any) -> dict[str, float]:
        """Regret of every group at the end of the stream; `options` as in `regret`."""
        return {g: float(self.regret(g, comparator, **options)) for g in self.groups}

    def _losses(self, which: Which) -> Array:
        if which not in ("expected", "mean"):
            raise ValueError(f"which is {which!r}: 'expected' or 'mean'")
        if which == "mean" and np.isnan(self.mean_loss).any():
            raise ValueError("there is no mean prediction here: actions of this kind cannot be averaged; use which='expected'")
        return self.expected_loss if which == "expected" else self.mean_loss

    def _best(self, group: str, comparator: Comparator, rounds: npt.NDArray[np.intp], ends: list[int]) -> Array:
        if callable(comparator):
            return np.array([comparator(rounds[:n]) for n in ends])
        if comparator != "ols":
            raise ValueError(f"comparator is {comparator!r}: 'ols' or a function of the rounds")
        if self.loss != "squared" or self.X is None or self.y is None:
            raise ValueError("comparator 'ols' speaks of squared loss on features: give a function of the rounds")
        missing = sorted({n for n in ends if (group, n) not in self._known})
        if missing:
            for n, sse in zip(missing, prefix_errors(self.X[rounds], self.y[rounds], missing).tolist()):
                self._known[group, n] = sse / self.span**2
        return np.array([self._known[group, n] for n in ends])

    def __add__(self, later: GroupTrace) -> GroupTrace:
        """This stream followed by a later one of the same groups."""
        if self.groups != later.groups or (self.span, self.loss) != (later.span, later.loss):
            raise ValueError("the two traces speak of other groups or other losses")

        def joined(a: Any, b: Any) -> Any:
            return None if a is None or b is None else np.concatenate([a, b])

        pieces = {n: joined(getattr(self, n), getattr(later, n))
                  for n in ("expected_loss", "mean_loss", "prediction", "expert_loss", "weights", "awake", "X", "y")}
        return GroupTrace(**pieces, groups=self.groups, span=self.span, loss=self.loss)

    def to_frame(self) -> pd.DataFrame:
        """One row a round: losses, prediction, label, and each group's membership, loss and weight where kept."""
        import pandas as pd

        columns: dict[str, Any] = {"expected_loss": self.expected_loss, "mean_loss": self.mean_loss, "prediction": self.prediction}
        if self.y is not None:
            columns["y"] = self.y
        for g, name in enumerate(self.groups):
            columns[f"in {name}"] = self.awake[:, g]
            if self.expert_loss is not None:
                columns[f"loss of {name}"] = self.expert_loss[:, g]
            if self.weights is not None:
                columns[f"weight of {name}"] = self.weights[:, g]
        return pd.DataFrame(columns)

    def plot(self, what: Literal["regret", "loss", "weights"] = "regret", *, points: int = 40, comparator: Comparator = "ols") -> Any:
        """An Altair chart by group: `regret` or `loss` against the share of the group's rounds, or mean `weights` of each learner.

        `weights` shows, for the members of each group, how much each group's learner was trusted.
        """
        import altair as alt

        if what == "weights":
            return _weights_chart(self)
        if what not in ("regret", "loss"):
            raise ValueError(f"what is {what!r}: 'regret', 'loss' or 'weights'")
        records = []
        for group in self.groups:
            n = len(self.rows(group))
            ends = np.unique(np.linspace(min(1, n), n, points).round().astype(int)).tolist()
            if what == "regret":
                values = self.regret(group, comparator, ends)
            else:
                values = np.append(0.0, np.cumsum(self.expected_loss[self.rows(group)]))[ends]
            records += [{"group": group, "share of its rounds": e / max(n, 1), what: float(v)} for e, v in zip(ends, values)]
        return alt.Chart(alt.InlineData(values=records)).mark_line().encode(
            x=alt.X("share of its rounds:Q", axis=alt.Axis(format="%")), y=alt.Y(f"{what}:Q", title=f"cumulative {what}"),
            color=alt.Color("group:N", sort=list(self.groups)))


def _weights_chart(trace: GroupTrace) -> Any:
    import altair as alt

    if trace.weights is None:
        raise ValueError("the weights were not kept: run with track=True")
    records = [{"members of": group, "learner of": other, "mean weight": float(trace.weights[trace.rows(group), i].mean())}
               for group in trace.groups if len(trace.rows(group)) for i, other in enumerate(trace.groups)]
    order = list(trace.groups)
    return alt.Chart(alt.InlineData(values=records)).mark_rect().encode(
        x=alt.X("learner of:N", sort=order), y=alt.Y("members of:N", sort=order),
        color=alt.Color("mean weight:Q", scale=alt.Scale(domain=[0, 1])),
        tooltip=["members of:N", "learner of:N", alt.Tooltip("mean weight:Q", format=".3f")])


__all__ = ["Comparator", "GroupTrace"]
