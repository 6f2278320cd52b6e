"""Which rank: the error on entries set aside, rank by rank."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from ._completer import RobustALSCompleter
from ._observed import observe
from ._watch import Bar


@dataclass(frozen=True)
class RankCurve:
    """Error on entries set aside, by rank.

    Attributes:
        ranks: `(r,)`.
        rmse: `(splits, r)`.
    """

    ranks: npt.NDArray[np.int64]
    rmse: npt.NDArray[np.float64]

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Over splits, `(r,)`."""
        return np.asarray(self.rmse.mean(axis=0))

    @property
    def best(self) -> int:
        """The rank with the lowest mean error."""
        return int(self.ranks[np.argmin(self.mean)])

    @property
    def one_se(self) -> int:
        """The lowest rank within one standard error of the best: paired by split, so that what all ranks share cancels."""
        at = int(np.argmin(self.mean))
        if len(self.rmse) < 2:
            return self.best
        behind = self.rmse - self.rmse[:, [at]]
        se = behind.std(axis=0, ddof=1) / np.sqrt(len(behind))
        return int(self.ranks[np.flatnonzero(behind.mean(axis=0) <= se)].min())

    def plot(self) -> Any:
        """The curve, its range over splits, and the best rank, as an Altair chart."""
        alt: Any = importlib.import_module("altair")

        rows = [{"rank": int(k), "RMSE": float(self.mean[i]), "low": float(self.rmse[:, i].min()), "high": float(self.rmse[:, i].max())}
                for i, k in enumerate(self.ranks)]
        base = alt.Chart(alt.Data(values=rows)).encode(x=alt.X("rank:Q", scale=alt.Scale(type="log")))
        mark = alt.Chart(alt.Data(values=[{"rank": self.best}])).mark_rule(strokeDash=[4, 4]).encode(x="rank:Q")
        scale = alt.Scale(zero=False)
        return (base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", scale=scale, title="RMSE on entries set aside"), y2="high:Q")
                + base.mark_line(point=True).encode(y=alt.Y("RMSE:Q", scale=scale)) + mark)


def rank_curve(X: Any, ranks: Sequence[int], model: RobustALSCompleter | None = None, *, splits: int = 3, held_out: float = 0.1,
               random_state: int = 0, verbose: int = 0) -> RankCurve:
    """Error on entries set aside at random, for each rank, on the same splits.

    Args:
        X: as for `RobustALSCompleter.fit`.
        ranks: to try.
        model: with the settings to use; its rank is ignored.
        splits: how often entries are set aside anew.
        held_out: share of them.
        verbose: 1 shows a progress bar.

    Raises:
        ValueError: no ranks, or a share or number that cannot be.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> M = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 60)) + 0.1 * rng.normal(size=(80, 60))
    >>> rank_curve(np.where(rng.random(M.shape) < 0.5, M, np.nan), [1, 2, 3, 4, 6]).best
    3
    """
    if len(ranks) == 0 or splits < 1 or not 0 < held_out < 1:
        raise ValueError(f"ranks={list(ranks)}, splits={splits}, held_out={held_out}: ranks, a split, a share within (0, 1) are needed")
    model = RobustALSCompleter() if model is None else model
    observed = observe(X)
    r, c, v = observed.triplets
    rmse = np.empty((splits, len(ranks)))
    with Bar("ranks", splits * len(ranks), bool(verbose)) as step:
        for split in range(splits):
            aside = np.random.default_rng([random_state, split]).random(len(v)) < held_out
            if aside.all() or not aside.any():
                raise ValueError(f"held_out={held_out} of {len(v)} entries leaves one part empty")
            for i, rank in enumerate(ranks):
                trial = clone(model).set_params(rank=int(rank), random_state=random_state)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    warnings.simplefilter("ignore", UserWarning)
                    trial.fit((r[~aside], c[~aside], v[~aside], observed.shape))
                rmse[split, i] = np.sqrt(np.mean((trial.predict(r[aside], c[aside]) - v[aside]) ** 2))
                step()
    return RankCurve(np.asarray(ranks, dtype=np.int64), rmse)


__all__ = ["RankCurve", "rank_curve"]
