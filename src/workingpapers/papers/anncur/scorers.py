"""Scorers: anything that gives a number to a (query, item) pair, made into one interface.

A `PairScorer` is a callable from pairs to a float array. The adapters here add a fingerprint, so that an index
knows which model filled it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pair = tuple[Any, Any]


@runtime_checkable
class PairScorer(Protocol):
    """What the index calls: pairs (query, item) in, one float a pair out, higher is better."""

    def __call__(self, pairs: Sequence[Pair], /) -> NDArray[np.float32]: ...


class Adapter:
    """A scorer with a fingerprint, made by one of the `from_...` functions."""

    def __init__(self, function: Callable[[Sequence[Pair]], ArrayLike], fingerprint: str) -> None:
        self._function, self.fingerprint = function, fingerprint

    def __call__(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        return np.asarray(self._function(pairs), dtype=np.float32)

    def __repr__(self) -> str:
        return f"<scorer {self.fingerprint[:12]}>"


def fingerprint_of(scorer: object) -> str:
    """What tells one scorer from another: its `fingerprint`, or a digest of a plain function's code.

    Raises:
        ValueError: for a callable object with neither; wrap it by `from_callable(f, name=...)`.
    """
    named = getattr(scorer, "fingerprint", None)
    if isinstance(named, str):
        return named
    code = getattr(scorer, "__code__", None)
    if code is not None:
        parts = (getattr(scorer, "__qualname__", ""), code.co_code.hex(), repr([c for c in code.co_consts if not hasattr(c, "co_code")]))
        return _digest(*parts, *map(str, code.co_names))
    raise ValueError("scorer: it has no fingerprint and is no plain function; wrap it by from_callable(scorer, name='...')")


def _digest(*parts: str | bytes) -> str:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.encode() if isinstance(part, str) else part)
        sha.update(b"\0")
    return sha.hexdigest()


def from_callable(function: Callable[..., ArrayLike], *, name: str | None = None, batched: bool = True) -> Adapter:
    """A scorer from a plain function.

    Args:
        function: pairs -> scores, or with `batched=False` (query, item) -> score.
        name: stands for the function in the fingerprint; without it its code does.

    Example:
        >>> overlap = from_callable(lambda q, i: len(set(q) & set(i)), batched=False)
        >>> overlap([("abc", "bcd"), ("abc", "xyz")])
        array([2., 0.], dtype=float32)
    """
    if not callable(function):
        raise TypeError(f"function: {type(function).__name__} is not callable")
    fingerprint = _digest("callable", name) if name is not None else fingerprint_of(function)
    if batched:
        return Adapter(function, fingerprint)
    return Adapter(lambda pairs: np.array([function(q, i) for q, i in pairs], dtype=np.float32), fingerprint)


def from_matrix(matrix: ArrayLike, queries: Sequence[Hashable] | None = None, items: Sequence[Hashable] | None = None) -> Adapter:
    """Replay a stored score matrix.

    Args:
        matrix: (Q, N) scores.
        queries, items: what rows and columns stand for; row and column numbers when None.

    Raises:
        KeyError: at a call, naming a query or item that the matrix does not hold.

    Example:
        >>> scorer = from_matrix([[1.0, 2.0], [3.0, 4.0]], items=["a", "b"])
        >>> scorer([(1, "a")])
        array([3.], dtype=float32)
    """
    scores = np.array(matrix)  # a copy: the caller may change theirs
    if scores.ndim != 2:
        raise ValueError(f"matrix: shape {scores.shape} is not (queries, items)")
    rows = None if queries is None else _places(queries, scores.shape[0], "queries")
    columns = None if items is None else _places(items, scores.shape[1], "items")

    def replay(pairs: Sequence[Pair]) -> NDArray[np.float32]:
        at_q = [p[0] if rows is None else rows[p[0]] for p in pairs]
        at_i = [p[1] if columns is None else columns[p[1]] for p in pairs]
        return np.asarray(scores[np.asarray(at_q, int), np.asarray(at_i, int)], dtype=np.float32)

    labels = (repr(None if rows is None else list(rows)), repr(None if columns is None else list(columns)))
    return Adapter(replay, _digest("matrix", scores.tobytes(), str(scores.shape), *labels))


def _places(labels: Sequence[Hashable], size: int, argument: str) -> dict[Hashable, int]:
    places = {label: i for i, label in enumerate(labels)}
    if len(places) != size or len(labels) != size:
        raise ValueError(f"{argument}: {len(labels)} labels, {len(places)} of them different, for {size} of the matrix")
    return places


def from_cross_encoder(ce: Any, **predict_kw: Any) -> Adapter:
    """A scorer from a sentence-transformers `CrossEncoder` (or anything with such a `predict(pairs, ...)`).

    Its `predict` sorts pairs by length itself; the index only drops repeated pairs.

    Args:
        ce: the model; must give one number a pair (`num_labels=1`).
        predict_kw: passed to `predict`, such as `batch_size=64`.
    """
    if not callable(getattr(ce, "predict", None)):
        raise TypeError(f"ce: {type(ce).__name__} has no predict(pairs)")
    labels = getattr(ce, "num_labels", 1)
    if labels != 1:
        raise ValueError(f"ce: it gives {labels} numbers a pair, one is needed")
    options = {"show_progress_bar": False, **predict_kw} if hasattr(ce, "config") else predict_kw

    def predict(pairs: Sequence[Pair]) -> ArrayLike:
        return np.asarray(ce.predict([tuple(p) for p in pairs], **options), dtype=np.float32)

    return Adapter(predict, _digest("cross-encoder", type(ce).__qualname__, _weights_digest(ce), repr(sorted(predict_kw.items()))))


def _weights_digest(model: Any) -> str:
    """SHA-256 of a torch module's parameters; of its repr for anything else."""
    module = getattr(model, "model", model)
    if not callable(getattr(module, "state_dict", None)):
        return _digest(repr(type(model)), repr(getattr(model, "__dict__", "")) if not hasattr(model, "fingerprint") else model.fingerprint)
    sha = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        sha.update(name.encode())
        sha.update(np.ascontiguousarray(tensor.detach().float().cpu().numpy()).tobytes())
    return sha.hexdigest()


def from_reranker(reranker: Any, *, name: str | None = None) -> Adapter:
    """A scorer from the `rerankers` package (or anything with `rank(query=, docs=, doc_ids=)` whose results carry `doc_id`, `score`).

    Pairs are grouped by query: one call of `rank` a query. A reranker whose score of a document depends on the others
    in the list is not a function of the pair and does not fit.
    """
    if not callable(getattr(reranker, "rank", None)):
        raise TypeError(f"reranker: {type(reranker).__name__} has no rank(query, docs)")

    def rank(pairs: Sequence[Pair]) -> NDArray[np.float32]:
        scores = np.full(len(pairs), np.nan, np.float32)
        groups: dict[Any, list[int]] = {}
        for i, (query, _) in enumerate(pairs):
            groups.setdefault(query, []).append(i)
        for query, at in groups.items():
            ranked = reranker.rank(query=query, docs=[pairs[i][1] for i in at], doc_ids=list(range(len(at))))
            for result in getattr(ranked, "results", ranked):
                place = getattr(result, "doc_id", None)
                place = result.document.doc_id if place is None else place
                scores[at[int(place)]] = result.score
        return scores

    label = name or str(getattr(reranker, "model_name_or_path", getattr(reranker, "model_name", type(reranker).__qualname__)))
    return Adapter(rank, _digest("reranker", label))


def score_pairs(scorer: PairScorer, pairs: Sequence[Pair], batch: int | None = None) -> NDArray[np.float32]:
    """Score `pairs`, each different pair once, longest texts first within the call.

    Long pairs first means that batches hold pairs of like length (little padding) and memory peaks at once.

    Raises:
        ValueError: when the scorer gives another number of scores, or NaN or infinity: the pair is named.
    """
    if not pairs:
        return np.empty(0, np.float32)
    places: dict[Pair, int] = {}
    inverse = np.fromiter((places.setdefault(p, len(places)) for p in pairs), np.int64, len(pairs))
    different = list(places)
    if isinstance(different[0][0], str) and isinstance(different[0][1], str):
        order = sorted(range(len(different)), key=lambda j: -len(different[j][0]) - len(different[j][1]))
    else:
        order = list(range(len(different)))
    scores = np.empty(len(different), np.float32)
    step = batch or len(order)
    for start in range(0, len(order), step):
        some = order[start : start + step]
        got = np.asarray(scorer([different[j] for j in some]), dtype=np.float32)
        if got.shape != (len(some),):
            raise ValueError(f"scorer: gave shape {got.shape} for {len(some)} pairs, not ({len(some)},)")
        scores[some] = got
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise ValueError(f"scorer: gave {scores[wrong[0]]} for the pair {different[wrong[0]]!r}")
    return scores[inverse]
