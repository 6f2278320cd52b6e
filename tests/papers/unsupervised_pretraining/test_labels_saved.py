"""labels_saved on tables whose answer is known: it must say yes, no, and nothing, each where that is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import ShuffleSplit

from workingpapers.papers.unsupervised_pretraining import (
    ComponentVote,
    FactorPretrainer,
    FactorProblem,
    LabelsSaved,
    MixturePretrainer,
    MixtureProblem,
    PretrainedEstimator,
    informative_test,
    labels_saved,
    real_tables,
)
from workingpapers.papers.unsupervised_pretraining._labels_saved import _order, _reach

RIDGE = RidgeCV(np.logspace(-2, 4, 7))


def table(share, seed=0, labels=200):
    problem = FactorProblem(d=30, r=2, strength=3.0, sigma=0.5, through_noise=share, seed=seed)
    return problem.unlabelled(2_000), *problem.labelled(labels)


def pretrained(r=2):
    return PretrainedEstimator(FactorPretrainer(r), RIDGE)


def test_says_that_it_pays_where_it_does():
    found = labels_saved(pretrained(), RIDGE, *table(0.0), n_grid=[10, 20, 40, 80, 160])
    assert (found.verdict, found.pays) == ("pays", True)
    ratio, lo, hi = found.ratio
    assert 1 < lo <= ratio <= hi
    assert found.n_needed == pytest.approx(160 / ratio)
    assert "pays here" in found.sentence()
    assert "times fewer" in str(found)


@pytest.mark.parametrize("share", [1.0])
def test_refuses_where_labels_bypass_the_causes(share):
    found = labels_saved(pretrained(), RIDGE, *table(share), n_grid=[20, 40, 80, 160])
    assert found.verdict == "does not pay"
    assert np.isnan(found.ratio).all()
    assert "does not pay here" in found.sentence()
    assert "No saving is claimed" in found.sentence()


def test_says_nothing_of_labels_without_any_signal():
    x_u, x, y = table(0.0, labels=100)
    noise = np.random.default_rng(5).integers(2, size=len(y))
    found = labels_saved(
        PretrainedEstimator(FactorPretrainer(2), LogisticRegression()), LogisticRegression(), x_u, x, noise, n_grid=[20, 80]
    )
    assert found.verdict == "not shown"
    assert np.isnan(found.ratio).all()
    assert found.sentence().startswith("Not shown")


def test_the_same_estimator_twice_is_no_gain():
    _, x, y = table(0.0)
    found = labels_saved(RIDGE, RIDGE, None, x, y, n_grid=[20, 80], repeats=1)
    assert found.gain == (0.0, 0.0, 0.0)
    assert found.verdict == "not shown"


@pytest.mark.slow
def test_interval_holds_the_truth_in_most_tables():
    """20 tables of one problem against the exact mean difference; the promise is 95 %, the test asks for 80."""
    problem = FactorProblem(d=15, r=2, strength=2.0, sigma=1.0, seed=1)
    model = PretrainedEstimator(FactorPretrainer(2), Ridge(1.0)).fit_unlabelled(problem.unlabelled(2_000))
    rng = np.random.default_rng(0)
    exact = []
    for _ in range(150):
        x, y = problem.labelled(40, rng)
        exact.append([problem.excess_risk(m.fit(x, y)) + problem.optimal_risk() for m in (model, Ridge(1.0))])
    truth = float(np.subtract(*np.mean(exact, axis=0)))
    held = 0
    for i in range(20):
        found = labels_saved(model, Ridge(1.0), None, *problem.labelled(100, rng), n_grid=[40, 41], random_state=i)
        scale = found.baseline[:, 0].mean()
        held += found.gains[0][1] * scale <= truth <= found.gains[0][2] * scale
    assert held >= 16


@pytest.mark.slow
def test_classes_scorers_splitters_and_side_by_side_splits():
    problem = MixtureProblem(d=10, n_components=4, separation=4.0, seed=0)
    x, y = problem.labelled(150)
    model = PretrainedEstimator(MixturePretrainer(4, n_init=2, random_state=0), ComponentVote())
    found = labels_saved(model, LogisticRegression(), problem.unlabelled(1_500), x, y, n_grid=[8, 16, 100], repeats=2)
    assert found.error == "share of wrong labels"
    assert found.pays
    assert found.pretrained.shape == (10, 3)
    names = np.array(["no", "yes"])[y]
    again = labels_saved(model, LogisticRegression(), problem.unlabelled(1_500), x, names, n_grid=[8, 16, 100], repeats=2)
    assert np.array_equal(again.pretrained, found.pretrained)
    scored = labels_saved(model, LogisticRegression(), problem.unlabelled(1_500), x, y, n_grid=[8, 16, 100], repeats=2, scoring="accuracy")
    assert np.allclose(scored.pretrained, found.pretrained - 1)
    split = labels_saved(
        model, LogisticRegression(), problem.unlabelled(1_500), x, y, n_grid=[8, 16], cv=ShuffleSplit(4, test_size=0.3, random_state=0)
    )
    assert split.pretrained.shape == (4, 2)


def test_an_order_of_rows_holds_every_class_from_the_start():
    x, y = load_digits(return_X_y=True)
    model = PretrainedEstimator(PCA(10), LogisticRegression(max_iter=200))
    found = labels_saved(model, LogisticRegression(max_iter=200), x, x[:300], y[:300], n_grid=[10, 20], cv=3, repeats=1)
    assert found.baseline.shape == (3, 2)


def test_reach_interpolates_between_amounts_of_labels():
    grid, curve = np.array([10, 100, 1_000]), np.array([1.0, 0.5, 0.25])
    assert _reach(grid, curve, 0.75) == pytest.approx(10**1.5)
    assert _reach(grid, curve, 2.0) == 10
    assert _reach(grid, curve, 0.25) == pytest.approx(1_000)
    assert _reach(grid, curve, 0.1) == np.inf
    found = LabelsSaved(grid, np.tile(curve / 2, (3, 1)), np.tile(curve, (3, 1)), "error", 0.25)
    assert found.worth == pytest.approx([100, 1_000, np.inf])
    assert found.n_needed == pytest.approx(100)
    assert found.ratio[0] == pytest.approx(10)


def test_a_crossing_is_said():
    pretrained = np.array([[0.3, 0.3], [0.31, 0.3], [0.29, 0.31], [0.3, 0.3]])
    baseline = np.array([[1.0, 0.2], [1.01, 0.2], [0.99, 0.21], [1.0, 0.2]])
    found = LabelsSaved(np.array([10, 100]), pretrained, baseline, "error", 0.0)
    assert "With 100 labels the baseline is better" in found.sentence()
    assert np.isnan(found.ratio).all()  # it never reaches what the baseline reaches
    assert found.plot().to_dict()["layer"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"n_grid": [20, 500]}, ValueError, "n_grid ends at 500"),
        ({"n_grid": [20]}, ValueError, "two different"),
        ({"cv": 2, "repeats": 1}, ValueError, "at least 3"),
        ({"baseline": LogisticRegression()}, ValueError, "both be classifiers"),
        ({"estimator": RIDGE}, TypeError, "fit_unlabelled"),
        ({"y_l": np.ones(5)}, ValueError, "5 labels for the 60 rows"),
        ({"X_u": np.ones((50, 4))}, ValueError, "30 features, but the unlabelled rows had 4"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_refusals_name_the_argument(change, error, words):
    x_u, x, y = table(0.0, labels=60)
    given = {"estimator": pretrained(), "baseline": RIDGE, "X_u": x_u, "X_l": x, "y_l": y, **change}
    with pytest.raises(error, match=words):
        labels_saved(**given)


def test_informative_test_tells_the_control_from_the_real_thing():
    says = {}
    for share in (0.0, 1.0):
        x_u, x, y = table(share)
        says[share] = informative_test(FactorPretrainer(2), RIDGE, x_u, x, y).sentence()
    assert "labels follow it" in says[0.0]
    assert "do not visibly follow" in says[1.0]
    rng = np.random.default_rng(0)
    nothing = informative_test(
        FactorPretrainer(2, "isotropic"), RIDGE, rng.standard_normal((300, 5)), rng.standard_normal((100, 5)), rng.standard_normal(100)
    )
    assert "no structure" in nothing.sentence()


def test_every_amount_of_labels_holds_classes_in_proportion():
    y = np.repeat([0, 1, 2], [600, 300, 100])
    for seed in range(5):
        order = _order(np.arange(1_000), y, True, np.random.default_rng(seed))
        assert sorted(order) == list(range(1_000))
        assert set(y[order[:3]]) == {0, 1, 2}
        for n in (20, 100, 500):
            counts = np.bincount(y[order[:n]], minlength=3)
            assert np.abs(counts - n * np.array([0.6, 0.3, 0.1])).max() <= 3


@pytest.mark.slow
def test_real_tables_are_asked_by_one_command(capsys):
    assert real_tables.main(["iris"]) == 2
    assert "there are: digits" in capsys.readouterr().err
    assert real_tables.main(["diabetes"]) == 0
    told = capsys.readouterr().out
    assert "FactorPretrainer of size 3, chosen by BIC" in told
    assert "No saving is claimed" in told
    size, found = real_tables.ask(real_tables.TRIALS["breast cancer"], repeats=1)
    assert size in real_tables.TRIALS["breast cancer"].sizes
    assert found.pretrained.shape == (5, 5)


def test_real_tables_hide_the_labels_of_raw_rows():
    """Labels of raw rows are noise that would show: a table whose raw rows carry wrong labels gives the same answer."""
    asked = real_tables.TRIALS["diabetes"]
    x, y = asked.table(return_X_y=True)
    raw = np.random.default_rng(0).permutation(len(x))[: round(0.6 * len(x))]
    wrong = y.copy()
    wrong[raw] = 1e6
    spoiled = replace(asked, table=lambda return_X_y: (x, wrong))
    first, second = (real_tables.ask(t, repeats=1)[1] for t in (asked, spoiled))
    np.testing.assert_array_equal(first.pretrained, second.pretrained)
    np.testing.assert_array_equal(first.baseline, second.baseline)
