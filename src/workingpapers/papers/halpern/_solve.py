"""`solve`: one call for every method."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ._constants import Constants, constants, default_step
from ._methods import ANCHORS, COCOERCIVE_ONLY, METHODS, RESTARTS, ROOT_BATCH, STOCHASTIC, Setting
from ._operators import FiniteSumOperator, FunctionOperator, count, vector
from ._resolvents import Resolvent
from ._run import HOPELESS, DivergenceError, History, Run, Step, Stop
from ._steps import Draws, PythonSteps, steps_for

Array = npt.NDArray[np.float64]
DEFAULT_PASSES = 10_000
BACK_OFFS = 6


@dataclass(frozen=True)
class Result:
    """What `solve` found.

    Attributes:
        u: the last point whose residual is known, shape (dim,).
        residual: `|u - J_G(u - F(u))|` there; `|F(u)|` where G = 0.
        n_oracle: evaluations of single terms that the method spent.
        n_full: how many of its evaluations were of all terms at once.
        n_extra: evaluations for checks and for reports that the method itself would not have made; not in `n_oracle`.
        n_iter: steps.
        history: evaluations and residual at every point whose residual is known.
        converged: whether the residual is at most `tol`.
        eta: the step that was used.
        L: the constant that it came from: of the terms on average for stochastic methods, of F for the others; NaN: none was needed.
        message: why the run ended.
    """

    u: Array
    residual: float
    n_oracle: int
    n_full: int
    n_extra: int
    n_iter: int
    history: History = field(repr=False)
    converged: bool
    eta: float
    L: float
    message: str


def solve(
    F: FiniteSumOperator,
    u0: npt.ArrayLike,
    G: Resolvent | None = None,
    method: str = "vr_halpern",
    tol: float = 1e-4,
    max_oracle: float | None = None,
    eta: float | str = "auto",
    batch: int | str = "auto",
    seed: int | np.random.Generator | None = None,
    callback: Callable[[Step], object] | None = None,
    *,
    anchor: float | None = None,
    full_prob: float | None = None,
    c: float | str = "auto",
    inner: int | Callable[[int], int] | str = "auto",
    restart: bool = False,
    progress: bool = False,
) -> Result:
    """Find u with `0 in F(u) + G(u)`, until the residual is at most `tol`.

    Args:
        F: an operator of this package, or anything with `n`, `dim`, `full(u)` and `batch(idx, u)`.
        u0: start and anchor, shape (dim,).
        G: a constraint or regulariser, by its resolvent; None: none.
        method: 'vr_halpern' (Algorithm 1; cocoercive F: least squares, projections, regularised sums), 'vr_halpern_pp' (Algorithm 2; any
            monotone Lipschitz F: games, saddle points, affine inequalities), or to compare: 'halpern', 'eag', 'eg', 'og', 'vr_eg',
            'svrg_eg', 'svrg_halpern', 'stochastic_halpern'.
        tol: residual to reach.
        max_oracle: evaluations of single terms that may be spent; None: 10,000 n.
        eta: step; 'auto': what theory allows (see `default_step`). Where constants had to be estimated and the run diverges, 'auto'
            starts again with a quarter of the step, and charges what was spent.
        batch: terms a stochastic step; 'auto': sqrt(n) for Algorithm 1, 1 for the methods with snapshots (sqrt(n) where their
            steps cannot run compiled).
        seed: of the draws; an int or a generator.
        callback: told a `Step` whenever a residual is known; True stops the run.
        anchor: a in the anchor's weight `a / (k + 2a)`.
        full_prob: probability of a full evaluation; None: the method's schedule.
        c: Algorithm 2: parameter of the resolvent; 'auto': `sqrt(n) / L`.
        inner: Algorithm 2: inner steps at outer iteration k, a number or a function of k; 'auto': `0.05 n log(k + 2)`, from the
            published experiments.
        restart: anchored methods (the Halpern ones and 'eag'): start anew whenever the residual has halved (faster on sharp
            problems; not in the paper).
        progress: show a progress bar.

    Returns:
        A `Result`. Ctrl-C ends the run and returns what is known so far.

    Raises:
        ValueError, TypeError: arguments that do not fit, named.
        DivergenceError: the residual is no longer finite.

    >>> from workingpapers.papers.halpern import MatrixGame
    >>> game = MatrixGame([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])   # rock, paper, scissors
    >>> found = solve(game, [1.0, 0, 0, 0, 1.0, 0], game.simplices(), "vr_halpern_pp", tol=1e-3, seed=0, restart=True)
    >>> found.converged, found.u.round(2)
    (True, array([0.33, 0.33, 0.33, 0.33, 0.33, 0.33]))
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}: one of {', '.join(METHODS)} is needed")
    start = _checked_start(F, u0)
    G = Resolvent.none(F.dim) if G is None else G
    if not isinstance(G, Resolvent):
        raise TypeError(f"G is {type(G).__name__}: a Resolvent is needed, e.g. Resolvent.box(0, 1)")
    G = G.bind(F.dim)
    _positive("tol", tol)
    if isinstance(max_oracle, float) and max_oracle.is_integer():
        max_oracle = int(max_oracle)  # 1e6
    most = DEFAULT_PASSES * F.n if max_oracle is None else count("max_oracle", max_oracle)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback is {callback!r}: a function of one Step is needed")
    if method in COCOERCIVE_ONLY and getattr(F, "is_cocoercive", None) is False:
        warnings.warn(f"{method!r} is for cocoercive operators and this one is only declared monotone and Lipschitz: no guarantee "
                      "holds; use method='vr_halpern_pp'", stacklevel=2)
    if restart and method not in RESTARTS:
        warnings.warn(f"restart=True changes nothing for {method!r}: it is for {', '.join(RESTARTS)}", stacklevel=2)
    if batch != "auto" and method not in STOCHASTIC:
        warnings.warn(f"batch={batch!r} changes nothing for {method!r}, which looks at every term each step", stacklevel=2)
    rng = np.random.default_rng(seed)
    run = Run(F, G, float(tol), most, callback, u=start)
    steps = steps_for(F, G) if method in STOCHASTIC else PythonSteps(F, G)
    run.resolve = steps.resolve
    q = getattr(F, "sampling_weights", None)
    size = _batch(batch, method, F.n, isinstance(steps, PythonSteps))
    if method in STOCHASTIC:
        _check_sums(F, start, run)
    needs_L = eta == "auto" or (c == "auto" and method == "vr_halpern_pp")
    L = constants(F, start, q, rng) if needs_L else Constants(math.nan, math.nan)
    run.charge(L.cost)
    c = math.sqrt(F.n) / L.average if c == "auto" else _positive("c", c)
    step = default_step(method, L, F.n, size, c, full_prob) if eta == "auto" else _positive("eta", eta)
    setting = Setting(step, size, _positive("anchor", ANCHORS.get(method, 1.0) if anchor is None else anchor),
                      None if full_prob is None else _probability(full_prob), c, _inner(inner, F.n), bool(restart))
    draws = Draws(F.n, size, q, rng)
    may_back_off = eta == "auto" and L.cost > 0
    with _shown(run, progress), np.errstate(over="ignore", invalid="ignore"):
        message = _until_it_stops(run, method, start, setting, steps, draws, may_back_off)
    if not run.converged and not restart and method in RESTARTS and "spent" in message:
        message += f"; the residual is {run.residual:.3g}: restart=True often gets there with far less"
    history = History(np.array(run.oracle, np.int64), np.array(run.residuals))
    known = L.average if method in STOCHASTIC else L.full
    return Result(run.u, run.residual, run.n_oracle, run.n_full, run.n_extra, run.n_iter, history, run.converged, run.step, known, message)


def _until_it_stops(run: Run, method: str, start: Array, setting: Setting, steps: Any, draws: Draws, may_back_off: bool) -> str:
    """Run the method; where constants were only estimated, again with a quarter of the step when it diverges."""
    from dataclasses import replace

    for attempt in range(BACK_OFFS + 1):
        run.step = setting.eta
        last = attempt == BACK_OFFS or not may_back_off
        run.patience = HOPELESS if last else 1e3
        try:
            METHODS[method](run, start, setting, steps, draws)
        except Stop as stop:
            return str(stop) + (f"; the step was cut {attempt} times" if attempt else "")
        except KeyboardInterrupt:
            return "interrupted"
        except DivergenceError:
            if last:
                raise
            setting = replace(setting, eta=setting.eta / 4)
    raise AssertionError("a method returned without a word")  # methods end by Stop or DivergenceError only


def _checked_start(F: Any, u0: npt.ArrayLike) -> Array:
    for name in ("n", "dim", "full", "batch"):
        if not hasattr(F, name):
            raise TypeError(f"F is {type(F).__name__} without {name!r}: an operator with n, dim, full(u) and batch(idx, u) is needed; "
                            "FunctionOperator makes one from a function")
    count("F.n", F.n)
    count("F.dim", F.dim)
    return vector("u0", u0, F.dim)


def _check_sums(F: FiniteSumOperator, u: Array, run: Run) -> None:
    """A user's `function(idx, u)` must sum: two terms at once give what they give one by one.

    Tried a little off the start, where parts that are zero at a start of zeros show.
    """
    if not isinstance(F, FunctionOperator) or F.n < 2:
        return
    u = u + 1e-3 * (1 + np.abs(u)) * np.random.default_rng(0).standard_normal(len(u))
    pair = np.array([0, F.n - 1])
    together = F.batch(pair, u)
    apart = F.batch(pair[:1], u) + F.batch(pair[1:], u)
    run.n_extra += 4
    if not (np.isfinite(together).all() and np.isfinite(apart).all()):
        return  # off the function's domain, perhaps: nothing to be told from here
    if not np.allclose(together, apart, rtol=1e-5, atol=1e-8 * (1 + float(np.abs(apart).max()))):
        halved = np.allclose(2 * together, apart, rtol=1e-5, atol=1e-8 * (1 + float(np.abs(apart).max())))
        hint = "it looks like the mean: multiply by len(idx)" if halved else "is it random, or does it keep state?"
        raise ValueError(f"function(idx, u) of F does not sum over idx: two terms together differ from the two alone; {hint}")


def _batch(batch: int | str, method: str, n: int, is_python: bool) -> int:
    if batch == "auto":
        return max(1, math.isqrt(n)) if method in ROOT_BATCH or is_python else 1
    if isinstance(batch, str):
        raise ValueError(f"batch is {batch!r}: 'auto' or a number from 1 to n is needed")
    if count("batch", batch) > n:
        raise ValueError(f"batch is {batch}: at most n = {n} is possible")
    return int(batch)


def _inner(inner: int | Callable[[int], int] | str, n: int) -> Callable[[int], int]:
    if inner == "auto":
        return lambda k: max(1, math.floor(0.05 * n * math.log(k + 2)))
    if callable(inner):
        return lambda k: count("inner(k)", inner(k))
    many = count("inner", inner)
    return lambda k: many


def _positive(name: str, number: Any) -> float:
    if isinstance(number, bool | str) or not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} is {number!r}: a finite number above 0 is needed" + (", or 'auto'" if name in ("eta", "c") else ""))
    return float(number)


def _probability(number: float) -> float:
    if not 0 < number <= 1:
        raise ValueError(f"full_prob is {number!r}: a probability above 0 is needed")
    return float(number)


@contextmanager
def _shown(run: Run, progress: bool) -> Iterator[None]:
    """A bar that fills as the residual falls, by orders of magnitude, from the first one to `tol`."""
    if not progress:
        yield
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    told = run.callback
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()) as bar:
        task = bar.add_task("residual", total=1.0)

        def show(step: Step) -> object:
            span = math.log(max(run.residuals[0] / run.tol, 1 + 1e-12))
            done = math.log(max(run.residuals[0] / max(step.residual, run.tol), 1.0)) / span
            bar.update(task, completed=done, description=f"residual {step.residual:.2e} after {step.n_oracle:,} evaluations")
            return told(step) if told is not None else None

        run.callback = show
        yield
