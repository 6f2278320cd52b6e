"""Pages of papers: the feed by day, week and month, what is trending, one paper in any format."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from workingpapers.lab.store import now
from workingpapers.papers import Paper

from . import trending
from .findings import ClaimView
from .pages import matches, trying_now
from .people.acts import acts_of
from .people.authorship import authors_here
from .people.comments import thread
from .people.viewer import Viewer, ViewerOf
from .problems import Problem
from .rendering import page
from .search.similar import similar_papers
from .shelf import citing, lists
from .shelf.cards import Card, cards, cards_for_all, of_viewer
from .shelf.finding import address, find
from .shelf.lists import Span
from .shelf.papertext import markdown
from .shelf.syndication import FORMATS, MAX_ENTRIES, base_address, syndicate
from .site import Site, SiteOf, tally, today
from .tables import PaperLinkRow, PaperRow, PaperSignalRow, PaperSourceRow, PaperVersionRow
from .usage import usage_of
from .words import day

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
READ = ["GET", "HEAD"]
SUFFIXES = (".csl.json", ".bib", ".ris", ".md")
SOURCES = {"arxiv": "arXiv", "oai": "arXiv", "kaggle": "arXiv", "hf": "Hugging Face", "pwc": "Papers with Code", "page": "a saved page",
           "bibtex": "a BibTeX file", "toml": "this site", "manual": "this site"}

Words = Annotated[str, Query(max_length=200)]
Cursor = Annotated[str, Query(max_length=300)]


@router.api_route("/", methods=READ)
@router.api_route("/papers", methods=READ)
def feed(request: Request, site: SiteOf, viewer: ViewerOf, task: Words = "", q: Words = "", runs: Words = "",
         after: Cursor = "") -> Response:
    """Papers by the day they were listed; with a filter, those of the catalogue, which have claims."""
    if task or q or runs:
        return _filtered(request, site, viewer, task, q, runs)
    return _feed(request, site, viewer, None, after)


@router.api_route("/papers/{kind}/{name}", methods=READ)
def feed_of_span(request: Request, site: SiteOf, viewer: ViewerOf, kind: str, name: str, after: Cursor = "") -> Response:
    """Papers that were listed on one day, in one week or in one month."""
    if kind not in ("date", "week", "month"):
        return one_paper(request, site, viewer, f"{kind}/{name}")  # an old arXiv id: `math/9410209`
    stem, _, ending = name.partition(".")
    try:
        span = lists.span_of(kind, stem)  # type: ignore[arg-type]
    except ValueError as error:
        raise Problem(404, f"No such {'day' if kind == 'date' else kind}", f"{error}.") from None
    if not ending:
        return _feed(request, site, viewer, span, after)
    if ending not in FORMATS:
        raise Problem(404, "No such format", f"A list can be read as: {', '.join(FORMATS)}.")
    with site.lab.store.reading() as session:
        rows = lists.listed(session, span, limit=MAX_ENTRIES).papers
    return syndicate(request, site, rows, ending, title=f"Papers of {span.words} · Working Papers", path=span.path)


@router.api_route("/feed.{ending}", methods=READ)
@router.api_route("/papers.{ending}", methods=READ)
def feed_to_read(request: Request, site: SiteOf, ending: str) -> Response:
    """The newest papers as Atom, RSS or JSON Feed."""
    if ending not in FORMATS:
        raise Problem(404, "No such format", f"The feed can be read as: {', '.join(FORMATS)}.")
    with site.lab.store.reading() as session:
        rows = lists.listed(session, limit=MAX_ENTRIES).papers
    return syndicate(request, site, rows, ending, title="Working Papers: daily papers", path="/papers")


@router.api_route("/papers/trending", methods=READ)
def what_moves(request: Request, site: SiteOf, viewer: ViewerOf, after: Cursor = "") -> Response:
    """Papers by trend, each with what happened to it in the last three days."""
    with site.lab.store.reading() as session:
        found = _or_404(lambda: lists.trending(session, after=after))
        moment = now()
        events = trending.reasons(session, (row.id for row in found.papers), moment)
        why = {row.id: trending.words_of(events.get(row.id, {})) or (f"listed on {day(row.listed_on)}" if row.listed_on else "")
               for row in found.papers}
        return page(request, "trending.html", found=cards(site, session, viewer, found.papers, why), after=found.after,
                    is_start=not after, formula=trending.FORMULA, weights=trending.WEIGHTS, cap=trending.EXTERNAL_CAP,
                    scores={row.id: trending.score(row.trend_log, moment) for row in found.papers})


@router.api_route("/papers/trending.{ending}", methods=READ)
def what_moves_to_read(request: Request, site: SiteOf, ending: str) -> Response:
    """The same as Atom, RSS or JSON Feed."""
    if ending not in FORMATS:
        raise Problem(404, "No such format", f"The list can be read as: {', '.join(FORMATS)}.")
    with site.lab.store.reading() as session:
        rows = lists.trending(session, limit=MAX_ENTRIES).papers
    return syndicate(request, site, rows, ending, title="Working Papers: trending", path="/papers/trending")


@router.api_route("/papers/{name:path}", methods=READ)
def one_paper(request: Request, site: SiteOf, viewer: ViewerOf, name: str) -> Response:
    """A paper: what it says and claims, what happened here; as Markdown, BibTeX, RIS or CSL-JSON behind a suffix."""
    with site.lab.store.reading() as session:
        ending = next((e for e in SUFFIXES if name.endswith(e)), "")
        row = find(session, name.removesuffix(ending))
        if row is None and ending and (row := find(session, name)) is not None:  # a DOI may end like this
            ending = ""
        paper = site.lab.catalogue.papers.get(name.removesuffix(ending))
        if row is None and paper is not None:  # two folders about one paper: the row has the other's slug
            row = session.scalar(select(PaperRow).join(PaperSourceRow, PaperSourceRow.paper_id == PaperRow.id)
                                 .where(PaperSourceRow.source == "toml", PaperSourceRow.source_key == paper.slug))
        if row is None:
            raise _unknown(site, name)
        paper = paper or (site.lab.catalogue.papers.get(row.slug) if row.slug else None)
        if ending:
            return _in_format(request, site, session, row, paper, ending)
        if name != (paper.slug if paper else row.slug or row.public_id):
            return RedirectResponse(address(row), 301)
        return _paper(request, site, session, viewer, row, paper)


@dataclass(frozen=True)
class _Listing:
    """A page of the feed as everybody sees it."""

    cards: list[Card]
    after: str | None
    earlier: Span | None
    later: Span | None
    sizes: Mapping[dt.date, int]
    views: Mapping[str, list[ClaimView]]


def _feed(request: Request, site: Site, viewer: Viewer, span: Span | None, after: str) -> Response:
    views, is_front = site.views(), span is None and not after

    def make(session: Session) -> _Listing:
        found = _or_404(lambda: lists.listed(session, span, after=after))
        earlier, later = lists.neighbours(session, span)
        shown = cards_for_all(site, session, found.papers, None, views)
        sizes = lists.counts(session, [row.listed_on for row in found.papers if row.listed_on])
        return _Listing(shown, found.after, earlier, later, sizes, views)

    # First pages alone: there are as many others as visitors care to make up.
    listing = site.kept.get(("feed", span), make, lambda known: known.views is views) if not after else None
    with site.lab.store.reading() as session:
        listing = listing or make(session)
        shown = of_viewer(session, viewer, listing.cards)
        days = [(day, list(group)) for day, group in itertools.groupby(shown, key=lambda c: c.row.listed_on)]
        facts: dict[str, Any] = {"tally": tally(v for vs in views.values() for v in vs), "trying": trying_now(site, session, views)} \
            if is_front else {"tally": None, "trying": None}
        return page(request, "feed.html", **facts, days=days, sizes=listing.sizes, span=span, earlier=listing.earlier,
                    later=listing.later, after=listing.after,
                    is_start=not after, is_open=span is None or span.first <= today(site), around=_around(span), since=now().isoformat(),
                    changed=(), broken=site.lab.catalogue.broken if is_front else (), filters=_filters(site), path_of=_path_of(span))


def _filtered(request: Request, site: Site, viewer: Viewer, task: str, q: str, runs: str) -> Response:
    """Papers of the catalogue by task, words and whether they run: few enough to be looked through."""
    wanted = {p.slug for p in site.lab.catalogue
              if (not task or p.facts.task == task) and (not runs or p.status == "runs") and matches(p, q)}
    with site.lab.store.reading() as session:
        query = select(PaperRow).where(PaperRow.slug.in_(wanted), lists.VISIBLE).order_by(
            PaperRow.listed_on.desc(), PaperRow.published_key.desc(), PaperRow.public_id.desc())
        views = site.views()
        shown = cards(site, session, viewer, session.scalars(query).all())
        days = [(day, list(group)) for day, group in itertools.groupby(shown, key=lambda c: c.row.listed_on)]
        return page(request, "feed.html", days=days, sizes={day: len(group) for day, group in days}, span=None, earlier=None, later=None,
                    after=None, is_start=True, is_open=True, around=(), since=now().isoformat(), changed=(), broken=(),
                    tally=tally(v for vs in views.values() for v in vs), trying=trying_now(site, session, views),
                    filters=_filters(site) | {"task": task, "q": q, "runs": runs}, path_of="/papers")


def _filters(site: Site) -> dict[str, Any]:
    return {"tasks": sorted({p.facts.task for p in site.lab.catalogue}), "task": "", "q": "", "runs": ""}


def _path_of(span: Span | None) -> str:
    return span.path if span else "/papers"


def _around(span: Span | None) -> tuple[Span, ...]:
    """The week and month of a day, the month of a week."""
    if span is None or span.kind == "month":
        return ()
    return tuple(lists.span_around(kind, span.first) for kind in (("week", "month") if span.kind == "date" else ("month",)))


def _or_404(ask: Any) -> lists.Page:
    try:
        found: lists.Page = ask()
    except ValueError:
        raise Problem(404, "No such page", "This part of the list cannot be found. Begin again at its first page.") from None
    return found


def _unknown(site: Site, name: str) -> Problem:
    try:
        site.lab.catalogue.find(name)
    except KeyError as error:
        return Problem(404, "No such paper", str(error))
    return Problem(404, "No such paper", f"{name[:60]!r} is hidden here.")


ALIKE = 5


def _paper(request: Request, site: Site, session: Session, viewer: Viewer, row: PaperRow, paper: Paper | None) -> Response:
    url = base_address(request, site) + address(row)
    signals = session.scalars(select(PaperSignalRow).where(PaperSignalRow.paper_id == row.id).order_by(PaperSignalRow.name)).all()
    facts: dict[str, Any] = {
        "row": row,
        "acts": acts_of(session, viewer, [row.id])[row.id], "comments": thread(session, viewer, row), "authors": authors_here(session, row),
        "links": session.scalars(select(PaperLinkRow).where(PaperLinkRow.paper_id == row.id).order_by(PaperLinkRow.kind, PaperLinkRow.id)
                                 .limit(100)).all(),
        "signals": [(s, SOURCES.get(s.source, s.source)) for s in signals], "meta": citing.meta_tags(row, url),
        "versions": session.scalars(select(PaperVersionRow).where(PaperVersionRow.paper_id == row.id)
                                    .order_by(PaperVersionRow.version)).all(),
        "sources": SOURCES, "at": address(row), "trend": trending.words_of(trending.reasons(session, [row.id], now()).get(row.id, {})),
        "alike": [(paper.title, address(paper)) for paper in similar_papers(site.lab.store, row, limit=ALIKE)[0]],
    }
    if paper is None:
        return page(request, "paper_other.html", **facts)
    views = site.claim_views(session, [paper], paper.slug)[paper.slug]
    progress = {v.facts.id: site.progress(session, v.active) for v in views if v.active}
    return page(request, "paper.html", **facts, paper=paper, facts=paper.facts, views=views, progress=progress, usage=usage_of(paper),
                code=site.current_code(paper), tally=tally(views))


def _in_format(request: Request, site: Site, session: Session, row: PaperRow, paper: Paper | None, ending: str) -> Response:
    url = base_address(request, site) + address(row)
    headers = {"Cache-Control": "public, max-age=60"}
    if ending == ".bib":
        return PlainTextResponse(citing.bibtex(row, url), headers=headers, media_type="application/x-bibtex")
    if ending == ".ris":
        return PlainTextResponse(citing.ris(row, url), headers=headers, media_type="application/x-research-info-systems")
    if ending == ".csl.json":
        return JSONResponse([citing.csl(row, url)], headers=headers, media_type="application/vnd.citationstyles.csl+json")
    views = site.claim_views(session, [paper], paper.slug)[paper.slug] if paper else []
    links = session.scalars(select(PaperLinkRow).where(PaperLinkRow.paper_id == row.id).order_by(PaperLinkRow.kind, PaperLinkRow.id)).all()
    return PlainTextResponse(markdown(row, views, links, url), headers=headers, media_type="text/markdown")


