"""What a group's rounds have cost so far, from running totals: no rows are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import _kernel as kernel
from ._banks import Bank, RidgeBank

if TYPE_CHECKING:
    import pandas as pd


def group_report(names: Sequence[str], bank: Bank, is_squared: bool) -> pd.DataFrame:
    """One row a group; the columns are told at `GroupwiseRegressor.group_report`."""
    import pandas as pd

    n = bank.n_seen.astype(float)
    each = bank.totals / np.where(n > 0, n, np.nan)[:, None]
    columns = {"n": bank.n_seen, "expected_loss": each[:, kernel.EXPECTED], "mean_loss": each[:, kernel.MEAN],
               "own_loss": each[:, kernel.OWN], "label_mean": each[:, kernel.LABELS], "prediction_mean": each[:, kernel.PREDICTIONS],
               "bias": each[:, kernel.PREDICTIONS] - each[:, kernel.LABELS]}
    if isinstance(bank, RidgeBank) and bank.forget == 1.0 and is_squared:
        # min over theta of sum (y - theta^T x)^2 + l2 |theta|^2 is sum y^2 - b^T theta, with theta the ridge solution.
        best = bank.totals[:, kernel.LABELS_SQUARED] - (bank.b * bank.theta).sum(axis=1)
        columns["regret"] = bank.totals[:, kernel.EXPECTED] - best / bank.losses.span**2
    return pd.DataFrame(columns, index=pd.Index(names, name="group"))


__all__ = ["group_report"]
