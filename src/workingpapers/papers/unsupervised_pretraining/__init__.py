"""Few labels, much raw data: fit a model of hidden causes to the raw rows, then only a small head to the labels.

For anyone who asks whether pretraining on unlabelled rows will pay on a table, and how many labels it saves. The pieces are
scikit-learn transformers and estimators.

**Does it pay on my table?** `labels_saved` draws both learning curves on the same splits and refuses where nothing is shown:

>>> import numpy as np
>>> from sklearn.linear_model import RidgeCV
>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.preprocessing import StandardScaler
>>> from workingpapers.papers.unsupervised_pretraining import FactorPretrainer, FactorProblem, PretrainedEstimator, labels_saved
>>> table = FactorProblem(d=30, r=2, strength=3.0, sigma=0.5, seed=0)
>>> x, y = table.labelled(150)
>>> model = PretrainedEstimator(make_pipeline(StandardScaler(), FactorPretrainer(2, noise="isotropic")), RidgeCV())
>>> answer = labels_saved(model, RidgeCV(np.logspace(-2, 4, 13)), table.unlabelled(2_000), x, y, n_grid=[15, 30, 60, 120])
>>> answer.verdict, answer.pays
('pays', True)
>>> answer = labels_saved(model, RidgeCV(np.logspace(-2, 4, 13)), table.unlabelled(2_000), x, x[:, 0] - y, n_grid=[15, 30, 60, 120])
>>> answer.pays, bool(np.isnan(answer.ratio[0]))        # a label that is not in the causes: no saving is claimed
(False, True)

**On real tables it often does not.** `python -m workingpapers.papers.unsupervised_pretraining.real_tables` puts the question to three
tables of scikit-learn's, a tuned linear model on all columns as baseline, four learning curves in under half a minute. Measured on
2026-11-25, error against the baseline over all numbers of labels: digits +18% [+11%, +26%] with 30 factors and +46% [+29%, +62%] with 80
groups, breast cancer +32% [+3%, +60%] (most of it with 10 labels), none of which pays; diabetes +5% [-12%, +22%], not shown. The sizes
chosen by BIC were the largest offered in all but diabetes.

**In a search.** What phase 1 has learned survives `clone`, as it has seen no label:

>>> from sklearn.model_selection import GridSearchCV
>>> search = GridSearchCV(model.fit_unlabelled(table.unlabelled(2_000)), {"pretrainer__factorpretrainer__n_factors": [1, 2, 4]}, cv=5)
>>> search.fit(x, y).best_params_
{'pretrainer__factorpretrainer__n_factors': 2}

What is where:

- `FactorPretrainer`, `MixturePretrainer`, `ContrastivePretrainer`: phase 1, transformers for any pipeline. Factors take missing values
  (`missing="em"`) and streams (`partial_fit`); pairs take a torch module as encoder.
- `PretrainedEstimator`: both phases behind `fit_unlabelled`, `fit`, `predict`. `ComponentVote`: the head for mixtures.
- `labels_saved`: learning curves, verdict and labels saved on your table. `informative_test`: likelihood gain beside head gain.
  `select_size`: how many causes or groups, by BIC on raw rows.
- `FactorProblem`, `MixtureProblem`, `ContrastiveProblem`: the paper's three instances with known truth; `excess_risk` of any predictor.
- `rate_fit`, `additive_fit`, `bound`: exponents with intervals, held against the paper's upper bound.
- `informative_ratio`, `kappa_curve`, `tv_lower_bound`: does matching the raw rows pin down the causes?

Where labels do not pass through the causes nothing is gained; where ridge regression does the job with the fewest labels, use it.
"""

from ._contrastive import ContrastivePretrainer, neighbour_pairs
from ._estimator import PretrainedEstimator
from ._factor import FactorPretrainer
from ._heads import ComponentVote
from ._informative import Estimate, Informative, KappaCurve, hellinger_gaussians, informative_ratio, kappa_curve, tv_lower_bound
from ._labels_saved import LabelsSaved, labels_saved
from ._mixture import MixturePretrainer
from ._problems import ContrastiveProblem, FactorProblem, MixtureProblem, excess_risk
from ._rates import AdditiveFit, Bound, RateFit, additive_fit, bound, rate_fit
from ._select import InformativeTest, RandomProjection, informative_test, select_size

__all__ = [
    "AdditiveFit",
    "Bound",
    "ComponentVote",
    "ContrastivePretrainer",
    "ContrastiveProblem",
    "Estimate",
    "FactorPretrainer",
    "FactorProblem",
    "Informative",
    "InformativeTest",
    "KappaCurve",
    "LabelsSaved",
    "MixturePretrainer",
    "MixtureProblem",
    "PretrainedEstimator",
    "RandomProjection",
    "RateFit",
    "additive_fit",
    "bound",
    "excess_risk",
    "hellinger_gaussians",
    "informative_ratio",
    "informative_test",
    "kappa_curve",
    "labels_saved",
    "neighbour_pairs",
    "rate_fit",
    "select_size",
    "tv_lower_bound",
]
