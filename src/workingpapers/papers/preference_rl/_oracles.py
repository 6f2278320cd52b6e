"""Who answers: a script, a person at the terminal, or a file of answers given before."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ._links import Link
from ._reward import checked_preference
from ._simulate import Person, answer
from ._trajectory import Trajectory


class Oracle(Protocol):
    """Answers a question about two trajectories: 1 the first is better, 0 the second, 0.5 equal, None skipped."""

    def __call__(self, first: Trajectory, second: Trajectory) -> float | None:
        """The answer."""


class PreferenceOracle:
    """A scripted person: `P(first preferred) = Phi(beta * (return of first - return of second))`.

    Args:
        reward: `env`, the hidden returns of the environment that is learned in, or a function from a trajectory to its return.
        link: `logistic`, `probit`, or `deterministic` (the larger return wins, ties are 0.5).
        beta: how sharply returns are told apart. Sums over long episodes make answers near deterministic: see `calibrated`.
        flip: chance that an answer is turned round.
        seed: two draws an answer, whatever it is; `skip=n` takes up a script where n answers were given.

    >>> oracle = PreferenceOracle(lambda trajectory: trajectory.actions.sum(), link="deterministic")
    >>> longer, shorter = Trajectory(np.arange(4), np.ones(3, int)), Trajectory(np.arange(3), np.ones(2, int))
    >>> oracle(longer, shorter), oracle(shorter, longer), oracle(longer, longer)
    (1.0, 0.0, 0.5)
    """

    def __init__(self, reward: str | Callable[[Trajectory], float] = "env", link: str = "logistic", beta: float = 1.0, flip: float = 0.0,
                 seed: int | np.random.Generator | None = None, skip: int = 0) -> None:
        if reward != "env" and not callable(reward):
            raise TypeError(f"reward is {reward!r}: 'env' or a function from a trajectory to its return is needed")
        if not 0 <= flip < 0.5:
            raise ValueError(f"flip is {flip}: a chance from 0 to below one half is needed")
        self.reward, self.link, self.flip = reward, Link(link, beta), float(flip)
        self.rng = np.random.default_rng(seed)
        self.rng.random(2 * skip)
        self._world: Any = None

    @property
    def person(self) -> Person:
        """For compiled code."""
        return Person(self.link.code, self.link.gain, self.flip)

    def bind(self, world: Any) -> None:
        """Where the hidden returns come from, when `reward` is `env`: a `PreferenceWrapper`. `learn` calls it."""
        self._world = world

    def returns(self, trajectory: Trajectory) -> float:
        """The return that this person sees in a trajectory."""
        if callable(self.reward):
            found = float(self.reward(trajectory))
        elif self._world is None:
            raise ValueError("reward is 'env', but the oracle is bound to no environment: call bind(wrapper)")
        else:
            found = float(self._world.hidden_return(trajectory))
        if not math.isfinite(found):
            raise ValueError(f"reward gave {found} for a trajectory: a finite number is needed")
        return found

    def __call__(self, first: Trajectory, second: Trajectory) -> float:
        return float(answer(self.person, self.returns(first) - self.returns(second), self.rng))

    @staticmethod
    def calibrated(returns: npt.ArrayLike, entropy: float = 0.5, link: str = "logistic") -> float:
        """The `beta` at which answers about random pairs of these returns have this mean entropy, in bits, by bisection.

        >>> beta = PreferenceOracle.calibrated([0.0, 50.0, 100.0, 200.0], entropy=0.5)
        >>> 0.005 < beta < 0.1
        True
        """
        x = np.asarray(returns, dtype=float).ravel()
        if len(x) < 2 or not np.isfinite(x).all() or np.ptp(x) == 0:
            raise ValueError("returns must hold two different finite numbers at least")
        if not 0 < entropy < 1 or link not in ("logistic", "probit"):
            raise ValueError(f"entropy is {entropy} and link {link!r}: an entropy between 0 and 1 bit and a noisy link are needed")
        gaps = np.abs(x[:, None] - x)[np.triu_indices(len(x), 1)]
        if (gaps == 0).mean() >= entropy:
            raise ValueError(f"entropy is {entropy}, but {(gaps == 0).mean():.2f} of the pairs have equal returns and are coin tosses")
        low, high = 1e-9 / gaps.max(), 1e9 / gaps[gaps > 0].min()
        for _ in range(80):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if float(np.mean(Link(link, middle).entropy(gaps))) > entropy else (low, middle)
        return math.sqrt(low * high)


class HumanOracle:
    """A person at the terminal. Enter 1 or 2 for the better one, = for equal, s to skip. `BrowserOracle` asks on a page instead.

    Control-C or the end of the input leaves the question open: with `learn(..., checkpoint=FILE)` nothing is lost, and `load` and
    `learn` put the same question again.

    Args:
        render: from a trajectory to a text (or None, when it shows the trajectory by itself).
        ask: reads a line, as `input` does.
        show: prints a text.

    >>> lines = iter(["what?", "2"])
    >>> oracle = HumanOracle(lambda t: " ".join(map(str, t.obs)), ask=lambda prompt: next(lines), show=lambda text: None)
    >>> oracle(Trajectory(np.arange(3), np.zeros(2, int)), Trajectory(np.arange(2), np.zeros(1, int)))
    0.0
    """

    ANSWERS: dict[str, float | None] = {"1": 1.0, "2": 0.0, "=": 0.5, "s": None, "equal": 0.5, "skip": None}

    def __init__(self, render: Callable[[Trajectory], str | None], ask: Callable[[str], str] = input,
                 show: Callable[[str], Any] = print) -> None:
        if not callable(render):
            raise TypeError(f"render is {render!r}: a function from a trajectory to a text is needed")
        self.render, self.ask, self.show = render, ask, show

    def __call__(self, first: Trajectory, second: Trajectory) -> float | None:
        for number, trajectory in (("1", first), ("2", second)):
            self.show(f"-- {number}")
            text = self.render(trajectory)
            if text:
                self.show(text)
        while (given := self.ask("Which is better? 1, 2, = (equal), s (skip): ").strip().lower()) not in self.ANSWERS:
            self.show(f"{given!r} is none of 1, 2, = and s")
        return self.ANSWERS[given]


class RecordedOracle:
    """Answers from a file of JSON lines, in order; where the file ends, from `source`, whose answers are appended at once.

    Each line holds the fingerprints of both trajectories and the answer, so that answers never reach another pair.

    Args:
        path: the file; it need not exist when there is a `source`.
        source: an oracle, or None.

    Raises:
        ValueError: a line that is no answer; a pair that is not the recorded one; no answer left and no source.
    """

    def __init__(self, path: str | Path, source: Oracle | None = None) -> None:
        self.path, self.source = Path(path), source
        self._lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        if not self._lines and source is None:
            raise ValueError(f"path: {self.path} holds no answers, and there is no source to ask")
        self._next = 0

    def bind(self, world: Any) -> None:
        """Hand the environment on to the source."""
        if hasattr(self.source, "bind"):
            self.source.bind(world)  # type: ignore[union-attr]

    def __call__(self, first: Trajectory, second: Trajectory) -> float | None:
        pair = [first.digest(), second.digest()]
        if self._next < len(self._lines):
            self._next += 1
            return self._read(self._lines[self._next - 1], pair)
        if self.source is None:
            raise ValueError(f"{self.path} has no answer left after {self._next}: give a source to ask further")
        given = self.source(first, second)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"pair": pair, "preference": given}) + "\n")
        return given

    def _read(self, line: str, pair: list[str]) -> float | None:
        where = f"{self.path}, line {self._next}"
        try:
            record = json.loads(line)
            recorded, given = record["pair"], record["preference"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{where}: no recorded answer: {error}") from error
        if recorded != pair:
            raise ValueError(f"{where}: the answer is about another pair: the run is not the one that was recorded")
        return None if given is None else checked_preference(given)
