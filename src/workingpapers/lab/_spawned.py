"""One job in a process started from nothing, where there is no fork: `python -m workingpapers.lab._spawned`.

The search path comes as the first line of standard input, the job as the second; answers go to standard output. The driver
keeps its end of standard input open: when that closes early, the driver is gone, and this process group with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from typing import BinaryIO

MAX_FILE_BYTES = 16 << 30


def main() -> None:
    reader = os.fdopen(os.dup(0), "rb")
    writer = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)  # whatever the trial prints goes to the log
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    sys.path[:] = json.loads(reader.readline())
    job = reader.readline()
    threading.Thread(target=_end_with_driver, args=(reader,), daemon=True).start()
    from workingpapers.lab._jobs import run_one

    run_one(job, writer)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that the trial left behind are not waited for


def _end_with_driver(reader: BinaryIO) -> None:
    reader.read()
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
