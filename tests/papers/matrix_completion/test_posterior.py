"""How sure rows are: beside Bayesian ridge of scikit-learn, inverses written out, and the spread of estimates over many draws of noise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import BayesianRidge

from workingpapers.papers.matrix_completion import RobustALSCompleter, simulate

EXACT = {"tol": 1e-9, "max_iter": 300, "random_state": 0, "n_jobs": 1}


@pytest.fixture(scope="module")
def made():
    return simulate(80, 60, 3, 2_400, noise=0.2, rng=0)


def test_mean_and_covariance_are_those_of_bayesian_ridge(made):
    """Noise and prior as scikit-learn estimates them for one row; then both are the same normal distribution."""
    model = RobustALSCompleter(3, **EXACT).fit(made.triplets)
    for row in (0, 11, 42):
        own = made.rows == row
        peer = BayesianRidge(fit_intercept=False, tol=1e-12, max_iter=3_000).fit(model.V_[made.cols[own]], made.vals[own])
        model.noise_, model.reg = peer.alpha_**-0.5, peer.lambda_ / peer.alpha_
        np.testing.assert_allclose(model.row_posterior(row)[1], peer.sigma_, rtol=1e-8)
        again = (np.zeros(own.sum(), np.int64), made.cols[own], made.vals[own], (1, 60))
        U, C = model.partial_rows(again, return_cov=True)
        np.testing.assert_allclose(U[0], peer.coef_, rtol=1e-7)
        np.testing.assert_allclose(C[0], peer.sigma_, rtol=1e-8)
        std = peer.predict(model.V_, return_std=True)[1]
        np.testing.assert_allclose(model.predict(again, return_std=True)[1][0], std, rtol=1e-8)
        np.testing.assert_allclose(model.predict(np.full(60, row), np.arange(60), return_std=True)[1], std, rtol=1e-8)


@pytest.mark.parametrize("scale_reg", [False, True])
def test_biases_and_weights_are_in_the_covariance(made, scale_reg):
    weight = np.random.default_rng(1).uniform(0.5, 2, len(made.vals))
    model = RobustALSCompleter(3, fit_bias=True, reg=0.1, scale_reg=scale_reg, tol=1e-3, random_state=0, n_jobs=1)
    model.fit(made.triplets, sample_weight=weight)
    row, own = 5, made.rows == 5
    A = np.column_stack([model.V_[made.cols[own]], np.ones(own.sum())])
    precision = A.T @ np.diag(weight[own]) @ A + 0.1 * (weight[own].sum() if scale_reg else 1) * np.eye(4)
    whole = model.noise_**2 * np.linalg.inv(precision)
    np.testing.assert_allclose(model.row_posterior(row)[1], whole[:3, :3], rtol=1e-8)
    design = np.column_stack([model.V_, np.ones(60)])
    wanted = np.sqrt(model.noise_**2 + np.einsum("ij,jk,ik->i", design, whole, design))
    np.testing.assert_allclose(model.predict(np.full(60, row), np.arange(60), return_std=True)[1], wanted, rtol=1e-8)


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_the_covariance_is_the_spread_of_estimates(made, loss):
    """One row seen 4,000 times with noise drawn anew; with Huber's loss some of it is wild."""
    model = RobustALSCompleter(3, loss=loss, **{**EXACT, "tol": 1e-6}).fit(made.triplets)
    rng = np.random.default_rng(2)
    seen, truth = rng.choice(60, 25, replace=False), rng.standard_normal(3) @ model.V_.T
    X = np.full((4_000, 60), np.nan)
    X[:, seen] = truth[seen] + model.noise_ * rng.standard_normal((4_000, 25))
    U, C = model.partial_rows(X, return_cov=True)
    np.testing.assert_allclose(C[0], C[-1])
    spread = np.cov(U.T)
    size = np.sqrt(np.outer(np.diag(spread), np.diag(spread)))
    assert np.abs(spread - C[0]).max() < 0.15 * size.max()
    np.testing.assert_allclose(np.diag(C[0]), np.diag(spread), rtol=0.15)


def test_entries_set_aside_are_covered_with_biases_too():
    rng = np.random.default_rng(0)
    shape, k = (300, 60), 2
    truth = 3 + rng.standard_normal((300, 1)) + rng.standard_normal(60) + rng.standard_normal((300, k)) @ rng.standard_normal((k, 60))
    seen = rng.random(shape) < 0.25
    X = np.where(seen, truth + 0.3 * rng.standard_normal(shape), np.nan)
    model = RobustALSCompleter(k, fit_bias=True, reg=0.05, tol=1e-4, max_iter=200, random_state=0, n_jobs=1).fit(X)
    rows, cols = np.nonzero(~seen)
    value, std = model.predict(rows, cols, return_std=True)
    y = truth[rows, cols] + 0.3 * rng.standard_normal(len(rows))
    assert 0.92 < np.mean(np.abs(y - value) < 1.96 * std) < 0.98


def test_what_a_row_does_not_tell_is_infinite(made):
    model = RobustALSCompleter(3, **EXACT).fit(made.triplets)
    X = np.full((3, 60), np.nan)
    X[0, 7], X[1, [7, 8]] = 1.0, 1.0
    model.V_[8] = 2 * model.V_[7]  # two entries in one direction
    C = model.partial_rows(X, return_cov=True)[1]
    assert np.isinf(C[:, range(3), range(3)]).all()
    std = model.predict(X, return_std=True)[1]
    assert np.isinf(std[2]).all()  # nothing seen
    assert np.isinf(std[:2, 9]).all()  # one direction seen, another asked for
    np.testing.assert_allclose(std[0, 7], np.sqrt(2) * model.noise_)  # the noise of the one entry seen and that of a new one
    model.reg = 0.5
    assert np.isfinite(model.predict(X, return_std=True)[1]).all()


@pytest.mark.parametrize("row", [-1, 80, 1.5, True])
def test_rows_that_were_not_fitted_are_refused(made, row):
    model = RobustALSCompleter(3, random_state=0).fit(made.triplets)
    with pytest.raises(ValueError, match="were fitted"):
        model.row_posterior(row)
