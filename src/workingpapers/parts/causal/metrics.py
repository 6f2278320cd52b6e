"""How far an estimated graph lies from the true one."""

from __future__ import annotations

from typing import Any

import numpy as np

from .graphs import square


def _pair(B_true: Any, B_est: Any) -> tuple[Any, Any]:
    true, est = square(B_true, "B_true") != 0, square(B_est, "B_est") != 0
    if true.shape != est.shape:
        raise ValueError(f"B_true has shape {true.shape}, B_est {est.shape}: they must be over the same nodes")
    return true, est


def shd(B_true: Any, B_est: Any) -> int:
    """Structural Hamming distance: missing + extra + reversed edges; a reversed edge counts once (Zheng et al. 2018).

    >>> shd([[0, 1, 1], [0, 0, 0], [0, 0, 0]], [[0, 0, 0], [1, 0, 1], [0, 0, 0]])      # reversed, missing, extra
    3
    """
    true, est = _pair(B_true, B_est)
    return int(np.triu((true != est) | (true != est).T, 1).sum() + (np.diag(true) != np.diag(est)).sum())


def tpr(B_true: Any, B_est: Any) -> float:
    """Share of the true edges that were found, with their direction; 1 where there are none."""
    true, est = _pair(B_true, B_est)
    return float((true & est).sum() / true.sum()) if true.any() else 1.0


def fdr(B_true: Any, B_est: Any) -> float:
    """Share of the found edges that are wrong or reversed; 0 where none was found."""
    true, est = _pair(B_true, B_est)
    return float((est & ~true).sum() / est.sum()) if est.any() else 0.0


def sid(B_true: Any, B_est: Any) -> int:
    """Structural intervention distance (Peters & Buehlmann 2015): pairs whose effect would be estimated wrongly.

    Raises:
        ImportError: the package gadjid is not there.
        ValueError: one of the graphs has a cycle.
    """
    true, est = _pair(B_true, B_est)
    try:
        import gadjid
    except ImportError as error:
        raise ImportError("sid needs the package gadjid: pip install gadjid") from error
    as_rows = {"edge_direction": "from row to column"}
    return int(gadjid.sid(true.astype(np.int8), est.astype(np.int8), **as_rows)[1])


def varsortability(X: Any, W: Any) -> float:
    """Share of the directed paths of W along which the variance grows (Reisach et al. 2021); ties count a half.

    Near 1 a sort by variance finds the order, whatever the method; 0.5 is what chance gives. O(d^4) at most.

    >>> x = np.arange(5.0)
    >>> varsortability(np.column_stack([x, 2 * x]), [[0, 1], [0, 0]])
    1.0
    """
    linked = square(W) != 0
    variance = np.var(np.asarray(X, dtype=np.float64), axis=0)
    if len(variance) != len(linked):
        raise ValueError(f"X has {len(variance)} columns, W is over {len(linked)} nodes")
    paths, total, right = linked.astype(np.float64), 0.0, 0.0
    ratio = variance[None, :] / variance[:, None]
    for _ in range(len(linked) - 1):  # paths of each length, counted once a pair as in the definition
        there = paths > 0
        total += there.sum()
        right += (there & (ratio > 1 + 1e-12)).sum() + 0.5 * (there & (np.abs(ratio - 1) <= 1e-12)).sum()
        paths = (paths @ linked > 0).astype(np.float64)
        if not paths.any():
            break
    return float(right / total) if total else 1.0
