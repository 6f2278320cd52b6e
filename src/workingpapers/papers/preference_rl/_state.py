"""State files: arrays and one JSON text in an .npz, never a pickle; everything is checked before it is used."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FORMAT = 1
LARGEST = 4 << 30  # bytes that the arrays of one file may take
META = "meta"

Arrays = dict[str, npt.NDArray[Any]]


class DamagedState(ValueError):
    """A state file that is broken, of another kind, or made to do harm."""


def write_state(path: str | Path, meta: dict[str, Any], arrays: Arrays) -> None:
    """Write whole or not at all: a crash in between leaves the file that was there."""
    target = Path(path)
    text = np.frombuffer(json.dumps({"format": FORMAT, **meta}).encode(), dtype=np.uint8)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **{META: text, **arrays})  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_state(path: str | Path, kind: str) -> tuple[dict[str, Any], Arrays]:
    """What `write_state` wrote; sizes and types are read from the headers before anything is unpacked.

    Args:
        path: the file.
        kind: what `meta["kind"]` must say.

    Raises:
        DamagedState: whatever is wrong, in words.
    """
    arrays: Arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            total = 0
            for entry in archive.infolist():
                with archive.open(entry) as file:
                    total += _declared(entry.filename, file)
                if total > LARGEST:
                    raise DamagedState(f"{path}: arrays of more than {LARGEST >> 30} GB: no agent of ours saves that much")
            for entry in archive.infolist():
                with archive.open(entry) as file:
                    arrays[entry.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise
    except DamagedState:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError, MemoryError) as error:
        raise DamagedState(f"{path}: no state file: {error}") from error
    meta = _meta(path, arrays.pop(META, np.zeros(0, np.uint8)), kind)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and np.isinf(array).any():
            raise DamagedState(f"{path}: {name} holds infinity")
    return meta, arrays


def _declared(name: str, file: Any) -> int:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise DamagedState(f"{name}: format version {version} is not one we write")
    shape, _, dtype = read(file)
    if dtype.kind not in "biuf" or dtype.hasobject:
        raise DamagedState(f"{name} holds {dtype}: only plain numbers are read")
    size = int(dtype.itemsize)
    for n in shape:
        size *= int(n)
    return size


def _meta(path: str | Path, text: npt.NDArray[Any], kind: str) -> dict[str, Any]:
    try:
        meta = json.loads(text.astype(np.uint8).tobytes().decode())
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedState(f"{path}: {META} is no JSON text: {error}") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise DamagedState(f"{path}: format is {meta.get('format') if isinstance(meta, dict) else meta!r}, not {FORMAT}")
    if meta.get("kind") != kind:
        raise DamagedState(f"{path}: the file is of kind {meta.get('kind')!r}, not {kind!r}")
    return meta


def take(arrays: Arrays, name: str, *shape: int, finite: bool = True) -> npt.NDArray[Any]:
    """An array of this shape (-1 stands for any length); DamagedState where there is none, or it holds NaN."""
    if name not in arrays:
        raise DamagedState(f"the file has no {name}")
    array = arrays[name]
    if array.ndim != len(shape) or any(want not in (-1, got) for want, got in zip(shape, array.shape)):
        raise DamagedState(f"{name} has shape {array.shape}, not {shape}: the file is damaged, or of another agent")
    if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DamagedState(f"{name} holds NaN or infinity")
    return array


def set_generator(rng: np.random.Generator, state: Any) -> None:
    """Put a generator into a saved state."""
    try:
        rng.bit_generator.state = state
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
        raise DamagedState(f"the state of a random generator cannot be read: {error}") from error
