"""The method as the paper's text tells it, in plain Python, without any trick: the oracle of these tests.

The folder is skipped where the extra `tabular` is not installed, unless everything is required.
"""

from __future__ import annotations

import math
import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
    for module in ("river", "pandas", "sklearn", "numba"):
        pytest.importorskip(module, reason="needs the extra tabular")



def potential(R: float, C: float) -> float:
    return 1.0 if C == 0 else math.exp(max(R, 0.0) ** 2 / (3 * C))


def weight(R: float, C: float) -> float:
    return 0.5 * (potential(R + 1, C + 1) - potential(R - 1, C + 1))


def probabilities(R: Any, C: Any, awake: Any) -> np.ndarray:
    raw = np.array([a * weight(r, c) for r, c, a in zip(R, C, awake)])
    if not any(awake):
        return np.full(len(raw), 1 / len(raw))
    return raw / raw.sum() if raw.sum() > 0 else np.array(awake, dtype=float) / sum(awake)


def ridge(X: np.ndarray, y: np.ndarray, x: np.ndarray, l2: float) -> float:
    """Prediction of a model fitted from scratch to the rows before."""
    return float(x @ np.linalg.solve(l2 * np.eye(len(x)) + X.T @ X, X.T @ y))


def run(X: np.ndarray, y: np.ndarray, A: np.ndarray, l2: float = 1.0) -> dict[str, np.ndarray]:
    """Expected loss, mean loss, weights, R and C over a stream; every learner is refitted from scratch in every round."""
    T, G = A.shape
    R, C = np.zeros(G), np.zeros(G)
    expected, mean, weights = np.zeros(T), np.zeros(T), np.zeros((T, G))
    for t in range(T):
        p = probabilities(R, C, A[t])
        weights[t] = p
        z = np.zeros(G)
        for g in range(G):
            mine = A[:t, g] == 1
            z[g] = ridge(X[:t][mine], y[:t][mine], X[t], l2)
        losses = (z - y[t]) ** 2
        expected[t], mean[t] = p @ losses, (p @ z - y[t]) ** 2
        r = A[t] * (expected[t] - losses)
        R, C = R + r, C + abs(r)
    return {"expected": expected, "mean": mean, "weights": weights, "R": R, "C": C}


@pytest.fixture(scope="session")
def reference() -> SimpleNamespace:
    """The functions above, for tests."""
    return SimpleNamespace(weight=weight, probabilities=probabilities, ridge=ridge, run=run)
