"""Online prediction that does well on every group, not only on average (groupwise regret).

For anyone who predicts one case at a time and learns after each: prices, credit, demand, clinical risk. Each group (age band, sex, smoker,
their intersections, anything that a function of a row can tell) gets an online learner of its own, fed with its members only. A person
belongs to several groups; their learners are mixed by AdaNormalHedge, which has nothing to tune. Each group then does nearly as well on
its own cases as the best model fitted to that group alone, at the cost of one learner's step for each group a person belongs to.

**A stream.** Rows in order of arrival, memberships beside them or as predicates:

>>> import numpy as np
>>> from workingpapers.papers.groupwise_regret import Between, GroupwiseRegressor, OnlineRidge
>>> rng = np.random.default_rng(0)
>>> X = rng.random((3_000, 4))
>>> y = np.where(X[:, 0] < 0.3, X @ [0, 0.6, 0, 0.2], X @ [0.1, 0, 0.7, 0])       # two kinds of people
>>> model = GroupwiseRegressor(OnlineRidge(), {"low": Between(0, high=0.3), "high": Between(0, 0.3)}, y_range=(0, 1))
>>> trace = model.run(X, y)
>>> alone = GroupwiseRegressor(OnlineRidge(), [], y_range=(0, 1)).run(X, y)       # one learner for everybody
>>> bool(trace.group_loss("low") < 0.1 * alone.expected_loss[X[:, 0] < 0.3].sum())
True
>>> {group: round(weight, 2) for group, weight in model.weights_({0: 0.1, 1: 0.5, 2: 0.5, 3: 0.5}).items()}
{'low': 1.0, 'high': 0.0, 'always_on': 0.0}

`trace.regret("low")` is the loss beyond that of the group's best linear model in hindsight, `trace.plot()` draws it for all groups,
`model.group_report()` tells n, loss, bias and regret of every group.

**In river and scikit-learn.** `predict_one` and `learn_one` work in a river pipeline and its evaluation; `fit`, `partial_fit` and
`predict` in scikit-learn's. Any river regressor, any scikit-learn regressor with `partial_fit`, any object with `propose` and `learn`
may be the base:

>>> from river import evaluate, linear_model, metrics
>>> rows = [({"age": 20 + i % 50, "smoker": i % 3 == 0}, float(i % 3 == 0) * (i % 50)) for i in range(500)]
>>> by_group = GroupwiseRegressor(linear_model.BayesianLinearRegression(), ["smoker"], y_range=(0, 50))
>>> evaluate.progressive_val_score(rows, by_group, metrics.MAE()).get() < 3.5
True

A pipeline whose penalty is searched over splits in time; groups are told by columns as they leave the step before:

>>> import pandas as pd
>>> from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.preprocessing import MinMaxScaler
>>> table = pd.DataFrame(X, columns=["age", "dose", "weight", "noise"])
>>> piped = make_pipeline(MinMaxScaler().set_output(transform="pandas"),
...                       GroupwiseRegressor(OnlineRidge(intercept=True), {"young": Between("age", high=0.3), "old": Between("age", 0.3)}))
>>> search = GridSearchCV(piped, {"groupwiseregressor__base__l2": [0.1, 1.0, 1000.0]}, cv=TimeSeriesSplit(4))
>>> search.fit(table, y).best_params_, bool(search.best_score_ > 0.99)
({'groupwiseregressor__base__l2': 0.1}, True)

**Routes, trees, assignments.** `GroupwiseOnline` plays actions of any kind, with `FollowThePerturbedLeader` over an oracle for the
cheapest choice (`DagShortestPath`, `DijkstraPath`, `SpanningTree`, `Assignment`, or a function of your own) as each group's learner.

Race, sex and the like may be groups to measure who is served worse and to serve them better. Whether they may enter a decision is not a
question that this package answers.

What is where:

- `GroupwiseRegressor`, `GroupwiseOnline`: the method, for predictions and for actions of any kind. `GroupTrace`: what happened.
- `OnlineRidge`, `AzouryWarmuthVovk`, `Hedge`, `FollowThePerturbedLeader`, `FTPLSmallSeparator`: learners of one group.
- `RiverLearner`, `SklearnLearner`: adapters (put around `base` by themselves).
- `BlumLykouris`, `HedgeOverModels`, `grid_hypotheses`: what the paper improves on.
- `best_in_hindsight`, `adanormalhedge_weights`: the comparator and the weights by themselves.
- `Between`, `Equals`, `AllOf`, `make_groups`, `intersections`: groups from a table, and all their intersections with enough members.
- `load_medical_cost`, `load_adult`, `SyntheticGroups`: the paper's data.
"""

from __future__ import annotations

from workingpapers.workloads.adult import load_adult
from workingpapers.workloads.grouped import AllOf, Between, Equals, intersections, make_groups
from workingpapers.workloads.medical_cost import load_medical_cost
from workingpapers.workloads.synthetic_groups import SyntheticGroups

from ._blum_lykouris import BlumLykouris, HedgeOverModels, grid_hypotheses
from ._ftpl import FollowThePerturbedLeader, FTPLSmallSeparator
from ._hindsight import Hindsight, best_in_hindsight
from ._learners import AzouryWarmuthVovk, Hedge, Learner, OnlineRidge, RiverLearner, SklearnLearner
from ._online import GroupwiseOnline
from ._oracles import Assignment, DagShortestPath, DijkstraPath, SpanningTree, path_nodes
from ._regressor import GroupwiseRegressor
from ._trace import GroupTrace
from ._weights import adanormalhedge_weights

__all__ = ["AllOf", "Assignment", "AzouryWarmuthVovk", "Between", "BlumLykouris", "DagShortestPath", "DijkstraPath", "Equals",
           "FTPLSmallSeparator", "FollowThePerturbedLeader", "GroupTrace", "GroupwiseOnline", "GroupwiseRegressor", "Hedge",
           "HedgeOverModels", "Hindsight", "Learner", "OnlineRidge", "RiverLearner", "SklearnLearner", "SpanningTree", "SyntheticGroups",
           "adanormalhedge_weights", "best_in_hindsight", "grid_hypotheses", "intersections", "load_adult", "load_medical_cost",
           "make_groups", "path_nodes"]
