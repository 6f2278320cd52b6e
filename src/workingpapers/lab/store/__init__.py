"""The store: engine, migrations and the tables of runs."""

from ._store import NewerStore, Store
from .models import Base, CheckRow, EventRow, FileRow, MeasurementRow, RunRow, TrialRow, now

__all__ = ["Base", "CheckRow", "EventRow", "FileRow", "MeasurementRow", "NewerStore", "RunRow", "Store", "TrialRow", "now"]
