"""What stands before every request: Host allow-list, body limit, same-origin check, security headers, the page for faults."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import Problem

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
MAX_BODY = 1 << 20
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
          "form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
# A picture opened on its own: no script, nothing fetched; plots carry their styles inside.
PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class TooLarge(HTTPException):
    """The body went over the limit while it was read. An HTTP exception, since those pass through the body parser unchanged."""

    def __init__(self) -> None:
        super().__init__(413)


class Guard:
    """ASGI middleware.

    Args:
        app: what it guards.
        hosts: names under which the site may be reached, without ports. `*` lets every name in.
        respond: makes the answer for a problem.
        crashed: makes the answer for an exception that nobody caught.
        max_body: bytes that a request may carry.
        proxies: addresses or networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    """

    def __init__(self, app: ASGIApp, *, hosts: Iterable[str], respond: Callable[[Request, Problem], Response],
                 crashed: Callable[[Request, Exception], Response], max_body: int = MAX_BODY,
                 proxies: Iterable[str] = ()) -> None:
        self.app, self.respond, self.crashed, self.max_body = app, respond, crashed, max_body
        self.hosts = frozenset(h.lower() for h in hosts)
        self.proxies = tuple(ipaddress.ip_network(p, strict=False) for p in proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = behind_proxies(scope, self.proxies)
        request, started = Request(scope), False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        if (problem := self._problem(request)) is not None:
            await self.respond(request, problem)(scope, receive, sending)
            return
        try:
            await self.app(scope, self._counted(receive), sending)
        except Exception as error:
            if started:
                raise
            await self.crashed(request, error)(scope, receive, sending)

    def _problem(self, request: Request) -> Problem | None:
        headers = request.headers
        if not is_allowed_host(headers.get("host", ""), self.hosts):
            return Problem(400, "Unknown host", "This site is not served under that name. Start it with the name allowed: "
                           "set WORKINGPAPERS_HOSTS to a list of names parted by commas.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.max_body:
            return self._too_large()
        if request.method not in SAFE_METHODS and not is_exempt(request) and not is_same_origin(headers):
            return Problem(403, "Asked from another site", "A request that changes something must come from a page of this site.")
        return None

    def _too_large(self) -> Problem:
        return Problem(413, "Too large", f"A request may carry at most {self.max_body >> 10} kB.")

    def _counted(self, receive: Receive) -> Receive:
        read = 0

        async def counting() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.max_body:
                raise TooLarge
            return message

        return counting


def is_one_click(request: Request) -> bool:
    """Whether a mail program ends a digest (RFC 8058): it comes from anywhere, and the secret in the address is all it needs."""
    return request.method == "POST" and request.url.path.startswith("/u/")


def is_exempt(request: Request) -> bool:
    """Whether another site may send this: nothing that a browser adds by itself lends it rights.

    A Bearer token is added by a program alone, and no cookie counts beside it. The address of a one-click unsubscribe holds
    its own secret, and mail providers send it from anywhere.
    """
    return request.headers.get("authorization", "").lower().startswith("bearer ") or is_one_click(request)


Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def behind_proxies(scope: Scope, proxies: Networks) -> Scope:
    """The request as the outermost of our own proxies saw it; as it is when none of them sent it.

    Addresses in `X-Forwarded-For` are read from the right, as long as trusted proxies wrote them: what stands further left,
    anybody may have written.
    """
    client = scope.get("client")
    if not proxies or client is None or not _is_among(client[0], proxies):
        return scope
    headers, address = Headers(scope=scope), client[0]
    for hop in reversed([h.strip() for h in ",".join(headers.getlist("x-forwarded-for")).split(",")]):
        if _address(hop) is None:
            break
        address = hop
        if not _is_among(hop, proxies):
            break
    scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip()
    return {**scope, "client": (address, 0), "scheme": scheme if scheme in ("http", "https") else scope["scheme"]}


def _is_among(text: str, networks: Networks) -> bool:
    address = _address(text)
    return address is not None and any(address in network for network in networks)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def is_allowed_host(host: str, allowed: frozenset[str]) -> bool:
    """Whether the Host header names this site.

    >>> hosts = frozenset(LOCAL_HOSTS)
    >>> [is_allowed_host(h, hosts) for h in ("localhost:8000", "[::1]:80", "evil.example", "", "localhost.evil.example")]
    [True, True, False, False, False]
    """
    name = host.lower()
    name = name.partition("]")[0] + "]" if name.startswith("[") else name.partition(":")[0]
    return "*" in allowed or name in allowed


def is_same_origin(headers: Mapping[str, str] | Headers) -> bool:
    """Whether nothing in the headers says that another site asked.

    A browser tells where an unsafe request comes from in `Sec-Fetch-Site`, `Origin`, or both; programs send neither.
    What a browser may send to another site without either is only a form, and every form needs its token besides.

    >>> is_same_origin({"host": "localhost:1", "origin": "http://localhost:1", "sec-fetch-site": "same-origin"})
    True
    >>> is_same_origin({"host": "localhost:1", "origin": "http://localhost:2"}), is_same_origin({"host": "a", "origin": "null"})
    (False, False)
    >>> is_same_origin({"host": "a", "sec-fetch-site": "cross-site"}), is_same_origin({"host": "a"})
    (False, True)
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    return origin is None or (origin != "null" and urlsplit(origin).netloc.lower() == (headers.get("host") or "").lower())
