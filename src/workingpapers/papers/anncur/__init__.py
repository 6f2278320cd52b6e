"""ANNCUR: k-nearest-neighbour search for cross-encoders by CUR decomposition of their score matrix (arXiv 2210.12579)."""

from workingpapers.papers.anncur.diagnostics import Diagnostics
from workingpapers.papers.anncur.index import CURIndex, SearchResult
from workingpapers.papers.anncur.llm import from_llm
from workingpapers.papers.anncur.recall import recall_at_k, recall_vs_budget, replay
from workingpapers.papers.anncur.retriever import CrossEncoderRetriever
from workingpapers.papers.anncur.scorers import PairScorer, from_callable, from_cross_encoder, from_matrix, from_reranker

__all__ = [
    "CURIndex", "CrossEncoderRetriever", "Diagnostics", "PairScorer", "SearchResult", "from_callable", "from_cross_encoder",
    "from_llm", "from_matrix", "from_reranker", "recall_at_k", "recall_vs_budget", "replay",
]
