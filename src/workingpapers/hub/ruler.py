"""The ruler: where a measured interval lies beside its threshold and the figure that the paper reports.

The threshold stands in the middle and better is to the right, whatever the metric's direction; ratios are drawn on a
log scale. All positions are percentages of the width, so that the drawing needs no style and fits any column.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .words import number, quantity

Better = Literal["lower", "higher", "inside"]

MARGIN = 4.0  # percent left free at both ends
LEAST_LOG_HALF = math.log(1.25)  # a ratio of 1.01 must not look as far away as one of 2
ROOM = 1.12  # how far the axis reaches beyond what is drawn
MAX_TICKS = 5
STEPS: tuple[tuple[float, ...], ...] = (
    (1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
    (1, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 2, 3, 4, 5, 6, 7, 8, 8.5, 9, 9.5),
)


@dataclass(frozen=True)
class Tick:
    """A mark on the axis, `x` in percent of the width."""

    x: float
    label: str


@dataclass(frozen=True)
class Ruler:
    """What the template draws; every `x` is in percent of the width.

    Attributes:
        verdict: gives the colour.
        thresholds: one place, or the two ends of a band.
        interval: the two ends of the measured interval, left to right; None below three seeds.
        point: the estimate.
        reported: the paper's own figure; None where it gives none.
        ticks: marks of the axis.
        left, right: what the two ends mean.
        measured: estimate and interval in words.
        needs: the threshold in words.
        title: the whole in one sentence.
    """

    verdict: str
    thresholds: tuple[float, ...]
    interval: tuple[float, float] | None
    point: float
    reported: float | None
    ticks: tuple[Tick, ...]
    left: str
    right: str
    measured: str
    needs: str
    title: str


def needs_words(threshold: float | tuple[float, float] | None, better: Better, unit: str = "") -> str:
    """The threshold in words.

    >>> needs_words(1.1, "lower", "×"), needs_words(0, "higher", "%"), needs_words((0.98, 1.02), "inside")
    ('below 1.1×', 'above 0 %', 'from 0.98 to 1.02')
    """
    if threshold is None:
        return ""
    if isinstance(threshold, tuple):
        lo, hi = threshold
        if math.isinf(hi):
            return f"{quantity(lo, unit)} or more"
        if math.isinf(lo):
            return f"{quantity(hi, unit)} or less"
        return f"from {number(lo)} to {quantity(hi, unit)}"
    return f"{ {'lower': 'below', 'higher': 'above', 'inside': 'exactly'}[better]} {quantity(threshold, unit)}"


def measured_words(estimate: float | None, interval: tuple[float, float] | None, unit: str = "") -> str:
    """Estimate and interval in words.

    >>> measured_words(0.83, (0.79, 0.88), "×"), measured_words(2.5, None, "%"), measured_words(None, None)
    ('0.83× [0.79, 0.88]', '2.5 %', '')
    """
    if estimate is None:
        return ""
    return quantity(estimate, unit) + (f" [{number(interval[0])}, {number(interval[1])}]" if interval else "")


def draw(*, verdict: str, estimate: float | None, interval: tuple[float, float] | None,
         threshold: float | tuple[float, float] | None, better: Better = "lower", log: bool = False,
         reported: float | None = None, unit: str = "", name: str = "") -> Ruler | None:
    """Lay out a ruler, or None when there is nothing to draw: no estimate, no threshold, or one that is not finite.

    >>> r = draw(verdict="holds", estimate=0.5, interval=(0.4, 0.6), threshold=1.0, better="lower", log=True)
    >>> r.thresholds, r.point > 50, r.interval[0] < r.point < r.interval[1]
    ((50.0,), True, True)
    """
    marks = [m for m in ((threshold,) if not isinstance(threshold, tuple) else threshold) if m is not None and math.isfinite(m)]
    if estimate is None or not math.isfinite(estimate) or not marks:
        return None
    if interval is not None and not all(map(math.isfinite, interval)):
        interval = None
    if reported is not None and not math.isfinite(reported):
        reported = None
    drawn = [estimate, *(interval or ()), *marks, *(() if reported is None else (reported,))]
    log = log and min(drawn) > 0
    place, back, half = _axis(drawn, marks, better, log)
    ends = sorted(place(v) for v in interval) if interval else None
    measured, needs = measured_words(estimate, interval, unit), needs_words(threshold, better, unit)
    paper = f"; the paper reports {quantity(reported, unit)}" if reported is not None else ""
    what = f"{name}: " if name else ""
    return Ruler(
        verdict=verdict,
        thresholds=tuple(sorted(_round(place(m)) for m in marks)),
        interval=(_round(ends[0]), _round(ends[1])) if ends else None,
        point=_round(place(estimate)),
        reported=None if reported is None else _round(place(reported)),
        ticks=_ticks(place, back, half, log),
        left="too low" if better == "inside" else "worse",
        right="too high" if better == "inside" else "better",
        measured=measured,
        needs=needs,
        title=f"{what}{verdict}. Measured {measured}{'' if interval else ', without an interval'}; needs {needs}{paper}.",
    )


def _axis(drawn: list[float], marks: list[float], better: Better,
          log: bool) -> tuple[Callable[[float], float], Callable[[float], float], float]:
    """Place of a value in percent, value at a signed distance from the middle, and half the width of the axis."""
    forth: Callable[[float], float] = math.log if log else float
    back: Callable[[float], float] = math.exp if log else float
    sign = -1.0 if better == "lower" else 1.0
    middle = sum(forth(m) for m in marks) / len(marks)
    half = max(abs(forth(v) - middle) for v in drawn) * ROOM
    if log:
        half = max(half, LEAST_LOG_HALF)
    half = half or abs(middle) or 1.0
    scale = (50.0 - MARGIN) / half
    return (lambda v: 50.0 + sign * (forth(v) - middle) * scale), (lambda d: back(middle + sign * d)), half


def _ticks(place: Callable[[float], float], back: Callable[[float], float], half: float, log: bool) -> tuple[Tick, ...]:
    lo, hi = sorted((back(-half), back(half)))
    values = _log_values(lo, hi) if log else _linear_values(lo, hi)
    ticks = sorted((Tick(_round(place(v)), f"{number(v)}×" if log else number(v)) for v in values), key=lambda t: t.x)
    kept: list[Tick] = []
    for tick in ticks:
        if 6 <= tick.x <= 94 and (not kept or tick.x - kept[-1].x >= 12):
            kept.append(tick)
    return tuple(kept)


def _log_values(lo: float, hi: float) -> list[float]:
    """Round values between lo and hi: the coarsest steps that give at least three, or the finest."""
    first, last = math.floor(math.log10(lo)), math.ceil(math.log10(hi))
    if last - first > MAX_TICKS:
        every = math.ceil((last - first) / MAX_TICKS)
        return [10.0**e for e in range(first, last + 1) if e % every == 0]
    best: list[float] = []
    for steps in STEPS:
        best = [s * 10.0**e for e in range(first, last + 1) for s in steps if lo <= s * 10.0**e <= hi]
        if len(best) >= 3:
            break
    return best


def _linear_values(lo: float, hi: float) -> list[float]:
    raw = (hi - lo) / MAX_TICKS
    size = 10.0 ** math.floor(math.log10(raw))
    step = next((m * size for m in (1, 2, 2.5, 5) if m * size >= raw), 10 * size)
    start = math.ceil(lo / step)
    return [i * step for i in range(start, math.floor(hi / step) + 1)]


def _round(x: float) -> float:
    return round(x, 2)
