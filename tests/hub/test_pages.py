"""Pages: what they show, and that every one is sound HTML without inline script or style."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from lxml import html

from workingpapers.hub.people.accounts import create_user
from workingpapers.hub.people.signin import begin_signin
from workingpapers.hub.tokens import SESSION_COOKIE
from workingpapers.lab.store import FileRow

from .conftest import check

PAGES = ["/", "/papers", "/papers/date/2025-12-26", "/papers/coin", "/papers/dice", "/claims", "/claims?verdict=holds",
         "/claims/coin/more-is-better", "/claims/coin/always-counted", "/tasks", "/runs", "/nowhere", "/papers/nobody"]


def tree_of(response):
    return html.fromstring(response.text)


@pytest.fixture
def history(add_run, lab):
    """A site with something of everything."""
    artefacts = lab.store.settings.artefacts
    artefacts.mkdir(parents=True)
    for ending in ("light.svg", "dark.svg", "light.png"):
        (artefacts / f"x.{ending}").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    plot = FileRow(name="verdict", title="Arms", spec={"data": {"values": [{"arm": "many", "mean": 0.25}]}},
                   paths={e: f"x.{e}" for e in ("light.svg", "dark.svg", "light.png")})
    first = add_run(files=[plot])
    add_run("always-counted", "fails", checks=[check(kind="bound", counts=[2, 3], estimate=1.0, interval=None, threshold=0.0,
                                                     scale="linear", verdict="fails")])
    add_run("slow", "untested", checks=[], reason="the package gold is not installed here")
    add_run("slow", None, state="failed", reason="the claim broke")
    return first


@pytest.mark.parametrize("address", [*PAGES, "run"])
def test_every_page_is_sound(client, history, address):
    response = client.get(f"/runs/{history}" if address == "run" else address)
    tree = tree_of(response)
    assert len(tree.xpath("//h1")) == 1
    assert len(tree.xpath("//main[@id='main']")) == 1
    assert tree.xpath("//header")
    assert tree.xpath("//footer")
    assert tree.xpath("//nav")
    assert tree.xpath("//a[@class='skip']/@href") == ["#main"]
    assert not tree.xpath("//*[@style] | //style | //script[not(@src)]")
    assert not [a for a in tree.xpath("//@*") if a.attrname.startswith("on")]
    ids = tree.xpath("//@id")
    assert len(ids) == len(set(ids))
    for label in tree.xpath("//label/@for"):
        assert label in ids
    fetched = tree.xpath("//script/@src | //img/@src | //link/@href | //source/@srcset | //form/@action")
    assert [u for u in fetched if not u.startswith("/")] == []
    levels = [int(h.tag[1]) for h in tree.xpath("//main//*[self::h1 or self::h2 or self::h3]")]
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


@pytest.mark.slow
def test_every_link_leads_somewhere(client, history):
    waiting, seen = ["/"], set()
    while waiting:
        address = waiting.pop()
        response = client.get(address)
        assert response.status_code == 200, address
        seen.add(address)
        if not response.headers["content-type"].startswith("text/html"):
            continue
        tree = tree_of(response)
        for link in tree.xpath("//a/@href | //img/@src | //link/@href | //script/@src"):
            link = link.partition("#")[0] or address
            if link.startswith("?"):
                link = address.partition("?")[0] + link
            if link.startswith("/") and link not in seen and len(seen) < 300:
                waiting.append(link)
    assert any(s.startswith("/runs/") and s.endswith("/export") is False for s in seen)
    assert any("plots" in s for s in seen)
    assert {"/tasks", "/claims", "/runs", "/openapi.json"} <= seen


def test_hostile_words_are_shown_not_obeyed(client, add_run):
    bad = '<script>alert(1)</script><img src=x onerror=alert(2)>"\'&'
    run_id = add_run(checks=[check(name=bad, rule=bad, reason=bad)], reason=bad, note=bad, environment={"cpu": bad, bad: bad})
    for address in ("/", "/papers/coin", "/claims/coin/more-is-better", f"/runs/{run_id}", "/runs", "/?q=" + bad, "/?task=" + bad):
        tree = tree_of(client.get(address))
        assert not tree.xpath("//script[not(@src)] | //img[@onerror] | //img[@src='x'] | //b[text()='coins']")
    assert bad in tree_of(client.get(f"/runs/{run_id}")).text_content()


def test_feed_shows_verdict_ruler_and_numbers(client, add_run):
    add_run()
    line = tree_of(client.get("/")).get_element_by_id("claim-coin-more-is-better")
    assert line.xpath(".//span[contains(@class,'verdict holds')]")
    ruler = line.xpath(".//*[local-name()='svg' and contains(@class,'ruler')]")[0]
    assert "0.2× [0.1, 0.4]" in ruler.xpath("./*[local-name()='title']")[0].text
    assert ruler.xpath(".//*[contains(@class,'reported')]")  # the paper reports 0.1
    assert "0.2× [0.1, 0.4]" in line.text_content()
    assert "needs below 0.5×" in line.text_content()
    x = {n: float(ruler.xpath(f".//*[contains(@class,'{n}')]/@{a}")[0].rstrip("%")) for n, a in (("threshold", "x1"), ("point", "cx"))}
    assert x["point"] > x["threshold"] == 50  # lower is better, and it is lower


def test_no_diamond_where_the_paper_gives_no_figure(client, add_run):
    add_run("slow", checks=[check(metric="landed", scale="linear", estimate=1.0, interval=[0.5, 1.5], threshold=-1.0, better="higher")])
    line = tree_of(client.get("/")).get_element_by_id("claim-coin-slow")
    assert line.xpath(".//*[contains(@class,'point')]")
    assert not line.xpath(".//*[contains(@class,'reported')]")
    assert "1 %" in line.text_content()


def test_exact_and_bound_claims_show_counts_in_place_of_a_ruler(client, history):
    line = tree_of(client.get("/")).get_element_by_id("claim-coin-always-counted")
    assert "2 of 3 trials" in line.text_content()
    assert "fails" in line.text_content()
    assert not line.xpath(".//*[contains(@class,'ruler')]")


def test_a_verdict_against_its_headline_names_the_check_that_made_it(client, add_run):
    run_id = add_run(verdict="fails", checks=[check(), check(name="the control loses", verdict="fails", headline=False),
                                              check(name="faster", verdict="inconclusive", headline=False)])
    line = tree_of(client.get("/")).get_element_by_id("claim-coin-more-is-better")
    assert "fails: the control loses" in line.text_content()
    assert line.xpath(".//*[contains(@class,'point holds')]")  # the ruler is the headline's own
    for address in ("/papers/coin", f"/runs/{run_id}"):
        assert "fails: the control loses" in tree_of(client.get(address)).text_content()


def test_a_check_set_aside_is_marked_and_never_named_as_deciding(client, add_run):
    run_id = add_run(verdict="fails", checks=[check(), check(name="better too", verdict="fails", headline=False, decides=False),
                                              check(name="the control loses", verdict="fails", headline=False)])
    page = tree_of(client.get(f"/runs/{run_id}"))
    assert "fails: the control loses" in page.text_content()
    assert "fails: better too" not in page.text_content()
    rows = [row.text_content() for row in page.xpath("//table[contains(@class,'checks')]//tr")]
    marked = [row for row in rows if "beside the verdict" in row]
    assert len(marked) == 1
    assert "better too" in marked[0]


def test_untested_gives_its_reason_and_no_ruler(client, add_run):
    add_run("slow", "untested", checks=[check(verdict="untested")], reason="the package gold is not installed here")
    line = tree_of(client.get("/")).get_element_by_id("claim-coin-slow")
    assert "the package gold is not installed here" in line.text_content()
    assert not line.xpath(".//*[contains(@class,'ruler')]")


def test_a_run_that_broke_off_is_not_hidden(client, history):
    assert "broke off" in client.get("/papers/coin").text
    assert "the claim broke" in client.get("/papers/coin").text


def test_reference_run_stands_until_measured_here_and_beside_it_after(client, shelf, add_run):
    document = {"runs": [{"claim": "more-is-better", "verdict": "partly", "scale": "small", "seconds": 80.0, "environment": {"cores": 2},
                          "code_hash": "", "ended_at": "2026-01-01T00:00:00+00:00", "checks": [check(verdict="partly", estimate=0.45)]}]}
    (shelf / "coin" / "reference.json").write_text(json.dumps(document))
    line = tree_of(client.get("/")).get_element_by_id("claim-coin-more-is-better").text_content()
    assert "partly" in line
    assert "reference machine" in line
    assert "0 claims tried on this machine" in client.get("/").text
    add_run()
    assert "reference machine" not in tree_of(client.get("/")).get_element_by_id("claim-coin-more-is-better").text_content()
    page = client.get("/papers/coin").text
    assert "holds here" in page
    assert "partly on the reference machine" in page


def test_tally_counts_each_claim_once_and_links_to_its_list(client, add_run):
    for verdict in ("holds", "fails"):
        add_run(verdict=verdict)  # the newer one stands
    add_run("always-counted", "inconclusive")
    tree = tree_of(client.get("/"))
    words = " ".join(tree.get_element_by_id("tally").text_content().split())
    assert "2 claims tried on this machine" in words
    assert "1 fails" in words
    assert "1 inconclusive" in words
    assert "hold" not in words
    assert "1 not tried yet" in words
    for word, claim in (("fails", "more-is-better"), ("inconclusive", "always-counted"), ("untried", "slow"), ("holds", None)):
        shown = tree_of(client.get(f"/claims?verdict={word}")).xpath("//li[contains(@class,'line')]/@id")
        assert shown == ([f"claim-coin-{claim}"] if claim else [])
    widths = [float(w.rstrip("%")) for w in tree.xpath("//*[@id='tally']//*[local-name()='rect']/@width")]
    assert sum(widths) == pytest.approx(100, abs=0.01)


def test_runs_of_ones_own_and_imported_runs_never_count(client, add_run):
    add_run(is_yours=True)
    add_run(origin="imported")
    assert "0 claims tried on this machine" in client.get("/").text
    assert "imported" in client.get("/runs").text
    assert "yours" in client.get("/runs").text


def test_order_filter_and_days(client):
    def titles(address):
        return [t.text_content() for t in tree_of(client.get(address)).xpath("//article//h3")]

    assert [t[:4] for t in titles("/")] == ["Dice", "Toss"]  # newest publication first within the day
    assert len(titles("/?task=tossing coins")) == 1
    assert len(titles("/?q=HOSTILE")) == 1
    assert titles("/?q=hostile dice") == []
    assert titles("/?runs=yes") == titles("/?q=hostile")
    assert "No paper matches" in client.get("/?q=zzz").text
    assert len(titles("/papers/date/2025-12-26")) == 2
    assert titles("/papers/date/2025-12-25") == []
    assert client.get("/papers/date/2025-13-40").status_code == 404
    assert "Friday, 26 December 2025" in client.get("/").text


def test_buttons_carry_the_expected_time(client, lab, add_run):
    """To a runner: without the role there is no button for a larger scale."""
    with lab.store.writing() as session:
        runner = create_user(session, handle="rita", role="runner", created_by="test")
        client.cookies.set(SESSION_COOKIE, begin_signin(session, runner, "a browser"))

    def buttons():
        return [" ".join(b.text_content().split()) for b in
                tree_of(client.get("/claims/coin/more-is-better")).xpath("//form[@action='/runs']//button")]

    assert buttons() == ["Run here · under 20 s", "Small · about 1 min 30 s"]
    add_run(seconds=12.0)
    add_run(seconds=0.2)  # on reused trials
    assert buttons()[0] == "Run here · 12 s"
    assert not tree_of(client.get("/papers/dice")).xpath("//form[@action='/runs']")


def test_paper_page_says_how_to_use_and_what_was_not_verified(client):
    text = tree_of(client.get("/papers/coin")).text_content()
    for words in ("from hub_shelf.coin import guess", "guess([0, 1], 2)  # 0.5", "workingpapers run coin", "Coins made of gold.",
                  "The threshold 0.5.", "ten times smaller", "no licence"):
        assert words in text


def test_run_page_shows_everything(client, history, add_run):
    text = tree_of(client.get(f"/runs/{history}")).text_content()
    for words in ("holds here", "12 seeds", "a processor", "numpy 2.0", "many", "few", "baseline",
                  "Numbers of this plot", "This run as one JSON file"):
        assert words in text
    old = client.get(f"/runs/{add_run(code_hash='0' * 64)}").text
    assert "made with an earlier version" in old
    assert "earlier\xa0version" in tree_of(client.get("/")).get_element_by_id("claim-coin-more-is-better").text_content()
    assert "made with an earlier version" not in text


def test_failed_trials_show_their_tracebacks(client, add_run, lab):
    from workingpapers.lab.store import RunRow

    run_id = add_run("slow", "inconclusive")
    with lab.store.writing() as session:
        row = session.query(RunRow).filter_by(run_id=run_id).one()
        row.trials[0].state, row.trials[0].traceback = "failed", "ZeroDivisionError: toss by zero"
    assert "ZeroDivisionError: toss by zero" in client.get(f"/runs/{run_id}").text


def test_running_page_refreshes_itself_without_scripts(client, add_run):
    run_id = add_run("slow", None, state="running", ended_at=None)
    tree = tree_of(client.get(f"/runs/{run_id}"))
    assert tree.xpath("//noscript/meta[@http-equiv='refresh']/@content") == ["5"]
    assert tree.xpath("//*[@data-live]/@data-live")[0].startswith(f"/api/v1/runs/{run_id}/events")
    assert not tree_of(client.get(f"/runs/{add_run()}")).xpath("//noscript/meta")


def test_plots_come_in_two_themes_and_as_data(client, history):
    page = client.get(f"/runs/{history}").text
    assert 'media="(prefers-color-scheme: dark)"' in page
    client.cookies.set("wp_theme", "dark", domain="localhost.local")
    dark = tree_of(client.get(f"/runs/{history}"))
    assert dark.get("data-theme") == "dark"
    assert dark.xpath("//figure//img/@src")[0].endswith(".dark.svg")
    picture = client.get(f"/runs/{history}/plots/verdict.dark.svg")
    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert "sandbox" in picture.headers["content-security-policy"]
    assert client.get(f"/runs/{history}/plots/verdict.json").json()["data"]
    for wrong in ("other.light.svg", "verdict.light.exe", "verdict.png", "..%2f..%2fhub.key"):
        assert client.get(f"/runs/{history}/plots/{wrong}").status_code == 404


def test_a_plot_outside_the_artefacts_is_not_served(client, add_run, lab, tmp_path):
    (tmp_path / "secret.svg").write_text("secret")
    lab.store.settings.artefacts.mkdir(parents=True)
    run_id = add_run(files=[FileRow(name="verdict", title="", spec={}, paths={"light.svg": "../../secret.svg"})])
    assert client.get(f"/runs/{run_id}/plots/verdict.light.svg").status_code == 404


def test_a_broken_paper_is_named_and_the_rest_stands(shelf, tmp_path):
    from starlette.testclient import TestClient

    from workingpapers.hub import create_app
    from workingpapers.lab import Lab, Settings, Store
    from workingpapers.papers import load_catalogue

    (shelf / "broken").mkdir()
    (shelf / "broken" / "paper.toml").write_text("title = 3")
    lab = Lab(Store(Settings(home=tmp_path / "other")), load_catalogue(shelf, "hub_shelf"))
    with TestClient(create_app(lab=lab), base_url="http://localhost") as client:
        text = client.get("/").text
    assert "A paper could not be read" in text
    assert "More tosses, smaller error" in text


def test_errors_are_pages(client):
    page = client.get("/papers/coni")
    assert page.status_code == 404
    assert "did you mean coin?" in page.text
    assert "<h1>No such paper</h1>" in page.text
    assert client.get("/runs?before=nonsense").status_code == 422
    assert re.search(r"before: .*integer", client.get("/runs?before=nonsense").text)
    assert client.get("/runs?verdict=maybe").status_code == 422


def test_a_fault_is_a_page_that_tells_nothing(app, monkeypatch):
    from starlette.testclient import TestClient

    def broken(*_, **__):
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(type(app.state.site), "claim_views", broken)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        page, document = client.get("/papers/coin"), client.get("/api/v1/papers/coin")
    assert page.status_code == 500
    assert "Something broke here" in page.text
    assert "secret" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert document.json()["status"] == 500
    assert document.headers["content-type"] == "application/problem+json"


def test_what_is_tried_now_and_news_since(client, add_run):
    quiet = client.get("/now?since=2100-01-01T00:00:00")
    assert "hx-get" not in quiet.text
    add_run("slow", None, state="running", ended_at=None)
    add_run("always-counted", "fails")
    text = client.get("/now?since=2000-01-01T00:00:00%2B00:00").text
    assert "trying now" in text
    assert "Slow coins" in text
    assert 'hx-get="/now?since=' in text
    assert 'id="claim-coin-always-counted" class="line" hx-swap-oob="true"' in text
    assert 'id="tally"' in text


def test_a_run_whose_process_is_gone_is_not_shown_as_being_tried(client, add_run):
    import socket

    add_run(verdict=None, state="running", ended_at=None, lease_owner=f"{socket.gethostname()}:4194304:1")
    assert "trying" not in client.get("/papers/coin").text
    add_run(verdict=None, state="running", ended_at=None, lease_owner="another-host:1:1")
    assert "trying now" in client.get("/papers/coin").text
