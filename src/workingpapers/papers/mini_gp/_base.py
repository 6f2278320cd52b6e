"""The ask/tell loop that the method and its baselines share: blocks, ledger, regret, and a state that is plain JSON."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from workingpapers.workloads.arms import median_distance

from ._arms import stats_of
from ._kernels import as_covariance, rbf
from ._posterior import Mean, UniqueGP
from ._space import BoxSpace, FiniteSpace, as_space
from ._statistics import Array, check_observations
from ._surrogate import ArmSurrogate, BoxSurrogate, Candidate, Score, Surrogate

STATE_VERSION = 1


@dataclass(frozen=True)
class Suggestion:
    """What to evaluate next.

    Attributes:
        x: the candidate: an array `(d,)`; a list of values where the space has categories.
        repeats: how many evaluations of it are wanted; they may run in parallel.
        is_switch: whether the set-up must change for it.
        reason: why, in words.
        index: row of the candidate in the set of arms; None in a box.
    """

    x: Any
    repeats: int
    is_switch: bool
    reason: str
    index: int | None = None


@dataclass
class Ledger:
    """What was spent. `cost = evaluations + switch_cost * switches`; the first set-up counts as a switch."""

    evaluations: int = 0
    switches: int = 0
    blocks: int = 0
    cost: float = 0.0


@dataclass(frozen=True)
class Best:
    """The candidate with the highest posterior mean, with that mean and the posterior deviation of the function there."""

    x: Any
    mean: float
    std: float
    index: int | None = None


@dataclass(frozen=True)
class Regret:
    """Regret of what was evaluated: sum and average over evaluations of `f* - f(x_t)`, and `f* - f(best().x)`."""

    cumulative: float
    average: float
    simple: float


@dataclass
class Block:
    """Evaluations of one candidate that are still under way; what was told is folded in when the block ends."""

    candidate: Candidate
    repeats: int
    reason: str
    told: int = 0
    count: int = 0
    average: float = 0.0
    squares: float = 0.0

    def take(self, n: int, average: float, squares: float) -> None:
        gap, total = average - self.average, self.count + n
        self.squares += squares + gap * gap * self.count * n / total
        self.average += gap * n / total
        self.count, self.told = total, self.told + n


@dataclass(frozen=True)
class Choice:
    """A decision: the candidate, the evaluations wanted of it, and why."""

    candidate: Candidate
    repeats: int
    reason: str
    data: dict[str, Any] = field(default_factory=dict)


class Optimizer:
    """Maximise a noisy function by ask and tell. Subclasses decide which candidate comes next and how often.

    Args:
        space: arms `(A, d)`, a list of bounds or dimensions, or a scikit-optimize `Space`.
        kernel: scikit-learn or GPyTorch kernel, or a function. It sees arms as they are given, boxes scaled to the unit
            cube. None: a squared exponential; its length scale is half the median distance between arms, 0.3 in a box.
        noise: variance of one observation, in squared units of y.
        mean: `"zero"` or `"constant"`.
        switch_cost: price of a change of candidate, in evaluations.
        random_state: seed or generator of whatever is drawn.

    Attributes:
        ledger_: `Ledger` of evaluations, switches, blocks and cost.
    """

    max_repeats = 1_000_000

    def __init__(self, space: Any, *, kernel: Any = None, noise: float = 0.01, mean: Mean = "zero", switch_cost: float = 0.0,
                 random_state: int | np.random.Generator | None = None) -> None:
        if not (np.isfinite(noise) and noise > 0):
            raise ValueError(f"noise is {noise}: give the variance of one observation, a positive number")
        if not (np.isfinite(switch_cost) and switch_cost >= 0):
            raise ValueError(f"switch_cost is {switch_cost}: give a number of evaluations, 0 or more")
        if mean not in ("zero", "constant"):
            raise ValueError(f"mean is {mean!r}: choose 'zero' or 'constant'")
        read = as_space(space)
        self.space: FiniteSpace | BoxSpace = (read.enumerate() or read) if isinstance(read, BoxSpace) else read
        if kernel is None:
            kernel = rbf(0.5 * median_distance(self.space.arms) if isinstance(self.space, FiniteSpace) else 0.3)
        self.covariance, self.noise, self.mean, self.switch_cost = as_covariance(kernel), float(noise), mean, float(switch_cost)
        self.rng = np.random.default_rng(random_state)
        self.ledger_ = Ledger()
        self._surrogate = self._fresh()
        self._block: Block | None = None
        self._last: Candidate | None = None
        self._log: list[list[Any]] = []
        self._warned = False
        self._theta: list[float] | None = None

    # ------------------------------------------------------------ ask and tell

    def ask(self, n: int | None = None) -> Suggestion:
        """The candidate to evaluate next and how often; the same again until its evaluations are told.

        Args:
            n: at most so many evaluations: what is left of a budget, or the workers at hand. The block goes on at
                the next `ask`. Without it a suggestion holds at most `max_repeats`.
        """
        limit = self.max_repeats if n is None else n
        if isinstance(limit, bool) or limit != int(limit) or limit < 1:
            raise ValueError(f"n is {n}: ask for a whole number of evaluations, 1 or more")
        if self._block is None:
            choice = self._choose()
            self._block = Block(choice.candidate, choice.repeats, choice.reason)
        block = self._block
        left = block.repeats - block.told
        reason = block.reason if not block.told else f"stay: {block.told} of {block.repeats} evaluations are done"
        return Suggestion(self._surrogate.decode(block.candidate), int(min(left, limit)), block.candidate != self._last,
                          reason, self._index(block.candidate))

    def tell(self, x: Any, y: npt.ArrayLike) -> None:
        """Take in one observation of `x` or several.

        Args:
            x: a `Suggestion`, the number of an arm, or coordinates `(d,)`; a point that was never asked for adds data too.
            y: one number, or numbers `(b,)`.

        Raises:
            ValueError: y not finite, x of the wrong dimension or outside the box.
        """
        values = check_observations(y)
        candidate = self._surrogate.find(x.x if isinstance(x, Suggestion) and x.index is None else
                                         x.index if isinstance(x, Suggestion) else x)
        if isinstance(candidate, int) and isinstance(self._surrogate, ArmSurrogate) and candidate >= len(self._surrogate.space.arms):
            self._remember_outside(candidate)
        n, average, squares = stats_of(values)
        self._warn_without_noise(n, squares)
        self._account(candidate, n)
        if self._block is not None and candidate == self._block.candidate:
            if not self._block.told:
                self.ledger_.blocks += 1
            self._block.take(n, average, squares)
            if self._block.told >= self._block.repeats:
                self._close()
            else:
                self._while_open()
        else:
            self._unasked()
            self._observe(candidate, n, average, squares)

    def best(self) -> Best:
        """The candidate with the highest posterior mean."""
        self._flush()
        candidate = self._surrogate.maximise(lambda mean, std: mean, self.rng)
        mean, var = self._surrogate.moments(candidate)
        return Best(self._surrogate.decode(candidate), mean, math.sqrt(var), self._index(candidate))

    def regret(self, f: Callable[[Any], float] | npt.ArrayLike, optimum: float | None = None) -> Regret:
        """Regret against a known function.

        Args:
            f: the function of one candidate, or its values at the arms `(A,)`.
            optimum: its maximum; needed in a box, found by trying every arm otherwise.
        """
        self._flush()
        if self.ledger_.evaluations == 0:
            raise ValueError("regret: nothing was evaluated yet")
        at = self._values(f)
        if optimum is None:
            if not isinstance(self.space, FiniteSpace):
                raise ValueError("optimum: give the maximum of f, which cannot be found by trying every point of a box")
            optimum = max(at(i) for i in range(len(self.space.arms)))
        cumulative = sum(n * (optimum - at(c)) for c, n, _, _ in self._surrogate.statistics())
        best = self._surrogate.maximise(lambda mean, std: mean, self.rng)
        return Regret(cumulative, cumulative / self.ledger_.evaluations, optimum - at(best))

    @property
    def n_unique(self) -> int:
        """Distinct candidates evaluated."""
        self._flush()
        return self._surrogate.n_unique

    def predict(self, x: npt.ArrayLike) -> tuple[Array, Array]:
        """Posterior mean and variance at `x`: vectors `(m, d)` for arms; lists of points in the user's units for a box."""
        return self.to_gp().posterior(x if isinstance(self.space, FiniteSpace) else
                                      np.array([self.space.encode(p) for p in np.asarray(x, dtype=object)]))

    def to_gp(self) -> UniqueGP:
        """What was seen as a `UniqueGP` (in the unit cube for a box), to look at or to hand to another library."""
        self._flush()
        gp = UniqueGP(self.covariance, self.noise, self.mean)
        for candidate, n, average, squares in self._surrogate.statistics():
            gp.add_stats(self._vector(candidate), n, average, squares)
        return gp

    def fit_hyper(self, noise_bounds: tuple[float, float] = (1e-6, 1e2)) -> None:
        """Refit kernel and noise to what was seen, by the exact likelihood of all observations, and rebuild the model."""
        gp = self.to_gp().fit_hyper(noise_bounds)
        seen = self._surrogate.statistics()
        outside = [entry for entry in self._log if entry[0] == "outside"]
        # Through theta once more: exp(log(x)) is not always x, and a resumed run must have the very same kernel.
        self._theta = gp.kernel.theta.tolist()
        self.covariance, self.noise = gp.kernel.with_theta(gp.kernel.theta), gp.noise
        self._log = [*outside, *(["observe", *entry] for entry in seen)]
        self._replay()

    # ------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """All that was seen and decided, as plain values that survive JSON exactly. O(blocks)."""
        return {"version": STATE_VERSION, "optimizer": type(self).__name__, "theta": self._theta, "noise": self.noise,
                "log": [_plain(entry) for entry in self._log], "ledger": asdict(self.ledger_), "last": _plain(self._last),
                "block": None if self._block is None else _plain(asdict(self._block)),
                "rng": _plain(self.rng.bit_generator.state), **self._more_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, in an optimiser that was built with the same arguments.

        The log is replayed, so that the next suggestions equal those of the undisturbed run.
        """
        if state.get("version") != STATE_VERSION or state.get("optimizer") != type(self).__name__:
            raise ValueError(f"state: it is of {state.get('optimizer')!r}, version {state.get('version')!r}; "
                             f"this is {type(self).__name__!r}, version {STATE_VERSION}")
        self._theta = state["theta"]
        if self._theta is not None:
            if len(self._theta) != len(self.covariance.theta):
                raise ValueError("state: its kernel has other hyper-parameters; build the optimiser with the same kernel")
            self.covariance = self.covariance.with_theta(np.array(self._theta, dtype=np.float64))
        self.noise = float(state["noise"])
        self._log = [[entry[0], _candidate(entry[1]), *entry[2:]] for entry in state["log"]]
        self._replay()
        self.ledger_ = Ledger(**state["ledger"])
        self._last = _candidate(state["last"])
        block = state["block"]
        self._block = None if block is None else Block(**{**block, "candidate": _candidate(block["candidate"])})
        self.rng.bit_generator.state = state["rng"]
        self._load_more(state)

    # ------------------------------------------------------------ for subclasses

    def _choose(self) -> Choice:
        raise NotImplementedError  # abstract

    def _observe(self, candidate: Candidate, n: int, average: float, squares: float) -> None:
        """Fold observations into the model."""
        self._surrogate.observe(candidate, n, average, squares)
        self._log.append(["observe", candidate, n, average, squares])

    def _close(self) -> None:
        self._flush()
        self._block = None

    def _flush(self) -> None:
        block = self._block
        if block is not None and block.count:
            self._observe(block.candidate, block.count, block.average, block.squares)
            block.count, block.average, block.squares = 0, 0.0, 0.0

    def _while_open(self) -> None:
        """Called when part of a block was told."""

    def _unasked(self) -> None:
        """Called when data arrive that were not asked for."""

    def _more_state(self) -> dict[str, Any]:
        return {}

    def _load_more(self, state: dict[str, Any]) -> None:
        return None

    def _apply(self, entry: list[Any]) -> None:
        kind, candidate, *rest = entry
        if kind == "outside":
            self._surrogate.find(np.array(rest[0]))
        else:
            self._surrogate.observe(candidate, *rest)

    # ------------------------------------------------------------ inside

    def _fresh(self) -> Surrogate:
        if isinstance(self.space, FiniteSpace):
            return ArmSurrogate(self.space, self.covariance, self.noise, self.mean)
        return BoxSurrogate(self.space, self.covariance, self.noise, self.mean)

    def _replay(self) -> None:
        self._surrogate = self._fresh()
        for entry in self._log:
            self._apply(entry)

    def _remember_outside(self, candidate: int) -> None:
        if not any(entry[0] == "outside" and entry[1] == candidate for entry in self._log):
            self._log.append(["outside", candidate, self._vector(candidate).tolist()])

    def _account(self, candidate: Candidate, n: int) -> None:
        ledger = self.ledger_
        ledger.evaluations += n
        ledger.switches += candidate != self._last
        ledger.cost = ledger.evaluations + self.switch_cost * ledger.switches
        self._last = candidate

    def _warn_without_noise(self, n: int, squares: float) -> None:
        if n >= 3 and squares == 0.0 and not self._warned:
            self._warned = True
            warnings.warn(f"{n} evaluations of one candidate were all equal: without noise repeats teach nothing, "
                          "so evaluate once and tell that value", stacklevel=3)

    def _index(self, candidate: Candidate) -> int | None:
        return candidate if isinstance(candidate, int) and isinstance(self.space, FiniteSpace) and self.space.labels is None else None

    def _vector(self, candidate: Candidate) -> Array:
        if isinstance(self._surrogate, ArmSurrogate):
            assert isinstance(candidate, int)
            return np.asarray(self._surrogate.posterior.arms[candidate])
        return np.array(candidate)

    def _values(self, f: Callable[[Any], float] | npt.ArrayLike) -> Callable[[Candidate], float]:
        if callable(f):
            return lambda c: float(f(self._surrogate.decode(c)))
        values = np.asarray(f, dtype=np.float64)
        if not isinstance(self.space, FiniteSpace) or values.shape != (len(self.space.arms),):
            raise ValueError(f"f must be a function, or the values at the arms; an array of shape {values.shape} fits neither")
        return lambda c: float(values[c])  # type: ignore[index]

    def _std_score(self, width: float) -> Score:
        return lambda mean, std: mean + width * std


def _plain(value: Any) -> Any:
    """Numbers, lists and dicts only."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    return value.item() if isinstance(value, np.generic) else value


def _candidate(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
