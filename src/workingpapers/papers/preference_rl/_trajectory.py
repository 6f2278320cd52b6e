"""Trajectories: what a person is shown, and all that an agent sees. No reward is in them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One episode.

    Attributes:
        obs: observations, shape (n + 1, ...), n <= H steps.
        actions: shape (n,) for discrete actions, (n, k) for continuous ones.
        ended: whether the last observation is terminal; nothing, and no reward, follows it.
        key: its number in the ledger of the `PreferenceWrapper` that recorded it, for scripted oracles; else None.
    """

    obs: npt.NDArray[Any]
    actions: npt.NDArray[Any]
    ended: bool = False
    key: int | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        obs, actions = np.asarray(self.obs), np.asarray(self.actions)
        if len(obs) != len(actions) + 1:
            raise ValueError(f"obs has {len(obs)} entries and actions {len(actions)}: one more observation than actions is needed")
        for name, array in (("obs", obs), ("actions", actions)):
            if array.dtype.kind not in "iufb":
                raise ValueError(f"{name} holds {array.dtype}: numbers are needed")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{name} holds NaN or infinity")
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.actions)

    def segment(self, start: int, stop: int) -> Trajectory:
        """Steps start to stop - 1 as a trajectory of their own, for comparisons shorter than an episode.

        >>> Trajectory(np.arange(6), np.zeros(5, int)).segment(1, 3).obs
        array([1, 2, 3])
        """
        if not 0 <= start < stop <= len(self):
            raise ValueError(f"start is {start} and stop {stop}: 0 <= start < stop <= {len(self)} is needed")
        return Trajectory(self.obs[start : stop + 1], self.actions[start:stop], self.ended and stop == len(self))

    def digest(self) -> str:
        """A fingerprint of its contents, by which recorded answers find their pair again."""
        parts = [np.ascontiguousarray(x, dtype=np.float64) for x in (self.obs, self.actions)]
        return hashlib.sha256(b"|".join([str([p.shape for p in parts]).encode(), *(p.tobytes() for p in parts)])).hexdigest()[:24]
