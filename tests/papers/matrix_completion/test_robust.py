"""Huber's loss beside scipy's optimisers, and what outliers do to a fit, to new rows and to the estimate of noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import least_squares, minimize
from scipy.special import huber
from scipy.stats import norm

from workingpapers.papers.matrix_completion import RobustALSCompleter, simulate
from workingpapers.papers.matrix_completion._robust import huber_noise, huber_weights, robust_delta


@pytest.fixture(scope="module")
def wild():
    """Rank 2 with 5 % of the entries off by 8."""
    made, rng = simulate(60, 50, 2, 1_800, noise=0.1, rng=0), np.random.default_rng(1)
    off = rng.random(1_800) < 0.05
    return made, (made.rows, made.cols, made.vals + off * rng.choice([-8, 8], 1_800), made.shape)


def scipys(A, b, delta):
    return least_squares(lambda x: A @ x - b, np.zeros(A.shape[1]), loss="huber", f_scale=delta, xtol=1e-14, ftol=1e-14, gtol=1e-14).x


def test_a_fit_ends_where_every_row_and_column_is_scipys(wild):
    _, (r, c, v, shape) = wild
    model = RobustALSCompleter(2, loss="huber", huber_delta=0.2, tol=1e-11, max_iter=3_000, random_state=0, n_jobs=1).fit((r, c, v, shape))
    for i in range(0, 60, 7):
        np.testing.assert_allclose(model.U_[i], scipys(model.V_[c[r == i]], v[r == i], 0.2), atol=1e-6)
    for j in range(0, 50, 7):
        np.testing.assert_allclose(model.V_[j], scipys(model.U_[r[c == j]], v[c == j], 0.2), atol=1e-5)


@pytest.mark.parametrize("scale_reg", [False, True])
def test_the_ridge_is_on_the_loss_whatever_the_weights(wild, scale_reg):
    _, (r, c, v, shape) = wild
    model = RobustALSCompleter(2, loss="huber", huber_delta=0.2, reg=0.05, scale_reg=scale_reg, tol=1e-7, max_iter=3_000,
                               random_state=0, n_jobs=1).fit((r, c, v, shape))
    for i in (0, 31):
        A, b = model.V_[c[r == i]], v[r == i]
        ridge = 0.05 * (len(b) if scale_reg else 1)
        wanted = minimize(lambda x, A=A, b=b, ridge=ridge: huber(0.2, A @ x - b).sum() + ridge / 2 * x @ x, np.zeros(2), method="BFGS",
                          options={"gtol": 1e-9}).x
        np.testing.assert_allclose(model.U_[i], wanted, atol=1e-5)


def test_new_rows_and_columns_are_folded_in_under_the_loss(wild):
    made, entries = wild
    model = RobustALSCompleter(2, loss="huber", tol=1e-6, max_iter=500, random_state=0, n_jobs=1).fit(entries)
    rng = np.random.default_rng(3)
    truth = rng.standard_normal((5, 2)) @ model.V_.T
    X = np.where(rng.random(truth.shape) < 0.6, truth + 0.1 * rng.standard_normal(truth.shape), np.nan)
    X[:, 4] = 30.0
    weight = np.where(np.isnan(X), 0, rng.integers(1, 3, X.shape))
    for w in (None, weight):
        U = model.partial_rows(X, sample_weight=w)
        for i in range(5):
            own = np.repeat(np.arange(50), (np.isfinite(X[i]) if w is None else weight[i]).astype(int))  # a weight of 2 is an entry twice
            np.testing.assert_allclose(U[i], scipys(model.V_[own], X[i, own], model.huber_delta_), atol=1e-6)
        assert np.abs(U @ model.V_.T - truth).max() < 0.5
    plain = RobustALSCompleter(2, tol=1e-6, max_iter=500, random_state=0, n_jobs=1).fit(made.triplets)
    assert np.abs(plain.partial_rows(X) @ plain.V_.T - truth).max() > 1
    new = np.where(rng.random((60, 1)) < 0.7, model.U_ @ np.ones((2, 1)), np.nan)
    new[np.flatnonzero(np.isfinite(new[:, 0]))[0]] = -40.0
    model.partial_columns(new)
    own = np.isfinite(new[:, 0])
    np.testing.assert_allclose(model.V_[-1], scipys(model.U_[own], new[own, 0], model.huber_delta_), atol=1e-6)
    np.testing.assert_allclose(model.V_[-1], 1, atol=1e-3)


def test_far_out_deltas_are_least_squares(wild):
    made, _ = wild
    squared = RobustALSCompleter(2, tol=1e-10, max_iter=500, random_state=0, n_jobs=1).fit(made.triplets)
    loose = RobustALSCompleter(2, loss="huber", huber_delta=1e6, tol=1e-10, max_iter=500, random_state=0, n_jobs=1).fit(made.triplets)
    np.testing.assert_allclose(loose.U_ @ loose.V_.T, squared.U_ @ squared.V_.T, atol=1e-8)
    assert loose.noise_ == pytest.approx(squared.noise_)


def test_entries_that_fit_exactly_keep_their_weights():
    made = simulate(60, 50, 2, 1_800, rng=0)
    model = RobustALSCompleter(2, loss="huber", tol=1e-12, max_iter=300, random_state=0, n_jobs=1).fit(made.triplets)
    assert made.error(model.U_, model.V_) < 1e-9
    assert robust_delta(np.zeros(5), np.ones(5)) > 0
    np.testing.assert_array_equal(huber_weights(np.array([0.0, 1.0, -4.0]), 1.0), [1, 1, 0.25])


def test_noise_is_that_of_the_entries_that_are_not_wild(wild):
    made, entries = wild
    model = RobustALSCompleter(2, loss="huber", tol=1e-6, max_iter=500, random_state=0, n_jobs=1).fit(entries)
    clean = RobustALSCompleter(2, tol=1e-6, max_iter=500, random_state=0, n_jobs=1).fit(made.triplets)
    assert made.error(model.U_, model.V_) < 1.5 * made.error(clean.U_, clean.V_)
    assert 0.1 < model.noise_ < 0.14
    squared = RobustALSCompleter(2, tol=1e-6, max_iter=500, random_state=0, n_jobs=1).fit(entries)
    assert squared.noise_ > 1


def test_the_variance_is_hubers():
    """For standard normal noise: the integral of psi^2 over the square of that of its derivative."""
    delta = 1.345
    psi2 = quad(lambda r: np.clip(r, -delta, delta) ** 2 * norm.pdf(r), -10, 10, points=[-delta, delta])[0]
    wanted = np.sqrt(psi2) / (norm.cdf(delta) - norm.cdf(-delta))
    residuals = np.random.default_rng(0).standard_normal(200_000)
    noise, telling = huber_noise(residuals, delta, np.empty(0), 0)
    assert noise == pytest.approx(wanted, rel=0.01)
    assert telling.mean() == pytest.approx(1)
    assert set(telling[np.abs(residuals) > delta]) == {0.0}
    assert huber_noise(np.array([5.0, -7.0]), 1e-3, np.empty(0), 0)[0] == np.inf


def test_a_new_rows_bias_is_robust_too(wild):
    _, entries = wild
    model = RobustALSCompleter(2, loss="huber", fit_bias=True, reg=0.01, tol=1e-4, max_iter=200, random_state=0, n_jobs=1).fit(entries)
    x = np.full((1, 50), np.nan)
    x[0, :20] = 2 + np.random.default_rng(4).standard_normal(20)
    x[0, 3] = -50
    A, b = np.column_stack([model.V_, np.ones(50)])[:20], x[0, :20] - model.mean_ - model.column_bias_[:20]
    wanted = minimize(lambda u: huber(model.huber_delta_, A @ u - b).sum() + 0.005 * u @ u, np.zeros(3), method="BFGS",
                      options={"gtol": 1e-9}).x
    np.testing.assert_allclose(model.predict(x)[0], model.mean_ + model.column_bias_ + model.V_ @ wanted[:2] + wanted[2], atol=1e-4)


def test_single_precision_stays_single(wild):
    made, (r, c, v, shape) = wild
    model = RobustALSCompleter(2, loss="huber", tol=1e-3, random_state=0, n_jobs=1).fit((r, c, v.astype(np.float32), shape))
    X = np.full((2, 50), np.nan, np.float32)
    X[:, :30] = (made.U[:2] @ made.V.T)[:, :30]
    X[0, 5] = 40
    U, C = model.partial_rows(X, return_cov=True)
    assert U.dtype == model.U_.dtype == np.float32
    assert C.dtype == np.float64
    np.testing.assert_allclose(U @ model.V_.T, made.U[:2] @ made.V.T, atol=0.3)
