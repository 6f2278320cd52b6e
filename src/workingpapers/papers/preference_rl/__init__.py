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

What is where:

- `PRLSVI`: the method. `learn`, `ask` / `tell`, `act`, `policy_`, `reward_`, `should_query`, `save`, `load`, `history_`.
- `TabularFeatures`, `LinearMDPFeatures`, `RBFFeatures`, `FourierFeatures`: what rewards are linear in.
- `PreferenceOracle`, `HumanOracle`, `RecordedOracle`: who answers. `PreferenceWrapper` hides the reward of any environment.
- `make`, `FiniteMDP`, `exact_value`, `monte_carlo_value`: problems, and what a policy is worth on them.
- `PreferenceTS`: the form by Thompson sampling, with `LaplaceReward`, `PolyaGammaReward` or `EnsembleReward` (torch),
  `DirichletDynamics` or `EnsembleDynamics` (torch), and `ValueIteration` or `PolicySearch`.
- `Selection`: other ways of choosing questions, at a given number of them.
"""

from __future__ import annotations

from ._envs import FiniteEnv, PreferenceWrapper, make
from ._features import Features, FourierFeatures, LinearMDPFeatures, RBFFeatures, TabularFeatures
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

__all__ = ["PRLSVI", "AskedPair", "DamagedState", "DirichletDynamics", "EnsembleDynamics", "EnsembleReward", "Features", "FiniteEnv",
           "FiniteMDP", "FourierFeatures", "History", "HumanOracle", "LaplaceReward", "LinearMDPFeatures", "Link", "PolicySearch",
           "PolyaGammaReward", "PreferenceOracle", "PreferenceTS", "PreferenceWrapper", "RBFFeatures", "RecordedOracle",
           "RewardPosterior", "Selection", "TabularFeatures", "Trajectory", "ValueIteration", "exact_value", "make",
           "monte_carlo_value", "theory_constants"]
