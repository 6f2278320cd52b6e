"""The estimator: recovery, its kinds of input, scikit-learn's checks, and what a user meets on the way."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from workingpapers.papers.matrix_completion import RobustALSCompleter, incoherence, simulate, subspace_distance

EXACT = {"tol": 1e-12, "max_iter": 300, "random_state": 0, "n_jobs": 1}


def table(made):
    X = np.full(made.shape, np.nan)
    X[made.rows, made.cols] = made.vals
    return X


@pytest.fixture(scope="module")
def small():
    return simulate(60, 40, 3, 1_200, rng=1)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["auto", "cholesky", "cg", "cg_orth", "sketch", "lsqr"])
def test_noiseless_matrices_are_recovered(solver):
    made = simulate(500, 500, 5, 4 * 5 * (500 + 500 - 5), rng=0)
    model = RobustALSCompleter(5, solver=solver, **EXACT).fit(made.triplets)
    assert made.error(model.U_, model.V_) < 1e-8
    assert model.converged_
    assert model.subspace_change_ < 1e-6


def test_approximate_updates_take_as_many_sweeps_as_exact_ones():
    made = simulate(200, 150, 4, 6_000, rng=2)
    sweeps = {s: RobustALSCompleter(4, solver=s, **EXACT).fit(made.triplets).n_iter_ for s in ("cholesky", "cg_orth", "sketch")}
    assert max(sweeps.values()) <= 1.2 * sweeps["cholesky"]


def test_all_kinds_of_input_agree(small):
    X = table(small)
    X[small.rows[0], small.cols[0]] = 0.0
    stored = sp.coo_array((X[small.rows, small.cols], (small.rows, small.cols)), shape=X.shape)
    kinds = [X, np.ma.masked_invalid(X), stored, stored.tocsr(), sp.csc_matrix(stored), (small.rows, small.cols, stored.data, X.shape),
             (small.rows[::-1], small.cols[::-1], stored.data[::-1], X.shape)]
    fits = [RobustALSCompleter(3, **EXACT).fit(kind) for kind in kinds]
    for kind, model in zip(kinds, fits):
        np.testing.assert_array_equal(model.U_, fits[0].U_)
        np.testing.assert_array_equal(model.transform(kind), fits[0].transform(X))
    assert fits[0].transform(X)[small.rows[0], small.cols[0]] == 0.0  # a stored zero is data


def test_user_data_is_left_alone(small):
    X = table(small)
    kept = X.copy()
    RobustALSCompleter(3, **EXACT).fit_transform(X)
    np.testing.assert_array_equal(X, kept)


@pytest.mark.slow
def test_scikit_learns_checks():
    reasons = {
        "check_sample_weights_shape": "weights of the shape of X are one weight an entry here",
        "check_estimator_sparse_array": "predict of a matrix gives a matrix",
        "check_estimator_sparse_matrix": "predict of a matrix gives a matrix",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(RobustALSCompleter(rank=1, n_jobs=1, tol=1e-13, max_iter=2_000, random_state=0), expected_failed_checks=reasons,
                        on_skip=None)


def test_it_serves_as_an_imputer_in_pipelines(small):
    X, settled = table(small), {**EXACT, "tol": 1e-9}
    y = (small.U @ small.V.T)[:, 0]
    pipeline = make_pipeline(RobustALSCompleter(3, add_indicator=True, **settled), LinearRegression())
    assert pipeline.fit(X[:40], y[:40]).predict(X[40:]).shape == (20,)
    some = ColumnTransformer([("fill", RobustALSCompleter(3, **settled), list(range(20)))], remainder="drop")
    assert np.isfinite(some.fit_transform(X)).all()
    names = RobustALSCompleter(3, add_indicator=True, **EXACT).fit(X).get_feature_names_out()
    assert list(names[:2]) == ["x0", "x1"]
    assert names[40].startswith("missingindicator")
    assert len(names) == pipeline[0].transform(X).shape[1]


def test_ranks_are_searched_over_rows_of_a_table(small):
    model = RobustALSCompleter(score_rows="new", reg=1e-3, tol=1e-3, max_iter=100, random_state=0, n_jobs=1)
    found = GridSearchCV(model, {"rank": [1, 3, 8]}, cv=3).fit(table(small))
    assert found.best_params_ == {"rank": 3}
    assert found.best_score_ > -0.2


def test_score_of_entries_and_of_new_rows(small):
    model = RobustALSCompleter(3, **EXACT).fit(small.triplets)
    truth = small.U @ small.V.T
    rows, cols = np.arange(40), np.arange(40)
    assert model.score((rows, cols, truth[rows, cols] + 0.5, truth.shape)) == pytest.approx(-0.5)
    with pytest.raises(ValueError, match="score_rows='new'"):
        model.score(truth[:5])
    assert model.set_params(score_rows="new").score(truth[:5]) == pytest.approx(0, abs=1e-6)


def test_new_rows_are_folded_in_exactly(small):
    model = RobustALSCompleter(3, **EXACT).fit(small.triplets)
    rng = np.random.default_rng(0)
    new = rng.standard_normal((4, 3)) @ model.V_.T
    seen = np.where(rng.random(new.shape) < 0.5, new, np.nan)
    np.testing.assert_allclose(model.partial_rows(seen) @ model.V_.T, new, atol=1e-8)
    np.testing.assert_allclose(model.transform(seen), new, atol=1e-8)
    np.testing.assert_allclose(model.predict(seen), new, atol=1e-8)
    np.testing.assert_allclose(model.partial_rows(table(small)), model.U_, atol=1e-6)  # rows fitted are where they were
    empty = model.transform(np.full((1, 40), np.nan))
    np.testing.assert_allclose(empty[0], model.U_.mean(axis=0) @ model.V_.T)


def test_columns_stream_in(small):
    model = RobustALSCompleter(3, **EXACT).fit(small.triplets)
    new = model.U_ @ np.random.default_rng(0).standard_normal((3, 2))
    seen = np.where(np.random.default_rng(1).random(new.shape) < 0.4, new, np.nan)
    model.partial_columns(seen)
    assert model.n_features_in_ == len(model.V_) == 42
    np.testing.assert_allclose(model.predict(np.repeat(np.arange(60), 2), np.tile([40, 41], 60)).reshape(60, 2), new, atol=1e-8)
    with pytest.raises(ValueError, match="X_new has 5 rows"):
        model.partial_columns(seen[:5])


@pytest.mark.slow
def test_biases_are_found():
    rng = np.random.default_rng(0)
    rows, cols = np.divmod(np.sort(rng.choice(100 * 80, 3_000, replace=False)), 80)
    b, c = rng.standard_normal(100), rng.standard_normal(80)
    U, V = rng.standard_normal((100, 1)), rng.standard_normal((80, 1))
    truth = 5 + b[:, None] + c + U @ V.T
    for solver in ("cholesky", "cg_orth", "sketch", "lsqr"):
        model = RobustALSCompleter(1, fit_bias=True, reg=1e-6, solver=solver, **{**EXACT, "tol": 1e-10})
        model.fit((rows, cols, truth[rows, cols], truth.shape))
        r, s = np.divmod(np.arange(8_000), 80)
        np.testing.assert_allclose(model.predict(r, s), truth.ravel(), atol=1e-3)


def test_ridge_is_that_of_the_textbook():
    """At a fixed point each factor is the ridge solution given the other."""
    made = simulate(50, 40, 3, 900, noise=0.1, rng=0)
    for scale_reg in (False, True):
        model = RobustALSCompleter(3, reg=0.05, scale_reg=scale_reg, solver="cg_orth", **EXACT)
        with warnings.catch_warnings():  # each row is at its solution long before the factors share their scale out
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(made.triplets)
        for i in range(5):
            own = made.rows == i
            A = model.V_[made.cols[own]]
            ridge = 0.05 * (own.sum() if scale_reg else 1)
            np.testing.assert_allclose(model.U_[i], np.linalg.solve(A.T @ A + ridge * np.eye(3), A.T @ made.vals[own]), atol=1e-7)


def test_weights_are_repetitions():
    """An entry of weight 0 is absent, and a constant weight changes nothing."""
    made = simulate(50, 40, 2, 900, noise=0.1, rng=0)
    w = np.ones(900)
    w[:100] = 0
    with pytest.warns(UserWarning, match="6 rows have no observed entry"):
        absent = RobustALSCompleter(2, **EXACT).fit((made.rows[100:], made.cols[100:], made.vals[100:], made.shape))
    with pytest.warns(UserWarning, match="6 rows have no observed entry"):
        weighted = RobustALSCompleter(2, **EXACT).fit(made.triplets, sample_weight=3 * w)
    np.testing.assert_allclose(weighted.U_ @ weighted.V_.T, absent.U_ @ absent.V_.T, atol=1e-6)
    assert weighted.history_[-1].rmse == pytest.approx(absent.history_[-1].rmse, rel=1e-6)


def test_huber_loss_survives_outliers():
    made = simulate(120, 100, 3, 5_000, noise=0.01, rng=0)
    rng = np.random.default_rng(1)
    wild = rng.random(5_000) < 0.05
    vals = np.where(wild, made.vals + rng.choice([-8, 8], 5_000), made.vals)
    errors = {}
    for loss in ("squared", "huber"):
        model = RobustALSCompleter(3, loss=loss, **{**EXACT, "tol": 1e-6}).fit((made.rows, made.cols, vals, made.shape))
        errors[loss] = made.error(model.U_, model.V_)
    assert errors["huber"] < 0.05
    assert errors["huber"] < errors["squared"] / 10


def test_the_posterior_of_a_row_covers():
    """Of entries set aside, about 95 of 100 lie within 1.96 standard deviations."""
    made = simulate(300, 60, 3, 9_000, noise=0.2, rng=0)
    rest = np.setdiff1d(np.arange(300 * 60), made.rows * 60 + made.cols)
    rows, cols = np.divmod(np.random.default_rng(0).choice(rest, 2_000, replace=False), 60)
    model = RobustALSCompleter(3, **{**EXACT, "tol": 1e-8}).fit(made.triplets)
    value, std = model.predict(rows, cols, return_std=True)
    y = np.einsum("ij,ij->i", made.U[rows], made.V[cols]) + 0.2 * np.random.default_rng(1).standard_normal(2_000)
    assert model.noise_ == pytest.approx(0.2, rel=0.05)
    assert 0.92 < np.mean(np.abs(y - value) < 1.96 * std) < 0.98
    own = made.rows == 7
    A = model.V_[made.cols[own]]
    np.testing.assert_allclose(model.row_posterior(7)[1], model.noise_**2 * np.linalg.inv(A.T @ A), rtol=1e-6)
    with pytest.raises(ValueError, match="row is 300"):
        model.row_posterior(300)


def test_sample_splitting_and_random_starts_run():
    made = simulate(200, 200, 3, 30_000, rng=0)
    split = RobustALSCompleter(3, sample_split=True, max_iter=5, tol=0, random_state=0, n_jobs=1)
    with pytest.warns(ConvergenceWarning):
        split.fit(made.triplets)
    assert made.error(split.U_, split.V_) < 1e-2
    assert made.error(*[getattr(RobustALSCompleter(3, init="random", **EXACT).fit(made.triplets), f) for f in ("U_", "V_")]) < 1e-8


def test_early_stopping_keeps_the_best_sweep():
    made = simulate(80, 60, 2, 1_500, noise=0.5, rng=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = RobustALSCompleter(10, validation_fraction=0.2, early_stopping=True, tol=1e-9, max_iter=100, random_state=0)
        model.fit(made.triplets)
    errors = [s.held_out for s in model.history_]
    assert len(errors) < 100
    assert int(np.argmin(errors)) == len(errors) - 4


def test_history_tells_what_was_done(small):
    model = RobustALSCompleter(3, solver="cg_orth", validation_fraction=0.1, random_state=0, n_jobs=1).fit(small.triplets)
    last = model.history_[-1]
    assert last.change <= 1e-4
    before, earlier = model.history_[-2].change, model.history_[-3].change
    assert last.inner_tol == pytest.approx(min(0.1, 0.1 * before * min(1, max(before / earlier, 0.01))))
    assert last.flops > 0
    assert last.exactly == 0
    assert last.inner_iterations >= 1
    assert last.held_out < 0.01
    assert model.n_iter_ == len(model.history_)


def test_same_seed_same_factors(small):
    for solver in ("sketch", "auto"):
        a, b = (RobustALSCompleter(3, solver=solver, random_state=3).fit(small.triplets) for _ in range(2))
        np.testing.assert_array_equal(a.U_, b.U_)


def test_clipping_of_the_start():
    made = simulate(100, 80, 2, 4_000, rng=0)
    assert made.error(*[getattr(RobustALSCompleter(2, clip_mu=3.0, **EXACT).fit(made.triplets), f) for f in ("U_", "V_")]) < 1e-8


def test_distance_and_incoherence():
    U = np.linalg.qr(np.random.default_rng(0).standard_normal((30, 3)))[0]
    assert subspace_distance(U, U @ np.diag([1.0, 2, 3])) < 1e-14
    assert subspace_distance(np.eye(4)[:, :2], np.eye(4)[:, 1:3]) == pytest.approx(1)
    angle = 1e-9
    assert subspace_distance(np.array([[1.0], [0]]), np.array([[1.0], [angle]])) == pytest.approx(angle)
    assert incoherence(np.ones((10, 1))) == pytest.approx(1)
    assert incoherence(np.eye(10)[:, :2]) == pytest.approx(5)
    with pytest.raises(ValueError, match="one shape"):
        subspace_distance(U, U[:, :2])
    with pytest.raises(ValueError, match="finite"):
        subspace_distance(U, U * np.nan)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rank": 0}, "rank"), ({"rank": 2.5}, "rank"), ({"rank": 41}, "rank is 41"), ({"solver": "qr"}, "solver"), ({"tol": -1}, "tol"),
        ({"tol": np.nan}, "tol"), ({"max_iter": 0}, "max_iter"), ({"inner_tol": 0}, "inner_tol"), ({"inner_tol": "loose"}, "inner_tol"),
        ({"sketch_size": 0.5}, "sketch_size"), ({"sketch": "dct"}, "sketch"), ({"reg": -1}, "reg"), ({"init": "ones"}, "init"),
        ({"clip_mu": 0}, "clip_mu"), ({"loss": "l1"}, "loss"), ({"huber_delta": 0}, "huber_delta"),
        ({"validation_fraction": 1}, "validation_fraction"), ({"early_stopping": True}, "validation_fraction"),
        ({"score_rows": "all"}, "score_rows"), ({"n_jobs": 0}, "n_jobs"), ({"n_jobs": 1.5}, "n_jobs"),
        ({"loss": "huber", "sample_split": True}, "sample_split"),
    ],
)
def test_settings_out_of_range_are_named(settings, words, small):
    with pytest.raises(ValueError, match=words):
        RobustALSCompleter(**{"rank": 2, **settings}).fit(small.triplets)


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (([0, 0], [1, 1], [1.0, 2.0], (3, 3)), ValueError, "more than once"),
        (([0, 9], [1, 1], [1.0, 2.0], (3, 3)), ValueError, "rows runs from 0 to 9"),
        (([0, 1], [1, -1], [1.0, 2.0], (3, 3)), ValueError, "cols runs"),
        (([0.5], [1], [1.0], (3, 3)), TypeError, "whole numbers"),
        (([0], [1], [np.inf], (3, 3)), ValueError, "infinite"),
        (([0], [1], [np.nan], (3, 3)), ValueError, "NaN"),
        (([0], [1, 2], [1.0], (3, 3)), ValueError, "as many"),
        (([0], [1], [1.0], (3, 0)), ValueError, "at least 1"),
        (([], [], [], (3, 3)), ValueError, "no observed entry"),
        (([0], [1], ["a"], (3, 3)), TypeError, "numbers"),
        (np.full((3, 3), np.nan), ValueError, "no observed entry"),
        (np.array([[1.0, np.inf], [1, 2]]), ValueError, "infin"),
        (np.ones(3), ValueError, "array"),
    ],
)
def test_input_that_cannot_be_is_named(X, error, words):
    with pytest.raises(error, match=words):
        RobustALSCompleter(1).fit(X)


def test_gaps_warn_or_raise():
    X = np.random.default_rng(0).standard_normal((6, 5))
    X[2], X[:, 3] = np.nan, np.nan
    with pytest.warns(UserWarning, match="no observed entry"):
        model = RobustALSCompleter(1, random_state=0).fit(X)
    assert np.isfinite(model.transform(X)).all()
    with pytest.raises(ValueError, match="strict=False"):
        RobustALSCompleter(1, strict=True).fit(X)
    Y = np.full((6, 6), np.nan)
    Y[np.arange(6), np.arange(6)] = 1.0
    with pytest.warns(UserWarning, match="least norm"):
        RobustALSCompleter(2, random_state=0).fit(Y)


@pytest.mark.slow
def test_prediction_out_of_reach_is_refused(small):
    model = RobustALSCompleter(3, **EXACT).fit(small.triplets)
    for rows, cols in (([60], [0]), ([0], [40]), ([-1], [0]), ([0.5], [0]), ([0, 1], [0])):
        with pytest.raises(ValueError):
            model.predict(rows, cols)
    with pytest.raises(ValueError, match="features"):
        model.transform(np.ones((2, 3)))
    with pytest.raises(ValueError, match="too many to make dense"):
        model.transform(sp.csr_matrix(([1.0], ([0], [0])), shape=(1 << 27, 40)))
    wide = ([0, 1, 1], [0, 1, 0], [1.0, 2.0, 3.0], (1 << 16, 1 << 15))
    with pytest.raises(ValueError, match="add_indicator makes X dense"):
        RobustALSCompleter(1, add_indicator=True, random_state=0).fit(wide)


@pytest.mark.parametrize("weight", [np.ones(7), -np.ones(1_200), np.full(1_200, np.nan), np.zeros(1_200)])
def test_weights_that_cannot_be_are_named(weight, small):
    with pytest.raises(ValueError, match="sample_weight"):
        RobustALSCompleter(2).fit(small.triplets, sample_weight=weight)


def test_sweeps_that_do_not_settle_warn(small):
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        RobustALSCompleter(3, max_iter=2, tol=1e-9).fit(small.triplets)
