"""The streamed kernel: predict, mix, learn, for ridge learners held in one array each. One row costs O(awake groups x d^2)."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from ._learners import nonzeros, ridge_learn, ridge_propose
from ._weights import mix

Array = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

SQUARED, ABSOLUTE = 0, 1

# Columns of the totals that are kept a group.
EXPECTED, MEAN, OWN, LABELS, PREDICTIONS, LABELS_SQUARED = range(6)
N_TOTALS = 6


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def loss_of(z: float, y: float, kind: int, span: float) -> float:
    """Squared or absolute loss, with labels in units of `span`."""
    off: float = abs(z - y) / span
    return off * off if kind == SQUARED else off


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def propose_all(P: Array, theta: Array, x: Array, where: npt.NDArray[np.int64], n: int, awake: Bytes, forward: bool, low: float,
                high: float, Px: Array, z: Array) -> None:
    """Write each awake learner's proposal into `z` (G,), NaN for the sleeping; all are asked where none is awake."""
    nobody = True
    for g in range(len(z)):
        if awake[g]:
            nobody = False
    for g in range(len(z)):
        if awake[g] or nobody:
            z[g] = min(max(ridge_propose(P[g], theta[g], x, where, n, forward, Px), low), high)
        else:
            z[g] = np.nan


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def choose(p: Array, z: Array, u: float) -> float:
    """The mean proposal under `p` where u < 0, else the proposal drawn by `u` in [0, 1)."""
    total: float = 0.0
    last: float = 0.0
    for g in range(len(p)):
        if p[g] > 0.0:
            last = z[g]
            total += p[g] if u >= 0.0 else p[g] * z[g]
            if u >= 0.0 and u < total:
                return last
    return last if u >= 0.0 else total


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def settle(p: Array, losses: Array, awake: Bytes, R: Array, C: Array) -> float:
    """The expected loss; `R` and `C` of the awake take in `r = expected - loss` (step 4 of the method)."""
    expected = 0.0
    for g in range(len(p)):
        if p[g] > 0.0:
            expected += p[g] * losses[g]
    for g in range(len(p)):
        if awake[g]:
            r = expected - losses[g]
            R[g] += r
            C[g] += abs(r)
    return expected


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def one_round(P: Array, theta: Array, b: Array, R: Array, C: Array, log_prior: Array, totals: Array, n_seen: npt.NDArray[np.int64],
              x: Array, y: float, awake: Bytes, u: float, forward: bool, uniform: bool, kind: int, span: float, low: float, high: float,
              l2: float, forget: float, where: npt.NDArray[np.int64], Px: Array, z: Array, p: Array, losses: Array,
              out: Array) -> None:
    """One row: `out` takes the expected loss, the loss of the mean proposal, the prediction and the largest loss.

    out[0] is NaN where the row holds NaN or infinity; then nothing has changed.
    """
    n = nonzeros(x, where)
    if n < 0:
        out[0] = np.nan
        return
    propose_all(P, theta, x, where, n, awake, forward, low, high, Px, z)
    mix(R, C, awake, log_prior, uniform, p)
    largest = 0.0
    for g in range(len(z)):
        losses[g] = loss_of(z[g], y, kind, span)
        if losses[g] > largest:
            largest = losses[g]
    prediction = choose(p, z, u)
    of_mean = loss_of(choose(p, z, -1.0), y, kind, span)
    expected = settle(p, losses, awake, R, C)
    for g in range(len(z)):
        if awake[g]:
            ridge_learn(P[g], theta[g], b[g], x, y, where, n, l2, forget, Px)
            n_seen[g] += 1
            totals[g, EXPECTED] += expected
            totals[g, MEAN] += of_mean
            totals[g, OWN] += losses[g]
            totals[g, LABELS] += y
            totals[g, PREDICTIONS] += prediction
            totals[g, LABELS_SQUARED] += y * y
    out[0], out[1], out[2], out[3] = expected, of_mean, prediction, largest


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def stream(P: Array, theta: Array, b: Array, R: Array, C: Array, log_prior: Array, totals: Array, n_seen: npt.NDArray[np.int64],
           X: Array, y: Array, A: Bytes, u: Array, forward: bool, uniform: bool, kind: int, span: float, low: float, high: float,
           l2: float, forget: float, results: Array, expert_loss: Array, weights: Array) -> None:
    """Every row in turn. `results` (T, 4) as `out` of `one_round`; `expert_loss` and `weights` are (T, G), or (0, G) to keep none."""
    T, d = X.shape
    G = len(R)
    where, Px, z, p, losses = np.empty(d, dtype=np.int64), np.empty(d), np.empty(G), np.empty(G), np.empty(G)
    keep = len(weights) > 0
    for t in range(T):
        one_round(P, theta, b, R, C, log_prior, totals, n_seen, X[t], y[t], A[t], u[t], forward, uniform, kind, span, low, high, l2, forget,
                  where, Px, z, p, losses, results[t])
        if keep:
            for g in range(G):  # copied one by one: an array assignment compiles five seconds longer
                expert_loss[t, g] = losses[g]
                weights[t, g] = p[g]


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def predict_rows(P: Array, theta: Array, R: Array, C: Array, log_prior: Array, X: Array, A: Bytes, u: Array, forward: bool, uniform: bool,
                 low: float, high: float, prediction: Array) -> None:
    """Predictions for rows (T, d) as the state stands; nothing is learned. NaN for a row with NaN or infinity."""
    T, d = X.shape
    G = len(R)
    where, Px, z, p = np.empty(d, dtype=np.int64), np.empty(d), np.empty(G), np.empty(G)
    for t in range(T):
        n = nonzeros(X[t], where)
        if n < 0:
            prediction[t] = np.nan
            continue
        propose_all(P, theta, X[t], where, n, A[t], forward, low, high, Px, z)
        mix(R, C, A[t], log_prior, uniform, p)
        prediction[t] = choose(p, z, u[t])


__all__ = ["ABSOLUTE", "EXPECTED", "LABELS", "LABELS_SQUARED", "MEAN", "N_TOTALS", "OWN", "PREDICTIONS", "SQUARED", "choose", "loss_of",
           "mix", "nonzeros", "one_round", "predict_rows", "propose_all", "settle", "stream"]
