"""A worker of the queue: `python -m workingpapers.lab.worker [--with-parent PID]`. Ends on SIGTERM, putting its run back into the queue."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time

from ._lab import Lab


def main() -> int:
    """Work until told to stop."""
    stop = threading.Event()

    def asked(*_: object) -> None:
        stop.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)
    end_with_parent()
    with contextlib.suppress(KeyboardInterrupt):
        Lab().work(stop)
    return 0


def end_with_parent() -> None:
    """With `--with-parent PID` on the command line, end when that process does."""
    if "--with-parent" in sys.argv[1:-1]:
        # The pid is handed over: a parent that died while this process was loading would otherwise never be missed.
        parent = int(sys.argv[sys.argv.index("--with-parent") + 1])
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """Stop when the process that started this one is gone, however it went."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
