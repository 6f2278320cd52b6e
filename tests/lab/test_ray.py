"""Trials on a Ray cluster of two nodes on this machine, one of which dies while a run goes on."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from workingpapers.lab import read
from workingpapers.lab.store import TrialRow

CLAIM = '''
@claim("beats", arms={"new": method(float), "old": control(float)}, points=[N(9)], seeds=3, rule=difference("error", "new", "old") <= 0)
def beats(trial):
    with open(os.environ["TOY_LOG"] + ".begun", "a") as log:
        log.write(f"{trial.arm.name}|{trial.seed}|{where()}\\n")
    time.sleep(1.0)
    count(trial)
    yield {"error": trial.rng.normal()}
    yield {"second": 2.0}

def where():
    import ray
    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"
'''


@pytest.fixture(scope="module")
def short_folder() -> Iterator[str]:
    """Ray's sockets want a path of few characters."""
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        yield folder


@pytest.fixture
def cluster(short_folder: str, toy: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("RAY_TMPDIR", short_folder)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_health_check_initial_delay_ms", "0")
    monkeypatch.setenv("RAY_health_check_period_ms", "500")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "4")
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 << 20})
    monkeypatch.setenv("WORKINGPAPERS_RAY_ADDRESS", made.address)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
@pytest.mark.needs("ray")
def test_a_node_dies_and_the_run_finishes(toy: Any, cluster: Any) -> None:
    toy.write(CLAIM)
    second = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    cluster.wait_for_nodes()
    lab, ended = toy.lab(), []

    def kill_a_node(run: Any, kind: str, payload: dict[str, Any]) -> None:
        if kind == "trial":
            ended.append(payload)
            if len(ended) == 1:
                cluster.remove_node(second, allow_graceful=False)

    document = lab.run("toy", executor="ray", on_event=kill_a_node)["beats"].document
    assert (document["verdict"], document["state"], document["failed_trials"], document["executor"]) == ("holds", "done", 0, "ray")
    assert len(ended) == 6
    wanted = {f"{arm}|{seed}|n=9" for arm in ("new", "old") for seed in range(3)}
    finished = Counter(toy.attempts())
    assert set(finished) == wanted
    assert sum(finished.values()) <= len(wanted) + 2, "only what was lost with the node came again"
    with lab.store.reading() as session:
        row = read.run(session, document["run_id"])
        assert row is not None
        assert all(sorted(m.metric for m in t.measurements) == ["error", "second"] for t in row.trials), "nothing twice, nothing lost"
        assert session.scalars(select(TrialRow.state).distinct()).all() == ["done"]
    local = lab.run("toy", fresh=True)["beats"].document
    assert local["arms"] == document["arms"], "the same seed gives the same measurement wherever it runs"
    assert lab.run("toy")["beats"].document["reused_trials"] == 6
    begun = [line.rsplit("|", 1)[1] for line in Path(f"{toy.log}.begun").read_text().splitlines()]
    assert len({*begun} - {"here"}) == 2, "both nodes took part"
