"""What happened in a run: regret, questions, pairs, answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workingpapers.claims import Interval, t_interval

from ._trajectory import Trajectory

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AskedPair:
    """A question and its answer.

    Attributes:
        round: 0, 1, 2, ...
        first, second: the two trajectories.
        preference: 1 the first was better, 0 the second, 0.5 equal.
    """

    round: int
    first: Trajectory
    second: Trajectory
    preference: float


@dataclass(frozen=True)
class History:
    """A run of T rounds; each plays two episodes.

    Attributes:
        regret: `2 V* - V of both policies`, shape (T,). Exact where the problem is finite and known; else an unbiased estimate from
            the two episodes when `learn` was told `optimal_value`; else NaN. The agent never sees it.
        queries: whether a question was asked and answered, shape (T,).
        values: how much two draws of the reward disagreed about the pair, shape (T,).
        returns: hidden returns of both episodes, shape (T, 2); NaN where nothing knows them.
        asked_pairs: every question with its answer.
        is_exact: whether `regret` is exact.
    """

    regret: Array
    queries: npt.NDArray[np.bool_]
    values: Array
    returns: Array
    asked_pairs: tuple[AskedPair, ...]
    is_exact: bool

    def __len__(self) -> int:
        return len(self.regret)

    @property
    def cumulative_regret(self) -> Array:
        """Running sum of the regret, shape (T,)."""
        return np.asarray(np.cumsum(self.regret))

    @property
    def n_queries(self) -> int:
        """Questions asked and answered."""
        return int(self.queries.sum())

    def regret_interval(self) -> Interval:
        """Total regret with a 95 % interval: of no width when exact, else for the luck of the episodes played.

        The luck's variance is estimated from differences of rounds that follow each other, so drift of the policy widens it a little.
        """
        total = float(self.regret.sum())
        if self.is_exact or len(self) < 2:
            return Interval(total, total, total)
        half = 1.96 * float(np.sqrt(len(self) * np.mean(np.diff(self.regret) ** 2) / 2))
        return Interval(total, total - half, total + half)

    def slope(self, decades: float = 1.0) -> float:
        """Log-log slope of cumulative regret over the last `decades` factors of ten of rounds: 0.5 is the square root of T.

        Raises:
            ValueError: cumulative regret that is unknown, or not positive there.
        """
        T = len(self)
        start = max(1, int(T / 10**decades))
        at = np.unique(np.geomspace(start, T, 30).astype(int))
        total = self.cumulative_regret[at - 1]
        if len(at) < 2 or not (total > 0).all():
            raise ValueError("cumulative regret must be known and positive over the range, which needs two rounds at least")
        return float(np.polyfit(np.log(at), np.log(total), 1)[0])

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row a round. Needs pandas: `pip install 'workingpapers[rl]'`."""
        import pandas as pd

        return pd.DataFrame({"round": np.arange(len(self)), "regret": self.regret, "cumulative_regret": self.cumulative_regret,
                             "asked": self.queries, "value": self.values, "return_new": self.returns[:, 0],
                             "return_old": self.returns[:, 1]})

    def plot(self) -> Any:
        """An Altair chart: cumulative regret above, questions so far below."""
        import altair as alt

        at = np.unique(np.linspace(0, len(self) - 1, min(len(self), 500)).astype(int))
        asked = np.cumsum(self.queries)
        shown = [(c, self.cumulative_regret if c == "cumulative regret" else asked) for c in ("cumulative regret", "questions")]
        panels = []
        for title, series in shown:
            rows = [{"round": int(i) + 1, title: float(series[i])} for i in at if np.isfinite(series[i])]
            data = alt.Data(values=rows)  # type: ignore[no-untyped-call,unused-ignore]
            panels.append(alt.Chart(data, width=420, height=130).mark_line().encode(x=alt.X("round:Q"), y=alt.Y(f"{title}:Q")))
        return alt.vconcat(*panels)


def monte_carlo_value(env: Any, policy: Callable[[Any, int], Any], horizon: int, episodes: int = 200, seed: int | None = None) -> Interval:
    """Expected return of a policy with its 95 % interval, from episodes of an environment that shows its reward.

    Args:
        env: the environment itself, not a `PreferenceWrapper`.
        policy: `policy(obs, h) -> action`.
        horizon: steps of an episode.
        episodes: 3 at least.
        seed: of the first episode's reset.
    """
    if hasattr(env, "hidden_return"):
        raise ValueError("env hides its reward: hand over the environment that it wraps")
    totals = []
    for i in range(episodes):
        obs, _ = env.reset(seed=seed if i == 0 else None)
        total = 0.0
        for h in range(horizon):
            obs, reward, terminated, truncated, _ = env.step(policy(obs, h))
            total += float(reward)
            if terminated or truncated:
                break
        totals.append(total)
    return t_interval(totals)
