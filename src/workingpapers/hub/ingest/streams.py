"""Reading files of any size and any malice in flat memory: gzip, lines, JSON arrays, XML records."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .problems import Problems, SourceError

if TYPE_CHECKING:
    from lxml import etree  # type: ignore[import-untyped, unused-ignore]

CHUNK = 1 << 16
MAX_RECORD = 4 << 20  # bytes of one record; the largest real one, 3,303 authors, has 0.1 MB
MAX_DEPTH = 64
MAX_PARTS = 500_000  # objects and lists within one object: 32 MB of empty ones would need a GB
MAX_RATIO = 150  # real metadata packs 3 to 15 times; deflate can reach 1,032
FREE_BYTES = 16 << 20  # unpacked bytes below which the ratio does not matter


class _Guarded(io.RawIOBase):
    """Unpacked bytes of a file, refused when they exceed `max_bytes` or unpack like a bomb."""

    def __init__(self, raw: BinaryIO, name: str, max_bytes: int | None) -> None:
        head = raw.read(2)
        raw.seek(0)
        self._raw, self._name, self._max = raw, name, max_bytes
        self._packed = head == b"\x1f\x8b"
        self._body: Any = gzip.GzipFile(fileobj=raw) if self._packed else raw
        self._read = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return not self._packed

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def readinto(self, target: Any) -> int:
        try:
            data = self._body.read(len(target))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise SourceError(f"{self._name}: broken gzip after {self._read:,} unpacked bytes ({error}); fetch it again") from error
        self._read += len(data)
        if self._max is not None and self._read > self._max:
            raise SourceError(f"{self._name}: more than the {self._max:,} bytes allowed here")
        if self._packed and self._read > FREE_BYTES and self._read > MAX_RATIO * self._raw.tell():
            raise SourceError(f"{self._name}: unpacks to more than {MAX_RATIO} times its size; unpack it yourself if you trust it")
        target[: len(data)] = data
        return len(data)


@contextlib.contextmanager
def open_source(path: Path | str, max_bytes: int | None = None) -> Iterator[BinaryIO]:
    """The unpacked bytes of a plain or gzip file, told apart by content rather than by name.

    Raises:
        SourceError: no such file, a broken or bomb-like gzip, or more than `max_bytes` unpacked.
    """
    try:
        raw = Path(path).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error
    with raw:
        yield io.BufferedReader(_Guarded(raw, Path(path).name, max_bytes), CHUNK * 4)


def skip_to(stream: BinaryIO, offset: int) -> None:
    """Move from the start to `offset`, which must be the start of a line.

    Raises:
        SourceError: the stream is shorter, or the offset lies within a line.
    """
    if offset < 0:
        raise SourceError(f"offset {offset} is negative; give a `resume_at` of an earlier record")
    left, last = offset, b"\n"
    if offset and stream.seekable():
        stream.seek(offset - 1)
        left = 1
    while left:
        data = stream.read(min(left, CHUNK * 16))
        if not data:
            raise SourceError(f"offset {offset:,} lies behind the end of the file; is it the same file?")
        left -= len(data)
        last = data[-1:]
    if last != b"\n" and stream.read(1):
        raise SourceError(f"offset {offset:,} lies within a line; give a `resume_at` of an earlier record of this very file")


def iter_lines(stream: BinaryIO, problems: Problems, offset: int = 0, max_line: int = MAX_RECORD) -> Iterator[tuple[int, int, bytes]]:
    """`(start, end, line)` of each line with content; longer lines than `max_line` are passed over and noted."""
    skip_to(stream, offset)
    at = offset
    while line := stream.readline(max_line + 1):
        start, at = at, at + len(line)
        if len(line) > max_line and not line.endswith(b"\n"):
            while (more := stream.readline(CHUNK)) and not more.endswith(b"\n"):
                at += len(more)
            at += len(more)
            problems.add(f"byte {start:,}", f"a line of {at - start:,} bytes; at most {max_line:,} are read")
            continue
        if line.strip():
            yield start, at, line


def parse_json(raw: bytes) -> tuple[Any, list[str]]:
    """The value of a JSON text and warnings.

    Raises:
        ValueError: no JSON, too deep, or numbers beyond reason.
    """
    warnings: list[str] = []
    try:
        text = raw.decode("utf-8-sig" if raw.startswith(codecs.BOM_UTF8) else "utf-8")
    except UnicodeDecodeError:
        text = raw.decode("utf-8", errors="replace")
        warnings.append("invalid UTF-8 was replaced")
    try:
        return json.loads(text), warnings
    except RecursionError:
        raise ValueError("nested too deeply") from None


# One token each: a whole string, a bracket, or the quote that opens a string whose end is not in the buffer yet.
# Possessive, so that a hostile string cannot make it backtrack.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}"]', re.DOTALL)


class _Window:
    """A sliding window over a stream: brackets outside strings, by absolute offset, and the bytes from `keep` on.

    When more than `limit` bytes would have to be kept, they are given up and `cut` answers None for them.
    """

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream, self._limit = stream, limit
        self._buffer, self._origin = b"", 0
        self.keep = 0

    def cut(self, start: int, end: int) -> bytes | None:
        return None if start < self._origin else self._buffer[start - self._origin : end - self._origin]

    def brackets(self) -> Iterator[tuple[bytes, int, int]]:
        at = 0
        while True:
            origin = self._origin
            for match in _TOKEN.finditer(self._buffer, at - origin):
                token = match.group()
                if token == b'"':
                    at = origin + match.start()
                    break
                if len(token) == 1:
                    at = origin + match.end()
                    yield token, at - 1, at
            else:
                at = self._origin + len(self._buffer)
            keep = self.keep if self.keep >= self._origin and at - self.keep <= self._limit else at
            self._buffer, self._origin = self._buffer[keep - self._origin :], keep
            if len(self._buffer) > 2 * self._limit:
                raise SourceError(f"a string of more than {self._limit:,} bytes near byte {at:,}")
            chunk = self._stream.read(max(CHUNK, min(len(self._buffer), self._limit)))
            if not chunk:
                return
            self._buffer += chunk


def iter_json_items(stream: BinaryIO, problems: Problems, max_item: int = MAX_RECORD) -> Iterator[tuple[str, bytes]]:
    """`(where, bytes)` of each object of a JSON array, or of the one object the file holds.

    Objects are cut out by their brackets, so one that is no valid JSON harms no other. Too long or too deep ones are
    passed over and noted. Memory: at most about three times `max_item`.

    Raises:
        SourceError: the file starts neither with an array nor an object, or ends in the middle.
    """
    window = _Window(stream, max_item)
    base: int | None = None  # depth at which items begin: 1 within an array, 0 for a single object
    depth = number = parts = start = gap = 0
    bad = ""
    for mark, begin, end in window.brackets():
        if base is None:
            head = window.cut(0, begin)
            if mark not in b"[{" or head is None or head.removeprefix(codecs.BOM_UTF8).strip():
                raise SourceError("a JSON array or object was expected")
            base = gap = 0
            if mark == b"[":
                base, depth, window.keep, gap = 1, 1, end, end
                continue
            gap = begin
        if mark in b"[{":
            if depth == base:
                number, parts, start, bad = number + 1, 0, begin, ""
                _check_between(window.cut(gap, begin), f"before item {number}", problems)
                window.keep = begin
            depth, parts = depth + 1, parts + 1
            if depth - base > MAX_DEPTH:
                bad = "nested too deeply"
            elif parts > MAX_PARTS:
                bad = f"more than {MAX_PARTS:,} objects and lists within it"
            continue
        depth -= 1
        if depth < base:
            _check_between(window.cut(gap, begin), f"after item {number}", problems)
            return
        if depth == base:
            item = window.cut(start, end)
            if bad or item is None or len(item) > max_item:
                problems.add(f"item {number}", bad or f"longer than {max_item:,} bytes")
            else:
                yield f"item {number}", item
            window.keep = gap = end
            if base == 0:
                return
    if base is None:
        raise SourceError("a JSON array or object was expected, but there is none")
    raise SourceError(f"the file ends in the middle, after {number:,} items; fetch it again")


def _check_between(text: bytes | None, where: str, problems: Problems) -> None:
    if text is None or text.strip(b", \t\r\n"):
        problems.add(where, "something that is no object")


_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_DECIMAL = r"0*(?:[0-8]|1[124-9]|2[0-9]|3[01])"
_HEX = r"[xX]0*(?:[0-8bcBCefEF]|1[0-9a-fA-F]|[fF]{3}[eEfF]|[dD][89a-fA-F][0-9a-fA-F]{2})"
_ILLEGAL_REFERENCE = re.compile(rf"&#(?:{_DECIMAL}|{_HEX});")
_PROLOG_NOISE = re.compile(r"<!--.*?-->|<\?.*?\?>", re.DOTALL)
_ROOT = re.compile(r"<[A-Za-z_]")


def iter_xml(stream: BinaryIO, tags: tuple[str, ...], max_record: int = MAX_RECORD) -> Iterator[etree._Element]:
    """Each finished element whose `{namespace}name` is among `tags`; it is emptied after use, so memory stays flat.

    Entities are never expanded and a document type is refused; characters that XML forbids are dropped.

    Raises:
        SourceError: malformed, too deep, a document type, or a record beyond `max_record` bytes.
    """
    from lxml import etree  # type: ignore[import-untyped, unused-ignore]

    parser = etree.XMLPullParser(events=("end",), tag=tags, resolve_entities=False, no_network=True, load_dtd=False,
                                 huge_tree=False, remove_comments=True, remove_pis=True, encoding="utf-8")  # fmt: skip
    since = 0
    try:
        for text in _legal_text(stream):
            data = text.encode()
            since += len(data)
            parser.feed(data)
            for _, element in parser.read_events():
                since = 0
                yield element
                element.clear()
                while (parent := element.getparent()) is not None:  # all that stands before it, on every level
                    while element.getprevious() is not None:
                        del parent[0]
                    element = parent
            if since > max_record:
                raise SourceError(f"an XML record of more than {max_record:,} bytes")
        parser.close()
    except etree.XMLSyntaxError as error:
        raise SourceError(f"this is no well-formed XML: {error.msg}") from error


def _legal_text(stream: BinaryIO) -> Iterator[str]:
    """The document in pieces, without illegal characters and with its prologue checked."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
    held, rooted = "", False
    while True:
        chunk = stream.read(CHUNK)
        text = held + _ILLEGAL.sub("", decoder.decode(chunk, final=not chunk))
        if chunk and not rooted and len(text) < CHUNK and not _ROOT.search(_PROLOG_NOISE.sub("", text)):
            held = text
            continue
        if not rooted:
            prolog = _PROLOG_NOISE.sub("", text)
            root = _ROOT.search(prolog)
            if root is None:
                raise SourceError("no XML element near the beginning: this is no XML document")
            if "<!" in prolog[: root.start()]:
                raise SourceError("the XML declares a document type, which no source here does: refused for safety")
            text, rooted = re.sub(r"^\s*<\?xml.*?\?>", "", text, count=1, flags=re.DOTALL).lstrip(), True
        cut = text.rfind("&", max(0, len(text) - 16))  # a character reference may lie across two pieces
        held, text = (text[cut:], text[:cut]) if chunk and cut >= 0 else ("", text)
        if text:
            yield _ILLEGAL_REFERENCE.sub("", text)
        if not chunk:
            return
