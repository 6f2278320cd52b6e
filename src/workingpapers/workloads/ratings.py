"""Ratings of films: MovieLens 100K and 1M in the ordinary archives of GroupLens, or an archive that the user has.

GroupLens allows research use and forbids passing the data on, so nothing of it comes with this package. `prepare` downloads an archive
from GroupLens, once, where the network allows; elsewhere a copy can be named: `MovieLens("1m", path="ml-1m.zip")`.
"""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workingpapers.claims import Workload, untested
from workingpapers.workloads.archives import Progress, Unavailable, WrongContents, _Zip, cache_folder, fetch_url, sha256_of

Index = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]

# SHA-256 of the archives as GroupLens serves them; the second number is that of the ratings inside.
ARCHIVES = {"100k": ("50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229", 100_000),
            "1m": ("a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20", 1_000_209)}
MEMBERS = {"u.data": "\t", "ratings.dat": "::", "ratings.csv": ","}
"""Files of ratings inside the archives of 100K, 1M and 10M, and of the later ones; with what stands between fields."""

LARGEST = 1 << 28


@dataclass(frozen=True, eq=False)
class Ratings:
    """Who rated what, and how.

    Attributes:
        users, items: places among `user_ids` and `item_ids`, `(N,)`.
        values: `(N,)`.
        user_ids, item_ids: as in the file, sorted.
    """

    users: Index
    items: Index
    values: Values
    user_ids: Index
    item_ids: Index

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.user_ids), len(self.item_ids)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def triplets(self) -> tuple[Index, Index, Values, tuple[int, int]]:
        """Row, column, value and shape, as matrix completion takes them."""
        return self.users, self.items, self.values, self.shape


def read_movielens(path: str | Path) -> Ratings:
    """Ratings from an archive of MovieLens, whichever release: the one file `u.data`, `ratings.dat` or `ratings.csv` inside.

    Nothing is unpacked to disk; a file above 256 MB, a name that leaves the archive, or fields that are not numbers are refused.

    Raises:
        FileNotFoundError: no such archive.
        WrongContents: not a zip archive, no or several files of ratings, broken lines, a pair rated twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no archive {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            inside = _Zip(archive)
            found = [name for name in inside.names() if name.rsplit("/", 1)[-1] in MEMBERS]
            if len(found) != 1:
                names = ", ".join(found) or "none"
                raise WrongContents(f"{path.name} should hold one of {', '.join(MEMBERS)}; there is: {names}")
            size = archive.getinfo(found[0]).file_size
            if size > LARGEST:
                raise WrongContents(f"{found[0]} is {size / 1e6:.0f} MB, above the limit of {LARGEST / 1e6:.0f}")
            text = inside.read(found[0])
    except WrongContents:
        raise
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        raise WrongContents(f"{path.name} cannot be read: {error}") from error
    return parse_ratings(text, MEMBERS[found[0].rsplit("/", 1)[-1]], found[0])


def parse_ratings(text: bytes, between: str, name: str = "ratings") -> Ratings:
    """Ratings from lines of user, item, rating and whatever follows; a first line that starts with a letter is a header.

    Raises:
        WrongContents: lines that are not so, ratings that are not finite, a pair rated twice.
    """
    text = text.removeprefix(b"\xef\xbb\xbf")  # a byte-order mark, as spreadsheets write it
    if text[:1].isalpha():
        text = text.partition(b"\n")[2]
    if not text.strip():
        raise WrongContents(f"{name} holds no ratings")
    if len(between) > 1:
        text = text.replace(between.encode(), b"\t")
        between = "\t"
    try:
        table: Any = np.loadtxt(io.BytesIO(text), delimiter=between, usecols=(0, 1, 2), ndmin=2, comments=None, encoding="latin-1")
    except ValueError as error:
        raise WrongContents(f"{name}: {error}") from error
    if not np.isfinite(table).all() or (table[:, :2] != np.floor(table[:, :2])).any() or np.abs(table[:, :2]).max() > 2**53:
        raise WrongContents(f"{name}: ids must be whole numbers and ratings finite")
    user_ids, users = np.unique(table[:, 0].astype(np.int64), return_inverse=True)
    item_ids, items = np.unique(table[:, 1].astype(np.int64), return_inverse=True)
    if len(np.unique(users * len(item_ids) + items)) != len(table):
        raise WrongContents(f"{name}: some user rates the same item twice")
    return Ratings(users.astype(np.int64), items.astype(np.int64), np.ascontiguousarray(table[:, 2]), user_ids, item_ids)


@dataclass(frozen=True)
class MovieLens(Workload):
    """All ratings of a release, `100k` or `1m`; or of the archive at `path`, which is not checked against a release."""

    release: str = "100k"
    path: str = ""

    @property
    def label(self) -> str:
        return f"MovieLens {Path(self.path).stem if self.path else self.release.upper()}"

    @property
    def archive(self) -> Path:
        """Where the archive lies."""
        return Path(self.path).expanduser() if self.path else cache_folder() / "downloads" / f"ml-{self.release}.zip"

    def prepare(self, progress: Progress) -> None:
        if self.path:
            if not self.archive.is_file():
                untested(f"there is no archive {self.path}")
            return
        if self.release not in ARCHIVES:
            untested(f"release {self.release!r} is not one of {', '.join(ARCHIVES)}: name an archive by path")
        try:
            fetch_url(f"https://files.grouplens.org/datasets/movielens/ml-{self.release}.zip", f"ml-{self.release}.zip",
                      sha256=ARCHIVES[self.release][0], progress=progress)
        except (Unavailable, WrongContents) as error:
            untested(f"{self.label} is not here: {error}. Put GroupLens's ml-{self.release}.zip into {self.archive.parent}")

    def load(self, rng: np.random.Generator) -> Ratings:
        ratings = read_movielens(self.archive)
        if not self.path and len(ratings) != ARCHIVES[self.release][1]:
            raise WrongContents(f"{self.label} holds {len(ratings)} ratings, expected {ARCHIVES[self.release][1]}")
        return ratings

    def data_hash(self) -> str:
        if self.path:
            return sha256_of(self.archive) if self.archive.is_file() else ""
        return ARCHIVES[self.release][0] if self.release in ARCHIVES else ""


__all__ = ["MovieLens", "Ratings", "parse_ratings", "read_movielens"]
