"""AdaNormalHedge weights: by hand, in log space and directly, and where doubles overflow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workingpapers.papers.groupwise_regret import GroupwiseOnline, GroupwiseRegressor, OnlineRidge, adanormalhedge_weights
from workingpapers.papers.groupwise_regret._weights import log_weight


def test_two_groups_by_hand() -> None:
    """Both awake with losses 1 and 0; then with 0 and 1; then only the first."""

    class Says:
        features = "mapping"

        def __init__(self) -> None:
            self.action: Any = None

        def propose(self, x: Any) -> int:
            return 0

        def learn(self, x: Any, y: Any) -> None:
            pass

    losses = iter([(1.0, 0.0), (0.25, 1.0), (0.5, 0.0)])
    current: list[float] = []
    online = GroupwiseOnline(Says, ["a", "b"], lambda action, outcome: current.pop(0), always_on=False, seed=0)
    awake = [["a", "b"], ["a", "b"], ["a"]]

    # Round 1: R = C = 0 for both, so p = (1/2, 1/2), expected loss 1/2, r = (-1/2, 1/2).
    online.act({}, groups=awake[0])
    current[:] = next(losses)
    online.observe(None)
    R, C = online.regret_state_
    np.testing.assert_allclose(R, [-0.5, 0.5], atol=1e-15)
    np.testing.assert_allclose(C, [0.5, 0.5], atol=1e-15)

    # Round 2: w(-1/2, 1/2) = (e^{(1/4)/4.5} - 1)/2, w(1/2, 1/2) = (e^{(9/4)/4.5} - 1)/2.
    w = [0.5 * (math.exp(0.25 / 4.5) - 1), 0.5 * (math.exp(2.25 / 4.5) - 1)]
    p = [w[0] / sum(w), w[1] / sum(w)]
    given_weights = online.weights_({}, groups=awake[1])
    np.testing.assert_allclose([given_weights["a"], given_weights["b"]], p, atol=1e-12)
    online.act({}, groups=awake[1])
    current[:] = next(losses)
    online.observe(None)
    expected = p[0] * 0.25 + p[1] * 1.0
    wanted_R = [-0.5 + expected - 0.25, 0.5 + expected - 1.0]
    wanted_C = [0.5 + abs(expected - 0.25), 0.5 + abs(expected - 1.0)]
    R, C = online.regret_state_
    np.testing.assert_allclose(R, wanted_R, atol=1e-12)
    np.testing.assert_allclose(C, wanted_C, atol=1e-12)

    # Round 3: only a is awake, so p = (1, 0), its regret does not move, and nothing of b moves.
    assert online.weights_({}, groups=awake[2]) == {"a": 1.0, "b": 0.0}
    online.act({}, groups=awake[2])
    current[:] = next(losses)
    online.observe(None)
    R, C = online.regret_state_
    np.testing.assert_allclose(R, wanted_R, atol=1e-12)
    np.testing.assert_allclose(C, wanted_C, atol=1e-12)
    assert online.n_seen_.tolist() == [3, 2]


@given(R=st.floats(-30, 30), C=st.floats(0, 100))
@settings(max_examples=300, deadline=None)
def test_log_space_agrees_with_the_direct_form(reference: Any, R: float, C: float) -> None:
    direct = reference.weight(R, C)
    ours = log_weight(R, C)
    if R <= -1:
        assert ours == -math.inf
        assert direct == 0.0
    elif direct > 1e-3:
        assert ours == pytest.approx(math.log(direct), abs=1e-10)


def test_small_weights_do_not_cancel() -> None:
    """w(R, C) for C far above R: mpmath says, with 60 digits, what doubles lose."""
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 60
    for R, C in ((1.5, 1e9), (5.0, 1e12), (-0.999, 1e6), (0.5, 1e10), (1.0, 3.0)):
        a, b = (mpmath.exp(max(mpmath.mpf(R) + s, 0) ** 2 / (3 * (mpmath.mpf(C) + 1))) for s in (1, -1))
        assert log_weight(R, C) == pytest.approx(float(mpmath.log((a - b) / 2)), abs=1e-12)


states = st.lists(st.tuples(st.floats(-50, 1e6), st.floats(0, 1e6), st.booleans(), st.floats(0.01, 10)), min_size=1, max_size=8)


@given(states)
@settings(max_examples=200, deadline=None)
def test_weights_are_a_distribution_over_the_awake(rows: list[tuple[float, float, bool, float]]) -> None:
    R, C, awake, prior = (np.array(c) for c in zip(*rows))
    p = adanormalhedge_weights(R, C, awake, prior)
    assert np.isfinite(p).all()
    assert p.sum() == pytest.approx(1.0)
    if awake.any():
        assert not p[~awake.astype(bool)].any()
    else:
        np.testing.assert_allclose(p, 1 / len(p))


def test_all_weights_zero_means_uniform_over_the_awake() -> None:
    np.testing.assert_array_equal(adanormalhedge_weights([-5, -3, -2], [9, 9, 9], awake=[1, 1, 0]), [0.5, 0.5, 0.0])


def test_the_prior_multiplies() -> None:
    np.testing.assert_allclose(adanormalhedge_weights([0, 0], [0, 0], prior=[3, 1]), [0.75, 0.25])


@pytest.mark.parametrize(("arguments", "words"), [
    ({"R": [0.0], "C": [0.0, 1.0]}, "one number an expert"), ({"R": [], "C": []}, "one number an expert"),
    ({"R": [0.0], "C": [-1.0]}, "not negative"), ({"R": [np.nan], "C": [1.0]}, "finite"),
    ({"R": [0.0], "C": [0.0], "prior": [0.0]}, "prior must be positive"), ({"R": [0.0], "C": [0.0], "awake": [1, 1]}, "awake"),
])
def test_bad_arguments_are_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        adanormalhedge_weights(**arguments)


@pytest.mark.slow
def test_a_million_rounds_stay_finite() -> None:
    """One learner is right in every round and one is always off by 1: regret grows to a million."""
    T = 1_000_000
    X, y = np.ones((T, 1)), np.ones(T)
    A = np.ones((T, 2))
    A[:10, 1] = 0
    X[:, 0] = 1e-8  # nothing can be learned: every learner predicts about 0, loss 1
    model = GroupwiseRegressor(OnlineRidge, ["a", "b"], always_on=False, track=False)
    model._ready().R[:] = (3e5, 0.0)
    model._ready().C[:] = (3e5, 1.0)
    trace = model.run(X, y, A)
    assert np.isfinite(trace.expected_loss).all()
    assert np.isfinite(model.regret_state_[0]).all()
    assert sum(model.weights_({0: 1.0}, groups=["a", "b"]).values()) == pytest.approx(1.0)


@pytest.mark.slow
def test_regret_of_a_million_rounds_is_counted_right() -> None:
    """Group a's members have label 1 and feature 1, group b's label 0: with both awake in turn the mixture pays for one of them."""
    T = 1_000_000
    rng = np.random.default_rng(0)
    X = np.zeros((T, 2))
    X[:, 0] = 1.0
    y = (rng.random(T) < 0.5).astype(float)
    A = np.ones((T, 2))
    A[:, 1] = y  # b sees only ones: it predicts 1 whenever it is awake, and is right; a predicts 1/2
    model = GroupwiseRegressor(OnlineRidge, ["a", "b"], always_on=False)
    trace = model.run(X, y, A)
    assert np.isfinite(trace.weights).all()  # type: ignore[arg-type]
    ones = np.flatnonzero(y == 1)
    assert trace.expected_loss[ones[-1000:]].max() < 1e-6  # b is followed
    R, C = model.regret_state_
    assert R[0] == pytest.approx(-C[0] , rel=0.01)  # what the mixture gained on a
    assert C[0] == pytest.approx(0.25 * len(ones), rel=0.01)
