"""PR-LSVI: preference-based randomised least-squares value iteration."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from ._agent import Pairing, Policy, PreferenceAgent, TablePolicy, check_discrete
from ._entries import planned
from ._features import Features, features_from
from ._links import Link
from ._plan import Transitions, Truncation, observe
from ._replay import Replay, WeightPolicy
from ._reward import Moments, RewardPosterior
from ._selection import Selection
from ._simulate import Mind, Settings
from ._state import Arrays, DamagedState, read_state, take
from ._trajectory import Trajectory

Array = npt.NDArray[np.float64]
NO_TRUNCATION = Truncation(math.inf, math.inf, 0.0)
RESTORED = ("sigma_r", "sigma_p", "eps", "lam", "alpha", "norm_bound", "pool_steps", "ceiling", "refresh", "pairing")


def theory_constants(dim: int, horizon: int, episodes: int, delta: float = 0.1) -> dict[str, Any]:
    """Orders of sigma_r, sigma_p and alpha that the analysis asks for, without its larger constants (reconstructed).

    `sigma_r = sqrt(d log(T / delta))`, `sigma_p = H^1.5 d log(d H T / delta)`, `alpha_U = 1 / (H sqrt(d))`, `alpha_L = alpha_U / 2`.
    They are for proofs: the draws are so wide that a run of practical length explores from its first round to its last.

    >>> {k: np.round(v, 3).tolist() for k, v in theory_constants(12, 5, 500).items()}
    {'sigma_r': 10.11, 'sigma_p': 1692.015, 'alpha': [0.029, 0.058]}
    """
    if dim < 1 or horizon < 1 or episodes < 1 or not 0 < delta < 1:
        raise ValueError(f"dim {dim}, horizon {horizon}, episodes {episodes} from 1 up and delta {delta} in (0, 1) are needed")
    upper = 1 / (horizon * math.sqrt(dim))
    return {"sigma_r": math.sqrt(dim * math.log(episodes / delta)),
            "sigma_p": horizon**1.5 * dim * math.log(dim * horizon * episodes / delta), "alpha": (upper / 2, upper)}


class PRLSVI(PreferenceAgent):
    """Reinforcement learning from preferences in linear decision problems (PR-LSVI).

    Good for problems with a short horizon and features in which rewards and transitions are roughly linear, where each answer of
    a person costs something. Each round: fit rewards to the answers so far; draw one from a Gaussian around the fit; plan for it by
    least-squares value iteration with drawn weights; play the new policy and the one of the round before; ask only if two draws of
    the reward disagree about the pair by more than `eps` on average, `(2 / sqrt(pi)) sigma_r ||x||_{Sigma_r^{-1}} > eps`.

    A larger `eps` asks less and learns less; regret and questions trade as `eps T` against `1 / eps^2`. Rewards are identified only
    as far as differences of trajectories reach, so judge by values, not by theta.

    Cost of a round: finite observations, O(H S^2 A) with tabular features and O(H (d^2 S A)) with others, whatever the round;
    else O(H n m + n A m^2) for n kept transitions and m features a block. T = 100,000 rounds of 18 tabular features take about a second.

    Structure, inputs and the rule of asking are the paper's (Wu and Sun, 2024); reconstructed here: the ridge form of the fit, the
    default bound `ceiling (H - h)`, no estimate after the last step, the first policy (a draw from the prior), and every default.

    Args:
        features: `TabularFeatures`, `LinearMDPFeatures`, `RBFFeatures`, `FourierFeatures`, or your own `Features`.
        horizon: H, steps of an episode; episodes may end earlier in a terminal state.
        sigma_r: spread of drawn rewards. Too small, and a run may settle on a poor policy and never ask again.
        sigma_p: spread of drawn transition weights.
        eps: threshold of asking, in the unit of returns; 0 asks always.
        lam: ridge, above 0.
        alpha: (L, U): what follows is trusted where `||phi||_{Sigma^{-1}} <= L`, taken to be the bound where it is `> U`, mixed
            between. None: (0.5, 0.9) / sqrt(lam), so that a tabular pair counts as unknown until its first visit, and as known from
            its third on.
        link: `logistic`, `probit`, or a `Link` whose gain says how sharply the person tells returns apart.
        norm_bound: B, the most that the reward vector may measure; None for none.
        seed: of all draws, and once of the environment.
        pool_steps: share transitions between the steps of an episode; right where the environment does not change with time
            (reconstructed; the paper's estimates are apart for each step).
        ceiling: largest reward of a step, for the default bound.
        refresh: plan anew every so many rounds, or with `"doubling"` when some determinant of Sigma has doubled or an answer came
            (a variant, not the paper's).
        pairing: `previous`, the paper's; `same` compares two episodes of one policy (a baseline).
        selection: another way of choosing questions, for comparisons; `eps` then has no meaning.
        true_reward: plan for this reward vector rather than for draws: an upper reference that needs no answers.
        theory_constants: take sigma_r, sigma_p and alpha from `theory_constants()` for this many episodes.

    Attributes:
        policy_: the policy to use.
        reward_posterior_: mean (d,) and covariance (d, d) of the reward vector.
        history_: see `History`.
        query_bound_: the most questions that the rule can have asked so far; holds for every run.

    Raises:
        ValueError, TypeError: an argument out of its range, named.

    >>> from workingpapers.papers.preference_rl import PRLSVI, PreferenceOracle, TabularFeatures, exact_value, make
    >>> env = make("RandomMDP-v0", seed=1)
    >>> agent = PRLSVI(TabularFeatures(6, 3), horizon=5, link=Link("logistic", gain=4.0), seed=0)
    >>> history = agent.learn(env, PreferenceOracle(link="logistic", beta=4.0, seed=0), episodes=2_000)
    >>> history.n_queries < 400, exact_value(env.mdp, agent.policy_) > 0.95 * env.mdp.optimal()[0]
    (True, True)

    References:
        R. Wu and W. Sun. Making RL with Preference-based Feedback Efficient via Randomization. ICLR 2024.
    """

    kind = "PRLSVI"

    def __init__(self, features: Features, horizon: int, *, sigma_r: float = 0.3, sigma_p: float = 0.05, eps: float = 0.1,
                 lam: float = 1.0, alpha: tuple[float, float] | None = None, link: str | Link = "logistic",
                 norm_bound: float | None = None, seed: int | np.random.Generator | None = None, pool_steps: bool = False,
                 ceiling: float = 1.0, refresh: int | Literal["doubling"] = 1, pairing: Pairing = "previous",
                 selection: Selection | None = None, true_reward: npt.ArrayLike | None = None,
                 theory_constants: int | None = None) -> None:
        if not isinstance(features, Features):
            raise TypeError(f"features is {features!r}: TabularFeatures, LinearMDPFeatures, RBFFeatures, FourierFeatures or your own "
                            "Features are needed")
        super().__init__(horizon, selection or Selection("rule", eps=eps), pairing, seed)
        if theory_constants is not None:
            found = _theory(features.dim, self.horizon, theory_constants)
            sigma_r, sigma_p, alpha = found["sigma_r"], found["sigma_p"], found["alpha"]
        if not (math.isfinite(sigma_p) and sigma_p >= 0) or not (math.isfinite(ceiling) and ceiling >= 0):
            raise ValueError(f"sigma_p is {sigma_p} and ceiling {ceiling}: finite numbers from 0 up are needed")
        if refresh != "doubling" and (isinstance(refresh, str | bool) or refresh < 1):
            raise ValueError(f"refresh is {refresh!r}: a number of rounds from 1 up, or 'doubling'")
        self.features, self.sigma_r, self.sigma_p, self.eps, self.lam = features, float(sigma_r), float(sigma_p), float(eps), float(lam)
        self.norm_bound, self.pool_steps, self.ceiling, self.refresh = norm_bound, bool(pool_steps), float(ceiling), refresh
        self._reward = RewardPosterior(features.dim, sigma=sigma_r, lam=lam, link=link, norm_bound=norm_bound)
        self.link = self._reward.link
        self.alpha = _checked_alpha(alpha, self.lam)
        self._trust = Truncation(*self.alpha, self.ceiling)
        self._known = np.zeros(0) if true_reward is None else np.array(true_reward, dtype=float)
        if len(self._known) not in (0, features.dim):
            raise ValueError(f"true_reward has shape {self._known.shape}, not ({features.dim},)")
        self._seen = _nothing_seen(features, 1 if pool_steps else self.horizon, self.lam) if features.table is not None else None
        self._replay = Replay(features, self.horizon, self.lam, self.pool_steps) if self._seen is None else None
        self._planned_at, self._last_logdet, self._last_answers = -1, 0.0, 0
        if self.selection.kind == "rule" and self.eps >= self._most_disagreement():
            warnings.warn(f"eps is {eps}, above {self._most_disagreement():.3g}, the most that draws can disagree about any pair "
                          "before the first answer: no question will ever be asked", stacklevel=2)

    # ------------------------------------------------------------ what was learned

    def reward_(self, obs: npt.ArrayLike, action: npt.ArrayLike) -> Array:
        """Mean reward of (obs, action), up to what differences of trajectories leave open."""
        return np.asarray(self.features(obs, action) @ self._reward.cloud.mean)

    @property
    def reward_posterior_(self) -> Moments:
        """Mean and covariance of the reward vector."""
        return self._reward.moments

    @property
    def query_bound_(self) -> float:
        """`2 d max(1, 4 sigma_r^2 / (pi eps^2)) log(1 + N max||x||^2 / (lam d))`: no run of the rule asks more."""
        return self._reward.bound_on_queries(self.eps)

    def _most_disagreement(self) -> float:
        """Of a pair whose feature sums are as far apart as H steps allow."""
        apart = math.sqrt(2) * self.horizon if self.features.is_tabular else 2 * self.horizon
        return 2 / math.sqrt(math.pi) * self.sigma_r * apart / math.sqrt(self.lam)

    # ------------------------------------------------------------ one round

    def _choose(self) -> Policy:
        if self.refresh != 1 and self._before is not None and not self._is_due():
            return self._before
        theta = self._reward.sample(self.rng)
        if len(self._known):
            theta = self._known.copy()
        return self._plan(theta, self.sigma_p, self._trust)

    def _plan(self, theta: Array, sigma_p: float, trust: Truncation) -> Policy:
        if self._replay is not None:
            return self._replay.plan(theta, sigma_p, trust, self.rng)
        assert self._seen is not None
        assert self.features.table is not None
        return TablePolicy(planned(self.features.table, self._seen, theta, self.horizon, self.lam, sigma_p, trust, self.rng))

    def _greedy(self) -> Policy:
        mean = self._known if len(self._known) else self._reward.cloud.mean
        return self._plan(mean.copy(), 0.0, NO_TRUNCATION)

    def _is_due(self) -> bool:
        t = len(self._log["value"])
        if self.refresh == "doubling":
            logdet, answers = self._logdet(), self._reward.n_answers
            if logdet < self._last_logdet + math.log(2) and answers == self._last_answers:
                return False
            self._last_logdet, self._last_answers = logdet, answers
            return True
        return t % int(self.refresh) == 0

    def _logdet(self) -> float:
        """Sum over steps of log det Sigma_P."""
        if self._replay is not None:
            return 2 * float(np.log(np.diagonal(self._replay.factors, axis1=2, axis2=3)).sum())
        assert self._seen is not None
        if self.features.is_tabular:
            return float(np.log(self.lam + self._seen.counts.sum(axis=-1)).sum())
        return 2 * float(np.log(np.diagonal(self._seen.factor, axis1=1, axis2=2)).sum())

    def _difference(self, first: Trajectory, second: Trajectory) -> Array:
        return self.features.total(first.obs, first.actions) - self.features.total(second.obs, second.actions)

    def _judge(self, first: Trajectory, second: Trajectory) -> tuple[float, float, bool]:
        x = self._difference(first, second)
        return self._reward.value(x), -abs(float(x @ self._reward.cloud.mean)), bool(x.any())

    def _observe(self, trajectory: Trajectory) -> None:
        if self._replay is not None:
            self._replay.observe(trajectory)
        else:
            assert self._seen is not None
            assert self.features.table is not None
            states, actions = np.ascontiguousarray(trajectory.obs, np.int64), np.ascontiguousarray(trajectory.actions, np.int64)
            observe(self._seen, self.features.table, states, actions, trajectory.ended)

    def _learn(self, first: Trajectory, second: Trajectory, preference: float) -> None:
        self._reward.add(self._difference(first, second), preference)

    def _check_spaces(self, env: Any) -> None:
        check_discrete("action_space", env.action_space, self.features.n_actions)
        if self.features.table is not None:
            check_discrete("observation_space", env.observation_space, len(self.features.table))
        elif not isinstance(env.observation_space, spaces.Box):
            raise TypeError(f"observation_space is {env.observation_space}: a Box is needed for these features")

    # ------------------------------------------------------------ compiled rounds

    def _mind(self) -> tuple[Mind, Settings, Truncation] | None:
        if self._seen is None or self.refresh != 1:
            return None
        s, table = self.selection, self.features.table
        assert table is not None
        before = self._before.actions.copy() if isinstance(self._before, TablePolicy) else np.zeros((self.horizon, len(table)), np.int64)
        mind = Mind(table, self._seen, self._reward.answers, self._reward.cloud, before, self._known, np.zeros(0),
                    self._pace, self._window, self._schedule)
        settings = Settings(self.horizon, self.sigma_r, self.sigma_p, self.lam, self.link.gain, self.link.code, self._reward.bound,
                            s.code, s.kind == "entropy", s.eps, s.budget, s.episodes, False, self.pairing == "same")
        return mind, settings, self._trust

    def _reserve(self, n: int) -> None:
        self._reward.reserve(n)

    # ------------------------------------------------------------ state files

    def _state(self) -> tuple[dict[str, Any], Arrays]:
        meta: dict[str, Any] = {name: getattr(self, name) for name in RESTORED}
        meta |= {"horizon": self.horizon, "link": [self.link.name, self.link.gain], "features": self.features.config(),
                 "selection": [self.selection.kind, self.selection.eps, self.selection.budget, self.selection.episodes],
                 "has_before": self._before is not None}
        arrays: Arrays = {**self.features.arrays(), **self._reward.state(), "true_reward": self._known,
                          "doubling": np.array([self._last_logdet, self._last_answers])}
        if self._seen is not None:
            arrays |= {"seen_counts": self._seen.counts, "seen_factor": self._seen.factor, "seen_onward": self._seen.onward}
        if self._replay is not None:
            arrays |= self._replay.state()
        if isinstance(self._before, TablePolicy):
            arrays["before_actions"] = self._before.actions
        elif isinstance(self._before, WeightPolicy):
            arrays |= {"before_theta": self._before.theta, "before_onward": self._before.onward, "before_factors": self._before.factors}
        return meta, arrays

    @classmethod
    def load(cls, path: str | Path, features: Features | None = None) -> Self:
        """The agent that `save` wrote, ready to `ask(env)` or `learn` on.

        Args:
            path: the file. Nothing in it is run, and all of it is checked.
            features: needed where the agent's features were your own.

        Raises:
            DamagedState (a ValueError): what is wrong, in words.
        """
        meta, arrays = read_state(path, cls.kind)
        try:
            options = {name: meta[name] for name in RESTORED}
            options["alpha"] = tuple(options["alpha"])
            kind, eps, budget, episodes = meta["selection"]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what had to be said was said when it was made
                agent = cls(features if features is not None else features_from(meta["features"], arrays), meta["horizon"],
                            link=Link(*meta["link"]), selection=Selection(kind, eps, budget, episodes),
                            true_reward=arrays["true_reward"] if len(take(arrays, "true_reward", -1)) else None, **options)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DamagedState(f"{path}: the file describes no agent: {type(error).__name__}: {error}") from error
        return agent._load_from(path)

    def _restore(self, meta: dict[str, Any], arrays: Arrays) -> None:
        self._reward.restore(arrays)
        logdet, answers = take(arrays, "doubling", 2)
        self._last_logdet, self._last_answers = float(logdet), int(answers)
        if self._seen is not None:
            found = [take(arrays, f"seen_{name}", *array.shape) for name, array in zip(Transitions._fields, self._seen)]
            if (found[0] < 0).any() or (found[1].size and not (np.diagonal(found[1], axis1=1, axis2=2) > 0).all()):
                raise DamagedState("seen_counts or seen_factor are not what an agent saves")
            self._seen = Transitions(*(np.ascontiguousarray(x) for x in found))
        if self._replay is not None:
            self._replay.restore(arrays)
        if not meta["has_before"]:
            return
        if self._seen is not None:
            actions = take(arrays, "before_actions", self.horizon, self._seen_states)
            if actions.dtype.kind not in "iu" or actions.min() < 0 or actions.max() >= self.features.n_actions:
                raise DamagedState("before_actions names actions that there are not")
            self._before = TablePolicy(actions.astype(np.int64))
        else:
            assert self._replay is not None
            self._before = WeightPolicy(self.features, take(arrays, "before_theta", self.features.dim),
                                        take(arrays, "before_onward", self.horizon, self.features.dim),
                                        np.ascontiguousarray(take(arrays, "before_factors", *self._replay.factors.shape)), self._trust)

    @property
    def _seen_states(self) -> int:
        assert self.features.table is not None
        return len(self.features.table)


_theory = theory_constants


def _checked_alpha(alpha: tuple[float, float] | None, lam: float) -> tuple[float, float]:
    if alpha is None:
        return 0.5 / math.sqrt(lam), 0.9 / math.sqrt(lam)
    lower, upper = (float(a) for a in alpha)
    if not 0 <= lower < upper < math.inf:
        raise ValueError(f"alpha is {alpha}: two finite numbers with 0 <= L < U are needed, or None")
    return lower, upper


def _nothing_seen(features: Features, groups: int, lam: float) -> Transitions:
    assert features.table is not None
    S, A, d = features.table.shape
    if features.is_tabular:
        return Transitions(np.zeros((groups, S, A, S + 1)), np.zeros((0, 0, 0)), np.zeros((0, 0, 0)))
    return Transitions(np.zeros((0, 0, 0, 0)), np.tile(math.sqrt(lam) * np.eye(d), (groups, 1, 1)), np.zeros((groups, d, S + 1)))


__all__ = ["PRLSVI", "theory_constants"]
