"""Errors as pages that people can read, as problem documents for the API, and as notices for parts of pages."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from .people.keys import without_secrets
from .problems import Problem
from .rendering import page, wants_fragment

log = logging.getLogger("workingpapers.hub")

SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not take that kind of request.",
    413: "The request carries more than this site takes.",
}


def respond(request: Request, problem: Problem) -> Response:
    """The problem in the shape that this client reads."""
    if is_for_programs(request):
        return problem.to_json(request.url.path)
    if wants_fragment(request):
        headers = {**problem.headers, "HX-Retarget": "#notice", "HX-Reswap": "innerHTML"}
        return page(request, "notice.html", problem.status, headers, problem=problem)
    return page(request, "error.html", problem.status, problem.headers, problem=problem)


def is_for_programs(request: Request) -> bool:
    """The API, and whoever asks for JSON and not for a page."""
    accept = request.headers.get("accept", "")
    return request.url.path.startswith(("/api/", "/openapi", "/healthz")) or ("json" in accept and "html" not in accept)


def install(app: FastAPI) -> None:
    """Let every error of the application end in `respond`, and keep secrets out of access logs."""
    access = logging.getLogger("uvicorn.access")
    if not any(isinstance(f, WithoutSecrets) for f in access.filters):
        access.addFilter(WithoutSecrets())

    @app.exception_handler(Problem)
    def _problem(request: Request, error: Exception) -> Response:
        return respond(request, cast(Problem, error))

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: Exception) -> Response:
        found = cast(HTTPException, error)
        title = HTTPStatus(found.status_code).phrase
        return respond(request, Problem(found.status_code, title, SENTENCES.get(found.status_code, str(found.detail)), found.headers))

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: Exception) -> Response:
        first = cast(RequestValidationError, error).errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return respond(request, Problem(422, "This request cannot be read", f"{where}: {first['msg']}."))


class WithoutSecrets(logging.Filter):
    """Leaves out of a log what would let its reader in, such as the address of a sign-in link."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(without_secrets(a) if isinstance(a, str) else a for a in record.args)
        record.msg = without_secrets(str(record.msg))
        return True


def crashed(request: Request, error: Exception) -> Response:
    """The page for a fault of ours; the traceback goes to the log, never to the page."""
    log.error("fault while answering %s %s", request.method, without_secrets(request.url.path), exc_info=error)
    return respond(request, Problem(500, "Something broke here", "This is a fault of the site, not of your request. "
                                    "The server's log says what happened."))
