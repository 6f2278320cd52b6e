"""groupwise_regret beside its peers: rows a second, measured in turn in one run on one thread.

    python -m benchmarks.groupwise_regret       about three minutes
    PEER_MULTIDECOMP=FOLDER ...                 also beside the authors' code, github.com/krishnacharya/multidecomp at 9d60c2f (no licence)
    PEER_VW=1 ...                               also beside Vowpal Wabbit, in an environment of its own that is made in the cache folder

Peers that take seconds a thousand rows are measured on fewer rows of the same stream; all figures are rows a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
import types
import venv
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from workingpapers.claims import side_by_side
from workingpapers.papers.groupwise_regret import BlumLykouris, GroupwiseRegressor, OnlineRidge, best_in_hindsight, grid_hypotheses
from workingpapers.workloads.adult import Adult
from workingpapers.workloads.archives import cache_folder
from workingpapers.workloads.grouped import GroupedStream
from workingpapers.workloads.medical_cost import MedicalCosts
from workingpapers.workloads.synthetic_groups import SyntheticGroups

RECORDED = {"multidecomp": "recorded 2026-11-25 at 9d60c2f: 40x, 43x, 29x", "vw": "recorded 2026-11-25: 0.5x"}
VW = "vowpalwabbit==9.11.9"


def row(what: str, ours: float, theirs: float | None, wanted: str = "", note: str = "") -> None:
    if theirs is None:
        print(f"{what:<66} {ours:>12,.0f} {'not here':>12} {'':>9}  {wanted:<14} {note}", flush=True)
    else:
        print(f"{what:<66} {ours:>12,.0f} {theirs:>12,.0f} {ours / theirs:>8.1f}x  {wanted:<14} {note}", flush=True)


def model(stream: GroupedStream, base: Any = OnlineRidge) -> GroupwiseRegressor:
    return GroupwiseRegressor(base, list(stream.groups), always_on=False, y_range=(0, 1), track=False)


def run(stream: GroupedStream, base: Any = OnlineRidge) -> None:
    model(stream, base).run(stream.X, stream.y, stream.A)


def rows_a_second(contenders: dict[str, tuple[Callable[[], object], int]], repeats: int = 3) -> dict[str, float]:
    timings = side_by_side({name: call for name, (call, _) in contenders.items()}, repeats=repeats)
    return {name: contenders[name][1] / timings[name].median for name in contenders}


# ---------------------------------------------------------------- the authors' code


def authors() -> Any:
    """The authors' `Anh` and `ORidge` from a folder of the user's; None without one."""
    folder = os.environ.get("PEER_MULTIDECOMP")
    if not folder:
        return None
    sys.path.insert(0, str(Path(folder)))
    # Their modules import plotting helpers that are not needed here.
    for name in ("matplotlib", "matplotlib.pyplot"):
        sys.modules.setdefault(name, types.ModuleType(name))
    import bilevel.Anh as anh
    import bilevel.ORidge as oridge

    return anh, oridge


def their_loop(peer: Any, stream: GroupedStream) -> None:
    anh, oridge = peer
    experts = [oridge.Manual_inv_LinearExpert(stream.X, stream.y, l2_pen=1.0) for _ in stream.groups]
    loop = anh.Adanormal_sleepingexps(stream.A, experts)
    for t in range(len(stream)):
        loop.get_prob_over_experts(t)
        loop.update_metaexps_loss(t)


def beside_the_authors() -> None:
    peer = authors()
    for name, stream, rows in (("census, 13 groups, 96 features", Adult().load(np.random.default_rng(0)), 2_000),
                               ("made, 6 groups, 25 features", SyntheticGroups("mean", 20_000).load(np.random.default_rng(0)), 5_000),
                               ("medical, 12 groups, 18 features", MedicalCosts().load(np.random.default_rng(0)), 1_338)):
        stream = stream.shuffled(0)
        short = stream.take(np.arange(rows))
        contenders: dict[str, tuple[Callable[[], object], int]] = {"ours": (lambda s=stream: run(s), len(stream))}
        if peer is not None:
            contenders["theirs"] = (lambda s=short: their_loop(peer, s), rows)
        found = rows_a_second(contenders)
        row(f"run, {name}, beside the authors' loop", found["ours"], found.get("theirs"), "wanted: 25x",
            "" if peer else RECORDED["multidecomp"])


# ---------------------------------------------------------------- river and scikit-learn


def river_groups(stream: GroupedStream) -> None:
    """One river model a group, each fed with its members, all asked: the same work without the mixture."""
    from river import linear_model

    models: list[Any] = [linear_model.BayesianLinearRegression() for _ in stream.groups]
    for x, y, member in zip(stream.dicts(), stream.y.tolist(), stream.A.astype(bool)):
        for g in np.flatnonzero(member).tolist():
            models[g].predict_one(x)
            models[g].learn_one(x, y)


def our_rows(stream: GroupedStream) -> None:
    """`predict_one` and `learn_one` on each row."""
    ours, names = model(stream), list(stream.groups)
    for x, y, member in zip(stream.dicts(), stream.y.tolist(), stream.A.astype(bool)):
        mine = [names[g] for g in np.flatnonzero(member).tolist()]
        ours.predict_one(x, groups=mine)
        ours.learn_one(x, y, groups=mine)


def river_ewa(stream: GroupedStream) -> None:
    """river's EWARegressor over as many models as there are groups, all awake in every row."""
    from river import ensemble, linear_model

    ewa: Any = ensemble.EWARegressor([linear_model.BayesianLinearRegression() for _ in stream.groups])
    for x, y in zip(stream.dicts(), stream.y.tolist()):
        ewa.predict_one(x)
        ewa.learn_one(x, y)


def sklearn_rows(stream: GroupedStream) -> None:
    """scikit-learn's SGDRegressor, one model, a row at a time: a first-order method for comparison."""
    from sklearn.linear_model import SGDRegressor

    sgd = SGDRegressor()
    sgd.partial_fit(stream.X[:1], stream.y[:1])
    for t in range(1, len(stream)):
        sgd.predict(stream.X[t : t + 1])
        sgd.partial_fit(stream.X[t : t + 1], stream.y[t : t + 1])


def beside_river() -> None:
    for name, stream, rows in (("census", Adult().load(np.random.default_rng(0)), 1_000),
                               ("medical", MedicalCosts().load(np.random.default_rng(0)), 1_338)):
        stream = stream.shuffled(0)
        short = stream.take(np.arange(rows))
        found = rows_a_second({"run": (lambda s=stream: run(s), len(stream)), "rows": (lambda s=short: our_rows(s), rows),
                               "river": (lambda s=short: river_groups(s), rows), "ewa": (lambda s=short: river_ewa(s), rows),
                               "sklearn": (lambda s=short: sklearn_rows(s), rows)})
        row(f"run, {name}, beside a river Bayesian regression a group", found["run"], found["river"], "wanted: 10x")
        row(f"  predict_one + learn_one beside the same, {name}", found["rows"], found["river"], "wanted: 0.5x")
        row(f"  run beside river's EWARegressor, {name}", found["run"], found["ewa"])
        row(f"  run beside one scikit-learn SGDRegressor, {name}", found["run"], found["sklearn"])


def learn_one_alone() -> None:
    """`learn_one` with all groups awake beside G updates of river models."""
    from river import linear_model

    stream = MedicalCosts().load(np.random.default_rng(0)).shuffled(0).take(np.arange(500))
    names, dicts, labels = list(stream.groups), stream.dicts(), stream.y.tolist()

    def ours() -> None:
        grouped = model(stream)
        for x, y in zip(dicts, labels):
            grouped.learn_one(x, y, groups=names)

    def theirs() -> None:
        models: list[Any] = [linear_model.BayesianLinearRegression() for _ in names]
        for x, y in zip(dicts, labels):
            for single in models:
                single.learn_one(x, y)

    found = rows_a_second({"ours": (ours, 500), "theirs": (theirs, 500)})
    row("learn_one, 12 groups awake, beside 12 river updates", found["ours"], found["theirs"], "wanted: 0.5x")


# ---------------------------------------------------------------- other comparisons


def beside_every_pair() -> None:
    stream = SyntheticGroups("mean", 2_000, dim=2).load(np.random.default_rng(0))
    stream = GroupedStream(stream.X[:, :2], stream.y, stream.A, stream.groups, stream.features[:2], stream.name)
    for per_axis in (10, 40):
        grid = grid_hypotheses(2, per_axis)
        found = rows_a_second({"ours": (lambda: run(stream), 2_000), "theirs": (
            lambda g=grid: BlumLykouris(g, list(stream.groups), always_on=False, y_range=(0, 1)).run(stream.X, stream.y, stream.A), 2_000)})
        row(f"run, 2 features, beside {per_axis**2:,} models x 6 groups", found["ours"], found["theirs"])


def hindsight() -> None:
    """100 prefixes of a group: growing factors beside a refit at each."""
    from scipy.linalg import lstsq

    stream = Adult().load(np.random.default_rng(0)).shuffled(0).take(np.arange(5_000))
    A = stream.A[:, -1:]

    def refit() -> None:
        for n in np.linspace(50, 5_000, 100).astype(int):
            theta = lstsq(stream.X[:n], stream.y[:n])[0]
            np.square(stream.X[:n] @ theta - stream.y[:n]).sum()

    found = rows_a_second({"ours": (lambda: best_in_hindsight(stream.X, stream.y, A), 5_000), "theirs": (refit, 5_000)})
    row("best_in_hindsight, 5,000 rows, 96 features, 100 prefixes / refits", found["ours"], found["theirs"])


def memory() -> None:
    stream = Adult().load(np.random.default_rng(0)).take(np.arange(2_000))
    grouped = model(stream)
    tracemalloc.start()
    grouped.run(stream.X, stream.y, stream.A)
    held = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    G, d = stream.A.shape[1], stream.X.shape[1]
    print(f"memory held, {G} groups, {d} features: {held:.2f} MB, of which the matrices of the learners {8 * G * d * d / 1e6:.2f} MB")


# ---------------------------------------------------------------- Vowpal Wabbit, in its own environment


VW_SCRIPT = """
import sys, time, numpy as np
from vowpalwabbit import Workspace
data = np.load(sys.argv[1])
X, y, A = data["X"], data["y"], data["A"]
lines = []
for x, label, a in zip(X, y, A):
    features = " ".join(f"{j}:{v:.6g}" for j, v in enumerate(x) if v)
    groups = " ".join(f"g{g}" for g in np.flatnonzero(a))
    lines.append(f"{label} |f {features} |g {groups}")
best = 0.0
for _ in range(3):
    vw = Workspace("--quiet -q gf --loss_function squared")
    start = time.perf_counter()
    for line in lines:
        vw.learn(line)  # predicts first, and keeps what it predicted
    best = max(best, len(y) / (time.perf_counter() - start))
    vw.finish()
print(best)
"""


def beside_vw() -> None:
    stream = Adult().load(np.random.default_rng(0)).shuffled(0).take(np.arange(20_000))
    found = rows_a_second({"ours": (lambda: run(stream), 20_000)})
    if os.environ.get("PEER_VW") != "1":
        row("run, census, beside Vowpal Wabbit, features x groups", found["ours"], None, note=RECORDED["vw"])
        return
    folder = cache_folder() / "peers" / "vw"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", VW, "numpy"], check=True)
    path = folder / "stream.npz"
    np.savez(path, X=stream.X, y=stream.y, A=stream.A)
    told = subprocess.run([str(python), "-c", VW_SCRIPT, str(path)], check=True, capture_output=True, text=True).stdout
    row("run, census, beside Vowpal Wabbit, features x groups", found["ours"], float(told.split()[-1]))


def main() -> None:
    warnings.filterwarnings("ignore", "a loss of")  # ridge predictions are not clipped, as in the authors' code
    print(f"{'':<66} {'ours':>12} {'theirs':>12} {'ratio':>9}   rows a second, one thread")
    for part in (beside_the_authors, beside_river, learn_one_alone, beside_every_pair, hindsight, beside_vw, memory):
        part()


if __name__ == "__main__":
    main()
