"""Third-party files are the ones that the manifest names, with their licences."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
VENDOR = ROOT / "src" / "workingpapers" / "hub" / "static" / "vendor"


def check():
    return subprocess.run([sys.executable, ROOT / "scripts" / "vendor.py", "--check"], capture_output=True, text=True)


def test_files_are_as_the_manifest_says():
    assert check().returncode == 0, check().stderr
    for asset in json.loads((VENDOR / "MANIFEST.json").read_text())["assets"]:
        assert asset["version"]
        assert asset["licence"]
        assert len(asset["sha256"]) == 64
        assert (VENDOR / asset["licence_file"]).read_text(encoding="utf-8").strip()


def test_a_changed_file_is_found(tmp_path):
    import runpy
    import shutil

    script = runpy.run_path(str(ROOT / "scripts" / "vendor.py"))
    copy = tmp_path / "vendor"
    shutil.copytree(VENDOR, copy)
    script["check"].__globals__["VENDOR"] = copy
    assert script["check"]() == []
    (copy / "htmx.min.js").write_text("changed")
    (copy / "stray.js").write_text("")
    assert script["check"]() == ["htmx.min.js: missing, or other bytes than the manifest says", "stray.js: not in the manifest"]
