"""Search: one grammar, an index of words, vectors of meaning, and their fusion. `docs/search.md` has what was measured.

    from workingpapers.hub.search import find_papers

    find_papers(store, "how sure is a language model when marking exams", limit=10)   # rows, best first

    answer = searcher(store).find("graph coarsening cat:cs.LG", limit=20)             # a page
    [hit.paper.title for hit in answer.hits], answer.how, answer.after
"""

from .embedding import embed
from .encoding import Model
from .find import Answer, Hit, Searcher, find_papers, searcher
from .grammar import Query, QueryError, parse

__all__ = ["Answer", "Hit", "Model", "Query", "QueryError", "Searcher", "embed", "find_papers", "parse", "searcher"]
