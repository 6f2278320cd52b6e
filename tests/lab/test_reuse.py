"""What is measured again and what is not: the key of a trial, and runs that take over trials of others."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from workingpapers.claims import Workload
from workingpapers.lab import _runner as runner_module
from workingpapers.lab import read
from workingpapers.lab.fingerprint import Code, code_of, reuse_key
from workingpapers.lab.store import TrialRow

TRIALS = 2 * 2 * 6


@pytest.mark.slow
def test_a_second_run_reuses_and_says_how_many_and_since_when(toy: Any) -> None:
    lab = toy.lab()
    before = dt.datetime.now(dt.UTC)
    first = lab.run("toy")["beats"].document
    assert (first["reused_trials"], first["reused_since"], len(toy.attempts())) == (0, None, TRIALS)
    second = lab.run("toy")["beats"].document
    third = lab.run("toy")["beats"].document
    assert len(toy.attempts()) == TRIALS
    assert second["reused_trials"] == third["reused_trials"] == TRIALS
    assert before < dt.datetime.fromisoformat(second["reused_since"]) < dt.datetime.fromisoformat(second["created_at"])
    assert third["reused_since"] == second["reused_since"], "the day it was measured, not the day it was reused"
    for key in ("verdict", "estimate", "interval", "checks", "arms"):
        assert first[key] == second[key]
    fewer = lab.run("toy", seeds=3)["beats"].document
    assert (fewer["reused_trials"], fewer["n_seeds"]) == (12, 3)
    more = lab.run("toy", seeds=7)["beats"].document
    assert (more["reused_trials"], len(toy.attempts())) == (TRIALS, TRIALS + 4)


@pytest.mark.slow
def test_fresh_ignores_what_is_on_record(toy: Any) -> None:
    lab = toy.lab()
    first = lab.run("toy")["beats"].document
    again = lab.run("toy", fresh=True)["beats"].document
    assert (again["reused_trials"], len(toy.attempts())) == (0, 2 * TRIALS)
    assert again["estimate"] == first["estimate"], "the same seed gives the same measurement"
    assert lab.run("toy")["beats"].document["reused_trials"] == TRIALS


@pytest.mark.slow
def test_an_edited_method_never_returns_an_old_verdict(toy: Any) -> None:
    lab = toy.lab()
    assert lab.run("toy")["beats"].verdict == "holds"
    toy.put("method.py", "def estimate(x):\n    return abs(x[0]) + 1e-9\n")
    edited = lab.run("toy")["beats"].document
    assert (edited["verdict"], edited["reused_trials"]) == ("fails", 0)
    toy.put("method.py", '"""Back again, with other words."""\n\ndef estimate(x):\n    # and a comment\n    return abs(x.mean()) + 1e-9\n')
    back = lab.run("toy")["beats"].document
    assert (back["verdict"], back["reused_trials"]) == ("holds", TRIALS)


@pytest.mark.slow
def test_an_edited_docstring_or_comment_makes_nothing_stale(toy: Any) -> None:
    lab = toy.lab()
    lab.run("toy")
    other = '"""Other words."""\n# a comment\ndef estimate(x):\n    """Of this too."""\n    return abs(\n        x.mean()) + 1e-9\n'
    toy.put("method.py", other)
    assert lab.run("toy")["beats"].document["reused_trials"] == TRIALS


@pytest.mark.slow
def test_a_module_reached_from_within_a_function_counts(toy: Any) -> None:
    deep = "def estimate(x):\n    from .deeper.still import mean\n    return abs(mean(x)) + 1e-9\n"
    toy.write(method=deep)
    (toy.folder / "deeper").mkdir()
    toy.put("deeper/__init__.py", "")
    toy.put("deeper/still.py", "def mean(x):\n    return x.mean()\n")
    lab = toy.lab()
    assert lab.run("toy")["beats"].verdict == "holds"
    toy.put("deeper/still.py", "def mean(x):\n    return x[0]\n")
    assert lab.run("toy")["beats"].document["verdict"] == "fails"


@pytest.mark.slow
def test_code_that_is_edited_while_a_run_goes_on_is_used_by_no_other_run(toy: Any) -> None:
    lab, warnings, edited = toy.lab(), [], []

    def edit(run: Any, kind: str, payload: dict[str, Any]) -> None:
        if kind == "trial" and not edited:
            edited.append(1)
            toy.put("method.py", "def estimate(x):\n    return abs(x[0]) + 1e-9\n")
        if kind == "warning":
            warnings.append(payload["words"])

    mixed = lab.run("toy", on_event=edit)["beats"].document
    assert warnings == ["the code was edited while this run went on: run it again"]
    assert mixed["code_hash"] == ""
    clean = lab.run("toy")["beats"].document
    assert (clean["verdict"], clean["reused_trials"]) == ("fails", 0)
    toy.put("method.py", "def estimate(x):\n    return abs(x.mean()) + 1e-9\n")
    assert lab.run("toy")["beats"].document["reused_trials"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("what", ["data", "version", "scale", "threads", "processor"])
def test_whatever_a_trial_depends_on_makes_it_new(toy: Any, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = '''
    class Fixed(N):
        def data_hash(self):
            return os.environ["TOY_DATA"]

    @claim("beats", arms={"new": method(float)}, points=[Fixed(9)], seeds=3, rule=value("error", "new") < 2, threads=THREADS)
    def beats(trial):
        return {"error": 1.0}
    '''
    monkeypatch.setenv("TOY_DATA", "a" * 64)
    toy.write(claims.replace("THREADS", "1"))
    lab = toy.lab()
    lab.run("toy")
    assert lab.run("toy")["beats"].document["reused_trials"] == 3
    options = {}
    if what == "data":
        monkeypatch.setenv("TOY_DATA", "b" * 64)
    elif what == "version":
        monkeypatch.setattr("importlib.metadata.version", lambda name: "99.0")
    elif what == "scale":
        options["scale"] = "small"
    elif what == "threads":
        toy.write(claims.replace("THREADS", "int('1') + 1"))
    else:
        monkeypatch.setattr("workingpapers.lab.fingerprint.cpu_model", lambda: "Another 9000")
    assert lab.run("toy", **options)["beats"].document["reused_trials"] == 0


@pytest.mark.slow
def test_timed_and_failed_trials_are_never_reused(toy: Any) -> None:
    toy.write('''
    @claim("beats", arms={"new": method(float)}, points=[N(9)], seeds=4, rule=value("seconds", "new") < 9)
    def beats(trial):
        count(trial)
        if trial.seed == 1:
            raise ArithmeticError
        return {"error": 1.0}

    @beats.timed(seeds=3)
    def timing(trial):
        count(trial)
        return {"new": {"seconds": 1.0}}
    ''')
    lab = toy.lab()
    lab.run("toy")
    document = lab.run("toy")["beats"].document
    assert document["reused_trials"] == 3
    twice = ["new|1|n=9", *[f"*|{s}|n=9" for s in range(3)]]
    assert sorted(toy.attempts()) == sorted(["new|0|n=9", "new|2|n=9", "new|3|n=9", *twice, *twice])


@pytest.mark.slow
def test_more_trials_than_a_database_takes_in_one_list(toy: Any) -> None:
    lab = toy.lab()
    batch = lab.run("toy")
    runner = runner_module.Runner(lab.store, lab.catalogue.find("toy"), batch["beats"].run_id)
    runner.run = runner._reload()
    with lab.store.writing() as session:
        known = session.scalars(select(TrialRow.reuse_key)).first()
        runner.run.id = -1
        found = runner._on_record(session, [f"{i:064}" for i in range(40_000)] + [known])
    assert list(found) == [known]


# ------------------------------------------------------------ a user's own workload


def Mine(size: int = 100) -> Workload:  # a class of this process alone, as in a notebook
    @dataclass(frozen=True)
    class Rising(Workload):
        """Numbers of one's own: their mean is worse than the first."""

        size: int

        @property
        def label(self) -> str:
            return "n=100"  # the label of one of the paper's own points

        def load(self, rng: np.random.Generator) -> Any:
            return abs(rng.normal()) + np.arange(self.size)

    return Rising(size)


@pytest.mark.slow
def test_own_points_as_objects_are_yours_and_never_the_papers_verdict(toy: Any) -> None:
    lab = toy.lab()
    theirs = lab.run("toy")["beats"]
    mine = lab.run("toy", points=[Mine()])["beats"].document
    assert (mine["verdict"], mine["is_yours"], mine["reused_trials"], mine["trials"]) == ("fails", True, 0, 12)
    with lab.store.reading() as session:
        assert read.newest(session)["toy", "beats"].run_id == theirs.run_id
    assert lab.run("toy", points=[Mine()])["beats"].document["reused_trials"] == 0, "its content may change under one name"
    fresh = lab.run("toy", fresh=False)["beats"].document
    assert (fresh["verdict"], fresh["reused_trials"]) == ("holds", TRIALS)


@pytest.mark.slow
def test_own_points_never_stand_in_for_the_papers(toy: Any) -> None:
    lab = toy.lab()
    assert lab.run("toy", points=[Mine()])["beats"].verdict == "fails"
    document = lab.run("toy")["beats"].document
    assert (document["verdict"], document["reused_trials"]) == ("holds", 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Point", "made", "make", "holder.made"])
def test_own_points_by_name(toy: Any, name: str) -> None:
    (toy.root / "my_own_data.py").write_text('''
import numpy as np
from types import SimpleNamespace
class Point:
    label = "mine"
    def load(self, rng):
        return abs(rng.normal()) + np.arange(100)
made = Point()
def make():
    return Point()
holder = SimpleNamespace(made=made)
''')
    document = toy.lab().run("toy", points=[f"my_own_data:{name}"])["beats"].document
    assert (document["verdict"], document["is_yours"], document["state"]) == ("fails", True, "done")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "said"), [("my_own_data:nothing", "no attribute 'nothing'"), ("my_own_data:number", "has no load"),
                                            ("my_own_data.sub:x", "No module named")])
def test_own_points_that_are_none(toy: Any, name: str, said: str) -> None:
    (toy.root / "my_own_data.py").write_text("number = 3\n")
    document = toy.lab().run("toy", points=[name])["beats"].document
    assert (document["verdict"], document["state"]) == (None, "failed")
    assert said in document["reason"]


@pytest.mark.slow
def test_a_run_on_objects_is_resumed_where_they_are(toy: Any) -> None:
    from workingpapers.lab import LabError

    lab = toy.lab()
    [row] = lab.enqueue("toy", points=[Mine()])
    with pytest.raises(LabError, match=r"used 1 workload points of the process that started it: resume it there, with points"):
        lab.resume(row.run_id)
    with pytest.raises(LabError, match="used 1 workload points"):
        lab.resume(row.run_id, points=[Mine(), Mine(3)])
    with lab.store.reading() as session:
        found = read.run(session, row.run_id)
        assert found is not None
        assert (found.state, found.lease_owner) == ("queued", None), "the refusal left it as it was"
    assert lab.resume(row.run_id, points=[Mine()])["beats"].verdict == "fails"


# ------------------------------------------------------------ fingerprints


def hash_of(folder: Path, text: str) -> str:
    path = folder / "module.py"
    later = path.stat().st_mtime + 2 if path.exists() else 1e9
    path.write_text(text)
    os.utime(path, (later, later))
    return code_of(f"{folder.name}.module").hash


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / f"printed{os.getpid()}_{tmp_path.name[-12:].replace('-', '_')}"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


BASE = '"""Doc."""\nimport numpy as np\n\ndef f(x, k=2):\n    """Doc."""\n    return x * k\n\nclass C:\n    """Doc."""\n    a = 1\n'


@pytest.mark.parametrize(("text", "same"), [
    (BASE.replace('"""Doc."""', '"""Other."""'), True), (BASE.replace('    """Doc."""\n', ""), True), ("# comment\n" + BASE, True),
    (BASE.replace("x * k", "x  *  (k)"), True), (BASE.replace("k=2", "k=3"), False), (BASE.replace("x * k", "x / k"), False),
    (BASE.replace("a = 1", "a = 2"), False), (BASE.replace("a = 1", "a = '1'"), False), (BASE + "f = lambda x: 0\n", False),
    (BASE.replace("return x", '"not a docstring" if x else 0\n    return x'), False)])
def test_the_hash_follows_code_and_not_words(package: Path, text: str, same: bool) -> None:
    assert (hash_of(package, BASE) == hash_of(package, text)) is same


def test_code_names_modules_and_packages_without_running_anything(package: Path) -> None:
    (package / "other.py").write_text("raise SystemExit('never run')\nimport scipy\n")
    (package / "late.py").write_text("from . import other\n")
    hash_of(package, "import os, json\nfrom . import late\nimport workingpapers.claims._timer\ndef f():\n    import numba\n")
    code = code_of(f"{package.name}.module")
    assert {f"{package.name}{m}" for m in ("", ".module", ".late", ".other")} <= set(code.modules)
    assert "workingpapers.claims._timer" in code.modules
    assert {"numba", "scipy"} <= set(code.packages)
    assert "json" not in code.packages


def test_imports_in_circles_end(package: Path) -> None:
    (package / "a.py").write_text("from . import module\n")
    assert hash_of(package, "from . import a\n")


def test_a_module_that_appears_later_is_seen(package: Path) -> None:
    before = hash_of(package, "from . import helper\n")
    (package / "helper.py").write_text("x = 1\n")
    assert code_of(f"{package.name}.module").hash != before


@given(st.data())
def test_the_key_tells_all_its_parts_apart(data: st.DataObject) -> None:
    parts: dict[str, Any] = {"claim": "p/c", "part": "t", "arm": "a", "seed": 0, "point": "p", "scale": "smoke", "data_hash": "",
                             "threads": 1}
    name = data.draw(st.sampled_from(sorted(parts)))
    other = data.draw(st.integers(2, 99) if isinstance(parts[name], int) else st.text(min_size=1).filter(lambda x: x != parts[name]))
    code = Code("h", (), {"numpy": "1"})
    assert reuse_key(code, **parts) != reuse_key(code, **{**parts, name: other})
    assert reuse_key(code, **parts) != reuse_key(Code("h", (), {"numpy": "2"}), **parts)
    assert reuse_key(code, **parts) == reuse_key(Code("h", ("m",), {"numpy": "1"}), **parts)
