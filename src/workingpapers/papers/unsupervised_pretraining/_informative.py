"""How informative pretraining is: does matching the law of x pin down the joint law of x and the latent?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import expm
from scipy.optimize import linear_sum_assignment
from scipy.special import expit, ndtr

from ._checks import Array, generator, positive, whole
from ._contrastive import ContrastivePretrainer
from ._factor import FactorPretrainer
from ._mixture import MixturePretrainer
from ._problems import ContrastiveProblem, FactorProblem, MixtureProblem, Problem

DRAWS = 20_000


@dataclass(frozen=True)
class Informative:
    """Distance of two models' joint laws (after the best transformation) over that of their observed laws.

    Attributes:
        ratio: joint / observed; a *lower* estimate of kappa, as it speaks of this pair of models only.
        joint, observed: total-variation distances.
        joint_bounds, observed_bounds: for factor models `[H^2, sqrt(2) H]` around them, H the Hellinger distance in closed form;
            None otherwise.
    """

    ratio: float
    joint: float
    observed: float
    joint_bounds: tuple[float, float] | None = None
    observed_bounds: tuple[float, float] | None = None


def informative_ratio(model_true: Any, model_hat: Any, *, draws: int = DRAWS, seed: int = 0) -> Informative:
    """`min_T TV(T(x, z) of one model, (x, z) of the other) / TV(x of one, x of the other)`.

    Args:
        model_true, model_hat: problems or fitted pretrainers of one kind.
        draws, seed: Monte Carlo rows for distances that have no closed form.

    - Factor models: T is a rotation, by orthogonal Procrustes and then gradient steps on the group, on the Hellinger distance of the joint
      covariance `[[B B' + Psi, B], [B', I]]`; then total variation by Monte Carlo.
    - Mixtures with unit covariance and uniform weights: T is a permutation (Hungarian method); joint distance in closed form.
    - Contrastive pairs: f(x) is no random latent, two different encoders have joint laws at distance 1. Here the latent is f(x) plus unit
      normal noise, as a label would see it (ours; the weak version of the condition).

    Raises:
        ValueError: models of different kinds or sizes, or two equal models.
    """
    a, b = _parameters(model_true), _parameters(model_hat)
    if a[0] != b[0] or a[1].shape != b[1].shape:
        raise ValueError(f"the models are {a[0]} {a[1].shape} and {b[0]} {b[1].shape}: one kind and one size are needed")
    rng = generator(seed)
    if a[0] == "factor":
        return _factor_ratio(a[1], a[2], b[1], b[2], whole("draws", draws), rng)
    if a[0] == "mixture":
        return _mixture_ratio(a[1], b[1], whole("draws", draws), rng)
    return _contrastive_ratio(a[1], b[1], whole("draws", draws), rng)


def _parameters(model: Any) -> tuple[str, Array, Array]:
    match model:
        case FactorProblem():
            return "factor", model.b, np.ones(model.d)
        case FactorPretrainer():
            return "factor", model.components_.T, model.noise_variance_
        case MixtureProblem():
            return "mixture", model.centres, np.ones(model.d)
        case MixturePretrainer():
            if model.covariance != "identity" or model.weights != "uniform":
                raise ValueError("informative_ratio compares mixtures with covariance='identity' and weights='uniform'")
            return "mixture", model.means_, np.ones(model.means_.shape[1])
        case ContrastiveProblem():
            return "contrastive", model.theta, np.ones(model.d)
        case ContrastivePretrainer() if hasattr(model, "components_"):
            return "contrastive", model.components_.T, np.ones(model.n_features_in_)
    raise TypeError(f"{type(model).__name__} is neither a problem nor a fitted pretrainer with parameters: use tv_lower_bound on samples")


# ---------------------------------------------------------------- factor models


def hellinger_gaussians(first: Array, second: Array) -> float:
    """Hellinger distance of N(0, S1) and N(0, S2): `H^2 = 1 - det(S1)^1/4 det(S2)^1/4 / det((S1 + S2) / 2)^1/2`.

    >>> hellinger_gaussians(np.eye(2), np.eye(2)), round(hellinger_gaussians(np.eye(1), 4 * np.eye(1)), 4)
    (0.0, 0.3249)
    """
    logs = [float(np.linalg.slogdet(s)[1]) for s in (first, second, (first + second) / 2)]
    return math.sqrt(max(0.0, -math.expm1(min(0.0, 0.25 * (logs[0] + logs[1]) - 0.5 * logs[2]))))


def joint_covariance(b: Array, psi: Array) -> Array:
    """Covariance of (x, z), `(d + r, d + r)`."""
    r = b.shape[1]
    return np.block([[b @ b.T + np.diag(psi), b], [b.T, np.eye(r)]])


def best_rotation(b: Array, psi: Array, other: Array, other_psi: Array, steps: int = 30) -> Array:
    """Q `(r, r)` so that `other @ Q` is closest to `b`: Procrustes, then descent on the joint Hellinger distance along the group."""
    u, _, vt = np.linalg.svd(other.T @ b)
    q = u @ vt
    target = joint_covariance(b, psi)

    def value(rotation: Array) -> float:
        return hellinger_gaussians(target, joint_covariance(other @ rotation, other_psi)) ** 2

    d, best, step = len(b), value(q), 1.0
    for _ in range(steps):
        moved = joint_covariance(other @ q, other_psi)
        # d log(BC) = -1/2 tr(M^-1 dS / 2) with M the mean covariance: det of the moved one does not change with Q.
        inverse = np.linalg.inv((target + moved) / 2)
        gradient = other.T @ inverse[:d, d:]  # of log det(mean) with respect to Q, up to a factor
        skew = q.T @ gradient - gradient.T @ q
        if np.abs(skew).max() < 1e-12:
            break
        while step > 1e-8:
            tried = q @ expm(-step * skew)
            if (now := value(tried)) < best:
                q, best, step = tried, now, 2 * step
                break
            step /= 2
        else:
            break
    return np.asarray(q)


def _factor_ratio(b: Array, psi: Array, other: Array, other_psi: Array, draws: int, rng: np.random.Generator) -> Informative:
    rotated = other @ best_rotation(b, psi, other, other_psi)
    d = len(b)
    joint, joint_hat = joint_covariance(b, psi), joint_covariance(rotated, other_psi)
    h_joint, h_seen = hellinger_gaussians(joint, joint_hat), hellinger_gaussians(joint[:d, :d], joint_hat[:d, :d])
    tv_joint, tv_seen = tv_gaussians(joint, joint_hat, draws, rng), tv_gaussians(joint[:d, :d], joint_hat[:d, :d], draws, rng)
    return Informative(_quotient(tv_joint, tv_seen), tv_joint, tv_seen, _around(h_joint), _around(h_seen))


def _around(h: float) -> tuple[float, float]:
    return h * h, min(1.0, math.sqrt(2) * h)


def _quotient(joint: float, observed: float) -> float:
    if not observed > 0:
        raise ValueError("the two models give x the same law: there is no distance to compare with")
    return joint / observed


def tv_gaussians(first: Array, second: Array, draws: int = DRAWS, rng: Any = 0) -> float:
    """Total variation of N(0, S1) and N(0, S2) by Monte Carlo: the mean of `(1 - q/p)_+` under the first; error ~ 1/sqrt(draws)."""
    lower = np.linalg.cholesky(first)
    e = generator(rng).standard_normal((draws, len(first)))
    x = e @ lower.T
    other = np.linalg.cholesky(second)
    log_ratio = (
        0.5 * np.square(e).sum(axis=1)
        - 0.5 * np.square(np.linalg.solve(other, x.T)).sum(axis=0)
        + np.log(np.diagonal(lower)).sum()
        - np.log(np.diagonal(other)).sum()
    )
    return float(np.maximum(-np.expm1(np.minimum(log_ratio, 0.0)), 0.0).mean())


# ---------------------------------------------------------------- mixtures and pairs


def _mixture_ratio(centres: Array, other: Array, draws: int, rng: np.random.Generator) -> Informative:
    gaps = np.linalg.norm(centres[:, None, :] - other[None, :, :], axis=2)
    apart = 2 * ndtr(gaps / 2) - 1  # TV of two unit normals at that distance
    rows, columns = linear_sum_assignment(apart)
    joint = float(apart[rows, columns].mean())
    k = len(centres)
    x = centres[rng.integers(k, size=draws)] + rng.standard_normal((draws, centres.shape[1]))

    def log_density(u: Array) -> Array:
        scores = x @ u.T - 0.5 * np.square(u).sum(axis=1)
        return np.asarray(np.logaddexp.reduce(scores, axis=1))

    observed = float(np.maximum(-np.expm1(np.minimum(log_density(other) - log_density(centres), 0.0)), 0.0).mean())
    return Informative(_quotient(joint, observed), joint, observed)


def _contrastive_ratio(theta: Array, other: Array, draws: int, rng: np.random.Generator) -> Informative:
    u, _, vt = np.linalg.svd(other.T @ theta)
    x, x2 = rng.standard_normal((2, draws, len(theta)))
    joint = float((2 * ndtr(np.linalg.norm(x @ (theta - other @ (u @ vt)), axis=1) / 2) - 1).mean())
    agreement = [np.einsum("nr,nr->n", x @ w, x2 @ w) for w in (theta, other)]
    observed = float(np.abs(expit(agreement[0]) - expit(agreement[1])).mean())
    return Informative(_quotient(joint, observed), joint, observed)


# ---------------------------------------------------------------- kappa


@dataclass(frozen=True)
class KappaCurve:
    """Largest ratio found at each distance: a *lower* estimate of kappa, from `tries` perturbations each."""

    radii: tuple[float, ...]
    largest: tuple[float, ...]
    tries: int

    @property
    def kappa(self) -> float:
        """The largest of all."""
        return max(self.largest)


def kappa_curve(family: Problem, radii: Sequence[float], *, tries: int = 16, draws: int = 4_000, seed: int = 0) -> KappaCurve:
    """Perturb a problem's true parameters at growing distances (Frobenius norm) and keep the largest `informative_ratio`.

    Directions are random, and for factors and pairs also the weakest loading by itself. A true kappa is a supremum over all models, so that
    what is found is a lower estimate.

    >>> strong, weak = (kappa_curve(FactorProblem(d=8, r=2, strength=s), [0.1]).kappa for s in (4.0, 0.05))
    >>> weak > strong
    True
    """
    if not len(radii):
        raise ValueError("radii is empty: give distances above 0")
    for radius in radii:
        positive("radii", float(radius))
    rng = generator(seed)
    kind, truth, psi = _parameters(family)
    largest = []
    for radius in radii:
        found = []
        for i in range(whole("tries", tries)):
            step = rng.standard_normal(truth.shape)
            if kind != "mixture" and i % 2:
                weakest = np.linalg.norm(truth, axis=0).argmin()
                step[:, np.arange(truth.shape[1]) != weakest] = 0.0
            moved = truth + step * (radius / np.linalg.norm(step))
            streams = np.random.default_rng([seed, 1 + i])
            if kind == "factor":
                found.append(_factor_ratio(truth, psi, moved, psi, draws, streams).ratio)
            elif kind == "mixture":
                found.append(_mixture_ratio(truth, moved, draws, streams).ratio)
            else:
                found.append(_contrastive_ratio(truth, moved, draws, streams).ratio)
        largest.append(max(found))
    return KappaCurve(tuple(float(x) for x in radii), tuple(largest), tries)


# ---------------------------------------------------------------- on samples


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    lo: float
    hi: float


def tv_lower_bound(first: Any, second: Any, *, classifier: Any = None, seed: int = 0) -> Estimate:
    """Total variation of two laws from samples `(n, d)` each: what a classifier tells apart on held-out rows.

    `2 (balanced accuracy) - 1` of any classifier is a lower bound of the distance; the interval is Wald's on the held-out half.
    Without `classifier` it is gradient-boosted trees.
    """
    from sklearn.base import clone
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_array

    a, b = check_array(first, ensure_min_samples=10), check_array(second, ensure_min_samples=10)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"first has {a.shape[1]} columns, second {b.shape[1]}: the same columns are needed")
    labels = np.repeat([0, 1], [len(a), len(b)])
    state = int(generator(seed).integers(2**31))
    train_x, test_x, train_y, test_y = train_test_split(np.concatenate([a, b]), labels, test_size=0.5, stratify=labels, random_state=state)
    model = HistGradientBoostingClassifier(random_state=state) if classifier is None else clone(classifier)
    right = model.fit(train_x, train_y).predict(test_x) == test_y
    rates = [right[test_y == c] for c in (0, 1)]
    value = float(sum(r.mean() for r in rates) - 1)
    half = 1.96 * math.sqrt(sum(float(r.var()) / len(r) for r in rates))
    return Estimate(max(0.0, value), max(0.0, value - half), max(0.0, min(1.0, value + half)))
