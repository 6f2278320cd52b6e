"""Reinforcement learning from preferences with few questions (PR-LSVI).

For people who pay for each answer to "which of these two was better?". The agent never sees a reward: it plays two episodes a
round, and asks about them only where two rewards that both fit the answers so far would disagree about the pair.

**A finite problem, a scripted person.** Regret is exact, and 2,000 rounds take a few hundredths of a second:

>>> from workingpapers.papers.preference_rl import PRLSVI, PreferenceOracle, TabularFeatures, exact_value, make
>>> env = make("RiverSwim-v0", horizon=20)
>>> agent = PRLSVI(TabularFeatures(6, 2), horizon=20, seed=0)
>>> history = agent.learn(env, PreferenceOracle(seed=0), episodes=2_000)
>>> history.n_queries < 500, history.n_queries <= agent.query_bound_
(True, True)
>>> round(exact_value(env.mdp, agent.policy_) / env.mdp.optimal()[0], 1)
1.0

**CartPole, and a person.** `oracle` may be a script, a person at the terminal or a page in the browser; here a script that likes
poles to stay up. Ten questions at most; a run that is broken off goes on from its file (`PRLSVI.load`) with the same question:

>>> import gymnasium
>>> from workingpapers.papers.preference_rl import Link, RBFFeatures, cart_pole_text, monte_carlo_value
>>> low, high = (-2.4, -2.5, -0.21, -2.5), (2.4, 2.5, 0.21, 2.5)
>>> agent = PRLSVI(RBFFeatures(low, high, 2, n=64), 100, pool_steps=True, link=Link("logistic", 0.1), eps=1.0, seed=0)
>>> oracle = PreferenceOracle(beta=0.1, seed=0)              # or HumanOracle(cart_pole_text), or BrowserOracle(cart_pole_film)
>>> agent.learn(gymnasium.make("CartPole-v1"), oracle, episodes=10).n_queries <= 10     # checkpoint="pole.npz" keeps the run
True
>>> len(cart_pole_text(agent.history_.asked_pairs[0].first, frames=4).splitlines())    # what a person at the terminal sees of an episode
5
>>> monte_carlo_value(gymnasium.make("CartPole-v1"), agent.policy_, 100, episodes=5, seed=1).estimate > 50    # a random policy: 22
True

What is where:

- `PRLSVI`: the method. `learn`, `ask` / `tell`, `act`, `policy_`, `reward_`, `should_query`, `save`, `load`, `history_`.
- `TabularFeatures`, `LinearMDPFeatures`, `RBFFeatures`, `FourierFeatures`: what rewards are linear in.
- `PreferenceOracle`, `HumanOracle`, `BrowserOracle`, `RecordedOracle`: who answers. `cart_pole_text`, `cart_pole_film`: what a person
  is shown of CartPole. `PreferenceWrapper` hides the reward of any environment.
- `make`, `FiniteMDP`, `exact_value`, `monte_carlo_value`: problems, and what a policy is worth on them.
- `PreferenceTS`: the form by Thompson sampling, with `LaplaceReward`, `PolyaGammaReward` or `EnsembleReward` (torch),
  `DirichletDynamics` or `EnsembleDynamics` (torch), and `ValueIteration` or `PolicySearch`.
- `Selection`: other ways of choosing questions, at a given number of them.
"""

from __future__ import annotations

from ._browser import BrowserOracle
from ._envs import FiniteEnv, PreferenceWrapper, make
from ._features import Features, FourierFeatures, LinearMDPFeatures, RBFFeatures, TabularFeatures
from ._films import cart_pole_film, cart_pole_text
from ._history import AskedPair, History, monte_carlo_value
from ._links import Link
from ._mdp import FiniteMDP, exact_value
from ._networks import EnsembleDynamics, EnsembleReward
from ._oracles import HumanOracle, PreferenceOracle, RecordedOracle
from ._pbts import PreferenceTS
from ._planners import PolicySearch, ValueIteration
from ._posteriors import DirichletDynamics, LaplaceReward, PolyaGammaReward
from ._prlsvi import PRLSVI, theory_constants
from ._reward import RewardPosterior
from ._selection import Selection
from ._state import DamagedState
from ._trajectory import Trajectory

__all__ = ["PRLSVI", "AskedPair", "BrowserOracle", "DamagedState", "DirichletDynamics", "EnsembleDynamics", "EnsembleReward",
           "Features", "FiniteEnv", "FiniteMDP", "FourierFeatures", "History", "HumanOracle", "LaplaceReward", "LinearMDPFeatures",
           "Link", "PolicySearch", "PolyaGammaReward", "PreferenceOracle", "PreferenceTS", "PreferenceWrapper", "RBFFeatures",
           "RecordedOracle", "RewardPosterior", "Selection", "TabularFeatures", "Trajectory", "ValueIteration", "cart_pole_film",
           "cart_pole_text", "exact_value", "make", "monte_carlo_value", "theory_constants"]
