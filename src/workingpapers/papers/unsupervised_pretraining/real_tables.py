"""Does pretraining pay on tables that scikit-learn ships? Learning curves, a verdict and the labels saved, or a refusal.

    python -m workingpapers.papers.unsupervised_pretraining.real_tables            all four: under half a minute
    python -m workingpapers.papers.unsupervised_pretraining.real_tables diabetes   one of them

Three fifths of a table lose their labels and serve as raw rows; the rest is split again and again into rows that are labelled and rows
that are held out. How many causes, or groups, is chosen by BIC on the raw rows. Head and baseline are tuned by the same means, and the
baseline sees all columns. The settings below are those of the first run; none was changed after its result.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ._estimator import PretrainedEstimator
from ._factor import FactorPretrainer
from ._heads import ComponentVote
from ._labels_saved import LabelsSaved, labels_saved
from ._mixture import MixturePretrainer
from ._select import select_size

ALPHAS = np.logspace(-3, 4, 15)
RAW_SHARE = 0.6


@dataclass(frozen=True)
class Trial:
    """One question put to one table.

    Attributes:
        table: `load_*` of scikit-learn.
        pretrainer: without its size.
        sizes: numbers of causes or groups to choose from.
        head: what is fitted to the labels on top.
        baseline: what is fitted to the labels without pretraining.
        n_grid: numbers of labels.
    """

    table: Callable[..., Any]
    pretrainer: Any
    sizes: Sequence[int]
    head: Any
    baseline: Any
    n_grid: Sequence[int]


def linear(classifies: bool) -> Any:
    """Ridge regression, or ridge classification, its penalty chosen by leaving one out, on standardised columns."""
    return make_pipeline(StandardScaler(), RidgeClassifierCV(ALPHAS) if classifies else RidgeCV(ALPHAS))


TRIALS = {
    "digits": Trial(load_digits, FactorPretrainer(noise="isotropic"), (5, 10, 20, 30), linear(True), linear(True), (20, 40, 80, 160, 320)),
    "digits, by groups": Trial(
        load_digits, MixturePretrainer(covariance="spherical", weights="free", random_state=0), (10, 20, 40, 80), ComponentVote(),
        linear(True), (20, 40, 80, 160, 320)),
    "breast cancer": Trial(load_breast_cancer, FactorPretrainer(noise="diagonal"), (1, 2, 4, 6, 8), linear(True), linear(True),
                           (10, 20, 40, 80, 160)),
    "diabetes": Trial(load_diabetes, FactorPretrainer(noise="diagonal"), (1, 2, 3, 4, 5), linear(False), linear(False),
                      (10, 20, 40, 80, 120)),
}  # fmt: skip


def ask(trial: Trial, *, repeats: int = 4, seed: int = 0, verbose: bool = False) -> tuple[int, LabelsSaved]:
    """The chosen size, and the learning curves; one repeat is 5 splits.

    >>> size, answer = ask(TRIALS["digits"])
    >>> answer.verdict
    'does not pay'
    """
    x, y = trial.table(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    raw, rest = np.split(order, [round(RAW_SHARE * len(x))])
    scale = StandardScaler().fit(x[raw])
    best, _ = select_size(trial.pretrainer, scale.transform(x[raw]), trial.sizes)
    model = PretrainedEstimator(make_pipeline(StandardScaler(), clone(best)), trial.head)
    found = labels_saved(
        model, trial.baseline, x[raw], x[rest], y[rest], trial.n_grid, repeats=repeats, random_state=seed, verbose=verbose
    )
    size = getattr(best, "n_factors", None) or best.n_components
    return int(size), found


def main(names: Sequence[str]) -> int:
    """Ask about the tables named, or all."""
    if unknown := [n for n in names if n not in TRIALS]:
        print(f"no table {unknown[0]!r}; there are: {', '.join(TRIALS)}", file=sys.stderr)
        return 2
    for name in names or TRIALS:
        size, found = ask(TRIALS[name], verbose=sys.stderr.isatty())
        print(f"{name}: {type(TRIALS[name].pretrainer).__name__} of size {size}, chosen by BIC\n{found}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
