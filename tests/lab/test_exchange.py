"""Runs as files: out of one site, into another, and what an import refuses."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from workingpapers.lab import Lab, LabError, read
from workingpapers.lab.exchange import export_runs, import_runs
from workingpapers.lab.store import RunRow

RICH = '''
from .method import estimate

@claim("beats", arms={"new": method(estimate), "old": control(lambda x: abs(x[0]) + 1e-9)}, points=[N(100), N(400)], seeds=30,
       rule=all_of(headline(ratio("error", "new", "old") < 1), within("error", "new", 0, 1), exact("k", "new", 3), bound("k", "new") <= 3))
def beats(trial):
    if trial.seed == 29 and trial.arm.name == "old":
        raise ArithmeticError("starved")
    return {"error": trial.arm.build(trial.point.load(trial.rng)), "k": 3, "odd": float("nan")}

@beats.timed(seeds=3)
def timing(trial):
    return {name: {"seconds": 1.0} for name in trial.arms}
'''


def same(document: dict[str, Any]) -> dict[str, Any]:
    """All of a run's document that does not tell where it is shown."""
    return {k: v for k, v in document.items() if k not in ("origin", "plots")}


@pytest.mark.slow
def test_export_and_import_into_an_empty_home_give_an_equal_document(toy: Any, tmp_path: Path, drawn: None) -> None:
    toy.write(RICH)
    here = toy.lab()
    here.run("toy", seeds=3)
    batch = here.run("toy")
    assert batch["beats"].document["reused_trials"] > 0
    document = export_runs(here, [batch.batch_id])
    text = json.dumps(document, allow_nan=False)

    there = toy.lab(tmp_path / "there")
    assert import_runs(there, text) == [batch["beats"].run_id]
    taken = there.run_document(batch["beats"].run_id)
    assert same(taken) == same(batch["beats"].document)
    assert taken["origin"] == "imported"
    assert [p["name"] for p in taken["plots"]] == ["verdict"]
    again = export_runs(there, [batch.batch_id])
    assert [same(r) for r in again["runs"]] == [same(r) for r in document["runs"]]
    assert import_runs(there, text) == [], "what is here already is left alone"
    with there.store.reading() as session:
        assert read.newest(session) == {}, "never counted as this machine's"
    fresh = there.run("toy")["beats"].document
    assert fresh["reused_trials"] == 0, "nor is any trial of it reused"


@pytest.mark.slow
def test_an_imported_run_is_not_resumed(toy: Any, tmp_path: Path) -> None:
    there, document = exported(toy, tmp_path)
    document["runs"][0]["trial_rows"][0]["state"] = "failed"
    [run_id] = import_runs(there, json.dumps(document))
    with pytest.raises(LabError, match="was run elsewhere"):
        there.resume(run_id)


@pytest.mark.slow
def test_export_without_trials_is_what_papers_ship(toy: Any) -> None:
    lab = toy.lab()
    batch = lab.run("toy", seeds=3)
    [run] = export_runs(lab, [batch.batch_id], trials=False)["runs"]
    assert "trial_rows" not in run
    assert (run["claim"], run["verdict"], run["plots"]) == ("beats", batch["beats"].verdict, [])
    assert run["environment"]["python"]
    with pytest.raises(LabError, match="no run and no batch is named 'r0'"):
        export_runs(lab, ["r0"])


def exported(toy: Any, tmp_path: Path) -> tuple[Lab, dict[str, Any]]:
    lab = toy.lab()
    batch = lab.run("toy", seeds=3)
    return toy.lab(tmp_path / "there"), copy.deepcopy(export_runs(lab, [batch.batch_id]))


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        *way, last = path.split(".")
        at: Any = document
        for step in way:
            at = at[int(step)] if step.isdigit() else at[step]
        at[int(last) if last.isdigit() else last] = value

    return change


def double(path: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        at: Any = document
        for step in path.split("."):
            at = at[int(step)] if step.isdigit() else at[step]
        at.append(copy.deepcopy(at[0]))

    return change


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "format": (put("format", "other"), "format"),
    "version": (put("version", 2), "version"),
    "runs no list": (put("runs", {"a": 1}), "runs"),
    "run no object": (put("runs.0", 3), "runs.0"),
    "name with a path": (put("runs.0.run_id", "../../etc"), "runs.0.run_id"),
    "name with a script": (put("runs.0.batch_id", "<script>"), "runs.0.batch_id"),
    "claim with a path": (put("runs.0.claim", "../x"), "runs.0.claim"),
    "another verdict": (put("runs.0.verdict", "proven"), "runs.0.verdict"),
    "seconds of text": (put("runs.0.seconds", "long"), "runs.0.seconds"),
    "negative seconds": (put("runs.0.seconds", -1), "runs.0.seconds"),
    "huge seed": (put("runs.0.trial_rows.0.seed", 10**30), "runs.0.trial_rows.0.seed"),
    "seed of text": (put("runs.0.trial_rows.0.seed", "x"), "runs.0.trial_rows.0.seed"),
    "value of text": (put("runs.0.trial_rows.0.measurements.0.value", "x"), "runs.0.trial_rows.0.measurements.0.value"),
    "no value": (put("runs.0.trial_rows.0.measurements.0.value", None), "runs.0.trial_rows.0.measurements.0"),
    "a metric twice": (double("runs.0.trial_rows.0.measurements"), "stands twice"),
    "a trial twice": (double("runs.0.trial_rows"), "stands twice"),
    "plan no object": (put("runs.0.plan", [1]), "runs.0.plan"),
    "arms of the plan": (put("runs.0.plan.arms", 7), "runs.0.plan.arms"),
    "role of an arm": (put("runs.0.plan.arms", {"a": "<b>"}), "runs.0.plan.arms.a"),
    "environment no object": (put("runs.0.environment", "x"), "runs.0.environment"),
    "interval of one": (put("runs.0.checks.0.interval", [1.0]), "runs.0.checks.0.interval"),
    "long name": (put("runs.0.checks.0.name", "x" * 100_000), "runs.0.checks.0.name"),
    "day of text": (put("runs.0.created_at", "yesterday"), "runs.0.created_at"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A document as `runs export` writes it, made once by hand from a run's shape."""
    check = {"name": "c", "rule": "c < 1", "kind": "compare", "verdict": "holds", "estimate": 0.5, "interval": [0.4, 0.6], "threshold": 1.0,
             "better": "lower", "scale": "log", "n_seeds": 3, "headline": True, "metric": "error"}
    trial = {"part": "beats", "arm": "new", "seed": 0, "point": "n=9", "state": "done", "seconds": 1.0,
             "measurements": [{"arm": "new", "metric": "error", "value": 0.5, "special": None}]}
    run = {"run_id": "r1", "batch_id": "b1", "paper": "toy", "claim": "beats", "scale": "smoke", "verdict": "holds", "seconds": 1.0,
           "created_at": "2026-01-01T00:00:00+00:00", "checks": [check], "trial_rows": [trial], "plan": {"arms": {"new": "method"}},
           "environment": {"cpu": "x", "packages": {"numpy": "2"}}}
    return {"format": "workingpapers-runs", "version": 1, "runs": [run]}


def stored(lab: Lab) -> list[str]:
    with lab.store.reading() as session:
        return list(session.scalars(select(RunRow.run_id)))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_one_clear_error(toy: Any, sound: dict[str, Any], name: str) -> None:
    change, said = HOSTILE[name]
    document = copy.deepcopy(sound)
    document["runs"].insert(0, {**copy.deepcopy(sound["runs"][0]), "run_id": "r0"})
    document["runs"].reverse()
    change(document)
    lab = toy.lab()
    with pytest.raises(LabError, match="not a document of runs: ") as refused:
        import_runs(lab, json.dumps(document))
    assert said in str(refused.value)
    assert len(str(refused.value)) < 1_000
    assert stored(lab) == [], "nothing of it is taken"


@pytest.mark.slow
@pytest.mark.parametrize("text", [
    "", "{", "[]", "3", "null", b"\xff\xfe", "[" * 100_000, '{"format": "workingpapers-runs", "version": 1, "runs": [' + "[" * 5_000,
    "9" * 10_000, '{"format": 1e999}', '{"format": NaN}', '{"a":' * 3_000 + "1" + "}" * 3_000])
def test_what_is_no_document_at_all(toy: Any, text: str | bytes) -> None:
    lab = toy.lab()
    with pytest.raises(LabError, match="not a document of runs"):
        import_runs(lab, text)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("place", ["estimate", "value", "memory_gb"])
def test_numbers_that_are_none(toy: Any, sound: dict[str, Any], number: str, place: str) -> None:
    document = copy.deepcopy(sound)
    {"estimate": put("runs.0.checks.0.estimate", 123456789), "value": put("runs.0.trial_rows.0.measurements.0.value", 123456789),
     "memory_gb": put("runs.0.environment.memory_gb", 123456789)}[place](document)
    lab = toy.lab()
    with pytest.raises(LabError, match=r"not a document of runs: .*(no JSON number|beyond the largest number)"):
        import_runs(lab, json.dumps(document).replace("123456789", number))
    assert stored(lab) == []


def test_a_document_larger_than_is_taken(toy: Any) -> None:
    with pytest.raises(LabError, match="at most 64 are taken"):
        import_runs(toy.lab(), b" " * ((64 << 20) + 1))


def test_names_with_scripts_are_text_everywhere(toy: Any, sound: dict[str, Any], drawn: None) -> None:
    script = "<script>alert(1)</script>"
    document = copy.deepcopy(sound)
    run = document["runs"][0]
    run["checks"][0] |= {"name": script, "rule": script, "metric": script}
    run["trial_rows"][0] |= {"arm": script, "point": script}
    run["trial_rows"][0]["measurements"][0] |= {"arm": script, "metric": script}
    run["plan"] = {"arms": {script: "method"}}
    run["note"] = run["reason"] = script
    lab = toy.lab()
    assert import_runs(lab, json.dumps(document)) == ["r1"]
    taken = lab.run_document("r1")
    assert list(taken["arms"]) == [script]
    for path in taken["plots"][0]:
        if path.endswith(".svg"):
            assert "<script" not in (lab.store.settings.artefacts / taken["plots"][0][path]).read_text()


def test_an_import_may_not_join_a_batch_of_this_machine(toy: Any, sound: dict[str, Any]) -> None:
    lab = toy.lab()
    [row] = lab.enqueue("toy")
    document = copy.deepcopy(sound)
    document["runs"][0]["batch_id"] = row.batch_id
    with pytest.raises(LabError, match=r"runs\.0\.batch_id: .* is a batch of this machine"):
        import_runs(lab, json.dumps(document))


def test_a_paper_that_is_not_here_is_taken_all_the_same(toy: Any, sound: dict[str, Any]) -> None:
    document = copy.deepcopy(sound)
    document["runs"][0]["paper"] = "of_another_site"
    lab = toy.lab()
    import_runs(lab, json.dumps(document))
    assert lab.run_document("r1")["reported"] is None
