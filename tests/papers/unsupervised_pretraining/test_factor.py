"""Factor models against closed forms, scikit-learn and brute force."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import check_estimator

from workingpapers.papers.unsupervised_pretraining import FactorPretrainer, FactorProblem
from workingpapers.papers.unsupervised_pretraining._factor_missing import _posterior, _start, _step, posterior_missing


@pytest.fixture(scope="module")
def rows():
    return FactorProblem(d=8, r=2, strength=(4.0, 1.5), seed=3).unlabelled(3_000)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("noise", ["unit", "isotropic", "diagonal"])
def test_check_estimator(noise):
    found = check_estimator(FactorPretrainer(noise=noise), on_fail=None)
    assert [f["check_name"] for f in found if f["status"] not in ("passed", "skipped")] == []
    assert len(found) > 40


@pytest.mark.filterwarnings("ignore")
def test_check_estimator_with_missing_values():
    found = check_estimator(FactorPretrainer(noise="isotropic", missing="em"), on_fail=None)
    assert [f["check_name"] for f in found if f["status"] not in ("passed", "skipped")] == []


@pytest.mark.slow
def test_a_million_rows_give_the_loadings_to_one_percent():
    problem = FactorProblem(d=20, r=3, strength=(4.0, 1.0), seed=0)
    found = FactorPretrainer(3)
    for chunk in range(10):
        found.partial_fit(problem.unlabelled(100_000, rng=chunk))
    wanted = problem.b @ problem.b.T
    error = found.components_.T @ found.components_ - wanted
    assert found.n_samples_seen_ == 1_000_000
    assert np.linalg.norm(error) < 0.01 * np.linalg.norm(wanted)


@pytest.mark.parametrize("noise", ["isotropic", "diagonal"])
def test_likelihood_is_at_least_that_of_scikit_learn_on_unit_noise(rows, noise):
    theirs = FactorAnalysis(2, tol=1e-10, max_iter=20_000, svd_method="lapack", random_state=0).fit(rows)
    ours = FactorPretrainer(2, noise=noise).fit(rows)
    probabilistic = PCA(2).fit(rows)
    if noise == "isotropic":  # scikit-learn's PCA scores by the same model, with the unbiased covariance
        assert ours.score(rows) >= probabilistic.score(rows) - 1e-12
        assert ours.score(rows) >= theirs.score(rows) - 8 / len(rows)  # six noise variances fewer
    else:
        assert ours.score(rows) >= theirs.score(rows) - 1e-8
        assert ours.score(rows) == pytest.approx(theirs.score(rows), abs=1e-6)


def test_isotropic_likelihood_on_unit_noise_beats_an_early_stopped_factor_analysis_fit():
    """The specification's wording: PPCA's likelihood is not below scikit-learn's FactorAnalysis on held-out unit-noise rows."""
    problem = FactorProblem(d=30, r=3, strength=2.0, seed=1)
    train, test = problem.unlabelled(400), problem.unlabelled(20_000, rng=9)
    assert FactorPretrainer(3, noise="isotropic").fit(train).score(test) >= FactorAnalysis(3, random_state=0).fit(train).score(test)


@pytest.mark.parametrize("noise", ["unit", "isotropic", "diagonal"])
def test_density_and_posterior_are_those_of_the_joint_normal(rows, noise):
    model = FactorPretrainer(2, noise=noise).fit(rows)
    some = rows[:50]
    assert np.allclose(model.score_samples(some), multivariate_normal(model.mean_, model.get_covariance()).logpdf(some), atol=1e-9)
    conditional = (some - model.mean_) @ np.linalg.solve(model.get_covariance(), model.components_.T)
    assert np.allclose(model.transform(some), conditional, atol=1e-9)
    assert model.loglike_ == pytest.approx(model.score(rows), abs=1e-9)


@pytest.mark.parametrize("noise", ["unit", "isotropic", "diagonal"])
def test_no_small_change_of_the_parameters_is_likelier(rows, noise):
    model = FactorPretrainer(2, noise=noise, tol=1e-14).fit(rows)
    rng = np.random.default_rng(0)
    second = np.cov(rows.T, ddof=0)

    def loglike(b, psi):
        covariance = b @ b.T + np.diag(psi)
        return -0.5 * (np.linalg.slogdet(covariance)[1] + np.trace(np.linalg.solve(covariance, second)))

    best = loglike(model.components_.T, model.noise_variance_)
    for _ in range(50):
        b = model.components_.T + 1e-3 * rng.standard_normal((8, 2))
        change = {"unit": 0.0, "isotropic": rng.standard_normal(), "diagonal": rng.standard_normal(8)}[noise]
        assert loglike(b, model.noise_variance_ * np.exp(1e-3 * change)) <= best + 1e-9


@pytest.mark.parametrize("noise", ["unit", "isotropic", "diagonal"])
@pytest.mark.parametrize("centre", [True, False])
def test_streaming_equals_batch(noise, centre):
    x = FactorProblem(d=12, r=3, strength=3.0, seed=5).unlabelled(5_000) + 100.0 * centre
    batch = FactorPretrainer(3, noise=noise, centre=centre, tol=1e-15, max_iter=2_000).fit(x)
    stream = FactorPretrainer(3, noise=noise, centre=centre, tol=1e-15, max_iter=2_000)
    for part in np.array_split(x, [13, 700, 701, 4_000]):
        if len(part) > 1 or hasattr(stream, "n_samples_seen_"):
            stream.partial_fit(part)
    assert np.abs(stream._moments.scatter - batch._moments.scatter).max() <= 1e-10 * np.abs(batch._moments.scatter).max()
    assert np.abs(stream.mean_ - batch.mean_).max() <= 1e-10
    assert np.abs(stream.get_covariance() - batch.get_covariance()).max() <= (1e-10 if noise != "diagonal" else 1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_moments_do_not_depend_on_the_chunks(seed, sizes):
    from workingpapers.papers.unsupervised_pretraining._moments import Moments

    x = 50 + 10 * np.random.default_rng(seed).standard_normal((sum(sizes), 3))
    merged, start = None, 0
    for size in sizes:
        part = Moments.of(x[start : start + size])
        merged, start = part if merged is None else merged.merge(part), start + size
    assert merged.count == len(x)
    assert np.allclose(merged.mean, x.mean(axis=0), rtol=0, atol=1e-10)
    assert np.allclose(merged.second(centre=True), np.cov(x.T, ddof=0), rtol=1e-10, atol=1e-10)
    assert np.allclose(merged.second(centre=False), x.T @ x / len(x), rtol=1e-10)


def test_lanczos_agrees_with_the_full_decomposition(monkeypatch):
    from workingpapers.papers.unsupervised_pretraining import _factor_fit

    x = FactorProblem(d=60, r=4, strength=(5.0, 2.0), seed=2).unlabelled(2_000)
    full = FactorPretrainer(4, noise="isotropic").fit(x)
    monkeypatch.setattr(_factor_fit, "LANCZOS_ABOVE", 10)
    assert np.allclose(FactorPretrainer(4, noise="isotropic").fit(x).components_, full.components_, atol=1e-8)


# ---------------------------------------------------------------- missing entries


def with_gaps(x, share, seed=0):
    gaps = np.random.default_rng(seed).random(x.shape) < share
    gaps[gaps.all(axis=1), 0] = False
    return np.where(gaps, np.nan, x)


def test_posterior_with_gaps_is_that_of_the_observed_entries(rows):
    b = np.random.default_rng(1).standard_normal((8, 2))
    psi = np.linspace(0.5, 2.0, 8)
    x = with_gaps(rows[:40], 0.4)
    z, loglike = posterior_missing(x, b, psi)
    for i, row in enumerate(x):
        seen = ~np.isnan(row)
        covariance = b[seen] @ b[seen].T + np.diag(psi[seen])
        assert loglike[i] == pytest.approx(multivariate_normal(np.zeros(seen.sum()), covariance).logpdf(row[seen]), abs=1e-9)
        assert np.allclose(z[i], b[seen].T @ np.linalg.solve(covariance, row[seen]), atol=1e-9)


@pytest.mark.parametrize("noise", ["unit", "isotropic", "diagonal"])
def test_em_with_gaps_never_loses_likelihood(rows, noise):
    x = with_gaps(rows[:400], 0.3)
    seen = ~np.isnan(x)
    filled, mask = np.where(seen, x, 0.0), seen.astype(float)
    b, psi, mean = _start(filled, mask, np.zeros(8), np.ones(8), 2), np.ones(8), np.zeros(8)
    path = []
    for _ in range(60):
        mean, b, psi, now = _step(filled, mask, mask.sum(axis=0), mean, b, psi, noise, 1e-12, centre=True)
        path.append(now)
    assert np.diff(path).min() >= -1e-10
    assert path[-1] > path[0] + 0.1
    assert np.isfinite(_posterior(filled * mask, mask, b, psi)[0]).all()


def test_few_gaps_hardly_change_the_fit(rows):
    whole = FactorPretrainer(2, noise="diagonal").fit(rows)
    gappy = FactorPretrainer(2, noise="diagonal", missing="em", max_iter=2_000).fit(with_gaps(rows, 0.01))
    assert np.abs(gappy.get_covariance() - whole.get_covariance()).max() < 0.05
    assert np.abs(gappy.mean_ - whole.mean_).max() < 0.02
    assert gappy.transform(with_gaps(rows[:5], 0.3)).shape == (5, 2)


def test_gaps_are_filled_better_than_by_the_mean():
    problem = FactorProblem(d=20, r=2, strength=6.0, seed=4)
    x = problem.unlabelled(1_500)
    gappy = with_gaps(x, 0.3)
    model = FactorPretrainer(2, noise="isotropic", missing="em").fit(gappy)
    off = model.get_covariance() - problem.covariance
    assert np.linalg.norm(off) < 0.15 * np.linalg.norm(problem.covariance)
    filled = np.where(np.isnan(gappy), np.nanmean(gappy, axis=0), gappy)
    plain = FactorPretrainer(2, noise="isotropic").fit(filled).get_covariance() - problem.covariance
    assert np.linalg.norm(off) < 0.5 * np.linalg.norm(plain)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "x", "error", "words"),
    [
        ({"n_factors": 3}, np.eye(3), ValueError, "n_factors=3 is not below"),
        ({"n_factors": 1.5}, np.eye(3), TypeError, "n_factors=1.5"),
        ({"n_factors": True}, np.eye(3), TypeError, "n_factors=True"),
        ({"n_factors": 0}, np.eye(3), ValueError, "n_factors=0"),
        ({"noise": "pink"}, np.eye(3), ValueError, "noise='pink'"),
        ({"missing": "drop"}, np.eye(3), ValueError, "missing='drop'"),
        ({}, np.array([[1.0, np.nan], [0.0, 1.0]]), ValueError, "NaN"),
        ({}, np.array([[1.0, np.inf], [0.0, 1.0]]), ValueError, "infinity"),
        ({}, np.ones((1, 3)), ValueError, "minimum of 2"),
        ({"missing": "em"}, np.array([[1.0, np.nan], [0.0, np.nan], [2.0, np.nan]]), ValueError, "column 1 is missing"),
        ({"missing": "em"}, np.array([[1.0, 2.0], [np.nan, np.nan], [2.0, 1.0]]), ValueError, "row 1 has no entry"),
    ],
)
def test_refusals_name_the_argument(options, x, error, words):
    with pytest.raises(error, match=words):
        FactorPretrainer(**{"n_factors": 1, **options}).fit(x)


def test_other_widths_at_transform_are_refused(rows):
    with pytest.raises(ValueError, match="7 features"):
        FactorPretrainer(2).fit(rows).transform(rows[:, :7])


def test_warnings_say_what_to_do(rows):
    with pytest.warns(UserWarning, match="noise='isotropic'"):
        FactorPretrainer(2, noise="unit").fit(0.01 * rows)
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        FactorPretrainer(2, noise="diagonal", max_iter=2, tol=0.0).fit(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FactorPretrainer(2).fit(rows)


def test_input_is_not_changed_and_fits_do_not_depend_on_earlier_ones(rows):
    before = rows.copy()
    model = FactorPretrainer(2, noise="diagonal").fit(rows[:500] * np.arange(1, 9))
    first = model.fit(rows).components_.copy()
    assert np.array_equal(first, FactorPretrainer(2, noise="diagonal").fit(rows).components_)
    assert np.array_equal(rows, before)
