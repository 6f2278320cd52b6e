"""CartPole for people: what `HumanOracle` and `BrowserOracle` can show of an episode."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ._trajectory import Trajectory

EDGE, SECONDS_A_STEP, FRAMES = 2.4, 0.02, 120


def _states(trajectory: Trajectory) -> npt.NDArray[np.float64]:
    obs = np.asarray(trajectory.obs, dtype=float)
    if obs.ndim != 2 or obs.shape[1] != 4:
        raise ValueError(f"trajectory has observations of shape {obs.shape}: those of CartPole are (n, 4)")
    return obs


def cart_pole_text(trajectory: Trajectory, frames: int = 6) -> str:
    """Some moments of a CartPole episode as lines: the cart's place on its track, the pole's lean, and how it ended.

    >>> obs = np.array([[0.0, 0, 0.0, 0], [1.2, 0, 0.1, 0]])
    >>> print(cart_pole_text(Trajectory(obs, np.array([1]), ended=True)))
    step    0  |............|............|  pole   +0.0 degrees
    step    1  |............:...../......|  pole   +5.7 degrees
    2 moments; fell or left the track after 1 step
    """
    obs = _states(trajectory)
    if frames < 2:
        raise ValueError(f"frames is {frames}: 2 at least")
    shown = np.unique(np.linspace(0, len(obs) - 1, min(frames, len(obs))).round().astype(int))
    lines = []
    for at in shown:
        track = list("." * 12 + ":" + "." * 12)
        angle = math.degrees(obs[at, 2])
        track[int(np.clip(round(12 + 12 * obs[at, 0] / EDGE), 0, 24))] = "|" if abs(angle) < 2 else "/" if angle > 0 else "\\"
        lines.append(f"step {at:4d}  |{''.join(track)}|  pole {angle:+6.1f} degrees")
    steps = len(trajectory)
    end = "fell or left the track" if trajectory.ended else "still up"
    return "\n".join([*lines, f"{len(shown)} moments; {end} after {steps} step{'' if steps == 1 else 's'}"])


def cart_pole_film(trajectory: Trajectory) -> str:
    """A CartPole episode as an SVG that moves, at its own speed, over and over.

    >>> film = cart_pole_film(Trajectory(np.zeros((3, 4)), np.zeros(2, int)))
    >>> film.startswith("<svg"), film.count("<animate")
    (True, 2)
    """
    obs = _states(trajectory)
    at = np.unique(np.linspace(0, len(obs) - 1, min(FRAMES, len(obs))).round().astype(int))
    places = ";".join(f"{100 * obs[i, 0] / EDGE:.2f} 0" for i in at)
    leans = ";".join(f"{math.degrees(obs[i, 2]):.2f}" for i in at)
    seconds = max(SECONDS_A_STEP * len(trajectory), 0.1)
    times = f'dur="{seconds:.2f}s" repeatCount="indefinite"'
    end = f"{len(trajectory)} steps, " + ("then it fell or left the track" if trajectory.ended else "still up")
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="-120 -80 240 115">'
            '<rect x="-120" y="-80" width="240" height="115" fill="#fff"/>'
            '<path d="M-100 10H100M-100 4V16M100 4V16" stroke="#666"/>'
            f'<g><animateTransform attributeName="transform" type="translate" values="{places}" {times}/>'
            '<rect x="-12" y="2" width="24" height="12" rx="2" fill="#234"/>'
            f'<g><animateTransform attributeName="transform" type="rotate" values="{leans}" {times}/>'
            '<path d="M0 2V-60" stroke="#b60" stroke-width="5" stroke-linecap="round"/></g></g>'
            f'<text y="30" text-anchor="middle" font-size="9" fill="#222">{end}</text></svg>')


__all__ = ["cart_pole_film", "cart_pole_text"]
