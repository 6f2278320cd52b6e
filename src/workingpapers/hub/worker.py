"""A worker of the site's jobs: `python -m workingpapers.hub.worker [--with-parent PID]`. Ends on SIGTERM; what it did goes on elsewhere.

A process of its own beside the worker of claims, so that embedding papers never shares an interpreter with a run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading

from workingpapers.lab import Store
from workingpapers.lab.worker import end_with_parent, set_when_asked

from . import handlers, jobs


def main() -> int:
    """Do jobs until told to stop."""
    logging.basicConfig(level=logging.INFO if os.environ.get("WORKINGPAPERS_VERBOSE") else logging.WARNING,
                        format="%(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    set_when_asked(stop)
    end_with_parent()
    handlers.load()
    with contextlib.suppress(KeyboardInterrupt):
        jobs.work(Store(), stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
