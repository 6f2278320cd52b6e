"""The estimator, and post-processing of another method's answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from workingpapers.parts.causal.graphs import square, topological_order

from ._mlp import Perceptrons, predict
from ._nodewise import Custom, Lasso, Logistic, LogLikelihood, Nodewise
from ._orders import KINDS, Acyclicity, Matrix, Order, as_order, check_choice
from ._problem import LeastSquares, Problem
from ._search import Found, Plan, Round, improves, search
from ._starts import as_start

LossName = Literal["l2", "logistic", "mlp"]
PUBLISHED_LAMBDA1 = {"l2": 0.0, "logistic": 0.01, "mlp": 0.01}
PUBLISHED_SIZES = {"mlp": (10, 40, 1)}, (100, 400, 1)


class TOPO(BaseEstimator):  # type: ignore[misc,unused-ignore]
    """A graph of causes from data, by swapping variables in their order while that lowers the loss.

    For an order of the d variables the best weights are d regressions, each variable on those before it. Pairs whose exchange would
    close no cycle, or only weak ones, by the gradient of the acyclicity penalty, are tried first; a round applies all improving
    exchanges that do not overlap; the loss falls in every round. Where every pair is in the large list, as by default, the end is
    a local minimum: no exchange of two variables lowers the loss (`is_local_min_`).

    With the least-squares loss one round over all d(d - 1)/2 pairs costs O(d^3), whatever n. Regressions without a closed form (L1,
    logistic, MLP, your own) cost one fit for each variable between the two, remembered by set of predecessors.

    Args:
        loss: `l2`: squared error; `logistic`: 0/1 data, L1-penalised; `mlp`: a perceptron for each variable (without
            a first bias, as published, so that it follows odd curves only); or a pair
            `(regress, score)` with `regress(X_before, y) -> weights` and `score(X, W) -> loss` or `(loss, gradient)`.
        init: where to start: `random`, `variance` (the least varying first), an order `(d,)`, or weights `(d, d)` without a cycle.
        size_small: pairs in the first list of a round; `auto` is half of all.
        size_large: pairs in the second list, tried where the first holds none that improves; `auto` is all.
        no_large_search: how often the second list may rescue a fit.
        preset: `paper` takes the sizes of the released examples, 100, 400, 1 (10, 40, 1 for `mlp`), or as many as there are; they
            were chosen for 30 variables and end far from the best at 100.
        move: `swap` exchanges two variables, `insert` moves one past the other, `both` takes the better of all three.
        acyclicity: the penalty whose gradient ranks pairs: `logdet` (the paper's), `poly`, `exp`, `exp_square`.
        equal_variance: False scores `l2` and `mlp` by the logarithm of each variable's error, for standardised data; needs lambda1 > 0,
            since without a penalty every order then has the same score.
        lambda1: weight of the L1 penalty; None is what was published: 0 (`l2`), 0.01 (`logistic`, `mlp`).
        w_threshold: weights of smaller size are cut from `adjacency_`.
        n_restarts: starts; those after the first are random. The lowest score is kept.
        center: subtract column means (`l2`, `mlp`).
        random_state: seed or generator.
        n_jobs: starts at a time, in threads.
        ridge: weight of a ridge penalty (`l2`), needed where there are no more samples than variables.
        grad_loss_tol: leave out pairs whose loss gradient is at most this (in the paper, not in its released code). 0 leaves out none.
        hidden, lambda2: hidden units and weight of the squared penalty of `mlp`.
        verbose: print a line a round.

    Attributes:
        adjacency_: weights `(d, d)` after the threshold, no cycle, zero diagonal; [i, j] is i -> j. Strengths for `mlp`.
        weights_raw_: before the threshold.
        order_: sources first, `(d,)`.
        score_: loss of `weights_raw_`, penalties included.
        history_: a `Round` a round: loss, moves, orders scored.
        n_iter_: rounds.
        n_scored_: orders scored over all starts.
        is_local_min_: True when every move was scored at the end and none improves; None when that is not known (`check_local_min`
            finds out).
        mean_: column means that were subtracted.

    References:
        Deng, Bello, Aragam, Ravikumar. Optimizing NOTEARS Objectives via Topological Swaps. ICML 2023. Algorithms 1 and 2.

    >>> from workingpapers.papers.topo import TOPO, shd, simulate
    >>> made = simulate(20, 20, rng=0)
    >>> found = TOPO(random_state=0).fit(made.X)
    >>> shd(made.B, found.adjacency_), found.is_local_min_
    (0, True)
    """

    def __init__(self, loss: Any = "l2", init: Any = "random", size_small: int | Literal["auto"] = "auto",
                 size_large: int | Literal["auto"] = "auto", no_large_search: int = 10, preset: Literal["paper"] | None = None,
                 move: Literal["swap", "insert", "both"] = "swap", acyclicity: Acyclicity = "logdet", equal_variance: bool = True,
                 lambda1: float | None = None, w_threshold: float = 0.3, n_restarts: int = 1, center: bool = True, random_state: Any = None,
                 n_jobs: int = 1, ridge: float = 0.0, grad_loss_tol: float = 0.0, hidden: int = 40, lambda2: float = 0.01,
                 verbose: bool = False) -> None:
        self.loss = loss
        self.init = init
        self.size_small = size_small
        self.size_large = size_large
        self.no_large_search = no_large_search
        self.preset = preset
        self.move = move
        self.acyclicity = acyclicity
        self.equal_variance = equal_variance
        self.lambda1 = lambda1
        self.w_threshold = w_threshold
        self.n_restarts = n_restarts
        self.center = center
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.ridge = ridge
        self.grad_loss_tol = grad_loss_tol
        self.hidden = hidden
        self.lambda2 = lambda2
        self.verbose = verbose

    # ------------------------------------------------------------ fitting

    def fit(self, X: Any, y: Any = None) -> TOPO:
        """Search from `init`, and from random orders for further restarts.

        Args:
            X: samples `(n, d)`, array or data frame; not changed.
            y: ignored.

        Raises:
            ValueError: X not finite, fewer than two variables, a constant column, columns that depend on one another, too few samples
                without ridge, values other than 0 and 1 for `logistic`; an option out of its range; `init` with a cycle.
        """
        X = self._samples(X, reset=True)
        self._check_options(X)
        rng = np.random.default_rng(self.random_state)
        self.mean_ = X.mean(axis=0) if self._centres() else np.zeros(X.shape[1])
        X = X - self.mean_
        problem, plan = self._problem(X, rng), self._plan(X.shape[1])
        starts = [self._start(X, rng)] + [rng.permutation(X.shape[1]) for _ in range(self.n_restarts - 1)]
        found: list[Found] = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(search)(problem, order, plan, self._teller(k)) for k, order in enumerate(starts))
        best = min(found, key=lambda f: f.state.score)
        self.order_, self.score_, self.weights_raw_ = best.state.order, best.state.score, best.state.W
        self.adjacency_ = np.where(np.abs(best.state.W) >= self.w_threshold, best.state.W, 0.0)
        self.history_, self.n_iter_ = best.history, len(best.history) - 1
        self.n_scored_, self.is_local_min_ = sum(f.n_scored for f in found), best.is_local_min
        self.model_ = problem.model(best.state)
        return self

    def _samples(self, X: Any, reset: bool) -> Matrix:
        found = validate_data(self, X, reset=reset, dtype=np.float64, ensure_min_features=2 if reset else 1,
                              ensure_min_samples=2 if reset else 1, copy=False)
        return np.asarray(found)

    def _check_options(self, X: Matrix) -> None:
        n, d = X.shape
        names = getattr(self, "feature_names_in_", np.arange(d))
        if isinstance(self.loss, str):
            check_choice("loss", self.loss, get_args(LossName))
        elif not (isinstance(self.loss, tuple | list) and len(self.loss) == 2 and all(callable(f) for f in self.loss)):
            raise ValueError(f"loss is {self.loss!r}: it must be one of {', '.join(get_args(LossName))} or a pair (regress, score)")
        check_choice("move", self.move, list(KINDS))
        check_choice("acyclicity", self.acyclicity, get_args(Acyclicity))
        check_choice("preset", self.preset if self.preset is not None else "None", ("None", "paper"))
        for name, least in (("no_large_search", 0), ("n_restarts", 1), ("hidden", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{name} is {value!r}: a whole number of at least {least} is needed")
        for name in ("w_threshold", "ridge", "grad_loss_tol", "lambda2", *(["lambda1"] if self.lambda1 is not None else [])):
            value = getattr(self, name)
            if not isinstance(value, int | float | np.number) or not 0 <= value < np.inf:
                raise ValueError(f"{name} is {value!r}: a finite number of at least 0 is needed")
        flat = np.flatnonzero(np.ptp(X, axis=0) == 0)
        if len(flat):
            raise ValueError(f"X: column {names[flat[0]]} is constant: it can be neither cause nor effect here, drop it")
        if self.loss == "logistic" and not np.isin(X, (0.0, 1.0)).all():
            wrong = int(np.flatnonzero(~np.isin(X, (0.0, 1.0)).all(axis=0))[0])
            raise ValueError(f"X: column {names[wrong]} has values other than 0 and 1, which loss='logistic' needs")
        if self.loss == "l2":
            if n - bool(self.center) < d and self.ridge == 0:
                raise ValueError(f"X has {n} samples of {d} variables: the last variables would be fitted without error; give ridge > 0")
        elif self.ridge > 0:
            raise ValueError("ridge goes with loss='l2' only")
        if not self.equal_variance and (self.loss not in ("l2", "mlp") or self._lambda1() == 0):
            raise ValueError("equal_variance=False needs loss='l2' or 'mlp' and lambda1 > 0: without a penalty every order has the same "
                             "likelihood")

    def _lambda1(self) -> float:
        published = PUBLISHED_LAMBDA1.get(self.loss, 0.0) if isinstance(self.loss, str) else 0.0
        return published if self.lambda1 is None else float(self.lambda1)

    def _centres(self) -> bool:
        return bool(self.center) and self.loss != "logistic"

    def _problem(self, X: Matrix, rng: np.random.Generator) -> Problem:
        d, penalty = X.shape[1], self._lambda1()
        if self.loss == "logistic":
            return Nodewise(d, Logistic(X, penalty), tolerance=1e-7)
        if self.loss == "mlp":
            nets = Perceptrons(X, self.hidden, penalty, self.lambda2, equal_variance=self.equal_variance, rng=rng)
            return Nodewise(d, nets, tolerance=1e-6, takes_first=True)
        if self.loss != "l2":
            own = Custom(X, *self.loss)
            return Nodewise(d, own, tolerance=1e-9, total=own.total)
        S = X.T @ X / len(X)
        least = LeastSquares(S, self.ridge)
        if penalty == 0:
            return least
        least.fit(np.arange(d))  # says which column is at fault where S is singular
        made = Lasso(S, penalty, self.ridge) if self.equal_variance else LogLikelihood(S, penalty, self.ridge)
        return Nodewise(d, made, tolerance=1e-9)

    def _plan(self, d: int) -> Plan:
        pairs = d * (d - 1) // 2
        if self.preset == "paper":
            by_loss, usual = PUBLISHED_SIZES
            small, large, often = by_loss.get(self.loss, usual) if isinstance(self.loss, str) else usual
            small, large = min(small, pairs), min(large, pairs)
        else:
            large = pairs if self.size_large == "auto" else self.size_large
            small = min((pairs + 1) // 2, large) if self.size_small == "auto" else self.size_small
            often = self.no_large_search
            whole = all(isinstance(s, int | np.integer) and not isinstance(s, bool) for s in (small, large))
            if not whole or not 1 <= small <= large <= pairs:
                raise ValueError(f"size_small is {small!r}, size_large {large!r}: 1 <= size_small <= size_large <= {pairs} is needed, the "
                                 f"pairs of {d} variables")
        return Plan(int(small), int(large), int(often), self.move, self.acyclicity, float(self.grad_loss_tol))

    def _start(self, X: Matrix, rng: np.random.Generator) -> Order:
        d = X.shape[1]
        if isinstance(self.init, str):
            check_choice("init", self.init, ("random", "variance"))
            return rng.permutation(d) if self.init == "random" else np.argsort(X.var(axis=0), kind="stable")
        if np.ndim(self.init) == 2:
            W = square(self.init, "init")
            if len(W) != d:
                raise ValueError(f"init is over {len(W)} variables, X has {d}")
            return topological_order(W)
        return as_order(self.init, d, "init")

    def _teller(self, start: int) -> Callable[[Round], None]:
        def tell(r: Round) -> None:
            if self.verbose:
                print(f"start {start}, round {r.round}: loss {r.loss:.6g}, {len(r.moves)} moves, {r.n_scored} orders scored", flush=True)

        return tell

    # ------------------------------------------------------------ after a fit

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the loss on other samples `(n, d)`, without penalties; higher is better."""
        check_is_fitted(self)
        X = self._samples(X, reset=False)
        W = self.weights_raw_
        if self.loss == "logistic":
            return -float((np.logaddexp(0, X @ W) - X * (X @ W)).sum() / len(X))
        X = X - self.mean_
        if not isinstance(self.loss, str):
            return -Custom(X, *self.loss).total(W)
        errors = np.square(X - (predict(X, self.model_) if self.loss == "mlp" else X @ W)).mean(axis=0)
        return -0.5 * float(errors.sum() if self.equal_variance else np.log(errors).sum())

    def check_local_min(self, X: Any) -> bool:
        """Whether no move of any pair lowers the loss on the samples of the fit; sets `is_local_min_`.

        With `l2` this costs O(d^3); else a regression for every variable between every pair. For `mlp` the weights are trained again.
        """
        check_is_fitted(self)
        X = self._samples(X, reset=False) - self.mean_
        problem = self._problem(X, np.random.default_rng(self.random_state))
        self.is_local_min_ = not improves(problem, problem.fit(self.order_), self.move)
        return self.is_local_min_

    def to_networkx(self) -> Any:
        """`networkx.DiGraph` of `adjacency_`, nodes named as the columns, weights as `weight`."""
        import networkx as nx

        check_is_fitted(self)
        names: list[Any] = list(getattr(self, "feature_names_in_", range(len(self.adjacency_))))
        graph = nx.DiGraph()
        graph.add_nodes_from(names)
        graph.add_edges_from((names[i], names[j], {"weight": float(self.adjacency_[i, j])}) for i, j in np.argwhere(self.adjacency_))
        return graph


def polish(W_or_order: Any, X: Any, **options: Any) -> TOPO:
    """Start from another method's graph or order and lower its loss; never raises it.

    Args:
        W_or_order: weights `(d, d)` without a cycle (`first_dag` makes such), as array or as data frame over the columns of X; an order
            `(d,)` of positions or of column names; a `networkx.DiGraph`; a graph of causal-learn without undirected edges.
        X: the samples, `(n, d)`.
        options: as for `TOPO`, `init` excepted. `n_restarts` > 1 adds random starts.

    Returns:
        The fitted `TOPO`; `history_[0].loss` is the loss of the start, refitted.

    >>> from workingpapers.papers.topo import notears, polish, simulate
    >>> made = simulate(10, 20, rng=3)
    >>> better = polish(notears(made.X, lambda1=0.1), made.X)
    >>> better.score_ <= better.history_[0].loss
    True

    Raises:
        ValueError: as `TOPO.fit`; W with a cycle, which is listed; variables that are not those of X; undirected edges.
    """
    if "init" in options:
        raise ValueError("init: polish starts from W_or_order; use TOPO(init=...) for another start")
    names = list(X.columns) if hasattr(X, "columns") else list(range(np.shape(X)[1] if np.ndim(X) == 2 else 0))
    return TOPO(init=as_start(W_or_order, names), **options).fit(X)
