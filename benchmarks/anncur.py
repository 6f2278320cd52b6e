"""anncur beside its peers and its bars: search overhead, the official evaluation loop, batching of model calls.

    python -m benchmarks.anncur             about three minutes
    PEER_ANNCUR=FOLDER ...                  also beside github.com/iesl/anncur at d929a7c

rerankers 0.10 is measured in an environment of its own, made in the cache folder: it was written for an older transformers.

The official code needs a GPU dump, wandb and IPython to run whole; its evaluation function is taken from its file and run as it stands.
"""

from __future__ import annotations

import ast
import json
import os
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from workingpapers.claims import side_by_side
from workingpapers.papers.anncur import CURIndex, from_callable, from_cross_encoder, replay
from workingpapers.papers.anncur.scorers import score_pairs
from workingpapers.papers.anncur.solver import Basis, item_embeddings

from ._peers import environment, peer

RECORDED = "not here (recorded 2026-11-23 at d929a7c: {ratio})"


def row(what: str, ours: str, other: str, ratio: str, wanted: str = "") -> None:
    print(f"{what:<64} {ours:>12} {other:>14} {ratio:>10}  {wanted}", flush=True)


def big_index(n: int = 100_000, n_q: int = 500, seed: int = 0) -> tuple[CURIndex, np.ndarray]:
    """An index of low rank and noise, and the scores of 64 new queries."""
    rng = np.random.default_rng(seed)
    items = rng.normal(size=(40, n)).astype(np.float32)
    M = rng.normal(size=(n_q + 64, 40)).astype(np.float32) @ items
    M += rng.normal(size=M.shape).astype(np.float32)
    new = M[n_q:]

    def score(pairs: Any) -> np.ndarray:
        at = np.array(pairs)
        return new[at[:, 0] - n_q, at[:, 1]]

    index = CURIndex(from_callable(score, name="replay"), n_anchor_queries=None, ridge=1e-3)
    return index.fit(range(n), range(n_q), scores=M[:n_q]), new


def overhead() -> None:
    index, _ = big_index()
    queries = list(range(500, 564))
    one = [500]

    def one_shot(asked: list[int]) -> Callable[[], object]:
        return lambda: index.search(asked, k=10, budget=400, split=0.5)

    def rounds(asked: list[int]) -> Callable[[], object]:
        return lambda: index.search(asked, k=10, budget=200, rounds=5)

    t = side_by_side(
        {"one": one_shot(one), "rounds": rounds(one), "batch": one_shot(queries), "batch rounds": rounds(queries)},
        repeats=5,
        threads=2,
    )
    ms = {name: 1e3 * timing.median / (64 if "batch" in name else 1) for name, timing in t.items()}
    row("one shot, N=100k, k_i=200, n_q=500, replay included", f"{ms['one']:.1f} ms", "", "", "<= 10 ms")
    row("5 rounds, the same, 200 calls", f"{ms['rounds']:.1f} ms", "", "", "<= 60 ms")
    ratio = ms["one"] / ms["batch"]
    row("one shot, 64 queries at once, a query", f"{ms['batch']:.2f} ms", f"{ms['one']:.1f} ms", f"{ratio:.1f} x", ">= 5 x")
    ratio = ms["rounds"] / ms["batch rounds"]
    row("5 rounds, 64 queries at once, a query", f"{ms['batch rounds']:.2f} ms", f"{ms['rounds']:.1f} ms", f"{ratio:.1f} x")
    if t.noisy:
        print(f"  noisy: {t.why}")
    for name, call, bar in (("one shot", one_shot(one), "<= 10 ms"), ("5 rounds", rounds(one), "<= 60 ms")):
        row(f"{name}, processor time on one thread (whatever else runs here)", f"{processor_ms(call):.1f} ms", "", "", bar)
    tracemalloc.start()
    basis = Basis.of(index.S_, True)
    item_embeddings(basis, np.arange(0, 100_000, 500), 1e-3)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    row("memory beyond the scores to make E (80 MB itself)", f"{peak:.0f} MB", "", "", "no N-sized SVD")


def processor_ms(call: Callable[[], object], repeats: int = 7) -> float:
    """Median milliseconds of processor time of a call on one thread."""
    took = []
    with threadpool_limits(limits=1):
        for _ in range(repeats + 1):
            start = time.process_time()
            call()
            took.append(time.process_time() - start)
    return 1e3 * statistics.median(took[1:])


def official_evaluation(folder: Path) -> Callable[..., Any]:
    """The official `eval_approx_score_mat_for_all_topk`, out of its file, with what it calls."""
    import torch

    script = "eval/run_retrieval_eval_wrt_exact_crossenc_w_fixed_train_test_splits.py"
    wanted = {
        script: {"_get_indices_scores", "eval_approx_score_mat_for_all_topk"},
        "eval/eval_utils.py": {"compute_overlap", "_compute_overlap_helper"},
    }
    space: dict[str, Any] = {"torch": torch, "np": np}
    for name, functions in wanted.items():
        tree = ast.parse((folder / name).read_text(encoding="utf-8"))
        kept = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in functions]
        exec(compile(ast.Module(kept, []), name, "exec"), space)
    function: Callable[..., Any] = space["eval_approx_score_mat_for_all_topk"]
    return function


def evaluation() -> None:
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(200, 10_000)).astype(np.float32)
    approx = exact + 0.5 * rng.normal(size=exact.shape).astype(np.float32)
    ks, limits = (1, 10, 50, 100), (1, 10, 50, 100, 200, 500, 1000)  # the official base grid
    what = "recall at 4 k x 7 rerank sizes, 200 queries x 10,000 items"
    folder = os.environ.get("PEER_ANNCUR")
    if not folder:
        row(what, "", "", "", RECORDED.format(ratio="23.6 times the time of ours, interval 16 to 35"))
        return
    import torch

    official = official_evaluation(Path(folder))
    a, b = torch.from_numpy(exact), torch.from_numpy(approx)

    def theirs() -> list[Any]:
        return [official(a, b, list(ks), limit) for limit in limits]

    ours_grid, theirs_grid = replay(exact, approx, ks, limits), theirs()
    for r in range(len(limits)):
        for c, k in ((c, k) for c, k in enumerate(ks) if k <= limits[r]):
            assert abs(theirs_grid[r][k]["exact_vs_reranked_approx_retvr~common_frac_mean"] - ours_grid[r, c]) < 1e-4
    cell = {"ours": lambda: replay(exact, approx, ks, limits[4:5]), "official": lambda: official(a, b, list(ks), limits[4])}
    one = side_by_side(cell, repeats=5)
    t = side_by_side({"ours": lambda: replay(exact, approx, ks, limits), "official": theirs}, repeats=5)
    for name, timed, wanted in ((what, t, ">= 20 x"), ("the same, one rerank size", one, "")):
        ratio = timed.ratio("official", "ours")
        row(name, f"{1e3 * timed['ours'].median:.0f} ms", f"{1e3 * timed['official'].median:.0f} ms", f"{ratio.estimate:.1f} x",
            f"{wanted} [{ratio.lo:.1f}, {ratio.hi:.1f}], equal to 4 digits")


def model_calls() -> None:
    from importlib.resources import files

    import torch

    from workingpapers.papers.anncur.sense_encoder import load_trained, score_grid
    from workingpapers.papers.anncur.senses import texts

    model = load_trained(Path(str(files("workingpapers.papers.anncur") / "data")))
    queries, items, _ = texts()
    q_states, i_states = model.states(queries[:60], item=False), model.states(items[:200], item=True)
    rng = np.random.default_rng(0)
    q, i = torch.from_numpy(rng.integers(60, size=1500)), torch.from_numpy(rng.integers(200, size=1500))

    def unsorted() -> None:
        with torch.inference_mode():
            for start in range(0, len(q), 128):
                model(q_states, i_states, q[start : start + 128], i[start : start + 128], ("cls",))

    t = side_by_side({"sorted": lambda: score_grid(model, q_states, i_states, q, i, ("cls",)), "unsorted": unsorted}, repeats=5)
    ratio = t.ratio("unsorted", "sorted")
    row("1,500 model calls, batches by length against as they come", f"{1500 / t['sorted'].median:.0f} /s",
        f"{1500 / t['unsorted'].median:.0f} /s", f"{ratio.estimate:.2f} x", ">= 1.5 x")


RERANKERS = ["torch", "transformers==4.57.3", "sentencepiece", "protobuf", "numpy", "rerankers==0.10.0"]
RERANK = """
import torch
torch.set_num_threads(1)
from rerankers import Reranker
folder, told = sys.argv[1:]
ranker = Reranker(folder, model_type="cross-encoder", device="cpu", batch_size=32, verbose=0)
lists = json.load(open(told, encoding="utf-8"))
def turn():
    found = [ranker.rank(query=query, docs=docs, doc_ids=list(range(len(docs)))) for query, docs in lists]
    return [[r.score for r in sorted(one.results, key=lambda r: r.document.doc_id)] for one in found]
"""


def rerank_plumbing() -> None:
    """The same cross-encoder over the same pairs: 4 queries with 50 glosses each, through us and through the peers' plumbing."""
    import torch

    from workingpapers.papers.anncur.senses import texts
    from workingpapers.parts.language import minilm_folder
    from workingpapers.parts.vision import ensure_torchvision

    ensure_torchvision()  # transformers imports it where it is installed
    from sentence_transformers import CrossEncoder

    torch.manual_seed(0)  # the head is drawn: speed and agreement are asked for here, not quality
    model = CrossEncoder(str(minilm_folder()), num_labels=1, device="cpu")
    queries, items, _ = texts()
    rng = np.random.default_rng(0)
    lists = [(queries[q], [items[i] for i in rng.choice(len(items), 50, replace=False)]) for q in range(4)]
    pairs = [(query, item) for query, docs in lists for item in docs]
    options = {"batch_size": 32, "activation_fn": torch.nn.Identity()}
    scorer = from_cross_encoder(model, **options)

    def by_rank() -> list[list[float]]:
        ranked = [model.rank(query, docs, show_progress_bar=False, **options) for query, docs in lists]
        return [[float(r["score"]) for r in sorted(one, key=lambda r: r["corpus_id"])] for one in ranked]

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        told = Path(folder) / "lists.json"
        told.write_text(json.dumps(lists), encoding="utf-8")
        with peer(environment("rerankers", RERANKERS), RERANK, folder, str(told)) as rerankers:
            ours = score_pairs(scorer, pairs)
            for name, theirs in (("sentence-transformers", by_rank()), ("rerankers", rerankers())):
                assert np.allclose(np.concatenate(theirs), ours, atol=1e-4), name
            contenders = {"ours": lambda: score_pairs(scorer, pairs), "sentence-transformers": by_rank, "rerankers": rerankers}
            t = side_by_side(contenders, repeats=5)
    for name in ("sentence-transformers", "rerankers"):
        ratio = t.ratio(name, "ours")
        row(f"reranking 4 x 50 glosses, {name}", f"{200 / t['ours'].median:.0f} /s", f"{200 / t[name].median:.0f} /s",
            f"{ratio.estimate:.2f} x", f"[{ratio.lo:.2f}, {ratio.hi:.2f}], equal scores")


def main() -> None:
    row("", "ours", "other", "ratio", "bar")
    overhead()
    evaluation()
    model_calls()
    rerank_plumbing()


if __name__ == "__main__":
    main()
