"""unsupervised_pretraining beside its peers: ratios of time and memory, measured in turn in one run on one thread.

    python -m benchmarks.unsupervised_pretraining            about four minutes

The authors publish no code. Peers are scikit-learn's FactorAnalysis, PCA, GaussianMixture, SelfTrainingClassifier and LabelSpreading.
Where a ratio of times is given, both sides reach the log-likelihoods printed beside it, on the same rows.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from threadpoolctl import threadpool_limits

from benchmarks._measure import peak_megabytes, seconds
from workingpapers.claims import side_by_side
from workingpapers.papers.unsupervised_pretraining import (
    ComponentVote,
    ContrastivePretrainer,
    ContrastiveProblem,
    FactorPretrainer,
    FactorProblem,
    MixturePretrainer,
    MixtureProblem,
    PretrainedEstimator,
)
from workingpapers.papers.unsupervised_pretraining._mixture_em import fit_em


def row(what: str, ours: str, theirs: str = "", ratio: str = "", wanted: str = "") -> None:
    print(f"{what:<66} {ours:>12} {theirs:>12} {ratio:>9}  {wanted}", flush=True)


def compare(what: str, ours: Callable[[], Any], theirs: Callable[[], Any], wanted: str = "", repeats: int = 3) -> None:
    timings = side_by_side({"ours": ours, "theirs": theirs}, repeats=repeats)
    mine, peers = timings["ours"].median, timings["theirs"].median
    row(what, f"{mine:.3f} s", f"{peers:.3f} s", f"{peers / mine:.1f} x", wanted)


# ---------------------------------------------------------------- factor models


def factors() -> None:
    x = FactorProblem(d=500, r=10, strength=(4.0, 1.0), seed=0).unlabelled(20_000)
    peer = FactorAnalysis(10, svd_method="lapack", random_state=0)
    fits: dict[str, Any] = {
        "unit": FactorPretrainer(10).fit(x),
        "isotropic": FactorPretrainer(10, noise="isotropic").fit(x),
        "diagonal": FactorPretrainer(10, noise="diagonal").fit(x),
        "FactorAnalysis": peer.fit(x),
    }
    print("mean log-likelihoods, d = 500, m = 20,000: " + ", ".join(f"{name} {model.score(x):.4f}" for name, model in fits.items()))
    compare(
        "fit, diagonal noise, beside FactorAnalysis(lapack)",
        lambda: FactorPretrainer(10, noise="diagonal").fit(x),
        lambda: peer.fit(x),
        "wanted: 5 x",
    )
    compare("fit, unit noise, beside the same", lambda: FactorPretrainer(10).fit(x), lambda: peer.fit(x), "wanted: 5 x")
    quick = FactorAnalysis(10, svd_method="randomized", random_state=0)
    compare(
        "fit, diagonal noise, beside FactorAnalysis(randomized)",
        lambda: FactorPretrainer(10, noise="diagonal").fit(x),
        lambda: quick.fit(x),
    )
    pca = PCA(10, svd_solver="covariance_eigh")
    compare("fit, isotropic noise, beside PCA(covariance_eigh)", lambda: FactorPretrainer(10, noise="isotropic").fit(x), lambda: pca.fit(x))
    row(
        "  peak memory of the fit / of FactorAnalysis",
        f"{peak_megabytes(lambda: FactorPretrainer(10).fit(x)):.0f} MB",
        f"{peak_megabytes(lambda: peer.fit(x)):.0f} MB",
    )


def stream() -> None:
    problem = FactorProblem(d=100, r=5, strength=2.0, seed=0)
    chunk = problem.unlabelled(50_000)

    def million() -> None:
        model = FactorPretrainer(5)
        for _ in range(20):
            model.partial_fit(chunk)

    row("stream of 1,000,000 rows of 100 columns, in 20 chunks", f"{seconds(million):.2f} s")
    row("  peak memory beside the chunk of 40 MB", f"{peak_megabytes(million):.0f} MB", "", "", "800 MB as one table")
    wide = np.random.default_rng(0).standard_normal((2_000, 2_500)) + 3 * np.random.default_rng(1).standard_normal((2_000, 1))
    row("fit on 2,000 rows of 2,500 columns (Lanczos)", f"{seconds(lambda: FactorPretrainer(5, noise='isotropic').fit(wide)):.2f} s")


# ---------------------------------------------------------------- mixtures


def mixtures() -> None:
    x = MixtureProblem(d=50, n_components=10, separation=3.0, seed=0).unlabelled(50_000)
    centres = x[np.random.default_rng(0).choice(len(x), 10, replace=False)]
    iterations = 30

    def theirs(n_init: int = 1) -> GaussianMixture:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = (
                {"means_init": centres, "weights_init": np.full(10, 0.1), "precisions_init": np.full(10, 1 / x.var(axis=0).mean())}
                if n_init == 1
                else {}
            )
            how = {} if n_init == 1 else {"init_params": "k-means++", "random_state": 0, "n_init": n_init}
            return GaussianMixture(
                10,
                covariance_type="spherical",
                tol=0.0 if n_init == 1 else 1e-6,
                max_iter=iterations if n_init == 1 else 300,
                **start,
                **how,
            ).fit(x)

    def ours() -> Any:
        return fit_em(x, centres[None], "spherical", True, tol=-np.inf, max_iter=iterations, reg_covar=1e-6)

    _, path, _ = ours()
    print(
        f"mean log-likelihoods after {iterations} iterations from one start: ours {path[-1]:.6f}, GaussianMixture {theirs().score(x):.6f}"
    )
    compare(f"{iterations} iterations, spherical, m = 50,000, d = 50, K = 10", ours, theirs, "wanted: 2 x")
    many = MixturePretrainer(10, "spherical", "free", random_state=0)
    print(f"mean log-likelihoods, best of ten starts: ours {many.fit(x).loglike_:.6f}, GaussianMixture {theirs(10).score(x):.6f}")
    compare("best of ten k-means++ starts, tol 1e-6", lambda: many.fit(x), lambda: theirs(10))
    row("identity covariance, best of ten starts", f"{seconds(lambda: MixturePretrainer(10, random_state=0).fit(x)):.2f} s")


# ---------------------------------------------------------------- pairs, and semi-supervised peers


def pairs() -> None:
    x1, x2, t = ContrastiveProblem(d=50, r=5, seed=0).unlabelled(50_000)
    row(
        "contrastive L-BFGS, 50,000 pairs, d = 50, r = 5",
        f"{seconds(lambda: ContrastivePretrainer(dim=5).fit(x1, x2, t)):.2f} s",
        "",
        "",
        "wanted: under 10 s",
    )


def semi_supervised() -> None:
    """Excess risks and seconds of a whole fit with 40 labels and 2,000 raw rows: mean over 5 problems."""
    makers: dict[str, Callable[[], Any]] = {
        "pretrained": lambda: PretrainedEstimator(MixturePretrainer(8, random_state=0), ComponentVote()),
        "SelfTrainingClassifier": lambda: SelfTrainingClassifier(LogisticRegression(max_iter=1_000)),
        "LabelSpreading": lambda: LabelSpreading(kernel="knn", n_neighbors=10),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in makers}
    for seed in range(5):
        problem = MixtureProblem(d=50, n_components=8, separation=4.0, seed=seed)
        rows, (x, y) = problem.unlabelled(2_000), problem.labelled(40)
        for name, make in makers.items():
            model = make()
            start = time.perf_counter()
            if name == "pretrained":
                model.fit_unlabelled(rows).fit(x, y)
            else:
                model.fit(np.concatenate([x, rows]), np.concatenate([y, np.full(len(rows), -1)]))
            found[name].append((problem.excess_risk(model, draws=5_000), time.perf_counter() - start))
    mine = np.mean(found["pretrained"], axis=0)
    for name, values in found.items():
        risk, took = np.mean(values, axis=0)
        row(
            f"groups, 40 labels: excess risk (and fit) of {name}",
            f"{mine[0]:.4f}",
            f"{risk:.4f}",
            f"{risk / mine[0]:.1f} x",
            f"{took:.2f} s",
        )


def main() -> None:
    row("what", "ours", "theirs", "ratio")
    with threadpool_limits(limits=1):
        factors()
        stream()
        mixtures()
        pairs()
        semi_supervised()


if __name__ == "__main__":
    main()
