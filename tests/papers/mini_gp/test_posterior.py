"""The collapsed posterior against the posterior of every row, computed without folding anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern

from workingpapers.papers.mini_gp import UniqueGP
from workingpapers.papers.mini_gp._kernels import as_covariance
from workingpapers.papers.mini_gp._statistics import group_rows

NOISE = 0.1


def rows(seed: int, t: int = 120, q: int = 12, d: int = 2) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.random((q, d))[rng.integers(q, size=t)]
    return x, rng.normal(size=t), rng.random((15, d))


def full(x: Any, y: Any, queries: Any, kernel: Any, noise: float) -> tuple[Any, Any, Any]:
    """Textbook posterior on all T rows: mean, covariance, and the covariance of the observations."""
    k = kernel(x) + noise * np.eye(len(x))
    cross = kernel(x, queries)
    return cross.T @ np.linalg.solve(k, y), kernel(queries) - cross.T @ np.linalg.solve(k, cross), k


@pytest.mark.parametrize("kernel", [RBF(0.4), Matern(0.5, nu=2.5), ConstantKernel(2.0) * RBF([0.3, 0.7])], ids=["rbf", "matern", "scaled"])
@pytest.mark.parametrize("seed", range(5))
def test_equals_the_posterior_of_every_row(kernel: Any, seed: int) -> None:
    x, y, queries = rows(seed)
    mean, covariance, k = full(x, y, queries, kernel, NOISE)
    gp = UniqueGP(kernel, NOISE).add_many(x, y)
    got_mean, got_var = gp.posterior(queries)
    joint_mean, joint = gp.joint_posterior(queries)
    np.testing.assert_allclose(got_mean, mean, atol=1e-8)
    np.testing.assert_allclose(got_var, np.diagonal(covariance), atol=1e-8)
    np.testing.assert_allclose(joint_mean, mean, atol=1e-8)
    np.testing.assert_allclose(joint, covariance, atol=1e-8)
    assert gp.logdet() == pytest.approx(np.linalg.slogdet(k / NOISE)[1], abs=1e-8)
    assert gp.log_marginal_likelihood() == pytest.approx(multivariate_normal(np.zeros(len(y)), k).logpdf(y), abs=1e-8)


def test_likelihood_and_gradient_equal_those_of_scikit_learn_on_every_row() -> None:
    x, y, _ = rows(3)
    kernel = ConstantKernel(1.5) * RBF([0.4, 0.6])
    gp = UniqueGP(kernel, NOISE).add_many(x, y)
    value, gradient = gp.log_marginal_likelihood(gradient=True)
    peer = GaussianProcessRegressor(kernel, alpha=NOISE, optimizer=None).fit(x, y)
    expected, expected_gradient = peer.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    assert value == pytest.approx(expected, abs=1e-8)
    np.testing.assert_allclose(gradient[:-1], expected_gradient, atol=1e-8)
    k, inverse = kernel(x), np.linalg.inv(kernel(x) + NOISE * np.eye(len(y)))
    by_noise = 0.5 * NOISE * ((inverse @ y) @ (inverse @ y) - np.trace(inverse))
    assert gradient[-1] == pytest.approx(by_noise, abs=1e-8)
    assert k.shape == (len(y), len(y))


def test_without_the_within_term_the_likelihood_would_prefer_another_noise() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(rng.random((10, 1)), 50, axis=0)
    y = np.sin(6 * x[:, 0]) + 0.3 * rng.standard_normal(len(x))
    gp = UniqueGP(RBF(0.3), 1.0).add_many(x, y)
    gp.fit_hyper((1e-4, 1e2))
    assert gp.noise == pytest.approx(0.09, rel=0.2)
    assert gp.estimate_noise()[0] == pytest.approx(np.mean([y[i : i + 50].var(ddof=1) for i in range(0, 500, 50)]))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(-3, 3)), min_size=1, max_size=40),
    st.integers(0, 40),
    st.sampled_from(["zero", "constant"]),
)
def test_any_order_and_grouping_of_the_same_data_gives_the_same_posterior(data: list[tuple[int, float]], cut: int, mean: Any) -> None:
    points = np.random.default_rng(1).random((6, 2))
    x, y = points[[i for i, _ in data]], np.array([v for _, v in data])
    whole = UniqueGP(RBF(0.5), NOISE, mean).add_many(x, y)
    parts = UniqueGP(RBF(0.5), NOISE, mean)
    cut = min(cut, len(y))
    for a, b in zip(x[:cut], y[:cut]):
        parts.add(a, b)
    if cut < len(y):
        parts.add_many(x[cut:][::-1], y[cut:][::-1])
    for a, b in zip(whole.posterior(points + 0.1), parts.posterior(points + 0.1)):
        np.testing.assert_allclose(a, b, atol=1e-9)
    assert whole.n_obs == parts.n_obs == len(y)
    assert whole.within_squares == pytest.approx(parts.within_squares, abs=1e-9)
    assert whole.log_marginal_likelihood() == pytest.approx(parts.log_marginal_likelihood(), abs=1e-7)


@pytest.mark.parametrize("b", [1, 2, 7, 1000])
def test_variance_after_b_repeats(b: int) -> None:
    gp = UniqueGP(RBF(0.5), NOISE).add([0.2], 1.0).add([0.9], -1.0)
    before = gp.posterior([[0.5]])[1][0] / NOISE
    gp.add([0.5], np.zeros(b))
    assert gp.posterior([[0.5]])[1][0] / NOISE == pytest.approx(before / (1 + b * before), rel=1e-10)


def test_constant_mean_is_generalised_least_squares() -> None:
    x, y, queries = rows(7)
    kernel, y = RBF(0.4), y + 5.0
    _, _, k = full(x, y, queries, kernel, NOISE)
    ones = np.ones(len(y))
    level = (ones @ np.linalg.solve(k, y)) / (ones @ np.linalg.solve(k, ones))
    mean, _, _ = full(x, y - level, queries, kernel, NOISE)
    np.testing.assert_allclose(UniqueGP(kernel, NOISE, "constant").add_many(x, y).posterior(queries)[0], level + mean, atol=1e-8)


def test_gradient_with_a_constant_mean_is_that_of_the_profile_likelihood() -> None:
    x, y, _ = rows(8)
    gp = UniqueGP(RBF(0.4), NOISE, "constant").add_many(x, y + 2)
    theta = np.append(gp.kernel.theta, np.log(NOISE))
    numeric = approx_fprime(theta, lambda t: gp._with(t).log_marginal_likelihood(), 1e-6)
    np.testing.assert_allclose(gp.log_marginal_likelihood(gradient=True)[1], numeric, rtol=1e-4, atol=1e-3)


def test_a_long_stream_of_repeats_does_not_drift() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((40, 3))
    gp = UniqueGP(RBF(0.3), 0.01)
    which = rng.integers(40, size=5_000)
    y = rng.normal(size=5_000)
    for i, v in zip(which, y):
        gp.add(points[i], v)
    fresh = UniqueGP(RBF(0.3), 0.01).add_many(points[which], y)
    for a, b in zip(gp.posterior(points), fresh.posterior(points)):
        np.testing.assert_allclose(a, b, atol=1e-9)


def test_averages_taken_elsewhere_count_as_their_observations() -> None:
    x, y, queries = rows(4)
    groups = group_rows(x, y, 1e-9)
    a = UniqueGP(RBF(0.4), NOISE).add_many(x, y)
    b = UniqueGP(RBF(0.4), NOISE).add_stats(groups.x, groups.count, groups.average, groups.squares)
    np.testing.assert_array_equal(a.posterior(queries), b.posterior(queries))
    assert a.log_marginal_likelihood() == b.log_marginal_likelihood()


def test_samples_have_the_moments_of_the_joint_posterior() -> None:
    x, y, queries = rows(5)
    gp = UniqueGP(RBF(0.4), NOISE).add_many(x, y)
    mean, covariance = gp.joint_posterior(queries)
    draws = gp.sample(queries, 20_000, random_state=0)
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=5 * np.sqrt(covariance.diagonal().max() / 20_000))
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.05)


def test_points_that_differ_by_rounding_are_one() -> None:
    gp = UniqueGP(RBF(0.5), NOISE).add([0.1 + 0.2], 1.0).add([0.3], 3.0).add([-0.0], 1.0).add([0.0], 1.0)
    assert (gp.n_obs, gp.n_unique) == (4, 2)


def test_rows_whose_mixes_collide_are_still_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    from workingpapers.papers.mini_gp import _statistics

    x = np.array([[0.0, 1.0], [2.0, 3.0], [0.0, 1.0]])
    honest = _statistics.group_rows(x, np.array([1.0, 2.0, 3.0]), 1.0)
    unique = np.unique

    def colliding(values: Any, **how: Any) -> Any:
        return unique(np.zeros_like(values) if values.ndim == 1 else values, **how)

    monkeypatch.setattr(np, "unique", colliding)
    forced = _statistics.group_rows(x, np.array([1.0, 2.0, 3.0]), 1.0)
    np.testing.assert_array_equal(honest.x, forced.x)
    np.testing.assert_array_equal(honest.average, [2.0, 2.0])
    np.testing.assert_array_equal(forced.count, [2.0, 1.0])


def test_float32_agrees_to_its_precision() -> None:
    x, y, queries = rows(6)
    a, b = (UniqueGP(RBF(0.4), NOISE, dtype=t).add_many(x, y).posterior(queries) for t in (np.float64, np.float32))
    np.testing.assert_allclose(a, b, atol=2e-4)


@pytest.mark.needs("gpytorch")
def test_gpytorch_kernels_and_plain_functions_agree_with_scikit_learn() -> None:
    import gpytorch

    x, y, queries = rows(2)
    torch_kernel = gpytorch.kernels.RBFKernel().double()
    torch_kernel.lengthscale = 0.4
    reference = UniqueGP(RBF(0.4), NOISE).add_many(x, y)
    theirs = UniqueGP(torch_kernel, NOISE).add_many(x, y)
    plain = UniqueGP(lambda a, b: RBF(0.4)(a, b), NOISE).add_many(x, y)
    for other in (theirs, plain):
        np.testing.assert_allclose(other.posterior(queries), reference.posterior(queries), atol=1e-9)
    theta = np.append(theirs.kernel.theta, np.log(NOISE))
    numeric = approx_fprime(theta, lambda t: theirs._with(t).log_marginal_likelihood(), 1e-6)
    np.testing.assert_allclose(theirs.log_marginal_likelihood(gradient=True)[1], numeric, rtol=1e-4, atol=1e-3)
    assert theirs.fit_hyper().log_marginal_likelihood() == pytest.approx(reference.fit_hyper().log_marginal_likelihood(), abs=1e-2)


def test_fit_never_lowers_the_likelihood_and_restarts_only_help() -> None:
    x, y, _ = rows(9)
    start = UniqueGP(RBF(2.0), 3.0).add_many(x, y)
    before = start.log_marginal_likelihood()
    once = start.fit_hyper().log_marginal_likelihood()
    more = UniqueGP(RBF(2.0), 3.0).add_many(x, y).fit_hyper(restarts=3, random_state=0).log_marginal_likelihood()
    assert more >= once - 1e-6 >= before - 1e-6


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: UniqueGP(RBF(1.0), 0.0), "noise"),
        (lambda: UniqueGP(RBF(1.0), -1.0), "noise"),
        (lambda: UniqueGP(RBF(1.0), np.nan), "noise"),
        (lambda: UniqueGP(RBF(1.0), 1.0, "linear"), "mean"),
        (lambda: UniqueGP(RBF(1.0), 1.0, dtype=int), "dtype"),
        (lambda: UniqueGP(RBF(1.0), 1.0, resolution=0), "resolution"),
        (lambda: UniqueGP(RBF(1.0), 1.0).add([0.0], np.inf), "y holds"),
        (lambda: UniqueGP(RBF(1.0), 1.0).add([np.nan], 0.0), "x holds"),
        (lambda: UniqueGP(RBF(1.0), 1.0).add([0.0], []), "y must"),
        (lambda: UniqueGP(RBF(1.0), 1.0).add([0.0], 1.0).add([0.0, 1.0], 1.0), "columns"),
        (lambda: UniqueGP(RBF(1.0), 1.0).add_many([[0.0], [1.0]], [1.0]), "rows"),
        (lambda: UniqueGP(RBF(1.0), 1.0).add_many([0.0], [1.0]), "shape"),
        (lambda: UniqueGP(RBF(1.0), 1.0).add_stats([0.0], 0.5, 1.0), "n must"),
        (lambda: UniqueGP(RBF(1.0), 1.0).add_stats([0.0], 2, np.nan), "mean"),
        (lambda: UniqueGP(RBF(1.0), 1.0).add_stats([0.0], 2, 1.0, -1.0), "ss"),
        (lambda: UniqueGP(RBF(1.0), 1.0).add([1e300], 1.0), "too large"),
        (lambda: UniqueGP(RBF(1.0), 1.0).log_marginal_likelihood(), "no observation"),
        (lambda: UniqueGP(RBF(1.0), 1.0).estimate_noise(), "twice"),
        (lambda: UniqueGP(RBF(1.0), 1.0).add([0.0], "a lot"), "y must"),
        (lambda: UniqueGP(RBF(1.0), 1.0).sample([[0.0]], 0), "s is 0"),
        (lambda: UniqueGP(RBF(1.0), 1.0).add([0.0], 1.0).fit_hyper((1.0, 0.1)), "noise_bounds"),
    ],
)
def test_wrong_input_is_named(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_a_kernel_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="kernel"):
        as_covariance("rbf")


def test_before_any_data_the_posterior_is_the_prior() -> None:
    gp = UniqueGP(ConstantKernel(2.0) * RBF(1.0), NOISE)
    mean, var = gp.posterior([[0.0], [1.0]])
    assert mean.tolist() == [0.0, 0.0]
    assert var == pytest.approx([2.0, 2.0])
    assert gp.logdet() == 0.0
