"""The hidden Chow-Liu tree as a density estimator with the interface of scikit-learn."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import NotFittedError

from . import _store
from ._learn import Learner, Steps
from ._model import MAX_CATEGORIES, MAX_LATENTS, MAX_TREES, CodecModel
from ._structure import Binning
from ._tree import HiddenTree

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Values = npt.NDArray[np.int32]
Progress = Callable[[float, str], None]
"""Called with the share done (0 to 1) and a few words."""

LN2 = float(np.log(2.0))


class HCLT(DensityMixin, BaseEstimator):  # type: ignore[misc]
    """Hidden Chow-Liu tree: a circuit over D categorical variables with exact probabilities, marginals and conditionals.

    The maximum spanning tree of pairwise mutual information links latent variables of `n_latents` states, one behind each
    observed variable; P(x) = sum_z P(z_root) prod P(z_i | z_parent) prod P(x_i | z_i). Tables are learned by expectation
    maximisation on circuit flows, first on batches with a step that shrinks, then on all rows.

    Args:
        n_latents: M, states of each latent variable. Parameters: D M (M + K).
        n_categories: K, values of each variable: a number, one a variable (D,), or `auto` (largest value seen plus 1).
        n_trees: mixture of so many trees, each over a cluster of the rows at first.
        mi_bins: variables with more values are binned into so many for the mutual information.
        smoothing: pseudo-count of each value in each leaf, spread like a blend of the variable's own histogram, that of all
            variables and the uniform one; and in all of each row of edges.
        near_values: for values with an order, such as grey levels: after learning, each state's leaf is blended with itself smoothed
            over near values (a twentieth of them wide), which weighs as much as so many rows of it. 0 leaves it out. Some tens keep
            few images from being learned by heart, with little smoothing of the other kind (0.01).
        random_state: seed.
        structure: `chow-liu`; `random` (the control); or parents (D,) of your own, -1 for roots.
        binning: `width` for grey values, `top` for codes sorted by how often they occur.
        n_jobs: threads for learning and likelihoods. It changes sums in their last bits, never the codec.

    Attributes:
        tree_: parents (D,), of the first tree; -1 for roots. `trees_` has all with their tables, `weights_` their weights.
        n_categories_: (D,). n_parameters_: entries of all tables. history_: bits a variable after each epoch.

    Cost: O(N D M^2) an epoch. Source: Liu, Mandt and Van den Broeck, on structure and parameter learning; the mutual information by 4
    bins, the statistics kept from batch to batch (in place of averaging tables) and the blend of the prior and `near_values` are ours.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.integers(0, 2, size=(500, 1)) ^ (rng.random((500, 6)) < 0.1)
        >>> model = HCLT(n_latents=2, random_state=0).fit(x.astype(int), epochs=5)
        >>> bool(model.bpd(x.astype(int)) < 0.75)                  # independent bits would take 1
        True
        >>> model.conditional(np.array([1, 1, 1, 1, 1, 1]), 0).round(1).tolist()
        [0.1, 0.9]
    """

    def __init__(self, n_latents: int = 16, n_categories: int | Literal["auto"] | Array = "auto", n_trees: int = 1, mi_bins: int = 4,
                 smoothing: float = 0.1, random_state: int | None = None, *, structure: Literal["chow-liu", "random"] | Array = "chow-liu",
                 binning: Binning = "width", near_values: float = 0.0, n_jobs: int = 1) -> None:
        self.n_latents = n_latents
        self.n_categories = n_categories
        self.n_trees = n_trees
        self.mi_bins = mi_bins
        self.smoothing = smoothing
        self.random_state = random_state
        self.structure = structure
        self.binning = binning
        self.near_values = near_values
        self.n_jobs = n_jobs

    # ------------------------------------------------------------ learning

    def fit(self, X: Array, X_val: Array | None = None, *, epochs: int = 6, full_epochs: int = 2, batch_size: int = 512,
            step: tuple[float, float] = (0.7, 0.1), progress: Progress | None = None) -> Self:
        """Learn structure and tables.

        Args:
            X: (N, ...) integers from 0 up, D values a row; negative values are missing and are summed out.
            X_val: rows held out; the tables of the epoch that does best on them are kept.
            epochs: passes in batches of `batch_size`, whose statistics replace a share `step` of the old ones, falling from the first
                number to the second.
            full_epochs: passes of plain EM on all rows after that.
            progress: called with the share done.

        Raises:
            ValueError: no rows, no integers, values of K or more, parameters out of range.
        """
        self._check_parameters()
        if epochs < 0 or full_epochs < 0 or epochs + full_epochs < 1:
            raise ValueError(f"epochs is {epochs} and full_epochs {full_epochs}: one of them must be 1 or more")
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        if not 0 < step[1] <= step[0] <= 1:
            raise ValueError(f"step must be two shares, the first not below the second, got {step}")
        x = self._values(X, "X")
        held_out = None if X_val is None else self._values(X_val, "X_val")
        learner = self._begin(x)
        self.history_: list[float] = []
        best: tuple[float, Any] | None = None
        total = epochs + full_epochs
        plan = Steps(epochs, batch_size, *step)
        for epoch in range(total):
            found = learner.batch_epoch(x, plan, epoch) if epoch < epochs else learner.full_epoch(x)
            if held_out is not None:
                found = learner.log_likelihood(held_out).mean()
                if best is None or found > best[0]:
                    best = found, learner.state()
            self.history_.append(-float(found) / LN2 / x.shape[1])
            if progress is not None:
                progress((epoch + 1) / total, f"epoch {epoch + 1} of {total}: {self.history_[-1]:.4f} bits a value")
        if best is not None:
            learner.restore(best[1])
        if self.near_values > 0:
            learner.blend_near_values(self.near_values)
        return self._take(learner)

    def partial_fit(self, X: Array, y: object = None, *, step: float = 0.05) -> Self:
        """One step of EM on a batch (N, ...). The first call chooses the structure from its batch.

        With `n_categories="auto"` the first batch must show the largest value.
        """
        self._check_parameters()
        if not 0 < step <= 1:
            raise ValueError(f"step must be above 0 and at most 1, got {step}")
        is_first = getattr(self, "_learner", None) is None
        x = self._values(X, "X") if is_first else self._known(X)
        learner = self._begin(x) if is_first else self._learner
        learner.batch(x, step)
        return self._take(learner)

    def _begin(self, x: Values) -> Learner:
        sizes = self._sizes(x)
        self.n_categories_ = sizes
        self.n_features_in_ = x.shape[1]
        self._learner = Learner.begin(x, sizes, n_latents=self.n_latents, n_trees=self.n_trees, mi_bins=self.mi_bins, binning=self.binning,
                                      structure=self.structure, smoothing=self.smoothing, n_jobs=self.n_jobs,
                                      rng=np.random.default_rng(self.random_state))
        return self._learner

    def _take(self, learner: Learner) -> Self:
        self.trees_: list[HiddenTree] = learner.trees
        self.weights_: Floats = learner.weights
        self.tree_: Ints = self.trees_[0].parents
        m = self.n_latents
        self.n_parameters_ = sum(int((t.parents >= 0).sum()) * m * m + int((t.parents < 0).sum()) * m + t.leaf.size for t in self.trees_)
        return self

    # ------------------------------------------------------------ asking

    def score_samples(self, X: Array) -> Floats:
        """log2 P of each row (N,). Negative values are missing and are summed out."""
        return np.asarray(self._mixed(self._known(X)) / LN2)

    def score(self, X: Array, y: object = None) -> float:
        """Mean log2 P of a row."""
        return float(self.score_samples(X).mean())

    def bpd(self, X: Array) -> float:
        """Bits a variable: -log2 P(X) / (N D). What an ideal coder would need with this model."""
        found = self.score_samples(X)
        return float(-found.mean() / self.n_features_in_)

    def marginal(self, X: Array, mask: Array) -> Floats:
        """log2 P of the values where `mask` (N, D) is true, all others summed out: (N,)."""
        return np.asarray(self._mixed(self._masked(X, mask)) / LN2)

    def conditional(self, x: Array, i: int) -> Floats:
        """P(X_i | the other values of x): (K_i,). Negative values of x are missing; x[i] itself is not looked at."""
        self._check_fitted()
        row = np.asarray(x).reshape(1, -1)
        if not 0 <= i < self.n_features_in_:
            raise ValueError(f"i must be from 0 to {self.n_features_in_ - 1}, got {i}")
        mask = np.ones(row.shape, dtype=bool)
        mask[0, i] = False
        return np.asarray(self._predictive(self._masked(row, mask), i)[0])

    def impute(self, X: Array, mask: Array) -> Ints:
        """X (N, D) with each value where `mask` is false replaced by the likeliest one, given the values of its row where it is true."""
        x = self._masked(X, mask)
        out = x.astype(np.int64)
        for i in np.flatnonzero((x < 0).any(axis=0)):
            gone = x[:, i] < 0
            out[gone, i] = self._predictive(x[gone], int(i)).argmax(axis=1)
        return out

    def sample(self, n: int = 1, random_state: int | None = None) -> Ints:
        """Independent rows (n, D)."""
        self._check_fitted()
        if n < 0:
            raise ValueError(f"n must not be negative, got {n}")
        rng = np.random.default_rng(self.random_state if random_state is None else random_state)
        which = rng.choice(len(self.weights_), size=n, p=self.weights_)
        out = np.empty((n, self.n_features_in_), dtype=np.int64)
        for k, tree in enumerate(self.trees_):
            out[which == k] = tree.sample(int((which == k).sum()), rng)
        return out

    def quantise(self, bits: int = 16) -> CodecModel:
        """Integer tables for `Codec`. The same learned tables give the same integers on every machine.

        Args:
            bits: of the tables; only 16 is defined by the file format (leaf tables of variables with more than 256 values take 20).
        """
        self._check_fitted()
        if bits != 16:
            raise ValueError(f"bits must be 16, the only precision of the file format, got {bits}")
        return CodecModel.from_trees(self.trees_, self.weights_)

    # ------------------------------------------------------------ keeping

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a `.pcm` file: parameters and tables as float32, with a SHA-256. The old file stays until the new one is whole."""
        self._check_fitted()
        _store.save(path, {"smoothing": self.smoothing, "mi_bins": self.mi_bins, "binning": self.binning}, self.trees_, self.weights_)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> HCLT:
        """Read a `.pcm` file; nothing in it is run.

        Raises:
            CorruptStream: not such a file, damaged or cut off.
        """
        settings, trees, weights = _store.load(path)
        sizes = trees[0].sizes
        made = cls(n_latents=trees[0].n_latents, n_categories=sizes, n_trees=len(trees), mi_bins=settings["mi_bins"],
                   smoothing=settings["smoothing"], binning=settings["binning"])
        made.n_categories_, made.n_features_in_, made.history_ = sizes, len(sizes), []
        made._learner = Learner.resume(trees, weights, smoothing=made.smoothing)
        return made._take(made._learner)

    # ------------------------------------------------------------ helpers

    def _mixed(self, x: Values) -> Floats:
        each = np.stack([tree.log_likelihood(x, self.n_jobs) for tree in self.trees_])
        return np.asarray(np.logaddexp.reduce(each + np.log(self.weights_)[:, None], axis=0))

    def _predictive(self, x: Values, i: int) -> Floats:
        """P(X_i | values that are there) for each row (N, K_i)."""
        each = np.stack([tree.log_likelihood(x, self.n_jobs) for tree in self.trees_]) + np.log(self.weights_)[:, None]
        share = np.exp(each - np.logaddexp.reduce(each, axis=0))
        out = np.zeros((len(x), int(self.n_categories_[i])))
        for tree, weight in zip(self.trees_, share):
            rows = slice(int(tree.rows[i]), int(tree.rows[i] + tree.sizes[i]))
            out += weight[:, None] * (tree.posteriors(x)[:, i].astype(np.float64) @ tree.leaf[rows].T)
        return np.asarray(out / out.sum(axis=1, keepdims=True))

    def _check_parameters(self) -> None:
        limits = (("n_latents", self.n_latents, MAX_LATENTS), ("n_trees", self.n_trees, MAX_TREES), ("mi_bins", self.mi_bins, 256))
        for name, value, most in limits:
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
                raise ValueError(f"{name} must be an integer from 1 to {most}, got {value!r}")
        if not (np.isfinite(self.smoothing) and self.smoothing >= 0):
            raise ValueError(f"smoothing must be 0 or more, got {self.smoothing!r}")
        if not (np.isfinite(self.near_values) and self.near_values >= 0):
            raise ValueError(f"near_values must be 0 or more, got {self.near_values!r}")
        if self.binning not in ("width", "top"):
            raise ValueError(f"binning must be 'width' or 'top', got {self.binning!r}")

    def _values(self, X: Array, name: str) -> Values:
        x = np.asarray(X)
        if x.dtype.kind not in "iub":
            raise ValueError(f"{name} must hold integers, got {x.dtype}: round and cast it first, or use TabularCodec for other types")
        if x.ndim < 2 or len(x) == 0 or x.size == 0:
            raise ValueError(f"{name} must have the shape (N, ...) with at least one row and one value a row, got {x.shape}")
        if x.max() >= MAX_CATEGORIES:
            raise ValueError(f"{name} holds {x.max()}: values up to {MAX_CATEGORIES - 1} are possible")
        flat = x.reshape(len(x), -1)
        return np.asarray(np.maximum(flat, -1) if x.dtype.kind == "i" else flat).astype(np.int32)

    def _sizes(self, x: Values) -> Ints:
        d = x.shape[1]
        if isinstance(self.n_categories, str):
            if self.n_categories != "auto":
                raise ValueError(f"n_categories must be a number, an array (D,) or 'auto', got {self.n_categories!r}")
            largest = x.max(axis=0).astype(np.int64)
            return np.full(d, max(int(largest.max()) + 1, 1), dtype=np.int64)
        given = np.asarray(self.n_categories)
        if given.dtype.kind not in "iu":
            raise ValueError(f"n_categories must be a number, an array (D,) or 'auto', got {self.n_categories!r}")
        sizes = (np.broadcast_to(given, (d,)) if given.ndim == 0 else given).astype(np.int64)
        if sizes.shape != (d,) or sizes.min() < 1 or sizes.max() > MAX_CATEGORIES:
            raise ValueError(f"n_categories must be from 1 to {MAX_CATEGORIES}, one number or {d} of them, got {self.n_categories!r}")
        self._check_range(x, sizes, "X")
        return sizes.copy()

    @staticmethod
    def _check_range(x: Values, sizes: Ints, name: str) -> None:
        wrong = np.argwhere(x >= sizes)
        if len(wrong):
            i, v = wrong[0]
            raise ValueError(f"{name} holds {x[i, v]} at row {i}, variable {v}, which takes 0 to {sizes[v] - 1}")

    def _check_fitted(self) -> None:
        if not hasattr(self, "trees_"):
            raise NotFittedError("this HCLT is not fitted: call fit(X) first")

    def _known(self, X: Array) -> Values:
        self._check_fitted()
        x = self._values(X, "X")
        if x.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {x.shape[1]} values a row, the model was fitted on {self.n_features_in_}")
        self._check_range(x, self.n_categories_, "X")
        return x

    def _masked(self, X: Array, mask: Array) -> Values:
        self._check_fitted()
        given = np.asarray(mask)
        x = np.asarray(X)
        if given.dtype != np.bool_ or given.shape != x.shape:
            raise ValueError(f"mask must be an array of truth values in the shape of X {x.shape}, got {given.dtype} {given.shape}")
        if x.dtype.kind not in "iub":
            raise ValueError(f"X must hold integers, got {x.dtype}")
        return self._known(np.where(given, x.astype(np.int64), -1))
