"""The methods, each from its start until the run ends it. `(paper)`: Algorithms 1 and 2; the others are what they are compared with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ._run import Run, natural_residual
from ._steps import Draws, Steps

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """What the methods are run with.

    Attributes:
        eta: step.
        batch: terms a stochastic step.
        anchor: a in the anchor's weight `lambda_k = a / (k + 2a)`; 2 in Algorithm 1, 1 in Algorithm 2 and classical Halpern.
        full_prob: probability of a full evaluation (PAGE), or of a new snapshot; None: the method's own schedule.
        c: parameter of the resolvent that Algorithm 2 takes Halpern steps with.
        inner: inner steps of Algorithm 2 at outer iteration k.
        restart: start again from the current point whenever the residual has halved.
    """

    eta: float
    batch: int
    anchor: float
    full_prob: float | None
    c: float
    inner: Callable[[int], int]
    restart: bool


@dataclass
class Start:
    """The anchor u0 and the iterations since; a restart moves it to the current point."""

    u0: Array
    k: int = 0
    at: float = math.inf

    def moves(self, run: Run, u: Array) -> bool:
        """Restart here if the residual has halved since the last one."""
        if not math.isfinite(self.at):
            self.at = run.residual
        if run.residual > self.at / 2:
            return False
        self.u0, self.k, self.at = u.copy(), 0, run.residual
        return True


def page_probability(k: int, n: int) -> float:
    """p_k of Algorithm 1: 1 at k = 0 and 1, then `4 / (k + 4)` while `k - 1 <= sqrt n`, then `4 / (sqrt n + 5)`."""
    root = math.sqrt(n)
    return 1.0 if k <= 1 else 4.0 / (k + 4.0) if k - 1 <= root else 4.0 / (root + 5.0)


def vr_halpern(run: Run, u0: Array, s: Setting, steps: Steps, draws: Draws) -> None:
    """Algorithm 1: anchored steps with the recursive estimate PAGE; full evaluations at random, where the residual is free (paper)."""
    n, start, u = run.F.n, Start(u0), u0.copy()
    v = run.full(u)
    while True:
        run.certify(u, v)
        if s.restart:
            start.moves(run, u)
        left = (run.max_oracle - run.n_oracle - n) // (2 * s.batch)
        run.ask(n)
        m, k = 0, start.k
        while m < left and draws.rng.random() >= (page_probability(k + m + 1, n) if s.full_prob is None else s.full_prob):
            m += 1
        idx, weights = draws.take(m)
        v = v.copy()
        steps.page(start.u0, u, v, k, s.eta, s.anchor, idx, weights)
        run.charge(2 * s.batch * m)
        run.n_iter += m + 1
        start.k += m + 1
        v = run.full(u)


def vr_halpern_pp(run: Run, u0: Array, s: Setting, steps: Steps, draws: Draws) -> None:
    """Algorithm 2: Halpern steps on the resolvent of `c (F + G)`, each solved roughly by VR-FoRB (paper).

    The inner loop also ends at a snapshot whose residual for the inner problem is below `1 / (k + 2)^2` of that at its start: the
    problem is strongly monotone with modulus 1, so that this is a distance (reconstructed).
    """
    n, start, u = run.F.n, Start(u0), u0.copy()
    p = min(s.batch / n, 0.5) if s.full_prob is None else s.full_prob

    def inner_residual(w: Array, at_w: Array) -> float:
        return natural_residual(w, at_w, run.G, 1.0, lambda x, step: steps.resolve(x, s.c * step))

    while True:
        at_u = run.full(u)
        run.certify(u, at_u)
        if s.restart:
            start.moves(run, u)
        k, left, w, w_before, v = start.k, s.inner(start.k), u, u, u.copy()
        at_w = s.c * at_u
        wanted = inner_residual(u, at_w) / (k + 2) ** 2
        while left > 0:
            run.ask(2 * s.batch)
            many = min(int(draws.rng.geometric(p)), left, int((run.max_oracle - run.n_oracle) // (2 * s.batch)))
            idx, weights = draws.take(many)
            steps.forb(w, w_before, at_w, v, s.c, s.eta, 1.0 - p, idx, weights)
            run.charge(2 * s.batch * many)
            run.n_iter += many
            left -= many
            if left > 0:
                w_before, w = w, v.copy()
                at = run.full(w)
                run.certify(w, at)
                at_w = s.c * at + (w - u)
                if inner_residual(w, at_w) <= wanted:
                    break
        lam = s.anchor / (k + 2 * s.anchor)
        u = lam * start.u0 + (1 - lam) * v
        start.k += 1


def halpern(run: Run, u0: Array, s: Setting, steps: Steps, draws: Draws) -> None:
    """Deterministic Halpern iteration: n evaluations a step; for cocoercive F."""
    start, u = Start(u0), u0.copy()
    while True:
        v = run.full(u)
        run.certify(u, v)
        if s.restart:
            start.moves(run, u)
        lam = s.anchor / (start.k + 2 * s.anchor)
        u = run.G(lam * start.u0 + (1 - lam) * u - s.eta * v, s.eta)
        run.n_iter += 1
        start.k += 1


def eag(run: Run, u0: Array, s: Setting, steps: Steps, draws: Draws) -> None:
    """Extra anchored gradient with a constant step (Yoon and Ryu 2021; with G, Cai, Oikonomou and Zheng 2022): 2n a step."""
    start, u = Start(u0), u0.copy()
    while True:
        at_u = run.full(u)
        run.certify(u, at_u)
        if s.restart:
            start.moves(run, u)
        pulled = u + (start.u0 - u) * (s.anchor / (start.k + 2 * s.anchor))
        half = run.G(pulled - s.eta * at_u, s.eta)
        u = run.G(pulled - s.eta * run.full(half), s.eta)
        run.n_iter += 1
        start.k += 1


def eg(run: Run, u0: Array, s: Setting, steps: Steps, draws: Draws) -> None:
    """Extragradient (Korpelevich 1976): 2n a step; last iterate."""
    u = u0.copy()
    while True:
        at_u = run.full(u)
        run.certify(u, at_u)
        half = run.G(u - s.eta * at_u, s.eta)
        u = run.G(u - s.eta * run.full(half), s.eta)
        run.n_iter += 1


def og(run: Run, u0: Array, s: Setting, steps: Steps, draws: Draws) -> None:
    """Optimistic gradient, as forward-reflected-backward (Malitsky and Tam 2020): n a step."""
    u, before = u0.copy(), None
    while True:
        at_u = run.full(u)
        run.certify(u, at_u)
        u = run.G(u - s.eta * (2 * at_u - (at_u if before is None else before)), s.eta)
        before = at_u
        run.n_iter += 1


def vr_eg(run: Run, u0: Array, s: Setting, steps: Steps, draws: Draws) -> None:
    """Loopless extragradient with variance reduction (Alacaoglu and Malitsky 2022, Algorithm 1): 2 batches a step, n a snapshot."""
    p = min(s.batch / run.F.n, 0.5) if s.full_prob is None else s.full_prob
    w, z, total = u0.copy(), u0.copy(), np.zeros_like(u0)
    while True:
        at_w = run.full(w)
        run.certify(w, at_w)
        _eg_epoch(run, s, steps, draws, w, at_w, z, total, p, int(draws.rng.geometric(p)))
        w = z.copy()


def svrg_eg(run: Run, u0: Array, s: Setting, steps: Steps, draws: Draws) -> None:
    """Variance-reduced mirror-prox in two loops (Alacaoglu and Malitsky 2022, Algorithm 2, Euclidean): a snapshot is an epoch's mean.

    Descends from the double loops of Palaniappan and Bach 2016 and Carmon et al. 2019.
    """
    p = min(s.batch / run.F.n, 0.5) if s.full_prob is None else s.full_prob
    w, z = u0.copy(), u0.copy()
    while True:
        at_w = run.full(w)
        run.certify(w, at_w)
        total = np.zeros_like(u0)
        many = _eg_epoch(run, s, steps, draws, w, at_w, z, total, p, math.ceil(1 / p))
        w = total / many


def _eg_epoch(run: Run, s: Setting, steps: Steps, draws: Draws, w: Array, at_w: Array, z: Array, total: Array, p: float, many: int) -> int:
    """That many steps around one snapshot, or as many as the budget allows with the next snapshot; gives how many."""
    run.ask(2 * s.batch + run.F.n)
    many = min(many, int((run.max_oracle - run.n_oracle - run.F.n) // (2 * s.batch)))
    idx, weights = draws.take(many)
    steps.eg(w, at_w, z, total, s.eta, 1.0 - p, idx, weights)
    run.charge(2 * s.batch * many)
    run.n_iter += many
    return many


def svrg_halpern(run: Run, u0: Array, s: Setting, steps: Steps, draws: Draws) -> None:
    """Halpern with the snapshot estimate of SVRG in place of PAGE: a snapshot every `n / batch` steps."""
    n, start, u = run.F.n, Start(u0), u0.copy()
    period = math.ceil(n / s.batch) if s.full_prob is None else math.ceil(1 / s.full_prob)
    while True:
        w = u.copy()
        at_w = run.full(w)
        run.certify(w, at_w)
        if s.restart:
            start.moves(run, w)
        run.ask(2 * s.batch + n)
        many = min(period, int((run.max_oracle - run.n_oracle - n) // (2 * s.batch)))
        idx, weights = draws.take(many)
        steps.svrg(start.u0, u, w, at_w, start.k, s.eta, s.anchor, idx, weights)
        run.charge(2 * s.batch * many)
        run.n_iter += many
        start.k += many


def stochastic_halpern(run: Run, u0: Array, s: Setting, steps: Steps, draws: Draws) -> None:
    """Halpern with plain batches and no variance reduction: a control. Looked at once in n evaluations, not charged."""
    u, k, many = u0.copy(), 0, math.ceil(run.F.n / s.batch)
    while True:
        run.look(u)
        run.ask(s.batch)
        steps_now = min(many, int((run.max_oracle - run.n_oracle) // s.batch))
        idx, weights = draws.take(steps_now)
        steps.plain(u0, u, k, s.eta, s.anchor, idx, weights)
        run.charge(s.batch * steps_now)
        run.n_iter += steps_now
        k += steps_now


Method = Callable[[Run, Array, Setting, Steps, Draws], None]
METHODS: dict[str, Method] = {
    "vr_halpern": vr_halpern, "vr_halpern_pp": vr_halpern_pp, "halpern": halpern, "eag": eag, "eg": eg, "og": og, "vr_eg": vr_eg,
    "svrg_eg": svrg_eg, "svrg_halpern": svrg_halpern, "stochastic_halpern": stochastic_halpern,
}
COCOERCIVE_ONLY = ("vr_halpern", "halpern", "svrg_halpern", "stochastic_halpern")
ANCHORS = {"vr_halpern": 2.0, "svrg_halpern": 2.0, "stochastic_halpern": 2.0}
ROOT_BATCH = ("vr_halpern", "svrg_halpern", "stochastic_halpern")
RESTARTS = ("vr_halpern", "vr_halpern_pp", "halpern", "eag", "svrg_halpern")
STOCHASTIC = ("vr_halpern", "vr_halpern_pp", "vr_eg", "svrg_eg", "svrg_halpern", "stochastic_halpern")
