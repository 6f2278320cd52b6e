"""Refresh the third-party files of the hub from their npm packages, or check the ones that are there.

    python scripts/vendor.py          # fetch with `npm pack`, write the files, their licences and MANIFEST.json
    python scripts/vendor.py --check  # compare the files with MANIFEST.json, fetch nothing

Every file is pinned by version here and by SHA-256 in the manifest. A file whose package is of the same version but
whose bytes have changed is refused.

Three fonts of KaTeX come twice: whole, and as a small one with the signs that most formulas are made of, which `maths.css`
names for those signs alone, so that a browser fetches the whole font only for a rarer one. Making them needs fontTools
and brotli (`pip install fonttools brotli`).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).parents[1] / "src" / "workingpapers" / "hub" / "static" / "vendor"


@dataclass(frozen=True)
class Asset:
    """One npm package and the files that are taken from it: name in the package -> name here."""

    package: str
    version: str
    licence: str
    licence_file: str
    files: dict[str, str]


FONTS = [
    "AMS-Regular", "Caligraphic-Bold", "Caligraphic-Regular", "Fraktur-Bold", "Fraktur-Regular", "Main-Bold", "Main-BoldItalic",
    "Main-Italic", "Main-Regular", "Math-BoldItalic", "Math-Italic", "SansSerif-Bold", "SansSerif-Italic", "SansSerif-Regular",
    "Script-Regular", "Size1-Regular", "Size2-Regular", "Size3-Regular", "Size4-Regular", "Typewriter-Regular",
]
ASSETS = [
    Asset("htmx.org", "2.0.11", "0BSD", "LICENSE", {"dist/htmx.min.js": "htmx.min.js"}),
    Asset("katex", "0.19.1", "MIT", "LICENSE", {
        "dist/katex.min.js": "katex/katex.min.js", "dist/katex.min.css": "katex/katex.min.css",
        **{f"dist/fonts/KaTeX_{font}.woff2": f"katex/fonts/KaTeX_{font}.woff2" for font in FONTS}}),
]

# Signs that formulas in arXiv abstracts are mostly made of, by font. The ranges stand in static/maths.css too.
COMMON = {
    "Main-Regular": "U+20,U+21,U+25-2F,U+30-3B,U+3D-3F,U+41-5B,U+5D,U+5E,U+61-7E,U+A0,U+A8,U+AF,U+B1,U+B7,U+D7,U+2C9,U+2D9,U+393,"
                    "U+394,U+398,U+3A3,U+3A6,U+3A9,U+200B,U+2026,U+2032,U+2113,U+2192,U+2200,U+2202,U+2208,U+2212,U+221E,U+2223,"
                    "U+2225,U+223C,U+2248,U+2260,U+2264,U+2265,U+2286,U+22C5,U+22EF",
    "Math-Italic": "U+41-5A,U+61-7A,U+3B1-3B6,U+3B8,U+3BB-3BE,U+3C0,U+3C1,U+3C3,U+3C4,U+3C6,U+3C8,U+3C9,U+3D5,U+3F5",
    "AMS-Regular": "U+41-5A",
}


def fetch(asset: Asset, folder: Path) -> dict[str, bytes]:
    """The wanted files of a package, licence included, by their name in the package."""
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{asset.package}@{asset.version}"]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    with tarfile.open(folder / name) as archive:
        found = {}
        for wanted in [*asset.files, asset.licence_file]:
            member = archive.extractfile(f"package/{wanted}")
            if member is None:
                raise SystemExit(f"{asset.package} {asset.version} holds no {wanted}")
            found[wanted] = member.read()
    return found


def common(font: bytes, ranges: str) -> bytes:
    """The font with these signs alone, without hints for coarse screens."""
    try:
        from fontTools import subset
        from fontTools.ttLib import TTFont
    except ImportError as error:
        raise SystemExit("small fonts are made with fontTools: pip install fonttools brotli") from error
    options = subset.Options(flavor="woff2", hinting=False)
    loaded = TTFont(io.BytesIO(font))
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=subset.parse_unicodes(ranges.replace("U+", "")))
    subsetter.subset(loaded)
    out = io.BytesIO()
    loaded.flavor = "woff2"
    loaded.save(out)
    return out.getvalue()


def small_fonts() -> list[dict[str, Any]]:
    """Make the small fonts from the whole ones that are there; their entries."""
    entries = []
    for font, ranges in COMMON.items():
        whole, name = VENDOR / f"katex/fonts/KaTeX_{font}.woff2", f"katex/common/KaTeX_{font}.woff2"
        (VENDOR / name).parent.mkdir(parents=True, exist_ok=True)
        (VENDOR / name).write_bytes(common(whole.read_bytes(), ranges))
        entries.append({"file": name, "package": "katex", "version": next(a.version for a in ASSETS if a.package == "katex"),
                        "from": f"dist/fonts/KaTeX_{font}.woff2", "signs": ranges,
                        "sha256": hashlib.sha256((VENDOR / name).read_bytes()).hexdigest(), "licence": "MIT",
                        "licence_file": "katex.LICENSE.txt"})
    return entries


def refresh() -> None:
    """Write every file and the manifest."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    before = {e["file"]: e for e in read_manifest()}
    entries = []
    with tempfile.TemporaryDirectory() as temporary:
        for asset in ASSETS:
            found = fetch(asset, Path(temporary))
            licence_name = f"{asset.package}.LICENSE.txt"
            (VENDOR / licence_name).write_bytes(found[asset.licence_file])
            for wanted, name in asset.files.items():
                digest = hashlib.sha256(found[wanted]).hexdigest()
                known = before.get(name)
                if known and known["version"] == asset.version and known["sha256"] != digest:
                    raise SystemExit(f"{name}: {asset.package} {asset.version} gave other bytes than before: refused")
                (VENDOR / name).parent.mkdir(parents=True, exist_ok=True)
                (VENDOR / name).write_bytes(found[wanted])
                entries.append({
                    "file": name, "package": asset.package, "version": asset.version, "from": wanted, "sha256": digest,
                    "licence": asset.licence, "licence_file": licence_name,
                })
    entries += small_fonts()
    (VENDOR / "MANIFEST.json").write_text(json.dumps({"assets": entries}, indent=2) + "\n", encoding="utf-8")
    for entry in entries:
        print(f"{entry['file']}  {entry['package']} {entry['version']}  {entry['sha256']}  {entry['licence']}")


def read_manifest() -> list[dict[str, Any]]:
    """The entries of MANIFEST.json; none when there is no such file yet."""
    path = VENDOR / "MANIFEST.json"
    return list(json.loads(path.read_text(encoding="utf-8"))["assets"]) if path.is_file() else []


def check() -> list[str]:
    """What is wrong with the files that are there, a line each."""
    entries = read_manifest()
    wrong = []
    for entry in entries:
        path = VENDOR / entry["file"]
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
            wrong.append(f"{entry['file']}: missing, or other bytes than the manifest says")
        if not (VENDOR / entry["licence_file"]).is_file():
            wrong.append(f"{entry['licence_file']}: missing")
    known = {e["file"] for e in entries} | {e["licence_file"] for e in entries} | {"MANIFEST.json"}
    there = sorted(path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file())
    return wrong + [f"{name}: not in the manifest" for name in there if name not in known]


def main() -> None:
    """Refresh, or with `--check` compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        refresh()
    elif wrong := check():
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
