"""What a result depends on: the claim's code, the packages it uses, the machine."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import workingpapers

from .syntax import tree_of

OWN = "workingpapers"
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Code:
    """The code behind a claim.

    Attributes:
        hash: SHA-256 of the normalised syntax trees, without docstrings, of the claim's module and of every first-party
            module that it imports, directly or not, at any depth of nesting.
        modules: those modules, sorted.
        packages: version of each other distribution that they import.
    """

    hash: str
    modules: tuple[str, ...]
    packages: dict[str, str]


def code_of(module: str) -> Code:
    """Follow the imports of a module without running any of it. First-party: Working Papers and the module's own package."""
    own = {OWN, module.partition(".")[0]}
    seen: dict[str, str] = {}
    foreign: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if name in seen or path is None:
            continue
        stat = path.stat()
        seen[name], imports = _read(name, path, (stat.st_mtime_ns, stat.st_size, stat.st_ino))
        for found in imports:
            if found.partition(".")[0] in own:
                waiting += _with_parents(found)
            else:
                foreign.add(found.partition(".")[0])
    total = hashlib.sha256("\n".join(f"{name} {digest}" for name, digest in sorted(seen.items())).encode()).hexdigest()
    return Code(total, tuple(sorted(seen)), _versions(foreign))


@functools.lru_cache(maxsize=1024)
def _read(name: str, path: Path, version: tuple[int, int, int]) -> tuple[str, tuple[str, ...]]:
    tree = tree_of(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imports = tuple(sorted(set(_imports(tree, package))))
    return hashlib.sha256(ast.dump(_without_docstrings(tree)).encode()).hexdigest(), imports


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts) + 1)]


def _source(name: str) -> Path | None:
    """The file of a first-party module, found without importing its parents."""
    top, *rest = name.split(".")
    root = Path(workingpapers.__file__).parent if top == OWN else _root(top)
    if root is None:
        return None
    path = root.joinpath(*rest)
    for candidate in (path / "__init__.py", path.with_suffix(".py") if rest else root / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _root(top: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def _versions(tops: set[str]) -> dict[str, str]:
    out = {}
    for top in sorted(tops - set(sys.stdlib_module_names)):
        for name in _distributions().get(top, []):
            out[name] = importlib.metadata.version(name)
    return dict(sorted(out.items()))


def environment(packages: dict[str, str]) -> dict[str, Any]:
    """Facts of this machine that a reader of a verdict wants: processor, memory, system, versions."""
    return {
        "cpu": cpu_model(), "cores": os.cpu_count(), "memory_gb": round(psutil.virtual_memory().total / 2**30, 1), "gpu": gpu(),
        "system": platform.platform(terse=True), "python": platform.python_version(), "workingpapers": workingpapers.__version__,
        "packages": packages,
    }


@functools.cache
def cpu_model() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu() -> str | None:
    """Names of NVIDIA GPUs that the driver shows, or None."""
    names = []
    for info in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        names += [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("Model")]
    return ", ".join(names) or None


def reuse_key(code: Code, *, claim: str, part: str, arm: str, seed: int, point: str, scale: str, data_hash: str,
              threads: int) -> str:
    """A finished untimed trial with this key is this trial: nothing that it depends on differs."""
    parts = [code.hash, claim, part, arm, seed, point, scale, data_hash, code.packages, platform.python_version(), cpu_model(), threads]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
