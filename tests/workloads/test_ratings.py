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
        ({"ml/u.data": "\n \n"}, "no ratings"),
        ({"ml/ratings.csv": "userId,movieId,rating\n"}, "no ratings"),
        ({"ml-1m/ratings.dat": "1::1193::5::978300760\n1::661::3::978302109\n1::914\n"}, r"ratings\.dat: .* row 3"),
        ({"ml-1m/ratings.dat": "1::1193::5::978300760\n1::661::\u00e9::978302109\n"}, r"ratings\.dat: .* row 1"),
        ({"ml-1m/ratings.dat": "1::1193::5::0\n2::1193::5::0\n1::1193::4::9\n"}, "rates the same item twice"),
        ({"ml-1m/ratings.dat": "1::1e300::5::0\n"}, "whole"),
        ({"ml-1m/ratings.dat": "1::1::5::0\n", "ml-1m/../../ratings.csv": "1,1,1\n"}, "leaves the archive"),
        ({"ml-1m\\ratings.dat": "1::1::5::0\n", "a/../b": ""}, "leaves the archive"),
        ({"../u.data": "1\t1\t3\n"}, "leaves the archive"),
        ({"/etc/u.data": "1\t1\t3\n"}, "leaves the archive"),
    ],
)
def test_what_is_not_ratings_is_refused(tmp_path, members, words):
    with pytest.raises(WrongContents, match=words):
        read_movielens(archive(tmp_path, members))


def real_layout(folder, ratings=6_040):
    """The members of GroupLens's ml-1m.zip as they lie there: a folder, latin-1 titles, zip's own bytes of a Mac beside them."""
    rng = np.random.default_rng(0)
    pairs = np.unique(rng.integers(1, [604, 395], size=(ratings, 2)), axis=0)
    stars = rng.integers(1, 6, len(pairs))
    path = folder / "ml-1m.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(zipfile.ZipInfo("ml-1m/"), b"")
        out.writestr("ml-1m/movies.dat", "73::Mis\u00e9rables, Les (1995)::Drama|Musical\n".encode("latin-1"))
        out.writestr("ml-1m/ratings.dat", "".join(f"{u}::{i}::{s}::978300760\n" for (u, i), s in zip(pairs, stars)))
        out.writestr("ml-1m/users.dat", "1::F::1::10::48067\n")
        out.writestr("ml-1m/README", b"\xe9 words")
        out.writestr("__MACOSX/ml-1m/._ratings.dat", b"\0\5\x16\7")
    return path, pairs, stars


def test_the_layout_of_ml_1m(tmp_path):
    path, pairs, stars = real_layout(tmp_path)
    got = read_movielens(path)
    np.testing.assert_array_equal(np.column_stack([got.user_ids[got.users], got.item_ids[got.items]]), pairs)
    np.testing.assert_array_equal(got.values, stars)
    assert MovieLens("1m", path=str(path)).load(np.random.default_rng(0)).shape == got.shape


def test_damaged_archives_are_refused(tmp_path):
    """Bytes changed at random in archives of each compression: read as they were, or refused in words; no other error."""
    outcomes = set()
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_STORED):
        whole, broken = tmp_path / "whole.zip", tmp_path / "broken.zip"
        with zipfile.ZipFile(whole, "w", compression) as out:
            out.writestr("ml-1m/ratings.dat", "".join(f"{i % 50}::{i}::{i % 5 + 1}::978300760\n" for i in range(400)))
        text, rng = bytearray(whole.read_bytes()), np.random.default_rng(0)
        for _ in range(150):
            changed = text.copy()
            for at in rng.integers(len(text), size=rng.integers(1, 5)):
                changed[at] = rng.integers(256)
            broken.write_bytes(changed[: rng.integers(1, len(text))] if rng.random() < 0.1 else changed)
            try:
                outcomes.add(len(read_movielens(broken)))
            except WrongContents as error:
                outcomes.add(type(error))
    assert outcomes == {400, WrongContents}


def test_a_name_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("ml-1m/ratings.dat", "1::1::5::0\n")
        with pytest.warns(UserWarning, match="Duplicate name"):
            out.writestr("ml-1m/ratings.dat", "1::1::1::0\n")
    with pytest.raises(WrongContents, match="should hold one"):
        read_movielens(path)


def test_bombs_and_rubbish_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("workingpapers.workloads.ratings.LARGEST", 1_000)
    with pytest.raises(WrongContents, match="above the limit"):
        read_movielens(archive(tmp_path, {"ml/u.data": "0" * 100_000}))
    bomb = archive(tmp_path, {"ml-1m/ratings.dat": "1::1::5::0\n" * 80})
    text = bomb.read_bytes()
    size = (11 * 80).to_bytes(4, "little")
    assert text.count(size) == 2  # in the member's own header and in the archive's directory
    bomb.write_bytes(text.replace(size, (11).to_bytes(4, "little")))  # a header that says one line
    with pytest.raises(WrongContents):
        read_movielens(bomb)
    (tmp_path / "no.zip").write_bytes(b"not a zip at all")
    with pytest.raises(WrongContents, match="cannot be read"):
        read_movielens(tmp_path / "no.zip")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.zip"):
        read_movielens(tmp_path / "nowhere.zip")


def test_a_header_may_stand_or_not():
    assert len(parse_ratings(b"\xef\xbb\xbfuser,item,rating\r\n1,2,3\r\n", ",")) == 1
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
