"""The table that `bench` prints: bits a value of every codec, without and with what the reader needs besides."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ._codec import Codec
from ._files import parquet_bytes
from ._hclt import HCLT
from ._learn import GREY
from ._peers import FAMILIES, chosen
from ._tabular import TabularCodec

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
Told = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One codec: bytes of the records, bytes that the reader needs besides, and whether all came back."""

    name: str
    data: int
    side: int

    def bits(self, values: int) -> float:
        """Bits a value without what lies beside."""
        return 8 * self.data / values

    def bits_with_side(self, values: int) -> float:
        """Bits a value with it."""
        return 8 * (self.data + self.side) / values


def split(records: Array, share: float, seed: int) -> tuple[Array, Array]:
    """Training and test records: a random share to test on, without any that stands among the others, value for value."""
    if not 0 < share < 1:
        raise ValueError(f"test share must lie between 0 and 1, got {share}")
    order = np.random.default_rng(seed).permutation(len(records))
    n = max(1, round(share * len(records)))
    if len(records) - n < 2:
        raise ValueError(f"{len(records)} records are too few to learn from some and test on others")
    train, test = records[np.sort(order[n:])], records[np.sort(order[:n])]
    known = {row.tobytes() for row in train}
    return train, test[np.array([row.tobytes() not in known for row in test])]


def record_rates(records: Array, families: Sequence[str], *, n_latents: int, epochs: int, share: float, seed: int,
                 told: Told) -> tuple[list[Row], int]:
    """Rows of all codecs on the test share of records (N, ...), and how many values those hold.

    Raises:
        ValueError: records that are no bytes, or all test records stand among the others.
    """
    if records.dtype != np.uint8:
        raise ValueError(f"the codecs to compare with take bytes, the records are {records.dtype}: cast them to uint8")
    train, test = split(records, share, seed)
    if len(test) == 0:
        raise ValueError("every test record stands among the training records: nothing new to compress")
    told(f"learning from {len(train)} records")
    options = GREY if records.ndim == 3 else {}
    model = HCLT(n_latents, int(records.max()) + 1, random_state=seed, **options).fit(train, epochs=epochs).quantise()
    rows = []
    for layout, name in (("block", "circuit, blocks"), ("per-record", "circuit, record by record")):
        told(name)
        codec = Codec(model, layout=layout)  # type: ignore[arg-type]
        data = codec.compress(test)
        _held(name, codec.decompress(data), test)
        rows.append(Row(name, len(data), len(model.packed)))
    flat = test.reshape(len(test), 1, -1) if test.ndim != 3 else test
    flat_train = train.reshape(len(train), 1, -1) if train.ndim != 3 else train
    for peer in chosen(families):
        told(peer.name)
        side = peer.side(flat_train)
        files = peer.encode(flat, side)
        _held(peer.name, peer.decode(files, flat.shape, side), flat)
        rows.append(Row(peer.name, sum(map(len, files)), len(side)))
    return rows, int(test.size)


def table_rates(table: pd.DataFrame, families: Sequence[str], *, n_latents: int, epochs: int, seed: int,
                told: Told) -> tuple[list[Row], int]:
    """Rows of all codecs on a whole table, whose model is learned from it and so counts; and its number of cells."""
    unknown = [f for f in families if f not in FAMILIES]
    if unknown:
        raise ValueError(f"against must name codecs among {', '.join(FAMILIES)}, got {unknown[0]!r}")
    told(f"learning from {len(table)} rows")
    codec = TabularCodec(n_latents=n_latents, random_state=seed, epochs=epochs).fit(table)
    data = codec.compress(table, embed=False)
    if not codec.decompress(data).equals(table):
        raise AssertionError("the table did not come back")
    rows = [Row("circuit", len(data), len(codec.model_.packed))]
    text = table.to_csv(index=False).encode()
    if "zstd" in families:
        import zstandard

        rows.append(Row("zstd -22 of the CSV", len(zstandard.ZstdCompressor(level=22).compress(text)), 0))
    if "xz" in families:
        rows.append(Row("xz -9e of the CSV", len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)), 0))
    rows.append(Row("parquet with zstd -22", len(parquet_bytes(table, 22)), 0))
    return rows, int(table.size)


def _held(name: str, found: Array, truth: Array) -> None:
    if not np.array_equal(found, truth):
        raise AssertionError(f"{name}: the records did not come back")


def break_even(rows: list[Row], n_records: int) -> tuple[str, float] | None:
    """The best other codec that the circuit (first row) beats without its model, and the records from which on it beats it with it."""
    ours, others = rows[0], [r for r in rows[1:] if not r.name.startswith("circuit")]
    best = min(others, key=lambda r: r.data, default=None)
    if best is None or best.data <= ours.data:
        return None
    return best.name, (ours.side - best.side) / (best.data - ours.data) * n_records
