"""From a request to a verdict: what is recorded, what fails, what stays untested."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from workingpapers.lab import Lab, LabError, read
from workingpapers.lab.store import EventRow, MeasurementRow, RunRow, TrialRow
from workingpapers.papers.catalogue import UnknownPaper


def rows(lab: Lab, run_id: str) -> RunRow:
    with lab.store.reading() as session:
        row = read.run(session, run_id)
        assert row is not None
        return row


@pytest.mark.slow
def test_a_run_from_plan_to_plots(toy: Any, drawn: None) -> None:
    toy.write('''
    from .method import estimate

    @claim("beats", arms={"new": method(estimate), "old": control(lambda x: abs(x[0]) + 1e-9)}, points=at(smoke=[N(100), N(400)]),
           seeds=4, rule=all_of(headline(ratio("error", "new", "old") < 1), value("seconds", "new") > -1,
                                each_point(value("error", "new") < 1)))
    def beats(trial):
        count(trial)
        print("trials may print what they like")
        yield {"error": trial.arm.build(trial.point.load(trial.rng))}
        yield {"not": float("nan"), "too": float("inf")}

    @beats.timed(seeds=3, points=[N(100)])
    def timing(trial):
        count(trial)
        yield {name: {"seconds": 1.0 + trial.seed} for name in trial.arms}

    @beats.plot("scatter")
    def scatter(results):
        """All errors"""
        import altair as alt
        return alt.Chart(alt.Data(values=results.rows(["error"]))).mark_point().encode(x="arm:N", y="value:Q")

    @beats.note
    def note(checks):
        return f"{len(checks)} checks."
    ''')
    lab, events = toy.lab(), []
    batch = lab.run("toy", on_event=lambda run, kind, payload: events.append((kind, payload)))
    document = batch["beats"].document
    assert document["verdict"] == "holds"
    assert document["note"] == "4 checks."
    assert [c["verdict"] for c in document["checks"]] == ["holds"] * 4
    assert [c["headline"] for c in document["checks"]] == [True, False, False, False]
    assert document["estimate"] == document["checks"][0]["estimate"] < 1
    assert document["reported"] == {"figure": "0.1", "where": None, "value": 0.1, "at": None}
    assert document["arms"]["new"]["seconds"] == {"mean": 2.0, "interval": pytest.approx([2 - 2.484, 2 + 2.484], abs=1e-2), "n": 3}
    assert document["arms"]["new"]["not"] == {"mean": None, "interval": None, "n": 4}
    assert (document["failed_trials"], document["reused_trials"], document["trials"], document["state"]) == (0, 0, 2 * 2 * 4 + 3, "done")
    json.dumps(batch.document, allow_nan=False)

    assert sorted(toy.attempts()) == sorted([f"{arm}|{seed}|n={n}" for arm in ("new", "old") for seed in range(4) for n in (100, 400)]
                                            + [f"*|{seed}|n=100" for seed in range(3)])
    row = rows(lab, batch["beats"].run_id)
    assert {t.state for t in row.trials} == {"done"}
    assert all((t.reuse_key is None) == t.is_timed for t in row.trials)
    assert {(m.metric, m.special) for t in row.trials if not t.is_timed for m in t.measurements} == {
        ("error", None), ("not", "nan"), ("too", "inf")}
    assert [f.name for f in row.files] == ["verdict", "scatter"]
    for file in row.files:
        assert set(file.paths) == {"light.svg", "light.png", "dark.svg"}
        assert all((lab.store.settings.artefacts / p).stat().st_size > 500 for p in file.paths.values())
    kinds = [kind for kind, _ in events]
    assert kinds[0] == "state"
    assert kinds[-2:] == ["verdict", "done"]
    assert kinds.count("trial") == 19
    with lab.store.reading() as session:
        kept = session.scalars(select(EventRow).where(EventRow.run_pk == row.id).order_by(EventRow.seq)).all()
    assert [e.seq for e in kept] == list(range(1, len(kept) + 1))
    assert "<svg" in batch._repr_html_()
    assert row.environment["packages"].keys() >= {"altair"}


@pytest.mark.slow
def test_pairs_share_their_luck_across_processes(toy: Any) -> None:
    toy.write('''
    @claim("beats", arms={"new": method(float), "old": control(float)}, points=[N(100)], seeds=4,
           rule=difference("error", "new", "old") <= 0)
    def beats(trial):
        return {"error": trial.rng.normal(), "once more": trial.rng.normal()}
    ''')
    check = toy.lab().run("toy")["beats"].document["checks"][0]
    assert (check["verdict"], check["estimate"], check["interval"]) == ("holds", 0.0, [0.0, 0.0])


@pytest.mark.slow
def test_a_failed_trial_is_recorded_and_the_run_goes_on(toy: Any) -> None:
    toy.write('''
    @claim("beats", arms={"new": method(float), "old": control(float)}, points=[N(9)], seeds=5, rule=all_of(
           value("error", "new") < 2, not_worse("score", "new", "old", by=1)))
    def beats(trial):
        count(trial)
        yield {"error": 1.0}
        if trial.arm.name == "new" and trial.seed == 3:
            raise ArithmeticError("starved")
        yield {"score": 1.0}
    ''')
    lab = toy.lab()
    document = lab.run("toy")["beats"].document
    assert (document["verdict"], document["state"], document["failed_trials"]) == ("inconclusive", "done", 1)
    assert document["reason"] == "1 of 5 trials of new did not give error"
    assert document["checks"][0]["n_seeds"] == 4
    assert len(toy.attempts()) == 10
    [failed] = [t for t in rows(lab, document["run_id"]).trials if t.state == "failed"]
    assert (failed.arm, failed.seed, failed.measurements) == ("new", 3, [])
    assert failed.traceback is not None
    assert failed.traceback.startswith("ArithmeticError: starved")
    assert "in beats" in failed.traceback


@pytest.mark.slow
def test_when_every_trial_fails_the_verdict_is_open(toy: Any) -> None:
    """Nothing was measured, so the direction of no metric could be looked up from measurements."""
    toy.write('''
    @claim("beats", arms={"new": method(float), "old": control(float)}, points=[N(9)], seeds=3, rule=all_of(
           not_worse("score", "new", "old", by=1), not_worse("error", "new", "old", margin=2.0)))
    def beats(trial):
        raise ArithmeticError("starved")
    ''')
    document = toy.lab().run("toy")["beats"].document
    assert (document["verdict"], document["state"], document["failed_trials"]) == ("inconclusive", "done", 6)


@pytest.mark.slow
@pytest.mark.parametrize(("arm", "verdict"), [("estimate", "holds"), ("first", "fails")])
def test_breaking_the_method_changes_the_verdict(toy: Any, arm: str, verdict: str) -> None:
    method = "def estimate(x):\n    return abs(x.mean()) + 1e-9\n\ndef first(x):\n    return abs(x[0]) + 1e-9\n"
    toy.write(method=method + f"\nestimate = {arm}\n")
    assert toy.lab().run("toy")["beats"].verdict == verdict


# ------------------------------------------------------------ untested


@pytest.mark.slow
def test_untested_by_prepare_with_its_reason(toy: Any) -> None:
    toy.write('''
    class Costly(N):
        def prepare(self, progress):
            progress(0.5, "looking for a GPU")
            untested("needs a GPU with 80 GB")

    @claim("beats", arms={"new": method(float)}, points=[Costly(9)], seeds=3, rule=value("error", "new") < 2)
    def beats(trial):
        count(trial)
        return {"error": 1.0}
    ''')
    document = toy.lab().run("toy")["beats"].document
    assert (document["verdict"], document["reason"], document["state"]) == ("untested", "needs a GPU with 80 GB", "done")
    assert toy.attempts() == []


@pytest.mark.slow
@pytest.mark.parametrize("where", ["module", "trial", "prepare"])
def test_untested_by_a_missing_package(toy: Any, where: str) -> None:
    lines = {w: "import no_such_package.deep" if w == where else "pass" for w in ("module", "trial", "prepare")}
    toy.write(f'''
{lines["module"]}

class P(N):
    def prepare(self, progress):
        {lines["prepare"]}

@claim("beats", arms={{"new": method(float)}}, points=[P(9)], seeds=3, rule=value("error", "new") < 2)
def beats(trial):
    {lines["trial"]}
    return {{"error": 1.0}}
''')
    document = toy.lab().run("toy")["beats"].document
    assert (document["verdict"], document["state"]) == ("untested", "done")
    assert document["reason"] == "the package no_such_package is not installed here: pip install 'workingpapers[vision]'"
    assert document["failed_trials"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("module", ["workingpapers.no_such_part", "{own}.toy.no_such_module"])
def test_a_module_of_its_own_that_is_missing_is_a_mistake(toy: Any, module: str) -> None:
    toy.write(f"import {module.format(own=toy.package)}")
    document = toy.lab().run("toy")["beats"].document
    assert (document["verdict"], document["state"]) == (None, "failed")
    assert "No module named" in document["reason"]


def test_a_scale_that_a_claim_has_not_is_untested(toy: Any) -> None:
    document = toy.lab().run("toy", scale="full")["beats"].document
    assert (document["verdict"], document["reason"]) == ("untested", "this claim has no full scale; there is smoke, small")


@pytest.mark.slow
def test_an_untested_run_is_tried_again_by_resume(toy: Any) -> None:
    """The remedy was carried out: the package is there now."""
    toy.write('''
    @claim("beats", arms={"new": method(float)}, points=[N(9)], seeds=6, rule=value("error", "new") < 2)
    def beats(trial):
        count(trial)
        if trial.seed == 2 and not Path(os.environ["TOY_LOG"] + ".remedy").exists():
            untested("no remedy")
        return {"error": 1.0}
    ''')
    lab = toy.lab()
    batch = lab.run("toy")
    assert batch["beats"].document["reason"] == "no remedy"
    assert {t.state for t in rows(lab, batch["beats"].run_id).trials} <= {"done", "pending"}
    Path(f"{toy.log}.remedy").touch()
    assert lab.resume(batch.batch_id)["beats"].verdict == "holds"
    assert all(toy.attempts().count(f"new|{seed}|n=9") == 1 for seed in (0, 1))


# ------------------------------------------------------------ what goes wrong around the trials


@pytest.mark.slow
def test_a_rule_without_a_direction_fails_before_any_trial(toy: Any) -> None:
    toy.write('''
    @claim("beats", arms={"new": method(float), "old": control(float)}, points=[N(9)], seeds=3,
           rule=not_worse("speed", "new", "old", by=1))
    def beats(trial):
        count(trial)
        return {"speed": 1.0}
    ''')
    document = toy.lab().run("toy")["beats"].document
    assert document["state"] == "failed"
    assert "the rule holds speed against a margin" in document["reason"]
    assert toy.attempts() == []


@pytest.mark.slow
def test_a_broken_note_or_plot_leaves_the_verdict(toy: Any, drawn: None) -> None:
    toy.write('''
    @claim("beats", arms={"new": method(float)}, points=[N(9)], seeds=3, rule=value("error", "new") < 2)
    def beats(trial):
        return {"error": 1.0 + trial.seed / 10}

    @beats.note
    def note(checks):
        raise LookupError("no nuance")

    @beats.plot("raises")
    def raises(results):
        raise LookupError("no picture")

    @beats.plot("nonsense")
    def nonsense(results):
        return {"mark": 17, "encoding": float("nan")}

    @beats.plot("not a chart")
    def not_a_chart(results):
        return object()

    @beats.plot("fine")
    def fine(results):
        return {"mark": "point", "data": {"values": [{"a": 1}]}, "encoding": {"x": {"field": "a", "type": "quantitative"}}}
    ''')
    lab, warnings = toy.lab(), []
    batch = lab.run("toy", on_event=lambda run, kind, payload: warnings.append(payload["words"]) if kind == "warning" else None)
    assert (batch["beats"].verdict, batch["beats"].document["state"]) == ("holds", "done")
    assert [p["name"] for p in batch["beats"].document["plots"]] == ["verdict", "fine"]
    assert len(warnings) == 4


@pytest.mark.slow
def test_the_driver_stores_a_repeated_report_once(toy: Any) -> None:
    from workingpapers.lab._runner import Runner

    lab = toy.lab()
    batch = lab.run("toy", seeds=3)
    runner = Runner(lab.store, lab.catalogue.find("toy"), batch["beats"].run_id)
    trial = rows(lab, batch["beats"].run_id).trials[0]
    before = trial.measurements[0].value
    runner._measured(trial.id, trial.arm, "error", 99.0)
    with lab.store.reading() as session:
        kept = session.scalars(select(MeasurementRow).where(MeasurementRow.trial_pk == trial.id)).all()
    assert [m.value for m in kept] == [before]


@pytest.mark.slow
def test_a_trial_that_gives_a_metric_twice_fails_alone(toy: Any) -> None:
    toy.write('''
    @claim("beats", arms={"new": method(float)}, points=[N(9)], seeds=4, rule=value("error", "new") < 2)
    def beats(trial):
        yield {"error": 1.0}
        if trial.seed == 0:
            yield {"error": 2.0}
    ''')
    document = toy.lab().run("toy")["beats"].document
    assert (document["verdict"], document["failed_trials"]) == ("inconclusive", 1)


@pytest.mark.slow
def test_time_and_memory_limits_of_a_claim(toy: Any) -> None:
    toy.write('''
    @claim("beats", arms={"new": method(float), "old": control(float)}, points=[N(9)], seeds=3, rule=value("error", "old") < 2,
           time_limit=1.0, memory_gb=0.5)
    def beats(trial):
        if trial.arm.name == "new":
            if trial.seed == 0:
                time.sleep(60)
            if trial.seed == 1:
                held = [bytearray(os.urandom(1 << 20) * 64) for _ in range(32)]
                time.sleep(60)
        return {"error": 1.0}
    ''')
    lab = toy.lab()
    batch = lab.run("toy")
    assert (batch["beats"].verdict, batch["beats"].document["failed_trials"]) == ("holds", 2)
    said = {t.seed: (t.traceback or "").splitlines()[0] for t in rows(lab, batch["beats"].run_id).trials if t.state == "failed"}
    assert said == {0: "time limit of 1 s reached", 1: "memory limit of 0.5 GB reached"} or said[1].startswith("time limit")


# ------------------------------------------------------------ wrong requests


@pytest.mark.parametrize(("arguments", "options", "said"), [
    (("toy", "nothing"), {}, "toy has no claim 'nothing'; there are: beats"),
    (("toy", []), {}, "claims is empty"),
    (("toy",), {"scale": "huge"}, "scale is 'huge'; there are smoke, small, full"),
    (("toy",), {"executor": "cloud"}, "executor is 'cloud'; there are local, ray"),
    (("toy",), {"seeds": 0}, "seeds is 0: give 1 to"),
    (("toy",), {"seeds": 2.5}, "seeds is 2.5"),
    (("toy",), {"seeds": 10**9}, "seeds is 1000000000"),
    (("toy",), {"points": []}, "points is empty"),
    (("toy",), {"points": ["nonsense"]}, "point is 'nonsense': write module:object"),
    (("toy",), {"points": ["no_such_module_here:x"]}, "no module 'no_such_module_here' is found"),
    (("toy",), {"points": ["os;rm:x"]}, "write module:object"),
    (("toy",), {"points": [3]}, r"points holds 3, which has no load\(rng\)"),
])
def test_wrong_requests_are_named_and_leave_nothing_behind(toy: Any, arguments: tuple[Any, ...], options: dict[str, Any],
                                                           said: str) -> None:
    lab = toy.lab()
    with pytest.raises(LabError, match=said):
        lab.run(*arguments, **options)
    with lab.store.reading() as session:
        assert session.scalars(select(RunRow)).all() == []


def test_unknown_and_listed_papers(toy: Any) -> None:
    lab = toy.lab()
    with pytest.raises(UnknownPaper, match="no paper 'tay'; did you mean toy"):
        lab.run("tay")
    (toy.folder / "claims.py").unlink()
    with pytest.raises(LabError, match="toy is listed, but has no claims that run yet"):
        toy.lab().run("toy")
    with pytest.raises(LabError, match="no run and no batch is named 'r0'"):
        lab.resume("r0")
    with pytest.raises(LabError, match="no run 'r0'"):
        lab.cancel("r0")


@pytest.mark.slow
def test_several_claims_are_one_batch_and_each_runs_once(toy: Any) -> None:
    more = '''
    for name in ("beats", "again"):
        @claim(name, arms={"new": method(float)}, points=[N(9)], seeds=3, rule=value("error", "new") < 2)
        def trial(trial):
            return {"error": 1.0}
        globals()["claim_" + name] = trial
    '''
    toy.write(more, ids=("beats", "again"))
    lab = toy.lab()
    batch = lab.run("toy", ["again", "again"])
    assert list(batch) == ["again"]
    assert list(lab.run("toy")) == ["beats", "again"]
    assert batch.document["batch_id"] == batch.batch_id


def test_settings_come_from_the_environment(toy: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORKINGPAPERS_WORKERS", "3")
    lab = toy.lab()
    assert lab.store.settings.slots(1) == 3
    assert lab.store.settings.slots(2) == 1
    assert lab.store.settings.home == Path(os.environ["WORKINGPAPERS_HOME"])
    assert (lab.store.settings.home / "workingpapers.sqlite3").exists()


@pytest.mark.slow
def test_trials_of_a_run_are_unique(toy: Any) -> None:
    from sqlalchemy.exc import IntegrityError

    lab = toy.lab()
    batch = lab.run("toy", seeds=3)
    first = rows(lab, batch["beats"].run_id).trials[0]
    twin = TrialRow(run_pk=first.run_pk, part=first.part, arm=first.arm, seed=first.seed, point=first.point)
    with pytest.raises(IntegrityError), lab.store.writing() as session:
        session.add(twin)
