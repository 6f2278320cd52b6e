"""topo beside its peers: ratios of time and memory, measured in turn in one run on one thread, and how near ends lie to the true order.

    python -m benchmarks.topo            about two minutes
    PEER_TOPO=FOLDER ...                 also beside github.com/Duntrain/TOPO at dd90738 (no licence: nothing of it is kept here)
    PEER_NOTEARS=FOLDER ...              also beside github.com/xunzheng/notears at 4a9ab19

dagma comes from PyPI into an environment of its own, without the packages that its linear part does not use.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks._measure import processor_seconds
from benchmarks._peers import environment, peer
from workingpapers.claims import side_by_side
from workingpapers.papers.topo import TOPO, dagma, notears, order_score, simulate, swap_deltas, topological_order
from workingpapers.papers.topo import _kernel as kernel

RECORDED = {
    "topo": "recorded 2026-11-25 at dd90738: 121 x at 10 variables, 987 x at 20, the same losses",
    "notears": "recorded 2026-11-25 at 4a9ab19: 4.0 x at 10 variables, 3.0 x at 20, on a busy machine",
}
DAGMA = """
import numpy as np
from dagma.linear import DagmaLinear
X = np.load(sys.argv[1])
def turn():
    return DagmaLinear("l2").fit(X.copy(), lambda1=0.03, w_threshold=0.0).tolist()
"""


def row(what: str, ours: str, theirs: str, ratio: str, wanted: str = "") -> None:
    print(f"{what:<66} {ours:>12} {theirs:>12} {ratio:>10}  {wanted}", flush=True)


def gram(X: Any) -> Any:
    X = X - X.mean(axis=0)
    return X.T @ X / len(X)


def in_turn(*calls: Callable[[], object], repeats: int = 3) -> list[float]:
    """Median processor seconds of each call, run in turn after one run that counts for nothing."""
    for call in calls:
        call()
    return [float(np.median(x)) for x in zip(*([processor_seconds(call) for call in calls] for _ in range(repeats)))]


# ---------------------------------------------------------------- scoring swaps


def regressions(X: Any, order: Any, a: int, b: int) -> float:
    """Change of the score by regressing the variables between again, as the released code scores one candidate."""
    new, change = order.copy(), 0.0
    new[a], new[b] = order[b], order[a]
    for which, sign in ((new, 1.0), (order, -1.0)):
        for k in range(a, b + 1):
            left = X[:, which[k]]
            if k:
                left = left - X[:, which[:k]] @ np.linalg.lstsq(X[:, which[:k]], left, rcond=None)[0]
            change += sign * float(left @ left) / (2 * len(X))
    return change


def swaps() -> None:
    for d in (20, 50, 100):
        X = simulate(d, 4 * d, rng=d).X
        X, S = X - X.mean(axis=0), gram(X)
        order = np.random.default_rng(0).permutation(d)
        a, b = np.triu_indices(d, 1)
        pairs = np.column_stack([order[a], order[b]])
        exchanged = np.tile(order, (len(a), 1))
        exchanged[np.arange(len(a)), a], exchanged[np.arange(len(a)), b] = order[b], order[a]
        some = np.random.default_rng(1).choice(len(a), size=min(len(a), 400 // d), replace=False)
        ours, full, part = in_turn(partial(swap_deltas, S, order, pairs), partial(kernel.scores, S, exchanged),
                                   lambda X=X, o=order, a=a, b=b, s=some: [regressions(X, o, int(a[k]), int(b[k])) for k in s])
        each = part * len(a) / len(some)
        deltas = swap_deltas(S, order, pairs)
        apart = max(abs(deltas[k] - regressions(X, order, int(a[k]), int(b[k]))) for k in some) / order_score(S, order)
        row(f"all {len(a):,} swaps of {d} variables / a factorisation each", f"{ours * 1e3:.2f} ms", f"{full * 1e3:.1f} ms",
            f"{full / ours:.0f} x", "wanted at 100: 3 x")
        row(f"  / regressions for each ({len(some)} timed), n = 1,000; differ by {apart:.0e}", f"{ours * 1e3:.2f} ms", f"{each:.2f} s",
            f"{each / ours:,.0f} x", "wanted at 20: 300 x")


# ---------------------------------------------------------------- whole fits


def fits() -> None:
    for d in (20, 50, 100):
        near, near_paper, took, over, over_paper = 0, 0, [], [], []
        for seed in range(10):
            made = simulate(d, 4 * d, rng=seed)
            true = order_score(gram(made.X), topological_order(made.B))
            found = TOPO(random_state=seed)
            took.append(processor_seconds(lambda found=found, X=made.X: found.fit(X)))
            paper = TOPO(preset="paper", random_state=seed).fit(made.X)
            over.append(found.score_ / true)
            over_paper.append(paper.score_ / true)
            near, near_paper = near + (over[-1] <= 1.001), near_paper + (over_paper[-1] <= 1.001)
        row(f"ER4, {d} variables: fit, median and slowest of 10 seeds", f"{np.median(took):.3f} s", f"{max(took):.3f} s", "",
            "wanted at 100: under 5 s")
        row("  within 0.1 % of the true order: all pairs / published sizes", f"{near} of 10", f"{near_paper} of 10", "",
            "wanted at 100: 9 of 10")
        row("  median of score over the true order's", f"{np.median(over):.4f}", f"{np.median(over_paper):.4f}", "")
    X = simulate(100, 400, rng=0).X
    tracemalloc.start()
    TOPO(random_state=0).fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    row("peak memory of a fit, 100 variables, 1,000 samples (X itself: 0.8 MB)", f"{peak / 1e6:.1f} MB", "", "")


# ---------------------------------------------------------------- peers


def dagma_package() -> None:
    import tempfile

    python = environment("dagma", ["numpy", "scipy", "tqdm", "dagma==1.1.1", "--no-deps"], constrained=("numpy", "scipy", "tqdm"))
    for d, edges in ((10, 40), (20, 80)):
        X = simulate(d, edges, rng=d).X
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "X.npy"
            np.save(path, X)
            with peer(python, DAGMA, str(path)) as turn:
                answers: dict[str, Any] = {}
                timings = side_by_side({"ours": lambda X=X, a=answers: a.update(ours=dagma(X, w_threshold=0.0)),
                                        "theirs": lambda t=turn, a=answers: a.update(theirs=np.array(t())),
                                        "topo": lambda X=X: TOPO(random_state=0).fit(X)}, repeats=3)
        kept = answers["ours"] != 0
        apart = float(np.abs(answers["ours"] - answers["theirs"])[kept].max())
        ours, theirs, topo = (timings[k].median for k in ("ours", "theirs", "topo"))
        row(f"DAGMA, {d} variables: ours / the package; weights differ by {apart:.0e}", f"{ours:.2f} s", f"{theirs:.2f} s",
            f"{theirs / ours:.1f} x")
        row("  TOPO / the package", f"{topo * 1e3:.1f} ms", f"{theirs:.2f} s", f"{theirs / topo:,.0f} x")


def notears_source() -> None:
    folder = os.environ.get("PEER_NOTEARS")
    if not folder:
        row("NOTEARS / its source", "", "not here", "", RECORDED.get("notears", ""))
        return
    theirs_module = load("peer_notears_linear", Path(folder).expanduser() / "notears" / "linear.py")
    for d, edges in ((10, 20), (20, 20)):
        X = simulate(d, edges, rng=d).X
        answers: dict[str, Any] = {}
        timings = side_by_side({"ours": lambda X=X, a=answers: a.update(ours=notears(X)),
                                "theirs": lambda X=X, a=answers: a.update(theirs=theirs_module.notears_linear(X, 0.1, "l2"))}, repeats=3)
        apart = float(np.abs(answers["ours"] - answers["theirs"]).max())
        row(f"NOTEARS, {d} variables: ours / its source; weights differ by {apart:.0e}", f"{timings['ours'].median:.2f} s",
            f"{timings['theirs'].median:.2f} s", f"{timings['theirs'].median / timings['ours'].median:.1f} x")


def authors() -> None:
    folder = os.environ.get("PEER_TOPO")
    if not folder:
        row("TOPO / the authors' code", "", "not here", "", RECORDED.get("topo", ""))
        return
    from sklearn.linear_model import LinearRegression

    root = Path(folder).expanduser()
    sys.modules["topo_utils"] = load("topo_utils", root / "Topo_utils.py")  # the import is spelt otherwise than the file
    module = load("peer_topo_linear", root / "Topo_linear.py")

    def regress(X: Any, y: Any) -> Any:
        return LinearRegression(fit_intercept=False).fit(X, y).coef_  # as in the released example

    def score(X: Any, W: Any) -> Any:
        R = X - X @ W
        return 0.5 / len(X) * (R**2).sum(), -X.T @ R / len(X)

    for d, small, large in ((10, 20, 45), (20, 100, 190)):
        X = simulate(d, 4 * d if d > 10 else 40, rng=d).X
        X = X - X.mean(axis=0)
        module.X = X  # its first fit reads a global of this name
        start, answers = np.random.default_rng(d).permutation(d), {}

        def theirs(X: Any = X, s: Any = start, sizes: Any = (small, large), a: Any = answers) -> None:
            a["theirs"] = module.TOPO_linear(score=score, regress=regress).fit(X, [int(v) for v in s], 1, *sizes)[3]

        def ours(X: Any = X, s: Any = start, sizes: Any = (small, large), a: Any = answers) -> None:
            a["ours"] = TOPO(init=s, size_small=sizes[0], size_large=sizes[1], no_large_search=1).fit(X).score_

        ours()
        mine, peers = processor_seconds(ours), processor_seconds(theirs)
        row(f"TOPO, {d} variables, same start and sizes: losses {answers['ours']:.10f}, {answers['theirs']:.10f}", f"{mine * 1e3:.1f} ms",
            f"{peers:.1f} s", f"{peers / mine:,.0f} x", "wanted at 20: 300 x")


def load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    row("what", "ours", "theirs", "ratio")
    with threadpool_limits(limits=1):
        swaps()
        fits()
        dagma_package()
        notears_source()
        authors()


if __name__ == "__main__":
    main()
