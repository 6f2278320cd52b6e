"""How a paper's method is imported and tried, read from its source without importing it."""

from __future__ import annotations

import ast
import doctest
import functools
from dataclasses import dataclass
from pathlib import Path

from workingpapers.lab.syntax import tree_of
from workingpapers.papers import Paper

MAX_NAMES = 12


@dataclass(frozen=True)
class PublicName:
    """A name that the paper's package exports, with the first sentence of its docstring."""

    name: str
    words: str


@dataclass(frozen=True)
class Usage:
    """What stands under "Use it": the code of the first example found, and the public names."""

    code: str
    names: tuple[PublicName, ...]


def usage_of(paper: Paper) -> Usage | None:
    """Read the package's docstring and public names; None where there is no method yet."""
    path = paper.folder / "__init__.py"
    if not path.is_file():
        return None
    return _read(paper.module, path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _read(module: str, path: Path, changed: int) -> Usage | None:
    tree = _parse(path)
    if tree is None:
        return None
    exported = _exported(tree)
    docstrings = {name: _docstring(name, tree, path) for name in exported}
    names = tuple(PublicName(name, _first_sentence(docstrings[name])) for name in exported)
    example = next(filter(None, (example_code(text) for text in (ast.get_docstring(tree) or "", *docstrings.values()))), "")
    if not example and exported:
        example = f"from {module} import {', '.join(exported[:MAX_NAMES])}"
    elif example and module not in example and exported:
        used = [n for n in exported if n in example] or exported[:1]
        example = f"from {module} import {', '.join(used)}\n\n{example}"
    return Usage(example, names) if example or names else None


def example_code(docstring: str) -> str:
    """The source of a docstring's doctest, answers as comments where they are one line.

    >>> print(example_code("Adds.\\n\\n>>> x = 1\\n>>> x + 1\\n2\\n"))
    x = 1
    x + 1  # 2
    """
    try:
        examples = doctest.DocTestParser().get_examples(docstring)
    except ValueError:
        return ""
    lines = []
    for example in examples:
        source, want = example.source.rstrip("\n"), example.want.strip()
        lines.append(f"{source}  # {want}" if want and "\n" not in want and "\n" not in source and len(want) < 60 else source)
    return "\n".join(lines)


def _parse(path: Path) -> ast.Module | None:
    try:
        return tree_of(path)
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None


def _exported(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            try:
                return [str(name) for name in ast.literal_eval(node.value)]
            except ValueError:
                return []
    return []


def _docstring(name: str, tree: ast.Module, path: Path) -> str:
    """Docstring of a public name: defined here, or in the neighbour module it is imported from."""
    found = _defined(name, tree)
    if found is not None:
        return found
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        original = next((a.name for a in node.names if (a.asname or a.name) == name), None)
        neighbour = (node.module or "").rpartition(".")[2]
        if original is None or not neighbour:
            continue
        for candidate in (path.parent / f"{neighbour}.py", path.parent / neighbour / "__init__.py"):
            inner = _parse(candidate) if candidate.is_file() else None
            if inner is not None:
                return _defined(original, inner) or ""
    return ""


def _defined(name: str, tree: ast.Module) -> str | None:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return ast.get_docstring(node) or ""
    return None


def _first_sentence(docstring: str) -> str:
    first = " ".join(docstring.strip().split("\n\n")[0].split())
    return first.split(". ")[0].rstrip(".") + "." if first else ""
