"""The neural baseline: a small variational autoencoder with bits-back coding (BB-ANS).

The network is the published one for MNIST: one hidden layer of 200 units on either side, 50 Gaussian latents, a beta-binomial for
every pixel, batch normalisation, Adam. The coder is written as fast as ours, compiled, several chains of images in lockstep so
that the network works on batches. It is float code: it decodes on the machine and in the batches that it encoded with.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, Self

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Array = npt.NDArray[Any]

LATENT_BITS = 12
POSTERIOR_BITS = 20
PIXEL_BITS = 24
LOW = 1 << 31


class _Network(nn.Module):
    def __init__(self, d: int, hidden: int, latents: int) -> None:
        super().__init__()
        self.d, self.latents = d, latents
        self.inward = nn.Sequential(nn.Linear(d, hidden), nn.BatchNorm1d(hidden), nn.ReLU())
        self.mean = nn.Sequential(nn.Linear(hidden, latents), nn.BatchNorm1d(latents))
        self.log_deviation = nn.Sequential(nn.Linear(hidden, latents), nn.BatchNorm1d(latents))
        self.outward = nn.Sequential(nn.Linear(latents, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, 2 * d))

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Means and deviations (B, latents) from pixels (B, D) in 0 .. 1."""
        h = self.inward(x)
        return self.mean(h), torch.exp(self.log_deviation(h).clamp(-8, 4))

    def decode(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """alpha and beta (B, D) of the pixels' beta-binomials."""
        a, b = self.outward(z).clamp(-8, 12).split(self.d, dim=1)
        return torch.exp(a), torch.exp(b)


def _log_beta_binomial(x: torch.Tensor, n: int, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    top = torch.lgamma(x + a) + torch.lgamma(n - x + b) + torch.lgamma(a + b) + math.lgamma(n + 1)
    return top - torch.lgamma(x + 1) - torch.lgamma(n - x + 1) - torch.lgamma(n + a + b) - torch.lgamma(a) - torch.lgamma(b)


@dataclass
class BBANS:
    """A variational autoencoder and its bits-back codec.

    Args:
        hidden, latents: units of the hidden layers, Gaussian latents.
        n_categories: K, values of a pixel.
        learning_rate, batch_size, epochs: of Adam. A tenth of the rows is held out; the weights of the best epoch on it are kept.
        chains: images coded in lockstep, one network batch. Each chain needs some bits to start from.
        random_state: seed.
    """

    n_categories: int
    hidden: int = 200
    latents: int = 50
    learning_rate: float = 2e-3
    batch_size: int = 64
    epochs: int = 20
    chains: int = 16
    random_state: int = 0

    def fit(self, X: Array) -> Self:
        """Train on rows (N, D)."""
        generator = torch.Generator().manual_seed(self.random_state)
        x = torch.from_numpy(X.reshape(len(X), -1).astype(np.float32))
        order = torch.randperm(len(x), generator=generator)
        held_out, x = x[order[: len(x) // 10]], x[order[len(x) // 10 :]]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            self.network = _Network(x.shape[1], self.hidden, self.latents)
        optimiser = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate)
        best, kept = math.inf, copy.deepcopy(self.network.state_dict())
        for _ in range(self.epochs):
            self.network.train()
            shuffled = torch.randperm(len(x), generator=generator)
            for start in range(0, len(x) - 1, self.batch_size):
                batch = x[shuffled[start : start + self.batch_size]]
                if len(batch) < 2:  # batch normalisation needs two
                    continue
                optimiser.zero_grad()
                self._bound(batch, generator).mean().backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            self.network.eval()
            with torch.no_grad():
                found = float(self._bound(held_out, torch.Generator().manual_seed(1)).mean())
            if found < best:
                best, kept = found, copy.deepcopy(self.network.state_dict())
        self.network.load_state_dict(kept)
        self.network.eval()
        return self

    def _bound(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Negative evidence bound of each row, in nats, with one sample."""
        n = self.n_categories - 1
        mean, deviation = self.network.encode(x / n)
        noise = torch.randn(mean.shape, generator=generator)
        z = mean + deviation * noise
        a, b = self.network.decode(z)
        fit = _log_beta_binomial(x, n, a, b).sum(dim=1)
        divergence = (0.5 * (z**2 - noise**2) - torch.log(deviation)).sum(dim=1)
        return divergence - fit

    def bpd(self, X: Array, samples: int = 1) -> float:
        """The evidence bound in bits a pixel: what coding aims at."""
        x = torch.from_numpy(X.reshape(len(X), -1).astype(np.float32))
        with torch.no_grad():
            found = [float(self._bound(x, torch.Generator().manual_seed(i)).mean()) for i in range(samples)]
        return float(np.mean(found)) / math.log(2) / x.shape[1]

    # ------------------------------------------------------------ coding

    def compress(self, X: Array) -> list[Array]:
        """One stack of 32-bit words a chain; chain c holds the images c, c + chains, ..., coded in that order."""
        x = self._padded(X)
        stacks = _Stacks.fresh(self.chains, x.shape[1] * len(x) // self.chains * 2 + 4_096, self.random_state)
        edges = _edges()
        latent = np.empty((self.chains, self.latents), dtype=np.int64)
        with torch.no_grad():
            for start in range(0, len(x), self.chains):
                batch = np.ascontiguousarray(x[start : start + self.chains])
                mean, deviation = self._posterior(batch)
                _pop_latents(stacks.states, stacks.words, stacks.counts, mean, deviation, edges, latent)
                stacks.untouched = np.minimum(stacks.untouched, stacks.counts)
                a, b = self._pixels(latent)
                _push_pixels(stacks.states, stacks.words, stacks.counts, batch, a, b, self.n_categories)
                _push_uniform(stacks.states, stacks.words, stacks.counts, latent)
        return stacks.arrays()

    def decompress(self, arrays: list[Array], n: int) -> Array:
        """The n images (n, D)."""
        steps = -(-n // self.chains)
        out = np.empty((steps * self.chains, self.network.d), dtype=np.int64)
        stacks = _Stacks.of(arrays)
        edges = _edges()
        latent = np.empty((self.chains, self.latents), dtype=np.int64)
        with torch.no_grad():
            for step in range(steps - 1, -1, -1):
                batch = out[step * self.chains : (step + 1) * self.chains]
                _pop_uniform(stacks.states, stacks.words, stacks.counts, latent)
                a, b = self._pixels(latent)
                _pop_pixels(stacks.states, stacks.words, stacks.counts, batch, a, b, self.n_categories)
                mean, deviation = self._posterior(batch)
                _push_latents(stacks.states, stacks.words, stacks.counts, mean, deviation, edges, latent)
        return out[:n]

    def _padded(self, X: Array) -> Array:
        x = X.reshape(len(X), -1).astype(np.int64)
        more = -len(x) % self.chains
        return np.concatenate([x, np.zeros((more, x.shape[1]), dtype=np.int64)]) if more else x

    def _posterior(self, batch: Array) -> tuple[Array, Array]:
        mean, deviation = self.network.encode(torch.from_numpy(batch.astype(np.float32)) / (self.n_categories - 1))
        return mean.double().numpy(), deviation.double().numpy()

    def _pixels(self, latent: Array) -> tuple[Array, Array]:
        a, b = self.network.decode(torch.from_numpy(_centres()[latent]))
        return a.double().numpy(), b.double().numpy()


def _edges() -> Array:
    """Edges of 2^12 cells of equal mass under a standard normal."""
    from scipy.special import ndtri

    return np.asarray(ndtri(np.arange(1, 1 << LATENT_BITS) / (1 << LATENT_BITS)))


def _centres() -> npt.NDArray[np.float32]:
    from scipy.special import ndtri

    return np.asarray(ndtri((np.arange(1 << LATENT_BITS) + 0.5) / (1 << LATENT_BITS)), dtype=np.float32)


@dataclass
class _Stacks:
    """One coder state and one stack of words a chain. What was never reached of the noise at its bottom (`untouched`) is not kept."""

    states: Array
    words: Array
    counts: Array
    untouched: Array

    @staticmethod
    def fresh(chains: int, room: int, seed: int) -> _Stacks:
        """Stacks with words of noise, to take the first latents from."""
        first = 64
        words = np.zeros((chains, room), dtype=np.uint32)
        words[:, :first] = np.random.default_rng(seed).integers(1 << 32, size=(chains, first), dtype=np.uint32)
        return _Stacks(np.full(chains, LOW, dtype=np.int64), words, np.full(chains, first, dtype=np.int64), np.full(chains, first))

    def arrays(self) -> list[Array]:
        return [np.concatenate([[s & 0xFFFFFFFF, s >> 32], w[u:c]]).astype(np.uint32)
                for s, w, u, c in zip(self.states, self.words, self.untouched, self.counts)]

    @staticmethod
    def of(arrays: list[Array]) -> _Stacks:
        states = np.array([int(a[0]) | int(a[1]) << 32 for a in arrays], dtype=np.int64)
        words = np.zeros((len(arrays), max(map(len, arrays)) + 4_096), dtype=np.uint32)
        for row, a in zip(words, arrays):
            row[: len(a) - 2] = a[2:]
        return _Stacks(states, words, np.array([len(a) - 2 for a in arrays]), np.zeros(len(arrays)))


_jit = numba.njit(cache=True, nogil=True)


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _push(states: Array, words: Array, counts: Array, c: int, start: int, length: int, bits: int) -> None:
    x = states[c]
    if x >> (63 - bits) >= length:
        words[c, counts[c]] = x & 0xFFFFFFFF
        counts[c] += 1
        x >>= 32
    states[c] = ((x // length) << bits) + x % length + start


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _pop(states: Array, words: Array, counts: Array, c: int, start: int, length: int, bits: int) -> None:
    x = length * (states[c] >> bits) + (states[c] & ((1 << bits) - 1)) - start
    if x < LOW:
        counts[c] -= 1
        x = (x << 32) | np.int64(words[c, counts[c]])
    states[c] = x


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _normal_below(cell: int, mean: float, deviation: float, edges: Array) -> int:
    """Integer share of the cells below `cell` under the posterior, at least 1 for each cell."""
    cells = len(edges) + 1
    if cell == 0:
        return 0
    if cell == cells:
        return 1 << POSTERIOR_BITS
    p = 0.5 * math.erfc(-(edges[cell - 1] - mean) / (deviation * 1.4142135623730951))
    return int(p * ((1 << POSTERIOR_BITS) - cells)) + cell


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _pop_latents(states: Array, words: Array, counts: Array, mean: Array, deviation: Array, edges: Array, latent: Array) -> None:
    for c in range(latent.shape[0]):
        for j in range(latent.shape[1]):
            slot = states[c] & ((1 << POSTERIOR_BITS) - 1)
            low, high = 0, len(edges) + 1
            while high - low > 1:
                middle = (low + high) >> 1
                if _normal_below(middle, mean[c, j], deviation[c, j], edges) <= slot:
                    low = middle
                else:
                    high = middle
            start = _normal_below(low, mean[c, j], deviation[c, j], edges)
            _pop(states, words, counts, c, start, _normal_below(low + 1, mean[c, j], deviation[c, j], edges) - start, POSTERIOR_BITS)
            latent[c, j] = low


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _push_latents(states: Array, words: Array, counts: Array, mean: Array, deviation: Array, edges: Array, latent: Array) -> None:
    for c in range(latent.shape[0]):
        for j in range(latent.shape[1] - 1, -1, -1):
            start = _normal_below(latent[c, j], mean[c, j], deviation[c, j], edges)
            end = _normal_below(latent[c, j] + 1, mean[c, j], deviation[c, j], edges)
            _push(states, words, counts, c, start, end - start, POSTERIOR_BITS)


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _push_uniform(states: Array, words: Array, counts: Array, latent: Array) -> None:
    for c in range(latent.shape[0]):
        for j in range(latent.shape[1]):
            _push(states, words, counts, c, latent[c, j], 1, LATENT_BITS)


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _pop_uniform(states: Array, words: Array, counts: Array, latent: Array) -> None:
    for c in range(latent.shape[0]):
        for j in range(latent.shape[1] - 1, -1, -1):
            latent[c, j] = states[c] & ((1 << LATENT_BITS) - 1)
            _pop(states, words, counts, c, latent[c, j], 1, LATENT_BITS)


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _first_mass(n: int, a: float, b: float) -> float:
    """P(0) of a beta-binomial."""
    return math.exp(math.lgamma(n + b) + math.lgamma(a + b) - math.lgamma(n + a + b) - math.lgamma(b))


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _push_pixels(states: Array, words: Array, counts: Array, x: Array, alpha: Array, beta: Array, k: int) -> None:
    """Masses are summed from the likelier end up to the value: most pixels take one step."""
    n = k - 1
    free = (1 << PIXEL_BITS) - k
    for c in range(x.shape[0]):
        for v in range(x.shape[1] - 1, -1, -1):
            a, b, value = alpha[c, v], beta[c, v], x[c, v]
            if a > b:
                a, b, value = b, a, n - value
            mass = _first_mass(n, a, b)
            below = 0.0
            for j in range(value):
                below += mass
                mass *= (n - j) * (j + a) / ((j + 1) * (n - j - 1 + b))
            start = int(min(below, 1.0) * free) + value
            end = (1 << PIXEL_BITS) if value == n else int(min(below + mass, 1.0) * free) + value + 1
            _push(states, words, counts, c, start, end - start, PIXEL_BITS)


@_jit  # type: ignore[untyped-decorator,unused-ignore]
def _pop_pixels(states: Array, words: Array, counts: Array, x: Array, alpha: Array, beta: Array, k: int) -> None:
    n = k - 1
    free = (1 << PIXEL_BITS) - k
    for c in range(x.shape[0]):
        for v in range(x.shape[1]):
            a, b = alpha[c, v], beta[c, v]
            is_turned = a > b
            if is_turned:
                a, b = b, a
            slot = states[c] & ((1 << PIXEL_BITS) - 1)
            mass = _first_mass(n, a, b)
            below = 0.0
            value, start = 0, 0
            while True:
                end = (1 << PIXEL_BITS) if value == n else int(min(below + mass, 1.0) * free) + value + 1
                if slot < end:
                    break
                below += mass
                mass *= (n - value) * (value + a) / ((value + 1) * (n - value - 1 + b))
                value += 1
                start = end
            _pop(states, words, counts, c, start, end - start, PIXEL_BITS)
            x[c, v] = n - value if is_turned else value
