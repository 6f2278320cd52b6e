"""Leaderboards: the dump of Papers with Code in and out, and measured figures in columns of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lxml import html
from sqlalchemy import select

from workingpapers.hub import shelf, trending
from workingpapers.hub.shelf import boards
from workingpapers.hub.shelf.tasks import count_runs
from workingpapers.hub.tables import PaperRow, ResultRow, TrendEventRow, UserRow
from workingpapers.lab import Store

TABLES = Path(__file__).parents[1] / "ingest" / "data" / "pwc-tables.json"


def results(store: Store) -> list[tuple[Any, ...]]:
    query = select(ResultRow.task, ResultRow.dataset, ResultRow.metric, ResultRow.model, ResultRow.value, PaperRow.title, PaperRow.arxiv_id)
    with store.reading() as session:
        return sorted(session.execute(query.join(PaperRow, PaperRow.id == ResultRow.paper_id)).tuples(), key=str)


def exported(store: Store, path: Path) -> Path:
    with store.reading() as session:
        path.write_text("".join(boards.export(session)), encoding="utf-8")
    return path


def test_an_export_comes_back_as_the_same_rows(store: Store, tmp_path: Path, empty_store: Path) -> None:
    shelf.import_file(store, "pwc", TABLES)
    before = results(store)
    assert ("Wind Naming", "Seven Winds", "Accuracy", "Gust-L", "81.5", "Words for Wind", "1409.6580") in before
    assert len(before) == 4
    path = exported(store, tmp_path / "boards.json")
    again = shelf.import_file(store, "pwc", path)
    assert (again.counts.new, again.counts.merged, again.problems.count) == (0, 0, 0)
    assert results(store) == before
    assert json.loads(exported(store, tmp_path / "two.json").read_text()) == json.loads(path.read_text())
    other = Store(type(store.settings)(home=tmp_path / "elsewhere"))
    shelf.import_file(other, "pwc", path)
    assert results(other) == before
    other.close()


def test_an_empty_site_exports_an_empty_list(store: Store, tmp_path: Path) -> None:
    assert json.loads(exported(store, tmp_path / "x.json").read_text()) == []


def test_reported_and_measured_stand_in_columns_of_their_own(client: Any, lab: Any, add_run: Any, tmp_path: Path) -> None:
    shelf.import_file(lab.store, "pwc", TABLES)
    add_run(verdict="fails", checks=None)
    page = html.fromstring(client.get("/leaderboards/tossing coins").text)
    (row,) = [r for r in page.xpath("//tbody/tr") if "More tosses" in r.text_content()]
    cells = [" ".join(c.text_content().split()) for c in row.xpath("./td")]
    assert cells[0] == "ten times smaller"
    assert "0.2× [0.1, 0.4]" in cells[1]
    assert "fails here" in cells[3]
    winds = html.fromstring(client.get("/leaderboards/Wind Naming").text)
    assert "81.5" in winds.text_content()
    assert "Papers with Code, CC BY-SA 4.0" in winds.text_content()
    assert client.get("/leaderboards/No such").status_code == 404
    overview = html.fromstring(client.get("/leaderboards").text)
    assert "/leaderboards/Wind%20Naming" in overview.xpath("//a/@href")
    with lab.store.reading() as session:
        assert "tossing" not in "".join(boards.export(session)), "nothing measured is exported as reported"
    assert [t["task"] for t in client.get("/leaderboards.json").json()] == ["Breeze Naming", "Wind Naming"]


def test_finished_runs_count_once_a_person_whatever_the_verdict(lab: Any, app: Any, add_run: Any) -> None:
    with lab.store.writing() as session:
        users = [UserRow(handle="a"), UserRow(handle="b")]
        session.add_all(users)
        session.flush()
        names = [f"user:{u.id}" for u in users]
    for over in ({"verdict": "fails", "scale": "small", "requested_by": names[0]},
                 {"verdict": "holds", "scale": "full", "requested_by": names[0]},
                 {"verdict": "holds", "scale": "small", "requested_by": names[1]},
                 {"verdict": "holds", "scale": "small", "requested_by": "cli"},
                 {"verdict": "holds", "scale": "smoke", "requested_by": "x"}, {"verdict": None, "state": "failed", "scale": "small"},
                 {"verdict": "holds", "scale": "small", "origin": "imported"}, {"verdict": "holds", "scale": "small", "is_yours": True}):
        add_run(**over)
    with lab.store.writing() as session:
        assert count_runs(session) == 3
        assert count_runs(session) == 0
        paper = session.scalars(select(PaperRow).where(PaperRow.slug == "coin")).one()
        weights = dict(session.execute(select(TrendEventRow.key, TrendEventRow.weight).where(TrendEventRow.kind == "run")).tuples().all())
        assert weights == {names[0]: 1.0, names[1]: 1.0, "cli": 2.0}, "accounts of today count half"
        log = paper.trend_log
        assert trending.recompute(session, paper.id) is not None
        session.refresh(paper)
        assert abs(paper.trend_log - log) < 1e-9
