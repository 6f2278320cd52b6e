"""Record sets from files: .npy arrays, folders of grey PNG images, idx files, CSV and parquet tables; and back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]

KINDS = ".npy (integers), a folder of .png (grey, one size), idx or idx.gz, .csv, .parquet"
_TABLES = (".csv", ".parquet")


@dataclass(frozen=True)
class Loaded:
    """What a path holds: records, or a table."""

    records: Array | None
    table: pd.DataFrame | None
    names: tuple[str, ...] = ()

    @property
    def plain_bytes(self) -> int:
        """Bytes of the records as they are; of a table as CSV."""
        if self.records is not None:
            return int(self.records.nbytes)
        assert self.table is not None
        return len(self.table.to_csv(index=False).encode())


def load(path: Path) -> Loaded:
    """Records or a table from a path, by its name.

    Raises:
        ValueError: another kind of file, or one that cannot be read; says what is possible.
        FileNotFoundError: no such path.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_dir():
        return _folder(path)
    name = path.name.lower()
    if name.endswith(".npy"):
        with path.open("rb") as file:
            try:
                found = np.lib.format.read_array(file, allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise ValueError(f"{path} is not a plain .npy array: {error}") from error
        return Loaded(found, None)
    if name.endswith(_TABLES):
        import pandas as pd

        try:
            table = pd.read_csv(path, float_precision="round_trip") if name.endswith(".csv") else _parquet(path)
        except (ValueError, OSError) as error:
            raise ValueError(f"{path} cannot be read as a table: {error}") from error
        return Loaded(None, table)
    if "idx" in name or name.endswith(("-ubyte", "-ubyte.gz")):
        from workingpapers.workloads.archives import WrongContents
        from workingpapers.workloads.images import read_idx

        try:
            return Loaded(read_idx(path.read_bytes()), None)
        except (WrongContents, OSError, EOFError) as error:
            raise ValueError(f"{path} is not an idx file: {error}") from error
    raise ValueError(f"{path} is none of: {KINDS}")


def _parquet(path: Path) -> pd.DataFrame:
    import fastparquet

    return fastparquet.ParquetFile(str(path)).to_pandas()


def _folder(path: Path) -> Loaded:
    from PIL import Image

    files = sorted(p for p in path.iterdir() if p.suffix.lower() == ".png")
    if not files:
        raise ValueError(f"{path} holds no .png file")
    images = []
    for file in files:
        with Image.open(file) as image:
            if image.mode not in ("L", "1"):
                raise ValueError(f"{file} has the mode {image.mode}: grey images are needed (convert to 'L' first)")
            images.append(np.asarray(image, dtype=np.uint8))
        if images[-1].shape != images[0].shape:
            first = f"{files[0].name} has {images[0].shape[::-1]}"
            raise ValueError(f"{file} has the size {images[-1].shape[::-1]}, {first}: one size is needed")
    return Loaded(np.stack(images), None, tuple(f.name for f in files))


def save_records(path: Path, records: Array) -> None:
    """Write .npy, an idx file (bytes only), or a folder of .png images where the path has no suffix.

    Raises:
        ValueError: a kind of file that cannot hold these records.
    """
    name = path.name.lower()
    if name.endswith(".npy"):
        with path.open("wb") as file:
            np.lib.format.write_array(file, records, allow_pickle=False)
    elif "idx" in name or name.endswith("-ubyte"):
        if records.dtype != np.uint8:
            raise ValueError(f"an idx file holds bytes, the records are {records.dtype}: write .npy")
        path.write_bytes(bytes([0, 0, 8, records.ndim]) + b"".join(n.to_bytes(4, "big") for n in records.shape) + records.tobytes())
    elif not path.suffix:
        from PIL import Image

        if records.ndim != 3 or records.dtype != np.uint8:
            words = f"the records are {records.dtype} {records.shape}: write .npy"
            raise ValueError(f"a folder of .png holds images (N, H, W) of bytes, {words}")
        path.mkdir(parents=True, exist_ok=True)
        digits = max(5, len(str(len(records))))
        for i, image in enumerate(records):
            Image.fromarray(image).save(path / f"{i:0{digits}d}.png")
    else:
        raise ValueError(f"{os.fspath(path)}: records go into .npy, an idx file, or a folder of .png (a name without suffix)")


def save_table(path: Path, table: pd.DataFrame) -> None:
    """Write .csv or .parquet.

    Raises:
        ValueError: another name.
    """
    if path.name.lower().endswith(".csv"):
        table.to_csv(path, index=False)
    elif path.name.lower().endswith(".parquet"):
        path.write_bytes(parquet_bytes(table))
    else:
        raise ValueError(f"{os.fspath(path)}: a table can be written to .csv or .parquet")


def parquet_bytes(table: pd.DataFrame, level: int = 3) -> bytes:
    """A table as a parquet file, compressed with zstd."""
    import tempfile

    import fastparquet

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.parquet"
        fastparquet.write(str(path), table, write_index=False, compression={"_default": {"type": "ZSTD", "args": {"level": level}}})
        return path.read_bytes()
