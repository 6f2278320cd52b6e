"""Whose lease it is: a process is named by host, pid and start time."""

from __future__ import annotations

import os
import socket as sockets

import psutil


def owner() -> str:
    """Name of this process for leases: host, pid and start time, so that a reused pid is told apart."""
    return f"{sockets.gethostname()}:{os.getpid()}:{int(psutil.Process().create_time())}"


def is_alive(lease_owner: str) -> bool | None:
    """Whether the process that a lease names still runs; None when it is on another host."""
    host, pid, started = lease_owner.rsplit(":", 2)
    if host != sockets.gethostname():
        return None
    try:
        process = psutil.Process(int(pid))
        # A killed process stays as a zombie until its parent asks for it, which some never do.
        return process.status() != psutil.STATUS_ZOMBIE and abs(int(process.create_time()) - int(started)) <= 1
    except psutil.NoSuchProcess:
        return False
