"""`papers/*/paper.toml` into the database: on start-up, and by `workingpapers hub sync`."""

from __future__ import annotations

from sqlalchemy import select

from workingpapers.lab.store import Store
from workingpapers.papers import Catalogue

from ..ingest.bundled import bundled_record
from ..tables import PaperSourceRow
from .intake import Counts, take_in
from .packing import payload_of


def sync_catalogue(store: Store, catalogue: Catalogue) -> Counts:
    """Bring the papers of the catalogue into the database.

    Costs one query while nothing has changed. A paper that left the catalogue keeps its page.
    """
    with store.reading() as session:
        rows = session.execute(select(PaperSourceRow.source_key, PaperSourceRow.packed).where(PaperSourceRow.source == "toml")).tuples()
        known = {slug: payload_of(packed) for slug, packed in rows}
    changed = []
    for paper in catalogue:
        payload = (paper.folder / "paper.toml").read_bytes()
        if known.get(paper.slug) != payload:
            changed.append(bundled_record(paper.slug, paper.facts, payload))
    return take_in(store, changed) if changed else Counts()
