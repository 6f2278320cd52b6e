"""The application: routers, guard, static files."""

from __future__ import annotations

import functools
import gzip
import os
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

import workingpapers
from workingpapers.lab import Lab, Settings, Store
from workingpapers.papers import Catalogue, load_catalogue

from . import api, board_pages, errors, forms, hfapi, pages, paper_api, paper_pages, run_pages, tables, watch  # noqa: F401 - the tables hang on the lab's base
from .guard import Guard
from .mail import pages as mail_pages
from .people import admin as people_admin
from .people import api as people_api
from .people import forms as people_forms
from .people import pages as people_pages
from .rendering import STATIC
from .search import api as search_api
from .search import pages as search_pages
from .search import searcher
from .settings import HubSettings
from .shelf import sync_catalogue
from .site import Site
from .tokens import load_key
from .warmup import queue_untried


def create_app(settings: Settings | None = None, *, catalogue: Catalogue | None = None, lab: Lab | None = None,
               hosts: Iterable[str] | None = None, warmup: bool = False, local: bool = False) -> FastAPI:
    """The site as an ASGI application. It runs no claim itself: a worker on the same store does.

    Args:
        settings: where the store lies; by default from the environment.
        catalogue: the papers; by default those of this package and of plug-ins.
        lab: in place of both.
        hosts: names in the Host header that are answered; by default localhost and `WORKINGPAPERS_HOSTS`.
        warmup: on start, queue the smoke runs of claims that were never tried here.
        local: the server listens on this machine only: until there is an account, visitors may run claims.
    """
    lab = lab or Lab(Store(settings), catalogue or load_catalogue())
    hub = HubSettings()
    sync_catalogue(lab.store, lab.catalogue)
    site = Site(lab, load_key(lab.store.settings.home), hub, local)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if warmup:
            queue_untried(lab)
        learning = threading.Thread(target=site.learn_codes, name="codes", daemon=True)
        learning.start()
        threading.Thread(target=searcher(lab.store).warm, name="search", daemon=True).start()
        site.news.start()
        yield
        site.stopping.set()
        site.news.stop()
        learning.join(5)

    app = FastAPI(title="Working Papers", version=workingpapers.__version__, description=api.DESCRIPTION, lifespan=lifespan,
                  docs_url=None, redoc_url=None, openapi_url=None)
    app.state.site = site
    app.include_router(api.router)
    app.include_router(paper_api.router)
    app.include_router(hfapi.router)
    app.include_router(board_pages.router)
    app.include_router(pages.router)
    app.include_router(paper_pages.router)
    app.include_router(run_pages.router)
    app.include_router(forms.router)
    app.include_router(mail_pages.router)
    for router in (people_api.router, people_pages.router, people_forms.router, people_admin.router, people_admin.forms):
        app.include_router(router)
    app.include_router(watch.router)
    app.include_router(search_api.router)
    app.include_router(search_pages.router)
    app.mount("/static", _Static(directory=STATIC), name="static")

    @app.get("/openapi.json", include_in_schema=False)
    def openapi() -> JSONResponse:
        return JSONResponse(app.openapi())

    errors.install(app)
    app.add_middleware(GZipMiddleware, minimum_size=1_000, compresslevel=4)  # event streams pass through it untouched
    app.add_middleware(Guard, hosts=hub.allowed() if hosts is None else hosts, respond=errors.respond, crashed=errors.crashed,
                       proxies=hub.trusted())
    return app


PACKED = (".js", ".css", ".svg")


@functools.cache
def _packed(path: str, _changed: int) -> bytes:
    return gzip.compress(Path(path).read_bytes(), 9, mtime=0)


def _may_pack(scope: Scope) -> bool:
    return scope["method"] == "GET" and "gzip" in Headers(scope=scope).get("accept-encoding", "")


class _Static(StaticFiles):
    """Files of ours; addresses carry a hash of the bytes, so they may be kept for good. Scripts and styles are packed once, and well."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if isinstance(response, FileResponse) and response.status_code == 200 and path.endswith(PACKED) and _may_pack(scope):
            headers = {k: v for k, v in response.headers.items() if k not in ("content-length", "content-type")}
            body = await run_in_threadpool(_packed, str(response.path), os.stat(response.path).st_mtime_ns)
            response = Response(body, media_type=response.media_type,
                                headers={**headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"})
        if b"v=" in scope.get("query_string", b""):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
