"""Memory that was freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import psutil, threading
from workingpapers.hub.memory import give_back, keep_little
keep_little()
blocks = [bytes(20_000) for _ in range(10_000)]
full = psutil.Process().memory_info().rss
pins = blocks[::500]
del blocks
give_back()
print((full - psutil.Process().memory_info().rss) / 1e6)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_what_is_free_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 150  # of 200 MB, with survivors strewn among them
