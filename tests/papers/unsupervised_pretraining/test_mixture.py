"""Mixtures against scikit-learn, brute force and the properties of EM."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import check_estimator

from workingpapers.papers.unsupervised_pretraining import MixturePretrainer, MixtureProblem

KINDS = [(c, w) for c in ("identity", "spherical", "diag") for w in ("uniform", "free")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("covariance", "weights"), [("identity", "uniform"), ("diag", "free")])
def test_check_estimator(covariance, weights):
    found = check_estimator(MixturePretrainer(covariance=covariance, weights=weights), on_fail=None)
    assert [f["check_name"] for f in found if f["status"] not in ("passed", "skipped")] == []
    assert len(found) > 40


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 10_000), st.integers(2, 5), st.floats(0.0, 5.0))
def test_likelihood_never_falls(kind, seed, k, separation):
    x = MixtureProblem(d=3, n_components=k, separation=separation, seed=seed).unlabelled(150)
    model = MixturePretrainer(k, *kind, n_init=3, tol=0.0, max_iter=60, reg_covar=0.0, random_state=seed).fit(x)
    assert np.diff(model.loglike_path_).min(initial=0.0) >= -1e-10
    assert model.loglike_ == pytest.approx(model.score(x), abs=1e-9)
    assert np.allclose(model.transform(x).sum(axis=1), 1.0)


@pytest.mark.parametrize(("covariance", "theirs"), [("spherical", "spherical"), ("diag", "diag")])
def test_agrees_with_scikit_learn_from_the_same_start(covariance, theirs):
    from workingpapers.papers.unsupervised_pretraining._mixture_em import fit_em

    x = MixtureProblem(d=4, n_components=3, separation=3.0, seed=1).unlabelled(2_000) * np.array([1.0, 2.0, 0.5, 1.0])
    means = x[:3].copy()
    best, _, _ = fit_em(x, means[None], covariance, True, tol=1e-13, max_iter=5_000, reg_covar=1e-6)
    reference = GaussianMixture(
        3,
        covariance_type=theirs,
        means_init=means,
        weights_init=np.full(3, 1 / 3),
        tol=1e-13,
        max_iter=5_000,
        precisions_init=np.full(3, 1 / x.var(axis=0).mean()) if theirs == "spherical" else np.full((3, 4), 1 / x.var(axis=0).mean()),
    )
    reference.fit(x)
    assert np.allclose(best.means, reference.means_, atol=1e-3)
    assert np.allclose(best.variances, reference.covariances_, atol=1e-3)
    assert np.allclose(best.weights, reference.weights_, atol=1e-3)


@pytest.mark.parametrize(("covariance", "weights"), KINDS)
def test_density_and_responsibilities_are_bayes_rule(covariance, weights):
    x = MixtureProblem(d=3, n_components=3, separation=3.0, seed=2).unlabelled(500) + 1_000.0
    model = MixturePretrainer(3, covariance, weights, n_init=2, random_state=0).fit(x)
    variances = model.covariances_ if covariance == "diag" else np.repeat(model.covariances_[:, None], 3, axis=1)
    joint = np.stack(
        [w * multivariate_normal(u, np.diag(v)).pdf(x[:30]) for w, u, v in zip(model.weights_, model.means_, variances)], axis=1
    )
    assert np.allclose(model.score_samples(x[:30]), np.log(joint.sum(axis=1)), atol=1e-8)
    assert np.allclose(model.transform(x[:30]), joint / joint.sum(axis=1, keepdims=True), atol=1e-8)
    assert np.array_equal(model.predict(x[:30]), joint.argmax(axis=1))
    if covariance == "identity":
        assert (model.covariances_ == 1).all()
    if weights == "uniform":
        assert np.allclose(model.weights_, 1 / 3)


def test_centres_are_found_up_to_their_order():
    problem = MixtureProblem(d=20, n_components=6, separation=5.0, seed=0)
    model = MixturePretrainer(6, random_state=0).fit(problem.unlabelled(12_000))
    gaps = np.linalg.norm(problem.centres[:, None] - model.means_[None], axis=2)
    rows, columns = linear_sum_assignment(gaps)
    assert gaps[rows, columns].max() < 0.2


def test_more_starts_are_never_worse_and_chunks_do_not_matter(monkeypatch):
    from workingpapers.papers.unsupervised_pretraining import _mixture_em

    x = MixtureProblem(d=5, n_components=8, separation=2.5, seed=3).unlabelled(600)
    few, many = (MixturePretrainer(8, n_init=n, random_state=0).fit(x) for n in (1, 10))
    assert many.loglike_ >= few.loglike_ - 1e-12  # the first start is among the ten
    monkeypatch.setattr(_mixture_em, "CHUNK_NUMBERS", 10_000)
    assert np.allclose(MixturePretrainer(8, n_init=10, random_state=0).fit(x).means_, many.means_, atol=1e-8)


def test_bic_finds_the_number_of_groups():
    from workingpapers.papers.unsupervised_pretraining import select_size

    best, bics = select_size(
        MixturePretrainer(random_state=0), MixtureProblem(d=6, n_components=4, separation=5.0, seed=0).unlabelled(1_500), [2, 3, 4, 5, 6]
    )
    assert best.n_components == 4
    assert min(bics, key=bics.get) == 4


@pytest.mark.parametrize(
    ("options", "x", "error", "words"),
    [
        ({"n_components": 5}, np.eye(3), ValueError, "n_components=5 is above"),
        ({"n_components": 0}, np.eye(3), ValueError, "n_components=0"),
        ({"covariance": "full"}, np.eye(3), ValueError, "covariance='full'"),
        ({"weights": "equal"}, np.eye(3), ValueError, "weights='equal'"),
        ({"n_init": 0}, np.eye(3), ValueError, "n_init=0"),
        ({}, np.array([[np.nan, 1.0], [0.0, 1.0]]), ValueError, "NaN"),
        ({}, np.zeros((0, 3)), ValueError, "0 sample"),
    ],
)
def test_refusals_name_the_argument(options, x, error, words):
    with pytest.raises(error, match=words):
        MixturePretrainer(**options).fit(x)


def test_stopping_early_is_said():
    x = MixtureProblem(d=3, n_components=4, separation=1.0, seed=0).unlabelled(400)
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        MixturePretrainer(4, max_iter=2, random_state=0).fit(x)


def test_equal_rows_and_lonely_rows_do_no_harm():
    same = MixturePretrainer(2, "diag", "free", random_state=0).fit(np.ones((20, 3)))
    assert np.isfinite(same.score(np.ones((4, 3))))
    far = np.concatenate([np.random.default_rng(0).standard_normal((50, 2)), [[1e6, 1e6]]])
    assert np.isfinite(MixturePretrainer(3, random_state=0).fit(far).transform(far)).all()
