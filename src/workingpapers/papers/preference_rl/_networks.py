"""Bootstrapped ensembles of small torch networks for rewards and transitions that are not linear. Torch is imported when one is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._links import Link
from ._posteriors import mean_distance
from ._state import Arrays, DamagedState, take
from ._trajectory import Trajectory

Array = npt.NDArray[np.float64]


class _Ensemble:
    """K networks with two hidden layers side by side, and as many frozen ones ("randomised priors", Osband et al., 2018).

    The prior keeps members apart where there are no data; each member weighs every datum by a draw of its own.
    """

    def __init__(self, inputs: int, outputs: int, members: int, hidden: int, prior_scale: float, lr: float, seed: int) -> None:
        import torch

        if members < 2 or hidden < 1:
            raise ValueError(f"members is {members} and hidden {hidden}: 2 and 1 at least")
        self.members, self.hidden, self.prior_scale = members, hidden, prior_scale
        generator = torch.Generator().manual_seed(seed)
        sizes = [(inputs, hidden), (hidden, hidden), (hidden, outputs)]

        def layers() -> list[Any]:
            made = []
            for a, b in sizes:
                made += [torch.randn(members, a, b, generator=generator) / math.sqrt(a), torch.zeros(members, 1, b)]
            return made

        self.prior = layers()
        self.weights = [w.requires_grad_() for w in layers()]
        self.optimizer = torch.optim.Adam(self.weights, lr=lr)

    def __call__(self, x: Any) -> Any:
        """x (n, inputs) or (K, n, inputs): outputs (K, n, outputs)."""
        import torch

        with torch.no_grad():
            prior = self._forward(self.prior, x)
        return self._forward(self.weights, x) + self.prior_scale * prior

    @staticmethod
    def _forward(layers: Sequence[Any], x: Any) -> Any:
        import torch

        for i in range(0, len(layers), 2):
            x = torch.matmul(x, layers[i]) + layers[i + 1]
            if i + 2 < len(layers):
                x = torch.tanh(x)
        return x

    def one(self, member: int) -> Callable[[Any], Any]:
        """A member by itself as a function of numpy arrays (n, inputs): in numpy, which is faster for rows this few."""
        with_prior = [[w[member].detach().numpy().astype(float) for w in layers] for layers in (self.weights, self.prior)]

        def forward(x: Array) -> Array:
            out: Any = 0.0
            for layers, scale in zip(with_prior, (1.0, self.prior_scale)):
                y = x
                for i in range(0, len(layers), 2):
                    y = y @ layers[i] + layers[i + 1]
                    if i + 2 < len(layers):
                        y = np.tanh(y)
                out = out + scale * y
            return np.asarray(out)

        return forward

    def step(self, loss: Any) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def state(self, prefix: str) -> Arrays:
        out: Arrays = {}
        for i, (p, w) in enumerate(zip(self.prior, self.weights)):
            moments = self.optimizer.state.get(w, {})
            out[f"{prefix}_prior{i}"], out[f"{prefix}_weights{i}"] = p.numpy(), w.detach().numpy()
            out[f"{prefix}_first{i}"] = moments["exp_avg"].numpy() if moments else np.zeros_like(w.detach().numpy())
            out[f"{prefix}_second{i}"] = moments["exp_avg_sq"].numpy() if moments else np.zeros_like(w.detach().numpy())
            out[f"{prefix}_steps{i}"] = np.array([float(moments["step"]) if moments else 0.0])
        return out

    def restore(self, arrays: Arrays, prefix: str) -> None:
        import torch

        for i, (p, w) in enumerate(zip(self.prior, self.weights)):
            shape = tuple(w.shape)
            p.copy_(torch.from_numpy(take(arrays, f"{prefix}_prior{i}", *shape)))
            with torch.no_grad():
                w.copy_(torch.from_numpy(take(arrays, f"{prefix}_weights{i}", *shape)))
            steps = float(take(arrays, f"{prefix}_steps{i}", 1)[0])
            if steps > 0:
                self.optimizer.state[w] = {"step": torch.tensor(steps),
                                           "exp_avg": torch.from_numpy(take(arrays, f"{prefix}_first{i}", *shape).copy()),
                                           "exp_avg_sq": torch.from_numpy(take(arrays, f"{prefix}_second{i}", *shape).copy())}


class _Inputs:
    """Observations, scaled to about [-1, 1], beside one-hot (or continuous) actions."""

    def __init__(self, low: Sequence[float], high: Sequence[float], n_actions: int, continuous: bool) -> None:
        self.low, self.high = np.array(low, dtype=float), np.array(high, dtype=float)
        if self.low.ndim != 1 or self.low.shape != self.high.shape or not (np.isfinite([self.low, self.high]).all()
                                                                           and (self.low < self.high).all()):
            raise ValueError("low and high must be finite, of equal length, with low < high: give ranges that are really visited")
        if n_actions < 1:
            raise ValueError(f"n_actions is {n_actions}: 1 at least")
        self.n_actions, self.continuous = int(n_actions), continuous
        self.width = len(self.low) + self.n_actions

    def __call__(self, obs: npt.ArrayLike, actions: npt.ArrayLike) -> Array:
        x = 2 * (np.asarray(obs, dtype=float) - self.low) / (self.high - self.low) - 1
        a = np.asarray(actions)
        coded = a.reshape(len(x), self.n_actions).astype(float) if self.continuous else np.eye(self.n_actions)[a.astype(np.int64)]
        return np.concatenate([x, coded], axis=1)

    def config(self) -> list[Any]:
        return [self.low.tolist(), self.high.tolist(), self.n_actions, self.continuous]


class EnsembleReward:
    """Rewards by an ensemble of networks fitted to preferences; a draw is one member, disagreement is that of the members.

    Args:
        low, high: range of the observations, for scaling.
        n_actions: A, or the number of coordinates of a continuous action.
        continuous: whether actions are continuous.
        members: K.
        hidden: width of both hidden layers.
        steps: of Adam after each answer, on up to `batch` pairs.
        link: as in `PRLSVI`.
        scale: rewards are `scale` times what the networks give.
        seed: of the initial weights.
    """

    kind = "ensemble reward"

    def __init__(self, low: Sequence[float], high: Sequence[float], n_actions: int, *, continuous: bool = False, members: int = 5,
                 hidden: int = 32, steps: int = 10, batch: int = 32, lr: float = 3e-3, prior_scale: float = 1.0, scale: float = 1.0,
                 link: str | Link = "logistic", seed: int = 0) -> None:
        self.inputs, self.link, self.scale = _Inputs(low, high, n_actions, continuous), Link.of(link), float(scale)
        if self.link.name != "logistic":
            raise ValueError(f"link is {self.link.name!r}: networks are fitted with the logistic link")
        self.steps, self.batch, self.seed = int(steps), int(batch), int(seed)
        self.net = _Ensemble(self.inputs.width, 1, members, hidden, prior_scale, lr, seed)
        self._pairs: list[tuple[Array, Array]] = []
        self._answers: list[float] = []
        self._luck: list[Array] = []

    def sample(self, rng: np.random.Generator) -> Callable[[Any, Any], Array]:
        """One member."""
        net = self.net.one(int(rng.integers(self.net.members)))
        return lambda obs, actions: self.scale * net(self.inputs(obs, actions))[:, 0]

    def mean(self) -> Callable[[Any, Any], Array]:
        """The members' mean."""
        nets = [self.net.one(k) for k in range(self.net.members)]
        return lambda obs, actions: self.scale * np.mean([net(self.inputs(obs, actions))[:, 0] for net in nets], axis=0)

    def judge(self, first: Trajectory, second: Trajectory, rng: np.random.Generator) -> tuple[float, float, bool]:
        """Mean distance of the members' differences of returns; minus their mean's distance from 0; True."""
        seen = [self.scale * (net(self._coded(first)).sum() - net(self._coded(second)).sum())
                for net in (self.net.one(k) for k in range(self.net.members))]
        return mean_distance(seen), -abs(float(np.mean(seen))), True

    def add(self, first: Trajectory, second: Trajectory, preference: float, rng: np.random.Generator) -> None:
        """Take in one answer, and train a little; each member sees it with a weight of its own, Exponential(1)."""
        self._pairs.append((self._coded(first), self._coded(second)))
        self._answers.append(preference)
        self._luck.append(rng.exponential(size=self.net.members))
        self._train(rng)

    def _train(self, rng: np.random.Generator) -> None:
        import torch

        for _ in range(self.steps):
            rows = rng.choice(len(self._pairs), size=min(self.batch, len(self._pairs)), replace=False)
            sides = [torch.from_numpy(np.concatenate([self._pairs[i][k] for i in rows])).float() for k in (0, 1)]
            lengths = [[len(self._pairs[i][k]) for i in rows] for k in (0, 1)]
            returns = [torch.stack([s.sum(dim=1) for s in self.net(x)[:, :, 0].split(n, dim=1)], dim=1) for x, n in zip(sides, lengths)]
            z = self.link.gain * self.scale * (returns[0] - returns[1])  # (K, pairs)
            wanted = torch.tensor([self._answers[i] for i in rows]).float().expand_as(z)
            losses = torch.nn.functional.binary_cross_entropy_with_logits(z, wanted, reduction="none")
            weights = torch.from_numpy(np.stack([self._luck[i] for i in rows], axis=1)).float()
            self.net.step((weights * losses).mean(dim=1).sum())

    def _coded(self, trajectory: Trajectory) -> Array:
        return self.inputs(trajectory.obs[:-1], trajectory.actions)

    def config(self) -> list[Any]:
        """What a state file must agree with."""
        return [self.kind, *self.inputs.config(), self.net.members, self.net.hidden, self.steps, self.batch, self.scale, self.link.gain]

    def state(self) -> Arrays:
        """Arrays that hold everything learned."""
        flat = [x for pair in self._pairs for x in pair]
        return {**self.net.state("reward"), "net_lengths": np.array([len(x) for x in flat], np.int64),
                "net_inputs": np.concatenate(flat) if flat else np.zeros((0, self.inputs.width)),
                "net_answers": np.array(self._answers, float), "net_luck": np.array(self._luck, float).reshape(-1, self.net.members)}

    def restore(self, arrays: Arrays) -> None:
        """The reverse of `state`."""
        self.net.restore(arrays, "reward")
        answers = take(arrays, "net_answers", -1)
        lengths = take(arrays, "net_lengths", 2 * len(answers))
        if lengths.dtype.kind not in "iu" or (len(lengths) and lengths.min() < 1):
            raise DamagedState("net_lengths are not what an agent saves")
        flat = np.split(take(arrays, "net_inputs", int(lengths.sum()), self.inputs.width), np.cumsum(lengths)[:-1])
        self._pairs = list(zip(flat[::2], flat[1::2])) if len(answers) else []
        self._answers = answers.tolist()
        self._luck = list(take(arrays, "net_luck", len(answers), self.net.members))


class EnsembleDynamics:
    """Transitions by an ensemble of networks: the change of the observation, and the chance that the episode ends.

    Args:
        low, high, n_actions, continuous, members, hidden, lr, prior_scale, seed: as in `EnsembleReward`.
        steps: of Adam after each episode, on `batch` transitions.
        can_end: whether episodes may end early.
    """

    kind = "ensemble dynamics"

    def __init__(self, low: Sequence[float], high: Sequence[float], n_actions: int, *, continuous: bool = False, members: int = 5,
                 hidden: int = 32, steps: int = 20, batch: int = 128, lr: float = 3e-3, prior_scale: float = 0.1, can_end: bool = True,
                 seed: int = 0) -> None:
        self.inputs, self.can_end = _Inputs(low, high, n_actions, continuous), bool(can_end)
        self.steps, self.batch = int(steps), int(batch)
        self.net = _Ensemble(self.inputs.width, len(self.inputs.low) + 1, members, hidden, prior_scale, lr, seed + 1)
        k = len(self.inputs.low)
        self._x, self._y, self._luck = np.zeros((0, self.inputs.width)), np.zeros((0, k + 1)), np.zeros((0, members))
        self._spread = np.ones(k)

    def sample(self, rng: np.random.Generator) -> Callable[[Any, Any], tuple[Array, Array]]:
        """One member."""
        return self._model([self.net.one(int(rng.integers(self.net.members)))])

    def mean(self) -> Callable[[Any, Any], tuple[Array, Array]]:
        """The members' mean."""
        return self._model([self.net.one(k) for k in range(self.net.members)])

    def _model(self, nets: list[Callable[[Any], Any]]) -> Callable[[Any, Any], tuple[Array, Array]]:
        low, high = self.inputs.low, self.inputs.high
        margin = high - low

        def model(obs: Any, actions: Any) -> tuple[Array, Array]:
            out = np.mean([net(self.inputs(obs, actions)) for net in nets], axis=0)
            onward = np.clip(np.asarray(obs, dtype=float) + out[:, :-1] * self._spread, low - margin, high + margin)
            return onward, 1 / (1 + np.exp(-np.clip(out[:, -1], -30, 30))) if self.can_end else np.zeros(len(out))

        return model

    def observe(self, trajectory: Trajectory, rng: np.random.Generator) -> None:
        """Take in one trajectory, and train a little."""
        import torch

        obs = trajectory.obs.astype(float)
        ends = np.zeros((len(trajectory), 1))
        ends[-1] = float(trajectory.ended)
        self._x = np.concatenate([self._x, self.inputs(obs[:-1], trajectory.actions)])
        self._y = np.concatenate([self._y, np.concatenate([np.diff(obs, axis=0), ends], axis=1)])
        self._luck = np.concatenate([self._luck, rng.exponential(size=(len(trajectory), self.net.members))])
        self._spread = self._y[:, :-1].std(axis=0) + 1e-6
        for _ in range(self.steps):
            rows = rng.integers(len(self._x), size=self.batch)
            out = self.net(torch.from_numpy(self._x[rows]).float())
            wanted = torch.from_numpy(self._y[rows, :-1] / self._spread).float()
            losses = ((out[..., :-1] - wanted) ** 2).mean(dim=2)
            if self.can_end:
                ended = torch.from_numpy(self._y[rows, -1]).float().expand(self.net.members, -1)
                losses = losses + torch.nn.functional.binary_cross_entropy_with_logits(out[..., -1], ended, reduction="none")
            self.net.step((torch.from_numpy(self._luck[rows].T).float() * losses).mean(dim=1).sum())

    def config(self) -> list[Any]:
        """What a state file must agree with."""
        return [self.kind, *self.inputs.config(), self.net.members, self.net.hidden, self.steps, self.batch, self.can_end]

    def state(self) -> Arrays:
        """Arrays that hold everything learned."""
        return {**self.net.state("dynamics"), "dynamics_x": self._x, "dynamics_y": self._y, "dynamics_luck": self._luck}

    def restore(self, arrays: Arrays) -> None:
        """The reverse of `state`."""
        self.net.restore(arrays, "dynamics")
        x = take(arrays, "dynamics_x", -1, self.inputs.width)
        self._x, self._y = x, take(arrays, "dynamics_y", len(x), len(self.inputs.low) + 1)
        self._luck = take(arrays, "dynamics_luck", len(x), self.net.members)
        self._spread = self._y[:, :-1].std(axis=0) + 1e-6 if len(x) else np.ones(len(self.inputs.low))
