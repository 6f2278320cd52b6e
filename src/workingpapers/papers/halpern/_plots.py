"""How the residual of one run, or of several, falls with the evaluations spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._solve import Result


def plot(results: Result | Mapping[str, Result], *, width: int = 480, height: int = 300) -> Any:
    """A chart of residuals over evaluations, both on logarithmic axes, a line a run; at most 500 points a line.

    Args:
        results: what `solve` gave, or a dict of names and results.
        width, height: in pixels.

    Returns:
        An `altair.Chart`: shown by notebooks, `.save("residuals.html")` writes it.

    Raises:
        TypeError, ValueError: no results, or no run got as far as a residual.

    >>> from workingpapers.papers.halpern import LeastSquares, solve
    >>> F = LeastSquares(np.eye(3), [1.0, 2.0, 3.0])
    >>> chart = plot({name: solve(F, np.zeros(3), method=name, tol=1e-2) for name in ("halpern", "eg")})
    >>> sorted({row["run"] for row in chart.data.values})
    ['eg', 'halpern']
    """
    import altair as alt

    named = {"": results} if isinstance(results, Result) else results
    if not isinstance(named, Mapping) or not all(isinstance(r, Result) for r in named.values()):
        raise TypeError("results must be what solve gave, or a dict of names and such results")
    rows = []
    for name, found in named.items():
        spent, residual = found.history.oracle, found.history.residual
        kept = np.flatnonzero(residual > 0)
        if len(kept) > 500:
            kept = kept[np.unique(np.geomspace(1, len(kept), 500).astype(int) - 1)]
        rows += [{"run": name, "evaluations": int(spent[k]), "residual": float(residual[k])} for k in kept]
    if not rows:
        raise ValueError("results hold no residual above 0: nothing to plot; was max_oracle below one evaluation of all terms?")
    color = alt.Color("run:N", title=None) if len(named) > 1 else alt.Undefined
    return alt.Chart(alt.Data(values=rows), width=width, height=height).mark_line().encode(  # type: ignore[no-untyped-call,unused-ignore]
        x=alt.X("evaluations:Q", scale=alt.Scale(type="log"), title="evaluations of one term"),
        y=alt.Y("residual:Q", scale=alt.Scale(type="log")), color=color, tooltip=["run:N", "evaluations:Q", "residual:Q"])
