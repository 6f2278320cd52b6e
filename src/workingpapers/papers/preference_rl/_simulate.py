"""Whole rounds on a finite problem with a scripted person, compiled: what `learn` runs where nothing else is in the way.

It makes the same draws from the same generators in the same order as the loop over a Gymnasium environment does.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from ._fit import Answers, Cloud, draw, hessian_factor, query_value, take_answer
from ._linalg import normals, solve_upper
from ._links import probability
from ._mdp import policy_value
from ._plan import Transitions, Truncation, draw_model, observe, plan, value_iteration
from ._selection import decide

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Problem(NamedTuple):
    """What only the world knows."""

    transitions: Array
    cumulative: Array
    rewards: Array
    start: Array
    start_cumulative: Array
    best: float


class Person(NamedTuple):
    """A scripted person: link code (2 = never errs), gain, and the chance that an answer is turned round."""

    code: int
    gain: float
    flip: float


class Settings(NamedTuple):
    """What stays fixed over a run."""

    horizon: int
    sigma_r: float
    sigma_p: float
    lam: float
    gain: float
    link: int
    norm_bound: float
    selection: int
    by_entropy: bool
    eps: float
    budget: int
    episodes: int
    is_thompson: bool
    same_policy: bool


class Mind(NamedTuple):
    """What the agent has learned; every array is changed in place."""

    phi: Array
    seen: Transitions
    answers: Answers
    cloud: Cloud
    before: Ints  # (H, S), the policy of the round before
    known_reward: Array  # (d,), or (0,): an upper reference that is told the reward
    prior: Array  # (S + 1,) Dirichlet weights, for Thompson sampling
    pace: Ints
    window: Array
    schedule: npt.NDArray[np.bool_]


class Log(NamedTuple):
    """One entry a round."""

    value: Array  # (n,) disagreement about the pair
    preference: Array  # (n,), -1 where nothing was asked
    regret: Array  # (n,) 2 V* - V of both policies
    states: Ints  # (n, 2, H + 1)
    actions: Ints  # (n, 2, H)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _place(cumulative: Array, u: float) -> int:
    """The first entry above u: a draw from the distribution whose running sums these are."""
    i = 0
    while cumulative[i] <= u:
        i += 1
    return i


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def roll_out(problem: Problem, policy: Ints, rng: np.random.Generator, states: Ints, actions: Ints) -> float:
    """Play one episode; fills states (H + 1,) and actions (H,) and gives the return."""
    total = 0.0
    s = _place(problem.start_cumulative, rng.random())
    states[0] = s
    for h in range(len(actions)):
        a = policy[h, s]
        actions[h] = a
        total += problem.rewards[s, a]
        s = _place(problem.cumulative[s, a], rng.random())
        states[h + 1] = s
    return total


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def answer(person: Person, difference: float, rng: np.random.Generator) -> float:
    """1 when the first is preferred, 0 when the second is, 0.5 for a tie of a person who never errs. Always two draws."""
    u, turned = rng.random(), rng.random() < person.flip
    if person.code == 2 and difference == 0.0:
        return 0.5
    first = u < probability(person.gain * difference, person.code)
    return 1.0 if first != turned else 0.0


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def choose_policy(mind: Mind, settings: Settings, trust: Truncation, rng: np.random.Generator) -> Ints:
    """The policy of this round: greedy for one draw of reward and transitions."""
    S, A, _ = mind.phi.shape
    if settings.is_thompson:
        theta = mind.cloud.mean + solve_upper(mind.cloud.hessian, normals(rng, len(mind.cloud.mean)))
    else:
        theta = draw(mind.cloud, settings.sigma_r, rng)
    if len(mind.known_reward) > 0:
        theta = mind.known_reward.copy()
    if settings.is_thompson:
        r = np.zeros((S, A))
        for s in range(S):
            for a in range(A):
                for j in range(mind.phi.shape[2]):
                    r[s, a] += mind.phi[s, a, j] * theta[j]
        return value_iteration(draw_model(mind.seen.counts[0], mind.prior, rng), r, settings.horizon)
    return plan(mind.phi, mind.seen, theta, settings.horizon, settings.lam, settings.sigma_p, trust, rng)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def features_of(phi: Array, states: Ints, actions: Ints) -> Array:
    """`phi(tau)`, the sum of features along a trajectory, shape (d,)."""
    total = np.zeros(phi.shape[2])
    for h in range(len(actions)):
        total += phi[states[h], actions[h]]
    return total


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def judge(mind: Mind, settings: Settings, x: Array) -> tuple[float, bool]:
    """Disagreement about a pair with difference x, and whether to ask."""
    if settings.is_thompson:
        value = query_value(mind.cloud.hessian, x, 1.0)
    else:
        value = query_value(mind.cloud.factor, x, settings.sigma_r)
    score = value
    if settings.by_entropy:
        z = 0.0
        for j in range(len(x)):
            z += x[j] * mind.cloud.mean[j]
        score = -abs(z)  # the entropy of the answer falls with the distance of the predicted returns
    informative = False
    for v in x:
        if v != 0.0:
            informative = True
    ask = decide(settings.selection, score, settings.eps, settings.budget, settings.episodes, informative,
                 mind.pace, mind.window, mind.schedule)
    return value, ask


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def learn_answer(mind: Mind, settings: Settings, x: Array, preference: float) -> None:
    """Take in one answer; Thompson sampling needs the Hessian at the mode exactly."""
    take_answer(mind.answers, mind.cloud, x, preference, settings.lam, settings.gain, settings.link, settings.norm_bound)
    if settings.is_thompson:
        mind.cloud.hessian[:] = hessian_factor(mind.answers, mind.cloud.mean, settings.lam, settings.gain, settings.link)


@numba.njit(cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def rounds(mind: Mind, settings: Settings, trust: Truncation, problem: Problem, person: Person, log: Log,
           agent_rng: np.random.Generator, world_rng: np.random.Generator, person_rng: np.random.Generator) -> None:
    """Run `len(log.value)` rounds: draw, plan, play the new policy and the one before, ask perhaps, learn."""
    value_before = policy_value(problem.transitions, problem.rewards, problem.start, mind.before)
    for i in range(len(log.value)):
        policy = choose_policy(mind, settings, trust, agent_rng)
        other = policy if settings.same_policy else mind.before
        worth = policy_value(problem.transitions, problem.rewards, problem.start, policy)
        log.regret[i] = 2 * problem.best - worth - (worth if settings.same_policy else value_before)
        first = roll_out(problem, policy, world_rng, log.states[i, 0], log.actions[i, 0])
        second = roll_out(problem, other, world_rng, log.states[i, 1], log.actions[i, 1])
        x = features_of(mind.phi, log.states[i, 0], log.actions[i, 0]) - features_of(mind.phi, log.states[i, 1], log.actions[i, 1])
        log.value[i], ask = judge(mind, settings, x)
        log.preference[i] = -1.0
        for k in range(2):
            observe(mind.seen, mind.phi, log.states[i, k], log.actions[i, k], False)
        if ask:
            log.preference[i] = answer(person, first - second, person_rng)
            learn_answer(mind, settings, x, log.preference[i])
        mind.before[:] = policy
        value_before = worth


__all__ = ["Log", "Mind", "Person", "Problem", "Settings", "answer", "choose_policy", "features_of", "judge", "learn_answer",
           "roll_out", "rounds"]
