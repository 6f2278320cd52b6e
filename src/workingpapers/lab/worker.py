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
    """Work until told to stop; told twice, at once."""
    stop = threading.Event()
    set_when_asked(stop)
    end_with_parent()
    with contextlib.suppress(KeyboardInterrupt):
        Lab().work(stop)
    return 0


def set_when_asked(stop: threading.Event) -> None:
    """Set `stop` on the first SIGTERM or Ctrl-C; a second one interrupts at once.

    Nothing is raised at first: an interrupt in the middle of a destructor or a callback would be printed and lost. And the event is
    set by a thread of its own: this one may just hold the event's lock.
    """
    asked = False

    def on_signal(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        threading.Thread(target=stop.set).start()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


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
