"""MovieLens archives, made here in small, and archives that mean harm."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from workingpapers.claims import Untested
from workingpapers.workloads.archives import WrongContents
from workingpapers.workloads.ratings import MovieLens, parse_ratings, read_movielens

ROWS = [(7, 30, 4.0), (7, 10, 3.5), (2, 30, 1.0), (9, 20, 5.0)]
RELEASES = {
    "ml-100k/u.data": "".join(f"{u}\t{i}\t{r:g}\t881250949\n" for u, i, r in ROWS),
    "ml-1m/ratings.dat": "".join(f"{u}::{i}::{r:g}::978300760\n" for u, i, r in ROWS),
    "ml-latest-small/ratings.csv": "userId,movieId,rating,timestamp\n" + "".join(f"{u},{i},{r},964982703\n" for u, i, r in ROWS),
}


def archive(folder, members, name="ml.zip"):
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for member, text in members.items():
            out.writestr(member, text)
    return path


@pytest.mark.parametrize("member", RELEASES)
def test_every_release_reads_alike(tmp_path, member):
    got = read_movielens(archive(tmp_path, {"ml/README": "words", member: RELEASES[member]}))
    assert got.shape == (3, 3)
    back = sorted(zip(got.user_ids[got.users].tolist(), got.item_ids[got.items].tolist(), got.values.tolist()))
    assert back == sorted(ROWS)
    assert got.triplets[3] == (3, 3)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"ml/README": "x"}, "none"),
        ({"a/u.data": "1\t1\t1\n", "b/u.data": "1\t1\t1\n"}, "should hold one"),
        ({"ml/u.data": "1\t1\tgood\n"}, "good"),
        ({"ml/u.data": "1\t1\n"}, "u.data"),
        ({"ml/u.data": "1\t1\tnan\n"}, "finite"),
        ({"ml/u.data": "1.5\t1\t3\n"}, "whole"),
        ({"ml/u.data": "1\t1\t3\n1\t1\t4\n"}, "twice"),
        ({"ml/u.data": ""}, "no ratings"),
        ({"../u.data": "1\t1\t3\n"}, "leaves the archive"),
        ({"/etc/u.data": "1\t1\t3\n"}, "leaves the archive"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_what_is_not_ratings_is_refused(tmp_path, members, words):
    with pytest.raises(WrongContents, match=words):
        read_movielens(archive(tmp_path, members))


def test_bombs_and_rubbish_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("workingpapers.workloads.ratings.LARGEST", 1_000)
    with pytest.raises(WrongContents, match="above the limit"):
        read_movielens(archive(tmp_path, {"ml/u.data": "0" * 100_000}))
    (tmp_path / "no.zip").write_bytes(b"not a zip at all")
    with pytest.raises(WrongContents, match="cannot be read"):
        read_movielens(tmp_path / "no.zip")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.zip"):
        read_movielens(tmp_path / "nowhere.zip")


def test_a_header_may_stand_or_not():
    assert len(parse_ratings(b"user,item,rating\n1,2,3\n", ",")) == len(parse_ratings(b"1,2,3\n", ",")) == 1


def test_a_workload_of_ones_own_archive(tmp_path):
    path = archive(tmp_path, {"ml-100k/u.data": RELEASES["ml-100k/u.data"]}, "ml-mine.zip")
    point = MovieLens(path=str(path))
    point.prepare(lambda share, words: None)
    assert len(point.load(np.random.default_rng(0))) == 4
    assert point.label == "MovieLens ml-mine"
    assert len(point.data_hash()) == 64
    with pytest.raises(Untested, match="no archive"):
        MovieLens(path="nowhere.zip").prepare(lambda share, words: None)
    with pytest.raises(Untested, match="not one of"):
        MovieLens("7m").prepare(lambda share, words: None)


def test_a_release_that_is_not_here_is_untested(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKINGPAPERS_CACHE", str(tmp_path))
    monkeypatch.setenv("WORKINGPAPERS_OFFLINE", "1")
    with pytest.raises(Untested, match=r"Put GroupLens's ml-100k\.zip into"):
        MovieLens().prepare(lambda share, words: None)
    (tmp_path / "downloads").mkdir(exist_ok=True)
    archive(tmp_path / "downloads", {"ml-100k/u.data": RELEASES["ml-100k/u.data"]}, "ml-100k.zip")
    with pytest.raises(Untested):  # another archive under that name is not the release
        MovieLens().prepare(lambda share, words: None)
    with pytest.raises(WrongContents, match="expected 100000"):
        MovieLens().load(np.random.default_rng(0))
