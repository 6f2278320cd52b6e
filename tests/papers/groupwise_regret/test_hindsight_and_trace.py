"""Best models in hindsight against refits from scratch; regrets by their definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from workingpapers.papers.groupwise_regret import GroupTrace, GroupwiseRegressor, OnlineRidge, best_in_hindsight


def one_hot_stream(T: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns that depend on each other, as one-hot features without a dropped level do."""
    rng = np.random.default_rng(seed)
    kinds, numbers = rng.integers(0, 3, T), rng.random((T, 2))
    X = np.column_stack([np.eye(3)[kinds], np.ones(T), numbers, numbers.sum(axis=1)])
    A = np.column_stack([kinds == 0, numbers[:, 0] < 0.5, np.ones(T), np.zeros(T)]).astype(float)
    return X, np.clip(numbers[:, 0] * (kinds == 1) + 0.2 * rng.standard_normal(T), 0, 1), A


def sse(X: np.ndarray, y: np.ndarray, l2: float = 0.0) -> float:
    if l2:
        theta = np.linalg.solve(X.T @ X + l2 * np.eye(X.shape[1]), X.T @ y)
    else:
        theta = np.linalg.lstsq(X, y, rcond=None)[0]
    return float(((X @ theta - y) ** 2).sum())


@pytest.mark.parametrize("l2", [0.0, 0.7])
def test_every_prefix_is_a_refit(l2: float) -> None:
    X, y, A = one_hot_stream(5_000)
    found = best_in_hindsight(X, y, A, l2, points=13)
    for g in range(3):
        mine = A[:, g] == 1
        assert found.at[g][-1] == mine.sum()
        assert len(found.at[g]) == 13
        for n, error in zip(found.at[g], found.sse[g]):
            assert error == pytest.approx(sse(X[mine][:n], y[mine][:n], l2), rel=1e-9, abs=1e-10)
    assert len(found.at[3]) == len(found.sse[3]) == 0


def test_every_round_of_a_short_stream() -> None:
    X, y, A = one_hot_stream(40)
    found = best_in_hindsight(X, y, A[:, 2:3])
    assert found.at[0].tolist() == list(range(1, 41))
    np.testing.assert_allclose(found.sse[0], [sse(X[:n], y[:n]) for n in range(1, 41)], atol=1e-10)
    assert (np.diff(found.sse[0]) >= -1e-10).all()


@pytest.mark.parametrize(("arguments", "words"), [
    ({"l2": -1.0}, "l2 is -1"), ({"points": 0}, "points is 0"), ({"X": np.ones(3)}, "X has the shape"), ({"y": [np.nan] * 40}, "finite"),
])
def test_bad_arguments_are_named(arguments: dict[str, Any], words: str) -> None:
    X, y, A = one_hot_stream(40)
    with pytest.raises(ValueError, match=words):
        best_in_hindsight(**({"X": X, "y": y, "A": A} | arguments))


@pytest.fixture(scope="module")
def trace() -> GroupTrace:
    X, y, A = one_hot_stream(300)
    return GroupwiseRegressor(OnlineRidge, ["a", "b", "all", "none"], always_on=False).run(X, y, A)


@pytest.mark.parametrize("which", ["expected", "mean"])
def test_regret_is_loss_beyond_the_best_model(trace: GroupTrace, which: Any) -> None:
    X, y, A = one_hot_stream(300)
    losses = trace.expected_loss if which == "expected" else trace.mean_loss
    for g, group in enumerate(("a", "b", "all")):
        mine = np.flatnonzero(A[:, g])
        ends = [0, 1, 17, len(mine)]
        wanted = [losses[mine[:n]].sum() - (sse(X[mine[:n]], y[mine[:n]]) if n else 0.0) for n in ends]
        np.testing.assert_allclose(trace.regret(group, at=ends, which=which), wanted, atol=1e-9)
        assert trace.regret(group, which=which) == pytest.approx(wanted[-1])
        assert trace.regret(group, at=17, which=which) == pytest.approx(wanted[2])
        official = losses[mine].sum() - sse(X[mine[:-1]], y[mine[:-1]])
        assert trace.regret(group, which=which, paper_compat=True) == pytest.approx(official)
        assert trace.group_loss(group, which) == pytest.approx(losses[mine].sum())
    assert trace.regrets()["none"] == 0.0


def test_a_comparator_of_ones_own_gets_the_rounds(trace: GroupTrace) -> None:
    _, y, A = one_hot_stream(300)

    def constant(rounds: Any) -> float:
        return float(((y[rounds] - y[rounds].mean()) ** 2).sum()) if len(rounds) else 0.0

    mine = np.flatnonzero(A[:, 1])
    assert trace.regret("b", constant, at=[10])[0] == pytest.approx(trace.expected_loss[mine[:10]].sum() - constant(mine[:10]))


def test_frame_and_plots(trace: GroupTrace) -> None:
    frame = trace.to_frame()
    assert len(frame) == 300
    assert frame["weight of a"].to_numpy()[~trace.awake[:, 0]].max() == 0.0
    assert frame["loss of b"].isna().sum() == (~trace.awake[:, 1]).sum()
    for what in ("regret", "loss", "weights"):
        records = next(iter(trace.plot(what).to_dict()["datasets"].values()))
        assert {r.get("group", r.get("members of")) for r in records} >= {"a", "b", "all"}
    drawn = next(iter(trace.plot("regret").to_dict()["datasets"].values()))
    ends = [r for r in drawn if r["group"] == "a" and r["share of its rounds"] == 1]
    assert ends[0]["regret"] == pytest.approx(trace.regret("a"))


def test_bad_questions_are_named(trace: GroupTrace) -> None:
    calls: list[tuple[Any, str]] = [
        (lambda: trace.regret("z"), "no group 'z'"), (lambda: trace.regret("a", at=10_000), "has"),
        (lambda: trace.regret("a", at=[-1]), "at is"),
        (lambda: trace.regret("a", "lasso"), "comparator"), (lambda: trace.group_loss("a", "worst"), "which"),
        (lambda: trace.plot("pie"), "what is 'pie'"),
    ]
    for call, words in calls:
        with pytest.raises(ValueError, match=words):
            call()
    X, y, A = one_hot_stream(30)
    model = GroupwiseRegressor(OnlineRidge, ["a", "b", "all", "none"], always_on=False, loss="absolute", track=False)
    absolute = model.run(X, y, A)
    assert absolute.weights is None
    with pytest.raises(ValueError, match="squared loss"):
        absolute.regret("a")
    with pytest.raises(ValueError, match="track=True"):
        absolute.plot("weights")
    with pytest.raises(ValueError, match="other losses"):
        trace + absolute
