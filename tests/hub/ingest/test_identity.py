"""Normal forms: spellings of one thing agree, different things do not."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workingpapers.hub.ingest.categories import CODES, category_code
from workingpapers.hub.ingest.identity import ARCHIVES, ArxivId, arxiv_id, doi, family_key, first_author_key, title_key, title_keys

months = st.integers(1, 12)
old_form = st.integers(15, 30).flatmap(
    lambda y: st.tuples(st.just(y), months, st.integers(1, 99_999)).map(lambda t: f"{t[0]:02}{t[1]:02}.{t[2]:05}")
)
short_form = st.tuples(st.integers(8, 14), months, st.integers(1, 9_999)).map(lambda t: f"{t[0]:02}{t[1]:02}.{t[2]:04}")
slash_form = st.tuples(st.sampled_from(sorted(ARCHIVES)), st.integers(92, 99), months, st.integers(1, 999)).map(
    lambda t: f"{t[0]}/{t[1]:02}{t[2]:02}{t[3]:03}"
)
ids = old_form | short_form | slash_form

SPELLINGS = [
    "{}", "arXiv:{}", "ARXIV: {}", " {} ", "http://arxiv.org/abs/{}", "https://www.arxiv.org/abs/{}/", "https://arxiv.org/pdf/{}.pdf",
    "https://export.arxiv.org/abs/{}?context=cs", "arxiv.org/html/{}", "https://huggingface.co/papers/{}", "https://www.alphaxiv.org/abs/{}",
    "oai:arXiv.org:{}", "10.48550/arXiv.{}", "https://doi.org/10.48550/arXiv.{}", "arXiv:{} [cs.LG]", "{}#S3",
]  # fmt: skip


@given(ids, st.sampled_from(SPELLINGS), st.none() | st.integers(1, 40))
def test_every_spelling_of_an_arxiv_id(name, spelling, version):
    text = spelling.format(name + (f"v{version}" if version else ""))
    assert arxiv_id(text) == ArxivId(name, version)


@given(slash_form, st.sampled_from(["LG", "GT", "AI"]))
def test_the_class_of_an_old_id_is_dropped(name, part):
    archive, _, number = name.partition("/")
    assert arxiv_id(f"{archive}.{part}/{number}") == ArxivId(name)
    assert arxiv_id(f"{archive.upper()}/{number}") == ArxivId(name)


@pytest.mark.parametrize(
    "text",
    ["", "2213.00001", "1412.00001", "1501.0001", "0703.0001",
     "nothing/9901001", "math/9913001", "math/990100", "math/0704001", "2603.00001v0",
     "2603.000011", "x2603.00001", "https://example.org/abs/2603.00001", "https://arxiv.org.evil.example/abs/2603.00001", "２６０３.00001",
     "10.5555/2603.00001", "2603.00001 2603.00002"],
)  # fmt: skip
def test_what_is_no_arxiv_id(text):
    assert arxiv_id(text) is None


@given(st.text(max_size=60))
def test_ids_never_raise_and_are_their_own_normal_form(text):
    found = arxiv_id(text)
    assert found is None or arxiv_id(found.id) == ArxivId(found.id)
    name = doi(text)
    assert name is None or doi(name) == name == name.lower()


@given(st.integers(1000, 99999), st.text("abcXYZ019._-()/", min_size=1, max_size=20).filter(lambda t: t[-1] not in "./_-"))
def test_spellings_of_a_doi(prefix, suffix):
    bare = f"10.{prefix}/{suffix}"
    for spelling in ("{}", "doi:{}", "DOI: {}", "https://doi.org/{}", "http://dx.doi.org/{}", " {}. ", "{} 10.1000/other"):
        assert doi(spelling.format(bare)) == bare.lower()
    assert doi("https://doi.org/" + bare.replace("/", "%2F")) == bare.lower()


def test_what_is_no_doi():
    for text in ("", "10.12/x", "doi", "10.5555", "10.5555/", "10.48550/arXiv.2603.00001", "https://doi.org/"):
        assert doi(text) is None


@given(st.text())
def test_title_keys_are_fixed_points(text):
    key = title_key(text)
    assert title_key(key) == key
    assert all(c.isalnum() for c in key)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\\")))
def test_case_form_and_punctuation_do_not_matter(title):
    key = title_key(title)
    assert title_key(unicodedata.normalize("NFD", title)) == key
    assert title_key(unicodedata.normalize("NFKC", title)) == key
    assert title_key(title.swapcase().swapcase().casefold()) == title_key(title.casefold())
    assert title_key("  ".join(f"{{{c}}}" if c in "Aa" else c for c in title)) == key


@pytest.mark.parametrize(
    ("a", "b"),
    [(r"Gr\"obner B\'{a}ses", "Gröbner Báses"), (r"S\o ren's \L{}ode\'z", "Søren's Łodéz"),
     (r"\emph{Fast} \textbf{and} Sure", "Fast and sure"),
     (r"$\alpha$-Fair", "α-fair"), ("Naïve — Bayes", "Naive Bayes"), ("ﬁne", "fine"), (r"$\mathcal{O}(n)$ Sorting", "O(n) sorting")],
)  # fmt: skip
def test_latex_and_unicode_titles_agree(a, b):
    assert title_key(a) == title_key(b)


def test_a_title_that_lost_its_backslashes_is_found():
    assert set(title_keys(r"Learning in $\mathbb{R}^{m\times n}$")) & set(title_keys("Learning in mathbb{R}^{mtimes n}"))
    assert title_keys("?!") == ("=?!",)
    assert title_keys("") == ()


@pytest.mark.parametrize(
    "names",
    [("Ernst Mücke", "Mücke, Ernst", r"M\"{u}cke, E.", "E. Mucke"), ("Ludwig van der Berg", "van der Berg, Ludwig", "Berg, L. van der"),
     ("Martin King Jr.", "King, Martin", "Martin King, Jr."), ("Søren Ødegård", "Ødegård, S."), ("Smith J.", "J. Smith", "Smith, J.")],
)  # fmt: skip
def test_spellings_of_a_name(names):
    assert len({family_key(name) for name in names}) == 1
    assert len({first_author_key((name,)) for name in names}) == 1
    assert first_author_key((names[0], "Someone Else")) == first_author_key((names[0],))


@given(st.text(), st.lists(st.text(), max_size=3))
def test_names_never_raise(name, more):
    family_key(name)
    assert first_author_key((name, *more)) == first_author_key((name,))


def test_subject_names():
    assert category_code("computer science - computation and language") == "cs.CL"
    assert category_code("Computer Science - Learning") == "cs.LG", "its name until 2018"
    assert category_code("High Energy Physics - Theory") == "hep-th"
    assert category_code("Condensed Matter") == "cond-mat"
    assert category_code("I.2.6") is None
    assert len(CODES) == 157, "the 155 classes of today, and two archives from before they were divided"
