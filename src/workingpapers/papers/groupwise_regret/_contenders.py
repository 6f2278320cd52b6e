"""What the claims compare: each takes a stream and gives the losses of its predictions, round by round.

Everything predicts before it learns. Every learner of ridge type has the penalty 1, as in the official code; nothing is tuned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workingpapers.workloads.grouped import GroupedStream

from ._hindsight import prefix_errors
from ._learners import OnlineRidge
from ._regressor import GroupwiseRegressor

Array = npt.NDArray[np.float64]

SHARE_BEFORE_ITS_OWN_MODEL = 2  # a group's model is trusted once it has seen this many rows a feature


@dataclass(frozen=True, eq=False)
class StreamLosses:
    """Squared losses of a stream's labels in [0, 1], `(T,)` each: expected over the mixture, and of the mean prediction."""

    expected: Array
    mean: Array


def groupwise(stream: GroupedStream, meta: str = "adanormalhedge") -> StreamLosses:
    """The method: a ridge learner a group."""
    model = GroupwiseRegressor(OnlineRidge(1.0), list(stream.groups), meta=meta, y_range=(0.0, 1.0), track=False)
    trace = model.run(stream.X, stream.y, stream.A)
    return StreamLosses(trace.expected_loss, trace.mean_loss)


def single_ridge(stream: GroupedStream) -> StreamLosses:
    """The paper's baseline: one ridge learner for everybody, which sees the group indicators as features."""
    trace = GroupwiseRegressor(OnlineRidge(1.0), [], y_range=(0.0, 1.0), track=False).run(stream.X, stream.y, stream.A[:, :0])
    return StreamLosses(trace.expected_loss, trace.mean_loss)


def _of_predictions(stream: GroupedStream, predictions: list[float]) -> StreamLosses:
    losses = np.square(np.array(predictions) - stream.y)
    return StreamLosses(losses, losses)


def river_single(stream: GroupedStream) -> StreamLosses:
    """river's Bayesian linear regression for everybody."""
    from river import linear_model

    model: Any = linear_model.BayesianLinearRegression()
    predictions = []
    for x, y in zip(stream.dicts(), stream.y.tolist()):
        predictions.append(float(model.predict_one(x)))
        model.learn_one(x, y)
    return _of_predictions(stream, predictions)


def river_by_rule(stream: GroupedStream) -> StreamLosses:
    """A river model a group, picked by a rule: that of the group with the fewest members so far which has seen twice as many
    rows as there are features, else that of everybody."""
    from river import linear_model

    models: list[Any] = [linear_model.BayesianLinearRegression() for _ in stream.groups]
    seen, enough, predictions = [0] * len(models), SHARE_BEFORE_ITS_OWN_MODEL * len(stream.features), []
    for x, y, member in zip(stream.dicts(), stream.y.tolist(), stream.A.astype(bool)):
        mine = np.flatnonzero(member).tolist()
        ready = [g for g in mine if seen[g] >= enough]
        chosen = min(ready, key=lambda g: seen[g]) if ready else len(models) - 1
        predictions.append(float(models[chosen].predict_one(x)))
        for g in mine:
            models[g].learn_one(x, y)
            seen[g] += 1
    return _of_predictions(stream, predictions)


def sklearn_sgd(stream: GroupedStream) -> StreamLosses:
    """scikit-learn's `SGDRegressor` at its defaults, a row at a time."""
    from sklearn.linear_model import SGDRegressor

    model, predictions = SGDRegressor(random_state=0), []
    for t in range(len(stream)):
        predictions.append(float(model.predict(stream.X[t : t + 1])[0]) if t else 0.0)
        model.partial_fit(stream.X[t : t + 1], stream.y[t : t + 1])
    return _of_predictions(stream, predictions)


def group_regrets(stream: GroupedStream, *losses: Array) -> list[dict[str, float]]:
    """Loss of each group beyond that of the best linear model fitted to its rows; one answer for each of the `losses`."""
    out: list[dict[str, float]] = [{} for _ in losses]
    for g, name in enumerate(stream.groups):
        mine = np.flatnonzero(stream.A[:, g])
        best = float(prefix_errors(stream.X[mine], stream.y[mine], [len(mine)])[0])
        for found, paid in zip(out, losses):
            found[name] = float(paid[mine].sum()) - best
    return out


__all__ = ["StreamLosses", "group_regrets", "groupwise", "river_by_rule", "river_single", "single_ridge", "sklearn_sgd"]
