"""Features phi(obs, action), of length at most 1: what rewards and transitions are taken to be linear in."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Features:
    """Features `phi(obs, action)`, shape (..., d).

    Where observations are finite `table` holds all of them, shape (S, A, d). Else `phi` is made of blocks: a vector `encode(obs)`
    of length m stands in the block of the action taken, d = m A, so that Sigma is block diagonal and sums are cheap.

    For features of your own over a Box, subclass, set `n_actions` and `dim = m A`, and write `encode` with vectors of length at most 1.

    Attributes:
        dim: d.
        n_actions: A.
        table: (S, A, d) or None.
        is_tabular: each (obs, action) has a feature of its own, so that Sigma is diagonal.
    """

    dim: int
    n_actions: int
    table: Array | None = None
    is_tabular = False

    def encode(self, obs: npt.ArrayLike) -> Array:
        """What is kept of observations of shape (n, ...): shape (n, m)."""
        raise NotImplementedError(f"{type(self).__name__} has no encode: its observations are finite")

    def __call__(self, obs: npt.ArrayLike, action: npt.ArrayLike) -> Array:
        """phi(obs, action), shape (..., d); leading shapes are broadcast."""
        a = self._actions(action)
        if self.table is not None:
            s = np.asarray(obs)
            if s.dtype.kind not in "iu" or (s.size and not (s.min() >= 0 and s.max() < len(self.table))):
                raise ValueError(f"obs must hold whole numbers from 0 to {len(self.table) - 1}")
            return np.asarray(self.table[s, a])
        base = self.encode(obs)
        m = base.shape[-1]
        shape = np.broadcast_shapes(base.shape[:-1], a.shape)
        out = np.zeros((*shape, self.n_actions, m))
        np.put_along_axis(out, np.broadcast_to(a, shape)[..., None, None], np.broadcast_to(base, (*shape, m))[..., None, :], axis=-2)
        return out.reshape(*shape, self.dim)

    def total(self, obs: npt.ArrayLike, actions: npt.ArrayLike) -> Array:
        """phi(tau) = sum of phi along a trajectory: obs (n + 1, ...), actions (n,); shape (d,)."""
        return np.asarray(self(np.asarray(obs)[:-1], actions).sum(axis=0))

    def _actions(self, action: npt.ArrayLike) -> npt.NDArray[np.int64]:
        a = np.asarray(action)
        if a.dtype.kind not in "iu" or (a.size and not (a.min() >= 0 and a.max() < self.n_actions)):
            raise ValueError(f"action must hold whole numbers from 0 to {self.n_actions - 1}")
        return a.astype(np.int64)

    def config(self) -> dict[str, Any]:
        """What a saved file says of them: plain numbers and texts. Features of your own are handed to `load` again."""
        return {"kind": type(self).__name__}

    def arrays(self) -> dict[str, Array]:
        """Arrays that a saved file keeps, besides `config`."""
        return {}


class TabularFeatures(Features):
    """A feature of its own for each of S observations and A actions: d = S A, the one-hot vector.

    >>> TabularFeatures(2, 2)(1, 0)
    array([0., 0., 1., 0.])
    """

    is_tabular = True

    def __init__(self, n_states: int, n_actions: int) -> None:
        if n_states < 1 or n_actions < 1:
            raise ValueError(f"n_states is {n_states} and n_actions {n_actions}: 1 at least")
        self.n_states, self.n_actions, self.dim = int(n_states), int(n_actions), int(n_states) * int(n_actions)
        self.table = np.eye(self.dim).reshape(self.n_states, self.n_actions, self.dim)

    def config(self) -> dict[str, Any]:
        return {"kind": "tabular", "n_states": self.n_states, "n_actions": self.n_actions}


class LinearMDPFeatures(Features):
    """Given features for finite observations, shape (S, A, d). Longer than 1 they are rescaled, with a warning.

    >>> LinearMDPFeatures(np.full((3, 2, 2), 0.5))(2, 1)
    array([0.5, 0.5])
    """

    def __init__(self, table: npt.ArrayLike) -> None:
        given = np.array(table, dtype=np.float64)
        if given.ndim != 3 or 0 in given.shape:
            raise ValueError(f"table has shape {given.shape}: (S, A, d) is needed")
        if not np.isfinite(given).all():
            raise ValueError("table holds NaN or infinity")
        longest = float(np.linalg.norm(given, axis=2).max())
        if longest > 1 + 1e-9:
            warnings.warn(f"features are up to {longest:.3g} long: rescaled to 1, so learned rewards are {longest:.3g} times as large",
                          stacklevel=2)
            given /= longest
        self.table = np.ascontiguousarray(given)
        self.n_states, self.n_actions, self.dim = given.shape

    def config(self) -> dict[str, Any]:
        return {"kind": "linear"}

    def arrays(self) -> dict[str, Array]:
        assert self.table is not None
        return {"features_table": self.table}


class _BoxFeatures(Features):
    """Observations in a box, scaled to [0, 1]; outside it they are cut to its edge."""

    def __init__(self, low: Sequence[float], high: Sequence[float], n_actions: int, n: int, seed: int) -> None:
        self.low, self.high = np.array(low, dtype=np.float64), np.array(high, dtype=np.float64)
        if self.low.ndim != 1 or self.low.shape != self.high.shape or not (
                np.isfinite(self.low).all() and np.isfinite(self.high).all() and (self.low < self.high).all()):
            raise ValueError("low and high must be finite, of equal length, with low < high: give ranges that are really visited "
                             "where the space is unbounded")
        if n_actions < 1 or n < 1:
            raise ValueError(f"n_actions is {n_actions} and n {n}: 1 at least")
        self.n_actions, self.n, self.seed = int(n_actions), int(n), int(seed)

    def scaled(self, obs: npt.ArrayLike) -> Array:
        x = np.asarray(obs, dtype=np.float64)
        if x.shape[-1:] != self.low.shape:
            raise ValueError(f"obs has shape {x.shape}: the last axis must have length {len(self.low)}")
        if not np.isfinite(x).all():
            raise ValueError("obs holds NaN or infinity")
        return np.clip((x - self.low) / (self.high - self.low), 0.0, 1.0)

    def config(self) -> dict[str, Any]:
        return {"low": self.low.tolist(), "high": self.high.tolist(), "n_actions": self.n_actions, "n": self.n, "seed": self.seed}


class RBFFeatures(_BoxFeatures):
    """Normalised radial basis functions over a box, one block an action: d = n A.

    `encode(obs)_i = exp(-||obs - c_i||^2 / (2 w^2)) / sum`, n centres spread evenly (Sobol) in the scaled box. They are positive
    and sum to 1, so that lengths are at most 1 and a constant reward is linear in them.

    Args:
        low, high: the box, shape (k,); finite.
        n_actions: A.
        n: centres.
        width: w, in the scaled box; None spaces them by the centres' mean distance.
        seed: of the centres.

    >>> phi = RBFFeatures([-1.0], [1.0], n_actions=2, n=4)
    >>> phi.dim, bool(np.isclose(phi([0.3], 1).sum(), 1))
    (8, True)
    """

    def __init__(self, low: Sequence[float], high: Sequence[float], n_actions: int, n: int = 60, width: float | None = None,
                 seed: int = 0) -> None:
        from scipy.stats import qmc

        super().__init__(low, high, n_actions, n, seed)
        k = len(self.low)
        self.centers = qmc.Sobol(k, seed=self.seed).random_base2(max(1, math.ceil(math.log2(self.n))))[: self.n]
        self.width = float(width) if width is not None else 0.6 * self.n ** (-1 / k)
        if not (math.isfinite(self.width) and self.width > 0):
            raise ValueError(f"width is {width}: a finite number above 0, or None")
        self.dim = self.n * self.n_actions

    def encode(self, obs: npt.ArrayLike) -> Array:
        x = self.scaled(obs)
        squares = (x**2).sum(axis=-1, keepdims=True) - 2 * x @ self.centers.T + (self.centers**2).sum(axis=1)
        logits = -squares / (2 * self.width**2)
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=-1, keepdims=True))

    def config(self) -> dict[str, Any]:
        return {"kind": "rbf", **super().config(), "width": self.width}


class FourierFeatures(_BoxFeatures):
    """Random Fourier features of a Gaussian kernel over a box, one block an action: d = 2 n A; every length is 1.

    `encode(obs) = [cos(W x), sin(W x)] / sqrt(n)`, W normal with deviation 1 / width in the scaled box.

    >>> phi = FourierFeatures([0.0], [1.0], n_actions=2, n=5)
    >>> phi.dim, round(float(np.linalg.norm(phi([0.3], 1))), 9)
    (20, 1.0)
    """

    def __init__(self, low: Sequence[float], high: Sequence[float], n_actions: int, n: int = 30, width: float = 0.3, seed: int = 0) -> None:
        super().__init__(low, high, n_actions, n, seed)
        if not (math.isfinite(width) and width > 0):
            raise ValueError(f"width is {width}: a finite number above 0")
        self.width = float(width)
        self.frequencies = np.random.default_rng(self.seed).normal(scale=1 / self.width, size=(len(self.low), self.n))
        self.dim = 2 * self.n * self.n_actions

    def encode(self, obs: npt.ArrayLike) -> Array:
        phase = self.scaled(obs) @ self.frequencies
        return np.concatenate([np.cos(phase), np.sin(phase)], axis=-1) / math.sqrt(self.n)

    def config(self) -> dict[str, Any]:
        return {"kind": "fourier", **super().config(), "width": self.width}


def features_from(config: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Features:
    """The features that `config` and `arrays` of a saved file describe; ValueError where they describe none."""
    options = dict(config)
    kind = options.pop("kind", None)
    # Compared before anything is made: a file may name sizes that no memory holds.
    sizes = {"tabular": ("n_states", "n_actions"), "rbf": ("n", "n_actions"), "fourier": ("n", "n_actions")}
    if kind in sizes:
        numbers = [options.get(name) for name in sizes[kind]]
        if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in numbers):
            raise ValueError(f"the file describes {kind} features by {numbers}")
        if math.prod(numbers) * (2 if kind == "fourier" else 1) != len(arrays.get("reward_mean", ())):  # type: ignore[arg-type]
            raise ValueError(f"the file describes {kind} features by {numbers}, which do not fit its rewards")
    made: dict[Any, Any] = {"tabular": TabularFeatures, "rbf": RBFFeatures, "fourier": FourierFeatures}
    try:
        if kind == "linear":
            return LinearMDPFeatures(arrays["features_table"])
        if kind in made:
            return made[kind](**options)  # type: ignore[no-any-return]
    except (TypeError, KeyError) as error:
        raise ValueError(f"the file describes {kind} features wrongly: {error}") from error
    raise ValueError(f"the file has features of kind {kind!r}: hand the same features to load(path, features=...)")
