"""Numbers of rows as addresses and forms name them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

MOST_ID = 2**31 - 1  # PostgreSQL's integers end here: a larger one is no row's, and comparing it is an error there
RowId = Annotated[int, Path(ge=1, le=MOST_ID)]
