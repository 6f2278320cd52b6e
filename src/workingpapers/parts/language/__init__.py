"""Language models that several papers and the hub's search build on.

Importing this loads neither torch nor onnxruntime; `load_embedder` loads the one it needs.

>>> embedder = load_embedder()
>>> vectors = embedder.encode(["a cat sits on the mat", "a kitten on a rug", "stock prices fell"])
>>> vectors.shape, bool(vectors[0] @ vectors[1] > vectors[0] @ vectors[2])
((3, 384), True)
"""

from .embedder import CachedEmbedder, Embedder, ModelMissing, OnnxMiniLM, TorchMiniLM, load_embedder, minilm_folder
from .tokens import load_tokenizer
from .vector_cache import VectorCache

__all__ = [
    "CachedEmbedder", "Embedder", "ModelMissing", "OnnxMiniLM", "TorchMiniLM", "VectorCache", "load_embedder", "load_tokenizer",
    "minilm_folder",
]
