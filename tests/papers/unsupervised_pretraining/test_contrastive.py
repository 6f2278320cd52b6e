"""Contrastive pairs: gradient, recovery, made pairs, torch encoders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from workingpapers.papers.unsupervised_pretraining import ContrastivePretrainer, ContrastiveProblem, neighbour_pairs
from workingpapers.papers.unsupervised_pretraining._contrastive import contrastive_loss, spectral_start


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dim", [1, 2])
def test_check_estimator(dim):
    found = check_estimator(ContrastivePretrainer(dim=dim), on_fail=None)
    assert [f["check_name"] for f in found if f["status"] not in ("passed", "skipped")] == []
    assert len(found) > 40


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 2.0), st.floats(0.1, 3.0))
def test_gradient_is_that_of_finite_differences(seed, l2, scale):
    rng = np.random.default_rng(seed)
    x1, x2, t = ContrastiveProblem(d=4, r=2, seed=seed).unlabelled(30)
    theta = scale * rng.standard_normal(8)
    _, gradient = contrastive_loss(theta, x1, x2, t, l2)
    numeric = approx_fprime(theta, lambda w: contrastive_loss(w, x1, x2, t, l2)[0], 1e-7)
    assert np.abs(gradient - numeric).max() < 1e-5 * max(1.0, np.abs(gradient).max())


def test_loss_is_the_negative_log_likelihood():
    x1, x2, t = ContrastiveProblem(d=5, r=2, seed=0).unlabelled(200)
    model = ContrastivePretrainer(dim=2).fit(x1, x2, t)
    agreement = (model.transform(x1) * model.transform(x2)).sum(axis=1)
    probability = 1 / (1 + np.exp(-agreement))
    wanted = np.mean(np.where(t == 1, np.log(probability), np.log(1 - probability)))
    assert model.pair_log_likelihood(x1, x2, t) == pytest.approx(wanted)
    assert model.loss_ == pytest.approx(-wanted)


def test_theta_is_found_up_to_a_rotation_and_loss_falls():
    problem = ContrastiveProblem(d=20, r=3, strength=(1.5, 0.5), seed=1)
    pairs = problem.unlabelled(60_000)
    model = ContrastivePretrainer(dim=3).fit(*pairs)
    gram = problem.theta @ problem.theta.T
    assert np.linalg.norm(model.components_.T @ model.components_ - gram) < 0.1 * np.linalg.norm(gram)
    assert np.diff(model.loss_path_).max() <= 1e-12
    assert model.loss_ <= contrastive_loss(problem.theta.ravel(), *pairs)[0]  # the truth is not likelier than the maximum


def test_spectral_start_is_near_the_truth_for_small_agreements():
    problem = ContrastiveProblem(d=6, r=2, strength=0.1, seed=0)
    start = spectral_start(*problem.unlabelled(400_000), 2)
    gram = problem.theta @ problem.theta.T
    assert np.linalg.norm(start @ start.T - gram) < 0.15 * np.linalg.norm(gram)


def test_neighbour_pairs_are_neighbours():
    x = np.random.default_rng(0).standard_normal((40, 3))
    x1, x2, t = neighbour_pairs(x, np.random.default_rng(1))
    assert (t == np.repeat([1, -1], 40)).all()
    distance = np.linalg.norm(x[:, None] - x[None], axis=2) + np.diag(np.full(40, np.inf))
    assert np.allclose(np.linalg.norm(x1[:40] - x2[:40], axis=1), distance.min(axis=1))
    assert (x1[40:] != x2[40:]).any(axis=1).all()


def test_inside_a_pipeline_pairs_are_made_and_labels_ignored():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=300)
    x = rng.standard_normal((300, 10)) + 4 * y[:, None] * np.eye(10)[0] - 2 * np.eye(10)[0]
    pipeline = make_pipeline(ContrastivePretrainer(dim=2, l2=1e-3), LogisticRegression()).fit(x, y)
    assert pipeline.score(x, y) > 0.9
    calls = []

    def twins(rows, generator):
        calls.append(rows.shape)
        return np.vstack([rows, rows]), np.vstack([rows + 0.1, rows[::-1]]), np.repeat([1, -1], len(rows))

    model = ContrastivePretrainer(dim=1, pairs=twins).fit(x, y)
    assert calls == [(300, 10)]
    assert np.array_equal(model.components_, ContrastivePretrainer(dim=1, pairs=twins).fit(x).components_)


def test_a_torch_encoder_learns_what_a_linear_one_cannot():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x1, x2 = rng.standard_normal((2, 1_500, 3))
    t = np.where(np.sign(x1[:, 0] * x1[:, 1]) == np.sign(x2[:, 0] * x2[:, 1]), 1, -1)  # the sign of a product: no linear map has it
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    before = [p.detach().clone() for p in network.parameters()]
    linear = ContrastivePretrainer(dim=2).fit(x1, x2, t)
    for options in (
        {"optimiser": "adamw", "max_iter": 20, "learning_rate": 2e-2, "batch_size": 100},
        {"optimiser": "lbfgs", "max_iter": 60},
    ):
        model = ContrastivePretrainer(network, dim=2, random_state=0, **options)
        with np.testing.suppress_warnings() as quiet:
            quiet.filter(ConvergenceWarning)
            model.fit(x1, x2, t)
        assert model.loss_ < 0.75 * linear.loss_
        assert model.transform(x1[:5]).shape == (5, 2)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters()))  # a copy was trained


@pytest.mark.parametrize(
    ("options", "given", "error", "words"),
    [
        ({"dim": 4}, (np.eye(3), np.eye(3), [1, -1, 1]), ValueError, "dim=4 is above"),
        ({}, (np.eye(3), np.eye(3), [1, 1, 1]), ValueError, "both kinds"),
        ({}, (np.eye(3), np.eye(3), [1, 0, 1]), ValueError, "2 \\* t - 1"),
        ({}, (np.eye(3), np.eye(3), [1, -1]), ValueError, "one sign for each"),
        ({}, (np.eye(3), np.ones((3, 2)), [1, -1, 1]), ValueError, "one shape"),
        ({}, (np.eye(3), None, [1, -1, 1]), ValueError, "X2 is missing"),
        ({}, (np.eye(3), np.eye(3)), ValueError, "t is missing"),
        ({}, (np.eye(3), np.full((3, 3), np.nan), [1, -1, 1]), ValueError, "NaN"),
        ({"optimiser": "sgd"}, (np.eye(3),), ValueError, "optimiser='sgd'"),
        ({"optimiser": "adamw"}, (np.eye(3),), ValueError, "torch encoders"),
        ({"encoder": "mlp"}, (np.eye(3),), ValueError, "encoder='mlp'"),
        ({"encoder": 3}, (np.eye(3),), TypeError, "encoder is a int"),
        ({"pairs": "neighbours"}, (np.eye(3),), TypeError, "pairs must be a function"),
        ({"l2": -1.0}, (np.eye(3),), ValueError, "l2=-1.0"),
    ],
)
def test_refusals_name_the_argument(options, given, error, words):
    with pytest.raises(error, match=words):
        ContrastivePretrainer(**options).fit(*given)


def test_an_encoder_of_the_wrong_width_is_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="dim=3"):
        ContrastivePretrainer(torch.nn.Linear(4, 2), dim=3).fit(np.random.default_rng(0).standard_normal((20, 4)))


def test_stopping_early_is_said():
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        ContrastivePretrainer(dim=3, max_iter=1).fit(*ContrastiveProblem(d=10, r=3, seed=0).unlabelled(2_000))
