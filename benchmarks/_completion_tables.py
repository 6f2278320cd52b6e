"""Ours beside imputers of tables and completers of ratings: error on entries set aside, and processor time, each at a setting of its own.

Every contender chooses among 3 to 6 settings by the error on a further tenth of the entries, as a user would; then all fit the whole
training part, in turn, on one thread, and are asked for the same entries. Predictions of all are held to the range of values seen.
fancyimpute, which needs an older scikit-learn, works in an environment of its own. Its completers expect centred data: row and column means
are taken off before and put back.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from workingpapers.papers.matrix_completion import RobustALSCompleter, simulate_ratings
from workingpapers.papers.matrix_completion._arms import Split, by_means, iterative, neighbours, split_entries
from workingpapers.papers.matrix_completion.claims import Pixels
from workingpapers.workloads.ratings import read_movielens

from ._peers import environment, peer

FANCYIMPUTE = ("fancyimpute==0.7.0", "scikit-learn==1.7.2")  # it passes `force_all_finite`, which scikit-learn 1.8 no longer takes
SLOW = 15.0
"""Seconds above which a contender is timed once."""

Fit = Callable[[Split, Mapping[str, Any]], tuple[Any, float]]


@dataclass(frozen=True)
class Contender:
    """A way to fill the table, and the settings it chooses among.

    Attributes:
        quick: settings that make the choosing shorter and are left out of the fit that counts.
    """

    name: str
    fit: Fit
    settings: Sequence[Mapping[str, Any]] = ({},)
    quick: Mapping[str, Any] = field(default_factory=dict)


def clocked(predict: Callable[[Split, Mapping[str, Any]], Any]) -> Fit:
    """With processor seconds of this process."""
    def fit(data: Split, setting: Mapping[str, Any]) -> tuple[Any, float]:
        start = time.process_time()
        return predict(data, setting), time.process_time() - start

    return fit


# ---------------------------------------------------------------- contenders


def ours(data: Split, setting: Mapping[str, Any]) -> Any:
    model = RobustALSCompleter(scale_reg=True, fit_bias=True, tol=1e-3, max_iter=30, n_jobs=1, random_state=0, **setting).fit(data.train)
    return model.predict(data.rows, data.cols)


def cmfrecs(data: Split, setting: Mapping[str, Any]) -> Any:
    from cmfrec import CMF

    r, c, v, shape = data.train
    model = CMF(k=setting["rank"], lambda_=setting["reg"], scale_lam=True, use_float=False, nthreads=1, precompute_for_predictions=False,
                verbose=False, random_state=1)
    return model.fit(sp.coo_matrix((v, (r, c)), shape=shape)).predict(data.rows, data.cols)


def surprises(data: Split, setting: Mapping[str, Any]) -> Any:
    from surprise import SVD, Dataset, Reader

    r, c, v, _ = data.train
    reader = Reader(rating_scale=(float(v.min()), float(v.max())))
    table = Dataset(reader).construct_trainset([(i, j, x, None) for i, j, x in zip(r.tolist(), c.tolist(), v.tolist())])
    model = SVD(random_state=0, **setting).fit(table)
    return np.array([model.predict(i, j).est for i, j in zip(data.rows.tolist(), data.cols.tolist())])


def chained_by_default(data: Split, setting: Mapping[str, Any]) -> Any:
    """IterativeImputer as it comes: BayesianRidge, 10 rounds."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return IterativeImputer(keep_empty_features=True, random_state=0).fit_transform(data.table)[data.rows, data.cols]


SCRIPT = """
import time, warnings
from pathlib import Path
import numpy as np
from fancyimpute import IterativeSVD, SoftImpute
from threadpoolctl import threadpool_limits
warnings.simplefilter("ignore")
folder = Path(sys.argv[1])
def turn():
    task = json.loads((folder / "task.json").read_text())
    X = np.load(folder / "X.npy")
    with threadpool_limits(limits=1):
        start = time.process_time()
        kind = {"SoftImpute": SoftImpute, "IterativeSVD": IterativeSVD}[task["kind"]]
        filled = kind(verbose=False, **task["settings"]).fit_transform(X)
        took = time.process_time() - start
    np.save(folder / "filled.npy", filled)
    return took
"""


@contextmanager
def fancyimpute() -> Iterator[Callable[[str], Fit]]:
    """A function from "SoftImpute" or "IterativeSVD" to its fit, by a process that has imported it."""
    with tempfile.TemporaryDirectory() as place, peer(environment("fancyimpute", FANCYIMPUTE, ("numpy",)), SCRIPT, place) as turn:
        folder = Path(place)

        def of(kind: str) -> Fit:
            def fit(data: Split, setting: Mapping[str, Any]) -> tuple[Any, float]:
                r, c, v, shape = data.train
                seen = Split(data.train, r, c, v)
                centred = v - by_means(seen, 0)
                chosen = dict(setting)
                if "share" in chosen:  # of the largest singular value; fancyimpute's own choice is 1/50
                    zeros = sp.csr_matrix((centred, (r, c)), shape=shape)
                    chosen["shrinkage_value"] = float(svds(zeros, 1, random_state=0)[1][0]) * chosen.pop("share")
                np.save(folder / "X.npy", Split((r, c, centred, shape), r, c, v).table)
                (folder / "task.json").write_text(json.dumps({"kind": kind, "settings": chosen}), encoding="utf-8")
                took = float(turn())
                return np.load(folder / "filled.npy")[data.rows, data.cols] + by_means(data, 0), took

            return fit

        yield of


# ---------------------------------------------------------------- tables


def chained(data: Split, setting: Mapping[str, Any]) -> Any:
    return iterative(data, 0, **setting)


def nearest(data: Split, setting: Mapping[str, Any]) -> Any:
    return neighbours(data, 0, **setting)


def contenders(is_ratings: bool, fancy: Callable[[str], Fit]) -> list[Contender]:
    """Ours first. Settings are fewer, and choosing is shorter, where one fit of a ratings table takes an imputer a minute."""
    pairs = ((5, 0.05), (5, 0.1), (10, 0.1), (40, 0.1)) if is_ratings else ((10, 0.01), (10, 0.03), (20, 0.03), (20, 0.1), (30, 0.1))
    low = [{"rank": k, "reg": reg} for k, reg in pairs]
    out = [Contender("ours", clocked(ours), low)]
    if find_spec("cmfrec"):
        out.append(Contender("cmfrec", clocked(cmfrecs), low))
    if find_spec("surprise"):
        out.append(Contender("surprise's SVD", clocked(surprises), [{"n_factors": k, "n_epochs": e} for k in (20, 100) for e in (20, 60)]))
    out.append(Contender("KNNImputer", clocked(nearest), [{"n_neighbors": k} for k in (5, 10, 20, 40, 80)]))
    if is_ratings:
        out.append(Contender("IterativeImputer", clocked(chained), [{"alpha": a} for a in (30.0, 100.0, 300.0)], {"rounds": 1}))
        soft = [{"share": s, "max_rank": 40} for s in (0.1, 0.2, 0.4, 0.7)]
        return [*out, Contender("SoftImpute", fancy("SoftImpute"), soft, {"max_iters": 20}),
                Contender("IterativeSVD", fancy("IterativeSVD"), [{"rank": k} for k in (1, 2, 5, 10)], {"max_iters": 20})]
    ridges = [{"alpha": a, "rounds": r} for a in (100.0, 300.0, 1_000.0) for r in (3, 10)]
    out.append(Contender("IterativeImputer", clocked(chained), ridges))
    return [*out, Contender("IterativeImputer, its defaults", clocked(chained_by_default)),
            Contender("SoftImpute", fancy("SoftImpute"), [{"share": s} for s in (0.02, 0.05, 0.1, 0.2, 0.4)]),
            Contender("IterativeSVD", fancy("IterativeSVD"), [{"rank": k} for k in (3, 5, 10, 20)])]


def measured(data: Split, some: Sequence[Contender], inner: Split, rounds: int) -> dict[str, tuple[Mapping[str, Any], float, float]]:
    """Setting, RMSE and least seconds of each, the fits that count being taken in turn."""
    low, high = float(data.train[2].min()), float(data.train[2].max())

    def error(part: Split, found: Any) -> float:
        return part.rmse(np.clip(found, low, high))

    chosen = {c.name: c.settings[0] if len(c.settings) == 1 else
              min(c.settings, key=lambda s, c=c: error(inner, c.fit(inner, {**s, **c.quick})[0])) for c in some}  # type: ignore[misc]
    errors: dict[str, float] = {}
    least: dict[str, float] = {}
    for turn in range(rounds):
        for c in some if turn % 2 == 0 else some[::-1]:
            if turn and least[c.name] > SLOW:
                continue
            found, took = c.fit(data, chosen[c.name])
            errors[c.name], least[c.name] = error(data, found), min(took, least.get(c.name, np.inf))
    return {c.name: (chosen[c.name], errors[c.name], least[c.name]) for c in some}


def compare(title: str, data: Split, is_ratings: bool, row: Callable[..., None]) -> None:
    inner = split_entries(data.train, np.random.default_rng(1))
    m, n = data.train[3]
    means = data.rmse(by_means(data, 0))
    print(f"{title}: {len(data.train[2]):,} of {m:,} x {n:,} known, {len(data.vals):,} asked for; RMSE of row and column means {means:.4f}",
          flush=True)
    with warnings.catch_warnings(), fancyimpute() as fancy:
        warnings.simplefilter("ignore")
        found = measured(data, contenders(is_ratings, fancy), inner, rounds=3)
    setting, error, seconds = found.pop("ours")
    print(f"  ours: {words(setting)}; RMSE {error:.4f}", flush=True)
    for name, (theirs, their_error, their_seconds) in found.items():
        row(f"  ours / {name} ({words(theirs)}); RMSE {error:.4f}, {their_error:.4f}", f"{seconds:.2f} s", f"{their_seconds:.2f} s",
            f"{seconds / their_seconds:.3f}")


def words(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v:g}" for k, v in setting.items() if not isinstance(v, bool)) or "as it comes"


def digits(row: Callable[..., None]) -> None:
    """scikit-learn's digits, half of the pixels hidden."""
    rng = np.random.default_rng(0)
    compare("digits, half hidden", split_entries(Pixels("digits").load(rng), rng, 0.5), False, row)


def ratings(row: Callable[..., None]) -> None:
    """Ratings of an archive, or made ones of the size of MovieLens 100K."""
    path = os.environ.get("MOVIELENS")
    entries = read_movielens(path).triplets if path else simulate_ratings(943, 1_682, 100_000, rng=0)
    name = os.path.basename(path) if path else "made ratings of MovieLens 100K's size"
    compare(name, split_entries(entries, np.random.default_rng(0)), True, row)


__all__ = ["digits", "ratings"]
