"""Live progress of a run as server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from workingpapers.lab import read

from .findings import UNDER_WAY
from .news import POLL
from .site import Site

KEEPALIVE = 15.0
RETRY_MS = 2000
GRACE = 2
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def message(kind: str, payload: Any, number: int | None = None) -> str:
    """One event on the wire.

    >>> message("done", {"state": "done"}, 7)
    'id: 7\\nevent: done\\ndata: {"state": "done"}\\n\\n'
    """
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {kind}\ndata: {json.dumps(payload)}\n\n"


async def respond(site: Site, request: Request, run_id: str, after: int | None = None) -> Response:
    """Everything that happened after event `after` (or the header `Last-Event-ID`), then what happens, up to `done`.

    204 when the run is over and there is nothing after that event: it tells the browser not to come back.
    """
    last = request.headers.get("last-event-id", "")
    # A browser that comes back sends the header beside the address of its first visit: what it has seen since counts.
    start = max(after or 0, int(last) if last.isdecimal() and len(last) < 10 else 0)
    state, events = await run_in_threadpool(_look, site, run_id, start)
    if state not in UNDER_WAY and start and not events:
        return Response(status_code=204, headers=HEADERS)
    return StreamingResponse(stream(site, run_id, start), media_type="text/event-stream", headers=HEADERS)


async def stream(site: Site, run_id: str, after: int, *, poll: float | None = None, keepalive: float = KEEPALIVE) -> AsyncIterator[str]:
    """Events numbered as in the store, a comment when nothing happened for a while, `done` at the end.

    `queue` events carry no number: they say how many runs are ahead, and are gone once the run starts. `poll` is how long to
    wait for news before asking for them; by default as long as `News.pause` says.
    """
    yield f"retry: {RETRY_MS}\n\n"
    with site.news.about(await run_in_threadpool(_key, site, run_id)) as bell:
        async for text in _told(site, run_id, after, bell, poll, keepalive):
            yield text


async def _told(site: Site, run_id: str, after: int, bell: asyncio.Event, poll: float | None, keepalive: float) -> AsyncIterator[str]:
    spoke, told_ahead, told_done, grace = time.monotonic(), -1, False, GRACE
    while not site.stopping.is_set():
        bell.clear()  # before looking, so that what comes meanwhile rings again
        state, events = await run_in_threadpool(_look, site, run_id, after)
        for number, kind, payload in events:
            after, is_end = number, kind == "done"
            told_done = is_end and state not in UNDER_WAY
            if is_end and not told_done:
                continue  # it was stopped once and goes on: its real end is still to come
            yield message(kind, payload, number)
            spoke = time.monotonic()
        if state not in UNDER_WAY and not events:
            grace -= 1  # the state is written a moment before the last events are
            if told_done or grace < 0:
                if not told_done:
                    yield message("done", {"state": state}, after or None)
                return
        if state == "queued" and (ahead := await run_in_threadpool(_ahead, site, run_id)) != told_ahead:
            told_ahead = ahead
            yield message("queue", {"ahead": ahead})
            spoke = time.monotonic()
        if time.monotonic() - spoke >= keepalive:
            yield ": still here\n\n"
            spoke = time.monotonic()
        if not events:
            pause = min(site.news.pause if poll is None else poll, spoke + keepalive - time.monotonic())
            await _pause(site.stopping, bell, pause if state in UNDER_WAY else min(pause, POLL))


def _look(site: Site, run_id: str, after: int) -> tuple[str, list[tuple[int, str, Any]]]:
    """State and new events of a run. The state is read first: an event that follows it is seen next time."""
    with site.lab.store.reading() as session:
        row = site.run_head(session, run_id)
        state = row.state
        return state, [(e.seq, e.kind, e.payload) for e in read.events(session, row.id, after)]


def _key(site: Site, run_id: str) -> int:
    with site.lab.store.reading() as session:
        return site.run_head(session, run_id).id


def _ahead(site: Site, run_id: str) -> int:
    with site.lab.store.reading() as session:
        return site.ahead(session, site.run_head(session, run_id))


async def _pause(stopping: asyncio.Event, bell: asyncio.Event, seconds: float) -> None:
    """Until there is news, the server goes down, or the time is up."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (stopping, bell)]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
