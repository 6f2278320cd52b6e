"""Peers that live in a virtual environment of their own, beside ours in one run.

Such a peer is a script that makes ready, and then does its work once for every line that it reads. It is made into a
function without arguments, so that it takes its turns in `side_by_side` like any other contender; a turn costs one line
through a pipe each way, under a tenth of a millisecond.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workingpapers.workloads.archives import cache_folder

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
LOOP = """
import json, sys
_out, sys.stdout = sys.stdout, sys.stderr
{script}
print("ready", file=_out, flush=True)
for _line in sys.stdin:
    print(json.dumps(turn()), file=_out, flush=True)
"""


def environment(name: str, requirements: Sequence[str], constrained: Sequence[str] = ("torch", "numpy")) -> Path:
    """The Python of the peer's own environment, made in the cache folder the first time (a minute or more).

    Args:
        name: of the peer.
        requirements: for pip, pinned; changed ones make a new environment.
        constrained: packages that the peer must have in the versions that this project is tested with.
    """
    lines = [line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if line.split("==")[0] in constrained]
    key = hashlib.sha256(repr((requirements, lines, sys.version_info[:2])).encode()).hexdigest()[:8]
    folder = cache_folder() / "peers" / f"{name}-{key}"
    python, finished = folder / "bin" / "python", folder / "finished"
    if not finished.exists():
        print(f"  (making an environment for {name}, once)", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True, clear=True)
        pins = folder / "constraints.txt"
        pins.write_text("\n".join(lines) + "\n", encoding="utf-8")
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(pins)]
        named = [line for line in lines if any(line.split("==")[0] == r.split("=")[0] for r in requirements)]
        for some in filter(None, (named, list(requirements))):  # pinned ones first, so that no looser range pulls a newer one
            subprocess.run([*pip, *some], check=True)
        finished.touch()
    return python


@contextmanager
def peer(python: Path, script: str, *arguments: str) -> Iterator[Any]:
    """A function that has the peer do its work once and gives what `turn()` of the script returned.

    Args:
        python: of its environment.
        script: defines `turn()`, whose answer must go through JSON; `sys.argv[1:]` holds `arguments`.
    """
    child = subprocess.Popen([str(python), "-c", LOOP.format(script=script), *arguments], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    reader, writer = child.stdout, child.stdin

    def answer() -> str:
        line = reader.readline()
        if not line:
            raise RuntimeError(f"the peer ended with exit code {child.wait()}; what it said stands above")
        return line

    def turn() -> Any:
        writer.write("\n")
        writer.flush()
        return json.loads(answer())

    try:
        answer()
        yield turn
    finally:
        writer.close()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
