"""The baseline over all pairs of hypothesis and group: against its definition, and beside the method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from workingpapers.papers.groupwise_regret import BlumLykouris, GroupwiseRegressor, HedgeOverModels, grid_hypotheses


def stream(T: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.random((T, 2))
    A = (rng.random((T, 2)) < 0.5).astype(float)
    return X, np.clip(X @ [0.5, 0.0] * A[:, 0] + 0.1 * rng.standard_normal(T), -1, 1), A


@pytest.mark.slow
def test_it_is_sleeping_experts_over_the_pairs(reference: Any) -> None:
    X, y, A = stream(60)
    H = grid_hypotheses(2, 3)
    model = BlumLykouris(H, ["a", "b"], always_on=False)
    trace = model.run(X, y, A)
    R, C = np.zeros(18), np.zeros(18)
    for t in range(60):
        awake = np.repeat(A[t], 9)
        z = np.tile(H @ X[t], 2)
        p = reference.probabilities(R, C, awake)
        losses = (z - y[t]) ** 2
        assert trace.expected_loss[t] == pytest.approx(p @ losses, abs=1e-12)
        assert trace.prediction[t] == pytest.approx(p @ z, abs=1e-12)
        np.testing.assert_allclose(trace.weights[t], [p[:9].sum(), p[9:].sum()], atol=1e-12)  # type: ignore[index]
        r = awake * (p @ losses - losses)
        R, C = R + r, C + abs(r)
    assert model.n_experts == 18


def test_in_pieces_is_at_once() -> None:
    X, y, A = stream(100)
    whole, pieces = (BlumLykouris(grid_hypotheses(2, 4), ["a", "b"]) for _ in range(2))
    trace = whole.run(X, y, A)
    joined = pieces.run(X[:40], y[:40], A[:40]) + pieces.run(X[40:], y[40:], A[40:])
    np.testing.assert_array_equal(trace.expected_loss, joined.expected_loss)


def test_its_comparator_is_the_best_single_hypothesis() -> None:
    X, y, A = stream(200)
    model = BlumLykouris(grid_hypotheses(2, 5), ["a", "b"])
    trace = model.run(X, y, A)
    mine = A[:, 0] == 1
    least = min(((X[mine] @ h - y[mine]) ** 2).sum() for h in grid_hypotheses(2, 5))
    assert trace.regret("a", model.best_of(trace)) == pytest.approx(trace.group_loss("a") - least)


@pytest.mark.slow
def test_both_methods_have_low_regret_on_the_same_grid() -> None:
    X, y, A = stream(4_000)
    H = grid_hypotheses(2, 5)
    pairs = BlumLykouris(H, ["a", "b"])
    theirs = pairs.run(X, y, A)
    ours = GroupwiseRegressor(lambda: HedgeOverModels(H), ["a", "b"]).run(X, y, A)
    for group in ("a", "b", "always_on"):
        for trace in (theirs, ours):
            assert trace.regret(group, pairs.best_of(trace)) < 0.01 * len(trace.rows(group))


@pytest.mark.parametrize(("call", "words"), [
    (lambda: grid_hypotheses(20, 3), "does without one"),
    (lambda: BlumLykouris(np.ones((300_000, 1)), [str(i) for i in range(99)]), "cannot run"),
    (lambda: BlumLykouris([1.0], ["a"]), "hypotheses has the shape"), (lambda: grid_hypotheses(0, 3), "d is 0"),
    (lambda: BlumLykouris([[1.0]], ["a"]).run(np.ones((2, 3)), np.ones(2), np.ones((2, 1))), "X has 3 columns"),
])
def test_bad_arguments_are_named(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
