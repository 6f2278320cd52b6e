"""A fresh installation on a machine without any network: `workingpapers serve` gives a site with every bundled paper and its claims."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workingpapers.papers import load_catalogue

# Stands in every process of the site, workers included: a connection, or a name asked for, beyond this machine is an error and
# leaves its trace. The first line of defence is a network namespace with nothing in it, where the system grants one.
GUARD = '''
import os, socket
_LOCAL = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "")
_connect, _ask = socket.socket.connect, socket.getaddrinfo
def _refuse(host):
    with open(os.environ["TRACE"], "a") as out:
        out.write(f"{host}\\n")
    raise OSError(f"no network here: {host}")
def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and str(address[0]) not in _LOCAL:
        _refuse(address[0])
    return _connect(self, address)
def getaddrinfo(host, *args, **more):
    name = host.decode() if isinstance(host, bytes) else host
    if name not in (*_LOCAL, None, socket.gethostname()):
        _refuse(name)
    return _ask(host, *args, **more)
socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
'''
# Runs inside the namespace: raises the loopback, serves, asks, and tells what it was told.
INSIDE = '''
import fcntl, json, os, re, signal, socket, struct, subprocess, sys, time, urllib.parse, urllib.request
if os.environ.get("NAMESPACE"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sH14s", b"lo", 0x41, b""))  # SIOCSIFFLAGS: up and running
try:
    socket.create_connection(("192.0.2.1", 80), 2)
    raise SystemExit("there is a network here")
except OSError:
    os.remove(os.environ["TRACE"])  # which shows that the guard stands
began = time.monotonic()
command = [sys.executable, "-m", "workingpapers.cli", "serve", "--port", "0", "--no-warmup"]
process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
address = re.search(r"http://[0-9.:]+", process.stdout.readline()).group()
def get(path):
    with urllib.request.urlopen(address + path, timeout=120) as answer:
        return answer.read().decode()
while True:
    try:
        front = get("/")
        break
    except OSError:
        time.sleep(0.02)
took = time.monotonic() - began
papers, after = [], ""
while after is not None:
    page = json.loads(get(f"/api/v1/papers?limit=20&after={urllib.parse.quote(after)}"))
    papers, after = papers + page["items"], page["next"]
pages = [get(p["url"]).count("class=\\"claim\\"") for p in (papers[0], papers[-1])]
search = "class=\\"paper" in get("/search?q=prune+a+network")
process.send_signal(signal.SIGTERM)
print(json.dumps({"seconds": took, "front": "<article" in front, "papers": papers, "pages": pages, "search": search,
                  "code": process.wait(60)}))
'''


def has_namespaces() -> bool:
    """Whether this system grants a network namespace to whoever asks."""
    try:
        return subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_fresh_site_without_network(tmp_path: Path) -> None:
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    inside = [sys.executable, "-c", INSIDE]
    apart = has_namespaces()
    paths = os.pathsep.join([str(tmp_path / "guard"), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", "WORKINGPAPERS_EMBEDDER": "off",
                   "WORKINGPAPERS_HOME": str(tmp_path / "home"), "WORKINGPAPERS_CACHE": str(tmp_path / "cache"),
                   "WORKINGPAPERS_DATABASE": "",
                   "TRACE": str(tmp_path / "trace"), **({"NAMESPACE": "1"} if apart else {})}
    command = ["unshare", "-rn", *inside] if apart else inside
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    trace = (tmp_path / "trace").read_text() if (tmp_path / "trace").exists() else ""
    assert trace == "", f"asked for {trace}"
    bundled = {p.slug for p in load_catalogue() if p.module.startswith("workingpapers.papers.")}
    assert len(bundled) >= 32
    assert {p["slug"] for p in told["papers"]} >= bundled
    assert all(sum(p["verdicts"].values()) >= 1 for p in told["papers"]), "each with a claim"
    assert told["pages"] == [sum(told["papers"][i]["verdicts"].values()) for i in (0, -1)], "which are on its page"
    assert told["front"]
    assert told["search"]
    assert told["code"] in (0, 130, -2, -15)
