"""Papers in the database: records taken in, papers found, the catalogue kept in step.

    with store.reading() as session:
        row = find(session, "2201.12909")      # or a slug, a DOI, `math/9410209`, an id it had before
        address(row)                           # '/papers/mini_gp'
"""

from .catalogue import sync_catalogue
from .finding import address, find
from .importing import RESUMABLE, WIRE, Report, import_file, import_query
from .intake import WATCHERS, Counts, take_batch, take_in

__all__ = ["RESUMABLE", "WATCHERS", "WIRE", "Counts", "Report", "address", "find", "import_file", "import_query", "sync_catalogue",
           "take_batch", "take_in"]
