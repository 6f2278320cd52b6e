"""Cards of papers as HTML, kept by everything that they show.

What is kept holds marks where the viewer's form token and the address of the page belong; `rendering.page` puts these in. The
template sees nothing else of a viewer than whether they may vote, so that no card can tell one person something of another.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from workingpapers.papers import Paper

from .findings import ClaimView
from .people.roles import Action
from .people.viewer import Viewer
from .rendering import BACK_SLOT, BACK_SLOT_QUOTED, TOKEN_SLOT, environment
from .shelf.cards import Card

MOST_CHARACTERS = 2_500_000


@dataclass(frozen=True)
class _Voter:
    """All that a card may know of its viewer."""

    may_vote: bool

    def can(self, action: Action) -> bool:
        if action != "vote":
            raise ValueError(f"a card is kept for all who may vote, or all who may not: it cannot depend on {action!r}")
        return self.may_vote


@dataclass(frozen=True)
class _Kept:
    html: Markup
    paper: Paper | None
    views: Sequence[ClaimView]
    size: int


class CardHtml:
    """The cards that were shown last, `most` characters of them."""

    def __init__(self, most: int = MOST_CHARACTERS) -> None:
        self.most, self.characters = most, 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()

    def __call__(self, card: Card, viewer: Viewer, level: int = 3) -> Markup:
        """A card, with slots for token and address; `level` is that of its heading."""
        may_vote = viewer.can("vote")
        key = (level, may_vote, card.acts.voted, card.acts.saved, *shown(card))
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
        # Claims and what is known of them are the same objects as long as they are unchanged (`Site.views`).
        if known is not None and known.paper is card.paper and _same(known.views, card.views):
            return known.html
        html = Markup(_macro()(card, _Voter(may_vote), TOKEN_SLOT, BACK_SLOT if may_vote else BACK_SLOT_QUOTED, level))
        self._keep(key, _Kept(html, card.paper, card.views, len(html) + len(card.row.title) + len(card.row.abstract)))
        return html

    def _keep(self, key: Hashable, kept: _Kept) -> None:
        with self._lock:
            before = self._kept.pop(key, None)
            self.characters += kept.size - (before.size if before is not None else 0)
            self._kept[key] = kept
            while self.characters > self.most and self._kept:
                self.characters -= self._kept.popitem(last=False)[1].size

    def __len__(self) -> int:
        return len(self._kept)


@functools.cache
def _macro() -> Callable[..., str]:
    """The macro of a card, in a context that holds nothing of any request."""
    found: Callable[..., str] = environment().get_template("card.html").make_module({}).card  # type: ignore[attr-defined]
    return found


def shown(card: Card) -> tuple[Hashable, ...]:
    """Everything of row, links and list that the template of a card shows."""
    row, (names, more) = card.row, card.authors
    return (row.id, row.public_id, row.slug, row.arxiv_id, row.doi, row.title, row.abstract, tuple(map(str, names)), more,
            row.published_on, row.listed_on, row.withdrawn, tuple(map(str, row.categories)), row.votes, row.comments,
            tuple((link.kind, link.url) for link in card.links), card.why)


def _same(one: Sequence[ClaimView], other: Sequence[ClaimView]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other))


card_html = CardHtml()
