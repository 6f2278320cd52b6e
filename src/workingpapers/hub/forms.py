"""What forms of the site do: run a claim, cancel a run, choose light or dark. Each needs the form's token."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from .people import ViewerOf
from .problems import Problem
from .rendering import KEYS_COOKIE, THEME_COOKIE, THEMES, local_path, page, wants_fragment
from .site import SiteOf
from .tokens import TOKEN_FIELD, is_valid, visitor_of


def has_token(request: Request, site: SiteOf, token: Annotated[str, Form(alias=TOKEN_FIELD)] = "") -> None:
    """403 unless the form was one of ours, made for this visitor."""
    if not is_valid(site.key, visitor_of(request), token):
        raise Problem(403, "This form has gone stale", "Go back, reload the page and press the button again. "
                      "Cookies of this site must be allowed for buttons to work.")


router = APIRouter(include_in_schema=False, dependencies=[Depends(has_token)])

Word = Annotated[str, Form(max_length=200)]


@router.post("/runs")
def start_run(request: Request, site: SiteOf, viewer: ViewerOf, slug: Word, claim: Word, scale: Word) -> Response:
    """Queue a run; a part of the page for htmx, else the run's page."""
    viewer.require("smoke" if scale == "smoke" else "run")
    row, _ = site.ask(slug, claim, scale, requested_by=viewer.name)
    if not wants_fragment(request):
        return RedirectResponse(f"/runs/{row.run_id}", 303)
    return panel(request, site, slug, claim)


@router.post("/runs/{run_id}/cancel")
def cancel_run(request: Request, site: SiteOf, viewer: ViewerOf, run_id: str) -> Response:
    """Ask a run to stop: one's own, or any for who may run at every scale."""
    viewer.require("smoke")
    with site.lab.store.reading() as session:
        row = site.run_head(session, run_id)
    if row.requested_by != viewer.name:
        viewer.require("run")
    site.lab.cancel(run_id)
    if wants_fragment(request) and request.headers.get("hx-target", "").startswith("panel-"):
        return panel(request, site, row.slug, row.claim_id)
    return RedirectResponse(f"/runs/{run_id}", 303)


@router.post("/theme")
def choose_theme(theme: Word, back: Annotated[str, Form(max_length=2000)] = "/") -> Response:
    """Keep light, dark or the system's choice in a cookie, and go back."""
    if theme not in THEMES:
        raise Problem(422, "No such theme", f"Choose one of: {', '.join(THEMES)}.")
    response = RedirectResponse(local_path(back), 303)
    if theme == "auto":
        response.delete_cookie(THEME_COOKIE, samesite="lax")
    else:
        response.set_cookie(THEME_COOKIE, theme, max_age=365 * 86400, samesite="lax", httponly=True)
    return response


@router.post("/keys")
def choose_keys(keys: Word, back: Annotated[str, Form(max_length=2000)] = "/") -> Response:
    """Switch the keys of pages on or off, and go back."""
    response = RedirectResponse(local_path(back), 303)
    if keys == "off":
        response.set_cookie(KEYS_COOKIE, "off", max_age=365 * 86400, samesite="lax", httponly=True)
    else:
        response.delete_cookie(KEYS_COOKIE, samesite="lax")
    return response


def panel(request: Request, site: SiteOf, slug: str, claim_id: str) -> Response:
    """The part of a page that shows how a claim stands and offers its buttons."""
    with site.lab.store.reading() as session:
        paper, _ = site.claim(slug, claim_id)
        view = site.claim_view(session, paper, claim_id)
        progress = site.progress(session, view.active) if view.active else None
        return page(request, "panel.html", view=view, progress=progress, code=site.current_code(paper))
