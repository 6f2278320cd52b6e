"""Ingestion without a database: sources in, records out; records in, papers out.

`iter_records` reads a file of any of eight formats; `harvest_arxiv`, `harvest_oai` and `harvest_hf` read the wire through a
polite `Fetcher`; `resolve` turns records into papers, in whatever order they came.
"""

from .harvest import harvest_arxiv, harvest_hf, harvest_oai
from .matching import Doubt, Resolution, alike, blocks, record_keys, resolve, same
from .merging import Paper, merge, newest_rows
from .problems import Problem, Problems, SourceError
from .reading import FORMATS, Format, iter_records
from .record import Link, Record, Result, Signal, Source, Version, from_json, to_json
from .wire import ComeBackLater, Fetcher, Refused

__all__ = [
    "FORMATS",
    "ComeBackLater",
    "Doubt",
    "Fetcher",
    "Format",
    "Link",
    "Paper",
    "Problem",
    "Problems",
    "Record",
    "Refused",
    "Resolution",
    "Result",
    "Signal",
    "Source",
    "SourceError",
    "Version",
    "alike",
    "blocks",
    "from_json",
    "harvest_arxiv",
    "harvest_hf",
    "harvest_oai",
    "iter_records",
    "merge",
    "newest_rows",
    "record_keys",
    "resolve",
    "same",
    "to_json",
]
