"""What the two algorithms share: rounds, questions, ask and tell, history, state files."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ._envs import FiniteEnv, PreferenceWrapper
from ._history import AskedPair, History
from ._mdp import exact_value
from ._oracles import Oracle, PreferenceOracle
from ._plan import Truncation
from ._reward import checked_preference
from ._selection import PACED, WINDOW, Selection, decide
from ._simulate import Log, Mind, Problem, Settings, rounds
from ._state import Arrays, DamagedState, read_state, set_generator, take, write_state
from ._trajectory import Trajectory

Policy = Callable[[Any, int], Any]
Pairing = Literal["previous", "same"]
CHUNK = 1_000  # rounds of compiled code between two looks at callback, progress and checkpoint


class TablePolicy:
    """Actions for finite observations, shape (H, S)."""

    def __init__(self, actions: npt.NDArray[np.int64]) -> None:
        self.actions = actions

    def __call__(self, obs: Any, h: int) -> int:
        return int(self.actions[h, int(obs)])


class PreferenceAgent:
    """Base of `PRLSVI` and `PreferenceTS`: see there."""

    kind = ""

    def __init__(self, horizon: int, selection: Selection, pairing: Pairing, seed: int | np.random.Generator | None) -> None:
        if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or horizon < 1:
            raise ValueError(f"horizon is {horizon!r}: a whole number from 1 up is needed")
        if pairing not in ("previous", "same"):
            raise ValueError(f"pairing is {pairing!r}: 'previous' or 'same' is needed")
        self.horizon, self.selection, self.pairing = int(horizon), selection, pairing
        self.rng = np.random.default_rng(seed)
        # Environments are seeded once from the same seed, so that a seeded agent's run can be repeated.
        self._world_seed = int(np.random.SeedSequence(seed).generate_state(1)[0]) if isinstance(seed, int | np.integer) else None
        self._pace = np.zeros(3, np.int64)
        self._window = np.zeros(WINDOW)
        self._schedule = selection.schedule(self.rng)
        self._before: Policy | None = None
        self._log: dict[str, list[Any]] = {"value": [], "preference": [], "regret": [], "returns": []}
        self._asked: list[AskedPair] = []
        self._pending: tuple[Trajectory, Trajectory, float] | None = None
        self._world: PreferenceWrapper | None = None
        self._world_state: Any = None
        self._optimal_value = math.nan
        self._is_exact = False

    # ------------------------------------------------------------ what the algorithms add

    def _choose(self) -> Policy:
        raise NotImplementedError  # abstract

    def _greedy(self) -> Policy:
        raise NotImplementedError  # abstract

    def _judge(self, first: Trajectory, second: Trajectory) -> tuple[float, float, bool]:
        """Disagreement; certainty of the predicted answer, lower is more certain; whether the pair can teach anything."""
        raise NotImplementedError  # abstract

    def _observe(self, trajectory: Trajectory) -> None:
        raise NotImplementedError  # abstract

    def _learn(self, first: Trajectory, second: Trajectory, preference: float) -> None:
        raise NotImplementedError  # abstract

    def _check_spaces(self, env: Any) -> None:
        raise NotImplementedError  # abstract

    def _mind(self) -> tuple[Mind, Settings, Truncation] | None:
        """What compiled rounds need; None where they cannot stand in for the loop."""
        return None

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        raise NotImplementedError  # abstract

    def _restore(self, meta: dict[str, Any], arrays: Arrays) -> None:
        raise NotImplementedError  # abstract

    # ------------------------------------------------------------ learning

    def learn(self, env: Any, oracle: Oracle, episodes: int, callback: Callable[[Self, int], Any] | None = None, *,
              optimal_value: float | None = None, progress: bool = False, checkpoint: str | Path | None = None,
              checkpoint_every: int = 1_000) -> History:
        """Run rounds; each plays two episodes and asks at most one question. A question left open by `ask`, or by a person who went
        away in the middle of it, is put first, and its round counts.

        Args:
            env: a Gymnasium environment; its reward is hidden from the agent.
            oracle: who answers.
            episodes: rounds to run, on top of those already run.
            callback: called as `callback(agent, rounds so far)` after each round (after every 1,000 where rounds run compiled);
                learning ends when it returns True.
            optimal_value: V*, where it is known, to estimate the regret from the episodes played. Finite problems of `make` know
                theirs, and regret is exact there.
            progress: show a bar.
            checkpoint: a file to save the agent to, every `checkpoint_every` rounds and at the end, also when interrupted.

        Returns:
            the history of all rounds so far.

        Raises:
            TypeError: spaces that the features cannot take.
            ValueError: episodes below 1; an environment whose episodes are shorter than the horizon.
        """
        if episodes < 1 or checkpoint_every < 1:
            raise ValueError(f"episodes is {episodes} and checkpoint_every {checkpoint_every}: 1 at least")
        world = self.bind(env)
        if optimal_value is not None:
            self._optimal_value = float(optimal_value)
        if hasattr(oracle, "bind"):
            oracle.bind(world)
        done, saved = 0, 0
        fast = self._fast(world, oracle)
        bar = _bar(progress, episodes)
        try:
            while done < episodes:
                is_compiled = fast and self._pending is None
                n = min(CHUNK, episodes - done) if is_compiled else 1
                if checkpoint is not None:
                    n = min(n, checkpoint_every - saved)
                if is_compiled:
                    self._compiled_rounds(world, oracle, n)  # type: ignore[arg-type]
                else:
                    pair = self.ask()
                    if pair is not None:
                        self.tell(oracle(*pair))
                done, saved = done + n, saved + n
                bar(n)
                if checkpoint is not None and saved >= checkpoint_every:
                    self.save(checkpoint)
                    saved = 0
                if callback is not None and callback(self, len(self._log["value"])) is True:
                    break
        finally:
            bar(None)
            if checkpoint is not None and (saved or self._pending is not None):
                self.save(checkpoint)
        return self.history_

    def bind(self, env: Any) -> PreferenceWrapper:
        """Take an environment for the rounds to come; it is wrapped so that its reward is hidden, and seeded once."""
        world = env if isinstance(env, PreferenceWrapper) else None
        if world is None and self._world is not None and self._world.env is env:
            world = self._world
        if world is None:
            world = PreferenceWrapper(env)
        if world is self._world:
            return world
        self._check_spaces(world)
        self._is_exact = False
        if isinstance(world.unwrapped, FiniteEnv):
            problem = world.unwrapped.mdp
            if problem.horizon != self.horizon:
                raise ValueError(f"horizon is {self.horizon}, but the environment's episodes have {problem.horizon} steps")
            self._optimal_value, self._is_exact = problem.optimal()[0], True
        if self._world_state is not None:
            set_generator(world.unwrapped.np_random, self._world_state)
            self._world_state = None
        elif self._world_seed is not None and not self._log["value"]:
            world.reset(seed=self._world_seed)
        self._world = world
        return world

    # ------------------------------------------------------------ ask and tell

    def ask(self, env: Any = None) -> tuple[Trajectory, Trajectory] | None:
        """Run one round up to its question.

        Args:
            env: the environment; needed the first time, and the first time after `load`.

        Returns:
            two trajectories, to be answered with `tell`; None when this round needs no answer and is over. While a question is
            open the same one comes back.
        """
        if self._pending is not None:
            if env is not None:
                self.bind(env)
            return self._pending[:2]
        if env is not None:
            self.bind(env)
        if self._world is None:
            raise ValueError("env is needed at the first ask(), and at the first one after load()")
        before = self._policy_before()
        policy = self._choose()
        other = policy if self.pairing == "same" else before
        first, second = self._play(policy), self._play(other)
        self._record(first, second, policy, other)
        self._observe(first)
        self._observe(second)
        self._before = policy
        value, certainty, informative = self._judge(first, second)
        self._log["value"].append(value)
        self._log["preference"].append(-1.0)
        score = certainty if self.selection.kind == "entropy" else value
        s = self.selection
        if not decide(s.code, score, s.eps, s.budget, s.episodes, informative, self._pace, self._window, self._schedule):
            return None
        self._pending = (first, second, value)
        return first, second

    def tell(self, preference: float | None) -> None:
        """Answer the open question: 1 the first is better, 0 the second, 0.5 equal; None skips it.

        Raises:
            ValueError: another preference; no open question.
        """
        if self._pending is None:
            raise ValueError("tell() without a question: call ask() until it gives a pair")
        if preference is not None:
            answer = checked_preference(preference)
            first, second, _ = self._pending
            self._learn(first, second, answer)
            self._log["preference"][-1] = answer
            self._asked.append(AskedPair(len(self._log["value"]) - 1, first, second, answer))
        self._pending = None

    def should_query(self, first: Trajectory, second: Trajectory) -> tuple[bool, float]:
        """Whether the paper's rule would ask about this pair now, and how much two draws of the reward disagree about it."""
        value = self._judge(first, second)[0]
        return value > self.selection.eps, value

    def act(self, obs: Any, h: int = 0) -> Any:
        """The action of `policy_` at step h."""
        if not 0 <= h < self.horizon:
            raise ValueError(f"h is {h}: a step from 0 to {self.horizon - 1} is needed")
        return self.policy_(obs, h)

    @property
    def policy_(self) -> Policy:
        """The policy to use: greedy for the mean reward and the mean estimates, without draws and without optimism."""
        at = (len(self._log["value"]), len(self._asked))
        cached = getattr(self, "_cached_policy", None)
        if cached is None or cached[0] != at:
            self._cached_policy = cached = (at, self._greedy())
        return cached[1]

    @property
    def history_(self) -> History:
        """All rounds so far."""
        preference = np.array(self._log["preference"], dtype=float)
        return History(np.array(self._log["regret"], dtype=float), preference >= 0, np.array(self._log["value"], dtype=float),
                       np.array(self._log["returns"], dtype=float).reshape(-1, 2), tuple(self._asked), self._is_exact)

    # ------------------------------------------------------------ one episode

    def _policy_before(self) -> Policy:
        """The policy of the round before; at the first round that of a draw from the prior."""
        if self._before is None:
            self._before = self._choose()
        return self._before

    def _play(self, policy: Policy) -> Trajectory:
        world = self._world
        assert world is not None
        obs, _ = world.reset()
        for h in range(self.horizon):
            obs, _, terminated, truncated, _ = world.step(policy(obs, h))
            if terminated:
                break
            if truncated and h + 1 < self.horizon:
                raise ValueError(f"horizon is {self.horizon}, but the environment cut an episode off after {h + 1} steps")
        trajectory = world.trajectory
        assert trajectory is not None
        return trajectory

    def _record(self, first: Trajectory, second: Trajectory, policy: Policy, other: Policy) -> None:
        """Outside the agent: what the round was worth."""
        world = self._world
        assert world is not None
        earned = world.hidden_return(first), world.hidden_return(second)
        self._log["returns"].append(earned)
        if self._is_exact:
            mdp = world.unwrapped.mdp  # type: ignore[attr-defined]
            self._log["regret"].append(2 * self._optimal_value - exact_value(mdp, policy) - exact_value(mdp, other))
        else:
            self._log["regret"].append(2 * self._optimal_value - sum(earned))

    # ------------------------------------------------------------ compiled rounds

    def _fast(self, world: PreferenceWrapper, oracle: Any) -> bool:
        plain = isinstance(world.env, FiniteEnv) and type(world) is PreferenceWrapper and not world.debug
        scripted = type(oracle) is PreferenceOracle and oracle.reward == "env"
        return plain and scripted and self._mind() is not None

    def _compiled_rounds(self, world: PreferenceWrapper, oracle: PreferenceOracle, n: int) -> None:
        self._reserve(n)
        self._policy_before()
        made = self._mind()
        assert made is not None
        mind, settings, trust = made
        mdp, H = world.unwrapped.mdp, self.horizon  # type: ignore[attr-defined]
        problem = Problem(mdp.transitions, mdp.cumulative, mdp.rewards, mdp.start, mdp.start_cumulative, self._optimal_value)
        log = Log(np.zeros(n), np.zeros(n), np.zeros(n), np.zeros((n, 2, H + 1), np.int64), np.zeros((n, 2, H), np.int64))
        rounds(mind, settings, trust, problem, oracle.person, log, self.rng, world.unwrapped.np_random, oracle.rng)
        self._before = TablePolicy(mind.before)
        start = len(self._log["value"])
        self._log["value"] += log.value.tolist()
        self._log["preference"] += log.preference.tolist()
        self._log["regret"] += log.regret.tolist()
        self._log["returns"] += mdp.rewards[log.states[:, :, :-1], log.actions].sum(axis=2).tolist()
        for i in np.flatnonzero(log.preference >= 0):
            pair = [Trajectory(log.states[i, k].copy(), log.actions[i, k].copy()) for k in range(2)]
            self._asked.append(AskedPair(start + int(i), pair[0], pair[1], float(log.preference[i])))

    def _reserve(self, n: int) -> None:
        """Make room for the answers of n rounds."""

    # ------------------------------------------------------------ state files

    def save(self, path: str | Path) -> None:
        """Write everything to a state file (.npz, no pickle), whole or not at all; an open question is kept too.

        The generator of the environment is kept as well, so that a resumed run goes on as if it had never stopped, as long as all
        of the environment's luck comes from Gymnasium's `np_random`.
        """
        meta, arrays = self._state()
        world = self._world
        meta |= {"kind": self.kind, "rng": self.rng.bit_generator.state, "world_seed": self._world_seed,
                 "world": self._world_state if world is None else _plain(world.unwrapped.np_random.bit_generator.state),
                 "pending": self._pending is not None, "is_exact": self._is_exact}
        shown = [(p.first, p.second) for p in self._asked] + ([self._pending[:2]] if self._pending else [])
        trajectories = [t for pair in shown for t in pair]
        arrays |= {"pace": self._pace, "window": self._window, "schedule": self._schedule,
                   "log_value": np.array(self._log["value"], float), "log_preference": np.array(self._log["preference"], float),
                   "log_regret": np.array(self._log["regret"], float), "log_returns": np.array(self._log["returns"], float).reshape(-1, 2),
                   "asked_round": np.array([p.round for p in self._asked], np.int64),
                   "optimal_value": np.array([self._optimal_value]),
                   "trajectory_length": np.array([len(t) for t in trajectories], np.int64),
                   "trajectory_ended": np.array([t.ended for t in trajectories], bool)}
        if trajectories:
            arrays["trajectory_obs"] = np.concatenate([t.obs for t in trajectories])
            arrays["trajectory_actions"] = np.concatenate([t.actions for t in trajectories])
        write_state(path, meta, arrays)

    def _load_from(self, path: str | Path) -> Self:
        """Restore what `save` wrote into this agent, which must have been made with the same options."""
        meta, arrays = read_state(path, self.kind)
        before = copy.copy(self.__dict__)
        try:
            self._restore(meta, arrays)
            self._restore_log(meta, arrays)
        except (KeyError, IndexError, TypeError) as error:
            self.__dict__ = before
            raise DamagedState(f"{path}: {type(error).__name__}: {error}") from error
        return self

    def _restore_log(self, meta: dict[str, Any], arrays: Arrays) -> None:
        T = len(take(arrays, "log_value", -1))
        self._log = {"value": arrays["log_value"].tolist(), "preference": take(arrays, "log_preference", T).tolist(),
                     "regret": take(arrays, "log_regret", T, finite=False).tolist(),
                     "returns": [tuple(r) for r in take(arrays, "log_returns", T, 2, finite=False).tolist()]}
        pace, window, schedule = take(arrays, "pace", 3), take(arrays, "window", WINDOW), take(arrays, "schedule", -1)
        if pace.dtype.kind not in "iu" or schedule.dtype.kind != "b" or not len(schedule) or pace.min() < 0:
            raise DamagedState("pace or schedule are not what an agent saves")
        self._pace[:], self._window[:], self._schedule = pace, window, schedule
        self._optimal_value = float(take(arrays, "optimal_value", 1, finite=False)[0])
        self._is_exact, self._world_state, self._world_seed = bool(meta["is_exact"]), meta["world"], meta["world_seed"]
        set_generator(self.rng, meta["rng"])
        asked = take(arrays, "asked_round", -1)
        pairs = _pairs(arrays, len(asked) + bool(meta["pending"]))
        if asked.dtype.kind not in "iu" or (len(asked) and (asked.min() < 0 or asked.max() >= T)):
            raise DamagedState("asked_round names rounds that were never run")
        self._asked = [AskedPair(int(r), *pair, checked_preference(self._log["preference"][r])) for r, pair in zip(asked, pairs)]
        self._pending = (*pairs[-1], self._log["value"][-1]) if meta["pending"] else None


def _pairs(arrays: Arrays, n: int) -> list[tuple[Trajectory, Trajectory]]:
    lengths, ended = take(arrays, "trajectory_length", 2 * n), take(arrays, "trajectory_ended", 2 * n)
    if not n:
        return []
    obs, actions = arrays["trajectory_obs"], arrays["trajectory_actions"]
    if lengths.dtype.kind not in "iu" or lengths.min() < 1 or len(actions) != lengths.sum() or len(obs) != lengths.sum() + len(lengths):
        raise DamagedState("trajectories have lengths that do not fit their observations and actions")
    ends = np.cumsum(lengths)
    found = [Trajectory(obs[end - n + i : end + i + 1], actions[end - n : end], bool(done))
             for i, (end, n, done) in enumerate(zip(ends, lengths, ended))]
    return list(zip(found[::2], found[1::2]))


def _plain(state: Any) -> Any:
    """A generator's state with plain numbers, for JSON; generators that keep arrays are left out."""
    if isinstance(state, dict):
        inner = {k: _plain(v) for k, v in state.items()}
        return None if any(v is None for v in inner.values()) else inner
    if isinstance(state, np.integer):
        return int(state)
    return state if isinstance(state, int | float | str) else None


def check_discrete(name: str, space: Any, n: int) -> None:
    """Raise unless the space is Discrete(n), starting at 0."""
    if not isinstance(space, spaces.Discrete):
        raise TypeError(f"{name} is {space}: a Discrete space is needed")
    if int(space.n) != n or int(space.start) != 0:
        raise ValueError(f"{name} is {space}, but the features are for {n} of them, counted from 0")


def _bar(show: bool, total: int) -> Callable[[int | None], None]:
    if not show:
        return lambda n: None
    from rich.progress import Progress

    shown = Progress()
    task = shown.add_task("rounds", total=total)
    shown.start()

    def move(n: int | None) -> None:
        if n is None:
            shown.stop()
        else:
            shown.advance(task, n)

    return move


__all__ = ["PACED", "Policy", "PreferenceAgent", "TablePolicy", "check_discrete"]
