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
from .site import Site

POLL = 0.5
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
    start = after if after is not None else int(last) if last.isdecimal() and len(last) < 10 else 0
    state, events = await run_in_threadpool(_look, site, run_id, start)
    if state not in UNDER_WAY and start and not events:
        return Response(status_code=204, headers=HEADERS)
    return StreamingResponse(stream(site, run_id, start), media_type="text/event-stream", headers=HEADERS)


async def stream(site: Site, run_id: str, after: int, *, poll: float = POLL, keepalive: float = KEEPALIVE) -> AsyncIterator[str]:
    """Events numbered as in the store, a comment when nothing happened for a while, `done` at the end.

    `queue` events carry no number: they say how many runs are ahead, and are gone once the run starts.
    """
    yield f"retry: {RETRY_MS}\n\n"
    spoke, told_ahead, told_done, grace = time.monotonic(), -1, False, GRACE
    while not site.stopping.is_set():
        state, events = await run_in_threadpool(_look, site, run_id, after)
        for number, kind, payload in events:
            after, told_done = number, kind == "done"
            if told_done and state in UNDER_WAY:
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
            await _pause(site.stopping, poll)


def _look(site: Site, run_id: str, after: int) -> tuple[str, list[tuple[int, str, Any]]]:
    """State and new events of a run. The state is read first: an event that follows it is seen next time."""
    with site.lab.store.reading() as session:
        row = site.run_head(session, run_id)
        state = row.state
        return state, [(e.seq, e.kind, e.payload) for e in read.events(session, row.id, after)]


def _ahead(site: Site, run_id: str) -> int:
    with site.lab.store.reading() as session:
        return site.ahead(session, site.run_head(session, run_id))


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return
