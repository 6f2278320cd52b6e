"""Ratings as tables of pairs, and the choice of a rank."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV

from workingpapers.papers.matrix_completion import RatingsRegressor, RobustALSCompleter, rank_curve, simulate, simulate_ratings


def frame(seed=0):
    rows, cols, vals, _ = simulate_ratings(120, 80, 3_000, k=2, noise=0.3, rng=seed)
    return pd.DataFrame({"user": [f"u{i}" for i in rows], "item": cols + 1_000, "rating": vals})


def test_made_ratings_look_like_ratings():
    rows, cols, vals, shape = simulate_ratings(200, 100, 4_000, rng=0)
    assert shape == (200, 100)
    assert len(set(zip(rows, cols))) == len(vals) == 4_000
    assert set(vals) <= set(np.arange(1, 5.5, 0.5))
    counts = np.sort(np.bincount(cols, minlength=100))
    assert counts[-10:].sum() > 3 * counts[:10].sum()
    with pytest.raises(ValueError, match="at most half"):
        simulate_ratings(10, 10, 99)


def test_a_grid_search_over_ranks_of_a_data_frame():
    df = frame()
    search = GridSearchCV(RatingsRegressor(reg=0.05), {"rank": [1, 2, 6]}, cv=3, scoring="neg_root_mean_squared_error")
    search.fit(df[["user", "item"]], df["rating"])
    assert search.best_params_["rank"] == 2
    assert -search.best_score_ < 0.9 * df["rating"].std()


def test_unknown_ids_get_the_mean_and_the_other_bias():
    df = frame()
    model = RatingsRegressor(2, clip=False).fit(df[["user", "item"]], df["rating"])
    mean = model.completer_.mean_
    asked = pd.DataFrame({"user": ["nobody", "nobody", "u3"], "item": [1, 1_003, 1]})
    got = model.predict(asked)
    assert got[0] == pytest.approx(mean)
    assert got[1] == pytest.approx(mean + model.completer_.column_bias_[list(model.items_).index(1_003)])
    assert got[2] == pytest.approx(mean + model.completer_.row_bias_[list(model.users_).index("u3")])
    assert RatingsRegressor(2).fit(df[["user", "item"]], df["rating"]).predict(df[["user", "item"]]).max() <= 5


def test_errors_name_the_argument():
    df = frame()
    pairs = df[["user", "item"]]
    with pytest.raises(ValueError, match="two are needed"):
        RatingsRegressor().fit(df, df["rating"])
    with pytest.raises(ValueError, match="pairs"):
        RatingsRegressor().fit(np.ones((3, 3)), np.ones(3))
    with pytest.raises(ValueError, match="one rating each"):
        RatingsRegressor().fit(pairs, [1.0])
    with pytest.raises(ValueError, match="finite"):
        RatingsRegressor().fit(pairs, df["rating"] * np.nan)
    for missing in (pd.DataFrame({"u": ["a", None], "i": [1, 2]}), pd.DataFrame({"u": pd.array([1, None], dtype="Int64"), "i": [1, 2]}),
                    np.array([[1.0, 2.0], [np.nan, 1.0]])):
        with pytest.raises(ValueError, match=r"missing ids|NaN"):
            RatingsRegressor(1).fit(missing, [1.0, 2.0])
    for mixed in (pd.DataFrame({"u": ["a", 1], "i": [1, 2]}), np.array([["a", 1], [2, 3]], dtype=object),
                  np.array([[None, 1], [2, 3]], dtype=object)):
        with pytest.raises(TypeError, match="user ids must be all numbers or all texts"):
            RatingsRegressor(1).fit(mixed, [1.0, 2.0])
    fitted = RatingsRegressor(2).fit(pairs, df["rating"])
    with pytest.raises(TypeError, match="user ids are int64"):
        fitted.predict(np.array([[1, 1_003]]))
    with pytest.raises(TypeError, match="item ids are <U"):
        fitted.predict(np.array([["u1", "1003"]]))
    with pytest.raises(ValueError, match="more than once"):
        RatingsRegressor(1).fit(np.array([[1, 1], [1, 1], [2, 2]]), [1.0, 2.0, 3.0])


@pytest.mark.slow
def test_the_rank_curve_finds_the_rank_and_draws_it():
    made = simulate(100, 80, 4, 4_000, noise=0.1, rng=0)
    curve = rank_curve(made.triplets, [1, 2, 4, 6, 9], RobustALSCompleter(reg=1e-3), splits=3)
    assert curve.best == curve.one_se == 4
    assert curve.rmse.shape == (3, 5)
    assert curve.plot().to_dict()["layer"]
    assert (rank_curve(made.triplets, [1, 2, 4, 6, 9], RobustALSCompleter(reg=1e-3), splits=3).rmse == curve.rmse).all()
    for bad in ({"ranks": []}, {"ranks": [1], "splits": 0}, {"ranks": [1], "held_out": 1.0}):
        with pytest.raises(ValueError, match="needed"):
            rank_curve(made.triplets, **bad)


def test_simulated_matrices_are_what_they_say():
    made = simulate(50, 40, 3, 600, condition=10, rng=0)
    sigma = np.linalg.svd(made.U @ made.V.T, compute_uv=False)
    assert sigma[0] / sigma[2] == pytest.approx(10)
    assert sigma[3] < 1e-10
    np.testing.assert_allclose((made.U @ made.V.T)[made.rows, made.cols], made.vals)
    assert made.error(made.U, made.V) == 0
    other = made.U + 0.1
    assert made.error(other, made.V) == pytest.approx(np.linalg.norm((other - made.U) @ made.V.T) / np.linalg.norm(sigma))
    with pytest.raises(ValueError, match="do not fit"):
        simulate(5, 5, 6, 10)
