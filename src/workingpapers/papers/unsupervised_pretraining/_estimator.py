"""Phase 1 and phase 2 behind one scikit-learn estimator."""

from __future__ import annotations

from typing import Any, Self

import joblib
import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_X_y, column_or_1d, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _num_features, _num_samples, check_is_fitted

from ._checks import Array


def _head_has(name: str) -> Any:
    def check(self: PretrainedEstimator) -> bool:
        getattr(getattr(self, "head_", self.head), name)
        return True

    return available_if(check)


class PretrainedEstimator(MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """A pretrainer fitted to unlabelled rows and a small head fitted to labelled ones.

    `fit_unlabelled(X_u)` once, then `fit(X, y)` as often as wanted. What phase 1 has learned survives `clone` (it has seen no label),
    so that cross-validation and `GridSearchCV` work: a clone whose `pretrainer__` parameters were changed fits phase 1 anew, on the
    same unlabelled rows, when it is fitted. Phase 1 never sees labels.

    Args:
        pretrainer: a transformer: one of the three here, any other of scikit-learn, or a pipeline of them (a scaler first, say).
            A `FrozenEstimator` around a fitted one is taken as it is.
        head: a classifier or regressor for the transformed rows.
        refit_pretrainer: fit phase 1 at every `fit`, on the unlabelled rows (where there are any) *and* the rows of X.

    Attributes:
        pretrainer_, head_: fitted copies.
        classes_: of a classifier.
        n_features_in_: columns of the raw rows.

    Raises:
        NotFittedError: `fit` before `fit_unlabelled` (and neither `refit_pretrainer` nor `unlabelled` rows).
        ValueError: labelled rows of another width than the unlabelled ones; one class only; NaN.

    >>> from sklearn.linear_model import RidgeCV
    >>> from workingpapers.papers.unsupervised_pretraining import FactorPretrainer, FactorProblem
    >>> problem = FactorProblem(d=50, r=3, strength=3.0, seed=1)
    >>> x, y = problem.labelled(60)
    >>> model = PretrainedEstimator(FactorPretrainer(3), RidgeCV()).fit_unlabelled(problem.unlabelled(5_000)).fit(x, y)
    >>> problem.excess_risk(model) < problem.excess_risk(RidgeCV(np.logspace(-2, 4, 13)).fit(x, y))
    True
    """

    def __init__(self, pretrainer: Any, head: Any, refit_pretrainer: bool = False) -> None:
        self.pretrainer = pretrainer
        self.head = head
        self.refit_pretrainer = refit_pretrainer

    # ------------------------------------------------------------ phase 1

    def fit_unlabelled(self, X_u: Any, side: Any = None) -> Self:
        """Phase 1 on rows `X_u` `(m, d)`. `side` is what the pretrainer's `fit` takes besides: `(X2, t)` for pairs."""
        extra = () if side is None else tuple(side) if isinstance(side, tuple | list) else (side,)
        self._unlabelled = (X_u, extra)
        self._fit_phase_one(X_u, extra)
        return self

    def _fit_phase_one(self, X: Any, extra: tuple[Any, ...] = ()) -> None:
        self.pretrainer_ = clone(self.pretrainer).fit(X, *extra)
        self._fitted_with = _fingerprint(self.pretrainer)
        self._width = _num_features(X)

    # ------------------------------------------------------------ phase 2

    def fit(self, X: Any, y: Any, unlabelled: Any = None) -> Self:
        """Phase 2 on rows `X` `(n, d)` with labels `y` `(n,)`.

        Args:
            unlabelled: a mask `(n,)` of rows without a label: their `y` (-1, say) is not looked at; phase 1 is fitted on all rows of X.
                Without a mask every row is labelled: -1 is a label like others.
        """
        if unlabelled is not None:
            mask = np.asarray(unlabelled)
            if mask.dtype != np.bool_ or mask.shape != (_num_samples(X),):
                raise ValueError(
                    f"unlabelled has shape {mask.shape} and type {mask.dtype}: a boolean mask, one entry a row of X, is needed"
                )
            if mask.all():
                raise ValueError("unlabelled is True for every row: phase 2 needs labelled rows")
            self._fit_phase_one(X)
            self._unlabelled = (X, ())
            X, y = _rows(X, ~mask), _rows(y, ~mask)
        else:
            self._ready(X)
        if (given := np.asarray(y)).ndim == 2 and given.shape[1] == 1:
            y = column_or_1d(given, warn=True)
        check_X_y(
            X,
            y,
            ensure_all_finite=not get_tags(self.pretrainer).input_tags.allow_nan,
            y_numeric=not is_classifier(self.head),
            multi_output=not is_classifier(self.head),
            dtype=None,
        )
        if _num_features(X) != self._width:
            raise ValueError(f"X has {_num_features(X)} features, but the unlabelled rows had {self._width}: the same columns are needed")
        if is_classifier(self.head) and len(np.unique(np.asarray(y))) < 2:
            raise ValueError("y holds one class only: labels of at least two classes are needed")
        self.head_ = clone(self.head).fit(self.pretrainer_.transform(X), y)
        self.n_features_in_ = self._width
        if hasattr(self.head_, "classes_"):
            self.classes_ = self.head_.classes_
        return self

    def _ready(self, X: Any) -> None:
        """Phase 1 in the state that its parameters ask for."""
        if self.refit_pretrainer:
            rows, extra = getattr(self, "_unlabelled", (None, ()))
            if extra:
                raise ValueError("refit_pretrainer=True cannot add labelled rows to pairs: use refit_pretrainer=False")
            if rows is not None and _num_features(rows) != _num_features(X):
                raise ValueError(f"X has {_num_features(X)} features, but the unlabelled rows had {_num_features(rows)}")
            self._fit_phase_one(X if rows is None else np.concatenate([np.asarray(rows), np.asarray(X)]))
        elif isinstance(self.pretrainer, FrozenEstimator):
            self.pretrainer_ = self.pretrainer
            self._width = int(getattr(self.pretrainer, "n_features_in_", _num_features(X)))
        elif not hasattr(self, "_unlabelled"):
            raise NotFittedError(
                "phase 1 has not run: call fit_unlabelled(X_u) first, give fit a mask of unlabelled rows, "
                "or set refit_pretrainer=True to pretrain on the labelled rows alone"
            )
        elif self._fitted_with != _fingerprint(self.pretrainer):
            self._fit_phase_one(*self._unlabelled)

    # ------------------------------------------------------------ use

    def encode(self, X: Any) -> Array:
        """Rows as the head sees them, `(n, r)`."""
        check_is_fitted(self, "pretrainer_")
        return np.asarray(self.pretrainer_.transform(X))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Predictions of the head, `(n,)`."""
        check_is_fitted(self, "head_")
        return np.asarray(self.head_.predict(self.encode(X)))

    def score(self, X: Any, y: Any) -> float:
        """Score of the head: accuracy or R^2."""
        check_is_fitted(self, "head_")
        return float(self.head_.score(self.encode(X), y))

    @_head_has("predict_proba")  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """Class probabilities of the head, `(n, C)`."""
        check_is_fitted(self, "head_")
        return np.asarray(self.head_.predict_proba(self.encode(X)))

    @_head_has("decision_function")  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> Array:
        """Decision values of the head."""
        check_is_fitted(self, "head_")
        return np.asarray(self.head_.decision_function(self.encode(X)))

    # ------------------------------------------------------------ scikit-learn

    def __sklearn_clone__(self) -> PretrainedEstimator:
        made = type(self)(**{name: clone(value, safe=False) for name, value in self.get_params(deep=False).items()})
        for name in ("_unlabelled", "pretrainer_", "_fitted_with", "_width"):
            if hasattr(self, "_unlabelled") and hasattr(self, name):
                setattr(made, name, getattr(self, name))
        return made

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "head_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        head = get_tags(self.head)
        tags.estimator_type = head.estimator_type
        tags.classifier_tags, tags.regressor_tags = head.classifier_tags, head.regressor_tags
        for of_head in (tags.classifier_tags, tags.regressor_tags):
            if of_head is not None:
                of_head.poor_score = True  # on rows that have no such latent
        tags.target_tags.required = True
        tags.input_tags.allow_nan = get_tags(self.pretrainer).input_tags.allow_nan
        return tags


def _fingerprint(pretrainer: Any) -> str:
    """Equal for equal parameters; parameters that it cannot read count as changed only when they are other objects."""
    return str(joblib.hash(pretrainer.get_params(deep=True)))


def _rows(values: Any, mask: npt.NDArray[np.bool_]) -> Any:
    return values.loc[mask] if hasattr(values, "loc") else np.asarray(values)[mask]
