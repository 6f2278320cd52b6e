"""What a trial process does: it finds the claim, does one job, and tells of it line by line.

A job is a JSON object `{"kind": ..., "module": ..., "claim": ..., ...}`; the answers are JSON objects too, the last
of which has `"end"`. Kinds: `plan`, `prepare`, `trial`, `decide`, `plots`.
"""

from __future__ import annotations

import base64
import importlib
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, BinaryIO

from workingpapers.claims import Claim, Measurement, Results, Untested
from workingpapers.claims._language import TIMED_ARM, attributes
from workingpapers.claims._results import Planned
from workingpapers.claims._trial import point_label

Answer = dict[str, Any]
Tell = Callable[[Answer], None]


def perform(job: Answer, tell: Tell) -> None:
    """Do one job. Whatever goes wrong is told, never raised."""
    try:
        made = find_claim(job["module"], job["claim"])
        if job["scale"] not in made.scales and not job.get("points"):
            raise Untested(f"this claim has no {job['scale']} scale; there is {', '.join(made.scales) or 'none'}")
        set_threads(int(job.get("threads") or made.threads))
        kinds = {"plan": _plan, "prepare": _prepare, "trial": _trial, "decide": _decide, "plots": _plots}
        kinds[job["kind"]](made, job, tell)
    except Untested as error:
        tell({"end": "untested", "reason": str(error)})
    except MemoryError:
        tell({"end": "error", "error": "MemoryError", "traceback": traceback.format_exc()})
    except BaseException as error:
        tell({"end": "error", "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc(),
              "missing": getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None})


def run_one(job: bytes, writer: BinaryIO) -> None:
    """Perform one job, a JSON object, and write its answers: a JSON object a line."""
    me = os.getpid()

    def tell(answer: Answer) -> None:
        if os.getpid() == me:  # a process that the trial forked, and that came back up here, has nothing to say
            writer.write(json.dumps(answer).encode() + b"\n")
            writer.flush()

    perform(json.loads(job), tell)


def find_claim(module: str, claim_id: str) -> Claim:
    """The claim of this id in a module; LookupError when there is none."""
    for value in vars(importlib.import_module(module)).values():
        if isinstance(value, Claim) and value.id == claim_id:
            return value
    raise LookupError(f"{module} declares no claim {claim_id!r}")


def set_threads(n: int) -> None:
    """Pin the thread pools of numpy, torch and numba that are loaded."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=n)
    torch, numba = sys.modules.get("torch"), sys.modules.get("numba")
    if torch is not None:
        torch.set_num_threads(n)
    if numba is not None:
        numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS))


def given_points(job: Answer, made: Claim) -> list[Any]:
    """The workload points of a job: the claim's own at its scale, or the user's."""
    if not job.get("points"):
        return made.points(job["scale"])
    points = []
    for spec in job["points"]:
        if "object" in spec:
            points.append(named_object(spec["object"]))
        else:
            import cloudpickle

            # Made by this user's own process a moment ago and handed over a private pipe; never from a file or a request.
            points.append(cloudpickle.loads(base64.b64decode(spec["pickle"])))
    return points


def named_object(path: str) -> Any:
    """The workload point that `module:object` names; a class or function is called without arguments."""
    module, _, name = path.partition(":")
    if not module or not name:
        raise ValueError(f"--point is {path!r}: write module:object")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:  # an ImportError let through would pass for a package that the paper lacks
        raise ValueError(f"--point {path}: {error}") from error
    point = found() if isinstance(found, type) or (callable(found) and not hasattr(found, "load")) else found
    if not hasattr(point, "load"):
        raise TypeError(f"--point {path}: a {type(point).__name__} has no load(rng)")
    return point


def _point(job: Answer, made: Claim, label: str) -> Any:
    for point in given_points(job, made):
        if point_label(point) == label:
            return point
    raise LookupError(f"no workload point {label!r} at {job['scale']} scale")


def _plan(made: Claim, job: Answer, tell: Tell) -> None:
    points = given_points(job, made) if job.get("points") else None
    trials = [{"part": part.name, "arm": arm, "seed": seed, "point": point_label(point), "timed": part.is_timed}
              for part, arm, seed, point in made.planned(job["scale"], job.get("seeds"), points)]
    tell({"end": "ok", "trials": trials, "threads": made.threads, "time_limit": made.time_limit, "memory_gb": made.memory_gb,
          "parts": {p.name: {"timed": p.is_timed, "arms": list(p.arms)} for p in made.parts},
          "arms": {a.name: a.role for a in made.arms.values()},
          "needs_direction": sorted({leaf.metric for leaf in made.rule.leaves() if leaf.needs_direction}),
          "points": [point_label(p) for p in (points if points is not None else made.points(job["scale"]))]})


def _prepare(made: Claim, job: Answer, tell: Tell) -> None:
    hashes = {}
    points = given_points(job, made)
    for i, point in enumerate(points):
        label = point_label(point)

        def report(share: float, words: str, i: int = i, label: str = label) -> None:
            tell({"progress": (i + min(max(share, 0.0), 1.0)) / len(points), "words": words or f"preparing {label}"})

        if hasattr(point, "prepare"):
            point.prepare(report)
        hashes[label] = point.data_hash() if hasattr(point, "data_hash") else ""
    tell({"end": "ok", "hashes": hashes})


def _trial(made: Claim, job: Answer, tell: Tell) -> None:
    part = made.part(job["part"])
    point = _point(job, made, job["point"])
    told = [0.0]

    def report(done: float, total: float) -> None:
        if time.monotonic() - told[0] > 0.2 and total > 0 and math.isfinite(done):
            told[0] = time.monotonic()
            tell({"progress": min(max(done / total, 0.0), 1.0)})

    start = time.perf_counter()
    for m in made.attempt(part, job["arm"], job["seed"], point, job["scale"], report):
        tell({"measurement": [m.arm, m.metric, _plain(m.value)]})
    tell({"end": "ok", "seconds": time.perf_counter() - start, "peak_mb": _peak_mb()})


def _decide(made: Claim, job: Answer, tell: Tell) -> None:
    results = _results(made, job)
    decision = made.decide(results)
    checks = [asdict(c) for c in decision.checks]
    notes, failed = [], []
    for note in made.notes:
        try:
            notes.append(str(note(decision.checks) or "").strip())
        except Exception:  # the verdict stands without its nuance
            failed.append(traceback.format_exc())
    tell({"end": "ok", "verdict": str(decision.verdict), "reason": decision.reason, "checks": _jsonable(checks),
          "note": " ".join(n for n in notes if n), "failed_notes": failed})


def _plots(made: Claim, job: Answer, tell: Tell) -> None:
    results = _results(made, job)
    for name, draw in made.plots.items():
        try:
            chart = draw(results)
            if chart is not None:
                spec = _jsonable(chart if isinstance(chart, dict) else chart.to_dict())
                tell({"plot": name, "title": (draw.__doc__ or name).strip().split("\n")[0], "spec": spec})
        except Exception:
            tell({"failed_plot": name, "traceback": traceback.format_exc()})
    tell({"end": "ok"})


def _results(made: Claim, job: Answer) -> Results:
    measurements = [Measurement(part, arm, seed, point, metric, _unplain(v)) for part, arm, seed, point, metric, v in job["measurements"]]
    planned = [Planned(part, arm, seed, point, finished)
               for part, arm, seed, point, finished in _per_arm(made, job["planned"])]
    return Results(measurements, planned, job.get("better") or {}, attributes(given_points(job, made)))


def _per_arm(made: Claim, planned: Iterable[Sequence[Any]]) -> Iterator[tuple[str, str, int, str, bool]]:
    for part, arm, seed, point, finished in planned:
        for name in made.part(part).arms if arm == TIMED_ARM else (arm,):
            yield part, name, seed, point, finished


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _unplain(value: float | str) -> float:
    return float(value)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _peak_mb() -> float:
    """Peak resident memory of this process since it was forked, in MiB."""
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 2**20
