"""`papers/*/paper.toml` into the database: on start-up, and by `workingpapers hub sync`."""

from __future__ import annotations

import hashlib

from sqlalchemy import select

from workingpapers.lab.store import Store
from workingpapers.papers import Catalogue

from ..ingest.bundled import bundled_record
from ..tables import PaperSourceRow
from .intake import Counts, take_in


def sync_catalogue(store: Store, catalogue: Catalogue) -> Counts:
    """Bring the papers of the catalogue into the database.

    Costs one query and one hash a file while nothing has changed. A paper that left the catalogue keeps its page.
    """
    with store.reading() as session:
        known = dict(session.execute(select(PaperSourceRow.source_key, PaperSourceRow.payload_hash)
                                     .where(PaperSourceRow.source == "toml")).tuples().all())
    changed = []
    for paper in catalogue:
        payload = (paper.folder / "paper.toml").read_bytes()
        if known.get(paper.slug) != hashlib.sha256(payload).hexdigest():
            changed.append(bundled_record(paper.slug, paper.facts, payload))
    return take_in(store, changed) if changed else Counts()
