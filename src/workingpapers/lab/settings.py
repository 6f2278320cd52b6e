"""Settings shared by lab, hub and command line, from `WORKINGPAPERS_*` variables."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path, user_data_path
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where things lie and how much of the machine runs may take.

    Attributes:
        home: data directory: the store, artefacts of runs, the outbox. `WORKINGPAPERS_HOME`.
        cache: fetched archives and embeddings; may be deleted at any time. `WORKINGPAPERS_CACHE`.
        database: SQLAlchemy URL; empty for SQLite in `home`. `WORKINGPAPERS_DATABASE`.
        workers: untimed trials that run side by side; 0 for one a core. `WORKINGPAPERS_WORKERS`.
        ray_address: of the cluster for `--executor ray`; empty starts one here. `WORKINGPAPERS_RAY_ADDRESS`.
    """

    model_config = SettingsConfigDict(env_prefix="WORKINGPAPERS_", extra="ignore")

    home: Path = Field(default_factory=lambda: user_data_path("workingpapers"))
    cache: Path = Field(default_factory=lambda: user_cache_path("workingpapers"))
    database: str = ""
    workers: int = Field(0, ge=0)
    ray_address: str = ""

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.database or f"sqlite:///{self.home / 'workingpapers.sqlite3'}"

    @property
    def artefacts(self) -> Path:
        """Folder with a folder a run: plots and logs."""
        return self.home / "artefacts"

    def cores(self) -> int:
        """Cores that this process may use."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def slots(self, threads: int) -> int:
        """How many untimed trials of `threads` threads run side by side."""
        return max(1, (self.workers or self.cores()) // max(1, threads))
