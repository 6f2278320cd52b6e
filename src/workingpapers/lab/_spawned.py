"""One job in a process started from nothing, where there is no fork: `python -m workingpapers.lab._spawned`.

The search path comes as the first line of standard input, the job as the second; answers go to standard output.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    reader = sys.stdin.buffer
    sys.path[:] = json.loads(reader.readline())
    writer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the trial prints goes to the log
    from workingpapers.lab._jobs import run_one

    run_one(reader, writer)


if __name__ == "__main__":
    main()
