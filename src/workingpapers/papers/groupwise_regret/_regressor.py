"""`GroupwiseRegressor`: one online learner a group, mixed so that every group does well on its own rounds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from river import base as river_base
from sklearn.base import BaseEstimator, RegressorMixin

from workingpapers.workloads.grouped import Between, Predicate

from . import _kernel as kernel
from ._banks import Losses, ObjectBank, RidgeBank
from ._groups import Groups
from ._inputs import label_of, labels_of, names_of, numbers_of, rows_of
from ._learners import AzouryWarmuthVovk, OnlineRidge, make_learner
from ._report import group_report
from ._trace import GroupTrace

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Progress = Callable[[float, str], None]

KINDS = {"squared": kernel.SQUARED, "absolute": kernel.ABSOLUTE}
METAS = ("adanormalhedge", "uniform")
ROWS_AT_ONCE = 20_000


class GroupwiseRegressor(river_base.Regressor, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Online regression that does well on every group, not only on average.

    Each group has a learner of its own that learns from its members only. A person's prediction mixes the learners of the groups it
    belongs to, weighted by AdaNormalHedge, which has nothing to tune. On the rounds of each group the loss then exceeds that of the best
    model fitted to that group alone by little more than what the group's own learner pays for learning online.

    Works as a river regressor (`predict_one`, `learn_one`, in a `river` pipeline), as a scikit-learn regressor (`fit`, `partial_fit`,
    `predict`; rows in order of arrival) and over a whole stream at once (`run`, compiled for ridge learners). It passes the estimator
    checks of both, but for one of scikit-learn's that takes a method of river's base class for its own. As river's regressors do it
    predicts before it has learned anything. Arguments are checked at the first use.

    Args:
        base: what makes a group's learner: a factory without arguments (a class, a `functools.partial`), or a learner, a river regressor
            or a scikit-learn regressor with `partial_fit` to be copied. `OnlineRidge` is the paper's.
        groups: mapping of a group's name to a predicate on a row, or names of columns that hold 0 or 1. Membership can also be given
            with the call: names in `predict_one` and `learn_one`, a `(T, G)` array or table elsewhere. Groups may overlap.
            Predicates that are lambdas work but cannot be pickled; `Between` and `Equals` can. They see the row as it comes: in a
            pipeline, after the steps before. To tell groups by raw features, put scaling and encoding into the base (a river pipeline).
        meta: `"adanormalhedge"`, or `"uniform"` for equal weights (a control).
        mode: `"mean"` predicts the weighted mean; `"sample"` draws one of the awake learners' proposals, which is what the paper's
            theorem speaks of. For a convex loss the mean is never worse than the draw is on average.
        always_on: everybody also belongs to a last group, `"always_on"`.
        prior: mapping of names to positive weights (1 where left out), or one weight a group.
        loss: `"squared"`, `"absolute"`, or a function of prediction and label.
        y_range: smallest and largest label. Losses are then of labels scaled to [0, 1]; the guarantee needs losses of at most 1, and a
            warning says so once when one is larger.
        clip: cut proposals to `y_range`. The official code does not.
        track: keep every learner's loss and weight of each round in the trace of `run` (16 bytes a round and group).
        seed: of the draws in `mode="sample"` and of learners that draw.

    Attributes:
        group_names_: names of the groups, `always_on` last.
        n_seen_: rounds of each group, `(G,)`.
        regret_state_: `(R, C)`: cumulative regret to each group's learner, and the sum of its absolute values.

    Cost of a row: that of the awake groups' learners, O(awake d^2) for ridge; memory O(G d^2).

    >>> from river import datasets, evaluate, metrics
    >>> groups = {"late": Between("ordinal_date", low=736600.0), "low poll": Between("gallup", high=40.0)}
    >>> model = GroupwiseRegressor(OnlineRidge(l2=0.1), groups, y_range=(0, 100))
    >>> evaluate.progressive_val_score(datasets.TrumpApproval(), model, metrics.MAE())
    MAE: 0.602335
    >>> x, y = next(iter(datasets.TrumpApproval()))
    >>> {group: round(p, 2) for group, p in model.weights_(x).items()}
    {'late': 0.0, 'low poll': 0.0, 'always_on': 1.0}

    References:
        [^1]: Acharya, Arunachaleswaran, Kannan, Roth, Ziani. Oracle Efficient Algorithms for Groupwise Regret. ICLR 2024.
        [^2]: Luo, Schapire. Achieving All with No Parameters: AdaNormalHedge. COLT 2015.
    """

    def __init__(self, base: Any, groups: Mapping[str, Predicate] | Sequence[str], *, meta: str = "adanormalhedge", mode: str = "mean",
                 always_on: bool = True, prior: Mapping[str, float] | Sequence[float] | None = None,
                 loss: str | Callable[[float, float], float] = "squared", y_range: tuple[float, float] | None = None, clip: bool = False,
                 track: bool = True, seed: int | None = None) -> None:
        self.base = base
        self.groups = groups
        self.meta = meta
        self.mode = mode
        self.always_on = always_on
        self.prior = prior
        self.loss = loss
        self.y_range = y_range
        self.clip = clip
        self.track = track
        self.seed = seed

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"base": OnlineRidge, "groups": {"late": Between("ordinal_date", low=736600.0), "low": Between("gallup", high=40.0)}}

    def _unit_test_skips(self) -> set[str]:
        # In mode="sample" a row must be predicted before it is learned; these checks of river only learn.
        return set() if self.mode == "mean" else {"check_learn_one", "check_predict_one_pure", "check_no_state_aliasing_with_input",
                                                  "check_clone_is_independent", "check_bounded_memory_growth"}

    # ------------------------------------------------------------ one row at a time (river)

    def predict_one(self, x: Mapping[Hashable, Any], groups: Iterable[str] | None = None) -> float:
        """Prediction for one row; learns nothing.

        Args:
            x: features by name.
            groups: names of the groups that the row belongs to, in place of asking the predicates.
        """
        bank = self._ready()
        awake = self._groups.of_row(x, groups)
        if isinstance(bank, RidgeBank):
            z = bank.propose(self._checked(bank.row(x, learn=False)), awake)
        else:
            z = bank.numbers(self._row_for_objects(x), awake)
        self._outstanding += 1
        return float(kernel.choose(bank.probabilities(awake), z, self._draw()))

    def learn_one(self, x: Mapping[Hashable, Any], y: float,  # type: ignore[override]
                  groups: Iterable[str] | None = None) -> Self:
        """Learn from one row and its label.

        Raises:
            RuntimeError: in `mode="sample"`, more rows learned than predicted: what was drawn decides what the learner paid.
            ValueError: NaN, text, a label outside `y_range`, a membership other than 0 or 1.
        """
        bank = self._ready()
        if self.mode == "sample" and self._outstanding == 0:
            raise RuntimeError("learn_one came without predict_one: in mode='sample' predict each row before it is learned, "
                               "or use mode='mean'")
        label = label_of(y, self.y_range)
        awake = self._groups.of_row(x, groups)
        row = self._checked(bank.row(x, learn=True)) if isinstance(bank, RidgeBank) else self._row_for_objects(x)
        out = bank.round(row, label, awake, -1.0)
        self._outstanding = max(self._outstanding - 1, 0)
        self._warn_of(float(out[3]))
        return self

    def weights_(self, x: Mapping[Hashable, Any], groups: Iterable[str] | None = None) -> dict[str, float]:
        """How much each group's learner counts for this row."""
        bank = self._ready()
        return dict(zip(self._groups.names, bank.probabilities(self._groups.of_row(x, groups)).tolist()))

    # ------------------------------------------------------------ many rows

    def run(self, X: Any, y: Any, A: Any = None, *, progress: bool | Progress = False) -> GroupTrace:
        """Predict, then learn, row after row: the same as `predict_one` and `learn_one` on each, compiled for ridge learners.

        Args:
            X: features `(T, d)`, a table or an array, in order of arrival.
            y: labels `(T,)`.
            A: memberships `(T, G)`, 0 or 1 (the column of everybody may be left out); None asks the predicates or columns.
            progress: True for a progress bar, or a function of the share done and a few words.

        Returns:
            losses, weights and regrets of this stretch. Learning goes on from where it stood; traces of stretches add up.

        Raises:
            ValueError: NaN, another width than before, memberships other than 0 or 1, labels outside `y_range`.
        """
        X = rows_of(X)
        bank, names = self._ready(), names_of(X)
        numbers = numbers_of(X) if self._wants_numbers else None
        awake = self._groups.of_rows(X, A)
        values = None if numbers is None else self._aligned(numbers, names)
        labels = labels_of(y, len(awake), self.y_range)
        T, G = len(labels), len(self._groups)
        results, kept = np.empty((T, 4)), T if self.track else 0
        expert_loss, weights = np.empty((kept, G)), np.empty((kept, G))
        for low, high in _stretches(T, progress):
            u = self._draws(high - low)
            some = (expert_loss[low:high], weights[low:high]) if self.track else (expert_loss, weights)
            if isinstance(bank, RidgeBank):
                assert values is not None
                bank.run(values[low:high], labels[low:high], awake[low:high], u, results[low:high], *some)
            else:
                rows = values[low:high] if values is not None else _mappings(X, names, low, high)
                for i, row in enumerate(rows):
                    results[low + i], losses, p = bank.round_kept(row, float(labels[low + i]), awake[low + i], float(u[i]))
                    if self.track:
                        some[0][i], some[1][i] = losses, p
        self._warn_of(float(results[:, 3].max(initial=0.0)))
        return GroupTrace(results[:, 0], results[:, 1], results[:, 2], expert_loss if self.track else None, weights if self.track else None,
                          awake.astype(bool), tuple(self._groups.names), values, labels, self._losses.span,
                          self.loss if isinstance(self.loss, str) else "own")

    def partial_fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Learn from rows in order of arrival, from where learning stood; `groups` are memberships as `A` of `run`."""
        kept, self.track = self.track, False
        try:
            self.run(X, y, groups)
        finally:
            self.track = kept
        return self

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Forget everything, then `partial_fit`."""
        self._forget()
        return self.partial_fit(X, y, groups)

    def predict(self, X: Any, groups: Any = None) -> Array:
        """Predictions for rows `(T, d)` as learning stands; nothing is learned."""
        X = rows_of(X)
        bank, names = self._ready(), names_of(X)
        numbers = numbers_of(X) if self._wants_numbers else None
        awake = self._groups.of_rows(X, groups)
        u = self._draws(len(awake))
        values = None if numbers is None else self._aligned(numbers, names, learn=False)
        if isinstance(bank, RidgeBank):
            assert values is not None
            return bank.predict(values, awake, u)
        rows = values if values is not None else _mappings(X, names, 0, len(awake))
        return np.array([float(kernel.choose(bank.probabilities(up), bank.numbers(row, up), float(v)))
                         for row, up, v in zip(rows, awake, u)])

    # ------------------------------------------------------------ groups

    def add_group(self, name: str, predicate: Predicate | None = None, prior: float = 1.0) -> Self:
        """One more group from now on, with a fresh learner; the others keep what they know.

        Args:
            name: of the group.
            predicate: None where a column of that name, or the call, gives the membership.
            prior: its weight; the others have 1 unless `prior` said otherwise.
        """
        bank = self._ready()
        if not (math.isfinite(prior) and prior > 0):
            raise ValueError(f"prior is {prior}: a positive number is needed")
        self._groups.add(name, predicate)
        bank.add(prior)
        if isinstance(bank, ObjectBank):
            learner = make_learner(self.base)
            reseed_each([learner], None if self.seed is None else [self.seed, len(bank.learners)])
            bank.learners.append(learner)
        return self

    def group_report(self) -> pd.DataFrame:
        """One row a group: rounds, loss a round of the mixture and of the group's own learner, calibration, regret.

        Columns: `n`, `expected_loss`, `mean_loss`, `own_loss` (each a round), `label_mean`, `prediction_mean`, `bias` (prediction minus
        label), and, for ridge learners that forget nothing, `regret`: the expected loss beyond that of the group's best model in
        hindsight, which pays the ridge penalty, too; so it lies at or below the regret to the best model without one.
        """
        return group_report(self._groups.names, self._ready(), self.loss == "squared")

    @property
    def coef_(self) -> pd.DataFrame:
        """Weights of each group's ridge model: one row a group, one column a feature (`intercept` first where there is one)."""
        import pandas as pd

        bank = self._ready()
        if not isinstance(bank, RidgeBank):
            raise AttributeError("coef_ is there for ridge learners only")
        groups = pd.Index(self._groups.names, name="group")
        return pd.DataFrame(bank.theta.copy(), index=groups, columns=["intercept"] * bank.first + bank.keys)

    @property
    def group_names_(self) -> list[str]:
        """Names of the groups, in order."""
        return list(self._groups.names) if self._is_ready() else Groups(self.groups, self.always_on).names

    @property
    def n_seen_(self) -> npt.NDArray[np.int64]:
        """Rounds of each group, `(G,)`."""
        return self._ready().n_seen.copy()

    @property
    def regret_state_(self) -> tuple[Array, Array]:
        """`(R, C)`: cumulative regret to each group's learner, and the sum of its absolute values, `(G,)` each."""
        bank = self._ready()
        return bank.R.copy(), bank.C.copy()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False  # an online learner predicts from the first row on
        tags.target_tags.required = True
        tags.no_validation = False
        return tags

    # ------------------------------------------------------------ inside

    def _check_params(self) -> None:
        if self.meta not in METAS:
            raise ValueError(f"meta is {self.meta!r}: {' or '.join(map(repr, METAS))}")
        if self.mode not in ("mean", "sample"):
            raise ValueError(f"mode is {self.mode!r}: 'mean' or 'sample'")
        if not callable(self.loss) and self.loss not in KINDS:
            raise ValueError(f"loss is {self.loss!r}: 'squared', 'absolute' or a function of prediction and label")
        if self.y_range is not None:
            low, high = self.y_range
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"y_range is {self.y_range}: two finite numbers, the smaller first")
        if self.clip and self.y_range is None:
            raise ValueError("clip=True needs y_range")
        Groups(self.groups, self.always_on)

    _outstanding: int

    def _is_ready(self) -> bool:
        return "_bank" in self.__dict__

    def _forget(self) -> None:
        for name in ("_bank", "_groups", "_rng", "_outstanding", "_has_warned", "_losses", "_wants_numbers", "_names", "n_features_in_"):
            self.__dict__.pop(name, None)

    def _ready(self) -> RidgeBank | ObjectBank:
        if self._is_ready():
            return self._bank
        self._check_params()
        self._groups = Groups(self.groups, self.always_on)
        low, high = self.y_range if self.y_range is not None else (0.0, 1.0)
        edge = (low, high) if self.clip else (-math.inf, math.inf)
        kind = KINDS[self.loss] if isinstance(self.loss, str) else self.loss
        self._losses = Losses(kind, float(high - low), float(edge[0]), float(edge[1]))
        prior, uniform, learner = self._prior(), self.meta == "uniform", make_learner(self.base)
        self._rng = np.random.default_rng(self.seed)
        self._outstanding, self._has_warned = 0, False
        self._names: list[Hashable] = []
        self._bank: RidgeBank | ObjectBank
        if type(learner) in (OnlineRidge, AzouryWarmuthVovk) and isinstance(self.loss, str):
            self._wants_numbers = True
            self._bank = RidgeBank(prior, self._losses, uniform, learner)
        else:
            self._wants_numbers = getattr(learner, "features", "mapping") == "vector"
            learners = [learner, *(make_learner(self.base) for _ in range(len(self._groups) - 1))]
            reseed_each(learners, self.seed)
            self._bank = ObjectBank(prior, self._losses, uniform, learners)
        return self._bank

    def _prior(self) -> Array:
        names = self._groups.names
        if self.prior is None:
            return np.ones(len(names))
        if isinstance(self.prior, Mapping):
            if unknown := [n for n in self.prior if n not in names]:
                raise ValueError(f"prior: there is no group {unknown[0]!r}; there are {', '.join(names)}")
            given = np.array([float(self.prior.get(n, 1.0)) for n in names])
        else:
            given = np.asarray(self.prior, dtype=np.float64)
        if given.shape != (len(names),) or not (np.isfinite(given).all() and (given > 0).all()):
            raise ValueError(f"prior must hold {len(names)} positive numbers, one for each of {', '.join(names)}")
        return given

    def _checked(self, row: Array) -> Array:
        if not np.isfinite(row).all():
            raise ValueError("x holds NaN or infinity: impute it first (river's preprocessing.StatImputer, in a pipeline)")
        return row

    def _row_for_objects(self, x: Mapping[Hashable, Any]) -> Any:
        if not self._wants_numbers:
            return x
        if not self._names:
            self._names = list(x)
        if unknown := [n for n in x if n not in self._names]:
            raise ValueError(f"feature {unknown[0]!r} was not in the first row: this base learner needs the same features throughout")
        try:
            return self._checked(np.array([float(x.get(n, 0.0)) for n in self._names]))
        except TypeError:
            raise ValueError(f"x holds something that is no number: {dict(x)!r}") from None

    def _aligned(self, values: Array, names: list[Hashable], learn: bool = True) -> Array:
        """Columns where the learners know them; a plain array must keep its width. New columns get a place where `learn`."""
        bank = self._bank
        known = bank.keys if isinstance(bank, RidgeBank) else self._names
        if not known and learn:
            self.n_features_in_ = len(names)
        elif known and names == list(range(len(names))) and known == list(range(len(known))) and len(names) != len(known):
            raise ValueError(f"X has {len(names)} features, but {type(self).__name__} is expecting {len(known)} features as input, as in "
                             "the rows before")
        if isinstance(bank, RidgeBank):
            if learn:
                bank.learn_names(names)
            if names == bank.keys and not bank.first:
                return values
            wide = np.zeros((len(values), bank.first + len(bank.keys)))
            wide[:, : bank.first] = 1.0
            told = [i for i, n in enumerate(names) if n in bank.index]
            wide[:, [bank.index[names[i]] for i in told]] = values[:, told]
            return wide
        if not known and learn:
            self._names = names
        if self._names and set(names) != set(self._names):
            raise ValueError(f"X has the columns {names}: {self._names} are needed, as in the rows before")
        return values[:, [names.index(n) for n in self._names or names]]

    def _draw(self) -> float:
        return float(self._rng.random()) if self.mode == "sample" else -1.0

    def _draws(self, n: int) -> Array:
        return self._rng.random(n) if self.mode == "sample" else np.full(n, -1.0)

    def _warn_of(self, largest: float) -> None:
        if largest > 1.0 and not self._has_warned:
            self._has_warned = True
            remedy = "name the range of labels with y_range" if self.y_range is None else "clip=True keeps proposals in y_range"
            warnings.warn(f"a loss of {largest:.3g} was seen; the guarantee is for losses of at most 1: {remedy}", stacklevel=3)


def reseed_each(learners: Sequence[Any], seed: int | Sequence[int] | None) -> None:
    """Give each learner that draws a stream of its own."""
    for learner, sequence in zip(learners, np.random.SeedSequence(seed).spawn(len(learners))):
        if hasattr(learner, "reseed"):
            learner.reseed(sequence)


def _mappings(X: Any, names: list[Hashable], low: int, high: int) -> Iterator[dict[Hashable, Any]]:
    if hasattr(X, "columns"):
        rows = X.iloc[low:high].itertuples(index=False, name=None)
    else:
        rows = np.asarray(X)[low:high].tolist()
    return (dict(zip(names, row)) for row in rows)


def _stretches(T: int, progress: bool | Progress) -> Iterator[tuple[int, int]]:
    """Stretches of rows, telling how far they are."""
    ends = [(low, min(low + ROWS_AT_ONCE, T)) for low in range(0, T, ROWS_AT_ONCE)]
    if progress is True:
        from rich.progress import track

        yield from track(ends, description="rows")
        return
    for low, high in ends:
        yield low, high
        if callable(progress):
            progress(high / T, f"{high:,} of {T:,} rows")


__all__ = ["GroupwiseRegressor", "reseed_each"]
