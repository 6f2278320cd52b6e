"""Scores, moves and candidates of orders, against regressions and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime

from workingpapers.papers.topo import best_order, candidates, order_score, simulate, swap_deltas
from workingpapers.papers.topo._orders import cycle_signal, factor, move_changes, moved, weights_of
from workingpapers.parts.causal import topological_order


def gram(X: np.ndarray) -> np.ndarray:
    X = X - X.mean(axis=0)
    return X.T @ X / len(X)


def by_regression(X: np.ndarray, order: np.ndarray) -> tuple[float, np.ndarray]:
    """Score and weights by a least-squares call for each variable."""
    X = X - X.mean(axis=0)
    W = np.zeros((X.shape[1], X.shape[1]))
    for k, j in enumerate(order):
        if k:
            W[order[:k], j] = np.linalg.lstsq(X[:, order[:k]], X[:, j], rcond=None)[0]
    return float(((X - X @ W) ** 2).sum() / (2 * len(X))), W


problems = st.tuples(st.integers(2, 9), st.integers(0, 10_000)).map(
    lambda t: (simulate(t[0], t[0] * (t[0] - 1) // 3, n=200, rng=t[1]).X, np.random.default_rng(t[1]).permutation(t[0]))
)


@settings(deadline=None, max_examples=40)
@given(problems)
def test_score_and_weights_are_those_of_regressions(problem: tuple[np.ndarray, np.ndarray]) -> None:
    X, order = problem
    S = gram(X)
    score, W = by_regression(X, order)
    assert order_score(S, order) == pytest.approx(score, rel=1e-10)
    np.testing.assert_allclose(weights_of(factor(S, order), order), W, atol=1e-8)


@settings(deadline=None, max_examples=30)
@given(problems)
def test_every_move_changes_the_score_as_a_new_factorisation_says(problem: tuple[np.ndarray, np.ndarray]) -> None:
    X, order = problem
    S, d = gram(X), X.shape[1]
    a, b = np.triu_indices(d, 1)
    changes = 0.5 * move_changes(factor(S, order), a, b, ("swap", "up", "down"))
    for r, kind in enumerate(("swap", "up", "down")):
        for k in range(len(a)):
            wanted = order_score(S, moved(order, kind, a[k], b[k])) - order_score(S, order)
            assert changes[r, k] == pytest.approx(wanted, abs=1e-9 * max(1, order_score(S, order)))


def test_deltas_of_some_pairs_are_those_of_all() -> None:
    S = gram(simulate(12, 30, rng=0).X)
    order = np.random.default_rng(0).permutation(12)
    pairs = np.array([[3, 7], [7, 3], [11, 0], [5, 6]])
    for (i, j), delta in zip(pairs, swap_deltas(S, order, pairs)):
        new = order.copy()
        new[order == i], new[order == j] = j, i
        assert delta == pytest.approx(order_score(S, new) - order_score(S, order), abs=1e-10)


def test_ridge_score_is_the_penalised_regression() -> None:
    X = simulate(5, 8, n=50, rng=1).X
    S, order, ridge = gram(X), np.array([4, 0, 2, 1, 3]), 0.3
    total = 0.0
    for k, j in enumerate(order):
        before = order[:k]
        w = np.linalg.solve(S[np.ix_(before, before)] + ridge * np.eye(k), S[before, j])
        total += 0.5 * (S[j, j] - 2 * w @ S[before, j] + w @ S[np.ix_(before, before)] @ w + ridge * w @ w)
    assert order_score(S, order, ridge) == pytest.approx(total, rel=1e-12)
    new = moved(order, "swap", 1, 3)
    assert swap_deltas(S, order, [(order[1], order[3])], ridge)[0] == pytest.approx(order_score(S, new, ridge) - total)


@pytest.mark.parametrize("d", [2, 4, 6])
def test_the_best_order_is_that_of_all_permutations(d: int) -> None:
    for seed in range(5):
        S = gram(simulate(d, d * (d - 1) // 2, rng=seed).X)
        order, score = best_order(S)
        assert score == pytest.approx(min(order_score(S, np.array(p)) for p in itertools.permutations(range(d))), rel=1e-12)
        assert order_score(S, order) == score


@pytest.mark.parametrize("name", ["logdet", "poly", "exp", "exp_square"])
def test_the_signal_is_the_gradient_of_the_penalty(name: str) -> None:
    """By finite differences in the entry itself; of `exp_square` to the square of the weight."""
    from scipy.linalg import expm

    penalty = {
        "logdet": lambda A: -np.linalg.slogdet(np.eye(5) - A)[1],
        "exp": lambda A: np.trace(expm(A)),
        "poly": lambda A: np.trace(np.linalg.matrix_power(np.eye(5) + A / 5, 5)),
        "exp_square": lambda A: np.trace(expm(A)),
    }[name]
    rng, order = np.random.default_rng(0), np.array([3, 1, 4, 0, 2])
    W = np.zeros((5, 5))
    W[np.ix_(order, order)] = np.triu(rng.normal(size=(5, 5)), 1)
    A = W**2 if name == "exp_square" else np.abs(W)
    gradient = approx_fprime(A.ravel(), lambda v: penalty(v.reshape(5, 5)), 1e-7).reshape(5, 5)
    found = cycle_signal(W, order, name)  # type: ignore[arg-type]
    for a, b in itertools.combinations(range(5), 2):  # the forbidden edge from the later to the earlier
        assert found[a, b] == pytest.approx(gradient[order[b], order[a]], rel=1e-4, abs=1e-5)


def test_candidates_are_the_lowest_with_their_ties() -> None:
    rng, order = np.random.default_rng(1), np.array([2, 0, 3, 1])
    W = np.zeros((4, 4))
    W[np.ix_(order, order)] = np.triu(rng.normal(size=(4, 4)), 1)
    G = np.linalg.inv(np.eye(4) - np.abs(W)).T
    place = np.argsort(order)
    forbidden = sorted(((i, j) for i in range(4) for j in range(4) if place[i] > place[j]), key=lambda ij: G[ij])
    for size in range(1, 7):
        assert sorted(map(tuple, candidates(W, order, size).tolist())) == sorted(forbidden[:size])
    assert len(candidates(np.zeros((4, 4)), order, 1)) == 6  # all tie at 0


def test_the_filter_leaves_out_pairs_without_loss_gradient() -> None:
    S = gram(simulate(6, 8, rng=3).X)
    order = np.arange(6)[::-1].copy()
    W = weights_of(factor(S, order), order)
    G = S @ W - S
    kept = candidates(W, order, 15, gradient=G, grad_loss_tol=0.2)
    assert {tuple(p) for p in kept.tolist()} == {(i, j) for i in range(6) for j in range(6) if i < j and abs(G[i, j]) > 0.2}


def test_huge_walks_neither_overflow_nor_warn() -> None:
    d = 200
    W = 1e3 * np.triu(np.ones((d, d)), 1)
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(cycle_signal(W, np.arange(d))).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: order_score(np.eye(3), [0, 1, 1]), "each of 0 ... 2 once"),
        (lambda: order_score(np.eye(3), [0, 1]), "each of 0 ... 2 once"),
        (lambda: order_score(np.ones((2, 3)), [0, 1]), "square"),
        (lambda: order_score([[1, np.nan], [np.nan, 1]], [0, 1]), "NaN"),
        (lambda: order_score(np.ones((2, 2)), [0, 1]), "column 1 is a linear combination.*ridge"),
        (lambda: swap_deltas(np.eye(3), [0, 1, 2], [(1, 1)]), "two different variables"),
        (lambda: swap_deltas(np.eye(3), [0, 1, 2], [(0, 3)]), "two different variables"),
        (lambda: swap_deltas(np.eye(3), [0, 1, 2], [0, 1]), r"integers \(k, 2\)"),
        (lambda: candidates(np.zeros((3, 3)), [0, 1, 2], 0), "size is 0"),
        (lambda: candidates(np.zeros((3, 3)), [0, 1, 2], 4), "1 to 3"),
        (lambda: candidates(np.ones((3, 3)), [0, 1, 2], 1), "order forbids"),
        (lambda: candidates(np.zeros((3, 3)), [0, 1, 2], 1, "trace"), "one of logdet"),
        (lambda: candidates(np.zeros((3, 3)), [0, 1, 2], 1, grad_loss_tol=1.0), "needs gradient"),
        (lambda: best_order(np.eye(19)), "up to 18"),
        (lambda: topological_order([[0, 1], [1, 0]]), "cycle"),
    ],
)
def test_errors_name_what_is_wrong(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
