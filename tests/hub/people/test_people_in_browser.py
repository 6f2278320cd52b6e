"""People's pages in a real browser: keys, votes without reload and without scripts, formulas, both themes, axe, narrow screens."""

from __future__ import annotations

import datetime as dt
import json
from urllib.parse import urlsplit

import pytest

from workingpapers.hub import create_app
from workingpapers.hub.people.accounts import create_user
from workingpapers.hub.people.signin import CONSOLE, begin_signin, new_link
from workingpapers.hub.tables import AuthorshipRow, DoubtRow, JobRow
from workingpapers.hub.tokens import SESSION_COOKIE

from ..conftest import serving, wait_for
from ..test_browser import WIDE, axe, chromium  # noqa: F401 - fixtures
from .conftest import new_paper
from .test_stored_xss import ATTACKS

pytestmark = [pytest.mark.needs("chromium", "playwright"), pytest.mark.slow]

FORMULAS = [
    r"$x_i^2 \leq \frac{a}{b}$", r"$$\sum_{n=1}^\infty \frac{1}{n^2} = \frac{\pi^2}{6}$$", r"$\unknowncommand{x}$", r"$\frac{a$",
    r"$\cancel{x} \boxed{y}$",
    r"$\color{red} x \textcolor{blue}{y} \fbox{z}$", r"\begin{align}a&=b\\c&=d\end{align}", r"$\overbrace{a+b}^{n} \angl{n} \phase{x}$",
    r"$\htmlStyle{color:red}{x} \href{javascript:alert(1)}{y}$", r"$\pmb{x} \rule{1em}{1em} \def\a{\a\a}\a$",
    r"$\begin{matrix}a&b\\\hline c&d\end{matrix}$",
    r"$\includegraphics{https://evil.example/x.png}$",
]


@pytest.fixture
def site(lab):
    """A site with things to see, and the cookie of its admin."""
    abstracts = [" ".join(FORMULAS), "Costs $2 a run.", "Costs $3 a run."]
    papers = [new_paper(lab, f"2403.0{n}000", title=f"Paper {n} on $O(n^{n})$", abstract=abstracts[n - 1],
                        listed_on=dt.date(2024, 3, n)) for n in range(1, 4)]
    with lab.store.writing() as session:
        admin = create_user(session, handle="ada", email="ada@example.org", role="admin", created_by="test")
        other = create_user(session, handle="bob", created_by="test")
        session.add_all([AuthorshipRow(user_id=other.id, paper_id=papers[0].id),
                         DoubtRow(kind="similar", key="k", title="Two alike", body={}),
                         JobRow(kind="import", state="failed", error="Traceback\nValueError: no such file", payload={})])
        cookie = begin_signin(session, admin, "this very browser " + "x" * 150)
        link = new_link(session, CONSOLE, user_id=other.id)
    with serving(create_app(lab=lab)) as address:
        yield address, cookie, link


@pytest.fixture
def visit(chromium, site):  # noqa: F811
    """Opens pages; afterwards the browser must have had nothing to complain of and asked nobody else."""
    address, cookie, _ = site
    contexts, complaints, asked = [], [], []

    def open_(path, *, signed_in=True, width=1280, scheme="light", scripts=True):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts)
        contexts.append(context)
        if signed_in:
            context.add_cookies([{"name": SESSION_COOKIE, "value": cookie, "url": address}])
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.on("request", lambda r: asked.append(r.url))
        page.goto(address + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
    assert {urlsplit(u).netloc for u in asked if not u.startswith("data:")} == {urlsplit(address).netloc}


def say(page, text):
    """Comment, and wait until the answer has taken the place of the form: what is typed before that goes with the old one."""
    said = page.locator(".said").count()
    page.fill("#say", text)
    page.get_by_role("button", name="Comment", exact=True).click()
    page.locator(".said").nth(said).wait_for()


def test_formulas_are_typeset_and_nothing_complains(visit):
    page = visit("/papers/2403.01000")
    wait_for(lambda: page.locator("code.math .katex").count() >= 8, 20)
    assert page.locator("code.math .katex-display").count() >= 2
    assert r"\frac{a" in page.locator("code.math", has_text=r"\frac{a").last.inner_text()  # what cannot be read stays source
    assert page.locator("code.math a[href], code.math img, .katex [style*='color:red']").count() == 0
    loaded = "[...document.fonts].some(f => f.family.startsWith('KaTeX') && f.status === 'loaded')"
    assert page.evaluate(f"document.fonts.ready.then(() => {loaded})")
    plain = visit("/signin", signed_in=False)
    assert plain.evaluate("!window.katex && !document.querySelector('link[href*=katex]')")


def test_formulas_of_a_new_comment_are_typeset(visit):
    page = visit("/papers/2403.02000")
    page.evaluate("window.stayed = true")
    page.fill("#say", "A formula: $x^2$, a price: $5")
    page.get_by_role("button", name="Comment", exact=True).click()
    wait_for(lambda: page.locator(".said .katex").count() == 1, 20)
    assert page.evaluate("window.stayed")
    assert "a price: $5" in page.locator(".said").inner_text()


def test_stored_attacks_do_nothing_in_a_browser(visit, site, lab):
    new_paper(lab, "2403.07777", title=" ".join(ATTACKS[:8]), abstract="\n\n".join(ATTACKS), authors=ATTACKS[:5])
    page = visit("/papers/2403.07777")
    for text in ATTACKS[:8]:
        say(page, text)
    page.reload()
    wait_for(lambda: page.locator(".said").count() == 8)
    assert page.evaluate("window.hacked") is None


def test_vote_and_save_without_reload_and_without_scripts(visit):
    page = visit("/papers/2403.01000")
    page.evaluate("window.stayed = true")
    page.locator("[data-act=vote]").first.click()
    page.locator("[data-act=vote][aria-pressed=true]").first.wait_for()
    page.locator("[data-act=save]").first.click()
    page.locator("[data-act=save][aria-pressed=true]").first.wait_for()
    assert page.evaluate("window.stayed")
    assert page.evaluate("document.activeElement.dataset.act") == "save"  # the focus stays where it was
    plain = visit("/papers/2403.01000", scripts=False)
    assert plain.locator("[data-act=vote]").first.get_attribute("aria-pressed") == "true"
    with plain.expect_navigation():
        plain.locator("[data-act=vote]").first.click()
    assert plain.locator("[data-act=vote]").first.get_attribute("aria-pressed") == "false"
    plain.fill("#say", "without scripts")
    with plain.expect_navigation():
        plain.get_by_role("button", name="Comment", exact=True).click()
    assert plain.locator(".said").inner_text() == "without scripts"


def test_keys(visit):
    page = visit("/papers")
    articles = page.locator("main article")
    assert articles.count() >= 2
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("[...document.querySelectorAll('main article')].indexOf(document.activeElement)") == 1
    page.keyboard.press("k")
    assert page.evaluate("[...document.querySelectorAll('main article')].indexOf(document.activeElement)") == 0
    page.keyboard.press("u")
    page.locator("main article").first.locator("[data-act=vote][aria-pressed=true]").wait_for()
    page.keyboard.press("b")
    page.locator("main article").first.locator("[data-act=save][aria-pressed=true]").wait_for()
    page.keyboard.press("?")
    page.locator("dialog[open]").wait_for()
    page.keyboard.press("j")  # nothing moves behind the list
    page.keyboard.press("Escape")
    wait_for(lambda: page.locator("dialog[open]").count() == 0)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.type") == "search"
    page.keyboard.type("jkoub?")
    assert page.evaluate("document.activeElement.value") == "jkoub?"
    page.evaluate("document.activeElement.blur()")
    page.evaluate("document.querySelector('main article').focus()")
    with page.expect_navigation():
        page.keyboard.press("o")
    assert "/papers/" in page.url


def test_keys_can_be_switched_off(visit):
    page = visit("/papers")
    with page.expect_navigation():
        page.locator("footer").get_by_role("button", name="switch off").click()
    page.keyboard.press("j")
    page.keyboard.press("?")
    assert page.evaluate("document.activeElement.tagName") != "ARTICLE"
    assert page.locator("dialog").count() == 0
    with page.expect_navigation():
        page.locator("footer").get_by_role("button", name="switch on").click()
    page.keyboard.press("?")
    page.locator("dialog[open]").wait_for()


def addresses(link):
    return [("/signin", False), (f"/signin/{link}", False), ("/me", True), ("/admin", True), ("/papers/2403.01000", True),
            ("/papers/2403.02000", False)]


def test_people_pages_fit_and_are_accessible(visit, site, axe):  # noqa: F811
    page = visit("/papers/2403.01000")
    for text in ("first, with a long word " + "w" * 200, "> quoted\n\n```\ncode " + "c" * 200 + "\n```\n\n- a\n- b"):
        say(page, text)
    for path, signed_in in addresses(site[2]):
        page = visit(path, signed_in=signed_in, width=320)
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert page.evaluate(WIDE) <= 320, path
        page.set_viewport_size({"width": 1280, "height": 900})
        page.evaluate(axe.read_text(encoding="utf-8"))
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found = page.evaluate("axe.run(document)")["violations"]
            assert not found, path + json.dumps([{v["id"]: [n["html"][:200] for n in v["nodes"][:3]]} for v in found], indent=1)
        page.context.close()


def test_every_button_is_reached_by_keyboard(visit):
    page = visit("/papers/2403.01000")
    seen = set()
    for _ in range(150):
        page.keyboard.press("Tab")
        here = page.evaluate("[document.activeElement.tagName, document.activeElement.dataset.act || '', document.activeElement.id]")
        if here[0] == "BODY":
            break
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", here
        seen |= {here[1], here[2]}
    assert {"vote", "save", "say"} <= seen
