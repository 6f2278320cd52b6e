"""The archive reader: what is fetched, what is refused. Registries are reached by their own clients only in the last tests."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import NoReturn

import pytest

from workingpapers.workloads import archives
from workingpapers.workloads.archives import Archive, Unavailable, WrongContents, cache_folder, fetch_url, sha256_of


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKINGPAPERS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tarball(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def plain(name: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), data


def placed(data: bytes, registry: str = "npm") -> Archive:
    """An archive that lies in the cache as if fetched."""
    archive = Archive(registry, "sample", "1.0", hashlib.sha256(data).hexdigest())  # type: ignore[arg-type]
    archive.path.parent.mkdir(parents=True, exist_ok=True)
    archive.path.write_bytes(data)
    return archive


def test_reads_members_of_a_tarball_and_of_a_wheel() -> None:
    tar = placed(tarball(plain("package/a.json", b"[1]"), plain("package/deep/b.bin", b"\0\1")))
    assert tar.members() == ["package/a.json", "package/deep/b.bin"]
    assert tar.read("package/deep/b.bin") == b"\0\1"
    assert tar.read_many(lambda name: name.endswith(".json")) == {"package/a.json": b"[1]"}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as wheel:
        wheel.writestr("pkg/data.txt", "hello")
    assert placed(out.getvalue(), "pypi").read("pkg/data.txt") == b"hello"


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "package/../../x", "a\\..\\b"])
def test_names_that_leave_the_archive_are_refused(name: str) -> None:
    archive = placed(tarball(plain(name, b"x")))
    with pytest.raises(WrongContents, match="leaves the archive"):
        archive.members()
    with pytest.raises(WrongContents, match="leaves the archive"):
        archive.read(name)


def test_links_are_not_followed() -> None:
    link = tarfile.TarInfo("package/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device = tarfile.TarInfo("package/device")
    device.type = tarfile.CHRTYPE
    archive = placed(tarball((link, b""), (device, b""), plain("package/file", b"ok")))
    assert archive.members() == ["package/file"]
    for name in ("package/link", "package/device"):
        with pytest.raises(WrongContents, match="no regular file"):
            archive.read(name)


def test_oversized_members_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_MEMBER", 10)
    with pytest.raises(WrongContents, match="above the limit"):
        placed(tarball(plain("big", b"x" * 11))).read("big")


def test_a_damaged_archive_says_so() -> None:
    whole = tarball(plain("package/a", bytes(range(256)) * 400))
    archive = placed(whole[: len(whole) // 2])
    with pytest.raises(WrongContents, match="cannot be read"):
        archive.read("package/a")
    with pytest.raises(WrongContents, match="cannot be read"):
        placed(b"not a zip", "pypi").members()


def test_unfetched_archive_is_never_fetched_by_reading() -> None:
    with pytest.raises(Unavailable, match="fetch it first"):
        Archive("npm", "sample", "1.0", "0" * 64).read("package/a")


@pytest.mark.parametrize(
    ("name", "version"), [("--index-url", "1"), ("a/../b", "1"), ("ok", "1; rm"), ("ok", "-1"), ("", "1"), ("a b", "1"), ("..", "1")]
)
def test_names_that_could_be_options_or_paths_are_refused(name: str, version: str) -> None:
    with pytest.raises(ValueError, match="is not a package"):
        Archive("npm", name, version, "0" * 64)


def fake_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a small program named npm first on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_fetch_checks_the_hash_keeps_nothing_wrong_and_fetches_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = tarball(plain("package/a", b"1"))
    (tmp_path / "good.tgz").write_bytes(good)
    fake_client(tmp_path, monkeypatch, f'echo "$@" >> {tmp_path}/calls; cp {tmp_path}/good.tgz sample-1.0.tgz')
    archive = Archive("npm", "sample", "1.0", hashlib.sha256(good).hexdigest())
    seen: list[tuple[float, str]] = []
    path = archive.fetch(lambda share, words: seen.append((share, words)))
    assert sha256_of(path) == archive.sha256
    assert seen[0][0] == 0.0
    assert seen[-1][0] == 1.0
    archive.fetch()
    assert (tmp_path / "calls").read_text().splitlines() == ["pack --silent --ignore-scripts sample@1.0"]
    path.write_bytes(b"spoilt in the cache")
    assert archive.fetch().read_bytes() == good
    wrong = Archive("npm", "sample", "1.0", "1" * 64)
    with pytest.raises(WrongContents, match="expected 1111"):
        wrong.fetch()
    assert not wrong.path.exists()
    assert not list(cache_folder().glob("fetch-*"))


def test_a_client_that_fails_or_is_absent_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_client(tmp_path, monkeypatch, "echo 'no such version' >&2; exit 1")
    archive = Archive("npm", "sample", "1.0", "0" * 64)
    with pytest.raises(Unavailable, match="no such version"):
        archive.fetch()
    monkeypatch.setenv("WORKINGPAPERS_OFFLINE", "1")
    with pytest.raises(Unavailable, match="WORKINGPAPERS_OFFLINE"):
        archive.fetch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="npm is not installed"):
        archive.fetch()


def test_fetch_url_refuses_what_is_unsafe_and_takes_what_is_cached() -> None:
    with pytest.raises(ValueError, match="https"):
        fetch_url("http://example.org/a", "a")
    with pytest.raises(ValueError, match="plain file name"):
        fetch_url("https://example.org/a", "../a")
    kept = cache_folder() / "downloads" / "a"
    kept.parent.mkdir()
    kept.write_bytes(gzip.compress(b"x", mtime=0))
    assert fetch_url("https://example.invalid/a", "a", sha256=sha256_of(kept)) == kept
    with pytest.raises(Unavailable, match="cannot be downloaded"):
        fetch_url("https://example.invalid/b", "b", timeout=2)
    assert not list(kept.parent.glob("*.part"))


def out_of_reach(error: Unavailable) -> NoReturn:
    if os.environ.get("WORKINGPAPERS_REQUIRE_ALL") == "1":
        pytest.fail(f"required here, but {error}")
    pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.needs("npm")
def test_a_real_npm_package() -> None:
    archive = Archive("npm", "is-number", "7.0.0", "7b75c1057198cf97696909a9bee176c9c5e9bcb5b03bf3ecef2f484defadd51e")
    try:
        archive.fetch()
    except Unavailable as error:
        out_of_reach(error)
    assert b'"name": "is-number"' in archive.read("package/package.json")


@pytest.mark.slow
def test_a_real_wheel() -> None:
    archive = Archive("pypi", "six", "1.17.0", "4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274")
    try:
        archive.fetch()
    except Unavailable as error:
        out_of_reach(error)
    assert b"Python 2 and 3" in archive.read("six.py")
