"""The regressor: against the method refitted from scratch in every round, river's checks, scikit-learn's conventions, and a pickle."""

from __future__ import annotations

import pickle
import warnings
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from river import compose, datasets, evaluate, linear_model, metrics, preprocessing, tree
from river.checks import check_estimator
from scipy.sparse import csr_array
from sklearn.base import clone, is_regressor
from sklearn.linear_model import SGDRegressor
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.estimator_checks import check_estimator as check_sklearn_estimator

from workingpapers.papers.groupwise_regret import AzouryWarmuthVovk, Between, Equals, GroupwiseRegressor, OnlineRidge

GROUPS = {"low": Between("a", high=0.4), "high": Between("a", 0.6), "odd": Between("b", 0.5)}


def stream(T: int = 120, d: int = 4, seed: int = 0, empty: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    A = (rng.random((T, 3)) < 0.5).astype(float)
    if not empty:
        A[:, 2] = 1.0
    X = rng.random((T, d)) * (rng.random((T, d)) < 0.7)
    y = np.clip(X[:, 0] * A[:, 0] + 0.5 * X[:, 1] * A[:, 1] + 0.1 * rng.standard_normal(T), 0, 1)
    return X, y, A


def table(T: int = 150, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.random((T, 3)), columns=["a", "b", "c"])
    y = np.where(X["a"] < 0.4, X["b"], 0.5 * X["c"]) * 0.9
    return X, np.asarray(y)


def fresh(**options: Any) -> GroupwiseRegressor:
    return GroupwiseRegressor(**({"base": OnlineRidge, "groups": ["a", "b", "c"], "always_on": False} | options))


# ---------------------------------------------------------------- the method


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("l2", [0.3, 1.0])
def test_run_is_the_method_with_every_learner_refitted_in_every_round(reference: Any, empty: bool, l2: float) -> None:
    X, y, A = stream(empty=empty)
    assert (A.sum(axis=1) == 0).any() == empty
    model = fresh(base=OnlineRidge(l2))
    trace, wanted = model.run(X, y, A), reference.run(X, y, A, l2)
    np.testing.assert_allclose(trace.expected_loss, wanted["expected"], atol=1e-10)
    np.testing.assert_allclose(trace.mean_loss, wanted["mean"], atol=1e-10)
    np.testing.assert_allclose(trace.weights, wanted["weights"], atol=1e-10)
    np.testing.assert_allclose(model.regret_state_, (wanted["R"], wanted["C"]), atol=1e-9)
    np.testing.assert_array_equal(model.n_seen_, A.sum(axis=0))


def test_the_mean_is_never_worse_than_the_expected_loss() -> None:
    X, y, A = stream(400)
    for loss in ("squared", "absolute"):
        trace = fresh(loss=loss).run(X, y, A)
        assert (trace.mean_loss <= trace.expected_loss + 1e-12).all()


BASES = {"ridge": OnlineRidge, "forward": AzouryWarmuthVovk(0.5), "fading": OnlineRidge(forget=0.97),
         "intercept": OnlineRidge(0.2, intercept=True), "river": linear_model.BayesianLinearRegression(),
         "tree": partial(tree.HoeffdingTreeRegressor, grace_period=20),
         "scikit-learn": SGDRegressor(random_state=0)}


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("options", [{}, {"mode": "sample", "seed": 5}, {"loss": "absolute", "y_range": (0.0, 1.0), "clip": True},
                                     {"meta": "uniform"}, {"prior": {"low": 3.0}}], ids=str)
def test_run_is_predict_one_and_learn_one_row_by_row(base: str, options: dict[str, Any]) -> None:
    X, y = table()
    whole = GroupwiseRegressor(BASES[base], GROUPS, **options)
    rowwise = GroupwiseRegressor(BASES[base], GROUPS, **options)
    trace = whole.run(X, y)
    predictions = []
    for x, label in zip(X.to_dict("records"), y):
        predictions.append(rowwise.predict_one(x))
        rowwise.learn_one(x, label)
    np.testing.assert_allclose(trace.prediction, predictions, atol=1e-10)
    np.testing.assert_allclose(whole.regret_state_, rowwise.regret_state_, atol=1e-10)
    np.testing.assert_array_equal(whole.n_seen_, rowwise.n_seen_)
    if options.get("mode") != "sample":  # a draw more would be another draw
        np.testing.assert_allclose(whole.predict(X), [rowwise.predict_one(x) for x in X.to_dict("records")], atol=1e-10)
    pd.testing.assert_frame_equal(whole.group_report(), rowwise.group_report() if options.get("mode") != "sample" else whole.group_report())


def test_a_loss_of_ones_own_is_the_built_in_one() -> None:
    X, y = table()
    ours = GroupwiseRegressor(OnlineRidge, GROUPS).run(X, y)
    own = GroupwiseRegressor(OnlineRidge, GROUPS, loss=lambda z, label: (z - label) ** 2).run(X, y)
    np.testing.assert_allclose(ours.expected_loss, own.expected_loss, atol=1e-12)


def test_in_pieces_is_at_once() -> None:
    X, y, A = stream(90)
    whole, pieces = fresh(), fresh()
    trace = whole.run(X, y, A)
    joined = pieces.run(X[:31], y[:31], A[:31]) + pieces.run(X[31:], y[31:], A[31:])
    np.testing.assert_array_equal(trace.expected_loss, joined.expected_loss)
    assert trace.regret("b") == pytest.approx(joined.regret("b"))
    by_fit = fresh().partial_fit(X[:50], y[:50], A[:50]).partial_fit(X[50:], y[50:], A[50:])
    np.testing.assert_array_equal(by_fit.regret_state_, whole.regret_state_)
    np.testing.assert_array_equal(fresh().fit(X[:9], y[:9], A[:9]).fit(X, y, A).regret_state_, whole.regret_state_)


def test_sample_mode_draws_awake_learners_by_their_weights() -> None:
    X, y, A = stream(4_000)
    model = fresh(mode="sample", seed=1)
    trace = model.run(X, y, A)
    losses = (trace.prediction - y) ** 2
    assert abs((losses - trace.expected_loss).mean()) < 3 * losses.std() / np.sqrt(len(y))
    close = np.isclose(losses[:, None], trace.expert_loss)
    assert (close & trace.awake).any(axis=1).all()


def test_sleeping_learners_do_not_move() -> None:
    X, y, A = stream(60)
    model = fresh().partial_fit(X, y, A)
    bank = model._ready()
    before = {name: getattr(bank, name)[1].tobytes() for name in ("P", "theta", "b", "R", "C", "totals", "n_seen")}
    A[:, 1] = 0
    model.partial_fit(X, y, A)
    assert {name: getattr(bank, name)[1].tobytes() for name in before} == before
    model.partial_fit(X, y, np.ones_like(A))
    assert all(getattr(bank, name)[1].tobytes() != bytes_ for name, bytes_ in before.items())


def test_a_row_of_nobody_changes_nothing() -> None:
    X, y, A = stream(30)
    model = fresh().partial_fit(X, y, A)
    before = pickle.dumps(model._bank.__dict__ | {"_work": None, "_row": None})
    trace = model.run(X, y, np.zeros_like(A))
    np.testing.assert_allclose(trace.weights, 1 / 3)
    assert pickle.dumps(model._bank.__dict__ | {"_work": None, "_row": None}) == before


def test_prior_and_added_groups() -> None:
    X, y = table()
    x = {"a": 0.2, "b": 0.9, "c": 0.1}
    model = GroupwiseRegressor(OnlineRidge, GROUPS, prior={"low": 2.0})
    assert model.weights_(x) == pytest.approx({"low": 0.5, "high": 0.0, "odd": 0.25, "always_on": 0.25})
    model.partial_fit(X, y)
    known = model._ready().P[:4].copy()
    model.add_group("middle", Between("a", 0.4, 0.6))
    np.testing.assert_array_equal(model._ready().P[:4], known)
    assert model.group_names_ == ["low", "high", "odd", "always_on", "middle"]
    model.partial_fit(X, y)
    assert model.n_seen_[4] == ((X["a"] >= 0.4) & (X["a"] < 0.6)).sum()
    assert model.groups is GROUPS
    with pytest.raises(ValueError, match="already"):
        model.add_group("middle")
    trees = GroupwiseRegressor(tree.HoeffdingTreeRegressor(), GROUPS).partial_fit(X, y).add_group("middle", Between("a", 0.4, 0.6))
    assert len(trees.partial_fit(X, y)._ready().learners) == 5


def test_the_report_is_what_the_rows_say() -> None:
    X, y = table(300)
    model = GroupwiseRegressor(OnlineRidge(0.5), GROUPS)
    trace = model.run(X, y)
    report = model.group_report()
    for g, group in enumerate(model.group_names_):
        rows = trace.rows(group)
        line = report.loc[group]
        assert line["n"] == len(rows)
        assert line["expected_loss"] == pytest.approx(trace.expected_loss[rows].mean())
        assert line["own_loss"] == pytest.approx(trace.expert_loss[rows, g].mean())  # type: ignore[index]
        assert line["bias"] == pytest.approx((trace.prediction[rows] - y[rows]).mean())
        features, labels = X.to_numpy()[rows], y[rows]
        theta = np.linalg.solve(0.5 * np.eye(3) + features.T @ features, features.T @ labels)
        best = ((features @ theta - labels) ** 2).sum() + 0.5 * theta @ theta
        assert line["regret"] == pytest.approx(trace.group_loss(group) - best, abs=1e-8)
        assert line["regret"] <= trace.regret(group) + 1e-9


# ---------------------------------------------------------------- river


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"mode": "sample", "seed": 1}, {"base": linear_model.LinearRegression()}], ids=str)
def test_rivers_own_checks(options: dict[str, Any]) -> None:
    groups = {"late": Between("ordinal_date", 736600.0), "low": Between("gallup", high=40.0)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(GroupwiseRegressor(**({"base": OnlineRidge, "groups": groups} | options)))


def test_in_a_river_pipeline_and_its_evaluation() -> None:
    rows = [({"age": 20.0 + i % 50, "sex": "f" if i % 3 else "m"}, 0.01 * (i % 50) * (i % 3 > 0)) for i in range(600)]
    alone, grouped = metrics.MAE(), metrics.MAE()

    def pipeline(groups: list[str]) -> Any:
        encoder = compose.Select("age") + (compose.Select("sex") | preprocessing.OneHotEncoder())
        return encoder | GroupwiseRegressor(OnlineRidge(0.01), groups)

    evaluate.progressive_val_score(rows, pipeline([]), alone)
    evaluate.progressive_val_score(rows, pipeline(["sex_f", "sex_m"]), grouped)
    assert grouped.get() < 0.7 * alone.get()
    copy = pipeline(["sex_f"]).clone()
    assert copy["GroupwiseRegressor"].groups == ["sex_f"]


def test_predicting_leaves_no_trace_of_new_columns() -> None:
    X, y = table()
    for base in ("ridge", "river"):
        model = GroupwiseRegressor(BASES[base], GROUPS).partial_fit(X, y)
        before = model.predict(X)
        np.testing.assert_allclose(model.predict(X.assign(new=9.0)), before, atol=1e-12)
        assert model.predict_one({"a": 0.1, "b": 0.2, "c": 0.3, "new": 9.0}) == pytest.approx(
            model.predict_one({"a": 0.1, "b": 0.2, "c": 0.3}))
        if base == "ridge":
            assert list(model.coef_.columns) == ["a", "b", "c"]
    assert GroupwiseRegressor(OnlineRidge, GROUPS).predict(X).tolist() == [0.0] * len(X)


def test_an_intercept_is_a_column_of_ones() -> None:
    X, y, A = stream(80)
    ones = np.column_stack([np.ones(80), X])
    with_it, plain = fresh(base=OnlineRidge(intercept=True)), fresh()
    ours, wanted = with_it.run(X, y, A), plain.run(ones, y, A)
    np.testing.assert_allclose(ours.expected_loss, wanted.expected_loss, atol=1e-12)
    assert ours.regret("a") == pytest.approx(wanted.regret("a"), abs=1e-9)
    np.testing.assert_allclose(with_it.coef_, plain.coef_, atol=1e-12)
    assert list(with_it.coef_.columns) == ["intercept", 0, 1, 2, 3]
    by_itself = OnlineRidge(intercept=True)
    for row, label, a in zip(X, y, A[:, 0]):
        if a:
            by_itself.learn(row, label)
    np.testing.assert_allclose(by_itself.theta_, with_it.coef_.loc["a"], atol=1e-12)


def test_features_that_come_late_count_as_zero_before() -> None:
    X, y, A = stream(80, d=5)
    names = "pqrst"
    late = fresh()
    for t in range(80):
        x = {n: v for n, v in zip(names, X[t].tolist()) if v != 0}
        late.learn_one(x, y[t], groups=[g for g, a in zip("abc", A[t]) if a])
    whole = fresh().partial_fit(pd.DataFrame(X, columns=list(names)), y, A)
    np.testing.assert_allclose(late.regret_state_, whole.regret_state_, atol=1e-10)


def test_a_million_dollar_label_is_scaled() -> None:
    X, y = table()
    plain = GroupwiseRegressor(OnlineRidge, GROUPS, y_range=(0, 1)).run(X, y)
    dollars = GroupwiseRegressor(OnlineRidge, GROUPS, y_range=(0, 1e6)).run(X, 1e6 * y)
    np.testing.assert_allclose(plain.expected_loss, dollars.expected_loss, rtol=1e-9)
    np.testing.assert_allclose(1e6 * plain.prediction, dollars.prediction, rtol=1e-9)
    assert dollars.regret("low") == pytest.approx(plain.regret("low"), rel=1e-6)


# ---------------------------------------------------------------- scikit-learn


def test_scikit_learns_conventions() -> None:
    model = GroupwiseRegressor(OnlineRidge(2.0), GROUPS, y_range=(0, 1), seed=4)
    copy = clone(model)
    assert copy is not model
    assert copy.get_params()["y_range"] == (0, 1)
    assert copy.base.l2 == 2.0
    assert copy.base is not model.base
    assert set(model.get_params()) == set(model.get_params(deep=False)) | {"base__l2", "base__intercept", "base__forget"}
    assert set(model.get_params(deep=False)) == {"base", "groups", "meta", "mode", "always_on", "prior", "loss", "y_range", "clip", "track",
                                                 "seed"}
    assert model.set_params(mode="sample").mode == "sample"
    assert is_regressor(model)
    X, y = table(400)
    piped = make_pipeline(StandardScaler().set_output(transform="pandas"),
                          GroupwiseRegressor(OnlineRidge(intercept=True), {"low": Between("a", high=-0.35), "high": Between("a", -0.35)}))
    assert piped.fit(X, y).score(X, y) > 0.9
    assert piped.predict(X).shape == (400,)


CLASH = {"check_estimator_tags_renamed": "river's base class has a method of that name, with another meaning"}


@pytest.mark.slow
@pytest.mark.parametrize("model", [
    GroupwiseRegressor(OnlineRidge(intercept=True), []),
    GroupwiseRegressor(AzouryWarmuthVovk(intercept=True), {"low": Between(0, high=0.0)}),
], ids=["ridge", "forward"])
def test_scikit_learns_estimator_checks(model: GroupwiseRegressor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = check_sklearn_estimator(model, expected_failed_checks=CLASH, on_skip=None, on_fail=None)
    wrong = {t["check_name"]: str(t["exception"]) for t in told if t["status"] not in ("passed", "skipped", "xfail")}
    assert not wrong
    assert len(told) > 45


def test_a_search_over_a_pipeline_keeps_the_order_of_rows() -> None:
    """What a user of scikit-learn does: scaling, then groups by a scaled column, the penalty searched over splits in time."""
    X, y = table(300)
    model = GroupwiseRegressor(OnlineRidge(intercept=True), {"low": Between("a", high=0.4), "high": Between("a", 0.4)})
    piped = make_pipeline(MinMaxScaler().set_output(transform="pandas"), model)
    penalties = [0.01, 1.0, 1_000.0]
    search = GridSearchCV(piped, {"groupwiseregressor__base__l2": penalties}, cv=TimeSeriesSplit(4), scoring="neg_mean_absolute_error")
    assert search.fit(X, y).best_params_["groupwiseregressor__base__l2"] < 1_000.0
    by_hand = []
    for l2 in penalties:
        scores = []
        for train, test in TimeSeriesSplit(4).split(X):
            fitted = clone(piped).set_params(groupwiseregressor__base=OnlineRidge(l2, intercept=True)).fit(X.iloc[train], y[train])
            scores.append(-np.abs(fitted.predict(X.iloc[test]) - y[test]).mean())
        by_hand.append(np.mean(scores))
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], by_hand, atol=1e-12)
    with pytest.raises(ValueError, match="no argument 'l1'"):
        OnlineRidge().set_params(l1=2.0)


def test_state_before_learning_does_not_leak_into_a_clone() -> None:
    X, y = table()
    model = GroupwiseRegressor(OnlineRidge, GROUPS).partial_fit(X, y)
    assert clone(model).n_seen_.sum() == 0
    assert model.clone().n_seen_.sum() == 0


@pytest.mark.parametrize("base", ["ridge", "river", "scikit-learn"])
@pytest.mark.parametrize("mode", ["mean", "sample"])
def test_pickled_mid_stream_it_goes_on_as_if_nothing_had_happened(base: str, mode: str) -> None:
    X, y = table()
    rows = X.to_dict("records")
    model = GroupwiseRegressor(BASES[base], GROUPS, mode=mode, seed=7)
    for x, label in zip(rows[:70], y):
        model.predict_one(x)
        model.learn_one(x, label)
    again = pickle.loads(pickle.dumps(model))
    for x, label in zip(rows[70:], y[70:]):
        assert model.predict_one(x) == again.predict_one(x)
        model.learn_one(x, label)
        again.learn_one(x, label)


# ---------------------------------------------------------------- groups from everywhere


def test_memberships_from_predicates_columns_arrays_and_names_agree() -> None:
    X, y = table()
    A = np.column_stack([p.rows(X) for p in GROUPS.values()])
    by_predicate = GroupwiseRegressor(OnlineRidge, GROUPS).run(X, y)
    by_array = GroupwiseRegressor(OnlineRidge, list(GROUPS)).run(X, y, A)
    by_array_with_everybody = GroupwiseRegressor(OnlineRidge, GROUPS).run(X, y, np.column_stack([A, np.ones(len(A))]))
    by_frame = GroupwiseRegressor(OnlineRidge, GROUPS).run(X, y, pd.DataFrame(A, columns=list(GROUPS))[["odd", "low", "high"]])
    by_lambda = GroupwiseRegressor(OnlineRidge, {"low": lambda x: x["a"] < 0.4, "high": lambda x: x["a"] >= 0.6,
                                                 "odd": lambda x: x["b"] >= 0.5}).run(X, y)
    numbered = {"low": Between(0, high=0.4), "high": Between(0, 0.6), "odd": Between(1, 0.5)}
    by_position = GroupwiseRegressor(OnlineRidge, numbered).run(X.to_numpy(), y)
    for other in (by_array, by_array_with_everybody, by_frame, by_lambda, by_position):
        np.testing.assert_array_equal(by_predicate.awake, other.awake)
        np.testing.assert_array_equal(by_predicate.expected_loss, other.expected_loss)
    wide = X.assign(**{n: A[:, i].astype(float) for i, n in enumerate(GROUPS)})
    model = GroupwiseRegressor(OnlineRidge, list(GROUPS))
    np.testing.assert_array_equal(model.run(wide, y).awake, by_predicate.awake)  # columns that are features, too
    one = model.clone()
    one.learn_one({"a": 0.1}, 0.0, groups=["low"])
    assert one.n_seen_.tolist() == [1, 0, 0, 1]


def test_text_features_reach_base_learners_that_take_them() -> None:
    rows = [({"age": float(i % 9), "city": "rome" if i % 2 else "oslo"}, float(i % 2)) for i in range(200)]
    base = (compose.Select("city") | preprocessing.OneHotEncoder()) | linear_model.LinearRegression()
    model = GroupwiseRegressor(base, {"rome": Equals("city", "rome")})
    for x, label in rows:
        model.learn_one(x, label)
    assert model.predict_one({"age": 1.0, "city": "rome"}) == pytest.approx(1.0, abs=0.3)
    X = pd.DataFrame([x for x, _ in rows])
    assert GroupwiseRegressor(base, {"rome": Equals("city", "rome")}).run(X, [y for _, y in rows]).prediction[-1] > 0.7


# ---------------------------------------------------------------- what is refused


X3, Y3, A3 = stream(6)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: fresh(groups=["a", "a"]).run(X3, Y3, A3), "'a' stands twice"),
    (lambda: fresh(groups=[]).run(X3, Y3, A3), "groups is empty"),
    (lambda: fresh(mode="average").run(X3, Y3, A3), "mode is 'average'"),
    (lambda: fresh(meta="hedge").run(X3, Y3, A3), "meta is 'hedge'"),
    (lambda: fresh(loss="hinge").run(X3, Y3, A3), "loss is 'hinge'"),
    (lambda: fresh(y_range=(1, 0)).run(X3, Y3, A3), "y_range is"),
    (lambda: fresh(clip=True).run(X3, Y3, A3), "clip=True needs y_range"),
    (lambda: fresh(prior=[1.0, 2.0]).run(X3, Y3, A3), "prior must hold 3"),
    (lambda: fresh(prior={"z": 1.0}).run(X3, Y3, A3), "no group 'z'"),
    (lambda: fresh(prior=[1.0, 0.0, 1.0]).run(X3, Y3, A3), "positive"),
    (lambda: fresh().run(np.where(np.arange(24).reshape(6, 4) == 0, np.nan, X3), Y3, A3), "X holds NaN or infinity in row 0, column 0"),
    (lambda: fresh().run(X3, np.full(6, np.inf), A3), "y holds NaN or infinity in row 0"),
    (lambda: fresh().run(X3[:0], Y3[:0], A3[:0]), "no rows"),
    (lambda: fresh().run(X3 + 1j, Y3, A3), "Complex data"),
    (lambda: fresh().run(X3[:, :0], Y3, A3), "0 feature"),
    (lambda: fresh().run(X3, None, A3), "y is None"),
    (lambda: fresh().run(pd.DataFrame(X3, columns=list("pqrp")), Y3, A3), "column 'p' twice"),
    (lambda: fresh().run(X3, Y3[:3], A3), "one label a row"),
    (lambda: fresh().run(X3[0], Y3, A3), "rows and columns"),
    (lambda: fresh().run(X3, Y3, A3 * 0.5), "0 or 1 is needed"),
    (lambda: fresh().run(X3, Y3, A3[:, :2]), "memberships have the shape"),
    (lambda: fresh().run(X3, Y3), "cannot be told"),
    (lambda: fresh(y_range=(0, 0.01)).run(X3, Y3 + 1, A3), "outside y_range"),
    (lambda: fresh().partial_fit(X3, Y3, A3).predict(X3[:, :2], A3), "X has 2 features, but GroupwiseRegressor is expecting 4"),
    (lambda: fresh().run(np.array([["a"]]), [1.0], A3[:1]), "column 0 holds something that is no number"),
    (lambda: fresh().learn_one({"a": 1, "b": 0, "c": 2}, 0.0), "membership of 'c' is 2"),
    (lambda: fresh().learn_one({"q": float("nan")}, 0.0, ["a"]), "NaN"),
    (lambda: fresh().learn_one({"q": "yes"}, 0.0, ["a"]), "feature 'q' is 'yes'"),
    (lambda: fresh().learn_one({"q": 1.0}, float("nan"), ["a"]), "y is nan"),
    (lambda: fresh().learn_one({"q": 1.0}, "x", ["a"]), "y is 'x'"),
    (lambda: fresh(y_range=(0, 1)).learn_one({"q": 1.0}, 2.0, ["a"]), "outside y_range"),
    (lambda: fresh(groups={"old": Between("agee", 65)}).run(pd.DataFrame({"age": [70.0]}), [1.0]), "'old' asks for 'agee'.* 'age'"),
    (lambda: fresh(groups={"old": lambda x: x["agee"] > 65}).predict_one({"age": 70.0}), "'old' asks for 'agee'.* 'age'"),
    (lambda: fresh().predict_one({"q": 1.0}, groups=["z"]), "no group 'z'"),
    (lambda: fresh().add_group("z", prior=0.0), "prior is 0.0"),
])
def test_bad_input_is_named(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_wrong_types_are_named() -> None:
    with pytest.raises(TypeError, match="groups is 'smoker'"):
        fresh(groups="smoker").predict_one({})
    with pytest.raises(TypeError, match="predicate of 'a'"):
        fresh(groups={"a": 3}).predict_one({})
    with pytest.raises(TypeError, match="sparse"):
        fresh().run(csr_array(X3), Y3, A3)
    with pytest.raises(TypeError, match="base is 3"):
        fresh(base=3).predict_one({})


def test_refused_rows_leave_no_trace() -> None:
    X, y, A = stream(40)
    model = fresh().partial_fit(X, y, A)
    before = pickle.dumps((model.regret_state_, model._ready().P))
    broken = X.copy()
    broken[-1, 0] = np.nan
    for call in (lambda: model.run(broken, y, A), lambda: model.learn_one({0: np.inf, 1: 0.0, 2: 0.0, 3: 0.0}, 0.5, ["a"])):
        with pytest.raises(ValueError, match="NaN"):
            call()
    assert pickle.dumps((model.regret_state_, model._ready().P)) == before


def test_learning_without_predicting_in_sample_mode() -> None:
    model = fresh(mode="sample", seed=0)
    with pytest.raises(RuntimeError, match="predict"):
        model.learn_one({"q": 1.0}, 0.0, ["a"])
    for _ in range(2):  # delayed labels: two predictions, then their labels
        model.predict_one({"q": 1.0}, ["a"])
    for _ in range(2):
        model.learn_one({"q": 1.0}, 0.0, ["a"])
    with pytest.raises(RuntimeError, match="predict"):
        model.learn_one({"q": 1.0}, 0.0, ["a"])


def test_large_losses_are_warned_of_once() -> None:
    X, y, A = stream(30)
    model = fresh()
    with pytest.warns(UserWarning, match="y_range") as caught:
        [model.run(X, 100 * y, A) for _ in range(2)]
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh(y_range=(0, 100), clip=True).run(X, 100 * y, A)


def test_progress_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    X, y, A = stream(50_000)
    told: list[float] = []
    fresh(track=False).run(X, y, A, progress=lambda share, words: told.append(share))
    assert told == [0.4, 0.8, 1.0]


def test_user_data_stays() -> None:
    X, y = table()
    kept = X.copy(), y.copy()
    GroupwiseRegressor(OnlineRidge, GROUPS).fit(X, y).predict(X)
    pd.testing.assert_frame_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])


def test_a_real_river_data_set() -> None:
    groups = {"late": Between("ordinal_date", 736600.0)}
    rows = list(datasets.TrumpApproval())
    grouped = GroupwiseRegressor(OnlineRidge(0.1), groups, y_range=(0, 100))
    score = evaluate.progressive_val_score(rows, grouped, metrics.MAE()).get()
    alone = evaluate.progressive_val_score(rows, GroupwiseRegressor(OnlineRidge(0.1), [], y_range=(0, 100)), metrics.MAE()).get()
    assert score < 1.05 * alone
