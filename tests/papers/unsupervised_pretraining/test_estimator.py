"""Both phases behind one estimator, inside scikit-learn's pipelines and searches."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_classifier, is_regressor
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from workingpapers.papers.unsupervised_pretraining import (
    ComponentVote,
    ContrastivePretrainer,
    ContrastiveProblem,
    FactorPretrainer,
    FactorProblem,
    MixturePretrainer,
    MixtureProblem,
    PretrainedEstimator,
    RandomProjection,
)

PROBLEM = FactorProblem(d=12, r=2, strength=3.0, seed=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("head", [Ridge(), LogisticRegression()])
def test_check_estimator(head):
    model = PretrainedEstimator(FactorPretrainer(1, "isotropic"), head, refit_pretrainer=True)
    found = check_estimator(model, on_fail=None)
    assert [f["check_name"] for f in found if f["status"] not in ("passed", "skipped")] == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [ComponentVote(), RandomProjection()])
def test_check_estimator_of_the_small_ones(estimator):
    found = check_estimator(estimator, on_fail=None)
    assert [f["check_name"] for f in found if f["status"] not in ("passed", "skipped")] == []


class Counting(TransformerMixin, BaseEstimator):
    """Remembers what phase 1 was fitted on."""

    fits: list[int] = []

    def __init__(self, width=2):
        self.width = width

    def fit(self, X, y=None):
        assert y is None, "phase 1 was shown labels"
        Counting.fits.append(len(X))
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.asarray(X)[:, : self.width]


@pytest.fixture(autouse=True)
def _fresh_count():
    Counting.fits = []


def test_phase_one_sees_no_label_and_runs_once_for_equal_parameters():
    x, y = PROBLEM.labelled(60)
    model = PretrainedEstimator(Counting(), Ridge()).fit_unlabelled(PROBLEM.unlabelled(500))
    cross_val_score(model, x, y, cv=5)
    model.fit(x, y).fit(x[:10], y[:10])
    assert Counting.fits == [500]
    GridSearchCV(model, {"head__alpha": [0.1, 1.0], "pretrainer__width": [2, 3]}, cv=3).fit(x, y)
    assert set(Counting.fits) == {500}
    assert len(Counting.fits) == 1 + 6 + 1 or len(Counting.fits) == 1 + 6  # width=3: two alphas by three folds, perhaps the final fit


def test_a_search_tunes_both_phases():
    x, y = PROBLEM.labelled(150)
    model = PretrainedEstimator(make_pipeline(StandardScaler(), FactorPretrainer(1, "isotropic")), Ridge()).fit_unlabelled(
        PROBLEM.unlabelled(3_000)
    )
    search = GridSearchCV(model, {"pretrainer__factorpretrainer__n_factors": [1, 2], "head__alpha": [0.1, 10.0]}, cv=5).fit(x, y)
    assert search.best_params_["pretrainer__factorpretrainer__n_factors"] == 2
    by_hand = RidgeCV([search.best_params_["head__alpha"]])
    phase_one = make_pipeline(StandardScaler(), FactorPretrainer(2, "isotropic")).fit(PROBLEM.unlabelled(3_000))
    by_hand.fit(phase_one.transform(x), y)
    assert np.allclose(search.predict(x), by_hand.predict(phase_one.transform(x)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "pretrainer",
    [FactorPretrainer(8, "isotropic"), MixturePretrainer(12, "spherical", n_init=1, random_state=0), ContrastivePretrainer(dim=8, l2=1e-3)],
)
def test_pretrainers_are_pieces_of_a_plain_pipeline_in_a_search(pretrainer):
    x, y = load_digits(return_X_y=True)
    name = type(pretrainer).__name__.lower()
    size = {"factorpretrainer": "n_factors", "mixturepretrainer": "n_components", "contrastivepretrainer": "dim"}[name]
    pipeline = make_pipeline(StandardScaler(), pretrainer, LogisticRegression(max_iter=500))
    search = GridSearchCV(pipeline, {f"{name}__{size}": [4, 12]}, cv=3).fit(x[:400], y[:400])
    assert search.best_params_[f"{name}__{size}"] == 12
    assert search.score(x[400:800], y[400:800]) > (0.3 if name == "contrastivepretrainer" else 0.5)  # chance is 0.1


def test_a_mask_says_which_rows_have_labels():
    x, y = load_breast_cancer(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    mask = np.random.default_rng(0).random(len(y)) < 0.9
    marked = np.where(mask, -1, y)
    model = PretrainedEstimator(FactorPretrainer(5, "isotropic"), LogisticRegression()).fit(x, marked, unlabelled=mask)
    assert model.classes_.tolist() == [0, 1]
    same = PretrainedEstimator(FactorPretrainer(5, "isotropic"), LogisticRegression()).fit_unlabelled(x).fit(x[~mask], y[~mask])
    assert np.array_equal(model.predict(x), same.predict(x))
    assert model.score(x, y) > 0.9
    other = np.where(mask, 1 - y, y)  # what stands in masked rows is not looked at
    assert np.array_equal(
        PretrainedEstimator(FactorPretrainer(5, "isotropic"), LogisticRegression()).fit(x, other, unlabelled=mask).predict(x),
        model.predict(x),
    )


def test_minus_one_is_a_label_like_others_without_a_mask():
    x, y = load_breast_cancer(return_X_y=True)
    model = PretrainedEstimator(PCA(3), LogisticRegression()).fit_unlabelled(x).fit(x, 2 * y - 1)
    assert model.classes_.tolist() == [-1, 1]


def test_side_information_reaches_phase_one():
    problem = ContrastiveProblem(d=10, r=2, seed=0)
    x1, x2, t = problem.unlabelled(5_000)
    model = PretrainedEstimator(ContrastivePretrainer(dim=2), Ridge()).fit_unlabelled(x1, (x2, t)).fit(*problem.labelled(40))
    assert np.allclose(model.pretrainer_.components_, ContrastivePretrainer(dim=2).fit(x1, x2, t).components_)
    assert problem.excess_risk(model) < 0.3


def test_frozen_pretrainers_are_taken_as_they_are():
    frozen = FrozenEstimator(FactorPretrainer(2).fit(PROBLEM.unlabelled(1_000)))
    model = PretrainedEstimator(frozen, Ridge())
    x, y = PROBLEM.labelled(30)
    assert np.allclose(model.fit(x, y).encode(x), frozen.transform(x))
    assert np.isfinite(cross_val_score(model, x, y, cv=3)).all()


def test_refitting_uses_both_sets_of_rows():
    x, y = PROBLEM.labelled(40)
    PretrainedEstimator(Counting(), Ridge(), refit_pretrainer=True).fit(x, y)
    PretrainedEstimator(Counting(), Ridge(), refit_pretrainer=True).fit_unlabelled(PROBLEM.unlabelled(100)).fit(x, y)
    assert Counting.fits == [40, 100, 140]


def test_kind_follows_the_head():
    assert is_classifier(PretrainedEstimator(PCA(1), LogisticRegression()))
    assert is_regressor(PretrainedEstimator(PCA(1), Ridge()))
    assert not hasattr(PretrainedEstimator(PCA(1), Ridge()), "predict_proba")
    model = PretrainedEstimator(MixturePretrainer(2, random_state=0), ComponentVote())
    x, y = MixtureProblem(d=3, n_components=2, seed=0).labelled(50)
    proba = model.fit(x, y, unlabelled=np.arange(50) > 20).predict_proba(x)
    assert np.allclose(proba.sum(axis=1), 1.0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m, x, y: m.fit(x, y), NotFittedError, "fit_unlabelled"),
        (lambda m, x, y: m.predict(x), NotFittedError, "not fitted"),
        (lambda m, x, y: m.fit_unlabelled(x).predict(x), NotFittedError, "not fitted"),
        (lambda m, x, y: clone(m).fit(x, y), NotFittedError, "fit_unlabelled"),
        (lambda m, x, y: m.fit_unlabelled(x).fit(x[:, :5], y), ValueError, "X has 5 features, but the unlabelled rows had 12"),
        (lambda m, x, y: m.fit_unlabelled(x).fit(np.where(x > 1, np.nan, x), y), ValueError, "NaN"),
        (lambda m, x, y: m.fit(x, y, unlabelled=np.ones(len(x), bool)), ValueError, "every row"),
        (lambda m, x, y: m.fit(x, y, unlabelled=np.arange(len(x))), ValueError, "boolean mask"),
        (lambda m, x, y: m.set_params(head=LogisticRegression()).fit_unlabelled(x).fit(x, np.ones(len(x), int)), ValueError, "one class"),
    ],
)
def test_refusals_say_what_is_missing(call, error, words):
    with pytest.raises(error, match=words):
        call(PretrainedEstimator(FactorPretrainer(2), Ridge()), *PROBLEM.labelled(30))


def test_component_vote_is_the_best_labelling_of_components():
    """Against brute force over all labellings: each component by itself minimises its weighted loss, so the sum is least."""
    rng = np.random.default_rng(0)
    responsibilities, y = rng.dirichlet(np.ones(4), size=30), rng.integers(3, size=30)
    head = ComponentVote().fit(responsibilities, y)

    def loss(labelling):
        return sum(responsibilities[:, k] @ (y != labelling[k]) for k in range(4))

    every = np.stack(np.meshgrid(*[range(3)] * 4), axis=-1).reshape(-1, 4)
    assert loss(head.component_labels_) == pytest.approx(min(map(loss, every)))
    with pytest.raises(ValueError, match="one class"):
        ComponentVote().fit(responsibilities, np.zeros(30))
    with pytest.raises(ValueError, match="responsibilities"):
        ComponentVote().fit(responsibilities - 0.5, y)
