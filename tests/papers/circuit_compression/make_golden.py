"""Writes golden.npz, the files that every later version must read and write alike. Run once: python make_golden.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from workingpapers.papers.circuit_compression import HCLT, Codec


def main() -> None:
    images = load_digits().images.astype(np.uint8)
    records = images[1_500:1_520]
    one = HCLT(4, 17, random_state=0).fit(images[:400], batch_size=128, epochs=3).quantise()
    two = HCLT(3, 17, n_trees=2, random_state=0).fit(images[:400], batch_size=128, epochs=3).quantise()
    files = {
        "block": Codec(one, embed=True, block_records=8).compress(records),
        "per_record": Codec(one, embed=True, layout="per-record").compress(records),
        "trees": Codec(two, embed=True).compress(records),
    }
    np.savez_compressed(Path(__file__).parent / "golden.npz", records=records, **{k: np.frombuffer(v, np.uint8) for k, v in files.items()})


if __name__ == "__main__":
    main()
