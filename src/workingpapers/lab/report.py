"""Runs as plain documents: for `--json`, the API and exports."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from workingpapers.claims import t_interval
from workingpapers.papers._facts import ClaimFacts

from .store import MeasurementRow, RunRow

CHECK_FIELDS = ("name", "rule", "estimate", "interval", "threshold", "n_seeds", "verdict", "kind", "better", "scale", "counts", "group",
                "reason", "metric", "point", "headline", "also")


def batch_document(rows: Sequence[RunRow], facts_of: Callable[[str, str], ClaimFacts | None]) -> dict[str, Any]:
    """What `run --json` prints: batch, paper, scale, environment and one entry a claim."""
    first = rows[0]
    return {"batch_id": first.batch_id, "paper": first.slug, "scale": first.scale,
            "environment": next((r.environment for r in rows if r.environment), {}),
            "claims": [run_document(r, facts_of(r.slug, r.claim_id)) for r in rows]}


def run_document(run: RunRow, facts: ClaimFacts | None = None) -> dict[str, Any]:
    """One run: verdict, headline estimate, every check, means and intervals of every arm.

    `facts` gives the paper's reported figure; without it `reported` is null.
    """
    headline = next((c.body for c in run.checks if c.is_headline), None)
    reused = [t.reused_from for t in run.trials if t.reused_from is not None]
    return {
        "run_id": run.run_id,
        "id": run.claim_id,
        "verdict": run.verdict,
        "note": run.note,
        "reason": run.reason,
        "estimate": headline["estimate"] if headline else None,
        "interval": headline["interval"] if headline else None,
        "threshold": headline["threshold"] if headline else None,
        "n_seeds": headline["n_seeds"] if headline else 0,
        "checks": [{k: c.body.get(k) for k in CHECK_FIELDS} | {"decides": c.body.get("decides", True)} for c in run.checks],
        "reported": facts.reported.model_dump(mode="json") if facts is not None and facts.reported is not None else None,
        "arms": arms_table(run),
        "seconds": round(run.seconds, 3),
        "failed_trials": sum(t.state == "failed" for t in run.trials),
        "reused_trials": len(reused),
        "reused_since": min(reused).isoformat() if reused else None,
        "trials": len(run.trials),
        "plots": [{"name": f.name, "title": f.title, **f.paths} for f in run.files],
        "state": run.state,
        "scale": run.scale,
        "paper": run.slug,
        "claim": run.claim_id,
        "origin": run.origin,
        "is_yours": run.is_yours,
        "executor": run.executor,
        "code_hash": run.code_hash,
        "data_hash": run.data_hash,
        "created_at": run.created_at.isoformat(),
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
    }


def arms_table(run: RunRow) -> dict[str, dict[str, dict[str, Any]]]:
    """Mean, interval and number of seeds of each metric of each arm; seeds are averaged over points first."""
    by_seed: dict[str, dict[str, dict[int, list[float]]]] = {}
    for trial in run.trials:
        for m in trial.measurements:
            by_seed.setdefault(m.arm, {}).setdefault(m.metric, {}).setdefault(trial.seed, []).append(number(m))
    order = list(run.plan.get("arms", by_seed)) if run.plan else list(by_seed)
    return {arm: {metric: _summary(seeds) for metric, seeds in by_seed[arm].items()} for arm in order if arm in by_seed}


def number(m: MeasurementRow) -> float:
    """The value of a measurement; NaN and infinities are kept apart in the store."""
    return float(m.special) if m.special is not None else float(m.value if m.value is not None else math.nan)


def _summary(seeds: dict[int, list[float]]) -> dict[str, Any]:
    values = [sum(v) / len(v) for v in seeds.values()]
    if not all(map(math.isfinite, values)):
        return {"mean": None, "interval": None, "n": len(values)}
    if len(values) < 3:
        return {"mean": sum(values) / len(values), "interval": None, "n": len(values)}
    found = t_interval(values)
    return {"mean": found.estimate, "interval": [found.lo, found.hi], "n": len(values)}
