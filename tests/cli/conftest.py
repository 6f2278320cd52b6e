"""Fixtures of the lab's tests, for commands in processes of their own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_path = Path(__file__).parents[1] / "lab" / "conftest.py"
_spec = importlib.util.spec_from_file_location("workingpapers_toys", _path)
assert _spec is not None
assert _spec.loader is not None
_toys = importlib.util.module_from_spec(_spec)
sys.modules["workingpapers_toys"] = _toys
_spec.loader.exec_module(_toys)
toy, drawn, wait_for, gone = _toys.toy, _toys.drawn, _toys.wait_for, _toys.gone
