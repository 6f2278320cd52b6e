"""A site out of its backup is the site that went in, also on the other database, also when people write meanwhile."""

from __future__ import annotations

import datetime as dt
import io
import json
import stat
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from workingpapers.hub.backup import TRANSIENT, BackupError, backup, restore
from workingpapers.hub.tables import PaperRow, PaperVectorRow, UserRow, VoteRow
from workingpapers.lab import Lab, Settings, Store
from workingpapers.lab.store import Base


def contents(store: Store) -> dict[str, list[Any]]:
    with store.reading() as session:
        return {t.name: [tuple(map(repr, row)) for row in session.execute(select(t).order_by(*t.primary_key.columns))]
                for t in Base.metadata.sorted_tables if t.name not in TRANSIENT}


def people_the_site(lab: Lab) -> None:
    with lab.store.writing() as session:
        user = UserRow(handle="ada", email="ada@example.org", settings={"keys": False})
        paper = PaperRow(public_id="2501.00001", arxiv_id="2501.00001", title="π & “quotes” \\emph{x}", title_key="x",
                         authors=["Émile Borel"], published_on=dt.date(2025, 1, 1), trend_log=1 / 3)
        session.add_all([user, paper])
        session.flush()
        session.add_all([VoteRow(user_id=user.id, paper_id=paper.id),
                         PaperVectorRow(paper_id=paper.id, model_id="m", dim=2, vector=b"\x00\xff\x10\x80\x00\x00\x00\x01", text_hash="h")])


def test_everything_comes_back(lab: Lab, tmp_path: Path, add_run: Callable[..., str]) -> None:
    people_the_site(lab)
    run = add_run()
    plot = lab.store.settings.artefacts / run / "plot.svg"
    plot.parent.mkdir(parents=True)
    plot.write_text("<svg/>")
    (lab.store.settings.home / "hub.key").write_bytes(b"k" * 32)
    path = tmp_path / "site.tar"
    manifest = backup(lab.store, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = Store(Settings(home=tmp_path / "other", database=""))
    assert restore(other, path)["tables"] == manifest["tables"]
    assert contents(other) == contents(lab.store)
    assert (other.settings.artefacts / run / "plot.svg").read_text() == "<svg/>"
    assert (other.settings.home / "hub.key").read_bytes() == b"k" * 32
    with other.writing() as session:  # new rows find free numbers
        session.add(UserRow(handle="bob"))


@pytest.mark.sqlite
def test_a_site_moves_to_postgresql_and_back(lab: Lab, tmp_path: Path, add_run: Callable[..., str], postgres_url: str) -> None:
    people_the_site(lab)
    add_run()
    backup(lab.store, tmp_path / "one.tar")
    big = Store(Settings(home=tmp_path / "big", database=postgres_url))
    restore(big, tmp_path / "one.tar")
    with big.writing() as session:
        session.add(UserRow(handle="bob"))
        session.flush()
        session.execute(update(PaperRow).values(votes=1))
    backup(big, tmp_path / "two.tar")
    back = Store(Settings(home=tmp_path / "back", database=""))
    restore(back, tmp_path / "two.tar")
    assert contents(back) == contents(big)
    big.close()


def test_a_backup_under_load_is_of_one_moment(lab: Lab, tmp_path: Path) -> None:
    """Two rows are always written together: a copy that holds one without the other was taken half way."""
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            with lab.store.writing() as session:
                session.add(UserRow(handle=f"u{n}"))
                session.add(PaperRow(public_id=f"p{n}", title="t", title_key=f"t{n}"))

    writers = [threading.Thread(target=write)]
    for thread in writers:
        thread.start()
    try:
        for n in range(5):
            backup(lab.store, tmp_path / f"{n}.tar")
    finally:
        stop.set()
        for thread in writers:
            thread.join()
    sizes = []
    for n in range(5):
        store = Store(Settings(home=tmp_path / f"r{n}", database=""))
        restore(store, tmp_path / f"{n}.tar")
        found = contents(store)
        assert len(found["users"]) == len(found["papers"])
        sizes.append(len(found["users"]))
        store.close()
    assert sizes == sorted(sizes)


def test_a_filled_site_is_not_overwritten_and_nor_is_a_file(lab: Lab, tmp_path: Path) -> None:
    people_the_site(lab)
    backup(lab.store, tmp_path / "site.tar")
    with pytest.raises(BackupError, match="not empty"):
        restore(lab.store, tmp_path / "site.tar")
    with pytest.raises(BackupError, match="exists already"):
        backup(lab.store, tmp_path / "site.tar")


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty"])
def test_a_damaged_backup_is_refused_whole(lab: Lab, tmp_path: Path, damage: str) -> None:
    people_the_site(lab)
    path = tmp_path / "site.tar"
    backup(lab.store, path)
    raw = bytearray(path.read_bytes())
    if damage == "flipped":
        with tarfile.open(path) as tar:
            member = tar.getmember("tables/papers.jsonl.gz")
        raw[member.offset_data + member.size // 2] ^= 0x40
    changed = {"cut": bytes(raw[: len(raw) // 2]), "flipped": bytes(raw), "text": b"hello", "empty": b""}[damage]
    path.write_bytes(changed)
    other = Store(Settings(home=tmp_path / "other", database=""))
    with pytest.raises(BackupError):
        restore(other, path)
    assert not any(contents(other).values())


def evil(path: Path, name: str, kind: bytes = tarfile.REGTYPE) -> None:
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        member.size = 4 if kind == tarfile.REGTYPE else 0
        tar.addfile(member, io.BytesIO(b"evil"))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), [
    ("../evil", tarfile.REGTYPE), ("/etc/evil", tarfile.REGTYPE), ("artefacts/../../evil", tarfile.REGTYPE),
    ("artefacts/link", tarfile.SYMTYPE), ("artefacts/link", tarfile.LNKTYPE), ("other", tarfile.REGTYPE),
])
def test_an_archive_writes_nothing_outside(tmp_path: Path, name: str, kind: bytes) -> None:
    evil(tmp_path / "evil.tar", name, kind)
    store = Store(Settings(home=tmp_path / "home2", database=""))
    with pytest.raises(BackupError):
        restore(store, tmp_path / "evil.tar")
    assert not (tmp_path / "evil").exists()
    assert sorted(p.name for p in store.settings.home.iterdir() if not p.name.startswith("workingpapers.sqlite3")) == []


def test_one_of_a_later_release_says_so(lab: Lab, tmp_path: Path) -> None:
    backup(lab.store, tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar, tarfile.open(tmp_path / "b.tar", "w") as out:
        for member in tar:
            body = tar.extractfile(member).read()  # type: ignore[union-attr]
            if member.name == "manifest.json":
                facts = json.loads(body)
                facts["tables"]["dreams"] = {"rows": 0, "sha256": ""}
                body = json.dumps(facts).encode()
                member.size = len(body)
            out.addfile(member, io.BytesIO(body))
    with pytest.raises(BackupError, match=r"dreams.*upgrade"):
        restore(Store(Settings(home=tmp_path / "c", database="")), tmp_path / "b.tar")
