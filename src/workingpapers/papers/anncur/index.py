"""CURIndex: top-k search under any pair scorer for a fixed number of calls a query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workingpapers.papers.anncur import _store
from workingpapers.papers.anncur import anchors as anchor_rules
from workingpapers.papers.anncur.diagnostics import Diagnostics, diagnose, suggest_split
from workingpapers.papers.anncur.recall import recall_at_k
from workingpapers.papers.anncur.scorers import PairScorer, fingerprint_of, score_pairs
from workingpapers.papers.anncur.search import Scored, best_of, in_rounds, one_shot, parts
from workingpapers.papers.anncur.solver import Basis, Ints, item_embeddings, leave_one_out

Retriever = Callable[[Sequence[Any], int], ArrayLike]
"""A cheap first stage: (queries, n) -> (q, n) item indices, best first."""

HELD = 128  # anchor queries left out at most when something is chosen by leave-one-out
ROUND_RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class SearchResult:
    """What a search found and what it cost.

    Attributes:
        indices: (q, k) int64, best first.
        scores: (q, k) float32 exact scores, None when not asked for.
        n_calls: (q,) int64, pairs scored for each query; never above the budget.
        residual: (q,) float32, root mean squared difference between approximate and exact score over the items scored last:
            the larger, the less the approximation can be trusted for this query. NaN where nothing was approximated.
        approx_scores: (q, N) float32, None unless asked for.
    """

    indices: Ints
    scores: NDArray[np.float32] | None
    n_calls: Ints
    residual: NDArray[np.float32]
    approx_scores: NDArray[np.float32] | None = None


class CURIndex:
    """Nearest-neighbour search for a scorer that reads query and item together, by CUR decomposition (ANNCUR).

    Fitting scores `n_anchor_queries` training queries against all N items (that many times N calls, once). A search
    scores a few anchor items for the new query, rebuilds its whole row of scores from them, scores the best-looking items
    exactly and returns the top k among everything scored. Good for k of 10 and more; for k = 1 at small budgets prefer `rounds=5`
    or reranking what a dual encoder retrieves.

    Args:
        scorer: pairs -> scores, higher is better; see `from_cross_encoder`, `from_callable`, `from_matrix`, `from_reranker`, `from_llm`.
        n_anchor_queries: training queries to score against all items; drawn by `seed` where more are given; None takes all.
        anchor_items: None: their number follows from each search's budget; an int: that many; an array: these.
        anchor_choice: how anchor items are chosen: "random" (the paper), "leverage" or "pivoted-qr" (ours).
        rank: keep at most this many singular values of the anchor block. One-shot search only.
        ridge: share of the anchor block's energy added to the normal equations, or "loo": chosen by leaving anchor queries
            out, at no model call. 0.0 with `center=False` is the bare pseudo-inverse of the official code.
        center: take each anchor query's mean score off and fit an offset. [CLS] scores need it.
        basis: "scores" (the paper), or "embeddings": rows are fitted on item vectors given to `fit`, and nothing is scored
            beforehand (reconstructed from the third paper of this line).
        dtype: "float32" or "float16" for the stored scores (N n_q values).
        seed: for the draw of anchor queries and items.

    Attributes:
        items_, queries_: items and anchor queries, lists.
        S_: (N, n_q) stored scores, items first; R of the paper is its transpose.
        n_fit_calls_: pairs scored to build the index.

    Cost:
        Search beyond model calls: one product (k_i) x (k_i, N) a query in one shot, one (n_q) x (n_q, N) a round in rounds.
        Memory: 4 N n_q bytes for the scores, 4 N k_i for the item embeddings of one search setting.

    References:
        Efficient Nearest Neighbor Search for Cross-Encoder Models using Matrix Factorization, EMNLP 2022, arXiv 2210.12579.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> M = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 300))    # scores of 60 queries, 300 items
        >>> from workingpapers.papers.anncur import from_matrix
        >>> index = CURIndex(from_matrix(M), n_anchor_queries=50).fit(items=range(300), queries=range(50))
        >>> found = index.search(range(50, 60), k=10, budget=40)
        >>> recall_at_k(M[50:], found.indices, k=10).mean(), found.n_calls.max()
        (np.float64(1.0), np.int64(40))
    """

    _keys: NDArray[np.float64]
    _drawn: int
    _basis_: Basis | None
    _cached: tuple[Any, NDArray[np.float32]]
    _choices: dict[tuple[Any, ...], float]
    _games: tuple[Any, list[Scored]]
    _orders: dict[tuple[str, int], Ints]

    def __init__(
        self,
        scorer: PairScorer,
        *,
        n_anchor_queries: int | None = 500,
        anchor_items: int | ArrayLike | None = None,
        anchor_choice: Literal["random", "leverage", "pivoted-qr"] = "random",
        rank: int | None = None,
        ridge: float | Literal["loo"] = "loo",
        center: bool = True,
        basis: Literal["scores", "embeddings"] = "scores",
        dtype: Literal["float32", "float16"] = "float32",
        seed: int = 0,
    ) -> None:
        self.scorer = scorer
        self.n_anchor_queries = n_anchor_queries
        self.anchor_items = anchor_items
        self.anchor_choice = anchor_choice
        self.rank = rank
        self.ridge = ridge
        self.center = center
        self.basis = basis
        self.dtype = dtype
        self.seed = seed

    # ---- building -------------------------------------------------------------------------------------------------

    def fit(
        self,
        items: Sequence[Any],
        queries: Sequence[Any] = (),
        scores: ArrayLike | None = None,
        progress: _store.Progress | None = None,
        *,
        embeddings: ArrayLike | None = None,
        checkpoint: str | Path | None = None,
    ) -> CURIndex:
        """Score the anchor queries against all items.

        Args:
            items: N items (strings, or anything hashable that the scorer takes).
            queries: training queries.
            scores: (len(queries), N) if they are known already: no call is made.
            progress: called with (pairs done, pairs in all).
            embeddings: (N, d) item vectors, for `basis="embeddings"` only.
            checkpoint: a folder where finished blocks are kept; a later fit of the same goes on where a kill stopped it.

        Raises:
            ValueError: naming the argument: empty or repeated items, more anchor queries than queries, scores of another shape,
                NaN or infinity among scores (the pair is named).
        """
        self._check_parameters()
        self.items_ = _list_of_different(items, "items")
        self._draw_keys(len(self.items_), start=0)
        self.n_fit_calls_ = 0
        if self.basis == "embeddings":
            self.queries_: list[Any] = []
            self.S_ = _embedding_matrix(embeddings, len(self.items_)).astype(self.dtype)
            return self._changed()
        if embeddings is not None:
            raise ValueError("embeddings: used with basis='embeddings' only")
        given = _list_of_different(queries, "queries")
        chosen = self._choose_queries(len(given))
        self.queries_ = [given[i] for i in chosen]
        if scores is not None:
            self.S_ = self._given_scores(scores, (len(given), len(self.items_)), given)[chosen].T.astype(self.dtype)
        else:
            fingerprint = fingerprint_of(self.scorer) if checkpoint is not None else ""
            folder = None if checkpoint is None else Path(checkpoint)
            self.S_ = _store.score_all(self.scorer, fingerprint, self.items_, self.queries_, self.dtype, progress, folder)
            self.n_fit_calls_ = self.S_.size
        return self._changed()

    def partial_fit_items(self, new_items: Sequence[Any], scores: ArrayLike | None = None) -> CURIndex:
        """Add items: only (anchor query, new item) pairs are scored. The index then equals one fitted on all items at once.

        Args:
            scores: (n_q, number of new items) if known.
        """
        self._check_fitted()
        if self.basis == "embeddings":
            raise ValueError("new_items: an index on embeddings is fitted anew")
        new = _list_of_different(new_items, "new_items")
        twice = set(new) & set(self.items_)
        if twice:
            raise ValueError(f"new_items: {next(iter(twice))!r} is in the index already")
        if scores is not None:
            block = self._given_scores(scores, (len(self.queries_), len(new)), self.queries_, new).T.astype(self.dtype)
        else:
            block = _store.score_all(self.scorer, "", new, self.queries_, self.dtype, None, None)
            self.n_fit_calls_ += block.size
        self.S_ = np.vstack([self.S_, block])
        self._draw_keys(len(new), start=self._drawn)
        self.items_ = self.items_ + new
        return self._changed()

    def remove_items(self, indices: ArrayLike) -> CURIndex:
        """Drop items by index; later items move up. No call is made."""
        self._check_fitted()
        gone = np.unique(np.asarray(indices, dtype=np.int64))
        if len(gone) and (gone[0] < 0 or gone[-1] >= len(self.items_)):
            raise ValueError(f"indices: not all between 0 and {len(self.items_) - 1}")
        if len(gone) >= len(self.items_):
            raise ValueError("indices: no item would be left")
        kept = np.setdiff1d(np.arange(len(self.items_)), gone)
        self.items_ = [self.items_[i] for i in kept]
        self.S_, self._keys = self.S_[kept], self._keys[kept]
        return self._changed()

    def add_queries(self, queries: Sequence[Any], scores: ArrayLike | None = None) -> CURIndex:
        """Add anchor queries: each is scored against all items (or `scores`, (number, N), is taken)."""
        self._check_fitted()
        if self.basis == "embeddings":
            raise ValueError("queries: an index on embeddings has no anchor queries")
        new = _list_of_different(queries, "queries")
        twice = set(new) & set(self.queries_)
        if twice:
            raise ValueError(f"queries: {next(iter(twice))!r} is an anchor query already")
        if scores is not None:
            block = self._given_scores(scores, (len(new), len(self.items_)), new).T.astype(self.dtype)
        else:
            block = _store.score_all(self.scorer, "", self.items_, new, self.dtype, None, None)
            self.n_fit_calls_ += block.size
        self.S_ = np.hstack([self.S_, block])
        self.queries_ = self.queries_ + new
        return self._changed()

    # ---- searching ------------------------------------------------------------------------------------------------

    def search(
        self,
        queries: Sequence[Any],
        k: int = 10,
        budget: int = 200,
        rounds: int = 1,
        init: Literal["random", "retriever"] = "random",
        retriever: Retriever | None = None,
        return_scores: bool = True,
        *,
        split: float | Literal["auto"] = 0.5,
        return_approx: bool = False,
        batch: int = 64,
    ) -> SearchResult:
        """The k best items of each query for at most `budget` scorer calls.

        Args:
            queries: new queries, as the scorer takes them.
            k: items wanted, at most `budget`.
            budget: scorer calls a query, anchors and reranked items together; N or more means exact search.
            rounds: 1 scores all anchors at once (the paper), T > 1 spends the budget in T equal rounds, each on the best
                items of the row rebuilt so far (the follow-up); best for small k.
            init: the first round of several: "random" anchors, or the top of `retriever`.
            retriever: (queries, n) -> (q, n) item indices.
            return_scores: whether to return scores.
            split: share of the budget spent on anchors when `rounds=1` and `anchor_items` is None; "auto" chooses it on the index.
            return_approx: whether to return the (q, N) approximate scores.
            batch: queries searched together; memory grows by 4 N bytes each.

        Raises:
            ValueError: naming the argument, such as a budget below k; RuntimeError before `fit`.
        """
        self._check_fitted()
        asked = list(queries)
        self._check_search(asked, k, budget, rounds, init, retriever, split)
        n = len(self.items_)
        k = min(k, n)
        run: Callable[[list[Any]], Scored] = self._exhaustive
        if budget < n:
            run = self._one_shot(k, budget, split) if rounds == 1 else self._in_rounds(k, budget, rounds, init, retriever)
        parts_: list[tuple[Ints, NDArray[np.float32], Scored]] = []
        for start in range(0, len(asked), batch):
            scored = run(asked[start : start + batch])
            parts_.append((*best_of(scored, k), scored))
        indices = np.vstack([p[0] for p in parts_]) if parts_ else np.empty((0, k), np.int64)
        scores = np.vstack([p[1] for p in parts_]) if parts_ else np.empty((0, k), np.float32)
        calls = np.concatenate([np.full(len(p[2].items), p[2].items.shape[1]) for p in parts_]) if parts_ else np.empty(0)
        return SearchResult(
            indices.astype(np.int64),
            scores.astype(np.float32) if return_scores else None,
            calls.astype(np.int64),
            np.concatenate([_residual(p[2]) for p in parts_]) if parts_ else np.empty(0, np.float32),
            np.vstack([p[2].approx for p in parts_]) if return_approx and parts_ else None,
        )

    def reconstruct(self, query_anchor_scores: ArrayLike) -> NDArray[np.float32]:
        """Approximate scores (q, N) of queries whose scores on the anchor items, (q, k_i), are known: s = c E. No call is made.

        The anchor items are `anchors(k_i)`.
        """
        self._check_fitted()
        c = np.atleast_2d(np.asarray(query_anchor_scores, dtype=np.float32))
        if not np.isfinite(c).all():
            raise ValueError("query_anchor_scores: NaN or infinity")
        if self.anchor_items is not None and c.shape[1] != len(self.anchors()):
            raise ValueError(f"query_anchor_scores: {c.shape[1]} columns for {len(self.anchors())} anchor items")
        chosen = self.anchors(c.shape[1])
        return np.asarray(c @ self._embeddings(chosen, self._ridge_one_shot(chosen, 10, c.shape[1])))

    def anchors(self, n: int | None = None) -> Ints:
        """Indices of the n anchor items, sorted; those for `anchor_items` when n is None."""
        self._check_fitted()
        if self.anchor_items is not None and not isinstance(self.anchor_items, int | np.integer):
            return np.sort(np.asarray(self.anchor_items, dtype=np.int64))
        n = n if n is not None else (int(self.anchor_items) if self.anchor_items is not None else None)
        if n is None or not 1 <= n <= len(self.items_):
            raise ValueError(f"n: {n} anchor items asked of {len(self.items_)}")
        return np.sort(self._anchor_order(n)[:n])

    def diagnostics(self, budgets: Sequence[int] = (50, 100, 200, 500), ks: Sequence[int] = (1, 10, 50, 100)) -> Diagnostics:
        """What to expect of this index, from its own scores, at no model call: singular spectrum, recall by budget, split."""
        self._check_fitted()
        if self.basis == "embeddings":
            raise ValueError("diagnostics: an index on embeddings holds no scores to try on")
        return diagnose(self._basis(), self._anchor_order, self._held(), budgets, ks)

    # ---- keeping --------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write the index to a folder (`scores.npy`, `keys.npy`, `index.json`), with the scorer's fingerprint."""
        self._check_fitted()
        fixed = self.anchor_items
        meta = {
            "format": 1,
            "fingerprint": fingerprint_of(self.scorer),
            "items": self.items_,
            "queries": self.queries_,
            "drawn": self._drawn,
            "fit_calls": self.n_fit_calls_,
            "parameters": {
                "n_anchor_queries": self.n_anchor_queries,
                "anchor_items": fixed if fixed is None or isinstance(fixed, int) else np.asarray(fixed).tolist(),
                "anchor_choice": self.anchor_choice,
                "rank": self.rank,
                "ridge": self.ridge,
                "center": self.center,
                "basis": self.basis,
                "dtype": self.dtype,
                "seed": self.seed,
            },
        }
        _store.write(Path(folder), {"scores": self.S_, "keys": self._keys}, meta)

    @classmethod
    def load(cls, folder: str | Path, scorer: PairScorer, *, force: bool = False, mmap: bool = False) -> CURIndex:
        """Read an index that `save` wrote.

        Args:
            scorer: must have the fingerprint that the index was filled by.
            force: take another scorer all the same (a model moved to other hardware, say).
            mmap: leave the scores on disk and map them.

        Raises:
            ValueError: for another scorer's fingerprint, or a damaged index.
        """
        arrays, meta = _store.read(Path(folder), ("scores", "keys"), mmap)
        if not force and fingerprint_of(scorer) != meta["fingerprint"]:
            raise ValueError("scorer: another one than filled this index (fingerprints differ); pass force=True if its scores are the same")
        index = cls(scorer, **meta["parameters"])
        index._check_parameters()
        index.items_, index.queries_ = meta["items"], meta["queries"]
        index.S_, index._keys, index._drawn = arrays["scores"], arrays["keys"], int(meta["drawn"])
        index.n_fit_calls_ = int(meta["fit_calls"])
        width = len(index.queries_) if index.basis == "scores" else index.S_.shape[1]
        if index.S_.shape != (len(index.items_), width) or len(index._keys) != len(index.items_):
            raise ValueError(f"{folder}: scores of shape {index.S_.shape} do not fit {len(index.items_)} items; the index is damaged")
        return index._changed()

    # ---- the parts of a search ------------------------------------------------------------------------------------

    def _exhaustive(self, queries: list[Any]) -> Scored:
        every = np.broadcast_to(np.arange(len(self.items_)), (len(queries), len(self.items_)))
        scores = self._score(queries, every)
        return Scored(every, scores, np.empty((len(queries), 0), np.float32), scores)

    def _one_shot(self, k: int, budget: int, split: float | str) -> Callable[[list[Any]], Scored]:
        if self.anchor_items is not None:
            chosen = self.anchors()
        else:
            share = self._split(k, budget) if split == "auto" else float(split)
            chosen = self.anchors(min(max(1, round(share * budget)), budget))
        E = self._embeddings(chosen, self._ridge_one_shot(chosen, k, budget - len(chosen)))
        return lambda queries: one_shot(
            lambda items: self._score(queries, items), len(queries), chosen, E, budget - len(chosen)
        )

    def _in_rounds(
        self, k: int, budget: int, rounds: int, init: str, retriever: Retriever | None
    ) -> Callable[[list[Any]], Scored]:
        size, *rest = parts(budget, rounds)
        ridge = self._ridge_in_rounds(k, budget, rounds, init, retriever)

        def run(queries: list[Any]) -> Scored:
            first = self._first(queries, size, init, retriever)
            return in_rounds(lambda items: self._score(queries, items), self._basis(), first, rest, ridge)

        return run

    def _first(self, queries: list[Any], size: int, init: str, retriever: Retriever | None) -> Ints:
        if init == "random":
            chosen = self.anchors() if self.anchor_items is not None else self.anchors(size)
            if len(chosen) < size:
                extra = np.setdiff1d(self._anchor_order(len(self.items_)), chosen, assume_unique=True)
                chosen = np.concatenate([chosen, extra[: size - len(chosen)]])
            return np.tile(chosen[:size], (len(queries), 1))
        assert retriever is not None
        found = np.asarray(retriever(queries, size))
        if found.shape != (len(queries), size) or found.dtype.kind not in "iu":
            raise ValueError(f"retriever: gave {found.dtype} of shape {found.shape}, not indices of shape {(len(queries), size)}")
        ordered = np.sort(found, axis=1)
        if ordered.min() < 0 or ordered.max() >= len(self.items_) or (ordered[:, 1:] == ordered[:, :-1]).any():
            raise ValueError("retriever: gave an index outside the items, or one twice for a query")
        return found.astype(np.int64)

    def _score(self, queries: list[Any], items: Ints) -> NDArray[np.float32]:
        pairs = [(q, self.items_[i]) for q, row in zip(queries, items.tolist()) for i in row]
        return score_pairs(self.scorer, pairs).reshape(items.shape)

    def _embeddings(self, chosen: Ints, ridge: float) -> NDArray[np.float32]:
        key = (chosen.tobytes(), ridge)
        if self._cached[0] != key:
            self._cached = (key, item_embeddings(self._basis(), chosen, ridge, self.rank))
        return self._cached[1]

    def _ridge_one_shot(self, chosen: Ints, k: int, reranked: int) -> float:
        if self.ridge != "loo":
            return float(self.ridge)
        if self.basis == "embeddings":
            return 1e-3  # no rows to leave out
        return self._choice(("one-shot", chosen.tobytes(), k, reranked), lambda: leave_one_out(
            self._basis(), chosen, k, reranked, self._held()
        ).best)

    def _ridge_in_rounds(self, k: int, budget: int, rounds: int, init: str, retriever: Retriever | None) -> float:
        """The ridge with the best recall@k when the whole search is played on held-out anchor queries, whose scores are known."""
        if self.ridge != "loo":
            return float(self.ridge)
        if self.basis == "embeddings":
            return 1e-3

        def choose() -> float:
            exact = self._held_rows()
            played = self._played_games(budget, rounds, init, retriever)
            recalls = np.array([recall_at_k(exact, best_of(found, k)[0], k).mean() for found in played])
            near = np.flatnonzero(recalls >= recalls.max() - 1e-9)
            return ROUND_RIDGES[int(near[len(near) // 2])]

        return self._choice(("rounds", k, budget, rounds, init, id(retriever)), choose)

    def _played_games(self, budget: int, rounds: int, init: str, retriever: Retriever | None) -> list[Scored]:
        """The search of each held-out anchor query at each ridge; what it finds for any k is read off these."""
        key = (budget, rounds, init, id(retriever))
        if self._games[0] != key:
            held, exact = self._held(), self._held_rows()
            size, *rest = parts(budget, rounds)
            first = self._first([self.queries_[j] for j in held], size, init, retriever)

            def score(items: Ints) -> NDArray[np.float32]:
                return np.take_along_axis(exact, items, 1)

            games = [in_rounds(score, self._basis(), first, rest, ridge, leave_out=held) for ridge in ROUND_RIDGES]
            self._games = (key, [replace(game, approx=np.empty((0, 0), np.float32)) for game in games])
        return self._games[1]

    def _split(self, k: int, budget: int) -> float:
        return self._choice(("split", k, budget), lambda: suggest_split(self._basis(), self._anchor_order, self._held(), k, budget)[0])

    def _choice(self, key: tuple[Any, ...], choose: Callable[[], float]) -> float:
        if key not in self._choices:
            self._choices[key] = choose()
        return self._choices[key]

    def _held(self) -> Ints:
        n_q = self.S_.shape[1]
        if n_q <= HELD:
            return np.arange(n_q)
        return np.sort(np.random.default_rng([self.seed, 2]).choice(n_q, HELD, replace=False))

    def _held_rows(self) -> NDArray[np.float32]:
        return np.ascontiguousarray(self.S_[:, self._held()].T, dtype=np.float32)

    def _basis(self) -> Basis:
        if self._basis_ is None:
            self._basis_ = Basis.of(self.S_, self.center)
        return self._basis_

    def _anchor_order(self, n: int) -> Ints:
        key = (self.anchor_choice, 0 if self.anchor_choice == "random" else n)
        if key not in self._orders:
            self._orders[key] = anchor_rules.order(self.S_, n, self.anchor_choice, self._keys)
        return self._orders[key]

    # ---- checks ---------------------------------------------------------------------------------------------------

    def _draw_keys(self, n: int, start: int) -> None:
        """One random key an item, a prefix of one stream, so that adding items equals fitting on all of them."""
        drawn = np.random.default_rng([self.seed, 0]).random(start + n)[start:]
        self._keys = drawn if start == 0 else np.concatenate([self._keys, drawn])
        self._drawn = start + n

    def _changed(self) -> CURIndex:
        """Drop what was derived from the scores."""
        self._basis_, self._cached = None, (None, np.empty((0, 0), np.float32))
        self._choices, self._orders, self._games = {}, {}, (None, [])
        if self.anchor_items is not None:
            fixed = self.anchors()
            if not len(fixed) or fixed[0] < 0 or fixed[-1] >= len(self.items_) or (np.diff(fixed) == 0).any():
                raise ValueError(f"anchor_items: not different indices between 0 and {len(self.items_) - 1}")
        return self

    def _choose_queries(self, given: int) -> Ints:
        wanted = given if self.n_anchor_queries is None else self.n_anchor_queries
        if wanted > given:
            raise ValueError(f"n_anchor_queries: {wanted} asked of {given} queries; pass more queries or n_anchor_queries=None")
        if wanted == given:
            return np.arange(given)
        return np.sort(np.random.default_rng([self.seed, 1]).choice(given, wanted, replace=False))

    def _given_scores(
        self, scores: ArrayLike, shape: tuple[int, int], queries: list[Any], items: list[Any] | None = None
    ) -> NDArray[np.float32]:
        matrix = np.asarray(scores)
        if matrix.shape != shape:
            raise ValueError(f"scores: shape {matrix.shape}, expected (queries, items) = {shape}")
        wrong = np.argwhere(~np.isfinite(matrix))
        if len(wrong):
            q, i = wrong[0]
            raise ValueError(f"scores: {matrix[q, i]} for the pair {(queries[q], (items or self.items_)[i])!r}")
        return _store._narrow(matrix.astype(np.float32), self.dtype).astype(np.float32)

    def _check_parameters(self) -> None:
        if not callable(self.scorer):
            raise TypeError(f"scorer: {type(self.scorer).__name__} is not callable")
        if self.n_anchor_queries is not None and self.n_anchor_queries < 2:
            raise ValueError(f"n_anchor_queries: {self.n_anchor_queries} is below 2")
        if self.ridge != "loo" and not (isinstance(self.ridge, float | int) and 0 <= self.ridge < np.inf):
            raise ValueError(f"ridge: {self.ridge!r} is neither 'loo' nor a number from 0 up")
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"rank: {self.rank} is below 1")
        for name, value, allowed in (
            ("dtype", self.dtype, ("float32", "float16")),
            ("basis", self.basis, ("scores", "embeddings")),
            ("anchor_choice", self.anchor_choice, anchor_rules.CHOICES),
        ):
            if value not in allowed:
                raise ValueError(f"{name}: {value!r} is none of {', '.join(map(repr, allowed))}")

    def _check_fitted(self) -> None:
        if not hasattr(self, "S_"):
            raise RuntimeError("this CURIndex is not fitted: call fit(items, queries) first")

    def _check_search(
        self, queries: list[Any], k: int, budget: int, rounds: int, init: str, retriever: Retriever | None, split: float | str
    ) -> None:
        if k < 1:
            raise ValueError(f"k: {k} is below 1")
        if budget < k:
            raise ValueError(f"budget: {budget} calls cannot find k={k} items; raise budget or lower k")
        if k > len(self.items_):
            raise ValueError(f"k: {k} items wanted of {len(self.items_)}")
        if not 1 <= rounds <= budget:
            raise ValueError(f"rounds: {rounds} is not between 1 and the budget, {budget}")
        if init not in ("random", "retriever"):
            raise ValueError(f"init: {init!r} is neither 'random' nor 'retriever'")
        if (init == "retriever") != (retriever is not None):
            raise ValueError("retriever: goes with init='retriever', and is needed there")
        if init == "retriever" and rounds == 1:
            raise ValueError("init: 'retriever' needs rounds > 1; one shot uses the same anchors for every query")
        if (isinstance(split, str) and split != "auto") or (not isinstance(split, str) and not 0 < split <= 1):
            raise ValueError(f"split: {split!r} is neither 'auto' nor above 0 and at most 1")
        if self.anchor_items is not None and len(self.anchors()) > budget:
            raise ValueError(f"budget: {budget} calls do not cover the {len(self.anchors())} anchor items")


def _residual(scored: Scored) -> NDArray[np.float32]:
    n = scored.guess.shape[1]
    if n == 0:
        return np.full(len(scored.items), np.nan, np.float32)
    return np.asarray(np.sqrt(np.mean((scored.scores[:, -n:] - scored.guess) ** 2, axis=1)), dtype=np.float32)


def _list_of_different(values: Sequence[Any], argument: str) -> list[Any]:
    if isinstance(values, str | bytes):
        raise TypeError(f"{argument}: one string was given, a sequence of them is needed")
    listed = list(values)
    if not listed:
        raise ValueError(f"{argument}: empty")
    if len(set(listed)) != len(listed):
        seen: set[Any] = set()
        twice = next(v for v in listed if v in seen or seen.add(v))  # type: ignore[func-returns-value]
        raise ValueError(f"{argument}: {twice!r} stands there twice")
    return listed


def _embedding_matrix(embeddings: ArrayLike | None, n: int) -> NDArray[np.float32]:
    if embeddings is None:
        raise ValueError("embeddings: needed with basis='embeddings'")
    matrix = np.asarray(embeddings, dtype=np.float32)
    if matrix.ndim != 2 or len(matrix) != n or not np.isfinite(matrix).all():
        raise ValueError(f"embeddings: shape {matrix.shape} (expected ({n}, d)), or NaN or infinity among them")
    return matrix
