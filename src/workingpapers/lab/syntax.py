"""Syntax trees of source files, one at a time."""

from __future__ import annotations

import ast
import threading
from pathlib import Path

_one_at_a_time = threading.Lock()


def tree_of(path: Path) -> ast.Module:
    """Parse a file of Python.

    Threads take turns: CPython up to 3.12 counts the depth of all trees being built in one place, and two at once can end in
    `SystemError: AST constructor recursion depth mismatch` (gh-106905).

    Raises:
        SyntaxError: the file is not Python.
        OSError: the file cannot be read.
    """
    source = path.read_text(encoding="utf-8")
    with _one_at_a_time:
        return ast.parse(source, filename=str(path))
