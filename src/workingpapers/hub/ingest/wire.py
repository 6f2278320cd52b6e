"""Polite requests to the few hosts we read from: one at a time, never faster than a host allows, and we say who we are."""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from ... import __version__
from .problems import SourceError

ARXIV_API = "https://export.arxiv.org/api/query"
ARXIV_OAI = "https://oaipmh.arxiv.org/oai"
HF_API = "https://huggingface.co/api"

PAUSES: Mapping[str, float] = {"export.arxiv.org": 3.0, "oaipmh.arxiv.org": 3.0, "huggingface.co": 1.0}
"""The hosts we read from and the least seconds between two requests to each. No other host is ever asked."""

MAX_ANSWER = 64 << 20
USER_AGENT = f"WorkingPapers/{__version__} (self-hosted papers hub; one connection, honours Retry-After)"


class Refused(SourceError):
    """The host answers with an error that asking again will not mend."""


class ComeBackLater(SourceError):
    """The host asks for a longer pause than a worker should sleep: schedule the job again after `seconds`."""

    def __init__(self, host: str, seconds: float) -> None:
        super().__init__(f"{host} asks to be left alone for {seconds:,.0f} s")
        self.host, self.seconds = host, seconds


@dataclass(frozen=True)
class Answer:
    """What a host answered. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one GET and reads at most `limit` bytes. OSError for what a second try may mend."""

    def __call__(self, url: str, headers: Mapping[str, str], timeout: float, limit: int) -> Answer: ...


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


def urllib_transport(url: str, headers: Mapping[str, str], timeout: float, limit: int) -> Answer:
    """The transport of the standard library: no redirects, so that no answer can lead off the list of hosts."""
    opener = urllib.request.build_opener(_NoRedirect)
    request = urllib.request.Request(url, headers=dict(headers))
    try:
        answer = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        answer = error
    except http.client.HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    with contextlib.closing(answer):
        try:
            body = answer.read(limit + 1)
        except http.client.HTTPException as error:
            raise OSError(f"{type(error).__name__}: {error}") from error
        return Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, body)


@dataclass
class Fetcher:
    """Asks politely. One request at a time a host, `pauses` apart, also between threads; 429 and 5xx are asked again.

    Args:
        pauses: hosts that may be asked, each with its least seconds between requests.
        patience: the longest single sleep; a host that asks for more raises ComeBackLater.
        tries: requests for one address before giving up.
        contact: an address the host can write to, put into the user agent.
    """

    transport: Transport = urllib_transport
    pauses: Mapping[str, float] = field(default_factory=lambda: dict(PAUSES))
    contact: str = ""
    patience: float = 120.0
    tries: int = 5
    timeout: float = 60.0
    schemes: tuple[str, ...] = ("https",)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    _next: dict[str, float] = field(default_factory=dict, repr=False)
    _locks: dict[str, threading.Lock] = field(default_factory=dict, repr=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def get(self, url: str) -> bytes:
        """The body of a good answer.

        Raises:
            SourceError: an address off the list, or no good answer within `tries`.
            Refused: 4xx other than 408, 425 and 429, or a redirect.
            ComeBackLater: Retry-After beyond `patience`.
        """
        host = self._checked(url)
        trouble = ""
        for attempt in range(self.tries):
            with self._turn(host):
                try:
                    answer = self.transport(url, self._headers(), self.timeout, MAX_ANSWER)
                except OSError as error:
                    answer, trouble = None, str(error)
            if answer is not None:
                if answer.status == 200:
                    if len(answer.body) > MAX_ANSWER:
                        raise Refused(f"{host} answers with more than {MAX_ANSWER:,} bytes")
                    return answer.body
                trouble = f"HTTP {answer.status}"
                if answer.status not in (408, 425, 429) and answer.status < 500:
                    raise Refused(f"{host} answers {trouble} to {url[:200]}")
            pause = self._pause(answer, attempt)
            if pause > self.patience:
                raise ComeBackLater(host, pause)
            if attempt + 1 < self.tries:
                self.sleep(pause)
        raise SourceError(f"{host} gave no good answer in {self.tries} tries ({trouble})")

    def _checked(self, url: str) -> str:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise SourceError(f"no address: {url[:100]!r}") from None
        name = f"{host}:{port}" if port else host
        if parts.scheme not in self.schemes or name not in self.pauses or "@" in parts.netloc:
            raise SourceError(f"{url[:100]!r} is not on the list of hosts: {', '.join(sorted(self.pauses))}")
        return name

    def _headers(self) -> dict[str, str]:
        agent = f"{USER_AGENT[:-1]}; {self.contact})" if self.contact else USER_AGENT
        return {"User-Agent": agent.replace("\r", " ").replace("\n", " "), "Accept-Encoding": "identity"}

    @contextlib.contextmanager
    def _turn(self, host: str) -> Iterator[None]:
        """Wait for this host's turn and hold it; the pause counts from the end of the last request."""
        with self._guard:
            lock = self._locks.setdefault(host, threading.Lock())
        with lock:
            wait = self._next.get(host, 0.0) - self.clock()
            if wait > 0:
                self.sleep(wait)
            try:
                yield
            finally:
                self._next[host] = self.clock() + self.pauses[host]

    def _pause(self, answer: Answer | None, attempt: int) -> float:
        """Seconds that the host asks for, else 5, 10, 20, ..."""
        asked = answer.headers.get("retry-after", "").strip() if answer else ""
        if asked.isascii() and asked.isdigit():
            return float(asked[:9])
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            when = email.utils.parsedate_to_datetime(asked) if asked else None
            if when is not None:
                when = when if when.tzinfo else when.replace(tzinfo=dt.UTC)
                return max(0.0, (when - self.now()).total_seconds())
        return 5.0 * float(2**attempt)
