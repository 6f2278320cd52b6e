"""The command line as people and scripts meet it: in a process of its own, by its output and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

NUMBER: dict[str, Any] = {"type": ["number", "null"]}
PAIR: dict[str, Any] = {"type": ["array", "null"], "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
THRESHOLD: dict[str, Any] = {"anyOf": [{"type": ["number", "null"]}, {k: v for k, v in PAIR.items() if k != "type"} | {"type": "array"}]}
WORD: dict[str, Any] = {"enum": ["holds", "partly", "fails", "inconclusive", "untested"]}
CHECK: dict[str, Any] = {
    "type": "object", "required": ["name", "rule", "estimate", "interval", "threshold", "n_seeds", "verdict"],
    "properties": {"name": {"type": "string"}, "rule": {"type": "string"}, "estimate": NUMBER, "interval": PAIR, "threshold": THRESHOLD,
                   "n_seeds": {"type": "integer"}, "verdict": WORD}}
CLAIM: dict[str, Any] = {
    "type": "object",
    "required": ["run_id", "id", "verdict", "note", "reason", "estimate", "interval", "threshold", "n_seeds", "checks", "reported", "arms",
                 "seconds", "failed_trials", "reused_trials", "plots"],
    "properties": {
        "run_id": {"type": "string"}, "id": {"type": "string"}, "verdict": {"anyOf": [WORD, {"type": "null"}]}, "note": {"type": "string"},
        "reason": {"type": "string"}, "estimate": NUMBER, "interval": PAIR, "threshold": THRESHOLD, "n_seeds": {"type": "integer"},
        "checks": {"type": "array", "items": CHECK}, "seconds": {"type": "number"}, "failed_trials": {"type": "integer"},
        "reported": {"type": ["object", "null"], "required": ["figure", "where", "value"]},
        "reused_trials": {"type": "integer"}, "plots": {"type": "array"},
        "arms": {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": {
            "type": "object", "required": ["mean", "interval", "n"], "additionalProperties": False,
            "properties": {"mean": NUMBER, "interval": PAIR, "n": {"type": "integer"}}}}}}}
BATCH: dict[str, Any] = {
    "type": "object", "required": ["batch_id", "paper", "scale", "environment", "claims"], "additionalProperties": False,
    "properties": {"batch_id": {"type": "string"}, "paper": {"type": "string"}, "scale": {"enum": ["smoke", "small", "full"]},
                   "environment": {"type": "object"}, "claims": {"type": "array", "items": CLAIM, "minItems": 1}}}

LOUD = '''
print("printed while it is imported")
print("an error of importing", file=sys.stderr)

@claim("beats", arms={"new": method(float), "old": control(float)}, points=[N(9)], seeds=3,
       rule=all_of(headline(within("error", "new", 0, 2)), ratio("error", "new", "old") <= 1, exact("error", "new", 1)))
def beats(trial):
    print("printed by a trial")
    os.write(1, b"written by a trial")
    os.system("echo said by a child of a trial")
    if os.environ.get("TOY_FAILS") and trial.seed == 1:
        raise ArithmeticError("starved")
    if os.environ.get("TOY_UNTESTED"):
        untested("no luck here")
    return {"error": 1.0}
'''


def one_document(done: subprocess.CompletedProcess[str]) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(done.stdout, parse_constant=refuse)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Wrong usage: exit code 2, nothing on standard output, one line on standard error."""
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("workingpapers: ")
    return line


@pytest.mark.slow
def test_run_prints_one_document_and_nothing_else(toy: Any) -> None:
    toy.write(LOUD)
    done = toy.cli("run", "toy", "beats", "--scale", "smoke", "--json")
    assert done.returncode == 0, done.stderr
    document = one_document(done)
    jsonschema.validate(document, BATCH)
    [claim] = document["claims"]
    assert (claim["verdict"], claim["failed_trials"], document["paper"]) == ("holds", 0, "toy")
    assert claim["threshold"] == [0.0, 2.0]
    assert (claim["estimate"], claim["interval"], claim["n_seeds"]) == (1.0, [1.0, 1.0], 3)
    assert [c["verdict"] for c in claim["checks"]] == ["holds"] * 3

    resumed = toy.cli("resume", document["batch_id"], "--json")
    assert (resumed.returncode, one_document(resumed)) == (0, document)
    shown = toy.cli("runs", "show", claim["run_id"], "--json")
    assert one_document(shown) == claim
    listed = one_document(toy.cli("runs", "list", "--json"))
    assert [(r["run_id"], r["verdict"], r["state"]) for r in listed] == [(claim["run_id"], "holds", "done")]
    assert one_document(toy.cli("runs", "list", "--verdict", "fails", "--json")) == []


@pytest.mark.slow
@pytest.mark.parametrize(("variables", "code", "verdict"), [
    ({}, 0, "holds"), ({"TOY_FAILS": "1"}, 1, "inconclusive"), ({"TOY_UNTESTED": "1"}, 0, "untested")])
def test_exit_codes(toy: Any, variables: dict[str, str], code: int, verdict: str) -> None:
    toy.write(LOUD)
    done = toy.cli("run", "toy", "--json", **variables)
    document = one_document(done)
    jsonschema.validate(document, BATCH)
    assert (done.returncode, document["claims"][0]["verdict"]) == (code, verdict), done.stderr
    if code:
        assert "not every trial ran: beats. `workingpapers runs show RUN` tells why" in done.stderr
        assert f"`workingpapers resume {document['batch_id']}` tries again" in done.stderr


@pytest.mark.slow
def test_a_claim_that_fails_is_a_result_and_no_error(toy: Any) -> None:
    toy.write(LOUD.replace("within(\"error\", \"new\", 0, 2)", "within(\"error\", \"new\", 5, 9)"))
    done = toy.cli("run", "toy")
    assert done.returncode == 0
    assert "fails" in done.stdout
    assert "beats" in done.stdout


@pytest.mark.slow
def test_a_run_that_cannot_start_exits_with_1(toy: Any) -> None:
    toy.write("raise RuntimeError('broken')")
    done = toy.cli("run", "toy", "--json")
    assert done.returncode == 1
    [claim] = one_document(done)["claims"]
    jsonschema.validate(claim, CLAIM)
    assert (claim["verdict"], claim["reason"]) == (None, "RuntimeError: broken")


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "said"), [
    (["run", "tay"], "no paper 'tay'; did you mean toy?"),
    (["run", "toy", "nothing"], "toy has no claim 'nothing'; there are: beats"),
    (["run", "toy", "--scale", "huge"], "scale is 'huge'; there are smoke, small, full"),
    (["run", "toy", "--executor", "cloud"], "executor is 'cloud'; there are local, ray"),
    (["run", "toy", "--seeds", "0"], "seeds is 0"),
    (["run", "toy", "--seeds", "many"], "--seeds"),
    (["run", "toy", "--point", "nonsense"], "point is 'nonsense': write module:object"),
    (["run", "toy", "--point", "no_such_module_here:x"], "no module 'no_such_module_here'"),
    (["run", "toy", "--colour"], "No such option"),
    (["run"], "Missing argument"),
    (["fly"], "No such command 'fly'"),
    (["resume", "r0"], "no run and no batch is named 'r0'"),
    (["runs", "show", "r0"], "no run 'r0'"),
    (["runs", "export", "r0"], "no run and no batch is named 'r0'"),
    (["runs", "import", "nowhere.json"], "nowhere.json"),
    (["runs", "list", "--limit", "0"], "--limit"),
    (["show", "tay"], "no paper 'tay'"),
])
def test_wrong_usage_is_one_clear_line(toy: Any, arguments: list[str], said: str) -> None:
    assert said in one_line(toy.cli(*arguments))


@pytest.mark.slow
@pytest.mark.parametrize(("variables", "said"), [
    ({"WORKINGPAPERS_WORKERS": "many"}, "WORKINGPAPERS_WORKERS is 'many'"),
    ({"WORKINGPAPERS_DATABASE": "nonsense"}, "the database cannot be opened"),
    ({"WORKINGPAPERS_HOME": "/dev/null/home"}, "the database cannot be opened"),
])
def test_settings_that_cannot_be_used_are_one_clear_line(toy: Any, variables: dict[str, str], said: str) -> None:
    for arguments in (["runs", "list"], ["run", "toy"]):
        assert said in one_line(toy.cli(*arguments, **variables))


@pytest.mark.slow
def test_a_file_that_is_no_database(toy: Any, tmp_path: Path) -> None:
    home = tmp_path / "broken"
    home.mkdir()
    (home / "workingpapers.sqlite3").write_text("not a database, but long enough to look like a page of one" * 100)
    assert "the database cannot be opened: file is not a database" in one_line(toy.cli("runs", "list", WORKINGPAPERS_HOME=str(home)))


@pytest.mark.slow
def test_export_and_import(toy: Any, tmp_path: Path) -> None:
    toy.write(LOUD)
    file = tmp_path / "deep" / "reference.json"
    done = toy.cli("run", "toy", "--json", "--export", str(file))
    document = one_document(done)
    reference = json.loads(file.read_text())
    assert reference["runs"][0]["run_id"] == document["claims"][0]["run_id"]
    assert "trial_rows" not in reference["runs"][0]
    whole = tmp_path / "whole.json"
    assert toy.cli("runs", "export", document["batch_id"], str(whole)).returncode == 0
    assert one_document(toy.cli("runs", "export", document["batch_id"])) == json.loads(whole.read_text())
    there = {"WORKINGPAPERS_HOME": str(tmp_path / "there")}
    assert one_document(toy.cli("runs", "import", str(whole), "--json", **there)) == {"imported": [document["claims"][0]["run_id"]]}
    assert one_document(toy.cli("runs", "import", str(whole), "--json", **there)) == {"imported": []}
    [listed] = one_document(toy.cli("runs", "list", "--json", **there))
    assert (listed["origin"], listed["verdict"]) == ("imported", "holds")
    whole.write_text(whole.read_text().replace('"holds"', '"proven"'))
    assert "verdict" in one_line(toy.cli("runs", "import", str(whole), **there))


@pytest.mark.slow
def test_a_workload_of_ones_own(toy: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Point:\n    label = 'mine'\n    def load(self, rng):\n        return rng.normal(size=9)\n")
    done = subprocess.run([sys.executable, "-m", "workingpapers.cli", "run", "toy", "--point", "mine:Point", "--json"], cwd=tmp_path,
                          env=toy.environment(), capture_output=True, text=True, timeout=120)
    [claim] = one_document(done)["claims"]
    assert (done.returncode, claim["is_yours"], claim["state"]) == (0, True, "done")


@pytest.mark.slow
def test_papers_and_show_of_a_plug_in(toy: Any) -> None:
    listed = one_document(toy.cli("papers", "--json"))
    [mine] = [p for p in listed if p["slug"] == "toy"]
    assert set(mine) == {"slug", "title", "date", "listed", "authors", "task", "status", "claims"}
    assert mine["status"] == "runs"
    assert set(mine["claims"][0]) == {"id", "statement", "reported", "metric", "unit", "better", "scales"}
    assert "It is so." in toy.cli("show", "toy").stdout
    assert one_document(toy.cli("show", "toy", "--json"))["facts"]["author_count"] == 1


@pytest.mark.slow
def test_doctor(toy: Any) -> None:
    report = one_document(toy.cli("doctor", "--json"))
    assert {"version", "python", "cpu", "cores", "memory_gb", "gpu", "system", "home", "database", "broken", "papers"} <= set(report)
    [mine] = [p for p in report["papers"] if p["slug"] == "toy"]
    assert (mine["status"], mine["extras"], mine["reference"]) == ("runs", ["vision"], False)
    assert bool(mine["lacks"]) == bool(mine["remedy"])
    toy.put("paper.toml", "title = 3\n")
    assert any(toy.package in line for line in one_document(toy.cli("doctor", "--json"))["broken"])
    assert toy.cli("doctor").returncode == 0


HEAVY = ("torch", "numpy", "scipy", "sqlalchemy", "altair", "pandas", "sklearn", "numba", "fastapi", "vl_convert", "alembic", "ray")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["papers"], ["papers", "--json"], ["run", "--help"], ["runs", "--help"],
                                       ["show", "toy"]])
def test_light_commands_import_nothing_heavy(toy: Any, arguments: list[str]) -> None:
    code = f'''
import sys
sys.argv = ["workingpapers", *{arguments!r}]
from workingpapers.cli import main
try:
    main()
except SystemExit as end:
    code = end.code
heavy = [m for m in {HEAVY!r} if m in sys.modules]
print("loaded:", *heavy, file=sys.stderr)
sys.exit(code)
'''
    done = subprocess.run([sys.executable, "-c", code], env=toy.environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "loaded:"
    assert done.stdout


def test_called_without_a_command_it_shows_its_help(toy: Any) -> None:
    done = toy.cli()
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert all(command in done.stderr for command in ("papers", "show", "run", "resume", "runs", "serve", "new", "doctor"))


def test_a_closed_pipe_is_no_error(toy: Any) -> None:
    process = subprocess.Popen([sys.executable, "-m", "workingpapers.cli", "papers", "--json"], env=toy.environment(),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait(60)
