"""Adapters: real libraries on the other side where one is installed, a scripted server for the endpoint."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from workingpapers.papers.anncur import (
    CURIndex,
    PairScorer,
    from_callable,
    from_cross_encoder,
    from_llm,
    from_matrix,
    from_reranker,
    recall_at_k,
)
from workingpapers.papers.anncur.scorers import fingerprint_of, score_pairs


def test_each_different_pair_is_scored_once_and_long_ones_first() -> None:
    seen: list[tuple[str, str]] = []

    def scorer(pairs: Any) -> list[float]:
        seen.extend(pairs)
        return [float(len(i)) for _, i in pairs]

    pairs = [("q", "a"), ("q", "long"), ("q", "a"), ("r", "a")]
    assert score_pairs(scorer, pairs).tolist() == [1.0, 4.0, 1.0, 1.0]  # type: ignore[arg-type]
    assert sorted(seen) == sorted(set(pairs))
    assert seen[0] == ("q", "long")
    assert score_pairs(scorer, pairs, batch=1).tolist() == [1.0, 4.0, 1.0, 1.0]  # type: ignore[arg-type]
    assert score_pairs(scorer, []).shape == (0,)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_names_its_pair(bad: float) -> None:
    with pytest.raises(ValueError, match=r"\('q', 'bad'\)"):
        score_pairs(lambda pairs: np.array([bad if i == "bad" else 0.0 for _, i in pairs]), [("q", "a"), ("q", "bad")])


def test_matrices_replay_by_number_and_by_label() -> None:
    M = np.arange(6.0).reshape(2, 3)
    assert from_matrix(M)([(1, 2), (0, 0)]).tolist() == [5.0, 0.0]
    named = from_matrix(M, queries=["x", "y"], items=["a", "b", "c"])
    assert named([("y", "b")]).tolist() == [4.0]
    assert isinstance(named, PairScorer)
    with pytest.raises(KeyError):
        named([("z", "b")])
    with pytest.raises(ValueError, match="items"):
        from_matrix(M, items=["a", "a", "b"])
    with pytest.raises(ValueError, match="matrix"):
        from_matrix([1.0, 2.0])


def test_fingerprints_tell_scorers_apart() -> None:
    def one(pairs: Any) -> list[float]:
        return [1.0] * len(pairs)

    def two(pairs: Any) -> list[float]:
        return [2.0] * len(pairs)

    M = np.eye(3)
    prints = [fingerprint_of(s) for s in (one, two, from_matrix(M), from_matrix(2 * M), from_callable(one, name="n"), from_callable(one))]
    assert len(set(prints)) == 5  # a function and its wrapper are the same scorer
    assert fingerprint_of(from_matrix(M)) == fingerprint_of(from_matrix(M.copy()))
    with pytest.raises(ValueError, match="from_callable"):
        fingerprint_of(SimpleNamespace())
    with pytest.raises(TypeError, match="function"):
        from_callable(3)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real sentence-transformers CrossEncoder with random weights and MiniLM's tokenizer."""
    if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") != "1":
        pytest.importorskip("sentence_transformers")
    import torch

    from workingpapers.parts.vision.ensure import ensure_torchvision

    ensure_torchvision()
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    from workingpapers.parts.language.tokens import TOKENIZER_FILE

    folder = tmp_path_factory.mktemp("cross-encoder")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=30522, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_file=str(TOKENIZER_FILE), pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]", mask_token="[MASK]"
    ).save_pretrained(folder)
    return CrossEncoder(str(folder), device="cpu", max_length=64)


@pytest.mark.slow
@pytest.mark.needs("sentence_transformers")
def test_a_cross_encoder_of_sentence_transformers_is_searched(cross_encoder: Any, tmp_path: Any) -> None:
    words = [
        "run", "walk", "eat", "drink", "sleep", "write", "read", "sing", "dance", "jump",
        "swim", "fly", "drive", "cook", "build", "break", "carry", "throw", "catch", "push",
    ]
    items = [f"{a}: to {a} and {b}" for a in words for b in words[:4]]
    queries = [f"they « {a} » {b}" for a in words for b in ("today", "alone")]
    scorer = from_cross_encoder(cross_encoder, batch_size=32)
    exact = np.array(cross_encoder.predict([(q, i) for q in queries[30:] for i in items], batch_size=32)).reshape(10, -1)
    index = CURIndex(scorer, n_anchor_queries=30).fit(items, queries[:30])
    found = index.search(queries[30:], k=5, budget=30)
    assert found.n_calls.tolist() == [30] * 10
    np.testing.assert_allclose(found.scores, np.take_along_axis(exact, found.indices, 1), atol=1e-5)
    assert recall_at_k(np.round(exact, 5), found.indices, 5).mean() > 2 * 30 / len(items)
    index.save(tmp_path / "i")
    CURIndex.load(tmp_path / "i", from_cross_encoder(cross_encoder, batch_size=32))
    next(cross_encoder.model.parameters()).data += 1.0
    with pytest.raises(ValueError, match="fingerprints differ"):
        CURIndex.load(tmp_path / "i", from_cross_encoder(cross_encoder, batch_size=32))


def test_what_is_no_cross_encoder_is_refused() -> None:
    with pytest.raises(TypeError, match="predict"):
        from_cross_encoder(object())
    with pytest.raises(ValueError, match="3 numbers"):
        from_cross_encoder(SimpleNamespace(predict=lambda pairs: None, num_labels=3))


class _Results(SimpleNamespace):
    pass


class _Reranker:
    """The interface of the `rerankers` package: rank() returns results best first."""

    model_name_or_path = "by-length"

    def rank(self, query: str, docs: list[str], doc_ids: list[int]) -> _Results:
        results = [SimpleNamespace(document=SimpleNamespace(doc_id=i), score=float(len(d))) for i, d in zip(doc_ids, docs)]
        return _Results(results=sorted(results, key=lambda r: -r.score))


def test_a_rerankers_model_is_asked_once_a_query() -> None:
    scorer = from_reranker(_Reranker())
    assert scorer([("q", "aa"), ("r", "b"), ("q", "aaaa")]).tolist() == [2.0, 1.0, 4.0]
    with pytest.raises(TypeError, match="rank"):
        from_reranker(object())


class _Endpoint(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = body["messages"][0]["content"]
        assert body["logprobs"]
        assert body["max_tokens"] == 1
        if "broken" in text:
            answer: dict[str, Any] = {"choices": [{}]}
        else:
            yes = -0.1 if "cat" in text.split("Document:")[1] else -3.0
            listed = [{"token": " Yes", "logprob": yes}, {"token": "yes", "logprob": -9.0}, {"token": "No", "logprob": -1.0}]
            answer = {"choices": [{"logprobs": {"content": [{"top_logprobs": listed}]}}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_language_model_is_asked_for_yes_and_no(endpoint: str) -> None:
    scorer = from_llm(endpoint)
    cat, dog = scorer([("pets {item}", "a cat"), ("pets", "a dog {query}")])
    assert cat == pytest.approx(np.log(np.exp(-0.1) + np.exp(-9.0)) + 1.0, abs=1e-5)
    assert dog == pytest.approx(np.log(np.exp(-3.0) + np.exp(-9.0)) + 1.0, abs=1e-5)
    with pytest.raises(RuntimeError, match="log-probabilities"):
        scorer([("q", "broken")])
    with pytest.raises(RuntimeError, match="failed"):
        from_llm("http://127.0.0.1:9/v1", timeout=2)([("q", "i")])
    with pytest.raises(ValueError, match="endpoint"):
        from_llm("file:///etc/passwd")
    with pytest.raises(ValueError, match="prompt"):
        from_llm(endpoint, prompt="yes or no?")
