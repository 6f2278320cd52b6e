"""The dictionary that stored records are packed with (`hub/shelf/packing.py`).

    python scripts/records_dictionary.py PAPERS.jsonl[.gz] records.zdict

Made once from every fifth of the 33,000 arXiv records of the sample (their metadata is CC0). Never replace it: what was packed with
a dictionary can only be unpacked with that one. A better one gets a name of its own.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import zstandard

from workingpapers.hub.ingest import iter_records, to_json

SIZE = 64 << 10


def main(source: str, target: str) -> None:
    samples = []
    for record in itertools.islice(iter_records("jsonl", source), 0, None, 5):
        data = to_json(record).encode()
        samples.append(len(data).to_bytes(8, "big") + data + record.payload)
    found = zstandard.train_dictionary(SIZE, samples)
    Path(target).write_bytes(found.as_bytes())
    print(f"{len(samples):,} records, {len(found.as_bytes()):,} bytes, dictionary {found.dict_id()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
