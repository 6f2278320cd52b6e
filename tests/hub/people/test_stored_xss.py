"""What strangers leave behind, in every field that is shown, is inert on every page that shows it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from workingpapers.hub.tables import DoubtRow, JobRow

from .conftest import new_paper

ATTACKS = [
    "<script>window.hacked=1</script>", "<img src=x onerror=window.hacked=1>", "\"><svg onload=window.hacked=1>", "'-window.hacked=1-'",
    "<a href=javascript:window.hacked=1>x</a>", "[x](javascript:window.hacked=1)", "![x](javascript:window.hacked=1)",
    "<javascript:window.hacked=1>", "$<img src=x onerror=window.hacked=1>$", r"\href{javascript:window.hacked=1}{x}",
    r"$\href{javascript:window.hacked=1}{x}$", r"$\htmlStyle{color:red}{x}\includegraphics{https://evil.example/x}$", "{{ 7*7 }}{% raw %}",
    "</textarea><script>window.hacked=1</script>", "</title><script>window.hacked=1</script>", "<!--<script>window.hacked=1//-->",
    "<iframe srcdoc='<script>parent.hacked=1</script>'>", "<style>*{display:none}</style>", "<form action=//evil.example><button>",
    "<b hx-get='/signout' hx-trigger='load'>", "<math><mtext></table><mglyph><style><img src=x onerror=window.hacked=1>",
    "javascript:window.hacked=1//https://a.org", "\u202egnp.exe", "`<script>window.hacked=1</script>`",
    "https://a.org/\"onmouseover=window.hacked=1",
    "<base href=//evil.example>", "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "&lt;script&gt;window.hacked=1&lt;/script&gt;",
]


class Page(HTMLParser):
    """Collects what could act: elements, attributes, addresses."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            value = (value or "").strip().lower()
            if name.startswith("on") or name == "style" or name == "srcdoc":
                self.found.append((tag, name, value))
            where = name in ("href", "src", "action", "formaction", "xlink:href")
            if where and (value.startswith(("javascript:", "//", "https://evil"))):
                self.found.append((tag, name, value))
            if name.startswith("hx-") and value == "/signout":
                self.found.append((tag, name, value))
        if tag == "meta" and "http-equiv" in dict(attrs):
            self.found.append((tag, attrs))
        if tag in ("iframe", "style", "base", "math", "mglyph", "object", "embed"):
            self.found.append((tag,))
        if tag == "script" and not dict(attrs).get("src", "").startswith("/static/"):
            self.found.append((tag, attrs))


@pytest.fixture
def infested(lab, person):
    """A site in which every field that a stranger fills holds the whole list."""
    ada = person("reader", handle="ada")
    new_paper(lab, "2403.07777", title=" ".join(ATTACKS), abstract="\n\n".join(ATTACKS), authors=ATTACKS, venue=ATTACKS[0],
              comment=ATTACKS[1], journal_ref=ATTACKS[2], plain_summary=ATTACKS[3], tags=ATTACKS[:4], tasks=ATTACKS[:4])
    for start in range(0, len(ATTACKS), 10):  # ten in ten minutes
        writer = ada if start == 0 else person("reader")
        for text in ATTACKS[start : start + 10]:
            assert writer.post("/comments", paper="2403.07777", markdown=text).status_code == 303
    for name in ATTACKS[:20]:
        ada.post("/tags", paper="2403.07777", name=name[:60], on="true")
    ada.post("/me/profile", handle="ada", display_name="<img src=x onerror=window.hacked=1>", tz="UTC")
    ada.post("/me/tokens", name="<script>window.hacked=1</script>", scopes="read")
    ada.post("/authorships", paper="2403.07777")
    ada.client.headers["user-agent"] = "<script>window.hacked=1</script>"
    with lab.store.writing() as session:
        session.add_all([
            DoubtRow(kind="similar", key="k", title=ATTACKS[0], body={"x": ATTACKS[1]}),
            JobRow(kind="import", state="failed", error=ATTACKS[1], payload={"x": ATTACKS[0]}),
        ])
    return ada


def test_every_page_is_inert(infested, person):
    admin = person("admin")
    addresses = ["/", "/papers", "/papers/2403.07777", "/me", "/me?tag=%22%3E%3Csvg%20onload%3Dx%3E", "/admin",
                 "/admin?q=%3Cscript%3Ealert(1)%3C/script%3E",
                 "/search?q=%3Cscript%3Ewindow.hacked%3D1%3C/script%3E", "/signin?next=javascript:window.hacked=1",
                 "/signin?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "/papers?q=%22%3E%3Csvg%20onload%3Dx%3E",
                 "/%3Cscript%3Ealert(1)%3C/script%3E"]
    for who in (infested, admin):
        for address in addresses:
            answer = who.client.get(address)
            policy = answer.headers["content-security-policy"]
            assert "unsafe" not in policy
            assert "script-src 'self'" in policy
            page = Page()
            page.feed(answer.text)
            assert page.found == [], (address, page.found)
    data = {"token": infested.form_token, "paper": "2403.07777", "markdown": "x"}
    fragment = person("reader").client.post("/comments", data=data, headers={"hx-request": "true"})
    assert fragment.status_code == 403  # another's token
    writer = person("reader")
    fragment = writer.client.post("/comments", data={**data, "token": writer.form_token}, headers={"hx-request": "true"})
    assert fragment.text.count('class="said"') == len(ATTACKS) + 1
    page = Page()
    page.feed(fragment.text)
    assert page.found == []


def test_names_are_only_names(person):
    ada = person("reader")
    for handle in ("<script>", "a b", "a\x00b", "ada\n", "-ada", "x" * 41, "admin", "me", "../x", "ä"):
        assert ada.post("/me/profile", handle=handle).status_code in (303, 422)
        assert ada.get("/me").text.count("<script>") == 0
    assert ada.post("/me/profile", handle="<script>").status_code == 422
    assert ada.post("/me/profile", handle=person("reader").user.handle).status_code == 422
    assert ada.post("/me/profile", handle="ada", tz="Mars/Olympus").status_code == 422
