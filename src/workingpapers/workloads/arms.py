"""Bandit problems on a finite set of arms: functions drawn from a Gaussian process, and tables whose target is the reward."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from workingpapers.claims import Workload, untested
from workingpapers.workloads.archives import cache_folder

Array = npt.NDArray[np.float64]
Progress = Any

MEDIAN_OVER = 500


@dataclass(frozen=True)
class ArmProblem:
    """Arms with a hidden reward each; evaluations are noisy.

    Attributes:
        arms: features `(A, d)`.
        rewards: noiseless rewards `(A,)`.
        noise: standard deviation of an evaluation.
        length_scale: of the squared-exponential kernel that every method is given.
        name: what it is.
        variance: of that kernel.
    """

    arms: Array
    rewards: Array
    noise: float
    length_scale: float
    name: str = field(default="arms")
    variance: float = 1.0

    @cached_property
    def optimum(self) -> float:
        """The highest reward."""
        return float(self.rewards.max())

    def kernel(self) -> Any:
        """The scikit-learn kernel of this problem: squared exponential, scaled where its variance is not 1."""
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel

        kernel = RBF(self.length_scale)
        return kernel if self.variance == 1.0 else ConstantKernel(self.variance) * kernel

    def evaluate(self, arm: int, times: int, rng: np.random.Generator) -> Array:
        """`times` noisy rewards of an arm, `(times,)`."""
        return np.asarray(self.rewards[arm] + self.noise * rng.standard_normal(times))


@dataclass(frozen=True)
class Arms(Workload):
    """`n` arms drawn uniformly in the unit cube; rewards are one draw of the Gaussian process with this kernel and no mean.

    >>> problem = Arms(50, budget=100).load(np.random.default_rng(0))
    >>> problem.arms.shape, problem.rewards.shape
    ((50, 3), (50,))
    """

    n: int
    budget: int
    dim: int = 3
    length_scale: float = 0.3
    noise: float = 0.3

    @property
    def label(self) -> str:
        return f"{self.n} arms, {self.budget:,} evaluations"

    def load(self, rng: np.random.Generator) -> ArmProblem:
        arms = rng.random((self.n, self.dim))
        squared = np.square(arms).sum(axis=1)
        distance = np.maximum(squared[:, None] + squared - 2 * arms @ arms.T, 0.0)
        values, vectors = np.linalg.eigh(np.exp(-0.5 * distance / self.length_scale**2))
        rewards = vectors @ (np.sqrt(np.maximum(values, 0.0)) * rng.standard_normal(self.n))
        return ArmProblem(arms, rewards, self.noise, self.length_scale, self.label)


@dataclass(frozen=True)
class TableArms(Workload):
    """A table as arms: features standardised; the reward is the target rescaled to a range of 1 and centred.

    The kernel has half the median distance between arms as its length scale and the variance of the rewards.
    The data stay fixed; what a seed redraws is the noise and the choices of the method. `keep` arms are drawn
    anew by each seed where it is given.
    """

    budget: int
    keep: int | None = None
    noise: float = 0.1

    @property
    def label(self) -> str:
        of = f", {self.keep:,} arms" if self.keep else ""
        return f"{self.name}{of}, {self.budget:,} evaluations"

    @property
    def name(self) -> str:
        """The name of the table."""
        raise NotImplementedError  # abstract

    def table(self) -> tuple[Array, Array]:
        """Features `(A, d)` and target `(A,)`, never fetched here."""
        raise NotImplementedError  # abstract

    def load(self, rng: np.random.Generator) -> ArmProblem:
        x, y = self.table()
        spread = x.std(axis=0)
        x = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        y = (y - y.mean()) / (y.max() - y.min())
        if self.keep is not None and self.keep < len(x):
            rows = rng.choice(len(x), self.keep, replace=False)
            x, y = x[rows], y[rows]
        return ArmProblem(x, y, self.noise, 0.5 * median_distance(x), self.label, float(y.var()))

    def data_hash(self) -> str:
        return arrays_hash(*self.table())


@dataclass(frozen=True)
class DiabetesArms(TableArms):
    """442 patients with 10 measurements; the reward is the progression of diabetes after a year (bundled with scikit-learn)."""

    @property
    def name(self) -> str:
        return "diabetes"

    def table(self) -> tuple[Array, Array]:
        from sklearn.datasets import load_diabetes

        x, y = load_diabetes(return_X_y=True)
        return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)


@dataclass(frozen=True)
class DigitsArms(TableArms):
    """1,797 images of 8 x 8 pixels; the reward is the digit itself (bundled with scikit-learn)."""

    @property
    def name(self) -> str:
        return "digits"

    def table(self) -> tuple[Array, Array]:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)


@dataclass(frozen=True)
class FetchedTable(TableArms):
    """A table that is fetched once by `prepare` and kept as two arrays in the cache folder."""

    def fetch(self) -> tuple[Array, Array]:
        """Features and target from the source."""
        raise NotImplementedError  # abstract

    @property
    def file(self) -> Path:
        """Where the arrays are kept."""
        return cache_folder() / f"{self.name.lower().replace(' ', '-')}.npz"

    def prepare(self, progress: Progress) -> None:
        if self.file.exists():
            return
        progress(0.0, f"fetching {self.name}")
        try:
            x, y = self.fetch()
        except Exception as error:  # whatever the network or its library raises
            untested(f"{self.name} is not in the cache and could not be fetched ({type(error).__name__}: {error}); "
                     "run once with access to its source")
        partial = self.file.with_suffix(".partial.npz")
        np.savez_compressed(partial, x=x, y=y)
        partial.replace(self.file)
        progress(1.0, f"fetched {self.name}")

    def table(self) -> tuple[Array, Array]:
        if not self.file.exists():
            untested(f"{self.name} is not in the cache; prepare() fetches it")
        with np.load(self.file, allow_pickle=False) as kept:
            return np.asarray(kept["x"], dtype=np.float64), np.asarray(kept["y"], dtype=np.float64)


@dataclass(frozen=True)
class CaliforniaHousing(FetchedTable):
    """20,640 districts with 8 features; the reward is the median value of a house (`fetch_california_housing`; Cadata in the paper)."""

    @property
    def name(self) -> str:
        return "California housing"

    def fetch(self) -> tuple[Array, Array]:
        from sklearn.datasets import fetch_california_housing

        x, y = fetch_california_housing(return_X_y=True)
        return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)


@dataclass(frozen=True)
class Abalone(FetchedTable):
    """4,177 abalones with 8 features (sex as 0, 1, 2); the reward is the number of rings (OpenML, version 1)."""

    @property
    def name(self) -> str:
        return "Abalone"

    def fetch(self) -> tuple[Array, Array]:
        from sklearn.datasets import fetch_openml

        found = fetch_openml("abalone", version=1, as_frame=True, parser="liac-arff")
        codes = {"F": 0.0, "I": 1.0, "M": 2.0}
        columns = [[codes[v] for v in found.data[c]] if c == "Sex" else found.data[c].astype(float).tolist() for c in found.data]
        return np.array(columns, dtype=np.float64).T, found.target.astype(float).to_numpy()


@dataclass(frozen=True)
class NasBench101(TableArms):
    """Cells of NAS-Bench-101 with `vertices` vertices as arms; the reward is their mean validation accuracy after 108 epochs.

    Features are the edges above the diagonal (0 or 1) and the operation of each inner vertex (0, 1/2, 1): 19 numbers for 6
    vertices. The file `nasbench_only108.tfrecord` (499 MB) must be brought by the user: set WORKINGPAPERS_NASBENCH to it.
    """

    vertices: int = 6

    @property
    def name(self) -> str:
        return f"NAS-Bench-101, {self.vertices} vertices"

    @staticmethod
    def source() -> Path:
        """The file of the benchmark; `Untested` when it is not here."""
        path = Path(os.environ.get("WORKINGPAPERS_NASBENCH") or cache_folder() / "nasbench_only108.tfrecord").expanduser()
        if not path.is_file():
            untested("NAS-Bench-101 is not here: download nasbench_only108.tfrecord and set WORKINGPAPERS_NASBENCH to its path")
        return path

    def prepare(self, progress: Progress) -> None:
        self.source()

    def table(self) -> tuple[Array, Array]:
        return read_nasbench(self.source(), self.vertices)


# ---------------------------------------------------------------- reading NAS-Bench-101


OPERATIONS = {"conv1x1-bn-relu": 0.0, "maxpool3x3": 0.5, "conv3x3-bn-relu": 1.0}
LONGEST_RECORD = 1 << 20


def read_nasbench(path: Path, vertices: int) -> tuple[Array, Array]:
    """Features and mean final validation accuracy of the cells with so many vertices, from the benchmark's TFRecord file.

    Raises:
        ValueError: a file that is cut short or holds something else.
    """
    features: dict[str, list[float]] = {}
    accuracies: dict[str, list[float]] = {}
    above = np.triu_indices(vertices, 1)
    with path.open("rb") as file:
        for record in tf_records(file):
            try:
                name, epochs, adjacency, operations, metrics = json.loads(record)
                if epochs != 108 or len(adjacency) != vertices**2:
                    continue
                matrix = np.array([int(c) for c in adjacency]).reshape(vertices, vertices)
                inner = [OPERATIONS[o] for o in operations.split(",")[1:-1]]
                accuracy = final_validation_accuracy(base64.b64decode(metrics))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path.name}: a record is not one of NAS-Bench-101 ({error})") from error
            features[name] = [*map(float, matrix[above]), *inner]
            accuracies.setdefault(name, []).append(accuracy)
    if not features:
        raise ValueError(f"{path.name}: no cell with {vertices} vertices")
    return np.array(list(features.values())), np.array([np.mean(accuracies[name]) for name in features])


def tf_records(file: BinaryIO) -> Iterator[bytes]:
    """The payloads of a TFRecord file: length (8 bytes), checksum (4), payload, checksum (4). Checksums are not verified."""
    while header := file.read(12):
        if len(header) < 12:
            raise ValueError("the record file is cut short")
        (length,) = struct.unpack("<Q", header[:8])
        if length > LONGEST_RECORD:
            raise ValueError(f"a record of {length} bytes: this is no record file of NAS-Bench-101")
        payload = file.read(length)
        if len(payload) < length or len(file.read(4)) < 4:
            raise ValueError("the record file is cut short")
        yield payload


def final_validation_accuracy(message: bytes) -> float:
    """The validation accuracy (field 4) of the third evaluation (field 1) in a `ModelMetrics` protocol-buffer message."""
    evaluations = [value for number, value in _fields(message) if number == 1 and isinstance(value, bytes)]
    if len(evaluations) < 3:
        raise ValueError(f"{len(evaluations)} evaluations where 3 are expected")
    found = [value for number, value in _fields(evaluations[2]) if number == 4 and isinstance(value, float)]
    if not found:
        raise ValueError("an evaluation without a validation accuracy")
    return found[-1]


def _fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Field numbers and values of a protocol-buffer message, without its schema: varints, doubles, bytes and 32-bit words."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        value: int | float | bytes
        if kind == 0:
            value, at = _varint(message, at)
        elif kind == 1:
            value, at = struct.unpack("<d", message[at : at + 8].ljust(8, b"\0"))[0], at + 8
        elif kind == 2:
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        elif kind == 5:
            value, at = message[at : at + 4], at + 4
        else:
            raise ValueError(f"wire type {kind} in a protocol-buffer message")
        if at > len(message):
            raise ValueError("a protocol-buffer message is cut short")
        yield key >> 3, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("a protocol-buffer message is cut short")
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than 10 bytes in a protocol-buffer message")


# ---------------------------------------------------------------- helpers


def median_distance(x: Array, most: int = MEDIAN_OVER) -> float:
    """Median distance between distinct rows of `x`, on an even selection of at most `most` rows."""
    from scipy.spatial.distance import pdist

    distances = pdist(x[np.linspace(0, len(x) - 1, min(len(x), most)).astype(int)])
    distances = distances[distances > 0]
    return float(np.median(distances)) if len(distances) else 1.0


def arrays_hash(*arrays: npt.NDArray[Any]) -> str:
    """SHA-256 of arrays: their shapes, types and little-endian bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        plain = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{plain.shape}{plain.dtype.str}".encode())
        digest.update(plain.tobytes())
    return digest.hexdigest()
