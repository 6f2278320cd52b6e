"""A circuit for each context: the prior of a block given what is known of it beside."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ._hclt import HCLT
from ._model import CodecModel
from ._tree import HiddenTree

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


class ConditionalPC:
    """P(x | context) by one HCLT a context, a small integer such as a class, a scale or the level of a flow.

    This is the hook by which the paper joins circuits with integer flows: the flow turns an image into latent blocks, and a
    circuit models each block given the kind that it is of. The flow itself is not here.

    Args:
        n_latents, n_categories, random_state and other options: of each HCLT.

    `quantise()` joins all contexts into one model for `Codec`, which names the context of each record in its stream, at the cost of
    its entropy; `model(context).quantise()` is the model of one context, for a reader that knows it.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> context = rng.integers(0, 2, size=400)
        >>> x = (context[:, None] * 5 + rng.integers(0, 3, size=(400, 6)))
        >>> prior = ConditionalPC(n_latents=2, n_categories=8, random_state=0).fit(x, context)
        >>> bool(prior.score_samples(x, context).mean() > prior.score_samples(x, 1 - context).mean() + 10)
        True
    """

    def __init__(self, n_latents: int = 16, n_categories: int | Array = 256, random_state: int | None = None, **options: Any) -> None:
        if np.asarray(n_categories).dtype.kind not in "iu":
            raise ValueError("n_categories must be a number or an array (D,): all contexts must agree on it")
        self.n_latents = n_latents
        self.n_categories = n_categories
        self.random_state = random_state
        self.options = options

    def fit(self, X: Array, context: Array, **options: Any) -> Self:
        """Learn a circuit for each context from rows X (N, ...) with contexts (N,), integers from 0 up; each must occur."""
        c = self._contexts(context, len(X))
        absent = np.flatnonzero(np.bincount(c) == 0)
        if len(absent):
            raise ValueError(f"context {absent[0]} does not occur: number contexts 0, 1, 2, ... without gaps")
        share = np.bincount(c) / len(c)
        self.weights_: Floats = share
        self.models_: list[HCLT] = [
            HCLT(self.n_latents, self.n_categories, random_state=self.random_state, **self.options).fit(np.asarray(X)[c == i], **options)
            for i in range(len(share))
        ]
        return self

    def model(self, context: int) -> HCLT:
        """The circuit of one context."""
        if not 0 <= context < len(self.models_):
            raise ValueError(f"context must be from 0 to {len(self.models_) - 1}, got {context}")
        return self.models_[context]

    def score_samples(self, X: Array, context: Array) -> Floats:
        """log2 P(x | context) of each row (N,)."""
        c = self._contexts(context, len(X))
        if len(c) and c.max() >= len(self.models_):
            raise ValueError(f"context holds {c.max()}: {len(self.models_)} contexts were learned")
        out = np.empty(len(c))
        for i in np.unique(c):
            out[c == i] = self.models_[i].score_samples(np.asarray(X)[c == i])
        return out

    def quantise(self) -> CodecModel:
        """One model over all contexts, weighted by how often each occurred."""
        trees: list[HiddenTree] = []
        weights: list[float] = []
        for model, share in zip(self.models_, self.weights_):
            trees += model.trees_
            weights += (share * model.weights_).tolist()
        return CodecModel.from_trees(trees, np.array(weights))

    @staticmethod
    def _contexts(context: Array, n: int) -> npt.NDArray[np.int64]:
        c = np.asarray(context)
        if c.shape != (n,) or c.dtype.kind not in "iub" or (n and c.min() < 0):
            raise ValueError(f"context must be {n} integers from 0 up, got {c.dtype} {c.shape}")
        return c.astype(np.int64)
